"""What was found of files that others published: their conversions to safetensors, and the record of each.

A record is written at the first pull and stays when the weights are removed: what is fetched later must match it.
"""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from zoo import hub
from zoo.errors import WeightsError


@dataclass(frozen=True, kw_only=True)
class Record:
    """What was found at a first pull.

    Attributes:
        name: Of the weights, model and tag: ``eccv16.v2``.
        upstream: The address, or the name of the file that was brought by hand.
        revision: The commit on the Hub, where it is there.
        upstream_sha256: Of the published file.
        sha256: Of the safetensors file that is loaded.
        size_bytes: Of that file.
        date: When, in UTC.
        tools: Versions of what converted it.
    """

    name: str
    upstream: str
    revision: str | None
    upstream_sha256: str
    sha256: str
    size_bytes: int
    date: str
    tools: dict[str, str] = field(default_factory=dict)


def folder() -> Path:
    """Where records and conversions lie."""
    return hub.home() / "converted"


def weights_path(name: str) -> Path:
    """Where the conversion of the weights ``name`` (model and tag) lies, or would."""
    return folder() / f"{name}.safetensors"


def record_path(name: str) -> Path:
    """Where the record of the weights ``name`` (model and tag) lies, or would."""
    return folder() / f"{name}.json"


def read(name: str) -> Record | None:
    """The record of the weights ``name`` (model and tag); None where there is none.

    Raises:
        WeightsError: It is damaged.
    """
    path = record_path(name)
    try:
        record = Record(**json.loads(path.read_text(encoding="utf-8")))
        if not all(isinstance(text, str) for text in (record.sha256, record.upstream_sha256)):
            raise TypeError("sha256 is no text")
        return record
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise WeightsError(f"{path}: a damaged record", found=error, remedy="delete it, and pull again") from error


def write(record: Record) -> None:
    """Keep a record.

    Raises:
        WeightsError: It cannot be written.
    """
    with replacing(record_path(record.name)) as path:
        path.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")


def find(name: str) -> Path | None:
    """The conversion of the weights ``name`` (model and tag), unchecked; None where it is not here, or not whole."""
    path, record = weights_path(name), read(name)
    try:
        whole = record is not None and path.is_file() and path.stat().st_size == record.size_bytes
    except OSError:  # removed meanwhile
        return None
    return path if whole else None


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside ``path`` to write to, which takes its place when all went well.

    Raises:
        WeightsError: It cannot be written.
    """
    made: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
        yield made
        with made.open("rb") as file:
            os.fsync(file.fileno())
        made.replace(path)
    except OSError as error:
        raise hub.hub_error(f"{path} cannot be written", error) from error
    finally:
        if made is not None:
            made.unlink(missing_ok=True)
