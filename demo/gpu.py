"""The GPU that Hugging Face's ZeroGPU lends for the length of a call; on any other machine nothing happens here.

On ZeroGPU this must be imported before anything that imports torch.
"""

import importlib
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

_spaces: Any = None
if os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true"):  # as that package asks for it
    with suppress(ImportError):
        _spaces = importlib.import_module("spaces")

F = TypeVar("F", bound=Callable[..., Any])
M = TypeVar("M")


def borrowed(seconds: int | Callable[..., int]) -> Callable[[F], F]:
    """A decorator of functions, generators too, that run a network: each call of theirs has the GPU meanwhile.

    Such a call runs in another process: its arguments and what it returns or yields are pickled (no tensors, no
    events), and what it changes in memory is lost. It begins with `moved`. Closing a generator ends its call too.

    Args:
        seconds: The longest that a call takes; or a function of its arguments that says so.
    """
    if _spaces is None:
        return lambda function: function
    decorate: Callable[[F], F] = _spaces.GPU(duration=seconds)
    return decorate


def moved(model: M) -> M:
    """The model, where `borrowed` functions can run it: on the GPU that is lent, else where it was."""
    if _spaces is None:
        return model
    there: M = model.to("cuda")  # type: ignore[attr-defined]
    return there
