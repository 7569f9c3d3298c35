"""What is done to crops after they are read: numbers of bytes, jitter, mixing, and what else is drawn by chance.

Everything here is drawn by the crop's own seed: the same in whatever batch, part or process it is met.
"""

import hashlib
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from timm.layers.drop import DropPath
from torch import Tensor, nn


def seed_of(run: int, epoch: int, photo: str, *further: int) -> int:
    """The seed of a photo's crop in an epoch of a run, below 2^63; ``further`` tells its several crops apart."""
    text = f"{run}/{epoch}/{'/'.join(map(str, further))}/{photo}"
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()) >> 1


def lightness(L: Tensor) -> Tensor:
    """Bytes of `Crops` as L in [0, 100]."""
    return L.float() / 2.55


def jitter(L: Tensor, seeds: Tensor) -> Tensor:
    """Contrast, brightness and grain of L varied per crop, (N, 1, H, W) in [0, 100]; drawn where L lies.

    Args:
        L: (N, 1, H, W) in [0, 100].
        seeds: One for each crop, (N,).
    """
    generator = torch.Generator(L.device)
    dials, noise = torch.empty(len(L), 3, device=L.device), torch.empty(L.shape, device=L.device)
    for own, grain, seed in zip(dials, noise, seeds.tolist(), strict=True):
        generator.manual_seed(seed)
        own.uniform_(generator=generator)
        grain.normal_(generator=generator)
    gain, shift, strength = dials.view(len(L), 3, 1, 1, 1).unbind(1)
    noise *= (strength * 4 - 2).clamp(min=0)
    return ((L - 50) * (0.7 + 0.45 * gain) + 50 + (shift - 0.5) * 12 + noise).clamp(0, 100)


def cut_mix(
    L: npt.NDArray[Any],
    ab: npt.NDArray[Any],
    other: tuple[npt.NDArray[Any], npt.NDArray[Any]],
    share: float,
    seed: int,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """A crop, ``share`` of all with a rectangle of another one pasted in: no photo is met whole twice.

    Args:
        L: (H, W).
        ab: (2, h, w), H and W whole multiples of h and w.
        other: The other crop's L and ab.
        share: Of the crops that are mixed.
        seed: The crop's.

    Source: Yun et al., "CutMix", ICCV 2019.
    """
    rng = np.random.default_rng([seed, 1])
    if rng.random() >= share:
        return L, ab
    sides = np.array(ab.shape[1:])
    size = 0.25 + 0.5 * rng.random(2)
    low = rng.random(2) * (1 - size)
    # The positions whose middle lies inside.
    (top, left), (bottom, right) = (np.ceil(edge * sides - 0.5).astype(int) for edge in (low, low + size))
    y, x = L.shape[0] // sides[0], L.shape[1] // sides[1]
    L, ab = L.copy(), ab.copy()
    fine = np.s_[top * y : bottom * y, left * x : right * x]
    L[fine] = other[0][fine]
    ab[:, top:bottom, left:right] = other[1][:, top:bottom, left:right]
    return L, ab


class PhotoDraws:
    """Stochastic depth that drops blocks for a crop by the crop's seed, where timm's own draws for a batch.

    Args:
        model: Its `DropPath` layers draw from here from now on.
    """

    def __init__(self, model: nn.Module) -> None:
        self.layers = [m for m in model.modules() if isinstance(m, DropPath) and m.drop_prob]
        self.draws = torch.empty(0)
        for index, layer in enumerate(self.layers):
            layer.forward = partial(self._drop, index, layer)  # type: ignore[method-assign]

    def renew(self, seeds: Tensor, device: torch.device) -> None:
        """Draw for the crops that the network is to see next."""
        if self.layers:
            generator = torch.Generator()
            every = [torch.rand(len(self.layers), generator=generator.manual_seed(s ^ 2)) for s in seeds.tolist()]
            self.draws = torch.stack(every).to(device)  # (N, layers)

    def _drop(self, index: int, layer: DropPath, x: Tensor) -> Tensor:
        if not layer.training:
            return x
        keep = 1 - float(layer.drop_prob or 0)
        kept = (self.draws[:, index] < keep).to(x.dtype).view(-1, *[1] * (x.ndim - 1))
        return x * (kept / keep if layer.scale_by_keep else kept)
