"""Where sources and results lie: what every place can do, and the folders of this machine."""

import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from zoo.batch import planning
from zoo.errors import BatchError

WORK = ".colorzoo"  # the folder in a place of results where what a run needs itself lies


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a place.

    Attributes:
        name: Relative to the place, with ``/`` between folders.
        size: Bytes.
        stamp: Changes when the content does: an ETag or the like, else the time of the last change.
        problem: Why it cannot be read, where that is known already.
        identity: Tells the file from all others of this machine, whatever their names; None in a store.
    """

    name: str
    size: int
    stamp: str
    problem: str | None = None
    identity: planning.Identity | None = None


def identity(path: str) -> planning.Identity | None:
    """As of `Entry`, of what ``path`` leads to; None where that is nothing."""
    try:
        status = os.stat(path)  # noqa: PTH116 - of a million files, whose paths take longer to make than to ask
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


class Place(ABC):
    """A folder, or what stands for one. Can be sent to other processes and machines.

    Attributes:
        text: As the user named it, absolute.
    """

    text: str

    @property
    @abstractmethod
    def local(self) -> Path | None:
        """The folder of this machine that it is, with links resolved; None where it is none."""

    @abstractmethod
    def entries(self, suffixes: Collection[str], skip: "Place | None" = None) -> Iterator[Entry]:
        """The files that end in one of ``suffixes``, sorted by name; hidden ones and those inside ``skip`` are not."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Name and bytes of every file that is not hidden; empty where there is no such place yet."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Of the files directly in ``folder``, with it, sorted; empty where there is no such folder."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file's content."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Make or replace a file, at once or not at all."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Delete a file, where there is one."""

    @abstractmethod
    def retain(self, folder: str, kept: Collection[str]) -> None:
        """Delete the folders in ``folder``, with all in them, but for those ``kept``; what cannot be stays."""

    @abstractmethod
    def fetched(self, name: str, scratch: Path) -> AbstractContextManager[Path]:
        """A context that gives a path on this machine with the file's content, in ``scratch`` if it has to be fetched.

        What was fetched is gone at its end.
        """

    @abstractmethod
    def put(self, file: Path, name: str) -> None:
        """Move ``file`` here as ``name``, at once or not at all; it may be there already."""

    @abstractmethod
    def scratch(self) -> AbstractContextManager[Path]:
        """A context that gives a folder on this machine from which `put` is cheapest; it is gone at its end."""

    def address(self, name: str) -> str:
        """For messages."""
        return f"{self.text.rstrip('/')}/{name}"


@dataclass(frozen=True)
class Folder(Place):
    """One of this machine; with ``only``, that one file in it."""

    text: str
    only: str | None = None

    @property
    def root(self) -> Path:
        """The folder."""
        return Path(self.text)

    @property
    def local(self) -> Path:
        """As of `Place`."""
        return self.root.resolve()

    def entries(self, suffixes: Collection[str], skip: Place | None = None) -> Iterator[Entry]:
        """As of `Place`."""
        path = self.root if self.only is None else self.root / self.only
        for found in planning.find([path], skip=None if skip is None else skip.local, suffixes=suffixes):
            name = found.name.as_posix() if self.only is None else self.only
            try:
                status = found.source.stat()
            except OSError as error:
                problem = found.problem or f"{found.source}: cannot be read ({error.strerror})"
                yield Entry(name, 0, "", problem)
            else:
                file = status.st_dev, status.st_ino
                yield Entry(name, status.st_size, str(status.st_mtime_ns), found.problem, file)

    def sizes(self) -> dict[str, int]:
        """As of `Place`."""
        return dict(planning.sizes(self.text))

    def names(self, folder: str) -> list[str]:
        """As of `Place`."""
        try:
            return sorted(f"{folder}/{path.name}" for path in (self.root / folder).iterdir() if path.is_file())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def size(self, name: str) -> int | None:
        """As of `Place`."""
        try:
            return (self.root / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read(self, name: str) -> bytes:
        """As of `Place`."""
        return (self.root / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        """As of `Place`."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        try:
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """As of `Place`."""
        (self.root / name).unlink(missing_ok=True)

    def retain(self, folder: str, kept: Collection[str]) -> None:
        """As of `Place`."""
        with suppress(OSError):
            for path in (self.root / folder).iterdir():
                if f"{folder}/{path.name}" not in kept:
                    shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def fetched(self, name: str, scratch: Path) -> Iterator[Path]:
        """As of `Place`."""
        yield self.root / name

    def put(self, file: Path, name: str) -> None:
        """As of `Place`."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise BatchError(f"{path}: is a folder, where a result should go", remedy="move it elsewhere")
        file.replace(path)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """As of `Place`."""
        folder = self.root / WORK / "work" / secrets.token_hex(8)
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what runs left that were killed; for who holds the lock alone."""
        shutil.rmtree(self.root / WORK / "work", ignore_errors=True)
