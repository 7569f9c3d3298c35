"""Weights that others published as pickles: fetched, checked, converted once; from an address, the Hub, or by hand."""

import errno
import hashlib
import io
import json
import os
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import HubServer, folder_files
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from typer.testing import CliRunner

from zoo import convert, converted, pulling, registry
from zoo.cli import app
from zoo.colorizer import Colorizer
from zoo.errors import UnknownModelError, WeightsError
from zoo.loading import is_here, load
from zoo.spec import WeightsSpec

NET = "net.pth"
L = torch.linspace(0, 100, 64 * 64).reshape(1, 1, 64, 64)


def pickled(state: Any, **how: Any) -> bytes:
    """What ``torch.save`` writes."""
    buffer = io.BytesIO()
    torch.save(state, buffer, **how)
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def answer(model: Colorizer[Any]) -> Tensor:
    with torch.inference_mode():
        return model.eval().to(memory_format=torch.channels_last).predict_ab(L)


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def net(tiny: Colorizer[Any]) -> bytes:
    return pickled(tiny.state_dict())


@pytest.fixture
def publish(server: HubServer, register: Callable[..., WeightsSpec]) -> Callable[..., WeightsSpec]:
    """`publish(data)`: put a pickle on the server and register it, all of its sha256 being known unless said."""

    def add(data: bytes, **known: Any) -> WeightsSpec:
        server.plain[NET] = data
        known = {"upstream_sha256": digest(data), "convert_from": f"{server.url}/plain/{NET}"} | known
        return register(**known)

    return add


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home" / "colorzoo"


def kept(home: Path) -> list[str]:
    """What lies there, but for locks."""
    return sorted(p.name for p in home.rglob("*") if p.is_file() and p.suffix != ".lock")


# From an address


def test_pulled_once_and_then_a_model_like_any_other(
    server: HubServer, publish: Callable[..., WeightsSpec], net: bytes, tiny: Colorizer[Any], home: Path
) -> None:
    publish(net)
    assert not is_here("regression")
    with pytest.raises(WeightsError, match=r"'regression\.far' are not here.*`colorzoo pull regression\.far`"):
        load("regression")
    assert server.requests == []
    assert pulling.pull("regression") == pulling.PULLED
    assert server.fetched == [NET]
    assert server.tokens == {}
    server.requests.clear()
    assert pulling.pull("regression") == pulling.HERE
    assert is_here("regression.far")
    model = load("regression")
    assert torch.equal(answer(model), answer(tiny))
    assert server.requests == []
    record = converted.read("regression.far")
    assert record is not None
    path = converted.weights_path("regression.far")
    assert (record.upstream, record.upstream_sha256) == (f"{server.url}/plain/{NET}", digest(net))
    assert (record.sha256, record.size_bytes) == (digest(path.read_bytes()), path.stat().st_size)
    assert set(record.tools) == {"colorzoo", "torch", "safetensors"}
    assert model.weights is not None
    assert (model.weights.sha256, model.weights.size_bytes) == (record.sha256, record.size_bytes)
    assert kept(home) == ["regression.far.json", "regression.far.safetensors"]


def test_a_token_stays_at_home(server: HubServer, publish: Callable[..., WeightsSpec], net: bytes, home: Path) -> None:
    publish(net)
    home.parent.mkdir()
    (home.parent / "token").write_text("hf_secretOfTheHub")
    pulling.pull("regression")
    assert server.tokens == {}


@pytest.mark.parametrize("known", [None, 8])
def test_what_is_not_wholly_known_needs_trust_and_is_recorded(
    server: HubServer, publish: Callable[..., WeightsSpec], net: bytes, tiny: Colorizer[Any], known: int | None
) -> None:
    digits = digest(net)[:known] if known else None
    publish(net, upstream_sha256=digits)
    said = f"starts with {digits}" if known else "not known"
    with pytest.raises(WeightsError, match=rf"its sha256 {said}; `colorzoo pull regression\.far --trust-first-use`"):
        pulling.pull("regression")
    assert server.requests == []
    assert pulling.pull("regression", trust_first_use=True) == pulling.PULLED
    (removed,) = pulling.remove("regression")
    assert removed.size_bytes > 0
    assert not is_here("regression")
    assert pulling.pull("regression") == pulling.PULLED  # recorded, and the same
    pulling.remove("regression")
    record = converted.read("regression.far")
    server.plain[NET] = pickled({key: value + 1 for key, value in tiny.state_dict().items()})
    with pytest.raises(WeightsError) as caught:
        pulling.pull("regression", trust_first_use=True)
    if not known:
        assert "not what was found at the first pull" in caught.value.what
        assert str(converted.record_path("regression.far")) in str(caught.value.remedy)
    assert converted.read("regression.far") == record
    assert not is_here("regression")


def test_known_digits_are_checked_though_trusted(publish: Callable[..., WeightsSpec], net: bytes, home: Path) -> None:
    publish(net, upstream_sha256="0" * 8)
    with pytest.raises(WeightsError, match=rf"wrong sha256; found: {digest(net)}; expected: 00000000\.\.\."):
        pulling.pull("regression", trust_first_use=True)
    assert kept(home) == []


@pytest.mark.parametrize("spoiled", [1, 2])
def test_damage_on_the_way(
    server: HubServer, publish: Callable[..., WeightsSpec], net: bytes, home: Path, spoiled: int
) -> None:
    publish(net)
    server.spoiled[NET] = spoiled
    if spoiled == 1:
        assert pulling.pull("regression") == pulling.PULLED
    else:
        with pytest.raises(WeightsError, match="wrong sha256"):
            pulling.pull("regression")
        assert kept(home) == []
    assert server.fetched == [NET] * 2


def test_a_connection_that_breaks(
    server: HubServer, publish: Callable[..., WeightsSpec], net: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1024)
    publish(net)
    server.cut[NET] = 5000
    assert pulling.pull("regression") == pulling.PULLED
    assert len(server.ranges) == 1
    assert is_here("regression")


@pytest.mark.parametrize("part", ["half", "foreign", "too long"])
def test_a_part_that_a_killed_process_left(
    server: HubServer, publish: Callable[..., WeightsSpec], net: bytes, home: Path, part: str
) -> None:
    publish(net)
    (home / "downloads").mkdir(parents=True)
    left = {"half": net[: len(net) // 2], "foreign": b"x" * 100, "too long": net + net}[part]
    (home / "downloads" / "regression.far.pth.part").write_bytes(left)
    assert pulling.pull("regression") == pulling.PULLED
    assert server.ranges[0] == f"bytes={len(left)}-"
    assert len(server.fetched) == (1 if part == "half" else 2)
    assert kept(home) == ["regression.far.json", "regression.far.safetensors"]


def test_several_at_once(server: HubServer, publish: Callable[..., WeightsSpec], net: bytes) -> None:
    publish(net)
    server.delay = 0.1
    done: list[str] = []
    threads = [threading.Thread(target=lambda: done.append(pulling.pull("regression"))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == sorted([pulling.PULLED, pulling.HERE, pulling.HERE])
    assert server.fetched == [NET]


def test_without_a_network(publish: Callable[..., WeightsSpec], net: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for known in (digest(net), digest(net)[:8]):
        url = publish(net, upstream_sha256=known).convert_from
        begun = time.monotonic()
        with pytest.raises(WeightsError) as caught:
            pulling.pull("regression", trust_first_use=True)
        assert time.monotonic() - begun < 3
        trust = " --trust-first-use" if len(known) < 64 else ""
        for part in (str(url), known, f"`colorzoo convert FILE --as regression.far{trust}`"):
            assert part in str(caught.value.remedy)
    with pytest.raises(WeightsError) as caught:  # the one that asks for trust
        pulling.pull("regression")
    for part in (str(url), known, "`colorzoo convert FILE --as regression.far --trust-first-use`"):
        assert part in str(caught.value.remedy)


def test_an_address_that_is_gone(server: HubServer, publish: Callable[..., WeightsSpec], net: bytes) -> None:
    publish(net)
    del server.plain[NET]
    with pytest.raises(WeightsError, match=r"cannot be fetched.*404.*`colorzoo convert FILE --as regression\.far`"):
        pulling.pull("regression")


# From the Hub


@pytest.mark.parametrize("pinned", [True, False])
def test_a_pickle_on_the_hub(
    server: HubServer, register: Callable[..., WeightsSpec], net: bytes, tmp_path: Path, pinned: bool
) -> None:
    commit = server.add("some/peer", {"pytorch_model.bin": net, "config.json": b"{}"})
    revision = commit if pinned else "main"
    url = f"https://huggingface.co/some/peer/resolve/{revision}/pytorch_model.bin"
    register(convert_from=url, upstream_sha256=digest(net))
    server.spoiled["pytorch_model.bin"] = 1
    assert pulling.pull("regression") == pulling.PULLED
    record = converted.read("regression.far")
    assert record is not None
    assert (record.upstream, record.revision) == (url, commit)
    assert is_here("regression")
    assert list((tmp_path / "home").rglob("blobs/*")) == []  # the conversion alone is kept


def test_a_pickle_that_others_fetch_meanwhile_stays(
    server: HubServer, register: Callable[..., WeightsSpec], net: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import hf_hub_download

    commit = server.add("some/peer", {"pytorch_model.bin": net})
    register(convert_from=f"https://huggingface.co/some/peer/resolve/{commit}/pytorch_model.bin")
    theirs: list[Path] = []
    opened = convert.published_state

    def meanwhile(file: Path, called: str | None = None) -> dict[str, Tensor]:
        theirs.append(Path(hf_hub_download("some/peer", "pytorch_model.bin", revision=commit)))
        return opened(file, called)

    monkeypatch.setattr(convert, "published_state", meanwhile)
    assert pulling.pull("regression", trust_first_use=True) == pulling.PULLED
    assert theirs[0].read_bytes() == net


def test_a_pickle_that_others_keep_in_the_cache_stays_there(
    server: HubServer, register: Callable[..., WeightsSpec], net: bytes
) -> None:
    from huggingface_hub import hf_hub_download

    commit = server.add("some/peer", {"pytorch_model.bin": net})
    path = Path(hf_hub_download("some/peer", "pytorch_model.bin", revision=commit))
    register(convert_from=f"https://huggingface.co/some/peer/resolve/{commit}/pytorch_model.bin")
    server.requests.clear()
    assert pulling.pull("regression", trust_first_use=True) == pulling.PULLED
    assert server.requests == []
    assert path.read_bytes() == net


# By hand, and what files hold


def test_a_file_brought_by_hand(
    publish: Callable[..., WeightsSpec], server: HubServer, net: bytes, tiny: Colorizer[Any], tmp_path: Path
) -> None:
    publish(net, upstream_sha256=digest(net)[:8])
    file = tmp_path / "brought.pth"
    file.write_bytes(net[:-1] + bytes([net[-1] ^ 1]))
    with pytest.raises(WeightsError, match="wrong sha256"):
        convert.from_file(file, "regression")
    file.write_bytes(net)
    with pytest.raises(
        WeightsError, match=rf"found: sha256 {digest(net)}, of which the first 8 digits match.*--trust-first-use"
    ):
        convert.from_file(file, "regression.far")
    assert not is_here("regression")
    assert convert.from_file(file, "regression.far", trust_first_use=True) == converted.weights_path("regression.far")
    assert torch.equal(answer(load("regression")), answer(tiny))
    record = converted.read("regression.far")
    assert record is not None
    assert (record.upstream, record.upstream_sha256) == ("brought.pth", digest(net))
    assert file.is_file()
    assert server.requests == []
    with pytest.raises(WeightsError, match=r"'fusion' are not published as a pickle"):
        convert.from_file(file, "fusion")
    with pytest.raises(UnknownModelError):
        convert.from_file(file, "regression.near")
    with pytest.raises(WeightsError, match="cannot be read"):
        convert.from_file(tmp_path / "none.pth", "regression")


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"params": state},
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state, "opt": {"state": {0: {"step": 1}}, "lr": 1e-3}},
        lambda state: {"model": {"state_dict": {f"module.{key}": value for key, value in state.items()}}},
        lambda state: {key: value.half() if value.is_floating_point() else value for key, value in state.items()},
    ],
)
def test_dictionaries_around_the_state(
    publish: Callable[..., WeightsSpec], tiny: Colorizer[Any], wrap: Callable[[dict[str, Tensor]], Any]
) -> None:
    publish(pickled(wrap(tiny.state_dict())))
    pulling.pull("regression")
    assert torch.equal(answer(load("regression")), answer(tiny))


def test_old_files_and_tensors_with_two_names(publish: Callable[..., WeightsSpec], tiny: Colorizer[Any]) -> None:
    state = dict(tiny.state_dict())
    first, second = [key for key in state if key.endswith("weight") and state[key].shape == (8,)][:2]
    state[second] = state[first]
    publish(pickled(state, _use_new_zipfile_serialization=False))
    pulling.pull("regression")
    loaded = load("regression").state_dict()
    assert torch.equal(loaded[first], loaded[second])
    assert set(load_file(converted.weights_path("regression.far"))) == set(state)


class Bomb:
    """What a pickle can do: run something when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("where", ["alone", "beside"])
def test_a_pickle_that_would_run_something(
    publish: Callable[..., WeightsSpec], tiny: Colorizer[Any], tmp_path: Path, home: Path, where: str
) -> None:
    bomb = Bomb(tmp_path / "ran")
    publish(pickled(bomb if where == "alone" else {"model": tiny.state_dict(), "extra": bomb}))
    with pytest.raises(
        WeightsError, match=r"holds more than tensors.*an object of \w+\.mkdir;.*could run code"
    ) as caught:
        pulling.pull("regression")
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "ran").exists()
    assert kept(home) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\n<!DOCTYPE html><html>Log in to download", "is a web page, not weights.*in a browser"),
        (b"no weights", "is damaged"),
        (b"", "is damaged"),
        (pickled([1, 2]), "holds no state dict; found: list"),
        (pickled({}), "holds no state dict"),
        (pickled({"state_dict": {"a": torch.zeros(1), "b": 3}}), "holds more than a state dict; found: b: int"),
        (pickled({"a": torch.zeros(1)}), r"does not fit the network of model 'regression'; found: .*is missing.*more"),
    ],
)
def test_files_that_are_something_else(
    publish: Callable[..., WeightsSpec], home: Path, data: bytes, message: str
) -> None:
    publish(data)
    with pytest.raises(WeightsError, match=message):
        pulling.pull("regression")
    assert not is_here("regression")
    assert kept(home) == []


def repacked(data: bytes, pickle: bytes | None, method: int) -> bytes:
    """A file of torch.save with another pickle in it, or packed otherwise."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for entry in old.infolist():
            is_pickle = pickle is not None and entry.filename.endswith("data.pkl")
            new.writestr(entry.filename, pickle if is_pickle else old.read(entry))
    return buffer.getvalue()


def _inside_itself() -> dict[str, Any]:
    table: dict[str, Any] = {}
    table["params"] = table
    return table


def _changed(how: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], bytes]:
    """A maker of a file in which one tensor is changed."""

    def make(state: dict[str, Tensor]) -> bytes:
        key = next(key for key in state if key.endswith("weight"))
        return pickled({**state, key: how(state[key])})

    return make


def _with(number: float) -> Callable[[Tensor], Tensor]:
    def put(tensor: Tensor) -> Tensor:
        tensor = tensor.double()
        tensor.view(-1)[-1] = number
        return tensor

    return put


_DEEP = b"\x80\x02" + b"}X\x06\0\0\0params" * 3000 + b"}" + b"s" * 3000 + b"."


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_changed(lambda tensor: tensor.to("meta")), "other than plain tensors; found: .*weight: without data"),
        (_changed(lambda tensor: tensor.to_sparse()), "(other than plain tensors|not a file of torch.save)"),
        (_changed(lambda tensor: tensor.to(torch.complex64)), r"weight is torch\.complex64, not torch\.float32"),
        (_changed(lambda tensor: tensor.to(torch.float8_e4m3fn)), r"weight is torch\.float8_e4m3fn"),
        (_changed(lambda tensor: tensor.bool()), r"weight is torch\.bool"),
        (_changed(_with(float("nan"))), "holds NaN or infinite numbers; found: .*weight"),
        (_changed(_with(float("-inf"))), "holds NaN or infinite numbers; found: .*weight"),
        (_changed(_with(1e300)), "holds NaN or infinite numbers; found: .*weight"),
        (lambda state: pickled(_inside_itself()), "holds more than a state dict"),
        (lambda state: repacked(pickled({}), _DEEP, zipfile.ZIP_STORED), "holds more than a state dict"),
        (lambda state: repacked(pickled(state), None, zipfile.ZIP_DEFLATED), r"would unpack to more.*is compressed"),
        (lambda state: repacked(pickled({}), b"\x80\x02\x96", zipfile.ZIP_STORED), "machine, 150; expected"),
    ],
)
def test_files_made_to_do_harm(
    publish: Callable[..., WeightsSpec],
    tiny: Colorizer[Any],
    home: Path,
    make: Callable[[dict[str, Tensor]], bytes],
    message: str,
) -> None:
    publish(make(tiny.state_dict()))
    with pytest.raises(WeightsError, match=message) as caught:
        pulling.pull("regression")
    assert "weights_only" not in str(caught.value)
    assert kept(home) == []


def test_an_archive_that_says_it_is_larger(publish: Callable[..., WeightsSpec], net: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(net)) as archive:
        sizes = archive.infolist()[0].file_size
    start = net.index(b"PK\x01\x02") + 24  # of the first entry's size in the archive's list
    assert int.from_bytes(net[start : start + 4], "little") == sizes
    publish(net[:start] + (1 << 30).to_bytes(4, "little") + net[start + 4 :])
    with pytest.raises(
        WeightsError, match=rf"would unpack to more.*found: 1,\d+,\d+,\d+ bytes in a file of {len(net):,}"
    ):
        pulling.pull("regression")


def test_a_pickle_of_many_objects(
    publish: Callable[..., WeightsSpec], net: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(net)
    monkeypatch.setattr(convert, "_PICKLE", 1000)
    with pytest.raises(WeightsError, match=r"holds more than tensors.*data\.pkl of .*at most 1,000"):
        pulling.pull("regression")


def test_what_was_converted_counts_though_the_download_stays(
    publish: Callable[..., WeightsSpec], net: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publish(net)
    unlink = Path.unlink

    def fail(self: Path, missing_ok: bool = False) -> None:
        if self.suffix == ".pth":
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", fail)
    assert pulling.pull("regression") == pulling.PULLED
    assert is_here("regression")
    assert "regression.far.pth cannot be deleted (Permission denied)" in caplog.text


@pytest.mark.parametrize("where", ["zoo.convert.save_file", "zoo.converted.os.fsync"])
def test_a_full_disk(
    publish: Callable[..., WeightsSpec], net: bytes, monkeypatch: pytest.MonkeyPatch, home: Path, where: str
) -> None:
    full = "No space left on device"

    def fail(*_: Any) -> None:
        if where.endswith("fsync"):
            raise OSError(errno.ENOSPC, full)
        raise SafetensorError(f"I/O error: {full}")

    publish(net)
    monkeypatch.setattr(where, fail)
    with pytest.raises(WeightsError, match=rf"cannot be written.*{full}.*make room"):
        pulling.pull("regression")
    assert kept(home) == []


def test_a_cut_file_is_damaged_not_used(publish: Callable[..., WeightsSpec], net: bytes) -> None:
    publish(net[: len(net) // 2])
    with pytest.raises(WeightsError, match="is damaged"):
        pulling.pull("regression")


def test_a_family_maps_its_published_keys(
    publish: Callable[..., WeightsSpec], tiny: Colorizer[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def from_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {key.removeprefix("net/"): value for key, value in state.items()}

    monkeypatch.setattr(type(tiny), "from_published", from_published)
    publish(pickled({f"net/{key}": value for key, value in tiny.state_dict().items()}))
    pulling.pull("regression")
    assert torch.equal(answer(load("regression")), answer(tiny))


def test_a_file_that_the_family_does_not_know(
    publish: Callable[..., WeightsSpec], tiny: Colorizer[Any], monkeypatch: pytest.MonkeyPatch, net: bytes
) -> None:
    monkeypatch.setattr(type(tiny), "from_published", lambda state: {"a": state["never there"]})
    publish(net)
    with pytest.raises(WeightsError, match=r"is not what Regression was published as; found: KeyError: 'never there'"):
        pulling.pull("regression")


# What is kept


def test_half_of_a_conversion_is_none(publish: Callable[..., WeightsSpec], net: bytes, server: HubServer) -> None:
    publish(net)
    pulling.pull("regression")
    path, record = converted.weights_path("regression.far"), converted.record_path("regression.far")
    text, whole = record.read_text(), path.read_bytes()
    record.unlink()  # as when the process ended before it was written
    assert not is_here("regression")
    with pytest.raises(WeightsError, match="not here"):
        load("regression")
    record.write_text(text)
    path.write_bytes(whole[:-10])
    assert not is_here("regression")
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert is_here("regression")  # nothing is hashed for this
    with pytest.raises(WeightsError, match="wrong sha256"):
        load("regression")
    for damaged in (True, False):
        if not damaged:
            path.unlink()
        assert pulling.pull("regression") == pulling.PULLED
        assert path.read_bytes() == whole
    record.write_text("{")
    with pytest.raises(WeightsError, match=r"a damaged record.*delete it"):
        load("regression")


def test_a_known_sha256_of_the_conversion_is_checked(publish: Callable[..., WeightsSpec], net: bytes) -> None:
    publish(net)
    pulling.pull("regression")
    sha256 = digest(converted.weights_path("regression.far").read_bytes())
    publish(net, sha256=sha256)
    assert is_here("regression")
    assert load("regression").weights is registry.find("regression")[0].weights[0]
    pulling.remove("regression")
    publish(net, sha256="0" * 64)
    with pytest.raises(WeightsError, match="wrong sha256"):
        pulling.pull("regression")
    assert not is_here("regression")


# The commands


def test_the_commands(
    publish: Callable[..., WeightsSpec], server: HubServer, net: bytes, tiny: Colorizer[Any], tmp_path: Path
) -> None:
    publish(net, upstream_sha256=digest(net)[:8])
    for name in {name.partition(".")[0] for name in pulling.pullable()} - {"regression"}:
        del registry._models[name]

    def here() -> str:
        lines = call("list").stdout.splitlines()
        return str(next(line for line in lines if line.startswith("regression")).split()[2])

    assert here() == "no"
    assert call("list").stderr == "weights not here: regression; `colorzoo pull NAME` brings them\n"
    assert "no: `colorzoo pull regression.far`" in call("show", "regression").stdout
    assert "no weights but the packaged ones" in call("cache").stdout
    refused = call("pull", "regression")
    assert refused.exit_code == 2
    assert "--trust-first-use" in refused.stderr
    assert server.requests == []
    some = call("pull", "regression", "grayscale", "fusion")
    assert some.exit_code == 1
    assert some.stdout.splitlines() == [f"{name}: comes with the package" for name in ("grayscale", "fusion")]
    assert "failed: regression: weights 'regression.far'" in some.stderr
    done = call("pull", "--all", "--trust-first-use")
    assert (done.exit_code, done.stdout) == (0, "regression.far: pulled\n")
    assert here() == "yes"
    assert call("list").stderr == ""
    specs = {spec["name"]: spec for spec in json.loads(call("list", "--json").stdout)}
    assert specs["regression"]["weights"][0]["here"] is True
    assert "regression.far" in call("cache").stdout
    commit = server.add("some/one", folder_files(tiny.save(tmp_path / "saved")))
    name = f"hf-hub:some/one@{commit}"
    assert call("pull", name).stdout == f"{name}: pulled\n"
    found = {each["name"]: each for each in json.loads(call("cache", "--json").stdout)}
    assert set(found) == {name, "regression.far"}
    removed = call("cache", "--remove", "regression", "--remove", name)
    assert removed.exit_code == 0
    assert "its record stays" in removed.stdout
    assert here() == "no"
    assert "regression.far  converted  removed" in call("cache").stdout
    file = tmp_path / "brought.pth"
    file.write_bytes(net)
    assert call("convert", file, "--as", "regression").exit_code == 0  # it is what the record says
    converted.record_path("regression.far").unlink()
    assert call("convert", file, "--as", "regression").exit_code == 2
    assert call("convert", file, "--as", "regression", "--trust-first-use").exit_code == 0
    assert here() == "yes"
    for arguments in (["pull"], ["pull", "fusion", "--all"], ["cache", "--remove", "none"], ["pull", "local-dir:x"]):
        assert call(*arguments).exit_code == 2
