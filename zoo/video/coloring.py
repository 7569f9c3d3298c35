"""A film's chroma from its luma: the network sees key frames, what lies between follows the motion."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo import pipeline, upsampling
from zoo.video import chroma, motion
from zoo.video.chroma import Coding
from zoo.video.guiding import Guide, Plan, Touch
from zoo.video.pacing import Frame, Pace, Share, Sight

_STEADINESS = 0.6  # of a key frame's colours, how much is carried from the key frame before
_ENOUGH = 0.1  # weight of what is carried, below which the network's own answer is asked for
_WORTH_A_RUN = 0.05  # share of the frame that is to lack colours for it to be asked


@dataclass(frozen=True)
class Colored:
    """The colours of one frame, small.

    Attributes:
        luma: In [0, 1], (1, 1, h, w).
        chroma: Cb and Cr in [-0.5, 0.5], (1, 2, h, w).
        ab: In Lab units, (1, 2, h, w).
        first: Whether it begins a scene.
        key: Whether the network saw it.
        touch: Hints that were given on it.
    """

    luma: Tensor
    chroma: Tensor
    ab: Tensor
    first: bool
    key: bool
    touch: Touch | None = None


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
        plan: What was told of the film's colours, by the time stamps that `feed` is given.
        begin: Called when a scene begins.
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
        plan: Plan | None = None,
        begin: Callable[[], None] | None = None,
    ) -> None:
        self._predict, self._coding, self._saturation = predict, coding, saturation
        self._steadiness, self._begin = steadiness, begin
        self._pace = Pace(Sight(size, working_size, multiple_of), coding, interval)
        self._guide = None if plan is None else Guide(plan, size, self._pace.sight, coding)
        self._chroma = chroma.ChromaTable(coding)
        self._key: Frame | None = None
        self._between: list[Frame] = []
        self.runs = 0  # of the network

    def feed(self, luma: npt.NDArray[np.uint8 | np.uint16], at: int = 0) -> Iterator[Colored]:
        """The colours that are known once the next luma plane, (H, W) codes, is; ``at`` is its time stamp."""
        frame = self._pace(luma, at)
        if frame.first:
            yield from self.flush()
            self._key = None
            if self._guide is not None:
                self._guide.begin(at)
            if self._begin is not None:
                self._begin()
        if frame.key:
            yield from self._close(frame)
        else:
            self._between.append(frame)

    def flush(self) -> Iterator[Colored]:
        """The frames still held back; the last of them becomes a key frame."""
        if self._between:
            frame = self._between.pop()
            frame.key = True
            yield from self._close(frame)

    def _close(self, frame: Frame) -> Iterator[Colored]:
        """``frame`` becomes the key frame, and what lies between it and the last one gets its colours."""
        last = self._key
        if self._guide is not None:
            self._guide.follow(last, self._between, frame, self._pace)
        frame.ab = self._answer(frame)
        if last is not None:
            carried = motion.warp(last.ab, frame.flow)
            frame.ab += self._steadiness * frame.seen[..., None] * (carried - frame.ab)
        self._show(frame, last)
        if last is not None:
            yield from self._colored_between(last, frame)
        self._between.clear()
        self._key = frame
        yield self._colored(frame, frame.shown)

    def _show(self, frame: Frame, last: Frame | None) -> None:
        """What hints change in a key frame is steadied too; where several moments tell, it would lag behind them."""
        frame.shown = frame.ab
        if self._guide is None or not self._guide.tells:
            return
        frame.shown = self._guide.guided(frame, frame.ab)
        if last is not None and not self._guide.changes:
            carried = motion.warp(last.shown - last.ab, frame.flow) - (frame.shown - frame.ab)
            frame.shown = frame.shown + self._steadiness * frame.seen[..., None] * carried
        frame.shown = self._guide.touched(frame, frame.shown)

    def _colored_between(self, last: Frame, frame: Frame) -> Iterator[Colored]:
        """The frames between two key frames; hints that were given on one of them count from there to either side."""
        count, guide = len(self._between) + 1, self._guide
        stops = [(n, one) for n, one in enumerate(self._between, 1) if guide is not None and guide.touch(one)]
        for n, one in stops:
            assert guide is not None
            one.shown = guide.touched(one, self._blend(one, last, frame, n / count))
        for (start, left), (end, right) in pairwise([(0, last), *stops, (count, frame)]):
            for n in range(start + 1, end):
                one = self._between[n - 1]
                yield self._colored(one, self._blend(one, left, right, (n - start) / (end - start)))
            if right is not frame:
                yield self._colored(right, right.shown)

    def _blend(self, frame: Frame, left: Frame, right: Frame, at: float) -> motion.Map:
        """ab (h, w, 2) of a frame ``at`` 0 to 1 of the way between two others, as a rule key frames."""
        (to_left, left_seen), (to_right, right_seen) = self._towards(frame, left), self._towards(frame, right)
        weights = (1 - at) * left_seen, at * right_seen
        sides = motion.warp(left.shown, to_left), motion.warp(right.shown, to_right)
        rest = np.maximum(_ENOUGH - weights[0] - weights[1], 0)
        own: Any = (sides[0] + sides[1]) / 2
        if np.count_nonzero(rest) > _WORTH_A_RUN * rest.size:
            own = self._answer(frame)
            if self._guide is not None:
                own = self._guide.guided(frame, own)
        total = weights[0] + weights[1] + rest
        parts = zip((*weights, rest), (*sides, own), strict=True)
        blended: motion.Map = sum((weight / total)[..., None] * ab for weight, ab in parts)
        return blended

    def _towards(self, frame: Frame, other: Frame) -> tuple[motion.Flow, Share]:
        """Where ``frame``'s pixels lie in ``other``, (h, w, 2), and how surely, (h, w)."""
        if other is self._key:
            return frame.flow, frame.seen
        there, back = self._pace.flows(frame.plane, other.plane)
        return there, motion.consistency(there, back)

    def _answer(self, frame: Frame) -> motion.Map:
        """The network's ab (h, w, 2) for a frame, at half the size that it saw."""
        self.runs += 1
        luma = self._coding.luma(torch.from_numpy(frame.codes))[None, None]
        L = pipeline.pad(chroma.lightness(luma), self._pace.sight.geometry)
        ab = self._predict(L)
        pipeline.check_prediction(ab, L)
        ab = ab.float()
        half = torch.nn.functional.avg_pool2d(L, 2)
        if ab.shape[2] > half.shape[2] or ab.shape[3] > half.shape[3]:
            ab = torch.nn.functional.adaptive_avg_pool2d(ab, (half.shape[2], half.shape[3]))
        height, width = self._pace.sight.half
        ab = upsampling.guided_upsample(ab, half)[..., :height, :width]
        if self._guide is not None:
            ab = self._guide.referred(frame, ab)
        return np.ascontiguousarray((ab * self._saturation)[0].permute(1, 2, 0).numpy())

    def _colored(self, frame: Frame, ab: motion.Map) -> Colored:
        own = torch.from_numpy(ab).permute(2, 0, 1)[None].contiguous()
        touch = None if self._guide is None else self._guide.touch(frame)
        return Colored(frame.luma, self._chroma(frame.luma, own), own, frame.first, frame.key, touch)
