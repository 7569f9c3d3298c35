import os
from pathlib import Path

import pytest

from zoo.batch import Result, colorize_files, find, plan
from zoo.errors import ImageError, OptionError, ZooError


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return root


def targets(inputs: list[Path], out: Path) -> dict[str, str]:
    """Source name -> target, relative to ``out``."""
    items = plan(inputs, out)
    planned = {str(item.source): item.target.relative_to(out).as_posix() for item in items}
    assert len(set(planned.values())) == len(items), "two sources share a result"
    return {Path(source).name: target for source, target in planned.items()}


def copy(source: Path, target: Path, *, overwrite: bool) -> None:
    """A stand-in for ``Colorizer.colorize_file``."""
    assert overwrite or not target.exists()
    text = source.read_text()
    if "bad" in text:
        raise ImageError(f"{source}: not a picture")
    target.write_text(f"colour {text}")


def statuses(results: list[Result]) -> list[str]:
    return [result.status for result in results]


# Planning


def test_a_folder_is_mirrored_in_order(tmp_path: Path) -> None:
    photos = touch(tmp_path / "in", "b.jpg", "a.PNG", "sub/deep/c.tiff", "sub/d.webp")
    items = plan([photos], tmp_path / "out")
    assert [item.target.relative_to(tmp_path / "out").as_posix() for item in items] == [
        "a.PNG",
        "b.jpg",
        "sub/d.webp",
        "sub/deep/c.tiff",
    ]
    assert not (tmp_path / "out").exists()


def test_what_is_no_picture_or_hidden_is_left_out(tmp_path: Path) -> None:
    photos = touch(tmp_path / "in", "a.jpg", "notes.txt", "Thumbs.db", ".b.jpg", "._a.jpg", ".cache/c.jpg", "jpg")
    assert targets([photos], tmp_path / "out") == {"a.jpg": "a.jpg"}


def test_a_named_file_is_taken_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "notes.txt", ".hidden.jpg")
    named = [tmp_path / name for name in ("a.jpg", "notes.txt", ".hidden.jpg")]
    assert set(targets(named, tmp_path / "out")) == {"a.jpg", "notes.txt", ".hidden.jpg"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.gif"], {"a.gif": "a.png"}),
        (["a.gif", "a.png"], {"a.gif": "a.gif.png", "a.png": "a.png"}),
        (["a.gif", "a.heic"], {"a.gif": "a.gif.png", "a.heic": "a.heic.png"}),
        (["a.gif", "a.png", "a.gif.png"], {"a.gif": "a.gif-2.png", "a.png": "a.png", "a.gif.png": "a.gif.png"}),
        (["a.jpg", "a.png"], {"a.jpg": "a.jpg", "a.png": "a.png"}),
    ],
)
def test_formats_that_cannot_be_written_become_png_without_collision(
    tmp_path: Path, names: list[str], expected: dict[str, str]
) -> None:
    photos = touch(tmp_path / "in", *names)
    assert targets([photos], tmp_path / "out") == expected
    assert targets([photos / name for name in reversed(names)], tmp_path / "out") == expected


def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    touch(tmp_path, "1950/x.jpg", "1951/x.jpg", "1951/y.jpg")
    inputs = [tmp_path / "1950/x.jpg", tmp_path / "1951/x.jpg", tmp_path / "1951/y.jpg"]
    planned = {item.target.relative_to(tmp_path / "out").as_posix() for item in plan(inputs, tmp_path / "out")}
    assert planned == {"1950/x.jpg", "1951/x.jpg", "y.jpg"}


def test_of_several_inputs_a_folder_keeps_its_name(tmp_path: Path) -> None:
    touch(tmp_path, "p/album/x.jpg", "q/album/x.jpg", "z.jpg")
    inputs = [tmp_path / "p/album", tmp_path / "q/album", tmp_path / "z.jpg", tmp_path / "p/../z.jpg"]
    planned = [item.target.relative_to(tmp_path / "out").as_posix() for item in plan(inputs, tmp_path / "out")]
    assert planned == ["p/album/x.jpg", "q/album/x.jpg", "z.jpg"]


def test_out_with_a_suffix_is_the_file(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg")
    (item,) = plan([tmp_path / "a.jpg"], tmp_path / "new" / "b.png")
    assert item.target == tmp_path / "new" / "b.png"


@pytest.mark.parametrize("ending", ["", "/"])
def test_a_folder_may_have_a_suffix(tmp_path: Path, ending: str) -> None:
    touch(tmp_path, "a.jpg")
    out = tmp_path / "results.v2"
    if not ending:
        out.mkdir()
    (item,) = plan([tmp_path / "a.jpg"], f"{out}{ending}")
    assert item.target == out / "a.jpg"


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    photos = touch(tmp_path / "in", "a.jpg", "sub/b.jpg")
    touch(tmp_path / "elsewhere", "c.jpg")
    (photos / "sub" / "loop").symlink_to(photos)
    (photos / "self").symlink_to(photos / "self")
    (photos / "album").symlink_to(tmp_path / "elsewhere")
    (photos / "gone.jpg").symlink_to(tmp_path / "nothing.jpg")
    os.mkfifo(photos / "pipe.jpg")
    expected = {"a.jpg": "a.jpg", "b.jpg": "sub/b.jpg", "c.jpg": "album/c.jpg", "gone.jpg": "gone.jpg"}
    assert targets([photos], tmp_path / "out") == expected


def test_results_inside_the_input_are_not_coloured_again(tmp_path: Path) -> None:
    photos = touch(tmp_path / "in", "a.jpg")
    out = photos / "colour"
    for _ in range(2):
        assert targets([photos], out) == {"a.jpg": "a.jpg"}
        list(colorize_files(plan([photos], out), copy))
    assert sorted(p.relative_to(photos).as_posix() for p in photos.rglob("*.jpg")) == ["a.jpg", "colour/a.jpg"]


@pytest.mark.parametrize(
    ("inputs", "out", "message"),
    [
        (["missing.jpg"], "out", "no such file"),
        (["empty"], "out", "no pictures"),
        ([""], "out", "empty"),
        (["in"], "", "empty"),
        (["in"], "in", "input folder"),
        (["in", "b.jpg"], "in", "input folder"),
        (["in"], "link", "input folder"),
        (["b.jpg"], ".", "overwrite a source"),
        (["b.jpg"], "b.jpg", "overwrite a source"),
        (["b.jpg"], "hard.jpg", "overwrite a source"),
        (["b.gif", "b.png"], ".", "overwrite a source"),
        (["in"], "out.png", "names one file"),
        (["in/a.jpg", "b.jpg"], "out.png", "names one file"),
        (["b.jpg"], "out.xyz", "cannot be written as .xyz"),
        (["b.jpg"], "x" * 300, "cannot be written"),
        (["b.jpg"], "x" * 300 + ".png", "cannot be written"),
        (["b.jpg"], "plain", "is a file"),
        (["b.jpg"], "plain/sub", "cannot be written to"),
        (["b.jpg"], "plain/c.jpg", "cannot be written to"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, inputs: list[str], out: str, message: str
) -> None:
    touch(tmp_path, "in/a.jpg", "b.jpg", "b.gif", "b.png", "plain")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "in")
    (tmp_path / "hard.jpg").hardlink_to(tmp_path / "b.jpg")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImageError, match=message):
        plan(inputs, out)


def test_an_unreadable_folder_inside_fails_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = touch(tmp_path / "in", "a.jpg", "locked/b.jpg", "z.jpg")
    real = Path.iterdir

    def iterdir(folder: Path) -> object:
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    results = list(colorize_files(plan([photos], tmp_path / "out"), copy))
    assert statuses(results) == ["done", "failed", "done"]
    assert "Permission denied" in str(results[1].error)
    with pytest.raises(ImageError, match="cannot be read"):
        plan([photos / "locked"], tmp_path / "out")


def test_names_are_relative_to_the_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "in", "s/a.jpg")
    monkeypatch.chdir(tmp_path / "in")
    assert [found.name.as_posix() for found in find(["."])] == ["s/a.jpg"]
    assert [found.name.as_posix() for found in find(["s", "s/a.jpg"])] == ["s/a.jpg", "a.jpg"]


# Running


def test_a_run_can_be_repeated_until_all_is_done(tmp_path: Path) -> None:
    photos = touch(tmp_path / "in", "a.jpg", "bad.jpg", "c.jpg")
    items = plan([photos], tmp_path / "out")
    first = list(colorize_files(items, copy))
    assert statuses(first) == ["done", "failed", "done"]
    assert "not a picture" in str(first[1].error)
    (photos / "bad.jpg").write_text("good now")
    assert statuses(list(colorize_files(items, copy))) == ["skipped", "done", "skipped"]
    assert statuses(list(colorize_files(items, copy))) == ["skipped"] * 3
    assert statuses(list(colorize_files(items, copy, overwrite=True))) == ["done"] * 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "bad.jpg", "c.jpg"]


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), MemoryError(), ZooError("not enough memory")]
)
def test_what_befalls_one_file_does_not_stop_the_rest(tmp_path: Path, error: Exception) -> None:
    def fail_first(source: Path, target: Path, *, overwrite: bool) -> None:
        if source.name == "a.jpg":
            raise error
        copy(source, target, overwrite=overwrite)

    photos = touch(tmp_path / "in", "a.jpg", "b.jpg")
    results = list(colorize_files(plan([photos], tmp_path / "out"), fail_first))
    assert statuses(results) == ["failed", "done"]
    assert results[0].error


@pytest.mark.parametrize("error", [OptionError("no such style"), KeyboardInterrupt(), RuntimeError("a bug")])
def test_what_is_no_fault_of_the_file_stops_the_run(tmp_path: Path, error: BaseException) -> None:
    def fail(source: Path, target: Path, *, overwrite: bool) -> None:
        raise error

    photos = touch(tmp_path / "in", "s/a.jpg", "s/b.jpg")
    with pytest.raises(type(error)):
        list(colorize_files(plan([photos], tmp_path / "out"), fail))
    assert not (tmp_path / "out").exists()


def test_a_name_that_grows_too_long_fails_by_itself(tmp_path: Path) -> None:
    stem = "x" * 251
    photos = touch(tmp_path / "in", "a.jpg", f"{stem}.gif", f"{stem}.png", "z.jpg")
    results = list(colorize_files(plan([photos], tmp_path / "out"), copy))
    assert statuses(results) == ["done", "failed", "done", "done"]
    assert results[1].error


def test_a_failure_leaves_no_empty_folders(tmp_path: Path) -> None:
    photos = touch(tmp_path / "in", "a.jpg", "s/t/bad.jpg")
    list(colorize_files(plan([photos], tmp_path / "out"), copy))
    assert [p.name for p in (tmp_path / "out").rglob("*")] == ["a.jpg"]


def test_a_folder_in_the_place_of_a_result_is_a_failure(tmp_path: Path) -> None:
    photos = touch(tmp_path / "in", "a.jpg")
    (tmp_path / "out" / "a.jpg").mkdir(parents=True)

    def write(source: Path, target: Path, *, overwrite: bool) -> None:
        target.write_text("x")

    (result,) = colorize_files(plan([photos], tmp_path / "out"), write)
    assert result.status == "failed"


def test_results_come_as_they_are_finished(tmp_path: Path) -> None:
    photos = touch(tmp_path / "in", *(f"{i}.jpg" for i in range(5)))
    results = colorize_files(plan([photos], tmp_path / "out"), copy)
    next(results)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.jpg"]
