"""Result files of `colorzoo bench`: every time that was taken, and the only source of the numbers on the page."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from zoo.errors import ZooError
from zoo.evaluation.results import is_number, refuse, require, write_text

FORMAT = "speed 1"

# What is measured.
FORWARD, FILE, PICTURE, STAGES, MEMORY, FILM, FOLDER, START, LOAD, FIDELITY = KINDS = (
    *("forward", "file", "picture", "stages", "memory", "film", "folder", "start", "load", "fidelity"),
)
# What is measured beside a model, in turn with it.
PILLOW, TRANSCODE, ECCV16, DDCOLOR_TINY = "Pillow", "transcode", "eccv16", "ddcolor_tiny"
IMPORT, HELP = "import zoo", "colorzoo --help"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measurement, of a model or of what it is compared with.

    Attributes:
        kind: One of `KINDS`.
        model: The measured model; empty for what belongs to none.
        subject: What was timed beside the model and in turn with it, such as ``Pillow``; empty for the model itself.
        size: ``12 MP``, a name of `zoo.bench.settings.SIZES`, or as many pixels a side as the network saw.
        backend: That the network ran on.
        dtype: That the network computed in.
        threads: Given to torch and to the backend; 0 where that does not apply.
        times: Seconds of each round, those that warm up left out.
        value: The figure where no rounds were timed: MB of `MEMORY`, CIEDE2000 of `FIDELITY`.
        parts: More figures by name: seconds of each stage, frames, photos, processor time.
        error: Why there is no figure.
    """

    kind: str
    model: str = ""
    subject: str = ""
    size: str = ""
    backend: str = ""
    dtype: str = ""
    threads: int = 0
    times: tuple[float, ...] = ()
    value: float | None = None
    parts: dict[str, float] = field(default_factory=dict)
    error: str | None = None

    @property
    def candidate(self) -> str:
        """How the network ran: ``onnx float32``."""
        return f"{self.backend} {self.dtype}".strip()

    @property
    def median(self) -> float | None:
        """The median of the times, in seconds."""
        return float(np.median(self.times)) if self.times else None

    @property
    def p95(self) -> float | None:
        """The 95th percentile of the times, in seconds, interpolated between two of them."""
        return float(np.quantile(self.times, 0.95)) if self.times else None


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One run of `colorzoo bench`.

    Attributes:
        complete: Whether all was measured; False where the run was interrupted.
        settings: Sizes by name, numbers of threads, rounds, the photos of the folder, what fidelity was measured on.
        models: By name ``weights`` (tag and sha256), ``parameters``, the way to run it that was chosen (``backend``
            and ``dtype``), and for each other way why it was not, under ``passed_over``.
        rows: What was measured.
        versions: Of the packages.
        machine: Processor, cores, threads, whether it computes in bfloat16.
        run: Its ``date`` and the ``seconds`` it took.
    """

    complete: bool
    settings: dict[str, Any]
    models: dict[str, dict[str, Any]]
    rows: tuple[Row, ...]
    versions: dict[str, str]
    machine: dict[str, Any]
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def threads(self) -> int:
        """The most threads that were measured."""
        return max(self.settings["threads"], default=0)

    @property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Width and height by name, small ones first."""
        sizes = {name: (int(w), int(h)) for name, (w, h) in self.settings["sizes"].items()}
        return dict(sorted(sizes.items(), key=lambda item: item[1][0] * item[1][1]))

    def chosen(self, model: str) -> tuple[str, str]:
        """The backend and dtype that ``auto`` chose; empty names where it has not chosen yet."""
        about = self.models.get(model, {})
        return str(about.get("backend", "")), str(about.get("dtype", ""))

    def find(self, kind: str, **wanted: Any) -> Iterator[Row]:
        """The rows of a kind whose attributes are those of ``wanted``."""
        for row in self.rows:
            if row.kind == kind and all(getattr(row, name) == value for name, value in wanted.items()):
                yield row

    def median(self, kind: str, **wanted: Any) -> float | None:
        """Seconds, of the first row that has them; None where nothing was timed."""
        return next((row.median for row in self.find(kind, **wanted) if row.times), None)


def to_text(speed: Speed) -> str:
    """The file's text: JSON with a line for each row."""
    defaults = asdict(Row(kind=""))
    rows = [{k: v for k, v in asdict(row).items() if k == "kind" or v != defaults[k]} for row in speed.rows]
    table = {"format": FORMAT} | {f.name: getattr(speed, f.name) for f in fields(Speed) if f.name != "rows"}
    parts = [f"  {json.dumps(key)}: {_line(value)}" for key, value in table.items()]
    parts.append('  "rows": [\n' + ",\n".join(f"    {_line(row)}" for row in rows) + "\n  ]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def write(speed: Speed, path: Path) -> None:
    """Write the file.

    Raises:
        ZooError: It cannot be written.
    """
    write_text(path, to_text(speed))


def holds_speed(folder: Path) -> bool:
    """Whether the results in a folder are those of `colorzoo bench`; it is asked of the first of them."""
    for path in sorted(folder.glob("*.json")):
        try:
            found = json.loads(path.read_text(encoding="utf-8")).get("format")
        except (OSError, ValueError, AttributeError, RecursionError):
            return False  # whoever reads it says what is wrong with it
        return str(found).startswith("speed ")
    return False


def read(path: Path) -> Speed:
    """The run that a file holds.

    Raises:
        ZooError: It cannot be read, or is not of this format.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
        if table.pop("format") != FORMAT or set(table) != {f.name for f in fields(Speed)}:
            raise ValueError("another format")
        rows = tuple(Row(**row | {"times": tuple(row.get("times", ()))}) for row in table.pop("rows"))
        speed = Speed(rows=rows, **table)
        _check(speed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ZooError(
            f"{path}: not a result of `colorzoo bench`",
            found=f"{type(error).__name__}: {error}",
            expected=f"a JSON file of format {FORMAT}",
            remedy="measure again",
        ) from error
    return speed


def read_all(folder: Path) -> dict[str, Speed]:
    """The runs in a folder by their files' names without suffix.

    Raises:
        ZooError: One cannot be read.
    """
    return {path.stem: read(path) for path in sorted(folder.glob("*.json"))}


def _check(speed: Speed) -> None:
    """Refuse values of another kind than `colorzoo bench` writes.

    Raises:
        ValueError: What is wrong.
    """
    require(isinstance(speed.complete, bool), "complete")
    for name in ("settings", "models", "versions", "machine", "run"):
        require(isinstance(getattr(speed, name), dict), name)
    require(all(isinstance(about, dict) for about in speed.models.values()), "models")
    require(all(len(pair) == 2 and all(map(is_number, pair)) for pair in speed.settings["sizes"].values()), "sizes")
    require(all(isinstance(n, int) for n in speed.settings["threads"]), "threads")
    for row in speed.rows:
        texts = (row.kind, row.model, row.subject, row.size, row.backend, row.dtype)
        require(row.kind in KINDS and all(isinstance(text, str) for text in texts), "a row's names")
        require(row.value is None or is_number(row.value), f"value of {row.kind}")
        require(all(is_number(t) and t >= 0 for t in row.times), f"times of {row.kind}")
        require(all(map(is_number, row.parts.values())), f"parts of {row.kind}")
        require(row.error is None or isinstance(row.error, str), f"error of {row.kind}")
