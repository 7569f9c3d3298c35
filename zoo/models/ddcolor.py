"""DDColor: learned colour queries on a ConvNeXt, the strongest published automatic colorizer that runs on a CPU.

The network takes the weights that its authors published, name by name (`zoo.models._ddcolor_network`).

Source: Kang et al., "DDColor: Towards Photo-Realistic Image Colorization via Dual Decoders", ICCV 2023; public files
piddnad/DDColor:ddcolor/model.py, options/train/train_ddcolor.yml and MODEL_ZOO.md.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo import color
from zoo.colorizer import Batch, Colorizer, Loss
from zoo.errors import ConfigError
from zoo.models._backbones import check_range, check_widths
from zoo.models._ddcolor_network import Decoder, Encoder, SpectralConv2d
from zoo.models._losses import perceptual_losses, to_rgb
from zoo.registry import register
from zoo.spec import ModelSpec, WeightsSpec

AB_LIMIT = 127.0  # the published network is known to answer with more at sizes it was not trained at
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as in the published files
_UNUSED = "encoder.arch.head_cls."  # the classifier, of which older files still have the tensors
_TERMS = "ImageNet's own terms allow research use only; the weights' licence is as the authors state it"


@dataclass(frozen=True)
class DDColorConfig:
    """The network's sizes, and how it learns; the defaults are the published large model and its recipe.

    Attributes:
        encoder_widths: Of the ConvNeXt at strides 4, 8, 16, 32.
        encoder_depths: Blocks of the ConvNeXt at each stride.
        decoder_widths: At strides 16, 8, 4; the last is also the width of the queries.
        queries: Learned colour queries.
        rounds: Of attention between queries and pixels.
        heads: Of attention.
        feedforward_width: Of the perceptron in each round.
        pretrained: The timm network whose weights the encoder starts training from; None starts from scratch.
        pixel_weight: Of the mean absolute error in ab.
        colorfulness_weight: Of how grey the answer is.
        perceptual_weight: Of how unlike the answer is to the photo for a pretrained classifier.
        perceptual_network: That classifier, a timm model.
    """

    encoder_widths: tuple[int, ...] = (192, 384, 768, 1536)
    encoder_depths: tuple[int, ...] = (3, 3, 27, 3)
    decoder_widths: tuple[int, ...] = (512, 512, 256)
    queries: int = 100
    rounds: int = 9
    heads: int = 8
    feedforward_width: int = 2048
    pretrained: str | None = "convnext_large.fb_in22k"
    pixel_weight: float = 0.1
    colorfulness_weight: float = 0.5
    perceptual_weight: float = 0.0
    perceptual_network: str = "tf_efficientnet_lite0"

    def __post_init__(self) -> None:
        check_widths("encoder_widths", self.encoder_widths, 4)
        if len(self.encoder_depths) != 4 or not all(1 <= n <= 64 for n in self.encoder_depths):
            raise ConfigError("bad encoder_depths", found=self.encoder_depths, expected="4 numbers from 1 to 64")
        check_widths("decoder_widths", self.decoder_widths, 3)
        for key, high in (("queries", 1024), ("rounds", 64), ("heads", 64), ("feedforward_width", 16384)):
            check_range(key, getattr(self, key), 1, high)
        if self.decoder_widths[-1] % (4 * self.heads):  # whole heads, and sine and cosine for rows and columns
            raise ConfigError(
                "decoder_widths and heads do not fit",
                found=f"{self.decoder_widths[-1]} channels for {self.heads} heads",
                expected="a last width that is a multiple of 4 x heads",
            )
        for key in ("pixel_weight", "colorfulness_weight", "perceptual_weight"):
            check_range(key, getattr(self, key), 0, 1e6)

    @classmethod
    def tiny(cls) -> "DDColorConfig":
        """The smallest configuration, for tests."""
        return cls(
            encoder_widths=(8, 8, 12, 16),
            encoder_depths=(1, 1, 2, 1),
            decoder_widths=(16, 16, 16),
            queries=4,
            rounds=4,
            heads=2,
            feedforward_width=16,
            pretrained=None,
        )


_TINY = DDColorConfig(
    encoder_widths=(96, 192, 384, 768), encoder_depths=(3, 3, 9, 3), pretrained="convnext_tiny.fb_in22k"
)


def _published(tag: str, repository: str, data: str, sha256: str | None = None) -> WeightsSpec:
    """Weights on the Hub as a pickle; of what is inside, and of commits, nothing more is known."""
    page = f"https://huggingface.co/piddnad/{repository}"
    return WeightsSpec(
        tag=tag,
        sha256=None,
        size_bytes=None,
        license="Apache-2.0",
        commercial_use=True,
        training_data=(data, "encoder initialised from ImageNet-22k weights of ConvNeXt", _TERMS),
        source_url=page,
        convert_from=f"{page}/resolve/main/pytorch_model.bin",
        upstream_sha256=sha256,
    )


@register(
    ModelSpec(
        name="ddcolor",
        summary="DDColor-L: learned colour queries on ConvNeXt-L; vivid, large (weights by its authors)",
        config=DDColorConfig(),
        # The authors' own default comes first; "paper" is to reproduce the paper's pictures.
        weights=(
            _published("modelscope", "ddcolor_modelscope", "ImageNet, cleaned as for BigColor"),
            _published("paper", "ddcolor_paper", "ImageNet"),
            _published("artistic", "ddcolor_artistic", "ImageNet and private pictures, many of them artistic"),
        ),
        working_size=256,
        multiple_of=32,
        reference="Kang et al., DDColor, ICCV 2023; piddnad/DDColor",
    ),
    ModelSpec(
        name="ddcolor_tiny",
        summary="DDColor-T: learned colour queries on ConvNeXt-T; vivid (weights by its authors)",
        config=_TINY,
        weights=(
            _published(
                "paper",
                "ddcolor_paper_tiny",
                "ImageNet",
                "8a1277bc90a1bfbb6d2d83933a9a6bc821931879ca93e26e4fcec12165d41fce",
            ),
        ),
        working_size=256,
        multiple_of=32,
        reference="Kang et al., DDColor, ICCV 2023; piddnad/DDColor",
    ),
)
class DDColor(Colorizer[DDColorConfig]):
    """Answers ab at its input's own size.

    The working size is the 256 that the published weights were trained and, in the paper's table, measured at. The
    authors' demo runs at 512, at four times the work: ``working_size=512`` does the same, in the picture's own aspect
    ratio.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: DDColorConfig) -> None:
        super().__init__(config)
        self.register_buffer("mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(_STD).view(1, 3, 1, 1))
        self.encoder = Encoder(config.encoder_widths, config.encoder_depths)
        self.decoder = Decoder(
            config.encoder_widths,
            config.decoder_widths,
            config.queries,
            config.rounds,
            config.heads,
            config.feedforward_width,
        )
        self.refine_net = nn.Sequential(nn.Sequential(SpectralConv2d(config.queries + 3, 2, bias=True)))

    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        """ab in Lab units, (N, 2, H, W), not limited.

        The published network lets each query answer each pixel, and mixes these Q planes and the normalised picture
        to ab by a 1x1 convolution. All of that is linear: here the convolution meets the queries first.
        """
        x = self._normalized(L)
        pixels, queries = self.decoder(features or self.encoder(x))
        refine = cast(SpectralConv2d, self.refine_net.get_submodule("0.0"))
        with torch.autocast(L.device.type, enabled=False):
            weight = refine.weight_orig.flatten(1) / refine.sigma()
            from_queries, from_picture = weight[:, :-3], weight[:, -3:]
            matrix = from_queries @ queries.float()  # (N, 2, C)
        ab = self.decoder.mixed(pixels, matrix)
        with torch.autocast(L.device.type, enabled=False):
            return ab + F.conv2d(x, from_picture[:, :, None, None], refine.bias)

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        """The paper's without its adversary: absolute error in ab, and colorfulness (its equation 8).

        Left out are the GAN, the target's colours enhanced by 1.2, and VGG16's perceptual loss of weight 5; the
        project's own perceptual loss takes the place of that one where ``perceptual_weight`` asks for it. The mean
        over the batch is taken where the published code sums.
        """
        ab = self(batch.L, batch.features)
        config = self.config
        parts = {
            "pixels": F.l1_loss(F.adaptive_avg_pool2d(ab, (batch.ab.shape[2], batch.ab.shape[3])), batch.ab),
            "colorfulness": 1 - colorfulness(to_rgb(batch.L, ab) * 255).mean() / 100,
        }
        total = config.pixel_weight * parts["pixels"] + config.colorfulness_weight * parts["colorfulness"]
        if config.perceptual_weight:
            parts["perceptual"], _ = perceptual_losses(batch.L, ab, batch.ab, config.perceptual_network)
            total = total + config.perceptual_weight * parts["perceptual"]
        return Loss(total, parts)

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        """ab in Lab units, (N, 2, H, W), limited to the ab plane."""
        return cast(Tensor, self(L)).clamp(-AB_LIMIT, AB_LIMIT)

    @property
    def backbone(self) -> nn.Module:
        """The ConvNeXt."""
        return self.encoder

    def encode(self, L: Tensor) -> tuple[Tensor, ...]:
        """The ConvNeXt's feature maps."""
        return cast(tuple[Tensor, ...], self.encoder(self._normalized(L)))

    def init_pretrained(self) -> None:
        """ImageNet-22k weights for the ConvNeXt, as the published training began."""
        if self.config.pretrained is not None:
            self.encoder.init_pretrained(self.config.pretrained)

    @classmethod
    def from_published(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The published names are this network's own; older files have a classifier that is not used."""
        return {key: value for key, value in state.items() if not key.startswith(_UNUSED)}

    def _normalized(self, L: Tensor) -> Tensor:
        """The grey picture of L as the encoder wants it, (N, 3, H, W)."""
        return ((color.grey_from_lightness(L) - self.mean) / self.std).contiguous(memory_format=torch.channels_last)


def colorfulness(rgb: Tensor) -> Tensor:
    """How colourful pictures (N, 3, H, W) are, (N,), in units of ``rgb``; the variant of the colorization literature.

    Source: Hasler and Suesstrunk, "Measuring colourfulness in natural images", 2003, with absolute opponent colours, as
    in piddnad/DDColor:basicsr/losses/losses.py.
    """
    red, green, blue = rgb.flatten(2).unbind(1)
    opponents = torch.stack([red - green, (red + green) / 2 - blue], 1).abs()  # (N, 2, H * W)
    means = opponents.mean(2)
    # As norms, because the gradient of a norm is finite at zero, where a picture has no colour.
    deviations = torch.linalg.vector_norm(opponents - means[:, :, None], dim=2) / opponents.shape[2] ** 0.5
    found: Tensor = torch.linalg.vector_norm(deviations, dim=1) + 0.3 * torch.linalg.vector_norm(means, dim=1)
    return found
