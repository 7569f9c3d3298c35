"""Whether a backend's pictures may stand for those of torch in float32, and what was found of the packaged weights."""

import tomllib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo.colorizer import Colorizer
from zoo.spec import WEIGHTS_DIR

Picture = npt.NDArray[Any]

BOUND = 0.5  # mean CIEDE2000: half of a difference that is just noticed
RECORD = WEIGHTS_DIR / "fidelity.toml"


def fidelity(model: Colorizer[Any], reference: Colorizer[Any], pictures: Sequence[Picture]) -> float:
    """How far a model's pictures are from those of the reference: mean CIEDE2000, of the style where it is largest.

    Args:
        model: On the backend in question.
        reference: The same model on torch in float32.
        pictures: Arrays as `Colorizer.colorize_array` takes them, at least one.
    """
    return difference(answers(model, pictures), answers(reference, pictures))


def answers(model: Colorizer[Any], pictures: Sequence[Picture]) -> list[list[Picture]]:
    """The pictures in colour, for each of the model's styles."""
    styles = model.spec.styles or (None,)
    return [[model.colorize_array(picture, style=style)[..., :3] for picture in pictures] for style in styles]


def difference(some: list[list[Picture]], others: list[list[Picture]]) -> float:
    """The mean CIEDE2000 between what `answers` gave twice, of the style where it is largest; NaN where one is."""
    from skimage import color

    def between(one: Picture, other: Picture) -> float:
        lab = color.rgb2lab(one), color.rgb2lab(other)
        return float(color.deltaE_ciede2000(*lab).mean())  # type: ignore[no-untyped-call]

    styles = zip(some, others, strict=True)
    return float(np.max([np.mean(list(map(between, *style))) for style in styles]))


@cache
def _records() -> dict[str, Any]:
    return tomllib.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}


def recorded(key: str, backend: str, dtype: str) -> float | None:
    """The mean CIEDE2000 from torch in float32 that is on record for packaged weights; None where there is no record.

    Args:
        key: The sha256 of the weights.
        backend: As `zoo.load` names it.
        dtype: As `zoo.load` names it.
    """
    if (backend, dtype) == ("torch", "float32"):
        return 0.0
    for entry in _records().values():
        if entry["sha256"] == key:
            found = entry.get(backend, {}).get(dtype)
            return None if found is None else float(found)
    return None
