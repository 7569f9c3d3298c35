"""How fast a model is, as ratios taken in one run: against its own plain forward pass, against Pillow's file work."""

import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

from zoo.colorizer import inference_autocast
from zoo.evaluation import cost
from zoo.loading import describe, load

QUALITY = 95
MEGAPIXELS = {"12 MP": (4000, 3000), "24 MP": (6000, 4000)}


def bench(name: str, *, repeats: int = 9, progress: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """The speed of a model on this machine: figures, and the ratios that say whether they are good.

    Args:
        name: A model with weights.
        repeats: Timed rounds; in each, everything that is compared runs once. Medians are reported.
        progress: Told what is being measured.

    Returns:
        A dict for JSON: ``machine``, ``seconds`` (median of each figure), ``ratios`` and ``peak_memory_mb``.
    """
    describe(name)  # the imports that this brings are not the model's own time
    started = time.perf_counter()
    model = load(name)
    seconds = {"load": time.perf_counter() - started}
    size = model.spec.working_size
    progress("forward pass and a 512x512 photo")
    small = _photo(512, 512)
    seconds |= _rounds(
        {
            "forward": _forward(model, size),
            "end to end 512x512": lambda: model.colorize(small),
            "forward of an ECCV16-shaped network": _forward(_eccv16_shaped(), 256),
            "forward at 256": _forward(model, 256),
        },
        repeats,
    )
    progress("a 12-megapixel grey JPEG, file to file")
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "grey.jpg", Path(folder) / "color.jpg"
        photo = _photo(*MEGAPIXELS["12 MP"])
        photo.convert("L").save(source, quality=QUALITY)
        seconds |= _rounds(
            {
                "12 MP file to file": lambda: model.colorize_file(source, target, quality=QUALITY, overwrite=True),
                "12 MP Pillow decode and encode": lambda: _pillow(source, target, photo),
            },
            max(3, repeats // 2),
        )
        progress("memory at 24 megapixels")
        _photo(*MEGAPIXELS["24 MP"]).convert("L").save(source, quality=QUALITY)
        peak = cost.peak_memory(name, source, target)
    return {
        "model": name,
        "weights": model.weights.tag if model.weights else None,
        "machine": cost.machine() | cost.versions("colorzoo", "torch", "timm", "numpy", "pillow"),
        "repeats": repeats,
        "seconds": {k: round(v, 6) for k, v in seconds.items()},
        "ratios": {
            "end to end 512x512 / forward": round(seconds["end to end 512x512"] / seconds["forward"], 2),
            "12 MP file to file / Pillow decode and encode": round(
                seconds["12 MP file to file"] / seconds["12 MP Pillow decode and encode"], 2
            ),
            "ECCV16-shaped forward / forward at 256": round(
                seconds["forward of an ECCV16-shaped network"] / seconds["forward at 256"], 2
            ),
        },
        "peak_memory_mb": {"24 MP file to file": peak},
    }


def _rounds(jobs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The median seconds of each job, taken in turn so that a drifting machine does not favor one."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(repeats + 1):  # the first round warms up
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            if turn:
                times[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in times.items()}


def _forward(network: nn.Module, size: int) -> Callable[[], object]:
    network = network.eval().to(memory_format=torch.channels_last)
    L = torch.rand(1, 1, size, size, generator=torch.Generator().manual_seed(0)) * 100

    def run() -> None:
        with torch.inference_mode(), inference_autocast(L.device):
            network(L)

    return run


def _photo(width: int, height: int) -> Image.Image:
    """A seeded picture with edges, gradients and grain, so that codecs and gamut mapping have work to do."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    grain: npt.NDArray[Any] = rng.integers(-6, 7, (height, width, 1), np.int16)
    return Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8))


def _pillow(source: Path, target: Path, photo: Image.Image) -> None:
    with Image.open(source) as image:
        image.load()
    photo.save(target, quality=QUALITY)


def _eccv16_shaped() -> nn.Module:
    """A random network with the shapes of Zhang et al.'s ECCV16 model (32.2 M parameters), for comparison of speed.

    Source: Zhang et al. 2016; richzhang/colorization:colorizers/eccv16.py.
    """

    def block(*widths: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
        layers: list[nn.Module] = []
        for i, (inputs, outputs) in enumerate(pairwise(widths)):
            last = i == len(widths) - 2
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride if last else 1, dilation, dilation),
                nn.ReLU(inplace=True),
            ]
        return nn.Sequential(*layers, nn.BatchNorm2d(widths[-1]))

    return nn.Sequential(
        block(1, 64, 64, stride=2),
        block(64, 128, 128, stride=2),
        block(128, 256, 256, 256, stride=2),
        block(256, 512, 512, 512),
        block(512, 512, 512, 512, dilation=2),
        block(512, 512, 512, 512, dilation=2),
        block(512, 512, 512, 512),
        nn.ConvTranspose2d(512, 256, 4, 2, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, 1, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 256, 3, 1, 1),
        nn.ReLU(inplace=True),
        nn.Conv2d(256, 313, 1),
        nn.Softmax(1),
        nn.Conv2d(313, 2, 1, bias=False),
        nn.Upsample(scale_factor=4, mode="bilinear"),
    )
