"""`colorzoo video`: from a film to the same film in colour."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from zoo.cli.colorize import Device, Force, Saturation, Style, Temperature, WorkingSize

if TYPE_CHECKING:
    from zoo.video.transcode import Progress

_SECONDS = 10  # between lines where there is no terminal


def video(
    source: Annotated[str, typer.Argument(metavar="IN", help="A film.")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="The film in colour: .mp4, .m4v, .mov, .mkv or .webm.")],
    model: Annotated[str, typer.Option("--model", "-m", help="As in `colorzoo list`.")] = "fusion",
    style: Style = None,
    saturation: Saturation = 1.0,
    temperature: Temperature = None,
    working_size: WorkingSize = None,
    keyframe_interval: Annotated[
        int | None,
        typer.Option(
            help="The model sees every so many frames, and colours follow the motion in between.",
            show_default="by the motion, up to 8",
        ),
    ] = None,
    crf: Annotated[int, typer.Option(help="Quality of the encoder, 0 (lossless) to 51.")] = 18,
    preset: Annotated[str, typer.Option(help="Speed of the encoder, ultrafast to veryslow.")] = "medium",
    start: Annotated[float, typer.Option(help="Where to begin, in seconds.")] = 0.0,
    end: Annotated[float | None, typer.Option(help="Where to stop, in seconds.", show_default="the end")] = None,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Colour a film.

    Its brightness is written through, its sound, subtitles and time stamps are copied. Colours it has are ignored.
    """
    from zoo import loading
    from zoo.video import colorize_video

    bar = _Bar()
    try:
        report = colorize_video(
            source,
            target,
            model=loading.load(model, device=device),
            style=style,
            saturation=saturation,
            temperature=temperature,
            working_size=working_size,
            keyframe_interval=keyframe_interval,
            crf=crf,
            preset=preset,
            start=start,
            end=end,
            force=force,
            progress=bar,
        )
    except KeyboardInterrupt:
        typer.echo(f"interrupted: {target} was not written", err=True)
        raise typer.Exit(130) from None
    finally:
        bar.close()
    for stream in report.left_out:
        typer.echo(f"left out: {stream}", err=True)
    if report.damaged:
        typer.echo(f"{report.damaged} damaged frames show the one before", err=True)
    rate = report.frames / max(report.seconds, 1e-6)
    typer.echo(f"{report.frames} frames, {rate:.1f} a second, {report.runs} seen by the model: {target}")


class _Bar:
    """Frames done: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        from tqdm import tqdm

        on_terminal = sys.stderr.isatty()
        self._bar = tqdm(unit="frame", mininterval=0.2 if on_terminal else _SECONDS, disable=None, file=sys.stderr)

    def __call__(self, at: "Progress") -> None:
        self._bar.total = at.total
        self._bar.update(at.done - self._bar.n)

    def close(self) -> None:
        self._bar.close()
