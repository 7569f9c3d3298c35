"""What every model must do, as plain checks: run by this project's tests, and by `colorzoo check` on plug-ins.

A check takes a function that makes a new model, always the same one: untrained and of the smallest configuration, as
`maker` has it. Those named in `QUICK` are worth running on a model with its weights too.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from zoo import registry
from zoo.colorizer import Colorizer
from zoo.contract.checks import (
    Check,
    ContractError,
    MakeModel,
    check_batch_of_two,
    check_color_is_ignored,
    check_features,
    check_gradients,
    check_hints,
    check_input_is_not_changed,
    check_lightness,
    check_model_is_not_changed,
    check_no_saturation_is_grey,
    check_options,
    check_other_options,
    check_output,
    check_overfits,
    check_predict_ab,
    check_same_every_time,
    check_save,
    check_spec,
)
from zoo.contract.subjects import picture
from zoo.errors import ZooError

__all__ = ["CHECKS", "QUICK", "CheckResult", "ContractError", "MakeModel", "attempt", "maker", "picture", "run"]

CHECKS: dict[str, Check] = {
    function.__name__.removeprefix("check_"): function
    for function in (
        check_spec,
        check_predict_ab,
        check_batch_of_two,
        check_options,
        check_other_options,
        check_color_is_ignored,
        check_output,
        check_lightness,
        check_no_saturation_is_grey,
        check_hints,
        check_same_every_time,
        check_input_is_not_changed,
        check_model_is_not_changed,
        check_gradients,
        check_overfits,
        check_features,
        check_save,
    )
}
QUICK = ("predict_ab", "options", "color_is_ignored", "lightness", "same_every_time")


@dataclass(frozen=True)
class CheckResult:
    """One check of one model.

    Attributes:
        check: Its name, a key of `CHECKS`.
        problem: What is wrong, in words; None where the check passed.
        error: What was raised, for those who want to know where.
    """

    check: str
    problem: str | None
    error: BaseException | None = None

    @property
    def passed(self) -> bool:
        """Whether the model does what the check asks."""
        return self.problem is None


def maker(name: str) -> MakeModel:
    """A function that makes the registered model ``name`` in its smallest configuration, untrained; so are its parts.

    Raises:
        UnknownModelError: No such model, or none of a part's name.
    """
    registry.find(name)

    def make() -> Colorizer[Any]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return _tiny(name).eval()

    return make


def _tiny(name: str) -> Colorizer[Any]:
    spec, cls, _ = registry.find_weights(name)
    return cls.build(spec, type(spec.config).tiny(), [_tiny(part) for part in spec.parts])


def run(model: str | MakeModel, checks: Sequence[str] = tuple(CHECKS)) -> list[CheckResult]:
    """What became of every check on a registered model, or on the models that a function makes; takes some seconds.

    Args:
        model: Its name, or a function that makes it.
        checks: Of which checks, by their names in `CHECKS`.

    Raises:
        UnknownModelError: No such model.
    """
    make = maker(model) if isinstance(model, str) else model
    return [attempt(name, partial(CHECKS[name], make)) for name in checks]


def attempt(name: str, action: Callable[[], Any]) -> CheckResult:
    """What became of one step, called ``name``, on code that may raise anything: a plug-in's."""
    try:
        action()
    except ZooError as error:
        return CheckResult(name, str(error), error)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return CheckResult(name, f"{type(error).__name__}: {error}", error)
    return CheckResult(name, None)
