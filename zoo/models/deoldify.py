"""DeOldify: U-Nets that paint the whole picture, of which the colour is kept. Bold on people and old photographs.

The published weights come of "NoGAN" training: a perceptual loss first (L1, and VGG features weighted 20, 70, 10), at
64, 128, then 192 pixels; then short turns against an adversary, until its marks begin to show. Here the same networks
learn from pixels alone.

What is known of the published files is their address, size and sha256, and that the networks here have as many numbers
as the files hold. The names of the tensors in them follow from the public source; nobody has compared them yet, so
that the conversion is unverified: where a name differs, it refuses and says which.

Source: Antic, DeOldify (public files: deoldify/generators.py, unet.py, filters.py; github.com/jantic/DeOldify). There
the chroma is taken over in YUV and the picture is squashed to a square; here it is taken over in Lab, and the picture
keeps its proportions.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo import color
from zoo.colorizer import Batch, Colorizer, Loss
from zoo.errors import ConfigError
from zoo.models import _deoldify_network as network
from zoo.models._backbones import check_range
from zoo.pretrained import pretrained_state
from zoo.registry import register
from zoo.spec import ModelSpec, WeightsSpec

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, for what goes in and comes out
_RANGE = 3.0  # what comes out lies within so many of these
_WIDE = 512  # channels for each unit of a wide decoder's factor
_DATA = "photos of ImageNet (ILSVRC), whose own terms allow research only; the weights are licensed by their author"
_LIGHTNESS_WEIGHT = 0.1  # of L, which nobody sees, so that what is painted stays a picture


@dataclass(frozen=True)
class DeOldifyConfig:
    """Which U-Net.

    Attributes:
        encoder: A ResNet of timm.
        decoder: ``deep`` has two convolutions a step, which keep the channels of what they join, times ``factor``;
            ``wide`` has one, to 256 channels times ``factor``, and to half as many in the last step.
        factor: How wide the decoder is.
    """

    encoder: str = "resnet34"
    decoder: Literal["deep", "wide"] = "deep"
    factor: float = 1.5

    def __post_init__(self) -> None:
        if self.decoder not in ("deep", "wide"):
            raise ConfigError("unknown decoder", found=repr(self.decoder), expected="deep or wide")
        check_range("factor", self.factor, 1 / 32, 8)

    @classmethod
    def tiny(cls) -> "DeOldifyConfig":
        """The smallest configuration, for tests."""
        return cls(encoder="test_resnet", factor=0.25)


def _published(file: str, address: str, sha256: str) -> WeightsSpec:
    return WeightsSpec(
        tag="published",
        sha256=None,  # of the converted file: known once it has been made
        size_bytes=None,
        license="MIT",
        commercial_use=True,
        training_data=(_DATA,),
        source_url="https://github.com/jantic/DeOldify",
        convert_from=f"{address}/{file}",
        upstream_sha256=sha256,
    )


@register(
    ModelSpec(
        name="deoldify_artistic",
        summary="DeOldify, the artistic U-Net: the boldest colours (weights by its author; conversion unverified)",
        config=DeOldifyConfig(),
        weights=(
            _published(
                "ColorizeArtistic_gen.pth",
                "https://data.deepai.org/deoldify",
                "3f750246fa220529323b85a8905f9b49c0e5d427099185334d048fb5b5e22477",
            ),
        ),
        working_size=256,  # their render factor 16; 35, 560 pixels, is their default, for 4.8 times the work
        multiple_of=16,
        reference="Antic, DeOldify (jantic/DeOldify: deoldify/generators.py, unet.py)",
    ),
    ModelSpec(
        name="deoldify_stable",
        summary="DeOldify, the stable U-Net: steadier on people, views (weights by its author; conversion unverified)",
        config=DeOldifyConfig(encoder="resnet101", decoder="wide", factor=2.0),
        weights=(
            _published(
                "ColorizeStable_gen.pth",
                "https://huggingface.co/spensercai/DeOldify/resolve/main",  # a mirror: the author's own link has died
                "ca9cd7f43fb8b222c9a70f7b292e305a000694b0ff9d2ae4a6747b1a2e1ee5af",
            ),
        ),
        working_size=256,
        multiple_of=16,
        reference="Antic, DeOldify (jantic/DeOldify: deoldify/generators.py, unet.py)",
    ),
)
class DeOldify(Colorizer[DeOldifyConfig]):
    """Paints a picture from the grey one, and answers with its colours."""

    def __init__(self, config: DeOldifyConfig) -> None:
        super().__init__(config)
        encoder, channels = network.resnet(config.encoder)
        deepest = channels[-1]
        middle = nn.Sequential(network.conv(deepest, 2 * deepest), network.conv(2 * deepest, deepest))
        steps = network.decoder(channels, self._widths, deep=config.decoder == "deep")
        last = steps[-1].outputs
        self.layers = nn.ModuleList(
            [
                encoder,
                nn.BatchNorm2d(deepest),
                nn.ReLU(),
                middle,
                *steps,
                network.enlarging_last(last),
                nn.Identity(),  # where the network's input joins
                network.Residual(last + 3),
                nn.Sequential(network.SpectralConv(last + 3, 3, bias=True)),
            ]
        )

    def _widths(self, inputs: int, skip: int, last: bool) -> tuple[int, int]:
        factor = self.config.factor
        if self.config.decoder == "wide":
            width = int(_WIDE * factor) // (2 if last else 1)
            return width // 2, width // 2
        joined = inputs // 2 + skip
        return inputs // 2, int((joined // 2 if last else joined) * factor)

    @property
    def backbone(self) -> nn.Module | None:
        """The ResNet."""
        return self.layers[0]

    def encode(self, L: Tensor) -> tuple[Tensor, ...]:
        """The ResNet's maps at strides 2, 4, 8, 16 and 32."""
        return network.encode(self.layers[0], self._normalized(L))  # type: ignore[arg-type]

    def init_pretrained(self) -> None:
        """ImageNet weights for the ResNet: those that DeOldify began with, torchvision's.

        Raises:
            WeightsError: They are not to be had.
        """
        name = self.config.encoder
        state = pretrained_state(
            name if "." in name else f"{name}.tv_in1k",
            remedy="go online, or start from weights of your own with --init",
        )
        numbers = {step: str(n) for n, step in enumerate(network.STEPS)}
        parts = ((*key.partition("."), value) for key, value in state.items())
        self.layers[0].load_state_dict({f"{numbers[a]}.{b}": v for a, _, b, v in parts if a in numbers})

    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        """The painted picture, (N, 3, H, W) sRGB, mostly in [0, 1], for L, (N, 1, H, W); H and W multiples of 2."""
        picture = self._normalized(L)
        *skips, x = features or network.encode(self.layers[0], picture)  # type: ignore[arg-type]
        for layer in self.layers[1:4]:
            x = layer(x)
        for layer, skip in zip(self.layers[4:8], reversed(skips), strict=True):
            x = layer(x, skip)
        x = self.layers[8](x)
        x = self.layers[11](self.layers[10](torch.cat([x, picture.to(x.dtype)], 1)))
        painted: Tensor = (x.float().sigmoid() * 2 - 1) * _RANGE
        return painted * _constant(_STD, painted) + _constant(_MEAN, painted)

    def _normalized(self, L: Tensor) -> Tensor:
        """The grey picture, (N, 3, H, W), as the ResNet was trained to see it."""
        grey = color.grey_from_lightness(L).expand(-1, 3, -1, -1)
        return (grey - _constant(_MEAN, grey)) / _constant(_STD, grey)

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        """Smooth-L1 on ab, and a little on L; the published weights come of a perceptual loss and an adversary."""
        lab = self._lab(batch.L, batch.features)
        size = (batch.ab.shape[2], batch.ab.shape[3])
        small = F.adaptive_avg_pool2d(lab, size)
        parts = {
            "ab": F.smooth_l1_loss(small[:, 1:], batch.ab),
            "L": F.smooth_l1_loss(small[:, :1], F.adaptive_avg_pool2d(batch.L, size)),
        }
        return Loss(parts["ab"] + _LIGHTNESS_WEIGHT * parts["L"], parts)

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        """ab in Lab units, (N, 2, H, W)."""
        return self._lab(L)[:, 1:]

    def _lab(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        """Lab (N, 3, H, W) of the painted picture, clipped to what sRGB has; the gradient passes as if it were not."""
        rgb = self(L, features)
        with torch.autocast(rgb.device.type, enabled=False):
            return color.rgb_to_lab(rgb + (rgb.clamp(0, 1) - rgb).detach())


def _constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, 3, 1, 1)
