"""A long film in segments: split at its cuts, coloured apart, anywhere and in any order, and joined without a seam.

A border lies only where `FilmColorizer` begins a scene by brightness alone, as it does at nearly every cut. There it
forgets all it knew, so that what follows is coloured as if the film began there, and the joined film is the one that
an undivided run would have made: each frame at its time, luma and chroma alike. A shot without a cut is never divided,
however long it is.

    segments = split("film.mkv", model="fusion")
    for segment in segments:  # or by many workers, each with the film at hand
        colorize_segment("film.mkv", segment, f"{segment.index}.part", model="fusion")
    join("film.mkv", segments, [f"{segment.index}.part" for segment in segments], "film.mp4")
"""

import itertools
import json
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.bitstream import BitStreamFilterContext

from zoo.colorizer import Colorizer
from zoo.errors import OptionError, VideoError
from zoo.video import copying, motion, partial, parts, sink, transcode
from zoo.video.chroma import Coding
from zoo.video.coloring import Sight, of_8_bits
from zoo.video.film import Film
from zoo.video.running import Colors, Look, Progress, Report, Run
from zoo.video.sequences import Pictures
from zoo.video.source import Broken, Lost, Shot, Source, Span
from zoo.video.transcode import StrPath

__all__ = ["Segment", "colorize_segment", "join", "split"]


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Frames of a film that can be coloured without the others. Plain values, that JSON can hold.

    Attributes:
        index: Its number among the ``count`` segments of the film, from 0.
        count: How many there are.
        first: Time stamp of its first frame, in the film's own steps.
        last: That of the last one.
        number: Of its first frame, counted from 0.
        frames: How many it has.
        at_cut: Whether it begins at a cut; else it is where the film or what is wanted of it begins.
        begins: When its first frame is shown, in seconds of the new film.
        ends: When its last frame has been shown.
        lasts: For how long that is shown, in the film's own steps; 0 where it is not known.
        stamps: Digest of its time stamps.
        luma: Checksum of its first frame's luma.
        sight: At which size cuts were looked for; the model has to see the film so.
        source: What tells the film from others.
        start: Where what is wanted of it begins, in seconds, a fraction.
        end: Where it ends; None is the end of the film.
        fps: Frames a second of a film of pictures.
    """

    index: int
    count: int
    first: int
    last: int
    number: int
    frames: int
    at_cut: bool
    begins: float
    ends: float
    lasts: int
    stamps: str
    luma: int
    sight: str
    source: str
    start: str
    end: str | None
    fps: str | None

    def __str__(self) -> str:
        """As messages name it."""
        return f"segment {self.index + 1} of {self.count}, {self.begins:.2f} to {self.ends:.2f} seconds"

    @property
    def span(self) -> Span:
        """What is wanted of the film."""
        return Span(Fraction(self.start), None if self.end is None else Fraction(self.end))


def split(
    path: StrPath,
    *,
    model: Colorizer[Any] | str = "fusion",
    working_size: int | None = None,
    longest: float = 60.0,
    shortest: float = 2.0,
    start: float = 0.0,
    end: float | None = None,
    fps: float | str | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> list[Segment]:
    """The segments of a film, by one pass over it that runs no network.

    Args:
        path: Of the film, as for `colorize_video`.
        model: By which it will be coloured, since cuts are looked for at the size at which it sees the frames.
        working_size: Likewise.
        longest: Seconds; each segment takes as many scenes as fit. One scene that is longer is a segment of its own.
        shortest: Seconds; no border is so near to another one or to the film's ends.
        start: Where to begin, in seconds.
        end: Where to stop, in seconds; None is the end.
        fps: As of `colorize_video`.
        progress: Called after every frame; an exception that it raises comes out of here.

    Returns:
        One or more, which are all of what is wanted of the film.

    Raises:
        VideoError: The film cannot be read, stops before its end, or has no frame there.
        OptionError: An option out of its range.
    """
    if not 0 <= shortest <= longest:
        raise OptionError(
            "bad shortest or longest",
            found=f"{shortest} and {longest}",
            expected="seconds, shortest not above longest",
        )
    place = Path(path)
    transcode.check_names(path, "-")
    span = transcode.span_of(start, end)
    colorizer = transcode.look_of(model, {"working_size": working_size}).model
    colorizer.check_options(working_size=working_size)
    stamps: list[int] = []
    cuts: dict[int, int] = {}  # numbers of frames, and their checksums
    lasts: list[int] = []
    detector, sight, began = motion.CutDetector(), None, time.perf_counter()
    with transcode.source_of(place, fps, span) as source:
        try:
            for shot in source.shots():
                if sight is None:
                    sight = _sight(shot, colorizer, working_size)
                cut = detector.is_cut(_small(shot, sight, source.coding))
                if cut and not (stamps and shot.damaged):  # what is damaged may be decoded otherwise the next time
                    cuts[len(stamps)] = _checksum(shot)
                stamps.append(shot.pts)
                lasts.append(shot.duration)
                if progress is not None:
                    spent = max(time.perf_counter() - began, 1e-6)
                    progress(Progress(len(stamps), source.total, len(stamps) / spent))
        except Broken as broken:
            raise VideoError(
                f"{source.name}: stops at {broken.at:.1f} seconds, after {len(stamps)} frames",
                found=broken.found,
                expected=None if broken.expected is None else f"{broken.expected:.1f} seconds, as it says itself",
                remedy="give a whole source, or an end before that",
            ) from broken.__cause__
        if not stamps:
            raise VideoError(f"{source.name}: not one frame in it", expected="at least one between start and end")
        base, origin = source.time_base, source.origin
        ends = [*stamps[1:], stamps[-1] + (lasts[-1] or source.final_duration or 1)]
        seconds = [float((pts - origin) * base) for pts in [*stamps, ends[-1]]]
        borders = [*_borders([seconds[n] for n in cuts], seconds[-1], longest, shortest), seconds[-1]]
        numbers = [n for n in cuts if seconds[n] in set(borders)] + [len(stamps)]
        return [
            Segment(
                index=index,
                count=len(numbers) - 1,
                first=stamps[first],
                last=stamps[after - 1],
                number=first,
                frames=after - first,
                at_cut=first > 0,
                begins=seconds[first],
                ends=seconds[after],
                lasts=lasts[after - 1],
                stamps=parts.digest([pts - stamps[first] for pts in stamps[first:after]]),
                luma=cuts[first],
                sight=str(sight),
                source=transcode.identity(source),
                start=str(span.start),
                end=None if span.end is None else str(span.end),
                fps=str(source.rate) if isinstance(source, Pictures) else None,
            )
            for index, (first, after) in enumerate(itertools.pairwise(numbers))
        ]


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
    passed over where the format has an index, else decoded in vain. An exception that ``progress`` raises cancels.

    Args:
        path: Of the film; the very file that was split, or a copy of it.
        segment: One of `split`.
        part: Where to write; any name.
        model: As of `colorize_video`, like the next seven.
        style: Likewise.
        saturation: Likewise.
        temperature: Likewise.
        working_size: Likewise.
        keyframe_interval: Likewise.
        crf: Likewise.
        preset: Likewise.
        suffix: Of the film that will be joined, since that chooses the encoder.
        force: Replace a part that was made otherwise.
        progress: Called after every frame.

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
    options = {"style": style, "saturation": saturation, "temperature": temperature, "working_size": working_size}
    look = transcode.look_of(model, options)
    settings = transcode.settings_of([look], interval, quality) | {"codec": sink.CODECS[suffix.lower()]}
    with ExitStack() as stack:
        with sink.writing(target):
            transcode.check_file(place, target)
            stack.enter_context(partial.locked(target))
        done = _done(place, segment, target, settings, force)
        if done is not None:
            return done
        for seeks in (True, False):  # else by reading all that is before
            with _opened(place, segment, f"{segment}") as source:
                seeking = isinstance(source, Film) and source.seeks and segment.index > 0
                if isinstance(source, Film):
                    source.seeks = seeks
                stretch = _Stretch(source, segment, look)
                made = {"segment": asdict(segment), **settings}
                out = parts.PartSink(target, stretch, segment.span, quality, [""], made, suffix)
                try:
                    report = Run(stretch, out, [Colors(look, interval)], False, progress).all(resume=False)
                    stretch.check_end()
                except _ElsewhereError as elsewhere:
                    out.discard()
                    if seeks and seeking:
                        continue
                    raise VideoError(
                        f"{place}: {segment}: is not what it was when the film was split",
                        found=elsewhere,
                        remedy="split it anew",
                    ) from None
                out.place(report)
                return report
    raise AssertionError("one of the two ends it")


def join(
    path: StrPath,
    segments: Sequence[Segment],
    made: Sequence[StrPath],
    dst: StrPath,
    *,
    force: bool = False,
) -> Report:
    """Write the film to ``dst``: the pictures of its parts as they are, and everything else of the source.

    The result is that of `colorize_video` with the same settings, which stands under its name when it is whole. The
    parts are left.

    Args:
        path: Of the film.
        segments: All that `split` gave, in their order.
        made: For each, the part that `colorize_segment` wrote.
        dst: ``.mp4``, ``.m4v``, ``.mov``, ``.mkv`` or ``.webm``, as was said to `colorize_segment`.
        force: Replace a ``dst`` that exists.

    Returns:
        What was done for all parts.

    Raises:
        VideoError: A part is missing, is not whole, or does not belong to the film or the others; or the film cannot
            be read, or the result not be written.
    """
    transcode.check_names(path, dst)
    place, target = Path(path), Path(dst)
    if not transcode.is_film(target):
        raise VideoError(f"{target}: unknown kind of film", found=target.suffix, expected=", ".join(sink.CODECS))
    if not segments or [s.index for s in segments] != list(range(segments[0].count)):
        raise VideoError(
            f"{target}: not all segments of a film, in their order",
            found=[s.index for s in segments],
            expected=f"0 to {segments[0].count - 1}" if segments else "at least one",
        )
    if len(made) != len(segments):
        raise VideoError(f"{target}: not a part for each segment", found=len(made), expected=len(segments))
    with ExitStack() as stack:
        with sink.writing(target):
            transcode.check_target(place, target)
            stack.enter_context(partial.locked(target))
            transcode.check_place(target, force, resume=False)
        source = stack.enter_context(_opened(place, segments[0], str(target)))
        found = _read(source, segments, [Path(part) for part in made], target)
        new, pictures = partial.new_of(target), partial.joined_of(target)
        with sink.writing(target):
            try:
                _append(pictures, segments, found, source)
                base, end = source.time_base, segments[-1]
                last = (end.last - source.origin) * base, end.lasts * base
                kind = sink.FORMATS[target.suffix.lower()]
                film = source if isinstance(source, Film) else None
                copying.assemble(copying.Job(pictures, new, kind, film, end.span, source.rate, last))
                new.replace(target)
            finally:
                for file in (new, pictures):
                    file.unlink(missing_ok=True)
        partial.remove(target)
        report = Report(left_out=copying.left_out(source, kind))
    for part in found:
        for name in ("frames", "runs", "seconds"):
            setattr(report, name, getattr(report, name) + getattr(part.report, name))
        report.damaged = sorted({*report.damaged, *part.report.damaged})
        for known, more in ((report.left_out, part.report.left_out), (report.notes, part.report.notes)):
            known += [line for line in more if line not in known]
    return report


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
        self._stamps: list[int] = []

    @property
    def coding(self) -> Coding:
        """How the planes are coded."""
        return self._source.coding

    def shots(self, after: int | None = None) -> Iterator[Shot]:
        """The frames.

        Raises:
            _ElsewhereError: The first is another one than it was.
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
                return

    def seconds(self, pts: int) -> float:
        """When a frame is shown, from the film's beginning on."""
        return self._source.seconds(pts)

    def _read(self, after: int | None) -> Iterator[Shot | Lost]:
        return self._source._read(after)

    def _check_begin(self, shot: Shot) -> None:
        segment = self._segment
        sight = _sight(shot, self._look.model, self._look.options.get("working_size"))
        if str(sight) != segment.sight:
            raise OptionError(
                f"{self.name}: was split for another size",
                found=f"{self._look.model.spec.name} sees it as {sight}",
                expected=segment.sight,
                remedy="split it with the model and the working_size by which it is coloured",
            )
        if shot.pts != segment.first or _checksum(shot) != segment.luma:
            raise _ElsewhereError("its first frame is another one")

    def check_end(self) -> None:
        """All frames were there.

        Raises:
            _ElsewhereError: They are not shown when they were.
        """
        if parts.digest(self._stamps) != self._segment.stamps:
            raise _ElsewhereError(f"{len(self._stamps)} frames, or at other times; {self._segment.frames} there were")


def _sight(shot: Shot, model: Colorizer[Any], working_size: int | None) -> Sight:
    height, width = shot.plane.shape
    return Sight((height, width), working_size or model.spec.working_size, model.spec.multiple_of)


def _checksum(shot: Shot) -> int:
    return zlib.crc32(np.ascontiguousarray(shot.plane).data)


def _small(shot: Shot, sight: Sight, coding: Coding) -> motion.Plane:
    return of_8_bits(sight(shot.plane)[1], coding.bits)


def _borders(cuts: Sequence[float], end: float, longest: float, shortest: float) -> list[float]:
    """Where segments begin, in seconds: each is as long as may be, and ends at a cut."""
    begin, rest = cuts[0], [cut for cut in cuts[1:] if end - cut >= shortest]
    borders = [begin]
    while True:
        rest = [cut for cut in rest if cut > begin and cut - begin >= shortest]
        if end - begin <= longest or not rest:
            return borders
        begin = max((cut for cut in rest if cut - begin <= longest), default=rest[0])
        borders.append(begin)


def _opened(path: Path, segment: Segment, name: str) -> Source:
    """The film that ``segment`` is of."""
    source = transcode.source_of(path, segment.fps, segment.span)
    try:
        found = transcode.identity(source)
        if found != segment.source:
            raise VideoError(
                f"{name}: {path} is not the film that was split",
                found=found,
                expected=segment.source,
                remedy="split it anew, or give that film",
            )
    except BaseException:
        source.close()
        raise
    return source


def _done(path: Path, segment: Segment, target: Path, settings: dict[str, Any], force: bool) -> Report | None:
    """Of a part that is there already: what was done for it, if it need not be done again."""
    name = f"{target} ({segment})"

    def base() -> Fraction:
        with _opened(path, segment, name) as source:
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


def _read(source: Source, segments: Sequence[Segment], made: Sequence[Path], target: Path) -> list[parts.Part]:
    """The parts, which belong together and to ``target``."""
    found: list[parts.Part] = []
    for segment, path in zip(segments, made, strict=True):
        name = f"{path} ({segment})"
        part = parts.read(path, name, asdict(segment), lambda: source.time_base)
        if part is None:
            raise VideoError(f"{name}: no such part", remedy="colour it first")
        first = found[0] if found else part
        if part.settings != first.settings or part.size != first.size or part.head != first.head:
            ours, theirs = part.settings | {"size": part.size}, first.settings | {"size": first.size}
            other = [key for key in ours if ours[key] != theirs.get(key)]
            raise VideoError(
                f"{name}: was made otherwise than {first.path}",
                found=", ".join(f"{key} {ours[key]}" for key in other) or "another encoder",
                expected=", ".join(f"{key} {theirs.get(key)}" for key in other) or None,
                remedy="colour one of them anew, by force, with the settings of the others",
            )
        codec = sink.CODECS[target.suffix.lower()]
        if part.settings["codec"] != codec:
            raise VideoError(
                f"{name}: was made for another kind of film",
                found=part.settings["codec"],
                expected=f"{codec} for {target.suffix}",
                remedy="give colorize_segment that suffix",
            )
        found.append(part)
    return found


def _append(pictures: Path, segments: Sequence[Segment], found: Sequence[parts.Part], source: Source) -> None:
    """Write one behind the other, as one encoder would have written them."""
    base = source.time_base
    shown = [
        pts + segment.first - source.origin for segment, part in zip(segments, found, strict=True) for pts in part.shown
    ]
    due = parts.decoding_times(shown, max(part.delay for part in found))
    ends = [*due[1:], due[-1] + max(1, found[-1].final)]
    times = zip(shown, due, ends, strict=True)
    with ExitStack() as stack:
        out = stack.enter_context(av.open(f"file:{pictures}", "w", format="mp4", options=sink.FRAGMENTS))
        stream: Any = None
        for part in found:
            with av.open(f"file:{part.path}") as container:
                video: Any = container.streams.video[0]
                if stream is None:
                    stream = out.add_mux_stream(video.codec_context.codec.canonical_name, rate=source.rate)
                    BitStreamFilterContext("null", in_stream=video, out_stream=stream)
                    stream.time_base = base
                for packet in container.demux(video):
                    if not packet.size:
                        continue
                    packet.pts, packet.dts, end = next(times)
                    packet.duration, packet.time_base, packet.stream = end - packet.dts, base, stream
                    out.mux(packet)
    with suppress(StopIteration):
        next(times)
        raise VideoError(f"{pictures}: a part has changed while it was read", remedy="join them again")
