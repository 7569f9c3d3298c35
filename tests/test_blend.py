"""The blend: the mean of its parts, which loading hands over; what is known of it is what is known of them."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from torch import Tensor
from typer.testing import CliRunner

import zoo
from training.train import main as train
from zoo import contract, registry
from zoo.cli import app
from zoo.colorizer import Batch, Colorizer, Loss
from zoo.errors import ConfigError, OptionError, RegistryError, UnknownModelError, WeightsError
from zoo.evaluation import candidates, cards, cost, tables
from zoo.models.blend import Blend, BlendConfig
from zoo.spec import ModelSpec, WeightsSpec, combined_weights

pytestmark = pytest.mark.usefixtures("registry_sandbox")

L = torch.linspace(0, 100, 2 * 64 * 64).reshape(2, 1, 64, 64)
NOTES = "\n\n".join(f"## {heading}\n\nWords." for heading in cards.NOTES)


@dataclass(frozen=True)
class FlatConfig:
    a: float = 10.0
    stride: int = 1

    @classmethod
    def tiny(cls) -> "FlatConfig":
        return cls()


class Flat(Colorizer[FlatConfig]):
    """One colour all over; what it was asked with is kept."""

    spec = ModelSpec(name="flat", summary="One colour", config=FlatConfig(), weights=(), working_size=32, multiple_of=4)

    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        n, _, h, w = L.shape
        return torch.full((n, 2, h // self.config.stride, w // self.config.stride), self.config.a)

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        return Loss(batch.ab.abs().mean())

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        self.asked = options
        return self(L)


def register(name: str, *parts: str, **changes: Any) -> ModelSpec:
    """Another blend in the registry, in one statement."""
    spec = replace(registry._models["blend"][0], name=name, parts=parts, **changes)
    registry.register(spec)(Blend)
    return registry.find(name)[0]


def plain(*parts: Colorizer[Any]) -> Blend:
    """A blend of models at hand that takes no options."""
    spec = replace(registry._models["blend"][0], supports=frozenset(), styles=())
    return Blend.build(spec, BlendConfig(), parts)


def weights(tag: str = "v1", **changes: Any) -> WeightsSpec:
    known = WeightsSpec(
        tag=tag,
        sha256="0" * 64,
        size_bytes=1_000_000,
        license="MIT",
        commercial_use=True,
        training_data=("photos of mine:", "the good ones"),
        source_url=None,
        packaged="toy.safetensors",
    )
    return replace(known, **changes)


def toy(name: str, *known: WeightsSpec) -> None:
    """A model in the registry that nobody can load, with these weights."""
    registry.register(replace(Flat.spec, name=name, weights=known))(Flat)


def size_of_parts() -> int:
    """Of the packaged blend, in bytes."""
    return sum(w.size_bytes or 0 for name in ("fusion.base", "fusion.long") for w in zoo.describe(name).weights)


def call(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


# The answer


@pytest.mark.parametrize("options", [{"style": "faithful"}, {"style": "vivid"}, {}, {"temperature": 1.0}, {"seed": 3}])
def test_the_mean_is_the_mean_of_what_the_parts_answer(options: dict[str, Any]) -> None:
    blend, *parts = (zoo.load(name) for name in ("blend", "fusion.base", "fusion.long"))
    with torch.inference_mode():
        found = blend.predict_ab(L, **options)
        each = [part.predict_ab(L, **options) for part in parts]
    assert (each[0] - each[1]).abs().max() > 1
    torch.testing.assert_close(found, (each[0] + each[1]) / 2)


def test_answers_of_several_sizes_meet_at_the_largest() -> None:
    blend = plain(Flat(FlatConfig(a=30, stride=4)), Flat(FlatConfig(a=-10, stride=2)), Flat(FlatConfig(a=1, stride=8)))
    assert torch.equal(blend.predict_ab(L), torch.full((2, 2, 32, 32), 7.0))


def test_an_option_goes_to_the_parts_that_have_it() -> None:
    flat = Flat(FlatConfig(a=8.0, stride=4))
    fusion = contract.maker("fusion")()
    blend = Blend.build(registry.find("blend")[0], BlendConfig(), [fusion, flat])
    with torch.inference_mode():
        styles = {style: blend.predict_ab(L, style=style) for style in blend.spec.styles}
        for style, found in styles.items():
            torch.testing.assert_close(found, (fusion.predict_ab(L, style=style) + 8) / 2)
    assert not torch.equal(*styles.values())
    assert flat.asked == {}
    with pytest.raises(OptionError, match="style 'faithful' takes no seed"):
        blend.check_options(style="faithful", seed=1)
    with pytest.raises(OptionError, match="unknown style"):
        blend.check_options(style="loud")


def test_parts_must_suit_the_spec() -> None:
    fusion, spec = contract.maker("fusion")(), registry.find("blend")[0]
    with pytest.raises(RegistryError, match="multiple_of 16 does not suit its part 'fusion'; found: 32"):
        Blend.build(replace(spec, multiple_of=16), BlendConfig(), [fusion])
    with pytest.raises(RegistryError, match=r"styles .*loud.* does not suit its part 'fusion'; found: .*vivid"):
        Blend.build(replace(spec, styles=("vivid", "loud")), BlendConfig(), [fusion])
    with pytest.raises(RegistryError, match="option 'seed' is one that none of its parts has"):
        Blend.build(spec, BlendConfig(), [contract.maker("regression")()])
    with pytest.raises(ConfigError, match="a blend without parts"):
        Blend(BlendConfig())


def test_modes_devices_and_memory_formats_reach_the_parts() -> None:
    blend = zoo.load("blend").train()
    parts = blend.parts
    assert [part.weights.tag for part in parts if part.weights] == ["base", "long"]
    assert all(part.training for part in parts)
    with blend.inference():
        assert not any(module.training for part in parts for module in part.modules())
    assert all(part.training for part in parts)
    assert not any(p.requires_grad for p in blend.parameters())
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in parts[1].parameters() if p.ndim == 4)
    blend.to("meta")
    assert {part.device.type for part in parts} == {blend.device.type} == {"meta"}


# What it costs


def test_it_costs_the_sum_of_its_parts() -> None:
    blend, *parts = (zoo.load(name) for name in ("blend", "fusion.base", "fusion.long"))
    assert cost.gigaflops(blend) == pytest.approx(sum(map(cost.gigaflops, parts)), abs=0.02)
    assert sum(p.numel() for p in blend.parameters()) == sum(p.numel() for m in parts for p in m.parameters())


def test_styles_share_the_runs_of_the_parts() -> None:
    blend = contract.maker("blend")()
    runs: list[int] = []
    for part in blend.parts:
        part.encoder.register_forward_hook(lambda *_: runs.append(1))  # type: ignore[union-attr]
    with torch.inference_mode(), candidates.shared_forward(blend):
        answers = [blend.predict_ab(L, style=style) for style in blend.spec.styles]
    assert len(runs) == 2
    assert not torch.equal(*answers)
    assert not any("forward" in part.__dict__ for part in blend.parts)


# Loading


def test_any_models_are_blended_in_one_statement(tmp_path: Path) -> None:
    folder = contract.maker("fusion")().save(tmp_path / "mine")
    spec = register("mixed", "regression.scratch", "classification", f"local-dir:{folder}")
    assert spec.weights == ()  # nothing is known of those in a folder
    model = zoo.load("mixed")
    assert [part.spec.name for part in model.parts] == ["regression", "classification", "fusion"]
    assert model.weights is None
    assert model.colorize_batch(L / 100).shape == (2, 3, 64, 64)
    register("two", "regression", "classification.base", supports=frozenset({"temperature", "seed"}), styles=())
    assert [r for r in contract.run("two") if not r.passed] == []


def test_a_blend_of_a_blend_works() -> None:
    spec = register("outer", "blend", "regression")
    (known,) = spec.weights
    assert known.parts == ("blend.parts", "regression.base")
    sizes = [w.size_bytes for n in ("fusion.base", "fusion.long", "regression") for w in zoo.describe(n).weights[:1]]
    assert known.size_bytes == sum(map(int, filter(None, sizes)))
    outer, blend, regression = (zoo.load(n) for n in ("outer.parts", "blend", "regression"))
    with torch.inference_mode():
        expected = (blend.predict_ab(L, style="vivid") + regression.predict_ab(L)) / 2
        torch.testing.assert_close(outer.predict_ab(L, style="vivid"), expected)


def test_no_model_is_a_part_of_itself() -> None:
    with pytest.raises(RegistryError, match="'loop' would be a part of itself; found: parts fusion, loop"):
        register("loop", "fusion", "loop.parts")
    register("first", "second")
    register("outside", "first", "fusion")
    with pytest.raises(RegistryError, match="'second' would be a part of itself; found: parts outside"):
        register("second", "outside")
    one, two = (replace(registry._models["blend"][0], name=n, parts=p) for n, p in (("x", ("y",)), ("y", ("x",))))
    with pytest.raises(RegistryError, match="part of itself"):
        registry.register(one, two)(Blend)
    assert {"loop", "second", "x"}.isdisjoint(registry.list_models())


@pytest.mark.parametrize(
    ("part", "error", "message"),
    [
        ("fusoin", UnknownModelError, "no model named 'fusoin'.*did you mean 'fusion'"),
        ("fusion.short", UnknownModelError, r"no weights tagged 'short'.*fusion\.base, fusion\.long"),
        ("local-dir:nowhere", WeightsError, r"no config\.json"),
    ],
)
def test_a_missing_part_is_named_and_breaks_no_list(part: str, error: type[zoo.ZooError], message: str) -> None:
    spec = register("torn", "regression", part)
    assert spec.weights == ()
    assert zoo.describe("torn") == spec
    assert "torn" in call("list").stdout
    assert "torn" not in [c.label for c in candidates.candidates(["regression"])]
    with pytest.raises(error, match=f"(?s)model 'torn': its part '{part}' is not to be had: .*{message}"):
        zoo.load("torn")
    shown = call("show", "torn")
    assert shown.exit_code == 2
    assert "its part" in shown.stderr


def test_weights_of_its_own_are_refused() -> None:
    with pytest.raises(RegistryError, match="weights of its own"):
        register("rich", "fusion", weights=(weights(),))
    with pytest.raises(RegistryError, match="weights of its own"):
        toy("poor", weights(packaged=None, parts=("fusion.base",)))


def test_a_saved_blend_needs_no_other_file(tmp_path: Path) -> None:
    names = ("regression", "fusion")
    spec = register("saved", *names)
    blend = Blend.build(spec, BlendConfig(), [contract.maker(name)() for name in names]).eval()
    folder = blend.save(tmp_path / "saved")
    for name in names:  # their weights are gone
        spec, cls = registry._models[name]
        registry._models[name] = (replace(spec, weights=()), cls)
    again = zoo.load(f"local-dir:{folder}")
    with torch.inference_mode():
        torch.testing.assert_close(again.predict_ab(L, style="vivid"), blend.predict_ab(L, style="vivid"))
    table = json.loads((folder / "config.json").read_text())
    assert [part["model"] for part in table["parts"]] == ["regression", "fusion"]
    for parts, message in (
        ([], "model 'saved' without parts; found: 0 parts; expected: regression, fusion"),
        ("ab", "not one of colorzoo's"),
        ([{"model": "fusion"}], "part 1 is not one of colorzoo's"),
        ([{"model": "fusion", "config": {"width": 1}}], "part 1: config: unknown key 'width'"),
        ([{"model": "fusion", "config": {}, "parts": table["parts"]}], "part 1: model 'fusion' with parts"),
        (table["parts"][1:], "does not fit the network of model 'saved'"),
    ):
        (folder / "config.json").write_text(json.dumps(table | {"parts": parts}))
        with pytest.raises(zoo.ZooError, match=message):
            zoo.load(f"local-dir:{folder}")


# What is known of it


def test_all_licences_of_the_parts_hold() -> None:
    toy("open", weights())
    toy("closed", weights(license="CC-BY-NC-4.0", commercial_use=False, training_data=("theirs",), sha256="1" * 64))
    (known,) = register("both", "open", "closed.v1", "regression.alpha").weights
    alpha = zoo.describe("regression.alpha").weights[0]
    assert known.license == "MIT AND CC-BY-NC-4.0 AND Apache-2.0"
    assert not known.commercial_use
    assert known.size_bytes == 2_000_000 + (alpha.size_bytes or 0)
    assert known.training_data[:2] == ("photos of mine: the good ones", "theirs")
    assert (known.tag, known.parts) == ("parts", ("open.v1", "closed.v1", "regression.alpha"))
    assert registry.is_packaged(known)
    (same,) = register("same", "open", "open.v1").weights
    assert (same.license, same.commercial_use, same.training_data) == ("MIT", True, ("photos of mine: the good ones",))


def test_what_is_not_known_of_a_part_is_not_known_of_the_whole() -> None:
    hub = weights(packaged=None, repo_id="a/b", revision="a" * 40, filename="c", sha256=None, size_bytes=None)
    toy("far", hub)
    (known,) = register("spread", "far", "regression").weights
    assert known.sha256 is None
    assert known.size_bytes is None
    assert not registry.is_packaged(known)
    assert "spread" not in candidates._all()
    assert "blend" in candidates._all()
    assert combined_weights({"x": weights(license="MIT OR X11"), "y": hub}).license == "(MIT OR X11) AND MIT"


def test_another_part_is_another_whole() -> None:
    hashes = [register(f"b{n}", *parts).weights[0].sha256 for n, parts in enumerate(PAIRS)]
    assert len({*hashes, zoo.describe("blend").weights[0].sha256}) == len(PAIRS) + 1


PAIRS = (("fusion", "regression"), ("fusion", "regression.alpha"), ("regression", "fusion.long"))


def test_list_and_show() -> None:
    lines = {line.split()[0]: line.split() for line in call("list").stdout.splitlines()}
    assert lines["blend"][1:6] == ["parts", "yes", "Apache-2.0", "no", f"{size_of_parts() / 1e6:.1f}"]
    register("unknown", "local-dir:somewhere", "fusion")
    assert "of its parts" in call("list").stdout
    shown = json.loads(call("show", "blend", "--json").stdout)
    assert shown["parts"] == shown["weights"][0]["parts"] == ["fusion.base", "fusion.long"]
    assert shown["parameters"] == sum(p.numel() for p in zoo.load("blend").parameters())
    text = call("show", "blend.parts").stdout
    assert "fusion.base, fusion.long" in text
    assert "not trained" not in text


def test_its_card_points_to_those_of_its_parts() -> None:
    spec = registry.find("blend")[0]
    assert (spec, spec.weights[0]) in tables.carded()
    text = cards.card(spec, spec.weights[0], {}, NOTES, {})
    size = f"{size_of_parts() / 1e6:.1f} MB"
    assert f"**Made of**: [`fusion.base`](fusion.base.md), [`fusion.long`](fusion.long.md); {size} together" in text
    assert "Not trained itself: see its parts" in text
    assert "sha256" not in text.split("## How to use")[0]
    assert "None" not in text
    data = ModelCard(text).data
    assert (data.license, data.model_name) == ("apache-2.0", "blend.parts")
    assert "not-for-commercial-use" in data.tags


def test_it_is_evaluated_as_what_it_is_made_of() -> None:
    found = candidates.candidates(["blend"])
    assert [c.label for c in found] == ["blend:faithful", "blend:vivid"]
    assert {c.tag for c in found} == {"parts"}
    assert found[0].weights["sha256"] == zoo.describe("blend").weights[0].sha256
    assert found[0].weights["size_bytes"] == size_of_parts()


# Training


def test_it_is_not_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blend = contract.maker("blend")()
    with pytest.raises(ConfigError, match=r"'blend' is not trained.*train its parts: fusion\.base, fusion\.long"):
        blend.loss(Batch(L, torch.zeros(2, 2, 16, 16)))
    (tmp_path / "c.toml").write_text('model = "blend"\n[train]\nsteps = 1\n')
    assert train([str(tmp_path / "c.toml"), "--data", str(tmp_path), "--out", str(tmp_path / "run")]) == 2
    assert "train its parts: fusion.base, fusion.long" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
