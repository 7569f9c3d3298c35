"""What is done to a batch of crops at every step, where it lies: numbers of bytes, jitter, mixing."""

import torch
from torch import Tensor


def lightness(L: Tensor) -> Tensor:
    """Bytes of `Crops` as L in [0, 100]."""
    return L.float() / 2.55


def jitter(L: Tensor, seed: int) -> Tensor:
    """Contrast, brightness and grain of L varied per crop, (N, 1, H, W) in [0, 100]; drawn where L lies."""
    generator = torch.Generator(L.device).manual_seed(seed)
    gain, shift, grain = torch.rand(3, len(L), 1, 1, 1, generator=generator, device=L.device).unbind(0)
    noise = torch.randn(L.shape, generator=generator, device=L.device) * (grain * 4 - 2).clamp(min=0)
    return ((L - 50) * (0.7 + 0.45 * gain) + 50 + (shift - 0.5) * 12 + noise).clamp(0, 100)


def cut_mix(L: Tensor, ab: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """A ``share`` of the crops with a rectangle of their neighbour in the batch pasted in: no photo is met whole twice.

    Args:
        L: (N, 1, H, W).
        ab: (N, 2, h, w), H and W whole multiples of h and w.

    Source: Yun et al., "CutMix", ICCV 2019.
    """
    generator = torch.Generator(L.device).manual_seed(seed)
    n, _, h, w = ab.shape
    low, size, chosen = torch.rand(3, n, 2, generator=generator, device=L.device).unbind(0)
    size = 0.25 + 0.5 * size
    low = low * (1 - size)
    inside = []
    for i, side in enumerate((h, w)):
        at = (torch.arange(side, device=L.device) + 0.5) / side
        inside.append((at >= low[:, i, None]) & (at < (low + size)[:, i, None]))
    mask = inside[0][:, None, :, None] & inside[1][:, None, None, :] & (chosen[:, :1, None, None] < share)
    wide = mask.repeat_interleave(L.shape[2] // h, 2).repeat_interleave(L.shape[3] // w, 3)
    return torch.where(wide, L.roll(1, 0), L), torch.where(mask, ab.roll(1, 0), ab)
