"""Color profiles: what was read becomes sRGB, what is written says that it is sRGB."""

import logging
import struct
from functools import lru_cache
from typing import Any

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms

from zoo.images.strips import strips

Array = npt.NDArray[Any]

_logger = logging.getLogger(__name__)

# Relative colorimetric with black point compensation, as photo editors do.
_INTENT, _FLAGS = 1, 0x2000
_SPACES = {b"GRAY": "gray", b"RGB ": "rgb", b"CMYK": "cmyk"}
_TRANSFORM_PIXELS = 1 << 22  # at once: each call prepares the transform anew
_DATE = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)


@lru_cache(maxsize=1)
def srgb() -> bytes:
    """The sRGB profile, the same bytes at any time."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + _DATE + profile[36:]  # it was dated now


def to_srgb(pixels: Array, profile: bytes | None, name: str) -> Array:
    """``pixels`` in sRGB, same dtype: (H, W) stays grey, (H, W, 3) and CMYK (H, W, 4) give (H, W, 3).

    The array is used up: the result may be the same one.

    A profile that is broken or belongs to another kind of picture is ignored with a warning that says ``name``.
    Without a profile grey and RGB are taken as sRGB, CMYK (0 is no ink) is mixed as ideal inks.
    """
    space = "gray" if pixels.ndim == 2 else "rgb" if pixels.shape[2] == 3 else "cmyk"
    if profile:
        try:
            found = _SPACES.get(profile[16:20], "unknown")
            if space == "gray" and found in ("gray", "rgb"):
                table = _grey_table(profile, found, pixels.dtype.itemsize)
                return pixels if table is None else _looked_up(table, pixels)
            if space != found:
                raise ValueError(f"a profile for {found}, the picture is {space}")
            return pixels if space == "rgb" and _is_srgb(profile) else _transformed(pixels, profile, space)
        except (RuntimeError, ValueError, TypeError) as error:  # imagecodecs.CmsError is a RuntimeError
            _logger.warning("%s: the color profile is ignored (%s)", name, error)
    return _mixed_inks(pixels) if space == "cmyk" else pixels


def lab_to_srgb(image: Image.Image) -> Image.Image:
    """The Pillow ``image`` of mode LAB (D50) as RGB."""
    lab = ImageCms.createProfile("LAB", 5000)
    transform = ImageCms.buildTransform(
        lab, ImageCms.createProfile("sRGB"), "LAB", "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
    )
    rgb = ImageCms.applyTransform(image, transform)
    assert rgb is not None  # only an in-place transform gives None
    return rgb


def _looked_up(table: Array, pixels: Array) -> Array:
    result = _place_for(pixels)
    for rows in strips(*pixels.shape):  # numpy makes indices of 8 bytes of them
        result[rows] = table[pixels[rows]]
    return result


def _transformed(pixels: Array, profile: bytes, space: str) -> Array:
    height, width = pixels.shape[:2]
    result = _place_for(pixels)
    for rows in strips(height, width, _TRANSFORM_PIXELS):
        result[rows] = _transform(pixels[rows], profile, space)
    return result


def _place_for(pixels: Array) -> Array:
    """Where a result (H, W) or (H, W, 3) is put: over the pixels, if they can be written to.

    Not over inks of 8 bits: encoders that take a whole picture would make a copy without the gaps.
    """
    inks = pixels.shape[2:] == (4,)
    if pixels.flags.writeable and not (inks and pixels.itemsize == 1):
        return pixels[..., :3] if inks else pixels
    return np.empty((*pixels.shape[:2], 3) if inks else pixels.shape, pixels.dtype)


def _transform(pixels: Array, profile: bytes, space: str) -> Array:
    result: Array = imagecodecs.cms_transform(
        np.ascontiguousarray(pixels),
        profile,
        srgb(),
        colorspace=space,
        outcolorspace="rgb",
        intent=_INTENT,
        flags=_FLAGS,
    )
    return result


@lru_cache(maxsize=16)
def _is_srgb(profile: bytes) -> bool:
    """Whether the profile changes no color by more than one of 255 steps: names of profiles say little."""
    steps = np.arange(0, 65536, 257 * 15, dtype=np.uint16)
    grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(1, -1, 3)
    return bool(np.abs(_transform(grid, profile, "rgb").astype(np.int32) - grid).max() <= 257)


@lru_cache(maxsize=16)
def _grey_table(profile: bytes, space: str, itemsize: int) -> Array | None:
    """sRGB grey of every grey value of 1 or 2 bytes; None when that changes no value by more than one of 255 steps.

    In floating point, since 16-bit transforms are coarse near black.
    """
    levels = 256**itemsize
    ramp = np.linspace(0, 1, levels, dtype=np.float32)[None]
    grey = _transform(ramp if space == "gray" else np.dstack([ramp] * 3), profile, space)[0, :, 1].clip(0, 1)
    if not np.isfinite(grey).all():
        raise ValueError("its tone curve is not finite")
    if np.abs(grey - ramp[0]).max() <= 1 / 255:
        return None
    table: Array = np.rint(grey * (levels - 1)).astype(np.uint8 if itemsize == 1 else np.uint16)
    return table


def _mixed_inks(cmyk: Array) -> Array:
    top = np.iinfo(cmyk.dtype).max
    rgb = _place_for(cmyk)
    for rows in strips(*cmyk.shape[:2]):
        light = top - cmyk[rows, :, 3:].astype(np.uint32)
        rgb[rows] = ((top - cmyk[rows, :, :3]) * light + top // 2) // top
    return rgb
