"""Several plausible colourings of one picture, from the ways in which the picture as a whole is likely to differ.

The colours around the model's answer are taken as a Gaussian process: how far a position may be off comes from the
model (`zoo.spread`), how positions go together from their distance, lightness and colour. Its largest eigenvectors are
few, smooth and follow the picture's regions; the variants lie on either side of the answer along them.

Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, section 4.3 (eigenfunctions; their
extension to other points is Nystroem's).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.pipeline import Predict
from zoo.spread import Spread

CELLS = 144  # at which the process is solved; more change the modes little
MODES = 3  # that a block of four variants goes along
TURNED = 5  # modes among which a seed turns the directions
# Weights of two kernels and their scales: in sides of the picture, in L / 100, in ab / 50. The scales are those of the
# largest likelihood of fusion's residuals on held-out photos; the weights favour the wider kernel, whose modes are
# closer to the ways in which whole pictures differ.
KERNELS = ((0.25, (0.165, 0.110, 0.089)), (1.0, (1.23, 0.340, 0.270)))
STRENGTH = 1.8  # of the variants' distance from the answer, chosen on held-out photos; see `_scaled`
# Corners of a tetrahedron: any two differ along two of the three directions, and their mean is the answer.
CORNERS = ((1.0, 1.0, 1.0), (1.0, -1.0, -1.0), (-1.0, 1.0, -1.0), (-1.0, -1.0, 1.0))


def predictors(spread_of: Callable[[Tensor], Spread], wanted: Sequence[int], seed: int) -> list[Predict]:
    """What answers with each of the variants; the network runs when another picture comes.

    Args:
        spread_of: The model's spread of L, (1, 1, H, W).
        wanted: Numbers from 0.
        seed: See `colorings`.
    """
    places = {number: place for place, number in enumerate(wanted)}
    last: list[tuple[Tensor, Tensor]] = []  # the picture's L, and its colourings

    def predict(L: Tensor, number: int) -> Tensor:
        if not last or not torch.equal(last[0][0], L):
            found = [
                colorings(Spread(*(maps[None] for maps in own)), one[None], wanted, seed)
                for *own, one in zip(*spread_of(L), L.cpu(), strict=True)
            ]
            last[:] = [(L.clone(), torch.stack(found))]  # (N, K, 2, h, w)
        return last[0][1][:, places[number]]

    return [partial(predict, number=number) for number in wanted]


def colorings(spread: Spread, L: Tensor, numbers: Sequence[int], seed: int = 0) -> Tensor:
    """The colourings of these numbers, (K, 2, h, w) in ab units, of one picture; see `Colorizer.variants`.

    Args:
        spread: Of the picture, N = 1.
        L: (1, 1, H, W) in [0, 100].
        numbers: From 0; a colouring does not depend on which others are asked for.
        seed: Turns the directions; 0 takes the likeliest themselves.
    """
    guide = F.adaptive_avg_pool2d(L.float(), (spread.ab.shape[2], spread.ab.shape[3]))
    every = modes(spread, guide)
    blocks = {number // len(CORNERS) for number in numbers}
    turned = {block: torch.einsum("jm,mchw->jchw", _turn(len(every), seed, block), every) for block in blocks}
    return torch.stack([_colored(spread, turned[n // len(CORNERS)], CORNERS[n % len(CORNERS)]) for n in numbers])


def _colored(spread: Spread, directions: Tensor, corner: tuple[float, ...]) -> Tensor:
    """(2, h, w): the answer moved along the directions to a corner."""
    return spread.ab[0] + torch.einsum("j,jchw->chw", torch.tensor(corner), _scaled(directions))


def _scaled(directions: Tensor) -> Tensor:
    """Directions at the strength of variants: half way, as a ratio, from the model's own doubt to the same for all.

    A picture whose colours are nearly certain still gets variants that can be told apart, and one that may be anything
    keeps colours that belong to it.
    """
    return directions * _strength(directions)


def _strength(directions: Tensor) -> float:
    size = directions.square().sum((0, 1)).mean().sqrt()  # root mean square of a corner's distance, ab units
    return float(STRENGTH / size.clamp(min=1e-3).sqrt())


class Steady:
    """Answers with one variant of a film, the same from the first to the last picture of a scene.

    The ways in which the first one is likely to differ are those of all: they depend on place, lightness and colour,
    and so do not jump where those that each picture has of its own would.

    Args:
        spread_of: The model's spread of L, (1, 1, H, W).
        number: Of the variant.
        seed: See `colorings`.
    """

    def __init__(self, spread_of: Callable[[Tensor], Spread], number: int, seed: int) -> None:
        self._spread_of, self._number, self._seed = spread_of, number, seed
        self._ways: Ways | None = None
        self._strength = 0.0

    def begin(self) -> None:
        """A scene begins."""
        self._ways = None

    def __call__(self, L: Tensor) -> Tensor:
        """ab (1, 2, h, w) of L, (1, 1, H, W)."""
        spread = self._spread_of(L)
        guide = F.adaptive_avg_pool2d(L.float().cpu(), (spread.ab.shape[2], spread.ab.shape[3]))
        first = self._ways is None
        self._ways = self._ways or ways(spread, guide)
        every = seen(self._ways, spread, guide)
        turned = _turn(len(every), self._seed, self._number // len(CORNERS))
        directions = torch.einsum("jm,mchw->jchw", turned, every)
        if first:
            self._strength = _strength(directions)
        corner = torch.tensor(CORNERS[self._number % len(CORNERS)])
        return spread.ab + self._strength * torch.einsum("j,jchw->chw", corner, directions)


class Ways(NamedTuple):
    """The ways in which a picture is likely to differ: ``points`` of it, and what each adds, (n, 2, k), to a place."""

    points: tuple[Tensor, Tensor, Tensor]
    parts: Tensor


def modes(spread: Spread, L: Tensor) -> Tensor:
    """The ways in which the picture is likely to differ from the answer, likeliest first, each with its own size.

    Args:
        spread: Of one picture, (1, 2 | 3, h, w).
        L: (1, 1, h, w) in [0, 100].

    Returns:
        (TURNED, 2, h, w) in ab units, root mean square the standard deviation along the mode; the last are zero where
        a picture has too few positions for so many.
    """
    return seen(ways(spread, L), spread, L)


def ways(spread: Spread, L: Tensor) -> Ways:
    """Those of a picture; arguments as of `modes`."""
    h, w = spread.ab.shape[2:]
    ratio = (h / w) ** 0.5
    coarse = (min(h, max(1, round(CELLS**0.5 * ratio))), min(w, max(1, round(CELLS**0.5 / ratio))))
    few, root = _points(spread, L, coarse)
    count = len(few[0])
    matrix = torch.einsum("ij,iac,jcb->iajb", _kernel(few, few), root, root).reshape(2 * count, 2 * count)
    values, vectors = torch.linalg.eigh(matrix.double())
    kept = min(TURNED, 2 * count)
    values = values.flip(0)[:kept].clamp(min=1e-9).float()
    vectors = vectors.flip(1)[:, :kept].float().view(count, 2, kept)
    # An eigenvector's sign is a matter of chance; here it makes the picture warmer, or redder, whichever it does more.
    total = vectors.sum(0)  # (2, kept)
    leading = torch.where(total[1].abs() > total[0].abs(), total[1], total[0])
    vectors = vectors * torch.where(leading < 0, -1.0, 1.0)
    return Ways(few, torch.einsum("jcb,jbk->jck", root, vectors) / values.sqrt())


def seen(ways: Ways, spread: Spread, L: Tensor) -> Tensor:
    """As `modes`, by the ways of this picture or of another one that it goes on from."""
    h, w = spread.ab.shape[2:]
    many, root = _points(spread, L, (h, w))
    field = torch.einsum("xj,jck->xck", _kernel(many, ways.points), ways.parts)
    field = torch.einsum("xac,xck->kax", root, field)
    found = spread.ab.new_zeros(TURNED, 2, h, w)
    found[: len(field)] = field.reshape(len(field), 2, h, w)
    return found


def _points(spread: Spread, L: Tensor, size: tuple[int, int]) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Of the picture at ``size``: positions (n, 2), L (n, 1), ab (n, 2), and roots (n, 2, 2) of the covariances."""
    side = (spread.ab.shape[2] * spread.ab.shape[3]) ** 0.5
    y, x = ((torch.arange(count) + 0.5) * (full / count / side) for count, full in zip(size, L.shape[2:], strict=True))
    position = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).reshape(-1, 2)
    L, ab, covariance = (
        F.adaptive_avg_pool2d(maps.float(), size)[0].flatten(1).T for maps in (L, spread.ab, spread.covariance)
    )
    return (position, L / 100, ab / 50), _root(covariance)


def _root(covariance: Tensor) -> Tensor:
    """Symmetric roots (n, 2, 2) of covariances (n, 3): (M + s) / t, with s^2 = det M, t^2 = tr M + 2 s."""
    aa, both, bb = covariance.T
    s = (aa * bb - both**2).clamp(min=0).sqrt()
    t = (aa + bb + 2 * s).clamp(min=1e-6).sqrt()
    root: Tensor = torch.stack([aa + s, both, both, bb + s], 1).view(-1, 2, 2) / t[:, None, None]
    return root


def _kernel(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    """How much the positions ``a`` and ``b`` go together, (n, m)."""
    total = torch.zeros(len(a[0]), len(b[0]))
    for weight, scales in KERNELS:
        x, y = (torch.cat([f / scale for f, scale in zip(point, scales, strict=True)], 1) for point in (a, b))
        total += weight * torch.exp(-0.5 * torch.cdist(x, y).square())
    return total


def _turn(count: int, seed: int, block: int) -> Tensor:
    """Orthonormal combinations (MODES, count) of the modes: the first ones themselves, or drawn at random."""
    start = torch.eye(count, MODES)
    if seed == 0 and block == 0:
        return start.T
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(block + 1, count, MODES, generator=generator)
    turned: Tensor = torch.linalg.qr(start + draws[block])[0]
    return turned.T
