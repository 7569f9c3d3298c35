"""Locks between processes and threads, which say what they wait for."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from zoo.errors import WeightsError

_PATIENCE = 2.0  # seconds to wait before saying so
_log = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path, name: str) -> Iterator[None]:
    """Keep other processes, and threads, from what ``name`` stands for; ``folder`` holds the lock.

    It is waited for without end, which is logged once.

    Raises:
        WeightsError: The folder cannot be written.
    """
    from filelock import FileLock, Timeout

    path = folder / f"{quote(name, safe='')}.lock"
    lock = FileLock(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=_PATIENCE)
        except Timeout:
            _log.warning("another process is busy with %s, and is waited for; its lock: %s", name, path)
            lock.acquire()
    except OSError as error:
        remedy = "set HF_HOME to a folder that can be written"
        raise WeightsError(f"{folder} cannot be written", found=error.strerror or error, remedy=remedy) from error
    try:
        yield
    finally:
        lock.release()
