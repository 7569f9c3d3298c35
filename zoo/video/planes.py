"""Frames as planes: the luma as it was decoded, and new frames around it."""

from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch
from av.video.frame import VideoFrame

from zoo import hints
from zoo.video import chroma
from zoo.video.chroma import Coding
from zoo.video.coloring import Colored
from zoo.video.guiding import Touch

Plane = npt.NDArray[np.uint8 | np.uint16]

_FULL = 2  # AVCOL_RANGE_JPEG
_LUMA_FIRST = ("yuv", "gray", "nv1", "nv2")  # formats whose first plane is luma, a whole code for each pixel
_RGB_MATRIX = 0
_ASKEW = 0.02  # of a turn's sine by its cosine, about one degree


def luma_format(name: str) -> str:
    """The pixel format, itself or one near it, from which the luma plane can be taken."""
    kind = av.VideoFormat(name, 16, 16)
    bits = kind.components[0].bits
    if name.startswith(_LUMA_FIRST) and bits <= 10 and not name.endswith("be"):
        return name
    return "yuv444p" if bits <= 8 else "yuv444p10le"


def coding(frame: VideoFrame) -> Coding:
    """How the luma of ``frame``, one of `luma_format`, is coded."""
    name, kind = frame.format.name, frame.format
    full = name.startswith(("yuvj", "gray")) if frame.color_range == 0 else frame.color_range == _FULL
    matrix = 2 if frame.colorspace == _RGB_MATRIX else int(frame.colorspace)
    return Coding.of(matrix, full, kind.components[0].bits, frame.height)


def luma(frame: VideoFrame) -> Plane:
    """The luma plane, (H, W) codes, as it is to be shown: turned upright, and mirrored where that is wanted; a copy."""
    shown, (a, b, c, d) = rows(frame, 0), _matrix(frame)
    across, down = a, d
    if is_turned(frame):
        shown, across, down = shown.T, c, b
    return np.ascontiguousarray(shown[:: -1 if down < 0 else 1, :: -1 if across < 0 else 1])


def is_turned(frame: VideoFrame) -> bool:
    """Whether what are columns as it is coded are rows as it is shown."""
    a, b, c, d = _matrix(frame)
    return abs(b) + abs(c) > abs(a) + abs(d)


def is_askew(frame: VideoFrame) -> bool:
    """Whether it is to be shown turned by another angle than quarter turns."""
    a, b, c, d = _matrix(frame)
    less, more = sorted((abs(a) + abs(d), abs(b) + abs(c)))
    return less > _ASKEW * more


def _matrix(frame: VideoFrame) -> tuple[int, int, int, int]:
    """What says how it is shown: a b c d, of which ax + cy is across and bx + dy is down."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return 1, 0, 0, 1
    a, b, _, c, d = memoryview(data).cast("i")[:5]
    return a, b, c, d


def output_format(height: int, width: int, bits: int) -> str:
    """The pixel format that is written: 4:2:0, which every player knows, where the sides allow it."""
    sampling = "420" if height % 2 == 0 and width % 2 == 0 else "444"
    return f"yuv{sampling}p" if bits == 8 else f"yuv{sampling}p10le"


def paint(plane: Plane, colored: Colored, coding: Coding) -> VideoFrame:
    """A frame with this very luma plane, (H, W) codes, and the chroma that ``colored`` has small."""
    height, width = plane.shape
    name = output_format(height, width, coding.bits)
    frame = VideoFrame(width, height, name)
    rows(frame, 0)[:] = plane
    small = plane if "444" in name else cv2.resize(plane, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    with torch.inference_mode():
        Y = coding.luma(torch.from_numpy(np.asarray(small)))[None, None]
        wide = chroma.upsample(colored.chroma, colored.luma, Y, coding)
        if colored.touch is not None:
            _retouch(wide, Y, colored.touch, (height, width), coding)
        codes = coding.chroma_codes(wide)[0].round_().clamp_(0, (1 << coding.bits) - 1)
    for index, values in enumerate(codes, 1):
        rows(frame, index)[:] = values.numpy().astype(plane.dtype)
    return frame


def _retouch(wide: torch.Tensor, Y: torch.Tensor, touch: Touch, size: tuple[int, int], coding: Coding) -> None:
    """Give chroma planes ``wide`` (1, 2, h, w) beside luma ``Y`` the colours that were told; in place.

    Players draw the chroma between samples, so those around the radius are a part of it.
    """
    small = (Y.shape[2], Y.shape[3])
    cells, ab = hints.cells_of(touch.hints, size, small)
    told = hints.Hints(np.stack(np.divmod(cells.numpy(), small[1]), 1).astype(np.int32), ab.numpy())
    if not len(told):
        return
    radius = touch.radius * small[0] / size[0] + 1
    flat, nearest, share = (torch.from_numpy(x) for x in hints.reached(told, small, radius))
    wanted = chroma.exactly(Y.flatten()[flat].view(1, 1, 1, -1), ab[nearest].T[None, :, None], coding)
    planes = wide.flatten(2)
    planes[..., flat] = planes[..., flat].lerp(wanted[:, :, 0], share.float())


def rows(frame: VideoFrame, index: int) -> Plane:
    """A plane's memory as an array, (h, w), without the padding of its rows."""
    plane: Any = frame.planes[index]
    dtype: Any = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    values: Plane = np.frombuffer(plane, dtype).reshape(plane.height, plane.line_size // np.dtype(dtype).itemsize)
    return values[:, : plane.width]
