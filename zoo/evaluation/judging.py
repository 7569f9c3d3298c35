"""From one answer to one row of figures, and from all rows to a result's figures with their intervals."""

import base64
import errno
import hashlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch

from zoo import bins
from zoo.errors import OptionError, WeightsError, ZooError
from zoo.evaluation import metrics
from zoo.evaluation.candidates import Candidate, Colored
from zoo.evaluation.metrics import KD, METRICS
from zoo.evaluation.networks import Classifier, Inception, Lpips, frechet_distance
from zoo.evaluation.protocol import Prepared
from zoo.evaluation.statistics import SEED, draws, interval, replicate_means, replicate_pairs

Array = npt.NDArray[Any]
Row = dict[str, Any]

TEMPERATURES = (1.0, 0.8, 0.6, 0.38, 0.2, 0.1)
MAX_KERNEL_PICTURES = 2000
FEW = "not measured (too few pictures)"
_CLASSIFIED = {"agreement_top1", "agreement_top5", KD}
_DIGITS = 6


class Answer(NamedTuple):
    """What a candidate made of a photo, and the pictures at other temperatures where it has them."""

    colored: Colored
    sweep: list[Array]


def ask(candidate: Candidate, picture: Prepared) -> Answer:
    """The candidate's answer.

    Raises:
        ZooError: It is not a picture like the photo.
    """
    colored = candidate.colorize(picture)
    truth = picture.truth
    if colored.rgb.shape != truth.shape or colored.rgb.dtype != np.uint8:
        raise ZooError(
            "the answer is not a picture like the photo",
            found=f"{colored.rgb.shape} of {colored.rgb.dtype}",
            expected=f"{truth.shape} of uint8",
        )
    if not 0 <= colored.out_of_gamut <= 1:
        raise ZooError("the answer's share of colours out of gamut is none", found=colored.out_of_gamut)
    network = candidate.network
    temperatures = _temperatures(candidate)
    if network is None or not temperatures:
        return Answer(colored, [])
    options = candidate.options
    return Answer(colored, [network.colorize_array(picture.grey, **options, temperature=t) for t in temperatures])


class _Scene:
    """A prepared photo with all that its answers are compared with, made once."""

    def __init__(self, picture: Prepared) -> None:
        self.picture = picture
        self.lab = metrics.lab_of(picture.truth)
        self.bins = metrics.true_bins(self.lab).flatten()
        self.near_edges = metrics.near_edges(self.lab[0])
        self.grey_psnr = metrics.psnr(picture.grey, picture.truth)
        self.colorfulness = [metrics.colorfulness_abs(picture.truth), metrics.colorfulness_hs03(picture.truth)]

    def _short(self, rgb: Array) -> list[float]:
        gain = metrics.psnr(rgb, self.picture.truth) - self.grey_psnr
        return [round(gain, 4), round(metrics.colorfulness_abs(rgb), 3)]

    def row(self, answer: Answer) -> Row:
        """The figures of an answer that take no network."""
        rgb, truth = answer.colored.rgb, self.picture.truth
        lab = metrics.lab_of(rgb)
        error = metrics.chroma_error(lab, self.lab)
        within = metrics.auc(error)
        count = len(bins.bins())
        counts = torch.bincount(self.bins, minlength=count)
        sums = torch.bincount(self.bins, weights=within.flatten().double(), minlength=count)
        seen = counts.nonzero().flatten()
        psnr = metrics.psnr(rgb, truth)
        near, far = error[self.near_edges], error[~self.near_edges]
        return {
            "values": {
                "gain": psnr - self.grey_psnr,
                "psnr": psnr,
                "ssim": metrics.ssim(rgb, truth),
                "ciede2000": metrics.ciede2000(lab, self.lab),
                "chroma_error": float(error.mean()),
                "auc": float(within.mean()) * 100,
                "cf_abs": metrics.colorfulness_abs(rgb),
                "cf_hs03": metrics.colorfulness_hs03(rgb),
                "out_of_gamut": answer.colored.out_of_gamut * 100,
            },
            "truth": self.colorfulness,
            "bins": [seen.tolist(), counts[seen].tolist(), [round(s, 3) for s in sums[seen].tolist()]],
            "edges": [float(near.sum()), near.numel(), float(far.sum()), far.numel()],
            "histogram": metrics.histogram(lab),
            "sweep": [self._short(picture) for picture in answer.sweep],
        }


class Judges:
    """The networks that judge answers, those of them whose weights are here.

    Attributes:
        not_measured: By metric, why it is not measured.
    """

    def __init__(self) -> None:
        self.not_measured: dict[str, str] = {}
        self.classifier = self._load(Classifier, _CLASSIFIED)
        self.lpips = self._load(Lpips, {"lpips"})
        self.inception = self._load(Inception, {"fid"})

    @property
    def metrics(self) -> set[str]:
        """The metrics of networks that can be measured here."""
        return {*_CLASSIFIED, "lpips", "fid"} - self.not_measured.keys()

    def _load(self, network: type[Any], names: set[str]) -> Any:
        try:
            return network()
        except WeightsError as error:
            reason = f"not measured ({'weights absent' if error.what == 'weights absent' else error})"
            self.not_measured |= dict.fromkeys(names, reason)
            return None

    def judge(self, picture: Prepared, answers: Sequence[Answer]) -> list[Row]:
        """The rows of all answers to one photo."""
        scene = _Scene(picture)
        rows = [scene.row(answer) for answer in answers]
        pictures = [answer.colored.rgb for answer in answers]
        if self.classifier is not None:
            unlike = [p for p in pictures if p is not picture.truth]  # the truth is a candidate too
            features, logits = self.classifier([*unlike, picture.truth])
            true_answer = int(logits[-1].argmax())
            place = {id(p): i for i, p in enumerate([*unlike, picture.truth])}
            for row, p in zip(rows, pictures, strict=True):
                i = place[id(p)]
                order = np.argsort(-logits[i], kind="stable")[:5]
                row["values"]["agreement_top1"] = 100.0 * (order[0] == true_answer)
                row["values"]["agreement_top5"] = 100.0 * (true_answer in order)
                row["features"] = _pack(features[i])
        if self.lpips is not None:
            for row, value in zip(rows, self.lpips(pictures, picture.truth), strict=True):
                row["values"]["lpips"] = float(value)
        if self.inception is not None:
            for row, feature in zip(rows, self.inception(pictures), strict=True):
                row["inception"] = _pack(feature)
        return rows


class Rows:
    """The rows of one candidate in a file, so that memory stays flat and a stopped run goes on.

    Rows made with another ``key`` lie in another file. What a killed run left half written is cut off.

    Attributes:
        resumed: Whether rows of an earlier run were found.
    """

    def __init__(self, folder: Path, stem: str, key: dict[str, Any]) -> None:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self._path = folder / f".{stem}.{digest[:12]}.partial"
        self._offsets: dict[str, int] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("a+b", buffering=0)  # nothing is left to be written when it is closed
            whole = self._index()
            if whole < self._file.seek(0, os.SEEK_END):
                self._file.truncate(whole)
        except OSError as error:
            raise ZooError(f"{folder}: cannot be written", found=error.strerror) from error
        self.resumed = bool(self._offsets)

    def _index(self) -> int:
        """Find the rows; where the last whole one ends."""
        end = 0
        with self._path.open("rb") as file:
            for line in file:
                try:
                    name = json.loads(line)["name"]
                except (ValueError, KeyError, TypeError):
                    break
                self._offsets[name] = end
                end += len(line)
        return end

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __contains__(self, name: str) -> bool:
        return name in self._offsets

    def add(self, name: str, row: Row) -> None:
        """Keep a photo's row.

        Raises:
            ZooError: The disk is full, say.
        """
        line = json.dumps({"name": name, **row}, sort_keys=True).encode() + b"\n"
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise ZooError(f"{self._path}: cannot be written", found=error.strerror) from error
        self._offsets[name] = self._file.tell() - len(line)  # the file is appended to, perhaps by another run too

    def read(self, names: Sequence[str]) -> Iterator[Row]:
        """The rows of photos, in the order of ``names``."""
        with self._path.open("rb") as file:
            for name in names:
                file.seek(self._offsets[name])
                yield json.loads(file.readline())

    def remove(self) -> None:
        """Delete the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def gather(rows: Rows, truth: Rows, names: Sequence[str], judges: Judges) -> dict[str, Any]:
    """The figures of all rows, as `Result` has them: measured, not_measured, per_picture, replicates and so on."""
    count = len(bins.bins())
    columns: dict[str, list[float]] = {}
    true_cf, edges, sweep = [], [], []
    counts, sums = (np.zeros((len(names), count), np.float32) for _ in range(2))
    histogram = np.zeros((2, 220 // metrics.HISTOGRAM_STEP), np.int64)
    for i, row in enumerate(rows.read(names)):
        for name, value in row["values"].items():
            columns.setdefault(name, []).append(_round(value))
        true_cf.append(row["truth"])
        edges.append(row["edges"])
        index, n, s = row["bins"]
        counts[i, index], sums[i, index] = n, s
        histogram += np.array(row["histogram"])
        sweep.append(row["sweep"])
    sets: dict[str, Array] = {}  # of metrics of a whole set: the value, then its replicates
    for name, column in (("abs", 0), ("hs03", 1)):
        own = np.array(columns[f"cf_{name}"])
        real = np.array(true_cf)[:, column]
        means = _with_value(np.stack([own, real], 1))
        sets[f"delta_cf_{name}"] = np.abs(means[:, 0] - means[:, 1])
        if name == "abs" and real.any():
            sets["cf_share"] = 100 * means[:, 0] / means[:, 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        near, near_count, far, far_count = _with_value(np.array(edges, np.float64)).T
        sets["bleeding"] = (near / near_count) / (far / far_count)
    sets["auc_rebalanced"] = _rebalanced(counts, sums)
    not_measured = dict(judges.not_measured)
    chosen = _kernel_sample(names)
    if judges.classifier is not None:
        if len(chosen) > 1:
            features = (np.stack([_unpack(row["features"]) for row in r.read(chosen)]) for r in (rows, truth))
            terms = metrics.kernel_terms(*features)
            value = terms.sum() / (len(terms) * (len(terms) - 1))
            sets[KD] = 1000 * np.concatenate([[value], replicate_pairs(terms)])
        else:
            not_measured[KD] = FEW
    measured: dict[str, dict[str, Any]] = {}
    replicates: dict[str, list[float]] = {}
    means = replicate_means(np.array(list(columns.values())).T)
    for (name, values), drawn in zip(columns.items(), means.T, strict=True):
        measured[name] = _figure(float(np.mean(values)), drawn)
    for name, drawn in sets.items():
        if not np.isfinite(drawn[0]):
            not_measured[name] = "not defined (no chroma error)" if name == "bleeding" else FEW
            continue
        finite = drawn[1:][np.isfinite(drawn[1:])]
        if len(finite) < len(drawn) - 1:  # a draw without any edge, of very few photos
            measured[name] = {"value": _round(drawn[0])}
            continue
        measured[name] = _figure(float(drawn[0]), finite)
        replicates[name] = [_round(v) for v in finite]
    if judges.inception is not None:
        if len(names) > 1:
            features = (np.stack([_unpack(row["inception"]) for row in r.read(names)]) for r in (rows, truth))
            measured["fid"] = {"value": _round(frechet_distance(*features))}
        else:
            not_measured["fid"] = FEW
    return {
        "measured": {name: measured[name] for name in METRICS if name in measured},
        "not_measured": {name: not_measured[name] for name in METRICS if name in not_measured},
        "per_picture": columns,
        "replicates": replicates,
        "histogram": dict(zip("ab", histogram.tolist(), strict=True)),
        "sweep": _sweep(sweep, np.array(true_cf)[:, 0]),
    }


def _temperatures(candidate: Candidate) -> tuple[float, ...]:
    """Those to sweep: none where the candidate has no temperature."""
    if candidate.network is None:
        return ()
    try:
        candidate.network.check_options(**candidate.options, temperature=TEMPERATURES[0])
    except OptionError:
        return ()
    return TEMPERATURES


def _sweep(sweep: list[list[list[float]]], true_cf: Array) -> list[dict[str, Any]]:
    figures: list[dict[str, Any]] = []
    if not true_cf.any():  # photos without any colour have no share of it
        return figures
    for temperature, values in zip(TEMPERATURES, np.array(sweep).transpose(1, 0, 2) if sweep[0] else (), strict=False):
        means = _with_value(np.column_stack([values, true_cf]))
        gain, share = means[:, 0], 100 * means[:, 1] / means[:, 2]
        entry: dict[str, Any] = {"temperature": temperature}
        for name, drawn in (("gain", gain), ("cf_share", share)):
            entry |= {name: _round(drawn[0]), f"{name}_interval": [_round(v) for v in interval(drawn[1:])]}
        figures.append(entry)
    return figures


def _with_value(columns: Array) -> Array:
    """The means of columns (n, k), then those of their replicates: (1 + 1000, k)."""
    return np.concatenate([columns.mean(0, keepdims=True), replicate_means(columns)])


def _rebalanced(counts: Array, sums: Array) -> Array:
    """Rebalanced AuC in percent of all photos, then of each replicate, from pixels and their AuC per photo and bin.

    Only bins that enough photos have count, the same in every replicate: rare ones are one photo's matter, and no
    interval covers them. NaN where there is no such bin.
    """
    used = counts.astype(bool).sum(0) >= metrics.BIN_PICTURES
    counts, sums = counts[:, used], sums[:, used]
    if not used.any():
        return np.full(1, np.nan)
    of_all = sums.sum(0) / counts.sum(0)
    values = []
    for block in (np.ones((1, len(counts))), *draws(len(counts))):
        pixels = block @ counts
        inside = np.divide(block @ sums, pixels, out=np.tile(of_all, (len(block), 1)), where=pixels > 0)
        values.append(100 * inside.mean(1))
    return np.concatenate(values)


def _kernel_sample(names: Sequence[str]) -> list[str]:
    if len(names) <= MAX_KERNEL_PICTURES:
        return list(names)
    chosen = np.random.default_rng(SEED).choice(len(names), MAX_KERNEL_PICTURES, replace=False)
    return [names[i] for i in np.sort(chosen)]


def _figure(value: float, replicates: Array) -> dict[str, Any]:
    return {"value": _round(value), "interval": [_round(v) for v in interval(replicates)]}


def _round(value: float) -> float:
    """``value`` to six significant digits."""
    if value == 0 or not math.isfinite(value):
        return float(value)
    return float(f"{value:.{_DIGITS}g}")


def _pack(vector: Array) -> str:
    return base64.b64encode(vector.astype(np.float16).tobytes()).decode()


def _unpack(text: str) -> Array:
    return np.frombuffer(base64.b64decode(text), np.float16).astype(np.float32)
