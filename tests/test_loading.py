"""Loading: packaged weights, folders, the Hub (a stand-in of it on this machine), and everything that is refused."""

import hashlib
import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import zoo
from zoo import contract, hub, registry
from zoo.colorizer import Colorizer
from zoo.errors import ConfigError, OptionError, UnknownModelError, WeightsError
from zoo.loading import describe, load
from zoo.spec import WeightsSpec

L = torch.linspace(0, 100, 64 * 64).reshape(1, 1, 64, 64)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _answer(model: Colorizer[Any]) -> Tensor:
    # In the memory format that load chooses: another order of sums differs in the last bits.
    with torch.inference_mode():
        return model.to(memory_format=torch.channels_last).predict_ab(L)


@pytest.fixture
def tiny() -> Colorizer[Any]:
    """A `regression` of the smallest configuration, whose weights half precision holds exactly."""
    model = contract.maker("regression")()
    return model.half().float()


@pytest.fixture
def package(
    tiny: Colorizer[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry_sandbox: None
) -> Callable[..., WeightsSpec]:
    """`package(tag, state=..., **changes)` puts float16 weights of `tiny` into the package, the latest as default."""
    monkeypatch.setattr("zoo.hub.WEIGHTS_DIR", tmp_path)
    spec, cls = registry.find("regression")
    kept: list[WeightsSpec] = []

    def add(tag: str = "test", state: dict[str, Tensor] | None = None, **changes: Any) -> WeightsSpec:
        path = tmp_path / f"{tag}.safetensors"
        state = tiny.state_dict() if state is None else state
        save_file({k: v.half() if v.is_floating_point() else v for k, v in state.items()}, path)
        weights = WeightsSpec(
            tag=tag,
            sha256=_sha256(path),
            size_bytes=path.stat().st_size,
            license="CC0-1.0",
            commercial_use=True,
            training_data=("made up",),
            source_url=None,
            packaged=path.name,
            config=tiny.config,
        )
        kept.insert(0, replace(weights, **changes))
        registry._models["regression"] = (replace(spec, weights=tuple(kept)), cls)
        return kept[0]

    return add


# Packaged weights


def test_packaged_weights_are_loaded_as_they_were(package: Callable[..., WeightsSpec], tiny: Colorizer[Any]) -> None:
    weights = package()
    state = torch.get_rng_state()
    model = load("regression")
    assert torch.equal(torch.get_rng_state(), state)
    assert model.weights is weights
    assert model.spec is registry.find("regression")[0]
    assert model.config == tiny.config
    assert not any(module.training for module in model.modules())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    for key, value in tiny.state_dict().items():
        assert torch.equal(model.state_dict()[key], value), key
    assert torch.equal(_answer(model), _answer(tiny))


def test_a_tag_chooses_and_the_first_is_the_default(package: Callable[..., WeightsSpec]) -> None:
    first, second = package("v1.0"), package("v2")
    assert load("regression").weights is second
    assert load("regression.v1.0").weights is first
    with pytest.raises(UnknownModelError, match=r"no weights tagged 'v3'.*regression\.v2, regression\.v1\.0"):
        load("regression.v3")
    with pytest.raises(UnknownModelError, match="no weights tagged ''"):
        load("regression.")


def test_a_model_without_weights_says_what_to_do(registry_sandbox: None) -> None:
    spec, cls = registry.find("regression")
    registry._models["regression"] = (replace(spec, weights=(), config=type(spec.config).tiny()), cls)
    with pytest.raises(WeightsError, match=r"'regression' has no weights yet; train it.*'local-dir:PATH'"):
        load("regression")


def test_a_model_without_state_needs_no_weights() -> None:
    model = load("grayscale")
    assert model.weights is None
    assert not model.training
    with pytest.raises(UnknownModelError, match="no weights tagged 'v1'"):
        load("grayscale.v1")


def test_a_missing_file(package: Callable[..., WeightsSpec], tmp_path: Path) -> None:
    package()
    (tmp_path / "test.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"'test' are missing; expected: .*test\.safetensors; reinstall"):
        load("regression")


def test_a_changed_file_is_not_used(
    package: Callable[..., WeightsSpec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = package()
    path = tmp_path / "test.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    monkeypatch.setattr("zoo.loading.load_file", lambda path: pytest.fail("read before it was checked"))
    with pytest.raises(WeightsError, match="wrong sha256") as caught:
        load("regression")
    assert (caught.value.found, caught.value.expected) == (_sha256(path), weights.sha256)


def test_not_a_safetensors_file(package: Callable[..., WeightsSpec], tmp_path: Path) -> None:
    path = tmp_path / "pickle.pt"
    torch.save({"a": torch.zeros(1)}, path)
    package(packaged=path.name, sha256=_sha256(path))
    with pytest.raises(WeightsError, match=r"regression: pickle\.pt is not a safetensors file"):
        load("regression")


def test_weights_that_do_not_fit_name_the_first_few(package: Callable[..., WeightsSpec], tiny: Colorizer[Any]) -> None:
    state = tiny.state_dict()
    missing, reshaped, *others = (key for key in state if key.endswith("weight"))
    del state[missing]
    state[reshaped] = state[reshaped][..., :1].contiguous()
    counter = next(key for key in state if key.endswith("num_batches_tracked"))
    state[counter] = torch.zeros(())
    state["head.surplus"] = torch.zeros(1)
    package(state=state)
    with pytest.raises(WeightsError, match="does not fit the network of model 'regression'") as caught:
        load("regression")
    found = str(caught.value.found)
    assert f"{missing} is missing" in found
    assert f"{reshaped} is {tuple(state[reshaped].shape)}, not {tuple(tiny.state_dict()[reshaped].shape)}" in found
    assert f"{counter} is torch.float16, not torch.int64" in found
    assert "head.surplus is unknown" in found
    for key in others:
        del state[key]
    package(state=state)
    with pytest.raises(WeightsError, match=r"is missing and \d+ more"):
        load("regression")


def test_weights_whose_place_is_not_fit_for_use(package: Callable[..., WeightsSpec]) -> None:
    place = {"packaged": None, "sha256": None, "source_url": "https://example.org/net.pth"}
    package(**place, convert_from="https://example.org/net.pth")
    with pytest.raises(WeightsError, match=r"not converted.*fetch https://example\.org/net\.pth yourself"):
        load("regression")
    package(**place, repo_id="a/b", revision="0" * 40, filename="model.safetensors")
    with pytest.raises(WeightsError, match="no sha256 is known"):
        load("regression")


def test_devices(package: Callable[..., WeightsSpec]) -> None:
    package()
    assert load("regression", device=torch.device("cpu")).device == torch.device("cpu")
    with pytest.raises(OptionError, match="device 'warp' cannot be used"):
        load("regression", device="warp")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_no_gpu(package: Callable[..., WeightsSpec]) -> None:
    package()
    with pytest.raises(OptionError, match="device 'cuda' cannot be used"):
        load("regression", device="cuda")


@pytest.mark.gpu
def test_gpu(package: Callable[..., WeightsSpec]) -> None:
    package()
    model = load("regression", device="cuda")
    assert {p.device.type for p in model.parameters()} == {"cuda"}
    assert model.colorize_array(L[0, 0].numpy() / 100).shape == (64, 64, 3)


@pytest.mark.parametrize(
    "name",
    [f"{n}.{w.tag}" for n in registry.list_models() for w in registry.find(n)[0].weights if registry.is_packaged(w)],
)
def test_what_the_package_ships_loads(name: str) -> None:
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        model = load(name)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 1.5
    for network in model.parts or (model,):
        assert sum(p.numel() for p in network.parameters()) <= 8_000_000
    assert bool(_answer(model).isfinite().all())


# Names


@pytest.mark.parametrize("function", [load, describe])
def test_names_that_are_none(function: Callable[[str], object]) -> None:
    with pytest.raises(UnknownModelError, match="did you mean 'fusion'"):
        function("fusoin.v1")
    with pytest.raises(UnknownModelError, match=r"'hf-hub:some\.one/fusion'.*'local-dir:some\.one/fusion'"):
        function("some.one/fusion")
    with pytest.raises(UnknownModelError, match="not text"):
        function(None)  # type: ignore[arg-type]
    with pytest.raises(UnknownModelError, match="hf-hub:OWNER/REPO@COMMIT"):
        function("hf-hub:fusion")


def test_describe(package: Callable[..., WeightsSpec], tiny: Colorizer[Any], tmp_path: Path) -> None:
    first, second = package("v1"), package("v2")
    spec = registry.find("regression")[0]
    assert describe("regression") is spec
    assert describe("regression").weights == (second, first)
    assert describe("regression.v1") == replace(spec, weights=(first,), config=tiny.config)
    folder = tiny.save(tmp_path / "saved")
    assert describe(f"local-dir:{folder}") == replace(spec, weights=(), config=tiny.config)
    with pytest.raises(UnknownModelError, match="no weights tagged 'v3'"):
        describe("regression.v3")


# Folders


@pytest.mark.parametrize("name", registry.list_models())
def test_a_saved_model_is_loaded_to_the_last_bit(name: str, tmp_path: Path) -> None:
    model = contract.maker(name)()
    again = load(f"local-dir:{model.save(tmp_path / 'a folder')}")
    assert type(again) is type(model)
    assert again.config == model.config
    assert again.spec == model.spec
    assert again.weights is None
    assert again.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(again.state_dict()[key], value) for key, value in model.state_dict().items())
    assert torch.equal(_answer(again), _answer(model))


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", ""])
def test_a_folder_without_its_files(tiny: Colorizer[Any], tmp_path: Path, missing: str) -> None:
    folder = tiny.save(tmp_path / "saved")
    if missing:
        (folder / missing).unlink()
    else:
        shutil.rmtree(folder)
    with pytest.raises(WeightsError, match=f"no {missing or 'config.json'}.*as model.save"):
        load(f"local-dir:{folder}")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", WeightsError, "not one of colorzoo's"),
        ("[1]", WeightsError, "not one of colorzoo's"),
        ("\udcff", WeightsError, "not one of colorzoo's"),
        ('{"model": "regression", "config": {}}', WeightsError, "KeyError: 'format_version'"),
        ('{"format_version": 2, "model": "regression", "config": {}}', WeightsError, "a newer colorzoo"),
        ('{"format_version": 1, "model": "regression", "config": []}', WeightsError, "config of type list"),
        ('{"format_version": 1, "model": "os.system", "config": {}}', UnknownModelError, "'os.system'"),
        ('{"format_version": 1, "model": ["regression"], "config": {}}', UnknownModelError, "not text"),
        ('{"format_version": 1, "model": "regression", "config": {"widths": 3}}', ConfigError, "unknown key 'widths'"),
        ('{"format_version": 1, "model": "regression", "config": {"encoder": 3}}', ConfigError, "encoder: wrong type"),
        ('{"format_version": 1, "model": "fusion", "config": {"encoder": "no_such"}}', ConfigError, "no_such"),
    ],
)
def test_a_config_that_cannot_be_used(
    tiny: Colorizer[Any], tmp_path: Path, text: str, error: type[zoo.ZooError], message: str
) -> None:
    folder = tiny.save(tmp_path / "saved")
    (folder / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(error, match=message):
        load(f"local-dir:{folder}")


# The Hub

REPO, COMMIT = "someone/tiny", "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """What the stand-in holds and was asked for; ``spoiled`` files go out damaged so many times."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    spoiled: dict[str, int] = field(default_factory=dict)
    gated: bool = False

    @property
    def fetched(self) -> list[str]:
        return [r.rsplit("/", 1)[1] for r in self.requests if r.startswith("GET") and "/resolve/" in r]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeHub

    def do_HEAD(self) -> None:
        self._serve(body=False)

    def do_GET(self) -> None:
        self._serve(body=True)

    def log_message(self, *args: Any) -> None:
        pass

    def _serve(self, body: bool) -> None:
        fake = self.fake
        fake.requests.append(f"{self.command} {self.path}")
        repo, _, rest = self.path.removeprefix("/api/models/").strip("/").partition("/resolve/")
        repo = repo.partition("/revision/")[0]
        revision, _, name = rest.partition("/")
        if repo != REPO:
            return self._reply(404, {"X-Error-Code": "RepoNotFound"}, b"", body)
        if fake.gated:
            return self._reply(403, {"X-Error-Code": "GatedRepo"}, b"", body)
        if self.path.startswith("/api/models/"):
            return self._reply(200, {}, json.dumps({"id": REPO, "sha": COMMIT, "siblings": []}).encode(), body)
        if revision != COMMIT:
            return self._reply(404, {"X-Error-Code": "RevisionNotFound"}, b"", body)
        if name not in fake.files:
            return self._reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b"", body)
        data = fake.files[name]
        large = name.endswith(".safetensors")  # only those are announced with their sha256
        digest = hashlib.sha256(data) if large else hashlib.sha1(data)
        if body and fake.spoiled.get(name, 0) > 0:
            fake.spoiled[name] -= 1
            data = data[:-1] + bytes([data[-1] ^ 1])
        return self._reply(200, {"ETag": f'"{digest.hexdigest()}"', "X-Repo-Commit": COMMIT}, data, body)

    def _reply(self, status: int, headers: dict[str, str], data: bytes, body: bool) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def fake_hub(tiny: Colorizer[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    from huggingface_hub import constants

    folder = tiny.save(tmp_path / "upstream")
    fake = FakeHub(files={path.name: path.read_bytes() for path in folder.iterdir()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"fake": fake}))
    fake.url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", fake.url)
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")[2]
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{fake.url}/{{repo_id}}{template}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


def _go_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_pinned_repository_is_fetched_once(fake_hub: FakeHub, tiny: Colorizer[Any]) -> None:
    name = f"hf-hub:{REPO}@{COMMIT}"
    model = load(name)
    assert torch.equal(_answer(model), _answer(tiny))
    assert model.weights is None
    assert sorted(fake_hub.fetched) == ["config.json", "model.safetensors"]
    fake_hub.requests.clear()
    assert torch.equal(_answer(load(name)), _answer(tiny))
    assert fake_hub.requests == []


def test_an_unpinned_repository_is_resolved_and_the_commit_logged(
    fake_hub: FakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "zoo"):
        assert load(f"hf-hub:{REPO}").config == load(f"hf-hub:{REPO}@main").config
    assert f"hf-hub:{REPO}@{COMMIT}" in caplog.text


def test_describe_fetches_the_config_only(fake_hub: FakeHub, tiny: Colorizer[Any]) -> None:
    assert describe(f"hf-hub:{REPO}@{COMMIT}").config == tiny.config
    assert fake_hub.fetched == ["config.json"]


def test_registered_weights_on_the_hub(fake_hub: FakeHub, package: Callable[..., WeightsSpec]) -> None:
    sha256 = hashlib.sha256(fake_hub.files["model.safetensors"]).hexdigest()
    place = {"packaged": None, "repo_id": REPO, "revision": COMMIT, "filename": "model.safetensors"}
    weights = package(sha256=sha256, **place)
    assert load("regression").weights is weights
    package(sha256="0" * 64, **place)
    with pytest.raises(WeightsError, match=f"wrong sha256; found: {sha256}; expected: {'0' * 64}"):
        load("regression")


def test_damaged_once_is_fetched_again(fake_hub: FakeHub, caplog: pytest.LogCaptureFixture) -> None:
    fake_hub.spoiled["model.safetensors"] = 1
    path = hub.download(REPO, COMMIT, "model.safetensors", None)
    assert path.read_bytes() == fake_hub.files["model.safetensors"]
    assert fake_hub.fetched == ["model.safetensors"] * 2
    assert "thrown away" in caplog.text


@pytest.mark.parametrize("known", [True, False])
def test_damaged_twice_is_refused_and_not_kept(fake_hub: FakeHub, tmp_path: Path, known: bool) -> None:
    fake_hub.spoiled["model.safetensors"] = 2
    sha256 = hashlib.sha256(fake_hub.files["model.safetensors"]).hexdigest()
    with pytest.raises(WeightsError, match="wrong sha256") as caught:
        hub.download(REPO, COMMIT, "model.safetensors", sha256 if known else None)
    assert caught.value.expected == sha256
    assert fake_hub.fetched == ["model.safetensors"] * 2
    assert list((tmp_path / "cache").rglob("*.safetensors")) == []
    assert [p for p in (tmp_path / "cache").rglob("blobs/*") if p.is_file()] == []


def test_damage_in_the_cache_is_seen_and_mended(fake_hub: FakeHub) -> None:
    path = hub.download(REPO, COMMIT, "model.safetensors", None)
    path.resolve().write_bytes(b"damaged")
    assert len(load_file(hub.download(REPO, COMMIT, "model.safetensors", None))) > 0


def test_offline(fake_hub: FakeHub, monkeypatch: pytest.MonkeyPatch, tiny: Colorizer[Any]) -> None:
    name = f"hf-hub:{REPO}@{COMMIT}"
    with monkeypatch.context() as patch:
        _go_offline(patch)
        with pytest.raises(WeightsError, match=r"config\.json; found: .*not in the cache.*'local-dir:PATH'"):
            load(name)
        with pytest.raises(WeightsError, match=r"no commit of main.*name a commit that is in the cache"):
            load(f"hf-hub:{REPO}")
    assert fake_hub.requests == []
    load(name)
    _go_offline(monkeypatch)
    assert torch.equal(_answer(load(name)), _answer(tiny))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (f"hf-hub:someone/else@{COMMIT}", "RepositoryNotFoundError.*check the name"),
        ("hf-hub:someone/else", "RepositoryNotFoundError.*check the name"),
        (f"hf-hub:{REPO}@{'9' * 40}", "RevisionNotFoundError.*check the commit"),
        (f"hf-hub:--/..@{COMMIT}", "HFValidationError.*OWNER/REPO"),
    ],
)
def test_what_the_hub_does_not_have(fake_hub: FakeHub, name: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        load(name)


def test_a_repository_that_is_not_ours_or_closed(fake_hub: FakeHub) -> None:
    del fake_hub.files["config.json"]
    with pytest.raises(WeightsError, match="is it one of colorzoo's"):
        load(f"hf-hub:{REPO}@{COMMIT}")
    fake_hub.gated = True
    with pytest.raises(WeightsError, match=r"GatedRepoError.*ask for access"):
        load(f"hf-hub:{REPO}@{COMMIT}")


def test_save_writes_what_the_readme_says(tiny: Colorizer[Any], tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "saved")
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    config = json.loads((folder / "config.json").read_text())
    plain = json.loads(json.dumps(asdict(tiny.config)))
    assert config == {"format_version": 1, "model": "regression", "config": plain}


def test_places_that_cannot_be_are_refused() -> None:
    for name in ("local-dir:~no_such_user_here/x", "local-dir:" + "x" * 5000):
        with pytest.raises(WeightsError, match="not a folder"):
            zoo.load(name)
    with pytest.raises(OptionError, match="meta"):
        zoo.load("grayscale", device="meta")
