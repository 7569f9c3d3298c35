"""What colouring films costs: `colorize_video` from file to file, in a process of its own."""

import json
import logging
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from zoo.errors import ZooError
from zoo.evaluation.candidates import Candidate
from zoo.evaluation.cost import peak_resident

_log = logging.getLogger(__name__)

SECONDS = 5.0  # of each clip
_CODE = "import sys; from zoo.evaluation.films.cost import _colorize_and_report as run; run(*sys.argv[1:])"


def measured(candidate: Candidate, clips: Mapping[str, Path], folder: Path) -> dict[str, Any]:
    """Frames a second, of all clips together and of each, and the peak memory in MB of the whole process.

    The first seconds of each clip are coloured in their full size, decoded, encoded and written, as `colorzoo video`
    does it; starting and loading are not counted. What it cannot colour is left out, and told under ``failed``. Nothing
    is measured of a model that only this process knows.

    Args:
        candidate: Whose network lies in the CPU's memory.
        clips: By name.
        folder: For the films that are made.
    """
    if candidate.loaded_from is None or candidate.network is None or candidate.network.device.type != "cpu":
        return {}
    threads = torch.get_num_threads()
    task = {
        "model": candidate.loaded_from,
        "options": candidate.options,
        "clips": {name: str(path) for name, path in clips.items()},
        "target": str(folder / "film.mp4"),
        "threads": threads,
    }
    done = subprocess.run([sys.executable, "-c", _CODE, json.dumps(task)], capture_output=True, text=True, check=False)
    if done.returncode:
        _log.warning("%s: its cost is not measured: %s", candidate.label, done.stderr.strip()[-300:])
        return {}
    found = json.loads(done.stdout.splitlines()[-1])
    for name, reason in found["failed"].items():
        _log.warning("%s: colorzoo video fails on %s: %s", candidate.label, name, reason)
    if not found["clips"]:
        return {"failed": found["failed"]}
    frames, seconds = (sum(clip[key] for clip in found["clips"].values()) for key in ("frames", "seconds"))
    return {
        "frames_per_second": round(frames / seconds, 2),
        "peak_memory_mb": round(found["peak"] / 1e6, 1),
        "per_clip": {name: round(clip["frames"] / clip["seconds"], 2) for name, clip in found["clips"].items()},
        "failed": found["failed"],
        "seconds_of_each": SECONDS,
        "threads": threads,
        "device": "cpu",
    }


def _colorize_and_report(task: str) -> None:
    from zoo.loading import load
    from zoo.video.transcode import colorize_video

    asked = json.loads(task)
    torch.set_num_threads(asked["threads"])
    model = load(asked["model"], backend="torch")  # whatever was measured here, as everywhere in the evaluator
    clips: dict[str, dict[str, float]] = {}
    failed: dict[str, str] = {}
    for name, path in asked["clips"].items():
        try:
            report = colorize_video(path, asked["target"], model=model, end=SECONDS, force=True, **asked["options"])
        except ZooError as error:
            failed[name] = error.what.replace(path, name)
            continue
        clips[name] = {"frames": report.frames, "seconds": report.seconds}
    sys.stdout.write(json.dumps({"clips": clips, "failed": failed, "peak": peak_resident()}) + "\n")
