"""The app as a process of its own, on this machine alone: started, measured from outside, ended. Linux only."""

import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import httpx

ROOT = Path(__file__).parents[2]
MB = 2**20
PAGE = os.sysconf("SC_PAGE_SIZE")


class Sample(NamedTuple):
    """What the app's processes hold at one moment.

    Attributes:
        at: Seconds since the server was ready.
        rss: Bytes of resident memory, of all its processes together.
        files: Open files, sockets included.
        threads: Of all its processes.
        processes: 1, where it has no children.
    """

    at: float
    rss: int
    files: int
    threads: int
    processes: int


class AppServer:
    """A running `python demo/app.py` with its own port and folders, sampled every second.

    Args:
        folder: Becomes its cache, its folder for temporary files and its log.
        environment: Variables to be set besides.
    """

    def __init__(self, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.cache, self.temporary, self.log = folder / "cache", folder / "tmp", folder / "app.log"
        for part in (self.cache, self.temporary):
            part.mkdir()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "demo/app.py"],
                cwd=ROOT,
                env={
                    **os.environ,
                    "PYTHONPATH": str(ROOT),
                    "PYTHONUNBUFFERED": "1",
                    "GRADIO_SERVER_NAME": "127.0.0.1",
                    "GRADIO_SERVER_PORT": str(port),
                    "GRADIO_TEMP_DIR": str(self.cache),
                    "TMPDIR": str(self.temporary),
                    "GRADIO_ANALYTICS_ENABLED": "False",
                    "HF_HUB_OFFLINE": "1",
                    **(environment or {}),
                },
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.samples: list[Sample] = []
        self.started = time.monotonic()
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample_on, daemon=True)

    def wait(self, seconds: float = 120) -> None:
        """Until it answers.

        Raises:
            RuntimeError: It has ended, or does not within ``seconds``.
        """
        limit = time.monotonic() + seconds
        while not self.alive():
            if self.process.poll() is not None or time.monotonic() > limit:
                self.process.kill()
                raise RuntimeError(f"the app does not start:\n{self.log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.1)
        self.started = time.monotonic()
        self._sampler.start()

    def alive(self, seconds: float = 10) -> bool:
        """Whether it answers within ``seconds``."""
        try:
            return httpx.get(f"{self.url}/config", timeout=seconds, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def sample(self) -> Sample:
        """What it holds now."""
        processes = tree(self.process.pid)
        rss = files = threads = 0
        for pid in processes:
            with suppress(OSError, ValueError):  # one that has just ended
                rss += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
                files += len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - entries that vanish are counted too
                threads += len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208
        return Sample(round(time.monotonic() - self.started, 1), rss, files, threads, len(processes))

    def median_rss(self, begin: float, end: float) -> float | None:
        """MB of resident memory, the median of the samples from ``begin`` to ``end``; None where there are none."""
        values = [sample.rss for sample in self.samples if begin <= sample.at <= end]
        return round(statistics.median(values) / MB, 1) if values else None

    def peak_rss(self) -> float:
        """MB of resident memory, the most of any sample."""
        return round(max((sample.rss for sample in self.samples), default=0) / MB, 1)

    def left(self) -> dict[str, dict[str, Any]]:
        """The files that lie in its two folders."""
        return {"cache": contents(self.cache), "temporary": contents(self.temporary)}

    def temporary_files(self) -> list[Path]:
        """What lies in its folder for temporary files, but for a folder that torch makes when it is imported."""
        return [entry for entry in self.temporary.iterdir() if not entry.name.startswith("torchinductor")]

    def tracebacks(self) -> list[str]:
        """The last lines of the tracebacks in its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        ends = []
        for n, line in enumerate(lines):
            if line.startswith("Traceback"):
                rest = (later for later in lines[n + 1 :] if later and not later.startswith((" ", "Traceback")))
                ends.append(next(rest, line)[:300])
        return ends

    def stop(self, seconds: float = 30) -> dict[str, Any]:
        """How it takes SIGTERM: exit code and the seconds it took. It is killed when it does not end."""
        self._ended.set()
        begin = time.monotonic()
        report: dict[str, Any] = {"killed": False}
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            report["killed"] = True
        return {"exit_code": self.process.returncode, "seconds": round(time.monotonic() - begin, 2), **report}

    def _sample_on(self) -> None:
        while not self._ended.wait(1):
            self.samples.append(self.sample())


@contextmanager
def running(folder: Path, environment: dict[str, str] | None = None) -> Iterator[AppServer]:
    """A server that answers, and is ended at last."""
    server = AppServer(folder, environment)
    try:
        server.wait()
        yield server
    finally:
        if server.process.poll() is None:
            server.stop()


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError):
                parents[int(entry.name)] = int(entry.joinpath("stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for parent in found:  # grows while it is walked
        found += [child for child, its in parents.items() if its == parent]
    return found


def contents(folder: Path) -> dict[str, Any]:
    """How many files and folders there are, their bytes, and the names of a few."""
    if not folder.exists():
        return {"files": 0, "folders": 0, "bytes": 0, "some": []}
    entries = list(folder.rglob("*"))
    files = [entry for entry in entries if not entry.is_dir()]
    size = 0
    for file in files:
        with suppress(OSError):
            size += file.lstat().st_size
    return {
        "files": len(files),
        "folders": len(entries) - len(files),
        "bytes": size,
        "some": [str(entry.relative_to(folder)) for entry in sorted(files or entries)[:8]],
    }


def machine() -> dict[str, Any]:
    """What figures depend on."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * PAGE / 2**30, 1),
        "python": sys.version.split()[0],
        **{name: version(name) for name in ("gradio", "torch", "numpy")},
    }
