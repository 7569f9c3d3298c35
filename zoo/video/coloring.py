"""A film's chroma from its luma: the network sees key frames, what lies between follows the motion."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo import pipeline, upsampling
from zoo.video import chroma, motion
from zoo.video.chroma import Coding

LONGEST_INTERVAL = 8
_SEEN_AGAIN = 0.8  # share of a frame that the last key frame must show, else it becomes one itself
_ANOTHER_SCENE = 0.3  # share, below which nothing is carried: a cut between scenes of like brightness
_STEADINESS = 0.6  # of a key frame's colours, how much is carried from the key frame before
_ENOUGH = 0.1  # weight of what is carried, below which the network's own answer is asked for
_WORTH_A_RUN = 0.02  # share of the frame that is to lack colours for it to be asked


@dataclass(frozen=True)
class Colored:
    """The colours of one frame, small.

    Attributes:
        luma: In [0, 1], (1, 1, h, w).
        chroma: Cb and Cr in [-0.5, 0.5], (1, 2, h, w).
        ab: In Lab units, (1, 2, h, w).
        first: Whether it begins a scene.
        key: Whether the network saw it.
    """

    luma: Tensor
    chroma: Tensor
    ab: Tensor
    first: bool
    key: bool


class _Frame:
    """A frame on its way: small luma, and how it lies towards the last key frame."""

    def __init__(self, codes: npt.NDArray[np.uint8], luma: Tensor, first: bool) -> None:
        self.codes, self.luma, self.first = codes, luma, first
        self.ab = self.flow = self.seen = torch.empty(0)  # ab of key frames; towards the last one, and how surely


class FilmColorizer:
    """Gives the frames of a film colours, in order, a few frames late.

    Args:
        predict: The network, L (1, 1, h, w) in [0, 100] -> ab.
        size: Height and width of the luma planes that will be given.
        working_size: As of `pipeline.fit`.
        multiple_of: Likewise.
        coding: How the luma is coded.
        saturation: Factor on ab.
        interval: The network sees every so many frames and the first of each scene; None is up to 8, fewer where
            much moves.
        steadiness: Share of the earlier colours in those of a key frame, 0 to 1, where they can be followed.
    """

    def __init__(
        self,
        predict: pipeline.Predict,
        size: tuple[int, int],
        *,
        working_size: int,
        multiple_of: int,
        coding: Coding,
        saturation: float = 1.0,
        interval: int | None = None,
        steadiness: float = _STEADINESS,
    ) -> None:
        self._predict, self._coding, self._saturation = predict, coding, saturation
        self._steadiness = steadiness
        self._geometry = pipeline.fitted(*size, working_size, multiple_of)
        self._interval, self._adaptive = interval or LONGEST_INTERVAL, interval is None
        self._cuts, self._flow = motion.CutDetector(), motion.FlowEstimator()
        self._key: _Frame | None = None
        self._between: list[_Frame] = []
        self.runs = 0  # of the network

    def feed(self, luma: npt.NDArray[np.uint8 | np.uint16]) -> Iterator[Colored]:
        """The colours that are known once the next luma plane, (H, W) codes, is."""
        height, width = self._geometry.size
        small: npt.NDArray[Any] = np.asarray(cv2.resize(luma, (width, height), interpolation=cv2.INTER_AREA))
        codes = (small >> (self._coding.bits - 8)).astype(np.uint8)
        frame = _Frame(codes, self._coding.luma(torch.from_numpy(small))[None, None], self._cuts.is_cut(codes))
        if self._key is not None and not frame.first:
            frame.flow, frame.seen = self._towards(frame, self._key)
            frame.first = float(frame.seen.mean()) < _ANOTHER_SCENE
        if frame.first:
            yield from self.flush()
            self._key = None
        key = self._key
        due = len(self._between) + 1 >= self._interval
        lost = self._adaptive and key is not None and float(frame.seen.mean()) < _SEEN_AGAIN
        if key is None or due or lost:
            yield from self._close(frame)
        else:
            self._between.append(frame)

    def flush(self) -> Iterator[Colored]:
        """The frames still held back; the last of them becomes a key frame."""
        if self._between:
            yield from self._close(self._between.pop())

    def _close(self, frame: _Frame) -> Iterator[Colored]:
        """``frame`` becomes the key frame, and what lies between it and the last one gets its colours."""
        frame.ab = self._answer(frame)
        last = self._key
        if last is not None:
            carried = motion.warp(last.ab, frame.flow)
            frame.ab = torch.lerp(frame.ab, carried, self._steadiness * frame.seen)
            for n, between in enumerate(self._between, 1):
                yield self._colored(between, self._blend(between, last, frame, n / (len(self._between) + 1)), False)
        self._between.clear()
        self._key = frame
        yield self._colored(frame, frame.ab, True)

    def _blend(self, frame: _Frame, last: _Frame, following: _Frame, at: float) -> Tensor:
        """ab (1, 2, h, w) of a frame ``at`` 0 to 1 of the way between two key frames."""
        flow, seen = self._towards(frame, following)
        weights = (1 - at) * frame.seen, at * seen
        sides = motion.warp(last.ab, frame.flow), motion.warp(following.ab, flow)
        total = weights[0] + weights[1]
        rest = (_ENOUGH - total).clamp_(min=0)
        lacking = float((rest > 0).float().mean())
        own = self._answer(frame) if lacking > _WORTH_A_RUN else torch.lerp(*sides, at)
        return (weights[0] * sides[0] + weights[1] * sides[1] + rest * own) / (total + rest)

    def _towards(self, frame: _Frame, other: _Frame) -> tuple[Tensor, Tensor]:
        """Where ``frame``'s pixels lie in ``other``, (1, 2, h, w), and how surely, (1, 1, h, w)."""
        there, back = (
            torch.from_numpy(self._flow(a.codes, b.codes)).permute(2, 0, 1)[None]
            for a, b in ((frame, other), (other, frame))
        )
        return there, motion.consistency(there, back)

    def _answer(self, frame: _Frame) -> Tensor:
        """The network's ab (1, 2, h, w) for a frame."""
        self.runs += 1
        L = pipeline.pad(chroma.lightness(frame.luma), self._geometry)
        ab = self._predict(L).float() * self._saturation
        return pipeline.unfit(upsampling.guided_upsample(ab, L), self._geometry)

    def _colored(self, frame: _Frame, ab: Tensor, key: bool) -> Colored:
        return Colored(frame.luma, chroma.from_ab(frame.luma, ab, self._coding), ab, frame.first, key)
