"""Networks as ONNX, of dynamic size, checked against torch before anybody gets them."""

import copy
import io
import json
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import torch

from zoo.backends import kinds
from zoo.backends.network import Network, named
from zoo.colorizer import Colorizer
from zoo.errors import OptionError

OPSET = 17
OPSETS = (16, 20)
TOLERANCE = 1e-3  # the largest difference from torch, as a share of the largest value
INPUT = "L"
_MEANING = {
    "input": "L: lightness of CIE Lab (D65), float32 (n, 1, h, w) in [0, 100]; h and w are multiples of multiple_of",
    "output": "what the model's forward() gives: colours a, b in Lab units, or logits over colour bins, (n, c, h', w')",
}
# A lock: torch's exporter, the filters of warnings and the level of the root logger are the whole process's.
ONE_AT_A_TIME = threading.RLock()
Run = Callable[[npt.NDArray[np.float32]], dict[str, npt.NDArray[np.float32]]]


@dataclass(frozen=True)
class Check:
    """How far a file's answers are from torch's.

    Attributes:
        difference: The largest absolute difference.
        share: The same, as a share of the largest value.
        sizes: The inputs (n, h, w) that were tried.
    """

    difference: float
    share: float
    sizes: tuple[tuple[int, int, int], ...]


def to_onnx(model: Colorizer[Any], opset: int = OPSET) -> bytes:
    """The model's network as an ONNX file: size and batch are dynamic, and its metadata say what goes in and out.

    Args:
        model: Any; it is not changed.
        opset: The version of ONNX's operators.

    Raises:
        OptionError: onnx is not installed, an opset out of range, or a network that cannot be exported.
    """
    if lacking := [p for p in kinds.missing("onnx") if p == "onnx"]:
        raise OptionError("ONNX is not installed", found=f"no {lacking[0]}", remedy="pip install 'colorzoo[onnx]'")
    if not OPSETS[0] <= opset <= OPSETS[1]:
        raise OptionError("bad opset", found=opset, expected=f"{OPSETS[0]} to {OPSETS[1]}")
    import onnx

    side = -(-64 // model.spec.multiple_of) * model.spec.multiple_of
    example = torch.linspace(0, 100, 2 * side * side).view(2, 1, side, side)
    buffer = io.BytesIO()
    try:
        network = Network(model)
        with torch.inference_mode():
            outputs = named(network.model(example))
        axes = {
            name: {0: "n"} | ({2: f"h_{name}", 3: f"w_{name}"} if tensor.ndim == 4 else {})
            for name, tensor in outputs.items()
        }
        # Of what fails, torch prints the whole graph, whatever `verbose` is.
        silent = mock.patch.object(torch._C, "_jit_onnx_log")
        with ONE_AT_A_TIME, silent, warnings.catch_warnings(), torch.no_grad():
            # The exporter by tracing is the one that is quick with dynamic sizes (seconds; the other, which is to
            # replace it, took over ten minutes). What its warnings are about, sizes taken for constants, `check` finds.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (example,),
                buffer,  # type: ignore[arg-type]  # of the exporter that is used, it takes files
                dynamo=False,
                opset_version=opset,
                input_names=[INPUT],
                output_names=list(outputs),
                dynamic_axes={INPUT: {0: "n", 2: "h", 3: "w"}, **axes},
            )
    except Exception as error:  # of any kind: torch's exporter, or a plug-in's forward
        said = str(error) if isinstance(error, OptionError) else f"{type(error).__name__}: {_first_line(error)}"
        raise _cannot(model, said) from error
    proto = onnx.load_from_string(buffer.getvalue())
    onnx.helper.set_model_props(proto, _metadata(model, opset))
    return bytes(proto.SerializeToString())


def check(model: Colorizer[Any], run: Run, what: str, tolerance: float = TOLERANCE) -> Check:
    """Compare what was made of a model with torch in float32, at three sizes.

    Args:
        model: The model.
        run: From L to the named outputs.
        what: Of the error, such as "ONNX file".
        tolerance: The largest difference allowed, as a share of the largest value.

    Raises:
        OptionError: They differ by more, or it cannot run.
    """
    sizes = _sizes(model)
    worst = share = 0.0
    random = torch.Generator().manual_seed(0)
    plain = copy.deepcopy(model).cpu().float().eval()
    plain.detach_backend()
    for n, height, width in sizes:
        L = torch.rand(n, 1, height, width, generator=random) * 100
        with torch.inference_mode():
            expected = named(plain(L))
        try:
            answers = run(L.numpy())
        except Exception as error:  # the runtime's own
            where = f"{what}: {type(error).__name__} at {n}x1x{height}x{width}"
            raise _cannot(model, f"{where}: {_first_line(error)}") from error
        for name, tensor in expected.items():
            if name not in answers or answers[name].shape != tuple(tensor.shape):
                shape = answers[name].shape if name in answers else "nothing"
                raise _cannot(model, f"{what}: {name} of {shape} at {n}x1x{height}x{width}, not {tuple(tensor.shape)}")
            difference = float(np.abs(answers[name] - tensor.numpy()).max(initial=0))
            largest = float(tensor.abs().max()) or 1.0
            worst, share = float(np.maximum(worst, difference)), float(np.maximum(share, difference / largest))
    if not share <= tolerance:
        found = f"{what} differs from torch by {share:.2%} of the largest value"
        raise _cannot(model, found, f"at most {tolerance:.2%}")
    return Check(worst, share, sizes)


def ort_run(content: bytes | str, threads: int) -> Run:
    """An ONNX file, or its path, as a function, by onnxruntime."""
    from zoo.backends.runners import onnx_session

    session = onnx_session(content, threads)
    names = [output.name for output in session.get_outputs()]
    return lambda L: dict(zip(names, session.run(names, {INPUT: L}), strict=True))


def openvino_run(content: bytes, threads: int) -> Run:
    """An ONNX file as a function, by OpenVINO in float32."""
    from zoo.backends.runners import OpenvinoRunner

    runner = OpenvinoRunner(content, threads, "f32")
    return lambda L: {name: tensor.numpy() for name, tensor in named(runner(torch.from_numpy(L))).items()}


def _sizes(model: Colorizer[Any]) -> tuple[tuple[int, int, int], ...]:
    unit = -(-32 // model.spec.multiple_of) * model.spec.multiple_of
    whole = max(1, round(model.spec.working_size / unit)) * unit
    return (1, whole, whole), (2, 3 * unit, 2 * unit), (3, unit, 5 * unit)


def _metadata(model: Colorizer[Any], opset: int) -> dict[str, str]:
    from zoo.backends.choice import key_of

    spec = model.spec
    return {
        "model": spec.name if model.weights is None else f"{spec.name}.{model.weights.tag}",
        "license": "" if model.weights is None else model.weights.license,
        "weights_sha256": key_of(model),
        "working_size": str(spec.working_size),
        "multiple_of": str(spec.multiple_of),
        "opset": str(opset),
        "dtype": "float32",
        "versions": json.dumps(kinds.versions()),
        **_MEANING,
    }


def _cannot(model: Colorizer[Any], found: str, expected: str | None = None) -> OptionError:
    return OptionError(
        f"model {model.spec.name!r} cannot leave torch for another backend",
        found=found,
        expected=expected,
        remedy="use backend='torch'",
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
