"""How the app runs: with temporary files of its own, until SIGTERM or Ctrl-C; then nothing of it is left."""

import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import routes

if sys.platform != "win32":  # where folders of runs that were killed stay
    import fcntl

_PREFIX = "colorzoo-app-"
_YOUNG = 60  # seconds in which a folder may be one whose run has not locked it yet
_PATIENCE = 1  # seconds for visitors to be told that the app stops
_TICK = 0.1  # seconds between two looks at whether a signal has come
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(build: Callable[[], gr.Blocks], options: dict[str, Any]) -> None:
    """Launch what ``build`` makes, until SIGTERM or Ctrl-C ends the process, with exit code 0.

    Nothing new is accepted then, work that is not done ends with the process, and temporary files are removed. A second
    signal ends it at once.

    Args:
        build: Makes the app; called when its temporary files have their place.
        options: Of Gradio's ``launch``.
    """
    received: list[int] = []
    for number in _SIGNALS:
        signal.signal(number, lambda number, _: received.append(number))
    with temporary_files():
        demo = build()
        demo.launch(**options, prevent_thread_lock=True)
        while not received:
            time.sleep(_TICK)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        logging.disable()  # that work is cut off is no bug to be told
        demo.server.config.timeout_graceful_shutdown = _PATIENCE
        demo.close(verbose=False)
    with suppress(OSError):  # nobody reads it any more
        sys.stdout.flush()
    os._exit(0)  # since Python would wait for some threads, and crash on others that are inside torch


@contextmanager
def temporary_files() -> Iterator[Path]:
    """A folder for all temporary files of this process, for its user's eyes only, which is gone at the end.

    It is made in GRADIO_TEMP_DIR where that is set, else where temporary files are. Folders there that killed runs have
    left are removed first.
    """
    home = os.environ.get("GRADIO_TEMP_DIR")
    parent = Path(home or tempfile.gettempdir()).absolute()
    parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(parent)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    held = None
    with suppress(OSError):  # a file system without locks, on which nobody will take the folder for one that is left
        held = _locked(folder)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    os.environ["GRADIO_TEMP_DIR"] = str(folder / "gradio")
    gradio = vars(routes)  # which has read the variable when it was imported
    imported, gradio["DEFAULT_TEMP_DIR"] = gradio["DEFAULT_TEMP_DIR"], str(folder / "gradio")
    try:
        yield folder
    finally:
        tempfile.tempdir, gradio["DEFAULT_TEMP_DIR"] = before, imported
        if home is None:
            del os.environ["GRADIO_TEMP_DIR"]
        else:
            os.environ["GRADIO_TEMP_DIR"] = home
        _remove(folder)
        if held is not None:
            os.close(held)


def _remove(folder: Path) -> None:
    """Remove a folder, into which work that is still running may write at the same time."""
    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return


def _remove_stale(parent: Path) -> None:
    """Remove the folders of runs that are gone: those that nobody holds."""
    if sys.platform == "win32":
        return
    for folder in parent.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # it is held, another user's, or gone by now
            if time.time() - folder.stat().st_mtime > _YOUNG:
                held = _locked(folder)
                _remove(folder)
                os.close(held)


def _locked(folder: Path) -> int:
    """A descriptor that holds the folder until it is closed or the process ends, however that ends.

    Raises:
        OSError: Another process holds it, or it is another user's.
    """
    if sys.platform == "win32":
        return os.open(os.devnull, os.O_RDONLY)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
