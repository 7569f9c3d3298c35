"""`colorzoo bench`: how fast a model is on this machine, as ratios in one run."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.figures import report


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
    report(figures, out)
