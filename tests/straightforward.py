"""The published networks' forward passes step by step, as their authors run them: what fast paths must equal."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def eccv16(net: Any, L: Tensor) -> Tensor:
    """ab (N, 2, H, W) in Lab units: each bin's share times its centre, then four times the size."""
    x = (L - 50) / 100
    for n in range(1, 9):
        x = getattr(net, f"model{n}")(x)
    return F.interpolate(net.model_out(x.softmax(1)), scale_factor=4, mode="bilinear") * 110


def siggraph17(net: Any, L: Tensor, ab: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
    """ab (N, 2, H, W) in Lab units, all behind conv8 computed twice; ``ab`` and ``mask`` are the hints."""
    ab = torch.zeros_like(L).repeat(1, 2, 1, 1) if ab is None else ab
    mask = torch.zeros_like(L) if mask is None else mask
    conv1 = net.model1(torch.cat([(L - 50) / 100, ab / 110, mask], dim=1))
    conv2 = net.model2(conv1[:, :, ::2, ::2])
    conv3 = net.model3(conv2[:, :, ::2, ::2])
    conv7 = net.model7(net.model6(net.model5(net.model4(conv3[:, :, ::2, ::2]))))
    conv8 = net.model8(net.model8up(conv7) + net.model3short8(conv3))
    for _ in range(2):
        conv9 = net.model9(net.model9up(conv8) + net.model2short9(conv2))
        conv10 = net.model10(net.model10up(conv9) + net.model1short10(conv1))
        out: Tensor = net.model_out(conv10)
    return out * 110
