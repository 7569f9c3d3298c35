"""An archive from one place to another, on one machine or many: what is done is known, and a later run goes on."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Literal

import zoo
from zoo.batch import films, leases, places, settings
from zoo.batch.archive import Archive, Engine, Progress, Summary, list_sources
from zoo.batch.folders import Entry
from zoo.batch.local import Here, Local, default_workers
from zoo.batch.manifest import Header, Manifest
from zoo.batch.settings import Settings
from zoo.batch.work import Job
from zoo.errors import BatchError, OptionError

__all__ = ["Progress", "Summary", "run"]

ENGINES = ("local", "ray")
ONLY = ("pictures", "films")


def run(
    src: str,
    dst: str,
    *,
    model: str = "fusion",
    engine: Literal["local", "ray"] = "local",
    workers: int | None = None,
    address: str | None = None,
    gpus: float = 0.0,
    device: str = "cpu",
    backend: str = "auto",
    dtype: str = "auto",
    style: str | None = None,
    saturation: float = 1.0,
    temperature: float | None = None,
    working_size: int | None = None,
    seed: int | None = None,
    views: int = 1,
    quality: int = 95,
    keyframe_interval: int | None = None,
    crf: int = 18,
    preset: str = "medium",
    segment: float = 60.0,
    only: Literal["pictures", "films"] | None = None,
    retries: int = 2,
    force: bool = False,
    dry_run: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Colour the pictures and films of ``src`` into ``dst``, as far as that is not done yet.

    Names are kept; where a format cannot be written, ``.png`` or ``.mkv`` is put behind. What was done is noted in
    ``dst/.colorzoo``, so that a run which ended, however it did, goes on when it is started again. An item is done
    again where its source has changed, or its result is not there any more. Items that failed are listed in
    ``dst/.colorzoo/failures.tsv``, and are tried again by the next run. Files in ``dst`` that no run has made, and
    results that were changed since (they have another size), are not replaced: such a run is refused before it begins.

    Worker processes are started anew rather than forked: a script that calls this must be one that can be imported
    (``if __name__ == "__main__":``).

    Args:
        src: A folder, a file, or a URL that fsspec knows; never written.
        dst: A folder or a URL.
        model: As for `zoo.load`.
        engine: ``local`` for processes on this machine, ``ray`` for a Ray cluster.
        workers: How many hold the model; None is one for each core. 0, of ``local`` alone, works in this process.
        address: Of the cluster, ``auto`` for the one this machine belongs to; None starts one here.
        gpus: Of ``ray``: GPUs for each worker; several may share one, as by 0.25. More than 0 makes ``device`` cuda.
        device: Where the model runs.
        backend: As of `zoo.load`. What ``auto`` is, the first run settles, by this machine, and later ones take what
            it took; where that is a cluster it is torch, since its machines were not all measured.
        dtype: As of `zoo.load`; ``auto`` likewise.
        style: As of `Colorizer.colorize`, like the next five.
        saturation: Factor on the colours' strength.
        temperature: Sharpness of the choice between colours.
        working_size: Side at which the network sees pictures.
        seed: Of another colouring.
        views: Whose answers are averaged.
        quality: Of JPEG, WebP and AVIF.
        keyframe_interval: As of `zoo.colorize_video`, like the next two.
        crf: Quality of the films' encoder.
        preset: Its speed.
        segment: Seconds above which a film is split at its cuts, so that several workers colour it; 0 never splits.
        only: Leave out the films, or the pictures.
        retries: How often what may pass is tried again: a file or store that does not answer, a worker that was killed
            (once at most).
        force: Do again what was done with other settings, and replace files in ``dst`` that no run has made, or that
            were changed since.
        dry_run: Only say what would be done; nothing is written.
        progress: Called after every item; an exception that it raises ends the run and comes out of here.

    Returns:
        What was done, and what failed.

    Raises:
        BatchError: There is nothing to do it with or to, another run is at work in ``dst``, files there would be
            replaced, or it cannot go on.
        OptionError: An option out of its range, or one that the model does not have.
        UnknownModelError: No such model.
        WeightsError: No weights for it.
        ImageError: ``src`` is a folder without pictures.
        VideoError: There are films, and the extra ``video`` is missing.
    """
    options = {
        "style": style,
        "saturation": None if saturation == 1.0 else saturation,
        "temperature": temperature,
        "working_size": working_size,
        "seed": seed,
        "views": None if views == 1 else views,
    }
    chosen = Settings(
        model=settings.pinned(model),
        device="cuda" if gpus > 0 and device == "cpu" else device,
        loading={"backend": backend, "dtype": dtype},
        options={key: value for key, value in options.items() if value is not None},
        quality=quality,
        keyframe_interval=keyframe_interval,
        crf=crf,
        preset=preset,
    )
    _check(engine, workers, address, gpus, retries, only, segment)
    began = time.perf_counter()
    job = Job(places.source(src), places.place(dst), chosen, retries, segment, None if workers == 0 else 1)
    _check_seen(job, workers)
    entries = list_sources(job.src, job.dst, only)
    chosen.check(films=any(films.is_film(entry.name) for entry in entries))
    if dry_run:
        return _archive(job, entries, force, engine, only)[1].summary
    with leases.held(job.dst):
        job, archive = _archive(job, entries, force, engine, only)
        with archive:
            if archive.tasks:
                with _engine(engine, job, workers, address, gpus, len(archive.tasks)) as doing:
                    archive.work(doing, progress)
    archive.summary.seconds = time.perf_counter() - began
    return archive.summary


def _archive(job: Job, entries: Sequence[Entry], force: bool, engine: str, only: str | None) -> tuple[Job, Archive]:
    """The job as the manifest settles what was left open, and what is known of its items."""
    manifest = Manifest(job.dst)
    earlier = (header.described for header in manifest.headers.values())
    job = replace(job, settings=job.settings.resolved(earlier, job.threads, cluster=engine == "ray"))
    described = job.settings.described()
    header = Header(settings.digest(described), described, job.src.text, zoo.__version__)
    return job, Archive(job, entries, header, manifest, force, only)


def _check(
    engine: str, workers: int | None, address: str | None, gpus: float, retries: int, only: str | None, segment: float
) -> None:
    for name, value, known in (("engine", engine, ENGINES), ("only", only, (None, *ONLY))):
        if value not in known:
            raise OptionError(f"unknown {name}", found=value, expected=" or ".join(str(k) for k in known if k))
    least = 0 if engine == "local" else 1
    if workers is not None and workers < least:
        raise OptionError("bad number of workers", found=workers, expected=f"at least {least}")
    if engine == "local" and (address is not None or gpus):
        raise OptionError("address and gpus are of the engine ray", remedy="engine='ray', or leave them out")
    if retries < 0 or not segment >= 0 or not gpus >= 0:
        raise OptionError("retries, segment and gpus are not below 0", found=f"{retries}, {segment} and {gpus}")


def _check_seen(job: Job, workers: int | None) -> None:
    """Refuse what other processes do not see: they would say that all is done, and it would be gone."""
    for place in (job.src, job.dst):
        if workers != 0 and place.text.startswith("memory://"):
            raise BatchError(
                f"{place.text}: is seen by this process alone", remedy="workers=0, or a place that all workers see"
            )


def _engine(
    name: str, job: Job, workers: int | None, address: str | None, gpus: float, tasks: int
) -> "Engine | AbstractContextManager[Engine]":
    if name == "ray":
        from zoo.batch.cluster import Cluster

        return Cluster(job, workers, address=address, gpus=gpus)
    if workers == 0:
        return Here(job)
    return Local(job, workers or default_workers(job.settings.device))
