"""The app: its handlers as functions, one round trip with its client, one click-through in a real browser."""

import io
import re
import shutil
import tempfile
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from visiting import AppError, Client, Tint, gr, handle_file, launched, offered, running, visited

from demo import limits, models, photo_tab, photos
from demo.photos import Settings
from zoo import contract, images, registry
from zoo.evaluation import metrics
from zoo.models.blend import Blend, BlendConfig


@pytest.fixture(scope="module", autouse=True)
def _models() -> Iterator[None]:
    with offered():
        yield


@pytest.fixture
def grey_photo(tmp_path: Path) -> str:
    ramp = np.tile(np.linspace(20, 230, 60, dtype=np.uint8), (40, 1))
    Image.fromarray(ramp).save(tmp_path / "old photo.jpg")
    return str(tmp_path / "old photo.jpg")


def _results(sources: str | list[str], chosen: list[str], **settings: Any) -> dict[str, Image.Image | str]:
    """What each result is, a picture or the problem, by photo and name; read at once, since the files go."""
    results: dict[str, Image.Image | str] = {}
    several = isinstance(sources, list)
    for result in photos.colorize(sources if several else [sources], chosen, Settings(**settings)):
        name = f"{result.photo} {result.name}" if several else result.name
        if result.path is None:
            results[name] = result.problem
        else:
            results[name] = Image.open(io.BytesIO(result.path.read_bytes()))
            assert results[name].size == result.size  # type: ignore[union-attr]
    return results


def _full(source: str, name: str, suffix: str = ".png", **settings: Any) -> Image.Image:
    with tempfile.TemporaryDirectory() as folder:
        path = photos.full(source, name, Settings(**settings), suffix, Path(folder))
        return Image.open(io.BytesIO(path.read_bytes()))


def _warmth(image: Image.Image | str) -> float:
    """How much more red than blue a picture is."""
    red, _, blue = np.asarray(image, int)[..., :3].reshape(-1, 3).mean(0)
    return float(red - blue)


# What is offered


def test_models_with_weights_are_offered_with_each_of_their_styles() -> None:
    labels = {name: choice.label for name, choice in models.choices().items()}
    assert labels == {
        "broken": "broken",
        "refusing": "refusing",
        "tint:warm": "tint · warm",
        "tint:cool": "tint · cool",
    }
    assert models.default_choices() == ["broken"]
    assert models.about(models.choices()["tint:warm"]) == "tint\n12 MB · CC0-1.0 · commercial use"
    header, rows = models.table()
    assert dict(zip(header, rows[2], strict=True)) == {
        "model": "tint:warm",
        "license": "CC0-1.0",
        "commercial use": True,
        "MB": 12.0,
        "ms": None,
        "options": "style",
        "summary": "tint",
    }


def test_models_that_must_not_be_used_commercially_can_be_left_out(registry_sandbox: None) -> None:
    spec = registry._models["tint"][0]
    registry._models["tint"] = (replace(spec, weights=(replace(spec.weights[0], commercial_use=False),)), Tint)
    assert list(models.choices(commercial=True)) == ["broken", "refusing"]
    assert "no commercial use" in models.about(models.choices()["tint:warm"])


def test_the_defaults_come_first(registry_sandbox: None) -> None:
    registry._models["fusion"] = (
        replace(registry._models["tint"][0], name="fusion", styles=("faithful", "vivid")),
        Tint,
    )
    assert list(models.choices())[:2] == models.default_choices() == ["fusion:faithful", "fusion:vivid"]


def test_without_any_weights_the_baseline_is_offered(registry_sandbox: None) -> None:
    for name in ("tint", "broken", "refusing"):
        del registry._models[name]
    assert list(models.choices()) == models.default_choices() == ["grayscale"]


def test_the_speed_is_the_evaluators(registry_sandbox: None, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(models, "RESULTS", tmp_path)
    models._measured_ms.cache_clear()
    (tmp_path / "tint.none+warm.json").write_text('{"cost": {"ms": 12.3}}')
    assert "12 MB · 12 ms a photo" in models.about(models.choices()["tint:warm"])
    assert "ms" not in models.about(models.choices()["tint:cool"])
    models._measured_ms.cache_clear()


def test_models_that_were_not_used_for_longest_go_when_there_is_no_room(monkeypatch: Any) -> None:
    loaded: list[str] = []

    def load(name: str) -> torch.nn.Module:
        loaded.append(name)
        model = torch.nn.Linear(9, 10)  # 400 bytes
        model.predict_ab = model.spread = model.forward
        return model

    monkeypatch.setattr(models.zoo, "load", load)
    models.named.cache_clear()
    monkeypatch.setattr(models.named.cache, "_Cache__maxsize", 900)
    for name in ("a", "b", "a", "c", "a", "b"):
        models.named(name)
    assert loaded == ["a", "b", "c", "b"]
    models.named.cache_clear()


# Coloring


def test_networks_on_a_backend_take_room_too() -> None:
    fusion = contract.maker("fusion")()
    blend = Blend.build(registry.find("blend")[0], BlendConfig(), [fusion])
    tensors = sum(tensor.nbytes for tensor in fusion.state_dict().values())
    assert models._bytes(fusion) == models._bytes(blend) == tensors
    fusion.runner = lambda L: L
    assert models._bytes(fusion) == models._bytes(blend) == 5 * tensors


def test_each_model_answers_in_turn_at_full_size(grey_photo: str) -> None:
    results = _results(grey_photo, ["tint:warm", "tint:cool"])
    assert list(results) == ["before", "tint:warm", "tint:cool"]
    assert _warmth(results["tint:warm"]) > 30 > -30 > _warmth(results["tint:cool"])
    before = np.asarray(results["before"], int)
    assert np.ptp(before, axis=2).max() == 0
    assert np.abs(before[..., 0] - np.asarray(Image.open(grey_photo), int)).mean() < 1


def test_several_photos_are_colored_and_a_bad_one_stops_no_other(grey_photo: str, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    results = _results([grey_photo, str(tmp_path / "bad.png"), grey_photo], ["tint:warm"])
    assert list(results) == ["0 before", "0 tint:warm", "1 ", "2 before", "2 tint:warm"]
    assert "bad.png: not a picture" in str(results["1 "])


def test_saturation_zero_is_grey(grey_photo: str) -> None:
    assert np.ptp(np.asarray(_results(grey_photo, ["tint:warm"], saturation=0.0)["tint:warm"], int), axis=2).max() == 0


def test_another_saturation_does_not_ask_the_network_again(grey_photo: str, monkeypatch: Any) -> None:
    asked: list[Any] = []
    ask = Tint.predict_ab
    monkeypatch.setattr(Tint, "predict_ab", lambda self, L, **options: asked.append(L) or ask(self, L, **options))
    photos._kept.clear()
    models.named.cache_clear()
    warmth = [_warmth(_results(grey_photo, ["tint:warm"], saturation=s)["tint:warm"]) for s in (1.0, 0.4)]
    assert warmth[0] > 1.8 * warmth[1] > 10
    assert _warmth(_full(grey_photo, "tint:warm", saturation=0.4)) == pytest.approx(warmth[1], abs=1)
    assert len(asked) == 1
    (again,) = [r for r in photos.colorize([grey_photo], ["tint:warm"], Settings()) if r.name == "tint:warm"]
    assert again.seconds is None
    (first,) = [r for r in photos.colorize([grey_photo], ["tint:cool"], Settings()) if r.name == "tint:cool"]
    assert first.seconds
    asked.pop()
    _results(grey_photo, ["tint:warm"], working_size=64)
    assert len(asked) == 2


def test_one_network_runs_at_a_time(grey_photo: str, monkeypatch: Any) -> None:
    running_now: list[int] = []
    most: list[int] = []

    def slow(self: Tint, L: Any, **options: Any) -> Any:
        running_now.append(1)
        most.append(len(running_now))
        time.sleep(0.02)
        running_now.pop()
        return torch.zeros(1, 2, *L.shape[2:])

    monkeypatch.setattr(Tint, "predict_ab", slow)
    models.named.cache_clear()
    photos._kept.clear()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda size: _results(grey_photo, ["tint:warm"], working_size=size), range(64, 72)))
    assert len(most) == 8
    assert set(most) == {1}
    models.named.cache_clear()


def test_a_temperature_is_for_those_that_have_one(grey_photo: str, registry_sandbox: None, monkeypatch: Any) -> None:
    temperatures: list[Any] = []
    spec = registry._models["tint"][0]
    registry._models["tint"] = (replace(spec, supports=spec.supports | {"temperature"}), Tint)
    monkeypatch.setattr(Tint, "spec", registry._models["tint"][0], raising=False)
    ask = Tint.predict_ab
    monkeypatch.setattr(
        Tint, "predict_ab", lambda self, L, **o: temperatures.append(o.get("temperature")) or ask(self, L, **o)
    )
    models.named.cache_clear()
    results = _results(grey_photo, ["tint:warm", "refusing"], temperature=0.7)
    assert temperatures == [0.7]
    assert "damaged" in str(results["refusing"])  # it was asked, without a temperature
    assert "Expected: 0.05 to 2" in str(_results(grey_photo, ["tint:warm"], temperature=9.0)["tint:warm"])
    models.named.cache_clear()


def test_the_original_is_a_panel_and_a_judge_where_it_has_color(tmp_path: Path, make_picture: Any) -> None:
    pixels = make_picture(50, 70)
    Image.fromarray(pixels).save(tmp_path / "color.png")
    results = list(photos.colorize([str(tmp_path / "color.png")], ["tint:cool", "tint:warm"], Settings()))
    assert [r.name for r in results] == ["original", "before", "tint:cool", "tint:warm"]
    cool, warm = (r.figures for r in results[2:])
    assert cool is not None
    assert warm is not None
    grey = models.named("grayscale").colorize_array(pixels)
    colored = models.named("tint").colorize_array(pixels, style="cool")
    assert cool["gain"] == pytest.approx(metrics.psnr(colored, pixels) - metrics.psnr(grey, pixels), abs=0.01)
    assert cool["ciede2000"] != warm["ciede2000"]
    assert cool["cf_share"] > 0


def test_a_sepia_print_is_no_judge(tmp_path: Path) -> None:
    grey = np.tile(np.linspace(0.1, 0.9, 60), (40, 1))[..., None]
    sepia = (grey ** np.array([0.8, 1.0, 1.3]) * 255).astype(np.uint8)
    Image.fromarray(sepia).save(tmp_path / "sepia.png")
    results = list(photos.colorize([str(tmp_path / "sepia.png")], ["tint:cool"], Settings()))
    assert [r.name for r in results] == ["original", "before", "tint:cool"]
    assert results[-1].figures is None


@pytest.mark.parametrize("kind", ["turned", "cmyk", "deep", "alpha"])
def test_unusual_pictures_are_read_as_the_zoo_reads_them(tmp_path: Path, kind: str) -> None:
    grey = Image.fromarray(np.tile(np.linspace(20, 230, 60, dtype=np.uint8), (40, 1)))
    path, size, mode = tmp_path / "photo.png", (60, 40), "RGB"
    if kind == "turned":
        exif = Image.Exif()
        exif[0x0112] = 6
        grey.save(path, exif=exif)
        size = (40, 60)
    elif kind == "cmyk":
        path = tmp_path / "photo.jpg"
        grey.convert("RGB").convert("CMYK").save(path)
    elif kind == "deep":
        Image.fromarray(np.asarray(grey, np.uint16) * 257).save(path)
    else:
        Image.merge("LA", (grey, grey)).save(path)
        mode = "RGBA"
    images_ = [*_results(str(path), ["tint:warm"]).values(), _full(str(path), "tint:warm")]
    for image in images_:
        assert isinstance(image, Image.Image)
        assert (image.size, image.mode) == (size, mode)
    assert images_[-1].format == "PNG"


def test_downloads_keep_what_their_kind_can_hold(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 65535, 2400).astype(np.uint16).reshape(40, 60)).save(tmp_path / "deep.png")
    (tmp_path / "out").mkdir()
    png = photos.full(str(tmp_path / "deep.png"), "tint:warm", Settings(), ".png", tmp_path / "out")
    assert png.name == "deep-tint-warm.png"
    assert png.read_bytes()[24] == 16  # the header's bit depth
    assert _full(str(tmp_path / "deep.png"), "tint:warm", ".jpg").format == "JPEG"
    Image.new("LA", (20, 10), (90, 100)).save(tmp_path / "clear.png")
    with pytest.raises(gr.Error, match=r"JPEG has no transparency.*Take the PNG"):
        _full(str(tmp_path / "clear.png"), "tint:warm", ".jpg")
    with pytest.raises(gr.Error, match="no pictures of kind"):
        _full(str(tmp_path / "deep.png"), "tint:warm", ".exe")


def test_all_of_them_come_in_one_archive(grey_photo: str, tmp_path: Path) -> None:
    (tmp_path / "again").mkdir()
    twin = tmp_path / "again" / "old photo.jpg"
    shutil.copy(grey_photo, twin)
    (tmp_path / "bad.png").write_text("no picture")
    wanted = [(grey_photo, "tint:warm"), (str(twin), "tint:warm"), (str(tmp_path / "bad.png"), "tint:warm")]
    (tmp_path / "out").mkdir()
    with zipfile.ZipFile(photos.archive(wanted, Settings(), tmp_path / "out")) as found:
        assert found.testzip() is None
        assert found.namelist() == ["old photo-tint-warm.png", "old photo-tint-warm-2.png", "problems.txt"]
        assert found.read("problems.txt").decode().startswith("bad.png, tint:warm: bad.png: not a picture")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["colorzoo.zip"]


def test_nothing_is_left_behind(grey_photo: str) -> None:
    paths = []
    for result in photos.colorize([grey_photo], ["tint:warm", "tint:cool"], Settings()):
        assert result.path is not None
        assert result.path.exists()
        paths.append(result.path)
    early = photos.colorize([grey_photo], ["tint:warm"], Settings())
    paths.append(next(early).path)
    early.close()  # type: ignore[attr-defined]  # the visitor has gone
    assert not any(path.exists() for path in paths if path)


def test_it_can_be_stopped(grey_photo: str) -> None:
    stopped: list[bool] = []
    results = photos.colorize([grey_photo, grey_photo], ["tint:warm", "tint:cool"], Settings(), lambda: bool(stopped))
    assert next(results).name == "before"
    stopped.append(True)
    assert list(results) == []


# Refusals and bugs


def test_what_is_missing_or_too_much_is_said(grey_photo: str) -> None:
    for sources, chosen, words in (
        (None, ["tint:warm"], "Upload a photo"),
        ([grey_photo], [], "Tick at least one"),
        ([grey_photo] * 13, ["tint:warm"], "up to 12 photos"),
    ):
        with pytest.raises(gr.Error, match=words):
            next(photos.colorize(sources, chosen, Settings()))


def test_a_file_that_is_no_picture_is_refused_in_short(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("hello")
    message = str(_results(str(path), ["tint:warm"])[""])
    assert message.startswith("notes.jpg: ")
    assert limits.PHOTOS in message
    assert str(tmp_path) not in message


def test_a_picture_that_is_too_large_is_refused_with_the_limit(grey_photo: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "PHOTO_MEGAPIXELS", 0.002)
    assert re.search(r"too large.*30 megapixels", str(_results(grey_photo, ["tint:warm"])[""]))


def test_a_picture_that_is_too_long_is_refused_with_the_limit(tmp_path: Path) -> None:
    Image.new("L", (1, 70_000)).save(tmp_path / "line.png")
    message = str(_results(str(tmp_path / "line.png"), ["tint:warm"])[""])
    assert message.startswith("line.png: 1 x 70000 pixels; a side has at most 65000.")


def test_a_file_that_is_too_large_is_refused_with_the_limit(grey_photo: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "PHOTO_MEGABYTES", 0.0001)
    assert re.search(r"the file is too large.*up to 30 MB", str(_results(grey_photo, ["tint:warm"])[""]))


def test_a_model_that_refuses_stops_no_other(grey_photo: str) -> None:
    results = _results(grey_photo, ["refusing", "tint:warm"])
    assert results["refusing"] == "the weights are damaged. Install them again."
    assert isinstance(results["tint:warm"], Image.Image)


def test_a_bug_is_a_reference_number_and_a_line_in_the_log(grey_photo: str, caplog: Any) -> None:
    results = _results(grey_photo, ["broken", "tint:warm"])
    assert isinstance(results["tint:warm"], Image.Image)
    message = str(results["broken"])
    (record,) = [r for r in caplog.records if r.name == "demo.refusals"]
    assert record.getMessage().removeprefix("reference ") in message
    assert record.exc_info
    assert "secret" not in message


@pytest.mark.parametrize("model", ["local-dir:/", "hf-hub:a/b", "fusion", "nonsense"])
def test_only_what_is_offered_can_be_asked_for(grey_photo: str, model: str) -> None:
    with pytest.raises(gr.Error, match="Expected: broken, refusing, tint"):
        list(photos.colorize_one(grey_photo, model))


def test_uploads_that_browsers_cannot_show_become_png(tmp_path: Path, monkeypatch: Any) -> None:
    warned: list[str] = []
    monkeypatch.setattr(photos.gr, "Warning", lambda message, **_: warned.append(message))
    Image.new("L", (8, 6), 90).save(tmp_path / "scan.tif")
    Image.new("L", (8, 6), 90).save(tmp_path / "photo.webp")
    (tmp_path / "empty.jpg").touch()
    names = ["scan.tif", "empty.jpg", "photo.webp", *["photo.webp"] * 10]
    preparing = photos.prepare([str(tmp_path / name) for name in names])
    png, *same = next(preparing)
    assert Path(png).name == "scan.png"
    with Image.open(png) as image:
        assert image.size == (8, 6)
    assert same == [str(tmp_path / "photo.webp")] * 10
    preparing.close()  # type: ignore[attr-defined]
    assert not Path(png).exists()
    (words,) = warned
    assert words.startswith("empty.jpg")
    assert words.endswith(limits.PHOTO_COUNT)


# The examples


def test_examples_are_small_and_credited() -> None:
    files = sorted(p.name for p in photo_tab.EXAMPLES.glob("*.jpg"))
    assert files == sorted(f"{name}.jpg" for name in photo_tab.EXAMPLE_NAMES)
    credits_ = (photo_tab.EXAMPLES / "CREDITS.md").read_text(encoding="utf-8")
    assert [name for name in files if f"| `{name}` |" not in credits_] == []
    assert sum((photo_tab.EXAMPLES / name).stat().st_size for name in files) < 1_500_000
    for name in files:
        with Image.open(photo_tab.EXAMPLES / name) as image:
            assert max(image.size) <= 1200


# The running app


@pytest.fixture(scope="module")
def url(tmp_path_factory: Any) -> Iterator[str]:
    with launched(tmp_path_factory) as address:
        yield address


@running
def test_the_client_gets_a_colored_png(url: str, grey_photo: str, tmp_path: Path) -> None:
    client = Client(url, verbose=False, download_files=tmp_path)
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    names = "certainty colorize compare models report touch_up variants video"
    assert sorted(endpoints) == [f"/{name}" for name in names.split()]
    answer = client.predict(handle_file(grey_photo), "tint", "cool", 1.0, api_name="/colorize")
    with Image.open(answer) as image:
        assert (image.format, image.size) == ("PNG", (60, 40))
        red, _, blue = np.asarray(image, int).reshape(-1, 3).mean(0)
    assert blue - red > 30
    both = client.predict(handle_file(grey_photo), ["tint:warm", "tint:cool"], 0.5, api_name="/compare")
    assert [each["caption"] for each in both] == ["tint:warm", "tint:cool"]
    warm, cool = (_warmth(Image.open(each["image"])) for each in both)
    assert warm > 10 > -10 > cool
    assert [row[0] for row in client.predict(api_name="/models")["data"]] == list(models.choices())
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(AppError, match="This app reads"):
        client.predict(handle_file(str(tmp_path / "bad.png")), "tint", "cool", 1.0, api_name="/colorize")
    client.close()


@running
def test_visitors_click_through_it(url: str, tmp_path: Path, make_picture: Any) -> None:
    photo, second, text = tmp_path / "holiday.tif", tmp_path / "grey.png", tmp_path / "text.png"
    images.write(photo, make_picture(120, 180, "uint16"))  # which neither Pillow nor the browser opens
    Image.new("L", (90, 120), 140).save(second)
    text.write_text("no picture")
    with visited(url) as (page, expect):
        results = page.locator("#results")
        files = page.locator("#photos input[type=file]").first

        # Nothing chosen, then a file that is no picture, then an example: the page says what is the matter.
        page.locator("#colorize").click()
        page.get_by_text("Upload a photo or click").wait_for()
        files.set_input_files(text)
        page.get_by_text("not a picture of a known format").wait_for()
        page.locator("#examples .gallery-item").first.click()
        page.locator("#photos img").first.wait_for()
        page.get_by_label("Clear").first.click()

        files.set_input_files([photo, second])
        page.wait_for_function("[...document.querySelectorAll('#photos img')].some(i => i.src.endsWith('holiday.png'))")
        for label in ("broken", "tint · warm", "tint · cool"):  # the first was ticked
            page.locator("#models label", has_text=f"{label}\n").click()
        page.locator("#colorize").click()
        expect(results.get_by_role("status")).to_have_text("Done: 4 of 4 in color.", timeout=30_000)
        expect(results.locator(".strip button")).to_have_count(2)
        panels = results.locator("figure .pane img")
        expect(panels).to_have_count(4)
        page.wait_for_function(
            "[...document.querySelectorAll('#results figure img')].every(i => i.naturalWidth == 180)"
        )
        expect(results.locator("table tbody tr")).to_have_count(2)

        # All panels are zoomed together, and moved by the keyboard.
        results.get_by_label("zoom in").click()
        first = results.locator("figure .pane").first
        before = panels.evaluate_all("images => images.map(i => getComputedStyle(i).transform)")
        first.focus()
        page.keyboard.press("ArrowRight")
        after = panels.evaluate_all("images => images.map(i => getComputedStyle(i).transform)")
        assert len(set(before)) == len(set(after)) == 1
        assert before[0] != after[0]

        # Another saturation is painted on, in the same panels: what was focused or held stays so.
        page.evaluate("""() => {
            window.moved = 0;
            const watch = new MutationObserver(changes => window.moved += changes.length);
            watch.observe(document.querySelector('#results .grid'), {childList: true});
        }""")
        old = panels.nth(1).get_attribute("src")
        page.get_by_label("Saturation").last.focus()
        page.keyboard.press("ArrowLeft")
        page.wait_for_function("old => document.querySelectorAll('#results figure img')[1].src != old", arg=old)
        expect(results.get_by_role("status")).to_have_text("Done: 4 of 4 in color.", timeout=30_000)

        assert page.evaluate("window.moved") == 0

        # Downloads: one as PNG and as JPEG, all as ZIP.
        for suffix in ("png", "jpeg"):
            with page.expect_download() as download:
                results.get_by_label(f"Download tint · cool as {suffix.upper()}").click()
            assert download.value.suggested_filename == f"holiday-tint-cool.{suffix.replace('jpeg', 'jpg')}"
            with Image.open(download.value.path()) as image:
                assert (image.format, image.size) == (suffix.upper(), (180, 120))
            if suffix == "png":
                assert Path(download.value.path()).read_bytes()[24] == 16
        with page.expect_download() as download:
            results.get_by_text("Download all").click()
        assert len(zipfile.ZipFile(download.value.path()).namelist()) == 4

        # Before and after, of the second photo, the divider moved by keyboard.
        results.get_by_label("Photo 2: grey.png").click()
        results.get_by_text("Before and after", exact=True).click()
        stage = results.locator(".pair .pane")
        expect(stage.locator("img")).to_have_count(2)
        expect(stage.get_by_alt_text("grey.png: tint · warm")).to_be_visible()
        results.get_by_label("Where before ends and after begins").focus()
        page.keyboard.press("ArrowRight")
        assert stage.locator(".over").evaluate("e => getComputedStyle(e).clipPath").endswith("51%)")


@running
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_visitors_with_a_desk_see_what_they_can_choose(url: str, theme: str, registry_sandbox: None) -> None:
    spec, cls = registry._models["tint"]
    registry._models["tint"] = (replace(spec, weights=(replace(spec.weights[0], commercial_use=False),)), cls)
    with visited(url, 1280, theme) as (page, expect):
        # What is ticked is ticked again when it comes back.
        chosen, commercial = page.locator("#models input"), page.get_by_label("Only models for commercial use").first
        cool = page.locator("#models label", has_text="tint · cool\n")
        cool.click()
        commercial.check()
        expect(chosen).to_have_count(2)
        expect(page.locator("#models input:checked")).to_have_count(1)
        commercial.uncheck()
        expect(chosen).to_have_count(4)
        expect(cool.locator("input")).to_be_checked()
        expect(page.locator("#models input:checked")).to_have_count(2)
        cool.click()
        # Every control has a name that a screen reader can say.
        unnamed = page.evaluate("""() => [...document.querySelectorAll('button, input, select, textarea')]
            .filter(e => e.offsetParent && !e.closest('[aria-hidden=true]'))
            .filter(e => !(e.innerText || e.ariaLabel || e.title || e.labels?.length
              || e.getAttribute('aria-labelledby')))
            .map(e => e.outerHTML.slice(0, 200))""")
        assert unnamed == []
        # The whole way by keyboard: an example, then the button.
        page.locator("#examples .gallery-item").first.focus()
        page.keyboard.press("Enter")
        page.locator("#photos img").first.wait_for()
        page.locator("#models input").nth(2).focus()
        page.keyboard.press("Space")
        page.locator("#colorize").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#results [role=status]")).to_contain_text("of 2 in color", timeout=30_000)
        page.get_by_role("tab", name="Code").click()
        expect(page.get_by_text("model.colorize_file").first).to_be_visible()
        page.get_by_role("tab", name="Photos").click()


@running
def test_what_may_not_be_used_commercially_is_left_out(url: str, registry_sandbox: None) -> None:
    for name in ("broken", "refusing", "tint"):
        spec, cls = registry._models[name]
        registry._models[name] = (replace(spec, weights=(replace(spec.weights[0], commercial_use=False),)), cls)
    with visited(url) as (page, expect):
        page.get_by_label("Only models for commercial use").first.check()
        expect(page.get_by_text("None of these models may be used commercially").first).to_be_visible()
        expect(page.locator("#models input")).to_have_count(0)
        page.locator("#examples .gallery-item").first.click()
        page.locator("#photos img").first.wait_for()
        page.locator("#colorize").click()
        page.get_by_text("Tick at least one model").wait_for()
        expect(page.locator("#results .viewer")).to_be_hidden()
