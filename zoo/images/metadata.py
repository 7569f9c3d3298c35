"""EXIF and resolution: kept, but for what is no longer true of a picture that was turned, colored and encoded anew."""

import logging
import math
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from PIL import ExifTags, Image

_logger = logging.getLogger(__name__)

_T = TypeVar("_T")
Tags = dict[int, Any]  # EXIF tags as plain values, the directories within as dicts

_SEGMENT = 65533  # bytes of a JPEG segment
_MAKER_NOTE = 37500
_X, _Y, _UNIT = ExifTags.Base.XResolution, ExifTags.Base.YResolution, ExifTags.Base.ResolutionUnit
# How a TIFF stores its own pixels (TIFF 6.0 and its supplements), and the pictures beside it.
_STRUCTURE = frozenset(range(254, 348)) - {*range(269, 273), 274, 282, 283, 285, 296, 305, 306, 315, 316} | {
    *range(512, 533), 559, 34377, 34675, 37724, 50838, 50839
}  # fmt: skip
_LAYOUT_NOTES = ('{"shape":', "ImageJ=", "<?xml")  # how a program stored a file, in place of a description


_filters_lock = threading.RLock()


@contextmanager
def logged_warnings(name: str) -> Iterator[None]:
    """A context in which what Pillow warns of is logged instead."""
    # The lock keeps threads from restoring each other's filters.
    with _filters_lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        _logger.warning("%s: %s", name, " ".join(str(warning.message).split()))


def of_image(image: Image.Image, name: str) -> Image.Exif:
    """The tags of a Pillow image, empty where they are broken."""
    return _lenient(lambda: _tried(image.getexif()), Image.Exif(), name)


def parsed(data: bytes | None, name: str) -> Image.Exif:
    """The tags in ``data``, empty where they are broken."""
    return _lenient(lambda: _tried(_parse(data or b"")), Image.Exif(), name)


def of_big_tiff(page: Any) -> Image.Exif:
    """The tags of a tifffile page that are words, numbers or a profile: Pillow's Exif cannot read those of BigTIFF."""
    exif = Image.Exif()
    for tag in page.tags:
        if tag.code in (_X, _Y) and isinstance(tag.value, tuple) and len(tag.value) == 2 and tag.value[1]:
            exif[tag.code] = tag.value[0] / tag.value[1]
        elif tag.code in (ExifTags.Base.Orientation, _UNIT) and isinstance(tag.value, int):
            exif[tag.code] = int(tag.value)  # of an enumeration
        elif tag.code == ExifTags.Base.InterColorProfile or (tag.code not in _STRUCTURE and isinstance(tag.value, str)):
            exif.setdefault(tag.code, tag.value)
    return exif


def orientation(exif: Image.Exif) -> int:
    """How the stored picture lies, 1 to 8 as in EXIF; 1 where it is not said or nonsense."""
    value = exif.get(ExifTags.Base.Orientation)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def resolution(exif: Mapping[int, Any]) -> tuple[float, float] | None:
    """Dots per inch, horizontal and vertical, as far as the tags say."""
    unit = {2: 1.0, 3: 2.54}.get(exif.get(_UNIT, 2))
    if unit is None or _X not in exif or _Y not in exif:
        return None
    return plausible_dpi((exif[_X], exif[_Y]), unit)


def plausible_dpi(dpi: Any, unit: float = 1.0) -> tuple[float, float] | None:
    """``dpi`` times ``unit`` as two sensible numbers, or None."""
    try:
        x, y = (float(value) * unit for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (round(x, 2), round(y, 2)) if all(math.isfinite(value) and 1 <= value <= 1e5 for value in (x, y)) else None


def upright(exif: Image.Exif, name: str) -> bytes | None:
    """The tags as bytes, orientation 1, without thumbnail and storage; None where there are none or they are broken."""
    return _lenient(lambda: _upright(exif), None, name)


def for_output(data: bytes | None, width: int, height: int, dpi: tuple[float, float] | None, name: str) -> Tags:
    """What to write with an sRGB picture of that size and resolution; empty where there is nothing or it is broken."""

    def tags() -> Tags:
        result = _tags(_parse(_upright(_parse(data or b"")) or b""))
        inner = result.get(ExifTags.IFD.Exif, {})
        for tag, value in ((40961, 1), (40962, width), (40963, height)):  # ColorSpace sRGB, size
            if tag in inner:
                inner[tag] = value
        return with_dpi(result, dpi) if result else {}

    return _lenient(tags, {}, name)


def with_dpi(tags: Tags, dpi: tuple[float, float] | None) -> Tags:
    """``tags`` and the resolution, if any."""
    return tags if dpi is None else {**tags, _X: dpi[0], _Y: dpi[1], _UNIT: 2}


def to_bytes(tags: Tags) -> bytes:
    """``tags`` as a TIFF structure after ``b"Exif\\0\\0"``."""
    exif = Image.Exif()
    for tag, value in tags.items():
        exif[tag] = value
    return exif.tobytes()


def for_jpeg(tags: Tags, name: str) -> bytes:
    """``tags`` as bytes that fit a JPEG segment: without the maker's note, or none at all, where they are too many."""
    data = to_bytes(tags) if tags else b""
    inner = tags.get(ExifTags.IFD.Exif, {})
    if len(data) > _SEGMENT and _MAKER_NOTE in inner:
        _logger.warning("%s: the EXIF data is too long for a JPEG; the maker's note is left out", name)
        return for_jpeg({**tags, ExifTags.IFD.Exif: {k: v for k, v in inner.items() if k != _MAKER_NOTE}}, name)
    if len(data) > _SEGMENT:
        _logger.warning("%s: the EXIF data is too long for a JPEG and left out", name)
        return b""
    return data


def _tags(exif: Image.Exif) -> Tags:
    tags = dict(exif)
    for ifd in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if ifd in tags:
            tags[ifd] = dict(exif.get_ifd(ifd))
    inner = tags.get(ExifTags.IFD.Exif, {})
    if ExifTags.IFD.Interop in inner:
        inner[ExifTags.IFD.Interop] = dict(exif.get_ifd(ExifTags.IFD.Interop))
    return tags


def _parse(data: bytes) -> Image.Exif:
    exif = Image.Exif()
    exif.load(data)
    return exif


def _tried(exif: Image.Exif) -> Image.Exif:
    for tag in (ExifTags.Base.Orientation, _X, _Y, _UNIT):
        exif.get(tag)  # is decoded now, and may fail
    return exif


def _upright(exif: Image.Exif) -> bytes | None:
    tags = {tag: value for tag, value in _tags(exif).items() if tag not in _STRUCTURE}
    if ExifTags.Base.Orientation in tags:
        tags[ExifTags.Base.Orientation] = 1
    if str(tags.get(ExifTags.Base.ImageDescription)).startswith(_LAYOUT_NOTES):
        del tags[ExifTags.Base.ImageDescription]
    return to_bytes(tags) if tags else None


def _lenient(action: Callable[[], _T], fallback: _T, name: str) -> _T:
    try:
        with logged_warnings(name):
            return action()
    except Exception as error:  # Pillow lets through whatever a broken structure leads to
        _logger.warning("%s: the EXIF data is broken and left out (%s)", name, error)
        return fallback
