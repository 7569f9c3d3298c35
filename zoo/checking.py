"""What a spec must be before the registry takes it: every field of its type and plausible, the whole consistent.

Plug-ins may write anything into one, and what is taken here is later printed, joined to paths and asked of the Hub.
"""

import re
import reprlib
import types
import unicodedata
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import PurePath, PurePosixPath
from typing import Any, get_args, get_origin, get_type_hints

from zoo.errors import RegistryError
from zoo.spec import OPTIONS, ModelSpec, WeightsSpec

_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"(?!.*(--|\.\.))[\w-][\w.-]*(?<![.-])/[\w-][\w.-]*(?<![.-])(?<!\.git)", re.ASCII)
_MOST = 1000  # characters of a text, bytes of a path, entries of a tuple: more than any takes
_LONGEST_NAME = 255  # bytes of one folder or file, on all common disks
_LARGEST_SIDE, _LARGEST_FILE = 1 << 16, 1 << 45  # pixels, bytes: beyond these it is a slip


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda text: re.fullmatch(pattern, text, re.ASCII) is not None


def _is_path(text: str) -> bool:
    parts = PurePath(text).parts
    short = _bytes(text) <= _MOST and all(_bytes(part) <= _LONGEST_NAME for part in parts)
    return bool(parts) and ".." not in parts and short


def _bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _is_relative(text: str) -> bool:
    """Whether it names a file below the folder it is joined to, on every system."""
    pure = "\\" not in text and ":" not in text and str(PurePosixPath(text)) == text
    return _is_path(text) and pure and text != "." and not text.startswith("/")


_ADDRESS = (_matches(r"https?://[^\s/]+(/\S*)?"), "https://...")
_RELATIVE = (_is_relative, "a file's name, or its relative path with / and without ..")

# By field, of a text, a number or each entry of a tuple: whether it is plausible, and what would be.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_matches("[a-z][a-z0-9_]{0,63}"), "lower_snake_case of at most 64 letters"),
    "summary": (lambda text: bool(text.strip()) and len(text) <= 200, "a line of at most 200 letters"),
    "working_size": (lambda side: 1 <= side <= _LARGEST_SIDE, f"1 to {_LARGEST_SIDE} pixels"),
    "multiple_of": (lambda side: 1 <= side <= _LARGEST_SIDE, f"1 to {_LARGEST_SIDE} pixels"),
    "styles": (_matches("[a-z][a-z0-9_]{0,63}"), "lower_snake_case of at most 64 letters"),
    "tag": (_matches(r"[A-Za-z0-9][\w.-]{0,63}"), "letters, digits, '_', '-', '.', at most 64"),
    "sha256": (_matches("[0-9a-f]{64}"), "64 lower-case hex digits"),
    "size_bytes": (lambda size: 0 <= size <= _LARGEST_FILE, f"0 to {_LARGEST_FILE} bytes"),
    "source_url": _ADDRESS,
    "packaged": (_is_path, "a file's path without .., each name at most 255 bytes"),
    "repo_id": (lambda text: len(text) <= 96 and _REPOSITORY.fullmatch(text) is not None, "OWNER/REPO"),
    "filename": _RELATIVE,
    "convert_from": _ADDRESS,
    "training_config": _RELATIVE,
}


def check(spec: ModelSpec) -> None:
    """Refuse a spec that is incomplete, implausible or contradicts itself.

    Raises:
        RegistryError: What is wrong with it: the field, its value and what was expected.
    """
    if not isinstance(spec, ModelSpec):
        raise RegistryError("register(): not a spec", found=_short(spec), expected="a ModelSpec")
    where = f"model {_short(spec.name)}"
    if isinstance(spec.summary, str) and not spec.summary.strip():
        raise RegistryError(f"{where}: empty summary", expected="one line that says what the model is")
    _check_fields(spec, where)
    if not callable(getattr(spec.config, "tiny", None)) or not _is_instance_of_dataclass(spec.config):
        raise RegistryError(
            f"{where}: config has no tiny()",
            found=type(spec.config).__name__,
            expected="an instance of a dataclass with a tiny() classmethod, the smallest configuration",
        )
    if spec.working_size < spec.multiple_of:
        raise RegistryError(
            f"{where}: bad sizes",
            found=f"working_size {spec.working_size}, multiple_of {spec.multiple_of}",
            expected="working_size >= multiple_of >= 1",
        )
    unknown = sorted(spec.supports - OPTIONS)
    if unknown:
        raise RegistryError(
            f"{where}: unknown option in supports",
            found=", ".join(unknown),
            expected=", ".join(sorted(OPTIONS)),
        )
    if ("style" in spec.supports) != (len(spec.styles) > 1) or len(set(spec.styles)) != len(spec.styles):
        raise RegistryError(f"{where}: supports 'style' goes with at least two styles", found=spec.styles)
    if any(bool(w.parts) != bool(spec.parts) for w in spec.weights):
        raise RegistryError(
            f"{where}: weights of its own",
            found=f"parts {', '.join(spec.parts) or 'none'}",
            expected="the weights of a model made of parts are its parts'; no other has such",
        )
    for weights in spec.weights:
        _check_weights(weights, f"weights {spec.name}.{str(weights.tag)[:64]}", type(spec.config))
    tags = [w.tag for w in spec.weights]
    if len(set(tags)) != len(tags):
        raise RegistryError(f"{where}: two weights with one tag", found=", ".join(tags))


def _check_weights(weights: WeightsSpec, where: str, config_class: type) -> None:
    _check_fields(weights, where)
    places = [p for p in ("packaged", "repo_id", "convert_from", "parts") if getattr(weights, p)]
    if len(places) != 1:
        raise RegistryError(
            f"{where}: not exactly one place",
            found=" and ".join(places) or "none",
            expected="packaged, repo_id, convert_from or parts",
        )
    if not weights.license.strip() or not any(line.strip() for line in weights.training_data):
        raise RegistryError(f"{where}: license and training data must be stated")
    if weights.sha256 is None and weights.packaged is not None:
        raise RegistryError(f"{where}: packaged without a sha256")
    digits = weights.upstream_sha256
    if digits is not None and not (weights.convert_from and re.fullmatch("[0-9a-f]{6,64}", digits)):
        raise RegistryError(
            f"{where}: bad upstream_sha256",
            found=_short(digits),
            expected="the first lower-case hex digits, at most 64, of what convert_from is the address of",
        )
    if weights.repo_id is not None and not (weights.filename and _COMMIT.fullmatch(weights.revision or "")):
        raise RegistryError(
            f"{where}: not pinned",
            found=f"revision {_short(weights.revision)}, filename {_short(weights.filename)}",
            expected="a 40-digit commit and a file name",
        )
    if weights.config is not None and not isinstance(weights.config, config_class):
        raise RegistryError(f"{where}: bad config", found=_short(weights.config), expected=config_class.__name__)


def _check_fields(spec: ModelSpec | WeightsSpec, where: str) -> None:
    """Refuse a field whose value is not of the type declared, or is not plausible."""
    hints = get_type_hints(type(spec))
    for name in (field.name for field in fields(spec)):
        value, hint = getattr(spec, name), hints[name]
        if not _fits(hint, value):
            expected = hint.__name__ if isinstance(hint, type) and get_origin(hint) is None else str(hint)
            raise RegistryError(
                f"{where}: {name} is of the wrong type", found=_short(value), expected=expected.replace("zoo.spec.", "")
            )
        if isinstance(value, tuple) and len(value) > _MOST:
            raise RegistryError(f"{where}: {name} is too long", found=len(value), expected=f"at most {_MOST} entries")
        is_plausible, expected = _RULES.get(name, (lambda _: True, ""))
        for each in value if isinstance(value, tuple | frozenset) else [value]:
            if isinstance(each, str | int) and not is_plausible(each):
                raise RegistryError(f"{where}: bad {name}", found=_short(each), expected=expected)
            if isinstance(each, str) and not _is_line(each):
                raise RegistryError(
                    f"{where}: bad {name}",
                    found=_short(each),
                    expected=f"a line of at most {_MOST} letters, without control characters",
                )


def _fits(hint: Any, value: Any) -> bool:
    """Whether a value is of the type that a field of a spec declares; a bool is no number."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in (Any, object):
        return True
    if origin is types.UnionType:
        return any(_fits(option, value) for option in inner)
    if origin in (tuple, frozenset):
        return isinstance(value, origin) and all(_fits(inner[0], each) for each in value)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _is_line(text: str) -> bool:
    """Whether a text is of ordinary length and can be printed in one line, in any encoding that has its letters."""
    return len(text) <= _MOST and not any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)


def _is_instance_of_dataclass(value: object) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def _short(value: object) -> str:
    """A value in quotes, also where it is endless or has no name for itself."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 80
    return short.repr(value)
