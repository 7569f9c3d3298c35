"""The parts of DeOldify's U-Net, under the names that its published files should have: fastai's, of that time.

Written from what the public files say of the layers and their order; none of their code is here.

Sources: jantic/DeOldify (deoldify/unet.py, layers.py, generators.py); fastai 1.0 (layers.py) for the layers that it
took from there; Ronneberger et al., "U-Net", MICCAI 2015; Zhang et al., "Self-Attention GANs", ICML 2019; Miyato et
al., "Spectral Normalization", ICLR 2018; Salimans and Kingma, "Weight Normalization", NeurIPS 2016; Aitken et al.,
"Checkerboard artifact free sub-pixel convolution", 2017, for how the enlarging convolutions begin (ICNR); Sugawara et
al., "Super-Resolution using Convolutional Neural Networks without Any Checkerboard Artifacts", ICIP 2018 (the blur).
"""

from collections.abc import Callable
from typing import Any, cast

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.errors import ConfigError

STRIDES = [2, 4, 8, 16, 32]
STEPS = ("conv1", "bn1", "act1", "maxpool", "layer1", "layer2", "layer3", "layer4")  # of a ResNet, as timm calls them


def resnet(name: str) -> tuple[nn.Sequential, list[int]]:
    """The ResNet called ``name`` in timm, in eight steps, and the channels of its maps at strides 2, 4, 8, 16 and 32.

    Raises:
        ConfigError: timm has no such model, or it is built in another way.
    """
    if not timm.is_model(name):
        raise ConfigError(f"unknown encoder {name!r}", expected="a ResNet of timm", remedy="see timm.list_models()")
    net: Any = timm.create_model(name, pretrained=False)
    info = net.feature_info
    if [each["reduction"] for each in info] != STRIDES or not all(hasattr(net, step) for step in STEPS):
        raise ConfigError(f"encoder {name!r} does not fit", found=type(net).__name__, expected="a ResNet of timm")
    return nn.Sequential(*(getattr(net, step) for step in STEPS)), [each["num_chs"] for each in info]


def encode(encoder: nn.Sequential, x: Tensor) -> tuple[Tensor, ...]:
    """The maps at strides 2, 4, 8, 16 and 32 of pictures (N, 3, H, W), finest first."""
    maps = []
    for number, step in enumerate(encoder):
        x = step(x)
        if number == 2 or number > 3:
            maps.append(x)
    return tuple(maps)


class SpectralConv(nn.Module):
    """A convolution whose weight is divided by its largest singular value, which training follows step by step.

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: Its side; the size of the map is kept.
        bias: Whether it has one.
        dimensions: Of the map; 1 in the published attention, which has kernels of side 1.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, *, bias: bool = False, dimensions: int = 2) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.empty(outputs, inputs, *[kernel] * dimensions))
        nn.init.kaiming_normal_(self.weight_orig)
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.register_buffer("weight_u", F.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("weight_v", F.normalize(torch.randn(self.weight_orig[0].numel()), dim=0))
        self.improve_estimate()

    @torch.no_grad()
    def improve_estimate(self) -> None:
        """One power iteration: the two vectors come closer to those of the largest singular value."""
        matrix = self.weight_orig.flatten(1)
        self.weight_v.copy_(F.normalize(matrix.T @ self.weight_u, dim=0))
        self.weight_u.copy_(F.normalize(matrix @ self.weight_v, dim=0))

    def weight(self) -> Tensor:
        """The weight that convolves; in training the estimate is improved first."""
        with torch.autocast(self.weight_orig.device.type, enabled=False):
            if self.training:
                self.improve_estimate()
            # Copies, because a second run before the backward pass of the first would change them.
            sigma = self.weight_u.clone() @ (self.weight_orig.flatten(1) @ self.weight_v.clone())
            return self.weight_orig / sigma

    def sigma(self) -> Tensor:
        """The largest singular value of the weight, as estimated; read in the order in which the weight lies."""
        weight: Tensor = self.weight_orig
        direction = self.weight_v.view_as(weight[0])
        if not weight.is_contiguous():  # channels last, where flattening it as it is would copy it
            weight, direction = weight.movedim(1, -1), direction.movedim(0, -1)
        return self.weight_u @ (weight.flatten(1) @ direction.flatten())

    def forward(self, x: Tensor) -> Tensor:
        """(N, outputs, h, w) of ``x``, (N, inputs, h, w); for one dimension without the w."""
        if self.training or torch.is_grad_enabled() or x.numel() > self.weight_orig.numel():
            weight = self.weight()
        else:  # the same, since a convolution is linear; the weights of the deep layers are far more than their maps
            with torch.autocast(self.weight_orig.device.type, enabled=False):
                x, weight = x / self.sigma(), self.weight_orig
        if weight.ndim == 3:
            return F.conv1d(x, weight, self.bias, padding=weight.shape[-1] // 2)
        return F.conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)


class WeightNormConv(nn.Module):
    """A 1x1 convolution whose kernels have a direction and a length of their own."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight_v = nn.Parameter(nn.init.kaiming_normal_(torch.empty(outputs, inputs, 1, 1)))
        self.weight_g = nn.Parameter(self.weight_v.detach().norm(dim=1, keepdim=True))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(N, outputs, h, w) of ``x``, (N, inputs, h, w)."""
        return F.conv2d(x, F.normalize(self.weight_v, dim=1) * self.weight_g, self.bias)


class SelfAttention(nn.Module):
    """Each place takes up what others hold, by how well they match; begins as the identity.

    The published network lets the weights of all *places looked from* sum to one for each place looked at, which is
    ordinary attention with its first two maps in each other's role, and no scale.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        small = max(1, channels // 8)
        self.query = SpectralConv(channels, small, dimensions=1)
        self.key = SpectralConv(channels, small, dimensions=1)
        self.value = SpectralConv(channels, channels, dimensions=1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of ``x``, (N, C, h, w)."""
        flat = x.flatten(2)
        query, key, value = (part(flat).transpose(1, 2) for part in (self.key, self.query, self.value))
        found = F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None], scale=1.0)[:, 0]
        return (self.gamma * found.transpose(1, 2) + flat).view_as(x)


def conv(inputs: int, outputs: int, *, attention: bool = False) -> nn.Sequential:
    """A 3x3 convolution, ReLU, then batch normalisation, and attention where wanted."""
    layers = [SpectralConv(inputs, outputs, 3), nn.ReLU(inplace=True), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([SelfAttention(outputs)] if attention else []))


class Shuffle(nn.Module):
    """Twice the size: four values a pixel become four pixels, softened where ``blur`` says so."""

    def __init__(self, convolution: nn.Module, *, blur: bool) -> None:
        super().__init__()
        self.conv = convolution
        self.blur = blur

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, 2h, 2w)."""
        x = F.pixel_shuffle(F.relu(self.conv(x)), 2)
        return F.avg_pool2d(F.pad(x, (1, 0, 1, 0), mode="replicate"), 2, stride=1) if self.blur else x


def begin_alike(weight: Tensor) -> None:
    """Give the four kernels that become one pixel's neighbours the same start, so that no chequers are learnt."""
    with torch.no_grad():
        weight.copy_(weight[::4].repeat_interleave(4, 0))


def enlarging(inputs: int, outputs: int) -> Shuffle:
    """From stride to stride in the decoder."""
    convolution = SpectralConv(inputs, 4 * outputs)
    begin_alike(convolution.weight_orig)
    return Shuffle(nn.Sequential(convolution, nn.BatchNorm2d(4 * outputs)), blur=True)


def enlarging_last(channels: int) -> Shuffle:
    """From stride 2 to the picture's size."""
    convolution = WeightNormConv(channels, 4 * channels)
    begin_alike(convolution.weight_v)
    begin_alike(convolution.weight_g)
    return Shuffle(nn.Sequential(convolution), blur=False)


class Join(nn.Module):
    """One step of the decoder: the coarse map enlarged, joined with the encoder's finer one.

    Args:
        inputs: Channels of the coarse map.
        skip: Channels of the finer map.
        enlarged: Channels of the coarse map when it is enlarged.
        outputs: Channels.
        deep: Whether two convolutions follow, not one.
        attention: Whether the last of them ends in attention.
    """

    def __init__(
        self, inputs: int, skip: int, enlarged: int, outputs: int, *, deep: bool, attention: bool = False
    ) -> None:
        super().__init__()
        self.shuf = enlarging(inputs, enlarged)
        self.bn = nn.BatchNorm2d(skip)
        self.outputs = outputs
        if deep:
            self.conv1 = conv(enlarged + skip, outputs)
            self.conv2 = conv(outputs, outputs, attention=attention)
        else:
            self.conv = conv(enlarged + skip, outputs, attention=attention)
        self.deep = deep

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """(N, outputs, h, w) of the coarse map ``x`` and the map ``skip``, (N, skip, h, w)."""
        x = self.shuf(x)
        if x.shape[-2:] != skip.shape[-2:]:  # a side that is no multiple of 32
            x = F.interpolate(x, skip.shape[-2:], mode="nearest")
        x = F.relu(torch.cat([x, self.bn(skip)], 1))
        return cast(Tensor, self.conv2(self.conv1(x)) if self.deep else self.conv(x))


class Residual(nn.Module):
    """Two 3x3 convolutions with ReLU beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(SpectralConv(channels, channels, 3, bias=True), nn.ReLU(inplace=True)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of ``x``."""
        return cast(Tensor, x + self.layers[1](self.layers[0](x)))


def decoder(channels: list[int], widths: Callable[[int, int, bool], tuple[int, int]], *, deep: bool) -> list[Join]:
    """The steps of the decoder, from stride 32 up to 2; the second has attention.

    Args:
        channels: Of the encoder's maps, finest first.
        widths: Of a step, the channels of its enlarged map and of its output, from those of the coarse map, those of
            the finer map and whether it is the last.
        deep: As in `Join`.
    """
    steps: list[Join] = []
    inputs = channels[-1]
    for number, skip in enumerate(channels[-2::-1]):
        enlarged, outputs = widths(inputs, skip, number == len(channels) - 2)
        steps.append(Join(inputs, skip, enlarged, outputs, deep=deep, attention=number == 1))
        inputs = outputs
    return steps
