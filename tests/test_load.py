"""The scripts in tests/load, as far as they judge: they have to find what is wrong."""

import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from visiting import Tint

from zoo.models.grayscale import GrayscaleConfig

sys.path.insert(0, str(Path(__file__).parent / "load"))
import hostile
import visitors
from hostile_pictures import Upload


def _visitor(number: int) -> Any:
    visitor = object.__new__(visitors.Visitor)  # without its client
    visitor.number = number
    return visitor


def test_a_visitor_knows_its_own_picture() -> None:
    model, size = Tint(GrayscaleConfig()), (320, 240)
    own, others = (_visitor(n).picture(random.Random(1), size) for n in (1, 2))  # of the same photo
    visitors.check_picture(own, model.colorize_array(own))
    wrong = {"lightness": model.colorize_array(others), "grey": model.colorize_array(own, saturation=0.0)}
    for word, answer in {**wrong, "shape": model.colorize_array(own[1:])}.items():
        with pytest.raises(visitors.Wrong, match=word):
            visitors.check_picture(own, answer)


def test_a_visitor_knows_its_own_clip(tmp_path: Path) -> None:
    clips = []
    for n in (1, 2):
        visitors.make_clip(tmp_path / f"{n}.mp4", _visitor(n), random.Random(1), rate=12, frames=10)
        clips.append(visitors.read_clip(tmp_path / f"{n}.mp4"))
    (luma, chroma), (others, _) = clips
    visitors.check_clip((luma, chroma), (luma + 1, chroma + 9))
    for word, answer in {
        "luma": (others, chroma + 9),
        "grey": (luma, chroma),
        "frames": (luma[1:], chroma[1:] + 9),
    }.items():
        with pytest.raises(visitors.Wrong, match=word):
            visitors.check_clip((luma, chroma), answer)


@pytest.mark.parametrize(
    ("may", "outcome", "wrong"),
    [
        ("refuse", hostile.Outcome("refused", "a.jpg: the picture is too large. This app reads JPEG."), ""),
        ("refuse", hostile.Outcome("done", size=(8, 6)), "taken"),
        ("refuse", hostile.Outcome("refused", "the picture is too large."), "name"),
        ("either", hostile.Outcome("refused", "a.jpg: Something went wrong on our side."), "visitors"),
        ("either", hostile.Outcome("refused", "a.jpg: No such file: /usr/lib/site-packages/x"), "visitors"),
        ("either", hostile.Outcome("refused", "None"), "nothing"),
        ("either", hostile.Outcome("done", size=(8, 6)), ""),
        ("done", hostile.Outcome("done", size=(6, 8)), "size"),
        ("done", hostile.Outcome("refused", "a.jpg: the picture is too large."), "refused"),
    ],
)
def test_what_becomes_of_an_upload_is_judged(may: str, outcome: hostile.Outcome, wrong: str) -> None:
    found = hostile.judged(Upload("a case", b"", "a.jpg", may, (8, 6)), "a.jpg", outcome)
    assert wrong in found
    assert bool(wrong) == bool(found)


def test_percentiles() -> None:
    assert visitors.percentiles(list(np.arange(101.0))) == {"p50": 50, "p95": 95, "max": 100, "n": 101}
