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
_SEEN_AGAIN = 0.7  # share of a frame that the last key frame must show, else it becomes one itself
_ANOTHER_SCENE = 0.3  # share, below which nothing is carried: a cut between scenes of like brightness
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
    """

    luma: Tensor
    chroma: Tensor
    ab: Tensor
    first: bool
    key: bool


class _Frame:
    """A frame on its way: its luma at the network's size and at half of it, and how it lies towards the last key frame.

    ``ab`` is that of a key frame, (h, w, 2); ``flow`` leads to the last key frame, ``seen`` says how surely.
    """

    def __init__(self, codes: npt.NDArray[Any], half: npt.NDArray[Any], coding: Coding, first: bool) -> None:
        self.codes, self.first = codes, first
        self.plane = of_8_bits(half, coding.bits)
        self.luma = coding.luma(torch.from_numpy(half))[None, None]
        self.ab = self.flow = self.seen = np.empty(0, np.float32)


class Sight:
    """How the frames of a film are seen: small, and smaller yet for the motion; the network is not needed for it.

    Attributes:
        geometry: What the network sees.
        half: Height and width at which motion and cuts are found and colours are carried: half of that, which is
            finer than the network answers, and a quarter of the work.

    Args:
        size: Height and width of the luma planes.
        working_size: As of `pipeline.fit`.
        multiple_of: Likewise.
    """

    def __init__(self, size: tuple[int, int], working_size: int, multiple_of: int) -> None:
        half = pipeline.fitted(*size, max(working_size // 2, 1), max(multiple_of // 2, 1))
        self.half = half.size
        self.geometry = pipeline.Geometry(*((2 * height, 2 * width) for height, width in half))

    def __call__(self, luma: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """A luma plane, (H, W) codes, as the network sees it, and at half of that."""
        codes = _resized(luma, self.geometry.size)
        return codes, _resized(codes, self.half)

    def __str__(self) -> str:
        """What two runs have in common that find the same cuts."""
        return f"{self.geometry.size[0]} x {self.geometry.size[1]}"


def of_8_bits(codes: npt.NDArray[Any], bits: int) -> motion.Plane:
    """Luma codes as cuts and motion are found in them."""
    return codes if codes.dtype == np.uint8 else (codes >> (bits - 8)).astype(np.uint8)


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
        self._sight = Sight(size, working_size, multiple_of)
        self._interval, self._adaptive = interval or LONGEST_INTERVAL, interval is None
        self._chroma = chroma.ChromaTable(coding)
        self._cuts, self._flow = motion.CutDetector(), motion.FlowEstimator()
        self._key: _Frame | None = None
        self._between: list[_Frame] = []
        self.runs = 0  # of the network

    def feed(self, luma: npt.NDArray[np.uint8 | np.uint16]) -> Iterator[Colored]:
        """The colours that are known once the next luma plane, (H, W) codes, is."""
        codes, half = self._sight(luma)
        frame = _Frame(codes, half, self._coding, False)
        frame.first = self._cuts.is_cut(frame.plane)
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
            frame.ab += self._steadiness * frame.seen[..., None] * (carried - frame.ab)
            for n, between in enumerate(self._between, 1):
                yield self._colored(between, self._blend(between, last, frame, n / (len(self._between) + 1)), False)
        self._between.clear()
        self._key = frame
        yield self._colored(frame, frame.ab, True)

    def _blend(self, frame: _Frame, last: _Frame, following: _Frame, at: float) -> motion.Map:
        """ab (h, w, 2) of a frame ``at`` 0 to 1 of the way between two key frames."""
        flow, seen = self._towards(frame, following)
        weights = (1 - at) * frame.seen, at * seen
        sides = motion.warp(last.ab, frame.flow), motion.warp(following.ab, flow)
        rest = np.maximum(_ENOUGH - weights[0] - weights[1], 0)
        own = self._answer(frame) if np.count_nonzero(rest) > _WORTH_A_RUN * rest.size else (sides[0] + sides[1]) / 2
        total = weights[0] + weights[1] + rest
        parts = zip((*weights, rest), (*sides, own), strict=True)
        blended: motion.Map = sum((weight / total)[..., None] * ab for weight, ab in parts)
        return blended

    def _towards(self, frame: _Frame, other: _Frame) -> tuple[motion.Flow, npt.NDArray[np.float32]]:
        """Where ``frame``'s pixels lie in ``other``, (h, w, 2), and how surely, (h, w)."""
        there, back = self._flow(frame.plane, other.plane), self._flow(other.plane, frame.plane)
        return there, motion.consistency(there, back)

    def _answer(self, frame: _Frame) -> motion.Map:
        """The network's ab (h, w, 2) for a frame, at half the size that it saw."""
        self.runs += 1
        luma = self._coding.luma(torch.from_numpy(frame.codes))[None, None]
        L = pipeline.pad(chroma.lightness(luma), self._sight.geometry)
        ab = self._predict(L)
        pipeline.check_prediction(ab, L)
        ab = ab.float() * self._saturation
        half = torch.nn.functional.avg_pool2d(L, 2)
        if ab.shape[2] > half.shape[2] or ab.shape[3] > half.shape[3]:
            ab = torch.nn.functional.adaptive_avg_pool2d(ab, (half.shape[2], half.shape[3]))
        height, width = self._sight.half
        ab = upsampling.guided_upsample(ab, half)[0, :, :height, :width]
        return np.ascontiguousarray(ab.permute(1, 2, 0).numpy())

    def _colored(self, frame: _Frame, ab: motion.Map, key: bool) -> Colored:
        own = torch.from_numpy(ab).permute(2, 0, 1)[None].contiguous()
        return Colored(frame.luma, self._chroma(frame.luma, own), own, frame.first, key)


def _resized(plane: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """``plane`` (H, W) averaged down to ``size``; by halves as far as they go, which is several times as fast."""
    while plane.shape[0] >= 2 * size[0] and plane.shape[1] >= 2 * size[1]:
        height, width = (side // 2 for side in plane.shape)
        plane = np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA))
    return np.asarray(cv2.resize(plane, size[::-1], interpolation=cv2.INTER_AREA))
