"""What runs a model's network: torch on some device, or another backend in its place."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from zoo.errors import ImageError

SelfT = TypeVar("SelfT", bound="Runnable")


class Runner(Protocol):
    """A network on another backend than torch."""

    def __call__(self, L: Tensor, *, first: bool = False) -> Any:
        """What `Colorizer.forward` gives for L, (N, 1, H, W) in [0, 100], with sides that the model takes.

        With ``first``, of several tensors the first alone; what only the others need is not computed.
        """


class Runnable(nn.Module):
    """A network that another backend may run for inference."""

    backend: str = "torch"  # what runs the network, and its number format: as zoo.load chose them
    dtype: str = "float32"
    runner: Runner | None = None  # computes `forward` in torch's place, for inference

    @property
    def parts(self) -> "tuple[Runnable, ...]":
        """The networks that this one is made of."""
        return ()

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As of every module; the ``runner`` answers where nothing but L is given and no gradient is wanted.

        Families whose `forward` gives several tensors may take ``first`` there, as `Runner` does.
        """
        alone = len(args) == 1 and all(value is None for name, value in kwargs.items() if name != "first")
        if self.runner is not None and alone and not self.training and not torch.is_grad_enabled():
            return self.runner(args[0], first=kwargs.get("first", False))
        return super().__call__(*args, **kwargs)

    def train(self: SelfT, mode: bool = True) -> SelfT:
        """As of every module; weights that are to change are torch's again, in full precision."""
        if mode:
            self.detach_backend()
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As of every module; other weights are torch's to run, in full precision."""
        self.detach_backend()
        return super().load_state_dict(*args, **kwargs)

    def _apply(self: SelfT, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SelfT:
        """As of every module, behind its ``to``; on other devices than the CPU, torch runs it."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.device.type != "cpu" and self.backend != "torch":
            self.detach_backend()
        return self

    def detach_backend(self) -> None:
        """Run on torch in float32 again; what `zoo.backends.attach` undoes."""
        self.backend, self.dtype, self.runner = "torch", "float32", None
        for part in self.parts:
            part.detach_backend()

    def autocast(self) -> AbstractContextManager[Any]:
        """The context in which torch computes what it has to, at the precision chosen."""
        return inference_autocast(self.device, self.dtype if self.backend == "torch" else "float32")

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Evaluation mode without gradients, and a plain word when memory runs out; the mode before comes back."""
        training = [m for m in self.modules() if m.training]
        self.eval()
        try:
            with torch.inference_mode():
                yield
        except RuntimeError as error:
            if "memory" not in str(error):  # torch has no class of its own for memory that a CPU lacks
                raise
            raise ImageError(
                f"not enough memory on {self.device} for a picture of this size",
                found=str(error).splitlines()[0],
                remedy="make the picture or working_size smaller, or close other programs",
            ) from error
        finally:
            for module in training:
                module.training = True


def has_fast_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; elsewhere bfloat16 would only cost accuracy."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def inference_autocast(device: torch.device, dtype: str | None = None) -> AbstractContextManager[Any]:
    """The context a network of torch predicts in.

    Args:
        device: Where it lies.
        dtype: ``float32`` or ``bfloat16``; None is bfloat16 on CPUs that have it, and float32 elsewhere.
    """
    if dtype is None:
        dtype = "bfloat16" if device.type == "cpu" and has_fast_bf16() else "float32"
    return torch.autocast(device.type, torch.bfloat16) if dtype == "bfloat16" else nullcontext()
