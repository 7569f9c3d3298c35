"""Times that can be compared: all that is compared runs once in each round, so that no one has the quiet hour."""

import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch

Key = TypeVar("Key", bound=Hashable)
_DIGITS = 6  # microseconds
_PAUSE = 0.01  # seconds, in which the threads of the job before stop looking for more work


@dataclass
class Times:
    """Seconds of each round; ``error`` says why there are no more."""

    seconds: list[float] = field(default_factory=list)
    error: str | None = None


def seconds_of(job: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """How long a job takes."""
    start = clock()
    job()
    return clock() - start


def rounds(
    jobs: Mapping[Key, Callable[[], float]],
    *,
    repeats: int,
    least: int = 1,
    seconds: float = float("inf"),
    clock: Callable[[], float] = time.perf_counter,
    found: dict[Key, Times] | None = None,
) -> dict[Key, Times]:
    """The seconds of each job, taken in turn. The first round warms up; a job that fails is left out from then on.

    Args:
        jobs: What is timed; each runs once when it is called, and gives its seconds.
        repeats: Rounds at most.
        least: Rounds at least.
        seconds: Of each job on average, after which no further round begins.
        clock: Tells the time in seconds.
        found: Filled as it goes, so that an interrupt loses nothing; a new one if None.
    """
    found = {} if found is None else found
    found.update({name: Times() for name in jobs})
    begin = 0.0
    for turn in range(repeats + 1):
        if turn == 1:
            begin = clock()
        if turn > least and clock() - begin > seconds * len(jobs):
            break
        for name, job in jobs.items():
            times = found[name]
            if times.error is not None:
                continue
            time.sleep(_PAUSE)
            try:
                took = job()
            except Exception as error:  # of whatever kind a backend's is
                times.error = said(error)
            else:
                if turn:
                    times.seconds.append(round(took, _DIGITS))
    return found


def said(error: BaseException) -> str:
    """An error on one line."""
    text = " ".join(str(error).split())
    return (text if type(error).__module__.startswith("zoo.") else f"{type(error).__name__}: {text}")[:400]


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Within it torch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
