"""What a coloured picture is measured by; pictures are 8-bit sRGB arrays (H, W, 3), measured in floating point."""

from typing import Any

import numpy as np
import numpy.typing as npt
from skimage.metrics import peak_signal_noise_ratio

Picture = npt.NDArray[Any]
MAX_PSNR = 100.0  # of equal pictures, whose mean with others is to stay finite


def psnr(a: Picture, b: Picture) -> float:
    """Peak signal-to-noise ratio in dB between two 8-bit pictures, over all three channels; higher is closer."""
    with np.errstate(divide="ignore"):
        return min(float(peak_signal_noise_ratio(a, b, data_range=255)), MAX_PSNR)  # type: ignore[no-untyped-call]


def colorfulness_abs(rgb: Picture) -> float:
    """Colorfulness of an 8-bit picture, in the variant of the colorization literature: absolute opponent channels.

    Source: Hasler and Suesstrunk 2003, with |R - G| and |(R + G) / 2 - B| as in basicsr:metrics/colorfulness.py.
    """
    r, g, b = np.moveaxis(rgb.astype(np.float64), -1, 0)
    rg, yb = np.abs(r - g), np.abs(0.5 * (r + g) - b)
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))
