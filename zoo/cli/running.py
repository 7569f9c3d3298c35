"""From planned items to their results, counted: what commands share that write a file for each picture."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from zoo.cli.progress import progress

if TYPE_CHECKING:
    from zoo.batch import Item


def check_single(inputs: list[str], items: "list[Item]", force: bool) -> None:
    """Refuse to replace the result of the only picture; of many, those that exist are skipped.

    Raises:
        ImageError: It exists.
    """
    from zoo.errors import ImageError

    if len(inputs) == 1 and not Path(inputs[0]).is_dir() and items[0].target.exists() and not force:
        raise ImageError(f"{items[0].target}: exists already", remedy="choose another name, or --force to replace it")


def check_kept(items: "list[Item]", *given: str | None) -> None:
    """Refuse to write over the files that say how to colour.

    Raises:
        ImageError: A target is one of them.
    """
    from zoo.errors import ImageError

    for path in filter(None, given):
        for item in items:
            if item.target.exists() and Path(path).exists() and item.target.samefile(path):
                raise ImageError(
                    f"{item.target}: the result would overwrite what it is made by", remedy="choose another place"
                )


def run(items: "list[Item]", work: Callable[..., object], force: bool, out: str) -> None:
    """Make each item's result, tell how many there are in ``out``, and exit.

    Raises:
        typer.Exit: Always: with 1 where some failed, with 130 where it was interrupted.
    """
    from zoo import batch

    counts: Counter[str] = Counter()
    failures: list[str] = []
    interrupted = False
    try:
        results = batch.colorize_files(items, work, overwrite=force)
        for result in progress(results, len(items), "picture"):
            counts[result.status] += 1
            if result.error is not None:
                failures.append(failed_line(result.source, result.error))
    except KeyboardInterrupt:
        interrupted = True
    for failure in failures:
        typer.echo(failure, err=True)
    summary = f"{counts['done']} done, {counts['skipped']} skipped, {counts['failed']} failed"
    if interrupted:
        left = len(items) - counts.total()
        typer.echo(f"interrupted: {summary}, {left} left; the same command goes on from here", err=True)
        raise typer.Exit(130)
    typer.echo(f"{summary}: {out}")
    raise typer.Exit(1 if failures else 0)


def failed_line(source: Path, error: str) -> str:
    """The line that tells of a picture that failed."""
    return f"failed: {error if str(source) in error else f'{source}: {error}'}"
