"""Films among the items: which they are, and what workers do with them: as a whole, or split, in segments, joined."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, get_type_hints

from zoo.batch.folders import WORK
from zoo.video import SUFFIXES

if TYPE_CHECKING:
    from zoo.batch.settings import Settings
    from zoo.colorizer import Colorizer

FOLDER = f"{WORK}/films"
_WRITTEN = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm"})  # as zoo.video.sink, which needs PyAV, has it
_ANIMATED = frozenset({".gif", ".webp"})  # pictures or films, as their content says
_SHORTEST = 2.0  # seconds of a segment, at least; less where they are to be shorter than twice that
_FALLBACK = ".mkv"  # holds every kind of sound and subtitles


def is_film(name: str) -> bool:
    """Whether the file of that name is a film."""
    return PurePath(name).suffix.lower() in SUFFIXES


def may_be_animated(name: str) -> bool:
    """Whether the content of the file of that name has to be looked at."""
    return PurePath(name).suffix.lower() in _ANIMATED


def is_animated(path: Path) -> bool:
    """Whether a GIF or WebP has several frames; what cannot be read has not."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # of whatever kind: it is told of when it is coloured as a picture
        return False


def result_name(name: str) -> str:
    """Of a film's result: its own where that can be written, else ``.mkv`` behind it."""
    return name if PurePath(name).suffix.lower() in _WRITTEN else f"{name}{_FALLBACK}"


def folder_of(*identity: object) -> str:
    """Where in the place of the results a film is put together; other sources or settings have another."""
    return f"{FOLDER}/{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}"


def check_extra() -> None:
    """Refuse to begin with films that nothing here can read.

    Raises:
        VideoError: The extra ``video`` is missing.
    """
    from zoo import video

    _ = video.colorize_video


def split(path: Path, model: "Colorizer[Any]", settings: "Settings", longest: float) -> list[dict[str, Any]]:
    """The segments of a film, as JSON can hold them; one that is no longer than ``longest`` seconds is not looked at.

    Raises:
        VideoError: It cannot be read.
    """
    import av

    from zoo.video import segments

    if longest <= 0:
        return []
    try:
        with av.open(f"file:{path}") as container:
            if container.duration is not None and container.duration <= longest * av.time_base:
                return []
    except av.FFmpegError:
        pass  # which is told of better by who reads it
    size = settings.options.get("working_size")
    found = segments.split(path, model=model, working_size=size, longest=longest, shortest=min(_SHORTEST, longest / 2))
    return [asdict(segment) for segment in found] if len(found) > 1 else []


def color_whole(path: Path, target: Path, model: "Colorizer[Any]", settings: "Settings") -> None:
    """Colour a film at one go, from where an interrupted run has left it.

    Raises:
        VideoError: It cannot be read or written.
    """
    from zoo import video

    target.unlink(missing_ok=True)  # of a run that was killed before it could put it in its place
    video.colorize_video(path, target, model=model, resume=True, **settings.film_options)


def color_segment(
    path: Path, segment: dict[str, Any], part: Path, suffix: str, model: "Colorizer[Any]", settings: "Settings"
) -> None:
    """Colour one segment; a part that is there and whole stays.

    Raises:
        VideoError: It cannot be read or written.
    """
    from zoo.video import segments

    segments.colorize_segment(
        path, segments.Segment(**segment), part, model=model, suffix=suffix, force=True, **settings.film_options
    )


def join(path: Path, found: Sequence[dict[str, Any]], parts: Sequence[Path], target: Path) -> None:
    """Put the segments together.

    Raises:
        VideoError: They do not belong together, or nothing can be written.
    """
    from zoo.video import segments

    segments.join(path, [segments.Segment(**segment) for segment in found], parts, target, force=True)


def segments_of(detail: dict[str, Any] | None) -> list[dict[str, Any]] | None:
    """Those that a record of a split film holds; None where it is damaged."""
    from zoo.video.splitting import Segment

    types = get_type_hints(Segment)
    found = (detail or {}).get("segments")
    if not isinstance(found, list):
        return None
    for number, segment in enumerate(found):
        if not isinstance(segment, dict) or segment.keys() != types.keys():
            return None
        if not all(isinstance(segment[name], float | int if kind is float else kind) for name, kind in types.items()):
            return None
        if (segment["index"], segment["count"]) != (number, len(found)):
            return None
    return found
