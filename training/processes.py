"""The processes of a run, on Hugging Face Accelerate: their group, what they tell each other, and how they end."""

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, distributed

from training.config import TrainConfig
from zoo.errors import ConfigError
from zoo.runnable import has_fast_bf16

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ONE_CTRL_C = 3.0  # seconds: a terminal sends it to every process, and torchrun hands it on once more


class Interrupted(KeyboardInterrupt):
    """A run that was asked to end, and did so after a step, with a checkpoint.

    Attributes:
        signal: What asked.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


def accelerator(train: TrainConfig) -> tuple[Accelerator, bool]:
    """The group of all processes, and whether they compute in bfloat16.

    Raises:
        ConfigError: They do not see each other, or the batch does not split among them.
    """
    bf16 = train.precision == "bf16" or (
        train.precision == "auto"
        and (torch.cuda.is_bf16_supported(False) if torch.cuda.is_available() else has_fast_bf16())
    )
    # Without a device, Accelerate forms a group of CPUs only when it is told to use them.
    has_device = torch.cuda.is_available() or torch.backends.mps.is_available()
    group = Accelerator(mixed_precision="bf16" if bf16 else "no", cpu=not has_device)
    expected = int(os.environ.get("WORLD_SIZE", "1"))
    if group.num_processes != expected:
        raise ConfigError(
            "the processes do not see each other",
            found=f"{group.num_processes} in the group",
            expected=f"{expected} (WORLD_SIZE)",
            remedy="start all of them with one torchrun",
        )
    parts = expected * train.accumulate
    if train.batch_size % parts:
        raise ConfigError(
            "train.batch_size does not split",
            found=train.batch_size,
            expected=f"a multiple of {parts}: {expected} processes, each {train.accumulate} parts",
        )
    if train.statistics == "global" and group.device.type != "cuda":
        raise ConfigError(
            "train.statistics = 'global' is for GPUs", found=group.device.type, remedy="use 'frozen' or 'batch'"
        )
    return group, bf16


def summed(group: Accelerator, values: Tensor) -> list[float]:
    """``values``, (K,), summed over all processes."""
    if group.num_processes > 1:
        distributed.all_reduce(values)
    return values.tolist()


def gathered(group: Accelerator, value: Any) -> list[Any]:
    """``value`` of each process, on each process."""
    return list(gather_object([value])) if group.num_processes > 1 else [value]


def check_same(group: Accelerator, what: str, value: str) -> None:
    """Refuse to start where processes have different data.

    Raises:
        ConfigError: ``value`` is not the same on all.
    """
    values = gathered(group, value)
    if len(set(values)) > 1:
        raise ConfigError(
            f"the processes have different {what}",
            found=", ".join(v[:12] for v in values),
            remedy="give every machine the same files, best on a file system that they share",
        )


class StopSignal:
    """While it is entered, Ctrl-C and SIGTERM are only noted: the loop ends after the step under way.

    A second one, not of the same key press, ends the process at once.
    """

    def __init__(self) -> None:
        self.number = 0
        self._first = 0.0
        self._previous: dict[int, Any] = {}
        self._patience = _ONE_CTRL_C if int(os.environ.get("WORLD_SIZE", "1")) > 1 else 0.0

    def __enter__(self) -> "StopSignal":
        if threading.current_thread() is threading.main_thread():  # no other may set handlers
            self._previous = {n: signal.signal(n, self._note) for n in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}

    def _note(self, number: int, _: FrameType | None) -> None:
        if not self.number:
            self.number, self._first = number, time.monotonic()
            if not self._patience:
                self._restore()
        elif time.monotonic() - self._first > self._patience:
            self._restore()
            signal.raise_signal(number)


def ignore_interrupt(_: int) -> None:
    """For a reading process: a terminal's Ctrl-C reaches it too, but the main one decides when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
