"""Training is the same on one process and on two, in one part and in several, from folders and from streams."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from many_runs import run_all
from PIL import Image
from safetensors.torch import load_file

from training.shards import write_shards
from training.train import main
from zoo import color
from zoo.colorizer import Batch, Colorizer, Loss
from zoo.models import _losses
from zoo.models.fusion import Fusion, FusionConfig
from zoo.models.zhang import simulated_hints

ROOT = Path(__file__).parent.parent
CONFIG = """
model = "fusion"
[network]
encoder = "test_efficientnet"
decoder_widths = [8, 8, 8]
drop_path = 0.3
psnr_weight = 1.0
perceptual_weight = {sets}
moments_weight = {sets}
[data]
crop = 32
crops_per_photo = 1
valid_share = 0.2
workers = 0
age = 0.3
jitter = true
cut_mix = 0.6
lanes = 4
shuffle = 3
[train]
steps = 4
batch_size = 8
lr = 2e-3
warmup = 2
pretrained = false
precision = "fp32"
statistics = "frozen"
[log]
every = 1
evaluate_every = 100
valid_photos = 2
valid_size = 32
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures, each of two colours of its own."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(30):
        small = rng.integers(0, 255, (3, 3, 3), dtype=np.uint8)
        small[0] = (200, 60, 40)
        Image.fromarray(small).resize((64, 48), Image.Resampling.BICUBIC).save(folder / f"{i:02d}.png")
    return folder


@pytest.fixture(scope="module")
def shards(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shards") / "made"
    record = write_shards([str(photos)], out, size=40, per_shard=5, workers=0)
    assert len(record["shards"]) == 6
    return out


def arguments(folder: Path, run: str, source: Path, *more: str, sets: float = 0.0, resume: bool = False) -> list[str]:
    config = folder / f"{sets}.toml"
    config.write_text(CONFIG.format(sets=sets))
    named = ["--set", f"data.shards={source}"] if (source / "shards.json").exists() else ["--data", str(source)]
    settings = [word for setting in more for word in ("--set", setting)]
    return [str(config), *named, "--out", str(folder / run), *settings, *(["--resume"] if resume else [])]


def torchrun(script: list[str]) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *script]


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


@pytest.fixture(scope="module")
def runs(photos: Path, shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same runs by one process, by two, and begun by one and ended by the other, each in its folder."""
    folder = tmp_path_factory.mktemp("runs")
    term = 128 + signal.SIGTERM
    alone = [
        {"arguments": arguments(folder, "one", photos, sets=0.5)},
        {"arguments": arguments(folder, "one_stream", shards)},
        {"arguments": arguments(folder, "one_two_stream", shards), "stop": [0, 1]},
    ]
    assert run_all(alone, 0) == [0, 0, term]
    together = [
        {"arguments": arguments(folder, "two", photos, sets=0.5)},
        {"arguments": arguments(folder, "one_two_stream", shards, "train.accumulate=2", resume=True)},
        {"arguments": arguments(folder, "two_one", photos, sets=0.5), "stop": [1, 1]},
        {"arguments": arguments(folder, "two_one_stream", shards), "stop": [1, 1]},
    ]
    plan = folder / "plan.json"
    plan.write_text(json.dumps(together))
    done = subprocess.run(
        torchrun([str(ROOT / "tests/many_runs.py"), str(plan)]),
        env=ENVIRONMENT,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    codes = [json.loads(plan.with_suffix(f".{rank}.json").read_text()) for rank in (0, 1)]
    assert codes == [[0, 0, term, term]] * 2, done.stderr[-3000:]
    for run in ("two_one", "two_one_stream"):
        assert torch.load(folder / run / "checkpoint.pt", weights_only=True)["step"] == 2
    after = [
        {"arguments": arguments(folder, "two_one", photos, sets=0.5, resume=True)},
        {"arguments": arguments(folder, "two_one_stream", shards, resume=True)},
    ]
    assert run_all(after, 0) == [0, 0]
    return folder


def lines(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def difference(one: Path, other: Path) -> float:
    """The largest difference between two runs' losses and their parts, step by step, relative."""
    first, second = lines(one), lines(other)
    assert [line["step"] for line in first] == [line["step"] for line in second] == [1, 2, 3, 4]
    keys = first[0].keys() - {"time", "images_per_second", "waiting_for_data"}
    assert {"loss", "classes", "colors", "psnr"} <= keys
    return max(abs(a[k] - b[k]) / max(abs(a[k]), 1e-2) for a, b in zip(first, second, strict=True) for k in keys)


def check_equal(one: Path, other: Path) -> None:
    assert difference(one, other) < 1e-5
    first, second = (torch.load(run / "checkpoint.pt", weights_only=True) for run in (one, other))
    moved = 0.0
    for name, value in first["model"].items():
        torch.testing.assert_close(
            second["model"][name], value, atol=2e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
        )
        moved = max(moved, float((first["ema"][f"module.{name}"] - value).abs().max()) if value.ndim else 0.0)
    assert moved > 1e-4  # the weights were trained at all
    averaged, other_averaged = (load_file(run / "weights.safetensors") for run in (one, other))
    torch.testing.assert_close(averaged, other_averaged, atol=2e-5, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("run", ["two", "two_one"])
def test_two_processes_learn_as_one_does(run: str, runs: Path) -> None:
    check_equal(runs / "one", runs / run)


@pytest.mark.slow
@pytest.mark.parametrize("run", ["one_two_stream", "two_one_stream"])
def test_two_processes_read_streams_as_one_does(run: str, runs: Path) -> None:
    check_equal(runs / "one_stream", runs / run)


def test_a_batch_in_parts_is_the_batch_where_statistics_are_frozen(photos: Path, tmp_path: Path) -> None:
    for statistics in ("frozen", "batch"):
        for parts in (1, 4):
            more = (f"train.accumulate={parts}", f"train.statistics={statistics}")
            assert main(arguments(tmp_path, f"{statistics}{parts}", photos, *more)) == 0
    check_equal(tmp_path / "frozen1", tmp_path / "frozen4")
    assert difference(tmp_path / "batch1", tmp_path / "batch4") > 1e-2


@pytest.mark.slow
def test_ctrl_c_to_torchrun_ends_all_with_a_checkpoint(photos: Path, tmp_path: Path) -> None:
    command = arguments(tmp_path, "cut", photos, "train.steps=100000", "log.every=1")
    run, errors = tmp_path / "cut", tmp_path / "errors"
    with errors.open("w") as stream:
        process = subprocess.Popen(
            torchrun(["-m", "training.train", *command]),
            env=ENVIRONMENT,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 150
        while not (run / "log.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (run / "log.jsonl").exists(), errors.read_text()[-2000:]
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does, and torchrun hands it on to the processes
        assert process.wait(100) != 0
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert "continue with --resume" in errors.read_text()
    checkpoint = torch.load(tmp_path / "cut" / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == lines(tmp_path / "cut")[-1]["step"]


def test_moments_of_a_batch_in_parts_are_told_of(
    photos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert main(arguments(tmp_path, "run", photos, "train.accumulate=2", "train.steps=1", sets=0.5)) == 0
    assert "moments look at a batch as a set" in caplog.text
    assert "of 4 crops" in caplog.text


def test_what_is_set_against_what_splits(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments(tmp_path, "run", photos, "train.accumulate=3")) == 2
    assert "a multiple of 3" in capsys.readouterr().err
    if not torch.cuda.is_available():
        assert main(arguments(tmp_path, "run", photos, "train.statistics=global")) == 2
        assert "for GPUs" in capsys.readouterr().err


def test_a_weighted_loss_is_weighted_over_the_whole_batch(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loss(self: Any, batch: Batch, role: str = "colorizer") -> Loss:
        chroma = batch.ab.norm(dim=1, keepdim=True)
        weight = (chroma > 30).float() + 0.01  # that of a position; the sum differs from part to part
        error = (weight * (self(batch.L)[0] - batch.ab).abs()).sum() / weight.sum()
        return Loss(error, {"error": error}, weight=weight.sum())

    monkeypatch.setattr(Fusion, "loss", loss)
    found = []
    for parts in (1, 4):
        assert main(arguments(tmp_path, f"{parts}", photos, f"train.accumulate={parts}")) == 0
        log = lines(tmp_path / f"{parts}")
        assert all(line["error"] == pytest.approx(line["loss"], rel=1e-5) for line in log)
        found.append([line["loss"] for line in log])
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_losses_of_the_zoo_are_means_over_photos() -> None:
    lab = color.rgb_to_lab(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    L, ab = lab[:, :1], lab[:, 1:, ::4, ::4].round()
    torch.manual_seed(0)
    options = {**vars(FusionConfig.tiny()), "psnr_weight": 1.0, "perceptual_weight": 1.0, "taught_weight": 1.0}
    model: Colorizer[Any] = Fusion(FusionConfig(**options)).eval()
    model.fit_statistics(ab.permute(0, 2, 3, 1).reshape(-1, 2))
    taught = {"faithful": ab * 0.5, "vivid": ab * 0.8}
    batch = Batch(L, ab, taught=taught)
    halves = [Batch(L[s], ab[s], taught={k: v[s] for k, v in taught.items()}) for s in (slice(0, 2), slice(2, 4))]
    with torch.no_grad():
        whole, *split = (model.loss(b) for b in (batch, *halves))
    assert len({float(loss.total) for loss in split}) == 2
    for name, value in whole.parts.items():
        mean = sum(float(loss.parts[name]) for loss in split) / 2
        assert (name == "moments") == (abs(mean - float(value)) > 1e-3 * abs(mean)), name
    both = [
        simulated_hints(ab, (32, 32), 0.3, torch.arange(4)),
        simulated_hints(ab[2:], (32, 32), 0.3, torch.arange(2, 4)),
    ]
    assert torch.equal(both[0][2:], both[1])
    assert both[0].any()


def test_the_slope_of_moments_is_that_of_all_processes_together(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = (torch.rand(8, 16, generator=torch.Generator().manual_seed(i)).requires_grad_(i == 0) for i in (0, 1))
    (slope,) = torch.autograd.grad(_losses._discrepancy(x, y), x)
    slopes = []
    for rank in (0, 1):  # each process has half of the rows
        own = x.detach()[rank * 4 : rank * 4 + 4].requires_grad_()

        def gather(rows: list[torch.Tensor], _: torch.Tensor) -> None:
            for i, row in enumerate(rows):
                row.copy_(x.detach()[i * 4 : i * 4 + 4])

        monkeypatch.setattr(_losses, "_processes", lambda: 2)
        monkeypatch.setattr(_losses.distributed, "all_gather", gather)
        monkeypatch.setattr(_losses.distributed, "get_rank", lambda rank=rank: rank)
        slopes.append(torch.autograd.grad(_losses._discrepancy(_losses._of_all_processes(own), y), own)[0] / 2)
    torch.testing.assert_close(torch.cat(slopes), slope)
