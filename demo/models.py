"""The models that a visitor can choose, what is known of them, and those that are kept loaded."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache, wraps
from pathlib import Path
from threading import Lock, RLock
from typing import Any, NamedTuple, TypeVar

from cachetools import LRUCache, cached

import zoo
from zoo import loading, registry
from zoo.errors import ZooError
from zoo.evaluation.results import file_name

BASELINE = "grayscale"  # what the panel "before" shows; a choice only where no other model has weights
DEFAULTS = ("fusion:faithful", "fusion:vivid")
RESULTS = Path(__file__).parents[1] / "model_cards" / "results" / "eval"

_IN_BACKEND = 4  # times its tensors; measured of fusion: 1.9 on onnxruntime, 3.5 on OpenVINO

T = TypeVar("T")

_turn = RLock()


class Choice(NamedTuple):
    """One thing to tick: a model in one of its styles, or in its only one."""

    name: str  # model or model:style
    spec: zoo.ModelSpec

    @property
    def label(self) -> str:
        """The name for people."""
        return self.name.replace(":", " · ")

    @property
    def commercial(self) -> bool:
        """Whether its weights may be used commercially; a model without any may."""
        return all(weights.commercial_use for weights in self.spec.weights[:1])

    @property
    def facts(self) -> dict[str, Any]:
        """Licence, size in MB and milliseconds a picture, as far as they are known."""
        weights = self.spec.weights[0] if self.spec.weights else None
        return {
            "license": weights.license if weights else "none needed",
            "commercial use": self.commercial,
            "MB": round(weights.size_bytes / 1e6, 1) if weights and weights.size_bytes else None,
            "ms": weights and _measured_ms(file_name(self.spec.name, weights.tag, self.options)),
        }

    @property
    def options(self) -> dict[str, Any]:
        """The run-time options of `zoo.Colorizer.colorize` that the choice stands for."""
        _, _, style = self.name.partition(":")
        return {"style": style} if style else {}


def offered() -> list[zoo.ModelSpec]:
    """The models that a visitor can choose: those whose weights are here, or the baseline alone."""
    specs = [registry.find(name)[0] for name in zoo.list_models()]
    return [spec for spec in specs if spec.weights and loading.is_here(spec.name)] or [registry.find(BASELINE)[0]]


def choices(*, commercial: bool = False) -> dict[str, Choice]:
    """What can be ticked, by name, the defaults first; with ``commercial`` only what may be used so."""
    found = [
        Choice(f"{spec.name}:{style}" if style else spec.name, spec)
        for spec in offered()
        for style in spec.styles or ("",)
    ]
    found.sort(key=lambda choice: choice.name not in DEFAULTS)
    return {choice.name: choice for choice in found if choice.commercial or not commercial}


def default_choices() -> list[str]:
    """What is ticked at first: the defaults, or the first choice where they are not there."""
    names = list(choices())
    return [name for name in names if name in DEFAULTS] or names[:1]


def parse(name: str) -> Choice:
    """What is offered by this name, ``model`` or ``model:style``; other names would reach for folders and the network.

    A model that has styles may be named without one.

    Raises:
        ZooError: It is not offered.
    """
    model, _, style = str(name).partition(":")
    specs = {spec.name: spec for spec in offered()}
    if model not in specs:
        raise ZooError(f"no model named {model!r} here", expected=", ".join(specs))
    return Choice(name if style else model, specs[model])


def about(choice: Choice) -> str:
    """Two lines on a choice: what it is; size, time and licence."""
    facts = choice.facts
    known = [
        facts["MB"] and f"{facts['MB']:.0f} MB",
        facts["ms"] and f"{facts['ms']:.0f} ms a photo",
        facts["license"],
        "commercial use" if choice.commercial else "no commercial use",
    ]
    return f"{choice.spec.summary}\n{' · '.join(filter(None, known))}"


def table() -> tuple[list[str], list[list[Any]]]:
    """All that is offered, as the header and the rows of a table: what `Choice.facts` says, options and a summary."""
    rows = [
        [choice.name, *choice.facts.values(), ", ".join(sorted(choice.spec.supports)), choice.spec.summary]
        for choice in choices().values()
    ]
    return ["model", "license", "commercial use", "MB", "ms", "options", "summary"], rows


def _bytes(model: "zoo.Colorizer[Any]") -> int:
    """What a model takes: its tensors, and what a backend holds of each network that it runs."""
    networks = [part for part in model.modules() if isinstance(part, zoo.Colorizer) and part.runner is not None]
    return _of_tensors(model) + _IN_BACKEND * sum(map(_of_tensors, networks))


def _of_tensors(model: "zoo.Colorizer[Any]") -> int:
    return sum(tensor.nbytes for tensor in model.state_dict().values())


def _room() -> int:
    """Bytes that loaded models may take: an eighth of this machine's memory."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 8
    except (AttributeError, ValueError, OSError):  # not on Windows
        return 2**30


@cached(LRUCache(maxsize=_room(), getsizeof=_bytes), lock=Lock())
def named(name: str) -> "zoo.Colorizer[Any]":
    """A model, kept for the next visitor; those that were not used for longest go when memory is short."""
    with _turn:
        return taking_turns(zoo.load(name))


def taking_turns(model: "zoo.Colorizer[Any]") -> "zoo.Colorizer[Any]":
    """The model, of which the network runs only while no other does: two at once take far longer than in turn."""
    model.predict_ab = in_turn(model.predict_ab)  # type: ignore[method-assign]
    model.spread = in_turn(model.spread)  # type: ignore[method-assign]
    return model


def in_turn(function: Callable[..., T]) -> Callable[..., T]:
    """The function, which runs a network, as it waits until no other one runs."""

    @wraps(function)
    def waiting(*args: Any, **options: Any) -> T:
        with _turn:
            return function(*args, **options)

    return waiting


@lru_cache
def _measured_ms(file: str) -> float | None:
    """Milliseconds that a picture takes, of the evaluator's result ``file``; None without it."""
    with suppress(OSError, ValueError, KeyError):
        return float(json.loads((RESULTS / file).read_text(encoding="utf-8"))["cost"]["ms"])
    return None
