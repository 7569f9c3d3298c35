"""Parts of a film that were coloured apart: how each is written and known again, and when its pictures are decoded."""

import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from zoo.errors import VideoError
from zoo.video import copying, partial
from zoo.video.running import Report
from zoo.video.sink import FilmSink, writing

_MARK = "colorzoo part "
_ANEW = "colour it anew"


def digest(stamps: Sequence[int]) -> str:
    """What tells time stamps from others."""
    return hashlib.sha256(",".join(map(str, stamps)).encode()).hexdigest()[:16]


class PartSink(FilmSink):
    """An MP4 of a part's pictures alone, its time beginning with the part; nothing is kept where it ends early.

    ``finish`` closes it; it stands under its name after ``place``.
    """

    def finish(self) -> None:
        """All was written."""
        self._close()

    def place(self, report: Report) -> None:
        """Make it stand under its name, with what it is and how it was made.

        Raises:
            VideoError: It cannot be written.
        """
        new = partial.new_of(self._target)
        made = {**self._settings, "encoder": partial.ENCODER, "report": vars(report)}
        with writing(self._target):
            try:
                copying.assemble(self._job(new, "mp4", note={"comment": _MARK + json.dumps(made)}))
                new.replace(self._target)
            finally:
                new.unlink(missing_ok=True)
        partial.remove(self._target)

    def keep(self) -> Path | None:
        """End before the end."""
        with suppress(Exception):  # it ends because of another one
            self._close()
        self.discard()
        return None


@dataclass(frozen=True)
class Part:
    """A part that is whole.

    Attributes:
        path: The file.
        settings: How it was made.
        report: What was done for it.
        size: Height and width of its pictures.
        head: What a decoder has to know before the first of them.
        shown: When each packet's picture is shown, in the order of decoding, in steps of the film's time base from
            the part's beginning on.
        delay: How many pictures the encoder held back.
        final: How long the last packet lasts, likewise.
    """

    path: Path
    settings: dict[str, Any]
    report: Report
    size: tuple[int, int]
    head: bytes
    shown: list[int]
    delay: int
    final: int


def read(path: Path, name: str, segment: dict[str, Any], base: Callable[[], Fraction]) -> Part | None:
    """The part at ``path``; None if nothing is there.

    Args:
        path: The file.
        name: For messages.
        segment: What it is to be a part of the film for.
        base: The film's time base.

    Raises:
        VideoError: It is damaged, or no part, or another one.
    """
    try:
        if not path.exists():
            return None
        with av.open(f"file:{path}") as container:
            made = _made(container.metadata, name)
            report = Report(**made.pop("report"))
            if made.pop("segment") != segment:
                raise VideoError(f"{name}: is a part of another film, or one that was split otherwise", remedy=_ANEW)
            video = container.streams.video[0]
            size, head = (video.height, video.width), bytes(video.codec_context.extradata or b"")
            step = (video.time_base or Fraction(1)) / base()
            found = [(p.pts, p.dts, p.duration or 0) for p in container.demux(video) if p.size and not p.is_corrupt]
    except (av.FFmpegError, OSError, TypeError, KeyError, IndexError) as error:
        raise VideoError(f"{name}: not a part of a film, or damaged", found=error, remedy=_ANEW) from error
    shown = [round((pts or 0) * step) for pts, *_ in found]
    if digest(sorted(shown)) != segment["stamps"]:
        raise VideoError(
            f"{name}: is not whole", found=f"{len(shown)} frames", expected=segment["frames"], remedy=_ANEW
        )
    first = found[0][0] or 0
    late = round((first - (first if found[0][1] is None else found[0][1])) * step)
    final = round(found[-1][2] * step)
    return Part(path, made, report, size, head, shown, bisect_left(sorted(shown), late), final)


def _made(metadata: dict[str, str], name: str) -> dict[str, Any]:
    try:
        made = json.loads(metadata.get("comment", "").removeprefix(_MARK))
        return {**made, "segment": made["segment"], "report": made["report"]}
    except (ValueError, TypeError, KeyError):
        raise VideoError(f"{name}: not a part of a film that was coloured", remedy=_ANEW) from None


def decoding_times(shown: Sequence[int], delay: int = 0) -> list[int]:
    """When to decode pictures that are shown at these times: rising, and never later than they are shown.

    Encoders count so: what is decoded n-th is due when what is shown (n - delay)-th is, and the first ones as much
    before the beginning as the last of them is held back.

    Args:
        shown: In the order of decoding; all different.
        delay: How many pictures are held back at least; as many as their order asks for are.
    """
    order = sorted(shown)
    delay = max([n - bisect_left(order, pts) for n, pts in enumerate(shown)] + [min(delay, len(order) - 1)])
    ahead = order[delay] - order[0]
    return [order[n] - ahead if n < delay else order[n - delay] for n in range(len(order))]
