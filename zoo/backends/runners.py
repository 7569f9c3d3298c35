"""Networks on onnxruntime and on OpenVINO; safe to call from several threads."""

import functools
import queue
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
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
        import onnxruntime

        self._made_of = path, threads
        self._session = onnx_session(str(path), threads)
        self._input = self._session.get_inputs()[0].name
        self._names = [output.name for output in self._session.get_outputs()]
        self._options = onnxruntime.RunOptions()
        self._options.only_execute_path_to_fetches = True

    def __call__(self, L: Tensor, *, first: bool = False) -> Any:
        """As `zoo.colorizer.Runner` says."""
        names = self._names[:1] if first else self._names
        inputs = {self._input: L.detach().float().contiguous().numpy()}
        outputs = self._session.run(names, inputs, self._options)
        return _answer(dict(zip(names, map(torch.from_numpy, outputs), strict=True)), first)


class OpenvinoRunner(_Shared):
    """An ONNX file on OpenVINO.

    Args:
        content: An ONNX file, or its path.
        threads: How many threads it uses.
        precision: What OpenVINO computes in where the file says nothing else, ``f32`` or ``bf16``.
        cache: A folder in which OpenVINO keeps what it compiled.
    """

    def __init__(self, content: bytes | Path, threads: int, precision: str, cache: Path | None = None) -> None:
        self._made_of = content, threads, precision, cache
        settings: dict[str, Any] = {
            "INFERENCE_PRECISION_HINT": precision,
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
            "ENABLE_CPU_PINNING": False,  # else all processes of one thread each share the first core
        }
        if cache is not None:
            settings["CACHE_DIR"] = str(cache)
        self._settings = settings
        self._lock = threading.Lock()
        self._first = _Compiled(content, settings, first=True)
        self._whole = self._first if self._first.is_whole else None

    def __call__(self, L: Tensor, *, first: bool = False) -> Any:
        """As `zoo.colorizer.Runner` says."""
        network = self._first if first else self._with_all()
        return _answer(network(L.detach().float().contiguous().numpy()), first)

    def _with_all(self) -> "_Compiled":
        """What gives all outputs, compiled when these are first asked for."""
        with self._lock:
            self._whole = self._whole or _Compiled(self._made_of[0], self._settings, first=False)
        return self._whole


class _Compiled:
    """A network as OpenVINO compiled it: with all its outputs, or what its first one needs."""

    def __init__(self, content: bytes | Path, settings: dict[str, Any], *, first: bool) -> None:
        import openvino

        core = _core()
        network = core.read_model(content)
        self.is_whole = not first or len(network.outputs) == 1
        if not self.is_whole:
            network = openvino.Model(network.outputs[:1], network.get_parameters())
        self._compiled = core.compile_model(network, "CPU", settings)
        self._names = [output.get_any_name() for output in self._compiled.outputs]
        self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()  # each serves one call at a time

    def __call__(self, L: npt.NDArray[np.float32]) -> dict[str, Tensor]:
        try:
            request = self._requests.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        try:
            found = request.infer([L], share_inputs=True, share_outputs=True)
            # Copied, since the next call writes over them.
            return {name: torch.from_numpy(np.array(found[n])) for n, name in enumerate(self._names)}
        finally:
            self._requests.put(request)


@functools.cache
def _core() -> Any:
    """OpenVINO, once in a process and never given up.

    Each `Core` that compiles for the CPU takes over the stack on which its thread handles signals and gives back the
    one before it, which is gone where that one's `Core` ended first: Ctrl-C is a segmentation fault from then on.
    """
    import openvino

    return openvino.Core()


def _answer(outputs: dict[str, Tensor], first: bool) -> Any:
    return next(iter(outputs.values())) if first else nested(outputs)


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
    # Else its threads look for more work for 40 ms after each run, on processors that others need.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
