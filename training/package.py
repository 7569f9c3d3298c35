"""``python -m training.package RUN --name fusion --tag TAG``: a run's weights as fp16 into ``zoo/weights``."""

import argparse
import hashlib
import json
import math
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from zoo import registry
from zoo.errors import ConfigError, ZooError
from zoo.spec import WEIGHTS_DIR, ModelSpec, config_from_mapping, weights_from_entry

MANIFEST = WEIGHTS_DIR / "MANIFEST.toml"
MAX_BYTES = 16_000_000
_TAG = re.compile(r"[A-Za-z0-9][\w.-]*\Z", re.ASCII)  # as the registry has it
_HEADER = "# The packaged weights: the one truth their specs are read from. Written by training/package.py.\n"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m training.package", description=__doc__)
    p.add_argument("run", type=Path, help="the run's folder")
    p.add_argument("--name", required=True, help="model of the zoo")
    p.add_argument("--tag", required=True, help="name of these weights, e.g. base")
    p.add_argument(
        "--mean-with",
        action="append",
        default=[],
        metavar="RUN[:WEIGHT]",
        help="a run of the same chain: the mean of all weights, RUN's own counting 1; may be repeated",
    )
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="changes",
        help="a setting of the network that was chosen after training, e.g. vivid_temperature=0.6; may be repeated",
    )
    p.add_argument("--license", default="Apache-2.0", help="of the weights (default: %(default)s)")
    p.add_argument("--commercial-use", action="store_true", help="only if every training photo allows it")
    p.add_argument(
        "--training-data", action="append", default=[], metavar="TEXT", help="what the photos were; may be repeated"
    )
    p.add_argument("--default", action="store_true", help="put these weights first")
    p.add_argument(
        "--stopped",
        action="store_true",
        help="the run was stopped on purpose: its weights, of its last evaluation, are wanted",
    )
    p.add_argument(
        "--photos",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="colour photos to record on how true bfloat16 and other backends are; without a record, torch runs them "
        "in float32 (python -m training.fidelity does so later, too); may be repeated",
    )
    return p


def package(
    run: Path,
    name: str,
    tag: str,
    *,
    license: str,
    commercial_use: bool,
    default: bool,
    training_data: Sequence[str] = (),
    mean_with: Sequence[str] = (),
    changes: Sequence[str] = (),
    stopped: bool = False,
    manifest: Path = MANIFEST,
) -> Path:
    """Copy the averaged weights of ``run`` as fp16 beside ``manifest`` and enter them there.

    Args:
        run: The run's folder.
        name: The model they belong to.
        tag: The weights' name.
        license: Of the weights.
        commercial_use: Whether their training photos allow it.
        default: Whether they become the model's default.
        training_data: What they were trained on, where the run's config does not say it rightly.
        mean_with: Other runs of the chain, with ``:`` and a weight other than 1 where wanted; the mean of all
            weights is packaged.
        changes: ``key=value`` in TOML, settings of the network that were chosen after training.
        stopped: Whether a run that did not go to its last step was stopped on purpose.
        manifest: The manifest to enter them in.

    Raises:
        ConfigError: Not a finished run, a run of another model, no provenance, not finite in fp16, over 16 MB.
    """
    spec, _ = registry.find(name)
    changed = _changed(changes)
    if not _TAG.match(tag):
        raise ConfigError("bad tag", found=repr(tag), expected="ASCII letters, digits, '_', '-', '.'")
    try:
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        state = load_file(run / "weights.safetensors")
        history = [json.loads(line) for line in (run / "valid.jsonl").read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError, SafetensorError) as error:
        raise ConfigError(f"{run} is not a run with weights", found=error) from error
    try:
        record["network"] |= changed
        config, init, evaluated = record["config"], record.get("init"), max(line["step"] for line in history)
        entry = {
            "training_data": list(training_data) or config["data"]["provenance"],
            "photos": record["photos"]["train"],
            "steps": config["train"]["steps"],
            "training_config": record["config_file"],
            "init": init and f"{_name_of(init['from'])} (sha256 {init['sha256'] or 'not known'})",
            "commit": record["commit"],
            "config": {k: v for k, v in record["network"].items() if v is not None},
        }
        others = [_weighted(text) for text in mean_with]
        if others:
            named = ", ".join(f"{other.name} ({weight:g})" for other, weight in others)
            entry["init"] = ", ".join(filter(None, [entry["init"], f"then the mean of this run (1) and {named}"]))
        model = config["model"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{run}: run.json or valid.jsonl is damaged", found=repr(error)) from error
    if model != name:
        raise ConfigError(f"{run} trained another model", found=model, expected=name)
    network = config_from_mapping(type(spec.config), record["network"], "run.json: network")
    if evaluated < entry["steps"]:
        if not stopped:
            raise ConfigError(
                f"{run} is not finished",
                found=f"step {evaluated} of {entry['steps']}",
                remedy="continue it with --resume, or say that it was --stopped on purpose",
            )
        entry |= {"steps": evaluated, "planned_steps": entry["steps"]}
    if not entry["training_data"]:
        raise ConfigError(
            f"{run}: what the weights were trained on is not stated", remedy="say it with --training-data"
        )
    if others:
        state = _mean(state, others)
    content = save({key: _half(key, value) for key, value in state.items()})
    if len(content) > MAX_BYTES:
        raise ConfigError("weights too large to package", found=f"{len(content)} bytes", expected=f"<= {MAX_BYTES}")
    target = manifest.parent / f"{name}-{tag}.safetensors"
    entry = {
        "file": target.name,
        "sha256": hashlib.sha256(content).hexdigest(),
        "size_bytes": len(content),
        "license": license,
        "commercial_use": commercial_use,
        **entry,
    }
    table = tomllib.loads(manifest.read_text(encoding="utf-8")) if manifest.exists() else {}
    kept = {t: e for t, e in table.get(name, {}).items() if t != tag}
    first = default or tag == next(iter(table.get(name, {tag: None})))
    table[name] = {tag: entry} | kept if first else kept | {tag: entry}
    text = _manifest_text(table, name, tag, spec, network)
    _replace(target, content)
    _replace(manifest, text)
    return target


def _changed(changes: Sequence[str]) -> dict[str, Any]:
    try:
        return tomllib.loads("\n".join(changes))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError("--set: not key=value in TOML", found=list(changes)) from error


def _weighted(text: str) -> tuple[Path, float]:
    """The run and the weight of ``RUN[:WEIGHT]``."""
    run, colon, number = text.rpartition(":")
    try:
        weight = float(number) if colon else 1.0
    except ValueError:  # a colon of the path's own
        run, colon, weight = text, "", 1.0
    if not 0 < weight < math.inf:
        raise ConfigError(f"--mean-with {text}: bad weight", found=number, expected="above 0")
    return Path(run if colon else text), weight


def _mean(state: dict[str, Tensor], others: Sequence[tuple[Path, float]]) -> dict[str, Tensor]:
    total, mean = 1.0, {k: v.clone() for k, v in state.items()}
    for run, weight in others:
        try:
            other = load_file(run / "weights.safetensors")
        except (OSError, SafetensorError) as error:
            raise ConfigError(f"{run} is not a run with weights", found=error) from error
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in other.items()}:
            raise ConfigError(f"{run} holds the weights of another network")
        total += weight
        for key, value in mean.items():
            if value.is_floating_point():
                value.lerp_(other[key].to(value.dtype), weight / total)
    return mean


def _name_of(init: str) -> str:
    return Path(init).name if init.endswith(".safetensors") else init  # no folders of this machine in the manifest


def _manifest_text(table: dict[str, Any], name: str, tag: str, spec: ModelSpec, network: object) -> bytes:
    """The manifest, after it has been read back: a broken one would leave the whole zoo unloadable."""
    try:
        text = (_HEADER + _toml(table)).encode()
        entry = tomllib.loads(text.decode())[name][tag]
        weights = weights_from_entry(tag, entry, type(spec.config), f"[{name}.{tag}]")
        registry.check(replace(spec, weights=(weights,)))
    except (ValueError, KeyError, TypeError, ZooError) as error:
        raise ConfigError(f"{name}.{tag} cannot be entered in the manifest", found=error) from error
    if weights.config != network:
        raise ConfigError(f"{name}.{tag}: the manifest cannot hold its network", found=weights.config, expected=network)
    return text


def _half(key: str, value: Tensor) -> Tensor:
    """Matrices and kernels in fp16; vectors (norms, biases) stay as they are: small, and sensitive."""
    packed = value.half() if value.is_floating_point() and value.ndim > 1 else value
    if not packed.isfinite().all():
        raise ConfigError(f"weights {key} have values that are not finite in fp16", found=value.abs().max().item())
    return packed


def _toml(table: dict[str, Any]) -> str:
    lines = []
    for name in sorted(table):
        for tag, entry in table[name].items():
            key = f'{name}."{tag}"' if "." in tag else f"{name}.{tag}"
            lines.append(f"\n[{key}]")
            # JSON's strings, numbers, booleans and lists are TOML's too.
            lines += [
                f"{k} = {json.dumps(v, ensure_ascii=False)}"
                for k, v in entry.items()
                if v is not None and not isinstance(v, dict)
            ]
            lines.append(f"\n[{key}.config]")
            lines += [f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in entry["config"].items()]
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
            training_data=options.training_data,
            mean_with=options.mean_with,
            changes=options.changes,
            stopped=options.stopped,
        )
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{target} ({target.stat().st_size / 1e6:.1f} MB); entered in {MANIFEST.name}", flush=True)
    if options.photos:  # by a process of its own, since this one has read the manifest as it was before
        photos = map(str, options.photos)
        command = [sys.executable, "-m", "training.fidelity", *photos, "--name", f"{options.name}.{options.tag}"]
        return subprocess.run(command, check=False).returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
