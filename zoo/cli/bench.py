"""`colorzoo bench`: how fast models are on this machine, against the limits and each other, in one run."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.stopping import terminable
from zoo.errors import OptionError, ZooError

if TYPE_CHECKING:
    from zoo.bench.settings import Settings
    from zoo.evaluation.speed.results import Speed


def bench(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Models to measure.", show_default="fusion")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Write the figures as JSON here; a page and plots go beside it."),
    ] = None,
    page: Annotated[bool, typer.Option("--page/--no-page", help="Whether a page goes beside the figures.")] = True,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few rounds, sizes and photos, all threads only: a minute or two.")
    ] = False,
    sizes: Annotated[
        str | None,
        typer.Option(help="Of the pictures, commas between.", show_default="256px,512px,1MP,12MP,24MP,48MP"),
    ] = None,
    threads: Annotated[
        str | None, typer.Option(help="Numbers of threads, commas between.", show_default="1,all")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=1, max=10_000, help="Timed rounds at most; medians are reported.")
    ] = None,
    photos: Annotated[
        int | None, typer.Option(min=0, max=100_000, help="Of 1 MP in the folder; 0 leaves it out.", show_default="40")
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(help="Folder of colour photos to measure fidelity on.", show_default="some of scikit-image"),
    ] = None,
    video: Annotated[Path | None, typer.Option(help="A clip.", show_default="one is made up")] = None,
    keep: Annotated[bool, typer.Option("--keep/--no-keep", help="Whether `auto` goes by it from now on.")] = True,
) -> None:
    """Measure models' speed and memory against limits taken in the same run.

    What was measured is kept on this machine: from then on `auto` uses the fastest way to run each model whose colours
    stay close to those of torch in float32, or one that is truer and at most a tenth slower. Ctrl-C or SIGTERM ends
    early; what was measured by then is shown and written.
    """
    if out is not None:
        _check(out)
    import torch

    from zoo.bench import Bench, settings

    every = torch.get_num_threads()
    chosen: Settings = settings.QUICK if quick else settings.Settings()
    counts = "all" if quick else "1,all"
    changes = {
        "sizes": None if sizes is None else settings.sizes_of(sizes),
        "threads": settings.threads_of(counts if threads is None else threads, every),
        **({"repeats": repeats, "least": min(chosen.least, repeats)} if repeats is not None else {}),
        **{"photos": photos, "pictures": pictures, "video": video, "remember": keep},
    }
    chosen = replace(chosen, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]
    started = Bench(names or ["fusion"], chosen, lambda what: typer.echo(f"measuring {what} ...", err=True))
    try:
        with terminable():
            speed = started.run()
    except Exception:  # a fault of ours, or of the machine, for which hours of measuring are not to be lost
        try:
            _show(started.so_far(complete=False), out, page)
        except ZooError as error:
            typer.echo(str(error), err=True)
        raise
    _show(speed, out, page)
    if not speed.complete:
        typer.echo("interrupted: what was not measured is missing", err=True)
        raise typer.Exit(130)


def _check(out: Path) -> None:
    """Refuse, before the work, what cannot be written.

    Raises:
        OptionError: It is no name of a JSON file, or lies where nothing can be written.
    """
    if out.suffix.lower() != ".json":
        raise OptionError("--out is not a JSON file", found=out, expected="a name such as bench.json")
    try:
        if out.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        trial = out.with_name(f".{out.name}.{os.getpid()}.part")
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise OptionError(f"{out}: cannot be written", found=error.strerror, remedy="choose another name") from error


def _show(speed: "Speed", out: Path | None, page: bool) -> None:
    """The tables, and ``auto``'s choice; then all of it in files, if that is wanted.

    Raises:
        ZooError: As `_write`.
    """
    from zoo.evaluation.speed import tables

    typer.echo(tables.machine(speed))
    for table in tables.tables(speed):
        typer.echo(f"\n{tables.as_text(table)}")
    typer.echo()
    for line in tables.choice(speed):
        typer.echo(line)
    if out is not None:
        _write(speed, out, page)


def _write(speed: "Speed", out: Path, page: bool) -> None:
    """The figures, then the page and its plots beside them, where matplotlib is installed.

    Raises:
        ZooError: They cannot be written; the figures are printed in place of that.
    """
    from zoo.evaluation.results import write_text
    from zoo.evaluation.speed import results
    from zoo.evaluation.speed.page import render

    try:
        results.write(speed, out)
    except ZooError:
        typer.echo(results.to_text(speed))
        raise
    typer.echo(f"figures: {out}")
    if not page:
        return
    try:
        files = render({out.stem: speed}, name=f"{out.stem}.md")
    except ZooError as error:
        typer.echo(f"no page: {error}", err=True)
        return
    for name, content in files.items():
        write_text(out.with_name(name), content)
    typer.echo(f"page: {out.with_suffix('.md')}")
