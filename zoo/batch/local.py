"""The engine of one machine: processes that each hold the model, and are replaced when they die."""

import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from queue import Queue
from typing import Any

from zoo.batch.work import ColorizeBatch, Deaths, Job, Outcome, Task, read_ahead
from zoo.errors import BatchError

Follow = Callable[[Outcome], Sequence[Task]]
Begin = Callable[[Sequence[Task]], None]

_AHEAD = 2  # tasks that a worker has: one at work, and one that it may fetch meanwhile
_GRACE = 20.0  # seconds in which a worker that is to end writes what it has of a film
_ORPHANED = 3  # exit code of one whose parent is gone


def default_workers(device: str) -> int:
    """One for each core that this process may use; of a GPU two, so that it need not wait for files."""
    if not device.startswith("cpu"):
        return 2
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Here:
    """Works in this process, one task after the other.

    Args:
        job: What this run is.
    """

    def __init__(self, job: Job) -> None:
        self._colorizing = ColorizeBatch(job)

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        self._colorizing.close()

    def work(self, tasks: Iterable[Task], follow: Follow, begin: Begin) -> Iterator[Outcome]:
        """As of `archive.Engine`."""
        waiting = deque(tasks)
        while waiting:
            task = waiting.popleft()
            begin([task])
            outcome = self._colorizing.do(task)
            waiting.extendleft(reversed(follow(outcome)))
            yield outcome


class Local:
    """Worker processes.

    Args:
        job: What this run is.
        workers: How many.
    """

    def __init__(self, job: Job, workers: int) -> None:
        self._job, self._most = job, workers
        self._workers: list[_Worker] = []
        self._deaths = Deaths(most=min(2, job.retries + 1))
        self._in_a_row = 0  # of deaths, with nothing done in between

    def __enter__(self) -> "Local":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for worker in self._workers:
            worker.end(at_once=kind is not None)
        deadline = time.monotonic() + _GRACE
        for worker in self._workers:
            worker.wait(max(0.1, deadline - time.monotonic()))
        self._workers = []

    def work(self, tasks: Iterable[Task], follow: Follow, begin: Begin) -> Iterator[Outcome]:
        """What becomes of ``tasks``, in the order in which they are done, and of those that ``follow`` from an outcome.

        Raises:
            BatchError: Workers die one after the other with nothing done in between.
        """
        waiting = deque(tasks)
        while True:
            self._feed(waiting, begin)
            busy = [worker for worker in self._workers if worker.given]
            if not busy and not waiting:
                return
            connection.wait([end for worker in busy for end in (worker.pipe, worker.process.sentinel)])
            for worker in busy:
                for outcome in self._heard(worker, waiting):
                    waiting.extendleft(reversed(follow(outcome)))
                    yield outcome

    def _feed(self, waiting: deque[Task], begin: Begin) -> None:
        alive = [worker for worker in self._workers if worker.process.is_alive()]
        for idle in [worker for worker in self._workers if worker not in alive and not worker.given]:
            self._workers.remove(idle)
        while len(self._workers) < min(self._most, len(waiting) + sum(bool(w.given) for w in self._workers)):
            self._workers.append(_Worker(self._job))
        for depth in range(_AHEAD):  # none gets a second one before all have a first
            for worker in self._workers:
                if waiting and len(worker.given) == depth:
                    task = waiting.popleft()
                    begin([task])
                    worker.give(task)

    def _heard(self, worker: "_Worker", waiting: deque[Task]) -> Iterator[Outcome]:
        while (outcome := worker.said()) is not None:
            self._in_a_row = 0
            yield outcome
        if worker.process.is_alive():
            return
        while (outcome := worker.said()) is not None:  # what it said between the last look and its end
            yield outcome
        self._workers.remove(worker)
        if not worker.given:  # it has told of all it had, and died only then
            return
        self._in_a_row += 1
        culprit, *others = worker.given
        waiting.extendleft(reversed(others))
        dead = self._deaths.add(culprit, worker.how_it_ended())
        if self._in_a_row > 3 * self._most:
            raise BatchError(
                "workers die one after the other",
                found=f"{worker.how_it_ended()}, with {culprit.label}",
                remedy="give fewer workers where memory is short; the same command goes on from here",
            )
        if dead is None:
            waiting.append(culprit)  # later, beside others
        else:
            yield dead


@dataclass
class _Worker:
    """A process, and what it has been given and not yet told the outcome of, oldest first."""

    job: Job
    given: deque[Task] = field(default_factory=deque)

    def __post_init__(self) -> None:
        context = get_context("spawn")  # threads of torch do not survive a fork
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.job), daemon=True)
        self.process.start()
        theirs.close()  # so that its end is seen here

    def give(self, task: Task) -> None:
        self.given.append(task)
        with suppress(OSError):  # of one that has just died, which is seen later
            self.pipe.send(task)

    def said(self) -> Outcome | None:
        try:
            if not self.pipe.poll():
                return None
            outcome: Outcome = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(5)  # its pipe ends a moment before it does
            return None
        self.given.popleft()
        return outcome

    def how_it_ended(self) -> str:
        code = self.process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return f"{signal.Signals(-code).name}{', as of too little memory' if -code == signal.SIGKILL else ''}"
        return f"signal {-code}"

    def end(self, *, at_once: bool) -> None:
        if at_once:
            self.process.terminate()
        else:
            with suppress(OSError):
                self.pipe.send(None)

    def wait(self, seconds: float) -> None:
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()
        self.process.close()


def _serve(pipe: Any, job: Job) -> None:
    """A worker's life."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent says what is to be done
    signal.signal(signal.SIGTERM, _interrupt)
    tasks: Queue[tuple[Task, bytes | None] | None] = Queue(maxsize=1)
    colorizing: ColorizeBatch | None = None
    try:
        threading.Thread(target=_listen, args=(pipe, job, tasks), daemon=True).start()
        colorizing = ColorizeBatch(job)
        while (item := tasks.get()) is not None:
            pipe.send(colorizing.do(*item))
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if colorizing is not None:
            colorizing.close()


def _listen(pipe: Any, job: Job, tasks: "Queue[tuple[Task, bytes | None] | None]") -> None:
    """Take tasks from the parent, and fetch the next one while another is at work."""
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            os._exit(_ORPHANED)  # the parent was killed: what is at work is done again by the next run
        if task is None:
            tasks.put(None)
            return
        tasks.put((task, read_ahead(job, task)))


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
