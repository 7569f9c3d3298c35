"""What a person says of a film's colours, as it comes in: checked, and known again when a run goes on."""

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo import canvas
from zoo.colorizer import ImageLike
from zoo.errors import ImageError, OptionError
from zoo.hints import RADIUS, HintsLike
from zoo.reference import MODES, Reference

FilmHints = Mapping[float, HintsLike]
FilmReference = ImageLike | Reference | Mapping[float, ImageLike | Reference]


@dataclass(frozen=True, eq=False)
class Told:
    """Hints and references, by the moment in seconds of the source for whose scene they are.

    Attributes:
        hints: As `zoo.hints.read` takes them.
        radius: Within so many pixels of a hint its colour is kept exactly.
        references: For one scene each.
        reference: For all other scenes.
        mode: How references are used.
        digest: What tells it from others; None where nothing was told.
    """

    hints: dict[float, HintsLike] = field(default_factory=dict)
    radius: float = RADIUS
    references: dict[float, Reference] = field(default_factory=dict)
    reference: Reference | None = None
    mode: str = MODES[0]
    digest: str | None = None

    def __bool__(self) -> bool:
        return self.digest is not None

    def within(self, wanted: Callable[[float], bool]) -> "Told":
        """What of it is for moments that are ``wanted``, or for all."""
        given = {at: own for at, own in self.hints.items() if wanted(at)}
        return replace(self, hints=given, references={at: own for at, own in self.references.items() if wanted(at)})

    @property
    def moments(self) -> list[float]:
        """All of them, in order."""
        return sorted({*self.hints, *self.references})


def told(
    hints: FilmHints | None,
    hint_radius: float = RADIUS,
    reference: FilmReference | None = None,
    reference_mode: str = MODES[0],
) -> Told:
    """What was told, checked as far as it can be without the film.

    Raises:
        OptionError: A moment that is none, hints without one, or another value of another kind or out of range.
        ImageError: A reference that cannot be read, or one without colour.
    """
    if hints is not None and not isinstance(hints, Mapping):
        raise OptionError(
            "hints for a film need a moment",
            found=type(hints).__name__,
            expected='seconds and the hints for the frame shown then, such as {12.5: [(120, 80, "#c03020")]}',
        )
    given = {_moment(at): own for at, own in (hints or {}).items()}
    for own in given.values():
        canvas.check(hints=own, hint_radius=hint_radius)
    scenes = {_moment(at): own for at, own in reference.items()} if isinstance(reference, Mapping) else {}
    whole = None if isinstance(reference, Mapping) else reference
    for picture in (whole, *scenes.values()):
        canvas.check(hint_radius=hint_radius, reference=picture, reference_mode=reference_mode)
    if not given and not scenes and whole is None:
        return Told()
    marks = [hint_radius, reference_mode, _mark(whole)]
    marks += [[at, _mark(own)] for table in (given, scenes) for at, own in sorted(table.items())]
    return Told(
        given,
        hint_radius,
        {at: _reference(picture) for at, picture in scenes.items()},
        None if whole is None else _reference(whole),
        reference_mode,
        hashlib.sha256(repr(marks).encode()).hexdigest()[:16],
    )


def _moment(at: Any) -> float:
    number = isinstance(at, int | float | np.integer | np.floating) and not isinstance(at, bool)
    if not number or not math.isfinite(at) or at < 0:
        raise OptionError("bad moment", found=repr(at), expected="seconds from the beginning of the film, 0 or more")
    return float(at)


def _reference(picture: Any) -> Reference:
    return picture if isinstance(picture, Reference) else Reference.of(picture)


def _mark(given: Any) -> Any:
    """What tells hints or a reference from others."""
    if isinstance(given, Reference):
        parts: list[Any] = [given.L.numpy(), None if given.ab is None else given.ab.numpy()]
    elif isinstance(given, str | os.PathLike):
        try:
            return hashlib.sha256(Path(given).read_bytes()).hexdigest()
        except OSError as error:
            raise ImageError(f"{os.fspath(given)}: cannot be read", found=error.strerror or error) from error
    elif isinstance(given, Image.Image | np.ndarray):
        parts = [np.asarray(given)]
    else:
        return given if given is None else [tuple(point) for point in given]
    digest = hashlib.sha256()
    for part in parts:
        if part is not None:
            digest.update(f"{part.shape} {part.dtype}".encode() + np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
