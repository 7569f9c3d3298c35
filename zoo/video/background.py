"""A thread that writes what others prepare."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

_JOBS = 8  # that wait to be done: so many frames are in memory


class Background:
    """One thread that does jobs in their order while others are prepared; what one raises, a later call raises.

    After a job that failed no other is done, so that nothing is missing in the middle.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._jobs: deque[Future[None]] = deque()
        self.failed = False

    def do(self, job: Callable[..., None], *arguments: Any) -> None:
        """Put a job behind the others; waits where many are before it, so that frames do not pile up."""
        while len(self._jobs) >= _JOBS:
            self._jobs.popleft().result()
        self._jobs.append(self._pool.submit(self._run, job, *arguments))

    def _run(self, job: Callable[..., None], *arguments: Any) -> None:
        if self.failed:
            return
        try:
            job(*arguments)
        except BaseException:
            self.failed = True
            raise

    def finish(self) -> None:
        """Wait until all are done."""
        while self._jobs:
            self._jobs.popleft().result()

    def close(self) -> None:
        """End after the job under way."""
        self._pool.shutdown(cancel_futures=True)
        self._jobs.clear()
