"""Numbered pictures, animated GIF and WebP: read and written, with their names, times and lightness."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import Orange, about, luma, lumas, make, orange, read, times_of
from PIL import Image

from zoo import color, images
from zoo.errors import OptionError, VideoError
from zoo.video.animations import Animation
from zoo.video.sequences import Pictures, PicturesSink
from zoo.video.source import Broken, Span
from zoo.video.transcode import Progress, colorize_video


@pytest.fixture
def model() -> Orange:
    return orange()


def picture(i: int, size: tuple[int, int] = (48, 64), dtype: str = "uint8") -> Any:
    """Frame i of a film, full range grey, (H, W)."""
    grey = luma(i, *size)
    return grey if dtype == "uint8" else grey.astype(np.uint16) * 257 + 100


def write(folder: Path, numbers: Any, name: str = "f{:03d}.png", **options: Any) -> Path:
    folder.mkdir(exist_ok=True)
    for i in numbers:
        images.write(folder / name.format(i), picture(i, **options))
    return folder


def animate(path: Path, durations: list[int], *, alpha: bool = False, loop: int | None = 0) -> Path:
    """A GIF or WebP of ``picture``."""
    frames = []
    for i in range(len(durations)):
        frame = Image.fromarray(np.dstack([picture(i)] * 3))
        if alpha:
            hole = np.full((48, 64), 255, np.uint8)
            hole[:10, : 10 + i] = 0
            frame.putalpha(Image.fromarray(hole))
        frames.append(frame)
    options: dict[str, Any] = {} if loop is None else {"loop": loop}
    if path.suffix == ".webp":
        options["lossless"] = True
    elif alpha:
        options["disposal"] = 2
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=durations, **options)
    return path


def shown(path: Path) -> tuple[list[np.ndarray], list[int], int | None]:
    """The frames (H, W, 4), how long each is shown in ms, and the loop count."""
    frames, durations = [], []
    with Image.open(path) as image:
        for n in range(image.n_frames):
            image.seek(n)
            image.load()
            frames.append(np.asarray(image.convert("RGBA")))
            durations.append(int(image.info["duration"]))
        return frames, durations, image.info.get("loop")


def lightness(pixels: Any) -> Any:
    """L (H, W) of sRGB (H, W) or (H, W, 3 or 4), any depth."""
    pixels = pixels if pixels.ndim == 3 else np.dstack([pixels] * 3)
    rgb = torch.from_numpy(pixels[..., :3].astype(np.float32) / np.iinfo(pixels.dtype).max)
    return color.rgb_to_lab(rgb.permute(2, 0, 1)[None])[0, 0].numpy()


def is_orange(pixels: Any) -> bool:
    red, green, blue = (pixels[..., c].astype(float).mean() for c in range(3))
    return red > green > blue


def test_a_folder_becomes_a_film(model: Orange, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", range(8, 13), "shot {}.png")  # 9 comes before 10
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.png").write_text("nor this")
    report = colorize_video(folder, tmp_path / "out.mp4", model=model, fps=12.5, crf=0)
    assert report.frames == 5
    assert times_of(tmp_path / "out.mp4") == [80 * i for i in range(5)]
    assert about(tmp_path / "out.mp4").rate == Fraction(25, 2)
    for i, plane in enumerate(lumas(tmp_path / "out.mp4")):
        assert np.abs(plane - (16 + picture(8 + i) * (219 / 255))).max() <= 0.5
    assert report.notes == []


@pytest.mark.parametrize("source", ["in/f%03d.png", "in/f*.png", "in/f00[0-4].png", "in"])
@pytest.mark.parametrize("target", ["out", "out/", "out/%04d.tif", "out/x%d.jpg"])
def test_pictures_become_pictures_of_their_numbers(source: str, target: str, model: Orange, tmp_path: Path) -> None:
    write(tmp_path / "in", range(5))
    report = colorize_video(tmp_path / source, f"{tmp_path}/{target}", model=model)
    assert report.frames == 5
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    expected = {"out/%04d.tif": "{:04d}.tif", "out/x%d.jpg": "x{}.jpg"}.get(target, "f{:03d}.png")
    assert names == [expected.format(i) for i in range(5)]
    for i, name in enumerate(names):
        pixels = images.read(tmp_path / "out" / name).pixels
        assert is_orange(pixels)
        if not name.endswith("jpg"):
            assert np.abs(lightness(pixels) - lightness(picture(i))).max() <= 0.5


def test_sixteen_bits_and_alpha_are_kept(model: Orange, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    alpha = np.full((48, 64), 65535, np.uint16)
    alpha[:10] = 30_000
    for i in range(3):
        images.write(folder / f"{i}.png", picture(i, dtype="uint16"), alpha=alpha)
    colorize_video(folder, tmp_path / "out", model=model)
    for i in range(3):
        done = images.read(tmp_path / "out" / f"{i}.png")
        assert done.pixels.dtype == np.uint16
        assert np.array_equal(done.alpha, alpha)
        assert np.abs(lightness(done.pixels) - lightness(picture(i, dtype="uint16"))).max() <= 0.5
        assert len(np.unique(done.pixels[..., 1] & 255)) > 10
    colorize_video(folder, tmp_path / "out.mp4", model=model)
    assert read(tmp_path / "out.mp4")[0].format.name == "yuv420p"


@pytest.mark.parametrize(("pix_fmt", "dtype"), [("yuv420p", np.uint8), ("yuv420p10le", np.uint16)])
def test_a_film_becomes_pictures(pix_fmt: str, dtype: Any, model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", pix_fmt=pix_fmt, frames=6)
    report = colorize_video(source, tmp_path / "out", model=model, start=0.08)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names == [f"00000{i}.png" for i in range(1, 5)]
    assert report.frames == 4
    pixels = images.read(tmp_path / "out" / names[0]).pixels
    assert pixels.dtype == dtype
    full = 255 if dtype == np.uint8 else 65535
    expected = ((luma(2, 48, 64) - 16.0) / 219).clip(0, 1) * full
    assert np.abs(lightness(pixels) - lightness(expected.round().astype(dtype))).max() <= 0.5


def test_missing_numbers_are_an_error_of_a_pattern_and_a_note_of_a_folder(model: Orange, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", [1, 2, 4, 5, 6, 7, 9, 10, 11, 20])
    with pytest.raises(VideoError, match=r"missing in between; found: no number 3, 8, 12 to 19"):
        colorize_video(folder / "f%03d.png", tmp_path / "out.mp4", model=model)
    assert not (tmp_path / "out.mp4").exists()
    write(folder, [12, 13, 14, 15])
    report = colorize_video(folder, tmp_path / "out.mp4", model=model)
    assert report.frames == 14
    assert report.notes == [f"{folder}: no number 3, 8, 16 to 19; the others were taken"]
    days = write(tmp_path / "days", [20_240_101, 20_240_315, 20_241_231])  # these are no numbers of frames
    assert colorize_video(days, tmp_path / "days.mp4", model=model).notes == []


@pytest.mark.parametrize("target", ["out.mp4", "out"])
def test_pictures_that_cannot_be_used_are_told_and_the_rest_goes_on(target: str, model: Orange, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", range(8))
    (folder / "f000.png").write_bytes(b"")
    (folder / "f003.png").write_text("not a picture")
    whole = (folder / "f005.png").read_bytes()
    (folder / "f005.png").write_bytes(whole[: len(whole) // 2])
    (folder / "f006.png").unlink()
    write(folder, [6], size=(48, 32))
    report = colorize_video(folder, tmp_path / target, model=model)
    assert report.damaged == pytest.approx([0, 0.12, 0.2, 0.24])
    assert [note.split(":")[0] for note in report.notes] == [str(folder / f"f00{i}.png") for i in (0, 3, 5, 6)]
    assert "another size; found: 32 x 48 pixels; expected: 64 x 48" in report.notes[-1]
    if target == "out":
        assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"f00{i}.png" for i in (1, 2, 4, 7)]
    else:
        after = lumas(tmp_path / "out.mp4")
        assert len(after) == 8
        for lost, instead in ((0, 1), (3, 2), (5, 4), (6, 4)):
            assert np.abs(after[lost].astype(int) - (16 + picture(instead) * (219 / 255))).mean() < 3


@pytest.mark.parametrize(
    ("names", "target"),
    [
        (["a1.png", "b1.png"], "out/%03d.png"),
        (["a1.png", "a01.png"], "out/%03d.png"),
        (["a2.png", "b.png"], "out/%03d.png"),  # the second picture, which has no number
        (["a1.gif", "a1.png"], "out"),
    ],
)
def test_pictures_that_would_replace_each_other_are_refused(
    names: list[str], target: str, model: Orange, tmp_path: Path
) -> None:
    for i, name in enumerate(names):
        (tmp_path / "in").mkdir(exist_ok=True)
        Image.fromarray(picture(i)).save(tmp_path / "in" / name)
    for force in (False, True):
        with pytest.raises(VideoError, match="two pictures would have this name") as caught:
            colorize_video(tmp_path / "in", f"{tmp_path}/{target}", model=model, force=force)
        assert all(name in str(caught.value) for name in names)
        assert not (tmp_path / "out").exists()
    assert colorize_video(tmp_path / "in", tmp_path / "out.mp4", model=model).frames == 2


def interrupted(source: Path, out: Path, model: Orange, frames: int, **options: Any) -> dict[str, int]:
    """Pictures that a run has made until it was interrupted, and when they were written."""

    def stop(at: Progress) -> None:
        if at.done == frames:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        colorize_video(source, out, model=model, progress=stop, keyframe_interval=2, **options)
    return {p.name: p.stat().st_mtime_ns for p in out.iterdir() if not p.name.startswith(".")}


def test_an_interrupted_run_of_pictures_is_gone_on_with(model: Orange, tmp_path: Path) -> None:
    folder, out = write(tmp_path / "in", range(30)), tmp_path / "out"
    done = interrupted(folder, out, model, 20)
    assert 1 <= len(done) <= 20
    assert [p.name for p in out.iterdir() if p.name.startswith(".")] == [".pictures.partial"]
    with pytest.raises(VideoError, match=r"exists already; .*resume") as caught:
        colorize_video(folder, out, model=model)
    assert "what was done" not in str(caught.value)
    report = colorize_video(folder, out, model=model, resume=True, keyframe_interval=2)
    assert (report.kept, report.frames) == (len(done), 30)
    assert sorted(p.name for p in out.iterdir()) == [f"f{i:03d}.png" for i in range(30)]
    assert all((out / name).stat().st_mtime_ns == time for name, time in done.items())
    colorize_video(folder, out, model=model, force=True)
    assert any((out / name).stat().st_mtime_ns != time for name, time in done.items())


def test_it_is_gone_on_behind_pictures_that_cannot_be_read(model: Orange, tmp_path: Path) -> None:
    folder, out = write(tmp_path / "in", range(30)), tmp_path / "out"
    for i in (0, 2):
        (folder / f"f{i:03d}.png").write_text("not a picture")
    done = interrupted(folder, out, model, 20)
    assert len(done) > 1
    report = colorize_video(folder, out, model=model, resume=True, keyframe_interval=2)
    assert (report.kept, report.frames) == (len(done) + 2, 30)
    assert all((out / name).stat().st_mtime_ns == time for name, time in done.items())
    assert sorted(p.name for p in out.iterdir()) == [f"f{i:03d}.png" for i in range(30) if i not in (0, 2)]


def test_it_is_gone_on_where_a_forced_run_was_interrupted(model: Orange, tmp_path: Path) -> None:
    folder, out = write(tmp_path / "in", range(30)), write(tmp_path / "out", range(30))
    before = {p.name: p.stat().st_mtime_ns for p in out.iterdir()}
    after = interrupted(folder, out, model, 20, force=True)
    replaced = sum(before[name] != time for name, time in after.items())
    assert 1 <= replaced <= 20
    assert colorize_video(folder, out, model=model, resume=True, keyframe_interval=2).kept == replaced
    assert all(is_orange(images.read(path).pixels) for path in out.iterdir())


@pytest.mark.parametrize("target", ["out", "out/%06d.png"])
def test_pictures_of_no_interrupted_run_are_not_gone_on_with(target: str, model: Orange, tmp_path: Path) -> None:
    source, out = make(tmp_path / "in.mkv", frames=6), write(tmp_path / "out", [1, 2], "{:06d}.png")
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(VideoError, match=r"000001\.png: exists already; found: no run that was interrupted") as caught:
        colorize_video(source, f"{tmp_path}/{target}", model=model, resume=True)
    assert "what was done" not in str(caught.value)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert colorize_video(source, tmp_path / "new", model=model, resume=True).kept == 0


def test_pictures_of_other_settings_are_not_gone_on_with(tmp_path: Path) -> None:
    source = Pictures(write(tmp_path / "in", range(3)), Fraction(25), Span())
    shots = list(source.shots())
    begun = {"style": "vivid", "interval": None, "crf": 18}
    first = PicturesSink(tmp_path / "out", source, [""], begun, overwrite=False)
    assert first.begin(resume=True) == (0, None)
    first.write(shots[0], [None])
    first._background.finish()
    assert first.keep() == tmp_path / "out"
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert len(before) == 2
    other = PicturesSink(tmp_path / "out", source, [""], begun | {"style": "faithful"}, overwrite=False)
    with pytest.raises(VideoError, match="other settings; found: style vivid; expected: style faithful; go on with"):
        other.begin(resume=True)
    assert other.keep() is None
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
    same = PicturesSink(tmp_path / "out", source, [""], begun | {"crf": 5}, overwrite=False)  # pictures have no crf
    assert same.begin(resume=True) == (1, None)
    for shot in shots[1:]:
        same.write(shot, [None])
    same.finish()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"f{i:03d}.png" for i in range(3)]


def test_a_film_into_pictures_is_gone_on_with(model: Orange, tmp_path: Path) -> None:
    source, out = make(tmp_path / "in.mkv", frames=29), tmp_path / "out"
    done = interrupted(source, out, model, 20)
    report = colorize_video(source, out, model=model, resume=True, keyframe_interval=2)
    assert (report.kept, report.frames) == (len(done), 29)
    for i in range(0, 29, 4):
        pixels = images.read(out / f"{i + 1:06d}.png").pixels
        expected = ((luma(i, 48, 64) - 16.0) / 219).clip(0, 1) * 255
        assert np.abs(lightness(pixels) - lightness(expected.round().astype(np.uint8))).max() <= 0.5


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
@pytest.mark.parametrize("source_suffix", [".gif", ".webp"])
def test_an_animation_stays_one(suffix: str, source_suffix: str, model: Orange, tmp_path: Path) -> None:
    durations = [40, 100, 70, 250, 500]
    source = animate(tmp_path / f"in{source_suffix}", durations)
    report = colorize_video(source, tmp_path / f"out{suffix}", model=model, crf=0)
    frames, times, loop = shown(tmp_path / f"out{suffix}")
    assert report.frames == len(frames) == 5
    assert times == durations
    assert loop == 0
    for i, pixels in enumerate(frames):
        assert is_orange(pixels)
        assert (pixels[..., 3] == 255).all()
        error = np.abs(lightness(pixels) - lightness(picture(i)))
        assert error.mean() < (0.2 if suffix == ".webp" else 2)  # a GIF has 255 colours


@pytest.mark.parametrize(
    ("source", "loop", "target", "expected"),
    [
        ("in.gif", None, "out.gif", None),
        ("in.gif", 3, "out.gif", 3),
        ("in.gif", None, "out.webp", 1),
        ("in.gif", 3, "out.webp", 4),
        ("in.webp", 1, "out.gif", None),
        ("in.webp", 4, "out.gif", 3),
        ("in.webp", 4, "out.webp", 4),
    ],
)
def test_it_is_played_as_often_as_before(
    source: str, loop: int | None, target: str, expected: int | None, model: Orange, tmp_path: Path
) -> None:
    animate(tmp_path / source, [100, 100], loop=loop)
    colorize_video(tmp_path / source, tmp_path / target, model=model)
    assert shown(tmp_path / target)[2] == expected


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_transparency_is_kept(suffix: str, model: Orange, tmp_path: Path) -> None:
    source = animate(tmp_path / f"in{suffix}", [100] * 4, alpha=True)
    colorize_video(source, tmp_path / f"out{suffix}", model=model)
    before, after = shown(source)[0], shown(tmp_path / f"out{suffix}")[0]
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one[..., 3], other[..., 3])
    colorize_video(source, tmp_path / "out.mp4", model=model, crf=0)
    assert (lumas(tmp_path / "out.mp4")[0][:8, :8] == 235).all(), "before white"


@pytest.mark.parametrize("source", ["in.gif", "in.webp"])
def test_an_animation_becomes_a_film_and_pictures(source: str, model: Orange, tmp_path: Path) -> None:
    animate(tmp_path / source, [40, 100, 70, 250])
    colorize_video(tmp_path / source, tmp_path / "out.mp4", model=model, crf=0)
    assert times_of(tmp_path / "out.mp4") == [0, 40, 140, 210]
    assert about(tmp_path / "out.mp4").seconds == pytest.approx(0.46, abs=0.002)
    for i, plane in enumerate(lumas(tmp_path / "out.mp4")):
        assert np.abs(plane - (16 + picture(i) * (219 / 255))).mean() < 2
    colorize_video(tmp_path / source, tmp_path / "part.mp4", model=model, start=0.05, end=0.2)
    assert times_of(tmp_path / "part.mp4") == [90]
    colorize_video(tmp_path / source, tmp_path / "out", model=model)
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.parametrize("target", ["out.mp4", "out.gif", "out.webp"])
def test_the_last_frame_ends_at_the_end(target: str, model: Orange, tmp_path: Path) -> None:
    source = animate(tmp_path / "in.gif", [40, 100, 70, 500])
    report = colorize_video(source, tmp_path / target, model=model, start=0.04, end=0.3)
    assert report.frames == 3
    if target == "out.mp4":
        assert about(tmp_path / target).seconds == pytest.approx(0.26, abs=0.002)
    else:
        assert shown(tmp_path / target)[1] == [100, 70, 90]


@pytest.mark.parametrize("target", ["out.gif", "out.webp"])
def test_a_film_becomes_an_animation(target: str, model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=10, sounds=["eng"])
    report = colorize_video(source, tmp_path / target, model=model)
    frames, times, loop = shown(tmp_path / target)
    assert len(frames) == report.frames == 10
    assert times == [40] * 10
    assert loop == 0
    assert is_orange(frames[5])
    assert report.left_out == ["stream 1 (audio, pcm_s16le): the result is pictures only"]


def test_a_gif_has_no_more_frames_than_players_show(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=24, times=lambda i: round(i * 1000 / 120))
    colorize_video(source, tmp_path / "out.gif", model=model)
    _, times, _ = shown(tmp_path / "out.gif")
    assert min(times) >= 20
    assert sum(times) == pytest.approx(200, abs=30)


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_fewer_frames_than_were_given_are_told_and_take_as_long(suffix: str, model: Orange, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(24):
        images.write(folder / f"{i}.png", picture(i // 3 if suffix == ".webp" else i))
    report = colorize_video(folder, tmp_path / f"out{suffix}", model=model, fps=60 if suffix == ".gif" else 25)
    _, times, _ = shown(tmp_path / f"out{suffix}")
    assert len(times) < 24
    assert sum(times) == (400 if suffix == ".gif" else 960)
    assert [f"has {len(times)} frames for the 24 of the source" in note for note in report.notes] == [True]


def test_pictures_that_stand_still_stay_in_time(model: Orange, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(6):
        images.write(folder / f"{i}.png", picture(i // 3))
    for suffix in (".gif", ".webp"):
        colorize_video(folder, tmp_path / f"out{suffix}", model=model, fps=10)
        assert sum(shown(tmp_path / f"out{suffix}")[1]) == 600


def test_a_truncated_animation_is_an_error_that_says_where(model: Orange, tmp_path: Path) -> None:
    source = animate(tmp_path / "in.gif", [100] * 8)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) // 2])
    with pytest.raises(VideoError, match=r"stops at 0\.[2-6] seconds, after \d frames; found: frame \d cannot be read"):
        colorize_video(source, tmp_path / "out.gif", model=model)
    assert not (tmp_path / "out.gif").exists()
    with pytest.raises(VideoError, match=r"out\.mp4\.partial"):
        colorize_video(source, tmp_path / "out.mp4", model=model)
    assert 1 < len(read(tmp_path / "out.mp4.partial")) < 7


def frames_until(animation: Animation) -> tuple[int, Broken | None]:
    """How many frames an animation gives, and where it breaks off."""
    done = 0
    try:
        for _ in animation.shots():
            done += 1
    except Broken as broken:
        return done, broken
    return done, None


def test_an_animation_that_breaks_off_anywhere_is_an_error_that_says_where(tmp_path: Path) -> None:
    """Of some of these Pillow raises IndexError or struct.error."""
    data = animate(tmp_path / "whole.gif", [100] * 4).read_bytes()
    source, given, unseen = tmp_path / "in.gif", set(), 0
    heads = [found.start() for found in re.finditer(rb"\x21\xf9\x04", data)][1:]
    assert len(heads) == 3
    for size in [head + more for head in heads for more in (*range(0, 45, 3), 400, 1500)]:
        source.write_bytes(data[:size])
        with Animation(source, Span()) as animation:
            frames, broken = frames_until(animation)
            assert animation.total == max(1, frames)
        given.add(frames)
        unseen += broken is None
        assert broken is None or broken.at == pytest.approx(0.1 * frames)
    assert given == {1, 2, 3}
    assert unseen < 10, "between two frames Pillow sees no end"


def test_what_is_no_sequence_is_refused(model: Orange, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", range(3))
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.png").write_text("no picture")
    (tmp_path / "broken.gif").write_bytes(b"GIF89a")
    (tmp_path / "file").write_text("")
    cases: list[tuple[str, str, dict[str, Any], str]] = [
        ("empty", "out.mp4", {}, "no pictures"),
        ("in/g%d.png", "out.mp4", {}, "no pictures"),
        ("none/%d.png", "out.mp4", {}, "no pictures"),
        ("in/*.jpg", "out.mp4", {}, "no pictures"),
        ("bad", "out.mp4", {}, r"bad: none of its 1 pictures can be used; the first: .*1\.png"),
        ("bad", "out", {}, r"none of its 1 pictures can be used"),
        ("in/%099999999999d.png", "out.mp4", {}, "no such file"),
        ("in", "out/%099999999999d.png", {}, "is not a folder|unknown kind of film"),
        ("broken.gif", "out.mp4", {}, "not an animation"),
        ("in", "in", {}, "among the pictures it is made of"),
        ("in", "in/%d.png", {"force": True}, "among the pictures it is made of"),
        ("in", "out/%d.xyz", {}, "not a folder|no pictures can be written"),
        ("in", "%d.xyz", {}, "no pictures can be written"),
        ("in", "file", {}, "is a file"),
        ("in", "no/out/", {}, "not a folder"),
    ]
    before = sorted(p.name for p in tmp_path.iterdir())
    for source, target, options, message in cases:
        with pytest.raises(VideoError, match=message):
            colorize_video(tmp_path / source, f"{tmp_path}/{target}", model=model, **options)
    for fps in (0, -1, 1e9, float("nan"), float("inf"), "x", "1/0"):
        with pytest.raises(OptionError, match="bad fps"):
            colorize_video(folder, tmp_path / "out.mp4", model=model, fps=fps)
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_why_a_picture_cannot_be_written_is_said_once(model: Orange, tmp_path: Path) -> None:
    source, out = write(tmp_path / "in", range(2)), tmp_path / "out"
    (out / "f000.png").mkdir(parents=True)
    with pytest.raises(VideoError) as caught:
        colorize_video(source, out, model=model, force=True)
    assert str(caught.value).count("f000.png") == 1


def test_a_rate_may_be_a_fraction(model: Orange, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", range(3))
    colorize_video(folder, tmp_path / "out.mp4", model=model, fps="24000/1001")
    assert about(tmp_path / "out.mp4").rate == Fraction(24000, 1001)
