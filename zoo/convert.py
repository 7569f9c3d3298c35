"""Weights that others published as pickles: fetched, checked, opened without running anything, kept as safetensors."""

import datetime
import logging
import pickle
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

import zoo
from zoo import converted, hub, loading, registry
from zoo.converted import Record
from zoo.digests import sha256_of, verify_sha256
from zoo.errors import WeightsError, ZooError
from zoo.locks import locked
from zoo.spec import WeightsSpec

_log = logging.getLogger(__name__)
_INSIDE = ("params_ema", "params", "state_dict", "model")  # where published files keep the state
_PARALLEL = "module."  # what DataParallel puts before each key
_SHOWN = 5
_DEPTH = 4  # dictionaries around a state, at most
_SPARE = 1 << 20  # bytes
_PICKLE = 32 << 20  # bytes; the tensors' numbers lie outside it, and each byte can become a hundred in memory
_REFUSED = re.compile(r"GLOBAL (\S+)|operand (\d+)")


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

    @property
    def is_known(self) -> bool:
        """Whether all of the pickle's sha256 is."""
        return len(self.weights.upstream_sha256 or "") == 64

    def by_hand(self, record: Record | None) -> str:
        """What to do where there is no network."""
        trust = "" if self.is_known or record else " --trust-first-use"
        what = f"fetch {self.url} elsewhere (sha256: {self.digits})"
        return f"{what}, then `colorzoo convert FILE --as {self.name}{trust}`"


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
    with locked(converted.folder(), published.name):
        if _is_right(published.name):  # by now another process has brought it
            return False
        record = converted.read(published.name)
        if record is None and not published.is_known and not trust_first_use:
            raise WeightsError(
                f"weights {published.name!r}: not all is known of {published.url}",
                found=f"its sha256 {published.digits}",
                remedy=f"`colorzoo pull {published.name} --trust-first-use` takes what is there now and records it: "
                f"what is fetched later must be the same; without a network, {published.by_hand(record)}",
            )
        file, revision, mine = _fetched(published, record)
        try:
            _convert(published, file, published.url, revision, record)
            return True
        finally:
            if mine is not None:
                _clear(mine)


def from_file(file: Path, name: str, *, trust_first_use: bool = False) -> Path:
    """Convert a file brought by hand; it takes the place of what is here.

    Args:
        file: As its authors published it.
        name: Of the registered weights that it is.
        trust_first_use: Whether to take it where its whole sha256 is not known here. What it is is recorded.

    Raises:
        UnknownModelError: No such weights.
        WeightsError: It is not what was published, as far as that is known, or does not fit the network.
    """
    published = _published(name)
    with locked(converted.folder(), published.name):
        record = converted.read(published.name)
        found = _check(published, file, record)
        if record is None and not published.is_known and not trust_first_use:
            known = published.weights.upstream_sha256
            raise WeightsError(
                f"{file}: not all is known of weights {published.name!r}",
                found=f"sha256 {found}" + (f", of which the first {len(known)} digits match" if known else ""),
                expected=f"one that starts with {known}" if known else "none of its digits is known here",
                remedy="compare it with what its authors say; `colorzoo convert FILE "
                f"--as {published.name} --trust-first-use` takes it, and records it",
            )
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
    with _guarded(where):
        archive = zipfile.is_zipfile(file)
        if archive:
            _check_size(file, where)
        # Old files are no zip archives, and are read whole.
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=archive or None)
        return _state_in(loaded, where)


@contextmanager
def _guarded(where: str) -> Iterator[None]:
    """Refuse in own words what makes torch, or the pickle, raise whatever it raises."""
    try:
        yield
    except ZooError:
        raise
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{where} holds more than tensors, or is damaged",
            found=_reason(error),
            expected="a file of torch.save with tensors alone",
            remedy="it is not opened, because that could run code; save the network's state_dict() where it was made",
        ) from error
    except MemoryError as error:
        raise WeightsError(f"{where} does not fit into memory, or is damaged") from error
    except Exception as error:
        raise WeightsError(f"{where} is not a file of torch.save, or is damaged", found=_reason(error)) from error


def _check_size(file: Path, where: str) -> None:
    """Refuse an archive that would become larger than it is: torch packs without compressing."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    size, whole = file.stat().st_size, sum(entry.file_size for entry in entries)
    packed = [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]
    if packed or whole > 1.05 * size + _SPARE:
        raise WeightsError(
            f"{where} would unpack to more than it is, and is not opened",
            found=f"{whole:,} bytes in a file of {size:,}" + (f"; {packed[0]} is compressed" if packed else ""),
            expected="a file of torch.save, which does not compress",
        )
    for entry in entries:
        if entry.filename.endswith(".pkl") and entry.file_size > _PICKLE:
            found, expected = (
                f"{entry.filename} of {entry.file_size:,} bytes",
                f"at most {_PICKLE:,}, beside the tensors",
            )
            raise WeightsError(f"{where} holds more than tensors, and is not opened", found=found, expected=expected)


def _is_right(name: str) -> bool:
    """Whether the conversion of the weights ``name`` (model and tag) is here, and is what was recorded."""
    path, record = converted.find(name), converted.read(name)
    return path is not None and record is not None and sha256_of(path) == record.sha256


def _published(name: str) -> _Published:
    spec, _, weights = registry.find_weights(name)
    if weights is None or weights.convert_from is None:
        raise WeightsError(
            f"weights {name!r} are not published as a pickle: there is nothing to convert",
            remedy="see `colorzoo show` for where they are",
        )
    return _Published(f"{spec.name}.{weights.tag}", weights, weights.convert_from)


def _fetched(published: _Published, record: Record | None) -> tuple[Path, str | None, Path | None]:
    """The published file, checked; its commit where it is on the Hub; what was brought now, for this alone.

    What others may use is not ours to delete: a file that is not in huggingface_hub's cache comes into a folder of its
    own, which the lock of these weights keeps others from.
    """
    url, name = published.url, published.name
    own = hub.home() / "downloads" / name
    target = hub.home() / "downloads" / f"{name}{Path(url.partition('?')[0]).suffix}"
    known = published.weights.upstream_sha256 or ""
    for last in (False, True):
        revision = None
        try:
            place = hub.file_at(url)
            if place is not None:
                revision = hub.resolve(place.repo_id, place.revision)
                mine = own if hub.cached(place.repo_id, revision, place.filename) is None else None
                sha256 = known if published.is_known else None
                file = hub.download(place.repo_id, revision, place.filename, sha256, mine)
            else:
                resume = bool(known or record) and not last  # parts of two files would be seen
                hub.fetch(url, target, resume=resume)
                file, mine = target, target
        except WeightsError as error:
            more = [] if error.remedy is None or loading.FOLDER in error.remedy else [error.remedy]
            raise WeightsError(
                f"weights {name!r} cannot be fetched: {error.what}",
                found=error.found,
                expected=error.expected,
                remedy="; or ".join([*more, published.by_hand(record)]),
            ) from error
        try:
            _check(published, file, record)
            return file, revision, mine
        except WeightsError:
            if mine is not None:
                _clear(mine)
            if last or place is not None:
                raise
            _log.warning("%s has the wrong sha256 and is thrown away", url)
    raise AssertionError  # the second turn returns or raises


def _clear(path: Path) -> None:
    """Delete what was downloaded; what cannot be deleted is no reason to fail."""
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s cannot be deleted (%s), and is no longer needed", path, error.strerror)


def _check(published: _Published, file: Path, record: Record | None) -> str:
    """Refuse a file that is not the one published, by what is known here and found earlier; returns its sha256."""
    found = verify_sha256(file, published.weights.upstream_sha256 or "")
    if record is not None and record.upstream_sha256 != found:
        raise WeightsError(
            f"{file} is not what was found at the first pull of {published.name!r}",
            found=f"sha256 {found}",
            expected=f"sha256 {record.upstream_sha256}, recorded on {record.date}",
            remedy=f"if the change is known to be right, delete {converted.record_path(published.name)}",
        )
    return found


def _convert(published: _Published, file: Path, upstream: str, revision: str | None, record: Record | None) -> Path:
    """Write the safetensors file, then the record that makes it count."""
    name, weights = published.name, published.weights
    network = loading.network(name)
    found = published_state(file, upstream)
    try:
        state = type(network).from_published(found)
    except ZooError:
        raise
    except Exception as error:  # a plug-in's, of a state that others made
        raise WeightsError(
            f"{name}: {upstream} is not what {type(network).__name__} was published as",
            found=f"{type(error).__name__}: {error}",
        ) from error
    loading.check_fit(network, state, f"{name}: {upstream}")
    path = converted.weights_path(name)
    with _guarded(upstream):
        _check_finite(state, f"{name}: {upstream}")
        # Copies, because the file may keep two names for one tensor, and is mapped, not read.
        state = {key: value.detach().clone().contiguous() for key, value in state.items()}
    with converted.replacing(path) as made:
        try:
            save_file(state, made)
        except SafetensorError as error:  # as it wraps a full disk
            remedy = "make room on the disk, or set HF_HOME to a folder with more"
            raise WeightsError(f"{path} cannot be written", found=error, remedy=remedy) from error
        sha256 = verify_sha256(made, weights.sha256 or "")
        size = made.stat().st_size
    converted.write(
        Record(
            name=name,
            upstream=upstream,
            revision=revision,
            upstream_sha256=record.upstream_sha256 if record else sha256_of(file),
            sha256=sha256,
            size_bytes=size,
            date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
            tools={"colorzoo": zoo.__version__, "torch": torch.__version__, "safetensors": version("safetensors")},
        )
    )
    return path


def _check_finite(state: dict[str, Tensor], where: str) -> None:
    """Refuse numbers that are none, or too large for float32, in which they will be used."""
    wrong = [key for key, value in state.items() if not bool(value.float().isfinite().all())]
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        raise WeightsError(
            f"{where} holds NaN or infinite numbers",
            found=", ".join(wrong[:_SHOWN]) + more,
            expected="finite numbers",
            remedy="it is damaged, or of a training that failed",
        )


def _state_in(loaded: Any, where: str) -> dict[str, Tensor]:
    """The state among what a file holds."""
    for _ in range(_DEPTH):
        if not isinstance(loaded, dict) or any(isinstance(value, Tensor) for value in loaded.values()):
            break
        inside = [loaded[key] for key in _INSIDE if isinstance(loaded.get(key), dict)]
        if not inside:
            break
        loaded = inside[0]
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
    odd = [f"{key}: {kind}" for key, value in loaded.items() if (kind := _kind(value))]
    if odd:
        raise WeightsError(f"{where} holds other than plain tensors", found=", ".join(odd[:_SHOWN]), expected="numbers")
    if all(str(key).startswith(_PARALLEL) for key in loaded):
        return {str(key).removeprefix(_PARALLEL): value for key, value in loaded.items()}
    return {str(key): value for key, value in loaded.items()}


def _kind(tensor: Tensor) -> str | None:
    """What a tensor is that does not plainly hold its numbers."""
    if tensor.is_meta:
        return "without data"
    if tensor.is_quantized:
        return "quantized"
    return None if tensor.layout == torch.strided else str(tensor.layout).removeprefix("torch.")


def _reason(error: Exception) -> str:
    """What torch says, without its advice on how to switch the safety off."""
    said = str(error)
    if refused := _REFUSED.search(said):
        return f"an object of {refused[1]}" if refused[1] else f"an instruction to the pickle machine, {refused[2]}"
    if isinstance(error, pickle.UnpicklingError):
        return "objects other than tensors, numbers, texts and containers of them"
    if "TorchScript" in said:
        return "a program in TorchScript"
    if ".tar" in said:
        return "a file of the old form .tar"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    advice = re.search(r"weights.only|torch\.load|safe_globals", said, re.IGNORECASE)
    return type(error).__name__ if advice or not lines else f"{type(error).__name__}: {lines[0][:200]}"
