"""The trainer: strict configs, deterministic data, learning, exact resume after kill -9, two processes, packaging."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from training import data, package
from training.config import DataConfig, read_config
from training.train import build, main
from training.trainer import Trainer
from zoo.errors import ConfigError
from zoo.spec import WeightsSpec

ROOT = Path(__file__).parent.parent
CONFIG = """
model = "{model}"
[network]
{network}
[data]
crop = 64
crops_per_photo = 2
valid_share = 0.25
workers = 0
age = 0.3
provenance = ["synthetic pictures"]
[train]
steps = {steps}
batch_size = 4
warmup = 2
pretrained = false
precision = "fp32"
[log]
every = 1
evaluate_every = 100
checkpoint_every = 3
valid_size = 64
"""
TINY = 'encoder = "plain"\nencoder_widths = [8, 8, 8, 8]\nencoder_depth = 1\ndecoder_widths = [8, 8, 8]'


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures, red dark discs on a bright blue ground, with one grey and two broken files among them."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(12):
        image = Image.new("RGB", (120, 96), (90, 150, 220))
        x, y = rng.integers(10, 60, 2)
        ImageDraw.Draw(image).ellipse([x, y, x + 40, y + 30], (150, 30, 20))
        image.save(folder / f"{'ab'[i % 2]}__{i}.png")
    Image.new("RGB", (120, 96), (90, 90, 90)).save(folder / "grey.png")
    (folder / "empty.jpg").touch()
    (folder / "broken.png").write_bytes((folder / "a__0.png").read_bytes()[:100])
    return folder


def write_config(path: Path, *, model: str = "regression", steps: int = 6, network: str = TINY) -> Path:
    path.write_text(CONFIG.format(model=model, steps=steps, network=network))
    return path


def losses(run: Path) -> dict[int, float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines}


@pytest.mark.parametrize("path", sorted((ROOT / "training/configs").glob("*.toml")), ids=lambda p: p.stem)
def test_shipped_configs_build_their_network(path: Path) -> None:
    config = read_config(path, ["train.pretrained=false"])
    model = build(config, None)
    assert sum(p.numel() for p in model.parameters()) <= 8e6


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.stepz=3", "stepz"),
        ("train.steps=many", "wrong type"),
        ("train.steps=0", "1 or more"),
        ("data.crop=50", "multiple of 32"),
        ("data.zoom=[1]", "wrong type"),
        ("data.flip=1", "wrong type"),
        ("nonsense", "no value"),
        ("network.depth=3", "depth"),
        ("model=fussion", "fusion"),
    ],
)
def test_config_errors_name_the_key(
    tmp_path: Path, override: str, message: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "c.toml")
    code = main([str(config), "--data", str(photos), "--run", str(tmp_path / "run"), "--set", override])
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_missing_value_and_near_matches(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('model = "fusion"\n[train]\nbatch_sise = 3\n')
    with pytest.raises(ConfigError, match="batch_size"):
        read_config(tmp_path / "c.toml")
    (tmp_path / "c.toml").write_text('model = "fusion"\n[train]\n')
    with pytest.raises(ConfigError, match="steps"):
        read_config(tmp_path / "c.toml")


def test_split_leaves_out_what_cannot_teach(photos: Path) -> None:
    config = DataConfig(folders=(str(photos),), valid_share=0.25, workers=0)
    found = data.find_photos(config, progress=False)
    assert found.left_out == {"unreadable": 2, "near grey": 1}
    assert len(found.train) + len(found.valid) == 12
    assert not {p.name for p in found.train} & {p.name for p in found.valid}
    assert found.digest == data.find_photos(config, progress=False).digest
    assert found.digest != data.find_photos(dataclasses.replace(config, split_seed=1), progress=False).digest


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        data.find_photos(DataConfig(folders=(str(tmp_path / "nowhere"),)), progress=False)


def test_crops_are_pure_and_aged_in_lightness_only(photos: Path) -> None:
    photo = data.Photo(photos / "a__0.png", "a__0.png", "a", 1.0)
    plain = DataConfig(crop=64, rotation=10, shear=10)
    L, ab = data.make_crop(photo, 5, plain)
    again = data.make_crop(photo, 5, plain)
    assert (again[0] == L).all()
    assert (ab == again[1]).all()
    assert (data.make_crop(photo, 6, plain)[0] != L).any()
    aged_L, aged_ab = data.make_crop(photo, 5, dataclasses.replace(plain, age=1.0))
    assert (aged_ab == ab).all()
    assert (aged_L != L).any()
    assert L.min() > 20  # black corners would mean that the crop left the photo


def test_balance_draws_sources_alike() -> None:
    photos = [data.Photo(Path(f"{s}{i}"), "", s, 1.0) for s, n in (("a", 9), ("b", 1)) for i in range(n)]
    weights = data.photo_weights(photos, DataConfig(source_balance=1.0))
    assert weights[:9].sum() == pytest.approx(weights[9].item())


@pytest.mark.parametrize("model", ["regression", "classification", "fusion"])
def test_training_lowers_the_loss(model: str, photos: Path, tmp_path: Path) -> None:
    network = TINY if model != "fusion" else 'encoder = "test_efficientnet"\ndecoder_widths = [8, 8, 8]'
    config = read_config(write_config(tmp_path / "c.toml", model=model, steps=60, network=network), ["train.lr=1e-2"])
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, folders=(str(photos),)))
    figures = Trainer(config, build(config, None), tmp_path / "run").fit()
    history = losses(tmp_path / "run")
    assert np.mean([history[s] for s in range(56, 61)]) < 0.7 * history[1]
    assert any("gain" in k for k in figures)
    with Image.open(next((tmp_path / "run" / "grids").iterdir())) as grid:
        assert grid.width > 200
    assert (tmp_path / "run" / "weights.safetensors").exists()


@pytest.mark.slow
def test_resume_after_kill_gives_the_same_losses(photos: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", steps=30)
    base = [sys.executable, "-m", "training.train", str(config), "--data", str(photos), "--set", "data.jitter=true"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    subprocess.run([*base, "--run", str(whole)], cwd=ROOT, check=True, capture_output=True)
    process = subprocess.Popen(
        [*base, "--run", str(cut)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while not (cut / "checkpoint.pt").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (cut / "checkpoint.pt").exists()
    killed_at = torch.load(cut / "checkpoint.pt", weights_only=True)["step"]
    if killed_at == 30:
        pytest.fail("the run was over before it could be killed: give it more steps")
    refused = subprocess.run([*base, "--run", str(cut)], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    subprocess.run([*base, "--run", str(cut), "--resume"], cwd=ROOT, check=True, capture_output=True)
    one, other = losses(whole), losses(cut)
    assert {s: other[s] for s in one} == one


@pytest.mark.slow
def test_two_processes_share_one_batch(photos: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", steps=2)
    command = ["-m", "training.train", str(config), "--data", str(photos)]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    both = subprocess.run(
        [*torchrun, *command, "--run", str(tmp_path / "two")], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert both.returncode == 0, both.stderr[-2000:]
    assert json.loads((tmp_path / "two" / "run.json").read_text())["processes"] == 2
    del environment["ACCELERATE_USE_CPU"]
    alone = subprocess.run(
        [*torchrun, *command, "--run", str(tmp_path / "alone")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    if not torch.cuda.is_available():
        assert alone.returncode != 0
        assert "do not see each other" in alone.stderr


def test_fine_tuning_starts_from_the_given_weights(photos: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", steps=4)
    first = ["--data", str(photos), "--run", str(tmp_path / "one")]
    assert main([str(config), *first]) == 0
    weights = tmp_path / "one" / "weights.safetensors"
    second = [str(config), "--data", str(photos), "--run", str(tmp_path / "two"), "--init", str(weights)]
    assert main([*second, "--set", "train.lr=0"]) == 0
    one, two = (torch.load(tmp_path / n / "checkpoint.pt", weights_only=True) for n in ("one", "two"))
    assert torch.equal(one["ema"]["module.head.weight"], two["model"]["head.weight"])


def test_package_enters_the_manifest(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_config(tmp_path / "c.toml", steps=2)
    run = tmp_path / "run"
    assert main([str(config), "--data", str(photos), "--run", str(run)]) == 0
    manifest = tmp_path / "weights" / "MANIFEST.toml"
    manifest.parent.mkdir()
    kwargs = {"license": "Apache-2.0", "commercial_use": False, "manifest": manifest}
    package.package(run, "regression", "one", default=False, **kwargs)  # type: ignore[arg-type]
    package.package(run, "regression", "two", default=False, **kwargs)  # type: ignore[arg-type]
    assert list(tomllib.loads(manifest.read_text())["regression"]) == ["one", "two"]
    package.package(run, "regression", "two", default=True, **kwargs)  # type: ignore[arg-type]
    assert list(tomllib.loads(manifest.read_text())["regression"]) == ["two", "one"]

    from zoo import spec
    from zoo.models.regression import RegressionConfig

    monkeypatch.setattr(spec, "WEIGHTS_DIR", manifest.parent)
    weights: tuple[WeightsSpec, ...] = spec.packaged_weights("regression", RegressionConfig)
    assert weights[0].tag == "two"
    assert weights[0].config == read_network(run)
    assert weights[0].training_data == ("synthetic pictures",)
    with pytest.raises(ConfigError, match="another model"):
        package.package(run, "fusion", "one", default=False, **kwargs)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="not a run"):
        package.package(tmp_path, "regression", "one", default=False, **kwargs)  # type: ignore[arg-type]


def read_network(run: Path) -> object:
    from zoo.models.regression import RegressionConfig
    from zoo.spec import config_from_mapping

    return config_from_mapping(RegressionConfig, json.loads((run / "run.json").read_text())["network"], "run.json")
