"""Seconds from the app's start to its page and to the first picture in color, and its peak memory. Not run by CI.

python tests/load/cold_start.py [--folder DIR] [--python PATH] [--picture FILE] [--evict DIR ...]

Starts the app of this checkout, or that of a folder which `python -m demo.deploy --dry-run DIR` made. Prints JSON.
"""

import argparse
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gradio_client import Client, handle_file
from PIL import Image, ImageChops

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "demo/examples/totara-tree.jpg"
MODEL, STYLE = "fusion", "faithful"  # what is ticked first
PATIENCE = 300  # seconds


def measure(folder: Path | None = None, python: str = sys.executable, picture: Path = PICTURE) -> dict[str, Any]:
    """Start the app, let it color ``picture``, end it with SIGTERM.

    Args:
        folder: A staged Space; None is this checkout.
        python: The interpreter that runs it.
        picture: A file without color.

    Returns:
        Seconds until the page was there, until the picture was there and from SIGTERM to the end; the peak of resident
        memory in MB; the exit code.

    Raises:
        RuntimeError: The app ended by itself, or the answer is not the picture in color.
    """
    with tempfile.TemporaryDirectory() as name, started(folder, python) as (process, url, begin):
        page = time.monotonic() - begin
        client = Client(url, verbose=False, download_files=name)
        answer = client.predict(handle_file(picture), MODEL, STYLE, 1.0, api_name="/colorize")
        seconds = time.monotonic() - begin
        check(picture, answer)
        process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return {
        "seconds_to_page": round(page, 2),
        "seconds_to_picture": round(seconds, 2),
        "seconds_to_end": round(time.monotonic() - told, 2),
        "peak_mb": round(usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)),
        "exit_code": process.returncode,
    }


@contextmanager
def started(folder: Path | None, python: str) -> Iterator[tuple[subprocess.Popen[bytes], str, float]]:
    """The app's process, its address and the time at which it began, once it answers; it has ended afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "GRADIO_"))}
    environment |= {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    script = "app.py"
    if folder is None:
        folder, script = ROOT, "demo/app.py"
        environment["PYTHONPATH"] = str(ROOT)
    url, begin = f"http://127.0.0.1:{port}/", time.monotonic()
    process = subprocess.Popen([python, script], cwd=folder, env=environment, stdout=sys.stderr)
    try:
        while True:
            with suppress(OSError), urllib.request.urlopen(url, timeout=5):
                break
            if process.poll() is not None or time.monotonic() - begin > PATIENCE:
                raise RuntimeError(f"the app does not answer at {url}; exit code: {process.poll()}")
            time.sleep(0.05)
        yield process, url, begin
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()


def check(picture: Path, answer: str) -> None:
    """Refuse an answer that is not ``picture`` in color.

    Raises:
        RuntimeError: It has another size or no color.
    """
    with Image.open(picture) as before, Image.open(answer) as after:
        red, _, blue = after.convert("RGB").split()
        difference = ImageChops.difference(red, blue).getextrema()[1]
        if before.size != after.size or difference < 20:
            raise RuntimeError(
                f"{answer} is not {picture.name} in color: {after.size}, red and blue {difference} apart"
            )


def evict(folder: Path) -> None:
    """Drop a folder's files from the page cache, as on a machine that has not read them yet; Linux only."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def machine() -> dict[str, Any]:
    """What the seconds depend on."""
    return {
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
        "system": f"{platform.system()} {platform.machine()}",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="a staged Space (default: this checkout)")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that runs it (default: this one)")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--evict", type=Path, action="append", default=[], help="read this folder from the disk anew")
    options = parser.parse_args()
    for folder in options.evict:
        evict(folder)
    result = {**measure(options.folder, options.python, options.picture), **machine()}
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
