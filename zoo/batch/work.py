"""What a worker does, whoever started it: it holds the model once, and makes results of items."""

import errno
import hashlib
import json
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, Literal

from zoo import images
from zoo.batch import films
from zoo.batch.folders import Folder, Place
from zoo.batch.planning import ITEM_ERRORS
from zoo.batch.settings import Settings
from zoo.errors import ImageError, OptionError, ZooError

# Of the operating system's errors, those that may be gone when it is asked again; not every system has all.
_PASSING = {
    getattr(errno, name, -1)
    for name in (
        *("EIO", "EAGAIN", "EBUSY", "EINTR", "EMFILE", "ENFILE", "ESTALE", "ETIMEDOUT", "EREMOTEIO"),
        *("ENETDOWN", "ENETUNREACH", "EHOSTDOWN", "EHOSTUNREACH"),
    )
}
_ENDING = {getattr(errno, name, -1) for name in ("ENOSPC", "EDQUOT", "EROFS")}  # every further item would fail too
_PAUSE = 0.5  # seconds before the second try, four times as long before each further one
_LONGEST_PAUSE = 30.0
_RESULT = "result-"  # begins the names of files in which results are written


@dataclass(frozen=True, slots=True)
class Task:
    """An item of work.

    Attributes:
        kind: A picture, a film as a whole, or of a film: to split it, to colour a segment, to join these.
        source: Name in the place of the sources.
        result: Name in the place of the results.
        size: Bytes of the source.
        stamp: Of the source, as of `places.Entry`.
        part: The segment, from 0.
        folder: Where in the place of the results a film is put together.
        segments: Of a film: the one to colour, or all to join.
    """

    kind: Literal["picture", "film", "split", "segment", "join"]
    source: str
    result: str
    size: int = 0
    stamp: str = ""
    part: int | None = None
    folder: str = ""
    segments: tuple[dict[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """For messages."""
        if self.kind == "segment":
            return f"{self.source}, segment {(self.part or 0) + 1} of {self.segments[0].get('count', '?')}"
        return self.source

    def part_name(self, part: int) -> str:
        """Of a segment's file in the place of the results."""
        return f"{self.folder}/{part:05d}.part"

    def to_json(self) -> str:
        """Plain ASCII, whatever the names hold."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Task":
        """As `to_json` wrote it."""
        table = json.loads(text)
        return cls(**{**table, "segments": tuple(table["segments"])})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What has become of a task.

    Attributes:
        task: With the name of the result that was written.
        error: Why it failed; None where it did not.
        size: Bytes of the result.
        sha256: Of the result.
        seconds: It took.
        tries: How many it took.
        segments: Of a film that was split.
        ends: Whether all others would fail for the same reason.
        bug: Whether the error is none of those that a bad file may raise.
    """

    task: Task
    error: str | None = None
    size: int | None = None
    sha256: str | None = None
    seconds: float = 0.0
    tries: int = 1
    segments: tuple[dict[str, Any], ...] = ()
    ends: bool = False
    bug: bool = False

    def to_json(self) -> str:
        """Plain ASCII, whatever the names hold."""
        return json.dumps({**asdict(self), "task": self.task.to_json()})

    @classmethod
    def from_json(cls, text: str) -> "Outcome":
        """As `to_json` wrote it."""
        table = json.loads(text)
        return cls(**{**table, "task": Task.from_json(table["task"]), "segments": tuple(table["segments"])})


@dataclass(frozen=True)
class Job:
    """What all workers of a run have in common.

    Attributes:
        src: Where the sources are.
        dst: Where the results go.
        settings: What they are coloured with.
        retries: How often what may pass is tried again.
        longest: Seconds of a film above which it is split.
        threads: Of torch, in each worker; None leaves them as they are.
    """

    src: Place
    dst: Place
    settings: Settings
    retries: int = 2
    longest: float = 60.0
    threads: int | None = 1


class ColorizeBatch:
    """Makes results of tasks. The model is loaded when the first one needs it, and kept.

    Args:
        job: What this run is.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stack = ExitStack()
        self._scratch: Path = self._stack.enter_context(job.dst.scratch())
        self._film: tuple[str, Path] | None = None  # the last one that was fetched
        if job.threads is not None:
            import torch

            torch.set_num_threads(job.threads)

    def close(self) -> None:
        """Remove what is kept on this machine."""
        self._stack.close()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """As Ray Data calls it.

        Args:
            batch: ``task``, JSON of tasks, and ``data``, what `read_ahead` gave.

        Returns:
            ``outcome``, JSON of outcomes.
        """
        pairs = zip(batch["task"], batch["data"], strict=True)
        return {"outcome": [self.do(Task.from_json(str(task)), data or None).to_json() for task, data in pairs]}

    def do(self, task: Task, data: bytes | None = None) -> Outcome:
        """Make the result; what goes wrong is told in the outcome.

        Args:
            task: What to do.
            data: The source's content, where it was read already.
        """
        try:
            if task.kind not in ("split", "join"):
                _ = self._colorizer
        except Exception as error:  # of whatever kind: no item can be coloured
            return Outcome(task, _words(error), ends=True)
        began = time.perf_counter()
        tries = 0
        while True:
            tries += 1
            try:
                made = self._done(task, data)
                return replace(made, seconds=round(time.perf_counter() - began, 3), tries=tries)
            except Exception as error:
                if tries <= self._job.retries and _may_pass(error):
                    time.sleep(min(_LONGEST_PAUSE, _PAUSE * 4 ** (tries - 1)))
                    continue
                return Outcome(
                    task,
                    self._told(error, task),
                    seconds=round(time.perf_counter() - began, 3),
                    tries=tries,
                    ends=isinstance(error, OptionError) or _number(error) in _ENDING,
                    bug=not isinstance(error, ITEM_ERRORS),
                )

    @cached_property
    def _colorizer(self) -> Any:
        return self._job.settings.load()

    @cached_property
    def _network(self) -> Any:
        from zoo import loading

        return loading.network(self._job.settings.model)

    def _done(self, task: Task, data: bytes | None) -> Outcome:
        settings = self._job.settings
        with self._source(task, data) as path:
            if task.kind == "picture":
                return self._picture(task, path)
            if task.kind == "split":
                return Outcome(task, segments=tuple(films.split(path, self._network, settings, self._job.longest)))
            if task.kind == "segment":
                with self._working(task.folder, task.part_name(task.part or 0)) as part:
                    suffix = PurePath(task.result).suffix
                    films.color_segment(path, task.segments[0], part, suffix, self._colorizer, settings)
                    return self._put(task, part, task.part_name(task.part or 0))
            if task.kind == "film":
                return self._whole(task, path)
            return self._joined(task, path)

    def _picture(self, task: Task, path: Path) -> Outcome:
        if films.may_be_animated(task.source) and films.is_animated(path):
            return self._whole(replace(task, kind="film", result=task.source), path)
        settings = self._job.settings
        file = self._fresh(task)
        try:
            self._colorizer.colorize_file(path, file, quality=settings.quality, **settings.options)
            return self._put(task, file, task.result)
        finally:
            file.unlink(missing_ok=True)

    def _whole(self, task: Task, path: Path) -> Outcome:
        settings = self._job.settings
        if set(settings.options) - set(settings.film_options):
            raise ImageError(f"{task.source}: is animated, and films have no seed and one view")
        with self._working(task.folder, f"{task.folder}/film{PurePath(task.result).suffix}") as target:
            films.color_whole(path, target, self._colorizer, settings)
            made = self._put(task, target, task.result)
        self._clear(task.folder)
        return made

    def _joined(self, task: Task, path: Path) -> Outcome:
        dst = self._job.dst
        names = [task.part_name(part) for part in range(len(task.segments))]
        with ExitStack() as stack:
            parts = [stack.enter_context(dst.fetched(name, self._scratch)) for name in names]
            file = self._fresh(task)
            films.join(path, task.segments, parts, file)
            made = self._put(task, file, task.result)
        with suppress(OSError):  # the film is whole; the next run sweeps
            for name in names:
                dst.remove(name)
        self._clear(task.folder)
        return made

    def _clear(self, folder: str) -> None:
        """Remove the folder in which a film was put together, once it is empty."""
        if isinstance(self._job.dst, Folder):
            with suppress(OSError):
                (self._job.dst.root / folder).rmdir()

    @contextmanager
    def _source(self, task: Task, data: bytes | None) -> Iterator[Path]:
        src = self._job.src
        if data is not None:
            path = self._scratch / f"{secrets.token_hex(8)}{PurePath(task.source).suffix}"
            try:
                path.write_bytes(data)
                yield path
            finally:
                path.unlink(missing_ok=True)
        elif task.kind == "picture" or isinstance(src, Folder):
            with src.fetched(task.source, self._scratch) as path:
                yield path
        else:  # a film that its segments need one after the other is fetched once
            if self._film is None or self._film[0] != task.source:
                if self._film is not None:
                    self._film[1].unlink(missing_ok=True)
                    self._film = None
                with src.fetched(task.source, self._scratch) as path:
                    kept = path.with_name(f"film-{path.name}")
                    path.replace(kept)
                self._film = (task.source, kept)
            yield self._film[1]

    @contextmanager
    def _working(self, folder: str, name: str) -> Iterator[Path]:
        """Where a film or a part is written: in a folder of results where a later run finds it, else here."""
        path = self._kept(folder) / PurePath(name).name
        path.parent.mkdir(parents=True, exist_ok=True)
        yield path

    def _kept(self, folder: str) -> Path:
        dst = self._job.dst
        return dst.root / folder if isinstance(dst, Folder) else self._scratch / PurePath(folder).name

    def _fresh(self, task: Task) -> Path:
        """Where a result is written before it is moved to its place."""
        return self._scratch / f"{_RESULT}{secrets.token_hex(8)}{PurePath(task.result).suffix}"

    def _put(self, task: Task, file: Path, name: str) -> Outcome:
        size = file.stat().st_size
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        dst = self._job.dst
        if not (isinstance(dst, Folder) and file == dst.root / name):
            dst.put(file, name)
        return Outcome(task, size=size, sha256=sha256)

    def _told(self, error: Exception, task: Task) -> str:
        """In words, with the names that the user knows in place of those of files that are gone."""
        source, result = self._job.src.address(task.source), self._job.dst.address(task.result)
        words = _words(error)
        for place, start, known in (
            *([(self._kept(task.folder), "", result)] if task.folder else []),
            (self._scratch, _RESULT, result),
            (self._scratch, "", source),
        ):
            words = re.sub(rf"{re.escape(str(place))}[/\\]{start}[\w.-]+", known.replace("\\", "\\\\"), words)
        return words


def read_ahead(job: Job, task: Task) -> bytes | None:
    """What `ColorizeBatch.do` takes as ``data``: a picture from a store, so that no worker waits for it.

    None for what lies in a folder, for films, and for what cannot be read, which the worker finds out again.
    """
    if isinstance(job.src, Folder) or task.kind != "picture":
        return None
    try:
        return job.src.read(task.source)
    except (OSError, ZooError):
        return None


@dataclass
class Deaths:
    """How often an item killed its worker; twice is enough."""

    most: int = 2
    counts: dict[tuple[str, str, int | None], int] = field(default_factory=dict)

    def add(self, task: Task, how: str) -> Outcome | None:
        """Its outcome, where it is not to be tried again."""
        key = (task.kind, task.source, task.part)
        self.counts[key] = self.counts.get(key, 0) + 1
        if self.counts[key] < self.most:
            return None
        return Outcome(task, f"the worker that had it died {self.counts[key]} times ({how})", tries=self.counts[key])


def result_name(name: str) -> str:
    """Of a picture's result: its own where that can be written, else ``.png`` behind it."""
    suffix = images.output_suffix(name)
    return name if suffix.lower() == PurePath(name).suffix.lower() else f"{name}{suffix}"


def _words(error: Exception) -> str:
    if isinstance(error, ITEM_ERRORS):
        return str(error) or type(error).__name__
    return f"{type(error).__name__}: {error}"


def _number(error: BaseException | None) -> int | None:
    """The operating system's, of an error or of what it came from."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__
    return None


def _may_pass(error: BaseException) -> bool:
    known: BaseException | None = error
    while known is not None:
        if isinstance(known, ConnectionError | TimeoutError):
            return True
        known = known.__cause__
    return _number(error) in _PASSING
