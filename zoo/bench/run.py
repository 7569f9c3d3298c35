"""One run: all that is measured of each model, in an order in which what is needed later comes first."""

import datetime
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image

from zoo import loading
from zoo.backends import BOUND, key_of, photos
from zoo.bench import children, limits, processes, subjects, ways
from zoo.bench.children import Child
from zoo.bench.settings import SIZES, Settings, cores, unique
from zoo.bench.timing import Times, rounds, said, seconds_of, torch_threads
from zoo.bench.ways import Found, Way
from zoo.colorizer import Colorizer
from zoo.errors import ZooError
from zoo.evaluation import cost
from zoo.evaluation.speed import results
from zoo.evaluation.speed.results import Row, Speed
from zoo.evaluation.speed.targets import PEER_SIZE

_PACKAGES = ("colorzoo", "torch", "timm", "numpy", "pillow", "onnxruntime", "openvino", "av")
_STAGE_RUNS = 3
_FILM_ROUNDS = 3
_SMALL = "512 px"  # of the picture in memory that the plain forward pass is the limit of

Models = dict[Way, Child]
Jobs = list[tuple[Row, Callable[[], float]]]


class Bench:
    """Measures models; what was measured so far is there at any time.

    Args:
        names: Of the models, as for `zoo.load`.
        settings: What is measured.
        progress: Told what is being measured.

    Raises:
        ZooError: A model that is not known, or whose weights are not here; pictures or a film that cannot be read.
    """

    def __init__(
        self, names: Sequence[str], settings: Settings, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        every = torch.get_num_threads()
        self._settings = settings if settings.threads else replace(settings, threads=unique_numbers(1, every))
        self._progress = progress
        self._machine = cost.machine() | {"cores": cores()}
        self._rows: list[Row] = []
        self._models: dict[str, dict[str, Any]] = {}
        self._keys: dict[str, str] = {}
        self._started = time.monotonic()
        self._pictures = subjects.true_pictures(settings.pictures, settings.most_pictures)
        if settings.video is not None:
            subjects.check_film(settings.video)
        for name in unique(names):
            loading.describe(name)  # the imports that this brings are not the model's own time
            start = time.perf_counter()
            model = loading.load(name, backend="torch")
            times = (round(time.perf_counter() - start, 6),)
            self._rows.append(Row(kind=results.LOAD, model=name, times=times))
            self._models[name], self._keys[name] = _about(model), key_of(model)

    def run(self) -> Speed:
        """Measure all; an interrupt by Ctrl-C ends it, with what there is by then."""
        try:
            with TemporaryDirectory() as folder:
                for name in self._models:
                    _OfModel(self, name, Path(folder)).all()
                self._start_up()
        except KeyboardInterrupt:
            return self.so_far(complete=False)
        return self.so_far(complete=True)

    def so_far(self, *, complete: bool) -> Speed:
        """What was measured, whether it is all or not."""
        s = self._settings
        told = {
            "sizes": {name: list(SIZES[name]) for name in s.sizes},
            "threads": list(s.threads),
            "repeats": s.repeats,
            "least": s.least,
            "seconds": s.seconds,
            "photo": list(s.photo),
            "film": s.video.name if s.video else f"{s.frame[0]} x {s.frame[1]}, {s.frames} frames",
            "fidelity": f"{len(self._pictures)} photos of {s.pictures.name}"
            if s.pictures
            else f"{len(self._pictures)} photos packaged with scikit-image ({', '.join(photos.JUDGED)})",
            "limit": BOUND,
        }
        run = {
            "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            "seconds": round(time.monotonic() - self._started, 1),
        }
        return Speed(
            complete=complete,
            settings=told,
            models=self._models,
            rows=tuple(self._rows),
            versions=cost.versions(*_PACKAGES),
            machine=self._machine,
            run=run,
        )

    def _start_up(self) -> None:
        self._progress("import zoo and colorzoo --help, in fresh processes")
        for subject, times in processes.start_times(self._settings.starts).items():
            self._rows.append(_timed(Row(kind=results.START, subject=subject), times))


class _OfModel:
    """What is measured of one model."""

    def __init__(self, bench: Bench, name: str, folder: Path) -> None:
        self.name, self.key, self.folder = name, bench._keys[name], folder
        self.settings, self.rows = bench._settings, bench._rows
        self.about, self.pictures = bench._models[name], bench._pictures
        self.size = str(loading.describe(name).working_size)
        self._tell = bench._progress

    def all(self) -> None:
        every = max(self.settings.threads)
        self._fidelity(every)
        if not self._ways:  # each is a row that says why
            return
        for threads in sorted(self.settings.threads, reverse=True):  # all of them first: by these a way is chosen
            with torch_threads(threads), self._prepared(threads) as models:
                self._forward(models, threads)
                if not self._choose(models, threads) and threads == every:
                    return
                self._files(models, threads)
                if threads == every:
                    self._stages(models, threads)
                    self._film(models, threads)
        self._memory()
        self._folder()

    @property
    def chosen(self) -> Way:
        return Way(self.about["backend"], self.about["dtype"])

    def _row(self, kind: str, way: Way | None = None, **more: Any) -> Row:
        backend, dtype = way or ("", "")
        return Row(kind=kind, model=self.name, backend=backend, dtype=dtype, **more)

    def _say(self, what: str) -> None:
        self._tell(f"{self.name}: {what}")

    @contextmanager
    def _failing_as(self, row: Row) -> Iterator[None]:
        """What goes wrong within becomes a row; the rest goes on."""
        try:
            yield
        except Exception as error:  # of whatever kind a backend's or codec's is
            self.rows.append(replace(row, error=said(error)))

    def _fidelity(self, threads: int) -> None:
        found, missing = ways.of(self.name)
        self.about["passed_over"] = dict(missing)
        self._ways: list[Way] = []
        reference: ways.Answers = []
        for way in found:
            self._say(f"CIEDE2000 of {way} against torch float32, {len(self.pictures)} photos")
            row = self._row(results.FIDELITY, way, threads=threads)
            with torch_threads(threads), self._failing_as(row):
                reference = reference or ways.answers(self.name, ways.REFERENCE, self.pictures)
                error = ways.error_of(self.name, way, self.pictures, reference)
                if not math.isfinite(error):
                    raise ZooError("its pictures are no pictures", found=f"CIEDE2000 {error}")
                self.rows.append(replace(row, value=round(error, 4), parts={"pictures": len(self.pictures)}))
                self._ways.append(way)

    @contextmanager
    def _prepared(self, threads: int) -> Iterator[Models]:
        """The model in each way, each in a process of its own; one that fails is a row."""
        self._say(f"starting a process for each of {len(self._ways)} ways, threads: {threads}")
        with ExitStack() as stack:
            started = {way: stack.enter_context(children.Child(self.name, way, threads)) for way in self._ways}
            yield {
                way: child
                for way, child in started.items()
                if self._is_ready(child, self._row(results.FORWARD, way, size=self.size, threads=threads))
            }

    def _is_ready(self, child: Child, row: Row) -> bool:
        """Whether its network is loaded; if not, a row says why."""
        try:
            child.ready()
        except Exception as error:  # of whatever kind a backend's is
            self.rows.append(replace(row, error=said(error)))
            return False
        return True

    def _forward(self, models: Models, threads: int) -> None:
        for size in unique((self.size, PEER_SIZE)):
            self._say(f"forward pass at {size}, threads: {threads}")
            with ExitStack() as stack:
                jobs: Jobs = []
                for way, child in models.items():
                    row = self._row(results.FORWARD, way, threads=threads, size=size)
                    jobs.append((row, partial(child.seconds, "forward", int(size))))
                    if size == self.size:
                        row = self._row(results.PICTURE, way, threads=threads, size=_SMALL)
                        jobs.append((row, partial(child.seconds, "picture", *SIZES[_SMALL])))
                for peer in limits.PEERS if size == PEER_SIZE else ():
                    way = ways.of_peer()
                    row = self._row(results.FORWARD, way, subject=peer, threads=threads, size=size)
                    child = stack.enter_context(children.Child(peer, way, threads, peer=True))
                    if self._is_ready(child, row):
                        jobs.append((row, partial(child.seconds, "forward", int(size))))
                self._time(jobs)

    def _choose(self, models: Models, threads: int) -> bool:
        """Find the way that ``auto`` is to use with so many threads; False where none works."""
        errors = {Way(row.backend, row.dtype): row.value for row in self._own(results.FIDELITY)}
        times = {
            Way(row.backend, row.dtype): row.median
            for row in self._own(results.FORWARD)
            if not row.subject and row.size == self.size and row.threads == threads
        }
        measured = {
            way: Found(seconds, error)
            for way in models
            if (seconds := times.get(way)) is not None and (error := errors.get(way)) is not None
        }
        chosen, why = ways.choose(self.key, measured)
        if chosen is None:
            return False
        if threads == max(self.settings.threads):
            self.about |= {"backend": chosen.backend, "dtype": chosen.dtype}
            self.about["passed_over"] |= self._failed() | why
        if self.settings.remember:
            with self._failing_as(self._row(results.FIDELITY, threads=threads)):
                ways.remember(ways.prepared(self.name, ways.REFERENCE), measured)
        return True

    def _failed(self) -> dict[str, str]:
        """Why ways were not measured."""
        own = (row for row in self.rows if row.model == self.name and row.error and row.backend and not row.subject)
        return {row.candidate: f"failed: {row.error}" for row in own}

    def _files(self, models: Models, threads: int) -> None:
        for size in self.settings.sizes:
            pixels = SIZES[size][0] * SIZES[size][1]
            ways_here = [way for way in models if way == self.chosen or pixels < self.settings.alone]
            self._say(f"{size} JPEG, file to file, threads: {threads}")
            row = self._row(results.FILE, size=size, threads=threads)
            jobs: Jobs = []
            with self._failing_as(row):
                source, target = self._source(size), self.folder / "color.jpg"
                jobs = [
                    (
                        replace(row, backend=way.backend, dtype=way.dtype),
                        partial(models[way].seconds, "file", source, target),
                    )
                    for way in ways_here
                ]
                row = replace(row, subject=results.PILLOW)
                with self._failing_as(row):
                    models[self.chosen].seconds("file", source, target)
                    with Image.open(target) as made:
                        colored = Image.fromarray(np.asarray(made))
                    jobs.append((row, partial(seconds_of, limits.pillow(source, target, colored))))
            self._time(jobs)

    def _stages(self, models: Models, threads: int) -> None:
        for size in self.settings.sizes:
            self._say(f"stages of a {size} JPEG")
            row = self._row(results.STAGES, self.chosen, size=size, threads=threads)
            with self._failing_as(row):
                parts = models[self.chosen].stages(self._source(size), self.folder / "color.jpg", _STAGE_RUNS)
                self.rows.append(replace(row, parts={k: round(v, 6) for k, v in parts.items()}))

    def _film(self, models: Models, threads: int) -> None:
        row = self._row(results.FILM, self.chosen, threads=threads)
        with self._failing_as(row):
            film = self.settings.video
            if film is None:
                self._say("making a film")
                film = self._made("clip.mp4", subjects.clip, self.settings.frames, self.settings.frame)
            self._say("film, and a plain transcode of it")
            target = self.folder / "film.mp4"
            frames = limits.transcode(film, target)
            plain = self._row(results.FILM, subject=results.TRANSCODE, threads=threads, parts={"frames": frames})
            jobs: Jobs = [
                (replace(row, parts={"frames": frames}), partial(models[self.chosen].seconds, "film", film, target)),
                (plain, partial(seconds_of, partial(limits.transcode, film, target))),
            ]
            self._time(jobs, repeats=min(_FILM_ROUNDS, self.settings.repeats), least=1)

    def _memory(self) -> None:
        if not self.settings.sizes:
            return
        largest = max(self.settings.sizes, key=lambda size: SIZES[size][0] * SIZES[size][1])
        pairs = [(largest, self.chosen)]
        if self.settings.memory_of_all:
            pairs = [(size, self.chosen) for size in self.settings.sizes]
            pairs += [(largest, way) for way in self._ways if way != self.chosen]
        for size, way in pairs:
            self._say(f"peak memory of a {size} JPEG, {way}")
            row = self._row(results.MEMORY, way, size=size)
            with self._failing_as(row):
                source, target = self._source(size), self.folder / "color.jpg"
                peak = cost.peak_memory(self.name, source, target, backend=way.backend, dtype=way.dtype)
                self.rows.append(replace(row, value=peak))

    def _folder(self) -> None:
        if not self.settings.photos:
            return
        row = self._row(results.FOLDER, size="1 MP")  # each worker asks `auto`, with its own number of threads
        with self._failing_as(row), TemporaryDirectory(dir=self.folder) as work:
            self._say(f"a folder of {self.settings.photos} photos of 1 MP")
            photos = subjects.folder_of_photos(Path(work) / "photos", self.settings.photos, self.settings.photo)
            self.rows.append(replace(row, parts=processes.folder(photos, Path(work) / "colored", self.name)))

    def _time(self, jobs: Jobs, **limits_of_rounds: Any) -> None:
        s = self.settings
        options = {"repeats": s.repeats, "least": min(s.least, s.repeats), "seconds": s.seconds} | limits_of_rounds
        found: dict[int, Times] = {}
        try:
            rounds(dict(enumerate(job for _, job in jobs)), found=found, **options)
        finally:  # Ctrl-C loses nothing
            timed = (_timed(row, found[n]) for n, (row, _) in enumerate(jobs))
            self.rows += [row for row in timed if row.times or row.error]

    def _own(self, kind: str) -> Iterable[Row]:
        return (row for row in self.rows if row.kind == kind and row.model == self.name)

    def _source(self, size: str) -> Path:
        return self._made(f"{size.replace(' ', '')}.jpg", subjects.grey_jpeg, SIZES[size])

    def _made(self, name: str, make: Callable[..., Path], *about: Any) -> Path:
        """The file of this name, made if it is not there; on a full disk none is left half."""
        path = self.folder / name
        if not path.exists():
            part = path.with_name(f"part-{name}")
            try:
                make(part, *about).replace(path)
            finally:
                part.unlink(missing_ok=True)
        return path


def _about(model: Colorizer[Any]) -> dict[str, Any]:
    weights = model.weights
    about: dict[str, Any] = {"parameters": sum(p.numel() for p in model.parameters())}
    return about | ({"weights": {"tag": weights.tag, "sha256": weights.sha256}} if weights else {"weights": {}})


def _timed(row: Row, times: Times) -> Row:
    return replace(row, times=tuple(times.seconds), error=times.error)


def unique_numbers(*numbers: int) -> tuple[int, ...]:
    """The numbers, rising, none twice."""
    return tuple(sorted(set(numbers)))
