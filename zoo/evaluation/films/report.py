"""Results of films -> the page about them: Markdown for a repository, and one HTML file that needs no network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from PIL import Image

from zoo.evaluation import plots
from zoo.evaluation.films import plots as film_plots
from zoo.evaluation.films.metrics import AGAINST, METRICS
from zoo.evaluation.films.protocol import AFTER, AVERAGED, BEFORE, FILM, GREY, OF_MODEL, PER_FRAME, TRUTH, WINDOW
from zoo.evaluation.films.results import FilmResult, check_comparable
from zoo.evaluation.metrics import Metric
from zoo.evaluation.report import FEW, Cell, data_uri, environment, number, span

WAY_NAMES = {
    FILM: "film",
    PER_FRAME: "each frame by itself",
    AVERAGED: f"mean of {WINDOW} frames",
    TRUTH: "true colours",
    GREY: "grey",
}
GOALS = {"excess_share": (-float("inf"), 50.0), "gain_kept": (0.0, float("inf")), "cf_kept": (95.0, float("inf"))}
GOALS |= {"cut_difference": (0.0, 1.0)}
_GOALS_SAID = {
    "excess_share": "at most 50 %",
    "gain_kept": "no loss",
    "cf_kept": "at least 95 %",
    "cut_difference": "at most 1",
}
BEFORE_CUT, AFTER_CUT = 2, 1  # frames that the strip around a cut shows
STRIP = ("grey", WAY_NAMES[PER_FRAME], WAY_NAMES[FILM], "truth")
COMMENT = 12  # digits of the result's hash that stills carry

# By model, moment and number of the frame its pictures by column of the strip.
Stills = Mapping[str, Mapping[str, Mapping[int, Mapping[str, Image.Image]]]]


class Moment(NamedTuple):
    """Neighbouring frames that the page shows."""

    key: str
    title: str
    clip: str
    frames: tuple[int, ...]
    at: int  # the frame that it is about
    credit: Mapping[str, str]


class Judged(NamedTuple):
    """A figure beside its goal; ``met`` is None where there is none."""

    cell: Cell
    met: bool | None


@dataclass(frozen=True)
class _ClipRow:
    name: str
    facts: list[str]
    cells: list[str]


def render(
    results: Sequence[FilmResult],
    *,
    title: str,
    stills: Callable[[Sequence[Moment]], Stills] | None = None,
    drawn: Mapping[str, bytes] | None = None,
) -> dict[str, str | bytes]:
    """The page's files by relative name: ``README.md``, ``index.html``, plots and, where clips may be shown, strips.

    Args:
        results: Of one benchmark, as `zoo.evaluation.films.results.read_all` gives them.
        title: The heading.
        stills: Draws the moments. None leaves out the strips' pixels; the text is the same.
        drawn: Strips that were drawn before, by file name, to be put into the page instead.

    Raises:
        ZooError: Results that must not stand in one table, or jinja2 or matplotlib missing.
    """
    check_comparable(results)
    first, shown = results[0], moments(results)
    figures = film_plots.plots(results, WAY_NAMES)
    strips = dict(drawn or {})
    if stills is not None and shown:
        strips = _strips(results, shown, stills(shown))
    context: dict[str, Any] = {
        "title": title,
        "results": results,
        "first": first,
        "colors": plots.palette_of([r.label for r in results]),
        "frames": sum(first.data["clips"][name]["frames"] for name in first.names),
        "few": len(first.names) < FEW,
        "goals": [(metric, _GOALS_SAID.get(name, "")) for name, metric in AGAINST.items()],
        "judged": [(r, judged(r)) for r in results],
        "metrics": list(METRICS.values()),
        "against": list(AGAINST.values()),
        "rows": [(r, [(WAY_NAMES[way], _cells(r, way)) for way in OF_MODEL]) for r in results],
        "baselines": [(WAY_NAMES[way], _cells(first, way)) for way in (TRUTH, GREY)],
        "clips": [(r, [_clip_row(r, name) for name in r.names]) for r in results],
        "ways": [WAY_NAMES[way] for way in OF_MODEL],
        "plotted": {r.label: film_plots.flicker_name(r) for r in results},
        "plots": {name: data_uri("image/svg+xml", content) for name, content in figures.items()},
        "moments": shown,
        "strip": STRIP,
        "strips": {
            m.key: [(r, name := strip_name(r, m), data_uri("image/jpeg", strips.get(name, b""))) for r in results]
            for m in shown
        },
        "protocol": {k: v for k, v in first.protocol.items() if k not in {"metrics", "ways"}},
        "said_of_ways": {WAY_NAMES[way]: says for way, says in first.protocol["ways"].items()},
        "machines": _grouped([(r.label, _machine(r)) for r in results if r.cost]),
        "versions": _grouped([(r.label, ", ".join(f"{k} {v}" for k, v in r.versions.items())) for r in results]),
        "dates": sorted({r.run["date"] for r in results if "date" in r.run}),
        "left_out": first.data["left_out"],
    }
    texts = {name: environment(name).get_template(f"films.{name}.j2").render(context) for name in ("md", "html")}
    return {"README.md": texts["md"], "index.html": texts["html"], **figures, **(strips if stills else {})}


def moments(results: Sequence[FilmResult]) -> list[Moment]:
    """What the strips show, by a rule and by no one's taste, of the clips that are credited: the fastest motion, a cut.

    The fastest motion is the frame with the longest mean optical flow of all; the cut is the first of the first clip
    that has one.
    """
    first = results[0]
    credited = {name: first.data["clips"][name] for name in first.names if name in first.data["credits"]}
    found: list[Moment] = []
    moving = {name: clip for name, clip in credited.items() if "fastest" in clip}
    if moving:
        name = max(moving, key=lambda n: float(moving[n]["speed"]))
        at, speed = int(moving[name]["fastest"]), number(float(moving[name]["speed"]), 1)
        title = f"The fastest motion: {speed} pixels from one frame to the next, on average"
        frames = tuple(range(at - BEFORE, at + AFTER + 1))
        found.append(Moment("motion", title, name, frames, at, first.data["credits"][name]))
    for name, clip in credited.items():
        cuts = [c for c in clip["cuts"] if c >= BEFORE_CUT and c + AFTER_CUT < clip["frames"]]
        if cuts:
            frames = tuple(range(cuts[0] - BEFORE_CUT, cuts[0] + AFTER_CUT + 1))
            found.append(Moment("cut", "A cut", name, frames, cuts[0], first.data["credits"][name]))
            break
    return found


def strip_name(result: FilmResult, moment: Moment) -> str:
    """The file that holds a strip."""
    return f"{moment.key}-{_stem(result)}.jpg"


def judged(result: FilmResult) -> list[Judged]:
    """How the film does beside every frame by itself, and whether it reaches its goals, in the order of AGAINST."""
    found = []
    for name, metric in AGAINST.items():
        entry = result.against.get(name)
        if entry is None:
            found.append(Judged(Cell("no cuts" if name == "cut_difference" else "not defined"), None))
            continue
        value = float(entry["value"])
        sign = "+" if name == "gain_kept" else ""
        text = "none" if name == "excess_share" and value <= 0 else number(value, metric.decimals, sign)
        goal = GOALS.get(name)
        met = None if goal is None else goal[0] <= round(value, metric.decimals) <= goal[1]
        found.append(Judged(Cell(text, span(entry.get("interval"), metric.decimals, sign), value), met))
    return found


def section(name: str, results: Sequence[FilmResult]) -> str:
    """Markdown about a benchmark of films for the leaderboard: a line on what it is, and a table."""
    from zoo.evaluation.tables import escaped, in_code, markdown_table

    header = ["model", "gain over grey, dB", "colorfulness / truth, %", *(_title(m) for m in AGAINST.values())]
    rows = []
    for result in results:
        cells = [_cell(result, FILM, METRICS[m]) for m in ("gain", "cf_share")]
        texts = [c.text + (f"<br><sub>{c.interval.replace(' ', '&nbsp;')}</sub>" if c.interval else "") for c in cells]
        beside = [f"{j.cell.text}{_mark(j.met)}" for j in judged(result)]
        rate, memory = (result.cost.get(k) for k in ("frames_per_second", "peak_memory_mb"))
        link = f"[JSON](results/{quote(name)}/{quote(result.file_name, safe='+')})"
        rows.append([in_code(result.label), *texts, *beside, _whole(rate, 1), _whole(memory, 0), link])
    count = len(results[0].names)
    said = (
        f"{count} film{'s' * (count != 1)} in colour, of which models saw the lightness alone. The columns from "
        f"“{AGAINST['excess_share'].title}” on set the film beside the same frames each coloured by itself; ✓ is a "
        f"goal that is met. See [the report](reports/{quote(name)}/README.md)."
    )
    table = markdown_table([*header, "frames a second", "peak memory, MB", "result"], rows)
    return f"## {escaped(name)}\n\n{said}\n\n{table}\n"


def _strips(results: Sequence[FilmResult], shown: Sequence[Moment], stills: Stills) -> dict[str, bytes]:
    groups: dict[str, dict[str, str]] = {}
    pictures: dict[str, Mapping[str, Image.Image]] = {}
    comments: dict[str, str] = {}
    for result in results:
        for moment in shown:
            file = strip_name(result, moment)
            groups[file] = {f"{file} {n}": f"frame {n}{_said_of(moment, n)}" for n in moment.frames}
            pictures |= {f"{file} {n}": stills[result.label][moment.key][n] for n in moment.frames}
            comments[file] = result.digest[:COMMENT]
    return plots.sheets(groups, list(STRIP[1:-1]), pictures, comments=comments)


def _said_of(moment: Moment, frame: int) -> str:
    return ", the first after the cut" if moment.key == "cut" and frame == moment.at else ""


def _cells(result: FilmResult, way: str) -> list[Cell]:
    return [_cell(result, way, metric) for metric in METRICS.values()]


def _cell(result: FilmResult, way: str, metric: Metric) -> Cell:
    entry = result.measured[way].get(metric.name)
    if entry is None:
        return Cell("∞" if (way, metric.name) == (TRUTH, "gain") else "–")
    sign = "+" if metric.name in ("gain", "warp_excess") else ""
    value = float(entry["value"])
    return Cell(number(value, metric.decimals, sign), span(entry.get("interval"), metric.decimals, sign), value)


def _clip_row(result: FilmResult, name: str) -> _ClipRow:
    clip = result.data["clips"][name]
    seen = f"{100 * clip['runs'] / clip['frames']:.0f}"
    facts = [f"{clip['width']} × {clip['height']}", str(clip["frames"]), str(len(clip["cuts"])), seen]
    facts.append(_whole(result.cost.get("per_clip", {}).get(name), 1))
    cells = [
        _of_clip(result, name, way, metric)
        for metric, ways in (("gain", OF_MODEL), ("warp_error", (*OF_MODEL, TRUTH)), ("cdc", (*OF_MODEL, TRUTH)))
        for way in ways
    ]
    return _ClipRow(name, facts, cells)


def _of_clip(result: FilmResult, name: str, way: str, metric: str) -> str:
    value = result.of_clip(name, way, metric)
    return "–" if value is None else number(value, METRICS[metric].decimals, "+" if metric == "gain" else "")


def _stem(result: FilmResult) -> str:
    return Path(result.file_name).stem


def _title(metric: Metric) -> str:
    return f"{metric.title}{', ' + metric.unit if metric.unit else ''}"


def _mark(met: bool | None) -> str:
    return {True: " ✓", False: " ✗", None: ""}[met]


def _whole(value: float | None, decimals: int) -> str:
    return "–" if value is None else number(float(value), decimals)


def _machine(result: FilmResult) -> str:
    threads = result.cost.get("threads", result.machine.get("threads"))
    kind = "bfloat16" if result.machine.get("bf16") else "float32"
    parts = [result.machine.get("processor"), f"{threads} thread{'s' * (threads != 1)}", kind]
    return ", ".join(str(p) for p in parts if p)


def _grouped(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for label, text in pairs:
        groups.setdefault(text, []).append(label)
    return groups
