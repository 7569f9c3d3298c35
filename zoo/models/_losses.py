"""Losses that look at the picture rather than at ab: what its viewer and the evaluator see."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import color

_LEAST = 1e-4  # mean squared error that counts as none: 40 dB, from where on nobody sees a difference


def psnr_loss(L: Tensor, ab: Tensor, true_ab: Tensor) -> Tensor:
    """The negative PSNR in dB of the coloured pictures against the real ones in sRGB, mean over the batch.

    As the logarithm is taken picture by picture, a photo of faint colours counts as much as a colourful one, and
    getting one of two photos right is worth more than being half wrong on both: bolder where the network is sure,
    and greyer where it is not, than a mean of squares.

    Args:
        L: (N, 1, H, W) in [0, 100].
        ab: (N, 2, h, w) in Lab units, H and W multiples of h and w.
        true_ab: (N, 2, h, w).

    Source: Chen et al., "HINet", CVPR Workshops 2021, section 3.3.
    """
    small = F.adaptive_avg_pool2d(L, (ab.shape[-2], ab.shape[-1]))
    error = to_rgb(small, ab) - to_rgb(small, true_ab)
    return (error.square().mean((1, 2, 3)) + _LEAST).log().mean() * (10 / math.log(10))


def to_rgb(L: Tensor, ab: Tensor) -> Tensor:
    """sRGB (N, 3, h, w) of L (N, 1, h, w) and ab, clipped to [0, 1] with a margin that lets a gradient lead back."""
    return color.lab_to_rgb(torch.cat([L.float(), ab.float()], 1)).clamp(-0.2, 1.2)
