"""Colours that were told on one frame, on their way through the scene: where they lie in each frame, and how surely."""

from dataclasses import dataclass, fields
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
TOGETHER = 2048  # of all moments, at a time
_SURE = 0.5  # consistency of the motion from which on nothing is doubted, and below which a mark fades
_ALIKE, _UNLIKE, _PATCH = 0.95, 12.0, 5  # weight of what looks the same; codes by which it may differ; side in pixels
_ASTRAY = 12.0  # codes by which a mark has slid off
_PER_PIXEL = 4.0  # codes by which what it goes back to may be less like it, for each pixel that it is nearer
_OTHER = (24.0, 12.0)  # codes by which that may differ from where it was told; by which more it is lost
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
        codes: The luma there, (n,) in 8 bits, float32.
    """

    yx: Array
    ab: Array
    weight: Array
    moments: Array
    codes: Array

    def __len__(self) -> int:
        return len(self.yx)

    def __add__(self, other: "Marks") -> "Marks":
        return Marks(*(np.concatenate([getattr(self, f.name), getattr(other, f.name)]) for f in fields(self)))

    def moved(self, here: motion.Plane, there: motion.Plane, flow: motion.Flow, seen: Share) -> "Marks":
        """In another frame than theirs.

        What is even has no motion that can be found for certain, but needs none: a mark that comes to a place that
        looks the same is hardly less sure. One that comes to a place much brighter or darker than that where it was
        told goes back to what is like that, if some of it is near; else it has lost what it lay on.

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
        inside = ((yx > -0.5) & (yx < np.array(seen.shape) - 0.5)).all(1)
        after = _patches(there, yx)
        alike = _ALIKE * np.exp(-np.square(_patches(here, self.yx) - after).mean(1) / _UNLIKE**2)
        yx, off = _held(yx, after, self.codes)
        lost = np.maximum(off - _OTHER[0], 0) / _OTHER[1]
        weight = self.weight * np.minimum(np.maximum(sure[:, 0] / _SURE, alike), 1) * np.exp(-np.square(lost))
        kept = inside & (weight > _FAINT)
        return Marks(*(np.ascontiguousarray(x[kept]) for x in (yx, self.ab, weight, self.moments, self.codes)))


NONE = Marks(
    np.empty((0, 2), np.float32), np.empty((0, 2), np.float32),
    np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.float32),
)  # fmt: skip


def _patches(plane: motion.Plane, yx: Array) -> Array:
    """The luma around places (n, 2), (n, _PATCH * _PATCH)."""
    steps = np.arange(_PATCH) - _PATCH // 2
    y, x = (np.rint(yx[:, axis, None]).astype(int) + steps for axis in (0, 1))
    y, x = (index.clip(0, side - 1) for index, side in zip((y, x), plane.shape, strict=True))
    return plane[y[:, :, None], x[:, None, :]].reshape(len(yx), _PATCH * _PATCH).astype(np.float32)


def _middle(patches: Array) -> Array:
    """The mean of the middle of each, (n,)."""
    side = slice(_PATCH // 2 - 1, _PATCH // 2 + 2)
    mean: Array = patches.reshape(-1, _PATCH, _PATCH)[:, side, side].mean((1, 2))
    return mean


def _held(yx: Array, around: Array, codes: Array) -> tuple[Array, Array]:
    """Places (n, 2), those that have slid off set right, and by how many codes each differs from ``codes``.

    Args:
        yx: The places.
        around: Their patches.
        codes: The luma that they had, (n,).
    """
    off = _middle(around) - codes
    astray = np.abs(off) > _ASTRAY
    steps = np.indices((_PATCH, _PATCH)).reshape(2, -1).T - _PATCH // 2
    near = np.abs(around - codes[:, None])
    best = (near + _PER_PIXEL * np.hypot(*steps.T)).argmin(1)
    off = np.where(astray, near[np.arange(len(near)), best], np.abs(off))
    return np.where(astray[:, None], np.rint(yx) + steps[best], yx).astype(np.float32), off


def of_hints(told: hints.Hints, size: tuple[int, int], plane: motion.Plane, moment: int) -> Marks:
    """What hints for a frame of ``size`` are in its small ``plane``."""
    small = plane.shape
    cells, ab = hints.cells_of(told, size, small)
    at = torch.stack([cells // small[1], cells % small[1]], 1).float()
    if len(cells) > MOST:
        chosen = spreading.far_apart(torch.cat([at / max(small), ab / 50], 1), MOST)
        at, ab = at[chosen], ab[chosen]
    count = len(at)
    codes = _middle(_patches(plane, at.numpy()))
    return Marks(at.numpy(), ab.numpy(), np.ones(count, np.float32), np.full(count, moment, np.int64), codes)


def change(marks: Marks, at: int, L: Tensor, own: Tensor) -> Tensor:
    """What they change in the colours ``own`` (1, 2, h, w) of the frame of time stamp ``at``; ``L`` (1, 1, h, w)."""
    marks = _fewer(marks)
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


def _fewer(marks: Marks) -> Marks:
    """Of many, as many of each moment, evenly: they lie by rows, and neighbours tell much the same."""
    if len(marks) <= TOGETHER:
        return marks
    every, of = np.unique(marks.moments, return_inverse=True)
    most = max(TOGETHER // len(every), 1)
    ones = [np.flatnonzero(of == n) for n in range(len(every))]
    kept = np.concatenate([one[:: -(-len(one) // most)] for one in ones])
    return Marks(*(getattr(marks, f.name)[kept] for f in fields(marks)))


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
