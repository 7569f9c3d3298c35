"""How a run looks up: held-out photos through the weights it has so far."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from zoo import color, grid
from zoo.colorizer import Batch, Colorizer
from zoo.evaluation.metrics import colorfulness_abs, psnr

_GRID_PHOTOS = 12
Autocast = Callable[[], AbstractContextManager[Any]]


@torch.inference_mode()
def evaluate(
    model: Colorizer[Any], photos: Sequence[Tensor], device: torch.device, autocast: Autocast
) -> tuple[dict[str, float], Image.Image]:
    """dB gained over grey and colorfulness against the truth's, mean over the photos, for every style of the model.

    Args:
        model: In evaluation mode.
        photos: Lab, (3, H, W) each, H and W multiples of ``spec.multiple_of``.
        device: Where the model is.
        autocast: The precision it runs in.

    Returns:
        The figures, and the first photos in a grid of grey, the model's styles and the truth.
    """
    styles: tuple[str | None, ...] = model.spec.styles or (None,)
    gains: dict[str, list[float]] = {}
    fulness: dict[str, list[float]] = {}
    rows: list[list[Image.Image | None]] = []
    for lab in photos:
        L, truth = lab[:1], lab[1:]
        true_rgb, grey = _rgb(L, truth), _rgb(L, torch.zeros_like(truth))
        fulness.setdefault("truth", []).append(colorfulness_abs(true_rgb))
        pictures = [grey]
        for style in styles:
            options = {} if style is None else {"style": style}
            with autocast():
                ab = model.predict_ab(L[None].to(device), **options).float().cpu()
            ab = nn.functional.interpolate(ab, lab.shape[-2:], mode="bilinear", align_corners=False)[0]
            rgb = _rgb(L, ab)
            gains.setdefault(style or "", []).append(psnr(rgb, true_rgb) - psnr(grey, true_rgb))
            fulness.setdefault(style or "", []).append(colorfulness_abs(rgb))
            pictures.append(rgb)
        if len(rows) < _GRID_PHOTOS:
            rows.append([Image.fromarray(p) for p in (*pictures, true_rgb)])
    truth_fulness = float(np.mean(fulness.pop("truth")))
    figures: dict[str, float] = {}
    for style_name, values in gains.items():
        prefix = f"{style_name} " if style_name else ""
        figures[f"{prefix}gain"] = float(np.mean(values))
        figures[f"{prefix}colorfulness"] = float(np.mean(fulness[style_name])) / truth_fulness
    return figures, grid.grid(rows, ["grey", *(s or model.spec.name for s in styles), "truth"], cell=192)


@torch.no_grad()
def renew_statistics(model: Colorizer[Any], batches: Iterable[Batch], autocast: Autocast) -> None:
    """Give averaged weights batch-norm statistics of their own: those of the moving ones do not fit them.

    Args:
        model: In training mode, but for what is to keep its statistics.
        batches: What they are taken from.
        autocast: The precision the model runs in.

    Source: Izmailov et al., "Averaging Weights Leads to Wider Optima", UAI 2018, section 3.2.
    """
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training]
    if not norms:
        return
    before = [(norm.momentum, {k: v.clone() for k, v in norm.named_buffers()}) for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
    for batch in batches:
        with autocast():
            model(batch.L, batch.features)
    for norm, (momentum, buffers) in zip(norms, before, strict=True):
        norm.momentum = momentum
        if not norm.num_batches_tracked:  # of another role, which does not colour
            norm.load_state_dict(buffers, strict=False)


def _rgb(L: Tensor, ab: Tensor) -> npt.NDArray[np.uint8]:
    rgb = color.lab_to_rgb(torch.cat([L, color.map_to_gamut(L, ab)])).clamp(0, 1)
    picture: npt.NDArray[np.uint8] = (rgb * 255).round().byte().permute(1, 2, 0).numpy()
    return picture
