"""``python -m training.shards --data DIR --out shards/``: photos of folders as tar shards, to be read as streams.

What cannot be read, is near grey or is there twice is left out, the rest shuffled. A photo's key is its content's hash,
so that it stays on its side of the split, whatever it is called; its name and source lie beside it as JSON.
"""

import argparse
import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from training.config import DataConfig
from training.photos import Photo, list_photos, look, open_photo
from training.pool import pool_imap
from zoo.errors import ConfigError, ZooError

_QUALITY = 95


def _packed(photo: Photo, size: int, min_chroma: float) -> tuple[str, bytes, bytes] | str:
    """The photo's key, JPEG and description; or why it is left out."""
    looked = look(photo)
    if looked is None:
        return "unreadable"
    if looked[1] < min_chroma:
        return "near grey"
    image = open_photo(photo.path, size)
    scale = size / min(image.size)
    if scale < 1:
        smaller = (max(size, round(image.width * scale)), max(size, round(image.height * scale)))
        image = image.resize(smaller, Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=_QUALITY, subsampling=0)  # the colours are what is learnt
    text = json.dumps({"name": photo.name, "source": photo.source}).encode()
    return looked[0].content, stream.getvalue(), text


def write_shards(
    folders: Sequence[str],
    out: Path,
    *,
    size: int = 256,
    per_shard: int = 1000,
    min_chroma: float = 4.0,
    seed: int = 0,
    workers: int = 2,
    progress: bool = False,
) -> dict[str, Any]:
    """Write the photos of ``folders`` below ``out`` as 000000.tar and so on, and what they are as shards.json.

    Args:
        folders: Walked for photos.
        out: A folder without shards.
        size: Shorter side in pixels of what is written; smaller photos stay as they are.
        per_shard: Photos of a shard; the last one may have fewer.
        min_chroma: Photos with a lower mean chroma (Lab units) are left out as near grey.
        seed: Of the order.
        workers: Processes that make them.
        progress: Whether to show a bar.

    Returns:
        What shards.json says.

    Raises:
        ConfigError: No photos, or ``out`` holds shards already.
    """
    if size < 32 or per_shard < 1:
        raise ConfigError("bad --size or --per-shard", found=(size, per_shard), expected="32 or more, and 1 or more")
    photos = list_photos(DataConfig(folders=tuple(folders)))
    if out.exists() and any(out.glob("*.tar")):
        raise ConfigError(f"{out} holds shards already", remedy="choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    order = np.random.default_rng(seed).permutation(len(photos))
    work = partial(_packed, size=size, min_chroma=min_chroma)
    left_out = {"unreadable": 0, "near grey": 0, "there twice": 0}
    shards: dict[str, int] = {}
    seen: set[str] = set()
    batch: list[tuple[str, bytes, bytes]] = []
    for made in pool_imap(work, [photos[i] for i in order], workers, "packing photos" if progress else None):
        if isinstance(made, str) or made[0] in seen:
            left_out[made if isinstance(made, str) else "there twice"] += 1
            continue
        seen.add(made[0])
        batch.append(made)
        if len(batch) == per_shard:
            _write(out, shards, batch)
    if batch:
        _write(out, shards, batch)
    if not shards:
        raise ConfigError("no photo to write", found=left_out, remedy="give other folders with --data")
    keys = hashlib.sha256("\n".join(sorted(seen)).encode()).hexdigest()
    record = {
        "shards": shards,
        "photos": len(seen),
        "left_out": left_out,
        "keys_sha256": keys,
        "size": size,
        "jpeg_quality": _QUALITY,
        "min_chroma": min_chroma,
        "seed": seed,
    }
    (out / "shards.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return record


def _write(out: Path, shards: dict[str, int], batch: list[tuple[str, bytes, bytes]]) -> None:
    """One shard, whole or not at all; empties ``batch``."""
    path = out / f"{len(shards):06d}.tar"
    part = path.with_suffix(".tar.part")
    with tarfile.open(part, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, picture, text in batch:
            for suffix, content in (("jpg", picture), ("json", text)):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    part.replace(path)
    shards[path.name] = len(batch)
    batch.clear()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    p = argparse.ArgumentParser(prog="python -m training.shards", description=__doc__)
    p.add_argument("--data", action="append", required=True, metavar="DIR", help="folder of photos; may be repeated")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the shards go")
    p.add_argument("--size", type=int, default=256, help="shorter side in pixels (default: %(default)s)")
    p.add_argument("--per-shard", type=int, default=1000, help="photos of a shard (default: %(default)s)")
    p.add_argument("--min-chroma", type=float, default=4.0, help="less is near grey (default: %(default)s)")
    p.add_argument("--seed", type=int, default=0, help="of the order (default: %(default)s)")
    p.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    options = vars(p.parse_args(arguments))
    out = options.pop("out")
    try:
        record = write_shards(options.pop("data"), out, progress=True, **options)
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    reasons = ", ".join(f"{count} {reason}" for reason, count in record["left_out"].items())
    print(f"{out}: {record['photos']} photos in {len(record['shards'])} shards; left out: {reasons}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
