import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from zoo.errors import OptionError
from zoo.grid import BACKGROUND, fit, grid

RED, BLUE = (200, 0, 0), (0, 0, 200)


def solid(size: tuple[int, int], color: tuple[int, ...] = RED) -> Image.Image:
    return Image.new("RGB" if len(color) == 3 else "RGBA", size, color)


def box_of(sheet: Image.Image, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the pixels of exactly this colour."""
    y, x = np.nonzero((np.asarray(sheet) == color).all(-1))
    return x.min(), y.min(), x.max() + 1, y.max() + 1


@pytest.mark.parametrize(("size", "fitted"), [((100, 50), (64, 32)), ((10, 20), (32, 64)), ((1, 999), (1, 64))])
def test_fit_keeps_the_aspect_ratio(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert fit(solid(size), 64).size == fitted


def test_pictures_stand_in_rows_and_columns_whole_and_apart() -> None:
    sheet = grid([[solid((64, 32)), solid((32, 64), BLUE)]], ["wide", "high"], cell=64)
    left, top, right, bottom = box_of(sheet, RED)
    assert (right - left, bottom - top) == (64, 32)
    blue_left, blue_top, blue_right, blue_bottom = box_of(sheet, BLUE)
    assert (blue_right - blue_left, blue_bottom - blue_top) == (32, 64)
    assert left > 0
    assert right < blue_left
    assert blue_right < sheet.width
    assert blue_bottom < sheet.height
    assert (top + bottom) / 2 == (blue_top + blue_bottom) / 2  # centred in the row


def test_a_second_row_lies_below_and_a_gap_stays_empty() -> None:
    one = grid([[solid((8, 8)), None]], ["a", "b"], cell=64)
    two = grid([[solid((8, 8)), None], [None, solid((8, 8), BLUE)]], ["a", "b"], cell=64)
    assert box_of(two, BLUE)[1] > box_of(two, RED)[3]
    right_half = np.asarray(one)[box_of(one, RED)[1] : box_of(one, RED)[3], box_of(one, RED)[2] :]
    assert (right_half == BACKGROUND).all()


@pytest.mark.parametrize("label", ["a" * 500, "word " * 100, "längste Überschrift " * 20, "bad \udcff name " * 30])
def test_long_text_stays_in_its_column(label: str) -> None:
    sheet = np.asarray(grid([[solid((96, 96)), solid((96, 96))]], [label, ""], row_labels=[label], cell=96))
    empty = np.asarray(grid([[solid((96, 96)), solid((96, 96))]], ["", ""], row_labels=[""], cell=96))
    assert sheet.shape == empty.shape
    _, columns = np.nonzero((sheet != empty).any(-1)[:18])  # the header
    assert columns.size
    assert columns.max() < 4 + 96 + 4
    assert (sheet[:, -4:] == BACKGROUND).all()  # the row label too
    assert (sheet[:, :4] == BACKGROUND).all()


def test_labels_are_drawn_and_row_labels_take_room() -> None:
    plain = grid([[solid((64, 64))]], [""], cell=64)
    assert grid([[solid((64, 64))]], ["grey"], cell=64).tobytes() != plain.tobytes()
    assert grid([[solid((64, 64))]], [""], row_labels=["a.jpg"], cell=64).height > plain.height


def test_transparency_shows_the_background() -> None:
    sheet = grid([[solid((64, 64), (0, 0, 0, 0))]], [""], cell=64)
    assert (np.asarray(sheet) == BACKGROUND).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_is_taken(mode: str) -> None:
    assert grid([[Image.new("RGB", (9, 9), RED).convert(mode)]], ["x"], cell=32).mode == "RGB"


def test_same_input_same_sheet() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8))
    sheets = [grid([[noise, noise]], ["a", "b"], row_labels=["n"], cell=64).tobytes() for _ in range(2)]
    assert sheets[0] == sheets[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": [[None]], "columns": ["a", "b"]}, "rows of \\[1\\]"),
        ({"rows": [], "columns": []}, "columns"),
        ({"rows": [[None]], "columns": ["a"], "row_labels": []}, "labels"),
        ({"rows": [[None]], "columns": ["a"], "cell": 3}, "16 to 4096"),
    ],
)
def test_what_does_not_fit_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        grid(**arguments)


def test_drawing_needs_no_torch() -> None:
    code = "import sys, zoo.grid; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
