"""The film metrics on hand-made clips of known motion: what moves with its colours, flickers by so much, is hidden."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from zoo.errors import OptionError, VideoError, ZooError
from zoo.evaluation.films import clips, motion
from zoo.evaluation.films.metrics import AGAINST, METRICS, Cdc, CentredMean, histograms, js_divergence, warp_error
from zoo.evaluation.films.protocol import FilmProtocol

Array = npt.NDArray[Any]
HEIGHT, WIDTH = 96, 128


def texture(seed: int, channels: int, cell: int = 8) -> Tensor:
    """A smooth random picture in [0, 1], (1, channels, 320, 320)."""
    noise = torch.rand(1, channels, 320 // cell, 320 // cell, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(noise, size=(320, 320), mode="bicubic", align_corners=False).clamp(0, 1)


def pan(seed: int, frames: int, step: int, channels: int) -> list[Tensor]:
    """A camera that moves to the right over one picture: (1, channels, 96, 128) each."""
    picture = texture(seed, channels)
    return [picture[..., 40 : 40 + HEIGHT, 10 + step * i : 10 + WIDTH + step * i] for i in range(frames)]


def lumas(maps: list[Tensor]) -> list[npt.NDArray[np.uint8]]:
    return [(255 * m[0, 0]).round().byte().numpy() for m in maps]


def warp_errors(luma: list[npt.NDArray[np.uint8]], ab: list[Tensor]) -> list[float | None]:
    """Of each frame towards the one before; None where it begins a scene."""
    finder = motion.MotionFinder()
    found: list[float | None] = []
    for i, plane in enumerate(luma):
        moved = finder(plane)
        found.append(None if moved is None else warp_error(ab[i], moved.carry(ab[i - 1]), moved.seen))
    return found


# Warp error


def test_colors_that_move_with_the_picture_are_steady() -> None:
    """A pan of 3 pixels a frame: unmoved colours would be off by several units."""
    luma, ab = lumas(pan(1, 6, 3, 1)), [80 * (x - 0.5) for x in pan(2, 6, 3, 2)]
    first, *errors = warp_errors(luma, ab)
    assert first is None
    assert all(e is not None and e < 0.3 for e in errors)
    still = [float(torch.hypot(*(a - b)[0]).mean()) for a, b in pairwise(ab)]
    assert min(still) > 5


@pytest.mark.parametrize("amount", [0.5, 3.0])
def test_flicker_comes_out_as_the_amount_it_has(amount: float) -> None:
    """Colours of a moving picture that jump to and fro by 2 x amount in a, and as much in b."""
    luma = lumas(pan(1, 6, 2, 1))
    steady = [40 * (x - 0.5) for x in pan(2, 6, 2, 2)]
    ab = [x + amount * (-1) ** i for i, x in enumerate(steady)]
    for error in warp_errors(luma, ab)[1:]:
        assert error == pytest.approx(2 * amount * 2**0.5, abs=0.25)


def test_what_is_hidden_in_one_frame_is_ignored() -> None:
    """A red square moves 10 to the right over a blue ground: the ground it leaves was not to be seen before."""
    forward, backward = torch.zeros(1, 2, 60, 80), torch.zeros(1, 2, 60, 80)
    before, now = torch.zeros(1, 2, 60, 80), torch.zeros(1, 2, 60, 80)
    for ab, left in ((before, 20), (now, 30)):
        ab[:, 1] = -40
        ab[:, 0, 20:40, left : left + 20], ab[:, 1, 20:40, left : left + 20] = 60, 40
    forward[:, 0, 20:40, 30:50] = -10
    backward[:, 0, 20:40, 20:40] = 10
    found = motion.between(forward, backward)
    hidden = ~found.seen[0, 0]
    assert hidden[20:40, 20:30].all()
    assert hidden.sum() == 20 * 10
    assert warp_error(now, found.carry(before), found.seen) == pytest.approx(0, abs=1e-4)
    everything = torch.ones_like(found.seen)
    assert warp_error(now, found.carry(before), everything) == pytest.approx(100 * 200 / 4800, rel=0.02)
    assert found.speed == pytest.approx(10 * 400 / 4600, rel=0.01)


def test_what_leaves_the_picture_is_ignored() -> None:
    forward = torch.zeros(1, 2, 20, 30)
    forward[:, 0] = 5
    seen = motion.between(forward, -forward).seen[0, 0]
    assert seen[:, :25].all()
    assert not seen[:, 25:].any()


def test_no_pair_goes_across_a_cut() -> None:
    dark = [(0.4 * x).astype(np.uint8) for x in lumas(pan(3, 4, 2, 1))]
    luma = [*lumas(pan(1, 4, 2, 1)), *dark]
    ab = [torch.full((1, 2, HEIGHT, WIDTH), 50.0 * (i >= 4)) for i in range(8)]
    errors = warp_errors(luma, ab)
    assert [i for i, e in enumerate(errors) if e is None] == [0, 4]
    assert max(e for e in errors if e is not None) < 1e-4


def test_a_scene_like_the_one_before_in_brightness_is_a_cut_where_nothing_is_found_again() -> None:
    luma = [*lumas(pan(1, 3, 0, 1)), *lumas(pan(9, 3, 0, 1))]
    finder = motion.MotionFinder()
    assert [finder(x) is None for x in luma] == [True, False, False, True, False, False]


# Colour distribution consistency


def flat(*color: int) -> Array:
    return np.full((6, 8, 3), color, np.uint8)


def cdc(frames: list[Array], first: tuple[int, ...] = (0,)) -> float | None:
    found = Cdc()
    for i, frame in enumerate(frames):
        found.add(frame, i in first)
    return found.value


def test_cdc_of_a_constant_clip_is_zero() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 256, (10, 12, 3), np.uint8)
    assert cdc([frame] * 6) == 0
    assert cdc([rng.permutation(frame.reshape(-1, 3)).reshape(frame.shape) for _ in range(6)]) == pytest.approx(0)


def test_cdc_of_two_colors_in_turn_is_known() -> None:
    """Disjoint histograms are ln 2 apart: in two of three channels, at a distance of 1 frame of 1, 2 and 4."""
    frames = [flat(10, 20, 30) if i % 2 else flat(90, 20, 80) for i in range(9)]
    assert cdc(frames) == pytest.approx(1000 * np.log(2) * 2 / 3 / 3)


def test_cdc_is_the_published_formula() -> None:
    rng = np.random.default_rng(1)
    frames = [rng.integers(0, 30 + 20 * i, (16, 16, 3), np.uint8) for i in range(8)]

    def spread(frame: Array, channel: int) -> Array:
        return np.histogram(frame[..., channel], 256, (0, 256))[0] / 256

    def divergence(p: Array, q: Array) -> float:
        middle = (p + q) / 2
        return float(0.5 * stats.entropy(p, middle) + 0.5 * stats.entropy(q, middle))

    by_distance = [
        np.mean([divergence(spread(a, c), spread(b, c)) for c in range(3) for a, b in zip(frames, frames[d:])])  # noqa: B905
        for d in (1, 2, 4)
    ]
    assert cdc(frames) == pytest.approx(1000 * np.mean(by_distance))


def test_cdc_does_not_compare_across_a_cut_and_needs_a_scene() -> None:
    frames = [flat(10, 10, 10)] * 5 + [flat(200, 200, 200)] * 5
    assert cdc(frames, first=(0, 5)) == 0
    assert cdc(frames) > 0  # type: ignore[operator]
    assert cdc(frames[:4]) is None
    assert cdc([flat(1, 2, 3)] * 8, first=(0, 4)) is None


@given(st.lists(st.integers(0, 50), min_size=8, max_size=8), st.lists(st.integers(0, 50), min_size=8, max_size=8))
def test_divergence_is_symmetric_and_bounded(a: list[int], b: list[int]) -> None:
    p, q = (np.array([x], np.float64) + 1e-9 for x in (a, b))
    p, q = p / p.sum(), q / q.sum()
    assert js_divergence(p, q) == pytest.approx(js_divergence(q, p))
    assert 0 <= js_divergence(p, q) <= np.log(2) + 1e-12
    assert js_divergence(p, p) == 0


def test_histograms_sum_to_one() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    found = histograms(frame)
    assert found.shape == (3, 256)
    np.testing.assert_allclose(found.sum(1), 1)
    assert found[1, frame[0, 0, 1]] >= 1 / 35


# Plain averaging


@pytest.mark.parametrize("scenes", [[1], [2], [3], [9], [4, 1, 6], [2, 2]])
def test_the_mean_stays_within_the_scene(scenes: list[int]) -> None:
    values = np.random.default_rng(0).normal(size=sum(scenes))
    starts = np.cumsum([0, *scenes])
    mean = CentredMean(5)
    found = [m for i, v in enumerate(values) for m in mean.feed(torch.tensor([v]), i in starts)]
    found += mean.flush()
    expected = [
        values[max(start, i - 2) : min(end, i + 3)].mean() for start, end in pairwise(starts) for i in range(start, end)
    ]
    assert [float(f) for f in found] == pytest.approx(expected)


# Records and protocol


def test_metrics_have_records() -> None:
    for metric in (*METRICS.values(), *AGAINST.values()):
        assert metric.title
        assert metric.variant
        assert metric.reference
        assert metric.low < metric.high
    assert METRICS["cdc"].high == pytest.approx(693.147, abs=1e-3)


def test_protocols_are_checked() -> None:
    stated = FilmProtocol(size=128).stated("motion", "cuts")
    assert FilmProtocol.of(stated) == FilmProtocol(size=128)
    with pytest.raises(ZooError, match="another version"):
        FilmProtocol.of(stated | {"version": 0})
    with pytest.raises(OptionError, match="bad size"):
        FilmProtocol(size=2)
    with pytest.raises(OptionError, match="number of frames"):
        FilmProtocol(frames=4)


# Clips


def make(
    path: Path,
    *,
    pix_fmt: str = "yuv444p",
    frames: int = 3,
    size: tuple[int, int] = (48, 64),
    codes: tuple[int, int, int] = (120, 90, 180),
    color_range: int = 0,
) -> Path:
    """A film of one colour, its codes in 8 bits."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("ffv1", rate=Fraction(25))
        video.height, video.width, video.pix_fmt = *size, pix_fmt
        video.codec_context.color_range = color_range
        bits = video.format.components[0].bits
        for _ in range(frames):
            frame = av.VideoFrame(size[1], size[0], pix_fmt)
            for plane, code in zip(frame.planes, codes, strict=False):
                np.frombuffer(plane, np.uint8 if bits == 8 else np.uint16)[:] = code << (bits - 8)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return path


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv420p", "yuv420p10le", "yuv422p"])
@pytest.mark.parametrize("full", [False, True])
def test_true_colors_are_those_of_the_film(pix_fmt: str, full: bool, tmp_path: Path) -> None:
    """By the definition of BT.601, which is that of a small film that names no matrix."""
    path = make(tmp_path / "film.mkv", pix_fmt=pix_fmt, color_range=2 if full else 1)
    frame, *rest = clips.frames(path, 64)
    assert len(rest) == 2
    assert frame.plane.shape == (48, 64)
    assert frame.luma.shape[2:] == frame.chroma.shape[2:] == frame.codes.shape == (55, 74)
    y, cb, cr = (120 / 255, (90 - 128) / 255, (180 - 128) / 255) if full else (104 / 219, -38 / 224, 52 / 224)
    unit = 1023 / 1020 if full and "10" in pix_fmt else 1  # 10 full bits are not 4 times 8
    red, blue = y + 1.402 * cr, y + 1.772 * cb
    green = (y - 0.299 * red - 0.114 * blue) / 0.587
    shown = clips.rgb(frame.luma, frame.chroma, frame.coding).mean((2, 3))[0]
    assert shown.tolist() == pytest.approx([red / unit, green / unit, blue / unit], abs=1e-3)
    assert (frame.codes == 120).all()


def test_clips_without_colors_are_told(tmp_path: Path) -> None:
    assert clips.has_color(make(tmp_path / "color.mkv"))
    assert not clips.has_color(make(tmp_path / "grey.mkv", codes=(120, 128, 128)))
    assert not clips.has_color(make(tmp_path / "gray.mkv", pix_fmt="gray"))


def test_what_is_no_film_is_said(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no film")
    for job in (clips.has_color, clips.rate, lambda path: list(clips.frames(path, 64))):
        with pytest.raises(VideoError, match=r"text\.mp4: not a film"):
            _call(job, tmp_path / "text.mp4")
    with pytest.raises(VideoError, match="no such folder"):
        clips.find(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match="no films in it"):
        clips.find(tmp_path / "empty")


def _call(job: Callable[[Path], Any], path: Path) -> None:
    job(path)


def test_films_are_found_by_name(tmp_path: Path) -> None:
    for name in ("b.MP4", "a/c.mkv", ".hidden.mp4", ".cache/d.mp4", "notes.txt", "a.webm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(clips.find(tmp_path)) == ["a/c.mkv", "a.webm", "b.MP4"]
    assert list(clips.find(tmp_path, 1)) == ["a/c.mkv"]
