"""Time and peak memory of DDColor's forward pass here and as published, side by side. Not run by CI.

python tests/load/ddcolor.py [--model ddcolor_tiny] [--sizes 256 512] [--runs 5] [--threads 2]

Prints JSON: of each way the median time, and the peak of memory above what the process held before (Linux only).
Weights are random, which changes neither. The two ways take turns, so that what else the machine does falls on both;
memory is measured in a process of its own for each.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
import ddcolor_reference

from zoo import color, registry
from zoo.models.ddcolor import DDColor

WAYS = ("straightforward", "fast")


def ways(model: str, size: int) -> dict[str, Callable[[], Tensor]]:
    """Both forward passes, float32, of one random network and picture; the encoder is the same."""
    torch.manual_seed(0)
    network = DDColor(registry.find(model)[0].config).eval().to(memory_format=torch.channels_last)
    L = torch.rand(1, 1, size, size) * 100
    state = network.state_dict()

    def straightforward() -> Tensor:
        x = ddcolor_reference.normalized(state, color.grey_from_lightness(L).expand(-1, 3, -1, -1))
        x = x.contiguous(memory_format=torch.channels_last)
        return ddcolor_reference.decode(state, network.config, x, network.encoder(x))

    return {"straightforward": straightforward, "fast": lambda: network(L)}


def measure_times(model: str, size: int, runs: int) -> dict[str, Any]:
    """The median time of each way in ms, their ratio, and the largest difference relative to the largest answer."""
    both = ways(model, size)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    with torch.inference_mode():
        answers = {way: both[way]() for way in WAYS}  # also warms up
        for _ in range(runs):
            for way in WAYS:
                start = time.perf_counter()
                both[way]()
                times[way].append(1000 * (time.perf_counter() - start))
    expected = answers["straightforward"]
    difference = (answers["fast"] - expected).abs().max() / expected.abs().max()
    medians = {way: statistics.median(times[way]) for way in WAYS}
    return {
        **{way: {"ms": round(medians[way], 1)} for way in WAYS},
        "times_as_fast": round(medians["straightforward"] / medians["fast"], 2),
        "largest_difference": float(difference),
    }


def measure_peak(model: str, size: int, way: str) -> float:
    """The peak of resident memory during one pass, in MB above what was held before it."""
    run = ways(model, size)[way]
    with torch.inference_mode():
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak of building the network
        before = resident("VmRSS")
        run()
        return round(resident("VmHWM") - before, 1)


def resident(key: str) -> float:
    """A figure of this process's memory in MB, as Linux names it."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(re.findall(rf"{key}:\s*(\d+) kB", status)[0]) / 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ddcolor_tiny", choices=("ddcolor", "ddcolor_tiny"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--peak-of", choices=WAYS, help="Measure this way's memory only, at the first size.")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak_of:
        sys.stdout.write(json.dumps(measure_peak(options.model, options.sizes[0], options.peak_of)))
        return
    results: dict[str, Any] = {"model": options.model, "threads": options.threads, "runs": options.runs, "sizes": {}}
    for size in options.sizes:
        entry = results["sizes"][str(size)] = measure_times(options.model, size, options.runs)
        for way in WAYS:
            arguments = ["--model", options.model, "--sizes", str(size), "--threads", str(options.threads)]
            command = [sys.executable, __file__, *arguments, "--peak-of", way]
            run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            entry[way]["peak_mb"] = json.loads(run.stdout)
    sys.stdout.write(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
