"""What a person says of a film's colours, as it takes effect on its frames: in one scene, and at its own size."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import color, reference, upsampling
from zoo.hints import Hints
from zoo.reference import MODES, Reference
from zoo.video import chroma, marks, motion
from zoo.video.chroma import Coding
from zoo.video.marks import Marks
from zoo.video.pacing import Frame, Pace, Sight


@dataclass(frozen=True, eq=False)
class Touch:
    """Hints of one frame, which shows them exactly.

    Attributes:
        hints: In pixels of its luma plane.
        radius: As of `zoo.hints.retouch`.
    """

    hints: Hints
    radius: float


@dataclass
class Plan:
    """What was told, by the time stamps of the frames that it is for.

    Attributes:
        touches: Of the frames on which hints were given.
        before: Of the key frames before those, in the same scene.
        scenes: References, by the first frame of the scene that each serves.
        reference: The one for all other scenes.
        mode: How references are used.
    """

    touches: dict[int, Touch] = field(default_factory=dict)
    before: dict[int, Marks] = field(default_factory=dict)
    scenes: dict[int, Reference] = field(default_factory=dict)
    reference: Reference | None = None
    mode: str = MODES[0]


class Guide:
    """Guides the colours of a film's frames, scene by scene.

    Args:
        plan: What was told.
        size: Height and width of the luma planes.
        sight: How the frames are seen.
        coding: How the luma is coded.
    """

    def __init__(self, plan: Plan, size: tuple[int, int], sight: Sight, coding: Coding) -> None:
        self._plan, self._size, self._sight, self._coding = plan, size, sight, coding
        self._reference: Reference | None = None
        # Told up to now, as they lie in the last key frame and in this one, and told later on, as in this one.
        self._last = self._here = self._ahead = marks.NONE
        self._plane: motion.Plane = np.empty((0, 0), np.uint8)  # of the last one

    def begin(self, at: int) -> None:
        """A scene begins with the frame of this time stamp: nothing that was told before counts on."""
        self._reference = self._plan.scenes.get(at, self._plan.reference)
        self._last = self._here = self._ahead = marks.NONE

    def follow(self, last: Frame | None, between: list[Frame], frame: Frame, pace: Pace) -> None:
        """The key frame ``frame`` comes after ``between`` and the ``last`` one: what was told lies in it now."""
        here, self._last = self._here, self._here
        if last is not None:
            self._plane = last.plane
            self._last += self._ahead
            if len(here):
                here = _moved(here, last.plane, frame.plane, (frame.back, frame.flow))
            for earlier in between:
                if (told := self._told(earlier)) is not None:
                    here += _moved(told, earlier.plane, frame.plane, pace.flows(earlier.plane, frame.plane))
        if (told := self._told(frame)) is not None:
            here += told
        self._here, self._ahead = here, self._plan.before.get(frame.at, marks.NONE)

    def guided(self, frame: Frame, ab: motion.Map) -> motion.Map:
        """The network's own colours (h, w, 2) of a frame, changed by all that was told of its scene."""
        if frame.key:
            here = self._here + self._ahead
        elif len(self._last):
            here = _moved(self._last, self._plane, frame.plane, (frame.back, frame.flow))
        else:
            here = marks.NONE
        return _changed(frame, ab, here)

    def touch(self, frame: Frame) -> Touch | None:
        """The hints that were given on a frame."""
        return self._plan.touches.get(frame.at)

    def touched(self, frame: Frame, ab: motion.Map) -> motion.Map:
        """The colours (h, w, 2) of a frame, led to the hints that were given on it."""
        told = self._told(frame)
        return ab if told is None else _changed(frame, ab, told)

    @property
    def tells(self) -> bool:
        """Whether there are hints for the film."""
        return bool(self._plan.touches)

    @property
    def changes(self) -> bool:
        """Whether hints of several moments lie in the last key frame."""
        return len(np.unique(np.concatenate([self._here.moments, self._ahead.moments]))) > 1

    def referred(self, frame: Frame, ab: Tensor) -> Tensor:
        """The network's own colours (1, 2, h, w) of a frame, changed by the reference of its scene."""
        if self._reference is None:
            return ab
        L = chroma.lightness(frame.luma)
        if self._plan.mode == "palette":
            return reference.palette(L, ab, self._reference)
        target = Reference.seen(self._coding.luma(torch.from_numpy(frame.codes)).numpy())
        maps = reference.change(target, reference.match(target, self._reference), ab)[None]
        size = (L.shape[2], L.shape[3])
        if maps.shape[2] > size[0] or maps.shape[3] > size[1]:
            maps = F.interpolate(maps, size, mode="bilinear", antialias=True)
        else:
            maps = upsampling.bilinear_upsample(maps, size)
        units = maps.new_tensor([500, -200]).view(1, 2, 1, 1)
        return ab + (maps[:, :2] * color.f_from_lightness(L) + maps[:, 2:]) * units

    def _told(self, frame: Frame) -> Marks | None:
        touch = self.touch(frame)
        return None if touch is None else marks.of_hints(touch.hints, self._size, frame.plane, frame.at)


def back_through(
    plane: motion.Plane, told: Marks, keys: Iterable[tuple[int, motion.Plane]], pace: Pace
) -> dict[int, Marks]:
    """Marks of a frame in the key frames of its scene before it, by time stamp.

    Args:
        plane: The frame's.
        told: Its marks.
        keys: Time stamps and planes of those, from the last one back.
        pace: That of the film.
    """
    found: dict[int, Marks] = {}
    for at, key in keys:
        told = _moved(told, plane, key, pace.flows(plane, key))
        if not len(told):
            break
        found[at], plane = told, key
    return found


def _changed(frame: Frame, ab: motion.Map, told: Marks) -> motion.Map:
    if not len(told):
        return ab
    own = torch.from_numpy(ab).permute(2, 0, 1)[None]
    changed = own + marks.change(told, frame.at, chroma.lightness(frame.luma), own)
    return np.ascontiguousarray(changed[0].permute(1, 2, 0).numpy())


def _moved(told: Marks, here: motion.Plane, there: motion.Plane, flows: tuple[motion.Flow, motion.Flow]) -> Marks:
    return told.moved(here, there, flows[0], motion.consistency(*flows))
