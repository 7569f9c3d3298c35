"""Networks that are timed each in a process of its own: two kinds of threads in one process are in each other's way."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from zoo.bench import limits, stages, subjects, ways
from zoo.bench.timing import said, seconds_of
from zoo.bench.ways import Way
from zoo.errors import ZooError

PATIENCE = 600.0  # seconds of one answer; a film, which may be of any length, has for ever


class Work:
    """A network run in one way, and what is timed of it.

    Args:
        name: Of a model; or of one of `limits.PEERS`, with random weights.
        way: How it is run.
        threads: How many it may use; it keeps them.
        peer: Whether it is one of those.
    """

    def __init__(self, name: str, way: Way, threads: int, *, peer: bool = False) -> None:
        torch.set_num_threads(threads)
        self._model = limits.peer(name) if peer else ways.prepared(name, way)
        self._jobs: dict[tuple[Any, ...], Callable[[], object]] = {}

    def seconds(self, kind: str, *subject: Any) -> float:
        """The seconds of one job; what it needs is made before.

        Args:
            kind: ``forward``, ``picture``, ``file`` or ``film``.
            subject: The pixels a side; width and height; the files from which and to which.
        """
        if (kind, *subject) not in self._jobs:
            self._jobs[kind, *subject] = getattr(self, f"_{kind}")(*subject)
        return seconds_of(self._jobs[kind, *subject])

    def stages(self, source: Path, target: Path, runs: int) -> dict[str, float]:
        """As `stages.shares` says, of colouring a file."""
        return stages.shares(self._file(source, target), runs)

    def _forward(self, size: int) -> Callable[[], object]:
        return limits.forward(self._model.predictor(), size)

    def _picture(self, width: int, height: int) -> Callable[[], object]:
        photo = subjects.photo(width, height)
        return lambda: self._model.colorize(photo)

    def _file(self, source: Path, target: Path) -> Callable[[], object]:
        return lambda: self._model.colorize_file(source, target, quality=subjects.QUALITY, overwrite=True)

    def _film(self, source: Path, target: Path) -> Callable[[], object]:
        return limits.film(self._model, source, target)


class Child:
    """`Work` in a process of its own, which sleeps until it is asked; the arguments are those of `Work`.

    What fails there is a `ZooError` here; a process that has ended fails in all that it is asked.
    """

    def __init__(self, name: str, way: Way, threads: int, *, peer: bool = False) -> None:
        context = get_context("spawn")  # threads of torch do not survive a fork
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, name, way, threads, peer), daemon=True)
        with _deaf_to_interrupts():
            self._process.start()
        theirs.close()  # so that its end is seen here
        self._ended = ""

    def __enter__(self) -> "Child":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ready(self) -> None:
        """Wait until the network is loaded.

        Raises:
            ZooError: It cannot be.
        """
        self._answer(PATIENCE)

    def seconds(self, kind: str, *subject: Any) -> float:
        """As `Work.seconds`."""
        return float(self._asked("seconds", kind, *subject, patience=None if kind == "film" else PATIENCE))

    def stages(self, source: Path, target: Path, runs: int) -> dict[str, float]:
        """As `Work.stages`."""
        found: dict[str, float] = self._asked("stages", source, target, runs, patience=PATIENCE)
        return found

    def _asked(self, what: str, *about: Any, patience: float | None) -> Any:
        if not self._ended:
            with suppress(OSError):  # of one that has just died, which is seen below
                self._pipe.send((what, about))
        return self._answer(patience)

    def _answer(self, patience: float | None) -> Any:
        if self._ended:
            raise ZooError(self._ended)
        try:
            if not self._pipe.poll(patience):
                self._end()
                self._ended = f"no answer within {patience:g} s"
                raise ZooError(self._ended)
            answer, failure = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)  # its pipe ends a moment before it does
            self._ended = f"its process ended, exit code {self._process.exitcode}"
            raise ZooError(self._ended) from None
        if failure is not None:
            raise ZooError(failure)
        return answer

    def _end(self) -> None:
        self._process.kill()  # it has nothing to put in order
        self._process.join()
        self._pipe.close()


def _serve(pipe: Any, name: str, way: Way, threads: int, peer: bool) -> None:
    """A child's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be kept deaf
    with suppress(EOFError, OSError):  # the parent has ended
        try:
            work = Work(name, way, threads, peer=peer)
        except Exception as error:  # of whatever kind a backend's is
            pipe.send((None, said(error)))
            return
        pipe.send((None, None))
        while True:
            what, about = pipe.recv()
            try:
                answer = getattr(work, what)(*about)
            except Exception as error:
                pipe.send((None, said(error)))
            else:
                pipe.send((answer, None))


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Processes started within do not hear Ctrl-C, which reaches all of a terminal's: the parent ends them.

    Here it is heard afterwards.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    from multiprocessing import resource_tracker  # not on Windows

    resource_tracker.ensure_running()  # which the first process would start, with SIGINT heard again from then on
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
