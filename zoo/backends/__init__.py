"""What runs a model's network: torch, onnxruntime or OpenVINO, in float32, bfloat16 or int8.

A model keeps its methods; only its network's forward pass is computed elsewhere, and only for inference.
"""

import logging
import os
from pathlib import Path
from typing import Any

import torch

from zoo.backends import choice, kinds
from zoo.backends.choice import Measured, best, choose, is_true, keep, key_of, measured
from zoo.backends.kinds import DTYPES
from zoo.backends.likeness import BOUND, fidelity, recorded
from zoo.colorizer import Colorizer
from zoo.errors import OptionError
from zoo.runnable import Runner, has_fast_bf16

_log = logging.getLogger(__name__)

__all__ = [
    "BOUND",
    "DTYPES",
    "Measured",
    "attach",
    "best",
    "candidates",
    "choose",
    "fidelity",
    "is_true",
    "keep",
    "key_of",
    "measured",
    "recorded",
]


def candidates(model: Colorizer[Any]) -> list[tuple[str, str]]:
    """The pairs of backend and dtype that can be tried here: installed, and known to the processor.

    Whether the network can be exported shows when it is: `attach` refuses it then.

    Args:
        model: Off the CPU, torch alone runs it. Of one without a network there is nothing that could run elsewhere.
    """
    if not any(one.state_dict() for one in _family(model)):
        return [("torch", "float32")]
    if model.device.type != "cpu":
        return [("torch", "float32"), ("torch", "bfloat16")]
    return [
        (backend, dtype)
        for backend, dtypes in kinds.DTYPES.items()
        for dtype in dtypes
        if not kinds.missing(backend, dtype) and (dtype != "bfloat16" or has_fast_bf16())
    ]


def attach(model: Colorizer[Any], backend: str, dtype: str) -> Colorizer[Any]:
    """The same model, its network run by ``backend`` in ``dtype``; what it is made of, too.

    The first time, the network is exported into the cache, which takes seconds.

    Args:
        model: In evaluation mode. Training it, or giving it other weights, brings it back to torch in float32.
        backend: ``torch``, ``onnx`` or ``openvino``.
        dtype: ``float32``, ``bfloat16`` or ``int8``; not each backend has each.

    Raises:
        OptionError: Not a pair that there is or that is installed, not a model on the CPU, a network that cannot be
            exported, or a backend that does not start.
        WeightsError: The cache cannot be written.
    """
    kinds.check(backend, dtype)
    if kinds.AUTO in (backend, dtype):
        raise OptionError("auto is not a backend", remedy="ask `zoo.backends.choose` first")
    choice.choose(model, backend, dtype)  # refuses what cannot be
    if dtype == "bfloat16" and backend != "torch" and not has_fast_bf16():
        raise OptionError(f"{backend} in bfloat16: this processor has none", remedy="use float32")
    if dtype == "int8" and not torch.cpu._is_vnni_supported():  # sums of two products may overflow
        _log.warning("%s in int8: without VNNI colours may drift; `colorzoo bench` measures how far", backend)
    networks = _family(model)
    runners = [None if backend == "torch" or one.parts else _runner(one, backend, dtype) for one in networks]
    for one, runner in zip(networks, runners, strict=True):
        one.backend, one.dtype, one.runner = backend, dtype, runner
    return model


def _family(model: Colorizer[Any]) -> list[Colorizer[Any]]:
    """The model and what it is made of."""
    return [model, *(inner for part in model.parts for inner in _family(part))]


def _runner(model: Colorizer[Any], backend: str, dtype: str) -> Runner | None:
    from zoo.backends import runners
    from zoo.backends.files import network_file

    if not model.state_dict():
        return None  # nothing that could be faster elsewhere
    path = network_file(model, "int8" if dtype == "int8" else "float32")
    threads = torch.get_num_threads()
    try:
        if backend == "onnx":
            return runners.OnnxRunner(path, threads)
        precision = "bf16" if dtype == "bfloat16" else "f32"
        return runners.OpenvinoRunner(path, threads, precision, _place_for_compiled())
    except Exception as error:  # of whatever kind: a package that is half installed, a processor that it does not know
        raise OptionError(
            f"backend {backend!r} in {dtype} does not start",
            found=f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:300]}",
            remedy="install it anew, or use backend='torch'",
        ) from error


def _place_for_compiled() -> Path | None:
    """Where OpenVINO may keep what it compiled; None where nothing can be written: then it compiles anew each time."""
    place = choice.folder() / "openvino"
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return place if os.access(place, os.W_OK) else None
