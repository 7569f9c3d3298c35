"""Which result comes where, and that it replaces neither a source nor what somebody else has put there."""

from collections.abc import Sequence
from pathlib import PurePosixPath

from zoo.batch import films, work
from zoo.batch.folders import Entry, Place, identity
from zoo.batch.manifest import Manifest
from zoo.batch.places import below
from zoo.errors import BatchError

_SHOWN = 3


def result_names(names: Sequence[str]) -> list[str | None]:
    """Of each source's result; None for one whose name is another's. They do not depend on what else is there."""
    results = [films.result_name(name) if films.is_film(name) else work.result_name(name) for name in names]
    kept = {result for name, result in zip(names, results, strict=True) if name == result}
    return [
        result if result == name or result not in kept else None for name, result in zip(names, results, strict=True)
    ]


def check_sources_stay(src: Place, dst: Place, entries: Sequence[Entry], names: Sequence[str | None]) -> None:
    """No result may come where a source lies, by whatever links; not by force either.

    Raises:
        BatchError: One would.
    """
    folder = below(src, dst)
    sources = set() if folder is None else {PurePosixPath(folder, entry.name).as_posix() for entry in entries}
    files, local = {entry.identity for entry in entries} - {None}, dst.local
    for entry, result in zip(entries, names, strict=True):
        for name in may_write(entry.name, result):
            if name in sources or (files and local is not None and identity(f"{local}/{name}") in files):
                raise BatchError(
                    f"{dst.address(name)}: the result would overwrite a source",
                    remedy="choose another place for the results",
                )


class Taken:
    """What lies where results are to come and no run has left it so.

    Args:
        dst: The place of the results.
        manifest: Of it.

    Attributes:
        sizes: Of the files there, in bytes.
        sources: Those whose results would replace such files.
    """

    def __init__(self, dst: Place, manifest: Manifest) -> None:
        self._dst, self._manifest = dst, manifest
        self.sizes = dst.sizes()
        self.sources: set[str] = set()
        self._made: dict[str, set[int | None]] = {}  # a name may have been another source's before
        for record in manifest.records.values():
            if record.part is None and record.result is not None:
                self._made.setdefault(record.result, set()).add(record.result_size)
        self._names: list[str] = []

    def look(self, entry: Entry, result: str) -> None:
        """Where the result of an item would come. One that was begun may stand there though nothing says so yet."""
        if entry.name in self._manifest.begun:
            return
        # an empty file is nobody's work: a power cut leaves such
        there = [name for name in may_write(entry.name, result) if self.sizes.get(name)]
        found = [name for name in there if self.sizes[name] not in self._made.get(name, ())]
        if found:
            self.sources.add(entry.name)
            self._names += found

    def check(self) -> None:
        """Refuse to replace any.

        Raises:
            BatchError: There are some.
        """
        if not self._names:
            return
        changed = sum(name in self._made for name in self._names)
        said = "which no run has made" if not changed else "which were changed since a run made them"
        if 0 < changed < len(self._names):
            said = f"{len(self._names) - changed} that no run has made and {changed} that were changed since"
        raise BatchError(
            f"{self._dst.text}: {len(self._names)} files in it would be replaced, {said}",
            found=some(self._names),
            remedy="choose another place, or replace them by force",
        )


def may_write(source: str, result: str | None) -> list[str]:
    """The names that an item may be written to; which one, its content says."""
    animated = [source] if films.may_be_animated(source) else []
    return list({*animated, *([] if result is None else [result])})


def some(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
