"""What a model costs on this machine: time, memory, operations; and what the machine is."""

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from zoo.colorizer import Colorizer
from zoo.errors import WeightsError
from zoo.loading import load
from zoo.runnable import has_fast_bf16


def machine() -> dict[str, Any]:
    """The processor, how many threads torch uses, and whether it computes in bfloat16."""
    return {
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "bf16": has_fast_bf16(),
        "system": platform.system(),
    }


def versions(*packages: str) -> dict[str, str]:
    """Of Python and of those ``packages`` that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def median_ms(job: Callable[[Any], object], inputs: Sequence[Any]) -> float:
    """The median milliseconds of ``job`` over ``inputs``, after one run that warms up."""
    job(inputs[0])
    times = []
    for item in inputs:
        start = time.perf_counter()
        job(item)
        times.append(time.perf_counter() - start)
    milliseconds: float = median(times) * 1000
    return round(milliseconds, 2)


def gigaflops(network: Colorizer[Any]) -> float:
    """Billions of operations (2 for each multiply-add) of one forward pass at the model's working size."""
    size = network.spec.working_size
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 1, size, size, device=network.device))
    return round(float(counter.get_total_flops()) / 1e9, 2)


def peak_memory(name: str, source: Path, target: Path, **options: str) -> float:
    """The peak resident memory in MB of a process that loads a model and colours the file ``source``.

    Args:
        name: As for `zoo.load`.
        source: A picture file.
        target: Where the result goes.
        options: As for `zoo.load`, ``backend`` and ``dtype``; torch unless another one is named.

    Raises:
        WeightsError: The process failed.
    """
    code = "import sys; from zoo.evaluation.cost import _colorize_and_report as run; run(*sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", code, name, str(source), str(target), json.dumps(options)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise WeightsError(f"{name}: a process that colours one picture failed", found=done.stderr.strip()[-300:])
    return round(int(done.stdout) / 1e6, 1)


def _colorize_and_report(name: str, source: str, target: str, options: str) -> None:
    load(name, **({"backend": "torch"} | json.loads(options))).colorize_file(source, target, overwrite=True)
    sys.stdout.write(str(peak_resident()))


def peak_resident() -> int:
    """The peak resident memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage's peak is inherited from the parent there
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
