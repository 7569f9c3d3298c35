"""A picture in memory, its 8-bit form and its Pillow form."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from zoo.errors import ImageError
from zoo.images.strips import strips

Array = npt.NDArray[Any]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Picture:
    """A picture, upright and in sRGB. The arrays may be read-only, and views of one that holds both.

    Attributes:
        pixels: (H, W) grey or (H, W, 3) RGB, uint8 or uint16.
        alpha: (H, W) of the same dtype, or None. Colors are not multiplied by it.
        format: Of the file, as Pillow names it (``"JPEG"``); empty for a picture that was made in memory.
        exif: A TIFF structure after ``b"Exif\\0\\0"``, orientation 1, no thumbnail; or None.
        dpi: Horizontal and vertical, or None.
    """

    pixels: Array
    alpha: Array | None = None
    format: str = ""
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None


def to_8_bit(pixels: Array) -> npt.NDArray[np.uint8]:
    """``pixels`` of any shape, uint8, uint16 or floating point in [0, 1], as uint8, rounded to nearest.

    Raises:
        ImageError: Another dtype.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        rounded: npt.NDArray[np.uint8] = np.empty(pixels.shape, np.uint8)
        for rows in strips(len(pixels), pixels[0].size) if pixels.size else ():
            rounded[rows] = _table_16_to_8()[pixels[rows]]  # of all at once, numpy makes indices of 8 bytes
    elif pixels.dtype.kind == "f":
        rounded = np.rint(np.nan_to_num(pixels).clip(0, 1) * 255).astype(np.uint8)
    else:
        raise ImageError(
            "not the values of a picture",
            found=pixels.dtype,
            expected="uint8, uint16 or floating point in [0, 1]",
        )
    return rounded


@lru_cache(maxsize=1)
def _table_16_to_8() -> npt.NDArray[np.uint8]:
    return ((np.arange(65536, dtype=np.uint32) + 128) // 257).astype(np.uint8)


def to_pil(pixels: Array, alpha: Array | None = None) -> Image.Image:
    """A Pillow image of mode L, LA, RGB or RGBA; 16-bit grey without alpha becomes I;16.

    Pillow has no 16-bit color: it is rounded to 8 bits, and floating point always is.

    Args:
        pixels: (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8, uint16, or floating point in [0, 1].
        alpha: (H, W), or None.

    Raises:
        ImageError: Not the arrays of a picture.
    """
    pixels, alpha = checked(pixels, alpha)
    if pixels.ndim == 2 and pixels.dtype == np.uint16 and alpha is None:
        return Image.fromarray(pixels)
    pixels = to_8_bit(pixels)
    if alpha is None:
        return Image.fromarray(pixels)
    return Image.fromarray(joined(pixels, to_8_bit(alpha)))


def joined(pixels: Array, alpha: Array | None) -> Array:
    """``pixels`` (H, W) or (H, W, 3) with the ``alpha`` (H, W), if any, behind; no copy where they lie so already."""
    if alpha is None:
        return pixels
    step, shape = pixels.itemsize, (*alpha.shape, 4)
    apart = alpha.ctypes.data - pixels.ctypes.data
    if pixels.ndim == 3 and apart == 3 * step and pixels.strides == (*alpha.strides, step):
        return np.lib.stride_tricks.as_strided(pixels, shape, pixels.strides)
    return np.dstack([pixels, alpha])


def checked(pixels: Array, alpha: Array | None) -> tuple[Array, Array | None]:
    """``pixels`` as (H, W) or (H, W, 3), and the ``alpha`` given or found in a fourth channel.

    Raises:
        ImageError: Not the arrays of a picture, or two alphas.
    """
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim == 3 and pixels.shape[2] == 4 and alpha is None:
        pixels, alpha = pixels[..., :3], pixels[..., 3]
    if pixels.size == 0 or pixels.shape[2:] not in ((), (3,)) or pixels.ndim < 2:
        raise ImageError(
            "not an array of a picture",
            found=f"shape {pixels.shape}",
            expected="(H, W), (H, W, 1), (H, W, 3) or (H, W, 4), not empty",
        )
    if alpha is not None and (alpha.shape != pixels.shape[:2] or alpha.dtype != pixels.dtype):
        raise ImageError(
            "alpha does not fit the picture",
            found=f"{alpha.shape} of {alpha.dtype}",
            expected=f"{pixels.shape[:2]} of {pixels.dtype}",
        )
    return pixels, alpha
