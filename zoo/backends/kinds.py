"""The backends there are, the number formats of each, and whether they are installed here."""

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from zoo.errors import OptionError

AUTO = "auto"
DTYPES = {
    "torch": ("float32", "bfloat16"),
    "onnx": ("float32", "int8"),
    "openvino": ("float32", "bfloat16", "int8"),
}
_NEEDS = {"torch": ("torch",), "onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
_INT8_NEEDS = ("onnx", "onnxruntime")  # whose tools quantize for either


def check(backend: str, dtype: str) -> None:
    """Refuse names that are none, and pairs that no backend has.

    Raises:
        OptionError: Such a name or pair.
    """
    known = sorted({one for dtypes in DTYPES.values() for one in dtypes})
    if backend not in (AUTO, *DTYPES):
        raise OptionError("unknown backend", found=repr(backend), expected=f"{AUTO}, {', '.join(DTYPES)}")
    if dtype not in (AUTO, *known):
        raise OptionError("unknown dtype", found=repr(dtype), expected=f"{AUTO}, {', '.join(known)}")
    if backend != AUTO and dtype not in (AUTO, *DTYPES[backend]):
        raise OptionError(f"backend {backend!r} has no {dtype}", expected=f"{AUTO}, {', '.join(DTYPES[backend])}")


def missing(backend: str, dtype: str = AUTO) -> list[str]:
    """The packages that the backend needs for this dtype and that are not installed."""
    needs = (*_NEEDS[backend], *(_INT8_NEEDS if dtype == "int8" else ()))
    return [package for package in dict.fromkeys(needs) if find_spec(package) is None]


def require(backend: str, dtype: str = AUTO) -> None:
    """Refuse a backend that is not installed.

    Raises:
        OptionError: It names the extra to install.
    """
    if lacking := missing(backend, dtype):
        extras = ",".join(dict.fromkeys([backend, *(["onnx"] if set(lacking) - {"openvino"} else [])]))
        raise OptionError(
            f"backend {backend!r} is not installed" if dtype != "int8" else f"{backend} in int8 is not installed",
            found=f"no package {' or '.join(lacking)}",
            remedy=f"pip install 'colorzoo[{extras}]', or backend='torch'",
        )


def versions() -> dict[str, str]:
    """Of what runs the backends, where it is installed, and of colorzoo itself."""
    found = {}
    for package in ("colorzoo", "torch", "onnx", "onnxruntime", "openvino"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
