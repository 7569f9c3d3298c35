"""What is to be done with an archive: its sources beside the manifest, and the manifest kept while work goes on."""

import csv
import io
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Protocol

from zoo import images
from zoo.batch import films, settings
from zoo.batch.folders import WORK, Entry, Folder, Place
from zoo.batch.manifest import Header, Manifest, Record
from zoo.batch.places import below
from zoo.batch.targets import Taken, check_sources_stay, may_write, result_names
from zoo.batch.work import Job, Outcome, Task
from zoo.errors import BatchError
from zoo.video import SUFFIXES

FAILURES = f"{WORK}/failures.tsv"
_RETOUCHED = "changed result"
_MOST_BUGS = 20  # in a row with nothing done: it is not the files that are wrong
_TOGETHER = 1000  # items that are noted as begun at once in a store, which cannot append


class Engine(Protocol):
    """Who does the work."""

    def __enter__(self) -> "Engine": ...

    def __exit__(self, *args: Any) -> None: ...

    def work(
        self,
        tasks: Iterable[Task],
        follow: Callable[[Outcome], Sequence[Task]],
        begin: Callable[[Sequence[Task]], None],
    ) -> Iterator[Outcome]:
        """What becomes of ``tasks``, and of those that ``follow`` from an outcome; ``begin`` is told before they do."""


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        done: Items that are done, in this run.
        failed: Items that failed.
        total: Items there are to do in this run; a film that is split becomes several.
        rate: Items a second, since the first was done.
    """

    done: int
    failed: int
    total: int
    rate: float

    @property
    def left(self) -> float | None:
        """Seconds that it will still take; None where nothing is known yet."""
        return None if self.rate <= 0 else (self.total - self.done - self.failed) / self.rate


@dataclass
class Summary:
    """What a run has done, or a dry run would have.

    Attributes:
        done: Items that were coloured; in a dry run those that would be.
        kept: Items that an earlier run had done.
        retouched: Those of them whose results somebody has changed since, by their size; they are left so.
        failed: Records of those that failed, with their errors.
        reasons: How many are to do, by why: new, changed, failed before and so on.
        seconds: It took.
        failures: Where all failures are listed, if there are any.
    """

    done: int = 0
    kept: int = 0
    retouched: int = 0
    failed: list[Record] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    failures: str | None = None


def list_sources(src: Place, dst: Place, only: str | None) -> list[Entry]:
    """The pictures and films of a place.

    Raises:
        BatchError: The results would lie among what they are made of, or there is nothing of the wanted kind.
        ImageError: No pictures in a folder.
        VideoError: There are films, and nothing can read them.
    """
    if below(src, dst) is not None and not getattr(src, "only", None):
        raise BatchError(
            f"{dst.text}: the sources lie in it", found=src.text, remedy="choose another place for the results"
        )
    suffixes = {
        None: images.READABLE_SUFFIXES | SUFFIXES,
        "pictures": images.READABLE_SUFFIXES,
        "films": SUFFIXES,
    }[only]
    found = list(src.entries(suffixes, skip=dst))
    if not found:
        raise BatchError(
            f"{src.text}: nothing to colour in it", expected=f"files ending in {', '.join(sorted(suffixes))}"
        )
    if any(films.is_film(entry.name) for entry in found):
        films.check_extra()
    return found


class Archive:
    """Items and what is known of them. A context in which outcomes are noted.

    Args:
        job: Sources, results, settings.
        entries: The sources.
        header: Of this run.
        manifest: Of the place of the results.
        force: Whether to do again what was done with other settings, and to replace what no run has left so.
        only: What of the sources the entries are, as for `list_sources`.

    Attributes:
        tasks: What is to be done first; more follows from it.
        summary: Grows with the outcomes.

    Raises:
        BatchError: Results were made with other settings or from other sources, or would replace files that no run
            has made, or that were changed since.
    """

    def __init__(
        self, job: Job, entries: Sequence[Entry], header: Header, manifest: Manifest, force: bool, only: str | None
    ) -> None:
        self._job, self._header, self._manifest, self._only = job, header, manifest, only
        self._sources = {entry.name for entry in entries}
        self._all = not getattr(job.src, "only", None) and not any(entry.problem for entry in entries)
        self.summary = Summary()
        self.tasks: list[Task] = []
        self._problems: list[Record] = []
        self._left: dict[str, set[int]] = {}  # segments of films that are under way
        names = result_names([entry.name for entry in entries])
        check_sources_stay(job.src, job.dst, entries, names)
        if not force:
            self._check_source()
        self._taken = Taken(job.dst, manifest)
        others: list[str] = []
        for entry, result in zip(entries, names, strict=True):
            reason = self._reason(entry)
            retouched = reason == _RETOUCHED and not force
            if reason is None or retouched:
                self.summary.kept += 1
                self.summary.retouched += retouched
                continue
            self.summary.reasons[reason] = self.summary.reasons.get(reason, 0) + 1
            if reason == "other settings":
                others.append(entry.name)
            self._plan(entry, result)
        if not force:
            self._taken.check()
            if others:
                raise self._other_settings(others)
        self._ahead = (task.source for task in self.tasks if self._to_begin(task))
        self.summary.done = len(self.tasks)

    def __enter__(self) -> "Archive":
        self._manifest.begin(self._header)
        if self._all and self._only != "pictures":
            self._job.dst.retain(films.FOLDER, {task.folder for task in self.tasks})
        self.summary.done = 0
        for record in self._problems:
            self._manifest.add(record)
            self.summary.failed.append(record)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with suppress(OSError) if kind is not None else nullcontext():  # what ended the run is told, as of a full disk
            if isinstance(self._job.dst, Folder):  # a store would have to be asked for each
                self._stop()
            self._manifest.close()
            self._list_failures()

    def work(self, engine: Engine, progress: Callable[[Progress], None] | None) -> None:
        """Do what is to be done.

        Raises:
            BatchError: It cannot go on.
        """
        total, done, failed, bugs = len(self.tasks), 0, 0, 0
        began: float | None = None

        def follow(outcome: Outcome) -> Sequence[Task]:
            nonlocal total
            more = self._note(outcome)
            total += len(more)
            return more

        for outcome in engine.work(self.tasks, follow, self._begin):
            if outcome.error is None:
                done += 1
            else:
                failed += 1
                bugs += outcome.bug
            if bugs >= _MOST_BUGS and not done:
                raise BatchError(
                    f"model {self._job.settings.model!r} fails",
                    found=outcome.error,
                    remedy=f"`colorzoo check {self._job.settings.model}` says where",
                )
            if progress is not None:
                spent = 0.0 if began is None else time.monotonic() - began
                progress(Progress(done, failed, total, (done + failed - 1) / spent if spent > 0 else 0.0))
            began = time.monotonic() if began is None else began

    def _reason(self, entry: Entry) -> str | None:
        """Why an item is to be done; None where it need not be."""
        record = self._manifest.of(entry.name)
        if record is None:
            return "new"
        if (record.size, record.stamp) != (entry.size, entry.stamp):
            return "changed source"
        if record.status == "failed":
            return "failed before"
        if record.settings != self._header.settings:
            return "other settings"
        if record.status == "planned":
            return "begun"
        found = None if record.result is None else self._taken.sizes.get(record.result)
        if not found:
            return "result not there"
        return None if found == record.result_size else _RETOUCHED

    def _plan(self, entry: Entry, result: str | None) -> None:
        problem = entry.problem
        if result is None:
            problem = problem or f"{entry.name}: another file's result would have its name; rename one of them"
        if result is None or problem is not None:
            record = Record(
                entry.name, "failed", entry.size, entry.stamp, self._header.settings, error=problem, tries=0
            )
            self._problems.append(replace(record, **self._standing(entry.name)))
            return
        self._taken.look(entry, result)
        task = Task("picture", entry.name, result, entry.size, entry.stamp)
        if films.is_film(entry.name) or films.may_be_animated(entry.name):
            folder = films.folder_of(entry.name, entry.size, entry.stamp, self._header.settings)
            task = replace(task, folder=folder)
        self.tasks += self._of_film(replace(task, kind="split")) if films.is_film(entry.name) else [task]

    def _of_film(self, task: Task) -> Sequence[Task]:
        """Where to go on with a film."""
        planned = self._manifest.of(task.source)
        if planned is not None and planned.status == "planned" and self._is_of(planned, task):
            found = films.segments_of(planned.detail)
            if found is not None:  # else it is split anew, which gives the same
                return self._segments(task, found)
        return [task if self._job.longest > 0 else replace(task, kind="film")]

    def _segments(self, task: Task, found: Sequence[dict[str, Any]]) -> Sequence[Task]:
        """The segments of a film that are not there yet, or to join them."""
        if not found:
            return [replace(task, kind="film")]
        whole = replace(task, kind="join", segments=tuple(found))
        self._left[task.source] = set()
        more = []
        for number, segment in enumerate(found):
            record = self._manifest.records.get((task.source, number))
            name = task.part_name(number)
            there = record is not None and record.status == "done" and self._is_of(record, task)
            if not (there and record is not None and self._job.dst.size(name) == record.result_size):
                self._left[task.source].add(number)
                more.append(replace(task, kind="segment", part=number, segments=(segment,)))
        return more or [whole]

    def _is_of(self, record: Record, task: Task) -> bool:
        return record.of == (task.size, task.stamp, self._header.settings)

    def _is_gone(self, name: str) -> bool:
        """Whether there is no such source any more, as far as this run has looked."""
        seen = self._all and (self._only is None or films.is_film(name) == (self._only == "films"))
        return seen and name not in self._sources

    def _to_begin(self, task: Task) -> bool:
        """By force, what others have made is replaced: that a run began it must not make it this run's own."""
        return task.source not in self._manifest.begun and task.source not in self._taken.sources

    def _begin(self, tasks: Sequence[Task]) -> None:
        """Note what may stand in the place of the results without a record, should this run be killed."""
        found = [task.source for task in tasks if self._to_begin(task)]
        if found:
            more = 0 if isinstance(self._job.dst, Folder) else _TOGETHER
            self._manifest.start(list(dict.fromkeys([*found, *islice(self._ahead, more)])))

    def _stop(self) -> None:
        """What was begun and does not stand there when no worker is left was not: others may put theirs there."""
        size, begun = self._job.dst.size, [task for task in self.tasks if task.source in self._manifest.begun]
        missing = [t.source for t in begun if all(size(n) is None for n in may_write(t.source, t.result))]
        if missing:
            self._manifest.stop(missing)

    def _standing(self, source: str, name: str | None = None) -> dict[str, Any]:
        """What a record that an item is not done says of the result that an earlier run, or this one, left there."""
        with suppress(OSError):
            size = None if name is None or source in self._taken.sources else self._job.dst.size(name)
            if size is not None:
                return {"result": name, "result_size": size}
        earlier = self._manifest.of(source)
        return {} if earlier is None else {"result": earlier.result, "result_size": earlier.result_size}

    def _note(self, outcome: Outcome) -> Sequence[Task]:
        """Put down what has become of a task; what follows from it."""
        task = outcome.task
        if outcome.ends:
            raise BatchError(
                f"{task.source}: cannot be coloured, and the others could not either",
                found=outcome.error,
                remedy="the same command goes on from here",
            )
        record = Record(
            task.source,
            "done" if outcome.error is None else "failed",
            task.size,
            task.stamp,
            self._header.settings,
            part=task.part,
            result=task.part_name(task.part) if task.part is not None else task.result,
            result_size=outcome.size,
            sha256=outcome.sha256,
            seconds=outcome.seconds,
            tries=outcome.tries,
            error=outcome.error,
        )
        if outcome.error is not None:
            left = self._standing(task.source, task.result) if task.part is None else {"result": None}
            self._manifest.add(replace(record, **left))
            self.summary.failed.append(record)
            return []
        if task.kind == "split":
            found = list(outcome.segments)
            record = replace(record, status="planned", result=None, detail={"segments": found})
            self._manifest.add(replace(record, **self._standing(task.source)))
            return self._segments(task, found)
        if task.kind == "segment":
            self._manifest.add(record)
            under_way = self._left[task.source]
            under_way.discard(task.part or 0)
            planned = self._manifest.of(task.source)
            if under_way or planned is None:
                return []
            return [replace(task, kind="join", part=None, segments=tuple((planned.detail or {})["segments"]))]
        self._manifest.add(record)
        self.summary.done += 1
        return []

    def _check_source(self) -> None:
        last = list(self._manifest.headers.values())[-1:]
        if last and last[0].source != self._job.src.text:
            raise BatchError(
                f"{self._job.dst.text}: holds results of other sources",
                found=self._job.src.text,
                expected=last[0].source,
                remedy="choose another place; or by force, if these are the same files under a new name",
            )

    def _other_settings(self, names: list[str]) -> BatchError:
        record = self._manifest.of(names[0])
        header = None if record is None else self._manifest.headers.get(record.settings)
        found = None if header is None else settings.differences(self._header.described, header.described)
        return BatchError(
            f"{self._job.dst.text}: {len(names)} results in it were made with other settings",
            found=None if found is None else ", ".join(found),
            remedy="choose another place, or do them again by force",
        )

    def _is_over(self, record: Record) -> bool:
        """Whether it tells of a segment of a film that has changed since."""
        whole = self._manifest.of(record.source)
        return record.part is not None and whole is not None and whole.of != record.of

    def _list_failures(self) -> None:
        """All that have failed and are not done since, in this run or an earlier one."""
        failed = [
            record
            for record in self._manifest.records.values()
            if record.status == "failed" and not self._is_gone(record.source) and not self._is_over(record)
        ]
        dst = self._job.dst
        if not failed:
            dst.remove(FAILURES)
            return
        text = io.StringIO()
        table = csv.writer(text, "excel-tab")
        table.writerow(["source", "segment", "tries", "error"])
        for record in failed:
            table.writerow([record.source, "" if record.part is None else record.part, record.tries, record.error])
        dst.write(FAILURES, text.getvalue().encode("utf-8", "backslashreplace"))
        self.summary.failures = dst.address(FAILURES)
