"""Photos as streams: tar shards as WebDataset has them, and data sets of the Hub, read in lanes.

A lane is a stream of crops with shards of its own. A batch takes the same number of crops from each lane, so that it is
the same photos whoever reads the lanes: one process, many, or several workers of each.
"""

import io
import json
import logging
import re
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import blake2b, sha256
from itertools import islice
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset, get_worker_info

from training import augment
from training.config import DataConfig
from training.data import Read
from training.photos import SUFFIXES, crop_of, mean_chroma, open_photo
from zoo.errors import ConfigError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Record:
    """One photo of a stream: what it is known by, and its file's content."""

    key: str
    content: bytes


class Source(Protocol):
    """Shards of photos."""

    digest: str  # what the shards are, for a run that continues
    photos: int | None  # how many there are, where it is known without reading them

    def __len__(self) -> int:
        """How many shards."""

    def records(self, shard: int, start: int) -> Iterator[Record]:
        """The photos of a shard in its own order, from number ``start`` on."""


class TarShards:
    """Tar files of photos; a file that belongs to a photo, such as its label, is passed over.

    Args:
        where: A folder of them, one of them, or a path with ``{000..127}``; a URL where fsspec is installed.

    Raises:
        ConfigError: There are none.
    """

    def __init__(self, where: str) -> None:
        self.paths = _expanded(where)
        names = [[path.rsplit("/", 1)[-1], None if "://" in path else Path(path).stat().st_size] for path in self.paths]
        self.digest = sha256(json.dumps(names).encode()).hexdigest()
        self.photos: int | None = None
        listing = Path(self.paths[0]).parent / "shards.json"
        if "://" not in where and listing.is_file():  # written by training.shards
            shards = json.loads(listing.read_text(encoding="utf-8"))["shards"]
            counts = [shards.get(Path(path).name) for path in self.paths]
            self.photos = None if None in counts else sum(counts)

    def __len__(self) -> int:
        return len(self.paths)

    def records(self, shard: int, start: int) -> Iterator[Record]:
        """As `Source.records`."""
        path, count = self.paths[shard], 0
        remote = "://" in path
        with _opened(path) as stream, tarfile.open(fileobj=stream, mode="r|*" if remote else "r:*") as tar:
            for member in tar:
                name = member.name.rsplit("/", 1)[-1]
                if member.isfile() and not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                    count += 1
                    content = tar.extractfile(member) if count > start else None
                    if content is not None:
                        yield Record(member.name.removesuffix(Path(name).suffix), content.read())


def _expanded(where: str) -> list[str]:
    numbers = re.search(r"\{(\d+)\.\.(\d+)\}", where)
    if numbers:
        first, last = numbers.groups()
        every = [f"{n:0{len(first)}}" for n in range(int(first), int(last) + 1)]
        found = [where[: numbers.start()] + n + where[numbers.end() :] for n in every]
    elif "://" not in where and Path(where).is_dir():
        found = sorted(str(p) for p in Path(where).iterdir() if p.name.endswith((".tar", ".tar.gz", ".tgz")))
    else:
        found = [where]
    missing = [path for path in found if "://" not in path and not Path(path).is_file()]
    if missing or not found:
        raise ConfigError(
            f"data.shards = {where!r}: {f'{missing[0]} is not there' if missing else 'no shards'}",
            expected="a folder of .tar files, or a path with {000..127}",
            remedy="python -m training.shards writes them",
        )
    return found


def _opened(path: str) -> AbstractContextManager[IO[bytes]]:
    if "://" not in path:
        return Path(path).open("rb")
    try:
        import fsspec
    except ImportError as error:
        raise ConfigError(f"{path} is a URL, which fsspec would open", remedy="pip install 'colorzoo[data]'") from error
    return cast(AbstractContextManager[IO[bytes]], fsspec.open(path, "rb"))


class HubDataset:
    """A data set that `datasets` reads as a stream, from the Hub or from a folder.

    Args:
        config: ``hub``, ``hub_split`` and ``hub_column`` say which.

    Raises:
        ConfigError: It cannot be had, or has no such column.
    """

    def __init__(self, config: DataConfig) -> None:
        try:
            import datasets
        except ImportError as error:
            raise ConfigError("data.hub needs datasets", remedy="pip install 'colorzoo[data]'") from error
        name, _, revision = config.hub.partition("@") if not Path(config.hub).exists() else (config.hub, "", "")
        try:
            data = datasets.load_dataset(name, split=config.hub_split, streaming=True, revision=revision or None)
        except Exception as error:  # whatever the Hub, the network or a file format gives
            raise ConfigError(f"data.hub = {config.hub!r} cannot be had", found=error) from error
        columns = data.column_names or []
        if config.hub_column not in columns:
            raise ConfigError("data.hub_column: no such column", found=config.hub_column, expected=", ".join(columns))
        data = data.select_columns(config.hub_column)
        data = data.cast_column(config.hub_column, datasets.Image(decode=False))
        self.data = data if data.num_shards >= config.lanes else data.reshard()
        # Where it has fewer shards than there are lanes, such as a folder of pictures, lanes share one in turn: each
        # reads past what belongs to the others.
        self.parts = -(-config.lanes // self.data.num_shards)
        self.column = config.hub_column
        splits = data.info.splits or {}
        self.photos: int | None = splits[config.hub_split].num_examples if config.hub_split in splits else None
        self.photos = self.photos or None
        identity = [Path(name).name, revision, config.hub_split, config.hub_column, len(self)]
        self.digest = sha256(json.dumps(identity).encode()).hexdigest()

    def __len__(self) -> int:
        return int(self.data.num_shards * self.parts)

    def records(self, shard: int, start: int) -> Iterator[Record]:
        """As `Source.records`."""
        whole, part = divmod(shard, self.parts)
        rows = enumerate(self.data.shard(self.data.num_shards, whole))
        for number, row in islice(rows, part + start * self.parts, None, self.parts):
            image = row[self.column]
            content = image["bytes"] if image else b""
            if content is None:
                with _opened(image["path"]) as stream:
                    content = stream.read()
            yield Record(f"{whole}:{number}", content)


def open_source(config: DataConfig) -> Source:
    """What ``data.shards`` or ``data.hub`` names.

    Raises:
        ConfigError: It is not there, or what a stream cannot do is asked for.
    """
    plain = DataConfig()
    for key in ("limit", "folder_weights", "source_balance", "source_weights"):
        if getattr(config, key) != getattr(plain, key):
            value = "{}" if key == "source_weights" else getattr(plain, key)
            raise ConfigError(
                f"data.{key}: not for streams, which are read as they are", remedy=f"--set data.{key}={value}"
            )
    source: Source = TarShards(config.shards) if config.shards else HubDataset(config)
    if len(source) < config.lanes:
        raise ConfigError(
            f"too few shards for data.lanes = {config.lanes}",
            found=len(source),
            expected="one for each lane at least",
            remedy="write smaller shards, or lower data.lanes",
        )
    return source


def held_out(key: str, config: DataConfig) -> bool:
    """Whether the photo of that key is for validation: decided by the key alone, not by where it comes."""
    digest = blake2b(f"{config.split_seed}/{key}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest) < config.valid_share * 2**64


class Place:
    """Where a lane is: after the record ``position`` of its shard number ``turn`` in ``epoch``, and what it has met."""

    def __init__(self, state: Sequence[int] = (0, 0, -1, 0, 0, 0)) -> None:
        self.epoch, self.turn, self.position, self.used, self.broken, self.grey = state

    @property
    def state(self) -> tuple[int, ...]:
        """For a checkpoint, and to start from."""
        return self.epoch, self.turn, self.position, self.used, self.broken, self.grey


Crop = tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8], int]


def lane_crops(source: Source, config: DataConfig, seed: int, lane: int, place: Place) -> Iterator[Crop]:
    """The crops of a lane for ever, L, ab and seed of each, from ``place`` on, which moves along.

    An epoch goes once through the shards of the lane, in an order of its own, and in each shard through its photos,
    ``data.shuffle`` of them shuffled at a time. Photos that cannot be read, or are near grey, are counted and passed.

    Raises:
        ConfigError: A whole epoch without one photo to train on.
    """
    before: Crop | None = None
    resumed = place.position >= 0  # then the last record used is read again, since the next may be mixed with it
    since = place.used - resumed
    for record in _records(source, config, seed, lane, place):
        if record is None:  # the end of an epoch
            if place.used == since:
                break
            since = place.used
            continue
        if held_out(record.key, config):
            continue
        try:
            image = open_photo(io.BytesIO(record.content), config.crop)
            if mean_chroma(image) < config.min_chroma:
                place.grey += 1
                continue
            L, ab = crop_of(image, record.key, seed + place.epoch, config)
        except Exception as error:
            place.broken += 1
            _log.warning("photo %s is skipped: %s", record.key, error)
            continue
        crop = L, ab, augment.seed_of(seed, place.epoch, record.key)
        if not resumed:
            place.used += 1
            mixed = (
                augment.cut_mix(L, ab, before[:2], config.cut_mix, crop[2]) if before and config.cut_mix else (L, ab)
            )
            yield (*mixed, crop[2])
        before, resumed = crop, False
    raise ConfigError(f"lane {lane} met no photo to train on in a whole epoch", found=f"{place.broken} broken ones")


def _records(source: Source, config: DataConfig, seed: int, lane: int, place: Place) -> Iterator[Record | None]:
    """The records of a lane, one epoch after the other, None after each."""
    first, at = place.turn, max(place.position, 0)
    while True:
        order = np.random.default_rng([seed, place.epoch]).permutation(len(source))[lane :: config.lanes]
        for turn in range(first, len(order)):
            place.turn = turn
            yield from _shuffled(source, config, [seed, place.epoch, int(order[turn])], place, at)
            at = 0
        first = at = 0
        place.epoch, place.turn, place.position = place.epoch + 1, 0, 0
        yield None


def _shuffled(source: Source, config: DataConfig, seeds: list[int], place: Place, start: int) -> Iterator[Record]:
    """The records of one shard, in windows of ``data.shuffle`` that are shuffled, from position ``start`` on."""
    size = config.shuffle
    at = start // size * size
    reader = _sound(source, seeds[-1], at, place)
    window = list(islice(reader, size))
    while window:
        order = np.random.default_rng([*seeds, at]).permutation(len(window))
        following: list[Record] = []
        for rank in range(start - at if start > at else 0, len(window)):
            place.position = at + rank
            yield window[order[rank]]
            following.extend(islice(reader, 1))  # read on while this window is used
        following.extend(islice(reader, size - len(following)))
        window, at = following, at + size


def _sound(source: Source, shard: int, start: int, place: Place) -> Iterator[Record]:
    """The records of a shard up to where it breaks off."""
    try:
        yield from source.records(shard, start)
    except Exception as error:  # a torn file, a lost connection: the run goes on with the next shard
        place.broken += 1
        _log.warning("shard %d breaks off and is left: %s", shard, error)


class Lanes(IterableDataset[Any]):
    """What one process reads: for each step so many crops of each of its lanes.

    Args:
        source: The shards.
        config: How they are read.
        seed: Of the run.
        lanes: Which lanes.
        rows: Crops of each lane at every step.
        state: Where the lanes are; empty at the start of a run.
    """

    def __init__(
        self,
        source: Source,
        config: DataConfig,
        seed: int,
        lanes: Sequence[int],
        rows: int,
        state: Mapping[int, Sequence[int]],
    ) -> None:
        self.source, self.config, self.seed, self.lanes, self.rows = source, config, seed, lanes, rows
        self.state = dict(state)

    def __iter__(self) -> Iterator[Read]:
        worker = get_worker_info()
        own = self.lanes[worker.id :: worker.num_workers] if worker else self.lanes
        places = {lane: Place(self.state[lane]) if lane in self.state else Place() for lane in own}
        streams = [lane_crops(self.source, self.config, self.seed, lane, places[lane]) for lane in own]
        while True:
            crops = [crop for stream in streams for crop in islice(stream, self.rows)]
            yield as_read(crops, {lane: place.state for lane, place in places.items()})


def as_read(crops: Sequence[Crop], state: dict[int, tuple[int, ...]]) -> Read:
    """Crops of lanes, stacked."""
    L, ab, seeds = zip(*crops, strict=True)
    return Read(
        torch.from_numpy(np.stack(L))[:, None],
        torch.from_numpy(np.stack(ab)),
        (),
        torch.tensor(seeds, dtype=torch.int64),
        state,
    )


def valid_photos(source: Source, config: DataConfig, count: int) -> Iterator[io.BytesIO]:
    """Files of held-out photos, at most ``count``, from shards in an order drawn by ``data.split_seed``."""
    found = 0
    for shard in np.random.default_rng(config.split_seed).permutation(len(source)):
        for record in _sound(source, int(shard), 0, Place()):
            if held_out(record.key, config):
                yield io.BytesIO(record.content)
                found += 1
                if found == count:
                    return
