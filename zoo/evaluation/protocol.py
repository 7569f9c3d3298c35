"""How photos become what is compared: what must be equal for two figures to stand in one table."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps

from zoo import ageing, color, images
from zoo.errors import ImageError, OptionError, ZooError
from zoo.evaluation.metrics import METRICS
from zoo.evaluation.statistics import LEVEL, REPLICATES, SEED

Picture = npt.NDArray[np.uint8]
VERSION = 3  # to be raised when a figure would come out differently from the same photos and weights
SIZES = (32, 2048)
AGED = "_aged"  # the names of benchmarks of aged photos end with it
AGEING_SEED = 0

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
        ageing: ``none``, or ``seeded``: the lightness is aged as `zoo.ageing.age` does it, and the truth is the aged
            photo in its true colours. How a photo ages depends on its pixels alone, not on its name or the others.
    """

    crop: Literal["center", "none"] = "center"
    size: int = 256
    near_grey: Literal["left out", "kept"] = "left out"
    small: Literal["left out", "enlarged"] = "left out"
    ageing: Literal["none", "seeded"] = "none"

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
        stated = {
            "version": VERSION,
            **asdict(self),
            "resize": "bicubic with antialiasing (Pillow), from the upright 8-bit sRGB photo",
            "color": "CIE Lab, D65, 2 degrees (zoo.color)",
            "input": "the 8-bit sRGB grey of the same L",
            "output": "8-bit sRGB, as `colorize_array` gives it",
            "bootstrap": f"percentile {LEVEL:.0%} intervals, {REPLICATES} replicates over pictures, seed {SEED}",
            "metrics": {metric.name: metric.variant for metric in METRICS.values()},
        }
        if self.ageing == "seeded":
            stated["truth"] = (
                "the aged L (zoo.ageing) with the true ab, mapped to the gamut at fixed L and hue; the dice are seeded "
                f"with {AGEING_SEED} and the sha256 of the unaged photo's pixels"
            )
        return stated


PRESETS: Mapping[str, Protocol] = {
    "center": Protocol(),
    "squash": Protocol(crop="none"),
    "aged": Protocol(ageing="seeded"),
}


def protocol_of(benchmark: str) -> Protocol:
    """The protocol that a benchmark of this name has in the literature, which leaves out no photo; else the default.

    A name that ends with ``_aged`` stands for the same photos aged: ``val5k_aged`` are those of ``val5k``.
    """
    if benchmark.endswith(AGED):
        return replace(protocol_of(benchmark.removesuffix(AGED)), ageing="seeded")
    if benchmark in CONVENTIONS:
        return replace(PRESETS[CONVENTIONS[benchmark]], near_grey="kept", small="enlarged")
    return PRESETS["center"]


class Prepared(NamedTuple):
    """A photo ready to be compared, both (size, size, 3) and 8-bit: its true colours, and the grey of the same L.

    Of an aged photo both have the aged L.
    """

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
    if protocol.ageing == "seeded":
        truth = _aged(truth)
    prepared = Prepared(truth, grey_of(truth))
    for array in prepared:
        array.flags.writeable = False  # all candidates share it
    return prepared


def _aged(rgb: Picture) -> Picture:
    """The photo, (H, W, 3), with its lightness aged and the ab it had, as far as sRGB can show them together."""
    rng = np.random.default_rng([AGEING_SEED, int.from_bytes(hashlib.sha256(rgb.tobytes()).digest())])
    lab = color.rgb_to_lab(torch.from_numpy(rgb).permute(2, 0, 1).float() / 255)
    L = ageing.age(lab[0], rng)[None]  # (1, H, W)
    aged = color.lab_to_rgb(torch.cat([L, color.map_to_gamut(L, lab[1:])]))
    return (aged.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).contiguous().numpy()


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
