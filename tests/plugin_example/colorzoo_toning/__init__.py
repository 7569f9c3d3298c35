"""Toning: each lightness has one colour, as in a toned print. The smallest model that learns something."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo import Batch, Colorizer, Loss, ModelSpec, WeightsSpec, register
from zoo.errors import ConfigError

AB_SCALE = 20.0  # brings the parameters near one


@dataclass(frozen=True)
class ToningConfig:
    """How finely lightness is divided.

    Attributes:
        tones: Lightnesses that have a colour of their own; between them it is interpolated.
    """

    tones: int = 8

    def __post_init__(self) -> None:
        if not 2 <= self.tones <= 256:
            raise ConfigError("bad tones", found=self.tones, expected="2 to 256")

    @classmethod
    def tiny(cls) -> "ToningConfig":
        """The smallest configuration, for tests."""
        return cls(tones=6)


BASE = WeightsSpec(  # a file beside this module; sha256 and size are checked, licence and training data shown
    tag="base",
    sha256="1e1b260e2264ba8898d5d19814b174527e1caa8ea171e4a58ae4679eb887bdd7",
    size_bytes=136,
    license="CC0-1.0",
    commercial_use=True,
    training_data=(
        "26 colour photos under CC0 1.0, of the GB82 image set, the WordPress themes Twenty Twenty-Four and "
        "Twenty Twenty-Five, and scikit-image",
    ),
    source_url=None,
    packaged=str(Path(__file__).with_name("base.safetensors")),
)


@register(
    ModelSpec(
        name="toning",
        summary="One colour for each lightness, as in a toned print",
        config=ToningConfig(),
        weights=(BASE,),
        working_size=64,
        multiple_of=1,
    )
)
class Toning(Colorizer[ToningConfig]):
    """Answers with the colour that pixels of this lightness have on average."""

    def __init__(self, config: ToningConfig) -> None:
        super().__init__(config)
        self.colors = nn.Parameter(torch.zeros(config.tones, 2))

    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        """ab in Lab units, (N, 2, H, W)."""
        last = self.config.tones - 1
        tones = torch.arange(last + 1, device=L.device).view(1, -1, 1, 1)
        nearness = (1 - (L / 100 * last - tones).abs()).clamp(min=0)  # (N, tones, H, W)
        return torch.einsum("nthw,tc->nchw", nearness, self.colors * AB_SCALE)

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        """The mean squared error of ab, whose minimum is the mean colour."""
        return Loss(F.mse_loss(F.interpolate(self(batch.L), batch.ab.shape[2:], mode="area"), batch.ab))

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        """ab in Lab units, (N, 2, H, W)."""
        return self(L)
