"""How photos become what is compared: what must be equal for two figures to stand in one table."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from zoo import color, images
from zoo.errors import ImageError, OptionError, ZooError
from zoo.evaluation.metrics import METRICS
from zoo.evaluation.statistics import LEVEL, REPLICATES, SEED

Picture = npt.NDArray[np.uint8]
VERSION = 2  # to be raised when a figure would come out differently from the same photos and weights
SIZES = (32, 2048)

# Which preset the literature's benchmarks follow (piddnad/DDColor#9, the author's answer).
CONVENTIONS = {"val5k": "center", "val50k": "squash", "coco-stuff": "squash", "ade20k": "squash"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """What is done to a photo before it is compared.

    Attributes:
        crop: ``center``, the largest central square, or ``none``: the whole photo is squashed to a square.
        size: Side of the compared pictures.
        near_grey: Whether photos without colour of their own are left out of the comparison or kept in it.
        small: Whether photos whose shorter side is below half of ``size`` are left out, or enlarged.
    """

    crop: Literal["center", "none"] = "center"
    size: int = 256
    near_grey: Literal["left out", "kept"] = "left out"
    small: Literal["left out", "enlarged"] = "left out"

    def __post_init__(self) -> None:
        if not SIZES[0] <= self.size <= SIZES[1]:
            raise OptionError(
                "bad size of the compared pictures", found=self.size, expected=f"{SIZES[0]} to {SIZES[1]}"
            )

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> "Protocol":
        """The protocol that a result states.

        Raises:
            ZooError: Another version of the evaluator stated it.
        """
        if stated.get("version") != VERSION:
            raise ZooError(
                "results of another version of the evaluator",
                found=stated.get("version"),
                expected=VERSION,
                remedy="evaluate again",
            )
        return cls(**{field.name: stated[field.name] for field in fields(cls)})

    def stated(self) -> dict[str, Any]:
        """Everything that two results must share to be compared, for the result's file."""
        return {
            "version": VERSION,
            **asdict(self),
            "resize": "bicubic with antialiasing (Pillow), from the upright 8-bit sRGB photo",
            "color": "CIE Lab, D65, 2 degrees (zoo.color)",
            "input": "the 8-bit sRGB grey of the same L",
            "output": "8-bit sRGB, as `colorize_array` gives it",
            "bootstrap": f"percentile {LEVEL:.0%} intervals, {REPLICATES} replicates over pictures, seed {SEED}",
            "metrics": {metric.name: metric.variant for metric in METRICS.values()},
        }


PRESETS: Mapping[str, Protocol] = {"center": Protocol(), "squash": Protocol(crop="none")}


def protocol_of(benchmark: str) -> Protocol:
    """The protocol that a benchmark of this name has in the literature, which leaves out no photo; else the default."""
    if benchmark in CONVENTIONS:
        return replace(PRESETS[CONVENTIONS[benchmark]], near_grey="kept", small="enlarged")
    return PRESETS["center"]


class Prepared(NamedTuple):
    """A photo ready to be compared, both (size, size, 3) and 8-bit: its true colours, and the grey of the same L."""

    truth: Picture
    grey: Picture


def prepare(path: Path, protocol: Protocol) -> Prepared:
    """The photo at ``path`` as ``protocol`` wants it.

    Raises:
        ImageError: It cannot be read, or is left out for its lack of colour or its size.
    """
    photo = images.read(path)
    image = images.to_pil(images.to_8_bit(photo.pixels)).convert("RGB")
    size = (protocol.size, protocol.size)
    if protocol.small == "left out" and min(image.size) * 2 < protocol.size:
        least = f"shorter side {-(-protocol.size // 2)} or more"
        raise ImageError(f"{path}: is too small", found=f"{image.width} x {image.height}", expected=least)
    if protocol.crop == "center":
        image = ImageOps.fit(image, size, Image.Resampling.BICUBIC)
    else:
        image = image.resize(size, Image.Resampling.BICUBIC)
    truth = np.array(image)
    if protocol.near_grey == "left out" and not color.has_color(truth):
        raise ImageError(f"{path}: has no colour of its own", remedy="true colours are what is compared with")
    prepared = Prepared(truth, grey_of(truth))
    for array in prepared:
        array.flags.writeable = False  # all candidates share it
    return prepared


def grey_of(rgb: Picture) -> Picture:
    """The 8-bit grey of the same L, (H, W, 3)."""
    from zoo.models.grayscale import Grayscale, GrayscaleConfig

    return Grayscale(GrayscaleConfig()).colorize_array(rgb)


def data_hash(photos: Sequence[Path], names: Sequence[str]) -> str:
    """The sha256 of a list of photos, of their names and contents; one that cannot be opened counts as such."""
    total = hashlib.sha256()
    for path, name in zip(photos, names, strict=True):
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            digest = f"unreadable: {type(error).__name__}"
        total.update(f"{name}\0{digest}\n".encode())
    return total.hexdigest()
