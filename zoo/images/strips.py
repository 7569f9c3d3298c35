"""Pictures in strips of rows: what is done strip by strip needs no second picture's memory, and can be done ahead."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_STRIP_PIXELS = 1 << 18
_WORKERS = 4  # at most: a writer of pictures should not take a large machine for itself

_T = TypeVar("_T")
_R = TypeVar("_R")


def strips(height: int, width: int, pixels: int | None = None) -> list[slice]:
    """Slices of rows that cover a picture, of about so many ``pixels`` each, or a quarter of a million."""
    rows = max(1, (pixels or _STRIP_PIXELS) // width)
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def in_threads(action: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
    """What ``action`` gives for each item, in order; a few at a time are worked on, and no more are held.

    For work that leaves Python's lock, as compression does.
    """
    workers = min(os.cpu_count() or 1, _WORKERS)
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[_R]] = deque()
        for item in items:
            waiting.append(pool.submit(action, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
