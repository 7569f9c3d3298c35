"""What the button for reports does: photos in color in, a report of the evaluator out, until done or stopped."""

import tempfile
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

import gradio as gr

from demo import limits
from demo.refusals import in_short, refusal, warn

if TYPE_CHECKING:
    from demo.evaluating import Job

_BEAT = 0.25  # seconds between two looks at how far the evaluator is


class Working(NamedTuple):
    """What is being done, and with how many of the photos it is done; None where that is not counted."""

    words: str
    done: int | None = None
    total: int | None = None


class Report(NamedTuple):
    """The finished report, one HTML file; how many photos are in it, and in words what is not."""

    path: Path
    photos: int
    left_out: list[str]


def make(
    sources: Sequence[str] | None, chosen: Sequence[str] | None, stop: Event | None = None
) -> Iterator[Working | Report]:
    """The report on the photos, of the ``chosen`` models, and before that how far it is.

    Photos that cannot be compared are left out, and models that fail; the others go on. After ``stop`` is set nothing
    more comes; so it does when this generator is closed. Nothing is kept: the report's file is gone once it has ended.

    Args:
        sources: Files of photos in color.
        chosen: Models, ``name:style``, or ``name`` for each of its styles.
        stop: Set to end it.

    Raises:
        gr.Error: Nothing to do, too much of it, or nothing that could be done; in words for the visitor.
    """
    if not sources:
        raise refusal("Upload photos in color first.")
    if not chosen:
        raise refusal("Tick at least one model.")
    if len(sources) > limits.REPORT_PHOTOS:
        raise refusal(f"These are {len(sources)} files. A report takes up to {limits.REPORT_PHOTOS} photos.")
    stop = stop or Event()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        left_out: list[str] = []
        photos: list[Path] = []
        yield Working("Loading the models")
        from demo import evaluating  # takes a while, which the app's start need not wait for

        with in_short(name):
            contestants = evaluating.contestants(chosen)
        for i, source in enumerate(sources):
            yield Working(f"Reading photo {i + 1} of {len(sources)}", i, len(sources))
            if stop.is_set():
                return
            try:
                photos.append(evaluating.square(source, folder / "photos"))
            except gr.Error as error:
                left_out.append(error.message)
        if not photos:
            raise refusal(f"No photo could be compared. {' '.join(left_out[:3])}")
        target = folder / "report.html"
        with in_short(name):
            problems = yield from _watched(evaluating.Job(contestants, photos, target, stop))
        if problems is not None:
            yield Report(target, len(photos), left_out + problems)


def make_one(pictures: list[str] | None, models: list[str] | None) -> Iterator[str]:
    """The report, one HTML file; the endpoint ``/report``. What is not in it is warned of.

    Raises:
        gr.Error: What `make` raises.
    """
    for step in make(pictures, models):
        if isinstance(step, Report):
            warn(step.left_out)
            yield str(step.path)


def _watched(job: "Job") -> Generator[Working, None, list[str] | None]:
    """How far ``job`` is, several times a second until it is done; what it returns is returned.

    It is done in a thread of its own, which has ended when this generator has.
    """
    with ThreadPoolExecutor(1, "report") as pool:
        done = pool.submit(job.run)
        try:
            while wait([done], _BEAT).not_done:
                if job.last:
                    yield job.last[0]
        finally:
            job.leave()
    return done.result()
