"""``python -m training.fidelity PHOTOS...``: how far each backend's pictures are from torch's, into ``zoo/weights``."""

import argparse
import json
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import zoo
from zoo import backends, batch, registry
from zoo.backends import kinds
from zoo.backends.likeness import RECORD, answers, difference
from zoo.errors import ConfigError, OptionError, ZooError
from zoo.evaluation.cost import machine
from zoo.evaluation.protocol import Protocol, data_hash, prepare

_HEADER = """\
# How far the packaged weights' pictures are from torch in float32, on each backend: mean CIEDE2000, of the worst style.
# Written by training/fidelity.py.
"""
_PROTOCOL = Protocol(near_grey="kept", small="enlarged")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m training.fidelity", description=__doc__)
    p.add_argument("photos", type=Path, nargs="+", help="photos, or folders of them")
    p.add_argument("--name", action="append", metavar="MODEL.TAG", help="these weights only; may be repeated")
    p.add_argument("--every", type=int, default=1, metavar="N", help="take every Nth photo (default: all)")
    return p


def record(
    names: Sequence[str],
    photos: Sequence[Path],
    *,
    target: Path = RECORD,
    told: Callable[[str], None] = lambda _: None,
) -> Path:
    """Measure what can run on this machine, and write it; entries of other weights stay as they are.

    Args:
        names: Packaged weights, ``model.tag``, or models made of such.
        photos: Photo files; the centre of each is compared, at 256 pixels.
        target: The record.
        told: Is told each figure.

    Raises:
        ConfigError: No photos.
        ZooError: A model that cannot be loaded, or a photo that cannot be read.
    """
    if not photos:
        raise ConfigError("no photos to compare backends on", expected="at least one")
    greys = [prepare(path, _PROTOCOL).grey for path in photos]
    table = tomllib.loads(target.read_text(encoding="utf-8")) if target.is_file() else {}
    for name in names:
        model = zoo.load(name, backend="torch", dtype="float32")
        reference = answers(model, greys)
        entry: dict[str, Any] = {
            "sha256": backends.key_of(model),
            "pictures": len(greys),
            "data_sha256": data_hash(photos, [path.name for path in photos]),
            "folders": sorted({path.parent.name for path in photos}),
            "processor": machine()["processor"],
            "versions": kinds.versions(),
        }
        for backend, dtype in backends.candidates(model):
            if (backend, dtype) == ("torch", "float32"):
                continue
            try:
                backends.attach(model, backend, dtype)
            except OptionError as error:  # nothing that could be quantized, say
                told(f"{name}: {error}")
                continue
            found = round(difference(answers(model, greys), reference), 4)
            entry.setdefault(backend, {})[dtype] = found
            told(f"{name} {backend} {dtype}: {found}")
        table[name] = entry
        part = target.with_name(f".{target.name}.part")
        part.write_text(_HEADER + "".join(map(_toml, sorted(table.items()))), encoding="utf-8")
        part.replace(target)
    return target


def packaged() -> list[str]:
    """All packaged weights, and the models made of such."""
    names = []
    for name in registry.list_models():
        spec, _ = registry.find(name)
        names += [f"{name}.{weights.tag}" for weights in spec.weights if weights.packaged]
        names += [name] if spec.parts else []
    return names


def _toml(item: tuple[str, dict[str, Any]]) -> str:
    name, entry = item
    lines = [f'\n["{name}"]']
    lines += [f"{key} = {json.dumps(value)}" for key, value in entry.items() if not isinstance(value, dict)]
    for key, inner in entry.items():
        if isinstance(inner, dict):
            lines.append(f"{key} = {{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in inner.items())} }}")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        found = batch.find([str(path) for path in options.photos])
        photos = [item.source for item in found if item.problem is None][:: options.every]
        target = record(options.name or packaged(), photos, told=lambda line: print(line, flush=True))
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{target}: from {len(photos)} photos")
    return 0


if __name__ == "__main__":
    sys.exit(main())
