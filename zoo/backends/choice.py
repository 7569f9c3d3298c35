"""Which backend a model runs on: what was asked for, else the best that was measured here and is true to torch."""

import hashlib
import json
import logging
import math
import os
import platform
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from zoo import hub
from zoo.backends import kinds
from zoo.backends.likeness import BOUND, recorded
from zoo.colorizer import Colorizer
from zoo.errors import OptionError, WeightsError
from zoo.runnable import has_fast_bf16

_log = logging.getLogger(__name__)

NEARLY = 1.1  # times as long as the fastest: what truer colours may cost


@dataclass(frozen=True)
class Measured:
    """What one backend did on this machine.

    Attributes:
        backend: As `zoo.load` names it.
        dtype: As `zoo.load` names it.
        milliseconds: Of the network's forward pass at the model's working size.
        delta_e: How far its pictures are from those of torch in float32: mean CIEDE2000, of the worst style.
    """

    backend: str
    dtype: str
    milliseconds: float
    delta_e: float


def folder() -> Path:
    """Where backends keep what they made and found on this machine."""
    return hub.home() / "backends"


def key_of(model: Colorizer[Any]) -> str:
    """The sha256 of the weights as they are registered; of those that are not, of all tensors."""
    if model.weights is not None and model.weights.sha256 is not None:
        return model.weights.sha256
    digest = hashlib.sha256(f"{model.spec.name} {model.config}".encode())
    for name, tensor in model.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def measured(key: str) -> list[Measured]:
    """What `keep` kept of these weights, by this machine with the versions of now.

    Of several numbers of threads it is the present one; else the nearest, since the order of the ways is much the same.

    Args:
        key: As `key_of` gives it.
    """
    start, _, now = _path(key).stem.rpartition("-")
    threads = {path: path.stem.rpartition("-")[2] for path in _path(key).parent.glob(f"{start}-*.json")}
    numbers = {path: int(number) for path, number in threads.items() if number.isdecimal()}
    for path in sorted(numbers, key=lambda path: (abs(numbers[path] - int(now)), numbers[path])):
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["found"]
            return [
                Measured(str(e["backend"]), str(e["dtype"]), float(e["milliseconds"]), float(e["delta_e"]))
                for e in found
            ]
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s is damaged and not used (%s); `colorzoo bench` measures anew", path, error)
    return []


def keep(key: str, found: Sequence[Measured]) -> Path:
    """Keep what was measured on this machine, in place of what was kept of these weights and number of threads before.

    Returns:
        The file that was written.

    Raises:
        WeightsError: The cache cannot be written.
    """
    path = _path(key)
    table = {"weights": key, **_setting(), "threads": torch.get_num_threads(), "found": [asdict(one) for one in found]}
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        remedy = "set HF_HOME to a folder that can be written"
        raise WeightsError(f"{path} cannot be written", found=error.strerror, remedy=remedy) from error
    return path


def choose(model: Colorizer[Any], backend: str = kinds.AUTO, dtype: str = kinds.AUTO) -> tuple[str, str]:
    """The backend and the dtype that a model shall run on.

    ``auto`` is the `best` of what `measured` knows, is installed, and `is_true`. Where nothing was measured with this
    number of threads, what was measured here with the nearest other number counts. Where nothing was measured at all,
    or torch is asked for, it is torch, in bfloat16 where the CPU has it and the weights' record allows it.

    Args:
        model: Where it lies decides too: only torch runs elsewhere than on the CPU.
        backend: ``auto``, or as in `kinds.DTYPES`.
        dtype: ``auto``, or as in `kinds.DTYPES`.

    Raises:
        OptionError: Names that are none, a backend that is not installed, or one that cannot run on the device.
    """
    kinds.check(backend, dtype)
    on_cpu = model.device.type == "cpu"
    if not on_cpu and (backend not in (kinds.AUTO, "torch") or dtype == "int8"):
        raise OptionError(
            f"backend {backend!r} runs on the CPU only" if dtype != "int8" else "int8 runs on the CPU only",
            found=f"device {str(model.device)!r}",
            remedy="load with backend='torch', or with device='cpu'",
        )
    if backend != kinds.AUTO:
        kinds.require(backend, dtype)
    if kinds.AUTO not in (backend, dtype):
        return backend, dtype
    if not on_cpu:
        return "torch", "float32" if dtype == kinds.AUTO else dtype
    key = key_of(model)
    # Who names torch, as what makes published figures does, gets the same on every day.
    if backend != "torch" and (found := _best_here(key, backend, dtype)):
        return found
    if backend == kinds.AUTO:
        backend = "torch" if dtype != "int8" else _first_with_int8()
    if dtype == kinds.AUTO:
        dtype = "bfloat16" if "bfloat16" in kinds.DTYPES[backend] and _may_be_bf16(key, backend) else "float32"
    return backend, dtype


def _best_here(key: str, backend: str, dtype: str) -> tuple[str, str] | None:
    fitting = [
        one
        for one in measured(key)
        if one.backend in (kinds.DTYPES if backend == kinds.AUTO else (backend,))
        and one.dtype in (kinds.DTYPES[one.backend] if dtype == kinds.AUTO else (dtype,))
        and math.isfinite(one.milliseconds)
        and (one.dtype == dtype or is_true(key, one))  # who names a dtype has accepted it
        and not kinds.missing(one.backend, one.dtype)
    ]
    if not fitting:
        return None
    found = best(fitting)
    return found.backend, found.dtype


def is_true(key: str, found: Measured) -> bool:
    """Whether a way's colours are near enough to those of torch in float32: here, and on record if they are recorded.

    Args:
        key: Of the weights, as `key_of` gives it.
        found: What was measured here.
    """
    on_record = recorded(key, found.backend, found.dtype)
    return found.delta_e < BOUND and (on_record is None or on_record < BOUND)


def best(measured: Sequence[Measured]) -> Measured:
    """The fastest of ``measured``, or what is nearly as fast and truer to the colours of torch in float32.

    Colours that are alike to a tenth of CIEDE2000 count as equally true.
    """
    least = min(one.milliseconds for one in measured)
    near = [one for one in measured if one.milliseconds <= NEARLY * least]
    return min(
        near, key=lambda one: (round(one.delta_e, 1) if math.isfinite(one.delta_e) else math.inf, one.milliseconds)
    )


def _may_be_bf16(key: str, backend: str) -> bool:
    found = recorded(key, backend, "bfloat16") if has_fast_bf16() else None
    return found is not None and found < BOUND


def _first_with_int8() -> str:
    able = [name for name, dtypes in kinds.DTYPES.items() if "int8" in dtypes]
    installed = [name for name in able if not kinds.missing(name, "int8")]
    if not installed:
        kinds.require(able[0], "int8")
    return installed[0]


def _setting() -> dict[str, Any]:
    """What a measurement holds for, with any number of threads."""
    return {"machine": f"{platform.node()} {platform.machine()} {os.cpu_count()}", "versions": kinds.versions()}


def _path(key: str) -> Path:
    """Where a measurement with the present number of threads is kept."""
    setting = hashlib.sha256(json.dumps(_setting(), sort_keys=True).encode()).hexdigest()
    return folder() / "measured" / f"{key[:32]}-{setting[:16]}-{torch.get_num_threads()}.json"
