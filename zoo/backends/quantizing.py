"""Networks in int8: the convolutions' weights and activations, by onnxruntime's tools, calibrated on pictures."""

import logging
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo import pipeline
from zoo.backends import photos
from zoo.backends.export import INPUT, ONE_AT_A_TIME
from zoo.backends.photos import Picture
from zoo.colorizer import Colorizer
from zoo.errors import OptionError

_FLOAT = 0.3  # the share of convolutions, the first, that stay in floating point: they see the picture at its finest


def quantized(content: bytes, model: Colorizer[Any], pictures: Iterable[Picture] | None = None) -> bytes:
    """An ONNX file with its convolutions in int8.

    Those that cost most colour and gain least time stay in floating point: depthwise ones, the last one before each
    output, and the first `_FLOAT` of all. (Of `fusion`'s pictures, mean CIEDE2000 of the worst style: all 0.7 without
    the depthwise ones and 2.1 with them; a whole network of which these are left out, 0.36.)

    Args:
        content: As `export.to_onnx` gives it.
        model: What it was made of.
        pictures: From which the ranges of the activations are taken, as `Colorizer.colorize_array` takes them; None is
            `photos.calibration`.
    """
    import onnx
    from onnxruntime import quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, _quiet():
        plain, prepared, result = (Path(folder) / f"{name}.onnx" for name in ("plain", "prepared", "int8"))
        plain.write_bytes(content)
        quant_pre_process(plain, prepared, skip_symbolic_shape=True)
        graph = onnx.load(prepared).graph
        nodes = _nodes(graph)
        if not nodes:
            some = any(node.op_type == "Conv" for node in graph.node)
            why = "that all stay in floating point: the first, depthwise ones, the last before an output"
            raise OptionError(
                f"model {model.spec.name!r} has nothing to quantize",
                found=f"convolutions {why}" if some else "no convolutions",
                remedy="use float32",
            )
        quantization.quantize_static(
            prepared,
            result,
            _Inputs(model, photos.calibration() if pictures is None else pictures),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            nodes_to_quantize=nodes,
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            calibrate_method=quantization.CalibrationMethod.MinMax,
        )
        proto = onnx.load(result)
    known = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    onnx.helper.set_model_props(proto, known | {"dtype": "int8"})
    return bytes(proto.SerializeToString())


def _nodes(graph: Any) -> list[str]:
    """The names of the convolutions to quantize."""
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    groups = [next((a.i for a in node.attribute if a.name == "group"), 1) for node in convolutions]
    skipped = max(1, int(_FLOAT * len(convolutions)))
    last = _last_before_outputs(graph)
    pairs = zip(convolutions[skipped:], groups[skipped:], strict=True)
    return [node.name for node, n in pairs if n == 1 and node.name not in last]


def _last_before_outputs(graph: Any) -> set[str]:
    """The names of the convolutions between which and an output of the graph there is no other."""
    makers = {name: node for node in graph.node for name in node.output}
    waiting, seen, found = [output.name for output in graph.output], set(), set()
    while waiting:
        node = makers.get(waiting.pop())
        if node is None or node.name in seen:
            continue
        seen.add(node.name)
        if node.op_type == "Conv":
            found.add(node.name)
        else:
            waiting += node.input
    return found


class _Inputs:
    """What the network sees of pictures, as onnxruntime reads it."""

    def __init__(self, model: Colorizer[Any], pictures: Iterable[Picture]) -> None:
        self._inputs: Iterator[npt.NDArray[np.float32]] = (_network_input(model, picture) for picture in pictures)

    def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
        L = next(self._inputs, None)
        return None if L is None else {INPUT: L}

    def __len__(self) -> int:
        raise TypeError  # of no use: all are read at once


def _network_input(model: Colorizer[Any], picture: Picture) -> npt.NDArray[np.float32]:
    seen: list[Tensor] = []

    def watch(L: Tensor) -> Tensor:
        seen.append(L)
        return torch.zeros(1, 2, *L.shape[2:])

    spec = model.spec
    pipeline.predict_maps(picture, watch, working_size=spec.working_size, multiple_of=spec.multiple_of)
    return seen[0].numpy()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without onnxruntime's advice, which it logs by the root logger."""
    root = logging.getLogger()
    with ONE_AT_A_TIME:
        before = root.level
        root.setLevel(logging.ERROR)
        try:
            yield
        finally:
            root.setLevel(before)
