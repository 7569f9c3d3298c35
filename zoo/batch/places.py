"""Places by the names that users give them: folders of this machine, URLs that fsspec knows (S3, GCS and others)."""

import os
import secrets
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from zoo.batch.folders import Entry, Folder, Place
from zoo.errors import BatchError

_LOCAL = ("file://", "local://")  # what fsspec calls the folders of this machine
# What tells a state of an object from its next; the first that a store gives.
_STAMPS = ("ETag", "etag", "md5Hash", "generation", "mtime", "LastModified", "last_modified", "updated", "created")
_REFUSALS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)  # which do not pass


@dataclass(frozen=True)
class Store(Place):
    """One that fsspec knows, by its URL; with ``only``, that one object in it."""

    text: str
    only: str | None = None

    @property
    def local(self) -> Path | None:
        """As of `Place`."""
        from fsspec.implementations.local import LocalFileSystem

        fs, root = _filesystem(self.text)
        return Path(root).resolve() if isinstance(_bare(fs), LocalFileSystem) else None

    def entries(self, suffixes: Collection[str], skip: Place | None = None) -> Iterator[Entry]:
        """As of `Place`."""
        fs, root = _filesystem(self.text)
        left_out = None if skip is None else below(skip, self)
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
            if wanted and not hidden and not (left_out and name.startswith(f"{left_out}/")):
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

    def retain(self, folder: str, kept: Collection[str]) -> None:
        """As of `Place`."""
        fs, root = _filesystem(self.text)
        with suppress(OSError), self._asking(folder):
            for path in fs.ls(f"{root}/{folder}", detail=False):
                if f"{folder}/{PurePath(path).name}" not in kept:
                    fs.rm(path, recursive=True)

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
    scheme = next((scheme for scheme in _LOCAL if name.startswith(scheme)), "")
    if scheme or "://" not in name:
        path = os.path.abspath(name.removeprefix(scheme))  # noqa: PTH100 - resolve() would put another name for a link's
        return Folder(path)
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


def below(inner: Place, outer: Place) -> str | None:
    """Where in ``outer`` the place ``inner`` lies, however the two are spelled; ``.`` for the same place.

    None where it lies elsewhere. Stores of one kind are one store, unless their URLs name different hosts or accounts.
    """
    here: PurePath | None = inner.local
    there: PurePath | None = outer.local
    if here is None and there is None:
        (fs, path), (other, root) = _filesystem(inner.text), _filesystem(outer.text)
        if _are_one(_bare(fs), _bare(other)):
            here, there = (PurePosixPath("/", found.lstrip("/")) for found in (path, root))
    if here is None or there is None or not here.is_relative_to(there):
        return None
    return here.relative_to(there).as_posix()


def _bare(fs: Any) -> Any:
    """What lies below caches and the like."""
    while hasattr(getattr(fs, "fs", None), "storage_options"):
        fs = fs.fs
    return fs


def _are_one(fs: Any, other: Any) -> bool:
    """A store has several names, as s3 and s3a, or gs and gcs, and one class."""
    one, two = fs.storage_options, other.storage_options
    return type(fs) is type(other) and all(
        one[key] == two[key] for key in ("host", "account_name") if key in one and key in two
    )


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
