"""Whether a backend's pictures may stand for those of torch in float32, and what was found of the packaged weights."""

import tomllib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from zoo.colorizer import Colorizer
from zoo.spec import WEIGHTS_DIR

BOUND = 0.5  # mean CIEDE2000: half of a difference that is just noticed
RECORD = WEIGHTS_DIR / "fidelity.toml"


def fidelity(model: Colorizer[Any], reference: Colorizer[Any], pictures: Sequence[npt.NDArray[Any]]) -> float:
    """How far a model's pictures are from those of the reference: mean CIEDE2000, of the style where it is largest.

    Args:
        model: On the backend in question.
        reference: The same model on torch in float32.
        pictures: Arrays as `Colorizer.colorize_array` takes them, at least one.
    """
    from skimage import color

    worst = []
    for style in reference.spec.styles or (None,):
        differences = []
        for picture in pictures:
            one, other = (color.rgb2lab(m.colorize_array(picture, style=style)[..., :3]) for m in (model, reference))
            differences.append(float(color.deltaE_ciede2000(one, other).mean()))  # type: ignore[no-untyped-call]
        worst.append(float(np.mean(differences)))
    return float(np.max(worst))  # NaN where one is


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
