"""Files that visitors send: no others are read, and what Gradio forgets of them is removed."""

import asyncio
import logging
import math
import os
import shutil
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from gradio.utils import get_upload_folder
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo import limits

_log = logging.getLogger(__name__)

_EVERY = 60.0  # seconds between two looks
_FRESH = 1.0  # seconds for which what was measured is believed
_IDLE = 600.0  # seconds after which an upload that has not grown is given up


def refuse_other_files(body: Any) -> None:
    """Files that a request names have to lie in the cache.

    Gradio looks at where a file lies only if the request says that it is one; ``{"path": ...}`` alone is taken by every
    component for pictures, and by functions that no page or list of endpoints names.

    Args:
        body: What the request says.

    Raises:
        HTTPException: One of them was not uploaded, or is an address.
    """
    folder = Path(get_upload_folder()).resolve()
    for path in _paths(body):
        with suppress(OSError, ValueError):  # a name that is none, as one with a null character
            if not path or Path(path).resolve().is_relative_to(folder):
                continue
        raise HTTPException(403, "This file was not uploaded. Upload it first.")


class Room:
    """How many bytes uploads may still write: what is ``left``, until it is measured again."""

    def __init__(self) -> None:
        self.left = math.inf
        self._at = -math.inf

    async def measure(self, blocks: Any) -> None:
        """Look at the cache and the disk, unless that was done just now, and make room for one upload.

        Args:
            blocks: The app whose cache it is.
        """
        if time.monotonic() - self._at > _FRESH:
            self._at = time.monotonic()
            self.left = await asyncio.to_thread(_make_room, blocks)


async def take(app: ASGIApp, room: Room, scope: Scope, receive: Receive, send: Send) -> None:
    """Let Gradio's route for uploads have one, as long as that keeps the limits of this app.

    Args:
        app: Has the route.
        room: For all uploads together.
        scope: Of the request, as ``receive`` and ``send`` are.

    Raises:
        HTTPException: It says before it begins that it does not.
    """
    headers = Headers(scope=scope)
    blocks = scope["app"].get_blocks()
    length = headers.get("content-length", "")
    size = int(length) if length.isdigit() and length.isascii() else 0
    await room.measure(blocks)
    _check_size(size)
    _check_room(room.left - size)
    parts = _Parts(headers.get("content-type", ""))
    status = received = 0

    async def next_message() -> Message:
        nonlocal status, received
        message = await receive()
        body = message.get("body", b"")
        received += len(body)
        room.left -= len(body)
        try:
            if room.left < 0:
                await room.measure(blocks)
            _check_size(received)
            _check_room(room.left)
            parts.read(body)
        except HTTPException as error:
            status = error.status_code
            raise MultiPartException(error.detail) from None  # upon which Gradio removes what it has written
        return message

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start" and status:
            message["status"] = status
        await send(message)

    await app(scope, next_message, answer)


class _Parts:
    """What an upload consists of, read along with Gradio, which would keep in memory what is no file.

    Args:
        content_type: The header that says what separates them.
    """

    def __init__(self, content_type: str) -> None:
        self._files = 0
        self._field, self._value, self._is_file = b"", b"", False
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        calls: Any = {
            "on_part_begin": self._begin,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._count,
        }
        self._parser = MultipartParser(boundary, calls) if boundary else None

    def read(self, data: bytes) -> None:
        """Read on.

        Raises:
            HTTPException: There are too many, or what is no file.
        """
        if self._parser:
            try:
                self._parser.write(data)
            except MultipartParseError:  # what Gradio's parser, the same, has words for
                self._parser = None

    def _begin(self) -> None:
        self._is_file = False

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._is_file = b"filename" in parse_options_header(self._value)[1]
        self._field = self._value = b""

    def _count(self) -> None:
        if not self._is_file:
            raise HTTPException(400, "Only files can be uploaded.")
        self._files += 1
        if self._files > limits.UPLOAD_FILES:
            raise HTTPException(413, limits.UPLOADS)


def _check_size(size: int) -> None:
    if size > limits.UPLOAD_MEGABYTES * 2**20:
        raise HTTPException(413, limits.UPLOADS)


def _check_room(left: float) -> None:
    if left < 0:
        _log.warning("the cache or its disk is full: an upload is refused")
        raise HTTPException(507, limits.FULL)


@asynccontextmanager
async def sweeping(app: Any) -> AsyncIterator[None]:
    """While the app runs, what is left of uploads is removed, and the cache kept within its limit; a lifespan."""

    async def sweep() -> None:
        while True:
            await asyncio.sleep(_EVERY)
            try:
                await asyncio.to_thread(_sweep, app.get_blocks())
            except OSError:
                _log.exception("the cache could not be swept")

    task = asyncio.create_task(sweep())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def remove_remains(folder: Path, idle: float = _IDLE) -> None:
    """Remove from ``folder`` uploads that broke off, which nobody else does, and folders of which the file is gone.

    Args:
        folder: That for uploads; those that are not finished lie in it, others each in a folder of its own.
        idle: Seconds since anything was written there.
    """
    for entry in folder.iterdir() if folder.is_dir() else ():
        with suppress(OSError):  # it is gone, or no longer empty
            if time.time() - entry.lstat().st_mtime < idle:
                continue
            if entry.is_dir():
                entry.rmdir()
            elif entry.name.startswith("tmp"):
                entry.unlink()


def remove_oldest(paths: Iterable[str | Path], most: float) -> None:
    """Remove the oldest of those files, until they have no more than ``most`` bytes together.

    Those that were touched within the last minute, somebody still waits for.
    """
    found = []
    for path in paths:
        with suppress(OSError):
            stat = Path(path).stat()
            found.append((stat.st_ctime, stat.st_size, Path(path)))
    total = sum(size for _, size, _ in found)
    for changed, size, path in sorted(found):
        if total <= most or time.time() - changed < _EVERY:
            return
        with suppress(OSError):
            path.unlink()
        total -= size


def _paths(body: Any) -> Iterator[str]:
    """What is called ``path`` anywhere in a request."""
    left = [body]
    for item in left:  # grows while it is walked
        if isinstance(item, dict):
            if isinstance(item.get("path"), str):
                yield item["path"]
            left += item.values()
        elif isinstance(item, list):
            left += item


def _sweep(blocks: Any) -> None:
    remove_remains(Path(get_upload_folder()))
    remove_oldest(_removable(blocks), limits.CACHE_GIGABYTES * 2**30)


def _removable(blocks: Any) -> set[str]:
    kept = {str(path) for block in list(blocks.blocks.values()) for path in getattr(block, "keep_in_cache", ())}
    made = {str(path) for paths in blocks.temp_file_sets for path in list(paths)}
    return made - kept


def _make_room(blocks: Any) -> float:
    """The bytes that may still be written, when the oldest files have gone for one more upload."""
    folder = Path(get_upload_folder())
    folder.mkdir(parents=True, exist_ok=True)
    left = _room(folder)
    lacks = limits.UPLOAD_MEGABYTES * 2**20 - left
    if lacks > 0:
        removable = _removable(blocks)
        remove_oldest(removable, sum(map(_size, removable)) - lacks)
        left = _room(folder)
    return left


def _room(folder: Path) -> float:
    used = sum(_size(Path(parent, name)) for parent, _, names in os.walk(folder) for name in names)
    free = shutil.disk_usage(folder).free - limits.FREE_GIGABYTES * 2**30
    return min(limits.CACHE_GIGABYTES * 2**30 - used, free)


def _size(path: str | Path) -> int:
    with suppress(OSError):  # it is gone
        return Path(path).lstat().st_size
    return 0
