"""What is generated from results: written only where it changed, found stale when it is, made in one command."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import zoo
from zoo.cli import app
from zoo.errors import ZooError
from zoo.evaluation import evaluate, generated, plots, results
from zoo.evaluation.films import plots as film_plots
from zoo.evaluation.protocol import Protocol

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

ROOT = Path(__file__).parents[1]
PHOTOS = Path(__file__).parent / "photos"


@pytest.fixture
def cards(tmp_path: Path) -> Path:
    """A copy of the project's model cards and README, to be spoilt."""
    shutil.copy(ROOT / "README.md", tmp_path / "README.md")
    shutil.copytree(ROOT / "model_cards", tmp_path / "model_cards")
    for name in ("zoo", "demo", "training"):  # what the cards link to
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path / "model_cards"


@pytest.fixture(scope="module", autouse=True)
def _each_drawn_once() -> Iterator[None]:
    """Plots of the same results are the same, and take half of a report's time."""
    drawn: dict[str, dict[str, bytes]] = {}
    with pytest.MonkeyPatch.context() as patch:
        for module in (plots, film_plots):
            draw = module.plots

            def remembered(found: Any, *more: Any, draw: Any = draw) -> dict[str, bytes]:
                key = repr((draw.__module__, found, more))
                return drawn.get(key) or drawn.setdefault(key, draw(found, *more))

            patch.setattr(module, "plots", remembered)
        yield


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)])


def test_what_is_committed_is_up_to_date(cards: Path) -> None:
    assert generated.stale(cards) == []
    assert call("--check", "--cards", cards).exit_code == 0


def _edit(path: Path, pattern: str, replacement: str) -> None:
    text = path.read_text(encoding="utf-8")
    edited = re.sub(pattern, replacement, text, count=1)
    assert edited != text
    path.write_text(edited, encoding="utf-8")


def test_edited_texts_are_stale(cards: Path) -> None:
    edits = {
        "../README.md": (r"\| [+−]\d\.\d\d \|", "| +9.99 |"),
        "README.md": (r"\d\.\d\d", "9.99"),
        "regression.base.md": (r"value: [\d.]+", "value: 99"),
        "reports/free/README.md": (r"\*\*[\d.]+\*\*", "**99.99**"),
        "reports/eval/index.html": (r"<td[^>]*>", "<td>"),
        "notes/fusion.md": ("vivid", "livid"),  # of which its cards are made
    }
    for file, (pattern, replacement) in edits.items():
        _edit(cards / file, pattern, replacement)
    done = call("--check", "--cards", cards)
    assert done.exit_code == 1
    stale = {line.partition(": ")[0] for line in done.output.splitlines() if line.endswith(": is stale")}
    files = {*edits, "fusion.base.md", "fusion.long.md"} - {"notes/fusion.md"}
    assert {Path(path).resolve() for path in stale} == {(cards / file).resolve() for file in files}


def test_a_changed_result_makes_all_that_show_it_stale(cards: Path) -> None:
    path = cards / "results" / "eval" / "fusion.base+faithful.json"
    result = results.read(path)
    gains = [value + 1 for value in result.per_picture["gain"]]
    low, high = result.interval("gain") or (0, 0)
    entry = {"value": (result.value("gain") or 0) + 1, "interval": [low + 1, high + 1]}
    changed = replace(
        result, per_picture=result.per_picture | {"gain": gains}, measured=result.measured | {"gain": entry}
    )
    results.write(changed, path.parent)
    stale = " ".join(generated.stale(cards))
    for name in ("reports/eval/README.md", "reports/eval/index.html", "fusion.base.md", "model_cards/README.md"):
        assert name in stale


def test_a_figure_edited_by_hand_is_refused(cards: Path) -> None:
    path = cards / "results" / "eval" / "fusion.base+faithful.json"
    table = json.loads(path.read_text(encoding="utf-8"))
    table["measured"]["gain"]["value"] = 9.0
    path.write_text(json.dumps(table), encoding="utf-8")
    done = call("--check", "--cards", cards)
    assert done.exit_code == 2
    assert "measured.gain, edited by hand" in done.output


def test_results_of_other_weights_are_named(cards: Path) -> None:
    path = cards / "results" / "free" / "regression.base.json"
    results.write(replace(results.read(path), weights={"sha256": "0" * 64}), path.parent)
    (problem,) = generated.stale(cards)
    assert "regression.base.json" in problem
    assert "0" * 64 in problem
    assert "evaluate again" in problem


def test_missing_spoilt_and_leftover_files_are_named(cards: Path) -> None:
    free = cards / "reports" / "free"
    (free / "worst.jpg").unlink()
    (free / "best.jpg").write_bytes(b"")
    (free / "trade-off.svg").unlink()
    (free / "histograms.svg").write_text("garbage", encoding="utf-8")
    (free / "failures-old.jpg").write_bytes(b"old")
    (free / ".DS_Store").write_bytes(b"")
    (cards / "reports" / "old").mkdir()
    (cards / "reports" / "old" / "README.md").write_text("old", encoding="utf-8")
    (cards / "gone.base.md").write_text("old", encoding="utf-8")
    (cards / "regression.base.md").unlink()
    problems = generated.stale(cards)
    for name, what in {
        "worst.jpg": "missing",
        "best.jpg": "no picture",
        "trade-off.svg": "missing",
        "histograms.svg": "no plot",
        "failures-old.jpg": "belongs to nothing",
        "old/README.md": "belongs to nothing",
        "gone.base.md": "belongs to nothing",
        "regression.base.md": "missing",
        "index.html": "other pictures",
    }.items():
        assert any(name in problem and what in problem for problem in problems), name
    assert not any(".DS_Store" in problem for problem in problems)


def test_a_readme_without_its_place_is_an_error(cards: Path) -> None:
    (cards.parent / "README.md").unlink()
    done = call("--check", "--cards", cards)
    assert done.exit_code == 2
    assert "README.md: cannot be read" in done.output


def test_only_what_changed_is_written(cards: Path) -> None:
    files = generated.render(cards, draw=False)
    texts = {path: content for path, content in files.items() if path.suffix == ".md"}
    assert generated.write(texts) == []
    victim = cards / "regression.base.md"
    before = victim.read_bytes()
    victim.write_text("spoilt", encoding="utf-8")
    assert generated.write(texts) == [victim]
    assert victim.read_bytes() == before


def test_pictures_are_drawn_of_the_right_photos_only(tmp_path: Path) -> None:
    found = results.read_all(ROOT / "model_cards" / "results" / "free")
    with pytest.raises(ZooError, match="not the photos"):
        generated.pictures_of(found, PHOTOS / "..")
    baselines = [r for r in found if r.kind == "baseline"]
    pictures = generated.pictures_of(baselines, PHOTOS)(["gb82__dog.jpg"])
    assert set(pictures) == {"gb82__dog.jpg"}
    assert {k: v.size for k, v in pictures["gb82__dog.jpg"].items()} == {"grey": (256, 256), "truth": (256, 256)}


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    done = call("--check", "--cards", tmp_path)
    assert done.exit_code == 2
    assert "no results" in done.output
    done = call("--benchmark", "nowhere", "--cards", ROOT / "model_cards")
    assert done.exit_code == 2
    assert "no results of benchmark 'nowhere'" in done.output


def test_another_project_reports_its_own_benchmark(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without notes and a README of this layout, and without the photos of other benchmarks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluate, "_cost", lambda *args: {})
    for name in ("mine", "other"):
        evaluate.evaluate(
            ["regression.scratch"],
            photos,
            benchmark=name,
            protocol=Protocol(size=64),
            out=tmp_path / "model_cards" / "results" / name,
        )
    done = call("--benchmark", "mine")
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in (tmp_path / "model_cards" / "reports").iterdir()) == ["mine"]
    assert call().exit_code == 0
    assert call("--check").exit_code == 0
    assert (tmp_path / "model_cards" / "README.md").exists()


# A person's own photos


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "my <photos>"
    folder.mkdir()
    for name in ("gb82__dog", "gb82__flowers", "skimage__coffee"):
        Image.open(PHOTOS / f"{name}.jpg").resize((96, 80)).save(folder / f"{name}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def test_a_folder_of_photos_becomes_one_page(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "_cost", lambda *args: {})
    out = tmp_path / "report.html"
    arguments = (photos, "--models", "regression.scratch", "--out", out, "--size", "64")
    done = call(*arguments)
    assert done.exit_code == 0, done.output
    assert "left out: broken.png" in done.output
    assert "4 measured, 0 there already" in done.output
    page = out.read_text(encoding="utf-8")
    assert "my &lt;photos&gt;" in page
    assert str(tmp_path) not in page
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    assert pictures
    assert all(len(picture) > 1000 for picture in pictures)
    assert sorted(p.name for p in (tmp_path / "report-results").iterdir()) == [
        *("grayscale.json", "mean_ab.json", "regression.scratch.json", "truth.json")
    ]
    again = call(*arguments)
    assert again.exit_code == 2
    assert "exists already" in again.output
    again = call(*arguments, "--force")
    assert "0 measured, 4 there already" in again.output
    assert out.read_text(encoding="utf-8") == page


def test_saved_models_are_reported_under_their_folders_names(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "_cost", lambda *args: {})
    zoo.load("regression.scratch").save(tmp_path / "my run")
    out = tmp_path / "report.html"
    done = call(photos, "--models", f"local-dir:{tmp_path / 'my run'}", "--out", out, "--size", "64")
    assert done.exit_code == 0, done.output
    assert "my-run" in out.read_text(encoding="utf-8")


def test_a_folder_goes_with_its_own_options_only(photos: Path, tmp_path: Path) -> None:
    assert call(photos, "--check").exit_code == 2
    assert call(photos, "--benchmark", "free").exit_code == 2
    done = call(photos, "--out", tmp_path / "report.txt")
    assert done.exit_code == 2
    assert "not an HTML file" in done.output
