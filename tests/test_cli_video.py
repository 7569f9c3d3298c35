"""`colorzoo video`: what it takes, what it says, and how it ends."""

import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from clips import lumas, make, read, times_of
from typer.testing import CliRunner

import zoo.video.running
from zoo.cli import app
from zoo.cli.video import _line
from zoo.video.transcode import Progress, Report


def call(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["video", *map(str, arguments)])


FAST = ("--model", "grayscale", "--working-size", 32, "--preset", "ultrafast")


def test_a_film(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", sounds=["eng"])
    result = call(source, tmp_path / "out.mp4", *FAST, "--crf", 0, "--start", 0.08, "--end", 0.4)
    assert result.exit_code == 0, result.output
    assert re.fullmatch(rf"8 frames, [\d.]+ a second, \d+ seen by the model: {tmp_path}/out.mp4\n", result.stdout)
    assert times_of(tmp_path / "out.mp4") == [40 * i for i in range(8)]


def test_what_is_found_is_told(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", sounds=["eng"], frames=60, codec="mjpeg", pix_fmt="yuvj420p")
    result = call(source, tmp_path / "out.webm", *FAST)
    assert "left out: stream 1 (audio, pcm_s16le): 'webm' format does not support" in result.stderr
    data = source.read_bytes()
    coded = [packet for packet in jpegs(source) if data.count(packet) == 1]
    for packet in coded[10:17]:
        data = data.replace(packet, bytes(len(packet)))
    source.write_bytes(data)
    result = call(source, tmp_path / "out.mp4", *FAST)
    assert result.exit_code == 0
    assert "7 damaged frames, at 0.40, 0.44, 0.48, 0.52, 0.56 seconds and 2 more\n" in result.stderr
    assert len(read(tmp_path / "out.mp4")) == 60


def jpegs(path: Path) -> list[bytes]:
    import av

    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(video=0) if p.size]


def test_pictures_with_a_rate_and_a_note(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=4)
    assert call(source, tmp_path / "frames", *FAST).exit_code == 0
    (tmp_path / "frames" / "000002.png").write_text("no picture")
    result = call(tmp_path / "frames", tmp_path / "out.mp4", *FAST, "--fps", "10")
    assert result.exit_code == 0
    assert times_of(tmp_path / "out.mp4") == [0, 100, 200, 300]
    assert f"note: {tmp_path}/frames/000002.png: not a picture" in result.stderr
    assert "1 damaged frames, at 0.10 seconds\n" in result.stderr
    assert call(source, tmp_path / "x.mp4", *FAST, "--fps", "10").exit_code == 2


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = make(tmp_path / "in.mkv", frames=20), tmp_path / "out.mp4"
    feed = zoo.video.running.Colors.feed

    def interrupt(self: Any, shot: Any, film: Any) -> None:
        if shot.pts >= 600:
            raise KeyboardInterrupt
        feed(self, shot, film)

    monkeypatch.setattr(zoo.video.running.Colors, "feed", interrupt)
    result = call(source, target, *FAST)
    assert result.exit_code == 130
    assert result.stderr == f"interrupted: what was done is {target}.partial; --resume goes on from it\n"
    result = call(source, tmp_path / "frames", *FAST)
    assert (result.exit_code, result.stderr.count("are in")) == (130, 1)
    result = call(source, tmp_path / "out.gif", *FAST)
    assert result.stderr == f"interrupted: {tmp_path}/out.gif was not written\n"
    monkeypatch.undo()
    result = call(source, target, *FAST)
    assert result.exit_code == 2
    assert "an earlier run has left it; resume" in result.stderr
    result = call(source, target, *FAST, "--resume")
    assert result.exit_code == 0
    assert re.match(r"\d+ frames and \d+ kept, ", result.stdout)
    assert len(read(target)) == 20


def test_a_run_that_is_told_to_end_keeps_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = make(tmp_path / "in.mkv", frames=20), tmp_path / "out.mp4"
    feed, before = zoo.video.running.Colors.feed, signal.getsignal(signal.SIGTERM)

    def end(self: Any, shot: Any, film: Any) -> None:
        if shot.pts >= 600:
            os.kill(os.getpid(), signal.SIGTERM)
        feed(self, shot, film)

    monkeypatch.setattr(zoo.video.running.Colors, "feed", end)
    result = call(source, target, *FAST)
    assert result.exit_code == 130
    assert result.stderr == f"interrupted: what was done is {target}.partial; --resume goes on from it\n"
    assert len(read(tmp_path / "out.mp4.partial")) > 0
    assert signal.getsignal(signal.SIGTERM) == before


def test_preview_and_compare(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=3)
    assert call(source, tmp_path / "two.mp4", *FAST, "--preview").exit_code == 0
    assert lumas(tmp_path / "two.mp4")[0].shape == (48, 128)
    arguments = ("--working-size", 32, "--preset", "ultrafast")
    result = call(source, tmp_path / "grid.mp4", *arguments, "--compare", "grayscale,fusion", "--style", "vivid")
    assert result.exit_code == 0, result.output
    assert "note: --style vivid does not apply to grayscale\n" in result.stderr
    assert lumas(tmp_path / "grid.mp4")[0].shape == (64, 128)
    for wrong in ("nope", "fusion:nope", ",", "grayscale:vivid"):
        result = call(source, tmp_path / "x.mp4", *arguments, "--compare", wrong)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: ")
        assert not (tmp_path / "x.mp4").exists()


def test_errors_are_one_line(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv")
    for arguments in (
        (tmp_path / "none.mkv", tmp_path / "out.mp4"),
        (source, tmp_path / "out.xyz"),
        (source, tmp_path / "out.mp4", "--style", "vivid"),
        (source, tmp_path / "out.mp4", "--fps", "x"),
        (source, tmp_path / "out.mp4", "--start", "nan"),
    ):
        result = call(*arguments, *FAST)
        assert result.exit_code == 2
        assert result.stderr.startswith("error: ")
        assert result.stderr.count("\n") == 1


def test_progress_is_told_in_lines_where_there_is_no_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoo.cli.video._SECONDS", -1)
    result = call(make(tmp_path / "in.mkv", frames=4), tmp_path / "out.mp4", *FAST)
    lines = result.stderr.splitlines()
    assert len(lines) == 4
    assert re.fullmatch(r"3/4 frames, [\d.]+ a second, 0:00 left", lines[2])
    assert _line(Progress(100, 4000, 2.0)) == "100/4000 frames, 2.0 a second, 32:30 left"
    assert _line(Progress(7, None, 3.0)) == "7 frames, 3.0 a second"
    assert _line(Progress(0, 4000, 0.0)) == "looking for its scenes"


def test_hints_and_references_are_timed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def colorize_video(*_: Any, **options: Any) -> Report:
        asked.update(options)
        return Report()

    monkeypatch.setattr("zoo.video.transcode.colorize_video", colorize_video)
    arguments = ("--hint", "0.2:5,6,#c03020", "--hint", "0.2:7,8,red", "--hint", "1:02:12.5:1,2,blue")
    more = (
        "--hints",
        "3:strokes.png",
        "--hint-radius",
        5,
        "--reference",
        "0:04:a:b.jpg",
        "--reference-mode",
        "palette",
    )
    result = call("in.mkv", "out.mp4", *FAST, *arguments, *more, "--variant", 2, "--seed", 7)
    assert result.exit_code == 0, result.output
    points = {0.2: [(5, 6, "#c03020"), (7, 8, "red")], 3732.5: [(1, 2, "blue")], 3.0: "strokes.png"}
    assert asked["hints"] == points
    assert (asked["hint_radius"], asked["reference"], asked["reference_mode"]) == (5, {4.0: "a:b.jpg"}, "palette")
    assert (asked["variant"], asked["seed"]) == (2, 7)
    assert call("in.mkv", "out.mp4", *FAST, "--reference", "similar.jpg").exit_code == 0
    assert (asked["hints"], asked["reference"]) == (None, "similar.jpg")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--hint", "5,6,red"), "--hint without a time; found: '5,6,red'; expected: such as 12.5:120,80,#c03020"),
        (("--hint", "0.2:5,red"), "not a hint"),
        (("--hints", "layer.png"), "--hints without a time"),
        (("--hints", "1:a.png", "--hints", "1:b.png"), "more than one layer, or points too, at 1 seconds"),
        (("--reference", "a.png", "--reference", "1:b.png"), "more than one --reference for a scene"),
        (("--hint", "9:5,6,red"), "no frame at that moment"),
        (("--hint", "0.2:500,6,red"), "outside of the picture"),
        (("--seed", "3"), "a film takes a seed with a variant only"),
        (("--compare", "fusion", "--variant", "1"), "--variant is for one model"),
    ],
)
def test_guidance_that_does_not_fit_is_refused(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    result = call(make(tmp_path / "in.mkv"), tmp_path / "out.mp4", *FAST, *arguments)
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert not (tmp_path / "out.mp4").exists()
