"""`colorzoo report`: from result files to what people read, or to the list of what is stale."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.evaluate import Preset, measure, named

CARDS = Path("model_cards")


def report(
    folder: Annotated[
        Path | None, typer.Argument(help="Colour photos of your own: evaluate models on them and report in one go.")
    ] = None,
    models: Annotated[
        str, typer.Option(help="With a folder: names with commas between, as for `colorzoo evaluate`.")
    ] = "all",
    out: Annotated[Path, typer.Option(help="With a folder: the report, one HTML file.")] = Path("report.html"),
    protocol: Annotated[
        Preset | None, typer.Option(help="With a folder: as for `colorzoo evaluate`.", show_default="center")
    ] = None,
    size: Annotated[int, typer.Option(help="With a folder: side of the compared pictures.")] = 256,
    limit: Annotated[int | None, typer.Option(min=1, help="With a folder: take the first so many photos.")] = None,
    device: Annotated[str, typer.Option(help="With a folder: where the models run.")] = "cpu",
    benchmark: Annotated[
        str | None, typer.Option(help="Only the report of this benchmark.", show_default="everything generated")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of the benchmark's photos.", show_default="where they were evaluated from"),
    ] = None,
    cards: Annotated[Path, typer.Option(help="Folder of results, reports and cards.")] = CARDS,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; name what is stale, exit 1 if any.")] = False,
    force: Annotated[bool, typer.Option("--force", "-f", help="With a folder: replace the report.")] = False,
) -> None:
    """Make the reports, model cards and tables from the results of `colorzoo evaluate`.

    With a folder of your own photos: evaluate models on them and write one HTML file, pictures included. The figures
    are kept beside it, so that the next report takes only what is new.
    """
    from zoo.errors import OptionError

    if folder is not None:
        if check or benchmark is not None:
            raise OptionError("a folder of photos goes with neither --check nor --benchmark")
        _report_of(folder, models, out, protocol, size, limit, device, force)
    elif check:
        _check(cards)
    else:
        _generate(cards, benchmark, data)


def _generate(cards: Path, benchmark: str | None, data: Path | None) -> None:
    from zoo.evaluation import generated

    files = generated.render(cards, data, only=benchmark)
    changed = generated.write(files)
    for path in changed:
        typer.echo(f"written: {path}")
    typer.echo(f"{len(changed)} of {len(files)} files changed")


def _check(cards: Path) -> None:
    from zoo.evaluation import generated

    problems = generated.stale(cards)
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        typer.echo("stale: make them again with `colorzoo report`", err=True)
        raise typer.Exit(1)
    typer.echo("all generated files are up to date")


def _report_of(
    folder: Path,
    models: str,
    out: Path,
    protocol: Preset | None,
    size: int,
    limit: int | None,
    device: str,
    force: bool,
) -> None:
    from zoo.errors import OptionError
    from zoo.evaluation import evaluate, generated, results
    from zoo.evaluation import report as reports

    if out.suffix.lower() not in {".html", ".htm"}:
        raise OptionError("--out is not an HTML file", found=out, expected="a name such as report.html")
    if out.exists() and not force:
        raise OptionError(f"{out}: exists already", remedy="choose another name, or --force to replace it")
    title = folder.resolve().name.lstrip(".") or "photos"
    figures = out.with_name(f"{out.stem}-results")
    name = named(title, protocol)
    evaluation = measure(models, folder, name, protocol, size, limit, figures, device, force=False, replace_others=True)
    pictures = generated.pictures_of(evaluation.results, evaluate.find_photos(folder, limit), evaluation.candidates)
    files = reports.render(evaluation.results, title=f"Photos in {title}", pictures=pictures, show=True)
    results.write_text(out, files["index.html"])
    typer.echo(f"report: {out} (figures: {figures})")
    raise typer.Exit(1 if evaluation.failures else 0)
