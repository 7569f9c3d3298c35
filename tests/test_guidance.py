"""What hints and references are worth: simulated from the truth, measured, and made a page of; the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from zoo.cli import app
from zoo.errors import ZooError
from zoo.evaluation import generated, guidance, results

PHOTOS = Path(__file__).parent / "photos"


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture(scope="module")
def figures() -> dict[str, Any]:
    return guidance.measure("fusion:faithful", PHOTOS, limit=4)


def test_hints_and_the_photo_itself_help(figures: dict[str, Any]) -> None:
    more = {row: figure["mean"] for row, figure in figures["models"]["fusion:faithful"]["more"].items()}
    assert more["20 hints"] > more["5 hints"] > 0.5
    assert more[guidance.ITSELF] > 2
    assert more[guidance.UNRELATED] > -1
    assert figures["photos"] == 4


def test_the_same_seed_gives_the_same_hints() -> None:
    truth = np.asarray(Image.open(PHOTOS / "gb82__dog.jpg").convert("RGB"))
    one, same, other = (guidance.simulated_hints(truth, 5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == same != other
    x, y, name = one[0]
    patch = truth[y - 3 : y + 4, x - 3 : x + 4].reshape(-1, 3).mean(0)
    told = np.array([int(name[i : i + 2], 16) for i in (1, 3, 5)])
    assert np.abs(told - patch).max() < 25


def test_the_enlarged_photo_is_mirrored() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[:, 12:30] = 200
    turned = guidance.mirrored(picture)
    assert turned.shape == picture.shape
    assert turned[50, 90, 0] == 200
    assert turned[50, 10, 0] == 0


def test_the_page_holds_the_figures(figures: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / guidance.FILE
    results.write_text(path, results.as_text(figures))
    page = guidance.page(guidance.read(path))
    for row, figure in figures["models"]["fusion:faithful"]["more"].items():
        assert f"{figure['mean']:+.2f}".replace("-", "−") in page, row
    assert "4 photos" in page
    path.write_text('{"version": 0}')
    with pytest.raises(ZooError, match="another version"):
        guidance.read(path)


def test_the_report_has_the_page(tmp_path: Path, figures: dict[str, Any]) -> None:
    cards = Path(__file__).parent.parent / "model_cards"
    if (cards / "results" / guidance.FILE).exists():
        assert cards / "reports" / "guidance.md" in generated.render(cards, draw=False)


# `colorzoo colorize --hint ... --reference ...`


@pytest.fixture
def grey(tmp_path: Path, make_picture: Callable[..., Any]) -> Path:
    Image.fromarray(make_picture(40, 60)).save(tmp_path / "grey.png")
    return tmp_path / "grey.png"


def test_the_command_takes_points_a_layer_and_a_reference(tmp_path: Path, grey: Path) -> None:
    layer = np.zeros((40, 60, 4), np.uint8)
    layer[20, 30] = (192, 48, 32, 255)
    Image.fromarray(layer).save(tmp_path / "layer.png")
    common = ("colorize", str(grey), "-m", "grayscale", "-o")
    for name, more in {
        "none": (),
        "points": ("--hint", "30,20,#c03020", "--hint-radius", "2"),
        "painted": ("--hints", str(tmp_path / "layer.png"), "--hint-radius", "2"),
        "other": ("--reference", str(PHOTOS / "gb82__dog.jpg"), "--reference-mode", "palette"),
    }.items():
        result = run(*common, str(tmp_path / f"{name}.png"), *more)
        assert result.exit_code == 0, result.output
    none, points, by_layer, other = (
        np.asarray(Image.open(tmp_path / f"{name}.png")).astype(int) for name in ("none", "points", "painted", "other")
    )
    assert np.array_equal(points, by_layer)
    assert np.ptp(none, axis=2).max() == 0
    assert np.ptp(points[20, 30]) > 60
    assert np.ptp(other, axis=2).mean() > 5


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--hint", "30,20"), "not a hint"),
        (("--hint", "a,20,#ffffff"), "not a hint"),
        (("--hint", "30,20,#zz"), "not a colour"),
        (("--hint", "3,2,#c03020", "--hints", "layer.png"), "both --hint and --hints"),
        (("--hint", "3,2,#c03020", "--hint-radius", "99"), "bad hint radius"),
        (("--reference", "none.png"), "none.png"),
        (("--reference-mode", "best"), "unknown reference mode"),
    ],
)
def test_the_command_refuses_before_it_begins(more: tuple[str, ...], words: str, grey: Path, tmp_path: Path) -> None:
    result = run("colorize", str(grey), "-m", "grayscale", "-o", str(tmp_path / "out.png"), *more)
    assert result.exit_code == 2
    assert words in str(result.output) + str(result.exception.__cause__ if result.exception else "")
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("option", ["--hints", "--reference"])
def test_what_a_picture_is_made_by_is_not_overwritten(option: str, grey: Path, tmp_path: Path) -> None:
    given = tmp_path / "given.png"
    Image.fromarray(np.full((40, 60, 4), (192, 48, 32, 255), np.uint8)).save(given)
    before = given.read_bytes()
    result = run("colorize", str(grey), "-m", "grayscale", "-o", str(given), option, str(given), "--force")
    assert result.exit_code == 2
    assert "overwrite what it is made by" in str(result.output) + str(result.exception and result.exception.__cause__)
    assert given.read_bytes() == before


def test_hints_are_for_one_picture(tmp_path: Path, grey: Path) -> None:
    result = run("colorize", str(grey.parent), "-m", "grayscale", "-o", str(tmp_path / "out"), "--hint", "3,2,#c03020")
    assert result.exit_code == 2
    assert "for one picture" in result.output


def test_a_hint_outside_is_refused(tmp_path: Path, grey: Path) -> None:
    result = run("colorize", str(grey), "-m", "grayscale", "-o", str(tmp_path / "o.png"), "--hint", "60,2,#c03020")
    assert result.exit_code == 2
    assert "outside of the picture" in result.output
