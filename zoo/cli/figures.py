"""Measured figures, as `colorzoo bench` and `colorzoo evaluate` give them."""

import json
from pathlib import Path
from typing import Any

import typer


def report(figures: dict[str, Any], out: Path | None) -> None:
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
