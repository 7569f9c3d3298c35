"""How the true film moves, told independently of how films are coloured: slower flow, a strict check. Needs ``video``.

What colours are carried along when a film is coloured may change with its speed; what they are judged by may not.
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo.video.motion import CutDetector, warp

Plane = npt.NDArray[np.uint8]  # (h, w)

FOLLOWED = 0.3  # share of the pixels that are found again, below which a frame begins another scene
_SHARE, _LEAST = 0.01, 0.5  # of the squared lengths, and in squared pixels
STATED = (
    "OpenCV DIS, preset medium, on the 8-bit luma of the true frames at this size, there and back; a pixel is in both "
    f"frames where |there + back|^2 < {_SHARE:g} (|there|^2 + |back|^2) + {_LEAST:g}, in pixels, and it stays inside "
    "(Sundaram et al. 2010)"
)
CUTS_STATED = f"by brightness histograms of blocks, or where less than {FOLLOWED:.0%} of the pixels are in both frames"


class Motion(NamedTuple):
    """How a frame lies towards the one before.

    Attributes:
        flow: Where each pixel was one frame before, (1, 2, h, w), x and y in pixels from here.
        seen: Which pixels are in both frames, (1, 1, h, w) bool.
    """

    flow: Tensor
    seen: Tensor

    @property
    def speed(self) -> float:
        """Mean length of the flow in pixels where it is known."""
        return float(self.flow.norm(dim=1)[self.seen[:, 0]].mean())

    def carry(self, maps: Tensor) -> Tensor:
        """``maps`` (1, C, h, w) of the frame before, seen from this one."""
        return _warped(maps, self.flow)


class MotionFinder:
    """Finds the motion between a film's frames, and its cuts."""

    def __init__(self) -> None:
        self._dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._cuts = CutDetector()
        self._before: Plane | None = None

    def __call__(self, luma: Plane) -> Motion | None:
        """From the next frame's ``luma``, (h, w), to the one before; None where it begins a scene."""
        before, self._before = self._before, luma
        if self._cuts.is_cut(luma) or before is None:
            return None
        found = between(self._flow(luma, before), self._flow(before, luma))
        return found if float(found.seen.float().mean()) >= FOLLOWED else None

    def _flow(self, target: Plane, source: Plane) -> Tensor:
        flow: Any = self._dis.calc(target, source, None)
        return torch.from_numpy(flow).permute(2, 0, 1)[None]


def between(forward: Tensor, backward: Tensor) -> Motion:
    """The motion along ``forward``, with those pixels as seen that ``backward`` leads back to where they came from.

    Args:
        forward: From the frame to the one before, (1, 2, h, w) in pixels.
        backward: From the one before to the frame, likewise.

    Source: Sundaram et al., "Dense Point Trajectories by GPU-accelerated Large Displacement Optical Flow", ECCV 2010,
    section 3.1.
    """
    back = _warped(backward, forward)
    lengths = [x.square().sum(1, keepdim=True) for x in (forward + back, forward, back)]
    height, width = forward.shape[2:]
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    to_x, to_y = x + forward[:, :1], y + forward[:, 1:]
    inside = (to_x >= 0) & (to_x <= width - 1) & (to_y >= 0) & (to_y <= height - 1)
    return Motion(forward, (lengths[0] < _SHARE * (lengths[1] + lengths[2]) + _LEAST) & inside)


def _warped(maps: Tensor, flow: Tensor) -> Tensor:
    planes = (np.ascontiguousarray(x[0].permute(1, 2, 0).numpy()) for x in (maps.float(), flow))
    return torch.from_numpy(warp(*planes)).permute(2, 0, 1)[None]
