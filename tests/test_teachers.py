"""Batches mixed at every step, and models that teach another."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.layers import DropPath
from torch import Tensor, nn

from training import augment
from training.teachers import Teachers, load_run
from training.train import main
from zoo.colorizer import Batch
from zoo.errors import ConfigError
from zoo.models.fusion import Fusion, FusionConfig

PHOTOS = Path(__file__).parent / "photos"
CONFIG = """
model = "fusion"
[network]
encoder = "test_efficientnet"
decoder_widths = [8, 8, 8]
taught_weight = 1.0
[data]
limit = 12
valid_share = 0.25
crop = 64
crops_per_photo = 1
workers = 0
cut_mix = 0.5
[train]
steps = {steps}
batch_size = 4
pretrained = false
precision = "fp32"
[log]
every = 1
valid_size = 64
"""


def test_a_pasted_rectangle_brings_its_own_colors() -> None:
    one, other = ((np.full((64, 96), i), np.full((2, 16, 24), i)) for i in (1, 2))
    mixed = 0
    for seed in range(40):
        L, ab = augment.cut_mix(*one, other, 0.5, seed)
        assert (ab[0].repeat(4, 0).repeat(4, 1) == L).all()
        assert (ab[0] == ab[1]).all()
        assert (augment.cut_mix(*one, other, 0.5, seed)[0] == L).all()
        pasted = (L == 2).mean()
        if pasted:
            mixed += 1
            assert 1 / 20 <= pasted <= 12 / 20
    assert 8 < mixed < 32
    assert (one[0] == 1).all()
    assert (augment.cut_mix(*one, other, 0.0, 1)[0] == 1).all()


def test_what_is_drawn_for_a_crop_is_the_same_in_any_batch() -> None:
    L = torch.full((4, 1, 32, 32), 50.0)
    seeds = torch.tensor([augment.seed_of(0, 3, name) for name in "abcd"])
    whole = augment.jitter(L, seeds)
    parts = torch.cat([augment.jitter(L[:1], seeds[:1]), augment.jitter(L[1:], seeds[1:])])
    assert torch.equal(whole, parts)
    assert len(whole.flatten(1).mean(1).unique()) == 4
    assert augment.seed_of(0, 3, "a") != augment.seed_of(0, 4, "a") != augment.seed_of(1, 4, "a")

    drop = DropPath(0.5).train()
    draws = augment.PhotoDraws(nn.Sequential(nn.Identity(), drop))
    rows = torch.ones(64, 3)
    many = torch.arange(64)
    draws.renew(many, rows.device)
    kept = drop(rows)
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert 16 < (kept[:, 0] > 0).sum() < 48
    draws.renew(many[50:], rows.device)
    assert torch.equal(drop(rows[50:]), kept[50:])
    assert torch.equal(drop.eval()(rows), rows)


def tiny(seed: int, **options: Any) -> Fusion:
    torch.manual_seed(seed)
    return Fusion(FusionConfig(encoder="test_efficientnet", decoder_widths=(8, 8, 8), **options)).eval()


@pytest.fixture
def L() -> Tensor:
    return torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 100


def test_teachers_answer_with_their_mean(L: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"one": tiny(1), "two": tiny(2)}
    monkeypatch.setattr("zoo.load", lambda name, backend: models[name])
    teachers = Teachers({"faithful": ("one", "two"), "vivid": ("two",)}, tiny(3), torch.device("cpu"))
    taught = teachers.answers(L, torch.Size((16, 16)))
    with torch.no_grad():
        answers = [m.predict_ab(L, style="faithful") for m in models.values()]
        vivid = models["two"].predict_ab(L, style="vivid")
    torch.testing.assert_close(taught["faithful"], (answers[0] + answers[1]) / 2)
    torch.testing.assert_close(taught["vivid"], vivid)
    with pytest.raises(ConfigError, match="bold"):
        Teachers({"bold": ("one",)}, tiny(3), torch.device("cpu"))
    with pytest.raises(ConfigError, match="not a run"):
        Teachers({"vivid": (str(PHOTOS),)}, tiny(3), torch.device("cpu"))


def test_a_pupil_comes_to_answer_as_it_is_taught(L: Tensor) -> None:
    pupil = tiny(3, taught_weight=1.0).train()
    taught = {style: torch.full((4, 2, 16, 16), value) for style, value in (("faithful", 20.0), ("vivid", -30.0))}
    batch = Batch(L, torch.zeros(4, 2, 16, 16), taught=taught)
    optimizer = torch.optim.Adam(pupil.parameters(), 3e-3)
    before = pupil.loss(batch).parts
    for _ in range(30):
        optimizer.zero_grad()
        pupil.loss(batch).total.backward()
        optimizer.step()
    after = pupil.loss(batch).parts
    for style in taught:
        assert after[f"taught {style}"] < 0.7 * before[f"taught {style}"]


def test_a_finished_run_teaches_the_next(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(CONFIG.format(steps=2))
    first = [str(config), "--data", str(PHOTOS)]
    assert main([*first, "--out", str(tmp_path / "one")]) == 0
    assert load_run(tmp_path / "one").spec.name == "fusion"
    teacher = f'train.teachers.faithful=["{tmp_path / "one"}"]'
    assert main([*first, "--out", str(tmp_path / "two"), "--set", teacher]) == 0
    assert "taught faithful" in (tmp_path / "two" / "log.jsonl").read_text()
