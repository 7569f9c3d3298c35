"""What a run does, and the next one; in this process, where not said otherwise."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import archives
import fsspec
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import zoo
from zoo import backends, batch
from zoo.backends import choice, kinds
from zoo.batch import films, folders, leases, manifest, places, settings, work
from zoo.cli import app
from zoo.errors import BatchError, ImageError, OptionError, ZooError


def run(src: object, dst: object, **options: Any) -> batch.Summary:
    return batch.run(str(src), str(dst), **({"model": "grayscale", "workers": 0} | options))


@pytest.fixture
def src(tmp_path: Path) -> Path:
    return archives.pictures(tmp_path / "in", 4)


@pytest.fixture
def dst(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_results_are_those_of_colorize(src: Path, dst: Path, tmp_path: Path) -> None:
    seen: list[batch.Progress] = []
    summary = run(src, dst, model="fusion", style="vivid", saturation=1.2, progress=seen.append)
    assert (summary.done, summary.kept, summary.failed) == (4, 0, [])
    assert (seen[-1].done, seen[-1].total, seen[-1].left) == (4, 4, 0)
    model = zoo.load("fusion")
    for name, found in archives.contents(dst).items():
        alone = model.colorize_file(src / name, tmp_path / "alone.png", overwrite=True, style="vivid", saturation=1.2)
        np.testing.assert_allclose(np.asarray(Image.open(dst / name)), np.asarray(Image.open(alone)), atol=2)
        assert found


def test_a_second_run_does_nothing_twice(src: Path, dst: Path) -> None:
    run(src, dst)
    before = {path: path.stat().st_mtime_ns for path in dst.rglob("*.png")}
    summary = run(src, dst)
    assert (summary.done, summary.kept) == (0, 4)
    assert {path: path.stat().st_mtime_ns for path in dst.rglob("*.png")} == before
    assert set(archives.done(dst).values()) == {1}


def test_what_changed_is_done_again(src: Path, dst: Path) -> None:
    run(src, dst)
    archives.flat(src / "001.png", 9)
    (dst / "003.png").unlink()
    (dst / "inner/000.png").write_bytes(b"")  # as a power cut leaves it
    archives.flat(src / "new.png", 99)
    plan = run(src, dst, dry_run=True)
    assert plan.reasons == {"changed source": 1, "result not there": 2, "new": 1}
    assert (plan.done, plan.kept) == (4, 1)
    summary = run(src, dst)
    assert (summary.done, summary.kept) == (4, 1)
    assert archives.done(dst) == {"001.png": 2, "003.png": 2, "inner/000.png": 2, "inner/002.png": 1, "new.png": 1}


def test_a_dry_run_writes_nothing(src: Path, dst: Path) -> None:
    assert run(src, dst, dry_run=True).reasons == {"new": 4}
    assert not dst.exists()


def test_other_settings_are_refused_unless_by_force(src: Path, dst: Path) -> None:
    run(src, dst)
    with pytest.raises(
        BatchError, match=r"4 results in it were made with other settings; found: saturation 0.5 in"
    ) as e:
        run(src, dst, saturation=0.5)
    assert "force" in str(e.value)
    assert run(src, dst).kept == 4
    assert run(src, dst, saturation=0.5, force=True).done == 4
    with pytest.raises(BatchError, match="other settings"):
        run(src, dst)


def test_files_that_no_run_has_made_are_not_replaced(src: Path, dst: Path) -> None:
    archives.flat(dst / "001.png", 7)
    with pytest.raises(BatchError, match=r"1 files in it would be replaced, which no run has made; found: 001.png"):
        run(src, dst)
    assert run(src, dst, force=True).done == 4
    for name in "abcde":
        archives.flat(src / f"{name}.png", 70)
        archives.flat(dst / f"{name}.png", 7)
    (dst / "003.png").write_bytes(b"retouched")
    archives.flat(src / "003.png", 99)  # and changed itself
    before = archives.contents(dst)
    said = (
        r"6 files in it would be replaced, 5 that no run has made and 1 that were changed since; "
        r"found: 003.png, a.png, b.png and 3 more; choose another place, or replace them by force"
    )
    for dry_run in (False, True):
        with pytest.raises(BatchError, match=said):
            run(src, dst, dry_run=dry_run)
    assert archives.contents(dst) == before
    assert run(src, dst, force=True).reasons == {"changed source": 1, "new": 5}
    assert run(src, dst).kept == 9


def test_retouched_results_are_left_so(src: Path, dst: Path) -> None:
    run(src, dst)
    (dst / "003.png").write_bytes(b"retouched")
    archives.flat(src / "new.png", 70)
    done = CliRunner().invoke(app, ["batch", str(src), str(dst), "-m", "grayscale", "--workers", "0"])
    assert done.exit_code == 0, done.output
    assert "1 results were changed since they were made, and are left so" in done.output
    assert (dst / "003.png").read_bytes() == b"retouched"
    assert (dst / "new.png").is_file()
    assert run(src, dst, dry_run=True).retouched == 1
    assert run(src, dst, force=True).reasons == {"changed result": 1}
    assert run(src, dst).retouched == 0


def stop_before(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """End the run as a kill does: with that result in its place, and no record of it."""
    real = manifest.Manifest.add

    def add(self: manifest.Manifest, record: manifest.Record) -> None:
        if record.source == source:
            raise KeyboardInterrupt
        real(self, record)

    monkeypatch.setattr(manifest.Manifest, "add", add)


@pytest.mark.parametrize("kind", ["folder", "store"])
def test_a_result_without_a_record_is_the_runs_own(
    kind: str, src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = str(dst) if kind == "folder" else f"memory://{dst.parent.name}"
    with monkeypatch.context() as patch:
        stop_before(patch, "003.png")
        with pytest.raises(KeyboardInterrupt):
            run(src, place)
    assert places.place(place).size("003.png")
    assert run(src, place).done == 3
    archives.flat(src / "003.png", 9)
    with monkeypatch.context() as patch:  # and so is one that took the place of another
        stop_before(patch, "003.png")
        with pytest.raises(KeyboardInterrupt):
            run(src, place)
    assert run(src, place).done == 1
    assert run(src, place).kept == 4


def test_what_was_not_begun_is_not_the_runs_own(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        stop_before(patch, "003.png")
        with pytest.raises(KeyboardInterrupt):
            run(src, dst)
    mine = archives.flat(dst / "inner/002.png", 9).read_bytes()
    with pytest.raises(BatchError, match=r"found: inner/002.png"):
        run(src, dst)
    assert (dst / "inner/002.png").read_bytes() == mine


def test_what_was_begun_for_nothing_is_not_the_runs_own(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(work.ColorizeBatch, "_picture", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(src, dst)
    archives.flat(dst / "001.png", 9)
    with pytest.raises(BatchError, match=r"found: 001.png"):
        run(src, dst)


def test_results_stay_the_runs_own_whatever_fails(src: Path, dst: Path) -> None:
    run(src, dst)
    good = (src / "001.png").read_bytes()
    (src / "001.png").write_bytes(b"no picture")
    assert len(run(src, dst).failed) == 1
    (src / "001.png").write_bytes(good)
    assert run(src, dst).reasons == {"changed source": 1}
    (src / "003.png").write_bytes(b"no picture")
    (dst / "003.png").unlink()
    run(src, dst)
    archives.flat(dst / "003.png", 9)  # by hand, since it failed
    archives.flat(src / "003.png", 9)
    with pytest.raises(BatchError, match=r"found: 003.png"):
        run(src, dst)


def test_what_was_forced_once_is_not_forced_for_ever(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives.flat(dst / "003.png", 9)
    stop_before(monkeypatch, "001.png")
    with pytest.raises(KeyboardInterrupt):
        run(src, dst, force=True)
    with pytest.raises(BatchError, match=r"found: 003.png"):
        run(src, dst)


def test_other_sources_are_refused(src: Path, dst: Path, tmp_path: Path) -> None:
    run(src, dst)
    src.rename(tmp_path / "moved")
    with pytest.raises(BatchError, match="holds results of other sources"):
        run(tmp_path / "moved", dst)
    assert run(tmp_path / "moved", dst, force=True).kept == 4  # the same files, though


def test_bad_files_are_told_and_the_rest_is_done(src: Path, dst: Path) -> None:
    (src / "bad\tname.jpg").write_bytes(b"no picture")
    (src / "empty.png").touch()
    summary = run(src, dst)
    assert (summary.done, len(summary.failed)) == (4, 2)
    assert {record.tries for record in summary.failed} == {1}
    table = (dst / ".colorzoo/failures.tsv").read_text().splitlines()
    assert table[0] == "source\tsegment\ttries\terror"
    assert table[1].startswith('"bad\tname.jpg"\t')
    assert len(table) == 3
    assert str(src / "empty.png") in table[2]
    assert run(src, dst, dry_run=True).reasons == {"failed before": 2}
    (src / "bad\tname.jpg").unlink()
    archives.flat(src / "empty.png", 3)
    found = run(src, dst)
    assert (found.failed, found.failures) == ([], None)  # the other one is gone from the sources
    assert not (dst / ".colorzoo/failures.tsv").exists()


def test_a_run_of_some_forgets_no_failures_of_the_others(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (src / "bad.png").write_bytes(b"no picture")
    (src / "inner/worse.png").write_bytes(b"no picture")
    assert len(run(src, dst).failed) == 2
    found = run(src / "001.png", dst)
    assert (found.kept, found.failures) == (1, f"{dst}/.colorzoo/failures.tsv")
    (src / "bad.png").unlink()
    (src / "lost.png").symlink_to(src / "nothing.png")  # as a disk that is not there
    run(src, dst)
    assert len((dst / ".colorzoo/failures.tsv").read_text().splitlines()) == 4
    (src / "lost.png").unlink()
    run(src, dst)
    assert len((dst / ".colorzoo/failures.tsv").read_text().splitlines()) == 2


def test_what_passes_is_tried_again(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real = work.ColorizeBatch._picture

    def flaky(self: work.ColorizeBatch, task: work.Task, path: Path) -> work.Outcome:
        calls.append(task.source)
        if task.source == "001.png" and calls.count("001.png") < 3:
            raise ImageError("cannot be read") from OSError(5, "Input/output error")
        if task.source == "003.png":
            raise ConnectionError("gone")
        if task.source == "inner/000.png":
            raise PermissionError(13, "not yours")
        return real(self, task, path)

    monkeypatch.setattr(work.ColorizeBatch, "_picture", flaky)
    monkeypatch.setattr(work, "_PAUSE", 0.001)
    summary = run(src, dst)
    assert {record.source: record.tries for record in summary.failed} == {"003.png": 3, "inner/000.png": 1}
    assert {r["source"]: r["tries"] for r in archives.records(dst) if r["status"] == "done"} == {
        "001.png": 3,
        "inner/002.png": 1,
    }


def test_a_full_disk_ends_the_run(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(folders.Folder, "put", full)
        with pytest.raises(BatchError, match="No space left on device; the same command goes on from here"):
            run(src, dst)
    assert archives.contents(dst) == {}
    assert run(src, dst).done == 4


@pytest.mark.parametrize("name", ["a.heic", "b.mkv"])
@pytest.mark.parametrize("kind", ["folder", "store"])
def test_an_error_of_writing_names_the_result(
    kind: str, name: str, src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: Any, **_: object) -> None:
        target = args[1 if name == "b.mkv" else 2]
        raise ZooError(f"{target}: cannot be written") from OSError(28, "No space left on device")

    monkeypatch.setattr(films, "color_whole", full)
    monkeypatch.setattr(zoo.Colorizer, "colorize_file", full)
    (src / name).write_bytes(b"any")
    place = str(dst) if kind == "folder" else f"memory://{dst.parent.name}"
    with pytest.raises(BatchError) as told:
        run(src / name, place, segment=0)
    result = "a.heic.png" if name == "a.heic" else name
    assert f"found: {place}/{result}: cannot be written; the same command" in str(told.value)


def test_names_do_not_depend_on_what_else_is_there(tmp_path: Path, dst: Path) -> None:
    src = tmp_path / "in"
    for name in ("a.gif", "b.JPG"):
        archives.flat(src / name, 50)
    run(src, dst)
    assert set(archives.contents(dst)) == {"a.gif.png", "b.JPG"}
    archives.flat(src / "a.png", 50)
    (archives.pictures(tmp_path / "more", 1) / "inner/000.png").rename(src / "a.gif.png")
    archives.flat(src / "c.gif", 50)
    archives.flat(src / "c.gif.png", 50)
    summary = run(src, dst)
    assert [record.source for record in summary.failed] == ["a.gif", "c.gif"] or summary.kept == 2
    assert set(archives.contents(dst)) >= {"a.png", "a.gif.png", "c.gif.png", "b.JPG"}
    run(src, dst)
    archives.flat(src / "a.gif.png", 60)  # whose result took the name of what a run had made of the GIF
    assert run(src, dst).done == 1


def test_results_inside_the_sources_are_no_sources(src: Path) -> None:
    assert run(src, src / "out").done == 4
    assert run(src, src / "out").kept == 4
    with pytest.raises(BatchError, match="the sources lie in it"):
        run(src, src.parent)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"style": "vivid"}, OptionError, "no option 'style'"),
        ({"engine": "spark"}, OptionError, "unknown engine; found: spark"),
        ({"workers": -1}, OptionError, "bad number of workers"),
        ({"retries": -1}, OptionError, "retries"),
        ({"address": "auto"}, OptionError, "of the engine ray"),
        ({"segment": float("nan")}, OptionError, "not below 0; found: 2, nan and"),
        ({"backend": "tpu"}, OptionError, "unknown backend"),
        ({"only": "films"}, ImageError, "no pictures in"),
    ],
)
def test_bad_calls_write_nothing(src: Path, dst: Path, options: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        run(src, dst, **options)
    assert not dst.exists()


def test_weights_are_part_of_the_settings(src: Path, dst: Path, tiny: Any, tmp_path: Path) -> None:
    tiny.save(tmp_path / "model")
    run(src, dst, model=f"local-dir:{tmp_path / 'model'}")
    for value in tiny.parameters():
        value.data += 1
    tiny.save(tmp_path / "model")
    with pytest.raises(BatchError, match="weights '"):
        run(src, dst, model=f"local-dir:{tmp_path / 'model'}")


def test_auto_is_settled_once(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first run says what it is, and those that go on take that, whatever would be fastest by then."""
    seen: list[tuple[str, str]] = []
    real = work.ColorizeBatch._picture

    def watched(self: work.ColorizeBatch, task: work.Task, path: Path) -> work.Outcome:
        seen.append((self._colorizer.backend, self._colorizer.dtype))
        return real(self, task, path)

    monkeypatch.setattr(work.ColorizeBatch, "_picture", watched)
    fastest = [backends.Measured("torch", "bfloat16", 1.0, 0.1)]
    monkeypatch.setattr(choice, "measured", lambda key: fastest)
    run(src, dst, model="fusion")
    assert archives.header(dst)["described"]["loading"] == {"backend": "torch", "dtype": "bfloat16"}
    fastest[:] = [backends.Measured("torch", "float32", 1.0, 0.0)]
    archives.flat(src / "new.png", 99)
    assert run(src, dst, model="fusion").kept == 4
    assert set(seen) == {("torch", "bfloat16")}
    assert run(src, dst, model="fusion", dtype="bfloat16").kept == 5
    with pytest.raises(BatchError, match="found: dtype 'float32' in place of 'bfloat16'"):
        run(src, dst, model="fusion", dtype="float32")
    with pytest.raises(BatchError, match="other settings"):
        run(src, dst, model="regression")


def test_what_auto_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolved(
        device: str = "cpu", taken: Any = None, weights: str | None = None, cluster: bool = False, **loading: str
    ) -> dict[str, Any]:
        chosen = settings.Settings(model="fusion", device=device, loading=loading)
        earlier = [{"loading": taken, "weights": weights or settings.weights_of("fusion")}]
        return chosen.resolved(earlier, 1, cluster=cluster).loading

    bf16, f32 = {"backend": "torch", "dtype": "bfloat16"}, {"backend": "torch", "dtype": "float32"}
    int8 = {"backend": "onnx", "dtype": "int8"}
    assert resolved(**f32) == f32
    assert resolved(device="cuda:3") == f32  # which this machine need not have
    assert resolved(device="cuda", dtype="bfloat16") == bf16
    for taken in (bf16, f32, int8):
        assert resolved(taken=taken) == resolved(taken=taken, cluster=True) == taken
    assert resolved(device="cuda", taken=int8) == f32  # where only torch runs
    monkeypatch.setattr(choice, "measured", lambda key: [backends.Measured("onnx", "float32", 1.0, 0.0)])
    monkeypatch.setattr(kinds, "missing", lambda backend, dtype: [])
    assert resolved(cluster=True, dtype="float32") == f32  # whose machines were not all measured
    assert resolved(taken=int8, backend="torch", dtype="auto")["backend"] == "torch"
    for nonsense in (None, "torch", {}, {"backend": "torch", "dtype": "int8"}, {"backend": "auto", "dtype": "auto"}):
        assert resolved(device="cuda", taken=nonsense) == f32
    assert resolved(device="cuda", taken=bf16, weights="others") == f32


def test_records_that_are_none_are_done_again(src: Path, dst: Path, caplog: pytest.LogCaptureFixture) -> None:
    run(src, dst)
    (part,) = (dst / ".colorzoo/manifest").iterdir()
    lines = part.read_text().splitlines()
    told = [number for number, line in enumerate(lines) if '"status"' in line]
    wrong: list[dict[str, Any]] = [{"result": ["a"]}, {"part": {}}, {"detail": "half"}, {"size": None}]
    for number, more in zip(told, wrong, strict=True):
        lines[number] = json.dumps(json.loads(lines[number]) | more)
    part.write_text("\n".join([*lines, ""]))
    assert run(src, dst).done == 4
    assert "4 lines are damaged" in caplog.text


def test_records_hold_without_a_header(src: Path, dst: Path) -> None:
    run(src, dst)
    (part,) = (dst / ".colorzoo/manifest").iterdir()
    part.write_text(part.read_text()[40:])
    assert run(src, dst).kept == 4


@pytest.mark.parametrize("loading", [{"backend": [], "dtype": {}}, {"backend": "torch"}, {"backend": 3, "dtype": 4}])
def test_a_header_may_tell_of_nonsense(loading: dict[str, Any], src: Path, dst: Path) -> None:
    run(src, dst)
    (part,) = (dst / ".colorzoo/manifest").iterdir()
    head, rest = part.read_text().split("\n", 1)
    header = json.loads(head)
    header["described"]["loading"] = loading
    part.write_text(f"{json.dumps(header)}\n{rest}")
    assert run(src, dst, dry_run=True).kept == 4
    with pytest.raises(BatchError, match=r"4 results in it were made with other settings; found: .*crf 3 in"):
        run(src, dst, crf=3)


@pytest.mark.parametrize("name", ["lock", "failures.tsv", "manifest"])
def test_what_is_in_the_way_is_told(name: str, src: Path, dst: Path) -> None:
    path = dst / ".colorzoo" / name
    path.mkdir(parents=True) if name != "manifest" else archives.flat(path.with_suffix(".png"), 1).rename(path)
    with pytest.raises(BatchError, match=rf"{name}: not what a run of batch has there; found: .*; move it elsewhere"):
        run(src, dst)


def test_a_store_takes_results_of_a_store(src: Path, dst: Path) -> None:
    memory = fsspec.filesystem("memory")
    for name, data in archives.contents(src).items():
        memory.pipe_file(f"/scans/{name}", data)
    memory.pipe_file("/scans/bad.png", b"no picture")
    assert run(src, dst).done == 4
    summary = run("memory://scans", "memory://colored")
    assert (summary.done, [record.source for record in summary.failed]) == (4, ["bad.png"])
    assert "memory://scans/bad.png" in str(summary.failed[0].error)
    for name, data in archives.contents(dst).items():
        assert memory.cat_file(f"/colored/{name}") == data
    memory.rm_file("/colored/001.png")
    again = run("memory://scans", "memory://colored")
    assert (again.done, again.kept, len(again.failed)) == (1, 3, 1)
    memory.rm("/scans", recursive=True)
    memory.rm("/colored", recursive=True)


def test_two_runs_at_once(src: Path, dst: Path) -> None:
    with leases.held(places.place(dst)), pytest.raises(BatchError, match="another run is at work"):
        run(src, dst)
    assert archives.contents(dst) == {}


def test_an_unreadable_folder_is_told(src: Path, dst: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    (src / "inner").chmod(0)
    try:
        summary = run(src, dst)
    finally:
        (src / "inner").chmod(0o755)
    assert (summary.done, [record.source for record in summary.failed]) == (2, ["inner"])


def test_the_command(src: Path, dst: Path) -> None:
    def call(*more: str) -> Any:
        return CliRunner().invoke(app, ["batch", str(src), str(dst), "-m", "grayscale", "--workers", "0", *more])

    (src / "bad.png").touch()
    assert call("--dry-run").output == "5 to do (5 new), 0 done already\n"
    found = call()
    assert found.exit_code == 1
    assert "failed: bad.png: " in found.output
    assert f"listed in {dst}/.colorzoo/failures.tsv" in found.output
    assert "4 done" in found.output
    (src / "bad.png").unlink()
    assert call().exit_code == 0
    refused = call("--saturation", "0.5")
    assert refused.exit_code == 2
    assert "error: " in refused.output


@pytest.mark.parametrize("force", [False, True])
def test_no_result_comes_where_a_source_lies(src: Path, dst: Path, force: bool) -> None:
    before = archives.contents(src)
    dst.mkdir()
    (dst / "inner").symlink_to(src / "inner")
    for source, place in ((src, dst), (src / "001.png", src)):
        with pytest.raises(BatchError, match=r"the result would overwrite a source; choose another place"):
            run(source, place, force=force)
    assert archives.contents(src) == before


def test_no_result_replaces_what_a_source_links_to(src: Path, dst: Path) -> None:
    run(src, dst)
    kept = archives.flat(dst / "q.png", 9).read_bytes()
    (src / "q.png").symlink_to(dst / "q.png")
    for force in (False, True):
        with pytest.raises(BatchError, match=r"out/q.png: the result would overwrite a source; choose another place"):
            run(src, dst, force=force)
    assert (dst / "q.png").read_bytes() == kept


@pytest.mark.parametrize("spelled", ["local://{}", "simplecache::file://{}"])
def test_however_a_place_is_spelled(src: Path, spelled: str) -> None:
    before = archives.contents(src)
    with pytest.raises(BatchError, match="the sources lie in it"):
        run(src, spelled.format(src), force=True)
    with pytest.raises(BatchError, match="the result would overwrite a source"):
        run(src / "001.png", spelled.format(src), force=True)
    assert archives.contents(src) == before
    assert run(src, spelled.format(src / "out")).done == 4
    assert run(src, src / "out").kept == 4
    again = run(spelled.format(src), src / "out", force=True)
    assert again.done + again.kept == 4  # the results in it are no sources


def test_results_may_lie_behind_links(src: Path, dst: Path, tmp_path: Path) -> None:
    dst.mkdir()
    (tmp_path / "disk").mkdir()
    (dst / "inner").symlink_to(tmp_path / "disk")
    (dst / "circle").symlink_to(dst)
    assert run(src, dst).done == 4
    assert run(src, dst).kept == 4
    (tmp_path / "disk" / "000.png").unlink()
    assert run(src, dst).done == 1


def test_a_place_that_takes_nothing_is_told(src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(BatchError, match="cannot be written to; found: Read-only file system"):
        run(src, dst)


def test_a_disk_that_is_full_for_the_list_of_failures_too(
    src: Path, dst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    (src / "zero.png").touch()
    for name in ("put", "write"):
        monkeypatch.setattr(folders.Folder, name, full)
    with pytest.raises(BatchError, match="No space left on device; the same command goes on from here"):
        run(src, dst)


def test_workers_cannot_share_the_memory_of_one_process(src: Path) -> None:
    with pytest.raises(BatchError, match="memory://there: is seen by this process alone"):
        run(src, "memory://there", workers=1)
