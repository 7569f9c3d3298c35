"""Several colourings of a film in one: a grid of cells, each with its name above if wanted."""

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame
from PIL import Image, ImageDraw, ImageFont

from zoo.errors import OptionError
from zoo.video.chroma import Coding
from zoo.video.planes import Plane, output_format, rows

Array = npt.NDArray[Any]

LONGEST_SIDE = 16384  # pixels; what H.264 can have
_STRIP = 12  # of a cell's height, what its name takes one part of
_STRIPS = (16, 48)  # pixels


class Layout:
    """Where the cells lie: in rows, as many as columns or one fewer. What is left of the last row is black.

    Args:
        size: Height and width of a cell.
        labels: What stands above each cell; all empty, and there is no room for it.

    Raises:
        OptionError: More cells than fit into a film.
    """

    def __init__(self, size: tuple[int, int], labels: Sequence[str]) -> None:
        self._cell, self.labels = size, tuple(labels)
        height, width = size
        low, high = _STRIPS
        self._strip = min(max(height // _STRIP, low), high) // 2 * 2 if any(labels) else 0
        self.columns = math.ceil(math.sqrt(len(labels)))
        self.rows = math.ceil(len(labels) / self.columns)
        self.size = self.rows * (height + self._strip), self.columns * width
        if len(labels) > 1 and max(self.size) > LONGEST_SIDE:
            raise OptionError(
                "too many pictures side by side",
                found=f"{len(labels)} of {width} x {height} pixels",
                expected=f"at most {LONGEST_SIDE} pixels in height and width",
                remedy="compare fewer models",
            )

    def _places(self) -> list[tuple[int, int]]:
        """The row and column at which each cell begins."""
        height, width = self._cell
        return [
            (i // self.columns * (height + self._strip) + self._strip, i % self.columns * width)
            for i in range(len(self.labels))
        ]

    @cached_property
    def _text(self) -> npt.NDArray[np.float32]:
        """The names, 1 on 0, (H, W)."""
        sheet = np.zeros(self.size, np.float32)
        if not self._strip:
            return sheet
        font = ImageFont.load_default(size=max(8, self._strip * 2 // 3))
        width = self._cell[1]
        for label, (top, left) in zip(self.labels, self._places(), strict=True):
            strip = Image.new("L", (width, self._strip))
            ImageDraw.Draw(strip).text((width / 2, self._strip / 2), label, 255, font, anchor="mm")
            sheet[top - self._strip : top, left : left + width] = np.asarray(strip, np.float32) / 255
        return sheet

    def frame(self, cells: Sequence[VideoFrame], coding: Coding) -> VideoFrame:
        """One frame of the frames ``cells``, whose planes are copied as they are."""
        if len(cells) == 1 and not self._strip:
            return cells[0]
        kind = cells[0].format.name
        sheet = VideoFrame(self.size[1], self.size[0], kind)
        depth = 1 << (coding.bits - 8)
        low, high = (0, 255 * depth) if coding.full else (16 * depth, 235 * depth)
        for index in range(3):
            target = rows(sheet, index)
            step = self._cell[0] // rows(cells[0], index).shape[0]  # of the planes' sampling
            if index == 0:
                target[:] = low + self._text * (high - low)
            else:
                target[:] = 128 * depth
            for cell, (top, left) in zip(cells, self._places(), strict=True):
                plane = rows(cell, index)
                height, width = plane.shape
                target[top // step : top // step + height, left // step : left // step + width] = plane
        return sheet

    def picture(self, cells: Sequence[Array]) -> Array:
        """One picture, (H, W, 3 | 4), of the pictures ``cells`` of one kind."""
        if len(cells) == 1 and not self._strip:
            return cells[0]
        first = cells[0]
        sheet = np.zeros((*self.size, first.shape[2]), first.dtype)
        full = np.iinfo(first.dtype).max
        sheet[..., :3] = (self._text * full)[..., None]
        if first.shape[2] == 4:
            sheet[..., 3] = full
        for cell, (top, left) in zip(cells, self._places(), strict=True):
            sheet[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
        return sheet


def grey(plane: Plane, coding: Coding) -> VideoFrame:
    """A frame with this luma plane, (H, W) codes, and no colour."""
    frame = VideoFrame(plane.shape[1], plane.shape[0], output_format(plane.shape[0], plane.shape[1], coding.bits))
    rows(frame, 0)[:] = plane
    for index in (1, 2):
        rows(frame, index)[:] = 128 << (coding.bits - 8)
    return frame
