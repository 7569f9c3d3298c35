"""Several colourings in one film: previews and comparisons, with the luma of the source in every cell."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import Orange, blue, luma, lumas, make, orange, plane, read
from PIL import Image

from zoo import images
from zoo.errors import OptionError, UnknownModelError
from zoo.video.layout import Layout
from zoo.video.transcode import Look, colorize_video


@pytest.fixture
def model() -> Orange:
    return orange()


def cells(path: Path, size: tuple[int, int], columns: int, count: int, strip: int) -> list[list[Any]]:
    """The planes of the cells of the first frame; each height and width, or half of them for chroma."""
    first, (height, width) = read(path)[0], size
    found = []
    for i in range(count):
        top, left = i // columns * (height + strip) + strip, i % columns * width
        step = 1 if "444" in first.format.name else 2
        parts = [(1, top, left), (step, top // step, left // step), (step, top // step, left // step)]
        found.append([plane(first, k)[t : t + height // s, x : x + width // s] for k, (s, t, x) in enumerate(parts)])
    return found


@pytest.mark.parametrize(
    ("size", "pix_fmt"), [((48, 64), "yuv420p"), ((35, 51), "yuv420p"), ((48, 51), "gray"), ((48, 64), "yuv420p10le")]
)
def test_a_preview_has_the_grey_film_on_the_left(
    size: tuple[int, int], pix_fmt: str, model: Orange, tmp_path: Path
) -> None:
    source = make(tmp_path / "in.mkv", size=size, pix_fmt=pix_fmt)
    report = colorize_video(source, tmp_path / "out.mkv", model=model, crf=0, preview=True)
    assert report.frames == 12
    middle = 512 if "10" in pix_fmt else 128
    for before, after in zip(lumas(source), lumas(tmp_path / "out.mkv"), strict=True):
        assert np.array_equal(after, np.hstack([before, before]))
    grey, coloured = cells(tmp_path / "out.mkv", size, 2, 2, 0)
    assert (grey[1] == middle).all()
    assert (grey[2] == middle).all()
    assert coloured[1].mean() < middle - 4
    assert coloured[2].mean() > middle + 4


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (3, 2, 2), (5, 3, 2), (9, 3, 3)])
def test_a_comparison_is_a_grid_with_a_name_above_each(count: int, columns: int, rows: int, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=3)
    looks = [Look(f"m{i}", orange() if i % 2 else blue()) for i in range(count)]
    colorize_video(source, tmp_path / "out.mkv", compare=looks, crf=0)
    strip = 16
    first = lumas(tmp_path / "out.mkv")[0]
    assert first.shape == (rows * (48 + strip), columns * 64)
    for i, (y, cb, cr) in enumerate(cells(tmp_path / "out.mkv", (48, 64), columns, count, strip)):
        assert np.array_equal(y, luma(0, 48, 64))
        assert (cb.mean() > 130) == (i % 2 == 0)
        assert (cr.mean() > 130) == (i % 2 == 1)
        name = first[i // columns * 64 : i // columns * 64 + strip, i % columns * 64 : i % columns * 64 + 64]
        assert name.min() == 16
        assert name.max() > 180
    for i in range(count, rows * columns):
        left = first[i // columns * 64 :, i % columns * 64 :]
        assert (left == 16).all(), "what is left of the grid is black"


def test_names_are_those_of_the_command_line(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=2)
    colorize_video(
        source, tmp_path / "out.mkv", compare=["grayscale", "grayscale"], preview=True, crf=0, working_size=32
    )
    assert lumas(tmp_path / "out.mkv")[0].shape == (2 * 64, 2 * 64)
    with pytest.raises(UnknownModelError):
        colorize_video(source, tmp_path / "x.mkv", compare=["grayscale", "nope"])
    with pytest.raises(OptionError, match="has no option 'style'"):
        colorize_video(source, tmp_path / "x.mkv", compare=["grayscale:vivid"])
    assert not list(tmp_path.glob("x*"))


@pytest.mark.parametrize("target", ["out.gif", "out.webp", "out"])
def test_pictures_are_compared_too(target: str, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=2)
    looks = [Look("one", orange()), Look("two", blue())]
    colorize_video(source, tmp_path / target, compare=looks, preview=True)
    path = tmp_path / target / "000001.png" if target == "out" else tmp_path / target
    if target == "out":
        sheet = images.read(path).pixels
    else:
        with Image.open(path) as image:
            sheet = np.asarray(image.convert("RGB"))
    assert sheet.shape == (2 * 64, 2 * 64, 3)
    grey, orange_cell, blue_cell = (
        sheet[top : top + 48, left : left + 64].astype(float).mean((0, 1)) for top, left in ((16, 0), (16, 64), (80, 0))
    )
    assert np.ptp(grey) < 6
    assert orange_cell[0] > orange_cell[2] + 20
    assert blue_cell[2] > blue_cell[0] + 20


def test_a_long_name_stays_above_its_cell() -> None:
    layout = Layout((48, 64), ["x" * 100, ""])
    text = layout._text
    assert text[:16, :64].max() > 0.7
    assert text[:16, 64:].max() == 0
    assert text[16:].max() == 0
    assert Layout((2160, 3840), ["a"]).size == (2160 + 48, 3840)
    with pytest.raises(OptionError, match="too many pictures side by side; found: 2 of 9000 x 16 pixels"):
        Layout((16, 9000), ["a", "b"])
