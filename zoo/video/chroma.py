"""Chroma planes beside a luma plane that is not touched: ab become Cb and Cr, in the film's own matrix and range."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from zoo import color, upsampling

# Weights of red and blue in luma. Source: ITU-T H.273, table 4 (matrix coefficients), by its numbers.
_WEIGHTS = {1: (0.2126, 0.0722), 4: (0.30, 0.11), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087)}
_WEIGHTS |= {9: (0.2627, 0.0593), 10: (0.2627, 0.0593)}
_STEPS, _LARGEST = 49, 110.0  # of the table: entries along each axis, and where those of ab end (Lab units)
_ROUNDS = 8  # by which L is found; what is left is below 0.01
_HIGH_DEFINITION = 720  # rows from which on players take an unnamed matrix for BT.709, below it for BT.601


@dataclass(frozen=True)
class Coding:
    """How a film's luma and chroma are coded.

    Attributes:
        red: Weight of red in luma.
        blue: Weight of blue.
        full: Whether the codes use the whole range (JPEG) or leave room at both ends (MPEG).
        bits: Of a code, 8 to 16.
    """

    red: float
    blue: float
    full: bool
    bits: int

    @classmethod
    def of(cls, matrix: int, full: bool, bits: int, height: int) -> "Coding":
        """That of a film with this matrix number of H.273; an unknown one is guessed from the height, as players do."""
        guess = 1 if height >= _HIGH_DEFINITION else 6
        return cls(*_WEIGHTS.get(matrix, _WEIGHTS[guess]), full, bits)

    def luma(self, codes: Tensor) -> Tensor:
        """Luma in [0, 1] of its codes, any shape; float32."""
        low, span = (0.0, self._steps()) if self.full else (16 * self._unit(), 219 * self._unit())
        return ((codes.float() - low) / span).clamp_(0, 1)

    def chroma_codes(self, chroma: Tensor) -> Tensor:
        """The codes of chroma in [-0.5, 0.5], any shape; still float32, not rounded."""
        span = self._steps() if self.full else 224 * self._unit()
        return chroma * span + 128 * self._unit()

    def _unit(self) -> float:
        return float(1 << (self.bits - 8))

    def _steps(self) -> float:
        return float((1 << self.bits) - 1)


def lightness(luma: Tensor) -> Tensor:
    """L in [0, 100] of grey with ``luma`` in [0, 1], any shape."""
    return color.lightness_from_f(color.compress(color.srgb_to_linear(luma)))


def from_ab(luma: Tensor, ab: Tensor, coding: Coding) -> Tensor:
    """Cb and Cr in [-0.5, 0.5], (N, 2, h, w), of colours of ``luma`` (N, 1, h, w) in [0, 1] and ``ab`` (N, 2, h, w).

    The colours are mapped to the gamut of sRGB at fixed L and hue first.
    """
    return _coded(lightness(luma), ab, coding)[1]


def exactly(luma: Tensor, ab: Tensor, coding: Coding) -> Tensor:
    """As `from_ab`, but such that these very ab are shown, as far as sRGB can, by the luma as it is written.

    A colour of the same L has not quite the luma of grey; here L gives way.
    """
    wanted = L = lightness(luma)
    for _ in range(_ROUNDS):
        L = (L + wanted - lightness(_coded(L, ab, coding)[0])).clamp_(0, 100)
    return _coded(L, ab, coding)[1]


def _coded(L: Tensor, ab: Tensor, coding: Coding) -> tuple[Tensor, Tensor]:
    """Luma (N, 1, h, w) and Cb and Cr (N, 2, h, w) of colours that are mapped to the gamut of sRGB."""
    red, green, blue = color.lab_to_rgb(torch.cat([L, color.map_to_gamut(L, ab)], 1)).clamp_(0, 1).unbind(1)
    own = coding.red * red + (1 - coding.red - coding.blue) * green + coding.blue * blue
    cb, cr = (blue - own) / (2 * (1 - coding.blue)), (red - own) / (2 * (1 - coding.red))
    return own[:, None], torch.stack([cb, cr], 1)


class ChromaTable:
    """`from_ab` for one coding as a table between whose entries is interpolated: a quarter of the time.

    Both differ by 0.1 codes of 8 bits on average, by a few at the border of the gamut, where hue gives way anyway.
    """

    def __init__(self, coding: Coding) -> None:
        luma, ab = torch.linspace(0, 1, _STEPS), torch.linspace(-_LARGEST, _LARGEST, _STEPS)
        Y, a, b = (x.reshape(1, 1, _STEPS, -1) for x in torch.meshgrid(luma, ab, ab, indexing="ij"))
        self._table = from_ab(Y, torch.cat([a, b], 1), coding).reshape(1, 2, _STEPS, _STEPS, _STEPS)

    def __call__(self, luma: Tensor, ab: Tensor) -> Tensor:
        """Cb and Cr in [-0.5, 0.5], (1, 2, h, w), of ``luma`` (1, 1, h, w) in [0, 1] and ``ab`` (1, 2, h, w)."""
        at = torch.cat([ab.flip(1) / _LARGEST, luma * 2 - 1], 1).permute(0, 2, 3, 1)[:, None]
        return torch.nn.functional.grid_sample(self._table, at, padding_mode="border", align_corners=True)[:, :, 0]


def upsample(chroma: Tensor, small_luma: Tensor, luma: Tensor, coding: Coding) -> Tensor:
    """``chroma`` (1, 2, h, w) at the size of ``luma`` (1, 1, H, W), edges following luma, no colour outside RGB.

    Args:
        chroma: Cb and Cr in [-0.5, 0.5].
        small_luma: The film's luma in [0, 1] at the size of ``chroma``, (1, 1, h, w).
        luma: The same at the size of the chroma planes.
        coding: The film's.
    """
    coefficients = upsampling.guided_coefficients(chroma, small_luma * 100)[0].numpy()
    size = luma.shape[3], luma.shape[2]
    # OpenCV's bilinear enlargement is torch's, in a sixth of the time.
    slopes, offsets = (
        torch.from_numpy(np.stack([cv2.resize(m, size, interpolation=cv2.INTER_LINEAR) for m in maps]))[None]
        for maps in (coefficients[:2], coefficients[2:])
    )
    return limit(offsets.add_(slopes.mul_(luma * 100)), luma, coding)


def limit(chroma: Tensor, luma: Tensor, coding: Coding) -> Tensor:
    """``chroma`` (N, 2, H, W) reduced, at fixed hue, to what R, G and B in [0, 1] can show beside ``luma``."""
    cb, cr = chroma[:, :1], chroma[:, 1:]
    red, blue = cr * (2 * (1 - coding.red)), cb * (2 * (1 - coding.blue))
    of_red, of_blue = (-weight / (1 - coding.red - coding.blue) for weight in (coding.red, coding.blue))
    green = (red * of_red).add_(blue, alpha=of_blue)
    up, down = torch.maximum(red, green), torch.minimum(red, green)
    torch.maximum(up, blue, out=up).clamp_(min=1e-6)
    torch.minimum(down, blue, out=down).clamp_(max=-1e-6)
    to_white, to_black = torch.rsub(luma, 1).div_(up), torch.div(luma, down, out=down).neg_()
    return chroma * torch.minimum(to_white, to_black, out=up).clamp_(max=1)
