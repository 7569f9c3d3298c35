"""What the buttons for photos do: pictures in, pictures out."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from demo import limits, models
from demo.refusals import in_short
from zoo import color, images
from zoo.errors import ImageError

BEFORE, ORIGINAL = "before", "original"  # results that are no model's
_SHOWN_BY_BROWSERS = {"JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"}


class Result(NamedTuple):
    """One finished panel: whose it is, and its PNG file or, where there is none, the reason."""

    name: str
    path: Path | None
    problem: str = ""


def prepare(source: str | None) -> Iterator[str | None]:
    """An uploaded file as the page can show it: itself, or as PNG where browsers cannot; None if it is no picture.

    A generator, as `colorize` is, since its file is gone once it has ended: the app keeps a copy of what it yields.
    """
    if source is None:
        yield None
        return
    try:
        with in_short(source), tempfile.TemporaryDirectory() as folder:
            picture = _read(source)
            if picture.format in _SHOWN_BY_BROWSERS:
                yield source
            else:
                yield str(_write(Path(folder), Path(source).stem, picture, picture.pixels))
    except gr.Error as error:
        gr.Warning(error.message)
        yield None


def colorize(source: str | None, chosen: list[str], saturation: float = 1.0) -> Iterator[Result]:
    """The picture as each of the ``chosen`` models colors it, as soon as it is done; before that in black and white.

    A picture in color comes first of all as ``ORIGINAL``. Where one model fails, the others go on.

    Raises:
        gr.Error: Nothing to do, or the picture cannot be read; in words for the visitor.
    """
    if not source:
        raise gr.Error("Upload a photo or click one of the examples first.", print_exception=False)
    if not chosen:
        raise gr.Error("Tick at least one model.", print_exception=False)
    with tempfile.TemporaryDirectory() as name:
        folder, stem = Path(name), Path(source).stem[:80]
        with in_short(source):
            picture = _read(source)
            grey = models.named(models.BASELINE).colorize_array(picture.pixels)
            before = _write(folder, f"{stem}-grey", picture, grey)
            original = (
                _write(folder, f"{stem}-original", picture, picture.pixels)
                if color.has_color(images.to_8_bit(picture.pixels))
                else None
            )
        if original:
            yield Result(ORIGINAL, original)
        yield Result(BEFORE, before)
        for choice in chosen:
            try:
                with in_short(source):
                    model, options = models.parse(choice)
                    pixels = models.named(model).colorize_array(picture.pixels, saturation=saturation, **options)
                    path = _write(folder, f"{stem}-{choice.replace(':', '-')}", picture, pixels)
            except gr.Error as error:
                yield Result(choice, None, error.message)
            else:
                yield Result(choice, path)


def colorize_one(source: str | None, model: str, style: str = "", saturation: float = 1.0) -> Iterator[str]:
    """The picture in color, a PNG of the source's size; the endpoint ``/colorize``.

    Raises:
        gr.Error: What `colorize` raises, and the model's own refusal.
    """
    yield from colored(colorize(source, [f"{model}:{style}" if style else model], saturation))


def colored(results: Iterable[Result]) -> Iterator[str]:
    """The files of those ``results`` that are a model's.

    Raises:
        gr.Error: The model's own refusal.
    """
    for result in results:
        if result.problem:
            raise gr.Error(result.problem, print_exception=False)
        if result.name not in (BEFORE, ORIGINAL):
            yield str(result.path)


def _read(source: str) -> images.Picture:
    if Path(source).is_file() and Path(source).stat().st_size > limits.PHOTO_MEGABYTES * 2**20:
        raise ImageError(f"{source}: the file is too large")
    return images.read(source, max_pixels=limits.PHOTO_MEGAPIXELS * 1_000_000)


def _write(folder: Path, stem: str, picture: images.Picture, pixels: Any) -> Path:
    return images.write(folder / f"{stem}.png", pixels, alpha=picture.alpha, exif=picture.exif, dpi=picture.dpi)
