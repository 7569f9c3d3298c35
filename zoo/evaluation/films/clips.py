"""Clips: which there are, and their frames made small, in their true colours and as the luma that models see."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from torch import Tensor

from zoo import color, pipeline
from zoo.errors import VideoError
from zoo.video import SUFFIXES, planes
from zoo.video.chroma import Coding

_LOOKED_AT = 30  # key frames, to see whether a clip has colours
_COLOR_SIZE = 128


@dataclass(frozen=True)
class TrueFrame:
    """A frame of a clip.

    Attributes:
        plane: The luma as it was decoded, (H, W) codes.
        coding: How the clip is coded.
        luma: In [0, 1], (1, 1, h, w).
        chroma: Cb and Cr in [-0.5, 0.5], (1, 2, h, w): the true colours.
        codes: The small luma in 8 bits, (h, w).
    """

    plane: planes.Plane
    coding: Coding
    luma: Tensor
    chroma: Tensor
    codes: npt.NDArray[np.uint8]


def find(folder: Path, limit: int | None = None) -> dict[str, Path]:
    """The films in ``folder`` by their path in it, in order; hidden ones are left out.

    Raises:
        VideoError: No such folder, or no film in it.
    """
    if not folder.is_dir():
        raise VideoError(f"{folder}: no such folder", expected="a folder of films in colour")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    names = {p.relative_to(folder): p for p in paths}
    found = {n.as_posix(): p for n, p in names.items() if not any(part.startswith(".") for part in n.parts)}
    if not found:
        raise VideoError(f"{folder}: no films in it", expected=f"files ending in {', '.join(sorted(SUFFIXES))}")
    return dict(islice(found.items(), limit))


def frames(path: Path, size: int, limit: int | None = None) -> Iterator[TrueFrame]:
    """The first ``limit`` frames of a film, made small to the area ``size`` x ``size`` with their shape kept.

    Raises:
        VideoError: It is not a film, or cannot be decoded to its end.
    """
    count = 0
    with _opened(path) as (container, stream):
        try:
            for frame in islice(container.decode(stream), limit):
                yield _true(frame, size)
                count += 1
        except av.FFmpegError as error:
            raise VideoError(f"{path}: stopped after {count} frames", found=error) from error
    if not count:
        raise VideoError(f"{path}: not one frame in it")


def rate(path: Path) -> float:
    """Frames a second that a film says it has; 0 where it does not.

    Raises:
        VideoError: It is not a film.
    """
    with _opened(path) as (_, stream):
        return float(stream.average_rate or 0)


def has_color(path: Path) -> bool:
    """Whether at least half of a film's key frames, of the first thirty, have colours.

    Raises:
        VideoError: It is not a film.
    """
    with _opened(path) as (container, stream):
        stream.codec_context.skip_frame = "NONKEY"
        try:
            seen = [_in_color(frame) for frame in islice(container.decode(stream), _LOOKED_AT)]
        except av.FFmpegError as error:
            raise VideoError(f"{path}: cannot be decoded", found=error) from error
    if not seen:
        raise VideoError(f"{path}: not one key frame in it")
    return 2 * sum(seen) >= len(seen)


def rgb(luma: Tensor, chroma: Tensor, coding: Coding) -> Tensor:
    """R, G and B in [0, 1], (1, 3, h, w), of ``luma`` (1, 1, h, w) and Cb and Cr ``chroma`` (1, 2, h, w)."""
    cb, cr = chroma[:, :1], chroma[:, 1:]
    red, blue = luma + 2 * (1 - coding.red) * cr, luma + 2 * (1 - coding.blue) * cb
    green = (luma - coding.red * red - coding.blue * blue) / (1 - coding.red - coding.blue)
    return torch.cat([red, green, blue], 1).clamp_(0, 1)


def to_8_bit(picture: Tensor) -> npt.NDArray[np.uint8]:
    """An 8-bit picture (h, w, 3) of R, G and B in [0, 1], (1, 3, h, w)."""
    pixels: npt.NDArray[np.uint8] = (picture[0] * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    return pixels


@contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        container = av.open(str(path))
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path}: not a film that can be opened", found=error) from error
    with container:
        moving = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not moving:
            raise VideoError(f"{path}: no moving pictures in it")
        moving[0].thread_type = "AUTO"
        yield container, moving[0]


def _in_color(frame: VideoFrame) -> bool:
    true = _true(frame, _COLOR_SIZE)
    return color.has_color(to_8_bit(rgb(true.luma, true.chroma, true.coding)))


def _true(frame: VideoFrame, size: int) -> TrueFrame:
    frame = _planar(frame)
    coding = planes.coding(frame)
    plane = planes.luma(frame)
    height, width = pipeline.fitted(plane.shape[0], plane.shape[1], size, 1).size
    luma: npt.NDArray[Any] = np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA))
    chroma = [_resized(_codes(frame, index), height, width) for index in (1, 2)]
    zero, one = coding.chroma_codes(torch.tensor([0.0, 1.0]))
    return TrueFrame(
        plane,
        coding,
        coding.luma(torch.from_numpy(luma))[None, None],
        (torch.from_numpy(np.stack(chroma))[None] - zero) / (one - zero),
        (luma >> (coding.bits - 8)).astype(np.uint8),
    )


def _planar(frame: VideoFrame) -> VideoFrame:
    """The frame with luma, Cb and Cr in planes of their own."""
    name = frame.format.name
    if name.startswith("yuv") and planes.luma_format(name) == name:
        return frame
    deep = frame.format.components[0].bits > 8
    return frame.reformat(format="yuv444p10le" if deep else "yuv444p")


def _codes(frame: VideoFrame, index: int) -> planes.Plane:
    """A chroma plane, turned upright as `planes.luma` turns the luma."""
    plane: Any = frame.planes[index]
    dtype: Any = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    rows: planes.Plane = np.frombuffer(plane, dtype).reshape(plane.height, plane.line_size // np.dtype(dtype).itemsize)
    return np.rot90(rows[:, : plane.width], frame.rotation // 90 % 4)


def _resized(plane: planes.Plane, height: int, width: int) -> npt.NDArray[np.float32]:
    """In floating point: the mean of many 8-bit codes is worth more than 8 bits."""
    kernel = cv2.INTER_AREA if plane.shape[0] >= height else cv2.INTER_LINEAR
    exact = np.ascontiguousarray(plane, np.float32)
    return np.asarray(cv2.resize(exact, (width, height), interpolation=kernel), np.float32)
