"""Networks as files for other programs: checked, then written in one piece, or not at all."""

import copy
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo.backends import export as onnx_export
from zoo.backends import kinds, photos
from zoo.backends.files import write
from zoo.backends.likeness import BOUND, fidelity
from zoo.backends.photos import Picture
from zoo.backends.quantizing import quantized
from zoo.backends.runners import OnnxRunner
from zoo.colorizer import Colorizer
from zoo.errors import OptionError

SUFFIXES = {"onnx": ".onnx", "openvino": ".xml"}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: Their paths; OpenVINO's format has a second one for the weights.
        said: How true it is to torch, in words.
        size_bytes: Of the files together.
    """

    files: tuple[Path, ...]
    said: str
    size_bytes: int


def export(
    model: Colorizer[Any],
    target: Path,
    format: str,
    *,
    opset: int = onnx_export.OPSET,
    dtype: str = "float32",
    pictures: Iterable[Picture] | None = None,
    force: bool = False,
) -> Exported:
    """Write a model's network as ONNX or OpenVINO, of dynamic size and batch.

    Args:
        model: Any; it is not changed.
        target: The file; OpenVINO writes a second one, ``.bin``, beside it.
        format: ``onnx`` or ``openvino``.
        opset: The version of ONNX's operators.
        dtype: ``float32`` or ``int8``.
        pictures: For int8, those it is calibrated on; None is `photos.calibration`. It is judged on
            `photos.judged`.
        force: Whether the files may exist.

    Raises:
        OptionError: An unknown format or dtype, a file that exists, packages that are missing, a network that cannot be
            exported, or one whose answers are not those of torch. Nothing is written then.
        WeightsError: The file cannot be written.
    """
    if format not in SUFFIXES:
        raise OptionError("unknown format", found=repr(format), expected=" or ".join(SUFFIXES))
    if dtype not in ("float32", "int8"):
        raise OptionError("bad dtype of an exported file", found=repr(dtype), expected="float32 or int8")
    if target.suffix.lower() != SUFFIXES[format]:
        raise OptionError(f"{target}: not a name for {format}", expected=f"one that ends in {SUFFIXES[format]}")
    files = (target,) if format == "onnx" else (target, target.with_suffix(".bin"))
    for file in files:
        if file.exists() and not force:
            raise OptionError(f"{file}: exists already", remedy="choose another name, or --force to replace it")
    if not target.parent.is_dir():
        raise OptionError(f"{target.parent}: no such folder", remedy="make it first")
    kinds.require("onnx")  # which checks the file
    if format == "openvino":
        kinds.require("openvino")
    content = onnx_export.to_onnx(model, opset)
    checked = onnx_export.check(model, onnx_export.ort_run(content, torch.get_num_threads()), "ONNX file")
    at = ", ".join("x".join(map(str, size)) for size in checked.sizes)
    said = f"largest difference from torch {checked.difference:.2g} ({checked.share:.1g} of the largest value) at {at}"
    if dtype == "int8":
        content = quantized(content, model, pictures)
        said = _check_int8(model, content)
    contents = [content] if format == "onnx" else _openvino(content)
    for file, part in reversed(list(zip(files, contents, strict=True))):  # the weights first
        write(file, part)
    return Exported(files, said, sum(map(len, contents)))


def _check_int8(model: Colorizer[Any], content: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "int8.onnx"
        path.write_bytes(content)
        other = copy.deepcopy(model).eval()
        other.backend, other.dtype, other.runner = "onnx", "int8", OnnxRunner(path, torch.get_num_threads())
        reference = copy.deepcopy(model).eval()
        reference.detach_backend()
        found = fidelity(other, reference, photos.judged())
    if not found < BOUND:
        raise OptionError(
            f"model {model.spec.name!r} in int8 paints other pictures than in float32",
            found=f"mean CIEDE2000 {found:.2f}",
            expected=f"below {BOUND}",
            remedy="use float32, or --calibrate with pictures of your kind",
        )
    return f"mean CIEDE2000 {found:.2f} from torch in float32, of the worst style, on other photos"


def _openvino(content: bytes) -> list[bytes]:
    import onnx
    import openvino

    metadata = {entry.key: entry.value for entry in onnx.load_from_string(content).metadata_props}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "model.onnx", Path(folder) / "model.xml"
        source.write_bytes(content)
        network = openvino.Core().read_model(source)  # `convert_model` would tell the makers of OpenVINO by the network
        for key, value in metadata.items():
            network.set_rt_info(value, ["colorzoo", key])
        openvino.save_model(network, target, compress_to_fp16=False)
        return [target.read_bytes(), target.with_suffix(".bin").read_bytes()]
