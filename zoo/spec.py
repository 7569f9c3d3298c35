"""What is known of a model before it is loaded: its configuration and its weights, as frozen data.

Imports no torch.
"""

import difflib
import hashlib
import tomllib
import types
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from zoo.errors import ConfigError, WeightsError

WEIGHTS_DIR = Path(__file__).parent / "weights"
OPTIONS = frozenset({"style", "temperature", "seed"})
COMBINED_TAG = "parts"  # of weights that are those of several models together


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsSpec:
    """One set of weights: where it lies, its sha256, what it was trained on, under which licence.

    Exactly one place is given: ``packaged`` (a file in ``zoo/weights``; plug-ins give the whole path of their
    own), the Hub (``repo_id``, ``revision``, ``filename``; pinned by a 40-digit commit), ``convert_from``, the
    address of somebody else's pickle that is converted once, or ``parts``, the full names of other weights that these
    are together. What is not known is None, never invented; of the pickle's sha256, ``upstream_sha256``, the first
    digits may be known.
    """

    tag: str
    sha256: str | None
    size_bytes: int | None
    license: str
    commercial_use: bool
    training_data: tuple[str, ...]
    source_url: str | None
    packaged: str | None = None
    repo_id: str | None = None
    revision: str | None = None
    filename: str | None = None
    convert_from: str | None = None
    upstream_sha256: str | None = None
    parts: tuple[str, ...] = ()
    commit: str | None = None  # of this project, when the weights were packaged
    training_config: str | None = None  # file in training/configs
    config: object | None = None  # the network these weights fit, where it is not the model's own


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """A model: a family, one configuration of it, and its weights (the first is the default).

    ``working_size`` is the side in pixels of the square whose area the network's input has; both sides of it
    are multiples of ``multiple_of``. ``supports`` names the run-time options it takes beyond those that all
    models take. ``parts`` are the names, as `zoo.load` takes them, of models that it is made of: loading hands them
    over, and the registry fills in ``weights``, which are theirs together.
    """

    name: str
    summary: str
    config: Any
    weights: tuple[WeightsSpec, ...]
    working_size: int
    multiple_of: int
    supports: frozenset[str] = frozenset()
    styles: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    reference: str | None = None  # paper or public file the design follows


def config_from_mapping(config_class: type[Any], values: Mapping[str, object], where: str) -> Any:
    """A config object from a table of a TOML or JSON file: every key known, every value of the type declared.

    Raises:
        ConfigError: An unknown key, a value of another type or a missing one; near keys are offered.
    """
    known = {f.name for f in fields(config_class)}
    for key in values:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=3)
            raise ConfigError(
                f"{where}: unknown key {key!r}",
                expected=", ".join(sorted(known)) or "no keys",
                remedy=f"did you mean {' or '.join(map(repr, near))}?" if near else None,
            )
    hints = get_type_hints(config_class)
    typed = {key: _typed(hints[key], value, f"{where}: {key}") for key, value in values.items()}
    try:
        return config_class(**typed)
    except TypeError as error:  # the generated __init__ names what is missing
        raise ConfigError(f"{where}: value missing", found=error) from error


def _typed(hint: Any, value: Any, where: str) -> Any:
    """``value`` as ``hint`` wants it: lists become tuples, whole numbers floats; the rest must fit."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if is_dataclass(hint) and isinstance(hint, type):
        if isinstance(value, Mapping):
            return config_from_mapping(hint, value, where)
    elif origin in (Union, types.UnionType):
        for option in inner:
            with suppress(ConfigError):
                return _typed(option, value, where)
    elif origin is Literal:
        if value in inner:
            return value
    elif origin is tuple:
        if isinstance(value, list | tuple):
            if inner[-1] is Ellipsis:
                return tuple(_typed(inner[0], v, where) for v in value)
            if len(inner) == len(value):
                return tuple(_typed(t, v, where) for t, v in zip(inner, value, strict=True))
    elif origin is dict and isinstance(value, Mapping):
        return {_typed(inner[0], k, where): _typed(inner[1], v, f"{where}.{k}") for k, v in value.items()}
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif type(value) is (origin or hint) or (value is None and hint is type(None)):
        return value
    expected = hint.__name__ if isinstance(hint, type) and origin is None else str(hint)
    raise ConfigError(f"{where}: wrong type", found=repr(value), expected=expected)


def weights_from_entry(tag: str, entry: Mapping[str, Any], config_class: type[Any], where: str) -> WeightsSpec:
    """The weights that one entry of the manifest describes.

    Raises:
        WeightsError: The entry is incomplete.
        ConfigError: Its configuration does not fit ``config_class``.
    """
    try:
        return WeightsSpec(
            tag=tag,
            sha256=entry["sha256"],
            size_bytes=entry["size_bytes"],
            license=entry["license"],
            commercial_use=entry["commercial_use"],
            training_data=tuple(entry["training_data"]),
            source_url=entry.get("source_url"),
            packaged=entry["file"],
            commit=entry.get("commit"),
            training_config=entry.get("training_config"),
            config=config_from_mapping(config_class, entry["config"], where),
        )
    except KeyError as error:
        raise WeightsError(f"{where} lacks a key", expected=error.args[0]) from None


def combined_weights(parts: Mapping[str, WeightsSpec]) -> WeightsSpec:
    """What is known of weights that are used together.

    All their licences hold at once, as in SPDX's ``AND``; commercial use is allowed where each allows it. The sha256 is
    that of theirs, so that another part makes it another.

    Args:
        parts: By full name, such as ``fusion.base``.
    """
    hashes, sizes = [w.sha256 for w in parts.values()], [w.size_bytes for w in parts.values()]
    licenses = dict.fromkeys(f"({w.license})" if " OR " in w.license else w.license for w in parts.values())
    return WeightsSpec(
        tag=COMBINED_TAG,
        sha256=None if None in hashes else hashlib.sha256("\n".join(map(str, hashes)).encode()).hexdigest(),
        size_bytes=None if None in sizes else sum(size or 0 for size in sizes),
        license=" AND ".join(licenses),
        commercial_use=all(w.commercial_use for w in parts.values()),
        training_data=tuple(dict.fromkeys(s for w in parts.values() for s in statements(w.training_data))),
        source_url=None,
        parts=tuple(parts),
    )


def statements(lines: Sequence[str]) -> list[str]:
    """Statements of which some run over several lines: a line that ends in a comma or colon goes on in the next."""
    found: list[str] = []
    goes_on = False
    for line in lines:
        if goes_on:
            found[-1] += f" {line.strip()}"
        else:
            found.append(line.strip())
        goes_on = line.rstrip().endswith((",", ":"))
    return found


def packaged_weights(name: str, config_class: type[Any]) -> tuple[WeightsSpec, ...]:
    """The weights of a built-in model that come with the package, in ``zoo/weights/MANIFEST.toml``'s order.

    Raises:
        WeightsError: An entry of the manifest is incomplete.
    """
    manifest = tomllib.loads((WEIGHTS_DIR / "MANIFEST.toml").read_text(encoding="utf-8"))
    return tuple(
        weights_from_entry(tag, entry, config_class, f"MANIFEST.toml [{name}.{tag}]")
        for tag, entry in manifest.get(name, {}).items()
    )
