"""What speed is aimed at, and how far a run is from it; ratios are of medians that were taken in turn."""

from collections.abc import Callable
from dataclasses import dataclass

from zoo.evaluation.speed.results import (
    DDCOLOR_TINY,
    ECCV16,
    FILE,
    FOLDER,
    FORWARD,
    HELP,
    IMPORT,
    MEMORY,
    PILLOW,
    START,
    Speed,
)

PEER_SIZE = "256"
PHOTOS = 1000  # of the folder from which on its target is judged: starting up is a small share then
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Goal:
    """What is aimed at: a figure that is at most, or at least, a ``limit``.

    Attributes:
        name: What is measured.
        unit: Of the figure; ``x`` for a ratio.
        limit: The target.
        at_least: Whether more is better.
        decimals: Shown of the figure.
        of: The figure of a model in a run; None where it was not measured.
        each: Whether it is one of each model.
        why: Why there is no figure.
    """

    name: str
    unit: str
    limit: float
    at_least: bool
    decimals: int
    of: Callable[[Speed, str], float | None]
    each: bool = True
    why: Callable[[Speed, str], str] = lambda *_: NOT_MEASURED

    @property
    def wanted(self) -> str:
        """The target in words."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}{_unit(self.unit)}"


@dataclass(frozen=True)
class Target:
    """A goal beside what was measured."""

    goal: Goal
    model: str
    figure: float | None
    why: str = NOT_MEASURED

    @property
    def met(self) -> bool | None:
        """Whether it is met; None where nothing was measured."""
        if self.figure is None:
            return None
        return self.figure >= self.goal.limit if self.goal.at_least else self.figure <= self.goal.limit

    @property
    def share(self) -> float | None:
        """How far it is met: 1 just so, 2 twice as good."""
        if not self.figure:
            return None
        return self.figure / self.goal.limit if self.goal.at_least else self.goal.limit / self.figure

    @property
    def shown(self) -> str:
        """The figure as it is printed."""
        if self.figure is None:
            return self.why
        return f"{self.figure:.{self.goal.decimals}f}{_unit(self.goal.unit)}"


def targets(speed: Speed) -> list[Target]:
    """Every goal beside its figure: those of each model, then those of none."""
    pairs = [(goal, model) for model in speed.models for goal in GOALS if goal.each]
    pairs += [(goal, "") for goal in GOALS if not goal.each]
    return [Target(goal, model, goal.of(speed, model), goal.why(speed, model)) for goal, model in pairs]


def ratio(above: float | None, below: float | None) -> float | None:
    """``above / below`` where both are known."""
    return above / below if above is not None and below else None


def file_ratio(speed: Speed, model: str, size: str, threads: int | None = None) -> float | None:
    """How many times as long a file takes as Pillow's decode and colour encode, with the chosen way to run."""
    at = {"model": model, "size": size, "threads": speed.threads if threads is None else threads}
    backend, dtype = speed.chosen(model)
    own = speed.median(FILE, subject="", backend=backend, dtype=dtype, **at)
    return ratio(own, speed.median(FILE, subject=PILLOW, **at))


def peer_ratio(speed: Speed, model: str, peer: str) -> float | None:
    """How many times as long another network's forward pass takes, with the chosen way to run."""
    at = {"model": model, "size": PEER_SIZE, "threads": speed.threads}
    backend, dtype = speed.chosen(model)
    return ratio(
        speed.median(FORWARD, subject=peer, **at), speed.median(FORWARD, subject="", backend=backend, dtype=dtype, **at)
    )


def _cores_used(speed: Speed, model: str) -> float | None:
    rows = (row.parts for row in speed.find(FOLDER, model=model, error=None))
    return next((100 * p["cpu"] / (p["wall"] * p["cores"]) for p in rows if p["photos"] >= PHOTOS), None)


def _why_no_cores(speed: Speed, model: str) -> str:
    rows = speed.find(FOLDER, model=model, error=None)
    return next((f"needs --photos {PHOTOS}, had {row.parts['photos']:.0f}" for row in rows), NOT_MEASURED)


def _memory(speed: Speed, model: str, size: str) -> float | None:
    backend, dtype = speed.chosen(model)
    rows = speed.find(MEMORY, model=model, size=size, backend=backend, dtype=dtype)
    return next((row.value for row in rows), None)


def _start(speed: Speed, what: str) -> float | None:
    return speed.median(START, subject=what)


def _unit(unit: str) -> str:
    return {"x": "x", "%": " %", "": ""}.get(unit, f" {unit}")


GOALS = (
    Goal("ECCV16's forward pass by that of the model, 256 x 256", "x", 15, True, 1,
         lambda s, m: peer_ratio(s, m, ECCV16)),
    Goal("DDColor-tiny's forward pass by that of the model, 256 x 256", "x", 6, True, 1,
         lambda s, m: peer_ratio(s, m, DDCOLOR_TINY)),
    Goal("12 MP JPEG, file to file, by Pillow's decode and colour encode", "x", 5, False, 2,
         lambda s, m: file_ratio(s, m, "12 MP")),
    Goal("processors used while a folder of 1 MP photos is coloured", "%", 85, True, 1, _cores_used,
         why=_why_no_cores),
    Goal("peak memory of a 48 MP scan", "MB", 1500, False, 0, lambda s, m: _memory(s, m, "48 MP")),
    Goal("import zoo", "s", 0.3, False, 3, lambda s, m: _start(s, IMPORT), each=False),
    Goal("colorzoo --help", "s", 0.4, False, 3, lambda s, m: _start(s, HELP), each=False),
)  # fmt: skip
