"""What an interrupted film leaves behind: `NAME.partial`, from which a later run goes on.

While a film is under way its pictures alone lie in `NAME.partial`, an MP4 in fragments, of which what has been written
can be read whatever happens. Where the run can still say that it ends, an ordinary MP4 with the sound so far takes its
place. A run that goes on from it keeps it as a hidden file until it has come further itself.
"""

import errno
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext

from zoo.errors import VideoError

if sys.platform != "win32":  # where a file that is written cannot be replaced anyway
    import fcntl

SUFFIX = ".partial"
_MARK = "colorzoo partial "
_LOOKED_AT = 1 << 20  # bytes at each end of a source
ENCODER = f"PyAV {av.__version__}"  # another one may write pictures that do not fit behind those of this one


def path_of(target: Path) -> Path:
    """Where the part of ``target`` lies that is done."""
    return target.with_name(target.name + SUFFIX)


def earlier_of(target: Path) -> Path:
    """Where it lies while a run that goes on from it has not come further."""
    return target.with_name(f".{target.name}{SUFFIX}.old")


def new_of(target: Path) -> Path:
    """Where ``target`` is put together, beside it and hidden, before it takes its place."""
    return target.with_name(f".{target.name}.part")


def joined_of(target: Path) -> Path:
    """Where the pictures of ``target`` lie, hidden, while they are joined from parts."""
    return target.with_name(f".{target.name}.pictures")


def _lock_of(target: Path) -> Path:
    return target.with_name(f".{target.name}{SUFFIX}.lock")


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """A context in which no other run makes ``target``. Ends with the process, however that ends.

    Raises:
        VideoError: Another one does.
        OSError: Nothing can be written there.
    """
    if sys.platform == "win32":
        yield
        return
    path = _lock_of(target)
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(file), path.stat()):
                break
        except FileNotFoundError:  # the run that had it has just taken it away
            pass
        except BlockingIOError:
            os.close(file)
            raise VideoError(f"{target}: another run is making it", remedy="wait for it, or stop it") from None
        except OSError as error:
            if error.errno in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):  # some network drives
                break
            os.close(file)
            raise
        os.close(file)
    try:
        yield
    finally:
        with suppress(OSError):
            if not os.fstat(file).st_size:
                path.unlink()
        os.close(file)


def names(target: Path) -> tuple[Path, ...]:
    """All names but its own under which something may lie while ``target`` is made."""
    return path_of(target), earlier_of(target), new_of(target), joined_of(target), _lock_of(target)


def identity(path: Path, size: int | None = None) -> str:
    """What tells a source from others: its size, and a digest of its first and last bytes. Cheap for any size.

    Args:
        path: A file.
        size: Take the file as if it ended there, to find one again that has grown since, as an unfinished download.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2) if size is None else size
        file.seek(0)
        digest = hashlib.sha256(file.read(min(size, _LOOKED_AT)))
        file.seek(max(0, size - _LOOKED_AT))
        digest.update(file.read(min(size, _LOOKED_AT)))
    return f"{size} bytes, {digest.hexdigest()[:16]}"


def note(settings: dict[str, Any], *, whole: bool) -> dict[str, str]:
    """Metadata that says how a part was made, and whether all its pictures are complete."""
    return {"comment": _MARK + json.dumps({"encoder": ENCODER, "whole": whole, **settings})}


@dataclass(frozen=True)
class Kept:
    """What an earlier run has done.

    Attributes:
        path: The file.
        packets: How many packets of it can be used, which are as many frames.
        last: When the last of these frames is shown, in seconds of the film that is made.
        size: Height and width of its pictures.
    """

    path: Path
    packets: int
    last: Fraction
    size: tuple[int, int]

    def read(self) -> Iterator["av.Packet[Any]"]:
        """These packets, as an encoder gives them."""
        with av.open(f"file:{self.path}") as container:
            video = container.streams.video[0]
            h264 = video.codec_context.name == "h264"  # an MP4 has taken out what goes before each picture
            form = BitStreamFilterContext("h264_mp4toannexb" if h264 else "null", in_stream=video)
            for packet in islice(_packets(container), self.packets):
                base = packet.time_base
                for formed in form.filter(packet):
                    formed.time_base = base
                    yield formed


def find(target: Path, settings: dict[str, Any], source: Path) -> Kept | None:
    """The part of ``target`` that goes furthest, None where there is none of use.

    Args:
        target: The film.
        settings: What the run that made the part must have had in common with this one; ``source`` is its `identity`.
        source: What is coloured.

    Raises:
        VideoError: A file of that name that is something else, or that was made with other settings.
    """
    found = [kept for path in (path_of(target), earlier_of(target)) if (kept := _read(path, settings, source))]
    return max(found, key=lambda kept: kept.packets, default=None)


def left(target: Path) -> Path | None:
    """What an earlier run has left of ``target``; an empty file is nothing."""
    return next((p for p in (path_of(target), earlier_of(target)) if p.exists() and p.stat().st_size), None)


def remove(target: Path) -> None:
    """Delete what earlier runs have left of ``target``."""
    for path in (path_of(target), earlier_of(target), new_of(target)):
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _read(path: Path, settings: dict[str, Any], source: Path) -> Kept | None:
    try:
        if not path.exists():
            return None
        with av.open(f"file:{path}") as container:
            whole = _check(container.metadata, path, settings, source)
            return _scan(container, path, whole)
    except av.FFmpegError as error:
        if _is_nothing(path):
            return None
        raise VideoError(f"{path}: not a part of a film", found=error, remedy="move it elsewhere") from error


def _is_nothing(path: Path) -> bool:
    """Whether a file that cannot be opened was begun by a run that was interrupted before its first fragment."""
    with path.open("rb") as file:
        head = file.read(_LOOKED_AT)
    return not head or _MARK.encode() in head


def _check(metadata: dict[str, str], path: Path, settings: dict[str, Any], source: Path) -> bool:
    """Whether all pictures of a part with this ``metadata`` are complete."""
    try:
        made: dict[str, Any] = json.loads(metadata.get("comment", "").removeprefix(_MARK))
        whole = bool(made.pop("whole"))
    except (ValueError, AttributeError, KeyError, TypeError):
        raise VideoError(f"{path}: not a part of a film that was being coloured", remedy="move it elsewhere") from None
    wanted = json.loads(json.dumps({"encoder": ENCODER, **settings}))
    other = [name for name in {**wanted, **made} if made.get(name) != wanted.get(name)]
    if "source" in other and _has_grown(source, str(made.get("source"))):
        other.remove("source")
    if other:
        raise VideoError(
            f"{path}: {'is a part of another film' if 'source' in other else 'was begun with other settings'}",
            found=", ".join(f"{name} {made.get(name)}" for name in other),
            expected=", ".join(f"{name} {wanted.get(name)}" for name in other),
            remedy="go on with those, or start anew by force",
        )
    return whole


def _has_grown(source: Path, before: str) -> bool:
    """Whether a source is what had the identity ``before``, and more: it was cut off, and is whole now."""
    size = before.partition(" ")[0]
    if not (source.is_file() and size.isdecimal()):
        return False
    return source.stat().st_size > int(size) and identity(source, int(size)) == before


def _scan(container: av.container.InputContainer, path: Path, whole: bool) -> Kept | None:
    """Of a part that is not whole, the most packets of which no frame is missing that is shown before their last."""
    shown: list[int] = []
    decoded, base = 0, Fraction(1)
    with suppress(av.FFmpegError):
        for packet in _packets(container):
            shown.append(packet.pts or 0)
            decoded, base = packet.dts if packet.dts is not None else decoded, packet.time_base or base
    count, next_shown = len(shown), decoded  # what is still to come is decoded later than all this, and shown later yet
    latest = list(accumulate(shown, max))
    while not whole and count and latest[count - 1] > next_shown:
        count -= 1
        next_shown = min(next_shown, shown[count])
    last = latest[count - 1] * base if count else Fraction(-1)
    video = container.streams.video[0]
    return Kept(path, count, last, (video.height, video.width)) if count else None


def _packets(container: av.container.InputContainer) -> Iterator["av.Packet[Any]"]:
    for packet in container.demux(container.streams.video[0]):
        if packet.is_corrupt:
            return
        if packet.size and packet.pts is not None:
            yield packet
