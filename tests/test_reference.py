"""Colours from another picture: taken where the two are alike, left alone elsewhere; the palette; what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

import zoo
from zoo import color, pipeline, reference
from zoo.canvas import Canvas
from zoo.colorizer import Colorizer
from zoo.errors import ImageError, OptionError
from zoo.models.grayscale import Grayscale, GrayscaleConfig
from zoo.reference import Reference

PHOTOS = Path(__file__).parent / "photos"
RED, BLUE = (200, 40, 30), (40, 60, 200)


def lab(rgb: Any) -> Tensor:
    return color.rgb_to_lab(torch.from_numpy(np.array(rgb)[..., :3]).permute(2, 0, 1).float() / 255)


def error(result: Any, truth: Any) -> float:
    """Mean distance in ab."""
    return float((lab(result) - lab(truth))[1:].norm(dim=0).mean())


@pytest.fixture(scope="module")
def fusion() -> Colorizer[Any]:
    return zoo.load("fusion")


@pytest.fixture(scope="module")
def dog() -> Image.Image:
    return Image.open(PHOTOS / "gb82__dog.jpg").convert("RGB").resize((200, 160))


@pytest.fixture
def grey_model() -> Grayscale:
    return Grayscale(GrayscaleConfig())


def test_a_mirrored_picture_gives_its_colors_to_every_model(fusion: Colorizer[Any], dog: Image.Image) -> None:
    turned = ImageOps.mirror(dog)
    for model in (fusion, Grayscale(GrayscaleConfig())):
        canvas = model.canvas(dog)
        alone, taken = canvas.colorize(), canvas.colorize(reference=turned)
        assert error(taken, dog) < 0.6 * error(alone, dog)
        assert float((lab(taken)[0] - lab(dog)[0]).abs().max()) < 0.5
        assert np.array_equal(np.asarray(taken), np.asarray(model.colorize(dog, reference=turned)))


def test_where_nothing_is_alike_the_model_answers_as_before(fusion: Colorizer[Any], dog: Image.Image) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    assert error(fusion.colorize(dog, reference=noise), fusion.colorize(dog)) < 1


def test_a_reference_is_a_path_an_array_or_made_before(tmp_path: Path, dog: Image.Image, grey_model: Grayscale) -> None:
    dog.save(tmp_path / "dog.png")
    canvas = grey_model.canvas(dog)
    expected = canvas.colorize_array(reference=dog)
    for same in (tmp_path / "dog.png", np.asarray(dog), Reference.of(dog)):
        assert np.array_equal(canvas.colorize_array(reference=same), expected)
    deep = np.asarray(dog).astype(np.uint16) * 257
    assert np.array_equal(canvas.colorize_array(reference=deep), expected)


def test_pictures_are_compared_once(monkeypatch: pytest.MonkeyPatch, dog: Image.Image, grey_model: Grayscale) -> None:
    calls = []
    seen = Reference.seen
    monkeypatch.setattr(Reference, "seen", lambda array: (calls.append(0), seen(array))[1])
    monkeypatch.setattr("zoo.canvas.match", lambda *both: (calls.append(1), reference.match(*both))[1])
    canvas, other = grey_model.canvas(dog), Reference.of(ImageOps.mirror(dog))
    for points in ([], [(10, 10, "#c03020")], [(90, 50, "#2040c0")]):
        canvas.colorize(reference=other, hints=points)
    assert calls == [0, 0, 1]


def test_a_canvas_serves_several_threads(dog: Image.Image, grey_model: Grayscale) -> None:
    """One takes the colours of its own reference, though another has just set its."""

    class Shared(Canvas):
        others: Any = None

        def __setattr__(self, name: str, value: Any) -> None:
            super().__setattr__(name, self.others if name == "_matched" and self.others else value)

    blue, canvas = Image.fromarray(np.asarray(dog)[..., ::-1].copy()), Shared(grey_model, dog)
    canvas.colorize_array(reference=blue)
    canvas.others = canvas._matched
    found = canvas.colorize_array(reference=dog)
    assert np.array_equal(found, grey_model.canvas(dog).colorize_array(reference=dog))


def test_hints_come_before_a_reference(dog: Image.Image, grey_model: Grayscale) -> None:
    result = lab(grey_model.colorize(dog, reference=dog, hints=[(100, 80, "#2040c0")]))[1:, 80, 100]
    L = lab(dog)[:1, 80:81, 100:101]
    told = lab(np.full((1, 1, 3), (0x20, 0x40, 0xC0), np.uint8))[1:]
    assert float((result - color.map_to_gamut(L, told).flatten()).abs().max()) <= 1


def test_the_palette_becomes_that_of_the_reference(fusion: Colorizer[Any], dog: Image.Image) -> None:
    wall = np.full((60, 60, 3), (90, 110, 180), np.uint8)
    wall[:, :30] = (110, 120, 160)
    mean = lab(wall)[1:].mean((1, 2))
    for model in (fusion, Grayscale(GrayscaleConfig())):
        result = lab(model.colorize(dog, reference=wall, reference_mode="palette"))[1:].mean((1, 2))
        assert float((result - mean).norm()) < 4


@pytest.mark.parametrize("mode", reference.MODES)
def test_what_cannot_be_seen_of_a_reference_gives_no_color(
    mode: str, dog: Image.Image, grey_model: Grayscale, tmp_path: Path
) -> None:
    """As of a cut-out, whose transparent pixels have colours too."""
    two = np.full((96, 96, 4), (*BLUE, 255), np.uint8)
    two[:, 40:] = (*RED, 0)
    Image.fromarray(two).save(tmp_path / "cut.png")
    deep = two.astype(np.uint16) * 257
    whole = grey_model.colorize_array(np.asarray(dog), reference=two[:, :40, :3], reference_mode=mode)
    for cut in (two, deep, tmp_path / "cut.png", Image.fromarray(two)):
        found = grey_model.colorize_array(np.asarray(dog), reference=cut, reference_mode=mode)
        assert error(found, whole) < 1.5
    two[..., 3] = 0
    with pytest.raises(ImageError, match="no colour of its own"):
        grey_model.colorize(dog, reference=two)


def test_a_palette_of_a_grey_model_follows_lightness(grey_model: Grayscale) -> None:
    """Dark blue and light red in the reference: so in the picture."""
    two = np.full((60, 60, 3), (30, 40, 110), np.uint8)
    two[:, 30:] = (240, 170, 160)
    grey = np.full((60, 60), 70, np.uint8)
    grey[30:] = 190
    ab = lab(grey_model.colorize(Image.fromarray(grey), reference=two, reference_mode="palette"))[1:]
    assert float(ab[1, :25].mean()) < -10
    assert float(ab[0, 35:].mean()) > 10


def test_saturation_counts_for_what_is_taken(dog: Image.Image, grey_model: Grayscale) -> None:
    none = grey_model.colorize(dog, reference=dog, saturation=0.0)
    assert np.ptp(np.asarray(none), axis=2).max() == 0


@pytest.mark.parametrize("mode", reference.MODES)
@pytest.mark.parametrize("size", [(1, 1), (1, 90), (2, 2), (700, 3)])
def test_pictures_of_any_size(size: tuple[int, int], mode: str, dog: Image.Image, grey_model: Grayscale) -> None:
    small = np.full((*size, 3), RED, np.uint8)
    given = small.copy()
    for picture, other in ((np.asarray(dog), small), (small, np.asarray(dog))):
        result = grey_model.colorize_array(picture, reference=other, reference_mode=mode)
        assert result.shape == picture.shape
    assert np.array_equal(small, given)


def test_the_matched_ab_is_a_mean_of_the_references() -> None:
    """So it cannot leave their range, and trust is a share."""
    one, other = np.full((64, 64, 3), BLUE, np.uint8), np.full((64, 64, 3), RED, np.uint8)
    found = reference.match(Reference.seen(one), Reference.of(other))
    told = lab(other)[1:, :1, :1]
    assert torch.allclose(found.ab, told[None].expand_as(found.ab), atol=0.1)
    assert 0 <= float(found.trust.min()) <= float(found.trust.max()) <= 1


def test_a_change_is_none_where_nothing_is_trusted(dog: Image.Image) -> None:
    target = Reference.seen(np.asarray(dog))
    matched = reference.Matched(torch.full((1, 2, *target.grid), 40.0), torch.zeros(1, 1, *target.grid))
    maps = reference.change(target, matched, torch.rand(1, 2, 30, 40))
    assert torch.equal(maps, torch.zeros_like(maps))
    assert np.array_equal(
        pipeline.paint(np.asarray(dog), maps), Grayscale(GrayscaleConfig()).colorize_array(np.asarray(dog))
    )


@pytest.mark.parametrize(
    "grey",
    [Image.new("L", (50, 40), 90), Image.new("RGB", (50, 40), (90, 90, 90)), np.full((40, 50), 7, np.uint8)],
    ids=["L", "RGB", "array"],
)
def test_a_reference_without_color_is_refused(grey: Any, dog: Image.Image, grey_model: Grayscale) -> None:
    with pytest.raises(ImageError, match="reference has no colour of its own"):
        grey_model.colorize(dog, reference=grey)


def test_what_is_no_reference_is_refused(tmp_path: Path, dog: Image.Image, grey_model: Grayscale) -> None:
    with pytest.raises(ImageError, match=r"not a picture.*int"):
        grey_model.colorize(dog, reference=7)  # type: ignore[arg-type]
    with pytest.raises(ImageError):
        grey_model.colorize(dog, reference=tmp_path / "none.png")
    with pytest.raises(ImageError, match=r"without its colours.*Reference\.of"):
        grey_model.colorize(dog, reference=Reference.seen(np.asarray(dog)))
    with pytest.raises(OptionError, match=r"unknown reference mode.*'best'.*match or palette"):
        grey_model.colorize(dog, reference=dog, reference_mode="best")
