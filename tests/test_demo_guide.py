"""What a visitor tells of a clip's colors: from the page or by the endpoint, to the film and the code that is shown."""

import gc
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio_client
import numpy as np
import pytest
from clips import make, plane, read
from PIL import Image
from test_transcode import with_display_matrix
from visiting import gr, matching_models, nothing_kept, running  # noqa: F401  # fixtures

import zoo
from demo import app, film_guide, film_tab, films, frames, guides, snippets, touches, touching
from demo.films import Working
from demo.guides import Guide, Moments, Painted
from zoo.errors import VideoError

BLUE = "#2040c0"
DOT = touches.read_strokes([{"color": BLUE, "size": 12, "points": [[40, 30]]}])
AT = 0.2  # seconds of the sixth frame


pytestmark = pytest.mark.usefixtures("matching_models", "nothing_kept")


@pytest.fixture
def clip(tmp_path: Path) -> str:
    """Twelve frames of 64 x 48, 25 a second."""
    return str(make(tmp_path / "old film.mp4", codec="libx264", options={"preset": "ultrafast"}))


@pytest.fixture
def colored(tmp_path: Path, make_picture: Any) -> str:
    Image.fromarray(make_picture(60, 80)).save(tmp_path / "colored.png")
    return str(tmp_path / "colored.png")


def _result(clip: str, guide: Guide | None, choice: str = "tint:warm") -> Path | str:
    """The film, or why there is none."""
    for step in films.colorize(clip, [choice], 1.0, None, guide):
        if not isinstance(step, Working) and step.name == choice:
            return step.problem if step.path is None else Path(shutil.copy(step.path, Path(clip).parent / "out.mp4"))
    raise AssertionError


def _blue(path: Path | str, n: int, x: int, y: int) -> int:
    """Cb of frame ``n`` at a pixel, from -128 on."""
    return int(plane(read(Path(path))[n], 1)[y // 2, x // 2]) - 128


# Frames


@pytest.mark.parametrize(("seconds", "number"), [(0, 0), (0.21, 5), (0.2, 5), (0.1995, 5), (0.19, 4), (7.0, 11)])
def test_a_frame_is_the_one_that_is_shown_then(seconds: float, number: int, clip: str) -> None:
    found = frames.shown(Path(clip), seconds)
    assert found.seconds == pytest.approx(number / 25)
    luma = plane(read(Path(clip))[number], 0).astype(float)
    assert np.abs(np.asarray(found.picture, float) - (luma - 16) * 255 / 219).max() < 1


def test_frames_late_in_a_clip_are_sought_and_one_that_lasts_is_found(tmp_path: Path) -> None:
    usual = {"codec": "libx264", "options": {"preset": "ultrafast"}}
    long = make(tmp_path / "long.mp4", frames=100, **usual)
    luma = plane(read(long)[87], 0).astype(float)
    found = frames.shown(long, 3.5)
    assert found.seconds == 3.48
    assert np.abs(np.asarray(found.picture, float) - (luma - 16) * 255 / 219).max() < 1
    slow = make(tmp_path / "slow.mkv", frames=3, times=lambda i: 100 + 5000 * i)
    assert [frames.shown(slow, at).seconds for at in (0.0, 4.9, 9.0)] == [0.1, 0.1, 5.1]
    assert frames.length(long) == pytest.approx(4.0)


def test_frames_are_upright_and_of_square_pixels(tmp_path: Path) -> None:
    wide = make(tmp_path / "wide.mp4", codec="libx264", aspect=Fraction(2), size=(48, 64))
    turned = with_display_matrix(wide, tmp_path / "turned.mp4", 90)
    assert frames.shown(wide, 0).picture.size == (128, 48)
    picture = frames.shown(turned, 0).picture
    layer = touches.draw(DOT, picture.size, picture.size)
    assert not isinstance(_result(str(turned), Guide(((0.0, layer),))), str)  # of the size that the zoo expects


def test_what_is_no_clip_has_no_frames(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="not one frame"):
        frames.shown(make(tmp_path / "none.mkv", frames=0, sounds=["en"]), 0)


# What takes effect


def test_strokes_on_a_frame_color_the_film(clip: str) -> None:
    moments = Moments(clip).painted_on(AT, Painted((64, 48), DOT))
    guide = Guide.of(moments, None, None, "match")
    assert _blue(_result(clip, None), 5, 40, 30) < -10
    assert _blue(_result(clip, guide), 5, 40, 30) > 20


def test_a_variant_and_a_reference_are_for_all_models(clip: str, colored: str) -> None:
    shown = {}
    for name, guide in {
        "own": Guide(),
        "second": Guide(variant=(1, 0)),
        "other": Guide(variant=(1, 5)),
        "palette": Guide(reference=colored, mode="palette"),
    }.items():
        shown[name] = [plane(frame, 1) for frame in read(Path(_result(clip, guide)))]
    for one in shown:
        assert all(np.abs(shown[one][6].astype(int) - shown[two][6]).mean() > 1 for two in shown if two != one), one


@pytest.mark.parametrize(
    ("guide", "words"),
    [
        (
            Guide(((9.0, Image.new("RGBA", (64, 48), BLUE)),)),
            "old film.mp4: no frame at that moment. Expected: less than",
        ),
        (Guide(((AT, Image.new("RGBA", (10, 10), BLUE)),)), "does not fit"),
        (Guide(((-1.0, Image.new("RGBA", (64, 48), BLUE)),)), "bad moment"),
        (Guide(variant=(99, 0)), "bad variant"),
        (Guide(((AT, Image.new("RGB", (64, 48))),)), "alpha"),
    ],
)
def test_what_does_not_fit_is_told_in_words(guide: Guide, words: str, clip: str) -> None:
    problem = str(_result(clip, guide))
    assert words in problem
    assert "/" not in problem


def test_a_reference_without_color_is_refused_before_anything_is_colored(clip: str, tmp_path: Path) -> None:
    Image.new("L", (20, 20), 90).save(tmp_path / "grey.png")
    with pytest.raises(gr.Error, match="no colour of its own"):
        next(films.colorize(clip, ["tint:warm"], 1.0, None, Guide(reference=str(tmp_path / "grey.png"))))


def test_of_the_strokes_on_a_frame_the_last_ones_count() -> None:
    one, none = Painted((64, 48), DOT), Painted((64, 48), ())
    moments = Moments("a.mp4").painted_on(3.0, one).painted_on(1.5, Painted((64, 48), DOT * 2))
    assert film_guide._listed(moments) == [
        {"at": 1.5, "words": "1.5 s: 2 strokes"},
        {"at": 3.0, "words": "3 s: 1 stroke"},
    ]
    assert moments.strokes(1.5) == DOT * 2
    assert moments.strokes(2.0) == ()
    assert moments.painted_on(1.5, none) == Moments("a.mp4", ((3.0, one),))


def test_what_was_told_is_said() -> None:
    layer = Image.new("RGBA", (1, 1))
    assert Guide().words == ""
    assert Guide(variant=(0, 0)).words == "variant 1"
    said = Guide(((1.5, layer), (12.345, layer)), (2, 7), "/tmp/a b.png").words
    assert said == "variant 3 of seed 7; colors from a b.png; strokes at 1.5 s, 12.345 s"


# The page


@pytest.fixture
def page() -> Iterator[Any]:
    demo = app.build_demo()
    yield demo
    demo.close()
    del demo
    gc.collect()  # what is left unclosed complains now, while that is expected


def _handler(demo: Any, name: str) -> Any:
    (found,) = {f.fn for f in demo.fns.values() if getattr(f.fn, "__qualname__", "") == f"wire.<locals>.{name}"}
    return found


def _labelled(changes: dict[Any, Any]) -> dict[str, Any]:
    """What a handler changes, by the labels or ids of the parts of the page."""
    return {getattr(part, "label", None) or part.elem_id or type(part).__name__: own for part, own in changes.items()}


@running
def test_a_frame_goes_to_the_touch_up_tab_and_back(page: Any, clip: str, colored: str) -> None:
    open_frame, change, take, remove, reset = (
        _handler(page, name) for name in ("open_frame", "change", "take", "remove", "reset")
    )
    request = gr.Request(session_hash="me")
    fresh = _labelled(reset(clip, Moments()))
    assert fresh["Moment, in seconds"]["maximum"] == pytest.approx(0.48)
    (empty,) = [own for own in fresh.values() if isinstance(own, Moments)]
    assert empty == Moments(clip)

    told = (2, 5.0, colored, "palette")
    opened = open_frame(clip, 0.21, ["tint:cool"], 0.5, empty, None, *told, request)
    (sitting,) = [own for own in opened.values() if isinstance(own, touching.Sitting)]
    assert (sitting.frame, sitting.size, sitting.choice) == ((clip, AT), (64, 48), "tint:cool")
    assert Path(sitting.source).name == "old film-0.2s.png"
    assert sitting.touches.variant == (1, 5)
    assert sitting.references[str(sitting.touches.reference)] == colored
    assert sitting.board["film"] == "old film.mp4 at 0.2 s"
    assert touches.read(sitting.board["told"]) == sitting.touches
    assert _labelled(opened)["Model"] == "tint:cool"

    run = sitting.board["run"]
    sent = {**touches.as_sent(sitting.touches), "strokes": touches.as_sent(touches.Touches(DOT))["strokes"]}
    event = SimpleNamespace(_data={"run": run, "touches": sent})
    taken = take(sitting, clip, empty, event)
    (moments,) = [own for own in taken.values() if isinstance(own, Moments)]
    assert moments == Moments(clip, ((AT, Painted((64, 48), DOT)),))
    by = _labelled(taken)
    assert (by["Coloring"], by["Seed"], by["Take colors from a picture"]) == (2, 5, colored)
    assert by["How its colors are taken, in every scene"] == "palette"
    assert reset(clip, moments)[next(part for part, own in taken.items() if own is moments)] is moments

    # Opened again with what was painted there; removed; of another clip.
    again = change(
        clip, 0.0, ["tint:warm"], 1.0, moments, sitting, 0, None, None, "match",
        SimpleNamespace(_data={"at": AT}), request,
    )  # fmt: skip
    (second,) = [own for own in again.values() if isinstance(own, touching.Sitting)]
    assert second.touches == touches.Touches(DOT)
    assert remove(moments, SimpleNamespace(_data={"at": AT})) == (empty, [])
    for other in (None, clip + "x"):
        with pytest.raises(gr.Error, match="has another clip now"):
            take(sitting, other, moments, event)
    with pytest.raises(gr.Error, match="not open here any more"):
        take(second, clip, moments, event)
    with pytest.raises(gr.Error, match="Upload a clip"):
        open_frame(None, 0, [], 1.0, moments, None, 0, 0, None, "match", request)


@running
def test_a_reference_is_looked_at_when_it_is_uploaded(
    page: Any, colored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = _handler(page, "check")
    warned: list[str] = []
    monkeypatch.setattr(gr, "Warning", lambda words, **_: warned.append(words))
    assert list(check(colored)) == [colored]
    assert list(check(None)) == [None]
    Image.new("L", (20, 20), 90).save(tmp_path / "grey.png")
    (tmp_path / "notes.png").write_text("no picture")
    assert list(check(str(tmp_path / "grey.png"))) == [None]
    assert list(check(str(tmp_path / "notes.png"))) == [None]
    assert len(warned) == 2
    assert not any(str(tmp_path) in words for words in warned)


# Endpoint and code


def test_the_endpoint_does_the_same(clip: str, colored: str, tmp_path: Path) -> None:
    touches.draw(DOT, (64, 48), (64, 48)).save(tmp_path / "layer.png")
    layer = str(tmp_path / "layer.png")
    made = films.colorize_one(clip, "tint", "warm", 1.0, 1.0, 5.0, [layer], [AT], colored, "palette")
    shutil.copy(next(made), tmp_path / "by request.mp4")
    guide = Guide.of(Moments(clip, ((AT, Painted((64, 48), DOT)),)), (1, 5), colored, "palette")
    pairs = zip(read(tmp_path / "by request.mp4"), read(Path(_result(clip, guide))), strict=True)
    # To rounding: sums come out otherwise where other work in this process has changed the number of threads.
    assert max(np.abs(plane(a, 1).astype(int) - plane(b, 1).astype(int)).mean() for a, b in pairs) < 0.1
    for told, words in (
        ({"layers": [layer]}, "1 layers and 0 moments"),
        ({"layers": [layer], "moments": ["x"]}, "moment 'x'. Expected: seconds"),
        ({"layers": [layer, layer], "moments": [1, 1.0]}, "two layers at 1.0 seconds"),
        ({"layers": [colored], "moments": [AT]}, "does not fit|alpha"),
        ({"variant": 1.5}, "bad variant"),
        ({"variant": 1, "seed": "x"}, "bad seed"),
        ({"reference": colored, "reference_mode": "copy"}, "reference mode"),
        ({"reference": clip}, "old film.mp4"),
    ):
        with pytest.raises(gr.Error, match=words) as caught:
            next(films.colorize_one(clip, "tint", "warm", 1.0, **told))  # type: ignore[arg-type]
        assert tempfile.gettempdir() not in caught.value.message


def test_what_was_done_is_shown_as_code(clip: str, colored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(clip).parent)
    moments = Moments(clip, ((0.04, Painted((64, 48), DOT)), (AT, Painted((64, 48), DOT))))
    job = film_tab._job(clip, ["tint:warm"], 0.5, Guide.of(moments, (1, 5), colored, "palette"))
    layers = {at: f"old film-{at:g}s-strokes.png" for at in (0.04, AT)}
    options = {"model": "tint", "style": "warm", "saturation": 0.5, "variant": 1, "seed": 5, "hints": layers}
    options |= {"reference": "colored.png", "reference_mode": "palette"}
    called: list[Any] = []
    monkeypatch.setattr(zoo, "colorize_video", lambda *args, **named: called.append((args, named)))
    exec(snippets.in_python(job), {})
    assert called == [(("old film.mp4", "old film-tint-warm.mp4"), options)]
    line = shlex.split(snippets.on_command_line(job).replace("\\\n", ""))
    assert line[2:4] == ["old film.mp4", "old film-tint-warm.mp4"]
    for flags in (["--hints", f"0.04:{layers[0.04]}"], ["--hints", f"0.2:{layers[AT]}"], ["--variant", "1"]):
        assert any(line[n : n + 2] == flags for n in range(len(line))), flags
    asked: list[Any] = []
    client = SimpleNamespace(predict=lambda *args, **named: asked.append((args, named)))
    monkeypatch.setattr(gradio_client, "Client", lambda address: client)
    monkeypatch.setattr(gradio_client, "handle_file", str)
    exec(snippets.over_http(job, "x/y"), {"print": lambda *_: None})
    told = {"variant": 1, "seed": 5, "layers": list(layers.values()), "moments": list(layers)}
    told |= {"reference": "colored.png", "reference_mode": "palette", "api_name": "/video"}
    assert asked == [(("old film.mp4", "tint", "warm", 0.5), told)]
    assert guides.frame_name(clip, AT) == "old film-0.2s.png"
