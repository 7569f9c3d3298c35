"""Pictures as frames, and coloured frames as pictures: the way of photos, with a film's colours."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from zoo import hints, images, pipeline, upsampling
from zoo.images import Picture
from zoo.video.chroma import Coding
from zoo.video.coloring import Colored
from zoo.video.layout import Layout
from zoo.video.planes import Plane
from zoo.video.source import Shot

Array = npt.NDArray[Any]

_UNKNOWN = 2  # of H.273's numbers of matrices
_LUMA = (16, 219)  # black, and what white is above it
_WHITE = 255


def plane_of(picture: Picture) -> tuple[npt.NDArray[np.uint8], Coding]:
    """A picture's luma plane, (H, W) codes of 8 bits, and its coding; what is transparent is seen before white."""
    height = picture.pixels.shape[0]
    coding = Coding.of(_UNKNOWN, False, 8, height)
    pixels: Array = images.to_8_bit(picture.pixels).astype(np.float32)
    if pixels.ndim == 3:
        pixels = pixels @ np.array([coding.red, 1 - coding.red - coding.blue, coding.blue], np.float32)
    if picture.alpha is not None:
        opaque = images.to_8_bit(picture.alpha).astype(np.float32) / 255
        pixels = pixels * opaque + _WHITE * (1 - opaque)
    low, span = _LUMA
    return np.rint(low + pixels * (span / 255)).astype(np.uint8), coding


class Painter:
    """Paints the cells of each frame.

    Args:
        labels: Of the cells.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = labels
        self._layout: Layout | None = None

    def __call__(self, shot: Shot, colored: Sequence[Colored | None], coding: Coding) -> Array:
        """The picture, (H, W, 3), or (H, W, 4) where it has alpha; uint8, or uint16 where the source has more bits.

        Args:
            shot: The frame.
            colored: The colours of each cell; None for grey.
            coding: Of the frame's plane.
        """
        height, width = shot.plane.shape
        if self._layout is None:
            self._layout = Layout((height, width), self._labels)
        own = shot.picture
        pixels = grey(shot.plane, coding) if own is None else own.pixels
        cells = [_painted(pixels, c) for c in colored]
        if own is not None and own.alpha is not None:
            cells = [np.dstack([cell, own.alpha]) for cell in cells]
        return self._layout.picture(cells)


def grey(plane: Plane, coding: Coding) -> Array:
    """The picture of a luma plane, (H, W) codes: sRGB (H, W), uint8 or, of more than 8 bits, uint16."""
    full, dtype = (255, np.uint8) if coding.bits == 8 else (65535, np.uint16)
    luma: Array = np.rint(coding.luma(torch.from_numpy(plane)).numpy() * full)
    return luma.astype(dtype)


def _painted(pixels: Array, colored: Colored | None) -> Array:
    """``pixels`` (H, W[, 3]) in these colours, (H, W, 3); at their own lightness."""
    with torch.inference_mode():
        if colored is None:
            return pipeline.colorize_array(pixels, lambda L: torch.zeros(1, 2, 1, 1), working_size=32, multiple_of=1)
        ab = colored.ab
        side = max(1, round(math.sqrt(ab.shape[2] * ab.shape[3])))
        painted = pipeline.colorize_array(
            pixels,
            lambda L: upsampling.bilinear_upsample(ab, (L.shape[2], L.shape[3])),
            working_size=side,
            multiple_of=1,
        )
        if colored.touch is not None:
            hints.retouch(painted, pixels, colored.touch.hints, colored.touch.radius)
        return painted
