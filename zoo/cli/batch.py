"""`colorzoo batch`: archives of pictures and films, on the cores of one machine or the machines of a cluster."""

import sys
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.backends import Backend, Dtype
from zoo.cli.colorize import Device, Force, Quality, Saturation, Seed, Style, Temperature, Views, WorkingSize
from zoo.cli.stopping import terminable

if TYPE_CHECKING:
    from zoo.batch import Progress, Summary

_SECONDS = 10  # between lines where there is no terminal
_SHOWN = 20  # failures that are told of here; all are in the file


class Engine(StrEnum):
    """Who does the work."""

    LOCAL = "local"
    RAY = "ray"


class Only(StrEnum):
    """What is coloured."""

    PICTURES = "pictures"
    FILMS = "films"


def batch(
    src: Annotated[
        str, typer.Argument(metavar="SRC", help="A folder, a file, or a URL as s3://bucket/scans (extra remote).")
    ],
    dst: Annotated[str, typer.Argument(metavar="DST", help="A folder or a URL for the results.")],
    model: Annotated[str, typer.Option("--model", "-m", help="As in `colorzoo list`.")] = "fusion",
    engine: Annotated[
        Engine, typer.Option(help="Processes on this machine, or a Ray cluster (extra ray).")
    ] = Engine.LOCAL,
    workers: Annotated[
        int | None,
        typer.Option(help="How many hold the model; 0 works in this process.", show_default="one for each core"),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="Of the Ray cluster; auto is the one that this machine is in.", show_default="a new one here"
        ),
    ] = None,
    gpus: Annotated[float, typer.Option(help="For each worker of a cluster; as 0.25 where four share one.")] = 0.0,
    style: Style = None,
    saturation: Saturation = 1.0,
    temperature: Temperature = None,
    working_size: WorkingSize = None,
    seed: Seed = None,
    views: Views = 1,
    device: Device = "cpu",
    backend: Backend = "auto",
    dtype: Dtype = "auto",
    quality: Quality = 95,
    keyframe_interval: Annotated[
        int | None,
        typer.Option(
            help="Of films: the model sees every so many frames, and colours follow the motion in between.",
            show_default="by the motion, up to 8",
        ),
    ] = None,
    crf: Annotated[int, typer.Option(help="Quality of the films' encoder, 0 (lossless) to 51.")] = 18,
    preset: Annotated[str, typer.Option(help="Its speed, ultrafast to veryslow.")] = "medium",
    segment: Annotated[
        float,
        typer.Option(help="Seconds; longer films are split at cuts for several workers, and joined. 0 does not split."),
    ] = 60.0,
    only: Annotated[Only | None, typer.Option(help="Leave out the others.")] = None,
    retries: Annotated[
        int, typer.Option(help="How often to try again what may pass, as a store that does not answer.")
    ] = 2,
    force: Force = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done.")] = False,
) -> None:
    """Colour an archive of pictures and films.

    What is done is noted in DST/.colorzoo: the same command goes on after Ctrl-C, a crash or a power cut, and does what
    is new, what has changed and what failed. --force does again what was made with other settings, and replaces files
    in DST that no run has made, or that were changed since. Exit code 1: some failed, 130: interrupted.
    """
    from zoo import batch as library

    bar = _Bar()
    try:
        with terminable():
            summary = library.run(
                src,
                dst,
                model=model,
                engine=engine.value,
                workers=workers,
                address=address,
                gpus=gpus,
                style=style,
                saturation=saturation,
                temperature=temperature,
                working_size=working_size,
                seed=seed,
                views=views,
                device=device,
                backend=backend,
                dtype=dtype,
                quality=quality,
                keyframe_interval=keyframe_interval,
                crf=crf,
                preset=preset,
                segment=segment,
                only=None if only is None else only.value,
                retries=retries,
                force=force,
                dry_run=dry_run,
                progress=bar,
            )
    except KeyboardInterrupt:
        bar.close()
        typer.echo(f"interrupted: {bar.done} done; the same command goes on from here", err=True)
        raise typer.Exit(130) from None
    finally:
        bar.close()
    if dry_run:
        _tell_plan(summary)
        return
    _tell(summary, dst)
    raise typer.Exit(1 if summary.failed else 0)


def _tell_plan(summary: "Summary") -> None:
    why = ", ".join(f"{count} {reason}" for reason, count in summary.reasons.items())
    typer.echo(f"{sum(summary.reasons.values())} to do{f' ({why})' if why else ''}, {summary.kept} done already")
    _tell_retouched(summary)


def _tell_retouched(summary: "Summary") -> None:
    if summary.retouched:
        typer.echo(
            f"{summary.retouched} results were changed since they were made, and are left so; --force makes them anew"
        )


def _tell(summary: "Summary", dst: str) -> None:
    if summary.failed:
        for record in summary.failed[:_SHOWN]:
            segment = "" if record.part is None else f", segment {record.part + 1}"
            error = str(record.error)
            typer.echo(f"failed: {record.source}{segment}: {error.removeprefix(f'{record.source}: ')}", err=True)
        more = len(summary.failed) - _SHOWN
        typer.echo(f"{f'{more} more; all' if more > 0 else 'listed'} in {summary.failures}", err=True)
    rate = f", {summary.done / summary.seconds:.1f} a second" if summary.done and summary.seconds else ""
    typer.echo(f"{summary.done} done{rate}, {summary.kept} done before, {len(summary.failed)} failed: {dst}")
    _tell_retouched(summary)


class _Bar:
    """Items done: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._on_terminal = sys.stderr.isatty()
        self._bar = tqdm(unit="item", disable=not self._on_terminal, file=sys.stderr, smoothing=0.05)
        self._told = time.monotonic()
        self.done = 0

    def __call__(self, at: "Progress") -> None:
        self.done = at.done
        if self._on_terminal:
            self._bar.total = at.total
            if at.failed:
                self._bar.set_postfix(failed=at.failed, refresh=False)
            self._bar.update(at.done + at.failed - self._bar.n)
        elif time.monotonic() - self._told > _SECONDS:
            self._told = time.monotonic()
            typer.echo(_line(at), err=True)

    def close(self) -> None:
        self._bar.close()


def _line(at: "Progress") -> str:
    failed = f", {at.failed} failed" if at.failed else ""
    left = "" if at.left is None else f", {_time(at.left)} left"
    return f"{at.done + at.failed}/{at.total} items{failed}, {at.rate:.1f} a second{left}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
