"""What a film in colour is measured by: functions on its small frames, and a record of each metric."""

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo.evaluation.metrics import METRICS as PHOTO_METRICS
from zoo.evaluation.metrics import Metric

Array = npt.NDArray[Any]

DISTANCES = (1, 2, 4)  # in frames, of the pairs that CDC compares
_INF = float("inf")

_ALL: tuple[Metric, ...] = (
    Metric(
        name="gain", title="gain over grey", unit="dB", higher_is_better=True, low=-_INF, high=_INF, decimals=2,
        variant="PSNR (RGB, 8 bits, all three channels) minus that of the grey frame, mean over frames, then clips",
        reference=PHOTO_METRICS["gain"].reference,
    ),
    Metric(
        name="cf_abs", title="colorfulness", higher_is_better=None, low=0, high=_INF, decimals=1,
        variant="sd + 0.3 mean of |R - G| and |(R + G) / 2 - B|, 8 bits; mean over frames, then clips",
        reference=PHOTO_METRICS["cf_abs"].reference, needs_truth=False,
    ),
    Metric(
        name="cf_share", title="colorfulness / truth", unit="%", higher_is_better=None, low=0, high=_INF, decimals=0,
        variant="mean cf_abs over the mean cf_abs of the true clips",
        reference=PHOTO_METRICS["cf_share"].reference, of_set=True,
    ),
    Metric(
        name="warp_error", title="warp error", unit="ab", higher_is_better=None, low=0, high=_INF, decimals=3,
        variant="distance in ab between a pixel and where it was one frame before, along the optical flow of the true "
        "lightness; mean over the pixels that a forward-backward check finds in both frames, then over pairs of "
        "frames, then clips; no pair across a cut",
        reference="after Lai et al. 2018 (phoenix104104/fast_blind_video_consistency:evaluate_WarpError.py), on ab "
        "alone: the lightness is the film's own and says nothing",
    ),
    Metric(
        name="warp_excess", title="warp error above truth", unit="ab", higher_is_better=False, low=-_INF, high=_INF,
        decimals=3,
        variant="warp error minus that of the true clip: real colours change too, with light, noise and compression",
        reference="this project",
    ),
    Metric(
        name="cdc", title="CDC", unit="×10⁻³", higher_is_better=None, low=0, high=1000 * float(np.log(2)), decimals=2,
        variant="Jensen-Shannon divergence (natural logarithm) of the 256-bin histograms of R, G and B of frames 1, 2 "
        "and 4 apart; mean over pairs, channels and the three distances, then clips; no pair across a cut, which the "
        "published code has",
        reference="Liu et al. 2021 (TCVC), as yyang181/colormnet:evaluation_matrics/cdc.py computes it",
        needs_truth=False,
    ),
)  # fmt: skip
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}

# How the film compares with every frame coloured by itself.
_AGAINST: tuple[Metric, ...] = (
    Metric(
        name="excess_share", title="flicker that is left", unit="%", higher_is_better=False, low=-_INF, high=_INF,
        decimals=0,
        variant="mean warp error above the true clips' over that of every frame coloured by itself; not defined where "
        "the latter is no higher than the true clips'",
        reference="this project", of_set=True,
    ),
    Metric(
        name="warp_share", title="warp error", unit="%", higher_is_better=False, low=0, high=_INF, decimals=0,
        variant="mean warp error over that of every frame coloured by itself, the truth left aside",
        reference="this project", of_set=True,
    ),
    Metric(
        name="gain_kept", title="gain", unit="dB", higher_is_better=True, low=-_INF, high=_INF, decimals=3,
        variant="mean gain over grey minus that of every frame coloured by itself",
        reference="this project",
    ),
    Metric(
        name="cf_kept", title="colorfulness", unit="%", higher_is_better=None, low=0, high=_INF, decimals=1,
        variant="mean cf_abs over that of every frame coloured by itself",
        reference="this project", needs_truth=False, of_set=True,
    ),
    Metric(
        name="cut_difference", title="after a cut", unit="ab", higher_is_better=False, low=0, high=_INF, decimals=3,
        variant="the largest distance in ab between the first frame after a cut and the same frame coloured by itself, "
        "of all pixels and cuts: what is left of the scene before",
        reference="this project", needs_truth=False, of_set=True,
    ),
)  # fmt: skip
AGAINST: dict[str, Metric] = {metric.name: metric for metric in _AGAINST}


def warp_error(ab: Tensor, carried: Tensor, seen: Tensor) -> float:
    """The mean distance in ab, in Lab units, between a frame and the frame before carried along the motion.

    Args:
        ab: Of the frame, (1, 2, h, w).
        carried: Of the frame before, seen from this one, (1, 2, h, w).
        seen: Which pixels are in both, (1, 1, h, w) bool; at least one.
    """
    a, b = (ab - carried)[0]
    return float(torch.hypot(a, b)[seen[0, 0]].mean())


def histograms(rgb: Array) -> Array:
    """How the 256 values are spread in each channel of an 8-bit picture (H, W, 3): (3, 256), rows that sum to 1."""
    counts = [np.bincount(channel.ravel(), minlength=256) for channel in np.moveaxis(rgb, -1, 0)]
    return np.asarray(np.stack(counts) / (rgb.shape[0] * rgb.shape[1]))


def js_divergence(p: Array, q: Array) -> float:
    """Jensen-Shannon divergence with the natural logarithm, in [0, ln 2], mean over rows of ``p`` and ``q`` (n, bins).

    Source: Lin, "Divergence measures based on the Shannon entropy", 1991.
    """
    middle = (p + q) / 2
    total = 0.0
    for x in (p, q):
        inside = x > 0
        total += float((x[inside] * np.log(x[inside] / middle[inside])).sum()) / 2
    return max(0.0, total / len(p))  # rounding may leave less


class Cdc:
    """Colour distribution consistency of one clip, frame by frame.

    Source: Liu et al., "Temporally Consistent Video Colorization with Deep Feature Propagation and Self-regularization
    Learning", 2021; histograms and weights as in yyang181/colormnet:evaluation_matrics/cdc.py.
    """

    def __init__(self) -> None:
        self._recent: deque[Array] = deque(maxlen=max(DISTANCES))
        self._values: dict[int, list[float]] = {distance: [] for distance in DISTANCES}

    def add(self, rgb: Array, first: bool) -> None:
        """The next frame, (H, W, 3) of 8 bits; ``first`` of a scene or not."""
        if first:
            self._recent.clear()
        now = histograms(rgb)
        for distance, values in self._values.items():
            if len(self._recent) >= distance:
                values.append(js_divergence(now, self._recent[-distance]))
        self._recent.append(now)

    @property
    def value(self) -> float | None:
        """So far, in thousandths; None where no scene has had five frames."""
        if not all(self._values.values()):
            return None
        return 1000 * float(np.mean([np.mean(values) for values in self._values.values()]))


class CentredMean:
    """Plain averaging over time: each frame's ab becomes the mean of a window around it, within its scene.

    Args:
        window: Frames in it, an odd number.
    """

    def __init__(self, window: int) -> None:
        self._half = window // 2
        self._recent: list[Tensor] = []
        self._waiting = 0  # of the recent, the last so many, whose mean is not known yet

    def feed(self, ab: Tensor, first: bool) -> Sequence[Tensor]:
        """The means that are known with the next frame's ``ab``, in order; ``first`` of a scene or not."""
        means = [*self.flush()] if first else []
        self._recent.append(ab)
        self._waiting += 1
        if self._waiting > self._half:
            means.append(self._next())
        return means

    def flush(self) -> Sequence[Tensor]:
        """The means still held back, as the scene ends here."""
        means = [self._next() for _ in range(self._waiting)]
        self._recent.clear()
        return means

    def _next(self) -> Tensor:
        at = len(self._recent) - self._waiting
        mean = torch.stack(self._recent[max(0, at - self._half) : at + self._half + 1]).mean(0)
        self._waiting -= 1
        if at >= self._half:
            del self._recent[0]
        return mean
