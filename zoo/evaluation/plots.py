"""What the report draws: plots as SVG, sheets of pictures as JPEG; the same bytes for the same results and packages."""

import io
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from zoo import grid
from zoo.errors import ZooError
from zoo.evaluation.metrics import HISTOGRAM_STEP
from zoo.evaluation.results import GREY, TRUTH, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

REMEDY = "pip install 'colorzoo[metrics]'"

# Okabe and Ito's palette, which the colour-blind can tell apart, without its yellow, which white paper swallows.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A5195")
MARKERS = "osD^vP"  # the next one after each round of the palette
INK, FAINT, LINES = "#222222", "#6b6b6b", "#e4e4e4"
BASELINE_COLORS = {TRUTH: INK, GREY: "#8a8a8a"}

WIDTH = 5.8  # inches: text of 9 points is then readable on a phone and not loud on a desk
MAX_DOTS = 500  # pictures that are drawn one by one
FLOOR = 1e-3  # per cent of the pixels, the least a histogram shows
JPEG_QUALITIES = (86, 80, 74, 68, 60)
MOST_SHEET_BYTES = 750_000  # of all sheets together; the HTML file holds them once more
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "colorzoo",  # ids that do not change from run to run
    "svg.fonttype": "path",
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 9,
    "text.parse_math": False,  # a name is never a formula
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#bbbbbb",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINES,
    "grid.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "figure.dpi": 72,
    "savefig.dpi": 72,
}


def colors(results: Sequence[Result]) -> dict[str, str]:
    """The colour of each model, by label; the same in every plot and table."""
    return palette_of([r.label for r in results if r.kind == "model"])


def palette_of(labels: Sequence[str]) -> dict[str, str]:
    """A colour for each label."""
    return {label: PALETTE[i % len(PALETTE)] for i, label in enumerate(labels)}


def plots(results: Sequence[Result]) -> dict[str, bytes]:
    """All plots of the results, models first, by file name.

    Raises:
        ZooError: matplotlib is not installed.
    """
    models = [r for r in results if r.kind == "model"]
    with style():
        figures = {
            "trade-off.svg": _trade_off(results),
            "distributions.svg": _distributions(models),
            "histograms.svg": _histograms(models, next((r for r in results if r.label == TRUTH), None)),
        }
        if any(r.sweep for r in models):
            figures["temperatures.svg"] = _temperatures(models)
        return {name: svg(figure) for name, figure in figures.items()}


def sheets(
    groups: Mapping[str, Mapping[str, str]],
    labels: Sequence[str],
    pictures: Mapping[str, Mapping[str, Image.Image]],
    *,
    comments: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, bytes]:
    """A JPEG for each group of photos, a row each: grey, the models called ``labels``, truth.

    Args:
        groups: By the group's name the captions by photo.
        labels: Of the models.
        pictures: By photo its pictures, by column.
        comments: By the group's name what the file says inside.
    """
    columns = ["grey", *labels, "truth"]
    drawn = {
        group: grid.grid(
            [[pictures[photo].get(column) for column in columns] for photo in captions],
            columns,
            row_labels=list(captions.values()),
            cell=192 if len(columns) <= 8 else 160,
        )
        for group, captions in groups.items()
    }
    files: dict[str, bytes] = {}
    for quality in JPEG_QUALITIES:
        files = {group: _jpeg(image, quality, comments.get(group, "")) for group, image in drawn.items()}
        if sum(map(len, files.values())) <= MOST_SHEET_BYTES:
            break
    return files


def _jpeg(image: Image.Image, quality: int, comment: str = "") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True, comment=comment.encode())
    return buffer.getvalue()


@contextmanager
def style() -> Iterator[None]:
    """Within it figures look as those of this project do.

    Raises:
        ZooError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ZooError("a report needs matplotlib", found=error, remedy=REMEDY) from error
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a letter that the font lacks is drawn as a box
        yield


def figure_of(height: float, rows: int = 1, columns: int = 1, **options: Any) -> "tuple[Figure, Array]":
    """An empty figure, ``height`` in inches, and its axes (rows, columns)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def svg(figure: "Figure") -> bytes:
    """The figure as a file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()


def _marker(models: Sequence[Result], label: str) -> str:
    index = [m.label for m in models].index(label)
    return MARKERS[index // len(PALETTE) % len(MARKERS)]


def _trade_off(results: Sequence[Result]) -> "Figure":
    """Gain over grey against colorfulness, with intervals; the area of a mark is the time per picture."""
    figure, axes = figure_of(4.3)
    ax: Axes = axes[0, 0]
    models = [r for r in results if r.kind == "model"]
    palette = colors(results) | {r.label: BASELINE_COLORS.get(r.label, FAINT) for r in results if r.kind == "baseline"}
    places = _Places(ax)
    slowest = max((float(m.cost["ms"]) for m in models if "ms" in m.cost), default=1.0)
    named: list[tuple[float, float, float, str, str]] = []
    for result in results:
        share, gain = result.value("cf_share"), result.value("gain")
        if share is None or gain is None or result.label == TRUTH:
            continue
        color, ms = palette[result.label], result.cost.get("ms")
        area = 36 if ms is None else 20 + 260 * float(ms) / slowest
        marker = _marker(models, result.label) if result.kind == "model" else "X"
        ax.scatter(
            [share],
            [gain],
            s=area,
            color=color,
            marker=marker,
            edgecolor="white",
            linewidth=0.8,
            zorder=3 - area / 1000,
        )
        low, high = result.interval("gain") or (gain, gain)
        left, right = result.interval("cf_share") or (share, share)
        for bar in ([(share, low), (share, high)], [(left, gain), (right, gain)]):
            ax.plot(*zip(*bar, strict=True), color=color, linewidth=1, alpha=0.55, zorder=2)
            places.avoid_line(bar)
        text = result.label if ms is None else f"{result.label}\n{_round(float(ms))} ms"
        named.append((share, gain, math.sqrt(area / math.pi), text, color))
    _trade_off_axes(ax, places)
    figure.draw_without_rendering()
    for x, y, radius, _, _ in named:
        places.avoid_mark(x, y, radius)
    places.put(100, ax.get_ylim()[1], 0, "real photos", FAINT, size=8, angles=(200, 340))
    for x, y, radius, text, color in named:
        places.put(x, y, radius, text, color)
    return figure


def _trade_off_axes(ax: "Axes", places: "_Places") -> None:
    """The axes of both figures about accuracy against colorfulness, with lines for grey and for the real photos."""
    ax.set_xlabel("colorfulness, % of the real photos'")
    ax.set_ylabel("gain over grey, dB")
    ax.margins(0.1, 0.14)
    low, high = ax.get_xlim()
    ax.set_xlim(min(low, -6) if low < 20 else low, max(high, 108))
    low, high = ax.get_ylim()
    ax.axvline(100, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    ax.axhline(0, color=BASELINE_COLORS[GREY], linewidth=1, zorder=1)
    ax.set_ylim(low, high)
    places.avoid_line([(100, low), (100, high)])
    places.avoid_line([(ax.get_xlim()[0], 0), (ax.get_xlim()[1], 0)])


def _temperatures(results: Sequence[Result]) -> "Figure":
    """Gain over grey against colorfulness of each model that has temperatures, along them."""
    figure, axes = figure_of(4.3)
    ax: Axes = axes[0, 0]
    palette = colors(results)
    places = _Places(ax)
    swept = {r.label: [(s["cf_share"], s["gain"]) for s in r.sweep] for r in results if r.sweep}
    for label, points in swept.items():
        ax.plot(*zip(*points, strict=True), color=palette[label], marker=".", markersize=8, linewidth=1.4)
        places.avoid_line(points)
    _trade_off_axes(ax, places)
    figure.draw_without_rendering()
    for label, points in swept.items():
        places.put(*max(points, key=lambda p: p[1]), 3, label, palette[label], angles=(90, 45, 0, 270, 180))
    for result in results:
        for step in result.sweep:
            text = f"{step['temperature']:g}"
            around = (45, 225, 0, 180, 315, 135)
            places.put(
                step["cf_share"], step["gain"], 3, text, palette[result.label], size=7.5, angles=around, must=False
            )
    places.put(100, ax.get_ylim()[1], 0, "real photos", FAINT, size=8, angles=(200, 340))
    return figure


class _Places:
    """Where texts lie beside points, so that none hides another, a mark or a curve."""

    def __init__(self, ax: "Axes") -> None:
        self._ax = ax
        self._taken: list[Any] = []
        self._lines: list[Sequence[tuple[float, float]]] = []

    def avoid_mark(self, x: float, y: float, radius: float) -> None:
        """Keep texts off a mark of ``radius`` points."""
        from matplotlib.transforms import Bbox

        px, py = self._ax.transData.transform((x, y))
        self._taken.append(Bbox.from_extents(px - radius, py - radius, px + radius, py + radius))

    def avoid_line(self, points: Sequence[tuple[float, float]]) -> None:
        """Keep texts off a curve, if there is room."""
        self._lines.append(points)

    def put(
        self,
        x: float,
        y: float,
        radius: float,
        text: str,
        color: str,
        *,
        size: float = 9,
        angles: Sequence[int] = (0, 45, 315, 180, 135, 225, 90, 270),
        must: bool = True,
    ) -> None:
        """Write ``text`` at the first free place around a point; where there is none at the least bad one, or not."""
        renderer = self._ax.figure.canvas.get_renderer()  # type: ignore[attr-defined]
        note: Any = self._ax.annotate(
            text, (x, y), (0, 0), textcoords="offset points", color=color, fontsize=size, linespacing=1.1, zorder=4,
            bbox={"facecolor": "white", "alpha": 0.8, "pad": 0.5, "linewidth": 0},
        )  # fmt: skip
        tried: list[tuple[float, int, Any, tuple[str, str]]] = []
        for away in (3, 9, 16) if must else (2, 4):
            for angle in angles:
                dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
                sides = ("center" if abs(dx) < 0.3 else "left" if dx > 0 else "right",
                         "center" if abs(dy) < 0.3 else "bottom" if dy > 0 else "top")  # fmt: skip
                note.set_horizontalalignment(sides[0])
                note.set_verticalalignment(sides[1])
                note.set_position(((radius + away) * dx, (radius + away) * dy))
                cost = self._cost(note.get_window_extent(renderer)) + away / 100
                tried.append((cost, len(tried), note.get_position(), sides))
        cost, _, position, sides = min(tried)
        if cost >= 1 and not must:
            note.remove()
            return
        note.set_position(position)
        note.set_horizontalalignment(sides[0])
        note.set_verticalalignment(sides[1])
        self._taken.append(note.get_window_extent(renderer))

    def _cost(self, box: Any) -> float:
        """0 in a free place; more for each thing hidden, most for leaving the plot."""
        inside = self._ax.get_window_extent()
        cost = 0.0 if inside.containsx(box.x0) and inside.containsx(box.x1) else 10.0
        cost += 0 if inside.containsy(box.y0) and inside.containsy(box.y1) else 10
        cost += 3 * sum(bool(box.overlaps(other)) for other in self._taken)
        for points in self._lines:
            pixels = _dense(self._ax.transData.transform(points))
            cost += 1.0 * bool(np.any(np.all((pixels > box.min) & (pixels < box.max), axis=1)))
        return cost


def _dense(points: Array) -> Array:
    """Points along a curve, about two pixels from one to the next."""
    along = np.append(0, np.hypot(*np.diff(points, axis=0).T).cumsum())
    at = np.arange(0, along[-1], 2)
    return np.stack([np.interp(at, along, column) for column in points.T], 1)


def _distributions(models: Sequence[Result]) -> "Figure":
    """The gain of each picture: a box from quartile to quartile, whiskers from 5 to 95 %, a dot per picture."""
    figure, axes = figure_of(0.9 + 0.52 * len(models))
    ax: Axes = axes[0, 0]
    palette = colors(models)
    rng = np.random.default_rng(0)
    for row, model in enumerate(models):
        values, color = np.array(model.per_picture["gain"]), palette[model.label]
        if len(values) <= MAX_DOTS:
            spread = row + rng.uniform(-0.3, 0.3, len(values))
            ax.scatter(values, spread, s=7, color=color, alpha=0.35, linewidth=0)
        p5, q1, middle, q3, p95 = np.quantile(values, [0.05, 0.25, 0.5, 0.75, 0.95])
        ax.plot([p5, p95], [row, row], color=color, linewidth=1.4)
        ax.barh([row], [q3 - q1], 0.42, left=[q1], color=(*_rgb(color), 0.25), edgecolor=color, linewidth=1.4, zorder=3)
        ax.plot([middle, middle], [row - 0.21, row + 0.21], color=color, linewidth=2.4, zorder=4)
    ax.axvline(0, color=INK, linewidth=1)
    ax.set_yticks(range(len(models)), [m.label for m in models])
    for tick, model in zip(ax.get_yticklabels(), models, strict=True):
        tick.set_color(palette[model.label])
    ax.set_ylim(len(models) - 0.45, -0.55)
    ax.tick_params(axis="y", length=0)
    ax.grid(False, axis="y")
    ax.set_xlabel("gain over grey of each photo, dB")
    return figure


def _rgb(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def _histograms(models: Sequence[Result], truth: Result | None) -> "Figure":
    """How often each a and each b occurs, a row per model, the real photos' behind it."""
    figure, axes = figure_of(0.7 + 1.05 * len(models), len(models), 2, sharex=True, sharey=True)
    palette = colors(models)
    everything = [r for r in (*models, truth) if r is not None]
    widest = max(_reach(r, channel) for r in everything for channel in "ab")
    for row, model in zip(axes, models, strict=True):
        for ax, channel in zip(row, "ab", strict=True):
            if truth is not None:
                ax.stairs(*_shares(truth, channel), baseline=FLOOR, fill=True, color="#d9d9d9")
            ax.stairs(*_shares(model, channel), baseline=None, color=palette[model.label], linewidth=1.5)
            ax.axvline(0, color=LINES, linewidth=0.8, zorder=0.5)
        row[0].set_title(model.label, loc="left", fontsize=9, color=palette[model.label], pad=3)
    ax = axes[0, 0]
    ax.set_yscale("log")
    ax.set_ylim(FLOOR, 100)
    ax.set_yticks([0.001, 0.1, 10], ["0.001", "0.1", "10"])
    ax.minorticks_off()
    ax.set_xlim(-widest, widest)
    if truth is not None:
        axes[0, 1].set_title("grey area: real photos", fontsize=8, color=FAINT, loc="right")
    axes[-1, 0].set_xlabel("a: green to red")
    axes[-1, 1].set_xlabel("b: blue to yellow")
    figure.supylabel("% of pixels, log scale", fontsize=9, color=INK)
    return figure


def _shares(result: Result, channel: str) -> tuple[Array, Array]:
    """Per cent of the pixels in each cell, and the cells' edges."""
    counts = np.array(result.histogram[channel], np.float64)
    edges = (np.arange(len(counts) + 1) - len(counts) / 2) * HISTOGRAM_STEP
    return np.maximum(100 * counts / max(1, counts.sum()), FLOOR / 10), edges


def _reach(result: Result, channel: str) -> float:
    """The largest |a| or |b| that the plot would show anything at."""
    shares, edges = _shares(result, channel)
    seen = np.flatnonzero(shares > FLOOR)
    return max(30.0, -float(edges[seen[0]]), float(edges[seen[-1] + 1])) if len(seen) else 30.0


def _round(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"
