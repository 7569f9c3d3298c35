"""Films as numbered pictures: a folder, or names such as ``frames/%05d.png``, read and written."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

from zoo import images
from zoo.errors import ImageError, VideoError, ZooError
from zoo.video import copying
from zoo.video.background import Background
from zoo.video.coloring import Colored
from zoo.video.sink import Sink, writing
from zoo.video.source import Lost, Shot, Source, Span, check_size
from zoo.video.stills import Array, Painter, plane_of

_PLACE = re.compile(r"%(0?\d{0,2})d")  # no name has room for more than 99 digits
_NUMBER = re.compile(r"\d+")
_WILDCARDS = "*?["
_DIGITS = 6  # of the names in a folder
_OF_ENCODERS = ("crf", "preset")  # settings that pictures do not have
_SHOWN = 5  # gaps that are named


def is_pattern(path: Path) -> bool:
    """Whether a name has one place for a number, such as ``%05d``."""
    return len(_PLACE.findall(path.name)) == 1


def is_source(path: Path) -> bool:
    """Whether ``path`` names pictures rather than a film: a folder, or a pattern that is not itself a file."""
    if os.path.lexists(path):
        return path.is_dir()
    return is_pattern(path) or any(c in path.name for c in _WILDCARDS)


class Pictures(Source):
    """Pictures in the order of their numbers.

    Args:
        path: A folder, a name with ``%d`` in it, or one with wildcards.
        rate: Frames a second.
        span: What is wanted of it.

    Raises:
        VideoError: There are none, or some of a numbered pattern are missing in between.
    """

    rate: Fraction

    def __init__(self, path: Path, rate: Fraction, span: Span) -> None:
        super().__init__()
        self.name, self.rate, self.time_base = str(path), rate, 1 / rate
        files = _found(path)
        if not files:
            raise VideoError(
                f"{path}: no pictures",
                expected=f"files ending in {', '.join(sorted(images.READABLE_SUFFIXES))}",
            )
        gaps = _gaps(files)
        missing = sum(last - first + 1 for first, last in gaps)
        if missing and is_pattern(path):
            raise VideoError(
                f"{path}: pictures are missing in between",
                found=f"no number {_shown(gaps)}",
                remedy=f"make them, or give the folder {path.parent} to take those that are there",
            )
        if 0 < missing < len(files):  # else the numbers count something else
            self.findings.notes.append(f"{path}: no number {_shown(gaps)}; the others were taken")
        self.origin = -(-span.start // self.time_base)
        end = None if span.end is None else -(-span.end // self.time_base)
        self.files = dict(list(enumerate(files))[self.origin : end])
        self.total, self.final_duration = len(self.files), 1

    def _read(self, after: int | None) -> Iterator[Shot | Lost]:
        size: tuple[int, int] | None = None
        reason = ""
        for pts, path in self.files.items():
            if after is not None and pts < after:
                continue
            try:
                picture = images.read(path)
                height, width = picture.pixels.shape[:2]
                check_size(height, width, str(path))
                if size is not None and (height, width) != size:
                    raise VideoError(
                        f"{path}: is of another size",
                        found=f"{width} x {height} pixels",
                        expected=f"{size[1]} x {size[0]}",
                    )
            except ZooError as error:
                reason = reason or str(error)
                self.findings.notes.append(str(error))
                yield Lost(pts, 1, path.name)
                continue
            size = height, width
            plane, self._coding = plane_of(picture)
            yield Shot(plane, pts, 1, picture, path.name)
        if size is None and reason and after is None:
            raise VideoError(f"{self.name}: none of its {len(self.files)} pictures can be used; the first: {reason}")


class PicturesSink(Sink):
    """A picture for each frame: each stands whole under its name, or not at all.

    Those of an interrupted run stay, and with them a hidden note of its settings and of how many frames were done, by
    which a later run goes on.

    Args:
        target: A folder, or a name with ``%d`` in it whose suffix chooses the format.
        source: Pictures keep their names where they come from pictures, or their numbers.
        labels: Of the cells of a frame.
        settings: What a run that goes on has to have in common with this one.
        overwrite: Whether pictures may be replaced.

    Raises:
        VideoError: Pictures cannot be written there.
    """

    def __init__(
        self,
        target: Path,
        source: Source,
        labels: Sequence[str],
        settings: dict[str, Any],
        *,
        overwrite: bool,
    ) -> None:
        self._source, self._overwrite = source, overwrite
        self._pattern = target.name if is_pattern(target) else None
        self._folder = target if self._pattern is None else target.parent
        if self._pattern is not None and images.output_suffix(target).lower() != target.suffix.lower():
            raise VideoError(
                f"{target}: no pictures can be written so",
                found=target.suffix or "no suffix",
                expected=".png, .jpg or .tif",
            )
        files = list(source.files.values()) if isinstance(source, Pictures) else []
        self._names = [path.name for path in files]
        if files and self._folder.exists() and files[0].parent.samefile(self._folder):
            raise VideoError(f"{target}: would lie among the pictures it is made of", remedy="choose another folder")
        self._check_names()
        self._painter, self._background = Painter(labels), Background()
        self.left_out = copying.left_out(source, None)
        self._settings = {k: v for k, v in settings.items() if k not in _OF_ENCODERS}
        self._note = self._folder / f".{self._pattern or 'pictures'}.partial"
        self._log: TextIO | None = None
        self._count = self._done = 0
        self._made = False

    def begin(self, *, resume: bool) -> tuple[int, int | None]:
        """Make ready."""
        with writing(self._folder):
            self._made = not self._folder.exists()
            self._folder.mkdir(exist_ok=True)
        done = self._noted() if resume else None
        if done is not None:
            self._count = self._done = done
            self._overwrite = True  # the first that is not noted may be there
        elif not self._overwrite and (there := self._taken()) is not None:
            raise VideoError(
                f"{there}: exists already",
                found="no run that was interrupted there" if resume else None,
                remedy="choose another place, or force to replace what is there"
                + (", or resume to go on with it" if self._note.exists() else ""),
            )
        with writing(self._folder):
            self._log = self._note.open("w" if done is None else "a", encoding="utf-8", buffering=1)
            if done is None:
                self._log.write(json.dumps(self._settings) + "\n")
        return self._count, None

    def write(self, shot: Shot, colored: Sequence[Colored | None]) -> None:
        """Add a frame."""
        self._count += 1
        if shot.lost and shot.name is not None:  # a picture that cannot be read does not become one
            self._background.do(self._mark, self._count)
            return
        pixels = self._painter(shot, colored, self._source.coding)
        self._background.do(self._save, self._path(self._count, shot.name), pixels, self._count)

    def finish(self) -> None:
        """Make it stand under its name."""
        self._background.finish()
        self._background.close()
        self._end_log(remove=True)

    def keep(self) -> Path | None:
        """End before the end."""
        self.discard()
        return self._folder if self._done else None

    def discard(self) -> None:
        """Leave what was there before."""
        self._background.close()
        self._end_log(remove=not self._done)
        if self._made:
            with suppress(OSError):  # there are pictures in it
                self._folder.rmdir()

    def _end_log(self, *, remove: bool) -> None:
        if self._log is None:  # what may be there is another run's
            return
        with suppress(OSError):
            self._log.close()
        if remove:
            with suppress(OSError):
                self._note.unlink(missing_ok=True)

    def _noted(self) -> int | None:
        """How many frames an interrupted run has done; None where there is none.

        Raises:
            VideoError: It had other settings.
        """
        try:
            head, *lines = self._note.read_text("utf-8").split("\n")
            made = json.loads(head)
        except (OSError, ValueError):
            return None
        if not isinstance(made, dict):
            return None
        wanted = json.loads(json.dumps(self._settings))
        if made != wanted:
            other = [name for name in made | wanted if made.get(name) != wanted.get(name)]
            raise VideoError(
                f"{self._folder}: its pictures were begun with other settings",
                found=", ".join(f"{name} {made.get(name)}" for name in other),
                expected=", ".join(f"{name} {wanted.get(name)}" for name in other),
                remedy="go on with those, or start anew by force",
            )
        return max(0, len(lines) - 1)  # the last is not whole

    def _check_names(self) -> None:
        """Refuse pictures of which one would replace another."""
        made_of: dict[Path, str] = {}
        for number, name in enumerate(self._names, 1):
            path = self._path(number, name)
            other = made_of.setdefault(path, name)
            if other != name:
                raise VideoError(
                    f"{path}: two pictures would have this name",
                    found=f"{other} and {name}",
                    remedy="choose a film as the target, or name those that are wanted, such as a%03d.png",
                )

    def _taken(self) -> Path | None:
        """A picture that is where some are to be written."""
        if self._pattern is not None:
            return next(iter(_found(self._folder / self._pattern)), None)
        if not self._names:
            return next(iter(_found(self._folder)), None)
        paths = (self._path(n, name) for n, name in enumerate(self._names, 1))
        return next((path for path in paths if path.exists()), None)

    def _path(self, number: int, name: str | None) -> Path:
        """Of the picture for a frame, which counts from 1 and may have come from a file ``name``."""
        if name is not None and self._pattern is None:
            return self._folder / Path(name).with_suffix(images.output_suffix(name))
        if name is not None and (digits := _NUMBER.findall(Path(name).stem)):
            number = int(digits[-1])
        pattern = self._pattern or f"%0{_DIGITS}d.png"
        return self._folder / _PLACE.sub(lambda place: f"{number:{place[1]}d}", pattern)

    def _save(self, path: Path, pixels: Array, number: int) -> None:
        with writing(path):
            try:
                images.write(path, pixels, overwrite=self._overwrite)
            except ImageError as error:  # which says all that is to be said
                raise VideoError(
                    error.what, found=error.found, expected=error.expected, remedy=error.remedy
                ) from error.__cause__
        self._mark(number)

    def _mark(self, number: int) -> None:
        """Note that a frame is done."""
        assert self._log is not None
        with writing(self._note):
            self._log.write(f"{number}\n")
        self._done = number


def _found(path: Path) -> list[Path]:
    """The pictures that ``path`` names, in the order of their numbers."""
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        return []
    if path.is_dir():
        names = [p for p in folder.iterdir() if p.suffix.lower() in images.READABLE_SUFFIXES]
    elif is_pattern(path):
        place = _PLACE.search(path.name)
        assert place is not None
        digits = place[1]
        number = rf"\d{{{int(digits)},}}" if digits.startswith("0") and len(digits) > 1 else r"\d+"
        regex = re.compile(re.escape(path.name[: place.start()]) + number + re.escape(path.name[place.end() :]))
        names = [p for p in folder.iterdir() if regex.fullmatch(p.name)]
    else:
        names = list(folder.glob(path.name))
    return sorted((p for p in names if p.is_file() and not p.name.startswith(".")), key=_order)


def _order(path: Path) -> list[tuple[int, str]]:
    """Sorts names as people do: 9 before 10."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _gaps(files: list[Path]) -> list[tuple[int, int]]:
    """First and last of the numbers that are missing between those of ``files``; none where they have no numbers."""
    found = [_NUMBER.findall(path.stem) for path in files]
    if not all(found):
        return []
    numbers = sorted({int(digits[-1]) for digits in found})
    return [(one + 1, other - 1) for one, other in pairwise(numbers) if other - one > 1]


def _shown(gaps: list[tuple[int, int]]) -> str:
    text = ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in gaps[:_SHOWN])
    return text if len(gaps) <= _SHOWN else f"{text} and more"
