"""The models that a visitor can choose, and those that are kept loaded."""

from functools import lru_cache
from typing import Any

import zoo
from zoo.errors import ZooError

BASELINE = "grayscale"  # what the panel "before" shows; a choice only where no other model has weights
DEFAULTS = ("fusion:faithful", "fusion:vivid")


def offered() -> list[zoo.ModelSpec]:
    """The models that a visitor can choose: those that have weights, or the baseline alone."""
    specs = [zoo.describe(name) for name in zoo.list_models()]
    return [spec for spec in specs if spec.weights] or [zoo.describe(BASELINE)]


def choices() -> dict[str, str]:
    """What can be ticked, ``model`` or ``model:style``, and how it is labelled; the defaults first."""
    names = [f"{s.name}:{style}" if style else s.name for s in offered() for style in s.styles or ("",)]
    names.sort(key=lambda name: name not in DEFAULTS)
    return {name: name.replace(":", " · ") for name in names}


def default_choices() -> list[str]:
    """What is ticked at first: the defaults, or the first choice where they are not there."""
    names = list(choices())
    return [name for name in names if name in DEFAULTS] or names[:1]


def about_models() -> str:
    """The models that are offered, in Markdown: what they are, their size and licence."""
    entries = []
    for spec in offered():
        facts = []
        for weights in spec.weights[:1]:
            facts = [f"{weights.size_bytes / 1e6:.0f} MB"] if weights.size_bytes else []
            facts += [weights.license, "commercial use" if weights.commercial_use else "no commercial use"]
        entries.append(f"**{spec.name}**: {spec.summary}  \n<small>{' · '.join(facts)}</small>")
    return "\n\n".join(entries)


@lru_cache(maxsize=8)
def named(name: str) -> "zoo.Colorizer[Any]":
    """A model, kept for the next visitor."""
    return zoo.load(name)


def parse(choice: str) -> tuple[str, dict[str, Any]]:
    """The model's name and options; only what is offered, since other names reach for folders and the network.

    Raises:
        ZooError: It is not offered.
    """
    name, _, style = choice.partition(":")
    if name not in {spec.name for spec in offered()}:
        raise ZooError(f"no model named {name!r} here", expected=", ".join(spec.name for spec in offered()))
    return name, {"style": style} if style else {}
