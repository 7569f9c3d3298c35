"""Damaged films, interrupted runs, and what is left of them: nothing is lost in silence, and nothing twice."""

import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import Orange, about, frame, lumas, make, orange, packets, plane, read, same_luma, times_of

from zoo import images
from zoo.errors import VideoError
from zoo.video import copying, partial
from zoo.video.sink import FilmSink
from zoo.video.transcode import Progress, Report, colorize_video

FAST = {"preset": "ultrafast", "crf": 0}


@pytest.fixture
def model() -> Orange:
    return orange()


def stop_at(frames: int, error: type[BaseException] = KeyboardInterrupt) -> Callable[[Progress], None]:
    def progress(at: Progress) -> None:
        if at.done == frames:
            raise error

    return progress


def spoil(path: Path, target: Path, which: list[int], how: str) -> list[float]:
    """A copy in which these packets of the pictures are damaged; when they are shown, in seconds."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        coded = [(bytes(p), float(p.pts * p.time_base)) for p in container.demux(video=0) if p.size]
    for n in which:
        packet = coded[n][0]
        assert data.count(packet) == 1
        begin, size = data.index(packet), len(packet)
        damage = {"zero": (0, size), "middle": (size // 3, 2 * size // 3)}[how]
        for i in range(begin + damage[0], begin + damage[1]):
            data[i] = 0 if how == "zero" else data[i] ^ 0xFF
    target.write_bytes(data)
    return sorted(coded[n][1] for n in which)


@pytest.mark.parametrize(
    ("codec", "suffix", "how"),
    [
        ("libx264", ".mp4", "zero"),
        ("libx264", ".mkv", "middle"),
        ("mpeg4", ".avi", "zero"),
        ("mpeg4", ".mkv", "middle"),
        ("libx265", ".mp4", "zero"),
    ],
)
def test_a_damaged_frame_shows_its_neighbour_and_is_told(
    codec: str, suffix: str, how: str, model: Orange, tmp_path: Path
) -> None:
    options = {"x265-params": "log-level=none:bframes=0:keyint=12"} if codec == "libx265" else {"g": "12", "bf": "0"}
    whole = make(tmp_path / f"whole{suffix}", codec=codec, frames=60, grain=30, options=options)
    times = spoil(whole, tmp_path / f"in{suffix}", [20], how)
    report = colorize_video(tmp_path / f"in{suffix}", tmp_path / "out.mp4", model=model, **FAST)
    assert report.frames == 60
    assert times_of(tmp_path / "out.mp4") == [40 * i for i in range(60)]
    assert [t for t in times if not any(abs(t - d) < 0.01 for d in report.damaged)] == []
    before, after = lumas(whole), lumas(tmp_path / "out.mp4")
    assert all(np.array_equal(a, b) for a, b in zip(before[:20], after[:20], strict=True))
    off = [np.abs(after[20].astype(int) - before[n]).mean() for n in (20, 55)]
    assert off[0] < off[1] / 2, "it looks like its time, not like anything"
    if how == "zero":
        assert np.array_equal(after[20], after[19])
    assert np.array_equal(before[36], after[36]), "with a key frame the film is whole again"


def test_a_damaged_first_frame_shows_the_next(model: Orange, tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mkv", codec="mjpeg", pix_fmt="yuvj420p", frames=5)
    spoil(whole, tmp_path / "in.mkv", [0], "zero")
    report = colorize_video(tmp_path / "in.mkv", tmp_path / "out.mp4", model=model, **FAST)
    after = lumas(tmp_path / "out.mp4")
    assert len(after) == report.frames == 5
    assert report.damaged == [0.0]
    assert np.array_equal(after[0], after[1])
    assert not np.array_equal(after[1], after[2])


def test_frames_that_the_decoder_doubts_are_told(
    model: Orange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "in.mp4", codec="mpeg4", frames=12, grain=30)
    spoil(source, tmp_path / "bad.mp4", [6], "middle")
    assert sum(f.is_corrupt for f in read(tmp_path / "bad.mp4")) == 1
    report = colorize_video(tmp_path / "bad.mp4", tmp_path / "out.mp4", model=model, **FAST)
    assert report.damaged == [0.24]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_a_truncated_film_says_where_it_stops_and_keeps_what_was_done(
    suffix: str, model: Orange, tmp_path: Path
) -> None:
    whole = make(
        tmp_path / f"whole{suffix}",
        codec="libx264",
        frames=60,
        grain=30,
        options={"g": "10", "preset": "ultrafast"},
        sounds=["eng"],
        sound_codec="aac",
        mux={} if suffix == ".mkv" else {"movflags": "+faststart"},
    )
    data, cut = whole.read_bytes(), tmp_path / f"cut{suffix}"
    cut.write_bytes(data[: len(data) // 2])
    target, part = tmp_path / "out.mp4", tmp_path / "out.mp4.partial"
    with pytest.raises(VideoError, match=r"stops at \d\.\d seconds, after \d+ frames; found: the file ends;") as caught:
        colorize_video(cut, target, model=model, **FAST)
    assert "expected: 2." in str(caught.value)
    assert str(part) in str(caught.value)
    assert not target.exists()
    done = len(lumas(part))
    assert f"after {done} frames" in str(caught.value)
    assert 20 < done < 36
    with av.open(str(cut)) as container:
        there = sum(1 for p in container.demux(video=0) if p.size and not p.is_corrupt)
    assert done == there, "all that is there"
    assert all(np.array_equal(a, b) for a, b in zip(lumas(whole), lumas(part), strict=False))
    assert about(part).seconds == pytest.approx(done * 0.04, abs=0.15)
    assert packets(part, "audio")

    resumed = colorize_video(whole, target, model=model, resume=True, **FAST)  # the whole file has come
    assert (resumed.kept, resumed.frames) == (done, 60)
    assert_same_film(target, colorized(whole, tmp_path / "straight.mp4", model))
    assert not part.exists()


def test_a_film_whose_last_frame_is_not_whole_is_truncated(model: Orange, tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mp4", codec="libx264", frames=20, grain=30, mux={"movflags": "+faststart"})
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:-20])
    with pytest.raises(VideoError, match=r"stops at 0\.8 seconds, after 19 frames; found: the file ends"):
        colorize_video(tmp_path / "cut.mp4", tmp_path / "out.mp4", model=model)


def colorized(source: Path, target: Path, model: Orange, **options: Any) -> Path:
    colorize_video(source, target, model=model, **FAST | options)
    return target


def assert_same_film(one: Path, other: Path) -> None:
    """The same luma, times, sound and tags; of colours, what the same grey gets."""
    assert same_luma(one, other)
    assert times_of(one) == times_of(other)
    assert packets(one, "audio") == packets(other, "audio")
    assert packets(one, "subtitle") == packets(other, "subtitle")
    with av.open(str(one)) as a, av.open(str(other)) as b:
        assert a.metadata == b.metadata
        assert a.duration == b.duration
        assert a.chapters() == b.chapters()
    for x, y in zip(read(one), read(other), strict=True):
        assert abs(plane(x, 1).mean() - plane(y, 1).mean()) < 1
        assert x.key_frame or np.array_equal(plane(x, 0), plane(y, 0))


def interrupted(
    source: Path, target: Path, model: Orange, at: int, error: type[BaseException] = KeyboardInterrupt, **options: Any
) -> Path:
    with pytest.raises(error):
        colorize_video(source, target, model=model, progress=stop_at(at, error), **FAST | options)
    assert not target.exists()
    return target.with_name(target.name + ".partial")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm", ".mov"])
def test_an_interrupted_film_is_kept_and_gone_on_with(suffix: str, model: Orange, tmp_path: Path) -> None:
    codec = "libopus" if suffix == ".webm" else "aac"
    source = make(tmp_path / "in.mkv", codec="libx264", frames=40, sounds=["eng"], sound_codec=codec)
    target = tmp_path / f"out{suffix}"
    part = interrupted(source, target, model, 25, preset="veryfast")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", part.name]
    assert times_of(part) == [40 * i for i in range(25)]
    heard = packets(source, "audio")
    kept = packets(part, "audio")
    assert [data for *_, data in kept] == [data for *_, data in heard[: len(kept)]]
    assert kept[-1][1] == pytest.approx(0.96, abs=0.15)

    with pytest.raises(VideoError, match="an earlier run has left it; resume to go on from it"):
        colorize_video(source, target, model=model)
    seen: list[Progress] = []
    options = FAST | {"preset": "veryfast"}
    report = colorize_video(source, target, model=model, resume=True, progress=seen.append, **options)
    assert (report.kept, report.frames) == (25, 40)
    assert (seen[0].done, seen[-1].done) == (26, 40)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", target.name]
    assert_same_film(target, colorized(source, tmp_path / f"straight{suffix}", model, **options))


def test_a_film_may_be_interrupted_again_and_again(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=40, sounds=["eng"], times=lambda i: 37 * i + i % 3)
    target = tmp_path / "out.mp4"
    for at in (9, 10, 23, 39):
        part = interrupted(source, target, model, at, resume=True)
        assert len(lumas(part)) == at
        assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", part.name]
    colorize_video(source, target, model=model, resume=True, **FAST)
    assert_same_film(target, colorized(source, tmp_path / "straight.mp4", model))


def test_an_interruption_after_the_last_frame(model: Orange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = make(tmp_path / "in.mkv", frames=12, sounds=["eng"]), tmp_path / "out.mp4"
    assemble, calls = copying.assemble, []

    def interrupt(job: copying.Job) -> None:
        calls.append(job)
        if len(calls) == 1:
            raise KeyboardInterrupt
        assemble(job)

    monkeypatch.setattr(copying, "assemble", interrupt)
    with pytest.raises(KeyboardInterrupt):
        colorize_video(source, target, model=model, **FAST)
    assert len(lumas(tmp_path / "out.mp4.partial")) == 12
    report = colorize_video(source, target, model=model, resume=True, **FAST)
    assert (report.kept, report.frames) == (12, 12)
    assert_same_film(target, colorized(source, tmp_path / "straight.mp4", model))


def test_a_part_of_a_film_is_gone_on_with(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", codec="libx264", frames=60, sounds=["eng"])
    target = tmp_path / "out.mkv"
    interrupted(source, target, model, 17, start=0.4, end=2.0)
    colorize_video(source, target, model=model, resume=True, start=0.4, end=2.0, **FAST)
    assert_same_film(target, colorized(source, tmp_path / "straight.mkv", model, start=0.4, end=2.0))


@pytest.mark.parametrize("suffix", [".ts", ".avi", ".h264", ".flv", ".gif"])
def test_every_kind_of_source_is_gone_on_with(suffix: str, model: Orange, tmp_path: Path) -> None:
    codec, pix_fmt = ("gif", "gray") if suffix == ".gif" else ("libx264", "yuv420p")
    source = make(tmp_path / f"in{suffix}", codec=codec, pix_fmt=pix_fmt, frames=30, base=Fraction(1, 25))
    target = tmp_path / "out.mp4"
    interrupted(source, target, model, 17)
    report = colorize_video(source, target, model=model, resume=True, **FAST)
    assert (report.kept, report.frames) == (17, 30)
    assert_same_film(target, colorized(source, tmp_path / "straight.mp4", model))


def test_to_go_on_where_there_is_nothing_is_to_begin(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv")
    report = colorize_video(source, tmp_path / "out.mp4", model=model, resume=True)
    assert (report.kept, report.frames) == (0, 12)


def test_other_settings_another_film_or_another_file_are_refused(model: Orange, tmp_path: Path) -> None:
    source, target = make(tmp_path / "in.mkv", frames=20), tmp_path / "out.mp4"
    part = interrupted(source, target, model, 10)
    before = part.read_bytes()
    for options, named in (
        ({"crf": 20}, "crf 0; expected: crf 20"),
        ({"saturation": 0.5}, "looks"),
        ({"start": 0.2}, "start"),
        ({"end": 0.2}, "end none; expected: end 1/5"),
        ({"preview": True}, "cells"),
    ):
        with pytest.raises(VideoError, match=f"begun with other settings.*{named}") as caught:
            colorize_video(source, target, model=model, resume=True, **FAST | options)
        assert str(caught.value).endswith("go on with those, or start anew by force")
    for other in (make(tmp_path / "other.mkv", grain=9, frames=20), pictures(tmp_path / "pictures", 20)):
        with pytest.raises(VideoError, match="part of another film; found: source "):
            colorize_video(other, target, model=model, resume=True, **FAST)
    assert part.read_bytes() == before
    report = colorize_video(source, target, model=model, force=True)
    assert report.kept == 0
    assert not part.exists()

    make(tmp_path / "mine.mp4").rename(tmp_path / "new.mp4.partial")
    with pytest.raises(VideoError, match="not a part of a film that was being coloured"):
        colorize_video(source, tmp_path / "new.mp4", model=model, resume=True)
    assert (tmp_path / "new.mp4.partial").exists()


def pictures(folder: Path, frames: int) -> Path:
    folder.mkdir()
    for n in range(frames):
        images.write(folder / f"{n:03d}.png", np.full((48, 64), 9 * n, np.uint8))
    return folder


def test_pictures_at_another_pace_or_other_ones_are_another_film(model: Orange, tmp_path: Path) -> None:
    source, target = pictures(tmp_path / "in", 20), tmp_path / "out.mp4"
    interrupted(source, target, model, 10)
    with pytest.raises(VideoError, match="part of another film; found: source 20 pictures, 25 a second"):
        colorize_video(source, target, model=model, resume=True, fps=24, **FAST)
    with pytest.raises(VideoError, match="part of another film"):
        colorize_video(pictures(tmp_path / "other", 19), target, model=model, resume=True, **FAST)
    assert colorize_video(source, target, model=model, resume=True, **FAST).kept == 10


def test_a_cancelled_run_that_went_on_leaves_what_there_was(model: Orange, tmp_path: Path) -> None:
    source, target = make(tmp_path / "in.mkv", frames=20), tmp_path / "out.mp4"
    part = interrupted(source, target, model, 10)
    before = part.read_bytes()
    with pytest.raises(RuntimeError):
        colorize_video(source, target, model=model, resume=True, progress=stop_at(15, RuntimeError), **FAST)
    assert part.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", part.name]


def test_what_a_killed_run_has_done_is_gone_on_with(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=90, sounds=["eng"], pictures=scenes)
    target, part = tmp_path / "out.mp4", tmp_path / "out.mp4.partial"
    program = """
        import os, sys
        sys.path.insert(0, sys.argv[1])
        from clips import orange
        from zoo.video.transcode import colorize_video

        def die(at):
            if at.done == 70:
                os.kill(os.getpid(), 9)

        colorize_video(*sys.argv[2:], model=orange(), progress=die, preset="veryfast", crf=0)
    """
    arguments = [str(Path(__file__).parent), str(source), str(target)]
    died = subprocess.run([sys.executable, "-c", textwrap.dedent(program), *arguments], check=False)
    assert died.returncode == -signal.SIGKILL
    assert 15 <= len(lumas(part)) < 70  # it can be played
    options = FAST | {"preset": "veryfast"}
    report = colorize_video(source, target, model=model, resume=True, **options)
    assert report.frames == 90
    assert 15 <= report.kept < 70
    assert_same_film(target, colorized(source, tmp_path / "straight.mp4", model, **options))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.mp4", "straight.mp4"]


def test_a_run_that_is_killed_while_it_goes_on_loses_nothing_either(
    model: Orange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "in.mkv", frames=90, sounds=["eng"], pictures=scenes)
    target, part = tmp_path / "out.mp4", tmp_path / "out.mp4.partial"
    options = FAST | {"preset": "veryfast"}
    interrupted(source, target, model, 50, preset="veryfast")
    monkeypatch.setattr(FilmSink, "keep", lambda self: self._background.finish())  # it cannot say that it ends
    for at in (51, 85):
        interrupted(source, target, model, at, resume=True, preset="veryfast")
        assert sorted(p.name for p in tmp_path.iterdir()) == [".out.mp4.partial.old", "in.mkv", part.name]
    monkeypatch.undo()
    report = colorize_video(source, target, model=model, resume=True, **options)
    assert report.kept >= 50
    assert_same_film(target, colorized(source, tmp_path / "straight.mp4", model, **options))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.mp4", "straight.mp4"]


def test_of_a_film_without_cuts_a_killed_run_loses_seconds_only(
    model: Orange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = make(tmp_path / "in.mkv", frames=220), tmp_path / "out.mp4"
    monkeypatch.setattr(FilmSink, "keep", lambda self: self._background.finish())  # it cannot say that it ends
    interrupted(source, target, model, 10)
    monkeypatch.undo()
    report = colorize_video(source, target, model=model, resume=True, **FAST)
    assert report.kept == 0
    assert report.notes == [f"{target}.partial: nothing of it could be used; the film was begun anew"]
    target.unlink()
    monkeypatch.setattr(FilmSink, "keep", lambda self: self._background.finish())
    interrupted(source, target, model, 190)
    monkeypatch.undo()
    assert 140 <= colorize_video(source, target, model=model, resume=True, **FAST).kept < 190


def scenes(n: int) -> Any:
    """Frames of three scenes, at each of which an encoder sets a key frame."""
    return frame(n + 1000 * (n // 15), (48, 64), "yuv420p", grain=1 + 40 * (n // 15 % 2))


def test_a_run_that_was_killed_at_once_is_begun_anew(model: Orange, tmp_path: Path) -> None:
    source, target = make(tmp_path / "in.mkv"), tmp_path / "out.mp4"
    for resume in (False, True):
        (tmp_path / "out.mp4.partial").write_bytes(b"")
        report = colorize_video(source, target, model=model, resume=resume, force=resume)
        assert report.kept == 0
        assert not (tmp_path / "out.mp4.partial").exists()


def test_a_file_of_others_is_not_taken_for_a_part(model: Orange, tmp_path: Path) -> None:
    source, part = make(tmp_path / "in.mkv"), tmp_path / "out.mp4.partial"
    whole = make(tmp_path / "mine.mp4", frames=30).read_bytes()
    for mine in (b"precious\n", whole[: len(whole) // 2]):
        part.write_bytes(mine)
        for resume in (False, True):
            with pytest.raises(VideoError, match=r"out\.mp4\.partial: .*move it elsewhere"):
                colorize_video(source, tmp_path / "out.mp4", model=model, resume=resume)
        assert part.read_bytes() == mine


def test_two_runs_do_not_make_the_same_film(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=20)
    refused: list[Path] = []

    def second(at: Progress) -> None:
        for options in ({"force": True}, {"resume": True}, {}) if at.done == 10 else ():
            with pytest.raises(VideoError, match="another run is making it; wait for it"):
                colorize_video(source, target, model=model, **options)  # type: ignore[arg-type]
            refused.append(target)

    for target in (tmp_path / "out.mp4", tmp_path / "out.webp"):
        assert colorize_video(source, target, model=model, progress=second).frames == 20
    assert len(refused) == 6
    assert len(read(tmp_path / "out.mp4")) == 20
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.mp4", "out.webp"]


def test_a_full_disk_is_an_error_and_what_was_done_is_kept(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=120, pictures=scenes)
    target, part = tmp_path / "out.mp4", tmp_path / "out.mp4.partial"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, hard))
    try:
        with pytest.raises(VideoError, match=r"out\.mp4: cannot be written; found: File too large.*resume") as caught:
            colorize_video(source, target, model=model, **FAST | {"preset": "veryfast"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(part) in str(caught.value)
    assert not target.exists()
    report = colorize_video(source, target, model=model, resume=True, **FAST | {"preset": "veryfast"})
    assert report.kept > 0
    assert_same_film(target, colorized(source, tmp_path / "straight.mp4", model, preset="veryfast"))


@pytest.mark.parametrize("name", ["out.gif", "out.webp", "frames"])
def test_a_full_disk_is_an_error_for_pictures_too(name: str, model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=60, size=(96, 128), grain=50)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, hard))
    try:
        with pytest.raises(VideoError, match="cannot be written"):
            colorize_video(source, tmp_path / name, model=model)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv"]


def test_an_error_of_the_model_keeps_what_was_done(
    model: Orange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = make(tmp_path / "in.mkv", frames=40), tmp_path / "out.mp4"
    answers = 0
    answer = Orange.predict_ab

    def fail(self: Orange, L: Any, **options: Any) -> Any:
        nonlocal answers
        answers += 1
        if answers > 3:
            raise ArithmeticError("a bug")
        return answer(self, L, **options)

    monkeypatch.setattr(Orange, "predict_ab", fail)
    with pytest.raises(ArithmeticError):
        colorize_video(source, target, model=model, keyframe_interval=5, **FAST)
    monkeypatch.undo()
    report = colorize_video(source, target, model=model, keyframe_interval=5, resume=True, **FAST)
    assert report.kept == 11
    assert_same_film(target, colorized(source, tmp_path / "straight.mp4", model, keyframe_interval=5))


def test_a_report_knows_nothing_bad_of_a_good_film(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", codec="libx264", frames=30, sounds=["eng"], sound_codec="aac")
    report: Report = colorize_video(source, tmp_path / "out.mp4", model=model)
    assert (report.damaged, report.left_out, report.notes, report.kept) == ([], [], [], 0)
    assert partial.path_of(tmp_path / "out.mp4").name == "out.mp4.partial"
