"""From folders of photos to training batches: split, crops, ageing, and crops kept in memory-mapped files."""

import hashlib
import json
import logging
import multiprocessing
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from training import augment
from training.config import DataConfig
from zoo import ageing, color
from zoo.errors import ConfigError

_log = logging.getLogger(__name__)

STRIDE = 4  # colours are learnt at a quarter of the crop's size
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
_FIELDS_OF_CROPS = ("crop", "crops_per_photo", "zoom", "aspect", "rotation", "shear", "flip", "age")


@dataclass(frozen=True)
class Photo:
    """One training photo: where it lies, its name below its folder, its source, its folder's weight, its content."""

    path: Path
    name: str
    source: str
    weight: float
    content: str = ""  # what the cache and the data-list hash know it by


@dataclass(frozen=True)
class Photos:
    """The photos of a run after the split, and how many were left out for which reason."""

    train: list[Photo]
    valid: list[Photo]
    left_out: dict[str, int]

    @property
    def digest(self) -> str:
        """The sha256 of the names and contents of all photos, the data-list hash of the run."""
        parts = [[(p.name, p.content) for p in part] for part in (self.train, self.valid)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def find_photos(config: DataConfig, progress: bool = True) -> Photos:
    """The readable, coloured photos of the configured folders, split by seed into training and validation.

    Raises:
        ConfigError: A folder that is missing, or too few photos in all.
    """
    weights = config.folder_weights or (1.0,) * len(config.folders)
    if len(weights) != len(config.folders):
        raise ConfigError(
            "data.folder_weights does not fit data.folders", found=len(weights), expected=len(config.folders)
        )
    found: dict[Path, Photo] = {}  # by the real place: folders may be given twice or lie in one another
    for folder, weight in zip(config.folders, weights, strict=True):
        root = Path(folder)
        if not root.is_dir():
            raise ConfigError(f"data folder {folder!r} is not a folder", remedy="give one with --data")
        for path in sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
            source = path.stem.split("__")[0] if "__" in path.stem else path.parent.name
            found.setdefault(path.resolve(), Photo(path, path.relative_to(root).as_posix(), source, weight))
    photos = list(found.values())
    # Split before anything is left out, so that the held-out photos stay the same when a threshold moves.
    order = np.random.default_rng(config.split_seed).permutation(len(photos))[: config.limit]
    valid_count = round(len(order) * config.valid_share)
    left_out: Counter[str] = Counter()
    parts: list[list[Photo]] = []
    for indices in (order[valid_count:], order[:valid_count]):
        part = [photos[i] for i in sorted(indices)]
        looks = list(_pool_imap(_look, part, config.workers, "reading photos" if progress else None))
        read = [look for look in looks if look is not None]
        kept_ones = [photo for photo, chroma in read if chroma >= config.min_chroma]
        left_out["unreadable"] += len(part) - len(read)
        left_out["near grey"] += len(read) - len(kept_ones)
        parts.append(kept_ones)
    if not parts[0] or not parts[1]:
        raise ConfigError(
            "too few photos to train on",
            found=f"{len(parts[0])} for training, {len(parts[1])} for validation",
            expected="at least one of each",
            remedy="give more folders with --data or change data.valid_share",
        )
    return Photos(parts[0], parts[1], dict(left_out))


def open_photo(path: Path, min_side: int) -> Image.Image:
    """The photo upright in RGB, decoded at no more than what ``min_side`` needs.

    Raises:
        OSError: It cannot be read. Pillow's other errors pass too.
    """
    with Image.open(path) as image:
        image.draft("RGB", (2 * min_side, 2 * min_side))
        upright = ImageOps.exif_transpose(image)
        return upright.convert("RGB")


def _look(photo: Photo) -> tuple[Photo, float] | None:
    """The photo with its content's hash, and its mean chroma; None if it cannot be read."""
    try:
        with photo.path.open("rb") as stream:  # both ends and the size tell photos apart, and are cheap to read
            size = stream.seek(0, os.SEEK_END)
            digest = hashlib.sha256(str(size).encode())
            for start in (0, max(size - 65536, 0)):
                stream.seek(start)
                digest.update(stream.read(65536))
        image = open_photo(photo.path, 64).resize((64, 64), Image.Resampling.BOX)
    except Exception as error:  # a photo collection holds every kind of broken file; it is counted by the caller
        _log.warning("%s is left out: %s", photo.path, error)
        return None
    chroma = float(to_lab(image)[1:].square().sum(0).sqrt().mean())
    return replace(photo, content=digest.hexdigest()[:16]), chroma


def to_lab(image: Image.Image) -> Tensor:
    """Lab (3, H, W) of an RGB picture."""
    return color.rgb_to_lab(torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255)


def centre_crop(photo: Photo, size: int) -> Tensor:
    """The photo's largest central square at ``size``, Lab, (3, size, size)."""
    return to_lab(ImageOps.fit(open_photo(photo.path, size), (size, size), Image.Resampling.BICUBIC))


def centre_crops(photos: Sequence[Photo], size: int) -> list[Tensor]:
    """`centre_crop` of each photo; one that broke since it was listed is left out with a warning.

    Raises:
        ConfigError: None can be read.
    """
    crops = []
    for photo in photos:
        try:
            crops.append(centre_crop(photo, size))
        except Exception as error:
            _log.warning("%s is skipped: %s", photo.path, error)
    if not crops:
        raise ConfigError("not one validation photo can be read any more")
    return crops


def make_crop(photo: Photo, seed: int, config: DataConfig) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
    """One augmented crop: zoom, stretch, rotation, shear, flip of the photo; ageing of its lightness only.

    Returns:
        L, (crop, crop), in 255ths of 100; and the true ab averaged over 4x4 pixels, (2, crop/4, crop/4).
    """
    rng = np.random.default_rng([seed, int(hashlib.sha256(os.fsencode(photo.name)).hexdigest()[:8], 16)])
    image = open_photo(photo.path, config.crop)
    lab = to_lab(_warp(image, rng, config))
    L = lab[0]
    ab = lab[1:].reshape(2, config.crop // STRIDE, STRIDE, config.crop // STRIDE, STRIDE).mean((2, 4))
    if rng.random() < config.age:
        L = ageing.age(L, rng)
    return (L * 2.55).round().byte().numpy(), ab.round().clamp(-128, 127).to(torch.int8).numpy()


def _warp(image: Image.Image, rng: np.random.Generator, config: DataConfig) -> Image.Image:
    stretch = np.exp(rng.uniform(*np.log(config.aspect)))
    angle = np.radians(rng.uniform(-config.rotation, config.rotation))
    shear = np.tan(np.radians(rng.uniform(-config.shear, config.shear)))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shape = turn @ np.array([[1, shear], [0, 1]]) @ np.diag([stretch**0.5, stretch**-0.5])
    if config.flip and rng.random() < 0.5:
        shape[:, 0] *= -1
    # The crop is the image of the square [-1/2, 1/2]^2; scale it so that its bounding box fits, then place it.
    box = np.abs(shape).sum(1)
    size = np.array(image.size, float)
    scale = float((size / box).min()) * rng.uniform(*config.zoom)
    middle = size / 2 + rng.uniform(-0.5, 0.5, 2) * (size - scale * box)
    side = 2 * config.crop  # twice as large, then averaged: no aliasing
    matrix = shape * scale / side
    offset = middle - matrix @ np.full(2, side / 2)
    coefficients = [matrix[0, 0], matrix[0, 1], offset[0], matrix[1, 0], matrix[1, 1], offset[1]]
    warped = image.transform(
        (side, side), Image.Transform.AFFINE, [float(c) for c in coefficients], Image.Resampling.BICUBIC
    )
    return warped.reduce(2)


class Crops(Dataset[Any]):
    """The crops of a run. Kept ones lie in memory-mapped files; fresh ones are made when asked for.

    An index is (photo, variant); variant v of a photo is always the same crop.
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

    def __getitems__(self, indices: list[tuple[int, int]]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """L (N, 1, H, W) in 255ths of 100, ab (N, 2, h, w) in Lab units, and the kept features of these crops.

        Both in bytes: the device makes numbers of them (`augment.lightness`) faster than they travel there.
        """
        if self.packed is None:
            made = [self._make(photo, variant) for photo, variant in indices]
            L, ab = np.stack([m[0] for m in made]), np.stack([m[1] for m in made])
            return torch.from_numpy(L)[:, None], torch.from_numpy(ab), ()
        rows = [photo * self.config.crops_per_photo + variant for photo, variant in indices]
        lightness, colors, *features = (torch.from_numpy(a[rows]) for a in (*self.packed, *self.features))
        return lightness[:, None], colors, tuple(f.permute(0, 3, 1, 2) for f in features)

    def sample_colors(self, count: int, seed: int) -> Tensor:
        """Colours of ``count`` random crops, at most 200,000 of them, (M, 2) in Lab units."""
        rng = np.random.default_rng(seed)
        variants = max(self.config.crops_per_photo, 1)
        picks = [(int(rng.integers(len(self.photos))), int(rng.integers(variants))) for _ in range(count)]
        colors = self.__getitems__(picks)[1].float().permute(0, 2, 3, 1).reshape(-1, 2)
        return colors[torch.randperm(len(colors), generator=torch.Generator().manual_seed(seed))[:200_000]]

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
        for i, made in enumerate(_pool_imap(self._variants, range(len(self.photos)), config.workers, label)):
            rows = slice(i * config.crops_per_photo, (i + 1) * config.crops_per_photo)
            L[rows], ab[rows] = made
        L.flush()
        ab.flush()

    def _variants(self, photo: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
        made = [self._make(photo, variant) for variant in range(self.config.crops_per_photo)]
        return np.stack([m[0] for m in made]), np.stack([m[1] for m in made])


def steps_of(crops: Crops, batch_size: int, seed: int, weights: Tensor, start: int) -> Iterator[list[tuple[int, int]]]:
    """The (photo, variant) pairs of every step from ``start`` on: a pure function of the seed and the step.

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
        for i in range(step % per_epoch, per_epoch):
            rows = order[i * batch_size : (i + 1) * batch_size].tolist()
            yield [divmod(r, kept_crops) if kept_crops else (r, epoch) for r in rows]
            step += 1


def photo_weights(photos: Sequence[Photo], config: DataConfig) -> Tensor:
    """How often each photo is drawn, (N,): its folder's and its source's weight, sources made even by balance."""
    sizes = Counter(p.source for p in photos)
    weights = config.source_weights
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


_work: Any = None  # in a worker: what it does, sent once and not with every job


def _start_worker(work: Any) -> None:
    global _work
    _work = work
    torch.set_num_threads(1)


def _do(job: Any) -> Any:
    return _work(job)


def _pool_imap(work: Any, jobs: Sequence[Any], workers: int, label: str | None) -> Iterator[Any]:
    if workers == 0 or len(jobs) < 64:
        yield from tqdm(map(work, jobs), total=len(jobs), desc=label, disable=label is None)
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit the math threads' locks
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(work,)) as pool:
        yield from tqdm(pool.map(_do, jobs, chunksize=32), total=len(jobs), desc=label, disable=label is None)
