"""What files hash to, and whether that is what was expected or announced."""

import hashlib
import re
from pathlib import Path

from zoo.errors import WeightsError

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_SHA1 = re.compile(r"[0-9a-f]{40}\Z")
_NOT_USED = "it is damaged or not the file it is taken for, and is not used"


def sha256_of(path: Path) -> str:
    """The sha256 of a file's content, 64 hex digits.

    Raises:
        WeightsError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path} cannot be read", found=error.strerror) from error


def verify_sha256(path: Path, expected: str) -> str:
    """Refuse a file whose content is not the expected; returns its sha256.

    Args:
        path: The file.
        expected: 64 hex digits, or as many of the first as are known.

    Raises:
        WeightsError: The file hashes to something else, or cannot be read.
    """
    found = sha256_of(path)
    if not found.startswith(expected):
        raise WeightsError(
            f"{path} has the wrong sha256",
            found=found,
            expected=expected if len(expected) == 64 else f"{expected}...",
            remedy=_NOT_USED,
        )
    return found


def is_digest(etag: str | None) -> bool:
    """Whether a server's tag of a file says what its content is: a sha256, or the id that git has for it."""
    return etag is not None and (_SHA256.match(etag) or _SHA1.match(etag)) is not None


def verify_announced(path: Path, etag: str) -> None:
    """Refuse a file whose content is not what a server announced.

    Args:
        path: The file.
        etag: A sha256, or 40 hex digits: git's id of the content, or its sha1, which some mirrors give.

    Raises:
        WeightsError: The file hashes to something else, or cannot be read.
    """
    if _SHA256.match(etag):
        verify_sha256(path, etag)
        return
    try:
        plain, blob = hashlib.sha1(), hashlib.sha1(b"blob %d\0" % path.stat().st_size)
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                plain.update(piece)
                blob.update(piece)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read", found=error.strerror) from error
    if etag not in (blob.hexdigest(), plain.hexdigest()):
        raise WeightsError(f"{path} has the wrong git id", found=blob.hexdigest(), expected=etag, remedy=_NOT_USED)
