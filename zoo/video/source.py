"""What films, animations and numbered pictures have in common: shots in the order in which they are shown."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Self

from zoo.errors import VideoError
from zoo.images import Picture
from zoo.video.chroma import Coding
from zoo.video.planes import Plane

LARGEST = 1 << 26  # pixels of a frame; 8192 x 8192


@dataclass(frozen=True, slots=True)
class Shot:
    """A frame of a source.

    Attributes:
        plane: Its luma, (H, W) codes, upright.
        pts: When it is shown, in the source's ``time_base``.
        duration: For how long; 0 where that is not known.
        picture: The picture it is, of sources that are made of pictures; of the size of ``plane``.
        name: That of its file, of sources whose frames are files.
        damaged: Whether it is not what it was.
        lost: Whether nothing was left of it and it shows a neighbour.
    """

    plane: Plane
    pts: int
    duration: int = 0
    picture: Picture | None = None
    name: str | None = None
    damaged: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """A frame that cannot be read; names as in `Shot`."""

    pts: int
    duration: int = 0
    name: str | None = None


@dataclass(frozen=True)
class Span:
    """What is wanted of a source, in seconds from its beginning; ``end`` None is all there is."""

    start: Fraction = Fraction(0)
    end: Fraction | None = None


class Broken(Exception):
    """A source that stops before its end, after the frames it gave.

    Args:
        found: What happened.
        at: Where, in seconds.
        expected: How long it should be, in seconds, where it says so.
    """

    def __init__(self, found: str, at: float, expected: float | None = None) -> None:
        self.found, self.at, self.expected = found, at, expected
        super().__init__(found)


@dataclass
class Findings:
    """What is told of a source when it has been read.

    Attributes:
        damaged: Seconds at which frames were damaged.
        notes: Everything else, in words.
    """

    damaged: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Source(ABC):
    """Frames to be coloured. A context manager; what it holds open is closed at its end.

    Attributes:
        name: For messages.
        time_base: Seconds that one step of ``pts`` is.
        rate: Frames a second, where that is known.
        total: Frames there will be, where that is known.
        origin: The ``pts`` that is the beginning, from which the result's time stamps count.
        aspect: Width by height of a pixel as it is shown; None is not known.
        tags: Numbers of H.273 that the result is marked with: colorspace, color_primaries, color_trc.
        final_duration: That of the last frame, in ``time_base``, where it is known before.
        plays: How often an animation is played, 0 for ever.
        findings: What is to be told.
    """

    name: str
    time_base: Fraction
    rate: Fraction | None = None
    total: int | None = None
    origin: int = 0
    aspect: Fraction | None = None
    tags: dict[str, int]
    final_duration: int | None = None
    plays: int = 0

    def __init__(self) -> None:
        self.tags = {}
        self.findings = Findings()
        self._coding: Coding | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 - not all have something open
        """Close what is open."""

    @property
    def coding(self) -> Coding:
        """How the planes are coded, from the first shot on."""
        assert self._coding is not None
        return self._coding

    def shots(self, after: int | None = None) -> Iterator[Shot]:
        """The frames; one that is lost shows its neighbour.

        Args:
            after: Only those with a greater ``pts``.

        Raises:
            Broken: It stops before its end.
        """
        for item in concealed(self._read(after)):
            if after is None or item.pts > after:
                if item.damaged:
                    self.findings.damaged.append(self.seconds(item.pts))
                yield item

    def seconds(self, pts: int) -> float:
        """When a frame is shown, from the source's beginning on."""
        return float((pts - self.origin) * self.time_base)

    @abstractmethod
    def _read(self, after: int | None) -> Iterator[Shot | Lost]:
        """The frames, their ``pts`` rising; those up to ``after`` may be left out."""


def concealed(items: Iterable[Shot | Lost]) -> Iterator[Shot]:
    """The shots, with the one before in place of each that is lost; at the beginning the one that follows."""
    last: Shot | None = None
    first: list[Lost] = []
    for item in items:
        if isinstance(item, Lost) and last is None:
            first.append(item)
            continue
        if isinstance(item, Shot):
            last = item
            yield from (_in_place_of(lost, item) for lost in first)
            first.clear()
            yield item
        elif last is not None:
            yield _in_place_of(item, last)


def _in_place_of(lost: Lost, shot: Shot) -> Shot:
    return replace(shot, pts=lost.pts, duration=lost.duration, name=lost.name, damaged=True, lost=True)


def within(item: Shot | Lost, end: Fraction | None) -> Shot | Lost:
    """``item``, shown no longer than to ``end``, in its time base."""
    if end is None or item.pts + item.duration <= end:
        return item
    return replace(item, duration=max(1, round(end - item.pts)))


def check_size(height: int, width: int, name: str) -> None:
    """Refuse frames that would not fit into memory.

    Raises:
        VideoError: They are larger than `LARGEST`, or empty.
    """
    if height < 1 or width < 1:
        raise VideoError(f"{name}: the pictures have no size", found=f"{width} x {height} pixels")
    if height * width > LARGEST:
        raise VideoError(
            f"{name}: the pictures are too large",
            found=f"{width} x {height} pixels",
            expected=f"at most {LARGEST} pixels",
            remedy="scale the film down first",
        )
