"""The trainer: strict configs, deterministic data, learning, exact resume after kill -9, two processes, packaging."""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file

from training import data, package, record
from training.config import DataConfig, read_config
from training.photos import Photo, centre_crops, find_photos, make_crop
from training.train import build, main, starting_weights
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
        ("data.limit=1", "2 or more"),
        ("data.folder_weights=[0]", "above 0"),
        ("data.source_weights.dogs=0", "0.001 to 1000"),
        ("data.source_weights.dogs=few", "data: source_weights.dogs: wrong type"),
        ("data.shear=90", "data.shear"),
        ("data.min_chroma=nan", "finite"),
        ("data.age=nan", "data.age"),
        ("train.lr=-1", "train.lr"),
        ("train.accumulate=0", "1 or more"),
        ("train.statistics=none", "batch, global or frozen"),
        ("data.lanes=0", "1 or more"),
        ("train.clip=0", "train.clip"),
        ("train.betas=[0.9, 1.0]", "train.betas"),
        ("train.weight_decay=inf", "finite"),
        ("log.every=0", "log.every"),
        ("log.valid_size=100", "multiple of 32"),
        ("network.temperature=nan", "network"),
        ("seed=-1", "seed"),
        ("nonsense", "no value"),
        ("network.depth=3", "depth"),
        ("model=fussion", "fusion"),
    ],
)
def test_config_errors_name_the_key(
    tmp_path: Path, override: str, message: str, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path / "c.toml")
    code = main([str(config), "--data", str(photos), "--out", str(tmp_path / "run"), "--set", override])
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
    found = find_photos(config, progress=False)
    assert found.left_out == {"unreadable": 2, "near grey": 1}
    assert len(found.train) + len(found.valid) == 12
    assert not {p.name for p in found.train} & {p.name for p in found.valid}
    assert found.digest == find_photos(config, progress=False).digest
    assert found.digest != find_photos(dataclasses.replace(config, split_seed=1), progress=False).digest


def test_equal_names_and_sizes_are_not_equal_photos(tmp_path: Path) -> None:
    made = []
    for color in ((200, 0, 0), (0, 0, 200)):
        folder = tmp_path / str(color)
        folder.mkdir()
        for i in range(2):
            Image.new("RGB", (64, 64), color).save(folder / f"{i}.bmp")
        config = DataConfig(folders=(str(folder),), valid_share=0.5, workers=0, crop=32)
        photos = find_photos(config, progress=False)
        made.append((photos.digest, data.Crops(photos.train, config, 0, tmp_path / "cache", False).sample_colors(1, 0)))
    assert made[0][0] != made[1][0]
    assert (made[0][1] != made[1][1]).all()


def test_a_photo_found_twice_counts_once(photos: Path, tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    for i in range(4):
        (inner / f"{i}.png").write_bytes((photos / f"{'ab'[i % 2]}__{i}.png").read_bytes())
    folders = (str(tmp_path), str(inner), f"{inner}/../inner")
    found = find_photos(DataConfig(folders=folders, valid_share=0.5, workers=0), progress=False)
    assert len(found.train) + len(found.valid) == 4


def test_odd_names_and_photos_that_break_later_are_no_obstacle(photos: Path, tmp_path: Path) -> None:
    try:
        for i in range(4):
            name = os.fsdecode(b"\xff%d.png" % i)
            (tmp_path / name).write_bytes((photos / "a__0.png").read_bytes())
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    config = DataConfig(folders=(str(tmp_path),), valid_share=0.5, workers=0, crop=32, crops_per_photo=1)
    found = find_photos(config, progress=False)
    assert len(found.digest) == 64
    found.valid[0].path.write_bytes(b"")
    assert len(centre_crops([p.path for p in found.valid], 32)) == 1
    found.train[0].path.write_bytes(b"")
    crops = data.Crops(found.train, config, 0, tmp_path / "cache", False)
    assert crops.skipped == 1
    assert crops.packed is not None
    assert (crops.packed[1][0] == make_crop(found.train[1], 0, config)[1]).all()
    found.valid[1].path.write_bytes(b"")
    with pytest.raises(ConfigError, match="validation"):
        centre_crops([p.path for p in found.valid], 32)


def test_what_is_kept_is_whole(tmp_path: Path) -> None:
    folder = tmp_path / "crops"
    (tmp_path / f".crops.{os.getpid()}").mkdir()  # left by a process that was killed

    def fail(target: Path) -> None:
        (target / "half").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        data.kept(folder, fail)
    assert not folder.exists()
    data.kept(folder, lambda target: (target / "whole").touch())
    assert [p.name for p in folder.iterdir()] == ["whole"]
    data.kept(folder, fail)


@pytest.mark.slow
def test_workers_make_the_same_crops(photos: Path, tmp_path: Path) -> None:
    listed = [Photo(photos / "a__0.png", str(i), "a", 1.0) for i in range(64)]
    config = DataConfig(crop=32, crops_per_photo=1, workers=1)
    one = data.Crops(listed, config, 0, tmp_path / "one", False)
    other = data.Crops(listed, dataclasses.replace(config, workers=0), 0, tmp_path / "other", False)
    assert one.packed is not None
    assert other.packed is not None
    assert all((a == b).all() for a, b in zip(one.packed, other.packed, strict=True))


def test_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        find_photos(DataConfig(folders=(str(tmp_path / "nowhere"),)), progress=False)


def test_crops_are_pure_and_aged_in_lightness_only(photos: Path) -> None:
    photo = Photo(photos / "a__0.png", "a__0.png", "a", 1.0)
    plain = DataConfig(crop=64, rotation=10, shear=10)
    L, ab = make_crop(photo, 5, plain)
    again = make_crop(photo, 5, plain)
    assert (again[0] == L).all()
    assert (ab == again[1]).all()
    assert (make_crop(photo, 6, plain)[0] != L).any()
    aged_L, aged_ab = make_crop(photo, 5, dataclasses.replace(plain, age=1.0))
    assert (aged_ab == ab).all()
    assert (aged_L != L).any()
    assert L.min() > 20  # black corners would mean that the crop left the photo


def test_balance_draws_sources_alike(caplog: pytest.LogCaptureFixture) -> None:
    photos = [Photo(Path(f"{s}{i}"), "", s, 1.0) for s, n in (("a", 9), ("b", 1)) for i in range(n)]
    weights = data.photo_weights(photos, DataConfig(source_balance=1.0))
    assert weights[:9].sum() == pytest.approx(weights[9].item())
    weights = data.photo_weights(photos, DataConfig(source_weights={"a": 0.5}))
    assert weights.tolist() == [0.5] * 9 + [1.0]
    assert not caplog.records
    data.photo_weights(photos, DataConfig(source_weights={"a": 0.5, "dogs": 2.0}))
    assert "no photos of dogs; sources here: a, b" in caplog.text


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
    subprocess.run([*base, "--out", str(whole)], cwd=ROOT, check=True, capture_output=True)
    process = subprocess.Popen(
        [*base, "--out", str(cut)], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
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
    refused = subprocess.run([*base, "--out", str(cut)], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 2
    assert "--resume" in refused.stderr
    subprocess.run([*base, "--out", str(cut), "--resume"], cwd=ROOT, check=True, capture_output=True)
    one, other = losses(whole), losses(cut)
    assert {s: other[s] for s in one} == one
    assert len((cut / "log.jsonl").read_text().splitlines()) == len(other)


def test_processes_that_do_not_see_each_other_are_refused(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = read_config(write_config(tmp_path / "c.toml"))
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(ConfigError, match="do not see each other"):
        Trainer(config, build(config, None), tmp_path / "run")


def test_a_finished_run_is_not_resumed(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(write_config(tmp_path / "c.toml", steps=2)), "--data", str(photos), "--out", str(tmp_path / "run")]
    assert main(command) == 0
    before = (tmp_path / "run" / "checkpoint.pt").read_bytes()
    assert main([*command, "--resume"]) == 2
    assert "complete" in capsys.readouterr().err
    assert (tmp_path / "run" / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("content", [b"", bytes(20_000), b"PK" + bytes(99), None])
def test_a_damaged_checkpoint_is_named(
    content: bytes | None, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [str(write_config(tmp_path / "c.toml", steps=2)), "--data", str(photos), "--out", str(tmp_path / "run")]
    assert main(command) == 0
    file = tmp_path / "run" / "checkpoint.pt"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert main([*command, "--resume"]) == 2
    said = capsys.readouterr().err
    assert "checkpoint.pt is damaged" in said
    assert "weights_only" not in said


def test_a_folder_has_one_run_at_a_time_and_a_log_of_what_counts(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    command = [str(write_config(tmp_path / "c.toml", steps=3)), "--data", str(photos), "--out", str(run)]
    with record.alone(tmp_path):  # of another folder
        run.mkdir()
        with record.alone(run):
            assert main(command) == 2
        assert "another process trains there" in capsys.readouterr().err
        (run / "log.jsonl").write_text('{"step": 1, "loss": 9.0}\n{"step": 2, "lo')  # as a killed run leaves it
        assert main(command) == 0
    assert sorted(losses(run)) == [1, 2, 3]
    assert 9.0 not in losses(run).values()


@pytest.mark.parametrize("overrides", [["data.crops_per_photo=0"], ["train.freeze_backbone=true"]])
def test_fresh_crops_and_cached_features_train_too(overrides: list[str], photos: Path, tmp_path: Path) -> None:
    network = 'encoder = "test_efficientnet"\ndecoder_widths = [8, 8, 8]'
    config = write_config(tmp_path / "c.toml", model="fusion", steps=3, network=network)
    if "freeze" in overrides[0]:
        overrides = [*overrides, "train.cache_features=true"]
    sets = [word for override in overrides for word in ("--set", override)]
    assert main([str(config), "--data", str(photos), "--out", str(tmp_path / "run"), *sets]) == 0
    assert len(losses(tmp_path / "run")) == 3
    assert any((tmp_path / "cache").glob("features-*")) == ("freeze" in overrides[0])


def test_ctrl_c_ends_the_run_between_steps(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = [str(write_config(tmp_path / "c.toml")), "--data", str(photos), "--set", "data.jitter=true"]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    learn, handler = Trainer._learn, signal.getsignal(signal.SIGINT)

    def interrupted(self: Trainer, batch: Any) -> Any:
        if self.step == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return learn(self, batch)

    monkeypatch.setattr(Trainer, "_learn", interrupted)
    cut = [*command, "--out", str(tmp_path / "cut")]
    assert main(cut) == 130
    assert signal.getsignal(signal.SIGINT) is handler
    assert torch.load(tmp_path / "cut" / "checkpoint.pt", weights_only=True)["step"] == 4
    monkeypatch.undo()
    record = (tmp_path / "cut" / "run.json").read_bytes()
    assert main([*cut, "--resume"]) == 0
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert (tmp_path / "cut" / "run.json").read_bytes() == record


def test_models_that_draw_random_numbers_draw_by_seed_and_step(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.models.regression import Regression

    loss, drawn = Regression.loss, list[float]()

    def noisy(self: Any, batch: Any, role: str = "colorizer") -> Any:
        drawn.append(torch.rand(()).item())
        return loss(self, batch, role)

    monkeypatch.setattr(Regression, "loss", noisy)
    config = str(write_config(tmp_path / "c.toml", steps=3))
    for run in ("one", "two"):
        assert main([config, "--data", str(photos), "--out", str(tmp_path / run)]) == 0
        torch.rand(7)
    assert drawn[:3] == drawn[3:]
    assert len(set(drawn)) == 3


def test_init_takes_a_model_of_the_zoo() -> None:
    config = read_config(ROOT / "training/configs/classification.toml", ["train.pretrained=false"])
    start = starting_weights("classification")
    assert torch.equal(build(config, start).state_dict()["class_weights"], start[0]["class_weights"].float())
    assert start[1] is not None
    assert len(start[1]) == 64


@pytest.mark.parametrize("content", [None, b"not weights"])
def test_bad_init_and_bad_run_folder_are_refused(
    content: bytes | None, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "w.safetensors"
    if content:
        weights.write_bytes(content)
    command = [str(write_config(tmp_path / "c.toml")), "--data", str(photos)]
    assert main([*command, "--out", str(tmp_path / "run"), "--init", str(weights)]) == 2
    assert "w.safetensors" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "c.toml")]) == 2
    assert "c.toml" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "run"), "--init", str(weights), "--resume"]) == 2
    assert "--resume" in capsys.readouterr().err


def test_fine_tuning_starts_from_the_given_weights(photos: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", steps=4)
    first = ["--data", str(photos), "--out", str(tmp_path / "one")]
    assert main([str(config), *first]) == 0
    weights = tmp_path / "one" / "weights.safetensors"
    second = [str(config), "--data", str(photos), "--out", str(tmp_path / "two"), "--init", str(weights)]
    assert main([*second, "--set", "train.lr=0"]) == 0
    one, two = (torch.load(tmp_path / n / "checkpoint.pt", weights_only=True) for n in ("one", "two"))
    assert torch.equal(one["ema"]["module.head.weight"], two["model"]["head.weight"])
    record = json.loads((tmp_path / "two" / "run.json").read_text())
    assert record["init"] == {"from": str(weights), "sha256": hashlib.sha256(weights.read_bytes()).hexdigest()}
    assert record["folders"] == [photos.name]


def test_package_enters_the_manifest(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = write_config(tmp_path / "c.toml", steps=2)
    run = tmp_path / "run"
    assert main([str(config), "--data", str(photos), "--out", str(run)]) == 0
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


def test_package_takes_the_mean_of_runs_and_later_settings(photos: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", steps=2)
    runs = [tmp_path / "first", tmp_path / "second"]
    for seed, run in enumerate(runs):
        assert main([str(config), "--data", str(photos), "--out", str(run), "--set", f"seed={seed}"]) == 0
    manifest = tmp_path / "MANIFEST.toml"
    kwargs: dict[str, Any] = {"license": "MIT", "commercial_use": False, "default": False, "manifest": manifest}
    target = package.package(runs[0], "regression", "one", mean_with=[f"{runs[1]}:3"], changes=["beta=3"], **kwargs)
    packed, *states = (load_file(f) for f in (target, *(run / "weights.safetensors" for run in runs)))
    for key, value in packed.items():
        mean = states[0][key].float() / 4 + states[1][key].float() * 3 / 4
        torch.testing.assert_close(value.float(), mean, atol=1e-3, rtol=1e-3)
    entry = tomllib.loads(manifest.read_text())["regression"]["one"]
    assert entry["init"] == "then the mean of this run (1) and second (3)"
    assert entry["config"]["beta"] == 3
    for change in ("beta", "nonsense=1", "beta=-1"):
        with pytest.raises(ConfigError):
            package.package(runs[0], "regression", "one", changes=[change], **kwargs)
    with pytest.raises(ConfigError, match="not a run"):
        package.package(runs[0], "regression", "one", mean_with=[str(tmp_path)], **kwargs)
    with pytest.raises(ConfigError, match="weight"):
        package.package(runs[0], "regression", "one", mean_with=[f"{runs[1]}:-1"], **kwargs)


def test_averaged_weights_get_statistics_of_their_own(photos: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path / "c.toml", steps=3)
    assert (
        main([str(config), "--data", str(photos), "--out", str(tmp_path / "r"), "--set", "log.evaluate_every=3"]) == 0
    )
    averaged = load_file(tmp_path / "r" / "weights.safetensors")
    moving = torch.load(tmp_path / "r" / "checkpoint.pt", weights_only=True)["model"]
    variances = [key for key in averaged if key.endswith("running_var")]
    assert variances
    assert all((averaged[key] != moving[key]).any() for key in variances)
    assert all(averaged[key].isfinite().all() and (averaged[key] != 1).any() for key in variances)


def test_package_refuses_what_would_break_the_zoo(photos: Path, tmp_path: Path) -> None:
    run, manifest = tmp_path / "run", tmp_path / "weights" / "MANIFEST.toml"
    manifest.parent.mkdir()
    assert main([str(write_config(tmp_path / "c.toml", steps=2)), "--data", str(photos), "--out", str(run)]) == 0

    def pack(tag: str = "v1.0", data: str = 'm\u00fcde "alte" Fotos', stopped: bool = False) -> None:
        package.package(
            run,
            "regression",
            tag,
            license="Apache-2.0",
            commercial_use=False,
            default=False,
            training_data=[data],
            stopped=stopped,
            manifest=manifest,
        )

    pack()
    before = manifest.read_bytes()
    entry = tomllib.loads(before.decode())["regression"]["v1.0"]
    assert entry["training_data"] == ['m\u00fcde "alte" Fotos']
    for arguments in ({"tag": "t\u00e4g"}, {"tag": "../x"}, {"tag": "two", "data": "\x7f"}, {"data": "\udcff"}):
        with pytest.raises(ConfigError):
            pack(**arguments)
    state = load_file(run / "weights.safetensors")
    save_file(state | {"head.weight": state["head.weight"] * 0 + 1e6}, run / "weights.safetensors")
    with pytest.raises(ConfigError, match="fp16"):
        pack()
    (run / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(ConfigError, match="not a run"):
        pack()
    save_file(state, run / "weights.safetensors")
    record = (run / "run.json").read_text()
    for text, message in (("{", "not a run"), ("[]", "damaged"), ("{}", "damaged")):
        (run / "run.json").write_text(text)
        with pytest.raises(ConfigError, match=message):
            pack()
    (run / "run.json").write_text(record)
    (run / "valid.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(ConfigError, match="not finished"):
        pack()
    assert manifest.read_bytes() == before
    pack(stopped=True)
    entry = tomllib.loads(manifest.read_text())["regression"]["v1.0"]
    assert (entry["steps"], entry["planned_steps"]) == (1, 2)


def read_network(run: Path) -> object:
    from zoo.models.regression import RegressionConfig
    from zoo.spec import config_from_mapping

    return config_from_mapping(RegressionConfig, json.loads((run / "run.json").read_text())["network"], "run.json")
