"""The new pictures of a film and everything else of the old one, in one file: streams, chapters and tags."""

import heapq
import io
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer, OutputContainer
from av.stream import Discard

from zoo.video.film import Film, opened
from zoo.video.source import Source, Span
from zoo.video.stamps import Clock

_OWN_TAGS = {"major_brand", "minor_version", "compatible_brands", "encoder"}  # of a container, that say how it is made
# Of a stream of pictures: how it was coded, how it lay, and what mkvmerge counted.
_OLD_TAGS = {"encoder", "rotate", "bps", "number_of_bytes", "number_of_frames", "duration"}
_LONGEST_SHOWN = 30  # seconds; subtitles that came up so long before the beginning are looked for
_PAUSE = 2  # bytes of the empty text that fills the time between an MP4's subtitles; its writer makes them anew
_LOOSE = ("subtitle", "data")  # kinds of streams in which two packets may have the same time stamp


@dataclass(frozen=True)
class Job:
    """What is put together.

    Attributes:
        pictures: The file with the new pictures.
        target: Where it all goes; is written over.
        kind: The format, as FFmpeg names it.
        film: The old one; None where there is none.
        span: What was wanted of it.
        rate: Frames a second.
        last: When the last frame is shown and for how long, in seconds of the new film; 0 is not known.
        until: The end in seconds of the new film, of one that is not finished.
        note: Tags to be added.
    """

    pictures: Path
    target: Path
    kind: str
    film: Film | None
    span: Span
    rate: Fraction | None
    last: tuple[Fraction, Fraction]
    until: Fraction | None = None
    note: dict[str, str] | None = None


def left_out(source: Source, kind: str | None) -> list[str]:
    """The streams of a film that the format ``kind`` cannot hold, in words; None is one that holds pictures only."""
    refused: list[str] = []
    if not isinstance(source, Film):
        return refused
    for stream in _others(source.container, source.video.index):
        why = "the result is pictures only" if kind is None else _refusal(stream, kind)
        if why is not None and "timecode" not in stream.metadata:  # a time code is kept as a tag of the pictures
            name = getattr(stream.codec_context, "name", None) or getattr(stream, "name", None) or "unknown"
            refused.append(f"stream {stream.index} ({stream.type}, {name}): {why}")
    return refused


def assemble(job: Job) -> None:
    """Write the film.

    Raises:
        av.FFmpegError: It cannot be written, or the old one not be read on.
    """
    with ExitStack() as stack:
        pictures = stack.enter_context(av.open(f"file:{job.pictures}"))
        options = {"movflags": "+faststart"} if job.kind in ("mp4", "mov") else {}
        out = stack.enter_context(av.open(f"file:{job.target}", "w", format=job.kind, options=options))
        copied: Iterator[tuple[float, av.Packet[Any]]] = iter(())
        if job.film is None:
            video = _video(out, pictures.streams.video[0], job)
        else:
            old = stack.enter_context(opened(job.film.path))
            out.metadata.update({k: v for k, v in old.metadata.items() if k.lower() not in _OWN_TAGS})
            out.set_chapters(list(_chapters(old, job)))
            video, copies = None, {}
            for stream in old.streams:
                if stream.index == job.film.video.index:
                    video = _video(out, pictures.streams.video[0], job)
                    _describe(video, stream, _OLD_TAGS)
                elif stream in _others(old, job.film.video.index) and _refusal(stream, job.kind) is None:
                    copies[stream.index] = out.add_stream_from_template(stream, opaque=True)
                    _describe(copies[stream.index], stream, {"encoder"})
            copied = _copied(old, copies, job)
        for tag, value in (job.note or {}).items():
            for same in [k for k in out.metadata if k.lower() == tag]:
                del out.metadata[same]
            out.metadata[tag] = value
        for _, packet in heapq.merge(_new(pictures, video, job), copied, key=lambda item: item[0]):
            out.mux(packet)


def _others(container: InputContainer, video: int) -> list[Any]:
    """Every stream but that of the pictures, and but that which a format keeps chapters in."""
    return [s for s in container.streams if s.index != video and s.discard != Discard.all]


def _refusal(stream: Any, kind: str) -> str | None:
    """Why a format cannot hold a stream, None where it can: found out by trying."""
    try:
        with av.open(io.BytesIO(), "w", format=kind) as trial:
            trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
    except av.FFmpegError:
        return f"{kind} cannot hold it"
    except ValueError as error:
        return str(error)
    return None


def _video(out: OutputContainer, pictures: Any, job: Job) -> Any:
    """The stream of the new pictures. By a filter that does nothing, since a template would not carry the rate over."""
    stream = out.add_mux_stream(pictures.codec_context.codec.canonical_name, rate=job.rate)
    BitStreamFilterContext("null", in_stream=pictures, out_stream=stream)
    stream.time_base = job.film.time_base if job.film is not None else pictures.time_base
    return stream


def _describe(stream: Any, old: Any, without: set[str]) -> None:
    tags = {k: v for k, v in old.metadata.items() if k.lower() not in without and not k.startswith("_STATISTICS")}
    if "name" in tags:  # what an MP4 calls it
        tags.setdefault("title", tags.pop("name"))
    stream.metadata.update(tags)
    stream.disposition = old.disposition


def _chapters(old: InputContainer, job: Job) -> Iterator[Any]:
    """Those within what is wanted, cut to it."""
    assert job.film is not None
    begin = job.film.begin + job.span.start
    end = None if job.span.end is None else job.span.end - job.span.start
    end = min((t for t in (end, job.until) if t is not None), default=None)
    for chapter in old.chapters():
        base = chapter["time_base"] or Fraction(1)
        first, last = (chapter[side] * base - begin for side in ("start", "end"))
        first, last = max(first, Fraction(0)), last if end is None else min(last, end)
        if last > first:
            yield {**chapter, "start": round(first / base), "end": round(last / base)}


def _new(pictures: InputContainer, video: Any, job: Job) -> Iterator[tuple[float, "av.Packet[Any]"]]:
    """The packets of the new pictures, with the time at which they are due."""
    stream = pictures.streams.video[0]
    base = stream.time_base or Fraction(1)
    last, duration = round(job.last[0] / base), round(job.last[1] / base)
    first: tuple[int, int] | None = None
    held: av.Packet[Any] | None = None
    for packet in pictures.demux(stream):
        if packet.pts is None or packet.dts is None:  # the end
            continue
        first = first or (packet.pts, packet.dts)
        if duration and packet.pts == last:
            packet.duration = duration
        packet.stream = video
        if held is not None:
            yield float((held.dts or 0) * base), held
        held = packet
    if held is not None and first is not None:
        dts = held.dts or 0
        if duration:  # an MP4's length is the sum of what lies between the times of decoding
            held.duration = max(held.duration or 0, last + duration - first[0] - (dts - first[1]))
        yield float(dts * base), held


def _copied(old: InputContainer, copies: dict[int, Any], job: Job) -> Iterator[tuple[float, "av.Packet[Any]"]]:
    """The packets of the other streams as they are, moved to the time of the new film."""
    film = job.film
    if film is None or not copies:
        return
    start, end = job.span.start, job.span.end
    clocks = {i: Clock(1, float(1 / s.time_base), jumps=film.jumps) for i, s in copies.items() if s.type not in _LOOSE}
    timed = {s.index for s in old.streams if getattr(s.codec_context, "name", None) == "mov_text"}
    if start and not film.jumps:
        old.seek(int(max(Fraction(0), start - _LONGEST_SHOWN) * av.time_base), backward=True)
    packets = old.demux([s for s in old.streams if s.index in copies])
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError:
            if job.until is None:
                raise
            return
        if not packet.size or (packet.size == _PAUSE and packet.stream.index in timed):
            continue
        base, index = packet.time_base, packet.stream.index
        dts = packet.dts if packet.dts is not None else packet.pts if packet.pts is not None else 0
        shown = packet.pts if packet.pts is not None else dts
        if index in clocks:
            moved = clocks[index].at(dts, packet.duration)
            shown, dts = shown + moved - dts, moved
        at = shown * base - film.begin
        length = packet.duration or 0
        if packet.stream.type == "subtitle" and at < start < at + length * base:
            packet.duration = length - round((start - at) / base)
            at, shown = start, shown + round((start - at) / base)
            dts = shown
        if (start and at < start) or (end is not None and at >= end):
            continue
        if job.until is not None and at - start >= job.until:
            continue
        offset = round((film.begin + start) / base)
        packet.pts, packet.dts, packet.stream = max(shown, dts) - offset, dts - offset, copies[index]
        yield float(packet.dts * base), packet
