"""Networks on onnxruntime and on OpenVINO; safe to call from several threads."""

import queue
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from zoo.backends.network import nested


class _Shared:
    """A network that cannot be changed, so that copies of a model may share it."""

    _made_of: tuple[Any, ...]

    def __deepcopy__(self, memo: Any) -> "_Shared":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes on this machine, which make the network of the same file."""
        return type(self), self._made_of


class OnnxRunner(_Shared):
    """An ONNX file on onnxruntime."""

    def __init__(self, path: Path, threads: int) -> None:
        self._made_of = path, threads
        self._session = onnx_session(str(path), threads)
        self._input = self._session.get_inputs()[0].name
        self._names = [output.name for output in self._session.get_outputs()]

    def __call__(self, L: Tensor) -> Any:
        """What `Colorizer.forward` gives for L, (N, 1, H, W) in [0, 100]."""
        outputs = self._session.run(self._names, {self._input: L.detach().float().contiguous().numpy()})
        return nested({name: torch.from_numpy(out) for name, out in zip(self._names, outputs, strict=True)})


class OpenvinoRunner(_Shared):
    """An ONNX file on OpenVINO.

    Args:
        content: An ONNX file, or its path.
        threads: How many threads it uses.
        precision: What OpenVINO computes in where the file says nothing else, ``f32`` or ``bf16``.
        cache: A folder in which OpenVINO keeps what it compiled.
    """

    def __init__(self, content: bytes | Path, threads: int, precision: str, cache: Path | None = None) -> None:
        import openvino

        self._made_of = content, threads, precision, cache
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        if cache is not None:
            settings["CACHE_DIR"] = str(cache)
        core = openvino.Core()
        self._compiled = core.compile_model(core.read_model(content), "CPU", settings)
        self._names = [output.get_any_name() for output in self._compiled.outputs]
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()  # each serves one call at a time

    def __call__(self, L: Tensor) -> Any:
        """What `Colorizer.forward` gives for L, (N, 1, H, W) in [0, 100]."""
        try:
            request = self._requests.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        try:
            found = request.infer([L.detach().float().contiguous().numpy()], share_inputs=True, share_outputs=True)
            # Copied, since the next call writes over them.
            outputs = {name: torch.from_numpy(np.array(found[n])) for n, name in enumerate(self._names)}
        finally:
            self._requests.put(request)
        return nested(outputs)


def onnx_session(content: bytes | str, threads: int) -> Any:
    """An onnxruntime session on the CPU.

    Args:
        content: An ONNX file, or its path.
        threads: How many threads it uses.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
