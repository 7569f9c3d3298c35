"""One pass over a source: shots in, coloured shots out, and what to do where it ends before its end."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from zoo import variants
from zoo.colorizer import Colorizer
from zoo.errors import VideoError
from zoo.pipeline import Predict
from zoo.video.coloring import Colored, FilmColorizer
from zoo.video.guiding import Plan
from zoo.video.sink import Sink
from zoo.video.source import Broken, Shot, Source


@dataclass(frozen=True)
class Progress:
    """How far a film is.

    Attributes:
        done: Frames that are done, those of an earlier run too; 0 while the film is looked through for its scenes.
        total: How many there will be, where that is known; an estimate.
        rate: Frames a second of this run.
    """

    done: int
    total: int | None
    rate: float

    @property
    def left(self) -> float | None:
        """Seconds that it will still take, where the number of frames is known."""
        return None if self.total is None or self.rate <= 0 else max(0, self.total - self.done) / self.rate


@dataclass
class Report:
    """What was made of a film.

    Attributes:
        frames: Of the result.
        kept: Those of them that an earlier run had done.
        runs: Of the network.
        seconds: It took.
        damaged: When, in seconds of the source, frames were damaged that this run saw: they show what could be
            decoded, or else the frame before.
        left_out: Streams that the output's format cannot hold, in words.
        notes: What else was found, in words.
    """

    frames: int = 0
    kept: int = 0
    runs: int = 0
    seconds: float = 0.0
    damaged: list[float] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Look:
    """A way to colour a film: a model, its options as of `Colorizer.colorize`, and what stands above it."""

    label: str
    model: Colorizer[Any]
    options: dict[str, Any] = field(default_factory=dict)


class Colors:
    """The colours of one film by one look; its colorizer is made when the first frame says how large it is.

    Args:
        look: Model and options.
        interval: As of `FilmColorizer`.
        plan: Likewise.

    Raises:
        OptionError: An option that the model does not have, or out of range.
    """

    def __init__(self, look: Look, interval: int | None, plan: Plan | None = None) -> None:
        self.model, self._options, self._interval, self._plan = look.model, look.options, interval, plan
        self._predict: Predict
        self._predict, self._begin = self.model.predictor(**look.options), None
        if look.options.get("variant") is not None:
            options = {name: value for name, value in look.options.items() if name not in ("variant", "seed")}
            spread_of = self.model.spreader(**options)
            self._predict = steady = variants.Steady(spread_of, look.options["variant"], look.options.get("seed") or 0)
            self._begin = steady.begin
        self._colorizer: FilmColorizer | None = None
        self.ready: deque[Colored] = deque()

    def feed(self, shot: Shot, source: Source) -> None:
        """Colours that are known with this frame become ready."""
        if self._colorizer is None:
            self._colorizer = FilmColorizer(
                self._predict,
                (shot.plane.shape[0], shot.plane.shape[1]),
                working_size=self._options.get("working_size") or self.model.spec.working_size,
                multiple_of=self.model.spec.multiple_of,
                coding=source.coding,
                saturation=self._options.get("saturation", 1.0),
                interval=self._interval,
                plan=self._plan,
                begin=self._begin,
            )
        self.ready.extend(self._colorizer.feed(shot.plane, shot.pts))

    def flush(self) -> None:
        """The rest of them."""
        if self._colorizer is not None:
            self.ready.extend(self._colorizer.flush())

    @property
    def runs(self) -> int:
        """Of the network."""
        return self._colorizer.runs if self._colorizer else 0


class _Cancelled(Exception):
    """The caller's progress function raised ``error``."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        super().__init__()


class Run:
    """One pass over a source.

    Args:
        source: What is coloured.
        out: Where it goes.
        colors: Of each cell of a frame.
        preview: Whether a grey cell stands before these.
        progress: Called after every frame.
        scene_of: Of a run that goes on, where it has to begin anew to know again what it knew, by how many frames are
            done and the time stamp of the last: the time stamp behind which it does, and how many it colours in vain.
    """

    def __init__(
        self,
        source: Source,
        out: Sink,
        colors: list[Colors],
        preview: bool,
        progress: Callable[[Progress], None] | None,
        scene_of: Callable[[int, int | None], tuple[int | None, int]] | None = None,
    ) -> None:
        self._source, self._sink, self._colors, self._preview = source, out, colors, preview
        self._progress, self._scene_of = progress, scene_of
        self._in_vain = 0  # frames that are coloured once more
        self._waiting: deque[Shot] = deque()
        self._report = Report(left_out=out.left_out)
        self._began = time.perf_counter()

    def all(self, *, resume: bool) -> Report:
        """Everything; what was done.

        Raises:
            VideoError: The source stops before its end or has no frames, or the result cannot be written.
        """
        report = self._report
        try:
            done, after = self._sink.begin(resume=resume)
        except BaseException:
            self._sink.discard()
            raise
        try:
            report.frames = report.kept = done
            if done and self._scene_of is not None:
                after, self._in_vain = self._scene_of(done, after)
            counted = self._source.shots(after)
            self._color(counted if after is not None else islice(counted, done - self._in_vain, None))
            if not report.frames:
                raise VideoError(
                    f"{self._source.name}: not one frame in it", expected="at least one between start and end"
                )
            self._sink.finish()
        except _Cancelled as cancelled:
            self._sink.discard()
            raise cancelled.error from None
        except Broken as broken:
            raise self._broken(broken) from broken.__cause__
        except VideoError as error:
            kept = self._sink.keep()
            if kept is None:
                raise
            raise VideoError(
                error.what,
                found=error.found,
                expected=error.expected,
                remedy="; ".join(filter(None, [error.remedy, _went_to(kept)])),
            ) from error.__cause__
        except BaseException:
            self._sink.keep()
            raise
        report.runs, report.seconds = sum(c.runs for c in self._colors), time.perf_counter() - self._began
        report.damaged, report.notes = self._source.findings.damaged, self._source.findings.notes
        return report

    def _color(self, shots: Iterator[Shot]) -> None:
        with ExitStack() as stack:
            stack.enter_context(_half_of_the_threads())
            for colors in self._colors:
                stack.enter_context(colors.model.inference())
            try:
                for shot in shots:
                    self._waiting.append(shot)
                    for colors in self._colors:
                        colors.feed(shot, self._source)
                    self._write()
            except Broken:
                self._flush()  # what it gave is done
                raise
            self._flush()

    def _flush(self) -> None:
        for colors in self._colors:
            colors.flush()
        self._write()

    def _write(self) -> None:
        """The frames whose colours are known."""
        while self._waiting and all(colors.ready for colors in self._colors):
            cells: list[Colored | None] = [colors.ready.popleft() for colors in self._colors]
            shot = self._waiting.popleft()
            if self._in_vain:
                self._in_vain -= 1
                continue
            self._sink.write(shot, [None, *cells] if self._preview else cells)
            report = self._report
            report.frames += 1
            if self._progress is not None:
                spent = max(time.perf_counter() - self._began, 1e-6)
                total = self._source.total and max(self._source.total, report.frames)
                try:
                    self._progress(Progress(report.frames, total, (report.frames - report.kept) / spent))
                except Exception as error:
                    raise _Cancelled(error) from error

    def _broken(self, broken: Broken) -> VideoError:
        kept = self._sink.keep()
        return VideoError(
            f"{self._source.name}: stops at {broken.at:.1f} seconds, after {self._report.frames} frames",
            found=broken.found,
            expected=None if broken.expected is None else f"{broken.expected:.1f} seconds, as it says itself",
            remedy=None if kept is None else f"{_went_to(kept)}, with a whole source",
        )


def _went_to(kept: Path) -> str:
    return f"what was done is {kept}; resume goes on from it"


@contextmanager
def _half_of_the_threads() -> Iterator[None]:
    """The decoder and the encoder have the other cores; threads of torch beside them would wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // 2))
    try:
        yield
    finally:
        torch.set_num_threads(before)
