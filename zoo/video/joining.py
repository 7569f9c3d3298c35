"""Parts of a film that were coloured apart become one again. See `zoo.video.segments`."""

from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
from av.bitstream import BitStreamFilterContext

from zoo.errors import VideoError
from zoo.video import copying, partial, parts, sink, transcode
from zoo.video.film import Film
from zoo.video.running import Report
from zoo.video.source import Source
from zoo.video.splitting import Segment, opened
from zoo.video.transcode import StrPath


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
        source = stack.enter_context(opened(place, segments[0], str(target)))
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
