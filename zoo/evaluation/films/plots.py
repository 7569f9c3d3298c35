"""What the page about films draws: how colours change from frame to frame, and what steadiness costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zoo.evaluation.films.protocol import AVERAGED, FILM, OF_MODEL, PER_FRAME, TRUTH
from zoo.evaluation.films.results import FilmResult
from zoo.evaluation.plots import FAINT, INK, PALETTE, figure_of, palette_of, style, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WAY_COLORS = {PER_FRAME: PALETTE[1], AVERAGED: PALETTE[5], FILM: PALETTE[0], TRUTH: INK}
_WIDTHS = {PER_FRAME: 0.9, AVERAGED: 0.9, FILM: 1.5, TRUTH: 0.8}
_MARKERS = {FILM: "o", PER_FRAME: "X", AVERAGED: "s"}
_NAME = 60  # letters of a clip's name


def plots(results: Sequence[FilmResult], names: Mapping[str, str]) -> dict[str, bytes]:
    """All plots by file name.

    Args:
        results: Of one benchmark.
        names: Of the ways.

    Raises:
        ZooError: matplotlib is not installed.
    """
    with style():
        files = {"trade-off.svg": svg(_trade_off(results, names))}
        clips = chosen(results)
        return files | {flicker_name(r): svg(_flicker(r, clips, names)) for r in results}


def flicker_name(result: FilmResult) -> str:
    """The file that holds the plot of a result's flicker."""
    return f"flicker-{Path(result.file_name).stem}.svg"


def chosen(results: Sequence[FilmResult]) -> list[str]:
    """The clips whose flicker is drawn, by a rule and by no one's taste.

    The clips are sorted by how much more every frame by itself changes than the truth, of the first model: the most,
    the middle one, the least; and the first clip that has a cut.
    """
    first = results[0]
    own, true = (first.per_clip[way]["warp_error"] for way in (PER_FRAME, TRUTH))
    excess = dict(zip(first.names, np.subtract(own, true).tolist(), strict=True))
    order = sorted(first.names, key=lambda name: (-excess[name], name))
    cut = [name for name in first.names if first.data["clips"][name]["cuts"]][:1]
    return list(dict.fromkeys([order[0], order[len(order) // 2], order[-1], *cut]))


def _flicker(result: FilmResult, clips: Sequence[str], names: Mapping[str, str]) -> "Figure":
    """The warp error of each frame towards the one before, a row for each clip; gaps and lines where it is cut."""
    figure, axes = figure_of(0.6 + 1.5 * len(clips), len(clips), 1)
    for row, name in zip(axes, clips, strict=True):
        ax: Axes = row[0]
        for way, color in _WAY_COLORS.items():
            values = np.array([np.nan if v is None else v for v in result.series[name][way]], np.float64)
            ax.plot(values, color=color, linewidth=_WIDTHS[way], label=names[way], zorder=4 if way == FILM else 3)
        for cut in result.data["clips"][name]["cuts"]:
            ax.axvline(cut, color=FAINT, linewidth=0.8, linestyle=(0, (2, 2)))
        ax.set_title(
            name if len(name) <= _NAME else name[: _NAME - 1] + "…", loc="left", fontsize=8, color=FAINT, pad=3
        )
        ax.set_ylim(0, None)
        ax.set_xlim(0, len(result.series[name][TRUTH]) - 1)
    axes[-1, 0].set_xlabel("frame; dotted: a cut")
    figure.supylabel("change of ab from the frame before", fontsize=9, color=INK)
    handles: Any = axes[0, 0].get_lines()[: len(_WAY_COLORS)]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(_WAY_COLORS), frameon=False, fontsize=8)
    return figure


def _trade_off(results: Sequence[FilmResult], names: Mapping[str, str]) -> "Figure":
    """Gain over grey against the warp error above the truth's: a colour for each model, a mark for each way."""
    figure, axes = figure_of(3.8)
    ax: Axes = axes[0, 0]
    palette = palette_of([r.label for r in results])
    for result in results:
        points = {w: (result.value(w, "warp_excess") or 0.0, result.value(w, "gain") or 0.0) for w in OF_MODEL}
        for way in (FILM, AVERAGED):
            ax.plot(
                *zip(points[PER_FRAME], points[way], strict=True), color=palette[result.label], linewidth=1, alpha=0.5
            )
        for way, (x, y) in points.items():
            ax.scatter([x], [y], s=46, color=palette[result.label], marker=_MARKERS[way], edgecolor="white", zorder=3)
        ax.annotate(
            result.label, points[PER_FRAME], (4, 7), textcoords="offset points", ha="right", fontsize=8,
            color=palette[result.label],
        )  # fmt: skip
    for way in OF_MODEL:
        ax.scatter([], [], s=46, color=FAINT, marker=_MARKERS[way], label=names[way])
    ax.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
    ax.annotate("as steady as the true films", (0, 0), (3, 3), xycoords=("data", "axes fraction"), color=FAINT,
                textcoords="offset points", fontsize=8)  # fmt: skip
    ax.margins(0.12, 0.16)
    ax.set_xlabel("warp error above the true films', ab (further left is steadier)")
    ax.set_ylabel("gain over grey, dB")
    figure.legend(loc="outside upper center", ncols=len(OF_MODEL), frameon=False, fontsize=8)
    return figure
