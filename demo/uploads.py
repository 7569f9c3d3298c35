"""Files that visitors send: no others are read, and what Gradio forgets of them is removed."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import HTTPException, Request
from gradio.utils import get_upload_folder

from demo import limits

_log = logging.getLogger(__name__)

_EVERY = 60.0  # seconds between two looks
_IDLE = 600.0  # seconds after which an upload that has not grown is given up


async def refuse_other_files(request: Request) -> None:
    """A dependency of every route: files that a request names have to lie in the cache.

    Gradio looks at where a file lies only if the request says that it is one; ``{"path": ...}`` alone is taken by every
    component for pictures, and by functions that no page or list of endpoints names. It also fetches files of other
    machines for whoever asks.

    Raises:
        HTTPException: One of them was not uploaded, or is an address.
    """
    if str(request.path_params.get("path_or_url", "")).lower().startswith(("http:", "https:")):
        raise HTTPException(403, "This app fetches nothing from elsewhere.")
    if request.method != "POST" or "json" not in request.headers.get("content-type", ""):
        return
    try:
        body = await request.json()
    except ValueError:  # which the route refuses
        return
    folder = Path(get_upload_folder()).resolve()
    for path in _paths(body):
        with suppress(OSError, ValueError):  # a name that is none, as one with a null character
            if not path or Path(path).resolve().is_relative_to(folder):
                continue
        raise HTTPException(403, "This file was not uploaded. Upload it first.")


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
    kept = {str(path) for block in blocks.blocks.values() for path in getattr(block, "keep_in_cache", ())}
    made = {str(path) for paths in blocks.temp_file_sets for path in list(paths)}
    remove_oldest(made - kept, limits.CACHE_GIGABYTES * 2**30)
