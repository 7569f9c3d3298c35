"""Models x a folder of colour photos -> figures, under one stated protocol."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from zoo import images
from zoo.colorizer import Colorizer
from zoo.errors import ImageError, ZooError
from zoo.evaluation.metrics import colorfulness_abs, psnr

Answer = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.uint8]]


def evaluate(
    answers: dict[str, Answer],
    photos: Sequence[Path],
    *,
    size: int = 256,
    progress: Callable[[Iterable[Path]], Iterable[Path]] = iter,
) -> dict[str, Any]:
    """How close each model comes to the true colours, beside the grey picture of the same lightness.

    Args:
        answers: By label: what colours an 8-bit picture (H, W, 3). `answers_of` makes one from a model.
        photos: Colour photos; each is cropped to its largest central square, resized to ``size`` (bicubic).
        size: Side of the compared pictures.
        progress: Wraps the photos, to show a bar.

    Returns:
        A dict for JSON: the protocol, the photos that could not be read, and by label the mean ``psnr`` (dB),
        ``gain`` over grey (dB), ``colorfulness`` (cf_abs) and its share of the photos' own.

    Raises:
        ZooError: Not one photo could be read.
    """
    from zoo.models.grayscale import Grayscale, GrayscaleConfig

    grayscale = Grayscale(GrayscaleConfig())
    rows: dict[str, list[tuple[float, float, float]]] = {label: [] for label in ("grayscale", *answers)}
    truth: list[float] = []
    unread: dict[str, str] = {}
    for path in progress(photos):
        try:
            photo = images.read(path)
        except ImageError as error:
            unread[str(path)] = str(error)
            continue
        image = images.to_pil(images.to_8_bit(photo.pixels)).convert("RGB")
        true = np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC))
        grey = grayscale.colorize_array(true)
        base = psnr(grey, true)
        truth.append(colorfulness_abs(true))
        rows["grayscale"].append((base, 0.0, colorfulness_abs(grey)))
        for label, answer in answers.items():
            colored = answer(grey)
            value = psnr(colored, true)
            rows[label].append((value, value - base, colorfulness_abs(colored)))
    if not truth:
        raise ZooError("not one photo could be read", found=f"{len(photos)} files", expected="colour photos")
    full = float(np.mean(truth))
    figures = {}
    for label, values in rows.items():
        mean_psnr, gain, fulness = (float(v) for v in np.mean(values, axis=0))
        figures[label] = {
            "psnr": round(mean_psnr, 3),
            "gain": round(gain, 3),
            "colorfulness": round(fulness, 2),
            "colorfulness_share": round(fulness / full, 3),
        }
    return {
        "protocol": {
            "crop": "largest central square",
            "resize": f"bicubic to {size}",
            "input": "the 8-bit sRGB grey of the same L",
            "psnr": "RGB, 8 bits, mean over photos",
            "colorfulness": "cf_abs, mean over photos",
            "photos": len(truth),
        },
        "unread": unread,
        "truth": {"colorfulness": round(full, 2)},
        "models": figures,
    }


def answers_of(model: Colorizer[Any], name: str) -> dict[str, Answer]:
    """What `evaluate` takes, by label: one answer of the model, or one for each of its styles."""

    def answer(options: dict[str, str]) -> Answer:
        return lambda grey: model.colorize_array(grey, style=options.get("style"))

    if not model.spec.styles:
        return {name: answer({})}
    return {f"{name}:{style}": answer({"style": style}) for style in model.spec.styles}
