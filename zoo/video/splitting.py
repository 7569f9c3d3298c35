"""Where a long film may be split: at cuts, found as they will be when it is coloured. See `zoo.video.segments`."""

import itertools
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from zoo.colorizer import Colorizer
from zoo.errors import OptionError, VideoError
from zoo.video import motion, parts, transcode
from zoo.video.chroma import Coding
from zoo.video.pacing import Sight, of_8_bits
from zoo.video.running import Progress
from zoo.video.sequences import Pictures
from zoo.video.source import Broken, Shot, Source, Span
from zoo.video.transcode import StrPath


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

    def has(self, at: float) -> bool:
        """Whether what happens then, in seconds of the new film, happens in it."""
        return (not self.index or at >= self.begins) and (self.index + 1 == self.count or at < self.ends)

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
                    sight = sight_of(shot, colorizer, working_size)
                cut = detector.is_cut(_small(shot, sight, source.coding))
                if cut and not (stamps and shot.damaged):  # what is damaged may be decoded otherwise the next time
                    cuts[len(stamps)] = checksum(shot)
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


def sight_of(shot: Shot, model: Colorizer[Any], working_size: int | None) -> Sight:
    """How ``model`` sees the film of ``shot``."""
    height, width = shot.plane.shape
    return Sight((height, width), working_size or model.spec.working_size, model.spec.multiple_of)


def checksum(shot: Shot) -> int:
    """Of the luma."""
    return zlib.crc32(np.ascontiguousarray(shot.plane).data)


def opened(path: Path, segment: Segment, name: str) -> Source:
    """The film that ``segment`` is of, opened; ``name`` is for messages.

    Raises:
        VideoError: It is another one, or cannot be read.
    """
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
