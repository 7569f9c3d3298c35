"""Which frames of a film begin a scene and which the network sees: by brightness and motion alone."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from zoo import pipeline
from zoo.video import motion
from zoo.video.chroma import Coding

LONGEST_INTERVAL = 8
_SEEN_AGAIN = 0.7  # share of a frame that the last key frame must show, else it becomes one itself
_ANOTHER_SCENE = 0.3  # share, below which nothing is carried: a cut between scenes of like brightness

Share = npt.NDArray[np.float32]  # (h, w) in [0, 1]


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


class Frame:
    """A frame on its way: its luma at the network's size and at half of it, and how it lies towards the last key frame.

    Attributes:
        at: Its time stamp.
        codes: The luma as the network sees it.
        plane: In 8 bits at half of that, (h, w).
        luma: In [0, 1], (1, 1, h, w).
        first: Whether it begins a scene.
        key: Whether the network is to see it.
        flow: Leads to the last key frame of the scene, (h, w, 2); empty in the first.
        back: Leads from there to it.
        seen: How surely.
        ab: The network's colours of a key frame, (h, w, 2) in Lab units.
        shown: Those, changed by hints.
    """

    def __init__(self, at: int, codes: npt.NDArray[Any], half: npt.NDArray[Any], coding: Coding) -> None:
        self.at, self.codes = at, codes
        self.plane = of_8_bits(half, coding.bits)
        self.luma = coding.luma(torch.from_numpy(half))[None, None]
        self.first = self.key = False
        self.flow = self.back = self.seen = self.ab = self.shown = np.empty(0, np.float32)


def of_8_bits(codes: npt.NDArray[Any], bits: int) -> motion.Plane:
    """Luma codes as cuts and motion are found in them."""
    return codes if codes.dtype == np.uint8 else (codes >> (bits - 8)).astype(np.uint8)


class Pace:
    """Says of each frame of a film, in order, whether it begins a scene and whether the network is to see it.

    Args:
        sight: How the frames are seen.
        coding: How the luma is coded.
        interval: As of `zoo.video.coloring.FilmColorizer`.
    """

    def __init__(self, sight: Sight, coding: Coding, interval: int | None) -> None:
        self.sight, self._coding = sight, coding
        self._interval, self._adaptive = interval or LONGEST_INTERVAL, interval is None
        self._cuts, self._flow = motion.CutDetector(), motion.FlowEstimator()
        self._key: Frame | None = None
        self._between = 0

    def __call__(self, luma: npt.NDArray[np.uint8 | np.uint16], at: int) -> Frame:
        """The next frame, with its luma plane (H, W) in codes."""
        frame = Frame(at, *self.sight(luma), self._coding)
        frame.first = self._cuts.is_cut(frame.plane)
        if self._key is not None and not frame.first:
            frame.flow, frame.back = self.flows(frame.plane, self._key.plane)
            frame.seen = motion.consistency(frame.flow, frame.back)
            frame.first = float(frame.seen.mean()) < _ANOTHER_SCENE
        due = frame.first or self._between + 1 >= self._interval
        frame.key = due or (self._adaptive and float(frame.seen.mean()) < _SEEN_AGAIN)
        self._between = 0 if frame.key else self._between + 1
        if frame.key:
            self._key = frame
        return frame

    def flows(self, one: motion.Plane, other: motion.Plane) -> tuple[motion.Flow, motion.Flow]:
        """Where pixels of the frame ``one`` lie in the ``other``, and the other way round, each (h, w, 2)."""
        return self._flow(one, other), self._flow(other, one)


def _resized(plane: npt.NDArray[Any], size: tuple[int, int]) -> npt.NDArray[Any]:
    """``plane`` (H, W) averaged down to ``size``; by halves as far as they go, which is several times as fast."""
    while plane.shape[0] >= 2 * size[0] and plane.shape[1] >= 2 * size[1]:
        height, width = (side // 2 for side in plane.shape)
        plane = np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA))
    return np.asarray(cv2.resize(plane, size[::-1], interpolation=cv2.INTER_AREA))
