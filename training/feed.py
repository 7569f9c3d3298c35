"""What a run is fed with, whatever its source: the steps' crops, held-out photos, a sample of colours, a record."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from training import data, streams
from training.config import RunConfig
from training.data import Read
from training.photos import Photo, centre_crops, find_photos
from training.processes import ignore_interrupt
from zoo.errors import ConfigError

State = dict[int, tuple[int, ...]]


class Feed(Protocol):
    """What the trainer asks of a source of photos."""

    digest: str  # the same for the same photos
    valid: list[Tensor]  # held-out photos, Lab (3, H, W)

    def steps(self, start: int) -> Iterator[list[Read]]:
        """This process's crops of every step from ``start`` on, in ``train.accumulate`` parts of equal size."""

    def some(self, count: int, start: int) -> Iterator[Read]:
        """Whole batches, ``count`` of them, unmixed, to take statistics from, about those of step ``start``."""

    def colors(self, count: int) -> Tensor:
        """Colours of ``count`` crops, (M, 2) in Lab units."""

    def record(self) -> dict[str, Any]:
        """What run.json says of the photos."""

    @property
    def state(self) -> State:
        """What this process has used up to the last step, for a checkpoint; empty where the step says it."""

    def restore(self, state: State) -> None:
        """Go on from the states of all processes together."""

    def skipped(self) -> int:
        """How many photos this process could not read, or has left out as near grey."""


class FolderFeed:
    """Listed photos, their crops kept or fresh.

    Args:
        config: The run's.
        cache: Where kept crops lie.
        index: Which process this is.
        processes: How many there are.
        progress: Whether to show bars.

    Raises:
        ConfigError: A folder that is missing, or too few photos.
    """

    def __init__(self, config: RunConfig, cache: Path, index: int, processes: int, progress: bool) -> None:
        self.config, self.index, self.processes = config, index, processes
        self.photos = find_photos(config.data, progress)
        self.crops = data.Crops(self.photos.train, config.data, config.seed, cache, progress)
        valid = _spread(self.photos.valid, config.log.valid_photos)
        self.valid = centre_crops([p.path for p in valid], config.log.valid_size)
        self.photos.left_out["broken since listed"] = len(valid) - len(self.valid)
        self.digest = self.photos.digest
        self.state: State = {}

    def _rows(self, start: int) -> Iterator[list[data.Row]]:
        weights = data.photo_weights(self.photos.train, self.config.data)
        return data.steps_of(self.crops, self.config.train.batch_size, self.config.seed, weights, start)

    def _parts(self, start: int) -> Iterator[list[data.Row]]:
        """This process's parts of the batches, each with the crop before it in the batch, where crops are mixed."""
        train = self.config.train
        size = train.batch_size // self.processes // train.accumulate
        lends = int(self.crops.mixes)
        for rows in self._rows(start):
            for part in range(train.accumulate):
                first = (self.index * train.accumulate + part) * size
                yield [rows[i] for i in range(first - lends, first + size)]

    def steps(self, start: int) -> Iterator[list[Read]]:
        """As `Feed.steps`."""
        workers = self.config.data.workers if self.crops.packed is None else 0
        parts = iter(_loader(self.crops, workers, self._parts(start)))
        while True:
            yield list(islice(parts, self.config.train.accumulate))

    def some(self, count: int, start: int) -> Iterator[Read]:
        """As `Feed.some`."""
        return (self.crops.read(rows) for rows in islice(self._rows(start), count))

    def colors(self, count: int) -> Tensor:
        """As `Feed.colors`."""
        return self.crops.sample_colors(count, self.config.seed)

    def record(self) -> dict[str, Any]:
        """As `Feed.record`."""
        return {
            "train": len(self.photos.train),
            "valid": len(self.photos.valid),
            "left_out": self.photos.left_out,
            "list_sha256": self.digest,
        }

    def restore(self, state: State) -> None:
        """Nothing to do: the step says which crops come next."""

    def skipped(self) -> int:
        """As `Feed.skipped`; those that the reading processes skip are in their warnings only."""
        return self.crops.skipped


class StreamFeed:
    """Shards, read in lanes.

    Args:
        config: The run's.
        index: Which process this is.
        processes: How many there are.

    Raises:
        ConfigError: No such shards, or lanes that do not split.
    """

    _STATISTICS = 8  # batches that are kept for statistics: fresh crops are dear

    def __init__(self, config: RunConfig, index: int, processes: int) -> None:
        self.config, self.processes = config, processes
        options, batch = config.data, config.train.batch_size
        self.source = streams.open_source(options)
        self.digest = self.source.digest
        if options.lanes % processes or batch % options.lanes:
            raise ConfigError(
                f"data.lanes = {options.lanes} does not fit {processes} processes and train.batch_size = {batch}",
                expected="a multiple of the processes that divides the batch",
            )
        if config.train.cache_features:
            raise ConfigError("train.cache_features: a stream's crops are fresh", remedy="give folders with --data")
        share = options.lanes // processes
        self.lanes = range(index * share, (index + 1) * share)
        self.workers = next(n for n in range(min(options.workers, share), -1, -1) if n == 0 or share % n == 0)
        self.state: State = {}
        self._some: list[Read] = []
        found = list(streams.valid_photos(self.source, options, config.log.valid_photos))
        if not found:
            raise ConfigError("no photo for validation in the shards", remedy="raise data.valid_share")
        self.valid = centre_crops(found, config.log.valid_size)

    def steps(self, start: int) -> Iterator[list[Read]]:
        """As `Feed.steps`."""
        config = self.config
        lanes = streams.Lanes(
            self.source, config.data, config.seed, self.lanes, config.train.batch_size // config.data.lanes, self.state
        )
        pieces = iter(_loader(lanes, self.workers))
        while True:
            step = list(islice(pieces, max(self.workers, 1)))  # one of each worker, in turn
            self.state = {lane: state for piece in step for lane, state in piece.state.items()}
            columns = ([piece.L for piece in step], [piece.ab for piece in step], [piece.seeds for piece in step])
            parts = [torch.cat(column).chunk(config.train.accumulate) for column in columns]
            yield [Read(L, ab, (), seeds) for L, ab, seeds in zip(*parts, strict=True)]

    def _sample(self, count: int) -> list[streams.Crop]:
        """``count`` crops from all over the shards, the same in every process."""
        options = replace(self.config.data, cut_mix=0.0)
        lanes = min(8, options.lanes)
        found = []
        for lane in range(lanes):
            crops = streams.lane_crops(self.source, options, self.config.seed, lane, streams.Place())
            found += list(islice(crops, -(-count // lanes)))
        return found[:count]

    def some(self, count: int, start: int) -> Iterator[Read]:
        """As `Feed.some`: always the same ones, `_STATISTICS` batches at most."""
        size, wanted = self.config.train.batch_size, min(count, self._STATISTICS)
        if not self._some:
            crops = self._sample(size * wanted)
            self._some = [streams.as_read(crops[i : i + size], {}) for i in range(0, len(crops), size)]
        return iter(self._some)

    def colors(self, count: int) -> Tensor:
        """As `Feed.colors`."""
        return data.some_colors(streams.as_read(self._sample(count), {}).ab, self.config.seed)

    def record(self) -> dict[str, Any]:
        """As `Feed.record`; photos that the source does not count are not known before they are read."""
        options = self.config.data
        return {
            "train": self.source.photos,
            "valid": len(self.valid),
            "left_out": {},
            "list_sha256": self.digest,
            "source": options.shards or options.hub,
            "shards": len(self.source),
        }

    def restore(self, state: State) -> None:
        """As `Feed.restore`."""
        self.state = {lane: state[lane] for lane in self.lanes if lane in state}

    def skipped(self) -> int:
        """As `Feed.skipped`."""
        places = [streams.Place(state) for state in self.state.values()]
        return sum(place.broken + place.grey for place in places)


def open_feed(config: RunConfig, cache: Path, index: int, processes: int, progress: bool) -> Feed:
    """The feed that ``config.data`` describes.

    Raises:
        ConfigError: It describes none, or several.
    """
    options = config.data
    given = [name for name in ("folders", "shards", "hub") if getattr(options, name)]
    if len(given) != 1:
        raise ConfigError(
            "a run reads from one kind of source",
            found=", ".join(f"data.{name}" for name in given) or "none",
            expected="photo folders (--data DIR), data.shards or data.hub",
        )
    if options.folders:
        return FolderFeed(config, cache, index, processes, progress)
    return StreamFeed(config, index, processes)


def merged(states: Sequence[Mapping[int, tuple[int, ...]]]) -> State:
    """The states of all processes as one."""
    return {lane: tuple(place) for state in states for lane, place in state.items()}


def _loader(dataset: Dataset[Any], workers: int, rows: Iterator[Any] | None = None) -> DataLoader[Any]:
    return DataLoader(
        dataset,
        batch_size=None,
        sampler=rows,
        collate_fn=_as_is,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
        prefetch_factor=4 if workers else None,
        worker_init_fn=ignore_interrupt,
    )


def _as_is(read: Any) -> Any:
    return read


def _spread(photos: list[Photo], count: int) -> list[Photo]:
    """``count`` photos from all over the list, which is sorted by source."""
    if len(photos) <= count:
        return photos
    return [photos[i * len(photos) // count] for i in range(count)]
