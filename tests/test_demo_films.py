"""The app's tab for clips: its handlers as functions, one round trip with its client, one click-through."""

import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import frame, make, packets, plane, read, view
from PIL import Image
from test_transcode import with_display_matrix
from torch import Tensor
from visiting import AppError, Client, Tint, gr, handle_file, launched, offered, running, visited

from demo import clips, film_tab, films, limits
from demo.films import Working
from zoo.video.transcode import Progress


class Slow(Tint):
    """Takes its time, and counts."""

    runs = 0

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        Slow.runs += 1
        time.sleep(0.05)
        return super().predict_ab(L, **options)


@pytest.fixture(scope="module", autouse=True)
def _models() -> Iterator[None]:
    with offered(slow=Slow):
        yield


def _grey(i: int) -> av.VideoFrame:
    made = frame(i, (48, 64), "yuv420p")
    for index in (1, 2):
        view(made, index)[:] = 128
    return made


def _make(path: Path, **settings: Any) -> str:
    """A clip as browsers play it, in black and white, with sound."""
    usual = {"codec": "libx264", "options": {"preset": "ultrafast"}, "sounds": ["en"], "sound_codec": "aac"}
    return str(make(path, **{**usual, "pictures": _grey, **settings}))


@pytest.fixture
def clip(tmp_path: Path) -> str:
    return _make(tmp_path / "old film.mp4")


def _tint(path: Path) -> tuple[float, float]:
    """The mean Cb and Cr of the middle frame, from -128 on."""
    frames = read(path)
    blue, red = (float(plane(frames[len(frames) // 2], index).mean()) - 128 for index in (1, 2))
    return blue, red


def _at_work() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("film")]


def _results(*args: Any) -> dict[str, Path | str]:
    """What each result is, a copy of the clip or the problem; copied at once, since the files go."""
    results: dict[str, Path | str] = {}
    for step in films.colorize(*args):
        if isinstance(step, Working):
            continue
        if step.path is None:
            results[step.name] = step.problem
        else:
            results[step.name] = Path(args[0]).parent / f"copy of {step.path.name}"
            shutil.copy(step.path, results[step.name])
    return results


# Coloring


def test_each_model_answers_in_turn_with_the_sound(clip: str) -> None:
    results = _results(clip, ["tint:warm", "tint:cool"])
    assert [Path(p).name.removeprefix("copy of ") for p in results.values()] == [
        "old film.mp4",
        "old film-tint-warm.mp4",
        "old film-tint-cool.mp4",
    ]
    assert list(results) == ["before", "tint:warm", "tint:cool"]
    warm, cool = Path(results["tint:warm"]), Path(results["tint:cool"])
    for path in (warm, cool):
        assert len(read(path)) == 12
        assert packets(path, "audio") == packets(Path(clip), "audio")
        with clips.opened(path) as film:
            assert clips.fits(film)  # and so plays in browsers
        written = path.read_bytes()
        assert written.index(b"moov") < written.index(b"mdat")  # it can be played before all of it is there
    assert _tint(warm)[0] < -10 < 10 < _tint(warm)[1]
    assert _tint(cool)[0] > 10 > -10 > _tint(cool)[1]


def test_progress_is_told_while_a_model_works(tmp_path: Path) -> None:
    source = _make(tmp_path / "clip.mp4", frames=40)
    steps = [step for step in films.colorize(source, ["slow"]) if isinstance(step, Working)]
    assert steps[0] == Working("slow", None)
    told = [step.progress for step in steps if step.progress]
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert {p.total for p in told} == {40}
    assert 0 < told[0].done < 40


@pytest.mark.parametrize(
    ("progress", "words"),
    [
        (Progress(120, 240, 20.4), "120 of 240 frames · 20 a second · 6 s left"),
        (Progress(10, 1510, 10.0), "10 of 1510 frames · 10 a second · 2 min 30 s left"),
        (Progress(3, None, 0.5), "3 frames · less than 1 a second"),
        (Progress(0, 240, 0.0), "looking for its scenes"),
    ],
)
def test_progress_in_words(progress: Progress, words: str) -> None:
    assert films.in_words(progress) == words


def test_saturation_zero_is_grey(clip: str) -> None:
    assert _tint(Path(_results(clip, ["tint:warm"], 0.0)["tint:warm"])) == pytest.approx((0, 0), abs=1)


def test_the_original_is_a_panel_where_it_has_color(tmp_path: Path) -> None:
    source = _make(tmp_path / "color.mp4", pictures=None)
    results = _results(source, ["tint:cool"])
    assert list(results) == ["original", "before", "tint:cool"]


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    source = str(make(tmp_path / "clip.mkv"))  # of which an MP4 is made first
    paths = [step.path for step in films.colorize(source, ["tint:warm"]) if not isinstance(step, Working)]
    assert len(paths) == 3
    assert not any(path.parent.exists() for path in paths if path)


def test_nothing_is_left_behind_by_a_refusal(clip: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    with pytest.raises(gr.Error) as caught:
        list(films.colorize_one(clip, "refusing"))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert caught.value.message == "the weights are damaged. Install them again."


def test_the_name_of_a_result_is_safe_whatever_is_asked_for(clip: str) -> None:
    for style in ("x" * 1000, "../../elsewhere", "a/b\0"):
        with pytest.raises(gr.Error, match=r"model 'tint': unknown style\. Expected: warm or cool\."):
            list(films.colorize_one(clip, "tint", style))


def test_a_stream_without_time_stamps_keeps_its_frames(tmp_path: Path) -> None:
    source = _make(tmp_path / "raw.h264", sounds=[], prepare=None, times=lambda i: 40 * i)
    clips.fit(Path(source), tmp_path / "fit.mp4")
    assert [frame.time for frame in read(tmp_path / "fit.mp4")] == pytest.approx([i / 25 for i in range(12)])


# Stopping


@pytest.mark.parametrize("how", ["stop", "leave"])
def test_a_stopped_model_works_no_more(how: str, tmp_path: Path) -> None:
    source = _make(tmp_path / "long.mp4", frames=250)  # of which the model sees more than a hundred
    stop, before = threading.Event(), Slow.runs
    steps = films.colorize(source, ["slow", "tint:warm"], 1.0, stop)
    path = next(step.path for step in steps if not isinstance(step, Working))
    next(step for step in steps if isinstance(step, Working) and step.progress)
    assert _at_work() == ["film_0"]
    if how == "stop":
        stop.set()
        rest = list(steps)
        assert {step.name for step in rest} <= {"slow"}  # the other one does not begin
        assert all(isinstance(step, Working) for step in rest)
    else:
        steps.close()  # the visitor has gone
    assert _at_work() == []
    runs = Slow.runs - before
    assert 1 <= runs <= 30
    assert path is not None
    assert path.exists()  # it is the visitor's own


def test_what_was_done_before_a_stop_stays(clip: str) -> None:
    stop = threading.Event()
    names = []
    for step in films.colorize(clip, ["tint:warm", "tint:cool"], 1.0, stop):
        if not isinstance(step, Working):
            names.append(step.name)
            if step.name == "tint:warm":
                stop.set()
    assert names == ["before", "tint:warm"]


# Limits


def test_a_clip_that_fits_is_taken_as_it_is(clip: str, tmp_path: Path) -> None:
    assert next(films.prepare(clip)) == clip


def test_of_a_long_clip_the_beginning_is_colored_and_that_is_said(clip: str, monkeypatch: Any) -> None:
    said: list[str] = []
    monkeypatch.setattr(films.gr, "Info", said.append)
    monkeypatch.setattr(limits, "CLIP_SECONDS", 0.25)
    shown = next(films.prepare(clip))
    assert shown is not None
    assert said == ["old film.mp4 is longer than 0.25 seconds. The first 20 seconds are colored."]
    path = Path(_results(clip, ["tint:warm"])["tint:warm"])
    assert len(read(path)) == 7
    sound = packets(path, "audio")
    assert 0.2 < sound[-1][1] < 0.25


def test_a_large_or_fast_clip_is_made_smaller(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "CLIP_SIDE", 32)
    source = make(tmp_path / "large.mp4", size=(48, 90), frames=24, times=lambda i: 20 * i, codec="libx264")
    clips.fit(source, tmp_path / "small.mp4")
    frames = read(tmp_path / "small.mp4")
    assert (frames[0].height, frames[0].width) == (18, 32)
    assert len(frames) == pytest.approx(24 * 20 / 1000 * 30, abs=1)  # from 50 frames a second
    with clips.opened(tmp_path / "small.mp4") as film:
        assert clips.fits(film)


KINDS: dict[str, dict[str, Any]] = {
    "clip.mkv": {"sounds": ["en"]},  # ffv1 and pcm
    "clip.avi": {"codec": "mpeg4", "base": Fraction(1, 25), "sounds": ["en"]},
    "deep.mp4": {"codec": "libx264", "pix_fmt": "yuv420p10le"},
    "odd.mp4": {"codec": "libx264", "size": (47, 63), "pix_fmt": "yuv444p"},
    "full.mkv": {"color_range": 2},
    "late.ts": {"codec": "libx264", "base": Fraction(1, 90_000)},
    "wide.mkv": {"codec": "libx264", "aspect": Fraction(2)},
    "first.webm": {"codec": "libvpx-vp9", "options": {"lossless": "1"}},
}


@pytest.mark.parametrize("name", KINDS)
def test_what_browsers_do_not_play_is_made_anew(name: str, tmp_path: Path) -> None:
    settings = KINDS[name]
    source, target = make(tmp_path / name, **settings), tmp_path / "fit.mp4"
    with clips.opened(source) as film:
        assert not clips.fits(film)
    clips.fit(source, target)
    with clips.opened(target) as film:
        assert clips.fits(film)
        assert len(film.container.streams.audio) == len(settings.get("sounds", ()))
    before, after = read(source), read(target)
    times = [float(f.time - after[0].time) for f in after]
    assert times == pytest.approx([i / 25 for i in range(12)], abs=0.002)
    assert (after[5].height, after[5].width) == (48, 128 if name == "wide.mkv" else 64)
    wanted, found = (np.asarray(f.to_image().convert("L").resize((64, 48)), float) for f in (before[5], after[5]))
    assert np.abs(found - wanted).mean() < 6


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_turned_clip_is_made_upright(turn: int, tmp_path: Path) -> None:
    straight = make(tmp_path / "straight.mp4", codec="libx264", size=(48, 64), pix_fmt="yuv444p")
    source = with_display_matrix(straight, tmp_path / "turned.mp4", turn)
    clips.fit(source, tmp_path / "fit.mp4")
    before, after = plane(read(straight)[3], 0), read(tmp_path / "fit.mp4")[3]
    assert after.rotation == 0
    expected = np.rot90(before, turn // 90).astype(int)
    assert (after.height, after.width) == expected.shape
    assert np.abs(plane(after, 0) - expected).mean() < 4


def test_sound_stays_with_the_pictures(tmp_path: Path) -> None:
    """Of a film whose clock does not begin at zero, and whose sound begins later."""
    broadcast = {"codec": "libx264", "base": Fraction(1, 90_000), "mux": {"output_ts_offset": "10"}}
    source = make(tmp_path / "late.ts", sounds=["en"], sound_codec="aac", sound_at=400, **broadcast)
    clips.fit(source, tmp_path / "fit.mp4")
    ahead = []
    for path in (source, tmp_path / "fit.mp4"):
        with av.open(str(path)) as container:
            ahead.append(next(container.decode(audio=0)).time - read(path)[0].time)
    assert ahead[0] > 0.1
    assert ahead[1] == pytest.approx(ahead[0], abs=0.05)


# Refusals and bugs


def test_what_is_missing_is_said(clip: str) -> None:
    for args in ((None, ["tint:warm"]), (clip, [])):
        with pytest.raises(gr.Error, match=r"Upload a clip|Tick at least one"):
            next(films.colorize(*args))


def _sound_only(path: Path) -> None:
    with av.open(str(path), "w") as out:
        tone = out.add_stream("aac", rate=8000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), format="s16", layout="mono")
        sound.sample_rate, sound.pts = 8000, 0
        out.mux(tone.encode(sound))
        out.mux(tone.encode(None))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes.mp4", "notes.mp4: not a film that can be opened. This app takes MP4"),
        ("song.mp4", "song.mp4: no moving pictures in it. This app takes MP4"),
        ("photo.png", "photo.png: a single picture, which goes into the tab Photos"),
        ("empty.mkv", "empty.mkv: not a film that can be opened"),
        ("none.mkv", "none.mkv: not one frame of it can be read"),
        ("gone.mp4", "gone.mp4: no longer here. Uploads are deleted"),
        ("list.m3u8", "list.m3u8: a list of other files"),
    ],
)
def test_what_is_no_clip_is_refused_in_short(name: str, message: str, tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / name
    if name == "notes.mp4":
        path.write_text("hello")
    elif name == "song.mp4":
        _sound_only(path)
    elif name == "photo.png":
        Image.new("L", (8, 6)).save(path)
    elif name == "empty.mkv":
        path.touch()
    elif name == "none.mkv":
        make(path, frames=0, sounds=["en"])
    elif name == "list.m3u8":  # which FFmpeg would follow to whatever lies on this machine
        other = make(tmp_path / "private.ts", codec="libx264", base=Fraction(1, 90_000))
        path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.48,\n{other}\n#EXT-X-ENDLIST\n")
    with pytest.raises(gr.Error) as caught:
        next(films.colorize(str(path), ["tint:warm"]))
    assert caught.value.message.startswith(message)
    assert str(tmp_path) not in caught.value.message
    warned: list[str] = []
    monkeypatch.setattr(films.gr, "Warning", warned.append)
    assert next(films.prepare(str(path))) is None
    assert warned == [caught.value.message]


def test_a_file_that_is_too_large_is_refused_with_the_limit(clip: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "CLIP_MEGABYTES", 0.0001)
    with pytest.raises(gr.Error, match=r"old film.mp4: the file is too large\. .*up to 60 MB"):
        next(films.colorize(clip, ["tint:warm"]))


def test_a_clip_that_stops_in_the_middle_says_where(tmp_path: Path) -> None:
    whole = Path(_make(tmp_path / "whole.mp4", frames=100, mux={"movflags": "+faststart"}, sounds=()))
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    folders = set(Path(tempfile.gettempdir()).iterdir())
    problem = str(_results(str(tmp_path / "cut.mp4"), ["tint:warm"])["tint:warm"])
    assert problem.startswith("cut.mp4: stops at ")
    assert "/" not in problem
    assert set(Path(tempfile.gettempdir()).iterdir()) <= folders


def test_a_model_that_fails_stops_no_other(clip: str, caplog: Any) -> None:
    results = _results(clip, ["refusing", "broken", "tint:warm"])
    assert results["refusing"] == "the weights are damaged. Install them again."
    assert isinstance(results["tint:warm"], Path)
    (record,) = [r for r in caplog.records if r.name == "demo.refusals"]
    assert record.getMessage().removeprefix("reference ") in str(results["broken"])
    assert record.exc_info
    assert "secret" not in str(results["broken"])


def test_only_what_is_offered_can_be_asked_for(clip: str) -> None:
    with pytest.raises(gr.Error, match="Expected: broken, refusing, slow, tint"):
        list(films.colorize_one(clip, "local-dir:/"))


# The examples


def test_examples_are_small_play_in_browsers_and_are_credited() -> None:
    files = sorted(p.name for p in film_tab.EXAMPLES.glob("*.mp4"))
    assert files == sorted(f"{name}.mp4" for name in film_tab.EXAMPLE_NAMES)
    credits_ = (film_tab.EXAMPLES / "CREDITS.md").read_text(encoding="utf-8")
    for name, in_color in zip(film_tab.EXAMPLE_NAMES, (False, True), strict=True):
        path = film_tab.EXAMPLES / f"{name}.mp4"
        assert f"| `{path.name}` |" in credits_
        assert path.stat().st_size < 600_000
        with clips.opened(path) as film:
            assert clips.fits(film)
        assert clips.has_color(path) == in_color


# The running app


@pytest.fixture(scope="module")
def url(tmp_path_factory: Any) -> Iterator[str]:
    with launched(tmp_path_factory) as address:
        yield address


@running
def test_the_client_gets_a_colored_clip(url: str, tmp_path: Path) -> None:
    source = make(tmp_path / "old.mkv", sounds=["en"])
    client = Client(url, verbose=False, download_files=tmp_path)
    answer = client.predict(handle_file(str(source)), "tint", "cool", 1.0, api_name="/video")
    assert Path(answer).name == "old-tint-cool.mp4"
    assert len(read(Path(answer))) == 12
    assert _tint(Path(answer))[0] > 10
    assert packets(Path(answer), "audio")
    (tmp_path / "bad.mp4").write_bytes(b"nothing")
    with pytest.raises(AppError, match="This app takes"):
        client.predict(handle_file(str(tmp_path / "bad.mp4")), "tint", "cool", 1.0, api_name="/video")
    client.close()


@running
def test_visitors_click_through_it(url: str, tmp_path: Path) -> None:
    clip = make(tmp_path / "holiday.mkv", frames=120, size=(97, 161), sounds=["en"])  # which no browser plays
    notes = tmp_path / "notes.mp4"
    notes.write_text("no clip")
    with visited(url) as (page, expect):
        page.get_by_role("tab", name="Videos").click()

        # Nothing chosen, then a file that is no clip, then an example: the page says what is the matter.
        page.locator("#colorize-film").click()
        page.get_by_text("Upload a clip or click").wait_for()
        page.locator("#drop input[type=file]").set_input_files(notes)
        page.get_by_text("not a film that can be opened").wait_for()
        page.get_by_role("button", name="In color").click()
        page.wait_for_function("document.querySelector('#clip video')?.src.endsWith('fetch.mp4')")

        page.locator("#drop input[type=file]").set_input_files(clip)
        page.wait_for_function("document.querySelector('#clip video')?.src.endsWith('holiday.mp4')")
        for label in ("broken", "tint · warm", "tint · cool"):  # the first was ticked
            page.locator("#models-film label", has_text=f"{label}\n").click()
        page.locator("#colorize-film").click()
        page.get_by_text("Done: 2 of 2").wait_for(timeout=60_000)
        players = page.locator("#films video")
        expect(players).to_have_count(4)
        page.wait_for_function("[...document.querySelectorAll('#films video')].every(v => v.videoWidth == 160)")
        expect(players.first).to_have_css("filter", "grayscale(1)")
        page.locator("#play").click()
        page.wait_for_function("[...document.querySelectorAll('#films video')].every(v => v.currentTime > 0.1)")
        assert players.evaluate_all("players => players.map(p => p.muted)") == [False, True, True, True]
        page.locator("#play").click()
        page.wait_for_function("[...document.querySelectorAll('#films video')].every(v => v.paused && !v.ended)")
        with page.expect_download() as download:
            page.locator("#films [data-testid=download-link]").last.click()
        assert download.value.suggested_filename == "holiday-tint-cool.mp4"
        assert len(read(download.value.path())) == 120

        # A slow model is stopped; what was there before it is gone, and it does not go on.
        for label in ("tint · warm", "tint · cool", "slow"):
            page.locator("#models-film label", has_text=f"{label}\n").click()
        before = Slow.runs
        page.locator("#colorize-film").click()
        page.get_by_text("of 120 frames").wait_for()
        page.locator("#stop").click()
        page.get_by_text("Stopped: 0 of 1").wait_for()
        expect(page.locator("#stop")).to_be_hidden()
        expect(players).to_have_count(2)
        assert _at_work() == []
        assert Slow.runs - before < 60  # of about a hundred
