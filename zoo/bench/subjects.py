"""What is coloured while it is timed: pictures, a folder of them and a film, made up or given."""

import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from zoo import batch, images
from zoo.backends.photos import AREA, judged, small
from zoo.errors import ImageError, VideoError

_log = logging.getLogger(__name__)

Array = npt.NDArray[Any]

QUALITY = 95
_KINDS_OF_PHOTO = 4  # that are encoded for a folder; the rest are the same again
_RATE = 25


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """A seeded picture with edges, gradients and grain, so that codecs and gamut mapping have work to do."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    result = np.asarray(coarse).copy()
    for top in range(0, height, 256):  # in strips: a 48 MP picture would take gigabytes otherwise
        rows = result[top : top + 256]
        grain = rng.integers(-6, 7, (*rows.shape[:2], 1), np.int16)
        rows[:] = (rows + grain).clip(0, 255)
    return Image.fromarray(result)


def grey_jpeg(path: Path, size: tuple[int, int], seed: int = 0) -> Path:
    """A grey JPEG of width and height ``size``."""
    photo(*size, seed).convert("L").save(path, quality=QUALITY)
    return path


def folder_of_photos(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """A folder of ``count`` grey JPEGs."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number:05d}.jpg"
        if number < _KINDS_OF_PHOTO:
            grey_jpeg(path, size, seed=number)
            continue
        first = folder / f"{number % _KINDS_OF_PHOTO:05d}.jpg"
        try:
            os.link(first, path)
        except OSError:  # a disk without links
            shutil.copyfile(first, path)
    return folder


def clip(path: Path, frames: int, size: tuple[int, int]) -> Path:
    """A grey film in H.264: a picture that the camera pans over, with grain that differs from frame to frame."""
    import av

    width, height = size
    wide = np.asarray(photo(width + 4 * frames, height).convert("L"))
    with av.open(str(path), "w") as out:
        stream: Any = out.add_stream("libx264", rate=Fraction(_RATE), options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number in range(frames):
            rng = np.random.default_rng(number)
            view = wide[:, 4 * number : 4 * number + width] + rng.integers(-3, 4, (height, width), np.int16)
            frame = av.VideoFrame.from_ndarray(view.clip(0, 255).astype(np.uint8), format="gray")
            out.mux(stream.encode(frame.reformat(format="yuv420p")))
        out.mux(stream.encode(None))
    return path


def true_pictures(folder: Path | None, most: int) -> list[Array]:
    """Colour photos that fidelity is measured on, each (H, W, 3) uint8 and small.

    Args:
        folder: Where they lie; None for those that `judged` gives.
        most: Of the folder, the first by name.

    Raises:
        ImageError: No picture there that can be read.
    """
    return judged() if folder is None else list(islice(own_pictures(folder, AREA), most))


def own_pictures(folder: Path, area: int, told: Callable[[str], None] = _log.warning) -> Iterator[Array]:
    """The pictures of a folder by their names, each read when it is asked for, (H, W, 3) uint8.

    Args:
        folder: Where they lie.
        area: Pixels, to which they are made smaller.
        told: Of each that cannot be read, and is left out.

    Raises:
        ImageError: No picture there; or, at the end, none that could be read.
    """
    items = batch.find([folder])

    def read() -> Iterator[Array]:
        count = 0
        for item in items:
            try:
                if item.problem is not None:
                    raise ImageError(item.problem)
                pixels = images.to_8_bit(images.read(item.source).pixels)
            except ImageError as error:
                told(f"left out: {error}")
                continue
            count += 1
            yield small(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels, area)
        if not count:
            raise ImageError(f"{folder}: no picture that can be read", found=f"{len(items)} that cannot")

    return read()


def check_film(path: Path) -> None:
    """Refuse what is no film, before the work.

    Raises:
        VideoError: It cannot be opened, is a picture, has fewer than two frames, or the extra ``video`` is not
            installed.
    """
    import zoo.video

    getattr(zoo.video, "colorize_video")  # noqa: B009  says what is to be installed
    from zoo.video.film import Film
    from zoo.video.source import Broken, Span

    frames = 0
    with Film(path, Span()) as film, suppress(Broken):
        for _ in islice(film.shots(), 2):
            frames += 1
    if frames < 2 or path.suffix.lower() in images.READABLE_SUFFIXES:
        raise VideoError(f"{path}: not a film", found="a picture" if frames else "no frame", expected="moving pictures")
