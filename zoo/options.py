"""What may be asked of a model: the options of `Colorizer.colorize`, checked before any picture is touched."""

from typing import Any

import numpy as np

from zoo.errors import OptionError
from zoo.spec import ModelSpec

WORKING_SIZES = (32, 2048)
VIEWS = (1, 2, 4)
MOST_VARIANTS = 64  # of one picture
GUIDANCE = frozenset({"hints", "hint_radius", "reference", "reference_mode"})  # see `zoo.canvas.Guidance`


def check(
    spec: ModelSpec,
    *,
    style: str | None = None,
    saturation: float = 1.0,
    working_size: int | None = None,
    temperature: float | None = None,
    seed: int | None = None,
    views: int = 1,
    variant: int | None = None,
) -> None:
    """Refuse what the model of ``spec`` cannot do; options as of `Colorizer.colorize`.

    Raises:
        OptionError: An option that this model does not support, or a value of another type or out of range.
    """
    own_seed = seed if variant is None else None  # a variant's seed is not the network's to draw with
    for name, value in {"style": style, "temperature": temperature, "seed": own_seed}.items():
        if value is not None and name not in spec.supports:
            raise OptionError(f"model {spec.name!r} has no option {name!r}", remedy=_who_supports(name, spec.name))
    if style is not None and style not in spec.styles:
        raise OptionError(f"model {spec.name!r}: unknown style", found=repr(style), expected=" or ".join(spec.styles))
    check_number("saturation", saturation, 0, 10)
    if temperature is not None:
        check_number("temperature", temperature, 0.001, 10)
    if working_size is not None:
        check_number("working size", working_size, *WORKING_SIZES, whole=True)
    if seed is not None:
        check_seed(seed)
    if isinstance(views, bool) or not isinstance(views, int | np.integer) or views not in VIEWS:
        raise OptionError("bad views", found=repr(views), expected="1, 2 or 4")
    if variant is not None:
        check_number("variant", variant, 0, MOST_VARIANTS - 1, whole=True)
        if views > 1:
            raise OptionError(
                "several views do not go with a variant", found=f"views {views}", remedy="leave one of them out"
            )
    elif seed is not None and views > 1:
        raise OptionError(
            "seed does not go with several views, each of which would draw a colouring of its own",
            found=f"seed {seed} and views {views}",
            remedy="leave one of them out",
        )


def check_seed(seed: Any) -> None:
    """Refuse what is no seed.

    Raises:
        OptionError: It is not.
    """
    check_number("seed", seed, 0, 2**63 - 1, whole=True)


def check_number(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> None:
    """Refuse what is not a number, whole where asked, from ``low`` to ``high``.

    Raises:
        OptionError: It is not.
    """
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        number = "a whole number" if whole else "a number"
        raise OptionError(f"bad {name}", found=repr(value), expected=f"{number} from {low} to {high}")


def _who_supports(option: str, asked: str) -> str:
    from zoo import registry  # here, because the registry knows the model's class

    names = [n for n in registry.list_models() if option in registry.find(n)[0].supports and n != asked]
    return f"models that have it: {', '.join(names)}" if names else "no registered model has it"
