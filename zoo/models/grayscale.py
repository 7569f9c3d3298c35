"""No colour at all: the baseline every figure is read against, and the example to read before writing a family."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.colorizer import Batch, Colorizer, Loss
from zoo.errors import OptionError
from zoo.registry import register
from zoo.spec import ModelSpec
from zoo.spread import Spread


@dataclass(frozen=True)
class GrayscaleConfig:
    """Nothing to configure."""

    @classmethod
    def tiny(cls) -> "GrayscaleConfig":
        """The smallest configuration, for tests."""
        return cls()


@register(
    ModelSpec(
        name="grayscale",
        summary="No color: the baseline",
        config=GrayscaleConfig(),
        weights=(),
        working_size=32,
        multiple_of=1,
    )
)
class Grayscale(Colorizer[GrayscaleConfig]):
    """Answers ab = 0 everywhere."""

    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        """Zeros, (N, 2, H, W)."""
        return torch.zeros_like(L).expand(-1, 2, -1, -1)

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        """The mean absolute chroma that grey misses; there is nothing to train."""
        return Loss(F.l1_loss(torch.zeros_like(batch.ab), batch.ab))

    def spread(self, L: Tensor, **options: Any) -> Spread:
        """Nothing: grey is its one answer, and it is sure of nothing.

        Raises:
            OptionError: Always.
        """
        raise OptionError(
            f"model {self.spec.name!r} has neither variants nor certainty",
            found="a model that answers grey",
            expected="one that answers colours, such as 'fusion'",
        )

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        """Zeros, (N, 2, H, W)."""
        return self(L)  # type: ignore[no-any-return]
