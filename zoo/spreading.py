"""A few known colours spread over a picture: regression from where they lie to everywhere, as pure tensor functions.

What is spread is the difference between the colour that was told and the one that the model gave there. Pixels follow
it as far as they resemble the told ones: in place, in lightness and in the model's own colour, which says what it
takes a thing for; and as far as no edge of L lies between. It fades to nothing where no told pixel is like.

Sources: spreading along L is the idea of Levin, Lischinski and Weiss, "Colorization using Optimization" (2004); that
the way there counts, of Yatziv and Sapiro, "Fast Image and Video Colorization Using Chrominance Blending" (2006); the
regression is that of Rasmussen and Williams, "Gaussian Processes for Machine Learning" (2006), equation 2.23.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import upsampling

MOST_CELLS = 128  # that are told at once; more cost time and say little that their neighbors do not
_UNIT = 10.0  # ab units in which differences are regressed
_BOUND = 15.0  # ab units; how much of a difference may be the picture's rather than the thing's
_CAST_CHROMA = 5.0  # ab units of mean chroma from which a model is taken to have an opinion that can be off
_CHUNK = 1 << 15  # cells at a time
_COARSE = 64  # side of the square of whose area the grid of ways is
_STEP = 20.0  # L units between neighbors on it that an edge has
_ROUNDS = 3  # of sweeps, by which ways around corners are found
_CANDIDATES = 4096  # among which the told cells are chosen


class _Kernel(NamedTuple):
    """How far likeness reaches: variance, and length scales in sides of the picture, L / 100 and ab / 50."""

    variance: float
    place: float
    L: float
    ab: float


# By marginal likelihood on half of the held-out photos, from the errors of `fusion` at 48 random places of each. But
# for the reach of a thing, by likelihood 0.165: with casts bounded, 0.3 fills things better and comes closer to the
# truth of the other half, by 0.04, 0.22 and 0.34 dB at 1, 5 and 20 hints.
_THING = _Kernel(math.exp(-0.62), 0.3, math.exp(-2.21), math.exp(-2.42))
_CAST = _Kernel(math.exp(0.08), math.exp(0.21), math.exp(-1.08), math.exp(-1.31))
_NOISE = math.exp(-3.37) + 1e-3


def spread(L: Tensor, ab: Tensor, cells: Tensor, told: Tensor) -> Tensor:
    """The change of ab (1, 2, h, w) that takes the told cells to their colours, and those like them along.

    A difference may come from the thing or from a cast of the whole picture. The cast is found first, from differences
    cut to 15 ab units, so that one red dress does not redden the picture; what it leaves is the things' own.

    Args:
        L: (1, 1, h, w) in [0, 100].
        ab: The model's own colours, (1, 2, h, w) in Lab units.
        cells: The told ones, (n,) indices into h * w, none twice.
        told: Their colours, (n, 2) in Lab units.
    """
    if not len(cells):
        return torch.zeros_like(ab)
    features = features_of(L, ab)
    if len(cells) > MOST_CELLS:
        chosen = far_apart(torch.cat([features[cells], told / 50], 1), MOST_CELLS)
        cells, told = cells[chosen], told[chosen]
    at = features[cells]
    off = (told - at[:, 3:] * 50).double() / _UNIT
    opinion = min(1.0, float(ab.norm(dim=1).mean()) / _CAST_CHROMA)
    cast = _CAST._replace(variance=_CAST.variance * opinion)
    bounded = off * (_BOUND / _UNIT / off.norm(dim=1, keepdim=True).clamp_(min=1e-9)).clamp_(max=1)
    ways = _ways(L, cells)  # (n, h * w)
    near = _positive(_covariance(_THING, at, at) * ways[:, cells])
    far = _covariance(cast, at, at).double()
    noise = torch.eye(len(cells), dtype=torch.float64) * _NOISE
    of_cast = torch.linalg.solve(near + far + noise, bounded)
    of_things = torch.linalg.solve(near + noise, off - far @ of_cast)
    weights = (of_cast.float() * _UNIT, of_things.float() * _UNIT)
    change = []
    for start in range(0, len(features), _CHUNK):
        part = features[start : start + _CHUNK]
        near_part = _covariance(_THING, part, at).mul_(ways[:, start : start + _CHUNK].T)
        change.append(_covariance(cast, part, at) @ weights[0] + near_part @ weights[1])
    return torch.cat(change).T.reshape(ab.shape)


def features_of(L: Tensor, ab: Tensor) -> Tensor:
    """What likeness is judged by, (h * w, 5): place in sides of the square of the picture's area, L / 100, ab / 50."""
    height, width = L.shape[2:]
    side = math.sqrt(height * width)
    y, x = torch.meshgrid(torch.arange(height) / side, torch.arange(width) / side, indexing="ij")
    return torch.cat([torch.stack([y, x]), L[0] / 100, ab[0] / 50]).flatten(1).T.contiguous()


def _covariance(kernel: _Kernel, one: Tensor, other: Tensor) -> Tensor:
    """(m, n) of features (m, 5) and (n, 5): a squared exponential."""
    scale = one.new_tensor([kernel.place, kernel.place, kernel.L, kernel.ab, kernel.ab])
    one, other = one / scale, other / scale
    squared = torch.addmm((other * other).sum(1), one, other.T, alpha=-2).add_((one * one).sum(1, keepdim=True))
    return squared.clamp_(min=0).mul_(-0.5).exp_().mul_(kernel.variance)


def _ways(L: Tensor, cells: Tensor) -> Tensor:
    """How open the way is from each of ``cells`` to everywhere, (n, h * w) in [0, 1]: 1 where no edge of L is crossed.

    The sum of the squared steps of L along the way that has the least, found by sweeps over a coarse grid.
    """
    height, width = L.shape[2:]
    scale = min(1.0, _COARSE / math.sqrt(height * width))
    rows, columns = (max(1, round(side * scale)) for side in (height, width))
    small = F.adaptive_avg_pool2d(L, (rows, columns))[0, 0]
    y, x = cells // width * rows // height, cells % width * columns // width
    cost = L.new_full((rows, len(cells), columns), math.inf)
    cost[y, torch.arange(len(cells)), x] = 0
    steps = [(small.diff(dim=dim) / _STEP).square() for dim in (0, 1)]
    for _ in range(_ROUNDS):
        _sweep(cost, steps[0][:, None])
        cost = cost.permute(2, 1, 0).contiguous()
        _sweep(cost, steps[1].T[:, None])
        cost = cost.permute(2, 1, 0).contiguous()
    wide = upsampling.bilinear_upsample(cost.neg_().exp_().permute(1, 0, 2)[None], (height, width))
    return wide[0].flatten(1)


def _sweep(cost: Tensor, steps: Tensor) -> None:
    """Lower ``cost`` (rows, n, m) to what it is by way of the row before, down and up; steps (rows - 1, 1, m)."""
    for row in range(1, len(cost)):
        torch.minimum(cost[row], cost[row - 1] + steps[row - 1], out=cost[row])
    for row in range(len(cost) - 2, -1, -1):
        torch.minimum(cost[row], cost[row + 1] + steps[row], out=cost[row])


def _positive(symmetric: Tensor) -> Tensor:
    """The covariance that is nearest: ways make one that need not be one."""
    values, vectors = torch.linalg.eigh((symmetric + symmetric.T).double() / 2)
    nearest: Tensor = vectors * values.clamp(min=0) @ vectors.T
    return nearest


def far_apart(points: Tensor, count: int) -> Tensor:
    """Indices of ``count`` of the ``points`` (n, d), each the farthest from those before; the first is the first."""
    candidates = torch.linspace(0, len(points) - 1, min(len(points), _CANDIDATES)).round().long()
    points = points[candidates]
    chosen = [0]
    distance = (points - points[0]).square().sum(1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        torch.minimum(distance, (points - points[chosen[-1]]).square().sum(1), out=distance)
    return candidates[torch.tensor(chosen).sort().values]
