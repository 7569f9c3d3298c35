"""The models that can be loaded: built-ins and plug-ins register themselves here, through one decorator."""

import difflib
import importlib
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import EntryPoint, distributions, entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from zoo.checking import check as check
from zoo.errors import RegistryError, UnknownModelError
from zoo.spec import ModelSpec, WeightsSpec, combined_weights

if TYPE_CHECKING:
    from zoo.colorizer import Colorizer

_log = logging.getLogger(__name__)
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
        for entry in _plug_ins():
            before = dict(_models)
            try:
                entry.load()
            except BaseException as error:  # also what others end their own runs with, as pytest's skip does
                _models.clear()
                _models.update(before)
                if isinstance(error, KeyboardInterrupt):
                    _discovered = False  # who asks again goes on with this one; what is loaded stays
                    raise
                _log.warning(
                    "plug-in %r (%s) is left out: %s: %s",
                    entry.name,
                    entry.value,
                    type(error).__name__,
                    error,
                )


def _plug_ins() -> list[EntryPoint]:
    """The entry points of all installed packages, without those whose metadata are damaged."""
    try:
        found = list(entry_points(group=ENTRY_POINT_GROUP))
    except Exception:  # of one package, whatever it is, and tells nothing of the others
        found = []
        for package in distributions():
            try:
                found += package.entry_points.select(group=ENTRY_POINT_GROUP)
            except Exception as error:
                where = getattr(package, "_path", package)  # its name would be in its metadata
                _log.warning(
                    "%s has damaged metadata; plug-ins of it: none (%s: %s)", where, type(error).__name__, error
                )
    return sorted(found, key=lambda entry: entry.name)


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
