"""`colorzoo bench`: how fast a model is on this machine, as ratios in one run."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer


def bench(
    name: Annotated[str, typer.Argument(help="Model to measure.")] = "fusion",
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON here too.")] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds; medians are reported.")] = 9,
) -> None:
    """Measure a model's speed and memory against limits taken in the same run."""
    from zoo import bench as benchmark

    figures = benchmark.bench(
        name, repeats=repeats, progress=lambda what: typer.echo(f"measuring {what} ...", err=True)
    )
    _report(figures, out)


def _report(figures: dict[str, Any], out: Path | None) -> None:
    """Print the figures as JSON, then write them to ``out`` too.

    Raises:
        ZooError: ``out`` cannot be written; the figures are on the screen already.
    """
    from zoo.errors import ZooError

    text = json.dumps(figures, indent=2)
    typer.echo(text)
    if out is None:
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ZooError(f"{out}: cannot be written", found=error.strerror, remedy="copy the figures above") from error
