"""What else each position of a picture might be coloured: a mean and a covariance of ab, whatever the model.

Variants and certainty are made of this alone, so that they know no model.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import bins, upsampling
from zoo.views import answers

BLUR = 3  # cells around over which the views' differences are averaged, since those of one cell are a matter of chance
VIEWS_FACTOR = 8.0  # how much further from the truth an answer is than from those to other views; see `from_views`
VIEWS_SHAPE = (0.7, 0.2, 1.3)  # of the covariance of regression's errors on those photos: blue to yellow errs more
CEILING = 400.0  # variance, ab units squared, that the doubt which views show does not reach; keeps its order
FLOOR = 4.0  # variance in ab units squared that the grid of the bins hides, and that no answer goes below


class Spread(NamedTuple):
    """The colours of N pictures as local normal distributions.

    Attributes:
        ab: The mean, (N, 2, h, w) in ab units.
        covariance: Of a and b at each position, (N, 3, h, w) in ab units squared: of a, of both, of b.
    """

    ab: Tensor
    covariance: Tensor

    def deviation(self) -> Tensor:
        """How far the truth may be from the mean, the root of the mean squared distance, (N, 1, h, w) in ab units."""
        return (self.covariance[:, :1] + self.covariance[:, 2:]).clamp(min=0).sqrt()

    def sized(self, size: tuple[int, int]) -> "Spread":
        """The same at another size, bilinear."""
        return Spread(*(upsampling.bilinear_upsample(maps, size) for maps in self))


def from_bins(ab: Tensor, logits: Tensor, class_weights: Tensor | None = None, centers: Tensor | None = None) -> Spread:
    """The spread of a distribution over bins, around an answer.

    Args:
        ab: The answer, (N, 2, h, w) in ab units.
        logits: (N, Q, h, w).
        class_weights: By which the bins counted in training, (Q,), taken back here: a network that was told to mind
            rare colours finds them likelier than they are.
        centers: As in `zoo.bins.soft_encode`.
    """
    own = (bins.bins() if centers is None else centers).to(logits.device, torch.float32)
    logits = logits.float()
    if class_weights is not None:
        logits = logits - class_weights.to(logits).clamp(min=1e-6).log()[:, None, None]
    p = torch.softmax(logits, 1)
    a, b = own.T
    moments = torch.stack([a, b, a * a, a * b, b * b])  # (5, Q)
    mean_a, mean_b, aa, both, bb = torch.einsum("nqhw,mq->mnhw", p, moments)
    covariance = torch.stack([aa - mean_a**2, both - mean_a * mean_b, bb - mean_b**2], 1)
    covariance[:, ::2] = covariance[:, ::2].clamp(min=0) + FLOOR
    return Spread(ab.float(), covariance)


def from_views(predict: Callable[[Tensor], Tensor], L: Tensor, multiple_of: int) -> Spread:
    """The spread of a model that answers one colour: how its answers to the mirrored and the smaller picture differ.

    On held-out photos they differ least where the answer is right; the truth is about 8 times as far from the answer
    (``regression``: 1.7 and 14.2 ab units).

    Args:
        predict: ab (N, 2, h, w) of L.
        L: (N, 1, H, W) in [0, 100].
        multiple_of: What its sides are multiples of.
    """
    views = answers(lambda view: predict(view).float(), L, 4, multiple_of)
    variance = (views - views.mean(0)).square().mean((0, 2))[:, None]  # (N, 1, h, w), the mean of a's and b's
    variance = F.avg_pool2d(variance, 2 * BLUR + 1, 1, BLUR, count_include_pad=False)
    variance = variance * VIEWS_FACTOR**2
    variance = variance / (1 + variance / CEILING) + FLOOR
    return Spread(views[0], torch.cat([variance * share for share in VIEWS_SHAPE], 1))


def mean_spread(spreads: Sequence[Spread]) -> Spread:
    """Of several models together: the mean answer, what each may be off by, and how they differ among themselves."""
    size = max((s.ab.shape[2], s.ab.shape[3]) for s in spreads)
    sized = [s.sized(size) for s in spreads]
    ab = torch.stack([s.ab for s in sized])
    a, b = (ab - ab.mean(0)).unbind(2)
    between = torch.stack([a * a, a * b, b * b], 2).mean(0)
    return Spread(ab.mean(0), torch.stack([s.covariance for s in sized]).mean(0) + between)
