"""sRGB <-> CIE Lab (D65, 2 degrees) as torch ops, and gamut mapping at fixed L and hue.

Colors are sRGB in [0, 1] or Lab with L in [0, 100] and ab in Lab units; channels are dimension -3. Every function
keeps dtype and device. ``f`` stands for the compressed luminance of Lab: L = 116 f(Y) - 16,
a = 500 (f(X) - f(Y)), b = 200 (f(Y) - f(Z)), with X, Y, Z relative to the white point.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

# IEC 61966-2-1 primaries, linear sRGB -> XYZ; the digits scikit-image uses.
_RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
# The white point is the row sums, so that a neutral RGB is a neutral Lab to the last bit.
_FORWARD: npt.NDArray[Any] = _RGB_TO_XYZ / _RGB_TO_XYZ.sum(1, keepdims=True)
_INVERSE: npt.NDArray[Any] = np.linalg.inv(_FORWARD)
LUMINANCE_WEIGHTS: tuple[float, float, float] = tuple(_FORWARD[1].tolist())
_KNEE = 0.04045  # encoded sRGB is a line below this value and a power above it
_DELTA = 6 / 29  # f is a cube root above this value and a line below it
_SLOPE = 3 * _DELTA**2
_TOLERANCE = 1e-5  # in linear RGB; far below one 16-bit step of white, far above float32 rounding
_BISECTIONS = 12  # chroma is found to 1/4096 of what was asked for


def srgb_to_linear(x: Tensor) -> Tensor:
    """Linear light of gamma-encoded sRGB ``x``, elementwise, any shape.

    Source: IEC 61966-2-1.
    """
    power = x.clamp(min=_KNEE)  # line and power meet at the knee: below it only the remainder is linear
    return (x - power).div_(12.92).add_(power.add_(0.055).div_(1.055).pow_(2.4))


def linear_to_srgb(x: Tensor) -> Tensor:
    """Gamma-encoded sRGB of linear light ``x``, elementwise, any shape; not clipped.

    Source: IEC 61966-2-1.
    """
    power = x.clamp(min=_KNEE / 12.92)
    return (x - power).mul_(12.92).add_(power.pow_(1 / 2.4).mul_(1.055).sub_(0.055))


def compress(Y: Tensor) -> Tensor:
    """f(Y) of the Lab formula for linear ``Y`` relative to white, elementwise, any shape."""
    root = Y.clamp(min=_DELTA**3)  # the line touches the root there
    return (Y - root).div_(_SLOPE).add_(root.pow_(1 / 3))


def expand(f: Tensor) -> Tensor:
    """Linear Y of the compressed value ``f``; the inverse of :func:`compress`."""
    cubic = f.clamp(min=_DELTA)
    return (f - cubic).mul_(_SLOPE).add_(cubic.pow_(3))


def lightness_from_f(f: Tensor) -> Tensor:
    """L in [0, 100] of the compressed luminance ``f``, any shape."""
    return (116 * f - 16).clamp_(0, 100)


def f_from_lightness(L: Tensor) -> Tensor:
    """The compressed luminance of ``L`` in [0, 100], any shape."""
    return (L + 16) / 116


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Lab (..., 3, H, W) of sRGB ``rgb`` (..., 3, H, W) in [0, 1]; ab of a neutral pixel is exactly 0.

    Source: CIE 15:2004, D65, 2 degrees.
    """
    red, green, blue = srgb_to_linear(rgb).unbind(-3)
    # x*r + y*g + z*b with x+y+z = 1, written so that r = g = b gives that very number
    fx, fy, fz = (compress(green + (red - green) * m[0] + (blue - green) * m[2]) for m in _FORWARD.tolist())
    return torch.stack([lightness_from_f(fy), 500 * (fx - fy), 200 * (fy - fz)], -3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """sRGB (..., 3, H, W) of Lab (..., 3, H, W); not clipped: call :func:`map_to_gamut` first.

    Source: CIE 15:2004, D65, 2 degrees.
    """
    L, a, b = lab.unbind(-3)
    return linear_to_srgb(_linear_rgb(f_from_lightness(L), a / 500, b / -200).movedim(0, -3))


def lightness(rgb: Tensor) -> Tensor:
    """L (..., 1, H, W) in [0, 100] of sRGB ``rgb`` (..., 3, H, W) in [0, 1]."""
    red, green, blue = (c.unsqueeze(-3) for c in srgb_to_linear(rgb).unbind(-3))
    return lightness_from_f(compress(luminance(red, green, blue)))


def luminance(red: Tensor, green: Tensor, blue: Tensor) -> Tensor:
    """Linear Y of linear sRGB channels of one shape; of a neutral color exactly its value."""
    return green + (red - green) * LUMINANCE_WEIGHTS[0] + (blue - green) * LUMINANCE_WEIGHTS[2]


def grey_from_lightness(L: Tensor) -> Tensor:
    """The sRGB value in [0, 1] of the neutral color of lightness ``L`` in [0, 100], same shape."""
    return linear_to_srgb(expand(f_from_lightness(L))).clamp_(0, 1)


def out_of_gamut(L: Tensor, ab: Tensor) -> Tensor:
    """True (..., 1, H, W) where the color of ``L`` (..., 1, H, W) and ``ab`` (..., 2, H, W) is not in sRGB.

    A color within 1e-5 (linear light) of the cube counts as inside; black and white only without chroma.
    """
    outside = _outside(_linear_rgb(*_f_differences(L, ab)), _TOLERANCE)
    return outside | (((L <= 0) | (L >= 100)) & (ab != 0).any(-3, keepdim=True))


def map_to_gamut(L: Tensor, ab: Tensor) -> Tensor:
    """``ab`` (..., 2, H, W) with chroma reduced, at fixed L (..., 1, H, W) and hue, to what sRGB can show.

    Colors inside the gamut come back bit for bit. The result is inside: clipping its RGB does not move L.
    """
    outside = out_of_gamut(L, ab).squeeze(-3)
    fy, dx, dz = (plane.squeeze(-3)[outside] for plane in _f_differences(L, ab))
    scale = _chroma_scale(fy, dx, dz)
    ends = (L <= 0) | (L >= 100)
    scale = scale.masked_fill_(ends.squeeze(-3)[outside], 0)
    mapped = ab.movedim(-3, 0).clone()
    mapped[:, outside] *= scale
    return mapped.movedim(0, -3)


def linear_rgb_in_gamut(fy: Tensor, dx: Tensor, dz: Tensor) -> Tensor:
    """Linear sRGB (3, n) in [0, 1] of n colors, mapped to the gamut at fixed L and hue.

    Args:
        fy: Compressed luminance (n,), see :func:`f_from_lightness`.
        dx: a / 500, (n,).
        dz: -b / 200, (n,).
    """
    rgb = _linear_rgb(fy, dx, dz)
    indices = _outside(rgb, _TOLERANCE).nonzero().squeeze(1)
    if len(indices):
        fy, dx, dz = fy[indices], dx[indices], dz[indices]
        scale = _chroma_scale(fy, dx, dz)
        rgb.index_copy_(1, indices, _linear_rgb(fy, dx * scale, dz * scale))
    return rgb.clamp_(0, 1)


def _f_differences(L: Tensor, ab: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """f(Y), f(X) - f(Y) and f(Z) - f(Y), each (..., 1, H, W), of Lab."""
    return f_from_lightness(L), ab[..., :1, :, :] / 500, ab[..., 1:, :, :] / -200


def _linear_rgb(fy: Tensor, dx: Tensor, dz: Tensor) -> Tensor:
    """Unclipped linear sRGB (3, ...) of f(Y), dx = f(X) - f(Y) and dz = f(Z) - f(Y), each (...)."""
    Y = expand(fy)
    x = expand(fy + dx).sub_(Y)
    z = expand(fy + dz).sub_(Y)
    if torch.is_grad_enabled() and (Y.requires_grad or x.requires_grad):  # autograd knows no ``out=``
        return torch.stack([Y + x * row[0] + z * row[2] for row in _INVERSE.tolist()])
    rgb = fy.new_empty((3, *fy.shape))
    for channel, row in zip(rgb, _INVERSE.tolist(), strict=True):
        torch.add(Y, x, alpha=row[0], out=channel).add_(z, alpha=row[2])
    return rgb


def _outside(rgb: Tensor, tolerance: float) -> Tensor:
    """True (...) where linear ``rgb`` (3, ...) leaves [0, 1] by more than ``tolerance``."""
    return torch.maximum(rgb.amax(0).sub_(1), rgb.amin(0).neg_()) > tolerance


def _chroma_scale(fy: Tensor, dx: Tensor, dz: Tensor) -> Tensor:
    """The factor (n,) in [0, 1] on the chroma of n out-of-gamut colors that brings them just into the gamut."""
    scale = torch.zeros_like(fy)
    for step in (0.5**n for n in range(1, _BISECTIONS + 1)):
        trial = scale + step
        # half the tolerance, so that rounding in the caller cannot push the result out again
        inside = ~_outside(_linear_rgb(fy, dx * trial, dz * trial), _TOLERANCE / 2)
        scale.add_(inside, alpha=step)
    return scale


def has_color(rgb: npt.NDArray[np.uint8]) -> bool:
    """Whether a picture, (H, W) or (H, W, 3) 8-bit sRGB, is in color rather than grey.

    It is where the strongest 2 % of a sample of its pixels have a chroma of 6 Lab units: JPEG noise on a grey scan
    stays below; a tint that is clear to the eye, such as sepia, counts.
    """
    if rgb.ndim == 2:
        return False
    rows, columns = (np.linspace(0, side - 1, 64).astype(int) for side in rgb.shape[:2])
    sample = torch.from_numpy(rgb[rows][:, columns]).permute(2, 0, 1).float() / 255
    return bool(rgb_to_lab(sample)[1:].norm(dim=0).quantile(0.98) >= 6)


def is_toned(rgb: npt.NDArray[np.uint8]) -> bool:
    """Whether the color of a picture, (H, W) or (H, W, 3) 8-bit sRGB, is one tint all over, as in a sepia print.

    It is where ab follows from L: what a cubic of L leaves of it has a root mean square below 2.7 Lab units, and ab
    itself one below 25. So are grey pictures.
    """
    if rgb.ndim == 2:
        return True
    pixels = torch.from_numpy(np.array(rgb)).permute(2, 0, 1).float()
    sides = (min(rgb.shape[0], 128), min(rgb.shape[1], 128))
    lab = rgb_to_lab(torch.nn.functional.adaptive_avg_pool2d(pixels, sides) / 255).flatten(1).double()
    powers = torch.vander(lab[0] / 50 - 1, 4)
    ab = lab[1:].T
    rest = ab - powers @ torch.linalg.lstsq(powers, ab, driver="gelsd").solution
    return bool(ab.square().sum(1).mean().sqrt() < 25 and rest.square().sum(1).mean().sqrt() < 2.7)
