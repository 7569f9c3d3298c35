"""``python -m training.bench --data DIR``: images a second of the trainer, for each family, frozen and end to end."""

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from training.config import read_config

CONFIGS = Path(__file__).parent / "configs"
SPEEDS = Path(__file__).parent / "speeds.json"
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
    p.add_argument("--processes", type=int, nargs="+", default=[1, 2], help="that share the cores (default: 1 2)")
    p.add_argument("--only", action="append", default=[], metavar="TEXT", help="the runs with this in their name")
    p.add_argument("--record", metavar="DEVICE", help="enter the figures in training/speeds.json, under this name")
    options = p.parse_args(arguments)
    if options.steps < 1 or min(options.processes) < 1:
        p.error("--steps and --processes: 1 or more")
    wanted = [what for what in RUNS if all(text in what for text in options.only)]
    if not wanted:
        p.error(f"--only: no such run; there are {', '.join(RUNS)}")
    print(f"{'':48}processes  images/s  waiting for data")
    failed, entries = False, []
    for what, processes in itertools.product(wanted, options.processes):
        config, overrides = RUNS[what]
        try:
            line = measure(config, overrides, options.data, options.steps, processes)
        except subprocess.CalledProcessError as error:
            failed = True
            reasons = [line for line in error.stderr.splitlines() if "error: " in line]
            print(f"{what:48}failed: {reasons[0] if reasons else error}", file=sys.stderr)
            continue
        print(f"{what:48}{processes:9}{line['images_per_second']:10.1f}  {line['waiting_for_data']:.0%}", flush=True)
        described = read_config(CONFIGS / f"{config}.toml", overrides)
        entries.append(
            {
                "what": what.partition(", ")[2] or what,
                "config": config,
                "device": options.record,
                "processes": processes,
                "crop": described.data.crop,
                "batch_size": described.train.batch_size,
                "images_per_second": round(line["images_per_second"], 1),
                "waiting_for_data": round(line["waiting_for_data"], 3),
                "source": "training.bench",
            }
        )
    if options.record:
        speeds = json.loads(SPEEDS.read_text(encoding="utf-8"))
        speeds["entries"] = [e for e in speeds["entries"] if e["device"] != options.record] + entries
        SPEEDS.write_text(json.dumps(speeds, indent=2) + "\n", encoding="utf-8")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
