"""Colours that a person told: read from points or a painted layer, and set in the result exactly where they were told.

How they spread from there is the matter of `zoo.spreading`.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageColor
from scipy import ndimage
from torch import Tensor

from zoo import color, images
from zoo.errors import ImageError, OptionError

Array = npt.NDArray[Any]
Point = tuple[float, float, str]  # x, y in pixels of the upright picture from its top left corner, and a color
Layer = Image.Image | Array | str | os.PathLike[str]
HintsLike = Sequence[Point] | Layer

RADIUS = 3.0
RADII = (0, 32)  # pixels
_SOFT = 8.0  # pixels; the soft edge around is as wide as the radius, but no wider than this
_CHUNK = 1 << 18  # pixels at a time
_DENSE = 4  # steps for each pixel from which the distance transform is the faster way
_POINT = 'x, y and a colour, such as (120, 80, "#c03020")'


@dataclass(frozen=True, eq=False)
class Hints:
    """Pixels whose colours are told, none twice.

    Attributes:
        yx: (n, 2), by rows, then columns.
        ab: Their colours, (n, 2) in Lab units.
    """

    yx: npt.NDArray[np.int32]
    ab: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.yx)


def read(hints: HintsLike | None, size: tuple[int, int]) -> Hints:
    """What ``hints`` tell of a picture of ``size`` (height, width); nothing where they are None or empty.

    Args:
        hints: Points ``(x, y, color)``, the color as Pillow reads it, such as ``"#c03020"``; of two at one pixel the
            later one counts. Or a layer of the picture's size with alpha: a picture, an array (H, W, 4) or a path.
            Its pixels count whose alpha is at least half of the highest: what is fainter is a brush's soft edge.
        size: Height and width of the upright picture.

    Raises:
        OptionError: Hints of another kind or size, outside of the picture, or a color that is none.
        ImageError: A layer that cannot be read.
    """
    if hints is None:
        return _hints(np.empty((0, 2), np.int32), np.empty((0, 3), np.float32))
    if isinstance(hints, Image.Image | np.ndarray | str | os.PathLike):
        return _from_layer(hints, size)
    return _from_points(hints, size)


def check_radius(radius: Any) -> None:
    """Refuse what is no radius of hints.

    Raises:
        OptionError: It is not a number, or out of range.
    """
    low, high = RADII
    number = isinstance(radius, int | float | np.integer | np.floating) and not isinstance(radius, bool)
    if not number or not low <= radius <= high:
        raise OptionError("bad hint radius", found=repr(radius), expected=f"{low} to {high} pixels")


def cells_of(hints: Hints, size: tuple[int, int], grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The cells of a ``grid`` (h, w) over a picture of ``size`` that are told: indices (m,) and mean ab (m, 2)."""
    at = [hints.yx[:, axis].astype(np.int64) * grid[axis] // size[axis] for axis in (0, 1)]
    flat, inverse, counts = np.unique(at[0] * grid[1] + at[1], return_inverse=True, return_counts=True)
    ab = np.stack([np.bincount(inverse, plane, len(flat)) / counts for plane in hints.ab.T], 1)
    return torch.from_numpy(flat), torch.from_numpy(ab).float()


def retouch(painted: Array, source: Array, hints: Hints, radius: float = RADIUS) -> None:
    """Give ``painted`` the told colours within ``radius`` of the told pixels, and a soft edge around; in place.

    A pixel takes the colour of the nearest told one, at its own L, mapped to sRGB's gamut.

    Args:
        painted: The result, (H, W, 3 | 4) of any dtype of `colorize_array`.
        source: The picture that it was made of, whose L counts.
        hints: As `read` gives them for this picture.
        radius: In pixels.
    """
    if not len(hints):
        return
    flat, nearest, share = reached(hints, (painted.shape[0], painted.shape[1]), radius)
    whole = share >= 1  # most of them, where the color that was there before does not count
    for chosen in (np.flatnonzero(whole), np.flatnonzero(~whole)):
        for start in range(0, len(chosen), _CHUNK):
            part = chosen[start : start + _CHUNK]
            at = np.divmod(flat[part], painted.shape[1])
            L = color.lightness(_rgb(source[at]))
            ab = torch.from_numpy(hints.ab[nearest[part]].T[:, None])
            if not whole[part[0]]:
                own = color.rgb_to_lab(_rgb(painted[at][:, :3]))[1:]
                ab = own.lerp(color.map_to_gamut(L, ab), torch.from_numpy(share[part].astype(np.float32)))
            linear = color.linear_rgb_in_gamut(color.f_from_lightness(L)[0, 0], ab[0, 0] / 500, ab[1, 0] / -200)
            rgb = color.linear_to_srgb(linear).T.numpy()
            painted[*at, :3] = rgb if painted.dtype.kind == "f" else np.rint(rgb * np.iinfo(painted.dtype).max)


def reached(hints: Hints, size: tuple[int, int], radius: float) -> tuple[Array, Array, Array]:
    """Pixels of a picture of ``size`` near a told one: flat index, which one, and its share in their colour, (k,).

    The share is 1 within ``radius``, and falls to 0 over a soft edge.
    """
    soft = min(max(radius, 1.0), _SOFT)
    flat, nearest, distance = _nearest(hints, size, radius, soft)
    share = ((radius + soft - distance) / soft).clip(0, 1)
    return flat, nearest, share * share * (3 - 2 * share)


def _nearest(hints: Hints, size: tuple[int, int], radius: float, soft: float) -> tuple[Array, Array, Array]:
    """Pixels of a picture of ``size`` nearer than radius + soft to a told one: flat index, which, and how far, (k,)."""
    reach = math.ceil(radius + soft)
    top, left = (max(0, int(side) - reach) for side in hints.yx.min(0))
    bottom, right = (min(end, int(side) + reach + 1) for end, side in zip(size, hints.yx.max(0), strict=True))
    shape = (bottom - top, right - left)
    y, x = hints.yx[:, 0] - top, hints.yx[:, 1] - left
    nearest = np.full(shape, -1, np.int32)
    nearest[y, x] = np.arange(len(hints), dtype=np.int32)
    # only pixels at the rim of what is told are near to others
    inside = np.pad(nearest >= 0, 1)
    surrounded = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    rim = np.flatnonzero(~surrounded[y, x]).astype(np.int32)
    squared = np.zeros(shape, np.int32)
    steps = np.arange(-reach, reach + 1)
    distances = (steps[:, None] ** 2 + steps**2).ravel()
    order = np.argsort(-distances, kind="stable")
    order = order[(distances[order] < (radius + soft) ** 2) & (distances[order] > 0)]  # the nearest last
    if len(rim) * len(order) > _DENSE * nearest.size:
        distance, (to_y, to_x) = ndimage.distance_transform_edt(nearest < 0, return_indices=True)
        near = np.nonzero(distance < radius + soft)
        flat = (near[0] + top) * size[1] + near[1] + left
        return flat, nearest[to_y[near], to_x[near]], distance[near]
    for n in order:
        dy, dx = divmod(int(n), len(steps))
        to_y, to_x = y[rim] + dy - reach, x[rim] + dx - reach
        kept = (to_y >= 0) & (to_y < shape[0]) & (to_x >= 0) & (to_x < shape[1])
        at = (to_y[kept], to_x[kept])
        nearest[at] = rim[kept]
        squared[at] = distances[n]
    nearest[y, x] = np.arange(len(hints), dtype=np.int32)
    squared[y, x] = 0
    rows, columns = np.nonzero(nearest >= 0)
    return (rows + top) * size[1] + columns + left, nearest[rows, columns], np.sqrt(squared[rows, columns])


def _rgb(pixels: Array) -> Tensor:
    """Pixels (n,), (n, 1), (n, 3) or (n, 4) of any dtype as sRGB (3, 1, n) in [0, 1]."""
    pixels = pixels[:, None] if pixels.ndim == 1 else pixels[:, :3]
    top = 1.0 if pixels.dtype.kind == "f" else float(np.iinfo(pixels.dtype).max)
    return torch.from_numpy(pixels.astype(np.float32).T / np.float32(top))[:, None].expand(3, 1, -1)


def _hints(yx: Array, rgb: Array) -> Hints:
    """Of pixels (n, 2), none twice, and their sRGB (n, 3) of any dtype."""
    order = np.lexsort((yx[:, 1], yx[:, 0]))
    ab = color.rgb_to_lab(_rgb(rgb[order]))[1:, 0].T if len(yx) else torch.empty(0, 2)
    return Hints(yx[order].astype(np.int32), ab.contiguous().numpy())


def _from_points(points: Sequence[Point], size: tuple[int, int]) -> Hints:
    height, width = size
    told: dict[tuple[int, int], tuple[int, ...]] = {}
    if not isinstance(points, Sequence):
        raise OptionError("bad hints", found=type(points).__name__, expected=f"a list of {_POINT}, or a layer")
    for number, point in enumerate(points, 1):
        x, y, rgb = _parsed(point, f"hint {number}")
        if not (0 <= x < width and 0 <= y < height):
            raise OptionError(
                f"hint {number} lies outside of the picture",
                found=f"x {x:g}, y {y:g}",
                expected=f"x below {width}, y below {height}, both from 0",
                remedy="count from the top left corner of the upright picture",
            )
        told[int(y), int(x)] = rgb
    return _hints(np.array(list(told), np.int32).reshape(-1, 2), np.array(list(told.values()), np.uint8).reshape(-1, 3))


def check_points(hints: Any) -> None:
    """Refuse hints that are bad for every picture, before one is read.

    Raises:
        OptionError: They are.
    """
    if hints is None or isinstance(hints, Image.Image | np.ndarray | str | os.PathLike):
        return
    _from_points(hints, (1 << 31, 1 << 31))


def parse_point(text: str) -> Point:
    """A point as the command line takes it: ``X,Y,COLOR``.

    Raises:
        OptionError: It is not one.
    """
    parts = text.split(",", 2)
    try:
        x, y, name = float(parts[0]), float(parts[1]), parts[2].strip()
    except (ValueError, IndexError):
        raise OptionError("not a hint", found=repr(text), expected="X,Y,#RRGGBB, such as 120,80,#c03020") from None
    _parsed((x, y, name), f"hint {text!r}")
    return (x, y, name)


def _parsed(point: Any, where: str) -> tuple[float, float, tuple[int, ...]]:
    """x, y and 8-bit sRGB of a point."""
    point = point.tolist() if isinstance(point, np.ndarray) else point
    if isinstance(point, str) or not isinstance(point, Sequence) or len(point) != 3:
        raise OptionError(f"{where} is not one", found=repr(point)[:80], expected=_POINT)
    x, y, name = point
    for value in (x, y):
        number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
        try:
            fine = number and math.isfinite(value) and value >= 0
        except OverflowError:  # a whole number that no float can be
            fine = False
        if not fine:
            raise OptionError(f"{where}: bad place", found=repr(value)[:80], expected="pixels, 0 or more")
    return float(x), float(y), parse_color(name, where)


def parse_color(name: Any, where: str) -> tuple[int, int, int]:
    """8-bit sRGB of a color as Pillow reads it, such as ``"#c03020"``; its alpha does not count.

    Args:
        name: The color.
        where: What has it, for the refusal.

    Raises:
        OptionError: It is none.
    """
    try:
        red, green, blue = ImageColor.getrgb(name)[:3]
        bytes((red, green, blue))  # Pillow takes "rgb(300, 0, 0)" as it stands
    except (ValueError, TypeError, AttributeError):
        raise OptionError(f"{where}: not a colour", found=repr(name)[:80], expected='such as "#c03020"') from None
    return red, green, blue


def _from_layer(layer: Layer, size: tuple[int, int]) -> Hints:
    where = f"hints {layer}" if isinstance(layer, str | Path) else "the layer of hints"
    if isinstance(layer, np.ndarray):
        if layer.ndim != 3 or layer.shape[2] != 4 or layer.dtype.kind not in "uf":
            raise OptionError(
                f"{where} is not one", found=f"{layer.shape} of {layer.dtype}", expected="an array (H, W, 4), RGBA"
            )
        pixels, alpha = layer[..., :3], layer[..., 3]
    else:
        picture = images.from_pil(layer) if isinstance(layer, Image.Image) else images.read(layer)
        if picture.alpha is None:
            raise OptionError(f"{where} has no alpha", remedy="leave transparent what is not told, and save it as PNG")
        pixels, alpha = picture.pixels, picture.alpha
    if pixels.shape[:2] != size:
        found, expected = (f"{shape[1]} x {shape[0]}" for shape in (pixels.shape, size))
        raise OptionError(f"{where} does not fit the picture", found=found, expected=f"{expected} pixels")
    if alpha.dtype.kind == "f" and not all(0 <= plane.min() <= plane.max() <= 1 for plane in (pixels, alpha)):
        raise ImageError(f"{where} has values that are not colours", expected="0 to 1")  # a NaN is none
    highest = float(alpha.max())
    yx = np.argwhere(alpha >= highest / 2) if highest > 0 else np.empty((0, 2), np.int64)
    rgb = pixels[yx[:, 0], yx[:, 1]]
    return _hints(yx, np.repeat(rgb[:, None], 3, 1) if rgb.ndim == 1 else rgb)
