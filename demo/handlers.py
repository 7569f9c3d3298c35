"""What the buttons for photos do: pictures in, pictures out; refusals become short messages, bugs a number."""

import logging
import secrets
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

import zoo
from zoo import color, images
from zoo.errors import ImageError, ZooError

_log = logging.getLogger(__name__)

BASELINE = "grayscale"  # what the panel "before" shows; a choice only where no other model has weights
DEFAULTS = ("fusion:faithful", "fusion:vivid")
MAX_MEGABYTES, MAX_MEGAPIXELS = 30, 30
LIMITS = f"JPEG, PNG, WebP, TIFF, BMP, GIF or AVIF, up to {MAX_MEGABYTES} MB and {MAX_MEGAPIXELS} megapixels"
BEFORE, ORIGINAL = "before", "original"  # results that are no model's
_SHOWN_BY_BROWSERS = {"JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"}


class Result(NamedTuple):
    """One finished panel: whose it is, and its PNG file or, where there is none, the reason."""

    name: str
    path: Path | None
    problem: str = ""


def offered() -> list[zoo.ModelSpec]:
    """The models that a visitor can choose: those that have weights, or the baseline alone."""
    specs = [zoo.describe(name) for name in zoo.list_models()]
    return [spec for spec in specs if spec.weights] or [zoo.describe(BASELINE)]


def choices() -> dict[str, str]:
    """What can be ticked, ``model`` or ``model:style``, and how it is labelled; the defaults first."""
    names = [f"{s.name}:{style}" if style else s.name for s in offered() for style in s.styles or ("",)]
    names.sort(key=lambda name: name not in DEFAULTS)
    return {name: name.replace(":", " · ") for name in names}


def default_choices() -> list[str]:
    """What is ticked at first: the defaults, or the first choice where they are not there."""
    names = list(choices())
    return [name for name in names if name in DEFAULTS] or names[:1]


def about_models() -> str:
    """The models that are offered, in Markdown: what they are, their size and licence."""
    entries = []
    for spec in offered():
        facts = []
        for weights in spec.weights[:1]:
            facts = [f"{weights.size_bytes / 1e6:.0f} MB"] if weights.size_bytes else []
            facts += [weights.license, "commercial use" if weights.commercial_use else "no commercial use"]
        entries.append(f"**{spec.name}**: {spec.summary}  \n<small>{' · '.join(facts)}</small>")
    return "\n\n".join(entries)


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
            grey = model_named(BASELINE).colorize_array(picture.pixels)
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
                    model, options = parse(choice)
                    pixels = model_named(model).colorize_array(picture.pixels, saturation=saturation, **options)
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


@lru_cache(maxsize=8)
def model_named(name: str) -> "zoo.Colorizer[Any]":
    """A model, kept for the next visitor."""
    return zoo.load(name)


def parse(choice: str) -> tuple[str, dict[str, Any]]:
    """The model's name and options; only what is offered, since other names reach for folders and the network.

    Raises:
        ZooError: It is not offered.
    """
    name, _, style = choice.partition(":")
    if name not in {spec.name for spec in offered()}:
        raise ZooError(f"no model named {name!r} here", expected=", ".join(spec.name for spec in offered()))
    return name, {"style": style} if style else {}


def _read(source: str) -> images.Picture:
    if Path(source).is_file() and Path(source).stat().st_size > MAX_MEGABYTES * 2**20:
        raise ImageError(f"{source}: the file is too large")
    return images.read(source, max_pixels=MAX_MEGAPIXELS * 1_000_000)


def _write(folder: Path, stem: str, picture: images.Picture, pixels: Any) -> Path:
    return images.write(folder / f"{stem}.png", pixels, alpha=picture.alpha, exif=picture.exif, dpi=picture.dpi)


@contextmanager
def in_short(source: str) -> Iterator[None]:
    """Turns what goes wrong into a message for the visitor, which names no folder of this machine.

    Raises:
        gr.Error: Anything else that was raised.
    """
    try:
        yield
    except gr.Error:
        raise
    except ImageError as error:
        text = " ".join(filter(None, (f"{error.what}.", _sentence(error.remedy), f"This app reads {LIMITS}.")))
        raise gr.Error(text.replace(source, Path(source).name), print_exception=False) from error
    except ZooError as error:
        expected = error.expected and f"expected: {error.expected}"
        text = " ".join(filter(None, (f"{error.what}.", _sentence(expected), _sentence(error.remedy))))
        raise gr.Error(text.replace(source, Path(source).name), print_exception=False) from error
    except Exception as error:
        reference = secrets.token_hex(4)
        _log.exception("reference %s", reference)
        text = f"Something went wrong on our side. If it happens again, report it with the reference {reference}."
        raise gr.Error(text, print_exception=False) from error


def _sentence(text: object) -> str:
    words = str(text or "")
    return words and words[0].upper() + words[1:].rstrip(".") + "."
