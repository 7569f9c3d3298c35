"""What has become of each item: records in parts, JSON lines, in the place of the results. One run at a time writes.

In a folder a part grows line by line, so that what was done is known whatever ends the run. Stores of objects cannot
append: there a part is written every few seconds, and what was done since the last one is done again after a crash.
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any, Literal

from zoo.batch.folders import WORK, Folder, Place
from zoo.errors import BatchError

FOLDER = f"{WORK}/manifest"
VERSION = 1
_log = logging.getLogger(__name__)
_MOST_PARTS = 20  # more of them are made one when a run begins
_LINES, _SECONDS = 1000, 20.0  # after which a part of a store is written


@dataclass(frozen=True, slots=True)
class Record:
    """What was done with an item.

    Attributes:
        source: Its name in the place of the sources.
        status: ``planned`` is what a film was split into.
        size: Bytes of the source.
        stamp: The source's, as of `places.Entry`.
        settings: Digest of what it was coloured with.
        part: The segment of a film that it is, from 0; None is the whole.
        result: Name in the place of the results.
        result_size: Bytes.
        sha256: Of the result.
        seconds: It took.
        tries: How many it took.
        error: Why it failed.
        detail: The segments of a film that was split.
    """

    source: str
    status: Literal["done", "failed", "planned"]
    size: int
    stamp: str
    settings: str
    part: int | None = None
    result: str | None = None
    result_size: int | None = None
    sha256: str | None = None
    seconds: float = 0.0
    tries: int = 1
    error: str | None = None
    detail: dict[str, Any] | None = None

    @property
    def of(self) -> tuple[int, str, str]:
        """The state of the source and the settings that it tells of."""
        return self.size, self.stamp, self.settings


_FIELDS: dict[str, Any] = {  # what they may be
    **dict.fromkeys(("source", "status", "stamp", "settings"), str),
    **dict.fromkeys(("result", "sha256", "error"), str | None),
    **{"size": int, "tries": int, "part": int | None, "result_size": int | None},
    **{"seconds": int | float, "detail": dict | None},
}


@dataclass(frozen=True)
class Header:
    """The first line of a part.

    Attributes:
        settings: The digest that the records of this run carry.
        described: What it is the digest of.
        source: Where the sources were.
        zoo: Version of this package.
    """

    settings: str
    described: dict[str, Any]
    source: str
    zoo: str


class Manifest:
    """The records that a place has, and a part for new ones.

    Args:
        place: Of the results.

    Attributes:
        records: The last of each item: of a film as a whole under its name, of segments under name and number.
        headers: By the digest of their settings; the last run's last.
        begun: Items that a run has begun and of which nothing was told since: their results may stand there.

    Raises:
        BatchError: A manifest of a newer version.
        OSError: It cannot be read.
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self.records: dict[tuple[str, int | None], Record] = {}
        self.headers: dict[str, Header] = {}
        self.begun: set[str] = set()
        self._segments: dict[str, set[int]] = {}  # of films, those that have records
        self._parts = [name for name in place.names(FOLDER) if name.endswith(".jsonl")]
        self._damaged = 0
        for name in self._parts:
            self._read(name)
        if self._damaged:
            _log.warning(
                "%s: %d lines are damaged; what they told of is done again", place.address(FOLDER), self._damaged
            )
        self._number = max((_number(name) for name in self._parts), default=0)
        self._file: IO[bytes] | None = None
        self._lines: list[str] = []
        self._written = time.monotonic()

    def of(self, name: str) -> Record | None:
        """What is known of an item as a whole."""
        return self.records.get((name, None))

    def begin(self, header: Header) -> None:
        """Start to write, with what is told of this run."""
        self.headers.pop(header.settings, None)
        self.headers[header.settings] = header
        if len(self._parts) > _MOST_PARTS:
            self._merge()
        self._append(_head(header))
        self.flush()

    def add(self, record: Record) -> None:
        """Note what has become of an item."""
        self._take(record)
        self._append(json.dumps({k: v for k, v in asdict(record).items() if v is not None}))

    def start(self, sources: Sequence[str]) -> None:
        """Note items as begun, for good before any result can stand there."""
        self.begun.update(sources)
        self._append(json.dumps({"begun": sources}))
        self.flush()

    def stop(self, sources: Sequence[str]) -> None:
        """Note that items were not begun after all."""
        self.begun.difference_update(sources)
        self._append(json.dumps({"not begun": sources}))

    def flush(self) -> None:
        """Write what was added."""
        self._written = time.monotonic()
        if self._file is not None:
            self._file.flush()
        elif self._lines:
            head = _head(list(self.headers.values())[-1])
            lines = self._lines if self._lines[0] == head else [head, *self._lines]
            self._place.write(self._next(), _bytes(lines))
            self._lines = []

    def close(self) -> None:
        """Write what was added, and stop."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _append(self, line: str) -> None:
        if isinstance(self._place, Folder):
            if self._file is None:
                path = self._place.root / self._next()
                path.parent.mkdir(parents=True, exist_ok=True)
                self._file = path.open("xb")
            self._file.write(line.encode() + b"\n")
            self._file.flush()  # so that it outlives this process
            return
        self._lines.append(line)
        if len(self._lines) >= _LINES or time.monotonic() - self._written > _SECONDS:
            self.flush()

    def _next(self) -> str:
        self._number += 1
        return f"{FOLDER}/{self._number:06d}.jsonl"

    def _merge(self) -> None:
        """One part in place of many; where this is interrupted, some records are there twice, which does no harm."""
        lines = [_head(header) for header in self.headers.values()]
        lines += [json.dumps({k: v for k, v in asdict(r).items() if v is not None}) for r in self.records.values()]
        lines.append(json.dumps({"begun": sorted(self.begun)}))
        self._place.write(self._next(), _bytes(lines))
        for name in self._parts:
            self._place.remove(name)

    def _take(self, record: Record) -> None:
        key = (record.source, record.part)
        self.records.pop(key, None)
        self.records[key] = record
        if record.part is None and record.status != "planned":
            self.begun.discard(record.source)
        if record.part is not None:
            self._segments.setdefault(record.source, set()).add(record.part)
        elif record.status != "failed":
            known = self._segments.get(record.source, set())
            for number in list(known):  # of a film that is whole now, or of another one
                if record.status == "done" or self.records[record.source, number].of != record.of:
                    del self.records[record.source, number]
                    known.remove(number)

    def _read(self, name: str) -> None:
        for line in _lines(self._place.read(name)):
            try:
                found = json.loads(line)
                if "colorzoo_batch" in found:
                    self._take_header(found, name)
                elif "begun" in found:
                    self.begun.update(_names(found["begun"]))
                elif "not begun" in found:
                    self.begun.difference_update(_names(found["not begun"]))
                else:
                    self._take(_record(found))
            except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
                self._damaged += 1

    def _take_header(self, found: dict[str, Any], name: str) -> None:
        version = found["colorzoo_batch"]
        if version != VERSION:
            raise BatchError(
                f"{self._place.address(name)}: a manifest of another version",
                found=version,
                expected=VERSION,
                remedy="go on with the colorzoo that began it, or choose another place for the results",
            )
        header = _header(found)
        self.headers.pop(header.settings, None)
        self.headers[header.settings] = header


def _header(found: dict[str, Any]) -> Header:
    """As a line tells it; TypeError or KeyError for one of which something is missing or of another kind."""
    header = Header(found["settings"], found["described"], found["source"], found["zoo"])
    tables = [header.described, *(header.described.get(name, {}) for name in ("options", "loading"))]
    if not all(isinstance(table, dict) for table in tables):
        raise TypeError("wrong settings")
    if not all(isinstance(text, str) for text in (header.settings, header.source, header.zoo)):
        raise TypeError("wrong header")
    return header


def _record(found: dict[str, Any]) -> Record:
    """As a line tells it; TypeError for one of which something is missing or of another kind."""
    known = {name: value for name, value in found.items() if name in _FIELDS}
    if wrong := [name for name, value in known.items() if not isinstance(value, _FIELDS[name])]:
        raise TypeError(f"wrong value of {wrong[0]}")
    if known["status"] not in ("done", "failed", "planned"):
        raise TypeError("wrong status")
    return Record(**known)


def _names(found: Any) -> list[str]:
    """TypeError for what is no list of names."""
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise TypeError("no list of names")
    return found


def _head(header: Header) -> str:
    return json.dumps({"colorzoo_batch": VERSION, **asdict(header)})


def _bytes(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _lines(data: bytes) -> Iterator[bytes]:
    """Those that are whole: the last one has an end, unless a run was killed while it was written."""
    *whole, _ = data.split(b"\n")
    return (line for line in whole if line)


def _number(name: str) -> int:
    stem = name.rpartition("/")[2].removesuffix(".jsonl")
    return int(stem) if stem.isdecimal() else 0
