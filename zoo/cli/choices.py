"""`colorzoo certainty` and `colorzoo choices`: where a model is sure, and how good its variants are."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.colorize import Device, Force, Inputs, Style, WorkingSize
from zoo.cli.progress import progress
from zoo.cli.running import check_single, run


def certainty(
    inputs: Inputs,
    out: Annotated[str, typer.Option("--out", "-o", help="A folder, or with a suffix the file itself.")],
    model: Annotated[str, typer.Option("--model", "-m", help="As in `colorzoo list`.")] = "fusion",
    style: Style = None,
    working_size: WorkingSize = None,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Draw over grey pictures how sure a model is of each colour: blue where it is not, yellow where it is.

    Results that exist are skipped, so that an interrupted run goes on when it is started again.
    """
    from zoo import batch, images, loading
    from zoo.certainty import overlay

    items = batch.plan(inputs, out)
    check_single(inputs, items, force)
    colorizer = loading.load(model, device=device)
    options: dict[str, Any] = {"style": style, "working_size": working_size}
    colorizer.spreader(**options)  # refuses what does not fit before any picture is read

    def draw(source: Path, target: Path, *, overwrite: bool) -> None:
        import numpy as np

        pixels = images.to_8_bit(images.read(source).pixels)
        sheet = overlay(pixels, colorizer.certainty(pixels, **options))
        images.write(target, np.asarray(sheet), overwrite=overwrite, source=source)

    run(items, draw, force, str(items[0].target) if len(items) == 1 else out)


def choices(
    data: Annotated[Path, typer.Option(help="Folder of colour photos.")],
    models: Annotated[str, typer.Option(help="Names with commas between.")] = "fusion",
    benchmark: Annotated[
        str | None, typer.Option(help="What the photos are called.", show_default="the folder's name")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first so many photos.")] = None,
    cards: Annotated[Path, typer.Option(help="Folder that holds results and the page.")] = Path("model_cards"),
) -> None:
    """Measure models' variants and certainty against true colours, into results/choices.json and choices.md."""
    from zoo.evaluation import choices as evaluation

    name = benchmark or data.resolve().name
    bar = partial(_bar, what="photo")
    for model in models.split(","):
        evaluation.write(cards, name, model, evaluation.measure(model, data, limit=limit, progress=bar))
        typer.echo(f"{model}: {cards / evaluation.PAGE}")


def _bar(found: Any, what: str) -> Any:
    return progress(iter(found), len(found), what)
