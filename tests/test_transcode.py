"""Films as files: the luma is the source's, time and shape are kept, and what cannot be read is refused."""

import os
import stat
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import Orange, about, frame, luma, lumas, make, orange, packets, plane, read, same_luma, times_of

from zoo.errors import OptionError, VideoError
from zoo.video.transcode import Progress, colorize_video


@pytest.fixture
def model() -> Orange:
    return orange()


@pytest.mark.parametrize(
    ("options", "pix_fmt"),
    [
        ({}, "yuv420p"),
        ({"pix_fmt": "yuv444p"}, "yuv420p"),
        ({"pix_fmt": "yuv420p10le"}, "yuv420p10le"),
        ({"pix_fmt": "gray"}, "yuv420p"),
        ({"size": (35, 51)}, "yuv444p"),
        ({"color_range": 2}, "yuv420p"),
        ({"frames": 1}, "yuv420p"),
    ],
)
@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_luma_is_written_through(
    options: dict[str, Any], pix_fmt: str, suffix: str, model: Orange, tmp_path: Path
) -> None:
    source = make(tmp_path / "in.mkv", **options)
    report = colorize_video(source, tmp_path / f"out{suffix}", model=model, crf=0)
    before, after = read(source), read(tmp_path / f"out{suffix}")
    assert len(after) == len(before) == report.frames
    for one, other in zip(before, after, strict=True):
        assert other.format.name.replace("yuvj", "yuv") == pix_fmt
        assert np.array_equal(plane(one, 0), plane(other, 0))
        assert float(other.pts * other.time_base) == float(one.pts * one.time_base)
    assert about(tmp_path / f"out{suffix}").rate == about(source).rate
    full = options.get("color_range") == 2 or options.get("pix_fmt") == "gray"
    assert (after[0].color_range == 2) == full
    bits = 2 ** (after[0].format.components[0].bits - 8)
    chroma_blue, chroma_red = (plane(after[0], i).mean() / bits for i in (1, 2))
    assert chroma_blue < 122
    assert chroma_red > 132


def test_webm_is_lossless_too(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=6)
    colorize_video(source, tmp_path / "out.webm", model=model, crf=0)
    assert same_luma(source, tmp_path / "out.webm")
    assert about(tmp_path / "out.webm").codec == "vp9"


def test_a_film_that_mp4_players_can_begin_at_once(model: Orange, tmp_path: Path) -> None:
    colorize_video(make(tmp_path / "in.mkv"), tmp_path / "out.mp4", model=model)
    data = (tmp_path / "out.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_uneven_time_is_kept(suffix: str, model: Orange, tmp_path: Path) -> None:
    times = [0, 40, 90, 95, 200, 333, 400, 401, 500, 777, 900, 1000]
    source = make(tmp_path / "in.mkv", times=times.__getitem__)
    colorize_video(source, tmp_path / f"out{suffix}", model=model)
    assert times_of(tmp_path / f"out{suffix}") == times


def test_a_film_that_begins_late_does_so_still(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", times=lambda i: 700 + 40 * i, sounds=["eng"])
    colorize_video(source, tmp_path / "out.mp4", model=model)
    assert times_of(tmp_path / "out.mp4") == times_of(source)
    assert times_of(source)[0] == 700


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".webm"])
def test_length_and_number_of_frames_are_kept(suffix: str, model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", frames=30, codec="libx264")  # with frames that refer to later ones
    colorize_video(source, tmp_path / f"out{suffix}", model=model, preset="veryfast")
    assert about(source).seconds == pytest.approx(1.2, abs=0.002)
    assert about(tmp_path / f"out{suffix}").seconds == pytest.approx(1.2, abs=0.002)
    assert len(read(tmp_path / f"out{suffix}")) == 30


@pytest.mark.parametrize("preset", ["ultrafast", "medium"])  # without and with frames that refer to later ones
def test_the_last_frame_is_shown_as_long_as_before(preset: str, model: Orange, tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as out:
        video = out.add_stream("mpeg4", rate=25)
        video.width, video.height = 64, 48
        for i in range(5):
            made = frame(i, (48, 64), "yuv420p")
            made.pts = i
            for packet in video.encode(made):
                packet.duration = 1 if i < 4 else 50
                out.mux(packet)
    assert about(source).seconds == 2.16
    for suffix in (".mkv", ".mp4", ".webm"):
        colorize_video(source, tmp_path / f"out{suffix}", model=model, preset=preset)
        assert about(tmp_path / f"out{suffix}").seconds == pytest.approx(2.16, abs=0.002)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_film_is_written_upright_once(turn: int, model: Orange, tmp_path: Path) -> None:
    straight = make(tmp_path / "straight.mp4", codec="libx264", options={"crf": "0"}, size=(48, 64))
    turned = with_display_matrix(straight, tmp_path / "turned.mp4", turn)
    frames = read(turned)
    assert frames[0].rotation % 360 == turn
    colorize_video(turned, tmp_path / "out.mp4", model=model, crf=0)
    after = read(tmp_path / "out.mp4")
    assert after[0].rotation == 0
    expected = np.rot90(plane(frames[3], 0), turn // 90)
    assert (after[0].height, after[0].width) == expected.shape
    assert np.array_equal(plane(after[3], 0), expected)


def with_display_matrix(path: Path, target: Path, turn: int) -> Path:
    """A copy of an MP4 whose track is to be turned counter-clockwise by ``turn`` degrees when it is shown."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # version, flags, times, track, duration, layer, volume: the matrix
    cos, sin = {90: (0, -1), 180: (-1, 0), 270: (0, 1)}[turn]
    matrix = [cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30]
    data[place : place + 36] = b"".join(v.to_bytes(4, "big", signed=True) for v in matrix)
    target.write_bytes(data)
    return target


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_pixels_that_are_no_squares_stay_so(suffix: str, model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", codec="libx264", aspect=Fraction(4, 3))
    colorize_video(source, tmp_path / f"out{suffix}", model=model)
    assert about(tmp_path / f"out{suffix}").aspect == Fraction(4, 3)


def test_a_webm_cannot_be_told_the_shape_of_pixels_which_is_reported(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", codec="libx264", aspect=Fraction(4, 3))
    report = colorize_video(source, tmp_path / "out.webm", model=model)
    assert report.left_out == ["the shape of its pixels, 4/3: webm is written without"]


def test_a_turned_film_of_such_pixels(model: Orange, tmp_path: Path) -> None:
    straight = make(tmp_path / "straight.mp4", codec="libx264", aspect=Fraction(4, 3))
    turned = with_display_matrix(straight, tmp_path / "turned.mp4", 90)
    colorize_video(turned, tmp_path / "out.mp4", model=model)
    assert about(tmp_path / "out.mp4").aspect == Fraction(3, 4)


def test_colour_matrix_and_primaries_are_marked_as_they_were(model: Orange, tmp_path: Path) -> None:
    def mark(out: Any) -> None:
        context = out.streams.video[0].codec_context
        context.colorspace, context.color_primaries, context.color_trc = 9, 9, 14

    source = make(tmp_path / "in.mkv", codec="libx264", pix_fmt="yuv420p10le", prepare=mark)
    for suffix in (".mp4", ".mkv", ".webm"):
        report = colorize_video(source, tmp_path / f"out{suffix}", model=model)
        assert about(tmp_path / f"out{suffix}").colors == (9, 9, 14)
    assert report.left_out == ["the finest 2 of the 10 bits of its brightness: webm is written with 8"]


def test_a_film_of_rgb_has_its_own_luma(model: Orange, tmp_path: Path) -> None:
    source = tmp_path / "in.mov"
    with av.open(str(source), "w") as out:
        video = out.add_stream("png", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "rgb24"
        for i in range(3):
            made = av.VideoFrame.from_ndarray(np.dstack([luma(0, 48, 64)] * 3), format="rgb24")
            made.pts = i
            out.mux(video.encode(made))
        out.mux(video.encode(None))
    colorize_video(source, tmp_path / "out.mp4", model=model, crf=0)
    limited = np.rint(16 + luma(0, 48, 64) * (219 / 255))
    assert np.abs(lumas(tmp_path / "out.mp4")[1] - limited).max() <= 1


@pytest.mark.parametrize("codec", ["ffv1", "libx264"])
def test_a_part_of_a_film(codec: str, model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=50, sounds=["eng"], codec=codec)
    colorize_video(source, tmp_path / "out.mp4", model=model, start=0.4, end=1.2, crf=0)
    before, after = lumas(source)[10:30], lumas(tmp_path / "out.mp4")
    assert len(after) == 20
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    assert times_of(tmp_path / "out.mp4") == [40 * i for i in range(20)]
    assert about(tmp_path / "out.mp4").seconds == pytest.approx(0.8, abs=0.05)


def test_the_end_of_a_slow_film_is_not_cut_short(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=12, codec="libx264", times=lambda i: 1000 * i)
    colorize_video(source, tmp_path / "out.mkv", model=model, start=1, end=9)
    assert times_of(tmp_path / "out.mkv") == [1000 * i for i in range(8)]


def test_progress_tells_what_is_left_and_nothing_half_stands_under_the_name(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=20)
    seen: list[Progress] = []
    colorize_video(source, tmp_path / "out.mp4", model=model, progress=seen.append)
    assert [p.done for p in seen] == list(range(1, 21))
    assert {p.total for p in seen} == {20}
    assert seen[9].left == pytest.approx(10 / seen[9].rate)
    assert seen[-1].left == 0
    assert Progress(3, None, 5.0).left is None


def test_an_error_of_the_progress_function_cancels_and_leaves_nothing(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=20, sounds=["eng"])

    class Enough(Exception):
        pass

    def stop(at: Progress) -> None:
        if at.done == 9:
            raise Enough

    for target in ("out.mp4", "out.webm", "out.gif", "out.webp", "frames"):
        with pytest.raises(Enough) as caught:
            colorize_video(source, tmp_path / target, model=model, progress=stop)
        assert caught.value.__cause__ is None
    assert sorted(p.name for p in tmp_path.iterdir()) == ["frames", "in.mkv"]
    assert len(list((tmp_path / "frames").iterdir())) <= 9


def test_a_file_that_exists_is_replaced_by_force_only_when_the_new_one_is_whole(model: Orange, tmp_path: Path) -> None:
    source, target = make(tmp_path / "in.mkv"), tmp_path / "out.mp4"
    target.write_bytes(b"mine")

    def stop(_: Progress) -> None:
        raise RuntimeError

    with pytest.raises(VideoError, match="exists already"):
        colorize_video(source, target, model=model)
    with pytest.raises(RuntimeError):
        colorize_video(source, target, model=model, force=True, progress=stop)
    assert target.read_bytes() == b"mine"
    colorize_video(source, target, model=model, force=True)
    assert len(read(target)) == 12


def test_what_is_no_film_is_refused(model: Orange, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a film")
    (tmp_path / "nothing.mp4").write_bytes(b"")
    source = make(tmp_path / "in.mkv")
    empty = make(tmp_path / "empty.mkv", frames=0, sounds=["eng"])
    sound = tmp_path / "sound.wav"
    with av.open(str(sound), "w") as out:
        tone = out.add_stream("pcm_s16le", rate=8000, layout="mono")
        heard = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        heard.sample_rate = 8000
        out.mux(tone.encode(heard))
    os.mkfifo(tmp_path / "pipe.mp4")
    for folder in ("folder.mp4", "part.mp4.partial", "bad"):
        (tmp_path / folder).mkdir()
    (tmp_path / "bad" / "1.png").write_text("not a picture")
    cases: list[tuple[Path, str, dict[str, Any], str]] = [
        (tmp_path / "text.mp4", "out.mp4", {}, "not a film"),
        (tmp_path / "nothing.mp4", "out.mp4", {}, "not a film"),
        (tmp_path / "none.mp4", "out.mp4", {}, "no such file"),
        (tmp_path / ("x" * 300), "out.mp4", {}, "cannot be read"),
        (tmp_path / "a\0b", "out.mp4", {}, "cannot be read"),
        (source, "a\0b.mp4", {}, "cannot be written"),
        (source, "a\0b", {}, "cannot be written"),
        (source, "\0/%d.png", {}, "cannot be written"),
        (tmp_path / "pipe.mp4", "out.mp4", {}, "not a file"),
        (sound, "out.mp4", {}, "no moving pictures"),
        (empty, "out.mkv", {}, "not one frame"),
        (source, "out.xyz", {}, "unknown kind"),
        (source, "in.mkv", {}, "source itself"),
        (source, "in.mkv", {"force": True}, "source itself"),
        (source, "text.mp4", {}, "exists already"),
        (source, "no/out.mp4", {}, "not a folder"),
        (source, "in.mkv/out.mp4", {}, "not a folder"),
        (source, "folder.mp4", {}, "is a folder"),
        (source, "part.mp4", {}, "is a folder, where a file"),
        (source, "part.mp4", {"force": True}, "is a folder, where a file"),
        (source, "part.mp4", {"resume": True}, "is a folder, where a file"),
        (tmp_path / "bad", "out.mp4", {}, "none of its 1 pictures can be used; the first: .*1.png: not a picture"),
        (source, "x" * 300 + ".mp4", {}, "cannot be written"),
        (source, "out.mp4", {"start": 99.0}, "not one frame"),
    ]
    before = sorted(p.name for p in tmp_path.iterdir())
    for file, target, options, message in cases:
        with pytest.raises(VideoError, match=message):
            colorize_video(file, tmp_path / target, model=model, **options)
    for wrong in (
        {"crf": 99},
        {"crf": 1.5},
        {"keyframe_interval": 1.5},
        {"start": 1e300},
        {"end": 1e300},
        {"keyframe_interval": 0},
        {"preset": "x"},
        {"start": 2.0, "end": 1.0},
        {"start": -1.0},
        {"style": "x"},
        {"saturation": -1.0},
        {"temperature": 1.0},
        {"fps": 24},
        {"compare": ["grayscale"] * 17},
        {"compare": "grayscale,grayscale:red"},
    ):
        with pytest.raises(OptionError):
            colorize_video(source, tmp_path / "out.mp4", model=model, **wrong)  # type: ignore[arg-type]
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_an_empty_name_is_not_the_folder_one_is_in(
    model: Orange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = make(tmp_path / "in.mkv", frames=2)
    for names in (("", "out.mp4"), (source, "")):
        with pytest.raises(VideoError, match="is empty"):
            colorize_video(*names, model=model)
    assert colorize_video(source, ".", model=model).frames == 2


def test_an_error_before_the_first_frame_does_not_speak_of_what_was_done(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=2)
    colorize_video(source, tmp_path / "frames", model=model)
    for target in ("/dev/null", tmp_path / "frames"):
        with pytest.raises(VideoError) as caught:
            colorize_video(source, target, model=model)
        assert "what was done" not in str(caught.value)


@pytest.mark.parametrize("name", ["out.mp4.partial", ".out.mp4.part", ".out.mp4.partial.old"])
def test_a_source_with_a_name_that_is_worked_under_is_kept(name: str, model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv").rename(tmp_path / name)
    for options in ({"force": True}, {"resume": True}, {}):
        with pytest.raises(VideoError, match="source itself"):
            colorize_video(source, tmp_path / "out.mp4", model=model, **options)  # type: ignore[arg-type]
    assert len(read(source)) == 12
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(model: Orange, tmp_path: Path) -> None:
    source, folder = make(tmp_path / "in.mkv"), tmp_path / "locked"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(VideoError, match="cannot be written"):
        colorize_video(source, folder / "out.mp4", model=model)


def test_a_place_where_no_file_can_be(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv")
    for target in ("/proc/out.mp4", "/proc/out.gif", "/proc/frames/", "/proc/%d.png"):
        with pytest.raises(VideoError, match="cannot be written"):
            colorize_video(source, target, model=model)


@pytest.mark.parametrize("name", ["my film", "100%", "%05d", 'it\'s "it"', "фильм 映画", "-y", "a:b", "[1]", "http:x"])
def test_names_are_only_names(name: str, model: Orange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / f"{name}.mkv", frames=3, sounds=["eng"])
    colorize_video(f"{name}.mkv", f"{name}.mp4", model=model)
    colorize_video(f"{name}.mkv", f"{name}.gif" if "%" not in name else "x.gif", model=model)
    assert len(read(tmp_path / f"{name}.mp4")) == 3


def test_frames_that_change_their_size_are_scaled(model: Orange, tmp_path: Path) -> None:
    parts = [make(tmp_path / f"{n}.ts", frames=6, size=size, codec="libx264") for n, size in enumerate(SIZES)]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    report = colorize_video(joined, tmp_path / "out.mp4", model=model)
    after = read(tmp_path / "out.mp4")
    assert {(f.height, f.width) for f in after} == {SIZES[0]}
    assert len(after) == 12
    assert len(report.notes) == 1
    assert "scaled to 64 x 48" in report.notes[0]
    steps = np.diff(times_of(tmp_path / "out.mp4"))
    assert steps.max() <= 80  # the clock of the second part begins anew


SIZES = ((48, 64), (64, 96))
SAID_AND_HUGE = ((640, 480), (12_000, 12_000))


def test_pictures_too_large_for_memory_are_refused(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", size=(480, 640), frames=2)
    said, huge = (b"\xb0\x82%b\xba\x82%b" % (w.to_bytes(2, "big"), h.to_bytes(2, "big")) for w, h in SAID_AND_HUGE)
    assert source.read_bytes().count(said) == 1
    source.write_bytes(source.read_bytes().replace(said, huge))
    with pytest.raises(VideoError, match="too large"):
        colorize_video(source, tmp_path / "out.mp4", model=model)


@pytest.mark.parametrize("suffix", [".h264", ".avi"])
def test_files_without_time_stamps_have_an_even_pace(suffix: str, model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / f"in{suffix}", codec="libx264", frames=20, options={"bf": "3"}, base=Fraction(1, 25))
    report = colorize_video(source, tmp_path / "out.mp4", model=model, crf=0)
    assert report.frames == 20
    assert times_of(tmp_path / "out.mp4") == [40 * i for i in range(20)]
    assert same_luma(source, tmp_path / "out.mp4")


def test_an_avi_may_leave_frames_out(model: Orange, tmp_path: Path) -> None:
    times = [0, 1, 2, 3, 7, 8, 9, 10, 11, 20]
    source = make(tmp_path / "in.avi", codec="mpeg4", frames=10, base=Fraction(1, 25), times=times.__getitem__)
    colorize_video(source, tmp_path / "out.mp4", model=model)
    assert times_of(tmp_path / "out.mp4") == [40 * t for t in times]


def test_a_broadcast_begins_at_its_beginning(model: Orange, tmp_path: Path) -> None:
    source = make(
        tmp_path / "in.ts",
        codec="libx264",
        frames=30,
        sounds=["eng"],
        sound_codec="aac",
        times=lambda i: 5000 + 40 * i,
        sound_at=5000,
    )
    assert times_of(source)[0] >= 5000
    colorize_video(source, tmp_path / "out.mp4", model=model)
    assert times_of(tmp_path / "out.mp4")[0] == pytest.approx(0, abs=200)
    assert packets(tmp_path / "out.mp4", "audio")[0][1] == pytest.approx(0, abs=0.2)
    colorize_video(source, tmp_path / "part.mp4", model=model, start=0.4, end=0.8)
    assert len(read(tmp_path / "part.mp4")) == 10


@pytest.mark.parametrize("size", [(1, 1), (1, 64), (2, 2), (16, 2)])
@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif", ".webp"])
def test_tiny_films(size: tuple[int, int], suffix: str, model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mov", size=size, frames=3, codec="png", pix_fmt="gray")
    assert colorize_video(source, tmp_path / f"out{suffix}", model=model).frames == 3
    if suffix in (".mp4", ".webm"):
        assert [y.shape for y in lumas(tmp_path / f"out{suffix}")] == [size] * 3
