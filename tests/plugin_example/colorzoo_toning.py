"""Toning: each lightness has one colour, as in a toned print. The smallest model that learns something."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo import Batch, Colorizer, Loss, ModelSpec, register

AB_SCALE = 20.0  # brings the parameters near one


@dataclass(frozen=True)
class ToningConfig:
    """How finely lightness is divided.

    Attributes:
        tones: Lightnesses that have a colour of their own; between them it is interpolated.
    """

    tones: int = 32

    @classmethod
    def tiny(cls) -> "ToningConfig":
        """The smallest configuration, for tests."""
        return cls(tones=16)


@register(
    ModelSpec(
        name="toning",
        summary="One colour for each lightness, as in a toned print",
        config=ToningConfig(),
        weights=(),
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
        """Smooth-L1 on ab."""
        return Loss(F.smooth_l1_loss(F.interpolate(self(batch.L), batch.ab.shape[2:], mode="area"), batch.ab))

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        """ab in Lab units, (N, 2, H, W)."""
        return self(L)
