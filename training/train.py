"""``python -m training.train CONFIG.toml --data DIR``: train a model of the zoo on photos."""

import argparse
import ctypes
import dataclasses
import hashlib
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

import zoo
from training.config import RunConfig, read_config
from zoo import registry
from zoo.colorizer import Colorizer
from zoo.errors import ConfigError, WeightsError, ZooError
from zoo.spec import config_from_mapping


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    p.add_argument("config", help="run description, e.g. training/configs/fusion.toml")
    p.add_argument("--data", action="append", default=[], metavar="DIR", help="folder of photos; may be repeated")
    # Not --run: torchrun would take it for an abbreviation of an option of its own.
    p.add_argument("--out", metavar="DIR", help="the run's folder; default runs/<name of the config>")
    p.add_argument("--init", metavar="NAME|FILE", help="start from a zoo model's weights or a .safetensors file")
    p.add_argument("--resume", action="store_true", help="continue the run in its folder")
    p.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides", help="e.g. train.steps=100"
    )
    return p


def keep_freed_memory() -> None:
    """Have glibc keep what is freed: every step allocates the same hundreds of megabytes again, and fresh pages from
    the kernel, which it zeroes first, took a third of a step. With other C libraries nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(-4, 0)  # M_MMAP_MAX: no allocation is handed back alone
    mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
    mallopt(-2, 2**28)  # M_TOP_PAD


Start = tuple[dict[str, Tensor], str | None]


def starting_weights(init: str) -> Start:
    """The tensors that ``--init`` names, and their file's sha256 where it is known.

    Raises:
        ZooError: An unknown model, or a file that is missing or broken.
    """
    if Path(init).suffix != ".safetensors":
        other = zoo.load(init, backend="torch")
        return other.state_dict(), other.weights.sha256 if other.weights else None
    try:
        content = Path(init).read_bytes()
        return load(content), hashlib.sha256(content).hexdigest()
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"--init {init} cannot be read", found=error) from error


def build(config: RunConfig, start: Start | None) -> Colorizer[Any]:
    """The network of a run, with the weights of ``start`` or of the backbone's own pretraining.

    Raises:
        ZooError: An unknown model, network key, or weights that do not fit.
    """
    spec, cls = registry.find(config.model)
    if spec.parts:
        raise ConfigError(
            f"model {spec.name!r} is made of others and has nothing of its own to train",
            remedy=f"train its parts: {', '.join(spec.parts)}",
        )
    changed = dataclasses.asdict(spec.config) | config.network
    model = cls.build(spec, config_from_mapping(type(spec.config), changed, "network"))
    if start is None:
        if config.train.pretrained:
            model.init_pretrained()
        return model
    try:
        model.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in start[0].items()})
    except RuntimeError as error:
        raise WeightsError(f"the weights of --init do not fit model {config.model!r}", found=error) from error
    return model


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    options = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    run = Path(options.out or Path("runs") / Path(options.config).stem)
    try:
        config = read_config(options.config, options.overrides)
        folders = config.data.folders + tuple(options.data)
        weights = config.data.folder_weights
        if weights:
            weights += (1.0,) * (len(folders) - len(weights))
        config = dataclasses.replace(
            config, data=dataclasses.replace(config.data, folders=folders, folder_weights=weights)
        )
        if options.init and options.resume:
            raise ConfigError("--init with --resume", remedy="a resumed run has its own weights: leave --init away")
        if run.exists() and not run.is_dir():
            raise ConfigError(f"--out {run} is a file", expected="a folder")
        if not (folders or config.data.shards or config.data.hub):
            raise ConfigError("no photos to train on", remedy="give a folder with --data DIR, or data.shards, data.hub")
        from training.trainer import Trainer  # after the arguments are known to be good: Accelerate takes a while

        keep_freed_memory()
        torch.manual_seed(config.seed)
        start = starting_weights(options.init) if options.init else None
        Trainer(
            config,
            build(config, start),
            run,
            config_file=Path(options.config).name,
            init={"from": options.init, "sha256": start[1]} if start else None,
            resume=options.resume,
        ).fit()
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        left = "continue with --resume" if (run / "checkpoint.pt").exists() else "no checkpoint was made yet"
        print(f"interrupted; {left}", file=sys.stderr)
        return 128 + getattr(error, "signal", signal.SIGINT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
