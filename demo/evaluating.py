"""The evaluator as the app runs it: on photos within its limits, telling how far it is, until it is left."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event

import gradio as gr
import numpy as np
from PIL import Image, ImageOps

from demo import limits, models
from demo.refusals import in_short
from demo.reports import Working
from zoo import color, images
from zoo.errors import ImageError, OptionError, ZooError
from zoo.evaluation import candidates, evaluate, generated, report
from zoo.evaluation.candidates import Candidate, Colored
from zoo.evaluation.protocol import Prepared, Protocol, prepare
from zoo.evaluation.results import write_text

TITLE = "My photos"

_PROTOCOL = Protocol()
_LONGEST_NAME = 60


class _Stopped(Exception):
    """Nobody waits for the report any more."""


def contestants(chosen: Iterable[str]) -> list[Candidate]:
    """The models, ``name:style``, or ``name`` for each of its styles.

    They are loaded anew: while it compares, the evaluator changes what a network does.

    Raises:
        ZooError: One is not offered, or has no such style.
    """
    wanted: dict[str, Candidate] = {}
    found: dict[str, list[Candidate]] = {}
    for choice in map(models.parse, chosen):
        name = choice.spec.name
        if name not in found:
            found[name] = candidates.candidates([name])
            if not found[name]:
                raise OptionError(f"{name} is in every report as it is", remedy="choose another model")
        style = choice.options.get("style")
        own = {c.label: c for c in found[name] if style in (None, c.options.get("style"))}
        if not own:
            styles = [str(c.options["style"]) for c in found[name] if "style" in c.options]
            raise OptionError(f"{name} has no style {style!r}", expected=", ".join(styles) or "none")
        wanted |= own
    for candidate in wanted.values():
        if candidate.network is not None:
            models.taking_turns(candidate.network)
    # Where it is loaded from the evaluator is not told: to see its memory, it would start a process for each.
    return [replace(c, loaded_from=None) for c in wanted.values()]


def square(source: str, folder: Path) -> Path:
    """The photo as the evaluator compares it, under a name that is the visitor's as far as that is safe.

    It is read once, here and within the limits; the evaluator would read the whole photo three times.

    Raises:
        gr.Error: It is no photo, too large, too small or without color.
    """
    path = Path(source)
    with in_short(source):
        if path.is_file() and path.stat().st_size > limits.PHOTO_MEGABYTES * 2**20:
            raise ImageError(f"{source}: the file is too large")
        picture = images.read(source, max_pixels=limits.PHOTO_MEGAPIXELS * 1_000_000)
        image = images.to_pil(images.to_8_bit(picture.pixels)).convert("RGB")
        if min(image.size) > _PROTOCOL.size:  # what is smaller, it enlarges or refuses
            image = ImageOps.fit(image, (_PROTOCOL.size, _PROTOCOL.size), Image.Resampling.BICUBIC)
        if color.is_toned(np.asarray(image)):
            raise ZooError(f"{path.name}: has no color of its own, or one tint only: there is nothing to compare with")
        target = _free(folder, path.name)
        image.save(target, "PNG")
        try:
            prepare(target, _PROTOCOL)
        except ImageError as error:  # a picture, but none to compare with
            target.unlink()
            raise ZooError(error.what.replace(str(target), path.name), expected=error.expected) from error
    return target


def _free(folder: Path, name: str) -> Path:
    """A path in ``folder`` for a file of this name, without what is not printed and apart from those that are there."""
    folder.mkdir(exist_ok=True)
    safe = "".join(c if c.isprintable() and c not in '/\\:*?"<>|' else "_" for c in name).lstrip(".")
    stem, suffix = Path(safe).stem[:_LONGEST_NAME] or "photo", Path(safe).suffix[:10]
    target, number = folder / f"{stem}{suffix}", 1
    while target.exists():
        number += 1
        target = folder / f"{stem} ({number}){suffix}"
    return target


class Job:
    """One run of the evaluator, in a thread of its own.

    Attributes:
        last: How far it is, where there is something to tell.
    """

    def __init__(self, models: Sequence[Candidate], photos: Sequence[Path], target: Path, stop: Event) -> None:
        self.last: deque[Working] = deque(maxlen=1)
        self._models, self._photos, self._target = models, photos, target
        self._stop, self._left = stop, Event()
        self._at = 0  # the photo that is compared, from 1 on; 0 when all are

    def run(self) -> list[str] | None:
        """Write the report; returns which models are not in it and why, None if it was stopped before there was one.

        Raises:
            ZooError: Each model failed.
        """
        try:
            return self._run()
        except _Stopped:
            return None

    def leave(self) -> None:
        """Nobody waits for it any more."""
        self._left.set()

    def _run(self) -> list[str]:
        watched = [replace(c, colorize=partial(self._colorize, c)) for c in self._models]
        found = evaluate.evaluate(watched, list(self._photos), benchmark="photos", progress=self._counted)
        problems = [f"{label.replace(':', ' · ')}: {reason}" for label, reason in found.failures.items()]
        if len(problems) == len(watched):
            raise ZooError(f"no model could do it. {problems[0]}".removesuffix("."))
        pictures = generated.pictures_of(found.results, evaluate.find_photos(self._photos), found.candidates)
        files = report.render(found.results, title=TITLE, pictures=pictures, show=True)
        self._go_on()
        write_text(self._target, files["index.html"])
        return problems

    def _counted(self, paths: Sequence[Path]) -> Iterator[Path]:
        for self._at, path in enumerate(paths, 1):
            self._go_on()
            yield path
        self._at = 0
        self._go_on()
        self.last.append(Working("Timing the models and drawing the report"))

    def _colorize(self, candidate: Candidate, picture: Prepared) -> Colored:
        if self._at:
            words = f"Photo {self._at} of {len(self._photos)}: {candidate.label.replace(':', ' · ')}"
            self.last.append(Working(words, self._at - 1, len(self._photos)))
        else:  # drawn for the report
            self._go_on()
        try:
            with in_short(str(self._target.parent)):
                return candidate.colorize(picture)
        except gr.Error as error:  # the evaluator goes on without this model, and keeps the reason
            raise ZooError(error.message.removesuffix(".")) from error

    def _go_on(self) -> None:
        if self._stop.is_set() or self._left.is_set():
            raise _Stopped
