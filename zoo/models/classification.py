"""Classification: a CNN to a distribution over colour bins, read out by the annealed mean.

Source: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016 (the objective; the network is this project's).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo import bins
from zoo.colorizer import Batch, Loss
from zoo.models._backbones import (
    Decoder,
    HasEncoder,
    PlainEncoder,
    TimmEncoder,
    check_range,
    check_widths,
    make_encoder,
)
from zoo.registry import register
from zoo.spec import ModelSpec, packaged_weights
from zoo.spread import Spread, from_bins


@dataclass(frozen=True)
class ClassificationConfig:
    """Which network classifies, and how rare colours count.

    Attributes:
        encoder: The name of a timm model, or ``plain`` for a CNN of its own, to train from scratch.
        encoder_widths: Of that CNN at strides 4, 8, 16, 32.
        encoder_depth: Residual blocks of that CNN at each stride.
        decoder_widths: At strides 16, 8, 4.
        rebalancing: lambda of the class rebalancing; 1 weighs all bins alike.
        temperature: Of the annealed mean, unless the caller gives one.
    """

    encoder: str = "tf_efficientnet_lite0"
    encoder_widths: tuple[int, ...] = (48, 96, 192, 256)
    encoder_depth: int = 2
    decoder_widths: tuple[int, ...] = (160, 128, 64)
    rebalancing: float = 0.5
    temperature: float = bins.TEMPERATURE

    def __post_init__(self) -> None:
        check_widths("encoder_widths", self.encoder_widths, 4)
        check_range("encoder_depth", self.encoder_depth, 0, 64)
        check_widths("decoder_widths", self.decoder_widths, 3)
        check_range("rebalancing", self.rebalancing, 0.01, 1)
        check_range("temperature", self.temperature, 0.001, 10)

    @classmethod
    def tiny(cls) -> "ClassificationConfig":
        """The smallest configuration, for tests."""
        return cls(encoder="plain", encoder_widths=(8, 8, 8, 8), encoder_depth=1, decoder_widths=(8, 8, 8))


@register(
    ModelSpec(
        name="classification",
        summary="Distribution over color bins: a temperature from faithful to vivid, and other plausible colorings",
        config=ClassificationConfig(),
        weights=packaged_weights("classification", ClassificationConfig),
        working_size=256,
        multiple_of=32,
        supports=frozenset({"temperature", "seed"}),
        reference="Zhang, Isola, Efros, Colorful Image Colorization, ECCV 2016",
    )
)
class Classification(HasEncoder[ClassificationConfig]):
    """Answers how likely each colour is."""

    encoder: TimmEncoder | PlainEncoder
    class_weights: Tensor

    def __init__(self, config: ClassificationConfig) -> None:
        super().__init__(config)
        self.encoder = make_encoder(config.encoder, config.encoder_widths, config.encoder_depth)
        self.decoder = Decoder(self.encoder.channels, config.decoder_widths)
        count = len(bins.bins())
        self.head = nn.Conv2d(self.decoder.outputs, count, 1)
        self.register_buffer("class_weights", torch.ones(count))

    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        """Logits over the bins, (N, Q, H/4, W/4)."""
        return self.head(self.decoder(features or self.encoder(L)))  # type: ignore[no-any-return]

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        """Cross-entropy with the soft-encoded truth, rare colours weighted up."""
        return Loss(bins.rebalanced_cross_entropy(self(batch.L, batch.features), batch.ab, self.class_weights))

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        """The annealed mean, (N, 2, H/4, W/4), at ``temperature``; ``seed`` draws another plausible colouring."""
        logits = self(L)
        if "seed" in options:
            logits = bins.perturb(logits, options["seed"])
        return bins.annealed_mean(logits, options.get("temperature", self.config.temperature))

    def spread(self, L: Tensor, **options: Any) -> Spread:
        """As `Colorizer.spread`, from the bins."""
        logits = self(L)
        ab = bins.annealed_mean(logits, options.get("temperature", self.config.temperature))
        return from_bins(ab, logits, self.class_weights)

    def fit_statistics(self, ab: Tensor) -> None:
        """The weight of each bin, from the training photos' own colours."""
        self.class_weights.copy_(bins.rebalancing_weights(ab, self.config.rebalancing))
