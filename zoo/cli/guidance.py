"""`colorzoo guidance`: what hints and references are worth, on a folder of photos."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.progress import progress

OUT = Path("model_cards") / "results" / "guidance.json"


def guidance(
    data: Annotated[Path, typer.Option(help="Folder of colour photos.")],
    models: Annotated[
        str, typer.Option(help="Names with commas between, each with a style if wanted: fusion:vivid. Or all.")
    ] = "all",
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first so many photos.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the places of the hints.")] = 0,
    device: Annotated[str, typer.Option(help="Where the models run, such as cpu or cuda.")] = "cpu",
    out: Annotated[Path, typer.Option(help="The file of the figures.")] = OUT,
    force: Annotated[bool, typer.Option("--force", "-f", help="Replace it.")] = False,
) -> None:
    """Measure what hints and a reference add to each model, with colours told from the truth.

    `colorzoo report` makes a page of the figures.
    """
    from zoo.errors import OptionError
    from zoo.evaluation import guidance as evaluation
    from zoo.evaluation import results

    if out.exists() and not force:
        raise OptionError(f"{out}: exists already", remedy="choose another name, or --force to replace it")
    figures = evaluation.measure(
        models.split(","),
        data,
        limit=limit,
        device=device,
        seed=seed,
        progress=lambda names: progress(iter(names), len(names), "photo"),
    )
    results.write_text(out, results.as_text(figures))
    typer.echo(f"{figures['photos']} photos: {out}")
