"""What a network answers to other views of a picture: mirrored, and smaller."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import upsampling

SMALLER = 0.75  # of the second size at which a picture is looked at


def answers(predict: Callable[[Tensor], Tensor], L: Tensor, views: int, multiple_of: int) -> Tensor:
    """The answers to the views of L, turned back, at the size of the first: (V, N, 2, h, w), V up to ``views``.

    Args:
        predict: ab (N, 2, h, w) of L.
        L: (N, 1, H, W) in [0, 100].
        views: 1 the picture alone, 2 its mirror image too, 4 both at three quarters of the size as well, which a very
            small picture has not.
        multiple_of: What its sides are multiples of.
    """
    found = [predict(L)]
    size = (found[0].shape[2], found[0].shape[3])
    if views > 1:
        found.append(predict(L.flip(3)).flip(3))
    smaller = [max(1, round(SMALLER * side / multiple_of)) * multiple_of for side in L.shape[2:]]
    if views > 2 and smaller != list(L.shape[2:]):
        small = F.interpolate(L, smaller, mode="bilinear", antialias=True)
        found += [predict(small), predict(small.flip(3)).flip(3)]
    return torch.stack([ab if ab.shape[2:] == size else upsampling.bilinear_upsample(ab, size) for ab in found])
