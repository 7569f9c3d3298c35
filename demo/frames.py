"""Single frames of a clip, as they are shown."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import torch
from PIL import Image

from demo import clips, limits
from zoo.errors import VideoError
from zoo.video.film import Film
from zoo.video.source import Broken, Shot, Span
from zoo.video.surveying import TOLERANCE, shown_size

_BACK = 2  # seconds that are looked at before a moment, as long as most frames are shown by far


class Frame(NamedTuple):
    """When a frame begins to be shown, in seconds to thousandths, and its grey picture: upright, of square pixels."""

    seconds: float
    picture: Image.Image


def shown(path: Path, seconds: float) -> Frame:
    """The frame of a clip that is shown at a moment, or the last one where the clip ends before it.

    Raises:
        VideoError: It is no clip, or not one frame can be read.
    """
    moment = Fraction(max(seconds, 0)).limit_denominator(1000)
    for start in sorted({max(moment - _BACK, Fraction(0)), Fraction(0)}, reverse=True):
        with clips.opened(path, Span(start)) as film:
            found = _last(film, float(moment - start), or_first=not start)
            if found is None:
                continue
            luma = film.coding.luma(torch.from_numpy(found.plane.astype(np.int32)))
            picture = Image.fromarray((luma * 255).round().byte().numpy())
            height, width = shown_size((picture.height, picture.width), film.aspect)
            if picture.width != width:
                picture = picture.resize((width, height), Image.Resampling.BICUBIC)
            return Frame(round(film.seconds(found.pts) + float(start), 3), picture)
    raise VideoError(f"{path}: not one frame of it can be read")


def length(path: Path) -> float:
    """Seconds of a clip that are colored; the limit where it does not say how long it is.

    Raises:
        VideoError: It is no clip.
    """
    with clips.opened(path) as film:
        return min((film.container.duration or 0) / av.time_base or limits.CLIP_SECONDS, limits.CLIP_SECONDS)


def _last(film: Film, seconds: float, *, or_first: bool) -> Shot | None:
    """The last frame that begins by then; where none does, the first one if that is wanted."""
    found = None
    with suppress(Broken):
        for shot in film.shots():
            late = film.seconds(shot.pts) > seconds + TOLERANCE
            if late and (found or not or_first):
                break
            found = shot
    return found
