"""How good a model's variants are, and whether it knows where it errs: measured, kept as JSON, shown as a page."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo import batch
from zoo.colorizer import Colorizer
from zoo.errors import WeightsError, ZooError
from zoo.evaluation import cost, metrics
from zoo.evaluation.candidates import shared_forward
from zoo.evaluation.evaluate import find_photos
from zoo.evaluation.networks import Classifier
from zoo.evaluation.protocol import Prepared, Protocol, data_hash, prepare
from zoo.evaluation.results import as_text, write_text
from zoo.loading import describe, load

Array = npt.NDArray[Any]

FILE = "choices.json"  # under results
PAGE = "choices.md"
COUNT = 4  # variants that are measured
STEP = 4  # every so many pixels are compared in colour, and counted for certainty
LEAST = 0.2  # share of the pixels that is called least certain
WHAT = {
    "gain": "PSNR over that of the grey picture, dB, mean over pictures",
    "best_gain": f"the same of the best of {COUNT} variants of each picture",
    "distance": "mean CIEDE2000 between two variants, over pixels, pairs, pictures",
    "centred": "the same after each variant's mean ab was taken out",
    "kd": f"{metrics.KD}, as in the benchmarks",
    "certainty": f"what the {LEAST:.0%} least certain of all photos' pixels carry of the chroma error, the "
    "distance in ab, summed as it is and squared; of a perfect order; and the mean share within "
    "single photos; of the answer that the model gives when no style is asked for",
}


def measure(
    name: str,
    data: Path | str,
    *,
    limit: int | None = None,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> dict[str, Any]:
    """The figures of a model's variants and certainty on a folder of colour photos.

    Args:
        name: As `zoo.load` takes it.
        data: The folder.
        limit: Take the first so many photos only.
        progress: Wraps the photos, to show a bar.

    Raises:
        ZooError: Not one photo could be compared.
        OptionError: A model that has no variants.
    """
    photos = find_photos(data, limit)
    network, protocol = load(name, backend="torch"), Protocol()  # whatever was measured on this machine
    try:
        classifier: Classifier | None = Classifier()
    except WeightsError:
        classifier = None
    rows: list[dict[str, Any]] = []
    with shared_forward(network):
        for path in progress(list(photos.values())):
            try:
                picture = prepare(path, protocol)
            except batch.ITEM_ERRORS:
                continue  # as the benchmark leaves it out
            rows.append(_row(network, picture, classifier))
    if not rows:
        raise ZooError(f"not one of {len(photos)} photos could be compared", expected="colour photos")
    return {
        "weights": None if network.weights is None else network.weights.sha256,
        "photos": len(rows),
        "data": data_hash(list(photos.values()), list(photos)),
        "versions": cost.versions("colorzoo", "torch", "timm"),
        **_summary(rows),
    }


def write(cards_folder: Path, benchmark: str, model: str, figures: Mapping[str, Any]) -> None:
    """Keep the figures of a model in the result file, and bring the page up to date."""
    kept = read(cards_folder)
    kept.setdefault(benchmark, {})[model] = _rounded(dict(figures))
    write_text(cards_folder / "results" / FILE, as_text({"what": WHAT, "benchmarks": kept}))
    for path, text in files(cards_folder).items():
        write_text(path, text)


def read(cards_folder: Path) -> dict[str, dict[str, Any]]:
    """What was measured, by benchmark and model; empty where nothing was.

    Raises:
        ZooError: The file is damaged.
    """
    path = cards_folder / "results" / FILE
    if not path.exists():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["benchmarks"])
    except (ValueError, KeyError, TypeError) as error:
        raise ZooError(f"{path}: not a result file", found=error, remedy="measure again") from error


def stale_weights(cards_folder: Path) -> list[str]:
    """The models whose figures are of other weights than they come with, a line for each.

    Raises:
        ZooError: The result file is damaged, or names a model that is unknown.
    """
    problems = []
    for benchmark, models in read(cards_folder).items():
        for name, figures in models.items():
            weights = describe(name).weights
            if weights and weights[0].sha256 != figures["weights"]:
                problems.append(f"results/{FILE}: {name} on {benchmark} is of other weights; measure it again")
    return problems


def files(cards_folder: Path) -> dict[Path, str]:
    """The page made of what was measured, and its path; empty where nothing was."""
    found = read(cards_folder)
    return {cards_folder / PAGE: page(found)} if found else {}


def page(found: Mapping[str, Mapping[str, Any]]) -> str:
    """The page in Markdown."""
    lines = [
        "# Variants and certainty",
        "",
        f"Generated from `results/{FILE}` by `colorzoo choices`; photos are prepared as in the benchmarks. Single "
        "answers are those of each style; KD is the kernel distance to real photos, lower is better.",
    ]
    for benchmark, models in found.items():
        lines += ["", f"## Variants on {benchmark}", ""]
        lines += [f"| model | photos | single answers: gain, KD | best of {COUNT} | distance | centred | KD of each |"]
        lines += ["|---|---|---|---|---|---|---|"]
        for name, each in models.items():
            single = "; ".join(f"{k}: {_signed(v['gain'])}, {_plain(v['kd'])}" for k, v in each["single"].items())
            own = each["variants"]
            kds = ", ".join(map(_plain, own["kd"]))
            lines += [
                f"| {name} | {each['photos']} | {single} | {_signed(own['best_gain'])} | {_plain(own['distance'])} "
                f"| {_plain(own['centred'])} | {kds} |"
            ]
        lines += ["", f"## Certainty on {benchmark}", ""]
        lines += [
            f"Share of the chroma error in the {LEAST:.0%} least certain pixels; in brackets, of a perfect order."
        ]
        lines += ["", "| model | squared error | error | within photos: squared | error |", "|---|---|---|---|---|"]
        for name, each in models.items():
            cells = [f"{_percent(v['share'])} ({_percent(v['perfect'])})" for v in each["certainty"].values()]
            lines += [f"| {name} | {' | '.join(cells)} |"]
    lines += ["", *(f"- `{key}`: {text}." for key, text in WHAT.items()), ""]
    return "\n".join(lines)


def _row(network: Colorizer[Any], picture: Prepared, classifier: Classifier | None) -> dict[str, Any]:
    """The figures of one photo."""
    truth, grey = picture.truth, picture.grey
    singles = {style or "answer": network.colorize_array(grey, style=style) for style in network.spec.styles or (None,)}
    found = network.variants_array(grey, COUNT)
    own = metrics.lab_of(network.colorize_array(grey))
    error = metrics.chroma_error(own, metrics.lab_of(truth))[::STEP, ::STEP]
    zero = metrics.psnr(grey, truth)
    labs = [metrics.lab_of(rgb)[:, ::STEP, ::STEP] for rgb in found]
    centred = [torch.cat([lab[:1], lab[1:] - lab[1:].mean((1, 2), keepdim=True)]) for lab in labs]
    return {
        "single": {key: metrics.psnr(rgb, truth) - zero for key, rgb in singles.items()},
        "gain": [metrics.psnr(rgb, truth) - zero for rgb in found],
        "distance": _apart(labs),
        "centred": _apart(centred),
        "features": None if classifier is None else classifier([truth, *singles.values(), *found])[0],
        "error": error.flatten().numpy(),
        "certainty": network.certainty(grey)[::STEP, ::STEP].ravel(),
    }


def _apart(labs: Sequence[Tensor]) -> float:
    """The mean CIEDE2000 between two of the pictures."""
    return float(np.mean([metrics.ciede2000(a, b) for a, b in combinations(labs, 2)]))


def _summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    names = list(rows[0]["single"])
    gains = np.array([row["gain"] for row in rows])  # (n, COUNT)
    distances: list[float | None] = [None] * (len(names) + COUNT)
    if rows[0]["features"] is not None and len(rows) > 1:
        features = np.stack([row["features"] for row in rows])  # (n, 1 + singles + COUNT, d)
        distances = [1000 * _kernel_distance(features[:, i], features[:, 0]) for i in range(1, features.shape[1])]
    error, certainty = (np.stack([row[key] for row in rows]) for key in ("error", "certainty"))
    return {
        "single": {
            name: {"gain": float(np.mean([row["single"][name] for row in rows])), "kd": kd}
            for name, kd in zip(names, distances, strict=False)
        },
        "variants": {
            "gain": gains.mean(0).tolist(),
            "best_gain": float(gains.max(1).mean()),
            **{key: float(np.mean([row[key] for row in rows])) for key in ("distance", "centred")},
            "kd": distances[len(names) :],
        },
        "certainty": {
            f"{where} {what}": {"share": share(e, certainty, within), "perfect": share(e, -e, within)}
            for where, within in (("of all", False), ("within photos", True))
            for what, e in (("squared", error**2), ("as it is", error))
        },
    }


def share(error: Array, certainty: Array, within: bool = False) -> float:
    """What the least certain fifth of the pixels carries of the error, from 0 to 1.

    Args:
        error: (photos, pixels), 0 or more.
        certainty: Likewise; only its order counts.
        within: The mean over the photos' own fifths rather than the fifth of all.
    """
    if not within:
        error, certainty = error.reshape(1, -1), certainty.reshape(1, -1)
    count = max(1, round(LEAST * error.shape[1]))
    least = np.argsort(certainty, 1, kind="stable")[:, :count]
    return float((np.take_along_axis(error, least, 1).sum(1) / np.maximum(error.sum(1), 1e-9)).mean())


def _kernel_distance(features: Array, true_features: Array) -> float:
    count = len(features)
    return float(metrics.kernel_terms(features, true_features).sum() / (count * (count - 1)))


def _rounded(figures: Any) -> Any:
    """The same with numbers of five decimals."""
    if isinstance(figures, dict):
        return {key: _rounded(value) for key, value in figures.items()}
    if isinstance(figures, list):
        return [_rounded(value) for value in figures]
    return round(figures, 5) if isinstance(figures, float) else figures


def _signed(value: float) -> str:
    return f"{value:+.2f} dB"


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _percent(value: float) -> str:
    return f"{value:.0%}"
