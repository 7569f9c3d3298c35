"""A picture under a person's hands: the network has answered once, and colours are told as often as one likes."""

import copy
import math
import os
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zoo import color, images, pipeline, spreading, upsampling
from zoo.errors import ImageError, OptionError
from zoo.hints import RADIUS, Hints, HintsLike, cells_of, check_points, check_radius, retouch
from zoo.hints import read as read_hints
from zoo.options import GUIDANCE
from zoo.reference import MODES, Matched, Reference, change, match, palette

if TYPE_CHECKING:
    from zoo.colorizer import Colorizer, ImageLike

GRID = 256  # side of the square whose area the grid has on which hints spread
_EPS = 0.1  # of the guided upsampling of what hints change: less overshoots at lines that are thinner than its cells


class Guidance(TypedDict, total=False):
    """What a person says of a picture's colours.

    Attributes:
        hints: Points ``(x, y, "#rrggbb")`` in pixels of the upright picture, or a layer of its size with alpha that is
            opaque where colours are told. The result has these colours there, at its own lightness; similar pixels
            follow.
        hint_radius: Within so many pixels of a hint its colour is kept exactly, 0 to 32.
        reference: A coloured picture of something similar, whose colours are taken; where one serves many times, a
            `zoo.reference.Reference` made of it is faster.
        reference_mode: ``match``: each place takes the colours of the places like it, and keeps the model's own where
            none is. ``palette``: the colours as a whole become those of the reference.
    """

    hints: HintsLike | None
    hint_radius: float
    reference: "ImageLike | Reference | None"
    reference_mode: str


class Canvas:
    """A picture whose network answer is kept: `colorize` takes hints and a reference without another run of it.

    A model that takes hints itself (``takes_hints``) runs again for each new set of them. The first reference costs a
    run of the network that compares pictures.

    Args:
        model: What colours it.
        image: As in `Colorizer.colorize`.
        options: As there, but the saturation, which `colorize` takes.

    Raises:
        ImageError: The picture cannot be read or is not one.
        OptionError: An option that the model does not support, or a value out of range.
    """

    def __init__(self, model: "Colorizer[Any]", image: "ImageLike", **options: Any) -> None:
        if "saturation" in options:
            raise OptionError("a canvas has no saturation of its own", remedy="give it to the canvas's colorize")
        self.model = model
        self._alpha: npt.NDArray[Any] | None = None
        if isinstance(image, np.ndarray):
            self._array = image
        else:
            picture = images.picture_of(image)
            self._array, self._alpha = picture.pixels, picture.alpha
        self._predict = model.predictor(**options)
        self._sizes = model.sizes(options)
        self._geometry = pipeline.fitted(*self.size, **self._sizes)
        self._native = model.takes_hints and options.get("variant") is None  # which the network does not answer alone
        seen: list[Tensor] = []

        def answer(L: Tensor) -> Tensor:
            seen.append(L)
            return self._predict(L)

        with model.inference():
            self._own = pipeline.predict_maps(self._array, answer, **self._sizes).clone()
            self._fitted = seen[0].clone()  # what the network saw
            self._L = self._on_grid()
        self._target: Reference | None = None
        self._matched: tuple[Reference, Matched] | None = None  # the last one

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture, upright."""
        return self._array.shape[0], self._array.shape[1]

    def on(self, array: npt.NDArray[Any]) -> "Canvas":
        """The same answer over the same picture at another size: what was tried on a small one is made of the large.

        Args:
            array: As in `Colorizer.colorize_array`, of nearly the same proportions; upright.
        """
        other = copy.copy(self)
        other._array, other._alpha = array, None
        return other

    def answered(self, predict: pipeline.Predict) -> "Canvas":
        """The same picture with another answer than the model's own, given as `zoo.pipeline` takes it."""
        other = copy.copy(self)
        other._predict, other._native = predict, False
        with self.model.inference():
            other._own = pipeline.predict_maps(self._array, predict, **self._sizes).clone()
        return other

    def colorize(self, *, saturation: float = 1.0, **guidance: "Unpack[Guidance]") -> Image.Image:
        """The picture in colour, as `Colorizer.colorize` gives it.

        Args:
            saturation: Factor on the chroma of what the model and the reference give; hints are taken as they are.
            guidance: As in `Guidance`.

        Raises:
            ImageError: A layer or reference that cannot be read, or one without colour.
            OptionError: Hints that do not fit the picture, or a value out of range.
        """
        rgb = self.colorize_array(saturation=saturation, **guidance)
        return images.to_pil(images.to_8_bit(rgb), None if self._alpha is None else images.to_8_bit(self._alpha))

    def colorize_array(
        self,
        *,
        saturation: float = 1.0,
        hints: HintsLike | None = None,
        hint_radius: float = RADIUS,
        reference: "ImageLike | Reference | None" = None,
        reference_mode: str = MODES[0],
    ) -> npt.NDArray[Any]:
        """As `colorize`, as an array of the picture's dtype, (H, W, 3), or (H, W, 4) where an array had alpha."""
        check(hints=hints, hint_radius=hint_radius, reference=reference, reference_mode=reference_mode)
        self.model.check_options(saturation=saturation)
        told = read_hints(hints, self.size)
        with self.model.inference():
            maps = self._own
            if len(told) and self._native:
                maps = self._answered(told)
            if reference is not None:
                maps = _added(maps, self._referred(reference, reference_mode, maps))
            maps = maps * saturation
            if len(told) and not self._native:
                maps = _added(maps, self._spread(told, maps))
            painted = pipeline.paint(self._array, maps)
        retouch(painted, self._array, told, hint_radius)
        return painted

    def _on_grid(self) -> Tensor:
        """L (1, 1, h, w) of the picture on the grid on which hints spread."""
        height, width = self.size
        side = max(1, min(GRID, round(math.sqrt(height * width))))
        size = pipeline.fitted(height, width, side, 1).size
        if self._geometry.size == size:
            return self._fitted[:, :, : size[0], : size[1]]
        seen: list[Tensor] = []

        def look(L: Tensor) -> Tensor:
            seen.append(L)
            return torch.zeros_like(L).expand(-1, 2, -1, -1)

        pipeline.predict_maps(self._array, look, working_size=side, multiple_of=1)
        return seen[0].clone()

    def _ab(self, maps: Tensor) -> Tensor:
        """ab (1, 2, h, w) on the grid, that ``maps`` (4, h', w') give."""
        size = (self._L.shape[2], self._L.shape[3])
        if maps.shape[1] > size[0] or maps.shape[2] > size[1]:
            maps = F.interpolate(maps[None], size, mode="bilinear", antialias=True)[0]
        else:
            maps = upsampling.bilinear_upsample(maps[None], size)[0]
        f = color.f_from_lightness(self._L[0])
        return ((maps[:2] * f + maps[2:]) * f.new_tensor([500, -200]).view(2, 1, 1))[None]

    def _spread(self, told: Hints, maps: Tensor) -> Tensor:
        """Maps of what the hints change in the colours that ``maps`` give."""
        cells, ab = cells_of(told, self.size, (self._L.shape[2], self._L.shape[3]))
        change = spreading.spread(self._L, self._ab(maps), cells, ab)
        return pipeline.maps_of(change, self._L, eps=_EPS)[0]

    def _answered(self, told: Hints) -> Tensor:
        """Maps of the answer of a network that takes hints itself."""
        geometry = self._geometry
        cells, ab = cells_of(told, self.size, geometry.size)
        planes = torch.zeros(3, geometry.size[0] * geometry.size[1])
        planes[:, cells] = torch.cat([ab.T, torch.ones(1, len(cells))])
        # not mirrored as the picture is: beyond its edge nothing is told
        padded = torch.zeros(1, 3, *geometry.padded)
        padded[0, :, : geometry.size[0], : geometry.size[1]] = planes.view(3, *geometry.size)
        answer = self._predict(torch.cat([self._fitted, padded], 1))
        pipeline.check_prediction(answer, self._fitted)
        return pipeline.unfit(pipeline.maps_of(answer, self._fitted), geometry)[0]

    def _referred(self, reference: "ImageLike | Reference", mode: str, maps: Tensor) -> Tensor:
        """Maps of what a reference changes in the colours that ``maps`` give."""
        if not isinstance(reference, Reference):
            reference = Reference.of(reference)
        own = self._ab(maps)
        if mode == "palette":
            return pipeline.maps_of(palette(self._L, own, reference) - own, self._L)[0]
        target, matched = self._target, self._matched  # which another thread may change meanwhile
        if target is None:
            self._target = target = Reference.seen(self._array)
        if matched is None or matched[0] is not reference:
            self._matched = matched = (reference, match(target, reference))
        return change(target, matched[1], own)


def check(**guidance: "Unpack[Guidance]") -> None:
    """Refuse what is wrong with ``guidance`` for every picture, before one is touched.

    Raises:
        ImageError: A reference that is no picture.
        OptionError: Another value of another kind or out of range.
    """
    check_points(guidance.get("hints"))
    check_radius(guidance.get("hint_radius", RADIUS))
    mode, reference = guidance.get("reference_mode", MODES[0]), guidance.get("reference")
    if mode not in MODES:
        raise OptionError("unknown reference mode", found=repr(mode), expected=" or ".join(MODES))
    if reference is not None and not isinstance(reference, Reference | Image.Image | np.ndarray | str | os.PathLike):
        raise ImageError(
            "the reference is not a picture",
            found=type(reference).__name__,
            expected="a PIL image, a numpy array or a path",
        )
    if isinstance(reference, Reference) and reference.ab is None:
        raise ImageError("the reference was made without its colours", remedy="make it with Reference.of")


def variants(
    model: "Colorizer[Any]", array: npt.NDArray[Any], n: int, seed: int, *, saturation: float = 1.0, **options: Any
) -> list[npt.NDArray[Any]]:
    """`Colorizer.variants_array` with guidance, of which what is the same for all is made once.

    Raises:
        ImageError: As there.
        OptionError: As there.
    """
    guidance: Any = {name: options.pop(name) for name in GUIDANCE if name in options}
    check(**guidance)
    predictors = model.variant_predictors(range(n), seed=seed, saturation=saturation, **options)
    reference = guidance.get("reference")
    if reference is not None and not isinstance(reference, Reference):
        guidance["reference"] = Reference.of(reference)
    canvas, found = Canvas(model, array, variant=0, seed=seed, **options), []
    for predict in predictors:
        canvas = canvas.answered(predict)
        found.append(canvas.colorize_array(saturation=saturation, **guidance))
    return found


def _added(one: Tensor, other: Tensor) -> Tensor:
    """The sum (4, h, w) of maps, at the larger of their sizes."""
    size = max((one.shape[1], one.shape[2]), (other.shape[1], other.shape[2]))
    one, other = (
        maps if tuple(maps.shape[1:]) == size else upsampling.bilinear_upsample(maps[None], size)[0]
        for maps in (one, other)
    )
    return one + other
