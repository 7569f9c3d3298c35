"""The ways to run a network on this machine, backend and dtype, and which of them ``auto`` is to use."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy.typing as npt

from zoo import backends, loading
from zoo.backends import BOUND, Measured, kinds, likeness
from zoo.colorizer import Colorizer
from zoo.runnable import has_fast_bf16

Pictures = Sequence[npt.NDArray[Any]]
Answers = list[list[npt.NDArray[Any]]]


class Way(NamedTuple):
    """How a network is run."""

    backend: str
    dtype: str

    def __str__(self) -> str:
        return f"{self.backend} {self.dtype}"


REFERENCE = Way("torch", "float32")


class Found(NamedTuple):
    """What was measured of a way: seconds of the forward pass at working size, and CIEDE2000 from the reference."""

    seconds: float
    error: float


def of(name: str) -> tuple[list[Way], dict[str, str]]:
    """The ways that can be tried with a model here, and of each other way why it cannot."""
    model = prepared(name, REFERENCE)
    found = [Way(*pair) for pair in backends.candidates(model)]
    every = [Way(backend, dtype) for backend, dtypes in kinds.DTYPES.items() for dtype in dtypes]
    return found, {str(way): _why_not(way, model) for way in every if way not in found}


def _why_not(way: Way, model: Colorizer[Any]) -> str:
    if not model.state_dict():
        return "the model has no network that could be run otherwise"
    lacking = kinds.missing(way.backend, way.dtype)
    return f"not installed: {', '.join(lacking)}" if lacking else f"this processor has no {way.dtype}"


def of_peer() -> Way:
    """How the networks of others are run: by torch, in bfloat16 where the processor has it."""
    return Way("torch", "bfloat16" if has_fast_bf16() else "float32")


def prepared(name: str, way: Way) -> Colorizer[Any]:
    """The model, its network run in this way by as many threads as torch has now.

    Raises:
        ZooError: It cannot be run so.
    """
    return loading.load(name, backend=way.backend, dtype=way.dtype)


def attached(network: Colorizer[Any], way: Way) -> Colorizer[Any]:
    """A network without a name, run in this way."""
    return backends.attach(network, way.backend, way.dtype)


def answers(name: str, way: Way, pictures: Pictures) -> Answers:
    """The pictures in colour, for each of the model's styles."""
    return likeness.answers(prepared(name, way), pictures)


def error_of(name: str, way: Way, pictures: Pictures, reference: Answers) -> float:
    """The mean CIEDE2000 between a model's pictures in this way and the ``reference``, its answers in that one.

    Of several styles, that of the worst.
    """
    return 0.0 if way == REFERENCE else likeness.difference(answers(name, way, pictures), reference)


def choose(key: str, measured: Mapping[Way, Found]) -> tuple[Way | None, dict[str, str]]:
    """What `auto` is to use, by the rule of `zoo.backends.best`, and why each other way was passed over.

    Args:
        key: Of the weights, as `zoo.backends.key_of` gives it.
        measured: If the colours of none are near enough, none is chosen.
    """
    true = [one for one in _kept(measured) if backends.is_true(key, one)]
    if not true:
        return None, {}
    best = backends.best(true)
    chosen = Way(best.backend, best.dtype)
    why = {}
    for way, found in measured.items():
        if not found.error < BOUND:  # NaN too
            why[str(way)] = f"CIEDE2000 {found.error:.2f}, not below {BOUND:g}"
        elif all((one.backend, one.dtype) != way for one in true):
            on_record = backends.recorded(key, *way)
            why[str(way)] = f"CIEDE2000 {on_record:.2f} on record of these weights, not below {BOUND:g}"
        elif way != chosen:
            slower = found.seconds >= measured[chosen].seconds
            times = f"{1000 * found.seconds:.2f} ms, against {1000 * measured[chosen].seconds:.2f}"
            why[str(way)] = f"slower: {times}" if slower else f"hardly faster, and less true: {times}"
    return chosen, why


def remember(model: Colorizer[Any], measured: Mapping[Way, Found]) -> Way:
    """Keep what was measured with the present number of threads; what ``auto`` is from now on.

    Raises:
        WeightsError: The cache cannot be written.
    """
    backends.keep(backends.key_of(model), _kept(measured))
    return Way(*backends.choose(model))


def _kept(measured: Mapping[Way, Found]) -> list[Measured]:
    return [
        Measured(way.backend, way.dtype, round(1000 * found.seconds, 4), round(found.error, 4))
        for way, found in measured.items()
        if math.isfinite(found.error)
    ]
