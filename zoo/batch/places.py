"""Where sources and results lie: folders of this machine, or URLs that fsspec knows (S3, GCS and others)."""

import os
import secrets
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

from zoo.batch import planning
from zoo.errors import BatchError

WORK = ".colorzoo"  # the folder in a place of results where what a run needs itself lies
# What tells a state of an object from its next; the first that a store gives.
_STAMPS = ("ETag", "etag", "md5Hash", "generation", "mtime", "LastModified", "last_modified", "updated", "created")
_REFUSALS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)  # which do not pass


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a place.

    Attributes:
        name: Relative to the place, with ``/`` between folders.
        size: Bytes.
        stamp: Changes when the content does: an ETag or the like, else the time of the last change.
        problem: Why it cannot be read, where that is known already.
    """

    name: str
    size: int
    stamp: str
    problem: str | None = None


class Place(ABC):
    """A folder, or what stands for one. Can be sent to other processes and machines.

    Attributes:
        text: As the user named it, absolute.
    """

    text: str

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

    def entries(self, suffixes: Collection[str], skip: Place | None = None) -> Iterator[Entry]:
        """As of `Place`."""
        path = self.root if self.only is None else self.root / self.only
        left_out = skip.root if isinstance(skip, Folder) else None
        for found in planning.find([path], skip=left_out, suffixes=suffixes):
            name = found.name.as_posix() if self.only is None else self.only
            try:
                status = found.source.stat()
            except OSError as error:
                problem = found.problem or f"{found.source}: cannot be read ({error.strerror})"
                yield Entry(name, 0, "", problem)
            else:
                yield Entry(name, status.st_size, str(status.st_mtime_ns), found.problem)

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


@dataclass(frozen=True)
class Store(Place):
    """One that fsspec knows, by its URL; with ``only``, that one object in it."""

    text: str
    only: str | None = None

    def entries(self, suffixes: Collection[str], skip: Place | None = None) -> Iterator[Entry]:
        """As of `Place`."""
        fs, root = _filesystem(self.text)
        without = None
        if isinstance(skip, Store):
            other, inner = _filesystem(skip.text)
            without = f"{inner}/" if type(other) is type(fs) else None
        with self._asking():
            fs.invalidate_cache()
            if self.only is None:
                found = fs.find(root, detail=True)
            else:
                found = {f"{root}/{self.only}": fs.info(f"{root}/{self.only}")}
        for path in sorted(found):
            name = path[len(root) :].lstrip("/")
            hidden = any(part.startswith(".") for part in name.split("/"))
            wanted = self.only is not None or PurePath(name).suffix.lower() in suffixes
            if wanted and not hidden and not (without and path.startswith(without)):
                yield Entry(name, int(found[path].get("size") or 0), _stamp(found[path]))

    def sizes(self) -> dict[str, int]:
        """As of `Place`."""
        fs, root = _filesystem(self.text)
        try:
            with self._asking():
                fs.invalidate_cache()
                found = fs.find(root, detail=True)
        except FileNotFoundError:
            return {}
        names = {path[len(root) :].lstrip("/"): int(info.get("size") or 0) for path, info in found.items()}
        return {n: size for n, size in names.items() if not any(p.startswith(".") for p in n.split("/"))}

    def names(self, folder: str) -> list[str]:
        """As of `Place`."""
        fs, root = _filesystem(self.text)
        try:
            with self._asking(folder):
                fs.invalidate_cache()
                found = fs.ls(f"{root}/{folder}", detail=True)
        except FileNotFoundError:
            return []
        return sorted(f"{folder}/{PurePath(info['name']).name}" for info in found if info["type"] == "file")

    def size(self, name: str) -> int | None:
        """As of `Place`."""
        fs, root = _filesystem(self.text)
        try:
            with self._asking(name):
                return int(fs.info(f"{root}/{name}")["size"])
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        """As of `Place`."""
        fs, root = _filesystem(self.text)
        with self._asking(name):
            data: bytes = fs.cat_file(f"{root}/{name}")
        return data

    def write(self, name: str, data: bytes) -> None:
        """As of `Place`."""
        fs, root = _filesystem(self.text)
        with self._asking(name):
            _with_folder(fs, f"{root}/{name}", lambda path: fs.pipe_file(path, data))

    def create(self, name: str, data: bytes) -> bool:
        """Make a file unless it is there; whether it was made. Exact where the store can do so, else nearly."""
        fs, root = _filesystem(self.text)
        path = f"{root}/{name}"
        with self._asking(name):
            fs.invalidate_cache()
            if fs.exists(path):
                return False
            try:
                _with_folder(fs, path, lambda path: fs.pipe_file(path, data, mode="create"))
            except FileExistsError:
                return False
            except (TypeError, NotImplementedError):
                fs.pipe_file(path, data)
            return bool(fs.cat_file(path) == data)

    def remove(self, name: str) -> None:
        """As of `Place`."""
        fs, root = _filesystem(self.text)
        with suppress(FileNotFoundError), self._asking(name):
            fs.rm_file(f"{root}/{name}")

    @contextmanager
    def fetched(self, name: str, scratch: Path) -> Iterator[Path]:
        """As of `Place`."""
        fs, root = _filesystem(self.text)
        path = scratch / f"{secrets.token_hex(8)}{PurePath(name).suffix}"
        try:
            with self._asking(name):
                fs.get_file(f"{root}/{name}", str(path))
            yield path
        finally:
            path.unlink(missing_ok=True)

    def put(self, file: Path, name: str) -> None:
        """As of `Place`."""
        fs, root = _filesystem(self.text)
        with self._asking(name):
            _with_folder(fs, f"{root}/{name}", lambda path: fs.put_file(str(file), path))
        file.unlink()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """As of `Place`."""
        with tempfile.TemporaryDirectory(prefix="colorzoo-", ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    @contextmanager
    def _asking(self, name: str = "") -> Iterator[None]:
        """Whatever kind of error a client of a network raises for what may pass becomes a ConnectionError."""
        try:
            yield
        except (*_REFUSALS, FileExistsError, ConnectionError, BatchError):
            raise
        except Exception as error:
            raise ConnectionError(f"{self.address(name)}: {type(error).__name__}: {error}") from error


def place(text: str | os.PathLike[str]) -> Place:
    """The place of that path or URL, which need not be there yet.

    Raises:
        BatchError: An empty name, or one of a store that nothing here knows.
    """
    name = os.fspath(text)
    if not name:
        raise BatchError("the name of a place is empty", expected="a folder, or a URL such as s3://bucket/folder")
    if "://" not in name:
        return Folder(os.path.abspath(name))  # noqa: PTH100 - resolve() would put another name in place of a link's
    if name.startswith("file://"):
        return Folder(os.path.abspath(name.removeprefix("file://")))  # noqa: PTH100
    _filesystem(name)
    return Store(name.rstrip("/"))


def source(text: str | os.PathLike[str]) -> Place:
    """As `place`, for what is read: a folder or a single file that is there.

    Raises:
        BatchError: There is nothing of that name.
    """
    found = place(text)
    if isinstance(found, Folder):
        if not found.root.exists():
            raise BatchError(f"{found.text}: no such file or folder")
        return found if found.root.is_dir() else Folder(str(found.root.parent), found.root.name)
    fs, path = _filesystem(found.text)
    if fs.isfile(path):
        parent, _, name = found.text.rpartition("/")
        return Store(parent, name)
    return found


def inside(inner: Place, outer: Place) -> bool:
    """Whether ``inner`` is ``outer`` or lies in it."""
    if isinstance(inner, Folder) and isinstance(outer, Folder):
        return inner.root.resolve().is_relative_to(outer.root.resolve())
    return type(inner) is type(outer) and f"{inner.text}/".startswith(f"{outer.text}/")


@lru_cache(maxsize=8)
def _filesystem(url: str) -> tuple[Any, str]:
    """What fsspec has for a URL, and the path in it."""
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise BatchError(f"{url}: URLs need one more package", remedy="pip install 'colorzoo[remote]'") from error
    try:
        fs, path = url_to_fs(url)
    except ImportError as error:
        raise BatchError(
            f"{url}: the client of that store is not installed",
            found=error,
            remedy="install what it names, such as `pip install s3fs` for s3:// or `gcsfs` for gs://",
        ) from error
    except ValueError as error:
        raise BatchError(f"{url}: not a URL of a store", found=error, expected="such as s3://bucket/folder") from error
    return fs, path.rstrip("/")


def _with_folder(fs: Any, path: str, write: Any) -> None:
    """Write to ``path``, whose folder is made where the store has folders."""
    try:
        write(path)
    except FileNotFoundError:
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        write(path)


def _stamp(info: dict[str, Any]) -> str:
    return next((str(info[key]) for key in _STAMPS if info.get(key)), "")
