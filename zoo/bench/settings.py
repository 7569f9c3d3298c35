"""What is measured, how often and on what."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import OptionError

# Width and height.
SIZES = {
    "256 px": (256, 256),
    "512 px": (512, 512),
    "1 MP": (1152, 864),
    "12 MP": (4000, 3000),
    "24 MP": (6000, 4000),
    "48 MP": (8000, 6000),
}
QUICK_SIZES = ("256 px", "1 MP", "12 MP")
_MOST_THREADS = 1024


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One run's.

    Attributes:
        sizes: Names of `SIZES`.
        threads: Numbers of them; each is measured.
        repeats: Rounds at most.
        least: Rounds at least, however long they take.
        seconds: Of each job, after which no further round begins.
        alone: Pixels from which on a file is coloured in the chosen way alone: the network's share is small there.
        photos: Of 1 MP, in the folder.
        photo: Width and height of these.
        frames: Of the film that is made, where none is given.
        frame: Width and height of these.
        starts: Fresh processes for each start-up time.
        memory_of_all: Whether peak memory is measured of each size and way, not just of the largest in the chosen way.
        pictures: Folder of colour photos that fidelity is measured on; None for those packaged with scikit-image.
        most_pictures: Taken of it.
        video: A clip; None makes one.
        remember: Whether what was measured is kept for ``auto``.
    """

    sizes: tuple[str, ...] = tuple(SIZES)
    threads: tuple[int, ...] = ()
    repeats: int = 30
    least: int = 5
    seconds: float = 1.5
    alone: int = 20_000_000
    photos: int = 40
    photo: tuple[int, int] = SIZES["1 MP"]
    frames: int = 75
    frame: tuple[int, int] = (640, 480)
    starts: int = 5
    memory_of_all: bool = True
    pictures: Path | None = None
    most_pictures: int = 100
    video: Path | None = None
    remember: bool = True


QUICK = Settings(sizes=QUICK_SIZES, repeats=5, least=2, seconds=0.5, photos=8, frames=25, starts=3, memory_of_all=False)


def cores() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def sizes_of(text: str) -> tuple[str, ...]:
    """The names of `SIZES` in ``256px, 512, 12MP``, in their own order.

    Raises:
        OptionError: A size that is not known, or none.
    """
    known = {_short(name): name for name in SIZES} | {_short(name).removesuffix("px"): name for name in SIZES}
    wanted = _parts(text)
    for part in wanted:
        if _short(part) not in known:
            raise OptionError(f"unknown size {part!r}", expected=", ".join(SIZES))
    if not wanted:
        raise OptionError("no sizes", found=repr(text), expected=", ".join(SIZES))
    named = {known[_short(part)] for part in wanted}
    return tuple(name for name in SIZES if name in named)


def threads_of(text: str, every: int) -> tuple[int, ...]:
    """The numbers of threads in ``1,all``, rising.

    Args:
        text: Numbers with commas between; ``all`` stands for ``every``.
        every: How many there are.

    Raises:
        OptionError: Another number, or none.
    """
    found: set[int] = set()
    for part in _parts(text):
        number = every if part.lower() == "all" else int(part) if part.isascii() and part.isdigit() else 0
        if not 1 <= number <= _MOST_THREADS:
            raise OptionError(
                "bad threads", found=part, expected=f"numbers from 1 to {_MOST_THREADS}, or all, with commas between"
            )
        found.add(number)
    if not found:
        raise OptionError("bad threads", found=repr(text), expected="such as 1,all")
    return tuple(sorted(found))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _short(name: str) -> str:
    return "".join(name.split()).lower()


def unique(names: Iterable[str]) -> tuple[str, ...]:
    """The names, none twice."""
    return tuple(dict.fromkeys(names))
