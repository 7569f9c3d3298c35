"""Clips within the app's limits and as every browser plays them: H.264 in 4:2:0 and 8 bits, AAC or MP3, MP4."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.filter import Graph

from demo import limits
from zoo import color
from zoo.errors import VideoError
from zoo.video.film import Film
from zoo.video.source import Span

_A_LITTLE = 1.01  # by which sound may outlast the pictures, and 30 frames a second be 30.02
_TICKS = Fraction(1, 90_000)  # of a second, in which new time stamps are
_QUALITY = {"crf": "18", "preset": "veryfast"}
_TURNS: dict[int, list[tuple[str, str | None]]] = {
    1: [("transpose", "cclock")],
    2: [("hflip", None), ("vflip", None)],
    3: [("transpose", "clock")],
}  # by quarters, counter-clockwise
_SOUND_RATE = 48_000
_LISTS = ("concat", "dash", "hls", "image2", "imf", "sdp")  # formats, as FFmpeg names them
_GLIMPSES = 4  # frames that are looked at for color


def opened(path: Path, span: Span | None = None) -> Film:
    """A clip to be asked things, or what is wanted of it; a context manager.

    Raises:
        VideoError: It is no film, only one picture, or a list of other files: those might be of this machine.
    """
    film = Film(path, span or Span())
    kind = film.container.format.name
    if not kind.startswith(_LISTS) and not kind.endswith("_pipe"):
        return film
    film.close()
    what = "a single picture, which goes into the tab Photos" if kind.endswith("_pipe") else "a list of other files"
    raise VideoError(f"{path}: {what}")


def too_long(film: Film) -> bool:
    """Whether a clip says that it is longer than the limit."""
    return (film.container.duration or 0) / av.time_base > limits.CLIP_SECONDS * _A_LITTLE


def fits(film: Film) -> bool:
    """Whether a clip is within the limits, and browsers play it as it is."""
    video = film.video.codec_context
    sounds = {stream.codec_context.name for stream in film.container.streams.audio}
    return bool(
        film.path.suffix.lower() in (".mp4", ".m4v")
        and film.container.format.name.startswith("mov")
        and video.name == "h264"
        and video.pix_fmt in ("yuv420p", "yuvj420p")
        and sounds <= {"aac", "mp3", "mp3float"}
        and video.width % 2 == video.height % 2 == 0
        and max(video.width, video.height) <= limits.CLIP_SIDE
        and film.container.duration
        and not too_long(film)
        and (film.rate or 0) <= limits.CLIP_RATE * _A_LITTLE
    )


def fit(path: Path, target: Path) -> None:
    """Write a clip anew as one that fits: its beginning, smaller where it is too large, upright, with its first sound.

    What cannot be decoded is left out.

    Raises:
        VideoError: Not one frame can be decoded.
    """
    with opened(path) as film:
        first = next(_frames(film, [film.video]), None)
        if first is None:
            raise VideoError(f"{path}: not one frame of it can be read")
        graph = _graph(film, first)
    with opened(path) as film, av.open(f"file:{target}", "w", format="mp4", options={"movflags": "+faststart"}) as out:
        video: Any = out.add_stream(
            "libx264", rate=min(film.rate or limits.CLIP_RATE, limits.CLIP_RATE), options=_QUALITY
        )
        video.width, video.height = _size(film, first)
        video.pix_fmt, video.time_base = "yuv420p", _TICKS
        video.codec_context.time_base = _TICKS
        for name in ("colorspace", "color_primaries", "color_trc", "color_range"):
            setattr(video.codec_context, name, int(getattr(film.video.codec_context, name)))
        streams, sound = [film.video, *film.container.streams.audio[:1]], None
        if len(streams) > 1:
            sound = out.add_stream("aac", rate=_SOUND_RATE, layout="stereo")
        for frame in _frames(film, streams):
            if isinstance(frame, av.AudioFrame):
                out.mux(sound.encode(frame))  # type: ignore[union-attr]
            else:
                for fitting in _through(graph, frame):
                    out.mux(video.encode(fitting))
        for fitting in _through(graph, None):
            out.mux(video.encode(fitting))
        for track in filter(None, (video, sound)):
            out.mux(track.encode(None))


def has_color(path: Path) -> bool:
    """Whether a clip is in color: in a few frames here and there."""
    with opened(path) as film:
        for n in range(_GLIMPSES):
            with suppress(av.FFmpegError):
                film.container.seek(int(n / _GLIMPSES * (film.container.duration or 0)))
            frame = next(_frames(film, [film.video]), None)
            if frame is not None and color.has_color(frame.to_ndarray(format="rgb24")):
                return True
    return False


def _frames(film: Film, streams: list[Any]) -> Iterator[Any]:
    """What is in ``streams`` up to the limit, its time counted from the film's beginning."""
    begin = Fraction(film.container.start_time or 0, av.time_base)
    last = Fraction(-1)
    ended: set[Any] = set()
    packets = film.container.demux(streams)
    while len(ended) < len(streams):
        try:
            packet = next(packets)
            frames: list[Any] = list(packet.decode())
        except StopIteration:
            return
        except av.FFmpegError:
            continue
        for frame in frames:
            stamp = frame.dts if frame.pts is None else frame.pts
            if stamp is not None:
                at = stamp * frame.time_base - begin
            elif packet.stream is film.video and film.rate:  # a stream without a file around it
                at = last + 1 / film.rate if last >= 0 else Fraction(0)
            else:
                continue
            if at >= limits.CLIP_SECONDS:
                ended.add(packet.stream)
                continue
            if packet.stream is film.video:
                if at <= last:  # a clock that was set back
                    continue
                last = at
            frame.pts = round(at / frame.time_base)
            yield frame


def _size(film: Film, first: Any) -> tuple[int, int]:
    """Width and height within the limit: even, upright, of square pixels."""
    width, height = first.width * float(film.aspect or 1), first.height
    if first.rotation % 180:
        width, height = height, width
    factor = min(1, limits.CLIP_SIDE / max(width, height))
    return max(2, round(width * factor / 2) * 2), max(2, round(height * factor / 2) * 2)


def _graph(film: Film, first: Any) -> Graph:
    """Filters that make frames like the ``first`` fit."""
    width, height = _size(film, first)
    rate = [("fps", str(limits.CLIP_RATE))] if (film.rate or 0) > limits.CLIP_RATE * _A_LITTLE else []
    turns = _TURNS.get(first.rotation // 90 % 4, [])
    shape = [("scale", f"{width}:{height}"), ("setsar", "1"), ("format", "yuv420p"), ("buffersink", None)]
    graph = Graph()
    start = graph.add_buffer(width=first.width, height=first.height, format=first.format, time_base=first.time_base)
    graph.link_nodes(start, *(graph.add(*node) for node in (*rate, *turns, *shape))).configure()
    return graph


def _through(graph: Graph, frame: Any) -> Iterator[Any]:
    graph.push(frame)
    while True:
        try:
            fitting = graph.vpull()
        except (av.BlockingIOError, av.EOFError):
            return
        fitting.pict_type = 0  # which frames are key frames is the encoder's affair
        yield fitting
