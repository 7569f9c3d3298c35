"""Films in segments: what is coloured apart and joined is the film that one run makes, bit by bit."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import Orange, make, packets, plane, read, view
from torch import Tensor, cat
from torch.nn.functional import avg_pool2d

from zoo import images
from zoo.errors import VideoError
from zoo.models.grayscale import GrayscaleConfig
from zoo.video import parts as parts_module
from zoo.video.segments import Segment, colorize_segment, join, split
from zoo.video.transcode import colorize_video

SIZE = (48, 64)
X264 = {"preset": "veryfast", "bf": "3", "g": "250"}


class Shade(Orange):
    """What is bright becomes red and what is dark green, so that colours that are carried show where they come from."""

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        small = avg_pool2d(L, 4)
        return cat([small - 50, 0.5 * (small - L.mean())], 1)


@pytest.fixture
def model() -> Shade:
    made = Shade(GrayscaleConfig())
    made.spec = replace(made.spec, working_size=64)
    return made


def scenes(lengths: Sequence[int], size: tuple[int, int] = SIZE, pix_fmt: str = "yuv420p") -> Callable[[int], Any]:
    """Frame i of a film of scenes so long, in each of which a camera moves over another picture."""
    height, width = size
    of = [(scene, n) for scene, length in enumerate(lengths) for n in range(length)]
    bits = av.VideoFormat(pix_fmt, 16, 16).components[0].bits

    def picture(i: int) -> Any:
        scene, n = of[i]
        darkest = (20, 160, 90)[scene % 3]
        coarse = np.random.default_rng(scene).integers(darkest, darkest + 60, (height // 8 + 1, width // 8 + 9))
        wide = np.kron(coarse, np.ones((8, 8)))[:height, n : n + width] * (1 + 0.01 * (n % 5))
        made = av.VideoFrame(width, height, pix_fmt)
        for index, part in enumerate(made.planes):
            rows = view(made, index)
            rows[:] = np.minimum(wide, 235).astype(rows.dtype) << (bits - 8) if index == 0 else 128 << (bits - 8)
            del part
        return made

    return picture


def cut(path: Path, lengths: Sequence[int] = (14, 9, 16, 11), **options: Any) -> Path:
    """A film of such scenes."""
    size, pix_fmt = options.get("size", SIZE), options.get("pix_fmt", "yuv420p")
    return make(path, frames=sum(lengths), pictures=scenes(lengths, size, pix_fmt), **options)


def apart(
    source: Path,
    target: Path,
    model: Shade,
    *,
    longest: float = 0.5,
    shortest: float = 0.0,
    wanted: dict[str, Any] | None = None,
    **options: Any,
) -> list[Segment]:
    """Colour a film in segments, the last one first."""
    sizes = {k: v for k, v in options.items() if k == "working_size"}
    segments = split(source, model=model, longest=longest, shortest=shortest, **sizes, **wanted or {})
    parts = [target.parent / f"{target.name}.{segment.index}" for segment in segments]
    for segment, part in reversed(list(zip(segments, parts, strict=True))):
        colorize_segment(source, segment, part, model=model, suffix=target.suffix, **{"crf": 0} | options)
    join(source, segments, parts, target)
    return segments


def timed(path: Path) -> list[tuple[Any, ...]]:
    """When each packet of the pictures is shown and decoded, and for how long."""
    with av.open(str(path)) as container:
        return [(p.pts, p.dts, p.duration, p.time_base) for p in container.demux(video=0) if p.size]


def assert_same(one: Path, other: Path) -> None:
    """The same film, but for the packets in which the pictures are."""
    for a, b in zip(read(one), read(other), strict=True):
        assert (a.pts, a.time_base, a.format.name, a.color_range) == (b.pts, b.time_base, b.format.name, b.color_range)
        for index in range(3):
            assert np.array_equal(plane(a, index), plane(b, index)), f"plane {index} at {a.time}"
    assert timed(one) == timed(other)
    for kind in ("audio", "subtitle"):
        assert packets(one, kind) == packets(other, kind)
    with av.open(str(one)) as a, av.open(str(other)) as b:
        assert (a.duration, a.start_time, a.metadata, a.chapters()) == (
            b.duration,
            b.start_time,
            b.metadata,
            b.chapters(),
        )
        assert [s.metadata for s in a.streams] == [s.metadata for s in b.streams]
        assert a.streams.video[0].average_rate == b.streams.video[0].average_rate


def uneven(i: int) -> int:
    return 37 * i + i * i % 23 + 400 * (i > 20)


FILMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "sound": (".mkv", ".mp4", {"codec": "libx264", "options": X264, "sounds": ["eng", "fra"], "sound_codec": "aac"}),
    "uneven time": (".mkv", ".mkv", {"codec": "libx264", "options": X264, "times": uneven}),
    "uneven time in mp4": (".mp4", ".mp4", {"codec": "libx264", "options": X264, "times": uneven}),
    "begins late": (".mkv", ".mp4", {"times": lambda i: 700 + 40 * i}),
    "ticks": (".mp4", ".mov", {"times": lambda i: 1001 * i, "base": Fraction(1, 30000), "codec": "libx264"}),
    "open groups": (".mp4", ".mp4", {"codec": "libx264", "options": X264 | {"x264-params": "open-gop=1:keyint=12"}}),
    "no groups": (".mp4", ".mp4", {"codec": "libx264", "options": {"x264-params": "intra-refresh=1:keyint=20"}}),
    "mpeg2": (".mkv", ".mkv", {"codec": "mpeg2video", "options": {"bf": "2", "g": "15"}, "base": Fraction(1, 25)}),
    "10 bits": (".mkv", ".mp4", {"pix_fmt": "yuv420p10le"}),
    "odd size": (".mkv", ".mkv", {"size": (47, 61), "pix_fmt": "gray"}),
    "full range": (".mkv", ".mp4", {"color_range": 2}),
    "webm": (".mkv", ".webm", {"sounds": ["eng"], "sound_codec": "libopus"}),
    "avi": (".avi", ".mp4", {"codec": "mpeg4", "base": Fraction(1, 25)}),
    "broadcast": (".ts", ".mp4", {"codec": "libx264", "options": X264, "sounds": ["eng"], "sound_codec": "aac"}),
}


@pytest.mark.parametrize("kind", FILMS)
def test_joined_segments_are_the_film_of_one_run(kind: str, model: Shade, tmp_path: Path) -> None:
    before, after, options = FILMS[kind]
    source = cut(tmp_path / f"in{before}", **options)
    segments = apart(source, tmp_path / f"joined{after}", model)
    assert [segment.number for segment in segments] == [0, 14, 23, 39]
    colorize_video(source, tmp_path / f"whole{after}", model=model, crf=0)
    assert_same(tmp_path / f"joined{after}", tmp_path / f"whole{after}")


def test_segments_take_as_many_scenes_as_fit(model: Shade, tmp_path: Path) -> None:
    source = cut(tmp_path / "in.mkv", (10, 15, 40, 5, 5, 5, 20))
    look = partial(split, source, model=model, shortest=0)

    def found(**options: Any) -> list[int]:
        return [segment.frames for segment in look(**options)]

    assert found(longest=1.0) == [25, 40, 15, 20]  # one is longer, since it has no cut
    assert found(longest=0.5) == [10, 15, 40, 10, 5, 20]
    assert found(longest=10) == [100]
    assert found(longest=0.5, shortest=0.45) == [25, 40, 15, 20]
    assert found(longest=0.9, shortest=0.9) == [25, 40, 35], "the end would be too near"
    segments = look(longest=1.0)
    assert [segment.at_cut for segment in segments] == [False, True, True, True]
    assert [segment.begins for segment in segments] == [0, 1, 2.6, 3.2]
    assert [segment.ends for segment in segments] == [1, 2.6, 3.2, 4]
    assert [Segment(**json.loads(json.dumps(asdict(segment)))) for segment in segments] == segments
    assert str(segments[1]) == "segment 2 of 4, 1.00 to 2.60 seconds"


def test_a_film_without_cuts_stays_whole(model: Shade, tmp_path: Path) -> None:
    source = cut(tmp_path / "in.mkv", (30,))
    assert len(apart(source, tmp_path / "joined.mp4", model, longest=0.2)) == 1
    colorize_video(source, tmp_path / "whole.mp4", model=model, crf=0)
    assert_same(tmp_path / "joined.mp4", tmp_path / "whole.mp4")


def test_a_border_anywhere_else_would_show(model: Shade, tmp_path: Path) -> None:
    """That the films above are alike says something: of the same film, begun within a scene, the colours differ."""
    source = cut(tmp_path / "in.mkv", (30,))
    colorize_video(source, tmp_path / "whole.mp4", model=model, crf=0)
    colorize_video(source, tmp_path / "late.mp4", model=model, crf=0, start=0.44)
    pairs = list(zip(read(tmp_path / "whole.mp4")[11:], read(tmp_path / "late.mp4"), strict=True))
    assert all(np.array_equal(plane(a, 0), plane(b, 0)) for a, b in pairs)
    assert any(not np.array_equal(plane(a, 2), plane(b, 2)) for a, b in pairs)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_scenes_of_one_frame(suffix: str, model: Shade, tmp_path: Path) -> None:
    source = cut(tmp_path / "in.mkv", (1, 1, 6, 1, 1, 1, 5, 1), times=uneven)
    segments = apart(source, tmp_path / f"joined{suffix}", model, longest=0.01, preset="medium")
    assert [segment.frames for segment in segments] == [1, 1, 6, 1, 1, 1, 5, 1]
    colorize_video(source, tmp_path / f"whole{suffix}", model=model, crf=0)
    assert_same(tmp_path / f"joined{suffix}", tmp_path / f"whole{suffix}")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_pictures_that_are_decoded_in_another_order(suffix: str, model: Shade, tmp_path: Path) -> None:
    source = cut(tmp_path / "in.mkv", (14, 1, 9, 1, 1, 16, 11), times=uneven)
    apart(source, tmp_path / f"joined{suffix}", model, crf=20, preset="slow")
    colorize_video(source, tmp_path / f"whole{suffix}", model=model, crf=20, preset="slow")
    stamps = [frame.pts for frame in read(tmp_path / f"joined{suffix}")]
    assert stamps == [frame.pts for frame in read(tmp_path / f"whole{suffix}")]
    found = timed(tmp_path / f"joined{suffix}")
    assert [pts for pts, *_ in found] != sorted(pts for pts, *_ in found), "else this test shows nothing"
    assert sorted(pts for pts, *_ in found) == stamps
    assert [dts for _, dts, *_ in found] == [dts for _, dts, *_ in timed(tmp_path / f"whole{suffix}")]


@pytest.mark.parametrize("delay", [0, 1, 2, 5])
def test_decoding_times_rise_and_are_never_late(delay: int) -> None:
    shown = [0, 9, 4, 2, 30, 11, 31, 35, 33, 80, 36]
    due = parts_module.decoding_times(shown, delay)
    assert all(a < b for a, b in pairwise(due))
    assert all(a <= b for a, b in zip(due, shown, strict=True))
    assert parts_module.decoding_times([5], delay) == [5]


def test_what_is_wanted_of_a_film(model: Shade, tmp_path: Path) -> None:
    source = cut(tmp_path / "in.mkv", codec="libx264", options=X264, sounds=["eng"], sound_codec="aac")
    segments = apart(source, tmp_path / "joined.mp4", model, wanted={"start": 0.3, "end": 1.7})
    assert [segment.number for segment in segments] == [0, 6, 15, 31]
    colorize_video(source, tmp_path / "whole.mp4", model=model, crf=0, start=0.3, end=1.7)
    assert_same(tmp_path / "joined.mp4", tmp_path / "whole.mp4")


def test_a_film_of_pictures(model: Shade, tmp_path: Path) -> None:
    make_one, folder = scenes((5, 6, 4)), tmp_path / "in"
    folder.mkdir()
    for i in range(15):
        images.write(folder / f"{i:03}.png", np.repeat(plane(make_one(i), 0)[..., None], 3, 2))
    segments = apart(folder, tmp_path / "joined.mp4", model, longest=0.1, wanted={"fps": 30})
    assert [segment.frames for segment in segments] == [5, 6, 4]
    colorize_video(folder, tmp_path / "whole.mp4", model=model, crf=0, fps=30)
    assert_same(tmp_path / "joined.mp4", tmp_path / "whole.mp4")


def spoiled(path: Path, target: Path, which: Sequence[int]) -> Path:
    """A copy in which these packets of the pictures are nothing."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        coded = [bytes(p) for p in container.demux(video=0) if p.size]
    for n in which:
        assert data.count(coded[n]) == 1
        begin = data.index(coded[n])
        data[begin : begin + len(coded[n])] = bytes(len(coded[n]))
    target.write_bytes(data)
    return target


@pytest.mark.parametrize("which", [[5], [13], [14], [23, 24], [38, 49]])
def test_damage_is_concealed_as_by_one_run(which: list[int], model: Shade, tmp_path: Path) -> None:
    options = {"preset": "veryfast", "bf": "0", "g": "5"}
    whole = cut(tmp_path / "good.mkv", codec="libx264", options=options)
    source = spoiled(whole, tmp_path / "in.mkv", which)
    apart(source, tmp_path / "joined.mkv", model)
    one = colorize_video(source, tmp_path / "whole.mkv", model=model, crf=0)
    assert_same(tmp_path / "joined.mkv", tmp_path / "whole.mkv")
    segments = split(source, model=model, longest=0.5, shortest=0)
    parts = [tmp_path / f"joined.mkv.{segment.index}" for segment in segments]
    again = join(source, segments, parts, tmp_path / "joined.mkv", force=True)
    assert one.damaged
    assert again.damaged == sorted(set(one.damaged))
    assert (again.frames, again.runs, again.notes) == (one.frames, one.runs, one.notes)


def test_a_film_that_stops_before_its_end_is_not_split(model: Shade, tmp_path: Path) -> None:
    source = cut(tmp_path / "in.mkv", (60,), grain=30, codec="libx264", options=X264)
    (tmp_path / "cut.mkv").write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with pytest.raises(VideoError, match=r"cut\.mkv: stops at .* seconds, after .* give a whole source"):
        split(tmp_path / "cut.mkv", model=model)
