"""Result files of films: what the evaluator writes, and the only source of the numbers in the report."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import ZooError
from zoo.evaluation.films.metrics import AGAINST, METRICS, Array
from zoo.evaluation.films.protocol import FILM, PER_FRAME, TRUTH, WAYS
from zoo.evaluation.results import as_text, file_name, is_number, refuse, require, write_text
from zoo.evaluation.statistics import interval, replicate_means

FORMAT = "films 1"
Columns = Mapping[str, Mapping[str, Sequence[float]]]  # by way and metric a value for each clip

_DIGITS = 6
_OF_CLIPS = {"cf_share", "warp_excess"}  # of METRICS, those that follow from the others


@dataclass(frozen=True, kw_only=True)
class FilmResult:
    """One set of weights, in one style, on the clips of one benchmark.

    Attributes:
        label: What tables call it: ``fusion:vivid``.
        model: Its name in the registry.
        tag: Of the weights.
        weights: As in `zoo.evaluation.results.Result`, like the next three.
        options: It was evaluated with.
        benchmark: The name of the clips.
        protocol: `FilmProtocol.stated`.
        data: ``sha256`` of the clips' names and contents, ``names`` of those compared, ``left_out`` (name: why), their
            ``folder`` where it lies below that of the run, ``credits`` (name: title, author, licence, source) of those
            that may be shown, and of each clip in ``clips`` its frames, size, cuts and fastest frame.
        measured: By way and metric its ``value`` and 95 % ``interval``.
        against: How the film compares with every frame by itself, likewise by metric.
        per_clip: By way and metric the values, in the order of the names.
        series: By clip and way the warp error of each frame towards the one before; None where it begins a scene.
        cut_differences: By clip, of the first frame after each cut: ``frame``, and how far the film's colours are
            from those of the frame by itself, ``mean`` and ``max`` in ab.
        cost: Frames a second and peak memory of `colorize_video`, and of what.
        versions: Of the packages, and of the code that colours films.
        machine: Processor, threads, whether it computes in bfloat16.
        run: The ``seconds`` it took for all its ``labels`` together, and its ``date``.
    """

    label: str
    model: str
    tag: str | None = None
    weights: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    benchmark: str
    protocol: dict[str, Any]
    data: dict[str, Any]
    measured: dict[str, dict[str, dict[str, Any]]]
    against: dict[str, dict[str, Any]]
    per_clip: dict[str, dict[str, list[float]]]
    series: dict[str, dict[str, list[float | None]]]
    cut_differences: dict[str, list[dict[str, float]]]
    cost: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str]
    machine: dict[str, Any]
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Of the clips that were compared."""
        names: list[str] = self.data["names"]
        return names

    @property
    def file_name(self) -> str:
        """Of its file in the benchmark's folder."""
        return file_name(self.model, self.tag, self.options)

    @cached_property
    def digest(self) -> str:
        """The sha256 of the file's text."""
        return hashlib.sha256(to_text(self).encode()).hexdigest()

    def value(self, way: str, metric: str) -> float | None:
        """The figure; None where there is none."""
        entry = self.measured[way].get(metric)
        return None if entry is None else float(entry["value"])

    def of_clip(self, name: str, way: str, metric: str) -> float | None:
        """The figure of one clip; None where there is none."""
        values = self.per_clip[way].get(metric)
        return None if values is None else values[self.names.index(name)]


def figures(per_clip: Columns) -> dict[str, dict[str, dict[str, Any]]]:
    """The figures of all clips by way and metric, with their intervals: means, and what is made of means."""
    means = _means(per_clip)
    measured: dict[str, dict[str, dict[str, Any]]] = {}
    for way, columns in per_clip.items():
        drawn = {name: means[way, name] for name in columns}
        if (means[TRUTH, "cf_abs"] > 0).all():
            drawn["cf_share"] = 100 * means[way, "cf_abs"] / means[TRUTH, "cf_abs"]
        drawn["warp_excess"] = means[way, "warp_error"] - means[TRUTH, "warp_error"]
        measured[way] = {name: _figure(drawn[name]) for name in METRICS if name in drawn}
    return measured


def against(per_clip: Columns, cut_differences: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, Any]:
    """How the film compares with every frame by itself, over all clips; what is not defined is left out."""
    means = _means(per_clip)
    own, each = (means[way, "warp_error"] - means[TRUTH, "warp_error"] for way in (FILM, PER_FRAME))
    drawn = {"gain_kept": means[FILM, "gain"] - means[PER_FRAME, "gain"]}
    with np.errstate(divide="ignore", invalid="ignore"):
        if each[0] > 0:
            drawn["excess_share"] = 100 * own / np.where(each > 0, each, np.nan)
        if means[PER_FRAME, "warp_error"][0] > 0:
            drawn["warp_share"] = 100 * means[FILM, "warp_error"] / means[PER_FRAME, "warp_error"]
        if means[PER_FRAME, "cf_abs"][0] > 0:
            drawn["cf_kept"] = 100 * means[FILM, "cf_abs"] / means[PER_FRAME, "cf_abs"]
    found = {name: _figure(values) for name, values in drawn.items()}
    largest = [cut["max"] for cuts in cut_differences.values() for cut in cuts]
    if largest:
        found["cut_difference"] = {"value": max(largest)}
    return {name: found[name] for name in AGAINST if name in found}


def _means(per_clip: Columns) -> dict[tuple[str, str], Array]:
    """By way and metric the mean over clips, then its bootstrap replicates: (1 + 1000,)."""
    keys = [(way, name) for way, columns in per_clip.items() for name in columns]
    table = np.array([per_clip[way][name] for way, name in keys], np.float64).T
    drawn = np.concatenate([table.mean(0, keepdims=True), replicate_means(table)])
    return dict(zip(keys, drawn.T, strict=True))


def _figure(drawn: Array) -> dict[str, Any]:
    """The value and its interval; no interval where some draw of the clips has no such figure."""
    figure: dict[str, Any] = {"value": float(f"{drawn[0]:.{_DIGITS}g}")}
    if np.isfinite(drawn[1:]).all():
        figure["interval"] = [float(f"{end:.{_DIGITS}g}") for end in interval(drawn[1:])]
    return figure


def to_text(result: FilmResult) -> str:
    """The file's text."""
    return as_text({"format": FORMAT, **asdict(result)})


def write(result: FilmResult, folder: Path) -> Path:
    """Write the result into ``folder``, beside its place first and then moved there.

    Raises:
        ZooError: The folder cannot be written.
    """
    target = folder / result.file_name
    write_text(target, to_text(result))
    return target


def holds_films(folder: Path) -> bool:
    """Whether the results in a benchmark's folder are those of films; it is asked of the first of them."""
    for path in sorted(folder.glob("*.json")):
        try:
            found = json.loads(path.read_text(encoding="utf-8")).get("format")
        except (OSError, ValueError, AttributeError, RecursionError):
            return False  # whoever reads it says what is wrong with it
        return str(found).startswith("films ")
    return False


def read(path: Path) -> FilmResult:
    """The result that a file holds.

    Raises:
        ZooError: It cannot be read, is not a result of this format, or its figures are not those of its clips.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
        if table.pop("format") != FORMAT or set(table) != {f.name for f in fields(FilmResult)}:
            raise ValueError("another format")
        result = FilmResult(**table)
        _check(result)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise ZooError(
            f"{path}: not a result of the evaluator for films",
            found=f"{type(error).__name__}: {error}",
            expected=f"a JSON file of format {FORMAT!r}, as `colorzoo evaluate --video` writes it",
            remedy="evaluate again",
        ) from error
    return result


def _check(result: FilmResult) -> None:
    """Refuse a result with values of another kind than the evaluator writes, or edited by hand.

    Raises:
        ValueError: What is wrong with it.
    """
    for name in ("label", "model", "benchmark"):
        require(isinstance(getattr(result, name), str), name)
    tables = ("weights", "options", "protocol", "data", "cost", "versions", "machine", "run")
    for name in tables:
        require(isinstance(getattr(result, name), dict), name)
    data, names = result.data, result.names
    require(isinstance(data["sha256"], str) and bool(names) and all(isinstance(n, str) for n in names), "data")
    require(all(isinstance(data[name], dict) for name in ("left_out", "credits", "clips")), "data")
    for each in (data["clips"], result.series, result.cut_differences):
        require(set(each) == set(names), "clips, series or cut_differences")
    require(set(result.per_clip) == set(WAYS), "per_clip")
    for way, columns in result.per_clip.items():
        expected = set(METRICS) - _OF_CLIPS - ({"gain"} if way == TRUTH else set())
        require(set(columns) == expected, f"per_clip.{way}")
        for values in columns.values():
            require(len(values) == len(names) and all(map(is_number, values)), f"per_clip.{way}")
    for name in names:
        clip = data["clips"][name]
        require(all(is_number(clip[key]) for key in ("frames", "height", "width", "rate", "runs")), "data.clips")
        for changes in result.series[name].values():
            require(len(changes) == clip["frames"] and all(v is None or is_number(v) for v in changes), "series")
        require(all(is_number(cut[key]) for cut in result.cut_differences[name] for key in ("frame", "max")), "cuts")
    require(_same(result.measured, figures(result.per_clip)), "measured, edited by hand")
    require(_same(result.against, against(result.per_clip, result.cut_differences)), "against, edited by hand")


def _same(stated: Any, computed: Any) -> bool:
    """Whether two tables hold the same figures, up to the rounding of another machine."""
    if isinstance(computed, dict):
        return stated.keys() == computed.keys() and all(_same(stated[k], v) for k, v in computed.items())
    if isinstance(computed, list):
        return len(stated) == len(computed) and all(map(_same, stated, computed))
    return is_number(stated) and math.isclose(stated, computed, rel_tol=1e-4, abs_tol=1e-4)


def read_all(folder: Path) -> list[FilmResult]:
    """The results in a benchmark's folder, by gain.

    Raises:
        ZooError: There is none, one cannot be read, or they must not stand in one table.
    """
    found = [read(path) for path in sorted(folder.glob("*.json"))]
    if not found:
        raise ZooError(f"{folder}: no results", remedy="make some with `colorzoo evaluate --video`")
    check_comparable(found)
    return sorted(found, key=lambda r: (-(r.value(FILM, "gain") or 0.0), r.label))


def check_comparable(results: Sequence[FilmResult]) -> None:
    """Refuse results that must not stand in one table.

    Raises:
        ZooError: Another protocol, or other clips.
    """
    first, *others = results
    for other in others:
        differ = [
            k for k in first.protocol.keys() | other.protocol.keys() if first.protocol.get(k) != other.protocol.get(k)
        ]
        if differ or (first.data["sha256"], first.names) != (other.data["sha256"], other.names):
            raise ZooError(
                f"{first.label} and {other.label} must not stand in one table",
                found=f"protocols that differ in {', '.join(sorted(differ))}" if differ else "different clips",
                remedy="evaluate them in the same way, on the same clips",
            )
