"""`colorzoo evaluate`: models against the true colours of a folder of photos."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from zoo.cli.progress import progress

if TYPE_CHECKING:
    from zoo.evaluation.evaluate import Evaluation
    from zoo.evaluation.films.results import FilmResult
    from zoo.evaluation.films.run import FilmEvaluation
    from zoo.evaluation.protocol import Protocol
    from zoo.evaluation.results import Result

RESULTS = Path("model_cards") / "results"


class Preset(StrEnum):
    """What can be asked for as --protocol."""

    CENTER = "center"
    SQUASH = "squash"
    AGED = "aged"


def evaluate(
    data: Annotated[Path | None, typer.Option(help="Folder of colour photos.")] = None,
    video: Annotated[
        Path | None, typer.Option(help="Instead: a folder of films in colour, of which models see the luma alone.")
    ] = None,
    models: Annotated[
        str, typer.Option(help="Names with commas between, each with a style if wanted: fusion:vivid. Or all.")
    ] = "all",
    benchmark: Annotated[
        str | None,
        typer.Option(
            help="What the photos are called.", show_default="the folder's name; with --protocol aged, _aged added"
        ),
    ] = None,
    protocol: Annotated[
        Preset | None,
        typer.Option(
            help="The largest central square, the whole photo squashed to one, or photos aged like old prints.",
            show_default="center; what the literature does for val5k, val50k, coco-stuff, ade20k; and aged, too, "
            "where the name ends with _aged",
        ),
    ] = None,
    size: Annotated[int, typer.Option(help="Side of the compared pictures; films have the area of that square.")] = 256,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first so many photos or films.")] = None,
    frames: Annotated[
        int | None, typer.Option(help="With --video: the first so many frames of each film.", show_default="300")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the result files.", show_default=f"{RESULTS.as_posix()}/BENCHMARK")
    ] = None,
    device: Annotated[str, typer.Option(help="Where the models run, such as cpu or cuda.")] = "cpu",
    force: Annotated[bool, typer.Option("--force", "-f", help="Measure again what is there already.")] = False,
) -> None:
    """Measure how close models come to the true colours of photos, beside grey, the mean colour and the truth.

    With --video of films: also how steady their colours are, beside every frame coloured by itself, plain averaging
    over time and the truth.

    What is there already for the same weights, options, photos and protocol is not measured again; an interrupted
    run goes on where it stopped.
    """
    from zoo.errors import OptionError

    if (data is None) == (video is None):
        raise OptionError("what to evaluate on is not clear", expected="either --data, photos, or --video, films")
    if video is not None:
        if protocol is not None:
            raise OptionError("films are not compared by another protocol", remedy="leave out --protocol")
        _evaluate_films(models, video, benchmark, size, frames, limit, out, device, force)
    if data is None or frames is not None:
        raise OptionError("--frames goes with --video only")
    name = benchmark or named(data.resolve().name, protocol)
    folder = out or RESULTS / name
    evaluation = measure(models, data, name, protocol, size, limit, folder, device, force)
    for line in table(evaluation.results):
        typer.echo(line)
    typer.echo(f"results: {folder}")
    raise typer.Exit(1 if evaluation.failures else 0)


def _evaluate_films(
    models: str,
    clips: Path,
    benchmark: str | None,
    size: int,
    frames: int | None,
    limit: int | None,
    out: Path | None,
    device: str,
    force: bool,
) -> NoReturn:
    from zoo.evaluation.films import evaluate_films
    from zoo.evaluation.films.protocol import FilmProtocol

    folder = out or RESULTS / (benchmark or clips.resolve().name)
    try:
        evaluation: FilmEvaluation = evaluate_films(
            models.split(","),
            clips,
            benchmark=benchmark,
            protocol=FilmProtocol(size=size) if frames is None else FilmProtocol(size=size, frames=frames),
            limit=limit,
            out=folder,
            device=device,
            force=force,
            progress=lambda found: progress(iter(found), len(found), "film"),
        )
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    for name, reason in evaluation.left_out.items():
        typer.echo(f"left out: {reason if name in reason else f'{name}: {reason}'}", err=True)
    for label, reason in evaluation.failures.items():
        typer.echo(f"failed: {label}: {reason}", err=True)
    for line in films_table(evaluation.results):
        typer.echo(line)
    for result in evaluation.results:
        typer.echo(f"{result.label} beside every frame by itself: {_against(result)}")
    count, there = len(evaluation.measured), len(evaluation.results) - len(evaluation.measured)
    films = len(evaluation.results[0].names) if evaluation.results else 0
    typer.echo(f"{films} films: {count} measured, {there} there already, {evaluation.seconds:.1f} s", err=True)
    typer.echo(f"results: {folder}")
    raise typer.Exit(1 if evaluation.failures else 0)


def measure(
    models: str,
    data: Path,
    benchmark: str,
    preset: "Preset | None",
    size: int,
    limit: int | None,
    out: Path,
    device: str,
    force: bool,
    replace_others: bool = False,
) -> "Evaluation":
    """Evaluate with a bar, and say on stderr what was left out, what failed, and how long it took."""
    from zoo.evaluation.evaluate import evaluate as run

    try:
        evaluation = run(
            models.split(","),
            data,
            benchmark=benchmark,
            protocol=_protocol(benchmark, preset, size),
            limit=limit,
            out=out,
            device=device,
            force=force,
            replace_others=force or replace_others,
            progress=lambda photos: progress(iter(photos), len(photos), "photo"),
        )
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    _tell(evaluation)
    return evaluation


def named(folder: str, preset: "Preset | None") -> str:
    """What a folder's photos are called when nothing else was said: by its name, which tells that they are aged."""
    from zoo.evaluation.protocol import AGED

    return folder.removesuffix(AGED) + AGED if preset is Preset.AGED else folder


def _protocol(benchmark: str, preset: "Preset | None", size: int) -> "Protocol":
    """The protocol that the benchmark has by its name, with the crop, or else the ageing, that was asked for."""
    from dataclasses import replace

    from zoo.evaluation.protocol import PRESETS, protocol_of

    protocol = replace(protocol_of(benchmark), size=size)
    if preset is None:
        return protocol
    asked = PRESETS[preset.value]
    crop = protocol.crop if preset is Preset.AGED else asked.crop
    return replace(protocol, crop=crop, ageing=asked.ageing)


def _tell(evaluation: "Evaluation") -> None:
    first = evaluation.results[0]
    for name, reason in first.data["left_out"].items():
        typer.echo(f"left out: {reason if name in reason else f'{name}: {reason}'}", err=True)
    for label, reason in evaluation.failures.items():
        typer.echo(f"failed: {label}: {reason}", err=True)
    reasons: dict[str, list[str]] = {}
    for name, reason in first.not_measured.items():
        reasons.setdefault(reason, []).append(name)
    for reason, names in reasons.items():
        typer.echo(f"{', '.join(names)}: {reason}", err=True)
    count, there = len(evaluation.measured), len(evaluation.results) - len(evaluation.measured)
    typer.echo(
        f"{len(first.names)} photos: {count} measured, {there} there already, {evaluation.seconds:.1f} s", err=True
    )


def table(results: "list[Result]") -> list[str]:
    """The main figures, a line for each result; the report has all of them, with their intervals."""
    from zoo.evaluation.metrics import KD, METRICS
    from zoo.evaluation.results import TRUTH

    shown = ("gain", "ssim", "ciede2000", "auc", "auc_rebalanced", "cf_share", "bleeding", "agreement_top1", KD)
    rows = [["MODEL", *(f"{METRICS[m].title} {METRICS[m].unit}".strip().upper() for m in shown), "MS"]]
    for result in results:
        values = [(result.value(m), METRICS[m].decimals) for m in shown]
        cells = ["-" if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}" for value, decimals in values]
        if result.label == TRUTH:
            cells[shown.index("gain")] = "∞"  # capped in the file, to keep means finite
        rows.append([result.label, *cells, f"{result.cost['ms']:.1f}" if "ms" in result.cost else "-"])
    return _aligned(rows)


def films_table(results: "list[FilmResult]") -> list[str]:
    """The main figures of films: a line for each model in each way, then the truth."""
    from zoo.evaluation.films.metrics import METRICS
    from zoo.evaluation.films.protocol import OF_MODEL, TRUTH

    rows = [["MODEL", "WAY", *(f"{m.title} {m.unit}".strip().upper() for m in METRICS.values()), "FRAMES/S"]]
    shown = [(result, way) for result in results for way in OF_MODEL]
    for result, way in [*shown, *((result, TRUTH) for result in results[:1])]:
        values = [(result.value(way, m.name), m.decimals) for m in METRICS.values()]
        cells = ["-" if value is None else f"{round(value, decimals) + 0.0:.{decimals}f}" for value, decimals in values]
        rate = result.cost.get("frames_per_second") if way == OF_MODEL[0] else None
        rows.append(["" if way == TRUTH else result.label, way, *cells, "-" if rate is None else f"{rate:.1f}"])
    return _aligned(rows)


def _against(result: "FilmResult") -> str:
    from zoo.evaluation.films.metrics import AGAINST
    from zoo.evaluation.films.report import judged

    found = zip(AGAINST.values(), judged(result), strict=True)
    return ", ".join(f"{m.title}, {m.unit}: {j.cell.text}" for m, j in found if j.cell.sort is not None)


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
