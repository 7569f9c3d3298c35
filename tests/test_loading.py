"""Loading: packaged weights, folders, and everything that is refused; tests/test_hub.py has the Hub."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import zoo
from zoo import contract, registry
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
