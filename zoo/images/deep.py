"""More than 8 bits a channel, which Pillow holds in grey only: decoded by imagecodecs and tifffile, as uint16."""

import os
import struct
import sys
import zlib
from typing import IO, Any

import imagecodecs
import numpy as np
import numpy.typing as npt

from zoo.errors import ImageError
from zoo.images.strips import strips

Array = npt.NDArray[Any]

_READ_BYTES = 1 << 24  # of compressed data, ahead of the decoder; tifffile takes sixteen times as much
_PIECE_BYTES = 1 << 20  # that are unpacked at once
_DEFLATE = (8, 32946, 50013)  # compressions of a TIFF
_STREAMS = (*_DEFLATE, 5, 32773, 34925, 50000)  # LZW, PackBits, LZMA, Zstandard


def grey(values: Array, name: str) -> npt.NDArray[np.uint16]:
    """Integers in [0, 65535], or floating point in [0, 1], as uint16."""
    if values.dtype.itemsize == 2 and values.dtype.kind == "u":
        return values.astype(np.uint16, copy=False)  # byte order
    top = 1 if values.dtype.kind == "f" else 65535
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= top):  # NaN is refused too
        raise ImageError(
            f"{name}: the values have no known range",
            found=f"{low} to {high}",
            expected=f"0 to {top}",
            remedy="scale them, or save the picture with 8 or 16 bits",
        )
    return _scaled(values, 65535) if top == 1 else values.astype(np.uint16)


def _scaled(values: Array, factor: float) -> npt.NDArray[np.uint16]:
    """(..., H, W) times ``factor``, rounded to uint16, in the same memory order."""
    wide = np.float64(factor) if values.dtype.kind != "f" else np.float32(factor)  # float16 does not hold 65535
    result = np.empty_like(values, dtype=np.uint16)
    for rows in strips(*values.shape[-2:]):
        result[..., rows, :] = np.rint(values[..., rows, :] * wide)
    return result


def png(file: IO[bytes]) -> Array | None:
    """A PNG of 16 bits, which Pillow cannot hold in color; None where it has fewer."""
    file.seek(24)
    if file.read(1) != b"\x10":
        return None
    file.seek(0)
    pixels: Array = imagecodecs.png_decode(file.read())
    return pixels


def late_exif(file: IO[bytes]) -> bytes | None:
    """The EXIF data of a PNG that has it after the pixels, where Pillow finds it only after decoding."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        length, tag = struct.unpack(">I4s", head)
        if tag == b"eXIf":
            return file.read(length)
        file.seek(length + 4, os.SEEK_CUR)
    return None


def tiff_arrays(page: Any, name: str) -> tuple[Array, Array | None]:
    """Pixels, uint16, (H, W), (H, W, 3) or CMYK (H, W, 4), and alpha, of a tifffile page: views of one array."""
    colors = {0: 1, 1: 1, 2: 3, 5: 4}.get(page.photometric)
    samples = page.samplesperpixel
    if colors is None or not colors <= samples <= 6 or page.imagedepth != 1 or page.sampleformat not in (1, 3):
        raise ImageError(
            f"{name}: TIFFs of this kind cannot be read",
            found=f"{samples} samples of {page.bitspersample} bits, photometric {page.photometric}, "
            f"format {page.sampleformat}",
            expected="grey, RGB or CMYK, unsigned or floating point",
            remedy="convert it to RGB of 8 or 16 bits",
        )
    stored = _stored(page)
    if page.planarconfig == 2:
        planes = stored.reshape(samples, page.imagelength, page.imagewidth)
    else:
        planes = np.moveaxis(stored[0, 0], -1, 0)
    if planes.dtype.kind == "f":
        planes = grey(planes, name)
    elif page.bitspersample != 16:
        planes = _scaled(planes, 65535 / (2**page.bitspersample - 1))
    planes = planes.astype(np.uint16, copy=not planes.flags.writeable)
    color = planes[:colors]
    if page.photometric == 0:  # white is zero
        np.subtract(65535, color, out=color)
    extra = int(page.extrasamples[0]) if page.extrasamples else 0
    alpha = planes[colors] if extra in (1, 2) and samples > colors else None
    if extra == 1 and alpha is not None:  # colors are multiplied by alpha
        _divide(color, alpha)
    return color[0] if colors == 1 else np.moveaxis(color, 0, -1), alpha


def _stored(page: Any) -> Array:
    """The samples of a tifffile page, (planes, 1, H, W, samples of each)."""
    if len(page.dataoffsets) == 1 and page.compression != 1:  # the only strip is all of it: no copy is needed
        if (strip := _only_strip(page)) is not None:
            return strip
        decoded, *_ = next(page.segments())
        if decoded is not None and decoded.shape == page.shaped[1:]:
            whole: Array = decoded[None]
            return whole
    stored: Array = page.asarray(squeeze=False, buffersize=_READ_BYTES)
    return stored


def _only_strip(page: Any) -> Array | None:
    """As `_stored`, of a page of one strip of whole integers packed as bytes are; None for others.

    It is unpacked to where it stays. tifffile gives bytes, which cannot be painted or changed without a copy.
    """
    whole = page.dtype.kind == "u" and page.bitspersample == 8 * page.dtype.itemsize
    if page.compression not in _STREAMS or not whole or page.is_tiled or page.fillorder != 1 or page.predictor > 2:
        return None
    stored: Array = np.empty(page.shaped, page.dtype)
    room = stored.reshape(-1).view(np.uint8)
    file, size = page.parent.filehandle, page.databytecounts[0]
    file.seek(page.dataoffsets[0])
    if page.compression in _DEFLATE:
        filled = _inflate(file, size, room)
    else:
        import tifffile

        filled = len(tifffile.TIFF.DECOMPRESSORS[page.compression](file.read(size), out=room.data))
    if filled < room.size:
        raise ValueError(f"the only strip ends after {filled} of {room.size} bytes")
    if (page.parent.byteorder == "<") != (sys.byteorder == "little"):
        stored.byteswap(inplace=True)
    if page.predictor == 2:
        imagecodecs.delta_decode(stored, axis=-2, out=stored)
    return stored


def _inflate(file: Any, size: int, room: npt.NDArray[np.uint8]) -> int:
    """Unpack ``size`` bytes into ``room``, piece by piece: they are never held as a whole. How many came.

    Raises:
        zlib.error: They are damaged.
    """
    stream, filled, end = zlib.decompressobj(), 0, file.tell() + size
    while not stream.eof and filled <= room.size:
        data = stream.unconsumed_tail or file.read(min(_PIECE_BYTES, end - file.tell()))
        part = stream.decompress(data, _PIECE_BYTES)
        if not data and not part:
            break
        room[filled : filled + len(part)] = np.frombuffer(part, np.uint8)[: room.size - filled]
        filled += len(part)
    return filled


def _divide(color: npt.NDArray[np.uint16], alpha: npt.NDArray[np.uint16]) -> None:
    """Divide ``color`` (C, H, W) by ``alpha`` (H, W), in place."""
    for rows in strips(*alpha.shape):
        ratio = color[:, rows] / np.maximum(alpha[rows], 1).astype(np.float32)
        np.minimum(ratio, 1, out=ratio)
        ratio *= 65535
        color[:, rows] = np.rint(ratio)
