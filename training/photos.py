"""Photos to train on: found in folders, split, opened, cropped, their lightness aged."""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor

from training.config import DataConfig
from training.pool import pool_imap
from zoo import ageing, color
from zoo.errors import ConfigError

_log = logging.getLogger(__name__)

STRIDE = 4  # colours are learnt at a quarter of the crop's size
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}


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


def list_photos(config: DataConfig) -> list[Photo]:
    """All files of the configured folders that may be photos, each once.

    Raises:
        ConfigError: A folder that is missing.
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
    return list(found.values())


def find_photos(config: DataConfig, progress: bool = True) -> Photos:
    """The readable, coloured photos of the configured folders, split by seed into training and validation.

    Raises:
        ConfigError: A folder that is missing, or too few photos in all.
    """
    photos = list_photos(config)
    # Split before anything is left out, so that the held-out photos stay the same when a threshold moves.
    order = np.random.default_rng(config.split_seed).permutation(len(photos))[: config.limit]
    valid_count = round(len(order) * config.valid_share)
    left_out: Counter[str] = Counter()
    parts: list[list[Photo]] = []
    for indices in (order[valid_count:], order[:valid_count]):
        part = [photos[i] for i in sorted(indices)]
        looks = list(pool_imap(look, part, config.workers, "reading photos" if progress else None))
        read = [one for one in looks if one is not None]
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


def open_photo(path: Path | IO[bytes], min_side: int) -> Image.Image:
    """The photo upright in RGB, decoded at no more than what ``min_side`` needs.

    Raises:
        OSError: It cannot be read. Pillow's other errors pass too.
    """
    with Image.open(path) as image:
        image.draft("RGB", (2 * min_side, 2 * min_side))
        upright = ImageOps.exif_transpose(image)
        return upright.convert("RGB")


def look(photo: Photo) -> tuple[Photo, float] | None:
    """The photo with its content's hash, and its mean chroma; None if it cannot be read."""
    try:
        with photo.path.open("rb") as stream:  # both ends and the size tell photos apart, and are cheap to read
            size = stream.seek(0, os.SEEK_END)
            digest = hashlib.sha256(str(size).encode())
            for start in (0, max(size - 65536, 0)):
                stream.seek(start)
                digest.update(stream.read(65536))
        chroma = mean_chroma(open_photo(photo.path, 64))
    except Exception as error:  # a photo collection holds every kind of broken file; it is counted by the caller
        _log.warning("%s is left out: %s", photo.path, error)
        return None
    return replace(photo, content=digest.hexdigest()[:16]), chroma


def mean_chroma(image: Image.Image) -> float:
    """The mean chroma of a photo in Lab units, looked at small."""
    small = image.resize((64, 64), Image.Resampling.BOX)
    return float(to_lab(small)[1:].square().sum(0).sqrt().mean())


def to_lab(image: Image.Image) -> Tensor:
    """Lab (3, H, W) of an RGB picture."""
    return color.rgb_to_lab(torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255)


def centre_crop(photo: Path | IO[bytes], size: int) -> Tensor:
    """The photo's largest central square at ``size``, Lab, (3, size, size)."""
    return to_lab(ImageOps.fit(open_photo(photo, size), (size, size), Image.Resampling.BICUBIC))


def centre_crops(photos: Sequence[Path | IO[bytes]], size: int) -> list[Tensor]:
    """`centre_crop` of each photo; one that broke since it was listed is left out with a warning.

    Raises:
        ConfigError: None can be read.
    """
    crops = []
    for photo in photos:
        try:
            crops.append(centre_crop(photo, size))
        except Exception as error:
            _log.warning("%s is skipped: %s", photo if isinstance(photo, Path) else "a held-out photo", error)
    if not crops:
        raise ConfigError("not one validation photo can be read any more")
    return crops


def make_crop(photo: Photo, seed: int, config: DataConfig) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
    """One augmented crop: zoom, stretch, rotation, shear, flip of the photo; ageing of its lightness only.

    Returns:
        L, (crop, crop), in 255ths of 100; and the true ab averaged over 4x4 pixels, (2, crop/4, crop/4).
    """
    return crop_of(open_photo(photo.path, config.crop), photo.name, seed, config)


def crop_of(
    image: Image.Image, name: str, seed: int, config: DataConfig
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
    """`make_crop` of an open photo of that name."""
    rng = np.random.default_rng([seed, int(hashlib.sha256(os.fsencode(name)).hexdigest()[:8], 16)])
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
