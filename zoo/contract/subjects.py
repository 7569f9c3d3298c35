"""What models are checked on: made-up pictures, and a batch to learn from."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import color, pipeline
from zoo.colorizer import Batch, Colorizer

AB_STRIDE = 4  # of the true colours in a training batch
WORKING_SIZE = 64  # small, where a check does not depend on it

Array = npt.NDArray[Any]


def picture(height: int, width: int, seed: int = 0) -> Array:
    """A made-up colour picture, (H, W, 3) float32 sRGB in [0, 1]: soft blobs with some grain."""
    rng = np.random.default_rng(seed)
    blobs = torch.from_numpy(rng.random((1, 3, 4, 4), dtype=np.float32))
    smooth = F.interpolate(blobs, (height, width), mode="bilinear", align_corners=True)[0].permute(1, 2, 0)
    return np.clip(smooth.numpy() + rng.normal(0, 0.05, (height, width, 3)), 0, 1).astype(np.float32)


def fitted(model: Colorizer[Any], rgb: Array) -> Tensor:
    """What the network sees of a picture, (1, 1, h, w)."""
    L = color.lightness(torch.from_numpy(rgb).permute(2, 0, 1)[None])
    return pipeline.fit(L, model.spec.working_size, model.spec.multiple_of)[0]


def training_batch(model: Colorizer[Any]) -> Batch:
    """Four tiny pictures to learn: each lighter than the one before, and all of one colour of its own."""
    side = -(-WORKING_SIZE // model.spec.multiple_of) * model.spec.multiple_of
    grain = torch.from_numpy(np.stack([picture(side, side, seed)[..., 0] for seed in range(4)]))[:, None]
    L = grain * 20 + torch.tensor([10.0, 30.0, 50.0, 70.0]).view(4, 1, 1, 1)
    hues = torch.tensor([[20.0, 10.0], [-15.0, 15.0], [5.0, -20.0], [-5.0, 30.0]])
    side = side // AB_STRIDE
    return Batch(L, hues[:, :, None, None].expand(4, 2, side, side).contiguous())


def as_dtype(rgb: Array, dtype: str) -> Array:
    """A float32 picture in [0, 1] as ``dtype``: float32, or uint8 or uint16 of full range."""
    return rgb if dtype == "float32" else (rgb * np.iinfo(dtype).max).round().astype(dtype)


def lightness(rgb: Array) -> Array:
    """L of sRGB of any dtype, in double precision."""
    top = 1.0 if rgb.dtype.kind == "f" else float(np.iinfo(rgb.dtype).max)
    planes = torch.from_numpy(rgb.astype(np.float64) / top).permute(2, 0, 1)
    L: Array = color.rgb_to_lab(planes)[0].numpy()
    return L
