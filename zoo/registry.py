"""The models that can be loaded: built-ins and plug-ins register themselves here, through one decorator."""

import difflib
import importlib
import logging
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.errors import RegistryError, UnknownModelError
from zoo.spec import OPTIONS, ModelSpec, WeightsSpec, combined_weights

if TYPE_CHECKING:
    from zoo.colorizer import Colorizer

_log = logging.getLogger(__name__)
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_TAG = re.compile(r"[A-Za-z0-9][\w.-]*\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_DIGITS = re.compile(r"[0-9a-f]{6,64}\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
ENTRY_POINT_GROUP = "colorzoo.plugins"

_models: dict[str, tuple[ModelSpec, "type[Colorizer[Any]]"]] = {}
_discovered = False
_lock = threading.RLock()

C = TypeVar("C", bound="type[Colorizer[Any]]")


def register(*specs: ModelSpec) -> Callable[[C], C]:
    """A class decorator that puts models of the decorated family into the registry.

    Raises:
        RegistryError: A name that is taken or not ``lower_snake_case``, or a spec that is incomplete.
    """
    if not specs:
        raise RegistryError("register() without a ModelSpec", expected="at least one, e.g. @register(ModelSpec(...))")

    def add(cls: C) -> C:
        from zoo.colorizer import Colorizer  # here, because that module asks this one

        if not (isinstance(cls, type) and issubclass(cls, Colorizer)):
            raise RegistryError("register(): not a model", found=repr(cls), expected="a class derived from Colorizer")
        missing = sorted(getattr(cls, "__abstractmethods__", ()))
        if missing:
            raise RegistryError(f"class {cls.__qualname__} is unfinished", expected=f"methods {', '.join(missing)}")
        for spec in specs:
            check(spec)
        names = [s.name for s in specs]
        if len(set(names)) != len(names):
            raise RegistryError("register(): one name twice", found=", ".join(names))
        taken = [name for name in names if name in _models and not _is_reload(name, cls)]
        if taken:
            owner = _models[taken[0]][1]
            raise RegistryError(
                f"model name {taken[0]!r} is already taken by {owner.__module__}.{owner.__qualname__}",
                remedy="choose another name",
            )
        for spec in specs:
            _check_parts(spec, {name: s for name, (s, _) in _models.items()} | {s.name: s for s in specs})
        cls.specs = (*cls.__dict__.get("specs", ()), *specs)
        cls.spec = cls.specs[0]
        _models.update({s.name: (s, cls) for s in specs})
        return cls

    return add


def _is_reload(name: str, cls: type) -> bool:
    old = _models[name][1]
    return (old.__module__, old.__qualname__) == (cls.__module__, cls.__qualname__)


def check(spec: ModelSpec) -> None:
    """Refuse a spec that is incomplete or contradicts itself.

    Raises:
        RegistryError: What is wrong with it.
    """
    where = f"model {spec.name!r}"
    if not _NAME.match(spec.name):
        raise RegistryError(f"{where}: bad name", expected="lower_snake_case")
    if not spec.summary.strip():
        raise RegistryError(f"{where}: empty summary", expected="one line that says what the model is")
    if not hasattr(spec.config, "tiny"):
        raise RegistryError(
            f"{where}: config has no tiny()",
            found=type(spec.config).__name__,
            expected="a config class with a tiny() classmethod, the smallest configuration",
        )
    if spec.multiple_of < 1 or spec.working_size < spec.multiple_of:
        raise RegistryError(
            f"{where}: bad sizes",
            found=f"working_size {spec.working_size}, multiple_of {spec.multiple_of}",
            expected="working_size >= multiple_of >= 1",
        )
    unknown = sorted(spec.supports - OPTIONS)
    if unknown:
        raise RegistryError(
            f"{where}: unknown option in supports",
            found=", ".join(unknown),
            expected=", ".join(sorted(OPTIONS)),
        )
    if ("style" in spec.supports) != (len(spec.styles) > 1):
        raise RegistryError(f"{where}: supports 'style' goes with at least two styles", found=spec.styles)
    if any(bool(w.parts) != bool(spec.parts) for w in spec.weights):
        raise RegistryError(
            f"{where}: weights of its own",
            found=f"parts {', '.join(spec.parts) or 'none'}",
            expected="the weights of a model made of parts are its parts'; no other has such",
        )
    tags = [w.tag for w in spec.weights]
    if len(set(tags)) != len(tags):
        raise RegistryError(f"{where}: two weights with one tag", found=", ".join(tags))
    for weights in spec.weights:
        _check_weights(weights, f"weights {spec.name}.{weights.tag}")


def _check_weights(weights: WeightsSpec, where: str) -> None:
    places = [p for p in ("packaged", "repo_id", "convert_from", "parts") if getattr(weights, p)]
    if len(places) != 1:
        raise RegistryError(
            f"{where}: not exactly one place",
            found=" and ".join(places) or "none",
            expected="packaged, repo_id, convert_from or parts",
        )
    if not _TAG.match(weights.tag):
        raise RegistryError(f"{where}: bad tag", found=repr(weights.tag), expected="letters, digits, '_', '-', '.'")
    if not weights.license.strip() or not weights.training_data:
        raise RegistryError(f"{where}: license and training data must be stated")
    if weights.sha256 is None and weights.packaged is not None:
        raise RegistryError(f"{where}: packaged without a sha256")
    if weights.sha256 is not None and not _SHA256.match(weights.sha256):
        raise RegistryError(f"{where}: bad sha256", found=repr(weights.sha256), expected="64 lower-case hex digits")
    digits = weights.upstream_sha256
    if digits is not None and not (weights.convert_from and _DIGITS.match(digits)):
        raise RegistryError(
            f"{where}: bad upstream_sha256",
            found=repr(digits),
            expected="the first lower-case hex digits, at most 64, of what convert_from is the address of",
        )
    if weights.convert_from is not None and not weights.convert_from.startswith(("https://", "http://")):
        raise RegistryError(f"{where}: bad address", found=repr(weights.convert_from), expected="https://...")
    if weights.repo_id is not None and not (weights.filename and _COMMIT.match(weights.revision or "")):
        raise RegistryError(
            f"{where}: not pinned",
            found=f"revision {weights.revision!r}, filename {weights.filename!r}",
            expected="a 40-digit commit and a file name",
        )


def _check_parts(spec: ModelSpec, known: dict[str, ModelSpec]) -> None:
    """Refuse a model that is a part of itself, directly or through others."""
    waiting, seen = list(spec.parts), set()
    while waiting:
        base = waiting.pop().partition(".")[0]
        if base == spec.name:
            raise RegistryError(
                f"model {spec.name!r} would be a part of itself",
                found=f"parts {', '.join(spec.parts)}",
                expected="other models",
            )
        if base in known and base not in seen:
            seen.add(base)
            waiting += known[base].parts


def _discover() -> None:
    """Import the built-ins, then every plug-in; a broken one leaves no trace and is warned of."""
    global _discovered
    with _lock:  # a second thread waits for the whole list
        if _discovered:
            return
        _discovered = True  # before the imports: a plug-in may ask for the list
        try:
            for name in importlib.import_module("zoo.models").BUILTIN:
                importlib.import_module(f"zoo.models.{name}")
        except BaseException:
            _discovered = False
            raise
        for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda e: e.name):
            before = dict(_models)
            try:
                entry.load()
            except (Exception, SystemExit) as error:
                _models.clear()
                _models.update(before)
                _log.warning(
                    "plug-in %r (%s) is left out: %s: %s",
                    entry.name,
                    entry.value,
                    type(error).__name__,
                    error,
                )


def list_models() -> list[str]:
    """The names of all models that can be loaded, built-ins and plug-ins, sorted."""
    _discover()
    return sorted(_models)


def find(name: str) -> tuple[ModelSpec, "type[Colorizer[Any]]"]:
    """The spec and the class of a model; ``class.build(spec, spec.config)`` is its untrained network.

    The spec of a model made of others has their weights together, where all of these are known here.

    Raises:
        UnknownModelError: No such model; near names are offered.
    """
    _discover()
    if not isinstance(name, str):
        raise UnknownModelError("model name is not text", found=repr(name), expected="e.g. 'fusion'")
    if name in _models:
        spec, cls = _models[name]
        return (replace(spec, weights=_weights_of(spec.parts)), cls) if spec.parts else (spec, cls)
    if "/" in name:
        raise UnknownModelError(
            f"model name {name!r} has a slash",
            remedy=f"write 'hf-hub:{name}' for a repository on the Hugging Face Hub, "
            f"or 'local-dir:{name}' for a folder",
        )
    near = difflib.get_close_matches(name, _models, n=3, cutoff=0.5)
    raise UnknownModelError(
        f"no model named {name!r}",
        expected=f"one of {', '.join(sorted(_models))}",
        remedy=f"did you mean {' or '.join(repr(n) for n in near)}?" if near else "see `colorzoo list`",
    )


def find_weights(name: str) -> tuple[ModelSpec, "type[Colorizer[Any]]", WeightsSpec | None]:
    """What `find` gives, and the weights: those of ``fusion.TAG``, or the default ones, None where there are none.

    Raises:
        UnknownModelError: No such model or weights.
    """
    base, dot, tag = str(name).partition(".")
    # A slash is refused by find, which must then see the whole of it.
    spec, cls = find(name if "/" in base + tag or not dot else base)
    if not dot:
        return spec, cls, spec.weights[0] if spec.weights else None
    for weights in spec.weights:
        if weights.tag == tag:
            return spec, cls, weights
    tags = ", ".join(f"{base}.{w.tag}" for w in spec.weights)
    raise UnknownModelError(
        f"model {base!r} has no weights tagged {tag!r}", expected=tags or f"{base!r}, which has none"
    )


def is_packaged(weights: WeightsSpec) -> bool:
    """Whether weights, or all that they consist of, come with an installed package."""
    if not weights.parts:
        return weights.packaged is not None
    found = [find_weights(part)[2] for part in weights.parts]
    return all(part is not None and is_packaged(part) for part in found)


def _weights_of(parts: tuple[str, ...]) -> tuple[WeightsSpec, ...]:
    """The weights of a model's parts together; none where those of a part are not known, as on the Hub."""
    found = {}
    for part in parts:
        try:
            spec, _, weights = find_weights(part)
        except UnknownModelError:
            return ()
        if weights is None:
            return ()
        found[f"{spec.name}.{weights.tag}"] = weights
    return (combined_weights(found),)
