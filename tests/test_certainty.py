"""Certainty: a map at full size that says where a model errs, its overlay, and how both are measured."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from zoo import certainty, contract, reference, registry
from zoo.cli import app
from zoo.errors import ZooError
from zoo.evaluation import choices
from zoo.spread import Spread


def test_certainty_is_one_without_doubt_and_half_at_fifteen_units() -> None:
    covariance = torch.tensor([[0.0, 0, 0], [200, 0, 25], [900, 90, 700]]).view(3, 3, 1, 1)
    found = certainty.of_spread(Spread(torch.zeros(3, 2, 1, 1), covariance)).flatten().tolist()
    assert found[:2] == pytest.approx([1, 0.5])
    assert found[2] < 0.01


@pytest.mark.parametrize("name", [n for n in registry.list_models() if n != "grayscale"])
def test_every_model_has_a_map_at_full_size(name: str, make_picture: Callable[..., Any]) -> None:
    found = contract.maker(name)().eval().certainty(make_picture(37, 53))
    assert found.shape == (37, 53)
    assert found.dtype == np.float32
    assert 0 <= found.min() <= found.max() <= 1


def test_map_says_where_the_model_is_unsure(make_picture: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = contract.maker("regression")().eval()

    def spread(L: torch.Tensor, **options: Any) -> Spread:
        covariance = torch.full((1, 3, *L.shape[2:]), 9.0)
        covariance[..., L.shape[3] // 2 :] = 400  # the right half
        return Spread(torch.zeros(1, 2, *L.shape[2:]), covariance)

    monkeypatch.setattr(model, "spread", spread)
    found = model.certainty(np.full((64, 64), 128, np.uint8))
    assert found[:, :28].min() > 0.9
    assert found[:, 36:].max() < 0.2


def test_overlay_shows_the_picture_the_map_and_a_legend() -> None:
    grey = np.full((60, 400), 100, np.uint8)
    sure = np.zeros((60, 400), np.float32)
    sure[:, 200:] = 1
    sheet = np.asarray(certainty.overlay(grey, sure)).astype(int)
    assert sheet.shape == (85, 400, 3)
    unsure_pixel, sure_pixel = sheet[30, 50], sheet[30, 350]
    assert unsure_pixel[2] > unsure_pixel[0]  # blue
    assert sure_pixel[0] > sure_pixel[2] + 50  # yellow
    assert (sheet[60:, :20].mean((0, 1)) != sheet[60:, -20:].mean((0, 1))).all()
    textured = np.asarray(certainty.overlay(np.tile(np.uint8([40, 200]), (60, 200)), sure)).astype(int)
    assert (textured[30, 51] - textured[30, 50]).min() > 30  # the picture shows through


def test_share_of_the_error() -> None:
    error = np.array([[5.0, 1, 1, 1, 2], [0, 0, 0, 0, 10]])
    right, wrong = -error, error
    assert choices.share(error, right) == pytest.approx(15 / 20)
    assert choices.share(error, right, within=True) == pytest.approx((0.5 + 1) / 2)
    assert choices.share(error, wrong, within=True) == pytest.approx((0.1 + 0) / 2)


@pytest.fixture
def photos(tmp_path: Path, make_picture: Callable[..., Any]) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray(make_picture(140, 150, seed=seed)).save(folder / f"{seed}.png")
    return folder


def test_figures_are_kept_and_the_page_is_made_of_them(photos: Path, tmp_path: Path) -> None:
    figures = choices.measure("regression", photos)
    own = figures["variants"]
    assert figures["photos"] == 2
    assert own["best_gain"] >= max(own["gain"])
    assert own["distance"] > 0
    for each in figures["certainty"].values():
        assert 0 < each["share"] <= each["perfect"] <= 1
    choices.write(tmp_path, "made_up", "regression", figures)
    choices.write(tmp_path, "made_up", "another", figures)
    assert set(choices.read(tmp_path)["made_up"]) == {"regression", "another"}
    text = (tmp_path / choices.PAGE).read_text()
    assert f"| regression | 2 | answer: {figures['single']['answer']['gain']:+.2f} dB" in text
    assert f"| {own['best_gain']:+.2f} dB | {own['distance']:.2f} |" in text
    assert choices.files(tmp_path) == {tmp_path / choices.PAGE: text}


def test_figures_and_references_do_not_depend_on_what_is_fastest_here(
    monkeypatch: pytest.MonkeyPatch, photos: Path
) -> None:
    monkeypatch.setattr("zoo.backends.choice._best_here", lambda *_: ("onnx", "float32"))
    seen: list[str] = []

    def row(network: Any, *_: Any) -> Any:
        seen.append(network.backend)
        raise InterruptedError

    monkeypatch.setattr(choices, "_row", row)
    with pytest.raises(InterruptedError):
        choices.measure("regression.alpha", photos)
    assert seen == ["torch"]
    assert reference._matcher.__wrapped__().backend == "torch"


def test_figures_of_other_weights_are_told(tmp_path: Path) -> None:
    figures = json.loads(
        '{"weights": "0123", "photos": 1, "single": {}, "certainty": {},'
        ' "variants": {"best_gain": 1.0, "distance": 1.0, "centred": 1.0, "kd": []}}'
    )
    choices.write(tmp_path, "made_up", "regression", figures)
    assert ["regression on made_up is of other weights" in line for line in choices.stale_weights(tmp_path)] == [True]
    current = registry.find("regression")[0].weights[0].sha256
    choices.write(tmp_path, "made_up", "regression", figures | {"weights": current})
    assert choices.stale_weights(tmp_path) == []


def test_page_without_results_is_none_and_damage_is_told(tmp_path: Path) -> None:
    assert choices.files(tmp_path) == {}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / choices.FILE).write_text(json.dumps({"benchmark": {}}))
    with pytest.raises(ZooError, match="not a result file"):
        choices.files(tmp_path)


def test_command_draws_the_map(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "map.png"
    result = CliRunner().invoke(app, ["certainty", str(photos / "0.png"), "--out", str(out), "--model", "regression"])
    assert result.exit_code == 0, result.output
    with Image.open(out) as sheet:
        assert sheet.width == 150
        assert sheet.height > 140
    again = CliRunner().invoke(app, ["certainty", str(photos), "--out", str(tmp_path / "maps"), "--model", "grayscale"])
    assert again.exit_code == 2


def test_command_keeps_what_exists_and_counts_it(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    (maps / "0.png").write_bytes(b"kept")
    (photos / "bad.png").write_bytes(b"bad")

    def certainty_of(*inputs: Path, out: Path) -> Any:
        command = ["certainty", *map(str, inputs), "--out", str(out), "--model", "regression"]
        return CliRunner().invoke(app, command)

    result = certainty_of(photos, out=maps)
    assert result.exit_code == 1
    assert "1 done, 1 skipped, 1 failed" in result.stdout
    assert (maps / "0.png").read_bytes() == b"kept"
    alone = certainty_of(photos / "0.png", out=maps / "0.png")
    assert alone.exit_code == 2
    assert "exists already" in alone.stderr

    def interrupt(*args: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("zoo.colorizer.Colorizer.certainty", interrupt)
    stopped = certainty_of(photos / "0.png", photos / "1.png", out=tmp_path / "more")
    assert stopped.exit_code == 130
    assert "interrupted: 0 done, 0 skipped, 0 failed, 2 left" in stopped.stderr
