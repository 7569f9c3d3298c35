"""How the app ends: on a signal, soon, with nothing left behind; and where its temporary files are meanwhile."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from visiting import Client, handle_file, running

from demo import serving

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "demo/examples/fetch.mp4"
OLD = 3600  # seconds
posix = pytest.mark.skipif(sys.platform == "win32", reason="no locks of folders")

# An app with one endpoint, which works for a minute with a file of its own, in a thread that Python would wait for.
SMALL = """
import tempfile, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import gradio as gr
from demo import serving

def work():
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as pool:
        Path(folder, "half").touch()
        work = pool.submit(time.sleep, 60)
        while not work.done():
            time.sleep(0.1)
            yield "working"

def build():
    with gr.Blocks(analytics_enabled=False) as demo:
        gr.Button().click(work, None, gr.Textbox(), api_name="work")
    return demo

serving.serve(build, {"quiet": True})
"""


@contextmanager
def _served(script: list[str], temporary: Path) -> Iterator[tuple[subprocess.Popen[str], Client]]:
    """A script that serves an app, whose temporary files are in ``temporary``, and a client of it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GRADIO_")}
    environment |= {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "PYTHONPATH": str(ROOT)}
    environment |= {"TMPDIR": str(temporary), "GRADIO_ANALYTICS_ENABLED": "False"}
    process = subprocess.Popen(
        [sys.executable, *script], env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        _wait(lambda: process.poll() is not None or _answers(port))
        yield process, Client(f"http://127.0.0.1:{port}", verbose=False, download_files=False)
    finally:
        process.kill()
        process.communicate()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(condition: Callable[[], object], seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@running
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_app_and_its_work(tmp_path: Path, number: signal.Signals) -> None:
    with _served(["-c", SMALL], tmp_path) as (process, client):
        job = client.submit(api_name="/work")
        _wait(lambda: any(path.name == "half" for path in tmp_path.rglob("*")))
        (folder,) = tmp_path.glob("colorzoo-app-*")
        assert folder.stat().st_mode & 0o777 == 0o700
        begin = time.monotonic()
        process.send_signal(number)
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert time.monotonic() - begin < 10  # 1.3 seconds on an idle machine
        assert "Traceback" not in output
        assert not folder.exists()
        with suppress(BaseException):  # how the client is told differs with what it waits for
            job.result(timeout=10)
        assert job.done()


@running
def test_nothing_is_left_where_files_of_the_app_were_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = tmp_path / "chosen"
    script = SMALL.replace(
        "serving.serve(", f"import os; os.environ['GRADIO_TEMP_DIR'] = {str(chosen)!r}\nserving.serve("
    )
    for place in (script, f"import os; os.environ['GRADIO_TEMP_DIR'] = {str(chosen)!r}\n{SMALL}"):
        with _served(["-c", place], tmp_path) as (process, _):
            process.terminate()
            process.communicate(timeout=20)
        assert list(chosen.iterdir()) == []
        assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("torchinductor")] == ["chosen"]


@pytest.mark.slow
@running
def test_sigterm_ends_a_film_that_is_being_colored(tmp_path: Path) -> None:
    with _served([str(ROOT / "demo/app.py")], tmp_path) as (process, client):
        client.submit(handle_file(CLIP), "fusion", api_name="/video")
        _wait(lambda: any(path.name.endswith(".mp4.partial") for path in tmp_path.rglob("*")))
        process.terminate()
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 0
        assert "Traceback" not in output
        assert _files(tmp_path) == []
        assert list(tmp_path.glob("colorzoo-app-*")) == []


# Temporary files


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("GRADIO_TEMP_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_temporary_files_are_private_and_gone_at_the_end(temporary: Path) -> None:
    with serving.temporary_files() as folder:
        assert folder.parent == temporary
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder / "gradio")
        descriptor, name = tempfile.mkstemp()
        os.close(descriptor)
        assert Path(name).parent == folder
    assert list(temporary.iterdir()) == []
    assert tempfile.gettempdir() == str(temporary)
    assert "GRADIO_TEMP_DIR" not in os.environ


def test_a_folder_that_was_chosen_keeps_what_is_in_it(
    temporary: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = tmp_path_factory.mktemp("chosen") / "new"
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(chosen))
    with serving.temporary_files() as folder:
        assert folder.parent == chosen
        assert Path(os.environ["GRADIO_TEMP_DIR"]).is_relative_to(folder)
        (chosen / "theirs").touch()
    assert [path.name for path in chosen.iterdir()] == ["theirs"]
    assert os.environ["GRADIO_TEMP_DIR"] == str(chosen)
    assert list(temporary.iterdir()) == []


@posix
def test_what_killed_runs_have_left_goes_and_nothing_else(temporary: Path) -> None:
    then = time.time() - OLD
    names = ("colorzoo-app-left", "colorzoo-app-held", "another", "colorzoo-app-new", "target")
    folders = {name: temporary / name for name in names}
    for name, folder in folders.items():
        (folder / "in").mkdir(parents=True)
        if name != "colorzoo-app-new":
            os.utime(folder, (then, then))
    (temporary / "colorzoo-app-link").symlink_to(folders["target"])
    held = serving._locked(folders["colorzoo-app-held"])
    with serving.temporary_files():
        pass
    os.close(held)
    left = {path.name for path in temporary.iterdir()}
    assert left == set(names) - {"colorzoo-app-left"} | {"colorzoo-app-link"}
    assert (folders["target"] / "in").exists()


@posix
def test_the_folder_of_a_run_is_held_until_it_is_killed(temporary: Path) -> None:
    code = "import time; from demo import serving\n"
    code += "with serving.temporary_files() as folder: print(folder, flush=True); time.sleep(99)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, text=True, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        folder = Path(other.stdout.readline().strip())
        os.utime(folder, (time.time() - OLD,) * 2)
        with serving.temporary_files():
            assert folder.exists()
        other.kill()
    with serving.temporary_files():
        assert not folder.exists()


def test_a_folder_into_which_work_still_writes_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove = shutil.rmtree
    late = iter([True, True])

    def slow(folder: Path, **options: bool) -> None:
        remove(folder, **options)
        if next(late, False):
            (folder / "late").mkdir(parents=True)

    monkeypatch.setattr(shutil, "rmtree", slow)
    (tmp_path / "work").mkdir()
    serving._remove(tmp_path / "work")
    assert not (tmp_path / "work").exists()
