"""Regression: a CNN from L to ab under smooth-L1, the classic. Clean, and pale where several colours are plausible.

Sources: E. Wallner, "Coloring Greyscale Images" (Coloring-greyscale-images:Alpha, Beta notebooks) for the networks
``alpha`` and ``beta``; Girshick, "Fast R-CNN", ICCV 2015, for smooth-L1.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.colorizer import Batch, Loss
from zoo.errors import ConfigError
from zoo.models._backbones import AB_SCALE, Decoder, HasEncoder, check_range, check_widths, make_encoder
from zoo.registry import register
from zoo.spec import ModelSpec, packaged_weights

# Wallner's notebooks: (channels, stride) of 3x3 convolutions with ReLU; "up" doubles the size.
_CLASSIC: dict[str, tuple[tuple[int, int] | Literal["up"], ...]] = {
    "alpha": ((8, 2), (8, 1), (16, 1), (16, 2), (32, 1), (32, 2), "up", (32, 1), "up", (16, 1), "up"),
    "beta": (
        (64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (256, 1), (128, 1),
        "up", (64, 1), "up", (32, 1),
    ),
}  # fmt: skip
_CLASSIC_SCALE = 128.0  # the classic networks' tanh spans the ab plane


@dataclass(frozen=True)
class RegressionConfig:
    """Which network regresses.

    Attributes:
        network: ``unet`` (an encoder with the shared decoder), or one of the classic ``alpha``, ``beta``.
        encoder: For ``unet``: the name of a timm model, or ``plain`` for a CNN of its own, to train from scratch.
        encoder_widths: Of that CNN at strides 4, 8, 16, 32.
        encoder_depth: Residual blocks of that CNN at each stride.
        decoder_widths: At strides 16, 8, 4.
        beta: Where smooth-L1 turns from quadratic to linear, in ab units.
    """

    network: str = "unet"
    encoder: str = "tf_efficientnet_lite0"
    encoder_widths: tuple[int, ...] = (48, 96, 192, 256)
    encoder_depth: int = 2
    decoder_widths: tuple[int, ...] = (160, 128, 64)
    beta: float = 10.0

    def __post_init__(self) -> None:
        if self.network not in ("unet", *_CLASSIC):
            raise ConfigError("unknown network", found=repr(self.network), expected=f"unet, {', '.join(_CLASSIC)}")
        check_widths("encoder_widths", self.encoder_widths, 4)
        check_range("encoder_depth", self.encoder_depth, 0, 64)
        check_widths("decoder_widths", self.decoder_widths, 3)
        check_range("beta", self.beta, 0, 1e6)

    @classmethod
    def tiny(cls) -> "RegressionConfig":
        """The smallest configuration, for tests."""
        return cls(encoder="plain", encoder_widths=(8, 8, 8, 8), encoder_depth=1, decoder_widths=(8, 8, 8))


@register(
    ModelSpec(
        name="regression",
        summary="Regression CNN on a pretrained backbone: clean, cautious colors",
        config=RegressionConfig(),
        weights=packaged_weights("regression", RegressionConfig),
        working_size=256,
        multiple_of=32,
        reference="field classic; networks alpha and beta after Wallner, Coloring-greyscale-images",
    )
)
class Regression(HasEncoder[RegressionConfig]):
    """Answers the colour that is right on average."""

    def __init__(self, config: RegressionConfig) -> None:
        super().__init__(config)
        self.encoder = None
        if config.network in _CLASSIC:
            self.classic = _classic(config.network)
            return
        self.encoder = make_encoder(config.encoder, config.encoder_widths, config.encoder_depth)
        self.decoder = Decoder(self.encoder.channels, config.decoder_widths)
        self.head = nn.Conv2d(self.decoder.outputs, 2, 1)

    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        """ab in Lab units, (N, 2, h, w): stride 4, or 1 for the classic networks."""
        if self.encoder is None:
            return torch.tanh(self.classic(L / 100).float()) * _CLASSIC_SCALE
        ab: Tensor = self.head(self.decoder(features or self.encoder(L)))
        return ab.float() * AB_SCALE

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        """Smooth-L1 on ab at the resolution of the coarser of answer and truth."""
        ab = self(batch.L, batch.features)
        height = min(ab.shape[-2], batch.ab.shape[-2])
        width = min(ab.shape[-1], batch.ab.shape[-1])
        answer, truth = (F.adaptive_avg_pool2d(t, (height, width)) for t in (ab, batch.ab))
        return Loss(F.smooth_l1_loss(answer, truth, beta=self.config.beta))

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        """ab in Lab units, (N, 2, h, w)."""
        return self(L)  # type: ignore[no-any-return]


def _classic(name: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    inputs = 1
    for step in _CLASSIC[name]:
        if step == "up":
            layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
        else:
            outputs, stride = step
            layers += [nn.Conv2d(inputs, outputs, 3, stride, 1), nn.ReLU(inplace=True)]
            inputs = outputs
    layers.append(nn.Conv2d(inputs, 2, 3, 1, 1))
    if name == "beta":  # there the last doubling comes after the colours
        layers.append(nn.Upsample(scale_factor=2, mode="nearest"))
    return nn.Sequential(*layers)
