"""Work on many files by several processes."""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
from tqdm import tqdm

_work: Any = None  # in a worker: what it does, sent once and not with every job


def _start_worker(work: Any) -> None:
    global _work
    _work = work
    torch.set_num_threads(1)


def _do(job: Any) -> Any:
    return _work(job)


def pool_imap(work: Any, jobs: Sequence[Any], workers: int, label: str | None) -> Iterator[Any]:
    """``work`` of each of the jobs, in their order, by several processes where there is much to do."""
    if workers == 0 or len(jobs) < 64:
        yield from tqdm(map(work, jobs), total=len(jobs), desc=label, disable=label is None)
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit the math threads' locks
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(work,)) as pool:
        yield from tqdm(pool.map(_do, jobs, chunksize=32), total=len(jobs), desc=label, disable=label is None)
