"""`colorzoo evaluate`: models against the true colours of a folder of photos."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.figures import report


def evaluate(
    data: Annotated[Path, typer.Option(help="Folder of colour photos.", exists=True, file_okay=False)],
    models: Annotated[str, typer.Option(help="Models, separated by commas.")] = "fusion,regression,classification",
    size: Annotated[int, typer.Option(min=16, help="Side of the compared pictures.")] = 256,
    limit: Annotated[int | None, typer.Option(min=1, help="Take the first so many photos.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the figures as JSON here too.")] = None,
) -> None:
    """Measure how close models come to the true colours (centre crop, bicubic): gain over grey, colorfulness."""
    from tqdm import tqdm

    from zoo import images, loading
    from zoo.evaluation.evaluate import Answer, answers_of
    from zoo.evaluation.evaluate import evaluate as run

    answers: dict[str, Answer] = {}
    for name in models.split(","):
        answers |= answers_of(loading.load(name.strip()), name.strip())
    photos = sorted(p for p in data.rglob("*") if p.suffix.lower() in images.READABLE_SUFFIXES)[:limit]
    figures = run(answers, photos, size=size, progress=lambda p: tqdm(p, unit="photo"))
    report(figures, out)
