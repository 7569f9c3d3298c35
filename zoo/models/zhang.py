"""The two networks of Zhang et al., key for key those of the published files, so that their weights fit.

Both were written from the papers and from the names and shapes of the published tensors; no code is theirs.

Sources: Zhang, Isola, Efros, "Colorful Image Colorization", ECCV 2016 (public file richzhang/colorization:
colorizers/eccv16.py); Zhang, Zhu, Isola, Geng, Lin, Yu, Efros, "Real-Time User-Guided Image Colorization with Learned
Deep Priors", SIGGRAPH 2017 (colorizers/siggraph17.py).

Batch normalisation stays a layer of its own. It follows a ReLU, so it does not fold into the convolution before; every
layer behind it that inference runs pads with zeros (or, transposed, adds up fewer of them at the border), so that its
shift does not fold into that one either without changing the border.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo import bins
from zoo.colorizer import Batch, Colorizer, Loss
from zoo.errors import OptionError
from zoo.models._backbones import check_range, check_widths
from zoo.registry import register
from zoo.spec import ModelSpec, WeightsSpec
from zoo.spread import Spread, from_bins

WIDTHS = (64, 128, 256, 512)
AB_SCALE = 110.0  # both networks answer in these units, and siggraph17 is told its hints in them
_ADDRESS = "https://colorizers.s3.us-east-2.amazonaws.com/"
_DATA = ("photos of ImageNet (ILSVRC), whose own terms allow research only; the weights are licensed by their authors",)

# The b of the first and last bin in each column of the grid, for a = -90, -80 ... 100. The published set (the authors'
# resources/pts_in_hull.npy, 313 bins) is 52 bins wider than the sRGB gamut of `zoo.bins`, and holds all of its 261.
_BIN_COLUMNS = (
    (50, 90), (20, 90), (0, 90), (-20, 90), (-30, 100), (-40, 100), (-50, 100), (-50, 100), (-60, 100), (-70, 100),
    (-80, 90), (-80, 90), (-90, 90), (-100, 90), (-100, 80), (-110, 80), (-110, 80), (-110, 70), (-110, 70), (-90, 0),
)  # fmt: skip
# siggraph17 classifies on the whole grid from -110 to 110: 529 classes. Their order in the published head is not
# known here; it matters to fine-tuning alone, since no answer is made of them.
_CLASSES_A_SIDE = 23


def published_bins() -> Tensor:
    """The centres of eccv16's bins, (313, 2) in ab units, in the order of the published network's channels."""
    columns = enumerate(_BIN_COLUMNS, -9)
    centers = [(a, b // 10) for a, (first, last) in columns for b in range(first, last + 1, 10)]
    return torch.tensor(centers, dtype=torch.float32) * bins.GRID


def _published(file: str) -> WeightsSpec:
    """The weights in a file at the authors' address, whose name ends in the first digits of its sha256."""
    return WeightsSpec(
        tag="published",
        sha256=None,  # of the converted file: known once it has been made
        size_bytes=None,
        license="BSD-2-Clause",
        commercial_use=True,
        training_data=_DATA,
        source_url="https://github.com/richzhang/colorization",
        convert_from=f"{_ADDRESS}{file}.pth",
        upstream_sha256=file.rpartition("-")[2],
    )


def _block(inputs: int, outputs: int, convolutions: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """3x3 convolutions, each with a ReLU, then batch normalisation; the last one strides."""
    layers: list[nn.Module] = []
    for n in range(convolutions):
        step = stride if n == convolutions - 1 else 1
        layers.append(nn.Conv2d(outputs if n else inputs, outputs, 3, step, dilation, dilation))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers, nn.BatchNorm2d(outputs))


def _up(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Twice the size."""
    return nn.ConvTranspose2d(inputs, outputs, 4, 2, 1)


# eccv16


@dataclass(frozen=True)
class Eccv16Config:
    """The network's widths, how it learns and how it answers.

    Attributes:
        widths: Channels at the strides 2, 4 and 8, and of the deep blocks; the third also of the last block.
        rebalancing: lambda of the class rebalancing; 1 weighs all bins alike.
        temperature: Of the annealed mean, unless the caller gives one. The published network answers with the plain
            mean, 1; its paper with 0.38.
    """

    widths: tuple[int, ...] = WIDTHS
    rebalancing: float = 0.5
    temperature: float = 1.0

    def __post_init__(self) -> None:
        check_widths("widths", self.widths, 4)
        check_range("rebalancing", self.rebalancing, 0.01, 1)
        check_range("temperature", self.temperature, 0.001, 10)

    @classmethod
    def tiny(cls) -> "Eccv16Config":
        """The smallest configuration, for tests."""
        return cls(widths=(8, 8, 8, 8))


@register(
    ModelSpec(
        name="eccv16",
        summary="Zhang et al. 2016, the classic: a distribution over 313 colour bins, rare colours weighted up "
        "(weights by its authors)",
        config=Eccv16Config(),
        weights=(_published("colorization_release_v2-9b330a0b"),),
        working_size=256,
        multiple_of=8,
        supports=frozenset({"temperature", "seed"}),
        reference="Zhang, Isola, Efros, Colorful Image Colorization, ECCV 2016",
    )
)
class Eccv16(Colorizer[Eccv16Config]):
    """Answers how likely each of its own 313 colours is."""

    class_weights: Tensor

    def __init__(self, config: Eccv16Config) -> None:
        super().__init__(config)
        w1, w2, w3, w4 = config.widths
        self.model1 = _block(1, w1, 2, stride=2)
        self.model2 = _block(w1, w2, 2, stride=2)
        self.model3 = _block(w2, w3, 3, stride=2)
        self.model4 = _block(w3, w4, 3)
        self.model5 = _block(w4, w4, 3, dilation=2)
        self.model6 = _block(w4, w4, 3, dilation=2)
        self.model7 = _block(w4, w4, 3)
        centers = published_bins()
        count = len(centers)
        finish = _block(w3, w3, 2)[:-1]  # without batch normalisation
        self.model8 = nn.Sequential(_up(w4, w3), nn.ReLU(inplace=True), *finish, nn.Conv2d(w3, count, 1))
        self.model_out = nn.Conv2d(count, 2, 1, bias=False).requires_grad_(False)  # the bins' centres, which stay
        with torch.no_grad():
            self.model_out.weight.copy_(centers.T[:, :, None, None] / AB_SCALE)
        # Not in the state, which holds what the published file holds; the trainer finds them anew.
        self.register_buffer("class_weights", torch.ones(count), persistent=False)

    @property
    def centers(self) -> Tensor:
        """The bins' centres, (313, 2) in ab units: those of the weights."""
        return self.model_out.weight[:, :, 0, 0].T * AB_SCALE

    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        """Logits over the bins, (N, 313, H/4, W/4)."""
        x = (L - 50) / 100
        for block in (self.model1, self.model2, self.model3, self.model4, self.model5, self.model6, self.model7):
            x = block(x)
        return self.model8(x)  # type: ignore[no-any-return]

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        """Cross-entropy with the soft-encoded truth, rare colours weighted up."""
        return Loss(bins.rebalanced_cross_entropy(self(batch.L), batch.ab, self.class_weights, self.centers))

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        """The annealed mean, (N, 2, H/4, W/4), at ``temperature``; ``seed`` draws another plausible colouring."""
        logits, centers = self(L), self.centers
        if "seed" in options:
            logits = bins.perturb(logits, options["seed"], centers=centers)
        return bins.annealed_mean(logits, options.get("temperature", self.config.temperature), centers)

    def spread(self, L: Tensor, **options: Any) -> Spread:
        """As `Colorizer.spread`, from the bins. How they were weighted in the published training is not known here."""
        logits, centers = self(L), self.centers
        ab = bins.annealed_mean(logits, options.get("temperature", self.config.temperature), centers)
        return from_bins(ab, logits, centers=centers)

    def fit_statistics(self, ab: Tensor) -> None:
        """The weight of each bin, from the training photos' own colours."""
        self.class_weights.copy_(bins.rebalancing_weights(ab, self.config.rebalancing, self.centers))

    def parameters_of(self, role: str) -> Iterator[nn.Parameter]:
        """All but the bins' centres."""
        return (p for p in self.parameters() if p is not self.model_out.weight)


# siggraph17


@dataclass(frozen=True)
class Siggraph17Config:
    """The network's widths and how it learns.

    Attributes:
        widths: Channels at the strides 1, 2, 4 and 8.
        beta: Where smooth-L1 turns from quadratic to linear, in ab units.
        classification_weight: Of the cross-entropy over the grid of classes, beside the colours' smooth-L1.
        hint_rate: Chance that a training picture gets no further hint, so 1 / hint_rate - 1 hints on average; 1 trains
            without hints.
    """

    widths: tuple[int, ...] = WIDTHS
    beta: float = 1.0
    classification_weight: float = 1.0
    hint_rate: float = 0.125

    def __post_init__(self) -> None:
        check_widths("widths", self.widths, 4)
        check_range("beta", self.beta, 0, 1e6)
        check_range("classification_weight", self.classification_weight, 0, 1e6)
        check_range("hint_rate", self.hint_rate, 0.01, 1)

    @classmethod
    def tiny(cls) -> "Siggraph17Config":
        """The smallest configuration, for tests."""
        return cls(widths=(8, 8, 8, 8))


@register(
    ModelSpec(
        name="siggraph17",
        summary="Zhang et al. 2017: colours at full working size, made to take hints; automatic without any "
        "(weights by its authors)",
        config=Siggraph17Config(),
        weights=(_published("siggraph17-df00044c"),),
        working_size=256,
        multiple_of=8,
        reference="Zhang et al., Real-Time User-Guided Image Colorization with Learned Deep Priors, SIGGRAPH 2017",
    )
)
class Siggraph17(Colorizer[Siggraph17Config]):
    """Answers one colour a pixel, and follows the colours it is told in places."""

    takes_hints = True

    def __init__(self, config: Siggraph17Config) -> None:
        super().__init__(config)
        w1, w2, w3, w4 = config.widths
        self.model1 = _block(4, w1, 2)
        self.model2 = _block(w1, w2, 2)
        self.model3 = _block(w2, w3, 3)
        self.model4 = _block(w3, w4, 3)
        self.model5 = _block(w4, w4, 3, dilation=2)
        self.model6 = _block(w4, w4, 3, dilation=2)
        self.model7 = _block(w4, w4, 3)
        self.model8up = nn.Sequential(_up(w4, w3))
        self.model3short8 = nn.Sequential(nn.Conv2d(w3, w3, 3, 1, 1))
        self.model8 = nn.Sequential(nn.ReLU(inplace=True), *_block(w3, w3, 2))
        self.model9up = nn.Sequential(_up(w3, w2))
        self.model2short9 = nn.Sequential(nn.Conv2d(w2, w2, 3, 1, 1))
        self.model9 = nn.Sequential(nn.ReLU(inplace=True), *_block(w2, w2, 1))
        self.model10up = nn.Sequential(_up(w2, w2))
        self.model1short10 = nn.Sequential(nn.Conv2d(w1, w2, 3, 1, 1))
        last = nn.Conv2d(w2, w2, 3, 1, 1)
        self.model10 = nn.Sequential(nn.ReLU(inplace=True), last, nn.LeakyReLU(0.2, inplace=True))
        self.model_class = nn.Sequential(nn.Conv2d(w3, _CLASSES_A_SIDE**2, 1))
        self.model_out = nn.Sequential(nn.Conv2d(w2, 2, 1), nn.Tanh())

    def forward(
        self,
        L: Tensor,
        features: tuple[Tensor, ...] | None = None,
        hints: Tensor | None = None,
        first: bool = False,
    ) -> Any:
        """ab in Lab units, (N, 2, H, W), and logits over the grid of classes, (N, 529, H/4, W/4); or ab ``first``."""
        trunk = self._trunk(L, hints)
        ab = self._colors(*trunk)
        return ab if first else (ab, self.model_class(trunk[-1]))

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        """Of the colours, at the truth's own size, and of the classes; in training mode some colours are told.

        The published recipe trains the classes first, then the colours; here they learn side by side.
        """
        height, width = batch.L.shape[2:]
        h, w = batch.ab.shape[2:]
        rate = self.config.hint_rate
        hints = simulated_hints(batch.ab, (height, width), rate, batch.seeds) if self.training else None
        ab, logits = self(batch.L, hints=hints)
        colors = F.smooth_l1_loss(F.adaptive_avg_pool2d(ab, (h, w)), batch.ab, beta=self.config.beta)
        classes = F.cross_entropy(logits.float(), _class_of(batch.ab))
        total = colors + self.config.classification_weight * classes
        return Loss(total, {"colors": colors, "classes": classes})

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        """The colours, (N, 2, H, W) in Lab units.

        Args:
            L: (N, 1, H, W) in [0, 100].
            options: ``hints``: what is known of the colours, (N, 3, H, W): ab in Lab units, and a mask that is 1 where
                they are known and 0 elsewhere. None by default.

        Raises:
            OptionError: Hints of another shape.
        """
        return self(L, hints=options.get("hints"), first=True)  # type: ignore[no-any-return]

    def _trunk(self, L: Tensor, hints: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Features at the strides 1, 2 and 4; the last have seen the whole picture."""
        count, _, height, width = L.shape
        if hints is None:
            hints = L.new_zeros(count, 3, height, width)
        elif hints.shape != (count, 3, height, width):
            raise OptionError(
                "model 'siggraph17': hints of another shape",
                found=tuple(hints.shape),
                expected=f"{(count, 3, height, width)}: a, b and mask for each pixel of L",
            )
        mask = hints[:, 2:].to(L)
        told = torch.where(mask > 0, hints[:, :2].to(L) / AB_SCALE, 0)  # what lies outside the mask is not known
        one = self.model1(torch.cat(((L - 50) / 100, told, mask), 1))
        # The network takes every other pixel where others stride: what is left out still feeds the shortcuts.
        two = self.model2(one[:, :, ::2, ::2])
        three = self.model3(two[:, :, ::2, ::2])
        deep = self.model4(three[:, :, ::2, ::2])
        for block in (self.model5, self.model6, self.model7):
            deep = block(deep)
        return one, two, self.model8(self.model8up(deep) + self.model3short8(three))

    def _colors(self, one: Tensor, two: Tensor, four: Tensor) -> Tensor:
        """From the trunk's features to ab. The published forward runs all this twice, for the same answer."""
        nine = self.model9(self.model9up(four) + self.model2short9(two))
        ten = self.model10(self.model10up(nine) + self.model1short10(one))
        return self.model_out(ten).float() * AB_SCALE  # type: ignore[no-any-return]


def _class_of(ab: Tensor) -> Tensor:
    """The class of each colour, (N, 2, h, w) in ab units -> (N, h, w): by a, then by b."""
    most = _CLASSES_A_SIDE // 2
    cell = (ab / bins.GRID).round().clamp(-most, most).long() + most
    return cell[:, 0] * _CLASSES_A_SIDE + cell[:, 1]


def simulated_hints(ab: Tensor, size: tuple[int, int], rate: float, seeds: Tensor | None = None) -> Tensor:
    """Hints as users might give them, from the truth: patches, nearer to the middle, each of its mean colour.

    Args:
        ab: The true colours, (N, 2, h, w) in Lab units.
        size: Of the hints, H and W.
        rate: The chance, before each patch, that there are no more: their number is geometric, from 0.
        seeds: What each picture's hints are drawn by, (N,); None draws from torch's own random numbers.

    Returns:
        (N, 3, H, W): ab in Lab units and the mask.

    Source: after Zhang et al. 2017, section 3.1 (the simulated local hints).
    """
    truth = F.interpolate(ab, size, mode="nearest")
    hints = truth.new_zeros(len(ab), 3, *size)
    for own, told, seed in zip(truth, hints, seeds.tolist() if seeds is not None else [None] * len(ab), strict=True):
        draws = torch.default_generator if seed is None else torch.Generator().manual_seed(seed)
        while float(torch.rand((), generator=draws)) >= rate:
            side = min(int(torch.randint(1, 10, (), generator=draws)), *size)
            y, x = (
                int((torch.randn((), generator=draws) * w / 4 + (w - side) / 2).round().clamp(0, w - side))
                for w in size
            )
            patch = (slice(None), slice(y, y + side), slice(x, x + side))
            told[:2][patch] = own[patch].mean((1, 2), keepdim=True)
            told[2:][patch] = 1
    return hints
