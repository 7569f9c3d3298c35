"""Archives that tests colour, what becomes of them, and what goes wrong: a model that kills, a store of objects."""

import json
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import clips
import numpy as np
from PIL import Image

from zoo import contract

ROOT = Path(__file__).parents[1]
BLACK, WHITE = 0, 255  # what `deadly` dies of: always, and the first time

DEADLY = '''
import os, signal, time
from pathlib import Path

import torch
import zoo
from zoo.models.grayscale import Grayscale, GrayscaleConfig


@zoo.register(
    zoo.ModelSpec(
        name="deadly", summary="Orange, or death", config=GrayscaleConfig(), weights=(), working_size=32, multiple_of=1
    )
)
class Deadly(Grayscale):
    """Every pixel orange; of a black picture its process dies, of a white one the first time."""

    def predict_ab(self, L, **options):
        time.sleep(float(os.environ.get("DEADLY_PAUSE", 0)))
        level = float(L.mean())
        mark = Path(os.environ["DEADLY_MARK"])
        if level < 1 or (level > 99 and not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.tensor((15.0, 30.0)).view(1, 2, 1, 1).expand(len(L), 2, *L.shape[2:])
'''

SHELF = '''
import hashlib, os
from fsspec.implementations.local import LocalFileSystem


class Shelf(LocalFileSystem):
    """Objects in a folder: none is ever half there, none can be added to, and each has an ETag."""

    protocol = "shelf"
    root_marker = "/"

    @classmethod
    def _strip_protocol(cls, path, **kwargs):
        return super()._strip_protocol(str(path).removeprefix("shelf://"))

    def info(self, path, **kwargs):
        found = super().info(path, **kwargs)
        found.pop("mtime", None), found.pop("created", None)
        if found["type"] == "file":
            with open(found["name"], "rb") as file:
                found["ETag"] = hashlib.md5(file.read()).hexdigest()
        return found

    def _open(self, path, mode="rb", **kwargs):
        if "a" in mode:
            raise NotImplementedError("objects cannot be added to")
        return super()._open(path, mode, **kwargs)

    def put_file(self, lpath, rpath, **kwargs):
        rpath = self._strip_protocol(rpath)
        part = f"{rpath}.{os.getpid()}.part"
        super().put_file(lpath, part, **kwargs)
        os.replace(part, rpath)
'''


def install(folder: Path) -> Path:
    """``folder`` with the model ``deadly`` and the store ``shelf://`` as other processes find them on their path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "deadly.py").write_text(DEADLY)
    (folder / "shelf_store.py").write_text(SHELF)
    about = folder / "deadly-1.dist-info"
    about.mkdir(exist_ok=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: deadly\nVersion: 1\n")
    (about / "entry_points.txt").write_text(
        "[colorzoo.plugins]\ndeadly = deadly\n\n[fsspec.specs]\nshelf = shelf_store:Shelf\n"
    )
    return folder


def environment(site: Path, mark: Path, **more: str) -> dict[str, str]:
    """Of a process that has `install`ed things."""
    path = os.pathsep.join([str(site), str(ROOT)])
    return os.environ | {"PYTHONPATH": path, "DEADLY_MARK": str(mark), "OMP_NUM_THREADS": "1"} | more


def command(*arguments: object) -> list[str]:
    """`colorzoo batch` with these arguments."""
    return [sys.executable, "-m", "zoo.cli", "batch", *map(str, arguments)]


def pictures(folder: Path, count: int, size: tuple[int, int] = (40, 56)) -> Path:
    """A folder with so many made-up pictures, half of them in a folder inside."""
    for number in range(count):
        path = folder / ("" if number % 2 else "inner") / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        rgb = (contract.picture(*size, number) * 255).round().astype(np.uint8)
        Image.fromarray(rgb).save(path)
    return folder


def flat(path: Path, level: int) -> Path:
    """A picture of one level of grey."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 56), level, np.uint8)).save(path)
    return path


def film(path: Path, scenes: int = 3, length: int = 12, **options: Any) -> Path:
    """A film of scenes that differ in brightness."""

    def picture(i: int) -> Any:
        made = clips.frame(i, (48, 64), "yuv420p")
        rows = clips.view(made, 0)
        rows[:] = rows // 3 + (150 if (i // length) % 2 else 10)
        return made

    path.parent.mkdir(parents=True, exist_ok=True)
    return clips.make(path, frames=scenes * length, pictures=picture, **options)


def contents(folder: Path) -> dict[str, bytes]:
    """All results, by name."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".colorzoo" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def records(folder: Path) -> list[dict[str, Any]]:
    """Every line of a manifest that tells what has become of an item."""
    parts = sorted((folder / ".colorzoo/manifest").iterdir())
    lines = [line for path in parts for line in path.read_text().splitlines()]
    return [found for line in lines if "status" in (found := json.loads(line))]


def header(folder: Path) -> dict[str, Any]:
    """The last one of a manifest."""
    last = sorted((folder / ".colorzoo/manifest").iterdir())[-1]
    found: dict[str, Any] = json.loads(last.read_text().splitlines()[0])
    return found


def done(folder: Path) -> Counter[str]:
    """How often the manifest says of each source that it was done."""
    return Counter(record["source"] for record in records(folder) if record["status"] == "done")
