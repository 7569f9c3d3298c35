"""One run at a time for a place of results: a lock in a folder, a lease that is renewed in a store of objects."""

import errno
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from zoo.batch.folders import WORK, Folder, Place
from zoo.batch.places import Store
from zoo.errors import BatchError

# What a place says that takes nothing: it may not be written, cannot be, or is full.
_REFUSED = {getattr(errno, name, -1) for name in ("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "ENAMETOOLONG")}
_MISTAKEN = {errno.EISDIR, errno.ENOTDIR, errno.EEXIST}  # a folder where a file is to be, or the other way round
_LEASE = f"{WORK}/lease.json"
_RENEWED, _LASTS = 20.0, 120.0  # seconds


@contextmanager
def held(place: Place) -> Iterator[None]:
    """A context in which no other run writes to ``place``.

    The lock of a folder ends with this process, however that ends; the lease of a store some time later.

    Raises:
        BatchError: Another run is at work there, or nothing can be written.
    """
    try:
        with _locked(place) if isinstance(place, Folder) else _leased(place):
            yield
    except OSError as error:
        if error.errno in _MISTAKEN:
            path = error.filename2 or error.filename or place.text
            raise BatchError(
                f"{path}: not what a run of batch has there", found=error.strerror or error, remedy="move it elsewhere"
            ) from error
        if error.errno not in _REFUSED:
            raise
        raise BatchError(f"{place.text}: cannot be written to", found=error.strerror or error) from error


@contextmanager
def _locked(place: Folder) -> Iterator[None]:
    from filelock import FileLock, Timeout

    path = place.root / WORK / "lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise BatchError(f"{place.text}: is not a folder", remedy="choose another place for the results") from error
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise _busy(place, f"its lock is {path}") from None
    try:
        place.sweep()
        yield
    finally:
        lock.release()


@contextmanager
def _leased(place: Place) -> Iterator[None]:
    assert isinstance(place, Store)
    owner = {"id": secrets.token_hex(8), "host": socket.gethostname(), "pid": os.getpid()}
    if not place.create(_LEASE, _lease(owner)):
        other = _other(place)
        left = _LASTS - (time.time() - float(other.get("renewed", 0)))
        if left > 0:
            raise _busy(
                place,
                f"process {other.get('pid')} on {other.get('host')}; if that is dead, its lease ends in {left:.0f} s",
            )
        place.write(_LEASE, _lease(owner))
        if _other(place).get("id") != owner["id"]:
            raise _busy(place, "it took over the lease of a dead one this moment")
    ended = threading.Event()
    renewing = threading.Thread(target=_renew, args=(place, owner, ended), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        if _other(place).get("id") == owner["id"]:
            place.remove(_LEASE)


def _renew(place: Store, owner: dict[str, Any], ended: threading.Event) -> None:
    while not ended.wait(_RENEWED):
        with suppress(OSError):  # the next time, then
            if _other(place).get("id") in (owner["id"], None):  # not that of who took over from one that slept
                place.write(_LEASE, _lease(owner))


def _lease(owner: dict[str, Any]) -> bytes:
    return json.dumps({**owner, "renewed": time.time()}).encode()


def _other(place: Store) -> dict[str, Any]:
    try:
        found = json.loads(place.read(_LEASE))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) and isinstance(found.get("renewed"), int | float) else {}


def _busy(place: Place, who: str) -> BatchError:
    return BatchError(f"{place.text}: another run is at work there", found=who, remedy="wait for it, or stop it")
