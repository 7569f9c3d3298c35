"""What time does to a photograph: its lightness fades, blurs, grows grainy and scratched, and is compressed."""

from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageFilter
from torch import Tensor

VERSION = 2  # to be raised when the same dice would give another picture

_Values = npt.NDArray[np.floating[Any]]  # (H, W), 0 is black and 1 white


def age(L: Tensor, rng: np.random.Generator) -> Tensor:
    """Lightness as an old print or scan would show it: faded, blurred, grainy, scratched, compressed.

    Args:
        L: (H, W) in [0, 100], on the CPU. Blur, grain and scratches have widths in pixels that look right where the
            sides have 160 to 256; they do not grow with the picture.
        rng: Decides how much of each there is; in the same state it gives the same picture.

    Returns:
        (H, W) in [0, 100], a whole number of 255ths of 100.
    """
    low, high = rng.uniform(0, 0.25), rng.uniform(0.75, 1)
    image = _to_8_bit(low + (high - low) * (L.numpy() / 100) ** rng.uniform(0.6, 1.6))
    if rng.random() < 0.6:
        image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.5)))
    image = _to_8_bit(_scratched(_grainy(np.asarray(image) / 255, rng), rng))
    if rng.random() < 0.5:
        buffer = BytesIO()
        image.save(buffer, "JPEG", quality=int(rng.integers(25, 85)))
        image = Image.open(buffer)
    return torch.from_numpy(np.array(image)).float() / 2.55


def _grainy(values: _Values, rng: np.random.Generator) -> _Values:
    """With the grain of film: clumps wider than a pixel, strongest in the middle tones."""
    grain = rng.normal(0, rng.uniform(0, 12 / 255), values.shape)
    for axis in (0, 1):
        grain = (grain + np.roll(grain, 1, axis)) / 2
    return values + grain * 2 * np.sqrt(values * (1 - values))


def _scratched(values: _Values, rng: np.random.Generator) -> _Values:
    """With up to three thin scratches, mostly upright, and specks of dust; light ones are more than dark ones."""
    marks = np.zeros_like(values)  # 1 covers with white, -1 with black
    for _ in range(rng.integers(4)):
        turned = marks if rng.random() < 0.85 else marks.T
        rows, columns = (np.arange(side) for side in turned.shape)
        wobble = rng.normal(rng.normal(0, 0.03), rng.uniform(0.02, 0.15), len(rows)).cumsum()
        distance = columns - (rng.uniform(0, len(columns)) + wobble)[:, None]
        start, end = np.sort(rng.uniform(-0.3, 1.3, 2)) * len(rows)
        depth = _depth(rng) * np.clip(np.minimum(rows - start, end - rows) / 30, 0, 1)
        turned += depth[:, None] * np.exp(-((distance / rng.uniform(0.4, 0.9)) ** 2))
    for _ in range(rng.integers(24)):
        down, across = (
            np.exp(-(((np.arange(side) - rng.uniform(0, side)) / rng.uniform(0.5, 1.2)) ** 2)) for side in marks.shape
        )
        marks += _depth(rng) * np.outer(down, across)
    return values + np.abs(marks).clip(max=1) * ((marks > 0) - values)


def _depth(rng: np.random.Generator) -> float:
    return rng.uniform(0.2, 0.7) * (1 if rng.random() < 0.7 else -1)


def _to_8_bit(values: _Values) -> Image.Image:
    return Image.fromarray((values.clip(0, 1) * 255).round().astype(np.uint8))
