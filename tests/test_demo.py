"""The app: its handlers as functions, one round trip with its client, one click-through in a real browser."""

import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from visiting import PATTERN, AppError, Client, Tint, gr, handle_file, launched, offered, running, visited

from demo import limits, models, photo_tab, photos
from zoo import images, registry


@pytest.fixture(scope="module", autouse=True)
def _models() -> Iterator[None]:
    with offered():
        yield


@pytest.fixture
def grey_photo(tmp_path: Path) -> str:
    ramp = np.tile(np.linspace(20, 230, 60, dtype=np.uint8), (40, 1))
    Image.fromarray(ramp).save(tmp_path / "old photo.jpg")
    return str(tmp_path / "old photo.jpg")


def _results(*args: Any) -> dict[str, Image.Image | str]:
    """What each result is, a picture or the problem; read at once, since the files go."""
    results: dict[str, Image.Image | str] = {}
    for name, path, problem in photos.colorize(*args):
        results[name] = problem or Image.open(io.BytesIO(path.read_bytes()))  # type: ignore[union-attr]
    return results


# What is offered


def test_models_with_weights_are_offered_with_each_of_their_styles() -> None:
    assert models.choices() == {
        "broken": "broken",
        "refusing": "refusing",
        "tint:warm": "tint · warm",
        "tint:cool": "tint · cool",
    }
    assert models.default_choices() == ["broken"]
    assert "**tint**: tint  \n<small>12 MB · CC0-1.0 · commercial use</small>" in models.about_models()


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


# Coloring


def test_each_model_answers_in_turn_at_full_size(grey_photo: str) -> None:
    results = _results(grey_photo, ["tint:warm", "tint:cool"])
    assert list(results) == ["before", "tint:warm", "tint:cool"]
    warm, cool = (np.asarray(results[f"tint:{style}"], int) for style in PATTERN)
    assert warm.shape == cool.shape == (40, 60, 3)
    assert (warm[..., 0] - warm[..., 2]).mean() > 30 > -30 > (cool[..., 0] - cool[..., 2]).mean()
    before = np.asarray(results["before"], int)
    assert np.ptp(before, axis=2).max() == 0
    assert np.abs(before[..., 0] - np.asarray(Image.open(grey_photo), int)).max() <= 1


def test_saturation_zero_is_grey(grey_photo: str) -> None:
    assert np.ptp(np.asarray(_results(grey_photo, ["tint:warm"], 0.0)["tint:warm"], int), axis=2).max() == 0


def test_the_original_is_a_panel_where_it_has_color(tmp_path: Path, make_picture: Any) -> None:
    pixels = make_picture(50, 70)
    Image.fromarray(pixels).save(tmp_path / "color.png")
    results = _results(str(tmp_path / "color.png"), ["tint:cool"])
    assert list(results) == ["original", "before", "tint:cool"]
    assert (np.asarray(results["original"]) == pixels).all()


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
        grey.convert("LA").save(path)
        mode = "RGBA"
    for image in _results(str(path), ["tint:warm"]).values():
        assert isinstance(image, Image.Image)
        assert (image.format, image.size, image.mode) == ("PNG", size, mode)


def test_deep_pictures_stay_deep(tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 65535, 2400).astype(np.uint16).reshape(40, 60)).save(tmp_path / "deep.png")
    for _, path, _ in photos.colorize(str(tmp_path / "deep.png"), ["tint:warm"]):
        assert path is not None
        assert path.read_bytes()[24] == 16  # the header's bit depth


def test_nothing_is_left_behind(grey_photo: str) -> None:
    paths = []
    for _, path, _ in photos.colorize(grey_photo, ["tint:warm", "tint:cool"]):
        assert path is not None
        assert path.exists()
        paths.append(path)
    early = photos.colorize(grey_photo, ["tint:warm"])
    paths.append(next(early).path)
    early.close()  # the visitor has gone
    assert not any(path.exists() for path in paths if path)


# Refusals and bugs


def test_what_is_missing_is_said(grey_photo: str) -> None:
    for args in ((None, ["tint:warm"]), (grey_photo, [])):
        with pytest.raises(gr.Error, match=r"Upload a photo|Tick at least one"):
            next(photos.colorize(*args))


def test_a_file_that_is_no_picture_is_refused_in_short(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("hello")
    with pytest.raises(gr.Error) as caught:
        next(photos.colorize(str(path), ["tint:warm"]))
    message = caught.value.message
    assert message.startswith("notes.jpg: ")
    assert limits.PHOTOS in message
    assert str(tmp_path) not in message


def test_a_picture_that_is_too_large_is_refused_with_the_limit(grey_photo: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "PHOTO_MEGAPIXELS", 0.002)
    with pytest.raises(gr.Error, match=r"too large.*30 megapixels"):
        next(photos.colorize(grey_photo, ["tint:warm"]))


def test_a_file_that_is_too_large_is_refused_with_the_limit(grey_photo: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(limits, "PHOTO_MEGABYTES", 0.0001)
    with pytest.raises(gr.Error, match=r"the file is too large.*up to 30 MB"):
        next(photos.colorize(grey_photo, ["tint:warm"]))


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
    monkeypatch.setattr(photos.gr, "Warning", lambda message: warned.append(message))
    Image.new("L", (8, 6), 90).save(tmp_path / "scan.tif")
    Image.new("L", (8, 6), 90).save(tmp_path / "photo.webp")
    (tmp_path / "empty.jpg").touch()
    shown = [photos.prepare(str(tmp_path / name)) for name in ("scan.tif", "photo.webp", "empty.jpg")]
    png, same, nothing = (next(s) for s in shown)
    assert png is not None
    assert Path(png).name == "scan.png"
    with Image.open(png) as image:
        assert image.size == (8, 6)
    assert same == str(tmp_path / "photo.webp")
    assert nothing is None
    for generator in shown:
        generator.close()
    assert not Path(png).exists()
    assert "empty.jpg" in warned[0]


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
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/colorize", "/video"]
    answer = client.predict(handle_file(grey_photo), "tint", "cool", 1.0, api_name="/colorize")
    with Image.open(answer) as image:
        assert (image.format, image.size) == ("PNG", (60, 40))
        red, _, blue = np.asarray(image, int).reshape(-1, 3).mean(0)
    assert blue - red > 30
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(AppError, match="This app reads"):
        client.predict(handle_file(str(tmp_path / "bad.png")), "tint", "cool", 1.0, api_name="/colorize")
    client.close()


@running
def test_visitors_click_through_it(url: str, tmp_path: Path, make_picture: Any) -> None:
    photo, text = tmp_path / "holiday.tif", tmp_path / "text.png"
    images.write(photo, make_picture(120, 180, "uint16"))  # which neither Pillow nor the browser opens
    text.write_text("no picture")
    with visited(url) as (page, expect):
        # Nothing chosen, then a file that is no picture, then an example: the page says what is the matter.
        page.locator("#colorize").click()
        page.get_by_text("Upload a photo or click").wait_for()
        page.locator("#photo input[type=file]").set_input_files(text)
        page.get_by_text("not a picture of a known format").wait_for()
        page.locator("#examples .gallery-item").first.click()
        page.locator("#photo img").wait_for()

        page.locator("#photo input[type=file]").set_input_files(photo)
        page.wait_for_function("document.querySelector('#photo img')?.src.endsWith('holiday.png')")
        for label in ("broken", "tint · warm", "tint · cool"):  # the first was ticked
            page.locator("#models").get_by_text(label, exact=True).click()
        page.locator("#colorize").click()
        page.locator("#pick").get_by_text("tint · cool").click(timeout=30_000)
        panels = page.locator("#results img")
        expect(panels).to_have_count(4)
        sizes = panels.evaluate_all("images => images.map(i => [i.naturalWidth, i.naturalHeight])")
        assert sizes == [[180, 120]] * 4
        expect(page.locator("#slider img")).to_have_count(2)
        page.wait_for_function("document.querySelectorAll('#slider img')[1].src.endsWith('holiday-tint-cool.png')")
        with page.expect_download() as download:
            page.locator("#download").click()
        assert download.value.suggested_filename == "holiday-tint-cool.png"
        with Image.open(download.value.path()) as image:
            assert (image.format, image.size) == ("PNG", (180, 120))
