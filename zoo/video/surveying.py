"""The first pass over a film for which colours were told: which scene each moment lies in, and the way back to its cut.

It ends at the last of the moments, and no network runs: of a film of 1280 x 720 it takes about a sixth of the time in
which that much is coloured. What is kept of a scene are its key frames, small, as far back as hints are carried.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from zoo import hints
from zoo.errors import OptionError, VideoError
from zoo.hints import Hints, HintsLike
from zoo.reference import Reference
from zoo.video import guiding, marks, motion
from zoo.video.guiding import Plan, Touch
from zoo.video.pacing import Pace, Sight, of_8_bits
from zoo.video.running import Look, Progress
from zoo.video.source import Broken, Shot, Source
from zoo.video.told import Told

REACH = 1024  # key frames, through which hints are carried back: some minutes
TOLERANCE = 6e-4  # seconds; many films round times to thousandths


def survey(
    source: Source,
    looks: Sequence[Look],
    interval: int | None,
    told: Told,
    start: float,
    tell: Callable[[Progress], None] | None = None,
) -> list[Plan | None]:
    """What was told, for each look by the frames that it is for; None where nothing was.

    Args:
        source: A source of its own, of which nothing was read.
        looks: By each of which the film is seen at its own size.
        interval: As of `zoo.video.coloring.FilmColorizer`.
        told: What was told.
        start: When the source begins, in seconds of the film.
        tell: Called at every frame; an exception that it raises comes out of here.

    Raises:
        OptionError: A moment at which there is no frame, or hints that do not fit it.
        ImageError: A layer of hints that cannot be read.
        VideoError: The film stops before the last of the moments.
    """
    if not told:
        return [None] * len(looks)
    moments = deque(told.moments)
    surveyors: list[_Surveyor] = []
    if moments and moments[0] < start:
        raise _no_frame(moments[0], f"{start:g} seconds, where it is to begin, or later", source)
    ends = start
    for shot, until in _shown(source) if moments else ():
        if tell is not None:
            tell(Progress(0, source.total, 0.0))
        if not surveyors:
            size = (shot.plane.shape[0], shot.plane.shape[1])
            surveyors = [_Surveyor(look, size, source, interval, told) for look in looks]
        due = []
        ends = until + start
        while moments and moments[0] + TOLERANCE < ends:
            due.append(moments.popleft())
        given = [told.hints[at] for at in due if at in told.hints]
        references = [(at, told.references[at]) for at in due if at in told.references]
        for surveyor in surveyors:
            surveyor.feed(shot, given, references)
        if not moments:
            break
    if moments:
        raise _no_frame(moments[0], f"less than {ends:.2f} seconds, where it ends", source)
    whole = Plan(reference=told.reference, mode=told.mode)
    return [surveyor.plan for surveyor in surveyors] or [whole for _ in looks]


def shown_size(size: tuple[int, int], aspect: Fraction | None) -> tuple[int, int]:
    """Height and width at which pictures of ``size`` are shown, whose pixels are no squares but of this ``aspect``."""
    return size[0], max(1, round(size[1] * (aspect or 1)))


def scene_of(source: Source, looks: Sequence[Look], done: int, after: int | None) -> tuple[int | None, int]:
    """Where colours have to be found anew so that the first frame that is not done gets those of an undivided run.

    Args:
        source: A source of its own, of which nothing was read.
        looks: The looks.
        done: How many frames are.
        after: The time stamp of the last of them; None where frames are counted.

    Returns:
        The time stamp behind which to begin, None where frames are counted; and how many come then that are done.
    """
    detectors = [motion.CutDetector() for _ in looks]
    cuts = [(0, 0)] * len(looks)  # each one's last: number and time stamp
    sights: list[Sight] = []
    number = 0
    for shot in source.shots():
        sights = sights or [_sight(look, (shot.plane.shape[0], shot.plane.shape[1])) for look in looks]
        for n, (detector, sight) in enumerate(zip(detectors, sights, strict=True)):
            if detector.is_cut(of_8_bits(sight(shot.plane)[1], source.coding.bits)):
                cuts[n] = number, shot.pts
        if number == done if after is None else shot.pts > after:
            break
        number += 1
    first, begins = min(cuts)
    return None if after is None else begins - 1, number - first


class _Surveyor:
    """For one look."""

    def __init__(self, look: Look, size: tuple[int, int], source: Source, interval: int | None, told: Told) -> None:
        self._pace = Pace(_sight(look, size), source.coding, interval)
        self._size, self._shown, self._told = size, shown_size(size, source.aspect), told
        self._keys: deque[tuple[int, motion.Plane]] = deque(maxlen=REACH)  # the last one first
        self._begins = 0
        self.plan = Plan(reference=told.reference, mode=told.mode)

    def feed(self, shot: Shot, given: Sequence[HintsLike], references: Sequence[tuple[float, Reference]]) -> None:
        frame = self._pace(shot.plane, shot.pts)
        if frame.first:
            self._keys.clear()
            self._begins = shot.pts
        for at, reference in references:
            if self.plan.scenes.setdefault(self._begins, reference) is not reference:
                raise OptionError(
                    "two references for one scene",
                    found=f"no cut between {at:g} seconds and the one before",
                    remedy="give one of them",
                )
        if given:
            told = _joined([self._read(own) for own in given])
            self.plan.touches[shot.pts] = Touch(told, self._told.radius)
            here = marks.of_hints(told, self._size, frame.plane, shot.pts)
            for at, there in guiding.back_through(frame.plane, here, self._keys, self._pace).items():
                self.plan.before[at] = self.plan.before.get(at, marks.NONE) + there
        if frame.key:
            self._keys.appendleft((frame.at, frame.plane))

    def _read(self, given: HintsLike) -> Hints:
        told = hints.read(given, self._shown)
        if self._shown == self._size:
            return told
        cells, ab = hints.cells_of(told, self._shown, self._size)
        yx: Any = np.stack(np.divmod(cells.numpy(), self._size[1]), 1).astype(np.int32)
        return Hints(yx, ab.numpy())


def _joined(given: Sequence[Hints]) -> Hints:
    """Hints that several moments tell of one frame; of two at one pixel the later one counts."""
    if len(given) == 1:
        return given[0]
    table = {tuple(at): ab for own in given for at, ab in zip(own.yx.tolist(), own.ab, strict=True)}
    yx = sorted(table)
    return Hints(np.array(yx, np.int32).reshape(-1, 2), np.array([table[at] for at in yx], np.float32).reshape(-1, 2))


def _sight(look: Look, size: tuple[int, int]) -> Sight:
    spec = look.model.spec
    return Sight(size, look.options.get("working_size") or spec.working_size, spec.multiple_of)


def _shown(source: Source) -> Iterator[tuple[Shot, float]]:
    """Each frame, and when the next one is shown, in seconds from where the source begins."""
    held: Shot | None = None
    try:
        for shot in source.shots():
            if held is not None:
                yield held, source.seconds(shot.pts)
            held = shot
    except Broken as broken:
        raise VideoError(
            f"{source.name}: stops at {broken.at:.1f} seconds, before the last moment for which colours are told",
            found=broken.found,
        ) from broken.__cause__
    if held is not None:
        step = 1 / (source.rate * source.time_base) if source.rate else 1
        rest = max(held.duration, source.final_duration or 0) or step
        yield held, source.seconds(held.pts) + float(rest * source.time_base)


def _no_frame(at: float, expected: str, source: Source) -> OptionError:
    return OptionError(f"{source.name}: no frame at that moment", found=f"{at:g} seconds", expected=expected)
