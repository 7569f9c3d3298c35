"""A long film in segments: split at its cuts, coloured apart, anywhere and in any order, and joined without a seam.

A border lies only where `FilmColorizer` begins a scene by brightness alone, as it does at nearly every cut. There it
forgets all it knew, so that what follows is coloured as if the film began there, and the joined film is the one that
an undivided run would have made: each frame at its time, luma and chroma alike (but for how a lossy encoder, which
starts anew there, rounds them). A shot without a cut is never divided, however long it is.

    segments = split("film.mkv", model="fusion")
    for segment in segments:  # or by many workers, each with the film at hand
        colorize_segment("film.mkv", segment, f"{segment.index}.part", model="fusion")
    join("film.mkv", segments, [f"{segment.index}.part" for segment in segments], "film.mp4")
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

from zoo.colorizer import Colorizer
from zoo.errors import OptionError, VideoError
from zoo.hints import RADIUS
from zoo.reference import MODES
from zoo.video import partial, parts, sink, surveying, told, transcode
from zoo.video.chroma import Coding
from zoo.video.film import Film
from zoo.video.joining import join
from zoo.video.running import Colors, Look, Progress, Report, Run
from zoo.video.source import Lost, Shot, Source
from zoo.video.splitting import Segment, checksum, opened, sight_of, split
from zoo.video.told import FilmHints, FilmReference
from zoo.video.transcode import StrPath

__all__ = ["Segment", "colorize_segment", "join", "split"]


def colorize_segment(
    path: StrPath,
    segment: Segment,
    part: StrPath,
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
    suffix: str = ".mp4",
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Write the frames of a segment in colour to ``part``, a file for `join`.

    It stands under its name when it is whole, not before. One that is there already, whole and made with these
    settings, is left as it is, so that a run which was stopped may simply be made again. What is before the segment is
    passed over where that leads to the very same frames, else decoded in vain. An exception that ``progress`` raises
    cancels.

    Args:
        path: Of the film; the very file that was split, or a copy of it.
        segment: One of `split`.
        part: Where to write; any name.
        model: As of `colorize_video`, like the next thirteen. Hints and references are those of the whole film: of
            each segment the same, which uses those for its own frames.
        style: Likewise.
        saturation: Likewise.
        temperature: Likewise.
        working_size: Likewise.
        variant: Likewise.
        seed: Likewise.
        hints: Likewise.
        hint_radius: Likewise.
        reference: Likewise.
        reference_mode: Likewise.
        keyframe_interval: Likewise.
        crf: Likewise.
        preset: Likewise.
        suffix: Of the film that will be joined, since that chooses the encoder.
        force: Replace a part that was made otherwise.
        progress: Called after every frame, and before the first one while scenes are looked for.

    Returns:
        What was done; of a part that was there, what was done then.

    Raises:
        VideoError: The film cannot be read or is not the one that was split, or the part cannot be written.
        OptionError: An option out of its range, one that the model does not have, or a size other than that of `split`.
    """
    transcode.check_names(path, part)
    place, target = Path(path), Path(part)
    interval, quality = transcode.checked(keyframe_interval, crf, preset)
    if suffix.lower() not in sink.CODECS:
        raise OptionError("bad suffix", found=suffix, expected=", ".join(sink.CODECS))
    guidance = told.told(hints, hint_radius, reference, reference_mode)
    look = transcode.look_of(model, transcode.options_of(style, saturation, temperature, working_size, variant, seed))
    settings = transcode.settings_of([look], interval, quality, guidance) | {"codec": sink.CODECS[suffix.lower()]}
    start = float(segment.span.start)
    own = guidance.within(lambda at: segment.has(at - start + surveying.TOLERANCE))
    with ExitStack() as stack:
        with sink.writing(target):
            transcode.check_file(place, target)
            stack.enter_context(partial.locked(target))
        done = _done(place, segment, target, settings, force)
        if done is not None:
            return done
        for seeks in (True, False):  # else by reading all that is before
            with _stretch(place, segment, look, seeks) as stretch:
                made = {"segment": asdict(segment), **settings}
                out = parts.PartSink(target, stretch, segment.span, quality, [""], made, suffix)
                try:
                    with _stretch(place, segment, look, seeks) as first:
                        (plan,) = surveying.survey(first, [look], interval, own, start, progress)
                    report = Run(stretch, out, [Colors(look, interval, plan)], False, progress).all(resume=False)
                except _ElsewhereError as elsewhere:
                    if seeks:
                        continue
                    raise VideoError(
                        f"{place}: {segment}: is not what it was when the film was split",
                        found=elsewhere,
                        remedy="split it anew",
                    ) from None
                report.damaged = [at for at in report.damaged if segment.has(at)]
                out.place(report)
                return report
    raise AssertionError("the second one ends it")


class _ElsewhereError(Exception):
    """The frames are not those that were there when the film was split."""


class _Stretch(Source):
    """The frames of a segment, as a source of its own.

    Args:
        source: The film.
        segment: What of it.
        look: The model, which has to see it as `split` did.
    """

    def __init__(self, source: Source, segment: Segment, look: Look) -> None:
        super().__init__()
        self._source, self._segment, self._look = source, segment, look
        self.name, self.time_base, self.rate = source.name, source.time_base, source.rate
        self.aspect, self.tags, self.findings = source.aspect, source.tags, source.findings
        self.total, self.origin = segment.frames, segment.first
        self.final_duration = round(segment.ends / source.time_base) + source.origin - segment.last
        self._stamps: list[int] = []

    @property
    def coding(self) -> Coding:
        """How the planes are coded."""
        return self._source.coding

    def shots(self, after: int | None = None) -> Iterator[Shot]:
        """The frames.

        Raises:
            _ElsewhereError: They are not those that they were.
            Broken: The film stops before their end.
        """
        segment = self._segment
        for shot in self._source.shots(segment.first - 1 if segment.index else after):
            if not self._stamps:
                self._check_begin(shot)
                self.aspect = self._source.aspect  # of a film that is to be turned it is known now
            self._stamps.append(shot.pts - segment.first)
            yield shot
            if shot.pts >= segment.last:
                break
        if parts.digest(self._stamps) != segment.stamps:
            raise _ElsewhereError(f"{len(self._stamps)} frames, where {segment.frames} were, or at other times")

    def seconds(self, pts: int) -> float:
        """When a frame is shown, from the film's beginning on."""
        return self._source.seconds(pts)

    def _read(self, after: int | None) -> Iterator[Shot | Lost]:
        return self._source._read(after)

    def _check_begin(self, shot: Shot) -> None:
        segment = self._segment
        sight = sight_of(shot, self._look.model, self._look.options.get("working_size"))
        if str(sight) != segment.sight:
            raise OptionError(
                f"{self.name}: was split for another size",
                found=f"{self._look.model.spec.name} sees it as {sight}",
                expected=segment.sight,
                remedy="split it with the model and the working_size by which it is coloured",
            )
        if shot.pts != segment.first or checksum(shot) != segment.luma:
            raise _ElsewhereError("its first frame is another one")


@contextmanager
def _stretch(path: Path, segment: Segment, look: Look, seeks: bool) -> Iterator[_Stretch]:
    """The frames of a segment; the first frame of the film says how large all are, and how they are coded."""
    with opened(path, segment, f"{segment}") as source:
        if isinstance(source, Film) and segment.index:
            source.seeks = seeks
            with opened(path, segment, f"{segment}") as beginning:
                if isinstance(beginning, Film) and next(beginning.shots(), None) is not None:
                    source.follow(beginning)
        yield _Stretch(source, segment, look)


def _done(path: Path, segment: Segment, target: Path, settings: dict[str, Any], force: bool) -> Report | None:
    """Of a part that is there already: what was done for it, if it need not be done again."""
    name = f"{target} ({segment})"

    def base() -> Fraction:
        with opened(path, segment, name) as source:
            return source.time_base

    try:
        there = parts.read(target, name, asdict(segment), base)
        if there is None:
            return None
        wanted = json.loads(json.dumps(settings | {"encoder": partial.ENCODER}))
        if there.settings != wanted:
            raise VideoError(f"{name}: was made with other settings", found=there.settings, expected=wanted)
        return there.report
    except VideoError as error:
        if force:
            return None
        raise VideoError(
            error.what, found=error.found, expected=error.expected, remedy="choose another name, or force to replace it"
        ) from error.__cause__
