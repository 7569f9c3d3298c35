"""A package that adds a model goes the whole way, and one that is broken in some way takes nothing with it."""

import hashlib
import importlib
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F
from typer.testing import CliRunner

from zoo import contract, registry
from zoo.cli import app
from zoo.colorizer import Batch, Colorizer, Loss
from zoo.evaluation import cards
from zoo.hub import packaged_path
from zoo.spec import ModelSpec, WeightsSpec

ROOT = Path(__file__).parents[1]
EXAMPLE = Path(__file__).parent / "plugin_example"


# The example, installed as its users install it


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that pip has put the example package into, without a network."""
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(EXAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def python(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """`python(*arguments)`: what a fresh interpreter that has the package prints."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")

    def run(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=elsewhere,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (installed, ROOT)))},
            capture_output=True,
            text=True,
            timeout=280,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures, red in the shadows and blue in the lights."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(8):
        light = np.array(Image.fromarray(rng.integers(0, 256, (4, 5), dtype=np.uint8)).resize((100, 80)))[..., None]
        rgb = np.where(light < 128, (120, 30, 20), (120, 170, 230)) * (0.6 + 0.4 * light / 255)
        Image.fromarray(rgb.astype(np.uint8)).save(folder / f"{i}.png")
    return folder


def test_the_package_holds_its_module_and_its_weights(installed: Path) -> None:
    files = {p.relative_to(installed).as_posix() for p in installed.rglob("*") if p.suffix != ".pyc" and p.is_file()}
    own = {"colorzoo_toning/__init__.py", "colorzoo_toning/base.safetensors"}
    assert {name for name in files if ".dist-info/" not in name} == own


@pytest.mark.slow
def test_it_is_listed_loaded_and_offered_in_the_app(python: Callable[..., str], installed: Path) -> None:
    code = """
import json, zoo
from demo import models
from zoo import contract
from zoo.evaluation.candidates import _all
model = models.named("toning")
print(json.dumps({
    "file": __import__("colorzoo_toning").__file__,
    "listed": zoo.list_models(),
    "evaluated by all": _all(),
    "weights": model.weights.tag,
    "in the app": {name: choice.facts for name, choice in models.choices(commercial=True).items()},
    "colours": float(model.predict_lab(contract.picture(40, 60))[1:].abs().mean()),
}))
"""
    found = json.loads(python("-c", code))
    assert Path(found["file"]).is_relative_to(installed)
    assert {"fusion", "toning"} <= set(found["listed"])
    assert "toning" in found["evaluated by all"]
    assert found["weights"] == "base"
    assert found["in the app"]["toning"]["license"] == "CC0-1.0"
    assert found["colours"] > 1


@pytest.mark.slow
def test_it_passes_colorzoo_check(python: Callable[..., str]) -> None:
    lines = python("-m", "zoo.cli", "check", "toning").splitlines()
    assert lines[0] == "toning, smallest configuration, untrained"
    assert "toning.base, with its weights" in lines
    assert [line.split()[1] for line in lines if line.startswith("  ok")] == [
        *("builds", *contract.CHECKS),
        *("loads", *contract.QUICK),
    ]
    assert lines[-1] == f"all {2 + len(contract.CHECKS) + len(contract.QUICK)} checks passed"


@pytest.mark.slow
def test_the_shared_trainer_trains_it(python: Callable[..., str], photos: Path, tmp_path: Path) -> None:
    changes = ["train.steps=12", "train.batch_size=8", "train.warmup=1", "train.ema=0.5", "train.lr=0.3"]
    changes += ["data.workers=0", "data.valid_share=0.25", "data.age=0.0", "train.precision=fp32", "log.every=1"]
    options = [text for change in changes for text in ("--set", change)]
    config, run = EXAMPLE / "toning.toml", tmp_path / "run"
    python("-m", "training.train", config, "--data", photos, "--init", "toning", "--out", run, *options)
    losses = [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]
    assert len(losses) == 12
    assert min(losses[-3:]) < 0.5 * losses[0]
    colors = load_file(run / "weights.safetensors")["colors"]
    assert colors[1:3, 0].mean() > colors[-3:-1, 0].mean()  # red in the shadows, which the packaged weights know not


@pytest.mark.slow
def test_the_evaluator_measures_it(python: Callable[..., str], photos: Path, tmp_path: Path) -> None:
    options = ["--data", photos, "--size", 64, "--limit", 2, "--out", tmp_path]
    python("-m", "zoo.cli", "evaluate", "--models", "toning", *options)
    result = json.loads((tmp_path / "toning.base.json").read_text())
    assert (result["model"], result["weights"]["license"]) == ("toning", "CC0-1.0")


def test_its_page_is_text_for_a_model_card(example: type[Colorizer[Any]]) -> None:
    spec = example.spec
    text = cards.card(spec, spec.weights[0], {}, (EXAMPLE / "README.md").read_text(encoding="utf-8"), {})
    assert "CC0-1.0" in text
    assert "toned print" in text


def _forget(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a module imported anew, in this test and in the next that wants it."""
    monkeypatch.setitem(sys.modules, module, sys)  # so that it is gone again at the end
    del sys.modules[module]


@pytest.fixture
def example(registry_sandbox: None, monkeypatch: pytest.MonkeyPatch) -> type[Colorizer[Any]]:
    """The example's class, registered in this process too."""
    _forget("colorzoo_toning", monkeypatch)
    monkeypatch.syspath_prepend(EXAMPLE)
    import colorzoo_toning

    return colorzoo_toning.Toning  # type: ignore[no-any-return]


@pytest.mark.slow
@pytest.mark.usefixtures("registry_sandbox")
def test_the_model_in_the_readme_passes_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Add a model")[2]
    (tmp_path / "my_model.py").write_text(section.partition("```python\n")[2].partition("```")[0])
    monkeypatch.delitem(sys.modules, "my_model", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("my_model")
    assert [r for r in contract.run("my_model") if not r.passed] == []


# What `colorzoo check` says of models that are wrong


@dataclass(frozen=True)
class Config:
    @classmethod
    def tiny(cls) -> "Config":
        return cls()


class Tint(Colorizer[Config]):
    """One colour for all."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.color = nn.Parameter(torch.zeros(4, 2))

    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        near = F.softmax(-((L - torch.tensor([20.0, 40.0, 60.0, 80.0]).view(1, 4, 1, 1)) ** 2) / 20, 1)
        return torch.einsum("nthw,tc->nchw", near, self.color * 20)

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        return Loss(F.mse_loss(F.adaptive_avg_pool2d(self(batch.L), batch.ab.shape[-2:]), batch.ab))

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        return self(L)  # type: ignore[no-any-return]


class CannotBeBuilt(Tint):
    def __init__(self, config: Config) -> None:
        raise SystemExit("no licence key")


class CannotPredict(Tint):
    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        raise RuntimeError("shapes do not match")


SPEC = ModelSpec(name="tint", summary="A tint", config=Config(), weights=(), working_size=32, multiple_of=1)


@pytest.fixture
def weights(tmp_path: Path) -> WeightsSpec:
    """Weights of `Tint`, beside no module."""
    path = tmp_path / "tint.safetensors"
    save_file(Tint(Config()).state_dict(), path)
    return WeightsSpec(
        tag="base",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        size_bytes=path.stat().st_size,
        license="CC0-1.0",
        commercial_use=True,
        training_data=("none",),
        source_url=None,
        packaged=str(path),
    )


def check(name: str) -> tuple[int, list[str]]:
    """`colorzoo check`: its exit code, and what it prints."""
    done = CliRunner().invoke(app, ["check", name])
    return done.exit_code, done.output.splitlines()


@pytest.mark.usefixtures("registry_sandbox")
def test_check_of_a_right_model_and_of_one_set_of_its_weights(weights: WeightsSpec) -> None:
    away = replace(weights, tag="away", packaged=None, repo_id="a/b", revision="a" * 40, filename="c")
    registry.register(replace(SPEC, weights=(weights, away)))(Tint)
    code, lines = check("tint")
    assert code == 0, lines
    assert "tint.away: weights not here; not checked" in lines
    assert lines[-1].startswith("all ")
    code, lines = check("tint.away")
    assert code == 0
    assert not any(line.startswith("tint.base") for line in lines)


@pytest.mark.usefixtures("registry_sandbox")
def test_check_of_a_model_that_cannot_be_built(weights: WeightsSpec) -> None:
    registry.register(replace(SPEC, weights=(weights,)))(CannotBeBuilt)
    code, lines = check("tint")
    assert code == 1
    assert lines[1:3] == ["  FAIL  builds", "        SystemExit: no licence key"]
    assert "test_plugin.py, line" in lines[3]
    assert lines[4:] == ["1 of 1 checks failed"]


@pytest.mark.usefixtures("registry_sandbox")
def test_a_model_that_cannot_be_built_is_listed_as_broken_and_refused_when_it_is_named() -> None:
    registry.register(SPEC)(CannotBeBuilt)
    listed = CliRunner().invoke(app, ["list"])
    assert listed.exit_code == 0
    (line,) = (line for line in listed.output.splitlines() if line.startswith("tint "))
    assert line.split()[1] == "broken"
    for command in (["show", "tint"], ["colorize", str(EXAMPLE / "README.md"), "--model", "tint", "--out", "x.png"]):
        named = CliRunner().invoke(app, command)
        assert named.exit_code == 2
        assert "'tint' cannot be built; found: SystemExit: no licence key; `colorzoo check tint`" in named.output


@pytest.mark.usefixtures("registry_sandbox")
def test_the_smallest_configuration_is_checked_with_one_thread() -> None:
    seen = set()

    class Watched(Tint):
        def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
            seen.add(torch.get_num_threads())
            return super().predict_ab(L)

    registry.register(SPEC)(Watched)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        check("tint")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {1}


@pytest.mark.usefixtures("registry_sandbox")
def test_check_of_a_model_that_cannot_predict() -> None:
    registry.register(SPEC)(CannotPredict)
    code, lines = check("tint")
    assert code == 1
    where = lines.index("  FAIL  predict_ab")
    assert lines[where + 1] == "        RuntimeError: shapes do not match"
    assert "  ok    gradients" in lines


@pytest.mark.usefixtures("registry_sandbox")
def test_pictures_that_a_plug_in_fails_on_are_told_with_its_name(weights: WeightsSpec, tmp_path: Path) -> None:
    registry.register(replace(SPEC, weights=(weights,)))(CannotPredict)
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    done = CliRunner().invoke(app, ["colorize", str(tmp_path / "red.png"), "-m", "tint", "-o", str(tmp_path / "o.png")])
    assert done.exit_code == 1
    said = "model 'tint' fails; found: RuntimeError: shapes do not match; `colorzoo check tint` says where"
    assert said in done.stderr
    assert done.stdout.startswith("0 done, 0 skipped, 1 failed")


@pytest.mark.usefixtures("registry_sandbox")
def test_compare_leaves_out_a_plug_in_that_fails(weights: WeightsSpec, tmp_path: Path) -> None:
    registry.register(replace(SPEC, weights=(weights,)))(CannotPredict)
    registry.register(replace(SPEC, name="fine", weights=(weights,)))(Tint)
    for color in ("red", "blue"):
        Image.new("RGB", (40, 30), color).save(tmp_path / f"{color}.png")
    sheets = [tmp_path / name for name in ("both.png", "fine.png")]
    pictures = [str(tmp_path / f"{color}.png") for color in ("red", "blue")]
    for sheet, models, code in zip(sheets, ("tint,fine", "fine"), (1, 0), strict=True):
        done = CliRunner().invoke(app, ["compare", *pictures, "--models", models, "-o", str(sheet)])
        assert done.exit_code == code, done.output
        told = done.stderr.count("left out: model 'tint' fails; found: RuntimeError: shapes do not match")
        assert told == code
        assert done.stdout.startswith("2 done, 0 failed")
    assert np.array_equal(*(np.asarray(Image.open(sheet)) for sheet in sheets))


@pytest.mark.usefixtures("registry_sandbox")
def test_compare_of_all_goes_on_without_what_cannot_be_loaded(
    weights: WeightsSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.register(replace(SPEC, weights=(replace(weights, sha256="0" * 64),)))(Tint)
    registry.register(replace(SPEC, name="fine", weights=(weights,)))(Tint)
    monkeypatch.setattr(registry, "list_models", lambda: ["fine", "tint"])
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    sheet = tmp_path / "sheet.png"
    for models, code in (("all", 1), ("tint", 2)):
        done = CliRunner().invoke(app, ["compare", str(tmp_path / "red.png"), "--models", models, "-o", str(sheet)])
        assert done.exit_code == code, done.output
        assert "wrong sha256" in done.stderr
        assert sheet.exists() is (models == "all")
        sheet.unlink(missing_ok=True)


@pytest.mark.usefixtures("registry_sandbox")
@pytest.mark.parametrize(
    ("change", "failing", "message"),
    [
        ({"sha256": "0" * 64}, ["spec", "loads"], "wrong sha256"),
        ({"size_bytes": 1}, ["spec"], "size; found: 1"),
        ({"packaged": "nowhere.safetensors"}, ["spec", "loads"], "missing"),
    ],
)
def test_check_of_weights_that_are_not_what_is_said(
    weights: WeightsSpec, change: dict[str, Any], failing: list[str], message: str
) -> None:
    registry.register(replace(SPEC, weights=(replace(weights, **change),)))(Tint)
    code, lines = check("tint")
    assert code == 1
    assert [line.split()[1] for line in lines if line.startswith("  FAIL")] == failing
    assert any(message in line for line in lines)


@pytest.mark.usefixtures("registry_sandbox")
def test_check_of_weights_of_another_network(weights: WeightsSpec) -> None:
    path = packaged_path(weights)
    save_file({"color": torch.zeros(5, 2)}, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    registry.register(replace(SPEC, weights=(replace(weights, sha256=digest, size_bytes=path.stat().st_size),)))(Tint)
    code, lines = check("tint")
    assert code == 1
    assert lines[-2].strip().startswith("tint.base: tint.safetensors does not fit")
    assert "color is (5, 2), not (4, 2)" in lines[-2]


def test_check_of_an_unknown_model() -> None:
    code, lines = check("fussion")
    assert code == 2
    assert "did you mean 'fusion'" in lines[0]


# Plug-ins that are broken when they are found; others, `tests/test_registry.py` has

FINE = "import dataclasses as d, zoo; zoo.register(d.replace(SPEC, name='beside'))(Tint)"


@pytest.mark.usefixtures("registry_sandbox")
@pytest.mark.parametrize(
    ("code", "value", "message"),
    [
        ("zoo.register(d.replace(SPEC, name='Bad-Name'))(Tint)", "", "lower_snake_case"),
        ("zoo.register(d.replace(SPEC, summary=''))(Tint)", "", "empty summary"),
        ("zoo.register(d.replace(SPEC, config=3))(Tint)", "", r"no tiny\(\)"),
        ("zoo.register(d.replace(SPEC, name=3))(Tint)", "", "name is of the wrong type"),
        ("zoo.register(d.replace(SPEC, weights=None))(Tint)", "", "weights is of the wrong type"),
        ("zoo.register('tint')(Tint)", "", "'tint'; expected: a ModelSpec"),
        ("zoo.register(SPEC)(zoo.Colorizer)", "", "methods forward, loss, predict_ab"),
        ("zoo.register(SPEC)(Tint)", ":Gone", "AttributeError"),
        ("zoo.register(SPEC)(lambda config: Tint(config))", "", "not a model.*derived from Colorizer"),
        ("zoo.register(SPEC)(type('Other', (), {}))", "", "not a model.*derived from Colorizer"),
        ("this is no Python", "", "SyntaxError"),
    ],
)
def test_a_broken_plug_in_leaves_the_others_be(
    code: str,
    value: str,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    head = f"from {__name__} import SPEC, Tint\n"
    (tmp_path / "broken_plugin.py").write_text(f"import dataclasses as d, zoo\n{head}{code}\n")
    (tmp_path / "fine_plugin.py").write_text(f"{head}{FINE}\n")
    info = tmp_path / "both-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: both\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text(
        f"[{registry.ENTRY_POINT_GROUP}]\na = broken_plugin{value}\nb = fine_plugin\n"
    )
    for module in ("broken_plugin", "fine_plugin"):
        _forget(module, monkeypatch)
    monkeypatch.syspath_prepend(tmp_path)
    before = registry.list_models()
    monkeypatch.setattr(registry, "_discovered", False)
    with caplog.at_level(logging.WARNING, logger="zoo.registry"):
        assert registry.list_models() == sorted([*before, "beside"])
    (record,) = caplog.records
    assert f"'a' (broken_plugin{value}) is left out" in record.getMessage()
    assert re.search(message, record.getMessage())
