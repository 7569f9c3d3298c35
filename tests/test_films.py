"""Films through the evaluator: the right figures in the right rows, runs resumed, results kept, a page made of them."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from typer.testing import CliRunner
from typer.testing import Result as Done

from zoo import color
from zoo.cli import app
from zoo.errors import OptionError, VideoError, ZooError
from zoo.evaluation.candidates import Candidate, candidate_from
from zoo.evaluation.films import cost, evaluate_films, pages, report, results
from zoo.evaluation.films.protocol import AVERAGED, FILM, GREY, PER_FRAME, TRUTH, FilmProtocol
from zoo.evaluation.films.results import FilmResult
from zoo.models.grayscale import Grayscale, GrayscaleConfig

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")

PHOTOS = Path(__file__).parent / "photos"
SMALL = FilmProtocol(size=64, frames=20)
CREDIT = "file\ttitle\tauthor\tlicence\tsource\ncut.mkv\tA <cut>\tA. Uthor\tCC0-1.0\thttps://example.org/cut\n"


def picture(name: str) -> np.ndarray[Any, Any]:
    return np.array(Image.open(PHOTOS / f"{name}.jpg").convert("RGB").resize((240, 180)))


def write(path: Path, frames: Sequence[np.ndarray[Any, Any]], codec: str = "ffv1", pix_fmt: str = "yuv444p") -> Path:
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=Fraction(25))
        video.height, video.width, video.pix_fmt = height, width, pix_fmt
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            out.mux(video.encode(frame.reformat(format=pix_fmt)))
        out.mux(video.encode(None))
    return path


def pan(name: str, frames: int) -> list[np.ndarray[Any, Any]]:
    """A camera that moves over a photo: 96 x 128 frames."""
    whole = picture(name)
    return [whole[40:136, 10 + 3 * i : 138 + 3 * i] for i in range(frames)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write(folder / "pan.mkv", pan("skimage__coffee", 12))
    write(folder / "cut.mkv", [*pan("gb82__flowers", 7), *pan("skimage__motorcycle", 8)])
    grey = [f.mean(2, keepdims=True).repeat(3, 2).astype(np.uint8) for f in pan("gb82__dog", 6)]
    write(folder / "grey.mkv", grey)
    write(folder / "short.mkv", pan("gb82__dog", 3))
    (folder / "broken.mp4").write_bytes(b"no film")
    (folder / "notes.txt").write_text("no film, and not taken for one")
    return folder


@pytest.fixture
def films(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "my films"))


class Restless(Grayscale):
    """Colours that belong to the lightness, and jump by 5 units from answer to answer."""

    def __init__(self, config: GrayscaleConfig) -> None:
        super().__init__(config)
        self.calls = 0
        self.spec = replace(self.spec, working_size=64)

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        self.calls += 1
        if self.calls > 1000:
            raise RuntimeError("asked too often")
        small = torch.nn.functional.avg_pool2d(L, 2)
        return torch.cat([(small - 50) * 0.2, (small - 50) * 0.4], 1) + 2.5 * (-1) ** self.calls


@pytest.fixture
def restless() -> Candidate:
    return candidate_from(Restless(GrayscaleConfig()), "restless")


def calls(candidate: Candidate) -> int:
    assert isinstance(candidate.network, Restless)
    return candidate.network.calls


def test_figures_stand_in_the_right_rows(films: Path, restless: Candidate) -> None:
    evaluation = evaluate_films([restless], films, protocol=SMALL)
    (result,) = evaluation.results
    assert result.names == ["cut.mkv", "pan.mkv"]
    assert calls(restless) == 15 + 12 + 3  # once a frame, whatever is made of the answers
    assert {name: reason.partition(";")[0] for name, reason in evaluation.left_out.items()} == {
        "broken.mp4": "broken.mp4: not a film that can be opened",
        "grey.mkv": "has no colours of its own",
        "short.mkv": "too short",
    }
    jump = 5 * 2**0.5
    by_way = {way: result.per_clip[way]["warp_error"] for way in result.per_clip}
    for film, each, mean, true, grey in zip(
        *(by_way[w] for w in (FILM, PER_FRAME, AVERAGED, TRUTH, GREY)), strict=True
    ):
        assert each == pytest.approx(jump, abs=1.5)
        assert film < each / 2
        assert mean < each / 2
        assert true < 2.5
        assert grey < 1e-3
    assert result.value(TRUTH, "cf_share") == 100
    assert result.value(GREY, "cf_share") == 0
    assert result.value(GREY, "gain") == 0
    assert result.value(TRUTH, "gain") is None
    excess = (result.value(PER_FRAME, "warp_error") or 0) - (result.value(TRUTH, "warp_error") or 0)
    assert result.value(PER_FRAME, "warp_excess") == pytest.approx(excess, abs=1e-3)
    film_excess = result.value(FILM, "warp_excess") or 0
    assert result.against["excess_share"]["value"] == pytest.approx(100 * film_excess / excess, abs=0.1)
    assert result.value(PER_FRAME, "cdc") > result.value(TRUTH, "cdc")  # type: ignore[operator]


def test_what_is_kept_of_each_clip(films: Path, restless: Candidate) -> None:
    (result,) = evaluate_films([restless], films, protocol=SMALL).results
    cut, moving = (result.data["clips"][name] for name in result.names)
    assert (cut["frames"], cut["height"], cut["width"], cut["rate"], cut["cuts"]) == (15, 96, 128, 25, [7])
    assert moving["cuts"] == []
    assert moving["speed"] == pytest.approx(3 * 74 / 128, rel=0.2)  # 128 pixels are compared at 74
    assert 0 < moving["runs"] <= 12
    for changes in result.series["cut.mkv"].values():
        assert [i for i, change in enumerate(changes) if change is None] == [0, 7]
    mean = np.mean([c for c in result.series["pan.mkv"][PER_FRAME] if c is not None])
    assert result.of_clip("pan.mkv", PER_FRAME, "warp_error") == pytest.approx(mean, abs=1e-3)
    assert result.cut_differences == {"cut.mkv": [{"frame": 7, "mean": 0.0, "max": 0.0}], "pan.mkv": []}
    assert result.against["cut_difference"] == {"value": 0.0}


def test_only_the_first_frames_are_compared(films: Path, restless: Candidate) -> None:
    (result,) = evaluate_films([restless], films, protocol=replace(SMALL, frames=6)).results
    assert [result.data["clips"][name]["frames"] for name in result.names] == [6, 6]
    assert "cut_difference" not in result.against  # it comes later


def test_a_model_of_the_right_colors_gains(tmp_path: Path) -> None:
    """The film is painted by the same rule that the model has."""
    frames = []
    for pixels in pan("skimage__coffee", 8):
        L = 20 + 0.6 * color.rgb_to_lab(torch.from_numpy(pixels / 255).float().permute(2, 0, 1))[:1]
        painted = color.lab_to_rgb(torch.cat([L, 0 * L, 0.6 * L])).clamp(0, 1)
        frames.append((255 * painted).round().byte().permute(1, 2, 0).numpy())
    write(tmp_path / "painted.mkv", frames)

    class Painter(Restless):
        def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
            return torch.cat([L * 0.0, L * 0.6], 1)

    (result,) = evaluate_films(
        [candidate_from(Painter(GrayscaleConfig()), "painter")], tmp_path, protocol=SMALL
    ).results
    for way in (FILM, PER_FRAME, AVERAGED):
        assert result.value(way, "gain") > 10  # type: ignore[operator]
        assert result.value(way, "cf_share") == pytest.approx(100, abs=10)
        assert result.value(way, "warp_error") == pytest.approx(result.value(TRUTH, "warp_error"), abs=0.2)
    assert "cf_kept" in result.against


def test_models_of_other_sizes_are_compared_at_the_same_size(films: Path) -> None:
    small = Restless(GrayscaleConfig())
    small.spec = replace(small.spec, working_size=32)
    (result,) = evaluate_films([candidate_from(small, "small")], films, protocol=SMALL, limit=2).results
    assert result.data["clips"]["cut.mkv"]["compared_at"] == [55, 74]


def test_one_that_fails_does_not_stop_the_others(films: Path, restless: Candidate) -> None:
    class Broken(Restless):
        def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
            raise RuntimeError("out of order")

    class Endless(Restless):
        def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
            return L.expand(-1, 2, -1, -1) * float("nan")

    bad = [candidate_from(cls(GrayscaleConfig()), cls.__name__.lower()) for cls in (Broken, Endless)]
    evaluation = evaluate_films([*bad, restless], films, protocol=SMALL)
    assert evaluation.failures["broken"] == "cut.mkv: out of order"
    assert "not finite" in evaluation.failures["endless"]
    assert [r.label for r in evaluation.results] == ["restless"]


def test_results_are_used_again_and_go_on(films: Path, restless: Candidate, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def stops(paths: Sequence[Path]) -> Iterator[Path]:
        yield from [p for p in paths if p.name in ("broken.mp4", "cut.mkv")]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_films([restless], films, protocol=SMALL, out=out, progress=stops)
    assert calls(restless) == 15
    assert not list(out.glob("*.json"))
    evaluation = evaluate_films([restless], films, protocol=SMALL, out=out)
    assert calls(restless) == 15 + 12 + 3
    assert evaluation.measured == ["restless"]
    assert "seconds" not in evaluation.results[0].run
    assert [p.name for p in out.iterdir()] == ["restless.json"]
    again = evaluate_films([restless], films, protocol=SMALL, out=out)
    assert (again.measured, again.results) == ([], evaluation.results)
    assert again.left_out == evaluation.left_out
    assert calls(restless) == 30
    evaluate_films([restless], films, protocol=SMALL, out=out, force=True)
    assert calls(restless) == 60
    with pytest.raises(OptionError, match="another protocol"):
        evaluate_films([restless], films, protocol=FilmProtocol(size=96), out=out)
    with pytest.raises(OptionError, match="other clips"):
        evaluate_films([restless], films, protocol=SMALL, out=out, limit=2)


def test_other_code_is_measured_again(
    films: Path, restless: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zoo.evaluation.films import run

    evaluate_films([restless], films, protocol=SMALL, out=tmp_path / "out")
    monkeypatch.setattr(run, "_film_code", lambda: "changed")
    assert evaluate_films([restless], films, protocol=SMALL, out=tmp_path / "out").measured == ["restless"]


def test_credits_lie_beside_the_films_or_the_results(films: Path, restless: Candidate, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (result,) = evaluate_films([restless], films, protocol=SMALL, out=out).results
    assert result.data["credits"] == {}
    (out / "CREDITS.tsv").write_text(CREDIT)
    (result,) = evaluate_films([restless], films, protocol=SMALL, out=out).results
    assert result.data["credits"]["cut.mkv"]["licence"] == "CC0-1.0"
    (films / "CREDITS.tsv").write_text(CREDIT.replace("CC0-1.0", "CC-BY-4.0"))
    (result,) = evaluate_films([restless], films, protocol=SMALL, out=out).results
    assert result.data["credits"]["cut.mkv"]["licence"] == "CC-BY-4.0"
    assert results.read(out / "restless.json") == result


def test_nothing_to_compare_is_an_error(tmp_path: Path, restless: Candidate, films: Path) -> None:
    for name in ("cut.mkv", "pan.mkv"):
        (films / name).unlink()
    with pytest.raises(VideoError, match="not one of 3 films could be compared"):
        evaluate_films([restless], films, protocol=SMALL, out=tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "grayscale.json").write_text('{"format": 1}')
    with pytest.raises(OptionError, match="holds results of photos"):
        evaluate_films([restless], films, protocol=SMALL, out=photos)


@pytest.fixture(scope="module")
def result(made: Path) -> FilmResult:
    """Of a network in memory."""
    restless = candidate_from(Restless(GrayscaleConfig()), "restless")
    (found,) = evaluate_films([restless], made, benchmark="meadow", protocol=SMALL).results
    return replace(
        found,
        data=found.data
        | {"credits": {"cut.mkv": dict(zip(("title", "author", "licence", "source"), "abcd", strict=True))}},
        cost={"frames_per_second": 61.25, "peak_memory_mb": 800.0, "per_clip": {"cut.mkv": 50.0, "pan.mkv": 70.0}},
    )


def test_results_come_back_from_their_files(result: FilmResult, tmp_path: Path) -> None:
    path = results.write(result, tmp_path)
    assert results.read(path) == result
    assert results.to_text(results.read(path)) == path.read_text(encoding="utf-8")
    assert results.holds_films(tmp_path)
    assert [r.label for r in results.read_all(tmp_path)] == ["restless"]


def _changed(table: dict[str, Any], keys: Sequence[str | int], value: object) -> None:
    *way, last = keys
    for key in way:
        table = table[key]  # type: ignore[index]
    table[last] = value  # type: ignore[index]


@pytest.mark.parametrize(
    ("keys", "value", "what"),
    [
        (("measured", FILM, "gain", "value"), 9.0, "measured, edited by hand"),
        (("measured", TRUTH, "cdc", "interval"), [0, 1], "measured, edited by hand"),
        (("against", "excess_share", "value"), 1.0, "against, edited by hand"),
        (("per_clip", FILM, "gain"), [1.0], "per_clip.film"),
        (("per_clip", FILM, "cdc", 0), "1", "per_clip.film"),
        (("series", "cut.mkv", FILM), [0.1], "series"),
        (("data", "clips"), {}, "clips"),
        (("format",), 1, "another format"),
    ],
)
def test_files_edited_by_hand_are_refused(
    keys: Sequence[str | int], value: object, what: str, result: FilmResult, tmp_path: Path
) -> None:
    table = json.loads(results.to_text(result))
    _changed(table, keys, value)
    (tmp_path / "bad.json").write_text(json.dumps(table))
    with pytest.raises(ZooError, match=what):
        results.read(tmp_path / "bad.json")


def test_results_of_other_films_do_not_stand_in_one_table(result: FilmResult) -> None:
    results.check_comparable([result, result])
    with pytest.raises(ZooError, match="protocols that differ in size"):
        results.check_comparable([result, replace(result, protocol=result.protocol | {"size": 128})])
    with pytest.raises(ZooError, match="different clips"):
        results.check_comparable([result, replace(result, data=result.data | {"sha256": "0"})])


def test_intervals_are_those_of_the_clips() -> None:
    per_clip = {
        way: {name: [1.0 + i, 3.0 + i] for name in ("cf_abs", "warp_error", "cdc", "gain")}
        for i, way in enumerate((TRUTH, FILM, PER_FRAME))
    }
    found = results.figures(per_clip)
    assert found[FILM]["gain"] == {"value": 3.0, "interval": [2.0, 4.0]}
    assert found[FILM]["warp_excess"] == {"value": 1.0, "interval": [1.0, 1.0]}
    assert found[FILM]["cf_share"]["value"] == 150
    against = results.against(per_clip, {"a": [{"frame": 3, "mean": 0.1, "max": 0.5}], "b": []})
    assert against["excess_share"]["value"] == 50
    assert against["warp_share"]["value"] == 75
    assert against["gain_kept"]["value"] == -1
    assert against["cf_kept"]["value"] == 75
    assert against["cut_difference"] == {"value": 0.5}
    per_clip[PER_FRAME]["warp_error"] = [0.5, 0.5]
    assert "excess_share" not in results.against(per_clip, {})


# The page


def stills(found: Sequence[FilmResult], shown: Sequence[report.Moment]) -> report.Stills:
    image = Image.new("RGB", (74, 55), (90, 120, 40))
    return {r.label: {m.key: {n: dict.fromkeys(report.STRIP, image) for n in m.frames} for m in shown} for r in found}


def test_the_page_says_what_was_found(result: FilmResult) -> None:
    other = replace(result, label="other:vivid", model="other", options={"style": "vivid"})
    files = report.render([result, other], title="Films <x>", stills=lambda shown: stills([result, other], shown))
    assert set(files) == {
        *("README.md", "index.html", "trade-off.svg", "flicker-restless.svg", "flicker-other+vivid.svg"),
        *("motion-restless.jpg", "cut-restless.jpg", "motion-other+vivid.jpg", "cut-other+vivid.jpg"),
    }
    text, page = str(files["README.md"]), str(files["index.html"])
    assert "Films &lt;x&gt;" in page
    for shown in (text, page):
        assert "2 models on 2 films in colour, 27 frames (3 left out)" in shown
        assert "frames 5 to 8" in shown  # around the cut
        assert "61.2" in shown
        assert all(name in shown for name in ("each frame by itself", "mean of 5 frames", "true colours", "grey"))
    figures = text.partition("## All figures")[2]
    rows = re.findall(r"^\| restless \| \**(.*?)\** \| ([+−\d.]+)<", figures, re.MULTILINE)
    expected = [
        (report.WAY_NAMES[w], report.number(result.value(w, "gain") or 0, 2, "+")) for w in (FILM, PER_FRAME, AVERAGED)
    ]
    assert rows == expected
    pictures = re.findall(r'src="data:image/jpeg;base64,([^"]*)"', page)
    assert len(pictures) == 4
    assert all(pictures)
    bare = report.render([result, other], title="Films <x>")
    assert bare["README.md"] == text


def test_only_credited_films_are_shown(result: FilmResult) -> None:
    assert [(m.key, m.clip) for m in report.moments([result])] == [("motion", "cut.mkv"), ("cut", "cut.mkv")]
    hidden = replace(result, data=result.data | {"credits": {}})
    assert report.moments([hidden]) == []
    assert "None of these films comes with a credit" in str(report.render([hidden], title="x")["index.html"])


def test_goals_are_judged(result: FilmResult) -> None:
    good = {
        "excess_share": {"value": -5},
        "warp_share": {"value": 40},
        "gain_kept": {"value": 0.1},
        "cf_kept": {"value": 97.0},
    }
    bad = {"excess_share": {"value": 60}, "gain_kept": {"value": -0.2}, "cut_difference": {"value": 1.5}}
    judged = report.judged(replace(result, against=good))
    assert [j.cell.text for j in judged] == ["none", "40", "+0.100", "97.0", "no cuts"]
    assert [j.met for j in judged] == [True, None, True, True, None]
    assert [j.met for j in report.judged(replace(result, against=bad))] == [False, None, False, None, False]


def call(*arguments: object) -> Done:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_from_films_to_a_page_that_is_checked(films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "measured", lambda *args: {})
    (films / "CREDITS.tsv").write_text(CREDIT)
    evaluate = ("evaluate", "--video", "my films", "--models", "regression.alpha", "--benchmark", "clips")
    done = call(*evaluate, "--size", 64, "--frames", 10)
    assert done.exit_code == 0, done.output
    assert "left out: grey.mkv: has no colours of its own" in done.output
    assert "2 films: 1 measured, 0 there already" in done.output
    assert "every frame by itself: " in done.output
    done = call("report")
    assert done.exit_code == 0, done.output
    folder = tmp_path / "model_cards" / "reports" / "clips"
    page, strip = folder / "index.html", folder / "cut-regression.alpha.jpg"
    assert "A &lt;cut&gt;" in page.read_text(encoding="utf-8")
    assert "[the report](reports/clips/README.md)" in (tmp_path / "model_cards" / "README.md").read_text(
        encoding="utf-8"
    )
    assert call("report", "--check").exit_code == 0
    shutil.move(films, tmp_path / "elsewhere")
    assert "0 of" in call("report").output  # what was drawn from the same result is kept
    strip.unlink()
    done = call("report")
    assert done.exit_code == 2
    assert "no such folder" in done.output
    assert call("report", "--benchmark", "clips", "--data", tmp_path / "elsewhere").exit_code == 0
    Image.open(strip).save(strip, comment=b"0" * 12)
    (folder / "README.md").write_text("edited", encoding="utf-8")
    done = call("report", "--check")
    assert done.exit_code == 1
    assert "cut-regression.alpha.jpg: was drawn from another result" in done.output
    assert "README.md: is stale" in done.output


def test_options_that_do_not_go_together(films: Path) -> None:
    for arguments in ((), ("--video", films, "--data", films), ("--video", films, "--protocol", "aged")):
        assert call("evaluate", *arguments).exit_code == 2
    done = call("evaluate", "--data", PHOTOS, "--frames", 9)
    assert done.exit_code == 2
    assert "--video only" in done.output


def test_stale_weights_are_named(result: FilmResult) -> None:
    other = replace(result, model="regression", tag="alpha", weights={"sha256": "0" * 64})
    (problem,) = pages.stale_weights({"meadow": [other]})
    assert "--video CLIPS" in problem


def test_cost_is_that_of_whole_films(films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips = {name: str(films / name) for name in ("cut.mkv", "pan.mkv", "broken.mp4")}
    threads, target = torch.get_num_threads(), str(tmp_path / "film.mp4")
    task = {"model": "regression.alpha", "options": {}, "clips": clips, "target": target, "threads": threads}
    cost._colorize_and_report(json.dumps(task))
    found = json.loads(capsys.readouterr().out)
    assert {name: clip["frames"] for name, clip in found["clips"].items()} == {"cut.mkv": 15, "pan.mkv": 12}
    assert "broken.mp4: not a film" in found["failed"]["broken.mp4"]
    assert found["peak"] > 50e6


def test_films_without_their_packages_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from zoo.evaluation import films as package

    for name in [n for n in sys.modules if n.startswith(("zoo.evaluation.films.", "zoo.video."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(VideoError, match=r"colorzoo\[video\]"):
        package.__getattr__("evaluate_films")
