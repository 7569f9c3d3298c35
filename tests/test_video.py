"""Film: cuts, motion, chroma beside an untouched luma, and colours carried from key frame to key frame."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from zoo import color
from zoo.errors import ZooError
from zoo.video import chroma, motion
from zoo.video.chroma import Coding
from zoo.video.coloring import Colored, FilmColorizer

BT709 = Coding.of(1, False, 8, 720)
Luma = npt.NDArray[np.uint8]


def texture(seed: int, side: int = 160) -> npt.NDArray[np.float32]:
    """A smooth random picture in [0, 1], (side, side)."""
    noise = torch.rand(1, 1, side // 8, side // 8, generator=torch.Generator().manual_seed(seed))
    wide = torch.nn.functional.interpolate(noise, size=(side, side), mode="bicubic", align_corners=False)
    return wide[0, 0].clamp(0, 1).numpy()


def pan(seed: int, frames: int, step: int = 3, light: float = 1.0) -> list[Luma]:
    """A camera that moves to the right over one picture: 96 x 128 luma planes."""
    picture = (16 + 219 * light * texture(seed, 320)).round().astype(np.uint8)
    return [picture[40:136, 10 + step * i : 138 + step * i].copy() for i in range(frames)]


def test_cuts_are_found_where_they_are() -> None:
    detector = motion.CutDetector()
    film = pan(1, 8) + pan(2, 8, light=0.4) + pan(3, 8)
    assert [i for i, luma in enumerate(film) if detector.is_cut(luma)] == [0, 8, 16]


def test_light_and_grain_are_no_cuts() -> None:
    rng = np.random.default_rng(0)
    detector = motion.CutDetector()
    base = pan(1, 12)
    noisy = [f + 6.0 * (-1) ** i + rng.normal(0, 4, f.shape) for i, f in enumerate(base)]
    flicker = [np.clip(f, 0, 255).astype(np.uint8) for f in noisy]
    assert [i for i, luma in enumerate(flicker) if detector.is_cut(luma)] == [0]


def test_flow_finds_a_shift_and_warp_follows_it() -> None:
    picture = (255 * texture(4, 200)).astype(np.uint8)
    target, source = picture[20:148, 20:148].copy(), picture[23:151, 15:143].copy()  # source is moved by (-5, 3)
    flow = motion.FlowEstimator()(target, source)
    np.testing.assert_allclose(flow[16:-16, 16:-16].mean((0, 1)), (5, -3), atol=0.3)
    moved = motion.warp(source.astype(np.float32)[..., None], flow)[16:-16, 16:-16, 0]
    assert np.abs(moved - target[16:-16, 16:-16]).mean() < 2


def test_warp_samples_at_x_plus_flow() -> None:
    maps = np.random.default_rng(0).random((6, 7, 2), dtype=np.float32)
    flow = np.zeros((6, 7, 2), np.float32)
    np.testing.assert_array_equal(motion.warp(maps, flow), maps)
    flow[..., 0], flow[..., 1] = 2, -1
    np.testing.assert_allclose(motion.warp(maps, flow)[1:, :5], maps[:-1, 2:])
    np.testing.assert_allclose(motion.warp(maps, flow)[0, 6], maps[0, 6])  # the border goes on beyond it


def test_what_is_hidden_is_not_consistent() -> None:
    forward = np.zeros((20, 30, 2), np.float32)
    forward[..., 0] = 5  # everything lies 5 to the right; the last 5 columns have left the picture
    seen = motion.consistency(forward, -forward)
    assert (seen[..., :25] > 0.99).all()
    assert (seen[..., 26:] == 0).all()
    assert (motion.consistency(forward, forward)[..., 5:20] < 0.01).all()  # there and back again ends elsewhere


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_codes_are_those_of_the_standard(matrix: int, bits: int, full: bool) -> None:
    coding = Coding.of(matrix, full, bits, 480)
    low, high = (0, 2**bits - 1) if full else (16 << (bits - 8), 235 << (bits - 8))
    torch.testing.assert_close(coding.luma(torch.tensor([low, high])), torch.tensor([0.0, 1.0]))
    assert coding.chroma_codes(torch.zeros(1)).item() == 128 << (bits - 8)
    if not full:
        assert coding.chroma_codes(torch.tensor(0.5)).item() == 240 << (bits - 8)


def to_lab(luma: Tensor, chroma_: Tensor, coding: Coding) -> Tensor:
    """Lab (N, 3, H, W) of luma in [0, 1] and Cb, Cr in [-0.5, 0.5], by the definition of the matrix."""
    cb, cr = chroma_.split(1, 1)
    red, blue = luma + 2 * (1 - coding.red) * cr, luma + 2 * (1 - coding.blue) * cb
    green = (luma - coding.red * red - coding.blue * blue) / (1 - coding.red - coding.blue)
    return color.rgb_to_lab(torch.cat([red, green, blue], 1))


def test_chroma_shows_the_hue_that_was_asked_for() -> None:
    luma = torch.full((1, 1, 1, 8), 0.5)
    angle = torch.arange(8) * torch.pi / 4
    ab = 20 * torch.stack([angle.cos(), angle.sin()])[None, :, None]
    lab = to_lab(luma, chroma.from_ab(luma, ab, BT709), BT709)
    turn = torch.atan2(lab[:, 2], lab[:, 1]) - angle
    assert (torch.atan2(turn.sin(), turn.cos()).abs() < 0.1).all()
    assert ((lab[:, 1:].norm(dim=1) - 20).abs() < 2).all()
    assert ((lab[:, :1] - chroma.lightness(luma)).abs() < 4).all()  # luma is kept, lightness nearly
    grey = chroma.from_ab(luma, torch.zeros_like(ab), BT709)
    torch.testing.assert_close(grey, torch.zeros_like(grey), atol=1e-6, rtol=0)


@pytest.mark.parametrize("matrix", [1, 6, 9])
def test_the_table_gives_what_the_formula_gives(matrix: int) -> None:
    coding = Coding.of(matrix, False, 8, 720)
    generator = torch.Generator().manual_seed(0)
    luma = torch.rand(1, 1, 40, 40, generator=generator)
    ab = 15 * torch.randn(1, 2, 40, 40, generator=generator)
    error = 224 * (chroma.ChromaTable(coding)(luma, ab) - chroma.from_ab(luma, ab, coding)).abs()
    assert error.mean() < 0.15
    assert error.quantile(0.99) < 2
    grey = chroma.ChromaTable(coding)(luma, torch.zeros_like(ab))
    assert (224 * grey.abs()).max() < 0.01


def test_no_color_leaves_rgb() -> None:
    generator = torch.Generator().manual_seed(0)
    luma, wanted = torch.rand(1, 1, 40, 40, generator=generator), torch.rand(1, 2, 40, 40, generator=generator) - 0.5
    limited = chroma.limit(wanted, luma, BT709)
    cb, cr = limited.split(1, 1)
    red, blue = luma + 2 * (1 - BT709.red) * cr, luma + 2 * (1 - BT709.blue) * cb
    green = (luma - BT709.red * red - BT709.blue * blue) / (1 - BT709.red - BT709.blue)
    for plane in (red, green, blue):
        assert plane.min() > -1e-5
        assert plane.max() < 1 + 1e-5
    assert (limited * wanted >= 0).all()
    torch.testing.assert_close(limited[:, 0] * wanted[:, 1], limited[:, 1] * wanted[:, 0])  # the hue is kept
    assert torch.equal(chroma.limit(wanted * 0.01, torch.full_like(luma, 0.5), BT709), wanted * 0.01)


def test_a_constant_chroma_stays_it_when_enlarged() -> None:
    small = torch.rand(1, 1, 12, 16, generator=torch.Generator().manual_seed(0)) * 0.4 + 0.3
    wide = torch.nn.functional.interpolate(small, size=(48, 64), mode="bilinear")
    result = chroma.upsample(torch.full((1, 2, 12, 16), 0.05), small, wide, BT709)
    torch.testing.assert_close(result, torch.full((1, 2, 48, 64), 0.05))


def colorize(
    film: list[Luma], predict: Callable[[Tensor], Tensor], **options: Any
) -> tuple[list[Colored], FilmColorizer]:
    colorizer = FilmColorizer(predict, film[0].shape[:2], working_size=128, multiple_of=32, coding=BT709, **options)
    return [c for luma in film for c in colorizer.feed(luma)] + list(colorizer.flush()), colorizer


def from_lightness(L: Tensor) -> Tensor:
    """Colours that belong to the picture: where it is light, orange, where it is dark, blue."""
    small = torch.nn.functional.avg_pool2d(L, 4)
    return torch.cat([(small - 50) * 0.4, (small - 50) * 0.8], 1)


def test_colors_follow_the_motion_with_few_runs() -> None:
    film = pan(5, 17, step=2)
    each, _ = colorize(film, from_lightness, interval=1, steadiness=0)
    carried, colorizer = colorize(film, from_lightness, interval=4)
    assert len(each) == len(carried) == 17
    assert colorizer.runs <= 7
    assert sum(c.key for c in carried) == 5
    for one, other in zip(each, carried, strict=True):
        assert torch.equal(one.luma, other.luma)  # in order
        assert (one.ab - other.ab).abs().mean() < 1


def test_nothing_is_carried_over_a_cut() -> None:
    film = pan(5, 6) + pan(6, 7)
    each, _ = colorize(film, from_lightness, interval=1, steadiness=0)
    carried, _ = colorize(film, from_lightness)
    assert [i for i, c in enumerate(carried) if c.first] == [0, 6]
    torch.testing.assert_close(carried[6].ab, each[6].ab)


def test_flicker_of_the_network_is_calmed() -> None:
    film = pan(5, 17, step=0)
    answers = iter(range(100))

    def flickering(L: Tensor) -> Tensor:
        return torch.full((1, 2, L.shape[2] // 4, L.shape[3] // 4), 10.0 * (-1) ** next(answers))

    def unrest(colored: list[Colored]) -> float:
        return float(np.mean([(a.ab - b.ab).abs().mean() for a, b in pairwise(colored)]))

    each, _ = colorize(film, flickering, interval=1, steadiness=0)
    carried, _ = colorize(film, flickering)
    assert unrest(carried) < 0.1 * unrest(each)


@pytest.mark.parametrize("frames", [0, 1, 2])
@pytest.mark.parametrize("size", [(1, 1), (5, 300), (33, 47)])
def test_short_films_and_odd_sizes(frames: int, size: tuple[int, int]) -> None:
    film = [np.full(size, 90 + i, np.uint8) for i in range(frames)]
    colorizer = FilmColorizer(from_lightness, size, working_size=64, multiple_of=32, coding=BT709)
    colored = [c for luma in film for c in colorizer.feed(luma)] + list(colorizer.flush())
    assert len(colored) == frames
    assert all(c.chroma.isfinite().all() for c in colored)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_answers_of_any_size_are_shown_in_place(stride: int) -> None:
    left = torch.cat([torch.full((1, 2, 64, 32), 20.0), torch.full((1, 2, 64, 32), -20.0)], 3)
    film = [np.full((64, 64), 100, np.uint8)]
    colorizer = FilmColorizer(
        lambda L: left[..., ::stride, ::stride].clone(), (64, 64), working_size=64, multiple_of=32, coding=BT709
    )
    (colored,) = [*colorizer.feed(film[0]), *colorizer.flush()]
    ab = torch.nn.functional.interpolate(colored.ab, size=(64, 64), mode="bilinear")
    torch.testing.assert_close(ab[..., :24], left[..., :24])
    torch.testing.assert_close(ab[..., 40:], left[..., 40:])


@pytest.mark.parametrize(("wrong", "message"), [("shape", "wrong shape"), ("values", "not finite")])
def test_a_wrong_answer_is_refused(wrong: str, message: str) -> None:
    def predict(L: Tensor) -> Tensor:
        return L[:, :, ::2, ::2] if wrong == "shape" else torch.full((1, 2, 4, 4), float("nan"))

    colorizer = FilmColorizer(predict, (64, 64), working_size=64, multiple_of=32, coding=BT709)
    with pytest.raises(ZooError, match=message):
        list(colorizer.feed(np.full((64, 64), 100, np.uint8)))
