"""How far a command is: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from typing import TypeVar

import typer

T = TypeVar("T")


def progress(items: Iterator[T], total: int, unit: str) -> Iterator[T]:
    """The items, counted on stderr: a bar on a terminal, a line now and then elsewhere."""
    from tqdm import tqdm
    from tqdm.contrib.logging import logging_redirect_tqdm

    if sys.stderr.isatty():
        with logging_redirect_tqdm():
            yield from tqdm(items, total=total, unit=unit, smoothing=0.05)
        return
    last = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last > 10 or number == total > 1:
            last = time.monotonic()
            typer.echo(f"{number}/{total} {unit}s", err=True)
