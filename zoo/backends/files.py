"""Exported networks in the cache: made once for each set of weights, versions and source of the network."""

import hashlib
import inspect
import json
import logging
import marshal
import uuid
from pathlib import Path
from typing import Any

import torch

from zoo.backends import export, kinds, network, photos, quantizing
from zoo.backends.choice import folder, key_of
from zoo.colorizer import Colorizer
from zoo.digests import sha256_of
from zoo.errors import WeightsError
from zoo.locks import locked

_log = logging.getLogger(__name__)


def network_file(model: Colorizer[Any], dtype: str) -> Path:
    """The ONNX file of a model in the cache; made where it is not there or damaged, by one process at a time.

    Args:
        model: Its weights decide.
        dtype: ``float32`` or ``int8``; bfloat16 is a matter of how the former is run.

    Raises:
        OptionError: The network cannot be exported.
        WeightsError: The cache cannot be written.
    """
    name = f"{key_of(model)[:32]}-{_fingerprint(model)[:16]}-{dtype}"
    path = folder() / "networks" / f"{name}.onnx"
    if _is_whole(path):
        return path
    with locked(path.parent, name):
        if not _is_whole(path):  # else another process made it meanwhile
            write(path, _content(model, dtype))
            write(_digest_path(path), sha256_of(path).encode())
    return path


def write(path: Path, content: bytes) -> None:
    """Write a file in one piece or not at all.

    Raises:
        WeightsError: It cannot be written.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise WeightsError(f"{path} cannot be written", found=error.strerror) from error


def _content(model: Colorizer[Any], dtype: str) -> bytes:
    content = export.to_onnx(model)
    export.check(model, _run(content), "ONNX file")
    if dtype == "int8":
        return quantizing.quantized(content, model)
    return content


def _run(content: bytes) -> export.Run:
    """By what is installed."""
    threads = torch.get_num_threads()
    return export.ort_run(content, threads) if not kinds.missing("onnx") else export.openvino_run(content, threads)


def _is_whole(path: Path) -> bool:
    try:
        expected = _digest_path(path).read_text(encoding="ascii")
    except (OSError, ValueError):
        return False
    if not path.is_file():
        return False
    whole = sha256_of(path) == expected
    if not whole:
        _log.warning("%s is damaged, and made anew", path)
    return whole


def _digest_path(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _fingerprint(model: Colorizer[Any]) -> str:
    """Changes with anything that a file in the cache depends on beside the weights."""
    digest = hashlib.sha256(json.dumps([kinds.versions(), export.OPSET, str(model.config)]).encode())
    classes = {type(module) for module in model.modules() if not type(module).__module__.startswith("torch.")}
    makers = (Path(inspect.getfile(module)).read_bytes() for module in (export, network, photos, quantizing))
    written = sorted({Path(__file__).read_bytes(), *makers, *map(_text_of, classes)})
    for text in written:
        digest.update(text)
    return digest.hexdigest()


def _text_of(cls: type) -> bytes:
    """The file that a class is written in; of one that was made in a running program, as in a notebook, its code."""
    try:
        return Path(str(inspect.getsourcefile(cls))).read_bytes()
    except (TypeError, OSError):
        functions = [getattr(member, "__code__", None) for member in vars(cls).values()]
        return b"".join(marshal.dumps(code) for code in functions if code is not None)
