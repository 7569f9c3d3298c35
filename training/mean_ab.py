"""``python -m training.mean_ab DIR --out zoo/evaluation/mean_ab.json``: the evaluator's baseline, one mean colour.

Each photo counts alike, whatever its size.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from training.config import DataConfig
from training.photos import find_photos, open_photo, to_lab
from zoo.errors import ZooError


def mean_ab(folders: Sequence[str]) -> dict[str, object]:
    """The mean ab of the photos in ``folders``, their number, and the sha256 of their names and contents.

    Raises:
        ConfigError: A folder that is missing, or too few photos.
    """
    photos = find_photos(DataConfig(folders=tuple(folders), min_chroma=0.0))
    total = torch.zeros(2, dtype=torch.float64)
    every = [*photos.train, *photos.valid]
    for photo in every:
        total += to_lab(open_photo(photo.path, 256))[1:].double().mean((1, 2))
    return {
        "mean_ab": [round(value, 3) for value in (total / len(every)).tolist()],
        "photos": len(every),
        "sha256": photos.digest,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m training.mean_ab", description=__doc__)
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folders of training photos")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args(arguments)
    try:
        text = json.dumps(mean_ab(options.folders), indent=2) + "\n"
    except ZooError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    options.out.write_text(text, encoding="utf-8")
    print(f"{options.out}: {text.strip()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
