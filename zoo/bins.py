"""Colour as classification: the grid of ab bins inside the sRGB gamut, soft encoding, rebalancing, annealed mean.

Source: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016, sections 2.1-2.3.
"""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import color

GRID = 10.0  # side of a bin in ab units
NEIGHBORS = 5
SIGMA = 5.0
TEMPERATURE = 0.38


@lru_cache(maxsize=1)
def _bins() -> Tensor:
    # A line of constant ab that meets the gamut leaves it through the cube's surface: the six faces are enough.
    steps = torch.linspace(0, 1, 64, dtype=torch.float64)
    face = torch.cat([torch.cartesian_prod(end, steps, steps) for end in (steps[:1], steps[-1:])])
    rgb = torch.cat([face.roll(shift, 1) for shift in range(3)]).T[:, :, None]  # (3, M, 1)
    ab = color.rgb_to_lab(rgb)[1:, :, 0].T
    cells: Tensor = torch.unique(torch.round(ab / GRID), dim=0)
    return (cells * GRID).float()


def bins() -> Tensor:
    """The centres of the bins that hold at least one sRGB color, (Q, 2) in ab units, sorted by a, then b."""
    return _bins().clone()


def _or_bins(centers: Tensor | None) -> Tensor:
    return _bins() if centers is None else centers


@lru_cache(maxsize=4)
def _soft_table(centers: bytes) -> tuple[Tensor, Tensor]:
    axis = torch.arange(-128.0, 128.0)
    own = torch.frombuffer(bytearray(centers), dtype=torch.float32).view(-1, 2)
    return soft_encode(torch.cartesian_prod(axis, axis), own)


def soft_encode(ab: Tensor, centers: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The 5 nearest bins of each colour and their Gaussian weights (sigma 5), which sum to one.

    Args:
        ab: (M, 2) in ab units.
        centers: (Q, 2), the bins of a family that has its own; None is `bins`, here and below.

    Returns:
        Indices (M, 5), nearest first, and weights (M, 5).

    Source: Zhang et al. 2016, section 2.2.
    """
    distance, index = torch.cdist(ab, _or_bins(centers).to(ab)).topk(NEIGHBORS, largest=False)
    # Relative to the nearest, so that a colour far outside the grid has no 0/0.
    weight = torch.exp((distance[:, :1] ** 2 - distance**2) / (2 * SIGMA**2))
    return index, weight / weight.sum(1, keepdim=True)


def soft_encode_map(ab: Tensor, centers: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`soft_encode` of a map of colours, rounded to whole ab units so that a table answers instead of a search.

    Args:
        ab: (N, 2, h, w) in ab units.
        centers: As in `soft_encode`; those of a network must not change while it learns, or each step makes a table.

    Returns:
        Indices and weights, both (N, 5, h, w), nearest first.
    """
    table = _soft_table(_or_bins(centers).detach().float().cpu().contiguous().numpy().tobytes())
    index, weight = (t.to(ab.device) for t in table)
    cell = (ab.float().round().clamp(-128, 127) + 128).long()
    flat = cell[:, 0] * 256 + cell[:, 1]  # (N, h, w)
    return index[flat].permute(0, 3, 1, 2), weight[flat].permute(0, 3, 1, 2)


def rebalancing_weights(
    ab: Tensor, rebalancing: float = 0.5, centers: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """How much each bin counts in the loss, (Q,): rare colours more, with mean one under the data's own distribution.

    Args:
        ab: (M, 2), a sample of the training photos' colours.
        rebalancing: lambda, the share of the uniform distribution mixed into the prior; 1 weighs all bins alike.
        centers: As in `soft_encode_map`.
        smoothing: Standard deviation in ab units of the Gaussian that spreads the prior over neighboring bins first, so
            that a bin is not raised for being rare in the sample among common ones; 0 leaves it as it is.

    Source: Zhang et al. 2016, equation 4.
    """
    index, weight = soft_encode_map(ab.T[None, :, :, None], centers)
    count = len(_or_bins(centers))
    prior = torch.zeros(count).index_add_(0, index.flatten().cpu(), weight.flatten().cpu())
    prior = prior / prior.sum()
    spread = prior
    if smoothing:
        near = _or_bins(centers).float().cpu()
        kernel = torch.exp(-(torch.cdist(near, near) ** 2) / (2 * smoothing**2))
        spread = (kernel / kernel.sum(0)) @ prior  # each bin's share stays within the gamut
    weights = 1 / ((1 - rebalancing) * spread + rebalancing / count)
    return weights / (prior * weights).sum()


def rebalanced_cross_entropy(logits: Tensor, ab: Tensor, weights: Tensor, centers: Tensor | None = None) -> Tensor:
    """The mean cross-entropy between predicted and soft-encoded bins, each position weighted by its nearest bin.

    Args:
        logits: (N, Q, h, w).
        ab: The true colours, (N, 2, h, w) in ab units.
        weights: (Q,), from `rebalancing_weights`.
        centers: As in `soft_encode_map`.

    Source: Zhang et al. 2016, equation 2.
    """
    index, soft = (t.permute(0, 2, 3, 1).reshape(-1, NEIGHBORS) for t in soft_encode_map(ab, centers))
    rows = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])  # no copy when the logits are channels_last
    loss: Tensor = _SoftCrossEntropy.apply(rows, index, soft, weights[index[:, 0]])
    return loss


class _SoftCrossEntropy(torch.autograd.Function):
    """Weighted cross-entropy against sparse soft targets, its gradient made in the same pass over the logits.

    Autograd's own chain (log-softmax, gather) goes over the (M, Q) logits five times and took a third of a step.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, index: Tensor, soft: Tensor, weight: Tensor) -> Tensor:
        p = torch.softmax(logits, dim=1, dtype=torch.float32)  # (M, Q)
        log_p = p.gather(1, index).clamp_(min=1e-30).log_()
        loss = -(soft * log_p).sum(1).mul_(weight).mean()
        if ctx.needs_input_grad[0]:
            p.mul_(weight[:, None]).scatter_add_(1, index, -soft * weight[:, None])
            ctx.save_for_backward(p.div_(len(p)).to(logits.dtype))
        return loss

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (slope,) = ctx.saved_tensors
        return slope * gradient.to(slope.dtype), None, None, None


def annealed_mean(logits: Tensor, temperature: float = TEMPERATURE, centers: Tensor | None = None) -> Tensor:
    """The mean colour of the distribution sharpened by ``temperature``: (N, Q, h, w) -> (N, 2, h, w) in ab units.

    1 is the plain mean; towards 0 it becomes the mode, more vivid and less smooth.

    Source: Zhang et al. 2016, equation 5.
    """
    logits = logits.float()
    p = torch.softmax((logits - logits.amax(1, keepdim=True)) / temperature, dim=1)  # no overflow at any temperature
    return torch.einsum("nqhw,qc->nchw", p, _or_bins(centers).to(p))


def perturb(logits: Tensor, seed: int, strength: float = 1.5, centers: Tensor | None = None) -> Tensor:
    """Logits shifted by noise that is smooth over the picture and over neighboring bins: another plausible colouring.

    Independent draws per pixel would be confetti; one draw of a field makes whole regions change together.

    Args:
        logits: (N, Q, h, w).
        seed: The same seed gives the same field.
        strength: Standard deviation of the noise in nats.
        centers: As in `soft_encode`.
    """
    own = _or_bins(centers).detach().float().cpu()
    mix = torch.softmax(-(torch.cdist(own, own) ** 2) / (2 * (2 * GRID) ** 2), dim=1)
    noise = torch.randn(4, 4, len(own), generator=torch.Generator().manual_seed(int(seed))) @ mix.T
    noise = (noise / noise.std()).permute(2, 0, 1)[None].to(logits)
    return logits + strength * F.interpolate(noise, logits.shape[-2:], mode="bicubic", align_corners=True)
