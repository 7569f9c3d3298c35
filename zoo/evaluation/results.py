"""Result files: what the evaluator writes, and the only source of the numbers in reports, cards and the README."""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from zoo.errors import ZooError
from zoo.evaluation.metrics import HISTOGRAM_STEP, METRICS, Metric
from zoo.evaluation.statistics import REPLICATES, Difference, interval, paired, replicate_means

Array = npt.NDArray[Any]

FORMAT = 1
TRUTH, GREY, MEAN = "truth", "grayscale", "mean_ab"
BASELINES = (GREY, MEAN, TRUTH)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One set of weights, in one style, on one benchmark.

    Attributes:
        label: What tables call it: ``fusion:vivid``, ``regression.scratch``, ``grayscale``.
        kind: A model of the zoo, or a baseline that stands in every table.
        model: Its name in the registry; the baseline's name.
        tag: Of the weights; None without weights.
        weights: sha256, size_bytes, license and commercial_use, as far as there are weights.
        options: The run-time options that it was evaluated with, such as ``{"style": "vivid"}``.
        benchmark: The name of the photos.
        protocol: `Protocol.stated`.
        data: ``sha256`` of the photos' names and contents, ``names`` of those compared, ``left_out`` (name: why),
            their ``folder`` where it lies below the folder of the run,
            and ``credits`` (name: author, licence, source) of those that may be shown.
        measured: By metric its ``value`` and, where there is one, its 95 % ``interval``.
        not_measured: By metric, why.
        per_picture: By metric the values, in the order of the names.
        replicates: By metric of a whole set, its bootstrap replicates.
        histogram: Pixels per cell of 5 units of ``a`` and ``b``, from -110 to 110.
        sweep: For models with a temperature, figures at several: ``temperature``, ``gain``, ``cf_share``.
        cost: ms per picture, peak memory, parameters, GFLOPs and what they were measured with.
        versions: Of the packages.
        machine: Processor, threads, whether it computes in bfloat16.
        run: The ``seconds`` it took for all its ``labels`` together, on how many ``pictures``, and its ``date``.
    """

    label: str
    kind: Literal["model", "baseline"]
    model: str
    tag: str | None = None
    weights: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    benchmark: str
    protocol: dict[str, Any]
    data: dict[str, Any]
    measured: dict[str, dict[str, Any]]
    not_measured: dict[str, str] = field(default_factory=dict)
    per_picture: dict[str, list[float]]
    replicates: dict[str, list[float]] = field(default_factory=dict)
    histogram: dict[str, list[int]]
    sweep: list[dict[str, float]] = field(default_factory=list)
    cost: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str]
    machine: dict[str, Any]
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Of the photos that were compared."""
        names: list[str] = self.data["names"]
        return names

    @property
    def file_name(self) -> str:
        """Of its file in the benchmark's folder: ``fusion.base+vivid.json``."""
        return file_name(self.model, self.tag, self.options)

    @cached_property
    def digest(self) -> str:
        """The sha256 of the file's text."""
        return hashlib.sha256(to_text(self).encode()).hexdigest()

    def value(self, metric: str) -> float | None:
        """The figure; None where it was not measured."""
        entry = self.measured.get(metric)
        return None if entry is None else float(entry["value"])

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Its 95 % interval; None where there is none."""
        entry = self.measured.get(metric) or {}
        return tuple(entry["interval"]) if entry.get("interval") else None

    @cached_property
    def _replicate_columns(self) -> dict[str, Array]:
        means = replicate_means(np.array(list(self.per_picture.values()), np.float64).T)
        stored = {name: np.array(values) for name, values in self.replicates.items()}
        return dict(zip(self.per_picture, means.T, strict=True)) | stored

    def replicates_of(self, metric: str) -> Array | None:
        """The figure's bootstrap replicates, (1000,), paired with those of other results on the same photos."""
        return self._replicate_columns.get(metric)

    def minus(self, other: "Result", metric: str) -> Difference | None:
        """How much higher this result is than ``other``, by paired bootstrap; None where either lacks replicates.

        Raises:
            ZooError: They were not made of the same photos in the same way.
        """
        check_comparable([self, other])
        own, theirs = self.replicates_of(metric), other.replicates_of(metric)
        a, b = self.value(metric), other.value(metric)
        if own is None or theirs is None or a is None or b is None:
            return None
        return paired(a, b, own, theirs)


def file_name(model: str, tag: str | None, options: dict[str, Any]) -> str:
    """The file's name of a result: model, tag, and with a plus sign each option."""
    parts = [str(v) if k == "style" else f"{k}={v:g}" for k, v in sorted(options.items())]
    return "+".join([model if tag is None else f"{model}.{tag}", *parts]) + ".json"


def check_comparable(results: Sequence[Result]) -> None:
    """Refuse results that must not stand in one table.

    Raises:
        ZooError: Another protocol, or other photos; what differs is named.
    """
    first, *others = results
    for other in others:
        for key in sorted(first.protocol.keys() | other.protocol.keys()):
            ours, theirs = first.protocol.get(key), other.protocol.get(key)
            if ours != theirs:
                raise ZooError(
                    f"{first.label} and {other.label} must not stand in one table: the protocols differ in {key!r}",
                    found=f"{ours} and {theirs}",
                    remedy="evaluate them in the same way",
                )
        if (first.data["sha256"], first.names) != (other.data["sha256"], other.names):
            raise ZooError(
                f"{first.label} and {other.label} must not stand in one table: they were made of different photos",
                found=f"{len(first.names)} and {len(other.names)} photos",
                remedy="evaluate them on the same photos",
            )


def better(metric: Metric, value: float, than: float) -> bool:
    """Whether ``value`` is better than another; of a metric that has a better end."""
    return value > than if metric.higher_is_better else value < than


def best(results: Sequence[Result], metric: str) -> Result | None:
    """The best of ``results`` by a metric that has a better end; None where none has a figure."""
    known = [r for r in results if r.value(metric) is not None]
    if not known or METRICS[metric].higher_is_better is None:
        return None
    sign = 1 if METRICS[metric].higher_is_better else -1
    return max(known, key=lambda r: sign * (r.value(metric) or 0.0))


def to_text(result: Result) -> str:
    """The file's text."""
    return as_text({"format": FORMAT, **asdict(result)})


def as_text(table: dict[str, Any]) -> str:
    """JSON with one line for each list of numbers."""

    def lines(value: Any, depth: int) -> str:
        pad = "  " * (depth + 1)
        if isinstance(value, dict) and value and depth < 3:
            body = ",\n".join(f"{pad}{json.dumps(k)}: {lines(v, depth + 1)}" for k, v in value.items())
            return "{\n" + body + "\n" + "  " * depth + "}"
        return json.dumps(value, ensure_ascii=False, allow_nan=False)

    return lines(table, 0) + "\n"


def write(result: Result, folder: Path) -> Path:
    """Write the result into ``folder``, beside its place first and then moved there.

    Raises:
        ZooError: The folder cannot be written.
    """
    target = folder / result.file_name
    write_text(target, to_text(result))
    return target


def write_text(target: Path, text: str | bytes) -> None:
    """Write a file beside its place first, then move it there; folders are made.

    Raises:
        ZooError: It cannot be written.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
        part.replace(target)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ZooError(f"{target}: cannot be written", found=error.strerror) from error


def read(path: Path) -> Result:
    """The result that a file holds.

    Raises:
        ZooError: It cannot be read, is not a result of this format, or its figures are not those of its pictures.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
        if table.pop("format") != FORMAT or set(table) != {f.name for f in fields(Result)}:
            raise ValueError("another format")
        result = Result(**table)
        _check(result)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ZooError(
            f"{path}: not a result of the evaluator",
            found=f"{type(error).__name__}: {error}",
            expected=f"a JSON file of format {FORMAT}, as `colorzoo evaluate` writes it",
            remedy="evaluate again",
        ) from error
    return result


def refuse(constant: str) -> float:
    """Of JSON's parser, for NaN and infinities.

    Raises:
        ValueError: Always.
    """
    raise ValueError(f"{constant} is no figure")


def _check(result: Result) -> None:
    """Refuse a result with values of another kind than the evaluator writes, or edited by hand.

    Raises:
        ValueError: What is wrong with it.
    """
    for name in ("label", "kind", "model", "benchmark"):
        require(isinstance(getattr(result, name), str), name)
    tables = ("weights", "options", "protocol", "data", "measured", "not_measured", "per_picture", "replicates")
    for name in (*tables, "histogram", "cost", "versions", "machine", "run"):
        require(isinstance(getattr(result, name), dict), name)
    data = result.data
    require(isinstance(data["sha256"], str) and isinstance(data["names"], list) and bool(data["names"]), "data")
    require(all(isinstance(name, str) for name in data["names"]), "data.names")
    for name in ("left_out", "credits"):
        require(isinstance(data[name], dict), f"data.{name}")
    require(all(isinstance(credit, dict) for credit in data["credits"].values()), "data.credits")
    require(all(isinstance(reason, str) for reason in result.not_measured.values()), "not_measured")
    require(set(result.histogram) == {"a", "b"}, "histogram")
    numbers = {
        **{f"per_picture.{k}": (v, len(data["names"])) for k, v in result.per_picture.items()},
        **{f"replicates.{k}": (v, REPLICATES) for k, v in result.replicates.items()},
        **{f"histogram.{k}": (v, 220 // HISTOGRAM_STEP) for k, v in result.histogram.items()},
        **{f"measured.{k}.interval": (v["interval"], 2) for k, v in result.measured.items() if "interval" in v},
    }
    for name, (values, length) in numbers.items():
        require(isinstance(values, list) and len(values) == length and all(map(is_number, values)), name)
    require({"gain", "ciede2000", "cf_abs"} <= result.per_picture.keys(), "per_picture")
    for name, entry in result.measured.items():
        require(name in METRICS and is_number(entry["value"]), f"measured.{name}")
    for point in result.sweep:
        require(all(is_number(point[key]) for key in ("temperature", "gain", "cf_share")), "sweep")
    require(all(is_number(v) for k, v in result.cost.items() if k not in {"dtype", "device"}), "cost")
    for name, values in result.per_picture.items():
        mean, stated = float(np.mean(values)), result.measured[name]["value"]
        require(math.isclose(mean, stated, rel_tol=1e-4, abs_tol=1e-4), f"measured.{name}, edited by hand")
    for name in (*result.per_picture, *result.replicates):
        drawn, ends = result.replicates_of(name), result.interval(name)
        fits = drawn is not None and ends is not None and np.allclose(interval(drawn), ends, rtol=1e-3, atol=1e-3)
        require(fits, f"measured.{name}.interval, edited by hand")


def require(fits: bool, what: str) -> None:
    """Refuse a file of which something does not fit.

    Raises:
        ValueError: It does not.
    """
    if not fits:
        raise ValueError(f"wrong value of {what}")


def is_number(value: object) -> bool:
    """Whether ``value``, read from JSON, is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_all(folder: Path) -> list[Result]:
    """The results in a benchmark's folder: models first, then the baselines, by gain within both.

    Raises:
        ZooError: There is none, one cannot be read, or they must not stand in one table.
    """
    results = [read(path) for path in sorted(folder.glob("*.json"))]
    if not results:
        raise ZooError(f"{folder}: no results", remedy="make some with `colorzoo evaluate`")
    check_comparable(results)
    order = {GREY: 0, MEAN: 1, TRUTH: 2}
    return sorted(
        results, key=lambda r: (r.kind == "baseline", order.get(r.label, -1), -(r.value("gain") or 0.0), r.label)
    )
