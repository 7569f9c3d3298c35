"""What the buttons for clips do: clips in, clips out, with progress, until done or stopped."""

import os
import re
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import gradio as gr

from demo import clips, guides, limits, models
from demo.guides import Guide
from demo.photos import BEFORE, ORIGINAL
from demo.refusals import in_short, refusal
from zoo.errors import ImageError, VideoError, ZooError
from zoo.reference import MODES
from zoo.video.transcode import Progress, colorize_video

_BEAT = 0.25  # seconds between two looks at how far a model is
_PRESET = "veryfast"  # of the encoder, which shares the processor with the model


class Result(NamedTuple):
    """One finished panel: whose it is, and its file or, where there is none, the reason."""

    name: str
    path: Path | None
    problem: str = ""


class Working(NamedTuple):
    """A model at work, and how far it is; None at its beginning."""

    name: str
    progress: Progress | None


class _Stopped(Exception):
    """Nobody waits for the clip any more."""


def prepare(source: str | None) -> Iterator[str | None]:
    """An uploaded clip as it will be colored and the page can play it; None if it is no clip.

    A generator for the same reason as `photos.prepare`.
    """
    if source is None:
        yield None
        return
    try:
        with tempfile.TemporaryDirectory() as folder, clip_in_short(source, folder):
            with _looking(), clips.opened(Path(source)) as film:
                long = clips.too_long(film)
            clip = _ready(source, Path(folder))
            if long:
                gr.Info(f"{Path(source).name} is longer than {limits.CLIP_SECONDS} seconds. {limits.CLIP_CUT}")
            yield str(clip)
    except gr.Error as error:
        gr.Warning(error.message)
        yield None


def colorize(
    source: str | None,
    chosen: list[str],
    saturation: float = 1.0,
    stop: Event | None = None,
    guide: Guide | None = None,
) -> Generator[Result | Working, None, None]:
    """The clip as each of the ``chosen`` models colors it, as soon as it is done; before that the clip itself.

    It comes as ``BEFORE``, to be shown without its colors; where it has some, first of all as ``ORIGINAL`` too. Where
    one model fails, the others go on. All of them are told what ``guide`` says. Once ``stop`` is set, the model at
    work ends within a few frames and nothing more comes; so it does when this generator is closed.

    Raises:
        gr.Error: Nothing to do, or the clip cannot be read; in words for the visitor.
    """
    if not source:
        raise refusal("Upload a clip or click one of the examples first.")
    if not chosen:
        raise refusal("Tick at least one model.")
    stop = stop or Event()
    with tempfile.TemporaryDirectory() as name:
        folder, stem = Path(name), Path(source).stem[:80]
        told = guide.options() if guide else {}
        with clip_in_short(source, name):
            clip = _ready(source, folder)
            in_color = clips.has_color(clip)
        if in_color:
            yield Result(ORIGINAL, clip)
        yield Result(BEFORE, clip)
        for choice in chosen:
            target = folder / f"{stem}-{re.sub(r'[^a-z0-9_]+', '-', choice.lower())[:40]}.mp4"  # whatever is asked for
            try:
                with clip_in_short(source, name):
                    asked = models.parse(choice)
                    options = {"saturation": saturation, **asked.options, **told}
                    work = partial(_color, asked.spec.name, clip, target, **options)
                    with closing(_watched(work, stop)) as watched:
                        for progress in watched:
                            yield Working(choice, progress)
            except gr.Error as error:
                yield Result(choice, None, error.message)
            else:
                if target.exists():
                    yield Result(choice, target)
            if stop.is_set():
                return


def colorize_one(
    source: str | None,
    model: str,
    style: str = "",
    saturation: float = 1.0,
    variant: float | None = None,
    seed: float | None = None,
    layers: Sequence[str] | None = None,
    moments: Any = None,
    reference: str | None = None,
    reference_mode: str = MODES[0],
) -> Iterator[str]:
    """The clip in color, an MP4 with its sound, up to 20 seconds; the endpoint ``/video``.

    Args:
        source: The clip.
        model: As in `models.parse`, and so ``style``.
        style: One of the model's, or none.
        saturation: From 0 to 2.
        variant: As in `zoo.colorize_video`, and so ``seed``.
        seed: Of the variant.
        layers: Pictures that are transparent where nothing is told, each of the size at which a frame is shown.
        moments: For each of them the seconds at which its frame is shown.
        reference: A picture that colors are taken from.
        reference_mode: How they are.

    Raises:
        gr.Error: What `colorize` raises, and the model's own refusal.
    """
    guide = guides.of_request(variant, seed, layers, moments, reference, reference_mode)
    # Closed at once where the model refuses, and its folder gone with it, not when Python comes to it.
    with closing(colorize(source, [f"{model}:{style}" if style else model], saturation, None, guide)) as steps:
        for step in steps:
            if isinstance(step, Result) and step.problem:
                raise refusal(step.problem)
            if isinstance(step, Result) and step.name not in (BEFORE, ORIGINAL):
                yield str(step.path)


def in_words(progress: Progress) -> str:
    """How far a model is: frames, frames a second and the time that is left."""
    if not progress.done:
        return "looking for its scenes"
    words = [f"{progress.done} of {progress.total} frames" if progress.total else f"{progress.done} frames"]
    words.append(f"{progress.rate:.0f} a second" if progress.rate >= 1 else "less than 1 a second")
    if progress.left is not None:
        minutes, rest = divmod(round(progress.left), 60)
        words.append(f"{minutes} min {rest} s left" if minutes else f"{rest} s left")
    return " · ".join(words)


def _color(name: str, clip: Path, target: Path, *, progress: Callable[[Progress], None], **options: Any) -> None:
    colorize_video(clip, target, model=models.named(name), preset=_PRESET, progress=progress, **options)


def _watched(work: Callable[..., None], stop: Event) -> Generator[Progress | None, None, None]:
    """What ``work``, which takes a function ``progress``, has told it last, several times a second until it is done.

    It is done in a thread of its own, which has ended when this generator has.
    """
    last: deque[Progress] = deque(maxlen=1)
    left = Event()

    def tell(progress: Progress) -> None:
        if stop.is_set() or left.is_set():
            raise _Stopped
        last.append(progress)

    with ThreadPoolExecutor(1, "film") as pool:
        done = pool.submit(work, progress=tell)
        try:
            yield None
            while wait([done], _BEAT).not_done:
                yield last[0] if last else None
        finally:
            left.set()
    try:
        done.result()
    except _Stopped:
        return


def _ready(source: str, folder: Path) -> Path:
    """The clip within the limits and as browsers play it: itself, or what is made of it in ``folder``."""
    path = Path(source)
    with _looking():
        with clips.opened(path) as film:
            if path.stat().st_size > limits.CLIP_MEGABYTES * 2**20:
                raise VideoError(f"{path}: the file is too large")
            if clips.fits(film):
                return path
        target = folder / f"{path.stem[:80]}.mp4"
        clips.fit(path, target)
        return target


@contextmanager
def _looking() -> Iterator[None]:
    """Where a clip is looked at before it is colored, a refusal says what would be taken."""
    try:
        yield
    except VideoError as error:
        raise ZooError(error.what, remedy=f"this app takes {limits.CLIPS}") from error


@contextmanager
def clip_in_short(source: str, folder: str) -> Iterator[None]:
    """As `refusals.in_short`, for a ``source`` that is a clip and a ``folder`` for what is made of it."""
    with in_short(source):
        try:
            yield
        except (VideoError, ImageError) as error:  # whose remedies are for those who are at the command line
            raise ZooError(error.what.replace(folder + os.sep, "")) from error
