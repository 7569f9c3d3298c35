"""What only a process of its own shows: how long starting takes, and how a folder keeps all processors at work."""

import subprocess
import sys
import time
from pathlib import Path

from zoo.bench.settings import cores
from zoo.bench.timing import Times, said
from zoo.errors import ZooError
from zoo.evaluation.speed.results import HELP, IMPORT

_IMPORT = "import time; start = time.perf_counter(); import zoo; print(time.perf_counter() - start)"


def start_times(count: int) -> dict[str, Times]:
    """Seconds of ``import zoo`` in a fresh process, and of a whole ``colorzoo --help``; ``count`` of each, in turn."""
    found = {IMPORT: Times(), HELP: Times()}
    for turn in range(count + 1):  # the first reads the disk
        for name, times in found.items():
            if times.error is not None:
                continue
            try:
                took = _import_zoo() if name == IMPORT else _help()
            except ZooError as error:
                times.error = said(error)
            else:
                times.seconds += [round(took, 6)] if turn else []
    return found


def _import_zoo() -> float:
    return float(_run([sys.executable, "-c", _IMPORT]).splitlines()[-1])


def _help() -> float:
    start = time.perf_counter()
    _run([sys.executable, "-m", "zoo.cli", "--help"])
    return time.perf_counter() - start


def batch_command(source: Path, target: Path, model: str) -> list[str]:
    """How a folder is coloured on this machine."""
    return [
        *(sys.executable, "-m", "zoo.cli", "batch", str(source), str(target)),
        *("--model", model, "--engine", "local"),
    ]


def folder(source: Path, target: Path, model: str) -> dict[str, float]:
    """What colouring a folder takes, starting and loading included.

    Returns:
        ``wall`` and ``cpu`` seconds, the latter of all its processes, ``photos`` and ``cores``.

    Raises:
        ZooError: The runner fails, or leaves photos out.
    """
    photos = sum(1 for _ in source.iterdir())
    before, start = _of_children(), time.perf_counter()
    _run(batch_command(source, target, model))
    wall, cpu = time.perf_counter() - start, _of_children() - before
    made = sum(1 for path in target.rglob("*.jpg"))
    if made != photos:
        raise ZooError("colorzoo batch has left photos out", found=f"{made} made", expected=photos)
    return {"wall": round(wall, 3), "cpu": round(cpu, 3), "photos": photos, "cores": cores()}


def _of_children() -> float:
    import resource  # not on Windows

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(command: list[str]) -> str:
    """What a command prints.

    Raises:
        ZooError: It fails.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        what = " ".join(command[2:5])
        raise ZooError(f"{what}: exit code {done.returncode}", found=(done.stderr or done.stdout).strip()[-300:])
    return done.stdout
