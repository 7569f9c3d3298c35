"""The code that the page shows for developers: it runs, and does what was done in the page."""

import builtins
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from visiting import launched, offered, running

from demo import photos, snippets
from demo.photos import Settings
from demo.snippets import Job
from zoo.cli import app

NAMES = ["old 'photo'.png", "-second.png"]


@pytest.fixture(scope="module", autouse=True)
def _models() -> Iterator[None]:
    with offered():
        yield


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Two photos, by name, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    for name, level in zip(NAMES, (90, 180), strict=True):
        Image.new("L", (40, 30), level).save(name)
    return Job(False, NAMES, ["tint:warm", "tint:cool"], Settings(0.5, None, 64))


def _pixels(path: Path | str) -> Any:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _same(path: str, name: str, choice: str, settings: Settings) -> None:
    folder = Path("expected")
    folder.mkdir(exist_ok=True)
    expected = photos.full(name, choice, settings, ".png", folder)
    assert (_pixels(path) == _pixels(expected)).all()
    expected.unlink()


def test_in_python(job: Job) -> None:
    exec(snippets.in_python(job), {})
    for name in NAMES:
        for style in ("warm", "cool"):
            _same(f"{Path(name).stem}-tint-{style}.png", name, f"tint:{style}", job.settings)


def test_on_the_command_line(job: Job) -> None:
    for line in snippets.on_command_line(job).splitlines():
        program, *arguments = shlex.split(line)
        assert program == "colorzoo"
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
    for name in NAMES:
        for style in ("warm", "cool"):
            _same(f"tint-{style}/{name}", name, f"tint:{style}", job.settings)


def test_a_clip_is_colored_by_the_same_options(job: Job) -> None:
    clip = Job(True, ["a clip.mov"], ["tint:warm"], Settings(1.5))
    python = snippets.in_python(clip)
    assert python.endswith(
        "zoo.colorize_video('a clip.mov', 'a clip-tint-warm.mp4', model='tint', style='warm', saturation=1.5)"
    )
    compile(python, "snippet", "exec")
    assert snippets.on_command_line(clip) == (
        "colorzoo video 'a clip.mov' 'a clip-tint-warm.mp4' --model tint --style warm --saturation 1.5"
    )
    assert "handle_file('a clip.mov'), 'tint', 'warm', 1.5, api_name='/video'" in snippets.over_http(clip, "x/y")


@running
def test_over_http(job: Job, tmp_path: Path, tmp_path_factory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []
    monkeypatch.setattr(builtins, "print", lambda *a, **_: printed.append(str(a[0])))
    with launched(tmp_path_factory) as address:
        monkeypatch.chdir(tmp_path)
        request = SimpleNamespace(headers={"host": address.split("/")[2]})
        code = snippets.over_http(job, snippets.address(request))  # type: ignore[arg-type]
        made: dict[str, Any] = {}
        exec(code, made)
        made["client"].close()
    answers = [line for line in printed if line.endswith(".png")]
    assert len(answers) == 4
    pairs = [(name, style) for name in NAMES for style in ("warm", "cool")]
    for path, (name, style) in zip(answers, pairs, strict=True):
        _same(path, name, f"tint:{style}", job.settings)


def test_a_space_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "owner/name")
    assert snippets.address(SimpleNamespace(headers={})) == "owner/name"  # type: ignore[arg-type]


def test_what_is_shown_before_anything_was_done_is_code() -> None:
    example = snippets.example()
    for code in (snippets.in_python(example), snippets.over_http(example, "https://x/")):
        compile(code, "snippet", "exec")
