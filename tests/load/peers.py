"""Time of the published networks' fast paths beside their straightforward forward, in one run. Not run by CI.

python tests/load/peers.py [--size 256] [--threads 2] [--rounds 9]

Prints JSON: a line for each network, with untrained weights and in full precision: the GFLOPs of both, the
milliseconds of both by turns, how they compare (median), and how far their answers are apart in Lab units.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from zoo import registry

sys.path.insert(0, str(Path(__file__).parents[1]))

import straightforward


def gflops(run: Callable[[], Any]) -> float:
    """What ``run`` computes, a multiplication and an addition counted as two."""
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e9


def milliseconds(run: Callable[[], Any]) -> float:
    """Of one call."""
    began = time.perf_counter()
    run()
    return 1000 * (time.perf_counter() - began)


@torch.inference_mode()
def compare(name: str, plain: Callable[[Any, Tensor], Tensor], size: int, rounds: int) -> dict[str, Any]:
    """The fast path of the registered model ``name`` against ``plain``."""
    torch.manual_seed(0)
    spec, cls = registry.find(name)
    model = cls.build(spec, spec.config).eval().to(memory_format=torch.channels_last)
    L = (torch.rand(1, 1, size, size) * 100).to(memory_format=torch.channels_last)
    runs = {"straightforward": lambda: plain(model, L), "fast": lambda: model.predict_ab(L)}
    one, other = (run() for run in runs.values())  # also warms up
    times: dict[str, list[float]] = {label: [] for label in runs}
    for _ in range(rounds):
        for label, run in runs.items():
            times[label].append(milliseconds(run))
    ratios = [a / b for a, b in zip(*times.values(), strict=True)]
    return {
        "model": name,
        "size": size,
        "threads": torch.get_num_threads(),
        "gflops": {label: round(gflops(run), 1) for label, run in runs.items()},
        "ms": {label: [round(t, 1) for t in found] for label, found in times.items()},
        "straightforward_over_fast": round(statistics.median(ratios), 2),
        "largest_difference": float((one - other).abs().max()),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name, plain in (("siggraph17", straightforward.siggraph17),):
        result = compare(name, plain, options.size, options.rounds)
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
