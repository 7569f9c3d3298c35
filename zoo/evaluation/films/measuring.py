"""One clip in all ways -> a row of figures for each model, with the change from frame to frame kept for plots."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from zoo import color
from zoo.errors import VideoError
from zoo.evaluation.candidates import Candidate
from zoo.evaluation.films.clips import TrueFrame, rgb, to_8_bit
from zoo.evaluation.films.coloring import Answer, Shown, asked, colored
from zoo.evaluation.films.metrics import Array, Cdc, warp_error
from zoo.evaluation.films.protocol import AFTER, BEFORE, FEWEST, FILM, GREY, OF_MODEL, PER_FRAME, TRUTH
from zoo.evaluation.metrics import colorfulness_abs, psnr

Row = dict[str, Any]

_SERIES_DIGITS = 3
_DIGITS = 6


def measure(frames: Iterable[TrueFrame], candidates: Sequence[Candidate], failures: dict[str, str]) -> dict[str, Row]:
    """The rows of a clip by label: ``clip``, ``ways``, ``series``, ``cut_differences`` and ``runs``.

    Args:
        frames: Of the clip.
        candidates: That colour it.
        failures: As in `colored`.

    Raises:
        VideoError: The clip cannot be decoded, or no scene of it is long enough.
    """
    shared = {TRUTH: _Track(), GREY: _Track()}
    tracks = {c.label: {way: _Track() for way in OF_MODEL} for c in candidates}
    differences: dict[str, list[dict[str, float]]] = {c.label: [] for c in candidates}
    speeds: list[float | None] = []
    runs: dict[str, int] = {}
    frame: TrueFrame | None = None
    with asked(candidates):
        for shown in colored(frames, candidates, failures):
            frame, runs = shown.true, dict(shown.runs)
            truth, grey = (to_8_bit(_picture(shown, c)) for c in (frame.chroma, torch.zeros_like(frame.chroma)))
            scene = _Scene(truth, psnr(grey, truth))
            speeds.append(None if shown.motion is None else shown.motion.speed)
            shared[TRUTH].add(shown, frame.chroma, scene)
            shared[GREY].add(shown, torch.zeros_like(frame.chroma), scene)
            for label, answers in shown.answers.items():
                for way, answer in answers.items():
                    tracks[label][way].add(shown, answer.chroma, scene)
                if shown.motion is None and shown.index:
                    differences[label].append({"frame": shown.index, **_difference(answers)})
    whole = [c.label for c in candidates if c.label not in failures]
    if frame is None or shared[TRUTH].cdc.value is None:
        raise VideoError("too short", found=f"{len(speeds)} frames", expected=f"a scene of {FEWEST} or more")
    clip = {
        "frames": len(speeds),
        "height": frame.plane.shape[0],
        "width": frame.plane.shape[1],
        "compared_at": list(frame.luma.shape[2:]),
        "cuts": [i for i, speed in enumerate(speeds) if speed is None and i],
        **_fastest(speeds),
    }
    return {
        label: {
            "clip": clip,
            "ways": {way: track.values(way) for way, track in (tracks[label] | shared).items()},
            "series": {way: track.changes for way, track in (tracks[label] | shared).items() if way != GREY},
            "cut_differences": differences[label],
            "runs": runs[label],
        }
        for label in whole
    }


class _Scene:
    """What all pictures of a frame are compared with."""

    def __init__(self, truth: Array, grey_psnr: float) -> None:
        self.truth, self.grey_psnr = truth, grey_psnr


class _Track:
    """The figures of one clip in one way.

    Attributes:
        changes: By frame the warp error towards the one before; None where it begins a scene.
    """

    def __init__(self) -> None:
        self.cdc = Cdc()
        self.changes: list[float | None] = []
        self._gains: list[float] = []
        self._colorfulness: list[float] = []
        self._errors: list[float] = []
        self._before = torch.empty(0)

    def add(self, shown: Shown, chroma: torch.Tensor, scene: _Scene) -> None:
        """The next frame with Cb and Cr ``chroma``, (1, 2, h, w)."""
        exact = _picture(shown, chroma)
        pixels, ab = to_8_bit(exact), color.rgb_to_lab(exact)[:, 1:]
        self._gains.append(psnr(pixels, scene.truth) - scene.grey_psnr)
        self._colorfulness.append(colorfulness_abs(pixels))
        self.cdc.add(pixels, shown.motion is None)
        if shown.motion is None:
            self.changes.append(None)
        else:
            self._errors.append(warp_error(ab, shown.motion.carry(self._before), shown.motion.seen))
            self.changes.append(round(self._errors[-1], _SERIES_DIGITS))
        self._before = ab

    def values(self, way: str) -> dict[str, float]:
        """The means over frames; the truth has no gain, and grey no colours to speak of."""
        values = {
            "gain": float(np.mean(self._gains)),
            "cf_abs": float(np.mean(self._colorfulness)),
            "warp_error": float(np.mean(self._errors)),
            "cdc": self.cdc.value or 0.0,
        }
        if way == TRUTH:
            del values["gain"]  # infinite
        return {name: float(f"{value:.{_DIGITS}g}") for name, value in values.items()}


def _picture(shown: Shown, chroma: torch.Tensor) -> torch.Tensor:
    return rgb(shown.true.luma, chroma, shown.true.coding)


def _difference(answers: Mapping[str, Answer]) -> dict[str, float]:
    """How far the film's colours are from those of the frame by itself, in ab: the mean, and the largest."""
    a, b = (answers[FILM].ab - answers[PER_FRAME].ab)[0]
    distance = torch.hypot(a, b)
    return {"mean": round(float(distance.mean()), 4), "max": round(float(distance.max()), 4)}


def _fastest(speeds: Sequence[float | None]) -> dict[str, float]:
    """The frame that moves most among those with neighbours in their scene, and how far in pixels; nothing if none."""
    best: tuple[float, int] | None = None
    for i in range(BEFORE, len(speeds) - AFTER):
        speed = speeds[i]
        if speed is not None and None not in speeds[i - BEFORE + 1 : i + AFTER + 1] and (not best or speed > best[0]):
            best = speed, i
    return {"fastest": best[1], "speed": round(best[0], 2)} if best else {}
