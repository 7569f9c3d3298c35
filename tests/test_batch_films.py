"""Films of an archive: split, coloured in segments, joined; or as a whole."""

import json
from pathlib import Path
from typing import Any

import archives
import clips
import pytest
from PIL import Image

import zoo
from zoo import batch
from zoo.batch import films
from zoo.errors import OptionError, VideoError


def run(src: Path, dst: Path, **options: Any) -> batch.Summary:
    common = {"model": "grayscale", "workers": 0, "segment": 0.6, "preset": "ultrafast", "crf": 0}
    return batch.run(str(src), str(dst), **(common | options))


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Three scenes, 12 frames each, with a tone."""
    return archives.film(tmp_path / "in/old.avi", sounds=["eng"])


def cut_into_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let segments be as short as the scenes of these films."""
    from zoo.video import segments

    real = segments.split
    monkeypatch.setattr(segments, "split", lambda *args, **more: real(*args, **(more | {"shortest": 0.1})))


def interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def assert_same_film(one: Path, other: Path) -> None:
    assert clips.times_of(one) == clips.times_of(other)
    assert clips.same_luma(one, other)
    assert clips.packets(one, "audio") == clips.packets(other, "audio")


def test_a_film_is_split_and_joined(film: Path, tmp_path: Path) -> None:
    archives.pictures(tmp_path / "in", 1)
    seen: list[batch.Progress] = []
    summary = run(tmp_path / "in", tmp_path / "out", progress=seen.append)
    assert (summary.done, summary.failed) == (2, [])
    assert seen[-1].total == 6  # a picture; to split, three segments, to join
    assert set(archives.contents(tmp_path / "out")) == {"old.avi.mkv", "inner/000.png"}
    zoo.colorize_video(film, tmp_path / "whole.mkv", model="grayscale", preset="ultrafast", crf=0)
    assert_same_film(tmp_path / "out/old.avi.mkv", tmp_path / "whole.mkv")
    assert not list((tmp_path / "out/.colorzoo/films").iterdir())
    assert run(tmp_path / "in", tmp_path / "out").kept == 2


def test_segments_that_are_done_stay(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into_scenes(monkeypatch)
    calls: list[int] = []
    real = films.color_segment

    def stopping(path: Path, segment: Any, *rest: Any) -> None:
        calls.append(segment["index"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        real(path, segment, *rest)

    monkeypatch.setattr(films, "color_segment", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "in", tmp_path / "out")
    assert run(tmp_path / "in", tmp_path / "out", dry_run=True).reasons == {"begun": 1}
    assert run(tmp_path / "in", tmp_path / "out").done == 1
    assert calls == [0, 1, 1, 2]
    zoo.colorize_video(film, tmp_path / "whole.mkv", model="grayscale", preset="ultrafast", crf=0)
    assert_same_film(tmp_path / "out/old.avi.mkv", tmp_path / "whole.mkv")


@pytest.mark.parametrize(
    "damage",
    [
        lambda detail: None,
        lambda detail: {"segments": "gone"},
        lambda detail: {"segments": [*detail["segments"][:1], "half"]},
        lambda detail: {"segments": detail["segments"][:2]},
        lambda detail: {"segments": [{**segment, "first": None} for segment in detail["segments"]]},
        lambda detail: {"segments": [{"index": segment["index"]} for segment in detail["segments"]]},
    ],
)
def test_a_damaged_plan_is_made_anew(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Any) -> None:
    cut_into_scenes(monkeypatch)
    archives.pictures(tmp_path / "in", 1)
    with monkeypatch.context() as patch:
        patch.setattr(films, "color_segment", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "in", tmp_path / "out")
    (manifest,) = (tmp_path / "out/.colorzoo/manifest").iterdir()
    records = [json.loads(line) for line in manifest.read_text().splitlines()]
    (planned,) = (record for record in records if record.get("status") == "planned")
    planned["detail"] = damage(planned["detail"])
    manifest.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    summary = run(tmp_path / "in", tmp_path / "out")
    assert (summary.done, summary.kept, summary.failed) == (1, 1, [])
    assert set(archives.contents(tmp_path / "out")) == {"old.avi.mkv", "inner/000.png"}


def fail_one_segment(patch: pytest.MonkeyPatch) -> None:
    """The second one of every film."""
    real = films.color_segment

    def failing(path: Path, segment: Any, *rest: Any) -> None:
        if segment["index"] == 1:
            raise VideoError("a bad day")
        real(path, segment, *rest)

    patch.setattr(films, "color_segment", failing)


def test_a_segment_that_fails_is_told(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut_into_scenes(monkeypatch)
    with monkeypatch.context() as patch:
        fail_one_segment(patch)
        summary = run(tmp_path / "in", tmp_path / "out")
    assert [(record.source, record.part, record.error) for record in summary.failed] == [("old.avi", 1, "a bad day")]
    assert archives.contents(tmp_path / "out") == {}
    assert run(tmp_path / "in", tmp_path / "out").done == 1
    done = [r["part"] for r in archives.records(tmp_path / "out") if r["status"] == "done" and "part" in r]
    assert sorted(done) == [0, 1, 2]


@pytest.mark.parametrize(
    ("scenes", "options"), [(1, {}), (2, {}), (3, {"force": True, "saturation": 0.5}), (3, {"segment": 60.0}), (0, {})]
)
def test_nothing_is_left_of_a_film_that_changed(
    scenes: int, options: dict[str, Any], film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_into_scenes(monkeypatch)
    src, dst = archives.pictures(tmp_path / "in", 1), tmp_path / "out"
    with monkeypatch.context() as patch:
        fail_one_segment(patch)
        assert run(src, dst).failures
    assert list((dst / ".colorzoo/films").rglob("*.part"))
    film.unlink()
    if scenes:
        archives.film(film, scenes=scenes, sounds=["eng"])
    summary = run(src, dst, **options)
    assert (summary.failed, summary.failures) == ([], None)
    assert not (dst / ".colorzoo/failures.tsv").exists()
    assert not list((dst / ".colorzoo/films").iterdir())
    assert run(src, dst, **(options | {"force": False})).kept == 1 + bool(scenes)


def test_films_of_a_store(film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    cut_into_scenes(monkeypatch)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/films/sub/old.avi", film.read_bytes())
    summary = batch.run(
        "memory://films", "memory://new", model="grayscale", workers=0, segment=0.6, preset="ultrafast", crf=0
    )
    assert (summary.done, summary.failed) == (1, [])
    (tmp_path / "found.mkv").write_bytes(memory.cat_file("/new/sub/old.avi.mkv"))
    zoo.colorize_video(film, tmp_path / "whole.mkv", model="grayscale", preset="ultrafast", crf=0)
    assert_same_film(tmp_path / "found.mkv", tmp_path / "whole.mkv")
    assert not [path for path in memory.find("/new") if path.endswith(".part")]
    memory.rm("/films", recursive=True)
    memory.rm("/new", recursive=True)


def test_short_films_and_animations_stay_whole(tmp_path: Path) -> None:
    src = tmp_path / "in"
    archives.film(src / "a.mp4", scenes=1, codec="libx264")
    frames = [Image.new("L", (32, 24), level) for level in (20, 120, 220)]
    frames[0].save(src / "moving.gif", save_all=True, append_images=frames[1:], duration=100)
    frames[0].save(src / "still.gif")
    (src / "bad.mkv").write_bytes(b"no film")
    summary = run(src, tmp_path / "out", segment=60)
    assert [record.source for record in summary.failed] == ["bad.mkv"]
    assert set(archives.contents(tmp_path / "out")) == {"a.mp4", "moving.gif", "still.gif.png"}
    with Image.open(tmp_path / "out/moving.gif") as made:
        assert made.n_frames == 3
    again = run(src, tmp_path / "out", segment=60)
    assert (again.kept, again.done) == (3, 0)


def test_only_some_of_them(film: Path, tmp_path: Path) -> None:
    archives.pictures(tmp_path / "in", 1)
    with pytest.raises(OptionError, match="films have no option 'views'"):
        run(tmp_path / "in", tmp_path / "out", views=2)
    assert run(tmp_path / "in", tmp_path / "out", views=2, only="pictures").done == 1
    assert set(archives.contents(tmp_path / "out")) == {"inner/000.png"}
