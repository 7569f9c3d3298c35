"""Where the time of a file goes: the functions that do the work, wrapped while they run, so that nothing is copied.

A function's time is its own: what it calls that is wrapped too is taken off. A picture is read and painted in strips
of rows; what is made of each strip is added up, so a stage's share is of the whole file all the same. What runs on
several threads at once is added up over them.
"""

import functools
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from zoo import color, images, pipeline
from zoo.colorizer import Colorizer

STAGES = ("decode", "L", "network", "upsampling", "gamut", "encode")
OTHER = "other"

# By stage what does its work: a module or class, and the names there. A name that is not there any more is skipped;
# the tests colour a file and find every stage at work.
_WORK: dict[str, tuple[tuple[Any, tuple[str, ...]], ...]] = {
    "decode": ((images, ("read",)),),
    "L": ((pipeline, ("_compressed_luminance", "_average", "_fit_cells")),),
    "upsampling": ((pipeline, ("_color_maps", "_paint", "_encode")),),
    "gamut": ((color, ("linear_rgb_in_gamut",)),),
    "encode": ((images, ("write",)),),
}


class Stopwatch:
    """Seconds and calls of each stage."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._clock = clock
        self._local = threading.local()
        self._lock = threading.Lock()

    def wrapped(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function``, whose own time is counted to ``stage``."""

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            inner: list[float] = self._local.__dict__.setdefault("inner", [])  # seconds of what each open call called
            inner.append(0.0)
            start = self._clock()
            try:
                return function(*args, **kwargs)
            finally:
                took = self._clock() - start
                own = took - inner.pop()
                if inner:
                    inner[-1] += took
                with self._lock:
                    self.seconds[stage] += own
                    self.calls[stage] += 1

        return timed


@contextmanager
def watching(watch: Stopwatch) -> Iterator[None]:
    """Within it the stages of every picture that is coloured are timed."""
    with ExitStack() as stack:
        for stage, places in _WORK.items():
            for place, names in places:
                for name in names:
                    if hasattr(place, name):
                        work = watch.wrapped(stage, getattr(place, name))
                        stack.enter_context(mock.patch.object(place, name, work))
        stack.enter_context(mock.patch.object(Colorizer, "predictor", _predictor(watch, Colorizer.predictor)))
        yield


def _predictor(watch: Stopwatch, original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def predictor(*args: Any, **kwargs: Any) -> Any:
        return watch.wrapped("network", original(*args, **kwargs))

    return predictor


def shares(job: Callable[[], object], repeats: int, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Seconds of each stage of one run of ``job``, the mean of ``repeats`` after one that warms up."""
    job()
    watch = Stopwatch(clock)
    start = clock()
    with watching(watch):
        for _ in range(repeats):
            job()
    total = (clock() - start) / repeats
    found = {stage: watch.seconds[stage] / repeats for stage in STAGES}
    return found | {OTHER: max(0.0, total - sum(found.values()))}
