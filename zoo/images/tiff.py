"""TIFFs written strip by strip, several at a time; by hand, since no library writes both 16-bit color and EXIF."""

from collections.abc import Callable
from itertools import accumulate
from typing import IO, Any

import imagecodecs
import numpy.typing as npt
from PIL import ExifTags
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from zoo.images import metadata
from zoo.images.strips import in_threads

Array = npt.NDArray[Any]

_STRIP_BYTES = 1 << 20
_DEFLATE_LEVEL = 1  # level 6 takes four times as long for 6 % less
_LONG, _UNDEFINED = 4, 7  # types of a tag


def encode(
    file: IO[bytes],
    rows: Callable[[slice], Array],
    size: tuple[int, int],
    *,
    tags: metadata.Tags,
    alpha: bool,
    profile: bytes | None,
) -> None:
    """Write a TIFF of 8 or 16 bits: a directory, then strips of rows, deflated.

    Args:
        file: To write to, which can be sought in.
        rows: Gives rows of the picture, (n, W) or (n, W, 2 | 3 | 4), uint8 or uint16.
        size: Height and width.
        tags: What else the directory says.
        alpha: Whether the last sample is one.
        profile: The color profile.
    """
    height, width = size
    first = rows(slice(1))
    channels, itemsize = first[0, 0].size, first.itemsize
    count = max(1, _STRIP_BYTES // (width * channels * itemsize))
    slices = [slice(top, min(top + count, height)) for top in range(0, height, count)]
    base = ExifTags.Base
    values = tags | {
        base.ImageWidth: width,
        base.ImageLength: height,
        base.BitsPerSample: (itemsize * 8,) * channels,
        base.Compression: 8,  # deflate
        base.PhotometricInterpretation: 1 if channels < 3 else 2,
        base.SamplesPerPixel: channels,
        base.RowsPerStrip: count,
        base.PlanarConfiguration: 1,
        base.Predictor: 2,
    }
    if alpha:
        values[base.ExtraSamples] = 2  # alpha that the colors are not multiplied by
    if profile:
        values[base.InterColorProfile] = profile

    def write_directory(lengths: list[int]) -> None:
        directory = ImageFileDirectory_v2(b"II*\0\x08\0\0\0")
        offsets = (0, *accumulate(lengths[:-1]))  # from the end of the directory on
        directory.tagtype |= {base.StripOffsets: _LONG, base.StripByteCounts: _LONG, base.InterColorProfile: _UNDEFINED}
        for tag, value in (values | {base.StripOffsets: offsets, base.StripByteCounts: tuple(lengths)}).items():
            directory[tag] = value
        directory.save(file)

    write_directory([0] * len(slices))  # takes the place of the one that knows the lengths
    lengths = []
    for strip in in_threads(lambda strip: _packed(rows(strip).reshape(-1, width, channels)), slices):
        file.write(strip)
        lengths.append(len(strip))
    file.seek(0)
    write_directory(lengths)


def _packed(rows: Array) -> bytes:
    differences = rows.astype(rows.dtype.newbyteorder("<"))
    differences[:, 1:] -= rows[:, :-1]
    data = imagecodecs.deflate_encode(differences.tobytes(), level=_DEFLATE_LEVEL)
    return bytes(data)
