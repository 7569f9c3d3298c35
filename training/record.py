"""What a run writes about itself: provenance, log, curves, speed."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from training.config import RunConfig
from zoo.colorizer import Colorizer
from zoo.errors import ConfigError

LINES = ("log.jsonl", "valid.jsonl")


def provenance(config: RunConfig, model: Colorizer[Any], **known: Any) -> dict[str, Any]:
    """What run.json says of a run: all that its weights come from."""
    data = config.data
    return {
        "folders": [Path(folder).resolve().name for folder in data.folders],
        "config": asdict(config),
        "network": asdict(model.config),
        "commit": _commit(),
        "versions": {p: version(p) for p in ("colorzoo", "torch", "timm", "accelerate", "numpy", "pillow")},
        "parameters": sum(p.numel() for p in model.parameters()),
        "threads": torch.get_num_threads(),
        **known,
    }


def _commit() -> str | None:
    try:
        git = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    except OSError:  # no git here
        return None
    return git.stdout.strip() or None


@contextmanager
def alone(run: Path) -> Iterator[None]:
    """A context in which no other process trains in this folder; over when the process is, however it ends.

    Raises:
        ConfigError: Another one does.
    """
    lock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ConfigError(
            f"{run}: another process trains there", remedy="wait for it, or choose another --out"
        ) from None
    try:
        yield
    finally:
        lock.release()


class Log:
    """The run's lines, curves and pictures; written by one process only.

    Args:
        run: The run's folder.
        step: Where the run goes on; what was noted of later ones, before it was killed, is taken away.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.run = run
        for file in (run / name for name in LINES):
            if file.exists():
                part = file.with_name(f"{file.name}.part")
                kept = (line for line in file.read_text(encoding="utf-8").splitlines(True) if _step_of(line) <= step)
                part.write_text("".join(kept), encoding="utf-8")
                part.replace(file)
        self.writer = SummaryWriter(run / "tensorboard", purge_step=step)

    def line(self, file: str, entry: dict[str, float], group: str) -> None:
        """Add a line of figures, with their ``step``."""
        with (self.run / file).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps({"time": round(time.time(), 1), **entry}) + "\n")
        for key, value in entry.items():
            if key != "step":
                self.writer.add_scalar(f"{group}/{key.replace(' ', '_')}", value, entry["step"])

    def picture(self, picture: Image.Image, step: int) -> None:
        """Keep the grid of an evaluation."""
        (self.run / "grids").mkdir(exist_ok=True)
        picture.save(self.run / "grids" / f"{step:06d}.png")
        self.writer.add_image("valid/grid", np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        """Finish the curves."""
        self.writer.close()


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except ValueError:  # it was killed while it wrote
        return float("inf")


class Meter:
    """Speed since it was made: images a second, and the share of the time spent waiting for data."""

    def __init__(self) -> None:
        self.start = self.mark = time.perf_counter()
        self.waited, self.images, self.losses = 0.0, 0, list[float]()

    def data_ready(self) -> None:
        """The step's data has come."""
        self.waited += time.perf_counter() - self.mark

    def step_done(self, images: int, loss: float) -> None:
        """The step is over."""
        self.images += images
        self.losses.append(loss)
        self.mark = time.perf_counter()

    def figures(self) -> dict[str, float]:
        """Mean loss, images a second of all processes together, and this process's share of waiting."""
        seconds = time.perf_counter() - self.start
        return {
            "loss": float(np.mean(self.losses)),
            "images_per_second": self.images / seconds,
            "waiting_for_data": self.waited / seconds,
        }
