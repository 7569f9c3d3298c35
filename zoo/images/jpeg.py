"""Plain JPEGs from and to arrays, by the library that Pillow uses, without the copies that Pillow makes on the way."""

import struct
from typing import IO, Any

import imagecodecs
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_START, _END = b"\xff\xd8", b"\xff\xd9"
_JFIF = struct.Struct(">2sH5s2sBHHBB")  # marker, length, name, version, unit, densities, thumbnail
_MOST_SIDE = 65500  # of what libjpeg reads, and so most programs
_PROFILE_BYTES = 65519  # in one segment, after its 14 bytes of header


def decode(data: bytes, shape: tuple[int, ...]) -> Array | None:
    """The pixels (H, W) or (H, W, 3), uint8, of a JPEG; None where it is not whole, or not of that ``shape``.

    The decoder fills in what a file that ends early lacks, without a word. So only a file that ends as it should
    is taken: what is wrong with another is Pillow's to say.
    """
    if not data.endswith(_END):
        return None
    try:
        pixels: Array = imagecodecs.jpeg8_decode(data)
    except (RuntimeError, ValueError):
        return None
    return pixels if pixels.shape == shape and pixels.dtype == np.uint8 else None


def encode(
    file: IO[bytes],
    pixels: npt.NDArray[np.uint8],
    *,
    quality: int,
    subsampling: str,
    dpi: tuple[float, float] | None,
    exif: bytes,
    profile: bytes | None,
) -> None:
    """Write ``pixels`` (H, W) or (H, W, 3) as a JPEG.

    Args:
        file: To write to.
        pixels: sRGB.
        quality: 1 to 100.
        subsampling: Of chroma: ``"420"`` or ``"444"``.
        dpi: Horizontal and vertical resolution.
        exif: A TIFF structure after ``b"Exif\\0\\0"``, at most 65533 bytes, or nothing.
        profile: The color profile.

    Raises:
        ValueError: A side that other programs do not read.
    """
    if max(pixels.shape) > _MOST_SIDE:
        raise ValueError(f"{pixels.shape[1]} x {pixels.shape[0]} pixels")
    chroma = subsampling if pixels.ndim == 3 else None
    data = memoryview(imagecodecs.jpeg8_encode(packed(pixels), quality, subsampling=chroma))
    head = list(_JFIF.unpack_from(data, len(_START)))
    if dpi is not None:
        head[4:7] = 1, *(min(round(value), 65535) for value in dpi)
    file.write(_START + _JFIF.pack(*head))
    if exif:
        file.write(_segment(0xE1, exif))
    parts = [profile[i : i + _PROFILE_BYTES] for i in range(0, len(profile), _PROFILE_BYTES)] if profile else []
    for number, part in enumerate(parts, 1):
        file.write(_segment(0xE2, b"ICC_PROFILE\0" + bytes([number, len(parts)]) + part))
    file.write(data[len(_START) + _JFIF.size :])


def packed(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """``pixels`` without gaps, as codecs want them, who look at the strides of sides of 1 as numpy does not."""
    steps = np.cumprod((1, *pixels.shape[:0:-1]))[::-1]
    return pixels if pixels.strides == tuple(steps) else pixels.copy()


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
