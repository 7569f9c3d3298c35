"""What a person says of a film's colours: it follows the motion through its scene, and stops at the cuts."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from clips import Orange, make, plane, read, view
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from zoo import color, hints
from zoo.errors import OptionError, VideoError, ZooError
from zoo.models.grayscale import GrayscaleConfig
from zoo.spread import Spread
from zoo.video import chroma, marks, planes, surveying
from zoo.video.chroma import Coding
from zoo.video.coloring import FilmColorizer
from zoo.video.guiding import Plan, Touch
from zoo.video.segments import colorize_segment, join, split
from zoo.video.transcode import Progress, colorize_video

SIZE = (96, 128)
LENGTHS = (24, 16)  # frames of the two scenes
AT = 10  # the frame on which hints are given
RED, BLUE = "#a05848", "#5874a0"
AB = {name: color.rgb_to_lab(torch.tensor([[[int(name[i : i + 2], 16) / 255]] for i in (1, 3, 5)]))[1:, 0, 0]
      for name in (RED, BLUE)}  # fmt: skip


class Grey(Orange):
    """No colours; their spread, for variants, is wide."""

    ab = (0.0, 0.0)

    def spread(self, L: Tensor, **options: Any) -> Spread:
        ab = self.predict_ab(L)
        covariance = torch.tensor([100.0, 0, 100]).view(1, 3, 1, 1).expand(len(L), 3, *ab.shape[2:])
        return Spread(ab.contiguous(), covariance.contiguous())


@pytest.fixture(scope="module")
def model() -> Orange:
    made = Grey(GrayscaleConfig())
    made.spec = replace(made.spec, working_size=128)
    return made


def square_at(i: int) -> tuple[int, int]:
    """Top and left of the square in frame ``i``: it moves in the first scene, and in the second."""
    n = i if i < LENGTHS[0] else i - LENGTHS[0]
    return (36, 14 + 2 * n) if i < LENGTHS[0] else (20, 70 - 2 * n)


def middle(i: int) -> tuple[int, int]:
    """x and y of its middle."""
    top, left = square_at(i)
    return left + 14, top + 14


def picture(i: int, size: tuple[int, int] = SIZE) -> av.VideoFrame:
    """A bright square with some texture over a dark, rough ground; another ground in the second scene."""
    second = i >= LENGTHS[0]
    height, width = size
    rough = np.random.default_rng(second).integers(0, 24, (height // 4, width // 4))
    luma = (100 if second else 40) + np.kron(rough, np.ones((4, 4)))[:height, :width]
    top, left = square_at(i)
    detail = np.kron(np.random.default_rng(7).integers(0, 16, (7, 7)), np.ones((4, 4)))
    luma[top : top + 28, left : left + 28] = 140 + detail
    made = av.VideoFrame(width, height, "yuv420p")
    for index, part in enumerate(made.planes):
        view(made, index)[:] = luma.astype(np.uint8) if index == 0 else 128
        del part
    return made


def film(path: Path, **options: Any) -> Path:
    return make(path, **{"frames": sum(LENGTHS), "pictures": picture, "size": SIZE} | options)


def seconds(i: int) -> float:
    return i / 25


def told(color_: str = RED, i: int = AT) -> dict[float, Any]:
    return {seconds(i): [(*middle(i), color_)]}


FAST: dict[str, Any] = {"crf": 0, "preset": "ultrafast"}
FIRST: dict[str, Any] = FAST | {"end": LENGTHS[0] / 25}  # of the first scene alone
BEGINNING: dict[str, Any] = FAST | {"end": (AT + 5) / 25}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return film(tmp_path_factory.mktemp("source") / "in.mkv")


@pytest.fixture(scope="module")
def whole(source: Path, model: Orange, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The film in colour, as `told` or otherwise; one of each is made for all tests."""

    @cache
    def made(target: str, guidance: str) -> Path:
        path = tmp_path_factory.mktemp("whole") / target
        colorize_video(source, path, model=model, **GUIDANCE[guidance], **FAST)
        return path

    return made


GUIDANCE: dict[str, dict[str, Any]] = {
    "plain": {},
    "hints": {"hints": told()},
    "variant": {"variant": 2, "seed": 5},
}


def lab(frame: Any) -> npt.NDArray[np.float32]:
    """Lab (3, H, W) of a frame as players show it, each chroma sample for its four pixels."""
    coding = planes.coding(frame)
    luma = coding.luma(torch.from_numpy(plane(frame, 0)))
    unit = 1 << (coding.bits - 8)
    span = 255 * unit if coding.full else 224 * unit
    small = torch.from_numpy(np.stack([plane(frame, k) for k in (1, 2)])).float()
    cb, cr = F.interpolate((small[None] - 128 * unit) / span, luma.shape, mode="nearest")[0]
    red, blue = luma + 2 * (1 - coding.red) * cr, luma + 2 * (1 - coding.blue) * cb
    green = (luma - coding.red * red - coding.blue * blue) / (1 - coding.red - coding.blue)
    return color.rgb_to_lab(torch.stack([red, green, blue]).clamp(0, 1)).numpy()


def ab_of(frame: Any, i: int, offset: tuple[int, int] = (0, 0)) -> Tensor:
    """Mean ab of the square's middle in frame ``i``, or beside it."""
    x, y = middle(i)
    part = lab(frame)[1:, y + offset[1] - 4 : y + offset[1] + 4, x + offset[0] - 4 : x + offset[0] + 4]
    return torch.from_numpy(part.mean((1, 2)))


def same(one: Any, other: Any) -> bool:
    return all(np.array_equal(plane(one, k), plane(other, k)) for k in range(3))


def assert_same(one: Path, other: Path) -> None:
    a, b = read(one), read(other)
    assert len(a) == len(b)
    assert [n for n, (x, y) in enumerate(zip(a, b, strict=True)) if not same(x, y)] == []


def test_a_hint_follows_what_it_lies_on_both_ways_up_to_the_cut(whole: Callable[..., Path]) -> None:
    plain, out = read(whole("a.mp4", "plain")), read(whole("a.mp4", "hints"))
    for i in range(LENGTHS[0]):
        assert (ab_of(out[i], i) - AB[RED]).norm() < 6, f"frame {i}"
        assert ab_of(out[i], i, (0, 30)).norm() < 8, f"the ground in frame {i}"
        assert np.array_equal(plane(out[i], 0), plane(plain[i], 0))
    assert all(same(a, b) for a, b in zip(out[LENGTHS[0] :], plain[LENGTHS[0] :], strict=True))


def test_nothing_before_the_cut_changes_either(
    source: Path, whole: Callable[..., Path], model: Orange, tmp_path: Path
) -> None:
    colorize_video(source, tmp_path / "out.mp4", model=model, hints=told(BLUE, LENGTHS[0] + 5), **FAST)
    plain, out = read(whole("a.mp4", "plain")), read(tmp_path / "out.mp4")
    assert all(same(a, b) for a, b in zip(out[: LENGTHS[0]], plain[: LENGTHS[0]], strict=True))
    assert all((ab_of(out[i], i) - AB[BLUE]).norm() < 8 for i in range(LENGTHS[0], sum(LENGTHS)))


@pytest.mark.parametrize("target", ["out.mp4", "out.mkv", "out"])
def test_the_hinted_frame_has_the_very_colour(target: str, source: Path, model: Orange, tmp_path: Path) -> None:
    x, y = middle(AT)
    for name, radius in ((RED, 3), (BLUE, 6)):
        colorize_video(
            source, tmp_path / target, model=model, hints=told(name), hint_radius=radius, force=True, **BEGINNING
        )
        if target == "out":
            rgb = np.asarray(Image.open(tmp_path / "out" / f"{AT + 1:06d}.png").convert("RGB"))
            shown = color.rgb_to_lab(torch.from_numpy(rgb.copy()).permute(2, 0, 1).float() / 255).numpy()
        else:
            shown = lab(read(tmp_path / target)[AT])
        near = np.hypot(*np.meshgrid(np.arange(SIZE[1]) - x, np.arange(SIZE[0]) - y)) <= radius
        off = shown[1:, near] - AB[name].numpy()[:, None]
        assert np.abs(off).max() < 1.5  # 8 bits and one sample of chroma for four pixels
        assert np.abs(off).mean() < 0.5


def test_exact_chroma_shows_the_very_ab() -> None:
    coding = Coding.of(1, False, 8, 720)
    luma = torch.linspace(0.3, 0.7, 9).view(1, 1, 1, 9)
    ab = torch.tensor([20.0, -15.0]).view(1, 2, 1, 1).expand(1, 2, 1, 9)
    cb, cr = chroma.exactly(luma, ab, coding)[0]
    red, blue = luma[0, 0] + 2 * (1 - coding.red) * cr, luma[0, 0] + 2 * (1 - coding.blue) * cb
    green = (luma[0, 0] - coding.red * red - coding.blue * blue) / (1 - coding.red - coding.blue)
    shown = color.rgb_to_lab(torch.stack([red, green, blue]))[1:]
    torch.testing.assert_close(shown, ab[0], atol=0.05, rtol=0)


def test_of_several_moments_the_nearer_counts_more(source: Path, model: Orange, tmp_path: Path) -> None:
    first, second = 2, 18
    both = told(RED, first) | told(BLUE, second)
    colorize_video(source, tmp_path / "out.mp4", model=model, hints=both, **FIRST)
    out = read(tmp_path / "out.mp4")
    line = AB[BLUE] - AB[RED]
    along = [float((ab_of(out[i], i) - AB[RED]) @ line / (line @ line)) for i in range(LENGTHS[0])]
    assert abs(along[first]) < 0.1
    assert abs(along[second] - 1) < 0.1
    assert 0.3 < along[10] < 0.7
    assert all(a < b + 0.05 for a, b in zip(along[first:second], along[first + 1 : second + 1], strict=True))


def test_a_second_hint_elsewhere_leaves_the_first_alone(source: Path, model: Orange, tmp_path: Path) -> None:
    ground = {seconds(18): [(20, 84, BLUE)]}
    colorize_video(source, tmp_path / "out.mp4", model=model, hints=told() | ground, **FIRST)
    out = read(tmp_path / "out.mp4")
    assert all((ab_of(out[i], i) - AB[RED]).norm() < 12 for i in range(LENGTHS[0]))


def test_a_mark_ends_where_it_is_covered_or_leaves() -> None:
    plain = np.full((32, 32), 90, np.uint8)
    told_ = marks.Marks(
        np.array([[16, 4], [16, 28], [8, 16]], np.float32),
        np.zeros((3, 2), np.float32),
        np.ones(3, np.float32),
        np.zeros(3, np.int64),
        np.full(3, 90, np.float32),
    )
    flow = np.zeros((32, 32, 2), np.float32)
    flow[:, 20:, 0] = 8  # which leads out of the frame
    seen = np.ones((32, 32), np.float32)
    seen[:12] = 0
    covered = plain.copy()
    covered[:12] = 200
    np.testing.assert_array_equal(told_.moved(plain, covered, flow, seen).yx, [[16, 4]])
    even = told_.moved(plain, plain, np.zeros_like(flow), seen)
    assert even.weight.tolist() == pytest.approx([1, 1, 0.95])  # it looks the same


def test_a_mark_ends_that_slides_off_what_it_lay_on() -> None:
    planes_ = [np.full((32, 32), 200 - 8 * n, np.uint8) for n in range(12)]
    still, seen = np.zeros((32, 32, 2), np.float32), np.ones((32, 32), np.float32)
    mark = marks.of_hints(hints.read([(16, 16, RED)], (32, 32)), (32, 32), planes_[0], 0)
    weights = []
    for here, there in pairwise(planes_):
        mark = mark.moved(here, there, still, seen)
        weights.append(float(mark.weight.sum()))
    assert weights[:3] == [1, 1, 1]  # a little light is nothing
    assert weights[-1] == 0


def test_a_mark_that_slides_off_goes_back_to_what_it_lay_on() -> None:
    plane_ = np.full((32, 32), 60, np.uint8)
    plane_[10:20, 10:20] = 180
    mark = marks.of_hints(hints.read([(18, 15, RED)], (32, 32)), (32, 32), plane_, 0)
    flow = np.zeros((32, 32, 2), np.float32)
    flow[..., 0] = 2.5  # more than it moves
    moved = mark.moved(plane_, plane_, flow, np.ones((32, 32), np.float32))
    np.testing.assert_array_equal(moved.yx, [[15, 19]])
    assert moved.weight == 1
    assert len(mark.moved(plane_, plane_, 2 * flow, np.ones((32, 32), np.float32))) == 0


def test_many_marks_are_thinned_and_no_moment_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "TOGETHER", 60)
    plane_ = np.full((32, 32), 90, np.uint8)
    layer = np.zeros((32, 32, 4), np.uint8)
    layer[4:24, 4:12] = (0xA0, 0x58, 0x48, 255)
    together = marks.of_hints(hints.read([(28, 28, BLUE)], (32, 32)), (32, 32), plane_, 0)
    for moment in range(1, 10):
        together += marks.of_hints(hints.read(layer, (32, 32)), (32, 32), plane_, moment)
    counts: list[int] = []
    between = marks._between_moments
    monkeypatch.setattr(marks, "_between_moments", lambda *args: counts.append(len(args[1])) or between(*args))
    L = torch.full((1, 1, 32, 32), 40.0)
    L[..., 20:] = 80
    changed = marks.change(together, 0, L, torch.zeros(1, 2, 32, 32))[0]
    assert 10 <= counts[0] <= 60
    assert (changed[:, 28, 28] - AB[BLUE]).norm() < 3
    assert (changed[:, 12, 8] - AB[RED]).norm() < 3


def test_layers_and_points_are_alike(source: Path, model: Orange, tmp_path: Path) -> None:
    layer = np.zeros((*SIZE, 4), np.uint8)
    x, y = middle(AT)
    layer[y, x] = (0xA0, 0x58, 0x48, 255)
    Image.fromarray(layer).save(tmp_path / "layer.png")
    colorize_video(source, tmp_path / "points.mp4", model=model, hints=told(), **BEGINNING)
    for n, given in enumerate((layer, Image.fromarray(layer), tmp_path / "layer.png", str(tmp_path / "layer.png"))):
        colorize_video(source, tmp_path / f"{n}.mp4", model=model, hints={seconds(AT): given}, **BEGINNING)
        assert_same(tmp_path / "points.mp4", tmp_path / f"{n}.mp4")


def stop_after(frames: int) -> Callable[[Progress], None]:
    def progress(at: Progress) -> None:
        if at.done >= frames:
            raise KeyboardInterrupt

    return progress


def test_it_can_be_cancelled_while_scenes_are_looked_for(source: Path, model: Orange, tmp_path: Path) -> None:
    seen = []

    def stop(at: Progress) -> None:
        seen.append(at)
        if len(seen) == 4:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        colorize_video(source, tmp_path / "out.mkv", model=model, progress=stop, **GUIDANCE["hints"], **FAST)
    assert seen == [Progress(0, sum(LENGTHS), 0.0)] * 4
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["out.mkv", "out"])
@pytest.mark.parametrize("done", [6, 17, 30])
@pytest.mark.parametrize("guidance", ["hints", "variant"])
def test_a_run_that_goes_on_makes_the_same_film(
    guidance: str, done: int, target: str, source: Path, whole: Callable[..., Path], model: Orange, tmp_path: Path
) -> None:
    undivided, options = whole(target, guidance), GUIDANCE[guidance] | FAST
    with pytest.raises(KeyboardInterrupt):
        colorize_video(source, tmp_path / target, model=model, progress=stop_after(done), **options)
    with pytest.raises(VideoError, match="other settings"):
        colorize_video(source, tmp_path / target, model=model, resume=True, **FAST)
    report = colorize_video(source, tmp_path / target, model=model, resume=True, **options)
    assert 0 < report.kept <= done  # pictures are written a little later
    assert report.frames == sum(LENGTHS)
    if target == "out":
        for path in sorted(undivided.iterdir()):
            assert path.read_bytes() == (tmp_path / target / path.name).read_bytes(), path.name
    else:
        assert_same(undivided, tmp_path / target)


@pytest.mark.parametrize("start", [0.0, 0.12])
def test_what_is_coloured_apart_is_the_film_of_one_run(
    start: float, source: Path, model: Orange, tmp_path: Path
) -> None:
    guidance: dict[str, Any] = {"hints": told() | told(BLUE, LENGTHS[0] + 3), "hint_radius": 4}
    colorize_video(source, tmp_path / "whole.mp4", model=model, start=start, **guidance, **FAST)
    found = split(source, model=model, longest=0.5, shortest=0, start=start)
    assert len(found) == 2
    parts = [tmp_path / f"{segment.index}.part" for segment in found]
    for segment, part in zip(found, parts, strict=True):
        colorize_segment(source, segment, part, model=model, **guidance, **FAST)
    join(source, found, parts, tmp_path / "joined.mp4")
    assert_same(tmp_path / "whole.mp4", tmp_path / "joined.mp4")
    with pytest.raises(VideoError, match="other settings"):
        colorize_segment(source, found[0], parts[0], model=model, **FAST)


def test_a_variant_is_one_for_the_scene(
    source: Path, whole: Callable[..., Path], model: Orange, tmp_path: Path
) -> None:
    colorize_video(source, tmp_path / "b.mp4", model=model, variant=1, **FAST)
    paths = (whole("out.mkv", "variant"), tmp_path / "b.mp4")
    one, other = ([ab_of(f, i) for i, f in enumerate(read(path))] for path in paths)
    assert all((a - b).norm() > 3 for a, b in zip(one, other, strict=True))
    for of in (one, other):
        scene = torch.stack(of[: LENGTHS[0]])
        assert (scene[1:] - scene[:-1]).norm(dim=1).max() < 1.5
    with pytest.raises(OptionError, match="with a variant only"):
        colorize_video(source, tmp_path / "c.mp4", model=model, seed=5, **FAST)
    assert not (tmp_path / "c.mp4").exists()


def red_picture() -> npt.NDArray[np.uint8]:
    grey = plane(picture(AT), 0).astype(np.float32)
    return np.stack([grey + 60, grey, grey - 30], 2).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("mode", ["match", "palette"])
def test_a_reference_is_for_all_scenes_or_for_one(mode: str, source: Path, model: Orange, tmp_path: Path) -> None:
    options: dict[str, Any] = FAST | {"model": model, "reference_mode": mode, "keyframe_interval": LENGTHS[0]}
    films = {
        "plain": None,
        "all": red_picture(),
        "first": {seconds(AT): red_picture()},
        "second": {seconds(LENGTHS[0]): red_picture()},
    }
    for name, reference in films.items():
        colorize_video(source, tmp_path / f"{name}.mkv", reference=reference, **options)
    out = {name: read(tmp_path / f"{name}.mkv") for name in films}
    assert all(ab_of(f, i)[0] > 8 for i, f in enumerate(out["all"][: LENGTHS[0]]))
    for name, scene, others in (("first", slice(0, 24), slice(24, 40)), ("second", slice(24, 40), slice(0, 24))):
        assert all(map(same, out[name][scene], out["all"][scene]))
        assert all(map(same, out[name][others], out["plain"][others]))
    twice = {seconds(2): red_picture(), seconds(AT): red_picture()}
    with pytest.raises(OptionError, match="two references for one scene"):
        colorize_video(source, tmp_path / "x.mkv", reference=twice, **options)


@pytest.mark.parametrize(
    ("guidance", "message"),
    [
        ({"hints": {9.0: [(1, 1, RED)]}}, "no frame at that moment; found: 9 seconds; expected: less than 1.60"),
        ({"hints": {-1.0: [(1, 1, RED)]}}, "bad moment"),
        ({"hints": {float("nan"): [(1, 1, RED)]}}, "bad moment"),
        ({"hints": {"soon": [(1, 1, RED)]}}, "bad moment"),
        ({"hints": [(1, 1, RED)]}, "hints for a film need a moment"),
        ({"hints": {0.2: [(128, 1, RED)]}}, "outside of the picture; found: x 128, y 1; expected: x below 128"),
        ({"hints": {0.2: np.zeros((128, 96, 4), np.uint8)}}, "does not fit the picture; found: 96 x 128"),
        ({"hints": {0.2: [(1, 1, "no colour")]}}, "not a colour"),
        ({"hints": {0.2: [(1, 1, RED)]}, "hint_radius": -1}, "bad hint radius"),
        ({"hints": {0.2: "none.png"}}, "none.png"),
        ({"reference": np.zeros((9, 9, 3), np.uint8)}, "no colour of its own"),
        ({"reference": {0.2: "none.png"}}, "none.png"),
        ({"reference_mode": "nope"}, "unknown reference mode"),
        ({"hints": {0.04: [(1, 1, RED)]}, "start": 0.4}, "0.04 seconds; expected: 0.4 seconds"),
        ({"hints": {0.8: [(1, 1, RED)]}, "end": 0.4}, "less than 0.40 seconds"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_anything_is_written(
    guidance: Mapping[str, Any], message: str, source: Path, model: Orange, tmp_path: Path
) -> None:
    with pytest.raises(ZooError, match=message):
        colorize_video(source, tmp_path / "out.mp4", model=model, **guidance, **FAST)
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_breaks_off_before_the_moment(model: Orange, tmp_path: Path) -> None:
    whole = film(tmp_path / "in.mkv", codec="mjpeg", pix_fmt="yuvj420p", pictures=None)
    (tmp_path / "cut.mkv").write_bytes(whole.read_bytes()[: whole.stat().st_size // 3])
    with pytest.raises(VideoError, match="before the last moment for which colours are told"):
        colorize_video(tmp_path / "cut.mkv", tmp_path / "out.mp4", model=model, hints=told(i=38), **FAST)
    assert not (tmp_path / "out.mp4").exists()


def test_pixels_are_those_that_are_shown(whole: Callable[..., Path], model: Orange, tmp_path: Path) -> None:
    x, y = middle(AT)
    wide = film(tmp_path / "wide.mkv", codec="libx264", options={"qp": "0"}, aspect=Fraction(2, 1))
    colorize_video(wide, tmp_path / "wide.mp4", model=model, hints={seconds(AT): [(2 * x + 0.5, y, RED)]}, **FAST)
    assert_same(tmp_path / "wide.mp4", whole("a.mp4", "hints"))
    assert surveying.shown_size((576, 720), Fraction(16, 15)) == (576, 768)


@pytest.mark.parametrize("at", [0.4, 0.41, 0.4396])
def test_the_frame_is_the_one_shown_at_the_moment(at: float, source: Path, model: Orange, tmp_path: Path) -> None:
    frame = 10 if at < 0.4396 else 11  # within the rounding of time stamps to thousandths
    colorize_video(source, tmp_path / "a.mp4", model=model, hints={at: [(*middle(10), RED)]}, **BEGINNING)
    colorize_video(source, tmp_path / "b.mp4", model=model, hints={seconds(frame): [(*middle(10), RED)]}, **BEGINNING)
    assert_same(tmp_path / "a.mp4", tmp_path / "b.mp4")


def test_how_far_back_is_bounded(source: Path, model: Orange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surveying, "REACH", 1)
    colorize_video(source, tmp_path / "out.mp4", model=model, hints=told(i=20), **FIRST)
    out = read(tmp_path / "out.mp4")
    assert (ab_of(out[20], 20) - AB[RED]).norm() < 3
    assert ab_of(out[0], 0).norm() < 1


def test_a_plan_changes_no_cuts_and_no_key_frames() -> None:
    coding = Coding.of(1, False, 8, 96)
    lumas = [plane(picture(i), 0) for i in range(sum(LENGTHS))]
    x, y = middle(AT)
    touch = Touch(hints.read([(x, y, RED)], SIZE), 3)

    def colored(plan: Plan | None) -> list[Any]:
        colorizer = FilmColorizer(
            lambda L: torch.zeros(1, 2, 4, 4), SIZE, working_size=128, multiple_of=1, coding=coding, plan=plan
        )
        found = [c for i, luma in enumerate(lumas) for c in colorizer.feed(luma, i)]
        return found + list(colorizer.flush())

    plain, guided = colored(None), colored(Plan(touches={AT: touch}))
    assert [(c.first, c.key) for c in plain] == [(c.first, c.key) for c in guided]
    assert [i for i, c in enumerate(guided) if c.touch is not None] == [AT]
