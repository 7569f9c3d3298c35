"""Names, clashes, incomplete specs, suggestions, plug-ins."""

import logging
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import zoo
from zoo import contract, registry
from zoo.colorizer import Batch, Colorizer, Loss
from zoo.errors import ConfigError, RegistryError, UnknownModelError
from zoo.spec import ModelSpec, WeightsSpec, config_from_mapping, packaged_weights

pytestmark = pytest.mark.usefixtures("registry_sandbox")
BUILT_IN = ["blend", "classification", "fusion", "grayscale", "regression"]


@dataclass(frozen=True)
class Config:
    @classmethod
    def tiny(cls) -> "Config":
        return cls()


SPEC = ModelSpec(name="toy", summary="A toy", config=Config(), weights=(), working_size=32, multiple_of=1)
WEIGHTS = WeightsSpec(
    tag="v1",
    sha256="0" * 64,
    size_bytes=1,
    license="CC0-1.0",
    commercial_use=True,
    training_data=("made up",),
    source_url=None,
    packaged="toy.safetensors",
)
ON_HUB = replace(WEIGHTS, packaged=None, repo_id="someone/toy", revision="a" * 40, filename="model.safetensors")


class Toy(Colorizer[Config]):
    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        return torch.zeros_like(L).expand(-1, 2, -1, -1)

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        return Loss(batch.ab.abs().mean())

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        return self(L)


def test_built_ins_are_listed_and_found() -> None:
    assert set(BUILT_IN) <= set(registry.list_models())
    assert registry.list_models() == sorted(registry.list_models())
    for name in BUILT_IN:
        spec, cls = registry.find(name)
        assert spec.name == name
        assert issubclass(cls, Colorizer)
        assert isinstance(contract.maker(name)(), cls)


def test_register_adds_and_returns_the_class() -> None:
    assert registry.register(SPEC, replace(SPEC, name="toy_large"))(Toy) is Toy
    assert registry.find("toy_large") == (replace(SPEC, name="toy_large"), Toy)
    assert Toy.spec is SPEC
    assert "toy" in registry.list_models()
    registry.register(SPEC)(Toy)  # the same class again: its module was reloaded


def test_a_taken_name_is_refused_and_nothing_is_registered() -> None:
    with pytest.raises(RegistryError, match=r"'fusion' is already taken by zoo\.models\.fusion\.Fusion"):
        registry.register(replace(SPEC, name="toy_new"), replace(SPEC, name="fusion"))(Toy)
    assert "toy_new" not in registry.list_models()
    assert registry.find("fusion")[1] is not Toy


@pytest.mark.parametrize("name", ["Toy", "my-toy", "toy.v1", "1toy", "", "toy\n", "a/b", "töy"])
def test_a_name_is_lower_snake_case(name: str) -> None:
    with pytest.raises(RegistryError, match="lower_snake_case"):
        registry.register(replace(SPEC, name=name))(Toy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"summary": " "}, "summary"),
        ({"config": 3}, r"tiny\(\)"),
        ({"working_size": 16, "multiple_of": 32}, "sizes"),
        ({"multiple_of": 0}, "bad multiple_of"),
        ({"supports": frozenset({"sharpness"})}, "sharpness"),
        ({"supports": frozenset({"style"}), "styles": ("only",)}, "two styles"),
        ({"styles": ("a", "b")}, "two styles"),
        ({"weights": (WEIGHTS, WEIGHTS)}, "one tag"),
        ({"weights": (replace(WEIGHTS, packaged=None),)}, "not exactly one place.*found: none"),
        ({"weights": (replace(ON_HUB, packaged="x"),)}, "packaged and repo_id"),
        ({"weights": (replace(WEIGHTS, tag="a b"),)}, "bad tag"),
        ({"weights": (replace(WEIGHTS, license=""),)}, "license"),
        ({"weights": (replace(WEIGHTS, training_data=()),)}, "training data"),
        ({"weights": (replace(WEIGHTS, sha256=None),)}, "without a sha256"),
        ({"weights": (replace(WEIGHTS, sha256="abc"),)}, "64"),
        ({"weights": (replace(ON_HUB, revision="main"),)}, "not pinned"),
        ({"weights": (replace(ON_HUB, filename=None),)}, "not pinned"),
    ],
)
def test_an_incomplete_spec_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        registry.register(replace(SPEC, **change))(Toy)
    assert "toy" not in registry.list_models()


def test_what_is_complete_is_taken() -> None:
    registry.check(replace(SPEC, weights=(WEIGHTS, replace(ON_HUB, tag="v2.1", sha256=None))))


CONVERTED = replace(WEIGHTS, packaged=None, sha256=None, convert_from="https://example.org/x.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "model 3: name is of the wrong type; found: 3; expected: str"),
        ({"name": "x" * 5000}, "bad name.*at most 64"),
        ({"summary": None}, r"summary is of the wrong type; found: None"),
        ({"summary": "two\nlines"}, r"bad summary; found: 'two\\nlines'"),
        ({"summary": "x" * 201}, "bad summary.*at most 200"),
        ({"config": Config}, "found: type; expected: an instance of a dataclass"),
        ({"weights": None}, r"weights is of the wrong type; found: None; expected: tuple\[WeightsSpec, ...\]"),
        ({"weights": [WEIGHTS]}, "weights is of the wrong type"),
        ({"weights": ("base",)}, "weights is of the wrong type"),
        ({"working_size": 256.0}, "working_size is of the wrong type; found: 256.0; expected: int"),
        ({"working_size": 1 << 40}, "bad working_size.*65536 pixels"),
        ({"multiple_of": True}, "multiple_of is of the wrong type; found: True"),
        ({"supports": {"seed"}}, "supports is of the wrong type"),
        ({"supports": frozenset({1})}, "supports is of the wrong type"),
        ({"styles": "vivid"}, "styles is of the wrong type; found: 'vivid'"),
        ({"styles": ("a:b", "c"), "supports": frozenset({"style"})}, "bad styles; found: 'a:b'"),
        ({"parts": ("fusion", 1)}, "parts is of the wrong type"),
        ({"reference": 3}, "reference is of the wrong type"),
    ],
)
def test_every_field_of_a_model_is_checked(change: dict[str, Any], message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        registry.register(replace(SPEC, **change))(Toy)
    assert "toy" not in registry.list_models()


@pytest.mark.parametrize(
    ("weights", "change", "message"),
    [
        (WEIGHTS, {"tag": 1}, "tag is of the wrong type; found: 1; expected: str"),
        (WEIGHTS, {"tag": "x" * 65}, "bad tag"),
        (WEIGHTS, {"sha256": b"0" * 64}, "sha256 is of the wrong type"),
        (WEIGHTS, {"size_bytes": "5"}, r"toy\.v1: size_bytes is of the wrong type; found: '5'; expected: int | None"),
        (WEIGHTS, {"size_bytes": -1}, "bad size_bytes; found: -1"),
        (WEIGHTS, {"size_bytes": True}, "size_bytes is of the wrong type"),
        (WEIGHTS, {"license": None}, "license is of the wrong type"),
        (WEIGHTS, {"license": "x" * 1001}, "bad license"),
        (WEIGHTS, {"commercial_use": "no"}, "commercial_use is of the wrong type; found: 'no'; expected: bool"),
        (WEIGHTS, {"commercial_use": 1}, "commercial_use is of the wrong type"),
        (WEIGHTS, {"training_data": "photos"}, "training_data is of the wrong type"),
        (WEIGHTS, {"training_data": ("photos",) * 1001}, "training_data is too long"),
        (WEIGHTS, {"training_data": ("\udc80",)}, "bad training_data"),
        (WEIGHTS, {"source_url": "javascript:alert(1)"}, "bad source_url.*https"),
        (WEIGHTS, {"packaged": "x" * 5000}, "bad packaged.*255 bytes"),
        (WEIGHTS, {"packaged": "é" * 128}, "bad packaged"),
        (WEIGHTS, {"packaged": "../x.safetensors"}, "bad packaged"),
        (WEIGHTS, {"packaged": "x\0.safetensors"}, "bad packaged"),
        (WEIGHTS, {"packaged": Path("x.safetensors")}, "packaged is of the wrong type"),
        (WEIGHTS, {"commit": 7}, "commit is of the wrong type"),
        (WEIGHTS, {"training_config": "../../x.toml"}, "bad training_config"),
        (WEIGHTS, {"config": 3}, "bad config; found: 3; expected: Config"),
        (ON_HUB, {"filename": "/etc/passwd"}, "bad filename; found: '/etc/passwd'; expected: a file's name"),
        (ON_HUB, {"filename": "a/../../b"}, "bad filename"),
        (ON_HUB, {"filename": "a\\b"}, "bad filename"),
        (ON_HUB, {"filename": "C:b"}, "bad filename"),
        (ON_HUB, {"filename": "."}, "bad filename"),
        (ON_HUB, {"revision": 3}, "revision is of the wrong type"),
        (ON_HUB, {"repo_id": "toy"}, "bad repo_id; found: 'toy'; expected: OWNER/REPO"),
        (ON_HUB, {"repo_id": "../toy"}, "bad repo_id"),
        (ON_HUB, {"repo_id": "someone/" + "x" * 100}, "bad repo_id"),
        (CONVERTED, {"convert_from": "https://"}, "bad convert_from"),
        (CONVERTED, {"convert_from": "https://example.org/a b"}, "bad convert_from"),
        (CONVERTED, {"upstream_sha256": 1}, "upstream_sha256 is of the wrong type"),
    ],
)
def test_every_field_of_weights_is_checked(weights: WeightsSpec, change: dict[str, Any], message: str) -> None:
    registry.check(replace(SPEC, weights=(weights,)))
    with pytest.raises(RegistryError, match=message):
        registry.check(replace(SPEC, weights=(replace(weights, **change),)))


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_ins_would_be_taken_as_plug_ins(name: str) -> None:
    registry.check(registry.find(name)[1].spec)


def test_register_without_a_spec_twice_a_name_or_an_unfinished_class() -> None:
    with pytest.raises(RegistryError, match="at least one"):
        registry.register()
    with pytest.raises(RegistryError, match="one name twice"):
        registry.register(SPEC, SPEC)(Toy)

    class Unfinished(Colorizer[Config]):
        def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
            return L

    with pytest.raises(RegistryError, match="methods loss, predict_ab"):
        registry.register(SPEC)(Unfinished)


def test_unknown_names_get_suggestions() -> None:
    with pytest.raises(UnknownModelError, match=r"no model named 'fusoin'.*did you mean 'fusion'\?"):
        registry.find("fusoin")
    with pytest.raises(UnknownModelError, match="colorzoo list"):
        registry.find("xyzzy")
    with pytest.raises(UnknownModelError, match="not text"):
        registry.find(None)  # type: ignore[arg-type]


def test_a_slash_offers_both_spellings() -> None:
    with pytest.raises(UnknownModelError, match=r"'hf-hub:someone/fusion'.*'local-dir:someone/fusion'"):
        registry.find("someone/fusion")


# Plug-ins

PLUGIN = Path(__file__).parent / "plugin_example"


def _install(folder: Path, name: str, entry_points: dict[str, str]) -> None:
    """What an installer leaves of a package besides its modules."""
    info = folder / f"{name.replace('-', '_')}-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
    lines = [f"[{registry.ENTRY_POINT_GROUP}]", *(f"{label} = {value}" for label, value in entry_points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture
def rediscover(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    def again() -> list[str]:
        monkeypatch.setattr(registry, "_discovered", False)
        return registry.list_models()

    return again


def test_an_installed_plug_in_is_found_and_keeps_the_contract(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rediscover: Callable[[], list[str]]
) -> None:
    project = tomllib.loads((PLUGIN / "pyproject.toml").read_text())["project"]
    _install(tmp_path, project["name"], project["entry-points"][registry.ENTRY_POINT_GROUP])
    monkeypatch.syspath_prepend(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    before = registry.list_models()
    assert rediscover() == sorted([*before, "toning"])
    assert zoo.describe("toning").summary.startswith("One colour")
    assert [r for r in contract.run("toning") if not r.passed] == []


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("import a_package_that_is_not_there", "ModuleNotFoundError"),
        ("raise SystemExit(1)", "SystemExit"),
        ("import pytest; pytest.skip('not here', allow_module_level=True)", "Skipped: not here"),
        ("import zoo; zoo.register(SPEC)(Toy); raise GeneratorExit", "GeneratorExit"),
        ("import zoo; zoo.register(SPEC)(Toy); raise ValueError('too late')", "ValueError: too late"),
        (
            "import zoo, dataclasses as d; zoo.register(SPEC)(Toy); zoo.register(d.replace(SPEC, name='fusion'))(Toy)",
            "already taken",
        ),
    ],
)
def test_a_broken_plug_in_is_rolled_back_and_warned_of(
    code: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    rediscover: Callable[[], list[str]],
) -> None:
    (tmp_path / "broken_plugin.py").write_text(f"from {__name__} import SPEC, Toy\n{code}\n")
    _install(tmp_path, "broken", {"brittle": "broken_plugin"})
    monkeypatch.syspath_prepend(tmp_path)
    before = registry.list_models()
    with caplog.at_level(logging.WARNING):
        assert rediscover() == before
    (record,) = caplog.records
    assert record.name == "zoo.registry"
    assert "'brittle' (broken_plugin) is left out" in record.getMessage()
    assert message in record.getMessage()


def test_an_interrupt_ends_the_search_and_the_next_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rediscover: Callable[[], list[str]]
) -> None:
    started = tmp_path / "started"
    (tmp_path / "slow_plugin.py").write_text(
        f"import pathlib, zoo\nfrom {__name__} import SPEC, Toy\nzoo.register(SPEC)(Toy)\n"
        f"path = pathlib.Path({str(started)!r})\n"
        "if not path.exists():\n    path.touch()\n    raise KeyboardInterrupt\n"
    )
    _install(tmp_path, "slow", {"slow": "slow_plugin"})
    monkeypatch.syspath_prepend(tmp_path)
    before = registry.list_models()
    with pytest.raises(KeyboardInterrupt):
        rediscover()
    assert sorted(registry._models) == before
    assert registry.list_models() == sorted([*before, "toy"])


def test_damaged_metadata_of_another_package_hide_no_plug_in(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    rediscover: Callable[[], list[str]],
) -> None:
    (tmp_path / "fine_one.py").write_text(f"import zoo\nfrom {__name__} import SPEC, Toy\nzoo.register(SPEC)(Toy)\n")
    _install(tmp_path, "fine-one", {"fine": "fine_one"})
    _install(tmp_path, "damaged", {})
    (tmp_path / "damaged-0.1.0.dist-info" / "entry_points.txt").write_bytes(b"[console_scripts]\n\xff\xfe = \x80\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = registry.list_models()
    with caplog.at_level(logging.WARNING):
        assert rediscover() == sorted([*before, "toy"])
    (record,) = caplog.records
    assert "damaged-0.1.0.dist-info has damaged metadata" in record.getMessage()


def test_a_plug_in_may_ask_for_the_list(monkeypatch: pytest.MonkeyPatch, rediscover: Callable[[], list[str]]) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(EntryPoint, "load", lambda self: seen.append(registry.list_models()))
    entry = EntryPoint(name="asks", value="asks", group=registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [entry])
    assert seen == [] and rediscover() == seen[0]  # noqa: PT018


# Specs


@dataclass(frozen=True)
class Nested:
    name: str


@dataclass(frozen=True)
class Rich:
    width: int
    rate: float = 0.5
    flag: bool = False
    encoder: str | None = None
    sizes: tuple[int, ...] = ()
    pair: tuple[float, str] = (1.0, "a")
    nested: Nested | None = None


def test_config_from_mapping_takes_what_json_and_toml_give() -> None:
    values = {"width": 3, "rate": 1, "sizes": [1, 2], "pair": [2, "b"], "nested": {"name": "x"}, "encoder": None}
    config = config_from_mapping(Rich, values, "here")
    assert config == Rich(width=3, rate=1.0, sizes=(1, 2), pair=(2.0, "b"), nested=Nested("x"))
    assert isinstance(config.rate, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"width": 1, "hight": 2}, "here: unknown key 'hight'.*expected: encoder, flag"),
        ({"width": 1, "widht": 2}, "did you mean 'width'"),
        ({"width": "3"}, "here: width: wrong type; found: '3'; expected: int"),
        ({"width": True}, "width: wrong type"),
        ({"width": 1.0}, "width: wrong type"),
        ({"width": 1, "rate": True}, "rate: wrong type"),
        ({"width": 1, "flag": 1}, "flag: wrong type"),
        ({"width": 1, "encoder": 5}, "encoder: wrong type"),
        ({"width": 1, "sizes": [1, "2"]}, "sizes: wrong type"),
        ({"width": 1, "sizes": 4}, "sizes: wrong type"),
        ({"width": 1, "pair": [1.0]}, "pair: wrong type"),
        ({"width": 1, "nested": {"nom": "x"}}, "nested: wrong type"),
        ({}, "value missing.*width"),
    ],
)
def test_config_from_mapping_refuses(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_mapping(Rich, values, "here")


def test_packaged_weights_come_from_the_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.spec.WEIGHTS_DIR", tmp_path)
    entry = (
        'file = "rich.safetensors"\nsha256 = "00"\nsize_bytes = 9\nlicense = "CC0-1.0"\ncommercial_use = false\n'
        'training_data = ["a", "b"]\n'
    )
    (tmp_path / "MANIFEST.toml").write_text(f"[rich.v2]\n{entry}config = {{ width = 4 }}\n[rich.v1]\n{entry}")
    with pytest.raises(zoo.ZooError, match=r"\[rich\.v1\] lacks a key; expected: config"):
        packaged_weights("rich", Rich)
    (tmp_path / "MANIFEST.toml").write_text(
        f"[rich.v2]\n{entry}config = {{ width = 4 }}\n[rich.v1]\n{entry}config = {{ width = 1 }}\n"
    )
    second, first = packaged_weights("rich", Rich)
    assert (second.tag, second.config, first.config) == ("v2", Rich(width=4), Rich(width=1))
    assert second.training_data == ("a", "b")
    assert packaged_weights("other", Rich) == ()


def test_models_do_not_share_state_with_their_spec() -> None:
    spec, cls = registry.find("regression")
    one, two = (cls(type(spec.config).tiny()) for _ in range(2))
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.zero_()
    assert any(np.any(p.detach().numpy()) for p in two.parameters())


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ({"upstream_sha256": "9b330a0b", "packaged": "x.safetensors", "sha256": "0" * 64}, "bad upstream_sha256"),
        ({"upstream_sha256": "9B330A0B", "convert_from": "https://example.org/x.pth"}, "bad upstream_sha256"),
        ({"upstream_sha256": "", "convert_from": "https://example.org/x.pth"}, "bad upstream_sha256"),
        ({"convert_from": "file:///x.pth"}, "bad convert_from"),
    ],
)
def test_published_pickles_have_an_address_and_digits(place: dict[str, Any], message: str) -> None:
    spec = registry.find("regression")[0]
    weights = replace(spec.weights[0], **({"packaged": None, "sha256": None} | place))
    with pytest.raises(RegistryError, match=message):
        registry.check(replace(spec, weights=(weights,)))
