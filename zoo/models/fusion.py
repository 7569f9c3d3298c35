"""Fusion: any timm backbone fused with a light colour decoder, with a cautious and a vivid answer. The default model.

The picture's global feature is joined at every position, as in Iizuka et al. 2016 ("Let there be Color!") and
Baldassarre et al. 2017 ("Deep Koalarization"); one trunk feeds a regression head and a head over colour bins
(Zhang et al. 2017, "Real-Time User-Guided Image Colorization", trains the two side by side).
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo import bins
from zoo.colorizer import Batch, Loss
from zoo.errors import OptionError
from zoo.models._backbones import AB_SCALE, Decoder, HasEncoder, TimmEncoder, check_range, check_widths
from zoo.models._losses import perceptual_losses, psnr_loss
from zoo.registry import register
from zoo.spec import ModelSpec, packaged_weights
from zoo.spread import Spread, from_bins


@dataclass(frozen=True)
class FusionConfig:
    """The backbone, the decoder, and how the two heads learn and answer.

    Attributes:
        encoder: The name of a timm model.
        decoder_widths: At strides 16, 8, 4.
        drop_path: Chance that training skips a residual block of the backbone, rising to this at the deepest.
        rebalancing: lambda of the class rebalancing; 1 weighs all bins alike.
        prior_smoothing: How far the rebalancing spreads the colours' frequencies over neighboring bins, in ab units.
        regression_weight: Of the smooth-L1 term beside the cross-entropy.
        beta: Where smooth-L1 turns from quadratic to linear, in ab units.
        psnr_weight: Of the faithful answer's negative PSNR in dB.
        taught_weight: Of how far either answer is from the teachers', where a run has teachers.
        perceptual_weight: Of how unlike the vivid answer is to the photo for a pretrained classifier.
        moments_weight: Of how unlike the vivid answers of a batch are to its photos, as a set.
        perceptual_network: That classifier, a timm model.
        vivid_temperature: Of the annealed mean in style ``vivid``, unless the caller gives one.
        vivid_mix: Share of the faithful answer, its chroma raised, in the vivid one: clean where the bins are blotchy.
        vivid_saturation: The factor it is raised by.
    """

    encoder: str = "tf_efficientnet_lite0"
    decoder_widths: tuple[int, ...] = (160, 128, 64)
    drop_path: float = 0.0
    rebalancing: float = 0.5
    prior_smoothing: float = 0.0
    regression_weight: float = 0.5
    beta: float = 10.0
    psnr_weight: float = 0.0
    taught_weight: float = 0.0
    perceptual_weight: float = 0.0
    moments_weight: float = 0.0
    perceptual_network: str = "tf_efficientnet_lite0"
    vivid_temperature: float = bins.TEMPERATURE
    vivid_mix: float = 0.0
    vivid_saturation: float = 1.6

    def __post_init__(self) -> None:
        check_widths("decoder_widths", self.decoder_widths, 3)
        check_range("drop_path", self.drop_path, 0, 0.9)
        check_range("rebalancing", self.rebalancing, 0.01, 1)
        check_range("prior_smoothing", self.prior_smoothing, 0, 100)
        check_range("regression_weight", self.regression_weight, 0, 1e6)
        check_range("beta", self.beta, 0, 1e6)
        for key in ("psnr_weight", "taught_weight", "perceptual_weight", "moments_weight"):
            check_range(key, getattr(self, key), 0, 1e6)
        check_range("vivid_temperature", self.vivid_temperature, 0.001, 10)
        check_range("vivid_mix", self.vivid_mix, 0, 1)
        check_range("vivid_saturation", self.vivid_saturation, 0, 10)

    @classmethod
    def tiny(cls) -> "FusionConfig":
        """The smallest configuration, for tests."""
        return cls(encoder="test_efficientnet", decoder_widths=(8, 8, 8))


@register(
    ModelSpec(
        name="fusion",
        summary="Pretrained backbone fused with a color decoder; faithful or vivid. The default",
        config=FusionConfig(),
        weights=packaged_weights("fusion", FusionConfig),
        working_size=256,
        multiple_of=32,
        supports=frozenset({"style", "temperature", "seed"}),
        styles=("faithful", "vivid"),
        reference="after Iizuka et al. 2016, Baldassarre et al. 2017, Zhang et al. 2016 and 2017",
    )
)
class Fusion(HasEncoder[FusionConfig]):
    """Answers with the average colour (``faithful``), or leans to one of the likely ones (``vivid``)."""

    encoder: TimmEncoder
    class_weights: Tensor

    def __init__(self, config: FusionConfig) -> None:
        super().__init__(config)
        self.encoder = TimmEncoder(config.encoder, config.drop_path)
        channels = self.encoder.channels
        self.join = nn.Linear(channels[-1], channels[-1])
        self.decoder = Decoder(channels, config.decoder_widths)
        count = len(bins.bins())
        self.head = nn.Conv2d(self.decoder.outputs, 2 + count, 1)
        self.register_buffer("class_weights", torch.ones(count))

    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None, first: bool = False) -> Any:
        """ab in Lab units, (N, 2, H/4, W/4), and logits over the bins, (N, Q, H/4, W/4); with ``first``, ab alone."""
        trunk = self.trunk(L, features)
        ab = self._head(trunk, slice(2)).float() * AB_SCALE
        return ab if first else (ab, self._head(trunk, slice(2, None)))

    def trunk(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        """What both heads answer from, (N, C, H/4, W/4)."""
        *fine, coarse = features or self.encoder(L)
        scene = self.join(coarse.mean((2, 3)))[:, :, None, None]  # what the picture shows, at every position
        return self.decoder((*fine, coarse + scene))  # type: ignore[no-any-return]

    def _head(self, trunk: Tensor, outputs: slice) -> Tensor:
        """Some of the head's outputs: the bins are four fifths of its work and of what it writes."""
        return F.conv2d(trunk, self.head.weight[outputs], self.head.bias[outputs])  # type: ignore[index]

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        """Of the bins, of the faithful colours, and of how unlike to photos the vivid ones are."""
        ab, logits = self(batch.L, batch.features)
        classes = bins.rebalanced_cross_entropy(logits, batch.ab, self.class_weights)
        colors = F.smooth_l1_loss(ab, batch.ab, beta=self.config.beta)
        total, parts = classes + self.config.regression_weight * colors, {"classes": classes, "colors": colors}
        if self.config.psnr_weight:
            parts["psnr"] = psnr_loss(batch.L, ab, batch.ab)
            total = total + self.config.psnr_weight * parts["psnr"]
        if batch.taught or self.config.perceptual_weight or self.config.moments_weight:
            vivid = self._vivid(ab.detach(), logits, self.config.vivid_temperature)
        for style, answer in batch.taught.items():
            mine = ab if style == "faithful" else vivid
            parts[f"taught {style}"] = F.smooth_l1_loss(mine, answer, beta=self.config.beta)
            total = total + self.config.taught_weight * parts[f"taught {style}"]
        if self.config.perceptual_weight or self.config.moments_weight:
            parts["perceptual"], parts["moments"] = perceptual_losses(
                batch.L, vivid, batch.ab, self.config.perceptual_network
            )
            total = total + self.config.perceptual_weight * parts["perceptual"]
            total = total + self.config.moments_weight * parts["moments"]
        return Loss(total, parts, sets=("moments",) if self.config.moments_weight else ())

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        """The answer of the style asked for, (N, 2, H/4, W/4) in Lab units.

        ``faithful`` has one answer; a ``temperature`` or ``seed`` without a style asks for ``vivid``.
        """
        dials = options.keys() & {"temperature", "seed"}
        if options.get("style", "vivid" if dials else "faithful") == "faithful":
            return self(L, first=True)  # type: ignore[no-any-return]
        ab, logits = self(L)
        if "seed" in options:
            logits = bins.perturb(logits, options["seed"])
        return self._vivid(ab, logits, options.get("temperature", self.config.vivid_temperature))

    def spread(self, L: Tensor, **options: Any) -> Spread:
        """As `Colorizer.spread`, around the answer of the style asked for; without one, half way between the two."""
        ab, logits = self(L)
        center = ab
        if options.get("style") != "faithful":
            center = self._vivid(ab, logits, options.get("temperature", self.config.vivid_temperature))
        if "style" not in options:
            center = center.lerp(ab, 0.5)
        return from_bins(center, logits, self.class_weights)

    def _vivid(self, ab: Tensor, logits: Tensor, temperature: float) -> Tensor:
        likely = bins.annealed_mean(logits, temperature).float()  # autocast gives bfloat16
        return likely.lerp(ab * self.config.vivid_saturation, self.config.vivid_mix)

    def check_options(self, **options: Any) -> None:
        """As `Colorizer.check_options`; the style ``faithful`` has one answer, which no option turns."""
        super().check_options(**options)
        for name in ("temperature", "seed") if options.get("variant") is None else ("temperature",):
            if options.get("style") == "faithful" and options.get(name) is not None:
                raise OptionError(f"model 'fusion': style 'faithful' takes no {name}", remedy="use style 'vivid'")

    def fit_statistics(self, ab: Tensor) -> None:
        """The weight of each bin, from the training photos' own colours."""
        weights = bins.rebalancing_weights(ab, self.config.rebalancing, smoothing=self.config.prior_smoothing)
        self.class_weights.copy_(weights)
