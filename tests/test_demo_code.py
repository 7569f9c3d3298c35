"""The code that the page shows for developers: it runs, and does what was done in the page."""

import ast
import builtins
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio_client
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner
from visiting import launched, offered, running

import zoo
from demo import photos, snippets
from demo.photos import Settings
from demo.snippets import Job
from zoo.cli import app
from zoo.errors import WeightsError
from zoo.evaluation import judging

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


def _commands(job: Job) -> list[str]:
    return snippets.on_command_line(job).replace("\\\n", "").splitlines()


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
    for line in _commands(job):
        program, *arguments = shlex.split(line)
        assert program == "colorzoo"
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
    for name in NAMES:
        for style in ("warm", "cool"):
            _same(f"tint-{style}/{name}", name, f"tint:{style}", job.settings)


def test_a_clip_is_colored_by_the_same_options(monkeypatch: pytest.MonkeyPatch) -> None:
    clip = Job(True, ["a clip.mov"], ["tint:warm"], Settings(1.5))
    python = snippets.in_python(clip)
    called: list[Any] = []
    monkeypatch.setattr(zoo, "colorize_video", lambda *args, **options: called.append((args, options)))
    exec(python, {})
    assert called == [
        (("a clip.mov", "a clip-tint-warm.mp4"), {"model": "tint", "style": "warm", "saturation": 1.5}),
    ]
    (line,) = _commands(clip)
    options = ["--model", "tint", "--style", "warm", "--saturation", "1.5"]
    assert shlex.split(line) == ["colorzoo", "video", "a clip.mov", "a clip-tint-warm.mp4", *options]
    assert _asked(clip, monkeypatch) == [(("a clip.mov", "tint", "warm", 1.5), {"api_name": "/video"})]


def _asked(job: Job, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the code asks the app's API for."""
    asked: list[Any] = []
    client = SimpleNamespace(predict=lambda *args, **named: asked.append((args, named)))
    monkeypatch.setattr(gradio_client, "Client", lambda address: client)
    monkeypatch.setattr(gradio_client, "handle_file", str)
    exec(snippets.over_http(job, "x/y"), {"print": lambda *_: None})
    return asked


def _absent() -> None:
    raise WeightsError("weights absent")


def test_after_a_report_it_is_the_code_of_the_report(
    job: Job, make_picture: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(judging, "Classifier", _absent)  # which takes time
    names = ["old 'photo'.png", "second.png"]
    for seed, name in enumerate(names):
        Image.fromarray(make_picture(200, 300, seed=seed)).save(name)
    report = Job(False, names, ["tint:warm", "tint:cool"], Settings(), report=True)

    printed: list[Any] = []
    exec(snippets.in_python(report), {"print": lambda *words: printed.append(words)})
    assert {label for label, _ in printed} >= {"tint:warm", "tint:cool"}
    assert all(value >= 0 for _, value in printed)

    copied, made = _commands(report)
    subprocess.run(["sh", "-c", copied], check=True)
    done = CliRunner().invoke(app, shlex.split(made)[1:])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(word in text for word in ("tint:warm", "tint:cool", "second.png"))

    assert _asked(report, monkeypatch) == [((names, ["tint:warm", "tint:cool"]), {"api_name": "/report"})]


def test_lines_are_short_enough_to_be_read_without_scrolling() -> None:
    settings = Settings(0.5, 0.4, 256)
    names = ["a photo with a rather long name.jpeg", *NAMES]
    for job in (
        snippets.example(),
        Job(False, names, ["tint:warm", "tint:cool"], settings),
        Job(True, names[:1], ["tint:warm"], settings),
        Job(False, names, ["tint:warm", "tint:cool"], Settings(), report=True),
    ):
        address = "https://owner-name.hf.space/"
        for code in (snippets.in_python(job), snippets.on_command_line(job), snippets.over_http(job, address)):
            assert max(map(len, code.splitlines())) <= 66
        for code in (snippets.in_python(job), snippets.over_http(job, address)):
            ast.parse(code)


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
