"""Touching up in the app: what is told takes effect without a run of the network, and stays each visitor's own."""

import io
import shlex
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_demo_code import _asked, _commands
from torch import Tensor
from typer.testing import CliRunner
from visiting import (  # noqa: F401  # fixtures
    AppError,
    Client,
    Refusing,
    Tint,
    gr,
    handle_file,
    launched,
    matching_models,
    nothing_kept,
    running,
    visited,
)

from demo import keeping, limits, models, photos, snippets, touch_api, touch_tab, touches, touching
from demo.keeping import Kept, Owner
from demo.photos import Settings
from demo.touches import Touches
from demo.touching import Sitting
from zoo import images
from zoo.cli import app
from zoo.color import rgb_to_lab
from zoo.errors import OptionError

RED, BLUE = "#c03020", "#2040c0"


pytestmark = pytest.mark.usefixtures("matching_models", "nothing_kept")


@pytest.fixture
def photo(tmp_path: Path) -> str:
    ramp = np.tile(np.linspace(60, 200, 120, dtype=np.uint8), (80, 1))
    Image.fromarray(ramp).save(tmp_path / "old photo.png")
    return str(tmp_path / "old photo.png")


@pytest.fixture
def colored(tmp_path: Path, make_picture: Any) -> str:
    Image.fromarray(make_picture(90, 120)).save(tmp_path / "colored.png")
    return str(tmp_path / "colored.png")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The runs of the network `tint`."""
    runs: list[Any] = []
    answer = Tint.predict_ab

    def counted(self: Tint, L: Tensor, **options: Any) -> Tensor:
        runs.append(options)
        return answer(self, L, **options)

    monkeypatch.setattr(Tint, "predict_ab", counted)
    models.named.cache_clear()
    return runs


def _told(*strokes: tuple[str, float, list[list[float]]], **more: Any) -> Touches:
    told = [{"color": color, "size": size, "points": points} for color, size, points in strokes]
    return touches.read({"strokes": told, **more})


def _opened(source: str, choice: str = "tint:warm", session: str = "me", **settings: Any) -> Sitting:
    return touching.opened(source, choice, Settings(**settings), session)


def _full(sitting: Sitting, told: Touches, suffix: str = ".png") -> images.Picture:
    with tempfile.TemporaryDirectory() as folder:
        return images.read(touching.full(sitting, told, suffix, Path(folder)))


def _ab(pixels: Any, x: int, y: int) -> Any:
    rgb = torch.from_numpy(images.to_8_bit(pixels)[y, x, :3].astype(np.float32) / 255)
    return rgb_to_lab(rgb[:, None, None])[1:].flatten().numpy()


DOT = _told((RED, 10, [[30, 40]]))


# What takes effect


def test_strokes_take_effect_without_another_run_of_the_network(photo: str, asked: list[Any]) -> None:
    sitting = _opened(photo)
    before = touching.painted(sitting, Touches())
    line = _told((RED, 10, [[30, 40]]), (BLUE, 8, [[80, 20], [80, 60], [100, 60]]))
    after = touching.painted(sitting, line)
    assert len(asked) == 1
    assert np.abs(_ab(before, 30, 40) - (30, 40)).max() < 2
    assert np.abs(_ab(after, 30, 40) - _ab(np.array([[[192, 48, 32]]], np.uint8), 0, 0)).max() < 2
    for x, y in ((80, 40), (90, 60)):  # along the line
        assert _ab(after, x, y)[1] < -20
    assert (touching.painted(sitting, Touches()) == before).all()  # undone
    assert len(asked) == 1


def test_the_download_is_what_was_seen(photo: str, asked: list[Any]) -> None:
    sitting = _opened(photo, saturation=0.5)
    assert (_full(sitting, DOT).pixels == touching.painted(sitting, DOT)).all()
    assert len(asked) == 1


def test_large_photos_are_tried_small_and_downloaded_whole(tmp_path: Path) -> None:
    ramp = np.tile(np.linspace(10_000, 50_000, 1500).astype(np.uint16), (1000, 1))
    exif = Image.Exif()
    exif[0x0112], exif[0x013B] = 6, "A. Photographer"
    images.write(tmp_path / "deep.png", ramp)
    deep = Image.open(tmp_path / "deep.png")
    deep.save(tmp_path / "turned.png", exif=exif)
    sitting = _opened(str(tmp_path / "turned.png"))
    assert sitting.size == (1000, 1500)
    stroke = _told((BLUE, 60, [[500, 300], [700, 300]]))
    small = touching.painted(sitting, stroke)
    assert small.shape[0] * small.shape[1] <= 1.01 * touching.PIXELS
    scale = small.shape[1] / 1000
    whole = _full(sitting, stroke)
    assert whole.pixels.shape == (1500, 1000, 3)
    assert whole.pixels.dtype == np.uint16
    assert b"A. Photographer" in (whole.exif or b"")
    for x in (500, 600, 700):
        at = _ab(whole.pixels, x, 300)
        assert at[1] < -20
        assert np.abs(at - _ab(small, round(x * scale), round(300 * scale))).max() < 3


def test_transparent_photos_stay_so(tmp_path: Path) -> None:
    Image.new("LA", (40, 30), (120, 100)).save(tmp_path / "clear.png")
    sitting = _opened(str(tmp_path / "clear.png"))
    assert touching.data_url(touching.painted(sitting, DOT), touching.small(sitting).alpha).startswith(
        "data:image/webp"
    )
    whole = _full(sitting, DOT)
    assert whole.alpha is not None
    assert set(np.unique(whole.alpha)) == {100}
    with pytest.raises(gr.Error, match="JPEG has no transparency"):
        _full(sitting, DOT, ".jpg")


def test_strokes_can_be_had_as_a_layer(photo: str) -> None:
    layer = _full(_opened(photo), DOT, ".layer.png")
    assert layer.pixels.shape == (80, 120, 3)
    assert layer.alpha is not None
    assert set(np.unique(layer.alpha)) == {0, 255}
    assert tuple(layer.pixels[40, 30]) == (0xC0, 0x30, 0x20)


def test_variants_are_offered_and_gone_on_with(photo: str) -> None:
    sitting = _opened(photo)
    first, again, others = (list(touching.variants(sitting, seed)) for seed in (0, 0, 1))
    assert len(first) == touching.VARIANTS
    assert max(first[0].size) <= 2 * touching.THUMB
    assert [np.asarray(a).tolist() for a in first] == [np.asarray(a).tolist() for a in again]
    assert np.asarray(first[0]).tolist() != np.asarray(others[0]).tolist()
    base = touching.painted(sitting, _told(variant={"number": 2, "seed": 0}))
    assert np.abs(np.asarray(first[2], int).mean((0, 1)) - base.mean((0, 1))).max() < 2
    touched = touching.painted(sitting, _told((BLUE, 10, [[30, 40]]), variant={"number": 2, "seed": 0}))
    assert _ab(touched, 30, 40)[1] < -20
    assert np.abs(touched[:, -1].astype(int) - base[:, -1]).max() < 30


def test_several_views_are_left_out_where_they_do_not_go(photo: str, asked: list[Any]) -> None:
    sitting = _opened(photo, views=2)
    assert len(asked) == 2
    touching.painted(sitting, _told(variant={"number": 1, "seed": 3}))
    assert len(list(touching.variants(sitting, 0))) == 4


def test_variants_can_be_stopped(photo: str) -> None:
    sitting = _opened(photo)
    found = touching.variants(sitting, 0)
    next(found)
    sitting.stopped = True
    assert list(found) == []


def test_certainty_and_likely_colors(photo: str, asked: list[Any]) -> None:
    sitting = _opened(photo)
    seen = touching.sureness(sitting)
    assert seen.size == (120, 80)
    runs = len(asked)
    own, *rest = touching.likely(sitting, 119.0, 79.0)
    assert len({own, *rest}) == 5
    red, green, blue = (int(own[n : n + 2], 16) for n in (1, 3, 5))
    assert red > green > blue  # warm
    assert len(asked) == runs


def test_colors_come_from_a_reference(photo: str, colored: str) -> None:
    sitting = _opened(photo)
    name, thumbnail = touching.refer(sitting, colored)
    assert thumbnail.size == (120, 90)
    own = touching.painted(sitting, Touches())
    moved = touching.painted(sitting, _told(reference=name, mode="palette"))
    matched = touching.painted(sitting, _told(reference=name))
    assert np.abs(moved.astype(int) - own).mean() > 2
    assert (matched != moved).any()
    assert (_full(sitting, _told(reference=name, mode="palette")).pixels == moved).all()
    with pytest.raises(gr.Error, match="no colour of its own"):
        touching.refer(sitting, photo)
    for _ in range(touching.REFERENCES):
        touching.refer(sitting, colored)
    with pytest.raises(OptionError.__base__, match="not here any more"):
        touching.painted(sitting, _told(reference=name))


def test_a_model_that_answers_grey_refuses_in_words(photo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Refusing, "predict_ab", lambda self, L, **_: self(L))
    models.named.cache_clear()
    sitting = _opened(photo, "refusing")  # which is grayscale with weights
    for ask in (lambda: list(touching.variants(sitting, 0)), lambda: touching.sureness(sitting)):
        with pytest.raises(gr.Error, match="has neither variants nor certainty"):
            ask()


# Whose it is, and how long


def test_visitors_do_not_share_and_leave_nothing(photo: str) -> None:
    mine, yours = _opened(photo, session="me"), _opened(photo, session="you")
    touching.painted(mine, DOT)
    assert touching.canvas(mine, None) is not touching.canvas(yours, None)
    assert yours.touches == Touches()
    assert {owner.session for owner in touching._kept.count()} == {"me", "you"}
    touch_tab.leave(gr.Request(session_hash="me"))
    assert {owner.session for owner in touching._kept.count()} == {"you"}


def test_what_had_no_room_is_made_again(photo: str, asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(touching, "_kept", Kept(30_000, 16))
    first, second = _opened(photo), _opened(photo)
    before = touching.painted(first, DOT)
    touching.painted(second, DOT)
    runs = len(asked)
    assert (touching.painted(first, DOT) == before).all()
    assert len(asked) == runs + 1
    assert sum(keeping.weight(value) for value, _ in touching._kept._found.values()) < 200_000


def test_the_oldest_go_first_and_one_owner_has_not_all() -> None:
    kept = Kept(4000, 3)
    one, other = Owner("a", "1"), Owner("b", "1")
    made: list[int] = []

    def get(owner: Owner, key: int) -> None:
        kept.get(owner, key, lambda: made.append(key) or np.zeros(1000, np.uint8))  # type: ignore[func-returns-value]

    for key in (1, 2, 3, 1, 4):
        get(one, key)
    assert kept.count() == {one: 3}
    get(one, 1)
    assert made == [1, 2, 3, 4]
    get(one, 2)
    assert made == [1, 2, 3, 4, 2]
    get(other, 5)
    get(other, 6)
    assert kept.count() == {one: 2, other: 2}
    kept.drop("a", "2")
    kept.drop("b", "1")
    assert kept.count() == {one: 2}


def test_a_photo_that_is_gone_is_told(photo: str) -> None:
    sitting = _opened(photo)
    Path(photo).unlink()
    assert touching.painted(sitting, DOT).any()  # as long as it is kept
    with pytest.raises(gr.Error, match=r"old photo.png: no longer here"):
        _full(sitting, DOT)


def test_events_of_pictures_that_are_not_open_are_refused(photo: str) -> None:
    def event(run: str) -> Any:
        return SimpleNamespace(_data={"run": run})

    editor = gr.HTML(render=False)
    page: Any = SimpleNamespace(editor=editor, empty=0, table=1, done=2)
    request = gr.Request(session_hash="me")
    first = touch_tab._opened(page, photo, "tint:warm", Settings(), None, request)[1]
    run = first.board["run"]
    assert touch_tab._here(first, event(run)) is first
    second = touch_tab._opened(page, photo, "tint:cool", Settings(), first, request)[1]
    assert {owner.picture for owner in touching._kept.count()} == {second.board["run"]}
    for sitting, name in ((None, run), (second, run), (first, None)):
        with pytest.raises(gr.Error, match="not open here any more"):
            touch_tab._here(sitting, event(name))
    # What fails is told, and the picture stays; it is made again after the page was left for a while.
    picture = second.board["picture"]
    told = touch_tab._tried(second, lambda: touches.read({"mode": "no"}) and None, number=3)  # type: ignore[func-returns-value]
    assert "unknown reference mode" in told["problem"]
    assert (told["number"], told["stamp"], told["picture"]) == (3, 1, picture)
    touch_tab.leave(request)
    again = touch_tab._tried(touch_tab._here(second, event(second.board["run"])), lambda: None)
    assert (again["picture"], again["stamp"], again["problem"]) == (picture, 2, "")
    seen = list(touch_tab._varied(second, 1, editor))
    assert [len(board["variants"]["pictures"]) for board in seen] == [0, 1, 2, 3, 4, 4]
    assert [board["stamp"] for board in seen] == [3, 4, 5, 6, 7, 8]
    assert not seen[-1]["variants"]["busy"]


# What is not understood


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ([], "not understood"),
        ({"strokes": {}}, "not a list"),
        ({"strokes": [{"color": "red"}]}, "stroke 1 is not one"),
        ({"strokes": [[1, 2, "#c03020"], [1, float("nan"), "#c03020"]]}, "stroke 2 is not one"),
        ({"strokes": [{"color": "no color", "size": 1, "points": [[1, 1]]}]}, "stroke 1: not a colour"),
        ({"strokes": [[1, 2, "rgb(300, 0, 0)"]]}, "stroke 1: not a colour"),
        ({"strokes": [{"color": RED, "size": 1, "points": []}]}, "no points"),
        ({"strokes": [[1, 2, RED]] * 501}, "501 strokes"),
        ({"strokes": [{"color": RED, "size": 1, "points": [[1, 1]] * 20_001}]}, "too long together"),
        ({"variant": 3}, "no such variant"),
        ({"variant": {"number": 64}}, "no such variant"),
        ({"variant": {"number": True}}, "no such variant"),
        ({"mode": "copy"}, "unknown reference mode"),
        ({"reference": 3}, "reference is not understood"),
    ],
)
def test_touches_that_are_none_are_refused(told: Any, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        touches.read(told)


def test_numbers_that_could_not_be_sent_back_are_refused() -> None:
    assert touches.whole(3, "seed") == 3
    for told in (-1, 2**31, 10**400, 1.0, True, "1", None):
        with pytest.raises(OptionError, match="no such seed"):
            touches.whole(told, "seed")


def test_strokes_are_drawn_hard_within_the_picture() -> None:
    far = {"color": BLUE, "size": 400, "points": [[90_000, 5], [10**400, 1e9]]}
    strokes = touches.read_strokes([[0, 0, RED], far, [-3, 20, BLUE], [103, 20, BLUE]])
    layer = np.asarray(touches.draw(strokes, (100, 50), (50, 25)))
    assert layer.shape == (25, 50, 4)
    assert set(np.unique(layer[..., 3])) <= {0, 255}
    assert tuple(layer[0, 0]) == (0xC0, 0x30, 0x20, 255)
    assert not layer[10].any()  # what lies outside is not painted at the rim


def test_a_place_is_within_the_picture() -> None:
    assert touches.place([-3, 10**400], (10, 20)) == (0, 19)
    for told in (None, [1], ["a", 2], [1, float("inf")]):
        with pytest.raises(OptionError, match="no such place"):
            touches.place(told, (10, 20))


# Endpoints and code


def _png(steps: Iterator[Any]) -> Image.Image:
    return Image.open(io.BytesIO(Path(next(steps)).read_bytes()))


def test_the_endpoints_do_the_same(photo: str, colored: str, tmp_path: Path) -> None:
    sitting = _opened(photo)
    hints = [{"color": RED, "size": 10, "points": [[30, 40]]}]
    by_strokes = np.asarray(_png(touch_api.touch_up(photo, "tint", "warm", hints)))
    assert (by_strokes == touching.painted(sitting, DOT)).all()
    layer = touching.full(sitting, DOT, ".layer.png", tmp_path)
    assert (np.asarray(_png(touch_api.touch_up(photo, "tint", "warm", None, str(layer)))) == by_strokes).all()
    variant = _png(touch_api.touch_up(photo, "tint", "warm", None, None, 1.0, 2.0, colored, "palette", 0.5, 64.0))
    assert variant.size == (120, 80)
    many = next(touch_api.choose_variants(photo, "tint", "warm", 2.0, 1.0))
    assert [label for _, label in many] == ["variant 0", "variant 1"]
    assert _png(touch_api.see_certainty(photo, "tint", "cool")).width == 120
    for steps, words in (
        (touch_api.touch_up(None, "tint"), "Upload a photo"),
        (touch_api.touch_up(photo, "tint", "warm", hints, str(layer)), "both hints and a layer"),
        (touch_api.touch_up(photo, "tint", "warm", None, colored), "has no alpha"),
        (touch_api.touch_up(photo, "tint", "warm", [[500, 4, RED]], str(layer)), "both hints"),
        (touch_api.touch_up(photo, "tint", "warm", None, None, 99.0), "bad variant"),
        (touch_api.touch_up(photo, "tint", "warm", "red"), "not a list"),
        (touch_api.choose_variants(photo, "tint", "warm", 99), "bad number of variants"),
        *((touch_api.choose_variants(photo, "tint", "warm", wrong), "bad number of") for wrong in (1.5, "2", {}, True)),
        (touch_api.touch_up(photo, "tint", "warm", [[5, 4, RED], [120, 4, RED]]), "stroke 2 lies outside"),
        (touch_api.touch_up(photo, "tint", "warm", [[-1, 4, RED]]), "stroke 1 lies outside"),
        (touch_api.see_certainty(photo, "no such"), "no model named"),
    ):
        with pytest.raises(gr.Error, match=words):
            next(steps)
    assert {owner.session for owner in touching._kept.count()} == {"me"}


def test_a_layer_of_another_size_is_refused_in_words(photo: str, tmp_path: Path) -> None:
    Image.new("RGBA", (10, 10), (200, 0, 0, 255)).save(tmp_path / "layer.png")
    with pytest.raises(gr.Error, match="does not fit the picture"):
        next(touch_api.touch_up(photo, "tint", "warm", None, str(tmp_path / "layer.png")))


def test_what_was_done_is_shown_as_code(photo: str, colored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(photo).parent)
    sitting = _opened(photo, views=2)
    name, _ = touching.refer(sitting, colored)
    told = _told((RED, 10, [[30, 40]]), variant={"number": 1, "seed": 7}, reference=name, mode="palette")
    seen = touching.painted(sitting, told)
    touching.full(sitting, told, ".layer.png", Path())
    job = touch_tab._job(sitting)
    exec(snippets.in_python(job), {})
    assert (np.asarray(Image.open("old photo-tint-warm.png")) == seen).all()
    (line,) = _commands(job)
    done = CliRunner().invoke(app, shlex.split(line)[1:])
    assert done.exit_code == 0, done.output
    ((given, named),) = _asked(job, monkeypatch)
    assert given == ()
    assert named == {
        **{"source": "old photo.png", "layer": "old photo-strokes.png", "reference": "colored.png"},
        **{"model": "tint", "style": "warm", "variant": 1, "seed": 7, "reference_mode": "palette"},
        "api_name": "/touch_up",
    }


def test_photos_are_colored_from_several_views(photo: str, asked: list[Any]) -> None:
    list(photos.colorize([photo], ["tint:warm"], Settings(views=4)))
    assert len(asked) >= 3
    bad = [result.problem for result in photos.colorize([photo], ["tint:warm"], Settings(views=3))]
    assert "bad views" in bad[-1]
    assert limits.VARIANTS >= touching.VARIANTS


# The page


@pytest.fixture(scope="module")
def url(tmp_path_factory: Any) -> Iterator[str]:
    with launched(tmp_path_factory) as address:
        yield address


@running
def test_the_client_touches_up(url: str, photo: str, tmp_path: Path) -> None:
    client = Client(url, verbose=False, download_files=tmp_path)
    hints = [[30, 40, BLUE]]
    answer = client.predict(
        source=handle_file(photo), model="tint", style="warm", hints=hints, layer=None, reference=None,
        api_name="/touch_up",
    )  # fmt: skip
    with Image.open(answer) as image:
        assert _ab(np.asarray(image), 30, 40)[1] < -20
    with pytest.raises(AppError, match="not a list"):
        client.predict(
            source=handle_file(photo), model="tint", hints={"a": 1}, layer=None, reference=None, api_name="/touch_up"
        )
    client.close()


@running
@pytest.mark.parametrize(("width", "theme"), [(390, "light"), (1280, "dark")])
def test_visitors_paint(url: str, width: int, theme: str, photo: str, colored: str) -> None:
    with visited(url, width, theme) as (page, expect):
        # From a result in the tab Photos.
        page.locator("#photos input[type=file]").first.set_input_files(photo)
        page.locator("#photos img").first.wait_for()
        for label in ("broken", "tint · warm"):  # the first was ticked
            page.locator("#models label", has_text=f"{label}\n").click()
        page.locator("#colorize").click()
        page.get_by_label("Touch up tint · warm").click()
        editor = page.locator("#editor .touch")
        expect(editor).to_be_visible()
        expect(page.locator("#touch-model input")).to_have_value("tint · warm")
        image, status = editor.locator(".sheet img"), editor.get_by_role("status")
        before = image.get_attribute("src")

        def settled(other: str) -> str:
            expect(image).not_to_have_attribute("src", other)
            expect(status).to_have_text("")
            return str(image.get_attribute("src"))

        # A stroke with the mouse, whose color the result has; undone, done again.
        editor.get_by_label("denim").click()
        sheet = editor.locator(".sheet")
        sheet.scroll_into_view_if_needed()
        box = sheet.bounding_box()
        page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + 0.5 * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"], steps=5)
        page.mouse.up()
        after = settled(before)
        blue = page.evaluate("""async () => {
          const image = document.querySelector('#editor .sheet img');
          await image.decode();
          const pen = new OffscreenCanvas(120, 80).getContext('2d');
          pen.drawImage(image, 0, 0);
          const [red, , blue] = pen.getImageData(40, 40, 1, 1).data;
          return blue - red;
        }""")
        assert blue > 20
        editor.get_by_text("Undo", exact=True).click()
        assert settled(after) == before
        editor.get_by_text("Redo", exact=True).click()
        assert settled(before) == after

        # A dot by keyboard; all are gone at once, and come back.
        editor.locator(".stage").focus()
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        more = settled(after)
        editor.get_by_text("Start over", exact=True).click()
        assert settled(more) == before
        page.keyboard.press("Control+z")
        assert settled(before) == more

        # Erased by touching it.
        editor.get_by_text("Erase", exact=True).click()
        box = sheet.bounding_box()
        page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + 0.5 * box["height"])
        fewer = settled(more)

        # Another coloring, to go on from.
        editor.get_by_text("Show four", exact=True).click()
        expect(editor.locator(".variants img")).to_have_count(4)
        second = editor.get_by_label("Coloring 2: go on from it")
        second.click()
        varied = settled(fewer)
        expect(second).to_have_attribute("aria-pressed", "true")

        # A reference, which is removed.
        page.locator("#touch-reference input[type=file]").set_input_files(colored)
        expect(editor.locator(".reference")).to_be_visible()
        settled(varied)
        editor.get_by_label("How its colors are taken").select_option("palette")
        editor.get_by_label("Remove the reference").click()
        expect(editor.locator(".reference")).to_be_hidden()
        expect(image).to_have_attribute("src", varied)

        # How sure the model is, and what it finds likely.
        editor.get_by_text("How sure?", exact=True).click()
        expect(editor.locator(".legend")).to_be_visible()
        editor.get_by_text("What is likely?", exact=True).click()
        sheet.click(position={"x": 20, "y": 20})
        expect(editor.locator(".likely .swatch")).to_have_count(5)
        unnamed = page.evaluate("""() => [...document.querySelectorAll('button, input, select, textarea')]
            .filter(e => e.offsetParent && !e.closest('[aria-hidden=true]'))
            .filter(e => !(e.innerText || e.ariaLabel || e.title || e.labels?.length
              || e.getAttribute('aria-labelledby')))
            .map(e => e.outerHTML.slice(0, 200))""")
        assert unnamed == []

        # Files: the picture and the strokes.
        with page.expect_download() as download:
            editor.get_by_label("Download as PNG").click()
        assert download.value.suggested_filename == "old photo-tint-warm-touched.png"
        with page.expect_download() as download:
            editor.get_by_label("Download the strokes as a layer").click()
        assert Image.open(download.value.path()).mode == "RGBA"
        editor.get_by_text("In color", exact=True).click()
    # The page is closed: nothing is kept of it.
    end = time.monotonic() + 15
    while touching._kept.count() and time.monotonic() < end:
        time.sleep(0.1)
    assert not touching._kept.count()
