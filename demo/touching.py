"""What the tab Touch up does: one picture and one model, whose colors a visitor changes as often as they like.

The network answers once. What is tried, is tried on a smaller picture, and made of the whole one when it is downloaded.
"""

import base64
import io
import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from demo import limits, models, photos
from demo.keeping import Kept, Owner
from demo.photos import Array, Settings
from demo.refusals import in_short, refusal
from demo.touches import Touches, draw
from zoo import certainty, color, images, pipeline
from zoo.canvas import Canvas
from zoo.errors import ZooError
from zoo.hints import RADIUS
from zoo.reference import Reference
from zoo.spread import Spread

GONE = "This picture is not open here any more. Open it again."
PIXELS = 1 << 20  # of the picture in the page
THUMB = 256  # pixels, the longer side of small pictures
VARIANTS = 4  # at a time
REFERENCES = 8  # of one picture; the first go
_QUALITY = 90
_LIKELY = ((0.0, 0.0), (1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))  # standard deviations along two axes
_VISIBLE = (40.0, 80.0)  # L of colors to choose from
_kept = Kept(limits.TOUCHED_MEGABYTES << 20, limits.TOUCHED_EACH)
leave = _kept.drop
made_again = models.in_turn(Reference.of)


@dataclass(eq=False)
class Sitting:
    """A picture that is touched up.

    Attributes:
        source: The photo.
        choice: The model, as in `models.parse`.
        settings: How it colors.
        owner: Whose it is.
        size: Width and height in pixels, upright.
        frame: The clip of which it is one, and when that is shown, in seconds; None where it is a photo.
        touches: What was told last.
        references: Pictures that colors may be taken from, by what the page calls them.
        board: What the page shows of it, as `touch.js` reads it.
        stopped: Whether the visitor has stopped what takes long.
        lock: Held while something is made of the picture.
    """

    source: str
    choice: str
    settings: Settings
    owner: Owner
    size: tuple[int, int] = (0, 0)
    frame: tuple[str, float] | None = None
    touches: Touches = field(default_factory=Touches)
    references: dict[str, str] = field(default_factory=dict)
    board: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False
    lock: RLock = field(default_factory=RLock)

    @property
    def options(self) -> dict[str, Any]:
        """Of the network's own answer.

        Raises:
            ZooError: As `photos.options`.
        """
        return photos.options(self.choice, self.settings)

    @property
    def others(self) -> dict[str, Any]:
        """Of variants and certainty, which are not of several views; as `options`."""
        return {name: value for name, value in self.options.items() if name != "views"}

    @property
    def model(self) -> Any:
        """The model, loaded."""
        return models.named(models.parse(self.choice).spec.name)


class Small(NamedTuple):
    """A picture in the size of the page: pixels and, where something shines through, alpha; 8 bits."""

    pixels: Array
    alpha: Array | None


class Sure(NamedTuple):
    """How sure the model is, of a `Small` picture: each pixel's certainty; what else colors might be, and where."""

    certainty: Array
    spread: Spread
    inside: tuple[float, float]  # of the spread's height and width that the picture takes


def opened(source: str | None, choice: str, settings: Settings, session: str | None) -> Sitting:
    """A picture, which the model has answered to.

    Raises:
        gr.Error: In words for the visitor.
    """
    if not source:
        raise refusal(photos.NO_PHOTO)
    sitting = Sitting(source, choice, settings, Owner(session or secrets.token_hex(8), secrets.token_hex(8)))
    with in_short(source):
        small(sitting)
        canvas(sitting, None)
    return sitting


def small(sitting: Sitting) -> Small:
    """The picture in the size of the page."""

    def make() -> Small:
        photo = photos.Photo(sitting.source)
        sitting.size = photo.size
        shape = _within(photo.size, PIXELS)
        alpha = photo.picture.alpha if photo.transparent else None
        return Small(
            _resized(images.to_8_bit(photo.picture.pixels), shape),
            None if alpha is None else _resized(images.to_8_bit(alpha), shape),
        )

    return _kept.get(sitting.owner, "picture", make)


def canvas(sitting: Sitting, variant: tuple[int, int] | None) -> Canvas:
    """The picture with the model's answer, or with a variant of it: number and seed."""
    chosen = {} if variant is None else {"variant": variant[0], "seed": variant[1]}
    options = {**(sitting.options if variant is None else sitting.others), **chosen}
    key = ("canvas", sitting.choice, *sorted(options.items()))
    return _kept.get(sitting.owner, key, lambda: Canvas(sitting.model, small(sitting).pixels, **options))


def painted(sitting: Sitting, touches: Touches) -> Array:
    """The `small` picture in color, as it was told.

    Raises:
        ZooError: The model's refusal, or one of what was told.
    """
    with sitting.lock:
        pixels = _painted(sitting, touches, canvas(sitting, touches.variant))
        sitting.touches = touches
        return pixels


def full(sitting: Sitting, touches: Touches, suffix: str, folder: Path) -> Path:
    """The whole picture, in ``folder``, as `photos.full`; or what was told of it as a layer, ``.layer.png``.

    Raises:
        gr.Error: In words for the visitor.
    """
    with in_short(sitting.source), sitting.lock:
        stem = f"{Path(sitting.source).stem[:80]}-{sitting.choice.replace(':', '-')}-touched"
        if suffix == ".layer.png":
            path = folder / f"{Path(sitting.source).stem[:80]}-strokes.png"
            draw(touches.strokes, sitting.size, sitting.size).save(path)
            return path
        photo = photos.Photo(sitting.source)
        photo.check_suffix(suffix)
        base = canvas(sitting, touches.variant).on(photo.picture.pixels)
        return photo.written(folder / f"{stem}{suffix}", _painted(sitting, touches, base))


def variants(sitting: Sitting, seed: int) -> Iterator[Image.Image]:
    """Thumbnails of variants, as they come, until the visitor stops them.

    Raises:
        gr.Error: In words for the visitor.
    """
    with in_short(sitting.source):
        picture = small(sitting)
        size = _within((picture.pixels.shape[1], picture.pixels.shape[0]), THUMB**2)
        pixels = _resized(picture.pixels, size)
        sizes = sitting.model.sizes(sitting.others)
        for predict in sitting.model.variant_predictors(range(VARIANTS), seed=seed, **sitting.others):
            if sitting.stopped:
                return
            with sitting.model.inference():
                maps = pipeline.predict_maps(picture.pixels, predict, **sizes)
                yield Image.fromarray(pipeline.paint(pixels, maps, saturation=sitting.settings.saturation)[..., :3])


def sureness(sitting: Sitting) -> Image.Image:
    """How sure the model is, over the `small` picture.

    Raises:
        gr.Error: In words for the visitor.
    """
    with in_short(sitting.source):
        pixels, found = small(sitting).pixels, sure(sitting)
        return certainty.overlay(pixels, found.certainty).crop((0, 0, pixels.shape[1], pixels.shape[0]))


def likely(sitting: Sitting, x: float, y: float) -> list[str]:
    """Colors, ``#rrggbb``, that the model finds likely at a place of the picture; its own answer first.

    Raises:
        gr.Error: In words for the visitor.
    """
    with in_short(sitting.source):
        found = sure(sitting)
        ab, covariance = found.spread
        row, column = (
            min(int(at / side * share * cells), cells - 1)
            for at, side, share, cells in zip((y, x), sitting.size[::-1], found.inside, ab.shape[2:], strict=True)
        )
        aa, both, bb = covariance[0, :, row, column].double().tolist()
        values, axes = torch.linalg.eigh(torch.tensor([[aa, both], [both, bb]]).double())
        steps = torch.tensor(_LIKELY).double() * values.clamp(min=0).sqrt().flip(0)
        told = ab[0, :, row, column].double() + steps @ axes.flip(1).T  # (5, 2)
        pixels = small(sitting).pixels
        at = (int(y / sitting.size[1] * pixels.shape[0]), int(x / sitting.size[0] * pixels.shape[1]))
        grey = np.atleast_1d(pixels[at])[:3].astype(np.float32) / 255
        L = color.rgb_to_lab(torch.from_numpy(grey).expand(3)[:, None, None])[:1].clamp(*_VISIBLE).expand(1, 1, 5)
        rgb = color.lab_to_rgb(torch.cat([L, color.map_to_gamut(L, told.T[:, None].float())]))[:, 0].clamp(0, 1)
        return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in (rgb.T * 255).round().int().tolist()]


def refer(sitting: Sitting, path: str) -> tuple[str, Image.Image]:
    """Take in a picture that colors may be taken from: what the page calls it, and a thumbnail.

    Raises:
        gr.Error: In words for the visitor.
    """
    with in_short(path), sitting.lock:
        photo = photos.Photo(path)
        name = secrets.token_hex(4)
        pixels = _resized(images.to_8_bit(photo.picture.pixels), _within(photo.size, PIXELS))
        _kept.get(sitting.owner, ("reference", name), lambda: made_again(pixels))
        sitting.references[name] = path
        for oldest in list(sitting.references)[:-REFERENCES]:
            del sitting.references[oldest]
        return name, Image.fromarray(_resized(pixels, _within(photo.size, THUMB**2 // 4)))


def read_reference(path: str) -> Reference:
    """A picture that colors are taken from.

    Raises:
        ZooError: It is none, too large, or without color.
    """
    photo = photos.Photo(path)
    return made_again(_resized(images.to_8_bit(photo.picture.pixels), _within(photo.size, PIXELS)))


def sure(sitting: Sitting) -> Sure:
    """How sure the model is of the `small` picture.

    Raises:
        ZooError: The model's refusal.
    """

    def make() -> Sure:
        spread_of = sitting.model.spreader(**sitting.others)
        pixels, sizes = small(sitting).pixels, sitting.model.sizes(sitting.others)
        seen: list[Spread] = []

        def answer(L: torch.Tensor) -> torch.Tensor:
            seen.append(spread_of(L))
            return certainty.of_spread(seen[0]).expand(-1, 2, -1, -1)

        with sitting.model.inference():
            lab = pipeline.predict_lab(pixels, answer, **sizes)
        at = pipeline.fitted(*pixels.shape[:2], **sizes)
        inside = (at.size[0] / at.padded[0], at.size[1] / at.padded[1])
        return Sure(lab[1].clamp(0, 1).numpy(), Spread(*(maps.clone() for maps in seen[0])), inside)

    with sitting.lock:
        return _kept.get(sitting.owner, ("sure", sitting.choice, *sorted(sitting.others.items())), make)


def data_url(pixels: Array, alpha: Array | None = None) -> str:
    """A picture for the page, in itself: no file is left of it."""
    image, file = images.to_pil(pixels, alpha), io.BytesIO()
    kind = "jpeg" if alpha is None else "webp"
    image.save(file, kind, quality=_QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _painted(sitting: Sitting, touches: Touches, base: Canvas) -> Array:
    height, width = base.size
    scale = width / sitting.size[0]
    told = draw(touches.strokes, sitting.size, (width, height)) if touches.strokes else None
    reference = None if touches.reference is None else _reference(sitting, touches.reference)
    return base.colorize_array(
        saturation=sitting.settings.saturation,
        hints=told,
        hint_radius=RADIUS * scale,
        reference=reference,
        reference_mode=touches.mode,
    )


def _reference(sitting: Sitting, name: str) -> Reference:
    path = sitting.references.get(name)
    if path is None:
        raise ZooError("this reference is not here any more", remedy="add the picture again")
    return _kept.get(sitting.owner, ("reference", name), partial(read_reference, path))


def _within(size: tuple[int, int], pixels: int) -> tuple[int, int]:
    """A size (width, height) of these proportions that has no more pixels."""
    scale = min(1.0, math.sqrt(pixels / (size[0] * size[1])))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _resized(pixels: Array, size: tuple[int, int]) -> Array:
    """8-bit pixels at a size (width, height)."""
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))
