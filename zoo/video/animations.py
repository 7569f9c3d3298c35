"""Animated GIF and WebP: frame by frame, with the time that each is shown and how often all are played."""

import struct
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import count
from pathlib import Path
from stat import S_ISREG
from typing import Any

import av
import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from PIL import Image, ImageFile

from zoo import images
from zoo.errors import ImageError, VideoError
from zoo.video import copying, partial
from zoo.video.background import Background
from zoo.video.coloring import Colored
from zoo.video.sink import Quality, Sink, writing
from zoo.video.source import Broken, Lost, Shot, Source, Span, check_size, within
from zoo.video.stills import Array, Painter, plane_of

KINDS = {".gif": "gif", ".webp": "webp"}
_MILLISECOND, _CENTISECOND = Fraction(1, 1000), Fraction(1, 100)
_NO_TIME = 100  # ms; what browsers show a frame for that says no time
_SHORTEST = 2  # centiseconds; what is shorter they show for ten
# What Pillow may raise of a damaged file.
_UNREADABLE = (OSError, EOFError, ValueError, SyntaxError, IndexError, struct.error, ImageError)


def is_animation(path: Path) -> bool:
    """Whether a file is a GIF or a WebP, by its first bytes; what cannot be read is none."""
    try:
        if not S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            head = file.read(12)
    except (OSError, ValueError):
        return False
    return head[:4] == b"GIF8" or (head[:4] == b"RIFF" and head[8:] == b"WEBP")


class Animation(Source):
    """The frames of a GIF or WebP.

    Args:
        path: The file.
        span: What is wanted of it.

    Raises:
        VideoError: It cannot be read, or is too large.
    """

    time_base = _MILLISECOND

    def __init__(self, path: Path, span: Span) -> None:
        super().__init__()
        self.name = str(path)
        self._end = None if span.end is None else span.end / _MILLISECOND
        try:
            with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
                self._image: ImageFile.ImageFile = Image.open(path)
        except (*_UNREADABLE, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise VideoError(f"{path}: not an animation that can be opened", found=error) from error
        check_size(self._image.height, self._image.width, self.name)
        self.origin = round(span.start / _MILLISECOND)
        self._frames = self._counted()  # once: Pillow finds less when it is asked again
        durations = self._durations()
        self.total, self.final_duration = len(durations), durations[-1]
        spent = sum(durations)
        self.rate = Fraction(len(durations) * 1000, spent)
        loop = self._image.info.get("loop")
        if self._image.format == "GIF":  # which counts the times it is repeated
            self.plays = 1 if loop is None else 0 if loop == 0 else loop + 1
        else:
            self.plays = loop or 0

    def close(self) -> None:
        """Close the file."""
        self._image.close()

    def _durations(self) -> list[int]:
        """Milliseconds of the frames within what is wanted that can be read, at least one."""
        found, now = [], 0
        for index in self._numbers():
            try:
                duration = self._to(index)
            except _UNREADABLE:
                break
            if now >= self.origin and (self._end is None or now < self._end):
                found.append(within(Lost(now, duration), self._end).duration)
            now += duration
        return found or [_NO_TIME]

    def _counted(self) -> int | None:
        """Frames in the file; None where it breaks off so that they cannot be counted."""
        try:
            return getattr(self._image, "n_frames", 1)
        except _UNREADABLE:
            return None

    def _numbers(self) -> Iterable[int]:
        """Of the frames; without end where they were not counted, so that reading finds what is wrong."""
        return count() if self._frames is None else range(self._frames)

    def _to(self, index: int) -> int:
        """Go to a frame; for how many milliseconds it is shown."""
        self._image.seek(index)
        self._image.load()
        return round(self._image.info.get("duration") or 0) or _NO_TIME

    def _read(self, after: int | None) -> Iterator[Shot | Lost]:
        now = 0
        for index in self._numbers():
            try:
                duration = self._to(index)
                picture = images.from_pil(self._image.copy())
            except _UNREADABLE as error:
                raise Broken(f"frame {index + 1} cannot be read: {error}", now / 1000) from error
            if self._end is not None and now >= self._end:
                return
            if now >= self.origin:
                plane, self._coding = plane_of(picture)
                yield within(Shot(plane, now, duration, picture), self._end)
            now += duration


class AnimationSink(Sink):
    """A GIF or WebP. It is written at one go: of one that is interrupted nothing is kept.

    Args:
        target: Its suffix chooses the format.
        source: Says how often it is played, and how long its last frame is shown.
        quality: 0 is lossless for WebP, whose quality is else 100 less ``crf``; GIF has none.
        labels: Of the cells of a frame.
    """

    def __init__(self, target: Path, source: Source, quality: Quality, labels: Sequence[str]) -> None:
        self._target, self._source, self._crf = target, source, quality.crf
        self._kind = KINDS[target.suffix.lower()]
        self.left_out = copying.left_out(source, None)
        self._base = _CENTISECOND if self._kind == "gif" else _MILLISECOND
        self._part = partial.new_of(target)
        self._painter, self._background = Painter(labels), Background()
        self._out: Any = None
        self._encoder: Any = None
        self._palettes: _Palettes | None = None
        self._first = self._end = self._until = self._given = 0

    def begin(self, *, resume: bool) -> tuple[int, int | None]:
        """Make ready."""
        return 0, None

    def write(self, shot: Shot, colored: Sequence[Colored | None]) -> None:
        """Add a frame."""
        pixels = images.to_8_bit(self._painter(shot, colored, self._source.coding))
        pts = round((shot.pts - self._source.origin) * self._source.time_base / self._base)
        end = round((shot.pts + shot.duration - self._source.origin) * self._source.time_base / self._base)
        self._given += 1
        self._background.do(self._encode, pixels, pts, end)

    def finish(self) -> None:
        """Make it stand under its name."""
        self._background.finish()
        with writing(self._target):
            for frame in self._palettes.rest() if self._palettes else ():
                self._out.mux(self._encoder.encode(frame))
            self._out.mux(self._encoder.encode(None))
            self._out.close()
            if self._kind == "webp":
                _set_end(self._part, self._until - self._first)
            else:
                _set_end_of_gif(self._part, self._until - self._first)
            self._tell()
            self._part.replace(self._target)
        self._background.close()

    def keep(self) -> Path | None:
        """End before the end."""
        self.discard()
        return None

    def discard(self) -> None:
        """Leave what was there before."""
        self._background.close()
        if self._out is not None:
            with suppress(av.FFmpegError, OSError):
                self._out.close()
        self._part.unlink(missing_ok=True)

    def _tell(self) -> None:
        """That the file has fewer frames than it was given, if so."""
        with Image.open(self._part) as image:
            frames = getattr(image, "n_frames", 1)
        if frames < self._given:
            why = (
                "players show none for less than 0.02 seconds"
                if self._kind == "gif"
                else "some that look alike are one"
            )
            note = f"{self._target}: has {frames} frames for the {self._given} of the source: {why}"
            self._source.findings.notes.append(note)

    def _encode(self, pixels: Array, pts: int, end: int) -> None:
        self._until = max(self._until, end)
        if self._kind == "gif" and self._out is not None and pts < self._end:
            return  # players slow a GIF down that has more frames a second than 50
        with writing(self._target):
            if self._out is None:
                self._first = pts
                self._open(pixels)
            if pixels.shape[2] == 3:
                pixels = np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])
            frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgba")
            frame.pts, frame.time_base = pts, self._base
            if self._palettes is not None:
                for ready in self._palettes.feed(frame):
                    self._out.mux(self._encoder.encode(ready))
            else:
                self._out.mux(self._encoder.encode(frame.reformat(format="bgra")))
        self._end = pts + _SHORTEST

    def _open(self, pixels: Array) -> None:
        height, width = pixels.shape[:2]
        plays, rate = self._source.plays, self._source.rate or Fraction(25)
        if self._kind == "gif":
            final = self._source.final_duration
            last = 1 / rate if final is None else final * self._source.time_base
            loop = 0 if plays == 0 else -1 if plays == 1 else plays - 1
            options = {"loop": str(loop), "final_delay": str(max(1, round(last / _CENTISECOND)))}
            encoder, kind, own = "gif", "pal8", {}
            self._palettes = _Palettes(height, width)
        else:
            options = {"loop": str(plays)}
            own = {"quality": str(100 - self._crf)} if self._crf else {"lossless": "1"}
            encoder, kind = "libwebp_anim", "bgra"
        self._out = av.open(f"file:{self._part}", "w", format=self._kind, options=options)
        self._encoder = self._out.add_stream(encoder, rate=rate, options=own)
        self._encoder.width, self._encoder.height, self._encoder.pix_fmt = width, height, kind
        self._encoder.codec_context.time_base = self._encoder.time_base = self._base


class _Palettes:
    """Frames with colours of their own each, 255 and the transparent one."""

    def __init__(self, height: int, width: int) -> None:
        graph = Graph()
        source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgba"), time_base=_CENTISECOND)
        split = graph.add("split")
        choose = graph.add("palettegen", "stats_mode=single:reserve_transparent=1")
        use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=3")  # a pattern that stands still
        sink = graph.add("buffersink")
        source.link_to(split)
        split.link_to(choose, 0, 0)
        split.link_to(use, 1, 0)
        choose.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        self._graph, self._source, self._sink = graph, source, sink

    def feed(self, frame: VideoFrame) -> Iterator[Any]:
        self._source.push(frame)
        yield from self._ready()

    def rest(self) -> Iterator[Any]:
        self._source.push(None)
        yield from self._ready()

    def _ready(self) -> Iterator[Any]:
        while True:
            try:
                yield self._sink.pull()
            except (av.BlockingIOError, av.EOFError):
                return


def _set_end(path: Path, end: int) -> None:
    """Make the last frame of an animated WebP end at ``end`` milliseconds; libwebp only guesses it."""
    with path.open("r+b") as file:
        file.seek(0, 2)
        size = file.tell()
        place, spent = 12, 0
        last: tuple[int, int] | None = None  # where its duration is written, and when it begins
        while place + 8 <= size:
            file.seek(place)
            head = file.read(8)
            if head[:4] == b"ANMF":
                file.seek(place + 20)
                last = place + 20, spent
                spent += int.from_bytes(file.read(3), "little")
            length = int.from_bytes(head[4:], "little")
            place += 8 + length + length % 2
        if last is not None and end > last[1]:
            file.seek(last[0])
            file.write(min(end - last[1], (1 << 24) - 1).to_bytes(3, "little"))


def _set_end_of_gif(path: Path, end: int) -> None:
    """Make the last frame of a GIF end at ``end`` hundredths of a second, also where others after it were left out."""
    with path.open("r+b") as file:
        head = file.read(13)
        file.seek(3 << (head[10] & 7) + 1 if head[10] & 128 else 0, 1)
        spent, last = 0, None  # where its duration is written, and how long it is
        while (kind := file.read(1)) in (b"!", b","):
            if kind == b"!" and file.read(1) == b"\xf9":
                place = file.tell() + 2
                file.seek(place)
                spent += last[1] if last else 0
                last = place, int.from_bytes(file.read(2), "little")
                file.seek(place - 2)
            elif kind == b",":
                flags = file.read(9)[8]
                file.seek((3 << (flags & 7) + 1 if flags & 128 else 0) + 1, 1)
            while size := file.read(1)[0]:
                file.seek(size, 1)
        if last is not None and end - spent > last[1]:
            file.seek(last[0])
            file.write(min(end - spent, (1 << 16) - 1).to_bytes(2, "little"))
