"""``python -m training.bench --data DIR``: images a second of the trainer, for each family, frozen and end to end."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

CONFIGS = Path(__file__).parent / "configs"
_FROZEN = ("train.freeze_backbone=true", "train.cache_features=true")
_WHOLE = ("train.freeze_backbone=false", "train.cache_features=false")
RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fusion, frozen backbone, kept features": ("fusion", _FROZEN),
    "fusion, end to end": ("fusion", _WHOLE),
    "fusion, end to end, perceptual": ("fusion_vivid", _WHOLE),
    "regression, frozen backbone, kept features": ("regression", _FROZEN),
    "regression, end to end": ("regression", _WHOLE),
    "regression from scratch": ("regression_scratch", ()),
    "classification, frozen backbone, kept features": ("classification", _FROZEN),
    "classification, end to end": ("classification", _WHOLE),
    "original_1000, fresh crops": ("original_1000", ("data.limit=40",)),
}


def measure(config: str, overrides: Sequence[str], data: Path, steps: int, processes: int) -> dict[str, float]:
    """The last line of the log of a run: its second ``steps`` steps.

    Raises:
        CalledProcessError: The run failed.
    """
    threads = max(1, (os.cpu_count() or 1) // processes)
    torchrun = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", *(torchrun if processes > 1 else []), "training.train"]
        command += [str(CONFIGS / f"{config}.toml"), f"--data={data}", f"--out={out}"]
        every = [f"train.steps={2 * steps}", f"log.every={steps}", "log.valid_photos=1", "data.valid_share=0.05"]
        for setting in (*every, "data.limit=200", *overrides):
            command += ["--set", setting]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
        line: dict[str, float] = json.loads((out / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
        return line


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    p = argparse.ArgumentParser(prog="python -m training.bench", description=__doc__)
    p.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of colour photos")
    p.add_argument(
        "--steps", type=int, default=10, help="that are timed, after as many to warm up (default: %(default)s)"
    )
    p.add_argument("--processes", type=int, default=1, help="that share the cores (default: %(default)s)")
    options = p.parse_args(arguments)
    print(f"{'':48}{'images/s':>9}  waiting for data")
    if options.steps < 1 or options.processes < 1:
        p.error("--steps and --processes: 1 or more")
    failed = False
    for what, (config, overrides) in RUNS.items():
        try:
            line = measure(config, overrides, options.data, options.steps, options.processes)
        except subprocess.CalledProcessError as error:
            failed = True
            reasons = [line for line in error.stderr.splitlines() if "error: " in line]
            print(f"{what:48}failed: {reasons[0] if reasons else error}", file=sys.stderr)
            continue
        print(f"{what:48}{line['images_per_second']:9.1f}  {line['waiting_for_data']:.0%}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
