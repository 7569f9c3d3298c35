"""From a film, an animation or numbered pictures to the same in colour."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from fractions import Fraction
from numbers import Integral
from pathlib import Path
from typing import Any

from zoo.colorizer import Colorizer
from zoo.errors import OptionError, VideoError
from zoo.hints import RADIUS
from zoo.reference import MODES
from zoo.video import animations, partial, sequences, sink, surveying, told
from zoo.video.animations import Animation, AnimationSink
from zoo.video.film import Film
from zoo.video.running import Colors, Look, Progress, Report, Run
from zoo.video.sequences import Pictures, PicturesSink
from zoo.video.sink import FilmSink, Quality, Sink
from zoo.video.source import Source, Span
from zoo.video.told import FilmHints, FilmReference, Told

__all__ = ["Look", "Progress", "Report", "colorize_video"]

StrPath = str | os.PathLike[str]

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
FPS = Fraction(25)
_MOST_FPS = 1000
_LATEST = 10**9  # seconds; libraries count their parts in 64 bits
_MOST_LOOKS = 16


def colorize_video(
    src: StrPath,
    dst: StrPath,
    *,
    model: Colorizer[Any] | str = "fusion",
    style: str | None = None,
    saturation: float = 1.0,
    temperature: float | None = None,
    working_size: int | None = None,
    variant: int | None = None,
    seed: int | None = None,
    hints: FilmHints | None = None,
    hint_radius: float = RADIUS,
    reference: FilmReference | None = None,
    reference_mode: str = MODES[0],
    keyframe_interval: int | None = None,
    crf: int = 18,
    preset: str = "medium",
    start: float = 0.0,
    end: float | None = None,
    fps: float | str | None = None,
    preview: bool = False,
    compare: str | Sequence[str | Look] = (),
    force: bool = False,
    resume: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Write ``src`` in colour to ``dst``; a film's luma is written through, its sound and the rest are copied.

    Colours it may have are ignored. The result stands under its name when it is whole, not before.

    A film that is interrupted, by Ctrl-C, a crash, a full disk or damage of its source, leaves what was done as
    ``dst.partial``, an MP4 that can be played, and ``resume`` goes on from it with the same settings. The film is
    then the one that an uninterrupted run would have made, but that colours start anew at the frame where it goes on,
    as at a cut. That is the first that is not done; after a crash, which leaves no sound in the part, some seconds
    before. With hints, a reference or a variant they do not start anew: the scene is coloured again from its cut, in
    vain as far as it was done. Of GIF and WebP nothing is kept; pictures that are written stay.

    An exception that ``progress`` raises cancels: it comes out of here as it is, and nothing is left of this run.

    Args:
        src: Anything that PyAV opens; an animated GIF or WebP; a folder of pictures, or their names with ``%05d`` for
            a number or with wildcards.
        dst: ``.mp4``, ``.m4v``, ``.mov``, ``.mkv`` or ``.webm``; ``.gif`` or ``.webp``; a folder, or names of
            pictures with ``%05d`` in them.
        model: Or its name, as for `zoo.load`.
        style: As in `Colorizer.colorize`, like the next three.
        saturation: Factor on the colours' strength.
        temperature: Sharpness of the choice between colours.
        working_size: Side at which the network sees the frames.
        variant: The number, from 0, of one of the colourings that `Colorizer.variants` offers of the first frame of
            each scene, which the rest of the scene keeps.
        seed: Of the variants; 0 by itself.
        hints: By the moment, in seconds of ``src``, at which the frame is shown that they are given on:
            ``{12.5: [(120, 80, "#c03020")]}``, or a layer, both as in `zoo.canvas.Guidance`. Pixels are those of the
            frame as it is shown, upright and with square pixels. That frame has these colours exactly, and they follow
            the motion back and forth through its scene, as long as what they lie on is seen; nothing else changes.
        hint_radius: Within so many pixels of a hint that frame has its colour.
        reference: A coloured picture of something similar, whose colours are taken; or by the moment those that are
            for the scene of the frame shown then, one for each.
        reference_mode: ``match`` or ``palette``, as in `zoo.canvas.Guidance`.
        keyframe_interval: The network sees every so many frames; None chooses by the motion, up to 8.
        crf: Quality of the encoder, 0 (lossless) to 51.
        preset: Speed of the encoder.
        start: Where to begin, in seconds.
        end: Where to stop, in seconds; None is the end.
        fps: Frames a second of a film of pictures, a number or ``24000/1001``; None is 25.
        preview: Show the grey film on the left of the coloured one.
        compare: In place of ``model``, several of them in one film, each with its name above: names as for `zoo.load`,
            each with a style if wanted (``fusion:vivid``), in a list or with commas between. The command line's ``all``
            is not known here.
        force: Replace a ``dst`` that exists, and what an interrupted run has left.
        resume: Go on with what an interrupted run has left, where there is something.
        progress: Called after every frame, and before the first one while scenes are looked for.

    Returns:
        What was done.

    Raises:
        VideoError: The film cannot be read, stops before its end, has no pictures, or cannot be written.
        OptionError: An option out of its range, or one that the model does not have; a moment at which the film has no
            frame, or hints that do not fit it.
        ImageError: A layer or a reference that cannot be read, or one without colour.
    """
    check_names(src, dst)
    path, target = Path(src), Path(dst)
    span = span_of(start, end)
    guidance = told.told(hints, hint_radius, reference, reference_mode)
    keyframe_interval, quality = checked(keyframe_interval, crf, preset)
    with ExitStack() as stack:
        with sink.writing(target):
            check_target(path, target)
            if is_film(target) or _is_animation(target):
                stack.enter_context(partial.locked(target))
                check_place(target, force, resume)
        source = stack.enter_context(source_of(path, fps, span))
        options = options_of(style, saturation, temperature, working_size, variant, seed)
        looks = _looks(compare, options) if compare else [look_of(model, options)]
        labels = (["grey" if compare else ""] if preview else []) + [look.label if compare else "" for look in looks]
        settings = settings_of(looks, keyframe_interval, quality, guidance) | {
            "source": identity(source),
            "start": str(span.start),
            "end": "none" if span.end is None else str(span.end),
            "cells": labels,
        }
        out = _sink(target, source, span, quality, labels, settings, force)
        with source_of(path, fps, span) as first:
            plans = surveying.survey(first, looks, keyframe_interval, guidance, float(span.start), progress)
        colors = [Colors(look, keyframe_interval, plan) for look, plan in zip(looks, plans, strict=True)]

        def scene_of(done: int, after: int | None) -> tuple[int | None, int]:
            with source_of(path, fps, span) as first:
                return surveying.scene_of(first, looks, done, after)

        keeps = guidance or any(look.options.get("variant") is not None for look in looks)
        return Run(source, out, colors, preview, progress, scene_of if keeps else None).all(resume=resume)


def span_of(start: float, end: float | None) -> Span:
    """What is wanted of a source.

    Raises:
        OptionError: It is nothing, or none that there can be.
    """
    span = Span(_seconds(start), None if end is None else _seconds(end))
    if not 0 <= span.start < (_LATEST if span.end is None else span.end) <= _LATEST:
        raise OptionError(
            "bad start or end",
            found=f"{float(span.start):g} to {'the end' if span.end is None else f'{float(span.end):g}'}",
            expected=f"0 <= start < end, in seconds, at most {_LATEST:.0e}",
        )
    return span


def checked(interval: int | None, crf: int, preset: str) -> tuple[int | None, Quality]:
    """The interval between key frames and the quality, if they can be.

    Raises:
        OptionError: One of them is out of its range.
    """
    if interval is not None:
        interval = _whole("keyframe_interval", interval, 1, 1000)
    crf = _whole("crf", crf, 0, 51)
    if preset not in PRESETS:
        raise OptionError("bad preset", found=preset, expected=", ".join(PRESETS))
    return interval, Quality(crf, preset)


def options_of(
    style: str | None,
    saturation: float,
    temperature: float | None,
    working_size: int | None,
    variant: int | None,
    seed: int | None,
) -> dict[str, Any]:
    """The options of a look.

    Raises:
        OptionError: A seed without a variant, with which each frame would have colours of its own.
    """
    if seed is not None and variant is None:
        raise OptionError("a film takes a seed with a variant only", found=f"seed {seed}", remedy="say which variant")
    options = {"style": style, "saturation": saturation, "temperature": temperature, "working_size": working_size}
    return options | ({} if variant is None else {"variant": variant, "seed": seed})


def settings_of(looks: Sequence[Look], interval: int | None, quality: Quality, guidance: Told) -> dict[str, Any]:
    """What two runs have in common whose pictures fit behind one another."""
    return {
        "looks": [[_name(look), {k: v for k, v in look.options.items() if v is not None}] for look in looks],
        "computed": [[look.model.backend, look.model.dtype] for look in looks],
        "interval": interval,
        "crf": quality.crf,
        "preset": quality.preset,
    } | ({"guidance": guidance.digest} if guidance else {})


def _seconds(value: float) -> Fraction:
    """The decimal fraction that was meant by a number which is none to a computer."""
    try:
        return Fraction(value).limit_denominator(1_000_000)
    except (ValueError, OverflowError) as error:
        raise OptionError("bad start or end", found=value, expected="seconds") from error


def look_of(model: Colorizer[Any] | str, options: dict[str, Any]) -> Look:
    """The look of a film in the colours of one model, which is loaded if it is named."""
    from zoo import loading

    return Look("", loading.load(model) if isinstance(model, str) else model, options)


def _looks(compare: str | Sequence[str | Look], options: dict[str, Any]) -> list[Look]:
    from zoo import loading

    wanted: Sequence[str | Look] = compare.split(",") if isinstance(compare, str) else compare
    if len(wanted) > _MOST_LOOKS:
        raise OptionError("too many models to compare", found=len(wanted), expected=f"at most {_MOST_LOOKS}")
    loaded: dict[str, Colorizer[Any]] = {}
    looks = []
    for look in wanted:
        if isinstance(look, str):
            name, style = loading.name_and_style(look)
            if name not in loaded:
                loaded[name] = loading.load(name)
            look = Look(look, loaded[name], options | ({} if style is None else {"style": style}))
        looks.append(look)
    return looks


def _name(look: Look) -> str:
    weights = look.model.weights
    return look.model.spec.name + ("" if weights is None else f".{weights.tag}")


def source_of(path: Path, fps: float | str | None, span: Span) -> Source:
    """What lies at ``path``, opened.

    Raises:
        VideoError: It cannot be read.
        OptionError: ``fps`` cannot be, or is not for it.
    """
    if sequences.is_source(path):
        return Pictures(path, _rate(fps), span)
    if fps is not None:
        raise OptionError("fps is for films of pictures", found=fps, remedy="leave it out: this one has its own")
    if animations.is_animation(path):
        return Animation(path, span)
    return Film(path, span)


def identity(source: Source) -> str:
    """What tells a source from others, and from the same at another rate."""
    if isinstance(source, Pictures):
        listed = json.dumps([[path.name, path.stat().st_size] for path in source.files.values()])
        digest = hashlib.sha256(listed.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return f"{len(source.files)} pictures, {source.rate} a second, {digest}"
    return partial.identity(Path(source.name))


def _rate(fps: float | str | None) -> Fraction:
    if fps is None:
        return FPS
    try:
        rate = Fraction(fps) if isinstance(fps, str) else Fraction(fps).limit_denominator(1001)
    except (ValueError, OverflowError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= _MOST_FPS:
        raise OptionError("bad fps", found=fps, expected=f"more than 0, at most {_MOST_FPS}; such as 25 or 24000/1001")
    return rate


def _sink(
    target: Path,
    source: Source,
    span: Span,
    quality: Quality,
    labels: list[str],
    settings: dict[str, Any],
    force: bool,
) -> Sink:
    if is_film(target):
        return FilmSink(target, source, span, quality, labels, settings)
    if _is_animation(target):
        return AnimationSink(target, source, quality, labels)
    return PicturesSink(target, source, labels, settings, overwrite=force)


def is_film(target: Path) -> bool:
    """Whether a result of that name is a film's file."""
    return target.suffix.lower() in sink.CODECS


def _is_animation(target: Path) -> bool:
    return target.suffix.lower() in animations.KINDS and not sequences.is_pattern(target)


def check_names(src: StrPath, dst: StrPath) -> None:
    """Refuse names that are none."""
    for name, what, done in ((os.fspath(src), "source", "read"), (os.fspath(dst), "result", "written")):
        if not name:
            raise VideoError(f"the name of the {what} is empty", expected="a name; . is the folder you are in")
        if "\0" in name:
            raise VideoError(f"{name!r}: cannot be {done}", found="a null character in the name")


def _whole(name: str, value: object, least: int, most: int) -> int:
    if not isinstance(value, Integral) or not least <= int(value) <= most:
        raise OptionError(f"bad {name}", found=value, expected=f"a whole number, {least} to {most}")
    return int(value)


def check_target(source: Path, target: Path) -> None:
    """Refuse a place where no result can be."""
    with suppress(FileNotFoundError, NotADirectoryError):
        target.lstat()  # refuses what can be no name
    folder = target.parent.parent if sequences.is_pattern(target) and not is_film(target) else target.parent
    if not folder.is_dir():
        raise VideoError(f"{folder} is not a folder", remedy="make it first")
    if not (is_film(target) or _is_animation(target)):
        if target.suffix and not sequences.is_pattern(target) and not target.is_dir():
            kinds = ", ".join([*sink.CODECS, *animations.KINDS])
            raise VideoError(
                f"{target}: unknown kind of film",
                found=target.suffix,
                expected=f"{kinds}; or for pictures a folder, or names such as %05d.png",
            )
        if target.is_file():
            raise VideoError(f"{target}: is a file", expected="a folder for the pictures")
        return
    check_file(source, target)


def check_file(source: Path, target: Path) -> None:
    """Refuse a place where no file can be, or where the source is."""
    if target.is_dir():
        raise VideoError(f"{target}: is a folder", expected="the name of a file")
    if not target.parent.is_dir():
        raise VideoError(f"{target.parent} is not a folder", remedy="make it first")
    for place in (target, *partial.names(target)):
        with suppress(OSError, ValueError):  # one of them is not there
            if place.samefile(source):
                raise VideoError(f"{place} is the source itself", remedy="choose another name for the result")


def check_place(target: Path, force: bool, resume: bool) -> None:
    """Refuse to write over what is there, unless that is wanted."""
    for place in partial.names(target):
        if place.is_dir():
            raise VideoError(f"{place}: is a folder, where a file is to be written", remedy="move it elsewhere")
    if target.exists() and not force:
        raise VideoError(f"{target}: exists already", remedy="choose another name, or force to replace it")
    if is_film(target) and not (force or resume) and (part := partial.left(target)):
        raise VideoError(
            f"{part}: an earlier run has left it",
            remedy="resume to go on from it, force to start anew, or move it elsewhere",
        )
