"""What a coloured picture is measured by: functions on 8-bit sRGB arrays (H, W, 3), and a record of each metric."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from skimage.color import deltaE_ciede2000
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from zoo import bins, color

Array = npt.NDArray[Any]

MAX_PSNR = 100.0  # of equal pictures, whose mean with others is to stay finite
AUC_LIMIT = 150  # largest ab distance of the sweep
EDGE_SLOPE = 12.0  # L per pixel from which an edge is strong: a third of the pixels of photos at 256 are near one
EDGE_REACH = 2  # pixels around a strong edge that count as near it
BIN_PICTURES = 10  # that must hold a true colour for it to count in rebalanced AuC
HISTOGRAM_STEP = 5  # ab units per cell of the ab histograms, from -110 to 110
BACKBONE = "tf_efficientnet_lite2"  # which no model of the zoo is built on


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """What is known of a metric.

    Attributes:
        name: Its key in results.
        title: Its heading in tables.
        unit: Of its values; empty where they have none.
        higher_is_better: None where neither end is good, as with colorfulness.
        low: The least value it can have.
        high: The greatest.
        decimals: That are worth printing.
        variant: What exactly is computed, a part of the protocol.
        reference: Where it comes from.
        needs_truth: Whether it compares with the real colours.
        of_set: Whether it is one figure for all pictures rather than a mean over them.
    """

    name: str
    title: str
    unit: str = ""
    higher_is_better: bool | None
    low: float
    high: float
    decimals: int
    variant: str
    reference: str
    needs_truth: bool = True
    of_set: bool = False


_INF = float("inf")
_ALL: tuple[Metric, ...] = (
    Metric(
        name="gain", title="gain over grey", unit="dB", higher_is_better=True, low=-_INF, high=_INF, decimals=2,
        variant="PSNR minus that of the grey picture, mean over pictures",
        reference="this project; the grey row that field reports lack",
    ),
    Metric(
        name="psnr", title="PSNR", unit="dB", higher_is_better=True, low=0, high=MAX_PSNR, decimals=2,
        variant="RGB, 8 bits, in floating point, over all three channels; 100 for equal pictures; mean over pictures",
        reference="scikit-image peak_signal_noise_ratio",
    ),
    Metric(
        name="ssim", title="SSIM", higher_is_better=True, low=-1, high=1, decimals=4,
        variant="each channel of RGB, Gaussian window sigma 1.5, population covariance; mean over channels, pictures",
        reference="Wang et al. 2004; scikit-image structural_similarity",
    ),
    Metric(
        name="ciede2000", title="CIEDE2000", higher_is_better=False, low=0, high=_INF, decimals=2,
        variant="mean over pixels, then pictures; kL = kC = kH = 1",
        reference="Sharma et al. 2005; scikit-image deltaE_ciede2000",
    ),
    Metric(
        name="chroma_error", title="chroma error", unit="ab", higher_is_better=False, low=0, high=_INF, decimals=2,
        variant="Euclidean distance in ab, mean over pixels, then pictures",
        reference="Zhang et al. 2016, the distance under AuC",
    ),
    Metric(
        name="auc", title="AuC raw", unit="%", higher_is_better=True, low=0, high=100, decimals=2,
        variant="share of pixels within an ab distance, averaged over the distances 0, 1, ... 150; mean over pictures",
        reference="Zhang et al. 2016, section 3.1",
    ),
    Metric(
        name="auc_rebalanced", title="AuC rebalanced", unit="%", higher_is_better=True, low=0, high=100, decimals=2,
        variant="AuC of each bin of the true colour (grid 10) over all pictures, mean over the bins that occur in at "
        f"least {BIN_PICTURES} pictures",
        reference="Zhang et al. 2016, section 3.1 and equation 4 with lambda 0", of_set=True,
    ),
    Metric(
        name="cf_abs", title="colorfulness", higher_is_better=None, low=0, high=_INF, decimals=1,
        variant="sd + 0.3 mean of |R - G| and |(R + G) / 2 - B|, 8 bits; mean over pictures",
        reference="as the colorization literature computes it: basicsr:metrics/colorfulness.py", needs_truth=False,
    ),
    Metric(
        name="cf_hs03", title="colorfulness (signed)", higher_is_better=None, low=0, high=_INF, decimals=1,
        variant="sd + 0.3 mean of R - G and (R + G) / 2 - B, 8 bits; mean over pictures",
        reference="Hasler and Suesstrunk 2003", needs_truth=False,
    ),
    Metric(
        name="cf_share", title="colorfulness / truth", unit="%", higher_is_better=None, low=0, high=_INF, decimals=0,
        variant="mean cf_abs over the mean cf_abs of the real pictures",
        reference="this project", of_set=True,
    ),
    Metric(
        name="delta_cf_abs", title="ΔCF", higher_is_better=False, low=0, high=_INF, decimals=2,
        variant="|mean cf_abs - mean cf_abs of the real pictures|; its interval is that of the absolute value",
        reference="DDColor (ICCV 2023), table 1", of_set=True,
    ),
    Metric(
        name="delta_cf_hs03", title="ΔCF (signed)", higher_is_better=False, low=0, high=_INF, decimals=2,
        variant="|mean cf_hs03 - mean cf_hs03 of the real pictures|",
        reference="as ΔCF, on Hasler and Suesstrunk's definition", of_set=True,
    ),
    Metric(
        name="bleeding", title="bleeding index", higher_is_better=None, low=0, high=_INF, decimals=3,
        variant=f"chroma error within {EDGE_REACH} px of edges of {EDGE_SLOPE:g} L per px, over that elsewhere; "
        "above that of the grey picture, errors gather at edges",
        reference="this project", of_set=True,
    ),
    Metric(
        name="out_of_gamut", title="out of gamut", unit="%", higher_is_better=False, low=0, high=100, decimals=2,
        variant="share of pixels whose predicted colour sRGB cannot show, before it is mapped; mean over pictures",
        reference="this project", needs_truth=False,
    ),
    Metric(
        name="agreement_top1", title="same answer", unit="%", higher_is_better=True, low=0, high=100, decimals=1,
        variant=f"{BACKBONE} (ImageNet) gives the coloured picture the answer it gives the real one",
        reference="after Zhang et al. 2016, section 3.1 (semantic interpretability)",
    ),
    Metric(
        name="agreement_top5", title="among five", unit="%", higher_is_better=True, low=0, high=100, decimals=1,
        variant=f"{BACKBONE}'s answer to the real picture is among its five to the coloured one",
        reference="as agreement_top1",
    ),
    Metric(
        name=f"kd_{BACKBONE}", title="kernel distance", unit="×10⁻³", higher_is_better=False,
        low=-_INF, high=_INF, decimals=2,
        variant=f"unbiased squared MMD, kernel (x·y/d + 1)^3, pooled features of {BACKBONE} (ImageNet); "
        "a picture is never compared with its own truth; at most 2,000 pictures, chosen by the seed",
        reference="Gretton et al. 2012, lemma 6; Binkowski et al. 2018 (KID)", of_set=True,
    ),
    Metric(
        name="fid", title="FID", higher_is_better=False, low=0, high=_INF, decimals=2,
        variant="Inception pool3 of torch-fidelity (TensorFlow weights and resize); no interval",
        reference="Heusel et al. 2017; torch-fidelity", of_set=True,
    ),
    Metric(
        name="lpips", title="LPIPS", higher_is_better=False, low=0, high=_INF, decimals=4,
        variant="AlexNet, v0.1, input in [-1, 1]; mean over pictures",
        reference="Zhang et al. 2018; package lpips",
    ),
)  # fmt: skip
METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
KD = f"kd_{BACKBONE}"


def lab_of(rgb: Array) -> Tensor:
    """Lab (3, H, W), float32, of an 8-bit picture (H, W, 3)."""
    return color.rgb_to_lab(torch.from_numpy(np.array(rgb)).permute(2, 0, 1).float() / 255)


def psnr(a: Array, b: Array) -> float:
    """Peak signal-to-noise ratio in dB between two 8-bit pictures, over all three channels; higher is closer."""
    with np.errstate(divide="ignore"):
        return min(float(peak_signal_noise_ratio(a, b, data_range=255)), MAX_PSNR)  # type: ignore[no-untyped-call]


def ssim(a: Array, b: Array) -> float:
    """Structural similarity of two 8-bit pictures of at least 11 x 11 pixels, mean over channels; at most 1.

    Source: Wang et al. 2004, with its Gaussian window.
    """
    value = structural_similarity(  # type: ignore[no-untyped-call]
        a, b, data_range=255, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(value)


def ciede2000(lab: Tensor, true_lab: Tensor) -> float:
    """Mean CIEDE2000 difference between two Lab pictures (3, H, W)."""
    a, b = (x.permute(1, 2, 0).numpy() for x in (lab, true_lab))
    return float(np.mean(deltaE_ciede2000(a, b)))  # type: ignore[no-untyped-call]


def chroma_error(lab: Tensor, true_lab: Tensor) -> Tensor:
    """The distance in ab of each pixel from its true colour, (H, W) in Lab units, of two Lab pictures (3, H, W)."""
    a, b = lab[1:] - true_lab[1:]
    return torch.hypot(a, b)


def auc(error: Tensor) -> Tensor:
    """For each pixel the share of the thresholds 0, 1, ... 150 that its ab distance ``error`` stays within, in [0, 1].

    The mean over pixels is the area under the curve "share of pixels within a distance of the truth".

    Source: Zhang et al. 2016, section 3.1.
    """
    return (AUC_LIMIT + 1 - error.ceil()).clamp_(min=0) / (AUC_LIMIT + 1)


def true_bins(true_lab: Tensor) -> Tensor:
    """The nearest bin of each pixel's true colour, (H, W), of a Lab picture (3, H, W)."""
    return bins.soft_encode_map(true_lab[None, 1:])[0][0, 0]


def colorfulness_abs(rgb: Array) -> float:
    """Colorfulness of an 8-bit picture, in the variant of the colorization literature: absolute opponent channels.

    Source: Hasler and Suesstrunk 2003, with |R - G| and |(R + G) / 2 - B| as in basicsr:metrics/colorfulness.py.
    """
    rg, yb = _opponents(rgb)
    return _colorfulness(np.abs(rg), np.abs(yb))


def colorfulness_hs03(rgb: Array) -> float:
    """Colorfulness of an 8-bit picture as it was defined: signed opponent channels.

    Source: Hasler and Suesstrunk, "Measuring colourfulness in natural images", 2003.
    """
    return _colorfulness(*_opponents(rgb))


def _opponents(rgb: Array) -> tuple[Array, Array]:
    r, g, b = np.moveaxis(rgb.astype(np.float64), -1, 0)
    return r - g, 0.5 * (r + g) - b


def _colorfulness(rg: Array, yb: Array) -> float:
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


def near_edges(L: Tensor) -> Tensor:
    """True (H, W) within 2 pixels of a strong edge of ``L`` (H, W) in [0, 100]: one of 12 L per pixel or more."""
    steep = torch.zeros_like(L)
    steep[1:-1] = (L[2:] - L[:-2]).square() / 4
    steep[:, 1:-1] += (L[:, 2:] - L[:, :-2]).square() / 4
    edges = (steep >= EDGE_SLOPE**2).float()[None, None]
    return torch.nn.functional.max_pool2d(edges, 2 * EDGE_REACH + 1, 1, EDGE_REACH)[0, 0] > 0


def histogram(lab: Tensor) -> tuple[list[int], list[int]]:
    """How many pixels of a Lab picture (3, H, W) have a, and b, in each cell of 5 units from -110 to 110."""
    cells = 220 // HISTOGRAM_STEP
    indices = ((lab[1:] + 110) / HISTOGRAM_STEP).long().clamp_(0, cells - 1)
    a, b = (torch.bincount(channel.flatten(), minlength=cells).tolist() for channel in indices)
    return a, b


def kernel_terms(features: Array, true_features: Array) -> Array:
    """The terms h_ij of the unbiased squared MMD between two sets of features, (n, n), zero where i = j.

    Their mean over i != j is the estimate. Row i of both sets belongs to one picture: pairs are independent of one
    another, the two features of a pair are not, so a picture is not compared with its own truth.

    Args:
        features: (n, d).
        true_features: (n, d).

    Source: Gretton et al. 2012, lemma 6; the kernel (x·y / d + 1)^3 of Binkowski et al. 2018.
    """
    x, y = (f.astype(np.float64) for f in (features, true_features))

    def kernel(p: Array, q: Array) -> Array:
        return np.asarray((p @ q.T / p.shape[1] + 1) ** 3)

    cross = kernel(x, y)
    terms = kernel(x, x) + kernel(y, y) - cross - cross.T
    np.fill_diagonal(terms, 0)
    return np.asarray(terms)
