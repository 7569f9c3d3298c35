"""What a visitor tells of a clip's colors: strokes on some of its frames, a variant, another picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from demo import photos, touching
from demo.refusals import in_short, refusal
from demo.touches import Stroke, draw
from zoo.errors import OptionError
from zoo.reference import MODES

VARIANTS = 8  # of a seed, that the page offers


class Painted(NamedTuple):
    """Strokes on a frame, whose width and height ``size`` is."""

    size: tuple[int, int]
    strokes: tuple[Stroke, ...]


class Moments(NamedTuple):
    """What was painted on frames of one clip.

    Attributes:
        clip: Its file; empty without one.
        painted: By the seconds at which the frame begins to be shown.
    """

    clip: str = ""
    painted: tuple[tuple[float, Painted], ...] = ()

    def strokes(self, at: float) -> tuple[Stroke, ...]:
        """Those on one frame."""
        return next((painted.strokes for moment, painted in self.painted if moment == at), ())

    def painted_on(self, at: float, painted: Painted) -> "Moments":
        """With what is painted on a frame now, and no more with what was painted there before."""
        others = {moment: own for moment, own in self.painted if moment != at}
        given = others | ({at: painted} if painted.strokes else {})
        return Moments(self.clip, tuple(sorted(given.items())))


class Guide(NamedTuple):
    """What is told of a clip's colors, for all models alike.

    Attributes:
        layers: Pictures with alpha of a frame's size, by the moment in seconds.
        variant: Number and seed, as of `zoo.colorize_video`; None for the models' own answers.
        reference: A picture that colors are taken from, in every scene.
        mode: How they are taken.
    """

    layers: tuple[tuple[float, Image.Image], ...] = ()
    variant: tuple[int, int] | None = None
    reference: str | None = None
    mode: str = MODES[0]

    @classmethod
    def of(cls, moments: Moments, variant: tuple[int, int] | None, reference: str | None, mode: str) -> "Guide":
        """What the page holds."""
        layers = ((at, draw(own.strokes, own.size, own.size)) for at, own in moments.painted)
        return cls(tuple(layers), variant, reference, mode)

    def options(self) -> dict[str, Any]:
        """Of `zoo.colorize_video`.

        Raises:
            gr.Error: The reference is none; in words for the visitor.
        """
        told: dict[str, Any] = {}
        if self.layers:
            told["hints"] = dict(self.layers)
        if self.variant:
            told |= {"variant": self.variant[0], "seed": self.variant[1]}
        if self.reference:
            with in_short(self.reference):
                told |= {"reference": touching.read_reference(self.reference), "reference_mode": self.mode}
        return told

    def as_code(self, clip: str) -> dict[str, Any]:
        """The same options with the names of files, under which the page gives the layers of a clip."""
        told: dict[str, Any] = {}
        if self.variant:
            told |= {"variant": self.variant[0], "seed": self.variant[1]}
        if self.layers:
            told["hints"] = {at: f"{Path(frame_name(clip, at)).stem}-strokes.png" for at, _ in self.layers}
        if self.reference:
            told |= {"reference": Path(self.reference).name, "reference_mode": self.mode}
        return told

    @property
    def words(self) -> str:
        """What was told, in a few words; empty where nothing was."""
        said = []
        if self.variant:
            number, seed = self.variant
            said.append(f"variant {number + 1}" + (f" of seed {seed}" if seed else ""))
        if self.reference:
            said.append(f"colors from {Path(self.reference).name}")
        if self.layers:
            said.append(f"strokes at {', '.join(f'{at:g} s' for at, _ in self.layers)}")
        return "; ".join(said)


def frame_name(clip: str, at: float) -> str:
    """What the picture of a frame is called."""
    return f"{Path(clip).stem[:60]}-{at:g}s.png"


def of_request(
    variant: float | None,
    seed: float | None,
    layers: Sequence[str] | None,
    moments: Any,
    reference: str | None,
    mode: str,
) -> Guide:
    """What a request to the endpoint ``/video`` tells.

    Raises:
        gr.Error: It is not understood; in words for the visitor.
    """
    paths, given = layers or (), moments if isinstance(moments, list) else [moments] if moments is not None else []
    if len(paths) != len(given):
        raise refusal(f"There are {len(paths)} layers and {len(given)} moments. Give the seconds of each layer.")
    pictures: list[tuple[float, Image.Image]] = []
    for path, at in zip(paths, given, strict=True):
        with in_short(path):
            if isinstance(at, bool) or not isinstance(at, int | float):
                raise OptionError(f"moment {at!r:.40}", expected="seconds from the beginning of the clip")
            if at in dict(pictures):
                raise OptionError(f"two layers at {at} seconds", remedy="give one of them")
            pictures.append((at, photos.Photo(path).image))
    chosen = None if variant is None else (photos.whole(variant), photos.whole(seed) or 0)
    return Guide(tuple(pictures), chosen, reference or None, mode)
