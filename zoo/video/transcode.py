"""From a film's file to the same film in colour: frames through the colorizer, everything else copied."""

import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.video.frame import VideoFrame

from zoo.colorizer import Colorizer
from zoo.errors import OptionError, VideoError
from zoo.video import planes
from zoo.video.chroma import Coding
from zoo.video.coloring import Colored, FilmColorizer

StrPath = str | os.PathLike[str]

_CODECS = {".mp4": "libx264", ".m4v": "libx264", ".mov": "libx264", ".mkv": "libx264", ".webm": "libvpx-vp9"}
_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_MPEG, _JPEG = 1, 2
_JOBS = 8  # frames and packets that wait to be written
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")


@dataclass(frozen=True)
class Progress:
    """How far a film is: frames done, how many there will be where that is known, frames a second so far."""

    done: int
    total: int | None
    rate: float


@dataclass
class Report:
    """What was made of a film.

    Attributes:
        frames: Written.
        runs: Of the network.
        seconds: It took.
        damaged: Frames that could not be decoded and show the one before instead.
        left_out: Streams that the output's format cannot hold, in words.
    """

    frames: int = 0
    runs: int = 0
    seconds: float = 0.0
    damaged: int = 0
    left_out: list[str] = field(default_factory=list)


def colorize_video(
    src: StrPath,
    dst: StrPath,
    *,
    model: Colorizer[Any] | str = "fusion",
    style: str | None = None,
    saturation: float = 1.0,
    temperature: float | None = None,
    working_size: int | None = None,
    keyframe_interval: int | None = None,
    crf: int = 18,
    preset: str = "medium",
    start: float = 0.0,
    end: float | None = None,
    force: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
    """Write the film ``src`` in colour to ``dst``; its luma is written through, its sound and the rest are copied.

    Colours it may have are ignored. The result stands under its name when it is whole, not before.

    Args:
        src: Anything that PyAV opens.
        dst: ``.mp4``, ``.m4v``, ``.mov``, ``.mkv`` or ``.webm``.
        model: Or its name, as for `zoo.load`.
        style: As in `Colorizer.colorize`, like the next three.
        saturation: Factor on the colours' strength.
        temperature: Sharpness of the choice between colours.
        working_size: Side at which the network sees the frames.
        keyframe_interval: The network sees every so many frames; None chooses by the motion, up to 8.
        crf: Quality of the encoder, 0 (lossless) to 51.
        preset: Speed of the encoder.
        start: Where to begin, in seconds.
        end: Where to stop, in seconds; None is the end.
        force: Replace a ``dst`` that exists.
        progress: Called after every frame.

    Returns:
        What was done.

    Raises:
        VideoError: The film cannot be read, has no pictures, or cannot be written.
        OptionError: An option out of its range, or one that the model does not have.
    """
    from zoo import loading

    source, target = Path(src), Path(dst)
    suffix = target.suffix.lower()
    _check(source, target, keyframe_interval, crf, preset, (start, end), force)
    colorizer = loading.load(model) if isinstance(model, str) else model
    options = {"style": style, "saturation": saturation, "temperature": temperature, "working_size": working_size}
    film, report = _Film(colorizer, options, keyframe_interval), Report()
    part = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        with ExitStack() as stack:
            container = stack.enter_context(_opened(source))
            kind = _FORMATS[suffix]
            muxer = {"movflags": "+faststart"} if kind in ("mp4", "mov") else {}
            out = stack.enter_context(av.open(str(part), "w", format=kind, options=muxer))
            _Run(container, out, film, _CODECS[suffix], (crf, preset), (start, end), report, progress).all()
        part.replace(target)
    except av.FFmpegError as error:
        raise VideoError(f"{source}: stopped after {report.frames} frames", found=error) from error
    except OSError as error:
        raise VideoError(f"{target} cannot be written", found=error.strerror or error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return report


class _Film:
    """The colorizer of one film, made when its first frame says how large it is and how it is coded."""

    def __init__(self, model: Colorizer[Any], options: dict[str, Any], keyframe_interval: int | None) -> None:
        self.model, self._predict = model, model.predictor(**options)
        self._working_size = options["working_size"] or model.spec.working_size
        self._saturation, self._interval = options["saturation"], keyframe_interval
        self.coding: Coding | None = None
        self._colorizer: FilmColorizer | None = None

    def feed(self, plane: planes.Plane, frame: VideoFrame) -> Iterator[Colored]:
        """Colours that are known once the next luma plane is."""
        if self._colorizer is None:
            self.coding = planes.coding(frame)
            self._colorizer = FilmColorizer(
                self._predict,
                (plane.shape[0], plane.shape[1]),
                working_size=self._working_size,
                multiple_of=self.model.spec.multiple_of,
                coding=self.coding,
                saturation=self._saturation,
                interval=self._interval,
            )
        yield from self._colorizer.feed(plane)

    def flush(self) -> Iterator[Colored]:
        """The rest of them."""
        if self._colorizer is not None:
            yield from self._colorizer.flush()

    @property
    def runs(self) -> int:
        """Of the network."""
        return self._colorizer.runs if self._colorizer else 0


@dataclass(frozen=True)
class _Waiting:
    """A luma plane whose colours are not known yet, and when it is shown."""

    plane: planes.Plane
    pts: int | None


class _Background:
    """One thread that does jobs in their order while others are prepared; what one raises, a later call raises."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._jobs: deque[Future[None]] = deque()

    def do(self, job: Callable[..., None], *arguments: Any) -> None:
        """Put a job behind the others; waits where many are before it, so that frames do not pile up."""
        while len(self._jobs) >= _JOBS:
            self._jobs.popleft().result()
        self._jobs.append(self._pool.submit(job, *arguments))

    def finish(self) -> None:
        """Wait until all are done."""
        while self._jobs:
            self._jobs.popleft().result()

    def close(self) -> None:
        """End after the job under way."""
        self._pool.shutdown(cancel_futures=True)


class _Run:
    """One pass over a film: packets in, packets out."""

    def __init__(
        self,
        source: InputContainer,
        out: OutputContainer,
        film: _Film,
        codec: str,
        quality: tuple[int, str],
        span: tuple[float, float | None],
        report: Report,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self.source, self.out, self.film, self.codec, self.progress = source, out, film, codec, progress
        self.crf, self.preset = quality
        self.start, self.end = span
        pictures = [s for s in source.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not pictures:
            raise VideoError(f"{source.name}: no moving pictures in it", remedy="give a film; photos go to colorize")
        self.video = pictures[0]
        self.video.thread_type = "AUTO"
        self.report = report
        self.waiting: deque[_Waiting] = deque()
        self.writing = _Background()
        self.held: list[av.Packet[Any]] = []
        self.encoder: Any = None
        self.copies: dict[int, Any] = {}
        self.last: VideoFrame | None = None
        self.began = time.perf_counter()
        self.total = self._expected()
        out.metadata.update(source.metadata)
        for stream in source.streams:
            if stream is not self.video:
                self._copy_stream(stream)

    def all(self) -> None:
        """Everything; what was done stands in the report."""
        try:
            self._all()
        finally:
            self.writing.close()

    def _all(self) -> None:
        if self.start:
            self.source.seek(int(self.start * av.time_base), backward=True)
        with self.film.model.inference():
            for packet in self.source.demux([self.video, *(self.source.streams[i] for i in self.copies)]):
                if packet.stream is self.video:
                    if self._after_the_end(packet):
                        break
                    self._decode(packet)
                elif packet.dts is not None and self._inside(packet.pts, packet.time_base):
                    self.writing.do(self._copy, packet)
            for colored in self.film.flush():
                self._write(colored)
        self.writing.finish()
        if self.encoder is None:
            raise VideoError(f"{self.source.name}: not one frame in it", expected="at least one between start and end")
        self.out.mux(self.encoder.encode(None))
        self.report.runs, self.report.seconds = self.film.runs, time.perf_counter() - self.began

    def _decode(self, packet: "av.Packet[Any]") -> None:
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            self.report.damaged += 1
            if self.last is None or packet.pts is None:
                return
            self.last.pts = packet.pts
            frames = [self.last]
        for frame in frames:
            if isinstance(frame, VideoFrame) and self._inside(frame.pts, frame.time_base):
                self._feed(frame)

    def _feed(self, frame: VideoFrame) -> None:
        name = planes.luma_format(frame.format.name)
        if name != frame.format.name:
            pts, frame = frame.pts, frame.reformat(format=name)
            frame.pts = pts
        self.last = frame
        plane = planes.luma(frame)
        self.waiting.append(_Waiting(plane, frame.pts))
        for colored in self.film.feed(plane, frame):
            self._write(colored)

    def _write(self, colored: Colored) -> None:
        shown = self.waiting.popleft()
        assert self.film.coding is not None
        frame = planes.paint(shown.plane, colored, self.film.coding)
        frame.time_base = self.video.time_base
        frame.pts = None if shown.pts is None else shown.pts - self._offset(self.video.time_base)
        self.writing.do(self._encode, frame)
        self.report.frames += 1
        if self.progress is not None:
            rate = self.report.frames / max(time.perf_counter() - self.began, 1e-6)
            self.progress(Progress(self.report.frames, self.total, rate))

    def _encode(self, frame: VideoFrame) -> None:
        if self.encoder is None:
            self._open_encoder(frame.height, frame.width)
        self.out.mux(self.encoder.encode(frame))
        for packet in self.held:
            self._mux(packet)
        self.held.clear()

    def _open_encoder(self, height: int, width: int) -> None:
        assert self.film.coding is not None
        if self.codec == "libx264":  # whose crf 0 is lossless in 8 bits only
            options = {"preset": self.preset} | ({"crf": str(self.crf)} if self.crf else {"qp": "0"})
        else:
            quality = {"crf": str(self.crf), "b": "0"} if self.crf else {"lossless": "1"}
            options = {"row-mt": "1", "cpu-used": "4"} | quality
        self.encoder = self.out.add_stream(self.codec, rate=self.video.average_rate or Fraction(25), options=options)
        self.encoder.width, self.encoder.height = width, height
        self.encoder.pix_fmt = planes.output_format(height, width, self.film.coding.bits)
        context, given = self.encoder.codec_context, self.video.codec_context
        context.time_base = self.encoder.time_base = self.video.time_base
        context.color_range = _JPEG if self.film.coding.full else _MPEG
        for name in ("colorspace", "color_primaries", "color_trc"):
            value = getattr(given, name)
            if not (name == "colorspace" and value == 0):  # RGB is not written
                setattr(context, name, value)
        ratio = self.video.sample_aspect_ratio
        if ratio:
            sideways = (height, width) != (given.height, given.width)
            context.sample_aspect_ratio = 1 / ratio if sideways else ratio
        self.encoder.metadata.update({k: v for k, v in self.video.metadata.items() if k != "rotate"})

    def _copy_stream(self, stream: Any) -> None:
        try:
            copy = self.out.add_stream_from_template(stream)
        except (av.FFmpegError, ValueError) as error:
            self.report.left_out.append(f"stream {stream.index} ({stream.type}): {error}")
            return
        copy.metadata.update(stream.metadata)
        self.copies[stream.index] = copy

    def _copy(self, packet: "av.Packet[Any]") -> None:
        if self.encoder is None:  # the header must know the pictures first
            self.held.append(packet)
        else:
            self._mux(packet)

    def _mux(self, packet: "av.Packet[Any]") -> None:
        offset = self._offset(packet.time_base)
        packet.pts, packet.dts = (None if t is None else t - offset for t in (packet.pts, packet.dts))
        packet.stream = self.copies[packet.stream.index]
        self.out.mux(packet)

    def _offset(self, base: Fraction | None) -> int:
        return round(self.start / base) if self.start and base else 0

    def _inside(self, pts: int | None, base: Fraction | None) -> bool:
        if pts is None or base is None:
            return True
        at = float(pts * base)
        return at >= self.start - 1e-6 and (self.end is None or at < self.end)

    def _after_the_end(self, packet: "av.Packet[Any]") -> bool:
        return self.end is not None and packet.dts is not None and float(packet.dts * packet.time_base) > self.end + 1

    def _expected(self) -> int | None:
        rate, seconds = self.video.average_rate, None
        if self.video.duration and self.video.time_base:
            seconds = float(self.video.duration * self.video.time_base)
        elif self.source.duration:
            seconds = self.source.duration / av.time_base
        if self.start or self.end is not None or not self.video.frames:
            if seconds is None or not rate:
                return None
            return max(1, round((min(self.end or seconds, seconds) - self.start) * float(rate)))
        return self.video.frames


def _opened(source: Path) -> InputContainer:
    try:
        return av.open(str(source))
    except FileNotFoundError as error:
        raise VideoError(f"{source}: no such file") from error
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{source}: not a film that can be opened", found=error) from error


def _check(
    source: Path,
    target: Path,
    keyframe_interval: int | None,
    crf: int,
    preset: str,
    span: tuple[float, float | None],
    force: bool,
) -> None:
    if target.suffix.lower() not in _CODECS:
        raise VideoError(
            f"{target}: unknown kind of film", found=target.suffix or "no suffix", expected=", ".join(_CODECS)
        )
    if target.exists() and not force:
        raise VideoError(f"{target}: exists already", remedy="choose another name, or force to replace it")
    if target.exists() and source.exists() and target.samefile(source):
        raise VideoError(f"{target} is the source itself", remedy="choose another name")
    if not target.parent.is_dir():
        raise VideoError(f"{target.parent} is not a folder", remedy="make it first")
    if keyframe_interval is not None and not 1 <= keyframe_interval <= 1000:
        raise OptionError("bad keyframe_interval", found=keyframe_interval, expected="1 to 1000")
    if not 0 <= crf <= 51:
        raise OptionError("bad crf", found=crf, expected="0 to 51")
    if preset not in PRESETS:
        raise OptionError("bad preset", found=preset, expected=", ".join(PRESETS))
    start, end = span
    if start < 0 or (end is not None and end <= start):
        raise OptionError("bad start or end", found=f"{start} to {end}", expected="0 <= start < end, in seconds")
