"""Models x a folder of colour clips -> results, under one stated protocol; kept, resumed, never measured twice."""

import datetime
import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import zoo.video
from zoo.errors import OptionError, VideoError, ZooError
from zoo.evaluation import cost as costs
from zoo.evaluation import credits, results
from zoo.evaluation.candidates import Candidate, candidates
from zoo.evaluation.evaluate import check_name, folder_of, printable
from zoo.evaluation.films import clips, cost, motion
from zoo.evaluation.films.measuring import measure
from zoo.evaluation.films.metrics import METRICS
from zoo.evaluation.films.protocol import WAYS, FilmProtocol
from zoo.evaluation.films.results import FilmResult, against, figures, holds_films, read, write
from zoo.evaluation.judging import Rows
from zoo.evaluation.protocol import data_hash

_log = logging.getLogger(__name__)

_PACKAGES = ("colorzoo", "torch", "timm", "numpy", "av", "opencv-python-headless")
_FILM_CODE = ("chroma.py", "coloring.py", "motion.py")


@dataclass(frozen=True)
class FilmEvaluation:
    """What an evaluation came to.

    Attributes:
        results: In the order asked for.
        measured: Labels that were measured now; the others' results were there already.
        left_out: By clip, why it is not compared.
        failures: By label, why a model has no result.
        seconds: That it took.
    """

    results: list[FilmResult]
    measured: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def evaluate_films(
    models: Sequence[str | Candidate] | str,
    data: Path | str,
    *,
    benchmark: str | None = None,
    protocol: FilmProtocol | None = None,
    limit: int | None = None,
    out: Path | str | None = None,
    device: str | None = None,
    force: bool = False,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> FilmEvaluation:
    """How close models come to the true colours of clips and how steady they are, beside two other ways and the truth.

    A clip that cannot be read, is too short or has no colours is left out and listed; a model that fails on a clip has
    no result, and the others go on. An interrupted run with an ``out`` goes on where it stopped.

    Args:
        models: As for `zoo.evaluate`.
        data: A folder of clips in colour. A ``CREDITS.tsv`` in it, or in ``out``, tells which may be shown.
        benchmark: What the clips are called; None is the folder's name.
        protocol: None is the default.
        limit: Take the first so many clips only.
        out: Folder of the benchmark's result files; results that are there already are used. None writes nothing.
        device: Where the models run, as torch names it; None is the CPU.
        force: Whether to measure again what is there already, and to replace results that these do not go with.
        progress: Wraps the clips, to show a bar.

    Raises:
        VideoError: No such folder, no film in it, or not one that could be compared.
        ZooError: Results cannot be written.
        OptionError: A style or a name that cannot be, or an ``out`` with results that these do not go with.
        UnknownModelError: No such model or weights.
        WeightsError: Weights that are missing, damaged or do not fit.
    """
    started = time.monotonic()
    if limit is not None and limit < 1:
        raise OptionError("bad limit", found=limit, expected="1 or more")
    name = printable(benchmark if benchmark is not None else Path(data).resolve().name)
    check_name(name)
    found = {printable(n): path for n, path in clips.find(Path(data), limit).items()}
    contestants = candidates([models] if isinstance(models, str) else models, device)
    with TemporaryDirectory() as temporary, ExitStack() as stack:
        benched = _Benchmark(
            name=name,
            clips=found,
            protocol=protocol or FilmProtocol(),
            sources=[Path(data), *([Path(out)] if out is not None else [])],
            folder=Path(out) if out is not None else Path(temporary),
            machine=costs.machine() | {"device": str(torch.device(device or "cpu"))},
        )
        benched.check_folder(replace_others=force)
        kept = {c.label: r for c in contestants if not force and (r := benched.kept(c)) is not None}
        todo = [c for c in contestants if c.label not in kept]
        rows = {c.label: stack.enter_context(benched.rows(c)) for c in todo}
        failures, left_out = _measure(benched, todo, rows, progress) if todo else ({}, {})
        todo = [c for c in todo if c.label not in failures]
        names = [n for n in found if n not in left_out and all(n in rows[c.label] for c in todo)]
        if todo and not names:
            for each in rows.values():
                each.remove()
            reason = next(iter(left_out.values()), "")
            raise VideoError(f"not one of {len(found)} films could be compared", found=reason, expected="colour films")
        run: dict[str, Any] = {"labels": len(todo), "date": datetime.datetime.now(datetime.UTC).date().isoformat()}
        if not any(each.resumed for each in rows.values()):  # else the time is not that of all clips
            run["seconds"] = round(time.monotonic() - started, 1)
        stated = {"sha256": benched.sha256, **folder_of(data), "names": names, "left_out": left_out}
        stated["credits"] = benched.credits_of(names)
        fresh: dict[str, FilmResult] = {}
        for candidate in todo:
            fresh[candidate.label] = result = FilmResult(
                label=candidate.label,
                model=candidate.model,
                tag=candidate.tag,
                weights=candidate.weights,
                options=candidate.options,
                benchmark=name,
                protocol=benched.stated,
                **_gathered(rows[candidate.label], names, stated),
                cost=cost.measured(candidate, {n: found[n] for n in names}, Path(temporary)),
                versions=_versions(),
                machine=benched.machine,
                run=run,
            )
            if out is not None:
                write(result, benched.folder)
        for each in rows.values():
            each.remove()
        there = kept | fresh
        every = [there[c.label] for c in contestants if c.label in there]
        known = left_out if todo or not every else every[0].data["left_out"]
        return FilmEvaluation(every, list(fresh), known, failures, time.monotonic() - started)


@dataclass(frozen=True, kw_only=True)
class _Benchmark:
    """The clips, what is done to them, on what, and where the results go."""

    name: str
    clips: dict[str, Path]
    protocol: FilmProtocol
    sources: list[Path]  # folders in which credits may lie
    folder: Path
    machine: dict[str, Any]

    @cached_property
    def stated(self) -> dict[str, Any]:
        return self.protocol.stated(motion.STATED, motion.CUTS_STATED)

    @cached_property
    def sha256(self) -> str:
        return data_hash(list(self.clips.values()), list(self.clips))

    def credits_of(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        found: dict[str, dict[str, str]] = {}
        for folder in reversed(self.sources):
            found |= credits.read(folder / credits.FILE, names)
        return found

    def check_folder(self, replace_others: bool) -> None:
        """Refuse a folder with results that these would not stand beside.

        Raises:
            OptionError: It holds such.
        """
        if replace_others:
            return
        if any(self.folder.glob("*.json")) and not holds_films(self.folder):
            raise OptionError(
                f"{self.folder}: holds results of photos", remedy="choose another benchmark name or folder"
            )
        for path in sorted(self.folder.glob("*.json")):
            try:
                other = read(path)
            except ZooError:
                continue  # it is replaced, or refused by the report
            if (other.protocol, other.data["sha256"]) != (self.stated, self.sha256):
                raise OptionError(
                    f"{path}: a result of {'other clips' if other.protocol == self.stated else 'another protocol'}",
                    remedy="choose another benchmark name or folder, or --force to replace them",
                )

    def rows(self, candidate: Candidate) -> Rows:
        """The rows that an earlier run left, if they were made in the same way, and place for more."""
        stem = Path(results.file_name(candidate.model, candidate.tag, candidate.options)).stem
        return Rows(self.folder, stem, self._key(candidate.weights, candidate.options, self.machine, _versions()))

    def kept(self, candidate: Candidate) -> FilmResult | None:
        """The result that is there for these weights, options, clips and protocol, made by this very code."""
        path = self.folder / results.file_name(candidate.model, candidate.tag, candidate.options)
        if not path.is_file():
            return None
        try:
            result = read(path)
        except ZooError as error:
            _log.warning("%s; it is replaced", error)
            return None
        own = self._key(result.weights, result.options, result.machine, result.versions)
        wanted = self._key(candidate.weights, candidate.options, self.machine, _versions())
        same = (result.protocol, result.data["sha256"]) == (self.stated, self.sha256)
        if own != wanted or not same or result.label != candidate.label:
            return None
        if (credited := self.credits_of(result.names)) != result.data["credits"]:
            result = replace(result, data=result.data | {"credits": credited})
            write(result, self.folder)
        return result

    def _key(
        self, weights: dict[str, Any], options: dict[str, Any], machine: dict[str, Any], versions: dict[str, str]
    ) -> dict[str, Any]:
        """All that figures depend on."""
        return {
            "weights": weights.get("sha256"),
            "options": options,
            "protocol": self.stated,
            "clips": self.sha256,
            "arithmetic": [machine.get("device"), machine.get("bf16")],
            "code": [versions.get("colorzoo"), versions.get("zoo.video")],
        }


def _measure(
    benched: _Benchmark,
    contestants: Sequence[Candidate],
    rows: dict[str, Rows],
    progress: Callable[[Sequence[Path]], Iterable[Path]],
) -> tuple[dict[str, str], dict[str, str]]:
    """Fill ``rows``; the failures by label, and the clips left out, with their reasons."""
    failures: dict[str, str] = {}
    left_out: dict[str, str] = {}
    names = {path: name for name, path in benched.clips.items()}
    protocol = benched.protocol
    for path in progress(list(benched.clips.values())):
        name = names[path]
        missing = [c for c in contestants if c.label not in failures and name not in rows[c.label]]
        if not missing:
            continue
        failed: dict[str, str] = {}
        try:
            if not clips.has_color(path):
                raise VideoError("has no colours of its own", remedy="true colours are what is compared with")
            found = measure(clips.frames(path, protocol.size, protocol.frames), missing, failed)
            rate = clips.rate(path)
        except (ZooError, OSError, MemoryError) as error:
            left_out[name] = str(error or type(error).__name__).replace(str(path), name)
            continue
        failures |= {label: f"{name}: {reason}" for label, reason in failed.items()}
        for label, row in found.items():
            row["clip"] |= {"rate": round(rate, 3)}
            rows[label].add(name, row)
    return failures, left_out


def _gathered(rows: Rows, names: Sequence[str], data: dict[str, Any]) -> dict[str, Any]:
    """What the rows of a model come to, as `FilmResult` has it."""
    every = dict(zip(names, rows.read(names), strict=True))
    measured = every[names[0]]["ways"]
    columns = {
        way: {m: [row["ways"][way][m] for row in every.values()] for m in METRICS if m in measured[way]} for way in WAYS
    }
    differences = {name: row["cut_differences"] for name, row in every.items()}
    return {
        "data": data | {"clips": {name: row["clip"] | {"runs": row["runs"]} for name, row in every.items()}},
        "measured": figures(columns),
        "against": against(columns, differences),
        "per_clip": columns,
        "series": {name: row["series"] for name, row in every.items()},
        "cut_differences": differences,
    }


def _versions() -> dict[str, str]:
    return costs.versions(*_PACKAGES) | {"zoo.video": _film_code()}


@cache
def _film_code() -> str:
    """A hash of the code that colours films: with another one they come out differently."""
    folder = Path(zoo.video.__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in _FILM_CODE)).hexdigest()[:12]
