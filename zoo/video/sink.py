"""Where coloured shots go: a film's file. What an interrupted run has done is kept, see `zoo.video.partial`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.video.frame import VideoFrame

from zoo.errors import ImageError, VideoError
from zoo.video import copying, partial, planes
from zoo.video.background import Background
from zoo.video.coloring import Colored
from zoo.video.film import Film
from zoo.video.layout import Layout, grey
from zoo.video.source import Shot, Source, Span

CODECS = {".mp4": "libx264", ".m4v": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_MPEG, _JPEG = 1, 2
# Fragments of a second, of which the file's beginning knows nothing: what is written can be read.
FRAGMENTS = {
    "movflags": "empty_moov+default_base_moof+delay_moov",
    "frag_duration": "1000000",
    "flush_packets": "1",
}


@dataclass(frozen=True)
class Quality:
    """Of an encoder: ``crf`` from 0 (lossless) to 51, and its speed."""

    crf: int
    preset: str


class Sink(ABC):
    """What is made of the shots. ``begin``, ``write`` each, then one of ``finish``, ``keep`` and ``discard``.

    Attributes:
        left_out: What of the source it cannot hold, in words.
    """

    left_out: list[str]

    @abstractmethod
    def begin(self, *, resume: bool) -> tuple[int, int | None]:
        """Make ready; how many frames an earlier run has done, and the time stamp of the last, None where counted.

        Raises:
            VideoError: It cannot be gone on from what was done.
        """

    @abstractmethod
    def write(self, shot: Shot, colored: Sequence[Colored | None]) -> None:
        """Add a frame; the colours of each cell, None for grey.

        Raises:
            VideoError: It cannot be written.
        """

    @abstractmethod
    def finish(self) -> None:
        """All was written: make it stand under its name.

        Raises:
            VideoError: It cannot be written.
        """

    @abstractmethod
    def keep(self) -> Path | None:
        """It ends before its end: what stays of it, None for nothing."""

    @abstractmethod
    def discard(self) -> None:
        """Leave what was there before."""


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """A context in which what the encoder, the format or the disk refuses becomes a VideoError."""
    try:
        yield
    except (av.FFmpegError, OSError, ValueError, ImageError) as error:
        raise VideoError(
            f"{target}: cannot be written",
            found=getattr(error, "strerror", None) or getattr(error, "found", None) or error,
            remedy="check the folder's permissions and the space on the disk",
        ) from error


class FilmSink(Sink):
    """A film's file.

    Args:
        target: Its suffix chooses the format.
        source: Where everything but the pictures is copied from.
        span: What of it.
        quality: Of the encoder.
        labels: Of the cells of a frame.
        settings: What a run that goes on has to have in common with this one.
        suffix: That chooses, in place of the target's.
    """

    def __init__(
        self,
        target: Path,
        source: Source,
        span: Span,
        quality: Quality,
        labels: Sequence[str],
        settings: dict[str, Any],
        suffix: str | None = None,
    ) -> None:
        self._target, self._source, self._span, self._quality = target, source, span, quality
        self._labels, self._settings = labels, settings
        suffix = (suffix or target.suffix).lower()
        self._codec, self._kind = CODECS[suffix], FORMATS[suffix]
        self._work, self._earlier = partial.path_of(target), partial.earlier_of(target)
        self._kept: partial.Kept | None = None
        self._layout: Layout | None = None
        self._background = Background()
        self._out: Any = None
        self._encoder: Any = None
        self._last = (Fraction(-1), Fraction(0))
        self._written = 0
        self._closed = False
        self.left_out = copying.left_out(source, self._kind)
        if self._kind == "webm" and source.aspect not in (None, 1):
            self.left_out.append(f"the shape of its pixels, {source.aspect}: webm is written without")

    def begin(self, *, resume: bool) -> tuple[int, int | None]:
        """Make ready."""
        if resume:
            self._kept = partial.find(self._target, self._settings, Path(self._source.name))
            if self._kept is None and self._work.exists():
                self._source.findings.notes.append(
                    f"{self._work}: nothing of it could be used; the film was begun anew"
                )
        if self._kept is None:
            return 0, None
        self._last = self._kept.last, Fraction(0)
        return self._kept.packets, round(self._kept.last / self._source.time_base) + self._source.origin

    def write(self, shot: Shot, colored: Sequence[Colored | None]) -> None:
        """Add a frame."""
        coding = self._source.coding
        cells = [grey(shot.plane, coding) if c is None else planes.paint(shot.plane, c, coding) for c in colored]
        if self._layout is None:
            height, width = shot.plane.shape
            self._layout = Layout((height, width), self._labels)
        frame = self._layout.frame(cells, coding)
        frame.time_base, frame.pts = self._source.time_base, shot.pts - self._source.origin
        frame.duration = shot.duration
        self._background.do(self._encode, frame)

    def finish(self) -> None:
        """Make it stand under its name."""
        self._close()
        new = partial.new_of(self._target)
        with writing(self._target):
            try:
                copying.assemble(self._job(new, self._kind))
                new.replace(self._target)
            finally:
                new.unlink(missing_ok=True)
        partial.remove(self._target)

    def keep(self) -> Path | None:
        """End before the end."""
        with suppress(Exception):  # it ends because of another one
            self._close()
        if not self._written:
            self.discard()
        elif not self._background.failed:
            new = partial.new_of(self._target)
            with suppress(av.FFmpegError, OSError, VideoError):  # else the file of the pictures is what is kept
                try:
                    note = partial.note(self._settings, whole=True)
                    copying.assemble(self._job(new, "mp4", until=sum(self._last, Fraction(0)), note=note))
                    new.replace(self._work)
                    self._earlier.unlink(missing_ok=True)
                finally:
                    new.unlink(missing_ok=True)
        return partial.left(self._target)

    def discard(self) -> None:
        """Leave what was there before."""
        self._background.close()
        if self._out is not None:
            with suppress(av.FFmpegError, OSError):
                self._out.close()
            self._work.unlink(missing_ok=True)
        if self._earlier.exists() and not self._work.exists():
            self._earlier.replace(self._work)

    def _encode(self, frame: VideoFrame) -> None:
        with writing(self._target):
            if self._encoder is None:
                self._open(frame)
            self._out.mux(self._encoder.encode(frame))
        self._last = (frame.pts or 0) * self._source.time_base, frame.duration * self._source.time_base
        self._written += 1

    def _open(self, frame: VideoFrame) -> None:
        kept = self._kept
        if kept is not None and kept.size != (frame.height, frame.width):
            raise VideoError(
                f"{kept.path}: is a part of another film",
                found=f"pictures of {kept.size[1]} x {kept.size[0]}",
                expected=f"{frame.width} x {frame.height}",
            )
        if kept is not None and kept.path == self._work:
            self._work.replace(self._earlier)
            self._kept = kept = partial.Kept(self._earlier, kept.packets, kept.last, kept.size)
        self._out = av.open(f"file:{self._work}", "w", format="mp4", options=FRAGMENTS)
        self._out.metadata.update(partial.note(self._settings, whole=False))
        self._encoder = self._stream(frame)
        if kept is not None:
            for packet in kept.read():
                packet.stream = self._encoder
                self._out.mux(packet)

    def _stream(self, frame: VideoFrame) -> Any:
        source, crf = self._source, self._quality.crf
        if self._codec == "libx264":  # whose crf 0 is lossless in 8 bits only
            options = {"preset": self._quality.preset} | ({"crf": str(crf)} if crf else {"qp": "0"})
        else:
            quality = {"crf": str(crf), "b": "0"} if crf else {"lossless": "1"}
            options = {"row-mt": "1", "cpu-used": "4"} | quality
        stream: Any = self._out.add_stream(self._codec, rate=source.rate or Fraction(25), options=options)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = frame.width, frame.height, self._pixels(frame.format.name)
        context.time_base = stream.time_base = source.time_base
        context.color_range = _JPEG if source.coding.full else _MPEG
        for name, value in source.tags.items():
            setattr(context, name, value)
        if source.aspect:
            context.sample_aspect_ratio = source.aspect
        return stream

    def _pixels(self, name: str) -> str:
        """The pixel format ``name``, or that of 8 bits where the encoder has no other."""
        formats = av.Codec(self._codec, "w").video_formats or []
        if name in {kind.name for kind in formats}:
            return name
        self.left_out.append("the finest 2 of the 10 bits of its brightness: webm is written with 8")
        return name.removesuffix("10le")

    def _close(self) -> None:
        """All frames are in the file of the pictures, and it is closed."""
        try:
            self._background.finish()
            if self._encoder is not None and not self._closed:
                self._closed = True
                with writing(self._target):
                    self._out.mux(self._encoder.encode(None))
                    self._out.close()
        except VideoError:
            self._background.failed = True
            raise
        finally:
            self._background.close()

    def _job(self, target: Path, kind: str, until: Fraction | None = None, **more: Any) -> copying.Job:
        film = self._source if isinstance(self._source, Film) else None
        pictures = self._kept.path if self._out is None and self._kept is not None else self._work
        return copying.Job(pictures, target, kind, film, self._span, self._source.rate, self._last, until=until, **more)
