"""Still WebPs from and to arrays, by the library that Pillow uses, without the copies that Pillow makes on the way."""

import struct
from collections.abc import Iterator
from typing import IO, Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from zoo.images.jpeg import packed

Array = npt.NDArray[Any]

_MOST_SIDE = 16383
_FEATURES = b"VP8X"  # the chunk that says what else there is
_ALPHA, _EXIF, _PROFILE = 0x10, 0x08, 0x20  # its flags
_EFFORT = 4  # of 0 to 6, as Pillow has it


def decode(data: bytes, shape: tuple[int, ...]) -> Array | None:
    """The pixels (H, W, 3 or 4), uint8, of a WebP; None where it cannot be decoded, or is not of that ``shape``."""
    try:
        pixels: Array = imagecodecs.webp_decode(data)
    except (RuntimeError, ValueError):
        return None
    return pixels if pixels.shape == shape and pixels.dtype == np.uint8 else None


def encode(file: IO[bytes], pixels: npt.NDArray[np.uint8], *, quality: int, exif: bytes, profile: bytes | None) -> None:
    """Write ``pixels`` (H, W) or (H, W, 2 | 3 | 4), alpha last, as a lossy WebP.

    Args:
        file: To write to.
        pixels: sRGB.
        quality: 1 to 100.
        exif: A TIFF structure after ``b"Exif\\0\\0"``, or nothing.
        profile: The color profile.

    Raises:
        ValueError: A side that the format does not have.

    Source: WebP Container Specification, RFC 9649, 2.7.
    """
    height, width = pixels.shape[:2]
    if max(height, width) > _MOST_SIDE:
        raise ValueError(f"{width} x {height} pixels")
    if pixels.shape[2:] in ((), (2,)):  # there is no grey
        grey = pixels.reshape(height, width, -1)
        pixels = grey[..., [0, 0, 0, *range(1, grey.shape[2])]]
    made = imagecodecs.webp_encode(packed(pixels), quality, lossless=False, method=_EFFORT)
    picture = [(name, content) for name, content in _chunks(memoryview(made)) if name != _FEATURES]
    flags = _ALPHA * any(name == b"ALPH" for name, _ in picture)  # which is left out where all is opaque
    flags |= (_EXIF if exif else 0) | (_PROFILE if profile else 0)
    exif = exif.removeprefix(b"Exif\0\0")
    chunks: list[tuple[bytes, bytes | memoryview]] = [*picture]
    if flags:
        size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
        before = [(_FEATURES, struct.pack("<I", flags) + size), *([(b"ICCP", profile)] if profile else [])]
        chunks = [*before, *picture, *([(b"EXIF", exif)] if exif else [])]
    total = sum(8 + len(content) + len(content) % 2 for _, content in chunks)
    file.write(b"RIFF" + struct.pack("<I", 4 + total) + b"WEBP")
    for name, content in chunks:
        file.write(name + struct.pack("<I", len(content)))
        file.write(content)
        file.write(bytes(len(content) % 2))


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    at = 12
    while at < len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
