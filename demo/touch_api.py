"""The endpoints for what the tab Touch up does."""

import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from demo import limits, models, parts, photos, touching
from demo.keeping import Owner
from demo.photos import Settings
from demo.refusals import in_short, refusal
from demo.touches import check_places, draw, read_strokes
from zoo import certainty, pipeline
from zoo.errors import OptionError
from zoo.options import VIEWS, check_number
from zoo.reference import MODES


def add_endpoints() -> None:
    """The endpoints ``/touch_up``, ``/variants`` and ``/certainty``."""
    queued: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
    with gr.Row(visible=False):
        picture, painted, other = (
            parts.as_uploaded(gr.Image(type="filepath", format="png", sources=["upload"], label=label))
            for label in ("picture", "layer", "reference")
        )
        model = gr.Textbox(models.parse(models.default_choices()[0]).spec.name, label="model")
        style, mode = gr.Textbox("", label="style"), gr.Textbox(MODES[0], label="reference_mode")
        hints = gr.JSON(None, label="hints")
        variant, seed = gr.Number(None, label="variant"), gr.Number(0, label="seed")
        count = gr.Number(touching.VARIANTS, label="number")
        saturation = gr.Number(1.0, label="saturation")
        size, views = gr.Number(None, label="working_size"), gr.Number(VIEWS[0], label="views")
        gr.Button().click(
            touch_up,
            [picture, model, style, hints, painted, variant, seed, other, mode, saturation, size, views],
            gr.Image(type="filepath", format="png"),
            api_name="touch_up",
            **queued,
        )
        gr.Button().click(
            choose_variants,
            [picture, model, style, count, seed, saturation],
            gr.Gallery(format="png", type="filepath"),
            api_name="variants",
            **queued,
        )
        gr.Button().click(
            see_certainty,
            [picture, model, style],
            gr.Image(type="filepath", format="png"),
            api_name="certainty",
            **queued,
        )


def touch_up(
    source: str | None,
    model: str,
    style: str = "",
    hints: Any = None,
    layer: str | None = None,
    variant: float | None = None,
    seed: float | None = None,
    reference: str | None = None,
    reference_mode: str = MODES[0],
    saturation: float = 1.0,
    working_size: float | None = None,
    views: float = 1,
) -> Iterator[str]:
    """The picture in color as it was told, a PNG of its own size and bit depth; the endpoint ``/touch_up``.

    Args:
        source: The photo.
        model: As in `models.parse`, and so ``style``.
        style: One of the model's, or none.
        hints: As `touches.read_strokes` takes them.
        layer: Or a picture of the photo's size that is transparent where nothing is told.
        variant: As in `zoo.Colorizer.colorize`, and so the rest.
        seed: Of the variant.
        reference: Another picture.
        reference_mode: How colors are taken from it.
        saturation: Of what is not told.
        working_size: In pixels.
        views: Of the model's own answer.

    Raises:
        gr.Error: In words for the visitor.
    """
    if not source:
        raise refusal(photos.NO_PHOTO)
    name = _name(model, style)
    with tempfile.TemporaryDirectory() as folder:
        with in_short(source):
            settings = Settings(saturation, None, photos.whole(working_size), photos.whole(views) or 1)
            own = photos.options(name, settings)
            if variant is not None:
                own |= {"variant": photos.whole(variant), "seed": photos.whole(seed) or 0}
            photo, strokes = photos.Photo(source), read_strokes(hints)
            guide = touching.read_reference(reference) if reference else None
            base = models.named(models.parse(name).spec.name).canvas(photo.picture.pixels, **own)
            if strokes and layer:
                raise OptionError("both hints and a layer", remedy="leave one of them out")
            check_places(strokes, photo.size)
            told: Any = draw(strokes, photo.size, photo.size) if strokes else None
            if layer:
                told = photos.Photo(layer).image
            pixels = base.colorize_array(
                saturation=saturation, hints=told, reference=guide, reference_mode=reference_mode
            )
            path = photo.written(Path(folder) / f"{photo.stem(name)}.png", pixels)
        yield str(path)


def choose_variants(
    source: str | None,
    model: str,
    style: str = "",
    number: float = touching.VARIANTS,
    seed: float = 0,
    saturation: float = 1.0,
) -> Iterator[list[tuple[str, str]]]:
    """Variants of a picture, PNG of its own size; the endpoint ``/variants``.

    Args:
        source: The photo.
        model: As in `models.parse`, and so ``style``.
        style: One of the model's, or none.
        number: How many, up to `limits.VARIANTS`.
        seed: Another one gives others.
        saturation: Of all of them.

    Raises:
        gr.Error: In words for the visitor.
    """
    if not source:
        raise refusal(photos.NO_PHOTO)
    name = _name(model, style)
    with tempfile.TemporaryDirectory() as folder:
        done = []
        with in_short(source):
            count = photos.whole(number)
            check_number("number of variants", count, 1, limits.VARIANTS, whole=True)
            photo, options = photos.Photo(source), photos.options(name, Settings(saturation))
            asked = models.named(models.parse(name).spec.name)
            predictors = asked.variant_predictors(range(count), seed=photos.whole(seed) or 0, **options)
            for n, predict in enumerate(predictors):
                with asked.inference():
                    maps = pipeline.predict_maps(photo.picture.pixels, predict, **asked.sizes(options))
                pixels = pipeline.paint(photo.picture.pixels, maps, saturation=saturation)
                done.append((str(photo.written(Path(folder) / f"{photo.stem(name)}-{n}.png", pixels)), f"variant {n}"))
        yield done


def see_certainty(source: str | None, model: str, style: str = "") -> Iterator[str]:
    """How sure a model is, over the picture, with a legend, in a size for the screen; the endpoint ``/certainty``.

    Raises:
        gr.Error: In words for the visitor.
    """
    if not source:
        raise refusal(photos.NO_PHOTO)
    sitting = touching.Sitting(source, _name(model, style), Settings(), Owner("", secrets.token_hex(8)))
    with tempfile.TemporaryDirectory() as folder, in_short(source):
        path = Path(folder) / f"{Path(source).stem[:80]}-certainty.png"
        try:
            certainty.overlay(touching.small(sitting).pixels, touching.sure(sitting).certainty).save(path)
        finally:
            touching.leave(*sitting.owner)
        yield str(path)


def _name(model: str, style: str) -> str:
    return f"{model}:{style}" if style else model
