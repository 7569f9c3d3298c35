"""The Hub: huggingface_hub's own client against a server on this machine; caches, damage, refusals, no network."""

import errno
import hashlib
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import TOKEN, HubServer, Repository, folder_files, point_client_at
from safetensors.torch import load_file
from torch import Tensor

import zoo
from zoo import hub, locks, pulling, registry
from zoo.colorizer import Colorizer
from zoo.errors import ConfigError, UnknownModelError, WeightsError
from zoo.loading import describe, is_here, load
from zoo.spec import WeightsSpec

REPO, STATE = "someone/tiny", "model.safetensors"
L = torch.linspace(0, 100, 64 * 64).reshape(1, 1, 64, 64)


def _answer(model: Colorizer[Any]) -> Tensor:
    with torch.inference_mode():  # in the memory format that load chooses
        return model.eval().to(memory_format=torch.channels_last).predict_ab(L)


@pytest.fixture
def files(tiny: Colorizer[Any], tmp_path: Path) -> dict[str, bytes]:
    return folder_files(tiny.save(tmp_path / "upstream"))


@pytest.fixture
def commit(server: HubServer, files: dict[str, bytes]) -> str:
    return server.add(REPO, files)


def _go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def _blobs(home: Path) -> list[Path]:
    return [path for path in home.rglob("blobs/*") if path.is_file()]


# Fetched, and found again


def test_a_pinned_repository_is_fetched_once(server: HubServer, commit: str, tiny: Colorizer[Any]) -> None:
    name = f"hf-hub:{REPO}@{commit}"
    assert not is_here(name)
    model = load(name)
    assert torch.equal(_answer(model), _answer(tiny))
    assert model.weights is None
    assert sorted(server.fetched) == ["config.json", STATE]
    server.requests.clear()
    assert torch.equal(_answer(load(name)), _answer(tiny))
    assert is_here(name)
    assert not is_here(f"hf-hub:{REPO}")
    assert server.requests == []


def test_an_unpinned_repository_is_resolved_and_the_commit_logged(
    server: HubServer, commit: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "zoo"):
        assert load(f"hf-hub:{REPO}").config == load(f"hf-hub:{REPO}@main").config
    assert f"hf-hub:{REPO}@{commit}" in caplog.text


def test_a_pinned_commit_stays_what_it_is(server: HubServer, commit: str, tiny: Colorizer[Any], tmp_path: Path) -> None:
    other = type(tiny)(tiny.config)
    newest = server.add(REPO, folder_files(other.save(tmp_path / "other")))
    assert torch.equal(_answer(load(f"hf-hub:{REPO}@{commit}")), _answer(tiny))
    assert torch.equal(_answer(load(f"hf-hub:{REPO}@{newest}")), _answer(other))
    assert torch.equal(_answer(load(f"hf-hub:{REPO}")), _answer(other))


def test_describe_fetches_the_config_only(server: HubServer, commit: str, tiny: Colorizer[Any]) -> None:
    assert describe(f"hf-hub:{REPO}@{commit}").config == tiny.config
    assert server.fetched == ["config.json"]


def test_registered_weights_on_the_hub(
    server: HubServer, commit: str, files: dict[str, bytes], register: Callable[..., WeightsSpec]
) -> None:
    sha256 = hashlib.sha256(files[STATE]).hexdigest()
    place = {"repo_id": REPO, "revision": commit, "filename": STATE}
    weights = register(**place, sha256=sha256, size_bytes=len(files[STATE]))
    assert not is_here("regression")
    assert (pulling.pull("regression"), pulling.pull("regression.far")) == (pulling.PULLED, pulling.HERE)
    assert is_here("regression")
    server.requests.clear()
    assert load("regression").weights is weights
    assert server.requests == []
    register(**place, sha256="0" * 64)
    with pytest.raises(WeightsError, match=f"wrong sha256; found: {sha256}; expected: {'0' * 64}"):
        load("regression")
    assert not is_here("regression")


def test_weights_of_unknown_sha256_are_recorded_at_first_use(
    server: HubServer, commit: str, files: dict[str, bytes], register: Callable[..., WeightsSpec]
) -> None:
    place = {"repo_id": REPO, "revision": commit, "filename": STATE}
    register(**place)
    with pytest.raises(WeightsError, match=r"no sha256 is known of them yet; `colorzoo pull regression\.far`"):
        load("regression")
    with pytest.raises(WeightsError, match="--trust-first-use"):
        pulling.pull("regression")
    assert server.fetched == []
    assert pulling.pull("regression", trust_first_use=True) == pulling.PULLED
    weights = load("regression").weights
    assert weights is not None
    assert (weights.sha256, weights.size_bytes) == (hashlib.sha256(files[STATE]).hexdigest(), len(files[STATE]))


def test_a_snapshot_and_from_pretrained(server: HubServer, commit: str, tiny: Colorizer[Any], tmp_path: Path) -> None:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(REPO, revision=commit)
    again = [
        load(f"local-dir:{folder}"),
        Colorizer.from_pretrained(REPO, revision=commit),
        type(tiny).from_pretrained(f"{REPO}@{commit}", map_location="cpu"),
        Colorizer.from_pretrained(tiny.save_pretrained(tmp_path / "saved")),
    ]
    for model in again:
        assert type(model) is type(tiny)
        assert torch.equal(_answer(model), _answer(tiny))


def test_from_pretrained_of_another_family(server: HubServer, commit: str) -> None:
    fusion = registry.find("fusion")[1]
    with pytest.raises(UnknownModelError, match=r"not a model of family Fusion.*'regression' of family Regression"):
        fusion.from_pretrained(REPO, revision=commit)
    assert STATE not in server.fetched
    with pytest.raises(zoo.ZooError, match="revision goes with a repository"):
        fusion.from_pretrained("fusion", revision=commit)
    assert type(Colorizer.from_pretrained("grayscale")) is registry.find("grayscale")[1]


# Damage, slowness, several at once


def test_damaged_once_is_fetched_again(
    server: HubServer, commit: str, files: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    server.spoiled[STATE] = 1
    path = hub.download(REPO, commit, STATE, None)
    assert path.read_bytes() == files[STATE]
    assert server.fetched == [STATE] * 2
    assert "thrown away" in caplog.text


@pytest.mark.parametrize("known", [True, False])
def test_damaged_twice_is_refused_and_not_kept(
    server: HubServer, commit: str, files: dict[str, bytes], tmp_path: Path, known: bool
) -> None:
    server.spoiled[STATE] = 2
    sha256 = hashlib.sha256(files[STATE]).hexdigest()
    with pytest.raises(WeightsError, match="wrong sha256") as caught:
        hub.download(REPO, commit, STATE, sha256 if known else None)
    assert caught.value.expected == sha256
    assert server.fetched == [STATE] * 2
    assert list((tmp_path / "home").rglob("*.safetensors")) == []
    assert _blobs(tmp_path / "home") == []


@pytest.fixture(params=["links", "no links"])
def caches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache with symbolic links, and one without, as on Windows: there no name says what a file hashes to."""
    if request.param == "no links":
        monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda *_: False)


@pytest.mark.parametrize("name", ["config.json", STATE])
def test_wrong_bytes_of_the_right_length(
    caches: None, server: HubServer, commit: str, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    server.spoiled[name] = 2
    with pytest.raises(WeightsError, match=r"wrong git id" if name == "config.json" else "wrong sha256"):
        hub.download(REPO, commit, name, None)
    assert hub.cached(REPO, commit, name) is None
    server.spoiled[name] = 1
    assert hub.download(REPO, commit, name, None).read_bytes() == files[name]
    assert server.fetched == [name] * 4
    server.requests.clear()
    path = hub.download(REPO, commit, name, None)
    assert server.requests == []
    path.resolve().write_bytes(files[name][:-1] + b"x")
    _go_offline(monkeypatch)
    with pytest.raises(WeightsError, match="not in the cache"):
        hub.download(REPO, commit, name, None)


def test_a_file_of_which_nobody_says_what_it_is(
    server: HubServer, commit: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from huggingface_hub import hf_hub_download

    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda *_: False)
    path = Path(hf_hub_download(REPO, "config.json", revision=commit))
    with monkeypatch.context() as patch:
        _go_offline(patch)
        assert hub.download(REPO, commit, "config.json", None) == path
        assert f"{path} cannot be checked" in caplog.text
    path.write_bytes(b"{}")
    assert hub.download(REPO, commit, "config.json", None).read_bytes() != b"{}"


def test_waiting_for_another_process_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "_PATIENCE", 0.1)
    with locks.locked(tmp_path, "a/b"):
        assert caplog.text == ""
        thread = threading.Thread(target=lambda: locks.locked(tmp_path, "a/b").__enter__())
        thread.start()
        for _ in range(100):
            if "another process is busy with a/b" in caplog.text:
                break
            time.sleep(0.05)
        assert str(tmp_path / "a%2Fb.lock") in caplog.text
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"cannot be written.*set HF_HOME"), locks.locked(tmp_path / "file", "a"):
        pass


@pytest.mark.parametrize(
    ("code", "remedy"), [(errno.ENOSPC, "make room"), (errno.EROFS, "set HF_HOME"), (errno.EACCES, "set HF_HOME")]
)
def test_disks_that_refuse(
    server: HubServer, commit: str, monkeypatch: pytest.MonkeyPatch, code: int, remedy: str
) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise OSError(code, os.strerror(code), "/cache/file")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", fail)
    with pytest.raises(WeightsError, match=rf"config\.json.*{os.strerror(code)}.*{remedy}"):
        hub.download(REPO, commit, "config.json", None)


def test_damage_in_the_cache_is_seen_and_mended(server: HubServer, commit: str) -> None:
    path = hub.download(REPO, commit, STATE, None)
    path.resolve().write_bytes(b"damaged")
    assert len(load_file(hub.download(REPO, commit, STATE, None))) > 0


def test_a_cut_connection_is_gone_on_from_where_it_broke(
    server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 4096)
    data = bytes(range(256)) * 400
    commit = server.add(REPO, {"big.safetensors": data})
    server.cut["big.safetensors"] = 50_000
    assert hub.download(REPO, commit, "big.safetensors", None).read_bytes() == data
    (asked,) = server.ranges
    assert 0 < int(asked.removeprefix("bytes=").rstrip("-")) <= 50_000
    assert list((tmp_path / "home").rglob("*.incomplete")) == []


def test_a_slow_server_is_waited_for(
    server: HubServer, commit: str, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_LOOK", 0.2)
    server.delay = 0.5  # longer than the look whether there is a connection
    assert hub.download(REPO, commit, STATE, None).read_bytes() == files[STATE]


@pytest.mark.parametrize("spoiled", [0, 1])
def test_two_processes_at_once(
    server: HubServer, commit: str, files: dict[str, bytes], tmp_path: Path, spoiled: int
) -> None:
    server.spoiled[STATE], server.delay = spoiled, 0.2
    code = f"from zoo import hub; print(hub.download({REPO!r}, {commit!r}, {STATE!r}, None).read_bytes().hex())"
    home = tmp_path / "both"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], env=server.environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for process in started:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err.decode()
        assert bytes.fromhex(out.decode().strip()) == files[STATE]
    assert server.fetched == [STATE] * (1 + spoiled)
    assert len(_blobs(home)) == 1


def test_a_terminal_shows_how_far_it_is(server: HubServer, commit: str, tmp_path: Path) -> None:
    server.plain["net.pth"] = bytes(100_000)
    code = (
        f"from pathlib import Path; from zoo import hub; hub.download({REPO!r}, {commit!r}, {STATE!r}, None); "
        f"hub.fetch({server.url + '/plain/net.pth'!r}, Path({str(tmp_path / 'net.pth')!r}), resume=False)"
    )
    environment = server.environment(tmp_path / "home")
    del environment["HF_HUB_DISABLE_PROGRESS_BARS"]
    termios = pytest.importorskip("termios")
    terminal, end = os.openpty()
    termios.tcsetwinsize(end, (24, 100))
    done = subprocess.run([sys.executable, "-c", code], env=environment, stderr=end, timeout=60, check=False)
    os.close(end)
    shown = b""
    with suppress(OSError):  # as Linux ends it
        while more := os.read(terminal, 4096):
            shown += more
    os.close(terminal)
    assert done.returncode == 0, shown.decode()
    for name in (STATE, "net.pth"):
        assert re.search(rf"{name}: +100%", shown.decode()), shown.decode()


# No network


def test_offline(server: HubServer, commit: str, monkeypatch: pytest.MonkeyPatch, tiny: Colorizer[Any]) -> None:
    name = f"hf-hub:{REPO}@{commit}"
    with monkeypatch.context() as patch:
        _go_offline(patch)
        with pytest.raises(WeightsError, match=r"offline mode.*not in the cache.*'local-dir:PATH'"):
            load(name)
        with pytest.raises(WeightsError, match=r"no commit of main.*go online once"):
            load(f"hf-hub:{REPO}")
        with pytest.raises(WeightsError, match=r"config\.json.*not in the cache"):
            hub.download(REPO, commit, "config.json", None)
    assert server.requests == []
    load(name)
    _go_offline(monkeypatch)
    assert torch.equal(_answer(load(name)), _answer(tiny))
    with pytest.raises(WeightsError, match=rf"no commit of main.*in the cache is '{name}'"):
        load(f"hf-hub:{REPO}")


def test_no_connection_is_told_at_once(
    server: HubServer, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Colorizer[Any]
) -> None:
    load(f"hf-hub:{REPO}@{commit}")
    with socket.socket() as bound:  # a port that nobody listens at
        bound.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{bound.getsockname()[1]}"
        point_client_at(nowhere, tmp_path / "home", monkeypatch)
        assert torch.equal(_answer(load(f"hf-hub:{REPO}@{commit}")), _answer(tiny))
        begun = time.monotonic()
        for name in (f"hf-hub:some/other@{commit}", "hf-hub:some/other"):
            with pytest.raises(WeightsError, match=r"ConnectError.*check the connection.*'local-dir:PATH'"):
                load(name)
        for call in (
            lambda: hub.download("some/other", commit, STATE, "0" * 64),
            lambda: hub.fetch(f"{nowhere}/net.pth", tmp_path / "net.pth", resume=False),
        ):
            with pytest.raises(WeightsError, match="ConnectError"):
                call()
    assert time.monotonic() - begun < 5  # the client by itself: 23 s for each


# Refusals


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hf-hub:someone/else@{commit}", "RepositoryNotFoundError.*check the name"),
        ("hf-hub:someone/else", "RepositoryNotFoundError.*check the name"),
        (f"hf-hub:{REPO}@{'9' * 40}", "RevisionNotFoundError.*check the commit"),
        ("hf-hub:--/..@{commit}", "HFValidationError.*OWNER/REPO"),
    ],
)
def test_what_the_hub_does_not_have(server: HubServer, commit: str, name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load(name.format(commit=commit))
    with pytest.raises(WeightsError, match=r"RemoteEntryNotFoundError.*no such file"):
        hub.download(REPO, commit, "none.safetensors", None)


@pytest.mark.parametrize("closed", ["gated", "private"])
def test_closed_repositories_open_with_a_token_that_is_never_shown(
    server: HubServer, commit: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, closed: str
) -> None:
    repository: Repository = server.repositories[REPO]
    setattr(repository, closed, True)
    name = f"hf-hub:{REPO}@{commit}"
    asked = r"GatedRepoError.*ask for access" if closed == "gated" else "RepositoryNotFoundError.*hf auth login"
    with pytest.raises(WeightsError, match=asked):
        load(name)
    token_file = tmp_path / "home" / "token"
    token_file.parent.mkdir(exist_ok=True)
    token_file.write_text("hf_wrongtoken")
    server.says = {"GatedRepo": "hf_wrongtoken is not on the list", "RepoNotFound": "hf_wrongtoken sees none"}
    caplog.set_level(logging.DEBUG)
    with pytest.raises(WeightsError) as caught:
        load(name)
    assert set(server.tokens.values()) == {"hf_wrongtoken"}
    assert "hf_wrong" not in str(caught.value)
    token_file.write_text(TOKEN)
    load(name)
    assert set(server.tokens.values()) >= {TOKEN}
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("zoo")]
    assert not any("hf_" in message.replace(name, "") for message in ours)


def test_signatures_in_addresses_are_not_shown() -> None:
    told = hub.hub_error("x", RuntimeError("403 at 'https://cdn/x?X-Amz-Signature=abc' for Bearer hf_abcDEF123"))
    assert "abc" not in str(told)
    assert "https://cdn/x?" in str(told)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modeling.py": b"1"}, r"holds code, which is not run; found: modeling\.py.*plug-in package"),
        ({STATE: None, "pytorch_model.bin": b"1"}, r"holds a pickle.*pytorch_model\.bin.*colorzoo convert FILE"),
        ({"config.json": None}, r"holds no config\.json.*is it one of colorzoo's"),
        ({STATE: None}, r"holds no model\.safetensors"),
        ({"config.json": {"model": "reggression"}}, "no model named 'reggression'.*did you mean 'regression'"),
        ({"config.json": {"model": "os.system"}}, "no model named 'os.system'"),
        ({"config.json": {"auto_map": {"AutoModel": "x.y"}}}, r"asks for code of the repository's own.*x\.y"),
        ({"config.json": {"architectures": ["X"]}}, "unknown key 'architectures'"),
        ({"config.json": {"config": {"wide": 1}}}, "unknown key 'wide'"),
        ({"config.json": {"config": {}}}, r"does not fit the network of model 'regression'.*is missing"),
        ({STATE: b"\x80\x04pickle"}, "is not a safetensors file"),
    ],
)
def test_repositories_that_are_refused(
    server: HubServer, files: dict[str, bytes], changes: dict[str, Any], message: str
) -> None:
    table = json.loads(files["config.json"])
    for name, content in changes.items():
        if content is None:
            del files[name]
        else:
            files[name] = json.dumps(table | content).encode() if isinstance(content, dict) else content
    commit = server.add(REPO, files)
    with pytest.raises((WeightsError, ConfigError, UnknownModelError), match=message):
        load(f"hf-hub:{REPO}@{commit}")
    assert not any(name.endswith((".py", ".bin")) for name in server.fetched)


def test_a_folder_with_a_pickle_is_refused(tiny: Colorizer[Any], tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "folder")
    (folder / STATE).rename(folder / "net.pth")
    with pytest.raises(WeightsError, match=r"holds a pickle, which is not opened; found: net\.pth"):
        load(f"local-dir:{folder}")
    assert not is_here(f"local-dir:{folder}")


# The caches


def test_what_is_stored_is_listed_and_removed(
    server: HubServer, commit: str, files: dict[str, bytes], register: Callable[..., WeightsSpec]
) -> None:
    assert pulling.stored() == []
    name = f"hf-hub:{REPO}@{commit}"
    far = server.add("someone/far", files)
    assert far == commit  # as of a copy: what is removed of one stays of the other
    sha256 = hashlib.sha256(files[STATE]).hexdigest()
    register(repo_id="someone/far", revision=far, filename=STATE, sha256=sha256)
    assert pulling.pull(name) == pulling.PULLED
    assert pulling.pull(name) == pulling.HERE
    load("regression")
    hub.download("someone/far", far, STATE, sha256)
    foreign = server.add("someone/foreign", {"config.json": b"{}", STATE: b"1"})
    hub.download("someone/foreign", foreign, "config.json", None)
    size = len(files[STATE])
    found = {each.name: each for each in pulling.stored()}
    assert {each.kind for each in found.values()} == {"repository", "registered"}
    assert found[name].size_bytes == size + len(files["config.json"])
    assert found["regression.far"].size_bytes == size
    with pytest.raises(
        UnknownModelError, match=r"nothing named 'fusion' is in the caches; expected: .*regression\.far"
    ):
        pulling.remove("fusion")
    assert [each.name for each in pulling.remove(f"hf-hub:{REPO}")] == [name]
    assert [each.name for each in pulling.remove("regression")] == ["regression.far"]
    assert pulling.stored() == []
    assert not is_here("regression")
    assert not is_here(name)
    assert hub.cached("someone/foreign", foreign, "config.json") is not None
