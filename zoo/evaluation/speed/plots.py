"""What the page about speed draws: latency by size, where the time goes, how far the targets are met."""

from typing import TYPE_CHECKING

from zoo.evaluation.plots import FAINT, INK, MARKERS, PALETTE, figure_of, palette_of, style, svg
from zoo.evaluation.speed import results
from zoo.evaluation.speed.results import Speed
from zoo.evaluation.speed.tables import STAGE_NAMES, counted
from zoo.evaluation.speed.targets import targets

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STAGE_COLORS = dict(zip(STAGE_NAMES, (*PALETTE[:6], "#bbbbbb"), strict=True))


def plots(speed: Speed, prefix: str = "") -> dict[str, bytes]:
    """All plots by file name, ``prefix`` before each; those without figures are left out.

    Raises:
        ZooError: matplotlib is not installed.
    """
    files: dict[str, bytes] = {}
    with style():
        for number, model in enumerate(speed.models):
            name = f"{prefix}{number + 1}-" if len(speed.models) > 1 else prefix
            if any(row.times for row in speed.find(results.FILE, model=model)):
                files[f"{name}latency.svg"] = svg(_latency(speed, model))
            if any(speed.find(results.STAGES, model=model, error=None)):
                files[f"{name}stages.svg"] = svg(_stages(speed, model))
        if any(target.share for target in targets(speed)):
            files[f"{prefix}targets.svg"] = svg(_targets(speed))
    return files


def _latency(speed: Speed, model: str) -> "Figure":
    """Seconds by megapixels, a line for each way to run; the chosen one with fewer threads too, dashed."""
    figure, axes = figure_of(4.6)
    ax: Axes = axes[0, 0]
    rows = [row for row in speed.find(results.FILE, model=model) if row.times]
    palette = palette_of(list(dict.fromkeys(row.candidate for row in rows if not row.subject)))
    lines = dict.fromkeys((row.candidate, row.subject, row.threads) for row in rows)
    for way, subject, threads in lines:
        own = [r for r in rows if (r.candidate, r.subject, r.threads) == (way, subject, threads)]
        points = sorted((_megapixels(speed, r.size), r.median or 0.0, r.p95 or 0.0) for r in own)
        if threads != speed.threads and (subject or way != " ".join(speed.chosen(model))):
            continue
        x, y, high = zip(*points, strict=True)
        color = INK if subject else palette[way]
        ax.plot(
            x, y, color=color, marker="." if subject else MARKERS[list(palette).index(way) % len(MARKERS)],
            markersize=5, linewidth=1.4, linestyle="-" if threads == speed.threads else (0, (3, 2)),
            label=f"{subject}'s decode and colour encode" if subject else f"{way}, {counted(threads)}",
        )  # fmt: skip
        ax.vlines(x, y, high, color=color, linewidth=1, alpha=0.5)
    ax.set_xscale("log")
    ax.set_yscale("log")
    sizes = speed.sizes
    ax.set_xticks([_megapixels(speed, size) for size in sizes], list(sizes), fontsize=8)
    ax.minorticks_off()
    seconds = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100]
    low, high_end = ax.get_ylim()
    ax.set_yticks([s for s in seconds if low <= s <= high_end], [_seconds(s) for s in seconds if low <= s <= high_end])
    ax.set_xlabel("picture")
    ax.set_ylabel("JPEG to JPEG, median (line up: 95th percentile)")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    return figure


def _stages(speed: Speed, model: str) -> "Figure":
    """What share of a file's time each stage takes, a bar for each size."""
    rows = [row for size in speed.sizes for row in speed.find(results.STAGES, model=model, size=size, error=None)]
    figure, axes = figure_of(1.1 + 0.42 * len(rows))
    ax: Axes = axes[0, 0]
    for line, row in enumerate(rows):
        total, left = sum(row.parts.values()), 0.0
        for stage in STAGE_NAMES:
            share = 100 * row.parts[stage] / total
            ax.barh([line], [share], 0.66, left=[left], color=_STAGE_COLORS[stage], label=None if line else stage)
            if share >= 6:
                ax.text(left + share / 2, line, f"{share:.0f}", ha="center", va="center", color="white", fontsize=8)
            left += share
    names = [f"{row.size}, {_seconds(sum(row.parts.values()))}" for row in rows]
    ax.set_yticks(range(len(rows)), names)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xlim(0, 100)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel("% of the time of a file")
    figure.legend(loc="outside upper center", ncols=len(STAGE_NAMES), frameon=False, fontsize=8, columnspacing=1)
    return figure


def _targets(speed: Speed) -> "Figure":
    """How many times as good as wanted each figure is; the line is the target."""
    several = len(speed.models) > 1
    found = [target for target in targets(speed) if target.share]
    figure, axes = figure_of(0.9 + 0.5 * len(found))
    ax: Axes = axes[0, 0]
    for line, target in enumerate(found):
        share, met = target.share or 0.0, bool(target.met)
        ax.barh([line + 0.17], [share - 1], 0.34, left=[1], color=PALETTE[2] if met else PALETTE[1])
        name = f"{target.model}: {target.goal.name}" if several and target.model else target.goal.name
        text = f"{name}: {target.shown} (wanted {target.goal.wanted})"
        ax.text(0.01, line - 0.22, text, transform=ax.get_yaxis_transform(), fontsize=8, color=INK, va="center",
                bbox={"facecolor": "white", "alpha": 0.85, "pad": 0.5, "linewidth": 0})  # fmt: skip
    ax.axvline(1, color=INK, linewidth=1.2)
    ax.set_xscale("log")
    shares = [target.share or 1.0 for target in found]
    low, high = min(0.5, *shares, 1) / 1.15, max(2.0, *shares, 1) * 1.15
    ax.set_xlim(low, high)
    ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if low <= tick <= high]
    ax.set_xticks(ticks, [f"{tick:g}x" for tick in ticks])
    ax.minorticks_off()
    ax.set_yticks([])
    ax.set_ylim(len(found) - 0.5, -0.6)
    ax.grid(False, axis="y")
    ax.set_xlabel("as good as the target; right of the line it is met", color=FAINT)
    return figure


def _megapixels(speed: Speed, size: str) -> float:
    width, height = speed.sizes[size]
    return width * height / 1e6


def _seconds(value: float) -> str:
    return f"{value:.2g} s" if value >= 1 else f"{1000 * value:.0f} ms"
