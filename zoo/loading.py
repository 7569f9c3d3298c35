"""Models ready for use: a name becomes a network with its weights."""

import json
import logging
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zoo import backends, converted, hub, registry
from zoo.backends import kinds
from zoo.colorizer import FORMAT_VERSION, Colorizer
from zoo.digests import verify_sha256
from zoo.errors import ConfigError, OptionError, UnknownModelError, WeightsError, ZooError
from zoo.hub import CONFIG_FILE, STATE_FILE
from zoo.spec import ModelSpec, WeightsSpec, config_from_mapping

_log = logging.getLogger(__name__)

HUB, FOLDER = "hf-hub:", "local-dir:"
_CONFIG_KEYS = {"format_version", "model", "config", "parts"}
_REPOSITORY = re.compile(r"(?P<repo_id>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^@\s]+))?\Z")
_NAME_AND_STYLE = re.compile(r"(?P<name>(?:(?:hf-hub|local-dir):)?.+?)(?::(?P<style>\w+))?")
_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}  # those of a set may stand for one another
_INTEGERS = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
_SHOWN = 5  # entries that do not fit are named up to here


def load(
    name: str,
    *,
    device: str | torch.device | None = None,
    family: type[Colorizer[Any]] = Colorizer,
    backend: str = "auto",
    dtype: str = "auto",
) -> Colorizer[Any]:
    """The model with its weights, in evaluation mode.

    The network is asked for what is neither packaged nor in the cache: a repository on the Hub, or registered weights
    that lie there. What others published otherwise is fetched by `colorzoo pull` alone.

    Args:
        name: ``fusion``, ``fusion.TAG`` for other weights than the default, ``hf-hub:OWNER/REPO@COMMIT``, or
            ``local-dir:PATH`` for a folder that `Colorizer.save` wrote. Without a commit, the Hub is asked for the
            present one, which is logged.
        device: As torch names it; None is the CPU.
        family: What it must be one of.
        backend: What runs the network: ``torch``, ``onnx`` or ``openvino``, the last two on the CPU alone and once
            installed. ``auto`` is the fastest that `colorzoo bench` found on this machine and that paints what torch
            paints in float32 (to a mean CIEDE2000 below 0.5, on the weights' record too), or one truer and hardly
            slower; torch where nothing was measured or that one fails.
        dtype: What it computes in: ``float32``, ``bfloat16`` (torch, openvino) or ``int8`` (onnx, openvino). ``auto``
            goes by the same measurements, else, and always where ``backend`` is ``torch``, it is bfloat16 where the CPU
            has it and the weights' record allows it.
            The weights themselves stay in float32.

    Raises:
        UnknownModelError: No such model or weights, or one of another family.
        WeightsError: Weights that are missing, damaged or do not fit the network.
        ConfigError: The configuration of a folder or repository does not fit its model.
        RegistryError: A model that is made of others promises what they cannot keep.
        OptionError: No such device or backend, one that is not installed, or a network that cannot run on it.
    """
    kinds.check(backend, dtype)
    source = _find(name)
    if not issubclass(source.cls, family):
        raise UnknownModelError(
            f"{name}: not a model of family {family.__name__}",
            found=f"model {source.spec.name!r} of family {source.cls.__name__}",
            remedy="use `zoo.load`, or `Colorizer.from_pretrained`, which take every family",
        )
    model = source.network()
    _fill_from(source, model)
    try:
        place = torch.device(device or "cpu")
        if place.type == "meta":
            raise RuntimeError("it holds no data")
        model = model.eval().to(place)
        model = model.to(memory_format=torch.channels_last)  # what convolutions are fastest in
    except (RuntimeError, AssertionError) as error:  # torch asserts where it was built without CUDA
        raise OptionError(f"device {str(device)!r} cannot be used", found=str(error).splitlines()[0]) from error
    chosen = backends.choose(model, backend, dtype)
    try:
        return backends.attach(model, *chosen)
    except ZooError as error:
        if backend != kinds.AUTO or chosen[0] == "torch" or dtype == "int8":
            raise
        # Nobody asked for that backend: a full disk or a broken package is no reason to be without colors.
        _log.warning("%s: torch runs it, since %s, the fastest here, cannot: %s", name, chosen[0], error)
        return backends.attach(model, *backends.choose(model, "torch", dtype))


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
    if name in registry.list_models():
        return registry.find(name)[0]
    source = _find(name)
    weights = () if source.weights is None else (source.weights,)
    return replace(source.spec, config=source.config, weights=weights)


def parameters(name: str) -> int:
    """How many parameters a model has; ``name`` as for `load`, no weights are loaded.

    Raises:
        UnknownModelError: No such model or weights.
        WeightsError: A folder or repository that cannot be read.
        ConfigError: Its configuration does not fit its model.
    """
    return sum(p.numel() for p in network(name).parameters())


def network(name: str) -> Colorizer[Any]:
    """The network without its weights; ``name`` as for `load`.

    Raises:
        UnknownModelError: No such model or weights.
        WeightsError: A folder or repository that cannot be read.
        ConfigError: Its configuration does not fit its model.
    """
    return _find(name).network()


def fetch(name: str) -> Path:
    """Bring to this machine what `load` needs of weights that it would find on the Hub; ``name`` as there.

    Returns:
        The safetensors file, checked.

    Raises:
        UnknownModelError: No such model or weights.
        WeightsError: They cannot be had, or are not what was expected.
        ConfigError: The configuration of a repository does not fit its model.
    """
    return _find(name).state_file()


def is_here(name: str) -> bool:
    """Whether `load` would find the weights without the network; ``name`` as there.

    Nothing is hashed: a damaged file shows when it is loaded. A model that needs no weights is here, one that is not
    trained yet is not.

    Raises:
        UnknownModelError: No such model or weights.
        WeightsError: A record of converted weights that cannot be read.
    """
    files = (CONFIG_FILE, STATE_FILE)
    if name.startswith(FOLDER):
        folder = Path(name.removeprefix(FOLDER))
        return all((folder.expanduser() / file).is_file() for file in files)
    if name.startswith(HUB):
        repo_id, revision = _repository(name)
        if not hub.is_commit(revision):  # the Hub would be asked for one
            return False
        return all(hub.cached(repo_id, str(revision), file) is not None for file in files)
    return _is_here(_find(name))


class _Source(NamedTuple):
    """What a name stands for, before anything of it is loaded."""

    name: str
    spec: ModelSpec
    cls: type[Colorizer[Any]]
    config: Any
    weights: WeightsSpec | None = None
    folder: Path | None = None
    repository: tuple[str, str] | None = None  # name and commit
    parts: tuple["_Source", ...] = ()

    def network(self) -> Colorizer[Any]:
        try:
            with torch.random.fork_rng(devices=[]):  # the initial weights draw from it, and are not wanted
                model = self.cls.build(self.spec, self.config, [part.network() for part in self.parts])
        except ZooError:
            raise
        except (Exception, SystemExit) as error:  # a plug-in may raise anything
            raise ConfigError(
                f"model {self.name!r} cannot be built",
                found=f"{type(error).__name__}: {error}",
                remedy=f"`colorzoo check {self.spec.name}` says where",
            ) from error
        model.weights = self.weights
        return model

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
            verify_sha256(path, str(weights.sha256))
            return path
        if weights.repo_id is not None and weights.sha256 is not None:
            return hub.download(weights.repo_id, str(weights.revision), str(weights.filename), weights.sha256)
        found = None if weights.repo_id else converted.find(self.full_name)
        if found is not None and weights.sha256 is not None:
            verify_sha256(found, weights.sha256)
            return found
        raise WeightsError(
            f"weights {self.full_name!r} are not here",
            found="no sha256 is known of them yet" if weights.repo_id else "they are not converted to safetensors yet",
            remedy=f"`colorzoo pull {self.full_name}` does so once"
            + ("" if weights.repo_id else f"; `colorzoo convert FILE --as {self.full_name}` for a file of your own"),
        )

    @property
    def full_name(self) -> str:
        """Of registered weights: model and tag."""
        return f"{self.spec.name}.{self.weights.tag}" if self.weights else self.name


def _find(name: str) -> _Source:
    if not isinstance(name, str):
        raise UnknownModelError("model name is not text", found=repr(name), expected="e.g. 'fusion'")
    if name.startswith(FOLDER):
        try:
            folder = Path(name.removeprefix(FOLDER)).expanduser()
            config_file = _existing(folder / CONFIG_FILE, name)
        except (OSError, RuntimeError) as error:  # a path too long, a user who is not there
            raise WeightsError(f"{name}: not a folder", found=error) from error
        return _read_config(config_file, name)._replace(folder=folder)
    if name.startswith(HUB):
        repo_id, revision = _repository(name)
        repository = (repo_id, hub.resolve(repo_id, revision))
        if hub.cached(*repository, CONFIG_FILE) is None:
            hub.check_repository(*repository)
        config_file = hub.download(*repository, CONFIG_FILE, None)
        return _read_config(config_file, name)._replace(repository=repository)
    spec, cls, weights = registry.find_weights(name)
    config = spec.config if weights is None or weights.config is None else weights.config
    if weights is not None and weights.sha256 is None and not weights.parts:
        record = converted.read(f"{spec.name}.{weights.tag}")
        if record is not None:  # what was found when they were pulled
            weights = replace(weights, sha256=record.sha256, size_bytes=record.size_bytes)
    return _Source(name, spec, cls, config, weights, parts=tuple(_find_part(part, name) for part in spec.parts))


def _repository(name: str) -> tuple[str, str | None]:
    match = _REPOSITORY.match(name.removeprefix(HUB))
    if match is None:
        raise UnknownModelError(f"{name!r} names no repository", expected=f"{HUB}OWNER/REPO@COMMIT")
    return match["repo_id"], match["revision"]


def _is_here(source: _Source) -> bool:
    if source.parts:
        return all(_is_here(part) for part in source.parts)
    weights = source.weights
    if weights is None:
        return not source.network().state_dict()
    if weights.packaged is not None:
        return hub.has_packaged(weights)
    if weights.repo_id is None:
        return weights.sha256 is not None and converted.find(source.full_name) is not None
    path = hub.cached(weights.repo_id, str(weights.revision), str(weights.filename))
    return path is not None and weights.sha256 is not None and weights.size_bytes in (None, path.stat().st_size)


def _find_part(part: str, name: str) -> _Source:
    try:
        return _find(part)
    except ZooError as error:
        raise type(error)(
            f"model {name!r}: its part {part!r} is not to be had: {error.what}",
            found=error.found,
            expected=error.expected,
            remedy=error.remedy,
        ) from error


def _existing(path: Path, name: str) -> Path:
    if not path.is_file():
        if path.parent.is_dir():
            names = sorted(file.name for file in path.parent.iterdir())
            if any(file.endswith(hub.PICKLES) for file in names) and STATE_FILE not in names:
                hub.check_files([file for file in names if file.endswith(hub.PICKLES)], name)
        raise WeightsError(
            f"{name}: no {path.name}",
            expected=os.fspath(path),
            remedy=f"a model's folder holds {CONFIG_FILE} and {STATE_FILE}, as model.save(PATH) writes them",
        )
    return path


def _read_config(path: Path, name: str) -> _Source:
    """What a ``config.json`` says: entries of the registry, and configurations; nothing in it is run as code."""
    where = f"{name}: {CONFIG_FILE}"
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        version, _, values = table["format_version"], table["model"], table["config"]
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
    return _described(table, name, where)


def _described(table: Any, name: str, where: str) -> _Source:
    """The model that a table of ``config.json`` describes, itself or a part of it."""
    try:
        model, values, parts = table["model"], table["config"], table.get("parts", [])
        if not isinstance(values, dict) or not isinstance(parts, list):
            raise TypeError(f"config of type {type(values).__name__}, parts of type {type(parts).__name__}")
    except (AttributeError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{where} is not one of colorzoo's",
            found=f"{type(error).__name__}: {error}",
            expected="a JSON object with model and config, and a list of parts where it is made of others",
        ) from error
    if "auto_map" in table:
        raise WeightsError(
            f"{where} asks for code of the repository's own to be run",
            found=f"auto_map: {table['auto_map']}",
            remedy="that is not done; a network of its own comes as a plug-in package",
        )
    if unknown := sorted(set(table) - _CONFIG_KEYS):
        raise ConfigError(
            f"{where}: unknown key {unknown[0]!r}",
            expected=", ".join(sorted(_CONFIG_KEYS)),
            remedy="a newer colorzoo may know it",
        )
    spec, cls = registry.find(model)
    config = config_from_mapping(type(spec.config), values, f"{where}: config")
    if bool(parts) != bool(spec.parts):
        raise ConfigError(
            f"{where}: model {model!r} {'without' if spec.parts else 'with'} parts",
            found=f"{len(parts)} parts",
            expected=", ".join(spec.parts) or "none",
        )
    inner = tuple(_described(part, name, f"{where}: part {n}") for n, part in enumerate(parts, 1))
    return _Source(name, spec, cls, config, parts=inner)


def _fill_from(source: _Source, model: Colorizer[Any]) -> None:
    """Load the weights; those of a registered model that is made of others are theirs."""
    if source.parts and source.folder is None and source.repository is None:
        for part, own in zip(source.parts, model.parts, strict=True):
            _fill_from(part, own)
    elif model.state_dict():
        _fill(model, source.state_file(), source.name)


def _fill(model: Colorizer[Any], path: Path, name: str) -> None:
    """Copy the tensors of a safetensors file into the model; half precision becomes float32."""
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{name}: {path.name} is not a safetensors file", found=error) from error
    check_fit(model, state, f"{name}: {path.name}")
    model.load_state_dict(state, strict=True)


def check_fit(model: Colorizer[Any], state: dict[str, Tensor], where: str) -> None:
    """Refuse a state whose keys, shapes or kinds of number are not those of the network.

    Raises:
        WeightsError: It names the first few that do not fit.
    """
    own = model.state_dict()
    problems = [problem for key in {**own, **state} if (problem := _misfit(key, own.get(key), state.get(key)))]
    if problems:
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise WeightsError(
            f"{where} does not fit the network of model {model.spec.name!r}",
            found="; ".join(problems[:_SHOWN]) + more,
            expected=f"the {len(own)} tensors of {model.config}",
        )


def _misfit(key: str, own: Tensor | None, found: Tensor | None) -> str | None:
    if found is None:
        return f"{key} is missing"
    if own is None:
        return f"{key} is unknown"
    if found.shape != own.shape:
        return f"{key} is {tuple(found.shape)}, not {tuple(own.shape)}"
    if found.dtype != own.dtype and not any({found.dtype, own.dtype} <= kind for kind in (_FLOATS, _INTEGERS)):
        return f"{key} is {found.dtype}, not {own.dtype}"
    return None
