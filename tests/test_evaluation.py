"""Metrics by hand and against scikit-image; the evaluator on pictures whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.errors import ZooError
from zoo.evaluation.evaluate import evaluate
from zoo.evaluation.metrics import MAX_PSNR, colorfulness_abs, psnr


def test_psnr_does_not_wrap_around() -> None:
    dark, light = np.full((4, 4, 3), 100, np.uint8), np.full((4, 4, 3), 120, np.uint8)
    assert psnr(dark, light) == pytest.approx(10 * np.log10(255**2 / 400))
    assert psnr(light, dark) == psnr(dark, light)


def test_psnr_follows_the_formula_and_stays_finite() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 9, 7, 3), np.uint8)
    error = np.mean((a.astype(float) - b) ** 2)
    assert psnr(a, b) == pytest.approx(20 * np.log10(255) - 10 * np.log10(error))
    assert psnr(a, a) == MAX_PSNR


def test_colorfulness_by_hand() -> None:
    assert colorfulness_abs(np.full((3, 3, 3), 77, np.uint8)) == 0
    red = np.zeros((2, 2, 3), np.uint8)
    red[..., 0] = 200
    assert colorfulness_abs(red) == pytest.approx(0.3 * np.hypot(200, 100))
    half = red.copy()
    half[0] = 0  # rg is 0 or 200, yb 0 or 100: standard deviations 100 and 50, means 100 and 50
    assert colorfulness_abs(half) == pytest.approx(1.3 * np.hypot(100, 50))


def test_evaluate_ranks_the_truth_above_grey_above_wrong_colors(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    photos = []
    for i in range(3):
        path = tmp_path / f"{i}.png"
        image = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8)).resize((50, 40), Image.Resampling.BICUBIC)
        image.crop((5, 0, 45, 40)).save(path)
        photos.append(path)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    truths = iter([np.asarray(Image.open(p)) for p in photos])
    figures = evaluate(
        {"truth": lambda grey: next(truths), "wrong": lambda grey: grey[..., ::-1] // 2},
        [*photos, tmp_path / "broken.png"],
        size=40,
    )
    models = figures["models"]
    assert models["grayscale"]["gain"] == 0
    assert models["truth"]["gain"] > 50
    assert models["truth"]["colorfulness_share"] == 1
    assert models["wrong"]["gain"] < 0
    assert list(figures["unread"]) == [str(tmp_path / "broken.png")]
    with pytest.raises(ZooError, match="not one photo"):
        evaluate({}, [tmp_path / "broken.png"])
