"""The app's tab for reports: its handlers as functions, one round trip with its client, one click-through."""

import json
import re
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch import Tensor
from visiting import AppError, Client, Tint, gr, handle_file, launched, offered, running, visited

pytest.importorskip("matplotlib")

from demo import evaluating, limits, published, report_tab, reports
from demo.reports import Report, Working
from zoo.errors import WeightsError
from zoo.evaluation import judging
from zoo.evaluation.protocol import Protocol, prepare

ARRAY = Callable[..., Any]


class Slow(Tint):
    """Takes its time, and counts."""

    runs = 0
    seconds = 0.1

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        Slow.runs += 1
        time.sleep(Slow.seconds)
        return super().predict_ab(L, **options)


@pytest.fixture(scope="module", autouse=True)
def _models() -> Iterator[None]:
    """Also without the networks that judge, which take time."""
    patch = pytest.MonkeyPatch()
    patch.setattr(judging, "Classifier", _absent)
    with offered(slow=Slow):
        yield
    patch.undo()


def _absent() -> None:
    raise WeightsError("weights absent")


@pytest.fixture
def photo(tmp_path: Path, make_picture: ARRAY) -> Callable[..., str]:
    """`photo(name, height=200, width=300, seed=0)`: the file of a photo in color."""

    def save(name: str, height: int = 200, width: int = 300, seed: int = 0) -> str:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(make_picture(height, width, seed=seed)).save(path)
        return str(path)

    return save


@pytest.fixture
def grey(tmp_path: Path) -> str:
    Image.fromarray(np.tile(np.arange(200, dtype=np.uint8), (200, 1))).save(tmp_path / "grey.png")
    return str(tmp_path / "grey.png")


def _made(*args: Any) -> tuple[Report, str]:
    """The report, and its text, read at once since the file goes."""
    for step in reports.make(*args):
        if isinstance(step, Report):
            return step, step.path.read_text(encoding="utf-8")
    raise AssertionError("no report")


def _at_work() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("report")]


# What is published


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like `model_cards`."""
    folder = tmp_path / "model_cards"
    monkeypatch.setattr(published, "CARDS", folder)
    texts = {
        "README.md": "<!-- Generated -->\n\n# Leaderboard\n\n## What it means\n\n[a](a.base.md) [b](missing.md)\n",
        "a.base.md": "---\nlicense: secret\nname: a\n---\n\n# a.base\n\n> Beware.\n\nSays `much`. Then more.\n\n"
        "## Ethics, or not\n\n[up](#ethics-or-not) [board](README.md#what-it-means) [report](reports/mine/README.md) "
        "[json](results/mine/a.json) [weights](../zoo/weights/a.safetensors) [notes](notes/a.md) "
        "[self](../pyproject.toml) [web](https://example.com/x) "
        "![seen](reports/mine/a+b.jpg) ![gone](reports/mine/gone.jpg)\n\n"
        "| x | y |\n| --- | ---: |\n| 1 | 2<br><sub>3</sub> |\n",
        "notes/a.md": "# Notes\n",
        "results/mine/a.json": "{}",
        "reports/mine/README.md": "# Mine\n",
        "reports/mine/a+b.jpg": "",
        "reports/mine/index.html": '<h1>Benchmark mine</h1>\n<p class="lead">3 models on 7 photos: squares, '
        "aged like an old print (faded), the input grey.</p>",
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_what_there_is_to_read_is_found_and_described(cards: Path) -> None:
    assert {key: (page.title, page.about) for key, page in published.pages().items()} == {
        "README.md": ("Leaderboard", "All figures in tables: mine"),
        "reports/mine/index.html": ("Benchmark mine", "3 models on 7 photos, aged like an old print"),
        "a.base.md": ("a.base", "Model card. Says much"),
    }


def test_a_card_is_shown_without_front_matter_and_without_dead_links(cards: Path) -> None:
    body = published.view("a.base.md")
    assert "secret" not in body
    assert "<h1" in body
    file = f"gradio_api/file={cards.as_posix()}"
    links = {text: href for href, text in re.findall(r'<a href="([^"]*)"[^>]*>(\w+)</a>', body)}
    assert links == {
        "up": "#card-ethics-or-not",
        "board": "#published",
        "report": "#published",
        "json": f"{file}/results/mine/a.json",
        "web": "https://example.com/x",
    }
    assert re.findall('data-open="([^"]*)"', body) == ["README.md#what-it-means", "reports/mine/index.html"]
    assert 'id="card-ethics-or-not"' in body
    assert re.findall('<img src="([^"]*)"', body) == [f"{file}/reports/mine/a%2Bb.jpg"]
    assert all(text in body for text in ("weights", "notes", "self"))
    assert re.search(
        r'<div class="scroll" tabindex="0"[^>]*><table>.*<br><sub>3</sub>.*</table></div>', body, re.DOTALL
    )
    assert 'data-at="card-what-it-means"' in published.view("README.md#what-it-means")


def test_a_report_is_framed_and_not_sent_before_it_is_asked_for(cards: Path) -> None:
    view = published.view("reports/mine/index.html")
    assert f'data-report="gradio_api/file={cards.as_posix()}/reports/mine/index.html"' in view
    assert 'sandbox="allow-scripts allow-popups allow-popups-to-escape-sandbox"' in view
    assert "3 models" not in view
    assert 'title="&quot;&gt;&lt;b&gt;"' in published.framed("x.html", '"><b>')


@pytest.mark.parametrize("key", ["", "missing.md", "../pyproject.toml", "notes/a.md", "/etc/passwd", "#a"])
def test_nothing_else_can_be_read(key: str, cards: Path) -> None:
    assert published.view(key) == ""


def test_without_the_folder_the_app_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "CARDS", tmp_path / "none")
    assert published.pages() == {}
    assert published.served() == []
    shown: list[str] = []
    monkeypatch.setattr(report_tab.gr, "HTML", shown.append)
    report_tab._add_published()
    assert ["did not come with this installation" in text for text in shown] == [True]


def test_the_committed_pages_lead_nowhere_that_is_not_there() -> None:
    pages = published.pages()
    assert next(iter(pages)) == "README.md"
    assert len(pages) == len([*published.CARDS.glob("*.md"), *published.CARDS.glob("reports/*/")])
    for key in pages:
        body = published.view(key)
        assert {name.partition("#")[0] for name in re.findall('data-open="([^"]*)"', body)} <= pages.keys()
        ids = {f"#{name}" for name in re.findall('id="([^"]*)"', body)} | {"#published"}
        targets = set(re.findall('(?:href|src|data-report)="([^"]*)"', body))
        files = {target for target in targets if target.startswith("gradio_api/file=/")}
        assert all(Path(urllib.request.unquote(f.partition("=")[2])).is_file() for f in files)
        assert {t for t in targets - files if not t.startswith("https://")} <= ids
    results = json.loads((published.CARDS / "results/eval/truth.json").read_text(encoding="utf-8"))
    assert f"on {len(results['data']['names'])} photos" in pages["reports/eval/index.html"].about


# A report of a visitor's photos


def test_a_report_is_made_of_what_can_be_compared(
    photo: Callable[..., str], grey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.jpg").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    sources = [
        photo("a/sea.png"),
        photo("b/sea.png", seed=1),
        photo("small.png", 90, 90),
        grey,
        str(tmp_path / "bad.jpg"),
    ]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    here = set(tmp_path.rglob("*"))
    report, text = _made(sources, ["refusing", "broken", "tint"])
    assert report.photos == 2
    assert report.left_out[:4] == [
        "small.png: is too small. Expected: shorter side 128 or more.",
        "grey.png: has no color of its own, or one tint only: there is nothing to compare with.",
        f"bad.jpg: not a picture of a known format. This app reads {limits.PHOTOS}.",
        "refusing: sea.png: the weights are damaged. Install them again",
    ]
    assert re.fullmatch("broken: sea.png: Something went wrong .* with the reference [0-9a-f]{8}", report.left_out[4])
    assert len(report.left_out) == 5
    for name in ("My photos", "sea.png", "sea (2).png", "tint:warm", "tint:cool", "data:image/jpeg;base64,"):
        assert name in text
    assert str(tmp_path) not in text
    assert not report.path.exists()
    assert set(tmp_path.rglob("*")) == here  # nothing beside the photos, nothing in the temporary folder


@pytest.mark.parametrize("kind", ["tall.jpg", "deep.png", "exact.webp", "little.bmp"])
def test_photos_are_compared_as_the_evaluator_does_it(kind: str, tmp_path: Path, make_picture: ARRAY) -> None:
    path = tmp_path / kind
    if kind == "deep.png":
        import imagecodecs

        path.write_bytes(imagecodecs.png_encode(make_picture(300, 400, "uint16")))
    else:
        size = {"tall.jpg": (700, 333), "exact.webp": (256, 256), "little.bmp": (140, 300)}[kind]
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(make_picture(*size)).save(path, **({"exif": exif} if kind == "tall.jpg" else {}))
    square = evaluating.square(str(path), tmp_path / "photos")
    assert square.name == kind
    for found, wanted in zip(prepare(square, Protocol()), prepare(path, Protocol()), strict=True):
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("..", "photo"),
        (".hidden.png", "hidden.png"),
        ('a<b>"c".png', "a_b__c_.png"),
        ("line\nbreak\u202e.png", "line_break_.png"),
        ("x" * 300 + ".jpeg", "x" * 60 + ".jpeg"),
        ("Straße 漢字.png", "Straße 漢字.png"),
    ],
)
def test_names_are_made_safe(name: str, safe: str, tmp_path: Path) -> None:
    path = evaluating._free(tmp_path, name)
    assert path == tmp_path / safe
    path.touch()
    assert evaluating._free(tmp_path, name).stem == f"{path.stem} (2)"


def test_progress_is_told_photo_by_photo(photo: Callable[..., str], tmp_path: Path) -> None:
    photos = [evaluating.square(photo(f"{i}.png", seed=i), tmp_path / "photos") for i in range(2)]
    job = evaluating.Job(evaluating.contestants(["tint"]), photos, tmp_path / "made.html", threading.Event())
    job.last = deque()  # all of them
    assert job.run() == []
    assert list(job.last) == [
        Working("Photo 1 of 2: tint · warm", 0, 2),
        Working("Photo 1 of 2: tint · cool", 0, 2),
        Working("Photo 2 of 2: tint · warm", 1, 2),
        Working("Photo 2 of 2: tint · cool", 1, 2),
        Working("Timing the models and drawing the report"),
    ]


@pytest.mark.parametrize("how", ["stop", "leave"])
def test_a_stopped_report_works_no_more(how: str, photo: Callable[..., str]) -> None:
    sources = [photo(f"{i}.png", seed=i) for i in range(8)]
    stop, before = threading.Event(), Slow.runs
    steps = reports.make(sources, ["slow"], stop)
    assert [next(steps) for _ in range(2)] == [Working("Loading the models"), Working("Reading photo 1 of 8", 0, 8)]
    next(step for step in steps if step.words.startswith("Photo"))  # type: ignore[union-attr]
    assert _at_work() == ["report_0"]
    if how == "stop":
        stop.set()
        assert not any(isinstance(step, Report) for step in steps)
    else:
        steps.close()  # type: ignore[attr-defined]
    assert _at_work() == []
    assert 1 <= Slow.runs - before < 8


# Refusals


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([], "Tick at least one model"),
        (["local-dir:/"], "no model named 'local-dir' here. Expected: broken, refusing, slow, tint"),
        (["tint:loud"], "tint has no style 'loud'. Expected: warm, cool"),
        (["slow:warm"], "slow has no style 'warm'. Expected: none"),
    ],
)
def test_only_what_is_offered_can_be_asked_for(chosen: list[str], message: str, photo: Callable[..., str]) -> None:
    with pytest.raises(gr.Error, match=re.escape(message)):
        list(reports.make([photo("a.png")], chosen))


def test_a_style_is_one_column_and_no_style_is_all() -> None:
    labels = [c.label for c in evaluating.contestants(["tint:cool", "slow", "tint:cool"])]
    assert labels == ["tint:cool", "slow"]
    assert [c.label for c in evaluating.contestants(["tint"])] == ["tint:warm", "tint:cool"]


def test_too_much_is_refused_with_the_limit(photo: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    source = photo("a.png")
    with pytest.raises(gr.Error, match=r"These are 13 files\. A report takes up to 12 photos"):
        list(reports.make([source] * 13, ["slow"]))
    monkeypatch.setattr(limits, "PHOTO_MEGAPIXELS", 0.01)
    with pytest.raises(gr.Error, match=r"No photo could be compared\. a\.png: .*up to 30 MB and 30 megapixels"):
        list(reports.make([source], ["slow"]))
    monkeypatch.setattr(limits, "PHOTO_MEGABYTES", 0.001)
    with pytest.raises(gr.Error, match=r"a\.png: the file is too large\. .*up to 30 MB"):
        list(reports.make([source], ["slow"]))
    with pytest.raises(gr.Error, match="Upload photos in color first"):
        list(reports.make(None, ["slow"]))


def test_where_no_model_can_do_it_that_is_said(photo: Callable[..., str]) -> None:
    with pytest.raises(gr.Error, match=r"no model could do it\. refusing: a\.png: the weights are damaged"):
        list(reports.make([photo("a.png")], ["refusing"]))


def test_what_is_left_out_is_shown_as_text() -> None:
    shown = report_tab._done(Report(Path("x"), 1, ["<b>.png: bad"]))
    assert "1 photo compared. Left out:" in shown
    assert "<li>&lt;b&gt;.png: bad</li>" in shown


# The running app


@pytest.fixture(scope="module")
def url(tmp_path_factory: Any) -> Iterator[str]:
    with launched(tmp_path_factory) as address:
        yield address


@running
def test_the_client_gets_a_report(url: str, photo: Callable[..., str], grey: str, tmp_path: Path) -> None:
    client = Client(url, verbose=False, download_files=tmp_path / "got")
    pictures = [handle_file(photo("one.png")), handle_file(grey)]
    answer = client.predict(pictures=pictures, models=["tint:cool"], api_name="/report")
    text = Path(answer).read_text(encoding="utf-8")
    assert Path(answer).suffix == ".html"
    assert "one.png" in text
    assert "tint:cool" in text
    assert "tint:warm" not in text
    for args, message in ((pictures[1:], "nothing to compare with"), ([], "Upload photos")):
        with pytest.raises(AppError, match=message):
            client.predict(args, ["tint:cool"], api_name="/report")
    with pytest.raises(AppError, match="no model named 'x'"):
        client.predict(pictures, ["x"], api_name="/report")
    names = set(client.view_api(return_format="dict")["named_endpoints"])
    assert "/report" in names
    assert not names & {"/view", "/follow", "/show", "/frame_it", "/give_up", "/lambda"}
    client.close()


@running
@pytest.mark.parametrize(
    ("name", "kind"), [("reports/free/index.html", "text/html"), ("README.md", None), ("../pyproject.toml", None)]
)
def test_only_reports_and_results_are_served(name: str, kind: str | None, url: str) -> None:
    address = f"{url}gradio_api/file={(published.CARDS / name).resolve().as_posix()}"
    if kind is None:
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address)
        return
    with urllib.request.urlopen(address) as answer:
        assert answer.headers.get_content_type() == kind
        assert answer.headers.get_content_disposition() == "inline"


@running
def test_visitors_click_through_it(
    url: str, photo: Callable[..., str], grey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with visited(url) as (page, expect):
        page.get_by_role("tab", name="Reports").click()
        page.get_by_text("Choose what to read").wait_for()

        # A card, from there a report, within it a section, and back to the leaderboard at its explanations.
        page.get_by_role("radio", name="fusion.base Model card").check()
        card = page.locator("#published .card")
        expect(card.locator("h1")).to_have_text("fusion.base")
        card.get_by_role("link", name="ethics").click()
        expect(card.get_by_role("heading", name="Ethics")).to_be_in_viewport()
        assert card.locator(".scroll").first.evaluate("box => box.scrollWidth > box.clientWidth")
        card.get_by_role("link", name="What the columns mean").first.click()
        expect(page.get_by_role("heading", name="What the columns mean")).to_be_in_viewport()
        expect(page.get_by_role("radio", name="Leaderboard")).to_be_checked()
        card.get_by_role("link", name="the report").first.click()
        report = page.frame_locator("#published iframe")
        expect(report.locator("h1")).to_have_text("Benchmark eval")
        expect(page.get_by_role("radio", name=re.compile("^Benchmark eval 11"))).to_be_checked()
        report.get_by_role("link", name="Protocol").click()
        expect(report.locator("#protocol")).to_be_in_viewport()
        assert report.locator("body").evaluate("() => origin") == "null"  # it can reach nothing of the page's
        expect(page.get_by_role("link", name="Open in a new tab")).to_have_attribute("href", re.compile("index.html$"))

        # Nothing chosen, then photos of which one cannot be compared; the report is shown and can be downloaded.
        page.get_by_role("tab", name="Of your photos").click()
        page.locator("#make-report").click()
        page.get_by_text("Upload photos in color first").wait_for()
        for label in ("broken", "tint · warm", "tint · cool"):  # the first was ticked
            page.locator("#report-models label", has_text=f"{label}\n").click()
        page.locator("#report-photos input[type=file]").set_input_files(
            [photo("one.png"), photo("two.png", seed=1), grey]
        )
        page.locator("#report-photos").get_by_text("grey").wait_for()
        page.locator("#make-report").click()
        page.get_by_text("Done: 2 photos compared").wait_for()
        page.get_by_text("grey.png: has no color of its own").wait_for()
        own = page.frame_locator("#own iframe")
        expect(own.locator("h1")).to_have_text("My photos")
        expect(own.locator("#figures")).to_contain_text("tint:warm")
        with page.expect_download() as download:
            page.locator("#download-report").click()
        assert download.value.suggested_filename == "report.html"
        assert "My photos" in Path(download.value.path()).read_text(encoding="utf-8")

        # The tab for developers tells how it was made.
        page.get_by_role("tab", name="Code").click()
        expect(page.get_by_text("zoo.evaluate").first).to_be_visible()
        page.get_by_role("tab", name="Reports").click()

        # One that takes long is stopped; long enough for the page to show it, however fast the machine.
        monkeypatch.setattr(Slow, "seconds", 1.5)
        for label in ("tint · warm", "tint · cool", "slow"):
            page.locator("#report-models label", has_text=f"{label}\n").click()
        page.locator("#make-report").click()
        page.get_by_text("of 2: slow").wait_for()
        page.locator("#stop-report").click()
        page.get_by_text("Stopped.").wait_for()
        expect(page.locator("#own iframe")).to_be_hidden()
        assert _at_work() == []
