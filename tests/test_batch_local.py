"""Worker processes, and runs, that are killed: nothing is lost, nothing done twice."""

import importlib
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import archives
import pytest

from zoo import batch
from zoo.batch import folders, local, work
from zoo.batch.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return archives.install(tmp_path_factory.mktemp("site"))


@pytest.fixture
def start(site: Path, tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """`start(*arguments, **environment)`: `colorzoo batch` as a process of its own."""

    def begin(*arguments: object, **more: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            archives.command(*arguments),
            cwd=tmp_path,
            env=archives.environment(site, tmp_path / "mark", **more),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return begin


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    output, _ = process.communicate(timeout=240)
    return process.returncode, output


def wait_for(count: int, folder: Path, process: "subprocess.Popen[str]") -> None:
    """Until so many results are there."""
    while len(archives.contents(folder)) < count:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.02)


@pytest.fixture
def here(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry_sandbox: None
) -> Callable[[Path, Path], batch.Summary]:
    """`here(src, dst)`: the same in this process."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("DEADLY_MARK", str(tmp_path / "mark"))
    monkeypatch.delitem(sys.modules, "deadly", raising=False)
    importlib.import_module("deadly")  # this process may have looked for plug-ins before
    return lambda src, dst: batch.run(str(src), str(dst), model="deadly", workers=0)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_that_is_stopped_goes_on(
    how: signal.Signals,
    start: Callable[..., "subprocess.Popen[str]"],
    here: Callable[[Path, Path], batch.Summary],
    tmp_path: Path,
) -> None:
    src, dst = archives.pictures(tmp_path / "in", 12), tmp_path / "out"
    first = start(src, dst, "-m", "deadly", "--workers", "2", DEADLY_PAUSE="0.3")
    wait_for(3, dst, first)
    first.send_signal(how)
    code, output = ended(first)
    if how is signal.SIGKILL:
        assert code == -9
    else:
        assert code == 130, output
        assert "the same command goes on from here" in output
    early = archives.done(dst)
    assert 2 <= len(early) < 12
    before = {name: (dst / name).stat().st_mtime_ns for name in early}
    summary = here(src, dst)
    assert (summary.done, summary.kept) == (12 - len(early), len(early))
    assert archives.done(dst) == dict.fromkeys(archives.contents(src), 1)
    assert {name: (dst / name).stat().st_mtime_ns for name in early} == before
    here(src, tmp_path / "once")
    assert archives.contents(dst) == archives.contents(tmp_path / "once")
    assert not list((dst / ".colorzoo/work").glob("*"))


def test_workers_that_die_are_replaced(
    start: Callable[..., "subprocess.Popen[str]"], here: Callable[[Path, Path], batch.Summary], tmp_path: Path
) -> None:
    src = archives.pictures(tmp_path / "in", 6)
    archives.flat(src / "0-once.png", archives.WHITE)
    archives.flat(src / "inner/always.png", archives.BLACK)
    (src / "bad.png").write_bytes(b"no picture")
    code, output = ended(start(src, tmp_path / "out", "-m", "deadly", "--workers", "2"))
    assert code == 1, output
    assert "inner/always.png: the worker that had it died 2 times (SIGKILL, as of too little memory)" in output
    assert "7 done" in output
    assert "2 failed" in output
    expected = set(archives.contents(src)) - {"inner/always.png", "bad.png"}
    assert archives.done(tmp_path / "out") == dict.fromkeys(expected, 1)
    (src / "inner/always.png").unlink()
    assert [record.source for record in here(src, tmp_path / "once").failed] == ["bad.png"]
    assert archives.contents(tmp_path / "out") == archives.contents(tmp_path / "once")


def test_orphans_end(start: Callable[..., "subprocess.Popen[str]"], tmp_path: Path) -> None:
    src = archives.pictures(tmp_path / "in", 6)
    process = start(src, tmp_path / "out", "-m", "deadly", "--workers", "2", DEADLY_PAUSE="0.3")
    wait_for(1, tmp_path / "out", process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.exists():
        pytest.skip("no /proc to see them in")
    pids = [int(pid) for pid in children.read_text().split()]
    assert len(pids) >= 2
    process.kill()
    ended(process)
    deadline = time.monotonic() + 30
    while left := [pid for pid in pids if _lives(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_a_worker_that_dies_when_it_has_told_of_all_is_no_failure(tmp_path: Path) -> None:
    folder = folders.Folder(str(tmp_path))
    given = deque([work.Task("picture", "a.png", "a.png")])

    def said() -> work.Outcome | None:
        return work.Outcome(given.popleft()) if given else None

    worker = SimpleNamespace(given=given, said=said, process=SimpleNamespace(is_alive=lambda: False))
    engine = local.Local(work.Job(folder, folder, Settings()), 1)
    engine._workers = [worker]  # type: ignore[list-item]
    heard = list(engine._heard(worker, deque()))  # type: ignore[arg-type]
    assert [outcome.error for outcome in heard] == [None]
    assert engine._workers == []
