"""Results -> the comparative report: Markdown for reading in a repository, and one HTML file that needs no network."""

import base64
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from zoo import registry
from zoo.errors import ZooError
from zoo.evaluation import plots
from zoo.evaluation.metrics import KD, METRICS
from zoo.evaluation.results import BASELINES, TRUTH, Result, best, better, check_comparable
from zoo.evaluation.statistics import interval, replicate_means

if TYPE_CHECKING:
    import jinja2

Pictures = Callable[[Sequence[str]], Mapping[str, Mapping[str, Image.Image]]]

HEADLINE = ("gain", "ciede2000", "auc", "auc_rebalanced", "cf_share", KD, "agreement_top1", "ms")
COMPARED = ("gain", "ciede2000", "auc_rebalanced")  # whose differences are listed pair by pair
PEER_METRICS = ("gain", "ciede2000", "cf_share")
PERCENTILES = (10, 30, 50, 70, 90)
EXTREMES = 3  # best and worst photos each
FEW = 30  # photos, below which the bootstrap is too sure of itself
CROPS = {"center": "the largest central square", "none": "the whole photo squashed to a square"}
AGEINGS = {"none": "", "seeded": ", aged like an old print (faded, blurred, grainy, scratched, compressed)"}

_FINDINGS = {
    "gain": "Closest to the true colours, by gain over grey",
    "ciede2000": "Closest to the true colours as people see differences, by CIEDE2000",
    "auc_rebalanced": "Best at rare colours, by rebalanced AuC",
    "delta_cf_abs": "Nearest to the colorfulness of the real photos",
    KD: "Most like real photos to an ImageNet network, by kernel distance",
    "agreement_top1": "Most often taken for the same thing as the real photo",
}
_HERE = Path(__file__).parent
_PAYLOAD = re.compile(r"(data:[\w.+/-]+;base64,)[A-Za-z0-9+/=]*")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~#])")
_JOINTS = re.compile(r"([.:_/-]+)")  # after which a long name may go on in the next line
_LINK = re.compile(r"https?://[^\s<>\"'`\\|()\[\]{}]+")


class Column(NamedTuple):
    """A column of the leaderboard: a metric, or a cost."""

    key: str
    title: str
    unit: str
    higher_is_better: bool | None
    decimals: int
    about: str
    reference: str = ""
    cost: str = ""  # the key in `Result.cost`, of a cost
    scale: float = 1.0


_COSTS = (
    Column("ms", "time", "ms", False, 0, "median per picture of this benchmark, from pixels to pixels", cost="ms"),
    Column(
        "memory", "memory", "MB", False, 0, "peak of a process that colours one picture", cost="peak_memory_mb"
    ),
    Column("parameters", "parameters", "M", False, 2, "of the network, in millions", cost="parameters", scale=1e-6),
    Column("gflops", "GFLOPs", "", False, 1, "2 for each multiply-add, at the model's working size", cost="gflops"),
    Column("file", "file", "MB", False, 1, "size of the weights", cost="file_mb"),
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """A figure as it is printed; ``sort`` is what a click on its heading sorts by."""

    text: str
    interval: str = ""
    sort: float | None = None
    best: bool = False
    tie: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """The leaderboard."""

    columns: list[Column]
    models: list[tuple[Result, list[Cell]]]
    baselines: list[tuple[Result, list[Cell]]]
    notes: dict[str, list[str]]  # reasons, and the columns that they apply to

    @property
    def short(self) -> int:
        """How many columns the short table has: the first so many."""
        return sum(c.key in HEADLINE for c in self.columns)


class Pair(NamedTuple):
    """Row minus column; ``better`` tells whether that favours the row."""

    text: str
    interval: str
    real: bool
    better: bool


class Shot(NamedTuple):
    """A photo that the rule chose."""

    name: str
    error: str  # its CIEDE2000, the mean over the models
    errors: list[str]  # that of each model
    credit: Mapping[str, str]


class Group(NamedTuple):
    """Photos that one sheet shows."""

    key: str
    title: str
    shots: list[Shot]


def render(
    results: Sequence[Result], *, title: str, pictures: Pictures | None = None, show: bool | None = None
) -> dict[str, str | bytes]:
    """The report's files by relative name: ``README.md``, ``index.html``, plots and, where photos may be shown, sheets.

    Args:
        results: Of one benchmark, as `zoo.evaluation.results.read_all` gives them.
        title: The heading.
        pictures: For names of photos gives their pictures by column: ``grey``, each model's label, ``truth``. It is
            asked for what the rule chose and nothing else. None leaves out the sheets and their pixels; the text is
            the same.
        show: Whether photos are shown at all; None: where all of them have credits, see `shown`.

    Raises:
        ZooError: No model among the results, results that must not stand in one table, or jinja2 or matplotlib missing.
    """
    models = sorted((r for r in results if r.kind == "model"), key=lambda r: (-(r.value("gain") or 0), r.label))
    if not models:
        raise ZooError("a report needs the result of a model", found=[r.label for r in results])
    check_comparable(results)
    fixed = sorted((r for r in results if r.kind == "baseline"), key=lambda r: BASELINES.index(r.label))
    ordered = [*models, *fixed]
    show = shown(results) if show is None else show
    groups = _groups(ordered)
    figures = plots.plots(ordered)
    sheets: dict[str, bytes] = {}
    if show and pictures is not None:
        captions = {g.key: {s.name: f"{s.name}: CIEDE2000 {s.error}" for s in g.shots} for g in groups}
        found = pictures([name for names in captions.values() for name in names])
        sheets = plots.sheets(captions, [m.label for m in models], found)
    table = _table(models, fixed)
    context: dict[str, Any] = {
        "title": title,
        "models": models,
        "colors": plots.colors(models),
        "first": models[0],
        "photos": len(models[0].names),
        "few": len(models[0].names) < FEW,
        "preparation": preparation(models[0]),
        "dates": sorted({r.run["date"] for r in ordered if "date" in r.run}),
        "machines": _grouped([(m.label, _machine(m)) for m in models if m.cost]),
        "findings": _findings(models, fixed),
        "table": table,
        "matrices": [(METRICS[m], _matrix(models, m)) for m in COMPARED] if len(models) > 1 else [],
        "sources": _sources(models, next((r for r in fixed if r.label == TRUTH), None)),
        "show": show,
        "groups": groups,
        "percentiles": PERCENTILES,
        "peers": _peers(models),
        "peer_metrics": [METRICS[m] for m in PEER_METRICS],
        "published": tomllib.loads((_HERE / "published.toml").read_text(encoding="utf-8")),
        "protocol": {k: v for k, v in models[0].protocol.items() if k != "metrics"},
        "results": ordered,
        "left_out": models[0].data["left_out"],
        "versions": _grouped([(r.label, ", ".join(f"{k} {v}" for k, v in r.versions.items())) for r in ordered]),
        "runs": _grouped([(r.label, _run(r.run)) for r in ordered if r.run]),
        "plots": {name: data_uri("image/svg+xml", content) for name, content in figures.items()},
        "sheets": {g.key: data_uri("image/jpeg", sheets.get(g.key, b"")) for g in groups},
    }
    texts = {name: environment(name).get_template(f"report.{name}.j2").render(context) for name in ("md", "html")}
    files = {f"{group}.jpg": content for group, content in sheets.items()}
    return {"README.md": texts["md"], "index.html": texts["html"], **figures, **files}


def _peers(models: Sequence[Result]) -> list[dict[str, Any]]:
    """The models of others whose published weights the zoo can use, with their figures where they were measured."""
    rows = []
    for name in registry.list_models():
        spec, cls = registry.find(name)
        for weights in spec.weights if cls.__module__.startswith("zoo.") else ():
            if not weights.convert_from:
                continue
            found = [r for r in models if (r.model, r.tag) == (name, weights.tag)]
            figures = [[_peer_figure(r, metric) for metric in PEER_METRICS] for r in found]
            rows.append({"name": f"{name}.{weights.tag}", "license": weights.license, "figures": figures, "spec": spec})
    return rows


def _peer_figure(result: Result, metric: str) -> str:
    value, record = result.value(metric), METRICS[metric]
    return "–" if value is None else f"{value:{'+' if metric == 'gain' else ''}.{record.decimals}f}"


def preparation(result: Result) -> str:
    """In words, what the photos of a result were made to: which part of them, how large, whether aged."""
    crop, size, ageing = result.protocol["crop"], result.protocol["size"], result.protocol.get("ageing", "none")
    return f"{CROPS.get(crop, crop)} of each at {size} × {size} pixels{AGEINGS.get(ageing, ageing)}"


def stripped(text: str) -> str:
    """``text`` without what its data URIs hold: what is compared to find out whether a report is stale."""
    return _PAYLOAD.sub(r"\1", text)


def shown(results: Sequence[Result]) -> bool:
    """Whether the photos may be shown: each of those compared is credited."""
    return all(r.data.get("credits", {}).get(name) for r in results for name in r.names)


def worst_by(result: Result, count: int = 4) -> list[str]:
    """The photos on which this result is furthest from the truth by CIEDE2000, the worst first."""
    errors = result.per_picture["ciede2000"]
    return sorted(result.names, key=dict(zip(result.names, errors, strict=True)).__getitem__, reverse=True)[:count]


def choose(results: Sequence[Result]) -> dict[str, list[str]]:
    """The photos that stand for the rest, by a rule and by no one's taste.

    The photos are sorted by their CIEDE2000, the mean over the models. The lowest three are ``best``, the highest three
    ``worst`` (a third of the photos each, where there are fewer than nine), those at five percentiles, unless they are
    among the former, ``representative``.
    """
    errors = _errors(results)
    names = sorted(errors, key=lambda name: (errors[name], name))
    count = min(EXTREMES, len(names) // 3)
    low, high = names[:count], names[len(names) - count :][::-1]
    at = [names[int(p * (len(names) - 1) / 100 + 0.5)] for p in PERCENTILES]
    return {"representative": [n for n in dict.fromkeys(at) if n not in (*low, *high)], "best": low, "worst": high}


def _run(run: Mapping[str, Any]) -> str:
    took = f"in {run['seconds']} s" if "seconds" in run else "in several goes"
    return f"{run.get('date')}: {run.get('labels')} results of {run.get('pictures')} photos {took}"


def source_of(name: str) -> str:
    """Where a photo comes from, as its name says it: the part before two underscores, else its folder."""
    folder, _, file = name.rpartition("/")
    return file.partition("__")[0] if "__" in file else folder or "all"


def _errors(results: Sequence[Result]) -> dict[str, float]:
    """By photo its CIEDE2000, the mean over the models."""
    models = [r for r in results if r.kind == "model"]
    means = np.mean([m.per_picture["ciede2000"] for m in models], axis=0)
    return dict(zip(models[0].names, means.tolist(), strict=True))


def _groups(results: Sequence[Result]) -> list[Group]:
    means, chosen = _errors(results), choose(results)
    credits: dict[str, Any] = results[0].data.get("credits", {})
    tables = [dict(zip(r.names, r.per_picture["ciede2000"], strict=True)) for r in results if r.kind == "model"]
    at = ", ".join(f"{p}th" for p in PERCENTILES)
    titles = {
        "representative": f"Representative: the photos at the {at} percentile",
        "best": f"Best: the {len(chosen['best'])} with the lowest CIEDE2000",
        "worst": f"Worst: the {len(chosen['worst'])} with the highest CIEDE2000",
    }

    def shot(name: str) -> Shot:
        return Shot(name, number(means[name], 1), [number(t[name], 1) for t in tables], credits.get(name, {}))

    return [Group(key, titles[key], [shot(name) for name in names]) for key, names in chosen.items() if names]


def _columns(variants: Mapping[str, str]) -> list[Column]:
    """Those of the short table, then the rest; ``variants`` are the results' own words for what was computed."""
    metrics = [
        Column(m.name, m.title, m.unit, m.higher_is_better, m.decimals, variants.get(m.name, m.variant), m.reference)
        for m in METRICS.values()
    ]
    return sorted([*metrics, *_COSTS], key=lambda c: HEADLINE.index(c.key) if c.key in HEADLINE else len(HEADLINE))


def _table(models: Sequence[Result], fixed: Sequence[Result]) -> Table:
    columns = _columns(models[0].protocol["metrics"])
    notes = _Notes()

    def row(result: Result) -> list[Cell]:
        return [_cost_cell(result, c, models, notes) if c.cost else _cell(result, c, models, notes) for c in columns]

    return Table(columns, [(m, row(m)) for m in models], [(b, row(b)) for b in fixed], notes)


class _Notes(dict[str, list[str]]):
    """Footnotes: by reason what it applies to."""

    def mark(self, reason: str, applies_to: str) -> str:
        """The number of the footnote."""
        titles = self.setdefault(reason, [])
        titles += [applies_to] * (applies_to not in titles)
        return str(list(self).index(reason) + 1)


def _cell(result: Result, column: Column, models: Sequence[Result], notes: _Notes) -> Cell:
    value = result.value(column.key)
    if value is None:
        reason = result.not_measured.get(column.key, "not measured")
        return Cell(reason.partition(" (")[0], mark=notes.mark(reason, column.title))
    if result.label == TRUTH and column.key in ("gain", "psnr"):
        return Cell("∞", sort=value)  # capped in the file, to keep means finite
    first = best(models, column.key) if result.kind == "model" else None
    leads = first is not None and value == first.value(column.key)
    gap = result.minus(first, column.key) if first is not None and not leads else None
    return Cell(
        number(value, column.decimals),
        span(result.interval(column.key), column.decimals),
        value,
        best=leads,
        tie=gap is not None and not gap.real,
    )


def _cost_cell(result: Result, column: Column, models: Sequence[Result], notes: _Notes) -> Cell:
    value = result.cost.get(column.cost)
    if value is None:
        return Cell("–" if result.kind == "baseline" else "not measured")
    mark = ""
    if column.key in ("ms", "memory") and result.machine != models[0].machine:
        mark = notes.mark(f"on another machine, not to be compared: {_machine(result)}", column.title)
    text = number(value * column.scale, column.decimals if value * column.scale < 100 else 0)
    return Cell(text, sort=float(value), mark=mark)


def _findings(models: Sequence[Result], fixed: Sequence[Result]) -> list[dict[str, Any]]:
    """Which model leads by what, what does not really differ from it, and which baseline beats it all the same."""
    found = []
    for metric, says in _FINDINGS.items():
        leader = best(models, metric)
        if leader is None or len(models) < 2:
            continue
        others = [r for r in (*models, *fixed) if r is not leader and r.label != TRUTH]
        gaps = {r.label: gap for r in others if (gap := r.minus(leader, metric)) is not None}
        shown_as = METRICS["cf_share" if metric == "delta_cf_abs" else metric]
        figure = number(leader.value(shown_as.name) or 0, shown_as.decimals)
        found.append(
            {
                "says": says,
                "label": leader.label,
                "figure": f"{figure} {shown_as.unit}".strip(),
                "ties": [label for label, gap in gaps.items() if not gap.real],
                "beaten": [label for label, g in gaps.items() if g.real and better(METRICS[metric], g.value, 0)],
            }
        )
    return found


def _matrix(models: Sequence[Result], metric: str) -> list[tuple[Result, list[Pair | None]]]:
    decimals = METRICS[metric].decimals

    def pair(row: Result, column: Result) -> Pair | None:
        gap = None if row is column else row.minus(column, metric)
        if gap is None:
            return None
        favours = better(METRICS[metric], gap.value, 0)
        return Pair(number(gap.value, decimals, "+"), span(gap[1:], decimals, "+"), gap.real, favours)

    return [(row, [pair(row, column) for column in models]) for row in models]


def _sources(models: Sequence[Result], truth: Result | None) -> list[tuple[str, int, list[list[Cell]]]]:
    """By source of the photos: its name, how many, and for each of three figures a cell per model."""
    by_source: dict[str, list[int]] = {}
    for i, name in enumerate(models[0].names):
        by_source.setdefault(source_of(name), []).append(i)
    if len(by_source) < 2:
        return []

    def cells(model: Result, at: list[int]) -> list[Cell]:
        of_truth = truth.per_picture["cf_abs"] if truth is not None else [0.0] * len(model.names)
        columns = [model.per_picture["gain"], model.per_picture["ciede2000"], model.per_picture["cf_abs"], of_truth]
        data = np.array(columns).T[at]
        gain, error, own, real = np.concatenate([data.mean(0, keepdims=True), replicate_means(data)]).T
        figures = [(gain, 2), (error, 1), *([(100 * own / real, 0)] if real.all() else [])]
        made = [Cell(number(v[0], d), span(interval(v[1:]), d), v[0]) for v, d in figures]
        return [*made, *([Cell("–")] * (3 - len(made)))]

    return [
        (source, len(at), [list(column) for column in zip(*(cells(m, at) for m in models), strict=True)])
        for source, at in sorted(by_source.items())
    ]


def _machine(result: Result) -> str:
    m = result.machine
    threads = result.cost.get("threads", m.get("threads"))
    parts = [m.get("processor"), f"{threads} thread{'s' * (threads != 1)}", m.get("system"), result.cost.get("dtype")]
    return ", ".join(str(p) for p in parts if p)


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Labels by what they have in common."""
    groups: dict[str, list[str]] = {}
    for label, text in pairs:
        groups.setdefault(text, []).append(label)
    return groups


def number(value: float, decimals: int, sign: str = "") -> str:
    """``value`` as it is printed, with a real minus sign and never ``-0.00``."""
    text = f"{value:{sign}.{decimals}f}"
    if not text.strip("+-0."):
        text = text.lstrip("+-")
    return text.replace("-", "−")


def span(ends: Sequence[float] | None, decimals: int, sign: str = "") -> str:
    """An interval as it is printed; empty where it has no width."""
    low, high = (number(end, decimals, sign) for end in ends or (0, 0))
    return "" if low == high else f"{low} to {high}"


def data_uri(kind: str, content: bytes) -> str:
    """``content`` as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def plain(text: str) -> str:
    """``text`` on one line, without anything that is not printed: names of files may hold what they like."""
    return "".join(c if c.isprintable() else " " for c in text.encode("utf-8", "replace").decode())


def markdown(text: str) -> str:
    """``text`` as Markdown that shows it and does nothing else."""
    escaped = _MARKDOWN.sub(r"\\\1", plain(text).replace("&", "&amp;")).replace("$", "&#36;")
    return escaped.replace("://", ":\\//").replace("www.", "www\\.")


def link(text: str) -> str:
    """``text`` where it is a web address that is safe to link to; else nothing."""
    return text if _LINK.fullmatch(text) else ""


def environment(kind: str) -> "jinja2.Environment":
    """Templates of a ``kind``, ``md`` or ``html``: what they print is escaped, unless they themselves call it safe.

    Raises:
        ZooError: jinja2 is not installed.
    """
    try:
        import jinja2
        from markupsafe import Markup
    except ImportError as error:
        raise ZooError("a report needs jinja2", found=error, remedy=plots.REMEDY) from error
    escape = markdown if kind == "md" else plain

    def finalize(value: Any) -> Any:
        return escape(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=kind == "html",
        finalize=finalize,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["link"] = link
    environment.filters["breakable"] = lambda text: Markup(_JOINTS.sub(r"\1<wbr>", str(Markup.escape(plain(text)))))
    return environment
