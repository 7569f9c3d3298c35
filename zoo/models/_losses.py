"""Losses that look at the picture rather than at ab: what its viewer and the evaluator see."""

import math
from functools import lru_cache
from typing import Any

import timm
import torch
from torch import Tensor, distributed
from torch.nn import functional as F

from zoo import color
from zoo.errors import ConfigError
from zoo.models._backbones import keep_depthwise_in_float32
from zoo.pretrained import pretrained_state

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


def perceptual_losses(L: Tensor, ab: Tensor, true_ab: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """How unlike the coloured pictures are to the real ones for a pretrained classifier, pair by pair and as a set.

    Pair by pair: the squared distance of the feature maps at two depths and of the pooled features, relative to their
    variance within the real picture, so that it is a mean over pictures. As a set: the squared maximum mean discrepancy
    of the pooled features, a picture never compared with its own truth; it asks for colours as they are distributed in
    photos, not for the colours of this one. The set is the batch of all processes together.

    Args:
        L: (N, 1, H, W) in [0, 100]; N > 1.
        ab: (N, 2, h, w) in Lab units.
        true_ab: (N, 2, h, w).
        name: The classifier, a timm model whose ImageNet weights are at hand.

    Returns:
        Both terms, scalars of order one.

    Raises:
        ConfigError: One picture alone, or a classifier without maps at strides 8 and 16.
        WeightsError: The classifier's weights are not to be had.

    Sources: Johnson et al., "Perceptual Losses", ECCV 2016; Li et al., "Generative Moment Matching Networks", ICML
    2015; the kernel is that of Binkowski et al., "Demystifying MMD GANs", ICLR 2018.
    """
    if len(L) * _processes() < 2:
        raise ConfigError("one picture is no set", expected="2 or more in a batch", remedy="raise train.batch_size")
    net = _classifier(name, L.device)
    with torch.no_grad():
        true_maps, true_pooled = _features(net, _render(L, true_ab))
    maps, pooled = _features(net, _render(L, ab))
    pairs = zip((*maps, pooled), (*true_maps, true_pooled), strict=True)
    paired = torch.stack([_relative(x.flatten(1), y.flatten(1)) for x, y in pairs]).mean()
    return paired, _discrepancy(_of_all_processes(pooled), _of_all_processes(true_pooled))


def _relative(x: Tensor, y: Tensor) -> Tensor:
    return ((x - y).square().mean(1) / y.var(1)).mean()


def _processes() -> int:
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def _of_all_processes(x: Tensor) -> Tensor:
    """The rows (N, d) of every process, (P * N, d), a gradient only through this one's own.

    That gradient is P times as large, because the mean of the processes' gradients is taken afterwards, and each of
    them has only the slope along its own rows.
    """
    count = _processes()
    if count == 1:
        return x
    rows = [torch.empty_like(x) for _ in range(count)]
    distributed.all_gather(rows, x.detach().contiguous())
    rows[distributed.get_rank()] = x * count - x.detach() * (count - 1)
    return torch.cat(rows)


def _discrepancy(x: Tensor, y: Tensor) -> Tensor:
    n, d = x.shape

    def mean_kernel(a: Tensor, b: Tensor) -> Tensor:
        k = (a @ b.T / d + 1) ** 3
        return (k.sum() - k.trace()) / (n * (n - 1))

    with torch.autocast(x.device.type, enabled=False):
        scale = y.square().mean().rsqrt()  # so that the kernel means the same for every classifier
        x, y = x * scale, y * scale
        return mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)


def _render(L: Tensor, ab: Tensor) -> Tensor:
    wide = F.interpolate(ab.float(), L.shape[-2:], mode="bilinear", align_corners=False)
    return to_rgb(L, wide).clamp(0, 1)


def _features(net: Any, rgb: Tensor) -> tuple[list[Tensor], Tensor]:
    x = (rgb - net.mean) / net.std
    last, maps = net.forward_intermediates(x.contiguous(memory_format=torch.channels_last), indices=net.depths)
    return [m.float() for m in maps], last.float().mean((2, 3))


@lru_cache(maxsize=2)
@torch.inference_mode(False)  # else a first call under it would leave weights that no gradient passes
def _classifier(name: str, device: torch.device) -> Any:
    """The network, kept outside of any model: it is neither trained nor saved."""
    if not timm.is_model(name):
        raise ConfigError(
            f"unknown perceptual network {name!r}", expected="a timm model", remedy="see timm.list_models()"
        )
    net: Any = timm.create_model(name, pretrained=False)
    net.load_state_dict(pretrained_state(name, remedy="pip install 'colorzoo[train]'"))
    net.requires_grad_(False).eval().to(device, memory_format=torch.channels_last)
    net.mean, net.std = (torch.tensor(net.pretrained_cfg[k], device=device).view(1, 3, 1, 1) for k in ("mean", "std"))
    net.depths = [i for i, f in enumerate(net.feature_info) if f["reduction"] in (8, 16)]
    if len(net.depths) != 2:
        raise ConfigError(f"perceptual network {name!r} does not fit", expected="maps at strides 8 and 16")
    if device.type == "cpu":
        keep_depthwise_in_float32(net)
    return net
