"""Picture -> L -> network at working size -> edge-aware ab -> picture, as pure functions that know no model.

A picture is read and painted in strips of rows: what is made of a strip stays in the processor's cache and in memory
that is used again for the next one; no full-size L or ab is ever made.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo import color, upsampling
from zoo.errors import ImageError, OptionError, ZooError

Predict = Callable[[Tensor], Tensor]  # L (N, 1, h, w) in [0, 100] -> ab (N, 2, h', w') in Lab units, h' <= h, w' <= w
Array = npt.NDArray[Any]

_STRIP_PIXELS = 1 << 18  # large enough for torch's overhead, small enough for the cache
_KEPT_BYTES = 31 << 20  # of free memory; from more than 32 MB at once glibc learns nothing
_LONG_SIDE = 8  # times the working size, for very long pictures
_GAP = 2  # how much of a reduction is left to the antialiased filter after averaging whole blocks
_HAIR = 1e-3  # by how much a float picture may leave [0, 1]


class Geometry(NamedTuple):
    """Where a fitted picture lies: (height, width) of it and of the padded one whose top left corner it is."""

    size: tuple[int, int]
    padded: tuple[int, int]


def fit(L: Tensor, working_size: int, multiple_of: int) -> tuple[Tensor, Geometry]:
    """``L`` (N, 1, H, W) resized, antialiased, to the area working_size^2 and padded; where it lies in there.

    The aspect ratio is kept up to whole pixels; the long side is at most 8 working sizes. The padding at the right
    and bottom, to multiples of ``multiple_of``, mirrors the picture, or repeats its edge where it is too small.
    Any linear function of L may be given in its place.
    """
    geometry = fitted(L.shape[2], L.shape[3], working_size, multiple_of)
    block = _block((L.shape[2], L.shape[3]), geometry)
    return _fit_cells(_average(L, block), (L.shape[2] / block[0], L.shape[3] / block[1]), geometry), geometry


def pad(small: Tensor, geometry: Geometry) -> Tensor:
    """``small`` (N, C, *geometry.size) padded at the right and bottom as `fit` does."""
    for dim, (side, padded) in enumerate(zip(geometry.size, geometry.padded, strict=True)):
        sides = [0, 0, 0, padded - side] if dim == 0 else [0, padded - side, 0, 0]
        small = F.pad(small, sides, mode="reflect" if padded - side < side else "replicate")
    return small


def unfit(maps: Tensor, geometry: Geometry) -> Tensor:
    """``maps`` (N, C, h, w) of a padded picture, at any stride, as (N, C, *size) without the padding."""
    height, width = geometry.size
    if tuple(maps.shape[2:]) != geometry.padded:
        maps = upsampling.bilinear_upsample(maps, geometry.padded)
    return maps[:, :, :height, :width]


def colorize_array(
    array: Array, predict: Predict, *, working_size: int, multiple_of: int, saturation: float = 1.0
) -> Array:
    """A new array of the picture in color: same size and dtype, (H, W, 3), or (H, W, 4) where alpha came in.

    The lightness of the picture is kept; colors it may have are ignored.

    Args:
        array: sRGB (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8, uint16, or float32 or float64 in [0, 1].
        predict: The network, from L (1, 1, h, w) in [0, 100] to ab (1, 2, h', w') in Lab
            units, h' <= h and w' <= w.
        working_size: Side of the square of whose area the network's input is.
        multiple_of: What the sides of the network's input are multiples of.
        saturation: Factor on ab.

    Raises:
        ImageError: The array is not a picture.
        OptionError: A size or the saturation is out of range.
        ZooError: The prediction has the wrong shape or is not finite.
    """
    return _colorized(np.asarray(array), predict, working_size, multiple_of, saturation, in_place=False)


def colorize_in_place(
    array: Array, predict: Predict, *, working_size: int, multiple_of: int, saturation: float = 1.0
) -> Array:
    """As :func:`colorize_array`, but ``array`` itself where it has room for colors and can be written to.

    For pictures that are not needed any more: the memory of a second one is saved.
    """
    return _colorized(np.asarray(array), predict, working_size, multiple_of, saturation, in_place=True)


def _colorized(
    array: Array, predict: Predict, working_size: int, multiple_of: int, saturation: float, *, in_place: bool
) -> Array:
    _check_picture(array)
    _check_sizes(working_size, multiple_of)
    _check_saturation(saturation)
    geometry = fitted(array.shape[0], array.shape[1], working_size, multiple_of)
    strips = _Strips(array, _block(array.shape[:2], geometry))
    with torch.no_grad():
        maps = strips.maps(predict, geometry) * saturation
        roomy = array.ndim == 3 and array.shape[2] >= 3 and array.flags.writeable
        return strips.painted(maps, array if in_place and roomy else None)


def predict_maps(array: Array, predict: Predict, *, working_size: int, multiple_of: int) -> Tensor:
    """What :func:`paint` needs of the network, (4, h, w) at working size; arguments as in :func:`colorize_array`.

    Raises:
        ImageError: The array is not a picture.
        OptionError: A size is out of range.
        ZooError: The prediction has the wrong shape or is not finite.
    """
    array = np.asarray(array)
    _check_picture(array)
    _check_sizes(working_size, multiple_of)
    geometry = fitted(array.shape[0], array.shape[1], working_size, multiple_of)
    with torch.no_grad():
        return _Strips(array, _block(array.shape[:2], geometry)).maps(predict, geometry)


def paint(array: Array, maps: Tensor, *, saturation: float = 1.0) -> Array:
    """The picture in the colors of ``maps``: what :func:`colorize_array` makes, without the network.

    Args:
        array: The picture that the maps were predicted for, as in :func:`colorize_array`.
        maps: What :func:`predict_maps` gave, (4, h, w).
        saturation: Factor on ab.

    Raises:
        ImageError: The array is not a picture.
        OptionError: The saturation is out of range.
    """
    array = np.asarray(array)
    _check_picture(array)
    _check_saturation(saturation)
    with torch.no_grad():
        return _Strips(array).painted(maps * saturation)


def predict_lab(
    array: Array, predict: Predict, *, working_size: int, multiple_of: int, saturation: float = 1.0
) -> Tensor:
    """Lab (3, H, W), float32: the picture's own L and the model's ab at full size, before the gamut mapping.

    Arguments and errors are those of :func:`colorize_array`, which shows the same colors as far as sRGB can.
    """
    array = np.asarray(array)
    _check_picture(array)
    _check_sizes(working_size, multiple_of)
    _check_saturation(saturation)
    with torch.no_grad():
        f = _compressed_luminance(array)
        small, geometry = fit(f[None, None], working_size, multiple_of)
        maps = _color_maps(small, geometry, predict) * saturation
        slope_x, slope_z, dx, dz = upsampling.bilinear_upsample(maps, (array.shape[0], array.shape[1]))[0]
        return torch.stack([color.lightness_from_f(f), 500 * (slope_x * f + dx), -200 * (slope_z * f + dz)])


def colorize_batch(
    rgb: Tensor, predict: Predict, *, working_size: int, multiple_of: int, saturation: float = 1.0
) -> Tensor:
    """The pictures ``rgb`` (N, 1 or 3, H, W) in [0, 1] in color: (N, 3, H, W) of the same dtype and device.

    ``predict`` sees the whole batch at once; the rest is as in :func:`colorize_array`.

    Raises:
        ImageError: The tensor is not a batch of pictures.
        OptionError: A size or the saturation is out of range.
        ZooError: The prediction has the wrong shape or is not finite.
    """
    if rgb.ndim != 4 or rgb.shape[1] not in (1, 3) or not rgb.is_floating_point() or rgb.numel() == 0:
        raise ImageError(
            "not a batch of pictures",
            found=f"{tuple(rgb.shape)} of {rgb.dtype}",
            expected="(N, 1 or 3, H, W), floating point, not empty",
        )
    _check_range(float(rgb.min()), float(rgb.max()))
    _check_sizes(working_size, multiple_of)
    _check_saturation(saturation)
    with torch.no_grad():
        linear = color.srgb_to_linear(rgb.to(torch.float32).clamp(0, 1)).expand(-1, 3, -1, -1)
        f = color.compress(color.luminance(linear[:, :1], linear[:, 1:2], linear[:, 2:]))  # (N, 1, H, W)
        small, geometry = fit(f, working_size, multiple_of)
        maps = _color_maps(small, geometry, predict) * saturation
        height, width = f.shape[2:]
        strips = _strips(height, width, 1)
        result = torch.empty_like(linear, memory_format=torch.contiguous_format)
        for plane, own_maps, picture in zip(f[:, 0], maps, result, strict=True):
            for strip in strips:
                picture[:, strip] = color.linear_to_srgb(_paint(plane[strip], own_maps, strip, height))
    return result.clamp_(0, 1).to(rgb.dtype)


def fitted(height: int, width: int, working_size: int, multiple_of: int) -> Geometry:
    """The size and the padded size at which a picture of ``height`` x ``width`` meets the network."""
    scale = min(working_size / math.sqrt(height * width), _LONG_SIDE * working_size / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    return Geometry(size, (-(-size[0] // multiple_of) * multiple_of, -(-size[1] // multiple_of) * multiple_of))


class _Strips:
    """A picture in strips of rows, and what is made of each."""

    def __init__(self, array: Array, block: tuple[int, int] = (1, 1)) -> None:
        torch.empty(_KEPT_BYTES, dtype=torch.uint8)  # glibc keeps what it once saw freed: no strip has to fetch it anew
        self.array, self.block = array, block
        self.slices = slices = _strips(array.shape[0], array.shape[1], block[0])
        # small pictures keep what was made of them; of large ones it is made twice, which costs less than storing it
        self.compressed = lru_cache(maxsize=4)(lambda n: _compressed_luminance(array[slices[n]]))  # f(Y) of the n-th

    def maps(self, predict: Predict, geometry: Geometry) -> Tensor:
        """As `predict_maps`."""
        height, width = self.array.shape[:2]
        cells = torch.empty(1, *(-(-side // step) for side, step in zip((height, width), self.block, strict=True)))
        for n, strip in enumerate(self.slices):  # into one array: small ones would lie between holes in the heap
            top = strip.start // self.block[0]
            part = _average(self.compressed(n)[None], self.block)
            cells[:, top : top + part.shape[1]] = part
        small = _fit_cells(cells[None], (height / self.block[0], width / self.block[1]), geometry)
        return _color_maps(small, geometry, predict)[0]

    def painted(self, maps: Tensor, result: Array | None = None) -> Array:
        """As `paint`, into ``result`` if given, which may be the picture: of a strip painted, no more is asked."""
        height, width = self.array.shape[:2]
        alpha = self.array.shape[2:] == (4,)
        if result is None:
            result = np.empty((height, width, 4 if alpha else 3), self.array.dtype)
        for n, strip in enumerate(self.slices):
            linear = _paint(self.compressed(n), maps, strip, height)
            for channel, plane in enumerate(_encode(linear, self.array.dtype).numpy()):
                result[strip, :, channel] = plane
        if alpha and result is not self.array:
            result[..., 3] = self.array[..., 3]
        return result


def _block(size: tuple[int, ...], geometry: Geometry) -> tuple[int, int]:
    """The block of pixels of a picture of ``size`` that is averaged to one cell before the antialiased resize."""
    height, width = (max(1, side // (target * _GAP)) for side, target in zip(size, geometry.size, strict=True))
    return height, width


def _average(x: Tensor, block: tuple[int, int]) -> Tensor:
    """``x`` (..., H, W) averaged over whole blocks, and over what there is of one at the right and bottom."""
    return x if block == (1, 1) else F.avg_pool2d(x, block, ceil_mode=True, count_include_pad=False)


def _strips(height: int, width: int, step: int) -> list[slice]:
    """Slices of rows that cover a picture, each a multiple of ``step`` high but the last."""
    rows = max(1, _STRIP_PIXELS // (width * step)) * step
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def _fit_cells(cells: Tensor, extent: tuple[float, float], geometry: Geometry) -> Tensor:
    """``cells`` (N, 1, h, w), of which the picture covers ``extent``, antialiased and padded to ``geometry``."""
    # The last cell may be a part of one, so the exact scale is given; the size follows from it, or is one more.
    scale = [target / cover * (1 + 1e-9) for target, cover in zip(geometry.size, extent, strict=True)]
    small = F.interpolate(cells, scale_factor=scale, mode="bilinear", antialias=True, recompute_scale_factor=False)[
        :, :, : geometry.size[0], : geometry.size[1]
    ]
    return pad(small, geometry)


def _color_maps(small: Tensor, geometry: Geometry, predict: Predict) -> Tensor:
    """Maps (N, 4, *size) of the network's answer: a / 500 = m0 f + m2, -b / 200 = m1 f + m3; ``small`` is f, fitted."""
    L = color.lightness_from_f(small)
    ab = predict(L)
    check_prediction(ab, L)
    return unfit(maps_of(ab.to(L.device, torch.float32), L), geometry)


def maps_of(ab: Tensor, L: Tensor, **guided: Any) -> Tensor:
    """The maps (N, 4, h, w) that :func:`paint` takes, of ``ab`` (N, 2, h, w); by them ab is linear in f.

    Args:
        ab: In Lab units.
        L: The guide, (N, 1, H, W) in [0, 100], H >= h, W >= w.
        guided: As in :func:`zoo.upsampling.guided_coefficients`.
    """
    maps = upsampling.guided_coefficients(ab, L, **guided)
    slope, offset = maps[:, :2], maps[:, 2:]
    units = L.new_tensor([1 / 500, -1 / 200]).view(1, 2, 1, 1)
    return torch.cat([116 * slope * units, (offset - 16 * slope) * units], 1)  # L = 116 f - 16


def _paint(f: Tensor, maps: Tensor, strip: slice, height: int) -> Tensor:
    """Linear sRGB (3, rows, W), in the gamut, of the rows ``strip`` of a picture: their f (rows, W) and ``maps``."""
    rows, width = f.shape
    cells = maps.shape[1]
    center = (torch.arange(strip.start, strip.stop, device=f.device) + 0.5) * (cells / height) - 0.5
    center.clamp_(0, cells - 1)
    first, last = int(center[0]), min(int(center[-1]) + 2, cells)
    wide = upsampling.bilinear_upsample(maps[None, :, first:last], (last - first, width))[0]
    above = center.long()
    below, between = (above + 1).clamp_(max=cells - 1) - first, (center - above)[:, None]
    slope_x, slope_z, dx, dz = (
        plane.index_select(0, above - first).lerp_(plane.index_select(0, below), between).flatten() for plane in wide
    )  # each (rows * W,)
    fy = f.flatten()
    linear = color.linear_rgb_in_gamut(fy, dx.addcmul_(slope_x, fy), dz.addcmul_(slope_z, fy))
    return linear.view(3, rows, width)


def _compressed_luminance(pixels: Array) -> Tensor:
    """f(Y) (rows, W) of the ``pixels`` (rows, W[, 1 | 3 | 4]) of a picture."""
    channels = 3 if pixels.ndim == 3 and pixels.shape[2] >= 3 else 1
    planes = [pixels[..., c] for c in range(channels)] if pixels.ndim == 3 else [pixels]
    if pixels.dtype.kind == "f":
        encoded = (torch.from_numpy(plane.astype(np.float32)).clamp_(0, 1) for plane in planes)
        linear = [color.srgb_to_linear(plane) for plane in encoded]
        return color.compress(linear[0] if channels == 1 else color.luminance(*linear))
    table, f_table = _tables(pixels.dtype.itemsize)
    indices = [torch.from_numpy(plane.astype(np.int32)).flatten() for plane in planes]
    if channels == 1:
        return f_table.index_select(0, indices[0]).view(pixels.shape[:2])
    linear = [table.index_select(0, plane) for plane in indices]
    return color.compress(color.luminance(*linear)).view(pixels.shape[:2])


@lru_cache(maxsize=2)
def _tables(itemsize: int) -> tuple[Tensor, Tensor]:
    """Linear light and f of every integer value of 1 or 2 bytes, each (256,) or (65536,)."""
    levels = 256**itemsize
    linear = color.srgb_to_linear(torch.arange(levels, dtype=torch.float64) / (levels - 1))
    return linear.float(), color.compress(linear).float()


@lru_cache(maxsize=1)
def _encoding_table() -> Tensor:
    """The 8-bit value (65536,) of linear light in steps of 1/65535; within 0.03 before it is rounded."""
    encoded = color.linear_to_srgb(torch.arange(1 << 16, dtype=torch.float64) / 65535)
    return (encoded * 255).round_().to(torch.uint8)


def _encode(linear: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """sRGB of ``linear`` light in [0, 1], any shape, as numbers that fit ``dtype`` exactly; rounded once."""
    if dtype.kind == "u" and dtype.itemsize == 1:
        indices = linear.mul_(65535).add_(0.5).to(torch.int32)
        return _encoding_table().index_select(0, indices.flatten()).view(linear.shape)
    encoded = color.linear_to_srgb(linear).clamp_(0, 1)
    return encoded if dtype.kind == "f" else encoded.mul_(65535).round_()


def _check_picture(array: Array) -> None:
    shapes = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not shapes or array.size == 0:
        raise ImageError(
            "not a picture",
            found=f"an array of shape {array.shape}",
            expected="(H, W), (H, W, 1), (H, W, 3) or (H, W, 4), at least one pixel",
            remedy="Move the channels last, and give one picture at a time.",
        )
    kind, itemsize = array.dtype.kind, array.dtype.itemsize
    if not (kind == "u" and itemsize in (1, 2)) and not (kind == "f" and itemsize in (4, 8)):
        raise ImageError(
            "a picture of numbers that are not colors",
            found=array.dtype,
            expected="uint8, uint16, float32 or float64",
            remedy="Convert it, for example with array.astype('uint8').",
        )
    if kind == "f":
        _check_range(float(array.min()), float(array.max()))


def _check_range(low: float, high: float) -> None:
    if not (low >= -_HAIR and high <= 1 + _HAIR):  # a NaN fails this too
        raise ImageError(
            "a float picture with values that are not colors",
            found=f"values from {low:g} to {high:g}",
            expected="values from 0 to 1, no NaN",
            remedy="Divide by 255 (or 65535), or give the integers themselves.",
        )


def _check_sizes(working_size: int, multiple_of: int) -> None:
    for name, value in (("working_size", working_size), ("multiple_of", multiple_of)):
        if value < 1:
            raise OptionError(f"{name} is out of range", found=value, expected="at least 1")


def _check_saturation(saturation: float) -> None:
    if not 0 <= saturation < math.inf:
        raise OptionError("saturation is out of range", found=saturation, expected="0 (grey) or more, 1 as predicted")


def check_prediction(ab: Tensor, L: Tensor) -> None:
    """Refuse a network's answer to ``L`` (N, 1, H, W) that is not ab (N, 2, h, w), h <= H, w <= W, or not finite.

    Raises:
        ZooError: With what is wrong.
    """
    batch, _, height, width = L.shape
    fits = ab.ndim == 4 and ab.shape[:2] == (batch, 2) and 1 <= ab.shape[2] <= height and 1 <= ab.shape[3] <= width
    if not fits:
        raise ZooError(
            "the model's ab has the wrong shape",
            found=tuple(ab.shape),
            expected=f"({batch}, 2, h, w) with h <= {height} and w <= {width}",
            remedy="predict_ab must answer for every picture of the batch, at the size of L or smaller.",
        )
    if not bool(ab.isfinite().all()):
        raise ZooError(
            "the model's ab has values that are not finite",
            found="NaN or infinity",
            expected="Lab units",
            remedy="The weights may be damaged, or the numbers too large for half precision.",
        )
