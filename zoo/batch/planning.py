"""Many picture files: a plan of what goes where, then the work, which can be repeated until all is done."""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from stat import S_ISDIR, S_ISREG
from typing import Literal

from zoo import images
from zoo.errors import ImageError, OptionError, ZooError

StrPath = str | os.PathLike[str]
Identity = tuple[int, int]

# What one bad file may raise; everything else is a bug and stops the run.
ITEM_ERRORS = (ZooError, OSError, MemoryError)


@dataclass(frozen=True, slots=True)
class Found:
    """A picture among the inputs, or a folder inside them that cannot be read.

    Attributes:
        source: Where it lies.
        name: Where its result goes, relative to the output folder and before the suffix is looked at.
        problem: Why it cannot be coloured, where that is known already.
    """

    source: Path
    name: PurePath
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """One file to colour; ``problem`` as in `Found`."""

    source: Path
    target: Path
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an item; ``error`` says why it failed."""

    source: Path
    target: Path
    status: Literal["done", "skipped", "failed"]
    error: str | None = None


def find(
    inputs: Sequence[StrPath], *, skip: StrPath | None = None, suffixes: Collection[str] = images.READABLE_SUFFIXES
) -> list[Found]:
    """The pictures that ``inputs`` name: files as they are, folders walked in the order of their names.

    Inside a folder, files count by suffix; hidden ones are left out; links are followed, but not back into a
    folder they lie in. Names are relative to the folder when it is the only input. Of several inputs each file
    goes by its name and each folder's content into a folder of its name, as with ``cp -r``; equal names are told
    apart by the folders above them.

    Args:
        inputs: Files and folders.
        skip: A file or folder that is left out of a walk.
        suffixes: Those that count inside a folder, in lower case.

    Raises:
        ImageError: An input that does not exist, a folder that cannot be read, or no picture at all.
    """
    if not all(os.fspath(path) for path in inputs):
        raise ImageError("an input path is empty", expected="a picture or a folder of pictures")
    paths = list({_absolute(path): Path(path) for path in inputs}.values())
    for path in paths:
        if _stat(path) is None:
            raise ImageError(f"{path}: no such file or folder")
    left_out = None if skip is None else _identity(_stat(skip))
    found: list[Found] = []
    for path, name in zip(paths, _short_names(paths), strict=True):
        if _is_folder(_stat(path)):
            inside = list(_walk(path, PurePath() if len(paths) == 1 else name, left_out, frozenset(), suffixes))
            if inside and inside[0].source == path:
                raise ImageError(inside[0].problem or "")
            found += inside
        else:
            found.append(Found(path, name))
    if not found:
        raise ImageError(
            f"no pictures in {', '.join(map(str, paths))}",
            expected=f"files ending in {', '.join(sorted(suffixes))}",
        )
    return found


def sizes(folder: StrPath, name: str = "", above: frozenset[Identity] = frozenset()) -> Iterator[tuple[str, int]]:
    """Name and bytes of all files below a folder that are not hidden.

    Links are followed, as to another disk, but not back into a folder they lie in. What cannot be read is not there.
    """
    with suppress(OSError):
        status = Path(folder).stat()
        identity = status.st_dev, status.st_ino
        if identity in above:
            return
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
        for entry in entries:
            with suppress(OSError):
                if entry.is_dir():
                    yield from sizes(entry.path, f"{name}{entry.name}/", above | {identity})
                else:
                    yield f"{name}{entry.name}", entry.stat().st_size


def plan(inputs: Sequence[StrPath], out: StrPath) -> list[Item]:
    """Which file becomes which; touches nothing.

    ``out`` is the result itself where it has a suffix and the input is one file. Else it is a folder, in which the
    inputs' names (see `find`) are mirrored. A format that cannot be written becomes .png; where another picture
    has that name already, the old suffix stays in it (a.gif and a.png give a.gif.png and a.png).

    Raises:
        ImageError: As `find`; or an ``out`` that cannot be written or under which a source would be overwritten.
    """
    if not os.fspath(out):
        raise ImageError("the output path is empty")
    target = Path(out)
    there = status_of_output(out)
    if target.suffix and not os.fspath(out).endswith(("/", os.sep)) and not _is_folder(there):
        items = [_single(inputs, target)]
        _check_writable(target.parent)
    else:
        if there is not None and not _is_folder(there):
            raise ImageError(f"{target}: is a file", expected="a folder, or for one picture a name such as result.png")
        if there is not None and any(_identity(_stat(path)) == _identity(there) for path in inputs):
            raise ImageError(f"{target}: is the input folder too", remedy="choose another folder for the results")
        _check_writable(target)
        found = find(inputs, skip=target)
        names = _result_names([f.name for f in found])
        items = [Item(f.source, target / name, f.problem) for f, name in zip(found, names, strict=True)]
    _check_no_source(items)
    return items


def plan_variants(items: Sequence[Item], count: int) -> list[Item]:
    """For each item of a `plan` so many, one after the other: NAME-1.png, NAME-2.png and so on.

    Raises:
        ImageError: A variant would overwrite a source.
    """
    found = [
        replace(item, target=item.target.with_name(f"{item.target.stem}-{number}{item.target.suffix}"))
        for item in items
        for number in range(1, count + 1)
    ]
    _check_no_source(found)
    return found


def colorize_files(
    items: Iterable[Item], colorize_file: Callable[..., object], *, overwrite: bool = False
) -> Iterator[Result]:
    """Colour the items of a `plan` one by one, and tell of each as it is finished.

    A result that exists is skipped, so a run that was stopped is continued by starting it again. A bad file fails
    by itself and the rest goes on.

    Args:
        items: What to colour.
        colorize_file: Called as ``colorize_file(source, target, overwrite=...)``: `Colorizer.colorize_file`, or a
            `functools.partial` of it with options. It leaves either a whole target or none.
        overwrite: Colour again what exists.

    Raises:
        OptionError: From ``colorize_file``: every other item would fail for the same reason.
    """
    for item in items:
        if item.problem is not None:
            yield Result(item.source, item.target, "failed", item.problem)
        elif not overwrite and _is_file(_stat(item.target)):
            yield Result(item.source, item.target, "skipped")
        else:
            yield _colorize(item, colorize_file, overwrite)


def status_of_output(out: StrPath) -> os.stat_result | None:
    """What lies at ``out``; None where there is nothing yet.

    Raises:
        ImageError: A path that can never be, such as one that is too long.
    """
    try:
        return Path(out).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _unwritable(Path(out), error) from error


@contextmanager
def folder_for(target: Path) -> Iterator[None]:
    """A context in which the folder of ``target`` exists; folders made for it go again where no ``target`` comes.

    Raises:
        ImageError: The folder cannot be made.
    """
    missing = [folder for folder in target.parents if _stat(folder) is None]
    try:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(target, error) from error
        yield
    finally:
        if _stat(target) is None:  # failed or interrupted: leave no empty folders
            for folder in missing:
                with suppress(OSError):
                    folder.rmdir()


def _check_no_source(items: Sequence[Item]) -> None:
    sources = {_identity(_stat(item.source)) for item in items} - {None}
    for item in items:
        if _identity(_stat(item.target)) in sources:
            raise ImageError(
                f"{item.target}: the result would overwrite a source", remedy="choose another place for the results"
            )


def _unwritable(path: Path, error: OSError | ValueError) -> ImageError:
    return ImageError(
        f"{path}: cannot be written", found=getattr(error, "strerror", None) or error, remedy="choose another path"
    )


def _colorize(item: Item, colorize_file: Callable[..., object], overwrite: bool) -> Result:
    try:
        with folder_for(item.target):
            colorize_file(item.source, item.target, overwrite=overwrite)
    except OptionError:
        raise
    except ITEM_ERRORS as error:
        return Result(item.source, item.target, "failed", str(error) or type(error).__name__)
    return Result(item.source, item.target, "done")


def _single(inputs: Sequence[StrPath], target: Path) -> Item:
    if len(inputs) != 1 or _is_folder(_stat(inputs[0])):
        raise ImageError(
            f"{target}: has a suffix, so it names one file",
            expected="a folder for the results",
            remedy=f"write {target}{os.sep}",
        )
    if images.output_suffix(target).lower() != target.suffix.lower():
        raise ImageError(
            f"{target}: pictures cannot be written as {target.suffix}",
            remedy=f"choose .png or .jpg, or write {target}{os.sep} for a folder",
        )
    return Item(find(inputs)[0].source, target)


def _check_writable(folder: Path) -> None:
    folder = folder.absolute()
    nearest = next(path for path in (folder, *folder.parents) if _stat(path) is not None)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise ImageError(f"{folder}: cannot be written to", found=f"{nearest} is not a folder one may write to")


def _walk(
    folder: Path,
    name: PurePath,
    skip: Identity | None,
    inside: frozenset[Identity | None],
    suffixes: Collection[str],
) -> Iterator[Found]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        yield Found(folder, name, f"{folder}: the folder cannot be read ({error.strerror})")
        return
    inside |= {_identity(_stat(folder))}
    for path in paths:
        status = _stat(path)
        identity = _identity(status)
        if path.name.startswith(".") or (identity is not None and identity == skip):
            continue
        if _is_folder(status):
            if identity not in inside:
                yield from _walk(path, name / path.name, skip, inside, suffixes)
        # a broken link is told of, a pipe that happens to be called .png is not waited for
        elif path.suffix.lower() in suffixes and (status is None or S_ISREG(status.st_mode)):
            yield Found(path, name / path.name)


def _short_names(paths: list[Path]) -> list[PurePath]:
    """The shortest ends of the paths that tell them apart."""
    parts = [_absolute(path).parts[1:] for path in paths]
    lengths = [1] * len(paths)
    while True:
        names = [p[-n:] for p, n in zip(parts, lengths, strict=True)]
        count = Counter(names)
        alike = [i for i, name in enumerate(names) if count[name] > 1 and lengths[i] < len(parts[i])]
        if not alike:
            return [PurePath(*name) for name in names]
        for i in alike:
            lengths[i] += 1


def _result_names(names: list[PurePath]) -> list[PurePath]:
    suffixes = [images.output_suffix(name) for name in names]
    kept = [suffix.lower() == name.suffix.lower() for name, suffix in zip(names, suffixes, strict=True)]
    plain = [n if k else n.with_suffix(s) for n, s, k in zip(names, suffixes, kept, strict=True)]
    count = Counter(plain)
    results = [
        name.with_name(name.name + suffix) if not keep and count[result] > 1 else result
        for name, suffix, keep, result in zip(names, suffixes, kept, plain, strict=True)
    ]
    used: set[PurePath] = set()
    for i in sorted(range(len(names)), key=lambda i: not kept[i]):  # who keeps its name comes first
        free, number = results[i], 2
        while free in used:
            free, number = results[i].with_stem(f"{results[i].stem}-{number}"), number + 1
        used.add(free)
        results[i] = free
    return results


def _absolute(path: StrPath) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would put another name in place of a link's


def _stat(path: StrPath) -> os.stat_result | None:
    """What ``path`` leads to; None where that is nothing, or out of reach."""
    try:
        return Path(path).stat()
    except (OSError, ValueError):
        return None


def _identity(status: os.stat_result | None) -> Identity | None:
    """What tells a file from all others, whatever its path."""
    return None if status is None else (status.st_dev, status.st_ino)


def _is_file(status: os.stat_result | None) -> bool:
    return status is not None and S_ISREG(status.st_mode)


def _is_folder(status: os.stat_result | None) -> bool:
    return status is not None and S_ISDIR(status.st_mode)
