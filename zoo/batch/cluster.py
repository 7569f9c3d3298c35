"""The engine of many machines: Ray Data with a pool of actors that each hold the model. Needs the extra ``ray``."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from zoo.batch.folders import Folder
from zoo.batch.work import ColorizeBatch, Job, Outcome, Task, read_ahead
from zoo.errors import BatchError

Follow = Callable[[Outcome], Sequence[Task]]
Begin = Callable[[Sequence[Task]], None]

_READER = 0.25  # of a core, for each task that reads ahead
_ROUNDS = 2  # in which what Ray has lost is tried again
_ANSWERS = 10.0  # seconds in which a cluster has to
_TOLD = 1000  # outcomes after which the actor that keeps them may forget them
_MOST_TOGETHER = 16  # tasks that one actor gets at once, and loses when it dies


class Cluster:
    """Actors of a Ray cluster.

    Args:
        job: What this run is. Its places have to be the same for all machines.
        workers: How many actors; None is one for each core, or for each share of a GPU.
        address: Of the cluster; None starts one on this machine, unless this process is in one already.
        gpus: For each actor.

    Raises:
        BatchError: Ray is not installed, there is no such cluster, or it has no such GPUs.
    """

    def __init__(self, job: Job, workers: int | None, *, address: str | None = None, gpus: float = 0.0) -> None:
        self._job, self._workers, self._address, self._gpus = job, workers, address, gpus
        self._own = False
        self._levels: dict[str, int] = {}
        self._begun: Any = None

    def __enter__(self) -> "Cluster":
        ray = _ray()
        for name in ("ray", "ray.data"):  # it tells of every death; what is lost is told by the outcomes
            self._levels[name] = logging.getLogger(name).level
        if not ray.is_initialized():
            self._start(ray)
        try:
            self._workers, self._share = _shares(ray, self._workers, self._gpus)
        except BatchError:
            self._stop()
            raise
        self._begun = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Begun).remote()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def work(self, tasks: Iterable[Task], follow: Follow, begin: Begin) -> Iterator[Outcome]:
        """What becomes of ``tasks``, and of those that ``follow`` from an outcome.

        It goes in rounds: first films are split, then comes all else, and what follows from it in the next one.

        Raises:
            BatchError: Ray cannot go on.
        """
        waiting, lost = list(tasks), 0
        while waiting:
            now = [task for task in waiting if task.kind == "split"] or waiting
            waiting = [] if now is waiting else [task for task in waiting if task.kind != "split"]
            left = {_key(task): task for task in now}
            begin(now)
            for outcome in self._round(now):
                if left.pop(_key(outcome.task), None) is None:  # of a block that was made twice
                    continue
                waiting.extend(follow(outcome))
                yield outcome
            lost += bool(left)
            if lost <= _ROUNDS:
                waiting = [*left.values(), *waiting]
                continue
            for task in left.values():
                outcome = Outcome(task, "Ray has lost it again and again", tries=_ROUNDS)
                waiting.extend(follow(outcome))
                yield outcome

    def _round(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        import ray
        from ray.data import ActorPoolStrategy

        together = min(_MOST_TOGETHER, max(1, len(tasks) // (16 * (self._workers or 1))))
        rows = [{"task": task.to_json(), "data": b""} for task in tasks]
        data: Any = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // together))
        if not isinstance(self._job.src, Folder):
            data = data.map_batches(_read, batch_size=together, num_cpus=_READER, fn_kwargs={"job": self._job})
        data = data.map_batches(
            _Actor,
            batch_size=together,
            compute=ActorPoolStrategy(size=min(self._workers or 1, len(rows)), max_tasks_in_flight_per_actor=2),
            fn_constructor_args=(replace(self._job, threads=1), self._begun),
            num_cpus=self._share,
            num_gpus=self._gpus or None,
        )
        data.context.max_errored_blocks = -1  # what was lost is seen by what is missing
        data.context.enable_progress_bars = False
        data.context.print_on_execution_start = False
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        told: list[str] = []
        try:
            for row in data.iter_rows():
                outcome = Outcome.from_json(row["outcome"])
                told.append(repr(_key(outcome.task)))
                if len(told) >= _TOLD:
                    self._begun.forget.remote(told)
                    told = []
                yield outcome
        except KeyboardInterrupt:  # rows come when all of a block are done, and some time later
            with suppress(ray.exceptions.RayError):
                for text in ray.get(self._begun.ended.remote(), timeout=_ANSWERS):
                    yield Outcome.from_json(text)
            raise
        except ray.exceptions.RayError as error:
            raise BatchError(
                "Ray cannot go on",
                found=str(error).strip().splitlines()[-1],
                remedy="the same command goes on from here",
            ) from error

    def _start(self, ray: Any) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else it warns that this will change
        main = threading.current_thread() is threading.main_thread()
        before = signal.getsignal(signal.SIGTERM) if main else None
        options: dict[str, Any] = {"address": self._address or "local"}
        if self._address is None:
            options["include_dashboard"] = False
        try:
            _reach(os.environ.get("RAY_ADDRESS", "") if self._address == "auto" else self._address or "")
            ray.init(**options, log_to_driver=False, logging_level=logging.ERROR, configure_logging=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise BatchError(
                f"no Ray cluster at {self._address or 'this machine'}",
                found=str(error).splitlines()[0],
                remedy="`ray start --head` starts one; without an address, one is started for this run",
            ) from error
        if main and before is not None:
            signal.signal(signal.SIGTERM, before)  # which Ray has taken
        self._own = True

    def _stop(self) -> None:
        self._begun = None
        if self._own:
            import ray

            ray.shutdown()
            self._own = False
        for name, level in self._levels.items():
            logging.getLogger(name).setLevel(level)


class _Begun:
    """An actor that knows which items were begun and not ended: where they are begun again, their worker died.

    Ray Data gives a new actor the items of a dead one, without end; this is what ends it. Of those that have ended it
    keeps the outcomes until these have come to the driver.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._outcomes: dict[str, str] = {}

    def begin(self, key: str) -> int | str:
        """How often it was begun now; its outcome where it has one, and was in a block that was lost."""
        if key in self._outcomes:
            return self._outcomes[key]
        self._counts[key] = self._counts.get(key, 0) + 1
        return self._counts[key]

    def end(self, key: str, outcome: str) -> None:
        """It has an outcome."""
        self._counts.pop(key, None)
        self._outcomes[key] = outcome

    def ended(self) -> list[str]:
        """The outcomes that it keeps."""
        return list(self._outcomes.values())

    def forget(self, keys: Sequence[str]) -> None:
        """These have come to the driver."""
        for key in keys:
            self._outcomes.pop(key, None)


class _Actor(ColorizeBatch):
    """Holds the model in a cluster.

    Args:
        job: What this run is.
        begun: A handle of `_Begun`.
    """

    def __init__(self, job: Job, begun: Any) -> None:
        super().__init__(job)
        self._begun, self._deaths = begun, min(2, job.retries + 1)

    def do(self, task: Task, data: bytes | None = None) -> Outcome:
        import ray

        key = repr(_key(task))
        begun = ray.get(self._begun.begin.remote(key))
        if isinstance(begun, str):
            return Outcome.from_json(begun)
        if begun > self._deaths:
            outcome = Outcome(task, f"the worker that had it died {self._deaths} times", tries=self._deaths)
        else:
            outcome = super().do(task, data)
        self._begun.end.remote(key, outcome.to_json())
        return outcome


def _key(task: Task) -> tuple[str, str, int | None]:
    """An animated picture is the same item when it is found to be a film."""
    return ("" if task.kind in ("picture", "film") else task.kind, task.source, task.part)


def _read(batch: dict[str, Any], job: Job) -> dict[str, Any]:
    """Pictures of a store are read by other processes than those that colour them."""
    tasks = [Task.from_json(str(text)) for text in batch["task"]]
    return {"task": batch["task"], "data": [read_ahead(job, task) or b"" for task in tasks]}


def _reach(address: str) -> None:
    """Knock at ``host:port`` or ``ray://host:port``: where nobody is, Ray would go on knocking for many minutes.

    Raises:
        OSError: Nobody answers.
        ValueError: It has no such form.
    """
    parts = urlsplit(address if "://" in address else f"//{address}")
    if parts.hostname and parts.port:
        socket.create_connection((parts.hostname, parts.port), timeout=_ANSWERS).close()


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BatchError("Ray is not installed", found=error, remedy="pip install 'colorzoo[ray]'") from error
    return ray


def _shares(ray: Any, workers: int | None, gpus: float) -> tuple[int, float]:
    """How many actors, and what part of a core each one asks for, so that the readers have one left.

    Where actors took all cores, no task could start that gives them work, and the run would wait for ever.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cores = [float(node.get("CPU", 0)) for node in nodes]
    if sum(cores) < 1:
        raise BatchError("the Ray cluster has no CPU", found=f"{sum(cores):g} in {len(nodes)} machines")
    if gpus > 0:
        per_actor = max(1.0, gpus)
        fit = sum(int(node.get("GPU", 0) // per_actor * per_actor / gpus) for node in nodes)
        if not fit:
            raise BatchError(
                "the Ray cluster has no such GPU",
                found=", ".join(f"{node.get('GPU', 0):g}" for node in nodes),
                expected=f"a machine with {gpus:g}",
            )
        workers = min(workers or fit, fit)
    else:
        workers = workers or int(sum(cores))
    largest = max(cores)
    left = 1.0 if largest > 1 else 0.5
    # The largest machine keeps a core, however its share of the actors is packed.
    share = (largest - left) / max(largest, -(-workers * largest // sum(cores)))
    return workers, max(0.01, int(share * 100) / 100)
