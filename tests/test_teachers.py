"""Batches mixed at every step, and models that teach another."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

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
    photo = torch.arange(6.0)[:, None, None, None]  # crop i is i everywhere, in lightness and in colour
    L, ab = augment.cut_mix(photo.expand(6, 1, 64, 96), photo.expand(6, 2, 16, 24), share=0.5, seed=1)
    assert torch.equal(ab[:, :1].repeat_interleave(4, 2).repeat_interleave(4, 3), L)
    mixed = [i for i in range(6) if (L[i] != i).any()]
    assert 0 < len(mixed) < 6
    for i in mixed:
        assert L[i].unique().tolist() == sorted({float(i), float((i - 1) % 6)})
        assert 1 / 16 <= (L[i] != i).float().mean() <= 9 / 16
    assert torch.equal(augment.cut_mix(photo, photo, share=0.0, seed=1)[0], photo)


def tiny(seed: int, **options: Any) -> Fusion:
    torch.manual_seed(seed)
    return Fusion(FusionConfig(encoder="test_efficientnet", decoder_widths=(8, 8, 8), **options)).eval()


@pytest.fixture
def L() -> Tensor:
    return torch.rand(4, 1, 64, 64, generator=torch.Generator().manual_seed(0)) * 100


def test_teachers_answer_with_their_mean(L: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    models = {"one": tiny(1), "two": tiny(2)}
    monkeypatch.setattr("zoo.load", models.__getitem__)
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
