"""What a visitor tells of a picture's colors: strokes, a variant, a reference; as the page and the endpoint send it."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from PIL import Image, ImageDraw

from zoo.errors import OptionError
from zoo.hints import parse_color
from zoo.options import MOST_VARIANTS
from zoo.reference import MODES

STROKES, POINTS = 500, 20_000  # of one picture
_SIZES = (1.0, 4000.0)  # pixels
_MOST = 2**31 - 1  # of a seed, and of requests
_FAR = 1e5  # pixels, beyond which no place is told apart
_KINDS = 'such as {"color": "#c03020", "size": 20, "points": [[120, 80], [160, 90]]} or [120, 80, "#c03020"]'


class Stroke(NamedTuple):
    """A line of one color; a dot where it has one point.

    Attributes:
        color: 8-bit sRGB, of which the lightness does not count.
        size: Its width in pixels of the upright picture.
        points: x and y there.
    """

    color: tuple[int, int, int]
    size: float
    points: tuple[tuple[float, float], ...]


class Touches(NamedTuple):
    """All that was told.

    Attributes:
        strokes: The later ones lie above the earlier.
        variant: Number and seed, as of `zoo.Colorizer.colorize`; None for the model's own answer.
        reference: What the page calls the picture that colors are taken from; None without one.
        mode: How they are taken.
    """

    strokes: tuple[Stroke, ...] = ()
    variant: tuple[int, int] | None = None
    reference: str | None = None
    mode: str = MODES[0]


def as_sent(told: Touches) -> dict[str, Any]:
    """What `read` reads."""
    strokes = [{"color": f"#{bytes(own.color).hex()}", "size": own.size, "points": own.points} for own in told.strokes]
    variant = told.variant and dict(zip(("number", "seed"), told.variant, strict=True))
    return {"strokes": strokes, "variant": variant, "reference": told.reference, "mode": told.mode}


def read(told: Any) -> Touches:
    """What a request says.

    Raises:
        OptionError: It is not understood.
    """
    if not isinstance(told, dict):
        raise OptionError("the touches are not understood", found=type(told).__name__)
    variant, reference, mode = told.get("variant"), told.get("reference"), told.get("mode", MODES[0])
    if mode not in MODES:
        raise OptionError("unknown reference mode", found=repr(mode)[:40], expected=" or ".join(MODES))
    if reference is not None and not isinstance(reference, str):
        raise OptionError("the reference is not understood")
    return Touches(read_strokes(told.get("strokes")), None if variant is None else _variant(variant), reference, mode)


def read_strokes(told: Any) -> tuple[Stroke, ...]:
    """A list of strokes or of points, each a stroke or ``[x, y, color]``.

    Raises:
        OptionError: It is not one, or has too many.
    """
    if told is None:
        return ()
    if not isinstance(told, list):
        raise OptionError("the strokes are not a list", expected=f"a list, {_KINDS}")
    if len(told) > STROKES:
        raise OptionError(f"there are {len(told)} strokes", expected=f"up to {STROKES}", remedy="erase or undo some")
    strokes = tuple(_stroke(each, f"stroke {number}") for number, each in enumerate(told, 1))
    if sum(len(stroke.points) for stroke in strokes) > POINTS:
        raise OptionError("the strokes are too long together", remedy="erase or undo some")
    return strokes


def draw(strokes: Sequence[Stroke], full: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """The strokes as `zoo.canvas.Guidance` takes them: RGBA, in which a pixel is either told or not.

    Args:
        strokes: In pixels of a picture of the size ``full``, (width, height).
        full: The picture's.
        size: The layer's, (width, height).
    """
    image = Image.new("RGBA", size)
    pen = ImageDraw.Draw(image)  # smooths nothing
    scales = (size[0] / full[0], size[1] / full[1])
    for stroke in strokes:
        points = [(x * scales[0], y * scales[1]) for x, y in stroke.points]
        fill, radius = (*stroke.color, 255), max(0.5, stroke.size * scales[0] / 2)
        if len(points) > 1:
            pen.line(points, fill, max(1, round(2 * radius)), "curve")
        for x, y in (points[0], points[-1]):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill)
            pen.point((math.floor(x), math.floor(y)), fill)  # however small
    return image


def check_places(strokes: Sequence[Stroke], size: tuple[int, int]) -> None:
    """Refuse strokes no point of which is in a picture of the size (width, height).

    Raises:
        OptionError: With the number of the first.
    """
    for number, stroke in enumerate(strokes, 1):
        if not any(0 <= x < size[0] and 0 <= y < size[1] for x, y in stroke.points):
            raise OptionError(
                f"stroke {number} lies outside of the picture",
                expected=f"x below {size[0]}, y below {size[1]}, both from 0",
            )


def whole(told: Any, name: str) -> int:
    """A whole number that the page sends and is sent back.

    Raises:
        OptionError: It is none, or so large that no answer could hold it.
    """
    if isinstance(told, bool) or not isinstance(told, int) or not 0 <= told <= _MOST:
        raise OptionError(f"no such {name}", found=repr(told)[:40], expected=f"a whole number from 0 to {_MOST}")
    return told


def place(told: Any, size: tuple[int, int]) -> tuple[float, float]:
    """A place, x and y, in a picture of the size (width, height).

    Raises:
        OptionError: It is none.
    """
    try:
        x, y = (_number(value, 0, side - 1) for value, side in zip(told, size, strict=True))
    except (TypeError, ValueError):
        raise OptionError("no such place", found=repr(told)[:40]) from None
    return x, y


def _variant(told: Any) -> tuple[int, int]:
    number, seed = (told.get("number"), told.get("seed", 0)) if isinstance(told, dict) else (None, 0)
    for value, most in ((number, MOST_VARIANTS - 1), (seed, _MOST)):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise OptionError("no such variant", found=repr(told)[:40])
    return number, seed  # type: ignore[return-value]


def _stroke(told: Any, name: str) -> Stroke:
    if isinstance(told, list) and len(told) == 3:
        told = {"points": [told[:2]], "color": told[2], "size": 1}
    try:
        color = parse_color(told["color"], name)
        size = _number(told["size"], *_SIZES)
        points = tuple((_number(x, -_FAR), _number(y, -_FAR)) for x, y in told["points"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise OptionError(f"{name} is not one", found=repr(told)[:80], expected=_KINDS) from None
    if not points:
        raise OptionError(f"{name} has no points")
    return Stroke(color, size, points)


def _number(value: Any, low: float, high: float = _FAR) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < math.inf:
        raise ValueError
    return float(min(max(value, low), high))
