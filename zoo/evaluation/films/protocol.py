"""How clips become what is compared: what must be equal for the figures of two films to stand in one table."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from zoo.errors import OptionError, ZooError
from zoo.evaluation.films.metrics import AGAINST, METRICS
from zoo.evaluation.statistics import LEVEL, REPLICATES, SEED

VERSION = 1  # to be raised when a figure would come out differently from the same clips, weights and colouring
SIZES = (64, 1024)
FRAMES = (5, 100_000)  # the least that CDC can be told of
FEWEST = FRAMES[0]

# The ways in which the frames of a clip are shown, by their key in results.
FILM, PER_FRAME, AVERAGED, TRUTH, GREY = "film", "per_frame", "averaged", "truth", "grey"
OF_MODEL = (FILM, PER_FRAME, AVERAGED)
WAYS = (*OF_MODEL, TRUTH, GREY)
WINDOW = 5  # frames of the plain averaging over time
BEFORE, AFTER = 1, 2  # frames of one scene around the fastest one, which the report shows

_WAYS_STATED = {
    FILM: "colours carried along the motion from key frame to key frame, as colorzoo video does it",
    PER_FRAME: "the network's answer to each frame by itself",
    AVERAGED: f"the mean ab of {WINDOW} such answers, centred, within the scene",
    TRUTH: "the clip's own colours",
    GREY: "the same luma without colours",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FilmProtocol:
    """What is done to a clip before it is compared.

    Attributes:
        size: Frames are compared at the area ``size`` x ``size``, their shape kept.
        frames: The first so many of each clip.
    """

    size: int = 256
    frames: int = 300

    def __post_init__(self) -> None:
        for name, value, (low, high) in (("size", self.size, SIZES), ("number of frames", self.frames, FRAMES)):
            if not low <= value <= high:
                raise OptionError(f"bad {name} of the compared films", found=value, expected=f"{low} to {high}")

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> "FilmProtocol":
        """The protocol that a result states.

        Raises:
            ZooError: Another version of the evaluator stated it.
        """
        if stated.get("version") != VERSION:
            raise ZooError(
                "results of another version of the evaluator for films",
                found=stated.get("version"),
                expected=VERSION,
                remedy="evaluate again",
            )
        return cls(**{field.name: stated[field.name] for field in fields(cls)})

    def stated(self, motion: str, cuts: str) -> dict[str, Any]:
        """Everything that two results must share to be compared, for the result's file.

        Args:
            motion: In words, how it is found.
            cuts: Likewise.
        """
        return {
            "version": VERSION,
            **asdict(self),
            "resize": "luma and chroma planes averaged over areas (OpenCV), in the clip's own coding",
            "color": "CIE Lab, D65, 2 degrees (zoo.color), of the R, G and B that luma and chroma show",
            "input": "the luma of the clip as it was decoded; its chroma is not looked at",
            "without_color": "left out where less than half of the key frames have colours",
            "ways": _WAYS_STATED,
            "motion": motion,
            "cuts": cuts,
            "bootstrap": f"percentile {LEVEL:.0%} intervals, {REPLICATES} replicates over clips, seed {SEED}",
            "metrics": {metric.name: metric.variant for metric in (*METRICS.values(), *AGAINST.values())},
        }
