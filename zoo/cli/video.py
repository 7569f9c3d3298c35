"""`colorzoo video`: from a film, an animation or numbered pictures to the same in colour."""

import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.backends import Backend, Dtype
from zoo.cli.colorize import (
    Device,
    Force,
    HintRadius,
    ReferenceMode,
    Saturation,
    Style,
    Temperature,
    WorkingSize,
    column_label,
    options_by_column,
    parse_models,
)
from zoo.cli.stopping import terminable

if TYPE_CHECKING:
    from zoo.video.transcode import Look, Progress, Report

_TIME = re.compile(r"((?:\d+:){0,2}\d+(?:\.\d*)?):")
_EXAMPLES = {"hint": "120,80,#c03020", "hints": "strokes.png"}
_SECONDS = 10  # between lines where there is no terminal
_SHOWN = 5  # damaged frames whose times are told


def video(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="A film, an animated GIF or WebP, a folder of pictures, or their names as frames/%05d.png.",
        ),
    ],
    target: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="The same in colour: .mp4, .m4v, .mov, .mkv, .webm, .gif, .webp, a folder, or names as out/%05d.png.",
        ),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="As in `colorzoo list`.")] = "fusion",
    style: Style = None,
    saturation: Saturation = 1.0,
    temperature: Temperature = None,
    working_size: WorkingSize = None,
    variant: Annotated[
        int | None,
        typer.Option(
            min=0, max=63, help="The number, from 0, of another plausible colouring of each scene; --seed gives others."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of --variant.", show_default="0")] = None,
    hint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TIME:X,Y,COLOR",
            help="A colour at a pixel of the frame shown at that time of IN, such as 12.5:120,80,#c03020 or "
            "1:02:12.5:120,80,red; similar pixels follow, as long as they are seen, back and forth up to the cuts. "
            "Repeatable.",
        ),
    ] = None,
    hints: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TIME:LAYER",
            help="Likewise a picture of the size at which the frame is shown, transparent where no colour is told.",
        ),
    ] = None,
    hint_radius: HintRadius = 3.0,
    reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[TIME:]PICTURE",
            help="A coloured picture of something similar, whose colours are taken: in the whole film, or in the scene "
            "of the frame shown then. Repeatable.",
        ),
    ] = None,
    reference_mode: ReferenceMode = "match",
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
    fps: Annotated[
        str | None,
        typer.Option(help="Frames a second of pictures, such as 24 or 24000/1001.", show_default="25"),
    ] = None,
    preview: Annotated[bool, typer.Option("--preview", help="Show the grey film on the left.")] = False,
    compare: Annotated[
        str | None,
        typer.Option(
            help="Several models in one film in place of --model: names with commas between, each with a style if "
            "wanted, as fusion,fusion:vivid. Or all."
        ),
    ] = None,
    device: Device = "cpu",
    backend: Backend = "auto",
    dtype: Dtype = "auto",
    force: Force = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with what an interrupted run has left, if it has.")
    ] = False,
) -> None:
    """Colour a film.

    Its brightness is written through, its sound, subtitles, chapters and time stamps are copied. Colours it has are
    ignored. An interrupted run leaves OUT.partial, which can be played, and from which --resume goes on.
    """
    from zoo import loading
    from zoo.errors import OptionError
    from zoo.video import colorize_video

    guidance = {
        "hints": _hints(hint or [], hints or []),
        "hint_radius": hint_radius,
        "reference": _reference(reference or []),
        "reference_mode": reference_mode,
    }
    options: dict[str, Any] = {"saturation": saturation, "working_size": working_size}
    given = {"style": style, "temperature": temperature}
    place: dict[str, Any] = {"device": device, "backend": backend, "dtype": dtype}
    if compare is not None and variant is not None:
        raise OptionError("--variant is for one model", found=f"--compare {compare}", remedy="leave one of them out")
    if compare is not None:
        options = {"compare": _looks(compare, options, given, place)}
    else:
        options |= given | {"model": loading.load(model, **place), "variant": variant, "seed": seed}
    bar = _Bar()
    try:
        with terminable():
            report = colorize_video(
                source,
                target,
                keyframe_interval=keyframe_interval,
                crf=crf,
                preset=preset,
                start=start,
                end=end,
                fps=fps,
                preview=preview,
                force=force,
                resume=resume,
                progress=bar,
                **guidance,
                **options,
            )
    except KeyboardInterrupt:
        bar.close()
        typer.echo(_interrupted(Path(target)), err=True)
        raise typer.Exit(130) from None
    finally:
        bar.close()
    _tell(report, target)


def _timed(text: str) -> tuple[float | None, str]:
    """The time before a colon, in seconds, if there is one, and the rest."""
    if (found := _TIME.match(text)) is None:
        return None, text
    seconds = 0.0
    for part in found[1].split(":"):
        seconds = 60 * seconds + float(part)
    return seconds, text[found.end() :]


def _hints(points: list[str], layers: list[str]) -> dict[float, Any] | None:
    from zoo.errors import OptionError
    from zoo.hints import parse_point

    told: dict[float, Any] = {}
    for option, texts in (("hint", points), ("hints", layers)):
        for text in texts:
            at, own = _timed(text)
            if at is None:
                raise OptionError(
                    f"--{option} without a time", found=repr(text), expected=f"such as 12.5:{_EXAMPLES[option]}"
                )
            if option == "hints" and at in told:
                raise OptionError(f"more than one layer, or points too, at {at:g} seconds", remedy="give one of them")
            told[at] = own if option == "hints" else [*told.get(at, []), parse_point(own)]
    return told or None


def _reference(texts: list[str]) -> Any:
    from zoo.errors import OptionError

    timed = dict(_timed(text) for text in texts)
    if len(timed) < len(texts) or (None in timed and len(timed) > 1):
        raise OptionError(
            "more than one --reference for a scene",
            found=", ".join(texts),
            expected="one picture for the whole film, or one for each of some times, such as 12.5:similar.jpg",
        )
    return timed.get(None, timed or None)


def _looks(names: str, common: dict[str, Any], given: dict[str, Any], place: dict[str, Any]) -> "list[Look]":
    from zoo import loading
    from zoo.video.transcode import Look

    wanted = parse_models(names)
    loaded = {name: loading.load(name, **place) for name in dict(wanted)}
    options = options_by_column(wanted, [loaded[name] for name, _ in wanted], common, given)
    return [Look(column_label(n, o), loaded[n], o) for (n, _), o in zip(wanted, options, strict=True)]


def _interrupted(target: Path) -> str:
    from zoo.video import partial

    if part := partial.left(target):
        return f"interrupted: what was done is {part}; --resume goes on from it"
    if target.is_dir():
        return f"interrupted: the pictures that were done are in {target}; --resume goes on from them"
    return f"interrupted: {target} was not written"


def _tell(report: "Report", target: str) -> None:
    for line in (*(f"left out: {stream}" for stream in report.left_out), *(f"note: {note}" for note in report.notes)):
        typer.echo(line, err=True)
    if report.damaged:
        times = ", ".join(f"{seconds:.2f}" for seconds in report.damaged[:_SHOWN])
        more = f" and {len(report.damaged) - _SHOWN} more" if len(report.damaged) > _SHOWN else ""
        typer.echo(f"{len(report.damaged)} damaged frames, at {times} seconds{more}", err=True)
    made = report.frames - report.kept
    kept = f" and {report.kept} kept" if report.kept else ""
    rate = made / max(report.seconds, 1e-6)
    typer.echo(f"{made} frames{kept}, {rate:.1f} a second, {report.runs} seen by the model: {target}")


class _Bar:
    """Frames done: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        from tqdm import tqdm

        self._on_terminal = sys.stderr.isatty()
        self._bar = tqdm(unit="frame", mininterval=0.2, disable=not self._on_terminal, file=sys.stderr)
        self._told = time.monotonic()

    def __call__(self, at: "Progress") -> None:
        if self._on_terminal and at.done:
            if not self._bar.n:
                self._bar.initial = at.done - 1  # of an earlier run, which says nothing of this one's speed
                self._bar.n = at.done - 1
            self._bar.total = at.total
            self._bar.update(at.done - self._bar.n)
        elif not self._on_terminal and time.monotonic() - self._told > _SECONDS:
            self._told = time.monotonic()
            typer.echo(_line(at), err=True)

    def close(self) -> None:
        self._bar.close()


def _line(at: "Progress") -> str:
    if not at.done:
        return "looking for its scenes"
    total = "" if at.total is None else f"/{at.total}"
    left = "" if at.left is None else f", {int(at.left) // 60}:{int(at.left) % 60:02d} left"
    return f"{at.done}{total} frames, {at.rate:.1f} a second{left}"
