"""`colorzoo bench` runs, what fails is a row, an interrupt loses nothing; times are made up where figures follow."""

import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from zoo import backends, hub, loading
from zoo.backends import likeness, photos
from zoo.bench import children, limits, processes, settings, stages, subjects, timing, ways
from zoo.bench.ways import Found, Way
from zoo.cli import app
from zoo.colorizer import Colorizer
from zoo.errors import ZooError
from zoo.evaluation import cost
from zoo.evaluation.speed import results

TINY = {"256 px": (40, 30), "12 MP": (48, 36), "48 MP": (64, 48)}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is measured here is kept for no one."""
    monkeypatch.setattr(hub, "home", lambda: tmp_path / "cache")


class Here:
    """A `children.Child` in this process, where what it calls can be replaced."""

    def __init__(self, *about: Any, **more: Any) -> None:
        self._about, self._more = about, more

    def ready(self) -> None:
        self._work = children.Work(*self._about, **self._more)

    def seconds(self, *about: Any) -> float:
        return self._work.seconds(*about)

    def stages(self, *about: Any) -> dict[str, float]:
        return self._work.stages(*about)

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process for each way to run a network."""
    monkeypatch.setattr(children, "Child", Here)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of the least size; the figures of fresh processes made up."""
    monkeypatch.setattr(settings, "SIZES", TINY)
    for module in (sys.modules["zoo.bench.run"], settings):
        monkeypatch.setattr(module, "SIZES", TINY | {"512 px": (32, 32)}, raising=False)
    monkeypatch.setattr(limits, "PEERS", ())
    quick = replace(
        settings.QUICK,
        sizes=tuple(TINY),
        memory_of_all=True,
        repeats=2,
        photos=2,
        photo=(32, 24),
        frames=3,
        frame=(64, 48),
    )
    monkeypatch.setattr(settings, "QUICK", quick)
    monkeypatch.setattr(subjects, "true_pictures", lambda *_: [np.asarray(subjects.photo(40, 30))])
    monkeypatch.setattr(cost, "peak_memory", lambda *_, **__: 123.4)
    made_up = {"import zoo": timing.Times([0.2, 0.1, 0.3]), "colorzoo --help": timing.Times([0.5])}
    monkeypatch.setattr(processes, "start_times", lambda _: made_up)
    monkeypatch.setattr(processes, "batch_command", _copy)


def _copy(source: Path, target: Path, model: str) -> list[str]:
    return [sys.executable, "-c", f"import shutil; shutil.copytree({str(source)!r}, {str(target)!r})"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["bench", *map(str, arguments)])


# The command


@pytest.mark.usefixtures("small")
def test_every_kind_of_figure_is_measured_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way to run in a process of its own."""
    pytest.importorskip("av")
    two = [Way("torch", "float32"), Way("torch", "bfloat16")]
    monkeypatch.setattr(ways, "of", lambda _: (two, {}))
    out = tmp_path / "new" / "bench.json"
    done = call("grayscale", "--quick", "--threads", "1", "--out", out)
    assert done.exit_code == 0, done.output
    speed = results.read(out)
    assert speed.complete
    assert [row for row in speed.rows if row.error] == []
    assert {row.kind for row in speed.rows} == set(results.KINDS)
    assert {row.size for row in speed.find(results.FILE, subject="Pillow")} == set(TINY)
    assert {row.size for row in speed.find(results.MEMORY)} == set(TINY)
    assert all(len(row.times) == 2 for row in speed.find(results.FILE))
    backend, dtype = speed.chosen("grayscale")
    assert {row.dtype for row in speed.find(results.FORWARD)} == {"float32", "bfloat16"}
    assert f"grayscale: auto uses {backend} {dtype}" in done.output
    assert "import zoo" in done.output
    page = out.with_suffix(".md").read_text(encoding="utf-8")
    assert "| import zoo | 0.200 s | ≤ 0.3 s | yes |" in page
    assert "| colorzoo --help | 0.500 s | ≤ 0.4 s | no |" in page
    for plot in ("latency", "stages", "targets"):
        assert f"(bench-{plot}.svg)" in page
        assert b"<svg" in (out.parent / f"bench-{plot}.svg").read_bytes()


@pytest.mark.usefixtures("small", "here")
def test_auto_uses_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The slower way, were the colours of the faster one not too far off."""
    errors = {Way("torch", "float32"): 0.0, Way("torch", "bfloat16"): 0.7}
    monkeypatch.setattr(ways, "of", lambda _: (list(errors), {"onnx float32": "not installed: onnxruntime"}))
    monkeypatch.setattr(ways, "error_of", lambda name, way, *_: errors[way])
    done = call("grayscale", "--quick", "--threads", "1", "--no-page", "--sizes", "256px", "--photos", "0")
    assert done.exit_code == 0, done.output
    assert "grayscale: auto uses torch float32" in done.output
    assert "not torch bfloat16: CIEDE2000 0.70, not below 0.5" in done.output
    assert "not onnx float32: not installed: onnxruntime" in done.output
    with timing.torch_threads(1):
        model = loading.load("grayscale")
        kept = backends.measured(backends.key_of(model))
        assert [(m.backend, m.dtype, m.delta_e) for m in kept] == [
            ("torch", "float32", 0.0),
            ("torch", "bfloat16", 0.7),
        ]
        assert backends.choose(model) == ("torch", "float32")


@pytest.mark.usefixtures("small", "here")
def test_a_way_that_fails_is_a_row_and_the_rest_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    good, refused, broken = Way("torch", "float32"), Way("onnx", "float32"), Way("torch", "bfloat16")
    monkeypatch.setattr(ways, "of", lambda _: ([refused, broken, good], {}))
    monkeypatch.setattr(ways, "error_of", lambda *_: 0.0)
    load = ways.prepared

    def prepared(name: str, way: Way) -> Colorizer[Any]:
        if way == refused:
            raise ZooError("the network cannot be exported")
        model = load(name, good)
        if way == broken:
            monkeypatch.setattr(model, "predictor", lambda **_: _raise)
        return model

    def _raise(L: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("could not create\na primitive")

    monkeypatch.setattr(ways, "prepared", prepared)
    out = tmp_path / "f.json"
    done = call("grayscale", "--quick", "--threads", "1", "--no-page", "--no-keep", "--photos", "0", "--out", out)
    assert done.exit_code == 0, done.output
    speed = results.read(out)
    assert speed.chosen("grayscale") == good
    assert speed.models["grayscale"]["passed_over"] == {
        "onnx float32": "failed: the network cannot be exported",
        "torch bfloat16": "failed: RuntimeError: could not create a primitive",
    }
    assert all(row.times for row in speed.find(results.FILE, dtype="float32"))
    assert all(row.error for row in speed.find(results.FILE, dtype="bfloat16"))
    assert "NOT MEASURED" in done.output
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("small", "here")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_loses_nothing(number: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    load = ways.prepared
    heard = signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells take from what is in the background

    def prepared(name: str, way: Way) -> Colorizer[Any]:
        model = load(name, way)
        color, calls = model.colorize_file, iter(range(100))

        def colorize_file(*args: Any, **kwargs: Any) -> Path:
            if next(calls) == 3:  # after one for Pillow's and two rounds
                signal.raise_signal(number)
            return color(*args, **kwargs)

        monkeypatch.setattr(model, "colorize_file", colorize_file)
        return model

    monkeypatch.setattr(ways, "of", lambda _: ([Way("torch", "float32")], {}))
    monkeypatch.setattr(ways, "prepared", prepared)
    out = tmp_path / "f.json"
    try:
        done = call("grayscale", "--quick", "--threads", "1", "--out", out)
    finally:
        signal.signal(signal.SIGINT, heard)
    assert done.exit_code == 130, done.output
    speed = results.read(out)
    assert not speed.complete
    (half,) = speed.find(results.FILE, subject="")  # of the round before
    assert len(half.times) == 1
    assert list(speed.find(results.FORWARD))
    assert "interrupted" in out.with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("small", "here")
def test_inputs_that_cannot_be_made_are_rows_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    grey_jpeg = subjects.grey_jpeg

    def full(path: Path, size: tuple[int, int], seed: int = 0) -> Path:
        if size == TINY["12 MP"]:
            path.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        return grey_jpeg(path, size, seed)

    monkeypatch.setattr(ways, "of", lambda _: ([Way("torch", "float32")], {}))
    monkeypatch.setattr(subjects, "grey_jpeg", full)
    monkeypatch.setattr(subjects, "clip", lambda path, *_: full(path, TINY["12 MP"]))
    out = tmp_path / "f.json"
    done = call("grayscale", "--quick", "--threads", "1", "--no-page", "--out", out)
    assert done.exit_code == 0, done.output
    speed = results.read(out)
    failed = [row for row in speed.rows if row.error]
    assert {(row.kind, row.size) for row in failed} == {
        *((kind, "12 MP") for kind in (results.FILE, results.STAGES, results.MEMORY)),
        (results.FILM, ""),
    }
    assert all("No space left on device" in str(row.error) for row in failed)
    assert all(speed.median(results.FILE, size=size, subject="") for size in ("256 px", "48 MP"))
    assert list(speed.find(results.START))


@pytest.mark.usefixtures("small", "here")
@pytest.mark.parametrize("writable", [True, False])
def test_what_was_measured_before_a_fault_is_written(
    writable: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = tmp_path / "f.json"

    def fault(_: int) -> dict[str, timing.Times]:
        if not writable:
            out.mkdir()
        raise RuntimeError("a fault")

    monkeypatch.setattr(ways, "of", lambda _: ([Way("torch", "float32")], {}))
    monkeypatch.setattr(processes, "start_times", fault)
    done = call("grayscale", "--quick", "--threads", "1", "--no-page", "--photos", "0", "--out", out)
    assert str(done.exception) == "a fault"
    text = out.read_text(encoding="utf-8") if writable else done.stdout[done.stdout.index("\n{") :]
    assert json.loads(text)["complete"] is False
    assert '"kind": "forward"' in text
    assert "WAYS TO RUN THE NETWORK" in done.stdout
    assert writable or "cannot be written" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nonsense"], "nonsense"),
        (["eccv16"], "not here"),
        (["--out", "bench.txt"], "not a JSON file"),
        (["--out", "/proc/nope/bench.json"], "cannot be written"),
        (["--out", "x" * 300 + ".json"], "cannot be written"),
        (["--sizes", "13MP"], "unknown size '13MP'"),
        (["--sizes", ","], "no sizes"),
        (["--threads", "0"], "bad threads"),
        (["--threads", "many"], "bad threads"),
        (["--pictures", "nowhere"], "nowhere"),
        (["--video", "nowhere.mp4"], "nowhere.mp4"),
    ],
)
def test_what_cannot_be_is_refused_before_the_work(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(timing, "rounds", lambda *_, **__: pytest.fail("the work began"))
    names = [] if arguments[0] in ("nonsense", "eccv16") else ["grayscale"]
    done = call(*names, *arguments)
    assert done.exit_code == 2, done.output
    assert message in done.stderr


@pytest.mark.parametrize("name", ["photo.jpg", "photo.mp4", "animation.webp", "empty.mp4"])
def test_a_picture_is_no_film(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("av")
    monkeypatch.setattr(timing, "rounds", lambda *_, **__: pytest.fail("the work began"))
    file = tmp_path / name
    if name == "photo.mp4":
        subjects.clip(file, 1, (64, 48))
    elif name == "empty.mp4":
        subjects.clip(file, 0, (64, 48))
    else:
        more = [subjects.photo(64, 48, seed=n) for n in range(3)] if name.startswith("animation") else []
        subjects.photo(64, 48).save(file, **({"save_all": True, "append_images": more} if more else {}))
    done = call("grayscale", "--video", file)
    assert done.exit_code == 2, done.output
    assert name in done.stderr


def test_two_frames_are_a_film(tmp_path: Path) -> None:
    pytest.importorskip("av")
    subjects.check_film(subjects.clip(tmp_path / "clip.mp4", 2, (64, 48)))


def test_figures_that_cannot_be_written_are_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from test_bench_report import a_speed

    import zoo.bench

    class Full:
        def __init__(self, *_: object) -> None:
            pass

        def run(self) -> results.Speed:
            (tmp_path / "f.json").mkdir()  # in the meantime
            return a_speed()

    monkeypatch.setattr(zoo.bench, "Bench", Full)
    done = call("grayscale", "--out", tmp_path / "f.json")
    assert done.exit_code == 2
    assert "cannot be written" in done.stderr
    assert json.loads(done.stdout[done.stdout.index("\n{") :])["format"] == results.FORMAT


# Times


def test_rounds_take_turns_and_the_first_is_not_counted() -> None:
    now, log = 0.0, []

    def job(name: str, seconds: list[float]) -> Callable[[], float]:
        left = iter(seconds)

        def run() -> None:
            nonlocal now
            log.append(name)
            now += next(left)

        return partial(timing.seconds_of, run, lambda: now)

    jobs = {"a": job("a", [9, 1, 2, 3]), "b": job("b", [9, 4, 5, 6])}
    found = timing.rounds(jobs, repeats=3, clock=lambda: now)
    assert "".join(log) == "abababab"
    assert found["a"].seconds == [1, 2, 3]
    assert found["b"].seconds == [4, 5, 6]


def test_rounds_end_when_the_time_is_up_but_not_before_the_least() -> None:
    now = 0.0

    def slow() -> float:
        nonlocal now
        now += 10
        return 10

    assert len(timing.rounds({"": slow}, repeats=9, least=3, seconds=15, clock=lambda: now)[""].seconds) == 3
    assert len(timing.rounds({"": slow}, repeats=9, least=1, seconds=15, clock=lambda: now)[""].seconds) == 2
    assert len(timing.rounds({"": slow}, repeats=9, least=1, seconds=1000, clock=lambda: now)[""].seconds) == 9


def test_a_job_that_fails_is_left_out_of_further_rounds() -> None:
    calls = []

    def bad() -> float:
        calls.append(1)
        raise ValueError("no\ngood")

    found = timing.rounds({"bad": bad, "good": lambda: 1.0}, repeats=3)
    assert len(calls) == 1
    assert found["bad"] == timing.Times([], "ValueError: no good")
    assert len(found["good"].seconds) == 3


def test_threads_are_as_before_afterwards() -> None:
    before = torch.get_num_threads()
    with timing.torch_threads(1):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("text", "found"), [("1,all", (1, 8)), ("all", (8,)), ("3, 2,3", (2, 3)), ("ALL,8", (8,)), ("1", (1,))]
)
def test_numbers_of_threads(text: str, found: tuple[int, ...]) -> None:
    assert settings.threads_of(text, 8) == found


def test_sizes_are_known_by_several_spellings() -> None:
    assert settings.sizes_of("48MP, 256,512px,1 mp") == ("256 px", "512 px", "1 MP", "48 MP")


# A process for each


GREY = "grayscale", Way("torch", "float32"), 1


def test_a_child_times_what_it_is_asked_and_is_left_alone_by_ctrl_c(tmp_path: Path) -> None:
    source, target = subjects.grey_jpeg(tmp_path / "grey.jpg", (48, 32)), tmp_path / "color.jpg"
    tracker: Any = resource_tracker._resource_tracker  # type: ignore[attr-defined]
    tracker._stop()  # as before the first child
    with children.Child(*GREY) as child, children.Child("grayscale", Way("torch", "float8"), 1) as refused:
        os.kill(int(child._process.pid or 0), signal.SIGINT)  # Ctrl-C, while it starts
        child.ready()
        os.kill(int(child._process.pid or 0), signal.SIGINT)  # and later
        assert 0 < child.seconds("forward", 32) < 10
        assert 0 < child.seconds("file", source, target) < 10
        assert target.exists()
        assert set(child.stages(source, target, 1)) == {*stages.STAGES, stages.OTHER}
        with pytest.raises(ZooError, match=r"nowhere.jpg"):
            child.seconds("file", tmp_path / "nowhere.jpg", target)
        assert child.seconds("picture", 32, 24) > 0  # it goes on
        with pytest.raises(ZooError, match="unknown dtype; found: 'float8'"):
            refused.ready()
        assert _used(child) < 0.05  # seconds of processor time, of one: it sleeps
        child._process.kill()
        for _ in range(2):
            with pytest.raises(ZooError, match="its process ended, exit code -9"):
                child.seconds("forward", 32)
    assert not [process for process in multiprocessing.active_children() if process.daemon]


def _used(child: children.Child) -> float:
    def ticks() -> int:
        stat = Path(f"/proc/{child._process.pid}/stat")
        if not stat.exists():
            pytest.skip("no /proc here")
        return sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))

    time.sleep(0.1)
    before = ticks()
    time.sleep(0.5)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK")


def test_a_child_that_gives_no_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "PATIENCE", 0.05)  # shorter than starting takes
    with children.Child(*GREY) as child:
        for ask in (child.ready, partial(child.seconds, "forward", 32)):
            with pytest.raises(ZooError, match=r"no answer within 0.05 s"):
                ask()
        assert child._process.exitcode == -9


@pytest.mark.parametrize("name", ["grayscale", "none such"])
def test_a_child_whose_parent_has_ended_ends_in_silence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # it runs here
    ours, theirs = multiprocessing.Pipe()
    ours.close()
    children._serve(theirs, name, *GREY[1:], False)


# Stages


def test_time_of_a_stage_is_its_own() -> None:
    now = 0.0

    def spend(seconds: float) -> None:
        nonlocal now
        now += seconds

    watch = stages.Stopwatch(lambda: now)
    inner = watch.wrapped("gamut", lambda: spend(3))

    def paint() -> None:
        spend(1)
        inner()
        spend(2)
        inner()

    watch.wrapped("upsampling", paint)()
    assert watch.seconds == {"upsampling": 3, "gamut": 6}
    assert watch.calls == {"upsampling": 1, "gamut": 2}


@pytest.mark.parametrize("size", [(60, 40), (1200, 900)])
def test_every_stage_of_a_file_is_seen_and_the_picture_is_the_same(
    size: tuple[int, int], tiny: Colorizer[Any], tmp_path: Path
) -> None:
    """If this fails, a function of the pipeline has another name: say so in `zoo.bench.stages`."""
    source = subjects.grey_jpeg(tmp_path / "grey.jpg", size)
    plain, watched = tmp_path / "plain.jpg", tmp_path / "watched.jpg"
    tiny.colorize_file(source, plain)
    watch = stages.Stopwatch()
    with stages.watching(watch):
        tiny.colorize_file(source, watched)
    assert set(watch.calls) == set(stages.STAGES)
    assert watch.calls["network"] == watch.calls["decode"] == watch.calls["encode"] == 1
    assert watched.read_bytes() == plain.read_bytes()
    before = dict(watch.calls)
    tiny.colorize_file(source, plain, overwrite=True)
    assert watch.calls == before


def test_stages_and_the_rest_are_the_whole(tiny: Colorizer[Any], tmp_path: Path) -> None:
    now = iter(range(1_000_000))  # one second from each look at the clock to the next
    source = subjects.grey_jpeg(tmp_path / "grey.jpg", (60, 40))
    parts = stages.shares(
        lambda: tiny.colorize_file(source, tmp_path / "color.jpg", overwrite=True), 2, lambda: float(next(now))
    )
    assert list(parts) == [*stages.STAGES, stages.OTHER]
    assert all(seconds > 0 for seconds in parts.values())
    assert sum(parts.values()) == (next(now) - 1) / 2


# What models are measured against


def test_the_peer_networks_are_the_published_ones() -> None:
    network = limits.peer("eccv16")
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(32.24e6, rel=0.001)
    assert (network.backend, network.dtype) == ways.of_peer()
    assert sum(p.numel() for p in limits.peer("ddcolor_tiny").parameters()) == pytest.approx(55.0e6, rel=0.02)


def test_eccv16_answers_by_the_published_computation() -> None:
    """Softmax over 313 logits, then a 1 x 1 convolution to ab."""
    network: Any = loading.network("eccv16").eval()
    L = torch.rand(1, 1, 32, 32) * 100
    with torch.inference_mode():
        published = network.model_out(torch.softmax(network(L), 1)) * 110
        torch.testing.assert_close(network.predict_ab(L), published, atol=1e-3, rtol=1e-3)


def test_a_film_is_transcoded_whole(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    film = subjects.clip(tmp_path / "clip.mp4", 7, (64, 48))
    assert limits.transcode(film, tmp_path / "again.mp4") == 7
    with av.open(str(tmp_path / "again.mp4")) as made:
        frames = list(made.decode(video=0))
    assert [(frame.width, frame.height) for frame in frames] == [(64, 48)] * 7
    assert [frame.time for frame in frames] == pytest.approx([n / 25 for n in range(7)])


def test_pillow_makes_the_same_kind_of_file(tiny: Colorizer[Any], tmp_path: Path) -> None:
    source = subjects.grey_jpeg(tmp_path / "grey.jpg", (48, 32))
    own = tiny.colorize_file(source, tmp_path / "own.jpg", quality=subjects.QUALITY)
    with Image.open(own) as image:
        image.load()
        limits.pillow(source, tmp_path / "pillow.jpg", image)()
        tables = image.quantization, [layer[1:3] for layer in image.layer]
    with Image.open(tmp_path / "pillow.jpg") as image:
        assert (image.quantization, [layer[1:3] for layer in image.layer]) == tables


# Other processes


def test_processor_time_of_a_folder_holds_all_its_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = "import time\nwhile time.process_time() < 0.3: pass"
    script = (
        "import shutil, subprocess, sys\n"
        "shutil.copytree(sys.argv[1], sys.argv[2])\n"
        f"subprocess.run([sys.executable, '-c', {work!r}], check=True)"
    )

    def command(source: Path, target: Path, model: str) -> list[str]:
        return [sys.executable, "-c", script, str(source), str(target)]

    monkeypatch.setattr(processes, "batch_command", command)
    photos = subjects.folder_of_photos(tmp_path / "photos", 6, (32, 24))
    found = processes.folder(photos, tmp_path / "made", "grayscale")
    assert found["photos"] == 6
    assert found["cores"] == settings.cores()
    assert found["cpu"] >= 0.3
    assert found["wall"] > 0


def test_photos_left_out_are_no_speed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "batch_command", lambda *_: [sys.executable, "-c", "pass"])
    photos = subjects.folder_of_photos(tmp_path / "photos", 2, (32, 24))
    with pytest.raises(ZooError, match="left photos out; found: 0 made; expected: 2"):
        processes.folder(photos, tmp_path / "made", "grayscale")
    monkeypatch.setattr(processes, "batch_command", lambda *_: [sys.executable, "-c", "import nonsense"])
    with pytest.raises(ZooError, match="nonsense"):
        processes.folder(photos, tmp_path / "made", "grayscale")


def test_starting_up_is_timed_in_fresh_processes() -> None:
    found = processes.start_times(1)
    assert {name: times.error for name, times in found.items()} == {"import zoo": None, "colorzoo --help": None}
    assert all(len(times.seconds) == 1 and times.seconds[0] > 0 for times in found.values())


# Ways to run


def test_the_fastest_way_that_is_near_enough_is_chosen() -> None:
    measured = {
        Way("torch", "float32"): Found(0.020, 0.0),
        Way("onnx", "float32"): Found(0.010, 0.01),
        Way("onnx", "int8"): Found(0.005, 0.8),
        Way("openvino", "int8"): Found(0.004, 0.5),
    }
    chosen, why = ways.choose("", measured)
    assert chosen == ("onnx", "float32")
    assert why == {
        "torch float32": "slower: 20.00 ms, against 10.00",
        "onnx int8": "CIEDE2000 0.80, not below 0.5",
        "openvino int8": "CIEDE2000 0.50, not below 0.5",
    }


def test_a_way_that_is_hardly_faster_does_not_cost_colors() -> None:
    measured = {
        Way("torch", "float32"): Found(0.020, 0.0),
        Way("openvino", "float32"): Found(0.0109, 0.02),
        Way("openvino", "bfloat16"): Found(0.0105, 0.04),  # no worse to the eye, and faster
        Way("openvino", "int8"): Found(0.0100, 0.3),
    }
    chosen, why = ways.choose("", measured)
    assert chosen == ("openvino", "bfloat16")
    assert why["openvino int8"] == "hardly faster, and less true: 10.00 ms, against 10.50"
    assert why["openvino float32"] == "slower: 10.90 ms, against 10.50"
    chosen, _ = ways.choose("", measured | {Way("openvino", "int8"): Found(0.0095, 0.3)})
    assert chosen == ("openvino", "int8")


def test_a_way_that_is_far_off_on_record_is_not_chosen(tiny: Colorizer[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    key = backends.key_of(tiny)
    table = {"made.up": {"sha256": key, "openvino": {"bfloat16": 0.6211}}}
    monkeypatch.setattr(likeness, "_records", lambda: table)
    measured = {
        Way("torch", "float32"): Found(0.020, 0.0),
        Way("openvino", "bfloat16"): Found(0.005, 0.459),
    }
    chosen, why = ways.choose(key, measured)
    assert ways.remember(tiny, measured) == chosen == ("torch", "float32")
    assert why == {"openvino bfloat16": "CIEDE2000 0.62 on record of these weights, not below 0.5"}
    assert backends.choose(tiny, dtype="bfloat16") == ("openvino", "bfloat16")  # asked for by name
    assert ways.choose("of other weights", measured)[0] == ("openvino", "bfloat16")
    assert ways.choose(key, {Way("openvino", "bfloat16"): Found(0.005, 0.459)})[0] is None


def test_a_model_without_a_network_has_one_way() -> None:
    found, why = ways.of("grayscale")
    assert found == [ways.REFERENCE]
    assert len(why) == 6
    assert set(why.values()) == {"the model has no network that could be run otherwise"}
    assert len(ways.of("regression.alpha")[0]) > 2


def test_what_is_remembered_is_what_auto_takes(tiny: Colorizer[Any]) -> None:
    measured = {
        Way("torch", "float32"): Found(0.010, 0.0),
        Way("torch", "bfloat16"): Found(0.005, 0.6),
        Way("onnx", "int8"): Found(0.0095, 0.3),
    }
    assert ways.remember(tiny, measured) == ways.choose(backends.key_of(tiny), measured)[0] == ("torch", "float32")


def test_own_pictures_that_cannot_be_read_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(ZooError, match=r"no picture that can be read; found: 1 that cannot"):
        subjects.true_pictures(tmp_path, 1)
    for name in ("b.png", "c.png"):
        subjects.photo(30, 20).save(tmp_path / name)
    assert len(subjects.true_pictures(tmp_path, 1)) == 1
    assert len(subjects.true_pictures(tmp_path, 9)) == 2
    assert "left out: " in caplog.text
    assert "a.jpg" in caplog.text


def test_own_pictures_are_made_small(tmp_path: Path) -> None:
    subjects.photo(1200, 800).save(tmp_path / "a.png")
    Image.new("L", (30, 20), 99).save(tmp_path / "b.png")
    large, grey = subjects.true_pictures(tmp_path, 9)
    assert large.shape == (209, 314, 3)
    assert grey.shape == (20, 30, 3)
    assert len(subjects.true_pictures(tmp_path, 1)) == 1
    assert len(subjects.true_pictures(None, 9)) == len(photos.JUDGED)
