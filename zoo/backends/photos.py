"""Photographs that come with scikit-image: networks in int8 are calibrated on some, and judged on others."""

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Picture = npt.NDArray[Any]

CALIBRATION = ("retina", "hubble_deep_field", "camera", "coins", "grass")  # lightness is enough
JUDGED = ("astronaut", "chelsea", "coffee", "rocket", "motorcycle")  # in colour
AREA = 256 * 256  # pixels, to which pictures are made smaller: colours differ as much, and are compared in a second


def calibration() -> list[Picture]:
    """Those from which the ranges of a network's numbers are taken, as `Colorizer.colorize_array` takes them."""
    return [_photo(name) for name in CALIBRATION]


def judged() -> list[Picture]:
    """Those on which two ways to run a network are compared, (H, W, 3) uint8 of the area `AREA` at most."""
    return [small(_photo(name)) for name in JUDGED]


def small(pixels: Picture, area: int = AREA) -> Picture:
    """A picture (H, W) or (H, W, C) uint8 in RGB, made smaller where it has more than ``area`` pixels."""
    picture = Image.fromarray(pixels).convert("RGB")
    scale = (area / (picture.width * picture.height)) ** 0.5
    if scale < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    return np.asarray(picture)


def _photo(name: str) -> Picture:
    from skimage import data

    if name == "motorcycle":
        return np.asarray(data.stereo_motorcycle()[0])  # type: ignore[no-untyped-call]
    return np.asarray(getattr(data, name)())
