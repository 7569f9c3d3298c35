"""``python -m training.package RUN --name fusion --tag TAG``: a run's weights as fp16 into ``zoo/weights``."""

import argparse
import hashlib
import json
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save
from torch import Tensor

from zoo import registry
from zoo.errors import ConfigError, ZooError
from zoo.spec import WEIGHTS_DIR

MANIFEST = WEIGHTS_DIR / "MANIFEST.toml"
MAX_BYTES = 16_000_000
_HEADER = "# The packaged weights: the one truth their specs are read from. Written by training/package.py.\n"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m training.package", description=__doc__)
    p.add_argument("run", type=Path, help="the run's folder")
    p.add_argument("--name", required=True, help="model of the zoo")
    p.add_argument("--tag", required=True, help="name of these weights, e.g. base")
    p.add_argument("--license", default="Apache-2.0", help="of the weights (default: %(default)s)")
    p.add_argument("--commercial-use", action="store_true", help="only if every training photo allows it")
    p.add_argument("--default", action="store_true", help="put these weights first")
    return p


def package(
    run: Path, name: str, tag: str, *, license: str, commercial_use: bool, default: bool, manifest: Path = MANIFEST
) -> Path:
    """Copy the averaged weights of ``run`` as fp16 beside ``manifest`` and enter them there.

    Args:
        run: The run's folder.
        name: The model they belong to.
        tag: The weights' name.
        license: Of the weights.
        commercial_use: Whether their training photos allow it.
        default: Whether they become the model's default.
        manifest: The manifest to enter them in.

    Raises:
        ConfigError: Not a finished run, a run of another model, no provenance, or a file over 16 MB.
    """
    registry.find(name)
    if not tag.replace("_", "").replace("-", "").isalnum():
        raise ConfigError("bad tag", found=repr(tag), expected="letters, digits, - and _")
    try:
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        state = load_file(run / "weights.safetensors")
    except OSError as error:
        raise ConfigError(f"{run} is not a run with weights", found=error) from error
    config = record["config"]
    if config["model"] != name:
        raise ConfigError(f"{run} trained another model", found=config["model"], expected=name)
    if not config["data"]["provenance"]:
        raise ConfigError(
            f"{run}: what the weights were trained on is not stated", remedy="set data.provenance in the run's config"
        )
    content = save({key: _half(value) for key, value in state.items()})
    if len(content) > MAX_BYTES:
        raise ConfigError("weights too large to package", found=f"{len(content)} bytes", expected=f"<= {MAX_BYTES}")
    target = manifest.parent / f"{name}-{tag}.safetensors"
    entry = {
        "file": target.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "license": license,
        "commercial_use": commercial_use,
        "training_data": config["data"]["provenance"],
        "photos": record["photos"]["train"],
        "steps": config["train"]["steps"],
        "training_config": record["config_file"],
        "commit": record["commit"],
        "config": record["network"],
    }
    table = tomllib.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else {}
    others = {t: e for t, e in table.get(name, {}).items() if t != tag}
    first = default or tag == next(iter(table.get(name, {tag: None})))
    table[name] = {tag: entry} | others if first else others | {tag: entry}
    _replace(target, content)
    _replace(manifest, (_HEADER + _toml(table)).encode())
    return target


def _half(value: Tensor) -> Tensor:
    """Matrices and kernels in fp16; vectors (norms, biases) stay as they are: small, and sensitive."""
    return value.half() if value.is_floating_point() and value.ndim > 1 else value


def _toml(table: dict[str, Any]) -> str:
    lines = []
    for name in sorted(table):
        for tag, entry in table[name].items():
            lines.append(f"\n[{name}.{tag}]")
            # JSON's strings, numbers, booleans and lists are TOML's too.
            lines += [f"{k} = {json.dumps(v)}" for k, v in entry.items() if v is not None and not isinstance(v, dict)]
            lines.append(f"\n[{name}.{tag}.config]")
            lines += [f"{k} = {json.dumps(v)}" for k, v in entry["config"].items()]
    return "\n".join(lines) + "\n"


def _replace(target: Path, content: bytes) -> None:
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(content)
    part.replace(target)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        target = package(
            options.run,
            options.name,
            options.tag,
            license=options.license,
            commercial_use=options.commercial_use,
            default=options.default,
        )
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{target} ({target.stat().st_size / 1e6:.1f} MB); entered in {MANIFEST.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
