"""Colours that were told on one frame, on their way through the scene: where they lie in each frame, and how surely."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo import hints, spreading
from zoo.video import motion
from zoo.video.pacing import Share

Array = npt.NDArray[Any]

MOST = 512  # of one moment
_SURE = 0.5  # consistency of the motion from which on nothing is doubted, and below which a mark fades
_ALIKE, _UNLIKE, _PATCH = 0.95, 12.0, 5  # weight of what looks the same; codes by which it may differ; side in pixels
_FAINT = 0.1  # weight of a mark that is given up
_FAR = 1e-3  # weight of a moment that is neither the one before nor the next, where others tell the same place
_REACH = (0.15, 0.15, 0.11, 0.089, 0.089)  # of marks of other moments, in features of `spreading.features_of`


@dataclass(frozen=True, eq=False)
class Marks:
    """Told colours in one frame.

    Attributes:
        yx: Where they lie, (n, 2) in pixels of the small frame, float32.
        ab: The colours, (n, 2) in Lab units, float32.
        weight: How surely what they lie on is still seen there, (n,) in (0, 1].
        moments: Time stamps of the frames on which they were told, (n,).
    """

    yx: Array
    ab: Array
    weight: Array
    moments: Array

    def __len__(self) -> int:
        return len(self.yx)

    def __add__(self, other: "Marks") -> "Marks":
        pairs = ((getattr(self, name), getattr(other, name)) for name in ("yx", "ab", "weight", "moments"))
        return Marks(*(np.concatenate(pair) for pair in pairs))

    def moved(self, here: motion.Plane, there: motion.Plane, flow: motion.Flow, seen: Share) -> "Marks":
        """In another frame than theirs.

        What is even has no motion that can be found for certain, but needs none: a mark that comes to a place that
        looks the same is hardly less sure.

        Args:
            here: The luma of their frame, (h, w).
            there: Of the other one.
            flow: Leads to it, (h, w, 2).
            seen: How surely, (h, w).
        """
        if not len(self):
            return self
        at: Any = np.ascontiguousarray(self.yx[:, None, ::-1])  # x, y
        nothing: Any = None
        sampled = (
            cv2.remap(maps, at, nothing, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).reshape(len(self), -1)
            for maps in (flow, seen)
        )
        by, sure = sampled
        yx = self.yx + by[:, ::-1]
        alike = _ALIKE * np.exp(-np.square(_patches(here, self.yx) - _patches(there, yx)).mean(1) / _UNLIKE**2)
        weight = self.weight * np.minimum(np.maximum(sure[:, 0] / _SURE, alike), 1)
        inside = ((yx > -0.5) & (yx < np.array(seen.shape) - 0.5)).all(1)
        kept = inside & (weight > _FAINT)
        return Marks(*(np.ascontiguousarray(x[kept]) for x in (yx, self.ab, weight, self.moments)))


NONE = Marks(np.empty((0, 2), np.float32), np.empty((0, 2), np.float32), np.empty(0, np.float32), np.empty(0, np.int64))


def _patches(plane: motion.Plane, yx: Array) -> Array:
    """The luma around places (n, 2), (n, _PATCH * _PATCH)."""
    steps = np.arange(_PATCH) - _PATCH // 2
    y, x = (np.rint(yx[:, axis, None]).astype(int) + steps for axis in (0, 1))
    y, x = (index.clip(0, side - 1) for index, side in zip((y, x), plane.shape, strict=True))
    return plane[y[:, :, None], x[:, None, :]].reshape(len(yx), -1).astype(np.float32)


def of_hints(told: hints.Hints, size: tuple[int, int], small: tuple[int, int], moment: int) -> Marks:
    """What hints for a frame of ``size`` are in its ``small`` one."""
    cells, ab = hints.cells_of(told, size, small)
    at = torch.stack([cells // small[1], cells % small[1]], 1).float()
    if len(cells) > MOST:
        chosen = spreading.far_apart(torch.cat([at / max(small), ab / 50], 1), MOST)
        at, ab = at[chosen], ab[chosen]
    count = len(at)
    return Marks(at.numpy(), ab.numpy(), np.ones(count, np.float32), np.full(count, moment, np.int64))


def change(marks: Marks, at: int, L: Tensor, own: Tensor) -> Tensor:
    """What they change in the colours ``own`` (1, 2, h, w) of the frame of time stamp ``at``; ``L`` (1, 1, h, w)."""
    height, width = L.shape[2:]
    place = np.rint(marks.yx).astype(np.int64).clip(0, (height - 1, width - 1))
    flat = torch.from_numpy(place[:, 0] * width + place[:, 1])
    given = own[0].flatten(1).T[flat]
    ab = torch.from_numpy(marks.ab)
    weight = torch.from_numpy(marks.weight)
    if len(np.unique(marks.moments)) > 1:
        ab = _between_moments(spreading.features_of(L, own)[flat], ab, weight, marks.moments, at)
    wanted = given + weight[:, None] * (ab - given)
    cells, inverse = torch.unique(flat, return_inverse=True)
    total = torch.zeros(len(cells), 3).index_add_(0, inverse, torch.cat([wanted, torch.ones(len(flat), 1)], 1))
    return spreading.spread(L, own, cells, total[:, :2] / total[:, 2:])


def _between_moments(features: Tensor, ab: Tensor, weight: Tensor, moments: Array, at: int) -> Tensor:
    """``ab`` (n, 2) where several moments tell alike places: from that of the one before to that of the next."""
    scaled = features / features.new_tensor(_REACH)
    alike = torch.exp(-0.5 * torch.cdist(scaled, scaled).square()) * weight  # (of each, by each)
    every, of = np.unique(moments, return_inverse=True)
    near = [max(float(np.interp(at, every, row)), _FAR) for row in np.eye(len(every))]
    share = torch.tensor(near)[torch.from_numpy(of)]
    total = share[:, None] * ab
    for n, own in enumerate(near):
        there = torch.from_numpy(of == n)
        by = alike[:, there]
        presence = by.amax(1) * own * ~there
        total += presence[:, None] * (by @ ab[there]) / by.sum(1, keepdim=True).clamp_(min=1e-9)
        share = share + presence
    blended: Tensor = total / share[:, None]
    return blended
