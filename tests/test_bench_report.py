"""Files, tables, plots and the page about speed, from figures that are made up here."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from zoo import registry
from zoo.cli import app
from zoo.errors import ZooError
from zoo.evaluation.speed import page, results, tables, targets
from zoo.evaluation.speed.results import Row, Speed

SIZES = {"256 px": [256, 256], "12 MP": [4000, 3000], "48 MP": [8000, 6000]}
WAYS = (("torch", "float32"), ("torch", "bfloat16"), ("onnx", "float32"))
_SECONDS = {"256 px": 0.03, "12 MP": 0.4, "48 MP": 1.6}


def a_speed(model: str = "fusion", **changes: Any) -> Speed:
    """A run: 20 ms in float32, 10 in bfloat16, 8 on onnx, which is chosen; 1.2 times as long with one thread."""
    rows = []
    for threads in (1, 2):
        slow = 1.2 if threads == 1 else 1.0
        for n, (backend, dtype) in enumerate(WAYS):
            at: dict[str, Any] = {"model": model, "backend": backend, "dtype": dtype, "threads": threads}
            seconds = (0.02, 0.01, 0.008)[n] * slow
            rows.append(_row("forward", seconds, size="256", **at))
            rows.append(_row("picture", seconds + 0.005, size="512 px", **at))
            if threads == 2:
                rows.append(Row(kind="fidelity", value=0.1 * n, parts={"pictures": 5}, **at))
            for size, base in _SECONDS.items():
                rows.append(_row("file", base * slow + seconds, size=size, **at))
        peer = {"model": model, "backend": "torch", "dtype": "bfloat16", "threads": threads, "size": "256"}
        rows += [_row("forward", 0.16 * slow, subject="eccv16", **peer)]
        rows += [_row("forward", 0.04 * slow, subject="ddcolor_tiny", **peer)]
        pillow = {"model": model, "subject": "Pillow", "threads": threads}
        rows += [_row("file", 0.2 * seconds, size=size, **pillow) for size, seconds in _SECONDS.items()]
    chosen: dict[str, Any] = {"model": model, "backend": "onnx", "dtype": "float32"}
    parts = {"decode": 1, "L": 2, "network": 3, "upsampling": 4, "gamut": 5, "encode": 4, "other": 1}
    for size in SIZES:
        rows.append(Row(kind="stages", size=size, threads=2, parts={k: v / 20 for k, v in parts.items()}, **chosen))
        rows.append(Row(kind="memory", size=size, value=1234.0, **chosen))
    rows += [
        _row("film", 2.0, threads=2, parts={"frames": 50}, **chosen),
        _row("film", 1.0, model=model, subject="transcode", threads=2, parts={"frames": 50}),
        Row(kind="folder", model=model, size="1 MP", parts={"wall": 100, "cpu": 180, "photos": 1000, "cores": 2}),
        _row("load", 0.1, model=model),
        _row("start", 0.1, subject="import zoo"),
        _row("start", 0.5, subject="colorzoo --help"),
        Row(kind="forward", model=model, backend="openvino", dtype="int8", error="no | such <thing>"),
    ]
    about = {
        "parameters": 1,
        "weights": {"tag": "base", "sha256": registry.find_weights("fusion")[2].sha256},
        "backend": "onnx",
        "dtype": "float32",
        "passed_over": {"torch float32": "slower", "torch bfloat16": "slower", "openvino int8": "not installed"},
    }
    made: dict[str, Any] = {
        "complete": True,
        "settings": {
            **{"sizes": SIZES, "threads": [1, 2], "limit": 0.5},
            **{"film": "640 x 480, 50 frames", "fidelity": "5 photos"},
        },
        "models": {model: about},
        "rows": tuple(rows),
        "versions": {"torch": "2.6"},
        "machine": {"processor": "Some CPU", "cores": 2, "bf16": True, "system": "Linux"},
        "run": {"date": "2026-01-02", "seconds": 200.0},
    }
    return Speed(**(made | changes))


def _row(kind: str, seconds: float, **more: Any) -> Row:
    return Row(kind=kind, times=(seconds, seconds * 0.9, seconds * 1.1), **more)


def figures(speed: Speed) -> dict[str, tuple[str, bool | None]]:
    return {t.goal.name.partition(",")[0]: (t.shown, t.met) for t in targets.targets(speed)}


def test_targets_are_ratios_of_medians_with_the_chosen_way_and_all_threads() -> None:
    assert figures(a_speed()) == {
        "ECCV16's forward pass by that of the model": ("20.0x", True),  # 0.16 / 0.008
        "DDColor-tiny's forward pass by that of the model": ("5.0x", False),  # 0.04 / 0.008
        "12 MP JPEG": ("5.10x", False),  # (0.4 + 0.008) / 0.08
        "processors used while a folder of 1 MP photos is coloured": ("90.0 %", True),  # 180 / (100 x 2)
        "peak memory of a 48 MP scan": ("1234 MB", True),
        "import zoo": ("0.100 s", True),
        "colorzoo --help": ("0.500 s", False),
    }


def test_a_folder_is_judged_by_a_thousand_photos() -> None:
    speed = a_speed()
    fewer = [replace(r, parts=r.parts | {"photos": 40}) if r.kind == "folder" else r for r in speed.rows]
    few = replace(speed, rows=tuple(fewer))
    name = "processors used while a folder of 1 MP photos is coloured"
    assert figures(few)[name] == ("needs --photos 1000, had 40", None)
    assert [name, "needs --photos 1000, had 40", "≥ 85 %", tables.NONE] in _table(few, "Targets")


def test_targets_follow_what_was_chosen() -> None:
    speed = a_speed()
    speed.models["fusion"] |= {"backend": "torch", "dtype": "float32"}
    assert figures(speed)["ECCV16's forward pass by that of the model"] == ("8.0x", False)
    assert figures(speed)["peak memory of a 48 MP scan"] == ("not measured", None)


@pytest.mark.parametrize("speed", [a_speed(rows=()), a_speed(models={}), a_speed(models={"fusion": {}})])
def test_what_was_not_measured_is_neither_met_nor_missed(speed: Speed) -> None:
    found = figures(replace(speed, rows=()))
    assert set(found.values()) == {("not measured", None)}
    assert "not measured" in page.render({"a": replace(speed, rows=())})["README.md"]


def test_a_limit_reached_is_met() -> None:
    goal = targets.GOALS[0]
    met = [targets.Target(goal, "", figure).met for figure in (14.9, 15.0, 15.1)]
    assert met == [False, True, True]
    goal = targets.GOALS[-1]
    assert [targets.Target(goal, "", figure).met for figure in (0.39, 0.4, 0.41)] == [True, True, False]
    assert targets.Target(goal, "", 0.2).share == 2


def test_a_file_holds_what_was_written(tmp_path: Path) -> None:
    speed = a_speed()
    results.write(speed, tmp_path / "a.json")
    assert results.read(tmp_path / "a.json") == speed
    assert results.read_all(tmp_path) == {"a": speed}
    assert results.holds_speed(tmp_path)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert sum('"kind"' in line for line in text.splitlines()) == len(speed.rows)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"speed 1"', '"speed 0"'),
        ('"kind": "folder"', '"kind": "holder"'),
        ('"value": 1234.0', '"value": "much"'),
        ('"value": 1234.0', '"value": NaN'),
        ('"complete": true', '"complete": 1'),
        ('"times": [0.1, ', '"times": [-0.1, '),
        ('"models"', '"muddles"'),
        ("{", ""),
    ],
)
def test_a_damaged_file_is_refused(old: str, new: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    results.write(a_speed(), path)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(ZooError, match="not a result of `colorzoo bench`"):
        results.read(path)


def test_median_and_95th_percentile() -> None:
    row = Row(kind="file", times=tuple(n / 100 for n in range(101)))
    assert row.median == 0.5
    assert row.p95 == pytest.approx(0.95)
    assert Row(kind="file").median is None


def _table(speed: Speed, title: str) -> list[list[str]]:
    return next([list(row) for row in t.rows] for t in tables.tables(speed) if t.title == title)


def test_tables_hold_the_figures() -> None:
    speed = a_speed()
    ways = {row[0]: row[1:] for row in _table(speed, "Ways to run the network")}
    assert ways["onnx float32"][:4] == ["0.200", "9.60", "10.5", "14.6"]  # 1.2 x 8 ms, its percentile, 5 ms more
    assert ways["onnx float32"][-1] == "chosen"
    assert ways["openvino int8"][-1] == "not installed"
    files = _table(speed, "File to file")
    assert [row[0] for row in files[:: len(files) // 3]] == list(SIZES)
    assert ["12 MP", "onnx float32", "2", "408", "445", "3", "2.45", "5.10"] in files
    assert ["12 MP", "Pillow's decode and colour encode", "2", "80.0", "87.2", "3", "12.50", "1.00"] in files
    assert _table(speed, "Share of each stage")[0] == [
        *("256 px", "5.0", "10.0", "15.0", "20.0", "25.0", "20.0", "5.0", "1000")
    ]
    more = dict(_table(speed, "Against the limits, films and folders"))
    assert more["the film, by the plain transcode"] == "2.00x"
    assert more["a film in colour (640 x 480, 50 frames)"] == "25.0 frames/s"
    assert more["a folder of 1000 photos of 1 MP"] == "10.00 photos/s"
    assert more["a picture of 512 x 512 in memory, by the plain forward pass"] == "1.62x"
    assert _table(speed, "Not measured") == [["fusion forward openvino int8", "no | such <thing>"]]


def test_columns_stand_below_their_headings() -> None:
    text = tables.as_text(tables.Table("Some", ["a", "b", "why"], [["x", "1.0", "no"], ["longer", "12.0", ""]]))
    assert text.splitlines() == ["SOME", "a          b  why", "x        1.0  no", "longer  12.0"]


def test_the_choice_is_said_with_its_reasons() -> None:
    assert list(tables.choice(a_speed())) == [
        "fusion: auto uses onnx float32",
        "  not torch float32: slower",
        "  not torch bfloat16: slower",
        "  not openvino int8: not installed",
    ]
    assert list(tables.choice(a_speed(models={"fusion": {}}))) == ["fusion: no way to run it was measured"]


def test_a_page_shows_all_tables_and_its_plots() -> None:
    pytest.importorskip("matplotlib")
    files = page.render({"laptop": a_speed()})
    text = files["README.md"]
    assert isinstance(text, str)
    links = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert {*links, "README.md"} == set(files)
    assert len(links) == 3
    assert r"no \| such \<thing\>" in text
    assert files == page.render({"laptop": a_speed()})  # the same bytes
    assert "interrupted" in str(page.render({"laptop": a_speed(complete=False)})["README.md"])


def test_several_runs_and_models_have_plots_of_their_own() -> None:
    pytest.importorskip("matplotlib")
    one, other = a_speed(), a_speed("local-dir:my model")
    both = replace(one, models=one.models | other.models, rows=(*one.rows, *other.rows))
    files = page.render({"laptop": both, "server": a_speed()})
    text = str(files["README.md"])
    links = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert {*links, "README.md"} == set(files)
    assert len(links) == len(set(links)) == 5 + 3
    assert "## laptop" in text
    assert "### File to file: local-dir:my model" in text
    assert "| fusion: import zoo" not in text  # which is of no model


def test_the_report_makes_the_page_and_finds_it_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model_cards" / "results" / "bench" / "laptop.json"
    results.write(a_speed(), path)
    report = CliRunner().invoke(app, ["report"])
    assert report.exit_code == 0, report.output
    made = tmp_path / "model_cards" / "reports" / "bench"
    assert {p.name for p in made.iterdir()} == {"README.md", "latency.svg", "stages.svg", "targets.svg"}
    board = (tmp_path / "model_cards" / "README.md").read_text(encoding="utf-8")
    assert "laptop: 4 of 7 targets met, on Some CPU, 2 cores" in board
    assert "(reports/bench/README.md)" in board
    assert CliRunner().invoke(app, ["report", "--check"]).exit_code == 0
    results.write(a_speed(run={"date": "2026-01-03", "seconds": 100.0}), path)
    done = CliRunner().invoke(app, ["report", "--check"])
    assert done.exit_code == 1
    assert "reports/bench/README.md: is stale" in done.output
    assert CliRunner().invoke(app, ["report", "--benchmark", "bench"]).exit_code == 0
    assert json.loads(path.read_text(encoding="utf-8"))["run"]["date"] in (made / "README.md").read_text("utf-8")
    (made / "stages.svg").unlink()
    assert "stages.svg: is missing" in CliRunner().invoke(app, ["report", "--check"]).output


def test_runs_of_other_weights_are_named() -> None:
    speed = a_speed()
    assert page.stale_weights({"bench": {"laptop": speed}}) == []
    speed.models["fusion"]["weights"] = {"tag": "base", "sha256": "0" * 64}
    (problem,) = page.stale_weights({"bench": {"laptop": speed}})
    assert problem.startswith("model_cards/results/bench/laptop.json: fusion was measured with other weights")
    (problem,) = page.stale_weights({"bench": {"laptop": a_speed("vanished")}})
    assert "vanished" in problem
