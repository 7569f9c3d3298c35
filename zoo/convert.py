"""Weights that others published as pickles: fetched, checked, opened without running anything, kept as safetensors."""

import datetime
import logging
import pickle
import re
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import save_file
from torch import Tensor

import zoo
from zoo import converted, hub, loading, registry
from zoo.converted import Record
from zoo.errors import WeightsError
from zoo.spec import WeightsSpec

_log = logging.getLogger(__name__)
_INSIDE = ("params_ema", "params", "state_dict", "model")  # where published files keep the state
_PARALLEL = "module."  # what DataParallel puts before each key
_SHOWN = 5
_REFUSED = re.compile(r"GLOBAL (\S+)")


class _Published(NamedTuple):
    """Registered weights that others published as a pickle."""

    name: str  # model and tag
    weights: WeightsSpec
    url: str

    @property
    def digits(self) -> str:
        """What is known of the pickle's sha256, in words."""
        known = self.weights.upstream_sha256
        if not known:
            return "not known"
        return known if len(known) == 64 else f"starts with {known}"


def pull(name: str, *, trust_first_use: bool = False) -> bool:
    """Fetch and convert registered weights that others published as a pickle; nothing is done where they are here.

    Args:
        name: Such as ``eccv16`` or ``eccv16.TAG``.
        trust_first_use: Whether to take what is at the address where its whole sha256 is not known here. What is
            found is recorded, and what is fetched later must match it.

    Returns:
        Whether they had to be fetched.

    Raises:
        UnknownModelError: No such weights.
        WeightsError: They cannot be had, are not what was expected, or do not fit the network.
    """
    published = _published(name)
    if _is_right(published.name):
        return False
    with hub.locked(converted.folder(), published.name):
        if _is_right(published.name):  # by now another process has brought it
            return False
        record = converted.read(published.name)
        known = published.weights.upstream_sha256 or ""
        if record is None and len(known) < 64 and not trust_first_use:
            raise WeightsError(
                f"weights {published.name!r}: not all is known of {published.url}",
                found=f"its sha256 {published.digits}",
                remedy=f"`colorzoo pull {published.name} --trust-first-use` takes what is there now and records it: "
                "what is fetched later must be the same",
            )
        file, revision, mine = _fetched(published, record)
        try:
            _convert(published, file, published.url, revision, record)
            return True
        finally:
            if mine:
                hub.forget(file)


def from_file(file: Path, name: str) -> Path:
    """Convert a file brought by hand; it takes the place of what is here.

    Args:
        file: As its authors published it.
        name: Of the registered weights that it is.

    Raises:
        UnknownModelError: No such weights.
        WeightsError: It is not what was published, as far as that is known, or does not fit the network.
    """
    published = _published(name)
    with hub.locked(converted.folder(), published.name):
        record = converted.read(published.name)
        _check(published, file, record)
        return _convert(published, file, file.name, None, record)


def published_state(file: Path, called: str | None = None) -> dict[str, Tensor]:
    """The tensors of a pickle, which is opened without running anything of it.

    Args:
        file: Written by ``torch.save``: a state dict, or a dictionary that has one as ``params``, ``state_dict`` or
            ``model``.
        called: What errors call it; None is its path.

    Raises:
        WeightsError: It is no such file, or holds objects that only running code would make.
    """
    where = called or str(file)
    try:
        with file.open("rb") as opened:
            head = opened.read(512)
    except OSError as error:
        raise WeightsError(f"{where} cannot be read", found=error.strerror) from error
    if head.lstrip()[:1] == b"<":
        raise WeightsError(
            f"{where} is a web page, not weights",
            remedy="the address has moved or wants a click: fetch it in a browser",
        )
    try:
        # Old files are no zip archives, and are read whole.
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file) or None)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{where} holds more than tensors, or is damaged",
            found=_reason(error),
            expected="a file of torch.save with tensors alone",
            remedy="it is not opened, because that could run code; save the network's state_dict() where it was made",
        ) from error
    except (RuntimeError, OSError, ValueError, EOFError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(f"{where} is not a file of torch.save, or is damaged", found=_reason(error)) from error
    return _state_in(loaded, where)


def _is_right(name: str) -> bool:
    """Whether the conversion of the weights ``name`` (model and tag) is here, and is what was recorded."""
    path, record = converted.find(name), converted.read(name)
    return path is not None and record is not None and hub.sha256_of(path) == record.sha256


def _published(name: str) -> _Published:
    spec, _, weights = registry.find_weights(name)
    if weights is None or weights.convert_from is None:
        raise WeightsError(
            f"weights {name!r} are not published as a pickle: there is nothing to convert",
            remedy="see `colorzoo show` for where they are",
        )
    return _Published(f"{spec.name}.{weights.tag}", weights, weights.convert_from)


def _fetched(published: _Published, record: Record | None) -> tuple[Path, str | None, bool]:
    """The published file, checked; its commit where it is on the Hub; whether it was brought now, for this alone."""
    url, name = published.url, published.name
    target = hub.home() / "downloads" / f"{name}{Path(url.partition('?')[0]).suffix}"
    known = published.weights.upstream_sha256 or ""
    for last in (False, True):
        revision = None
        try:
            place = hub.file_at(url)
            if place is not None:
                revision = hub.resolve(place.repo_id, place.revision)
                mine = hub.cached(place.repo_id, revision, place.filename) is None
                file = hub.download(place.repo_id, revision, place.filename, known if len(known) == 64 else None)
            else:
                resume = bool(known or record) and not last  # parts of two files would be seen
                hub.fetch(url, target, resume=resume)
                file, mine = target, True
        except WeightsError as error:
            by_hand = f"fetch {url} elsewhere (sha256: {published.digits}), then `colorzoo convert FILE --as {name}`"
            more = [] if error.remedy is None or loading.FOLDER in error.remedy else [error.remedy]
            raise WeightsError(
                f"weights {name!r} cannot be fetched: {error.what}",
                found=error.found,
                expected=error.expected,
                remedy="; or ".join([*more, by_hand]),
            ) from error
        try:
            _check(published, file, record)
            return file, revision, mine
        except WeightsError:
            if place is None:
                file.unlink(missing_ok=True)
            if last or place is not None:
                raise
            _log.warning("%s has the wrong sha256 and is thrown away", url)
    raise AssertionError  # the second turn returns or raises


def _check(published: _Published, file: Path, record: Record | None) -> None:
    """Refuse a file that is not the one published, by what is known here and what was found earlier."""
    found = hub.verify_sha256(file, published.weights.upstream_sha256 or "")
    if record is not None and record.upstream_sha256 != found:
        raise WeightsError(
            f"{file} is not what was found at the first pull of {published.name!r}",
            found=f"sha256 {found}",
            expected=f"sha256 {record.upstream_sha256}, recorded on {record.date}",
            remedy=f"if the change is known to be right, delete {converted.record_path(published.name)}",
        )


def _convert(published: _Published, file: Path, upstream: str, revision: str | None, record: Record | None) -> Path:
    """Write the safetensors file, then the record that makes it count."""
    name, weights = published.name, published.weights
    network = loading.network(name)
    found = published_state(file, upstream)
    try:
        state = type(network).from_published(found)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{name}: {upstream} is not what {type(network).__name__} was published as",
            found=f"{type(error).__name__}: {error}",
        ) from error
    loading.check_fit(network, state, f"{name}: {upstream}")
    path = converted.weights_path(name)
    with converted.replacing(path) as made:
        # Copies, because the file may keep two names for one tensor, and is mapped, not read.
        save_file({key: value.detach().clone().contiguous() for key, value in state.items()}, made)
        sha256 = hub.verify_sha256(made, weights.sha256 or "")
        size = made.stat().st_size
    converted.write(
        Record(
            name=name,
            upstream=upstream,
            revision=revision,
            upstream_sha256=record.upstream_sha256 if record else hub.sha256_of(file),
            sha256=sha256,
            size_bytes=size,
            date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            tools={"colorzoo": zoo.__version__, "torch": torch.__version__, "safetensors": version("safetensors")},
        )
    )
    return path


def _state_in(loaded: Any, where: str) -> dict[str, Tensor]:
    """The state among what a file holds."""
    if isinstance(loaded, dict) and not any(isinstance(value, Tensor) for value in loaded.values()):
        inside = [loaded[key] for key in _INSIDE if isinstance(loaded.get(key), dict)]
        if inside:
            return _state_in(inside[0], where)
    if not isinstance(loaded, dict) or not loaded:
        raise WeightsError(f"{where} holds no state dict", found=type(loaded).__name__, expected="tensors by name")
    other = [f"{key}: {type(value).__name__}" for key, value in loaded.items() if not isinstance(value, Tensor)]
    if other:
        more = f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
        raise WeightsError(
            f"{where} holds more than a state dict",
            found=", ".join(other[:_SHOWN]) + more,
            expected=f"tensors by name, or these as {', '.join(_INSIDE)}",
        )
    if all(str(key).startswith(_PARALLEL) for key in loaded):
        return {str(key).removeprefix(_PARALLEL): value for key, value in loaded.items()}
    return {str(key): value for key, value in loaded.items()}


def _reason(error: Exception) -> str:
    """What torch says, without its advice on how to switch the safety off."""
    said = str(error)
    if refused := _REFUSED.search(said):
        return f"an object of {refused[1]}"
    return next((line.strip()[:200] for line in said.splitlines() if line.strip()), type(error).__name__)
