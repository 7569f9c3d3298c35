"""How a film moves: scene cuts, dense optical flow, and maps carried along it. Needs the extra ``video``."""

from functools import cache
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]  # (H, W), the luma of a frame made small
Flow = npt.NDArray[np.float32]  # (H, W, 2), x and y in pixels
Map = npt.NDArray[np.float32]  # (H, W, C)

_BINS, _BLOCKS = 32, 4
_CUT = 0.35  # share of the picture whose brightness is another one
_STANDING_OUT = 2.5  # times the largest change of the frames before
_INCONSISTENCY = (0.01, 0.5)  # of the squared lengths, and in squared pixels


class CutDetector:
    """Finds the first frame of each scene, from the brightness histograms of blocks of the frames.

    A cut changes most blocks at once, and much more than the frames before it changed: a fast pan or a flash of
    light changes them for several frames in turn, and is none.
    """

    def __init__(self) -> None:
        self._before: npt.NDArray[np.float32] | None = None
        self._usual = 0.0

    def is_cut(self, luma: Plane) -> bool:
        """Whether ``luma``, (H, W), begins another scene than the frame given last; the first frame does."""
        now = _histograms(luma)
        before, self._before = self._before, now
        if before is None:
            return True
        change = float(np.abs(now - before).sum(1).mean()) / 2
        cut = change > max(_CUT, _STANDING_OUT * self._usual)
        self._usual = 0.0 if cut else max(change, 0.8 * self._usual)
        return cut


def _histograms(luma: Plane) -> npt.NDArray[np.float32]:
    """(blocks, bins), each row summing to 1."""
    rows, columns = (np.linspace(0, side, _BLOCKS + 1).astype(int) for side in luma.shape)
    table = []
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            block = luma[top:bottom, left:right]
            count = np.bincount((block >> 3).ravel(), minlength=_BINS).astype(np.float32)
            table.append(np.convolve(count, (0.25, 0.5, 0.25), "same") / max(block.size, 1))  # a little light is no cut
    return np.stack(table)


class FlowEstimator:
    """Dense optical flow by OpenCV's DIS.

    Source: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
    """

    def __init__(self) -> None:
        self._dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def __call__(self, target: Plane, source: Plane) -> Flow:
        """Where in ``source`` each pixel of ``target`` lies: pixel x of the one is at x + flow in the other."""
        if min(target.shape) < 16:  # too small for its patches
            return np.zeros((*target.shape, 2), np.float32)
        flow: Flow = self._dis.calc(target, source, None)
        return flow


def warp(maps: Map, flow: Flow) -> Map:
    """``maps`` (H, W, C) of the source, seen from the target: sampled at x + flow, at the border beyond it.

    Args:
        maps: Any maps of the source frame, up to 4.
        flow: (H, W, 2), x and y in pixels of ``maps``.
    """
    to: Any = flow + _coordinates(flow.shape[:2])
    nothing: Any = None
    warped: Any = cv2.remap(maps, to, nothing, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    result: Map = warped.reshape(*flow.shape[:2], -1)
    return result


def consistency(forward: Flow, backward: Flow) -> npt.NDArray[np.float32]:
    """How far each pixel of the target is to be found in the source, (H, W) in [0, 1]; 0 where it is hidden.

    Args:
        forward: From the target to the source, (H, W, 2) in pixels.
        backward: From the source to the target, likewise.

    Source: Sundaram et al., "Dense Point Trajectories by GPU-accelerated Large Displacement Optical Flow", ECCV
    2010, section 3.1; made smooth.
    """
    back = warp(backward, forward)
    share, least = _INCONSISTENCY
    allowed = share * (_squared_length(forward) + _squared_length(back)) + least
    to = forward + _coordinates(forward.shape[:2])
    height, width = forward.shape[:2]
    outside = (np.abs(to[..., 0] - (width - 1) / 2) > width / 2) | (np.abs(to[..., 1] - (height - 1) / 2) > height / 2)
    seen: npt.NDArray[np.float32] = np.exp(-_squared_length(forward + back) / allowed)
    seen[outside] = 0
    return seen


def _squared_length(flow: Flow) -> npt.NDArray[np.float32]:
    x, y = flow[..., 0], flow[..., 1]
    return x * x + y * y


@cache
def _coordinates(size: tuple[int, int]) -> Flow:
    """x and y of every pixel, (H, W, 2)."""
    y, x = np.mgrid[: size[0], : size[1]]
    return np.stack([x, y], -1).astype(np.float32)
