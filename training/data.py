"""From listed photos to training batches: crops, kept in memory-mapped files or fresh, and their order."""

import hashlib
import json
import logging
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from training import augment
from training.config import DataConfig
from training.photos import STRIDE, Photo, make_crop
from training.pool import pool_imap
from zoo import ageing
from zoo.errors import ConfigError

_log = logging.getLogger(__name__)

_FIELDS_OF_CROPS = ("crop", "crops_per_photo", "zoom", "aspect", "rotation", "shear", "flip", "age")


class Row(NamedTuple):
    """One crop of an epoch: the photo's index, which of its crops, and how often this epoch has drawn it before."""

    photo: int
    variant: int
    epoch: int = 0
    again: int = 0


@dataclass(frozen=True)
class Read:
    """Crops as they were read, in bytes: the device makes numbers of them faster than those would travel there.

    Attributes:
        L: (N, 1, H, W) in 255ths of 100.
        ab: (N, 2, h, w) in whole Lab units.
        features: Of a frozen backbone, where they are kept.
        seeds: Of each crop, (N,), for whatever is drawn for it later.
        state: After a stream's crops: where each of its lanes is.
    """

    L: Tensor
    ab: Tensor
    features: tuple[Tensor, ...]
    seeds: Tensor
    state: dict[int, tuple[int, ...]] = field(default_factory=dict)


class Crops(Dataset[Any]):
    """The crops of a run. Kept ones lie in memory-mapped files; fresh ones are made when asked for.

    An index is a list of rows, that of one batch; variant v of a photo is always the same crop.
    """

    def __init__(self, photos: Sequence[Photo], config: DataConfig, seed: int, cache: Path, progress: bool) -> None:
        self.photos, self.config, self.seed, self.skipped = photos, config, seed, 0
        self.features: list[npt.NDArray[Any]] = []
        self.packed: tuple[npt.NDArray[Any], npt.NDArray[Any]] | None = None
        if config.crops_per_photo:
            options = {k: v for k, v in asdict(config).items() if k in _FIELDS_OF_CROPS}
            identity = [seed, options, ageing.VERSION, [(p.name, p.content) for p in photos]]
            self.key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:16]
            folder = kept(cache / f"crops-{self.key}", lambda target: self._pack(target, progress))
            self.packed = tuple(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("L", "ab"))

    def __len__(self) -> int:
        return len(self.photos) * max(self.config.crops_per_photo, 1)

    @property
    def mixes(self) -> bool:
        """Whether crops are mixed: not where the features of whole ones are kept."""
        return bool(self.config.cut_mix and not self.features)

    def __getitem__(self, rows: Sequence[Row]) -> Read:
        """These crops. Where they are mixed, each is so with the one before it, and the first one only lends."""
        found = self.read(rows)
        if not self.mixes:
            return found
        share = self.config.cut_mix
        L, ab = found.L[:, 0].numpy(), found.ab.numpy()
        mixed = [
            augment.cut_mix(L[i], ab[i], (L[i - 1], ab[i - 1]), share, int(found.seeds[i])) for i in range(1, len(L))
        ]
        L, ab = np.stack([m[0] for m in mixed]), np.stack([m[1] for m in mixed])
        return Read(torch.from_numpy(L)[:, None], torch.from_numpy(ab), (), found.seeds[1:])

    def read(self, rows: Sequence[Row]) -> Read:
        """These crops as they are."""
        names = [augment.seed_of(self.seed, r.epoch, self.photos[r.photo].name, r.variant, r.again) for r in rows]
        seeds = torch.tensor(names, dtype=torch.int64)
        if self.packed is None:
            made = [self._make(r.photo, r.variant) for r in rows]
            L, ab = np.stack([m[0] for m in made]), np.stack([m[1] for m in made])
            return Read(torch.from_numpy(L)[:, None], torch.from_numpy(ab), (), seeds)
        at = [r.photo * self.config.crops_per_photo + r.variant for r in rows]
        lightness, colors, *features = (torch.from_numpy(a[at]) for a in (*self.packed, *self.features))
        return Read(lightness[:, None], colors, tuple(f.permute(0, 3, 1, 2) for f in features), seeds)

    def sample_colors(self, count: int, seed: int) -> Tensor:
        """Colours of ``count`` random crops, at most 200,000 of them, (M, 2) in Lab units."""
        rng = np.random.default_rng(seed)
        variants = max(self.config.crops_per_photo, 1)
        picks = [Row(int(rng.integers(len(self.photos))), int(rng.integers(variants))) for _ in range(count)]
        return some_colors(self.read(picks).ab, seed)

    def _make(self, photo: int, variant: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
        for shift in range(len(self.photos)):  # a photo that broke since it was listed is replaced by the next one
            candidate = self.photos[(photo + shift) % len(self.photos)]
            try:
                return make_crop(candidate, self.seed + variant, self.config)
            except Exception as error:
                self.skipped += 1
                _log.warning("%s is skipped (crop %d of this process): %s", candidate.path, self.skipped, error)
        raise ConfigError("not one training photo can be read any more")

    def _pack(self, target: Path, progress: bool) -> None:
        config, total = self.config, len(self)
        small = config.crop // STRIDE
        L = _new_array(target / "L.npy", np.uint8, (total, config.crop, config.crop))
        ab = _new_array(target / "ab.npy", np.int8, (total, 2, small, small))
        label = "cropping photos" if progress else None
        for i, made in enumerate(pool_imap(self._variants, range(len(self.photos)), config.workers, label)):
            rows = slice(i * config.crops_per_photo, (i + 1) * config.crops_per_photo)
            L[rows], ab[rows] = made
        L.flush()
        ab.flush()

    def _variants(self, photo: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
        made = [self._make(photo, variant) for variant in range(self.config.crops_per_photo)]
        return np.stack([m[0] for m in made]), np.stack([m[1] for m in made])


def some_colors(ab: Tensor, seed: int) -> Tensor:
    """At most 200,000 of the colours of maps (N, 2, h, w), drawn by seed, (M, 2)."""
    colors = ab.float().permute(0, 2, 3, 1).reshape(-1, 2)
    return colors[torch.randperm(len(colors), generator=torch.Generator().manual_seed(seed))[:200_000]]


def steps_of(crops: Crops, batch_size: int, seed: int, weights: Tensor, start: int) -> Iterator[list[Row]]:
    """The rows of every step from ``start`` on: a pure function of the seed and the step.

    Each epoch goes once through all kept crops (or photos); with unequal ``weights`` it draws as many by weight.
    """
    kept_crops = crops.config.crops_per_photo
    total = len(crops)
    per_epoch = max(total // batch_size, 1)
    step = start
    while True:
        epoch = step // per_epoch
        generator = torch.Generator().manual_seed(hash((seed, epoch)) & 0x7FFFFFFF)
        if bool((weights == weights[0]).all()):
            order = torch.randperm(total, generator=generator)
        else:
            every = weights.repeat_interleave(max(kept_crops, 1))
            order = torch.multinomial(every, total, replacement=True, generator=generator)
        order = order.repeat(-(-batch_size // total))
        drawn: Counter[int] = Counter(order[: step % per_epoch * batch_size].tolist())
        for i in range(step % per_epoch, per_epoch):
            rows = []
            for r in order[i * batch_size : (i + 1) * batch_size].tolist():
                photo, variant = divmod(r, kept_crops) if kept_crops else (r, epoch)
                rows.append(Row(photo, variant, epoch, drawn[r]))
                drawn[r] += 1
            yield rows
            step += 1


def photo_weights(photos: Sequence[Photo], config: DataConfig) -> Tensor:
    """How often each photo is drawn, (N,): its folder's and its source's weight, sources made even by balance."""
    sizes = Counter(p.source for p in photos)
    weights = config.source_weights
    if unknown := sorted(weights.keys() - sizes.keys()):
        _log.warning(
            "source_weights: no photos of %s; sources here: %s", ", ".join(unknown), ", ".join(sorted(sizes)) or "none"
        )
    return torch.tensor(
        [p.weight * weights.get(p.source, 1) * sizes[p.source] ** -config.source_balance for p in photos]
    )


def kept(folder: Path, make: Any) -> Path:
    """``folder`` after ``make`` has filled it once; half a folder never stands under the final name."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
            target = Path(temporary) / "made"
            target.mkdir()
            make(target)
            try:
                target.rename(folder)
            except OSError:
                if not folder.exists():  # else another process was faster
                    raise
    return folder


def _new_array(path: Path, dtype: Any, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    return np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)


def keep_features(crops: Crops, encode: Any, key: str, cache: Path, dtype: Any, progress: bool) -> None:
    """Run ``encode`` (L -> maps) over all kept crops once and hand its fp16 output out with them from now on.

    Args:
        crops: With ``crops_per_photo`` above 0.
        encode: The frozen backbone.
        key: Names the backbone's weights.
        cache: Where the files lie.
        dtype: Not stored, names the precision that ``encode`` ran in.
        progress: Whether to show a bar.
    """
    if crops.packed is None:
        raise ConfigError("train.cache_features needs kept crops", expected="data.crops_per_photo above 0")
    packed = crops.packed[0]

    def make(target: Path) -> None:
        arrays: list[Any] = []
        for start in tqdm(range(0, len(packed), 32), desc="caching features", disable=not progress):
            rows = np.array(packed[start : start + 32])  # a copy: torch wants it writable
            maps = encode(augment.lightness(torch.from_numpy(rows)[:, None]))
            for i, m in enumerate(maps):
                if start == 0:
                    shape = (len(packed), m.shape[2], m.shape[3], m.shape[1])
                    arrays.append(_new_array(target / f"{i}.npy", np.float16, shape))
                arrays[i][start : start + 32] = m.permute(0, 2, 3, 1).half().cpu().numpy()
        for array in arrays:
            array.flush()

    folder = kept(cache / f"features-{crops.key}-{key}-{dtype}", make)
    crops.features = [np.load(folder / f"{i}.npy", mmap_mode="r") for i in range(len(list(folder.iterdir())))]
