"""Models ready for use: a name becomes a network with its weights."""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zoo import hub, registry
from zoo.colorizer import FORMAT_VERSION, Colorizer
from zoo.errors import OptionError, UnknownModelError, WeightsError
from zoo.spec import ModelSpec, WeightsSpec, config_from_mapping

HUB, FOLDER = "hf-hub:", "local-dir:"
CONFIG_FILE, STATE_FILE = "config.json", "model.safetensors"
_REPOSITORY = re.compile(r"(?P<repo_id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^@\s]+))?\Z")
_NAME_AND_STYLE = re.compile(r"(?P<name>(?:(?:hf-hub|local-dir):)?.+?)(?::(?P<style>\w+))?")
_SHOWN = 5  # entries that do not fit are named up to here


def load(name: str, *, device: str | torch.device | None = None) -> Colorizer[Any]:
    """The model with its weights, in evaluation mode and float32.

    Args:
        name: ``fusion``, ``fusion.TAG`` for other weights than the default, ``hf-hub:OWNER/REPO@COMMIT``, or
            ``local-dir:PATH`` for a folder that `Colorizer.save` wrote. Without a commit, the Hub is asked for the
            present one, which is logged.
        device: As torch names it; None is the CPU.

    Raises:
        UnknownModelError: No such model or weights.
        WeightsError: Weights that are missing, damaged or do not fit the network.
        ConfigError: The configuration of a folder or repository does not fit its model.
        OptionError: No such device.
    """
    source = _find(name)
    with torch.random.fork_rng(devices=[]):  # the initial weights draw from it, and are not wanted
        model = source.cls(source.config)
    model.spec, model.weights = source.spec, source.weights
    if model.state_dict():
        _fill(model, source.state_file(), name)
    try:
        place = torch.device(device or "cpu")
        if place.type == "meta":
            raise RuntimeError("it holds no data")
        model = model.eval().to(place)
        return model.to(memory_format=torch.channels_last)  # what convolutions are fastest in
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without CUDA
        raise OptionError(f"device {str(device)!r} cannot be used", found=str(error).splitlines()[0]) from error


def name_and_style(text: str) -> tuple[str, str | None]:
    """The model's name and the style of ``fusion:vivid``; None where no style is given.

    Raises:
        OptionError: The name is empty.
    """
    match = _NAME_AND_STYLE.fullmatch(text.strip())
    if match is None:
        raise OptionError("an empty name of a model", found=repr(text), expected="names as in `colorzoo list`")
    return match["name"], match["style"]


def describe(name: str) -> ModelSpec:
    """What is known of a model; ``name`` as for `load`.

    Where a name says which weights, ``weights`` are these alone and ``config`` is theirs; a folder or a
    repository has a ``config`` and no known ``weights``.

    Raises:
        UnknownModelError: No such model or weights.
        WeightsError: A folder or repository that cannot be read.
        ConfigError: Its configuration does not fit its model.
    """
    source = _find(name)
    if name in registry.list_models():
        return source.spec
    weights = () if source.weights is None else (source.weights,)
    return replace(source.spec, config=source.config, weights=weights)


class _Source(NamedTuple):
    """What a name stands for, before anything of it is loaded."""

    name: str
    spec: ModelSpec
    cls: type[Colorizer[Any]]
    config: Any
    weights: WeightsSpec | None = None
    folder: Path | None = None
    repository: tuple[str, str] | None = None  # name and commit

    def state_file(self) -> Path:
        if self.folder is not None:
            return _existing(self.folder / STATE_FILE, self.name)
        if self.repository is not None:
            return hub.download(*self.repository, STATE_FILE, None)
        weights = self.weights
        if weights is None:
            raise WeightsError(
                f"model {self.name!r} has no weights yet",
                remedy=f"train it, and load the folder it was saved to as '{FOLDER}PATH'",
            )
        if weights.packaged is not None:
            path = hub.packaged_path(weights)
            hub.verify_sha256(path, str(weights.sha256))
            return path
        if weights.repo_id is not None and weights.sha256 is not None:
            return hub.download(weights.repo_id, str(weights.revision), str(weights.filename), weights.sha256)
        raise WeightsError(
            f"weights {self.name!r} cannot be fetched",
            found="no sha256 is known of them" if weights.repo_id else "they are not converted to safetensors",
            remedy=f"fetch {weights.source_url or weights.repo_id} yourself and load it as '{FOLDER}PATH'",
        )


def _find(name: str) -> _Source:
    if not isinstance(name, str):
        raise UnknownModelError("model name is not text", found=repr(name), expected="e.g. 'fusion'")
    if name.startswith(FOLDER):
        try:
            folder = Path(name.removeprefix(FOLDER)).expanduser()
            config_file = _existing(folder / CONFIG_FILE, name)
        except (OSError, RuntimeError) as error:  # a path too long, a user who is not there
            raise WeightsError(f"{name}: not a folder", found=error) from error
        return _Source(name, *_read_config(config_file, name), folder=folder)
    if name.startswith(HUB):
        match = _REPOSITORY.match(name.removeprefix(HUB))
        if match is None:
            raise UnknownModelError(f"{name!r} names no repository", expected=f"{HUB}OWNER/REPO@COMMIT")
        repository = (match["repo_id"], hub.resolve(match["repo_id"], match["revision"]))
        config_file = hub.download(*repository, CONFIG_FILE, None)
        return _Source(name, *_read_config(config_file, name), repository=repository)
    base, dot, tag = name.partition(".")
    # A slash is refused by the registry, which must then see the whole of it.
    spec, cls = registry.find(name if "/" in base + tag else base)
    if not dot:
        weights = spec.weights[0] if spec.weights else None
    else:
        weights = next((w for w in spec.weights if w.tag == tag), None)
        if weights is None:
            tags = ", ".join(f"{base}.{w.tag}" for w in spec.weights)
            raise UnknownModelError(
                f"model {base!r} has no weights tagged {tag!r}", expected=tags or f"{base!r}, which has none"
            )
    config = spec.config if weights is None or weights.config is None else weights.config
    return _Source(name, spec, cls, config, weights)


def _existing(path: Path, name: str) -> Path:
    if not path.is_file():
        raise WeightsError(
            f"{name}: no {path.name}",
            expected=os.fspath(path),
            remedy=f"a model's folder holds {CONFIG_FILE} and {STATE_FILE}, as model.save(PATH) writes them",
        )
    return path


def _read_config(path: Path, name: str) -> tuple[ModelSpec, type[Colorizer[Any]], Any]:
    """The registry entry that a ``config.json`` names, and its configuration; nothing in it is run as code."""
    where = f"{name}: {CONFIG_FILE}"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        version, model, values = table["format_version"], table["model"], table["config"]
    except OSError as error:
        raise WeightsError(f"{where} cannot be read", found=error.strerror) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WeightsError(
            f"{where} is not one of colorzoo's",
            found=f"{type(error).__name__}: {error}",
            expected="a JSON object with format_version, model and config",
        ) from error
    if version != FORMAT_VERSION or not isinstance(values, dict):
        raise WeightsError(
            f"{where} is of another format",
            found=f"format_version {version!r}, config of type {type(values).__name__}",
            expected=f"format_version {FORMAT_VERSION}, config a table",
            remedy="a newer colorzoo may read it",
        )
    spec, cls = registry.find(model)
    return spec, cls, config_from_mapping(type(spec.config), values, f"{where}: config")


def _fill(model: Colorizer[Any], path: Path, name: str) -> None:
    """Copy the tensors of a safetensors file into the model; half precision becomes float32."""
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{name}: {path.name} is not a safetensors file", found=error) from error
    own = model.state_dict()
    problems = [problem for key in {**own, **state} if (problem := _misfit(key, own.get(key), state.get(key)))]
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise WeightsError(
            f"{name}: {path.name} does not fit the network of model {model.spec.name!r}",
            found="; ".join(problems[:_SHOWN]) + more,
            expected=f"the {len(own)} tensors of {model.config}",
        )
    model.load_state_dict(state, strict=True)


def _misfit(key: str, own: Tensor | None, found: Tensor | None) -> str | None:
    if found is None:
        return f"{key} is missing"
    if own is None:
        return f"{key} is unknown"
    if found.shape != own.shape:
        return f"{key} is {tuple(found.shape)}, not {tuple(own.shape)}"
    if found.is_floating_point() != own.is_floating_point():
        return f"{key} is {found.dtype}, not {own.dtype}"
    return None
