"""Bootstrap over pictures: intervals of figures, and whether two models really differ.

Every figure of one benchmark is resampled with the same draws (same seed, same number of pictures), so that the
replicates of two models are paired: their differences are what the paired bootstrap asks for.

Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapters 13 (percentile intervals) and 8.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

REPLICATES = 1000
SEED = 0
LEVEL = 0.95
_BLOCK = 2_000_000  # draws held at a time, so that memory does not grow with the number of pictures


def draws(count: int, replicates: int = REPLICATES, seed: int = SEED) -> Iterator[Array]:
    """How often each of ``count`` pictures is drawn, in blocks (r, count) that make ``replicates`` rows in all."""
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // count)
    for start in range(0, replicates, rows):
        yield rng.multinomial(count, np.full(count, 1 / count), size=min(rows, replicates - start)).astype(np.float64)


def replicate_means(columns: Array, seed: int = SEED) -> Array:
    """The means of ``columns`` (n, k) over n pictures in each bootstrap replicate, (1000, k)."""
    return np.concatenate([block @ columns / len(columns) for block in draws(len(columns), seed=seed)])


def replicate_pairs(terms: Array, seed: int = SEED) -> Array:
    """The mean of ``terms`` (n, n) over pairs i != j in each replicate, (1000,); NaN of a draw of one picture."""
    values = []
    for block in draws(len(terms), seed=seed):
        pairs = block.sum(1) ** 2 - (block**2).sum(1)
        with np.errstate(invalid="ignore"):
            values.append(np.einsum("rn,rn->r", block @ terms, block) / pairs)
    return np.concatenate(values)


def interval(replicates: Array) -> tuple[float, float]:
    """The percentile 95 % interval of replicates (r,)."""
    low, high = np.quantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


class Difference(NamedTuple):
    """A figure of one model minus that of another, its 95 % interval, and whether that leaves out zero."""

    value: float
    low: float
    high: float

    @property
    def real(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def paired(a: float, b: float, replicates_a: Array, replicates_b: Array) -> Difference:
    """The difference of two figures of the same pictures, by paired bootstrap."""
    return Difference(a - b, *interval(replicates_a - replicates_b))
