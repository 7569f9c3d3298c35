"""What hints and references are worth: colours told or taken from the truth, and how much closer the result comes.

Hints are simulated as in Zhang et al. 2017, section 4.1: the mean colours of small patches of the true photo at random
places. A reference is the photo itself, mirrored and enlarged, which holds all the colours at other places; or another
photo of the set, from which nothing should be taken.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps

from zoo import color
from zoo.errors import ImageError, OptionError, ZooError
from zoo.evaluation import statistics, tables
from zoo.evaluation.candidates import Candidate, candidates
from zoo.evaluation.evaluate import find_photos, printable
from zoo.evaluation.metrics import psnr
from zoo.evaluation.protocol import PRESETS, Prepared, data_hash, prepare
from zoo.reference import Reference

Picture = npt.NDArray[np.uint8]

VERSION = 1  # to be raised when a figure would come out differently from the same photos and weights
FILE = "guidance.json"
COUNTS = (1, 5, 20)  # of hints
PATCH = 7  # pixels a side
ZOOM = 0.8  # the share of the photo's sides that the enlarged one shows
OTHER = 7  # how many photos further on the unrelated reference is
NONE, ITSELF, UNRELATED = "none", "itself", "unrelated"
ROWS = (NONE, *(f"{count} hint{'s' * (count > 1)}" for count in COUNTS), ITSELF, UNRELATED)


def measure(
    models: Sequence[str] | str,
    data: Path,
    *,
    limit: int | None = None,
    device: str | None = None,
    seed: int = 0,
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> dict[str, Any]:
    """The gain over grey of models without help, with hints and with references, a dict for JSON.

    Args:
        models: As for `colorzoo evaluate`; each style by itself.
        data: A folder of colour photos.
        limit: Take the first so many only.
        device: Where the models run; None is the CPU.
        seed: Of the hints' places.
        progress: Wraps the photos' names, to show a bar.

    Raises:
        ZooError: Not one photo can be compared.
        ImageError: No such folder, or no photo in it.
        OptionError: A style that cannot be.
        UnknownModelError: No such model or weights.
        WeightsError: Weights that are missing, damaged or do not fit.
    """
    protocol = PRESETS["center"]
    photos = find_photos(data, limit)
    contestants = candidates([models] if isinstance(models, str) else models, device)
    prepared: dict[str, Prepared] = {}
    for name, path in photos.items():
        try:
            prepared[name] = prepare(path, protocol)
        except ImageError:
            continue
    if len(prepared) < 2:
        raise ZooError("too few photos", found=len(prepared), expected="2 or more in colour")
    names = list(prepared)
    gains: dict[str, dict[str, list[float]]] = {c.label: {row: [] for row in ROWS} for c in contestants}
    for number, name in enumerate(progress(names)):
        other = prepared[names[(number + OTHER) % len(names)] if len(names) > OTHER else names[number - 1]]
        guidances = _guidances(prepared[name], other, np.random.default_rng([seed, *_digits(name)]))
        for candidate in contestants:
            for row, gain in _gains(candidate, prepared[name], guidances).items():
                gains[candidate.label][row].append(gain)
    return {
        "version": VERSION,
        "data": {"name": printable(data.name), "sha256": data_hash(list(photos.values()), list(photos))},
        "photos": len(names),
        "protocol": {
            **asdict(protocol),
            "seed": seed,
            "hints": f"mean colours of {PATCH} x {PATCH} patches of the truth at random places, radius {PATCH // 2}",
            ITSELF: f"the truth's central {ZOOM:g} of each side, mirrored and enlarged",
            UNRELATED: f"the truth of the photo {OTHER} places on",
            "figure": f"PSNR minus that of the grey picture; mean, and {statistics.LEVEL:.0%} bootstrap interval",
        },
        "models": {
            c.label: {
                "sha256": c.weights.get("sha256"),
                "gain": {row: _figure(values) for row, values in gains[c.label].items()},
                "more": {  # than alone
                    row: _figure(np.subtract(values, gains[c.label][NONE]))
                    for row, values in gains[c.label].items()
                    if row != NONE
                },
            }
            for c in contestants
        },
    }


def simulated_hints(truth: Picture, count: int, rng: np.random.Generator) -> list[tuple[int, int, str]]:
    """``count`` points at random places of the photo ``truth`` (H, W, 3), each of the mean colour around it."""
    half = PATCH // 2
    height, width = truth.shape[:2]
    lab = color.rgb_to_lab(torch.from_numpy(np.array(truth)).permute(2, 0, 1).float() / 255)
    points = []
    for y, x in zip(
        rng.integers(half, height - half, count).tolist(), rng.integers(half, width - half, count).tolist(), strict=True
    ):
        mean = lab[:, y - half : y + half + 1, x - half : x + half + 1].mean((1, 2)).view(3, 1, 1)
        ab = color.map_to_gamut(mean[:1], mean[1:])
        rgb = color.lab_to_rgb(torch.cat([mean[:1], ab])).flatten().clamp(0, 1).mul(255).round().int().tolist()
        points.append((x, y, "#{:02x}{:02x}{:02x}".format(*rgb)))
    return points


def mirrored(truth: Picture) -> Picture:
    """The photo's central part, mirrored and enlarged to its size."""
    height, width = truth.shape[:2]
    top, left = round(height * (1 - ZOOM) / 2), round(width * (1 - ZOOM) / 2)
    part = Image.fromarray(truth).crop((left, top, width - left, height - top))
    return np.array(ImageOps.mirror(part.resize((width, height), Image.Resampling.BICUBIC)))


def page(figures: Mapping[str, Any]) -> str:
    """The report, Markdown, of what `measure` gave."""
    rows = []
    for label, model in figures["models"].items():
        more = [_cell(model["more"][row]) for row in ROWS[1:]]
        rows.append([label, _cell(model["gain"][NONE], sign=False), *more])
    header = ["model", "gain over grey, alone", *(f"+ {row}" for row in ROWS[1:4]), "+ the photo itself", "+ another"]
    stated = figures["protocol"]
    return "\n".join(
        [
            "# Hints and references",
            "",
            f"What colours that a person tells are worth, on the {figures['photos']} photos of "
            f"`{figures['data']['name']}` at {stated['size']} × {stated['size']} pixels. The first column is each "
            "model's gain over grey in dB by itself, the others what is added to it; small figures are "
            f"{statistics.LEVEL:.0%} bootstrap intervals.",
            "",
            tables.markdown_table(header, rows),
            "",
            f"- Hints: {stated['hints']}; seed {stated['seed']}. They are spread as `zoo/spreading.py` says.",
            f"- The photo itself as reference: {stated[ITSELF]}. Another: {stated[UNRELATED]}, from which nothing "
            "should be taken. For every model it is the network `fusion` that compares the pictures.",
            "",
            f"Made by `colorzoo guidance` and `colorzoo report`; the figures are in [{FILE}](../results/{FILE}).",
            "",
        ]
    )


def read(path: Path) -> dict[str, Any]:
    """What `measure` gave, from its file.

    Raises:
        ZooError: It cannot be read, or another version wrote it.
    """
    try:
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ZooError(f"{path}: cannot be read", found=error) from error
    if figures.get("version") != VERSION:
        raise ZooError(f"{path}: of another version", found=figures.get("version"), expected=VERSION)
    return figures


def _guidances(photo: Prepared, other: Prepared, rng: np.random.Generator) -> dict[str, dict[str, Any]]:
    hints = {
        row: {"hints": simulated_hints(photo.truth, count, rng), "hint_radius": PATCH // 2}
        for row, count in zip(ROWS[1:], COUNTS, strict=False)
    }
    pictures = {ITSELF: mirrored(photo.truth), UNRELATED: other.truth}
    references = {row: {"reference": Reference.of(picture)} for row, picture in pictures.items()}
    return {NONE: {}, **hints, **references}


def _gains(candidate: Candidate, photo: Prepared, guidances: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    if candidate.network is None:
        raise OptionError(f"{candidate.label} takes no hints")
    canvas = candidate.network.canvas(photo.grey, **candidate.options)
    grey = psnr(photo.grey, photo.truth)
    return {row: psnr(canvas.colorize_array(**given), photo.truth) - grey for row, given in guidances.items()}


def _figure(values: Any) -> dict[str, float]:
    column = np.asarray(values, np.float64)
    low, high = statistics.interval(statistics.replicate_means(column[:, None])[:, 0])
    return {"mean": round(float(column.mean()), 3), "low": round(low, 3), "high": round(high, 3)}


def _cell(figure: Mapping[str, float], *, sign: bool = True) -> str:
    mean, low, high = (f"{figure[key]:{'+' if sign else ''}.2f}".replace("-", "−") for key in ("mean", "low", "high"))
    return f"{mean}<br><sub>{low}&nbsp;to&nbsp;{high}</sub>"


def _digits(name: str) -> list[int]:
    """Numbers that follow from a photo's name, so that its hints do not depend on the other photos."""
    return list(hashlib.sha256(name.encode()).digest()[:8])
