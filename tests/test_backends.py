"""Networks on torch, onnxruntime and OpenVINO: equal answers, the choice between them, and what is refused."""

import importlib.util
import logging
import pickle
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import zoo
from zoo import backends, contract, registry
from zoo.backends import choice, export, files, kinds, likeness, network, photos, publish, quantizing
from zoo.backends.choice import Measured
from zoo.cli import app
from zoo.colorizer import Colorizer
from zoo.errors import OptionError, ZooError
from zoo.runnable import has_fast_bf16, inference_autocast

FAMILIES = [name for name in registry.list_models() if name != "grayscale"]
KEY = "0" * 64


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    return tmp_path / "colorzoo" / "backends"


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`without("openvino")`: as if the package were not installed."""

    def hide(*packages: str) -> None:
        find = importlib.util.find_spec
        monkeypatch.setattr(kinds, "find_spec", lambda name: None if name in packages else find(name))

    return hide


def _raw(model: Colorizer[Any], L: torch.Tensor) -> dict[str, torch.Tensor]:
    with torch.inference_mode():
        return network.named(model(L))


def _model(name: str) -> Colorizer[Any]:
    model = contract.maker(name)().eval()
    model.weights = None
    return model


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_answers_alike_on_each_backend(name: str) -> None:
    model = _model(name)
    side = max(32, model.spec.multiple_of)
    inputs = [torch.rand(n, 1, h * side, w * side) * 100 for n, h, w in ((1, 2, 2), (2, 1, 3), (3, 2, 1))]
    expected = [_raw(model, L) for L in inputs]
    for backend in ("onnx", "openvino"):
        assert backends.attach(model, backend, "float32") is model
        assert (model.backend, model.dtype) == (backend, "float32")
        for L, answers in zip(inputs, expected, strict=True):
            found = _raw(model, L)
            assert found.keys() == answers.keys()
            for key, tensor in answers.items():
                bound = 1e-3 * float(tensor.abs().max())
                torch.testing.assert_close(found[key], tensor, atol=bound, rtol=0)
    assert model.runner is not None or all(part.runner is not None for part in model.parts)


def test_the_runner_is_what_answers(make_picture: Callable[..., Any]) -> None:
    model = _model("fusion")
    picture = make_picture(40, 60)
    before = model.colorize_array(picture, style="vivid")
    backends.attach(model, "onnx", "float32")
    runner, calls = model.runner, []
    assert runner is not None
    model.runner = lambda L, **asked: calls.append(asked) or runner(L, **asked)  # type: ignore[func-returns-value]
    after = model.colorize_array(picture, style="vivid")
    assert len(calls) == 1
    assert np.abs(before.astype(int) - after).max() <= 1
    model.colorize_array(picture, style="vivid", views=2)
    assert len(calls) == 3
    model(torch.zeros(1, 1, 32, 32))  # a gradient is wanted: torch's business
    assert len(calls) == 3
    model.colorize_array(picture, style="faithful")
    assert calls == [{"first": False}] * 3 + [{"first": True}]


@pytest.mark.parametrize("name", ["fusion", "siggraph17"])
@pytest.mark.parametrize("backend", ["torch", "onnx", "openvino"])
def test_the_first_answer_alone_is_that_of_all(name: str, backend: str) -> None:
    model = _model(name)
    L = torch.rand(2, 1, 32, 64) * 100
    with torch.inference_mode():
        expected, _ = model(L)
        backends.attach(model, backend, "float32")
        torch.testing.assert_close(model(L, first=True), expected, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(model(L)[0], expected, atol=1e-3, rtol=1e-3)


def test_torch_leaves_out_what_the_first_answer_does_not_need(monkeypatch: pytest.MonkeyPatch) -> None:
    model: Any = _model("fusion")
    head, widths = model._head, []
    monkeypatch.setattr(model, "_head", lambda *args: widths.append(head(*args).shape[1]) or head(*args))
    with torch.inference_mode():
        model(torch.zeros(1, 1, 32, 32), first=True)
        model(torch.zeros(1, 1, 32, 32))
    assert widths == [2, 2, 261]


def test_openvino_compiles_all_outputs_when_they_are_asked_for() -> None:
    model = backends.attach(_model("fusion"), "openvino", "float32")
    runner: Any = model.runner
    L = torch.rand(1, 1, 32, 32) * 100
    runner(L, first=True)
    assert runner._whole is None
    ab, logits = runner(L)
    assert (ab.shape[1], logits.shape[1] > 200) == (2, True)
    assert runner._whole is not None
    single: Any = backends.attach(_model("regression"), "openvino", "float32").runner
    assert single._whole is single._first


def test_the_last_convolution_before_each_output_stays_in_floating_point() -> None:
    import onnx

    model = _model("fusion")
    graph = onnx.load_from_string(export.to_onnx(model)).graph
    picked = quantizing._nodes(graph)
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    heads = [node.name for node in convolutions if _outputs(graph, node) in (2, 261)]
    assert len(heads) == 2
    assert picked
    assert not set(heads) & set(picked)


def _outputs(graph: Any, node: Any) -> int:
    return next((tensor.dims[0] for tensor in graph.initializer if tensor.name == node.input[1]), 0)


def test_hints_still_reach_siggraph17() -> None:
    model = _model("siggraph17")
    L, hints = torch.rand(1, 1, 32, 32) * 100, torch.zeros(1, 3, 32, 32)
    hints[:, 0, 8:16, 8:16], hints[:, 2, 8:16, 8:16] = 60.0, 1.0
    with torch.inference_mode():
        told, plain = model.predict_ab(L, hints=hints), model.predict_ab(L)
        backends.attach(model, "onnx", "float32")
        torch.testing.assert_close(model.predict_ab(L, hints=hints), told)
        torch.testing.assert_close(model.predict_ab(L), plain, atol=1e-3, rtol=1e-3)
    assert not torch.equal(told, plain)


def test_other_weights_and_training_bring_torch_back() -> None:
    model = backends.attach(_model("regression"), "onnx", "float32")
    model.load_state_dict(model.state_dict())
    assert (model.backend, model.dtype, model.runner) == ("torch", "float32", None)
    backends.attach(model, "onnx", "float32").train()
    assert (model.backend, model.dtype, model.runner) == ("torch", "float32", None)


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_int8_runs_and_is_near(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few = photos.calibration()[:3]
    monkeypatch.setattr(photos, "calibration", lambda: few)
    model = _model("regression")
    model.spec = replace(model.spec, working_size=64)
    L = torch.rand(1, 1, 64, 64) * 100
    expected = _raw(model, L)["output"]
    backends.attach(model, backend, "int8")
    found = _raw(model, L)["output"]
    assert 0 < (found - expected).abs().max() < 0.3 * expected.abs().max()


def test_int8_is_calibrated_on_others_than_it_is_judged_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = [photos.small(picture) for picture in photos.calibration()]
    apart = [np.abs(one[:64, :64].astype(int) - other[:64, :64]).mean() for one in small for other in photos.judged()]
    assert min(apart) > 5
    asked: list[Any] = []
    monkeypatch.setattr(publish, "fidelity", lambda one, other, pictures: asked.extend(pictures) or 0.1)
    own = np.zeros((64, 64, 3), np.uint8)
    publish.export(_model("regression"), tmp_path / "x.onnx", "onnx", dtype="int8", pictures=iter([own]))
    assert len(asked) == len(photos.JUDGED)
    assert all(np.array_equal(one, other) for one, other in zip(asked, photos.judged(), strict=True))


def test_a_network_without_convolutions_to_quantize_is_refused() -> None:
    class Small(Colorizer[Any]):
        def __init__(self) -> None:
            super().__init__(None)
            self.conv = torch.nn.Conv2d(1, 2, 1)

        def forward(self, L: Any, features: Any = None) -> Any:
            return self.conv(L)

        def loss(self, *_: Any) -> Any: ...

        predict_ab = forward

    model = Small().eval()
    model.spec = registry.find("regression")[0]
    with pytest.raises(OptionError, match="nothing to quantize; found: convolutions that all stay in floating point"):
        backends.attach(model, "onnx", "int8")


class _Unexportable(Colorizer[Any]):
    """What it answers depends on a size that tracing takes for a constant."""

    def __init__(self) -> None:
        super().__init__(None)
        self.conv = torch.nn.Conv2d(1, 2, 1)

    def forward(self, L: Any, features: Any = None) -> Any:
        return self.conv(L) * float(L.shape[3])

    def loss(self, *_: Any) -> Any: ...

    predict_ab = forward


def test_a_network_that_cannot_be_exported_is_refused_by_name() -> None:
    model = _Unexportable().eval()
    model.spec = replace(registry.find("regression")[0], name="odd")
    with pytest.raises(OptionError, match=r"'odd'.*differs from torch.*backend='torch'"):
        backends.attach(model, "onnx", "float32")
    assert model.backend == "torch"
    assert not list(choice.folder().rglob("*.onnx"))


def _odd(forward: Callable[[Any, Any], Any]) -> Colorizer[Any]:
    model = type("_Odd", (_Unexportable,), {"forward": lambda self, L, features=None: forward(self, L)})().eval()
    model.spec = replace(registry.find("regression")[0], name="odd")
    return model


@pytest.mark.parametrize(
    ("forward", "said"),
    [
        (lambda self, L: {"ab": self.conv(L)}, r"found: forward\(\) gives a dict; expected: a tensor, or tuples"),
        (lambda self, L: (self.conv(L), None), r"found: forward\(\) gives a NoneType as output_1;"),
        (
            lambda self, L: self.conv(torch.fft.irfft2(torch.fft.rfft2(L))),
            r"UnsupportedOperatorError: .*aten::fft_rfft2",
        ),
    ],
)
def test_what_cannot_be_exported_is_said_in_one_line(
    forward: Callable[[Any, Any], Any], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OptionError, match=said) as refused:
        export.to_onnx(_odd(forward))
    assert "\n" not in str(refused.value)
    assert capfd.readouterr() == ("", "")  # torch prints the whole graph


INTERRUPTED = """
import signal
import sys
from pathlib import Path
from zoo.backends.runners import OpenvinoRunner

signal.signal(signal.SIGINT, signal.default_int_handler)  # which shells take from what runs in the background
runners = [OpenvinoRunner(Path(sys.argv[1]), 1, "f32") for _ in range(2)]
del runners[0], runners[0]  # the older one first
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("heard")
"""


def test_ctrl_c_is_heard_when_networks_on_openvino_are_gone(tmp_path: Path) -> None:
    file = tmp_path / "network.onnx"
    file.write_bytes(export.to_onnx(_model("regression")))
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr


def test_several_threads_at_once() -> None:
    model = backends.attach(_model("regression"), "openvino", "float32")
    inputs = [torch.full((1, 1, 32, 32), float(n)) for n in range(8)]
    expected = [_raw(model, L)["output"] for L in inputs]

    def work(n: int) -> None:
        for _ in range(5):
            assert torch.equal(_raw(model, inputs[n])["output"], expected[n])

    assert _in_threads(8, work) == []


def _in_threads(count: int, work: Callable[[int], object]) -> list[Exception]:
    """What goes wrong when so many threads work at once."""
    wrong: list[Exception] = []
    start = threading.Barrier(count)

    def run(n: int) -> None:
        start.wait()
        try:
            work(n)
        except Exception as error:  # failed assertions too
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


# The cache


def test_several_models_can_be_loaded_at_once() -> None:
    models = [_model("regression") for _ in range(4)]
    for n, model in enumerate(models):  # whose files are not the same
        with torch.no_grad():
            next(model.parameters()).add_(n)
    assert _in_threads(4, lambda n: backends.attach(models[n], "onnx", "float32")) == []
    assert all(model.runner is not None for model in models)


def test_the_root_logger_is_as_before_when_several_are_quantized() -> None:
    root = logging.getLogger()
    before = root.level
    inside = threading.Event()

    def work(n: int) -> None:
        if n == 1:
            inside.wait(5)
        with quantizing._quiet():
            inside.set()
            time.sleep(0.05 * (n + 1))

    assert _in_threads(2, work) == []
    after = root.level
    root.setLevel(before)
    assert after == before


def test_the_second_load_exports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model("regression")
    first = files.network_file(model, "float32")
    monkeypatch.setattr(export, "to_onnx", lambda *_: pytest.fail("exported again"))
    assert files.network_file(model, "float32") == first


def test_a_damaged_file_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    model = _model("regression")
    path = files.network_file(model, "float32")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert files.network_file(model, "float32") == path
    export.check(model, export.ort_run(path.read_bytes(), 1), "file")
    assert "damaged" in caplog.text


def test_other_weights_have_another_file() -> None:
    one, other = _model("regression"), _model("regression")
    with torch.no_grad():
        next(other.parameters()).add_(1)
    assert files.network_file(one, "float32") != files.network_file(other, "float32")


# The choice


@pytest.fixture
def weighed() -> Colorizer[Any]:
    model = _model("regression")
    model.weights = replace(registry.find("regression")[0].weights[0], sha256=KEY)
    return model


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """`record(0.2)`: what is on record of torch in bfloat16; and a CPU that has it."""

    def set_record(found: float) -> None:
        table = {"made.up": {"sha256": KEY, "torch": {"bfloat16": found}, "openvino": {"bfloat16": found}}}
        monkeypatch.setattr(likeness, "_records", lambda: table)
        monkeypatch.setattr(choice, "has_fast_bf16", lambda: True)

    return set_record


def test_nothing_measured_and_nothing_recorded_is_torch_in_float32(weighed: Colorizer[Any]) -> None:
    assert backends.choose(weighed) == ("torch", "float32")
    assert backends.choose(weighed, "openvino") == ("openvino", "float32")


@pytest.mark.parametrize(("found", "dtype"), [(0.49, "bfloat16"), (0.5, "float32"), (float("nan"), "float32")])
def test_the_record_allows_bfloat16(weighed: Colorizer[Any], record: Any, found: float, dtype: str) -> None:
    record(found)
    assert backends.choose(weighed) == ("torch", dtype)
    assert backends.choose(weighed, "openvino") == ("openvino", dtype)
    assert backends.choose(weighed, "onnx") == ("onnx", "float32")
    assert backends.choose(weighed, "torch", "float32") == ("torch", "float32")


def test_a_cpu_without_bfloat16_computes_in_float32(
    weighed: Colorizer[Any], record: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(0.1)
    monkeypatch.setattr(choice, "has_fast_bf16", lambda: False)
    assert backends.choose(weighed) == ("torch", "float32")


def test_auto_takes_the_fastest_that_is_true(weighed: Colorizer[Any], without: Callable[..., None]) -> None:
    found = [
        Measured("torch", "float32", 40.0, 0.0),
        Measured("torch", "bfloat16", 30.0, 0.2),
        Measured("openvino", "bfloat16", 15.0, 0.3),
        Measured("onnx", "int8", 10.0, 2.0),
        Measured("openvino", "int8", 9.0, float("nan")),
    ]
    path = backends.keep(KEY, found)
    assert path.is_file()
    assert backends.measured(KEY)[:4] == found[:4]
    assert backends.choose(weighed) == ("openvino", "bfloat16")
    assert backends.choose(weighed, dtype="float32") == ("torch", "float32")
    assert backends.choose(weighed, "torch") == ("torch", "float32")  # by the record alone, and there is none
    assert backends.choose(weighed, dtype="int8") == ("openvino", "int8")  # asked for by name
    without("openvino")
    assert backends.choose(weighed) == ("torch", "bfloat16")


def test_measurements_are_of_this_setting(weighed: Colorizer[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    path = backends.keep(KEY, [Measured("onnx", "float32", 1.0, 0.0)])
    assert backends.choose(weighed) == ("onnx", "float32")
    monkeypatch.setattr(kinds, "versions", lambda: {"torch": "1"})
    assert backends.choose(weighed) == ("torch", "float32")
    monkeypatch.undo()
    monkeypatch.setattr(choice, "folder", lambda: path.parent.parent)
    path.write_text("{", encoding="utf-8")
    assert backends.choose(weighed) == ("torch", "float32")


def test_the_nearest_number_of_threads_counts_where_nothing_else_was_measured(
    weighed: Colorizer[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def with_threads(number: int) -> None:
        monkeypatch.setattr(torch, "get_num_threads", lambda: number)

    with_threads(8)
    eight = backends.keep(KEY, [Measured("onnx", "float32", 1.0, 0.0)])
    with_threads(1)  # as a worker of `batch` has
    assert backends.choose(weighed) == ("onnx", "float32")
    with_threads(3)
    three = backends.keep(KEY, [Measured("openvino", "float32", 9.0, 0.0)])
    assert len({eight, three}) == 2
    for number, backend in ((1, "openvino"), (3, "openvino"), (5, "openvino"), (6, "onnx"), (77, "onnx")):
        with_threads(number)
        assert backends.choose(weighed)[0] == backend, number
    three.write_text("{", encoding="utf-8")
    with_threads(3)
    assert backends.choose(weighed) == ("onnx", "float32")
    assert "damaged" in caplog.text
    backends.keep(KEY, [Measured("torch", "float32", 9.0, 0.0)])
    assert backends.choose(weighed) == ("torch", "float32")


def test_fidelity_sees_a_bad_backend(make_picture: Callable[..., Any]) -> None:
    reference, model = _model("fusion"), _model("fusion")
    pictures = [make_picture(48, 48, seed=n) for n in range(2)]
    assert backends.fidelity(backends.attach(model, "onnx", "float32"), reference, pictures) < 0.05
    right = model.runner
    assert right is not None

    def wrong(L: torch.Tensor, *, first: bool = False) -> Any:
        ab, logits = right(L)
        return ab + 15 if first else (ab, logits)  # of the style faithful alone

    model.runner = wrong
    found = backends.fidelity(model, reference, pictures)
    assert found > backends.BOUND
    backends.keep(backends.key_of(reference), [Measured("onnx", "float32", 1.0, found)])
    assert backends.choose(reference) == ("torch", "float32")


# What is refused


@pytest.mark.parametrize(
    ("backend", "dtype", "said"),
    [
        ("tensorrt", "auto", "unknown backend"),
        ("torch", "float8", "unknown dtype"),
        ("torch", "int8", "has no int8"),
        ("onnx", "bfloat16", "has no bfloat16"),
    ],
)
def test_names_that_are_none(backend: str, dtype: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        zoo.load("regression.alpha", backend=backend, dtype=dtype)


@pytest.mark.parametrize(
    ("hidden", "backend", "dtype", "remedy"),
    [
        ("openvino", "openvino", "auto", r"colorzoo\[openvino\]"),
        ("onnxruntime", "onnx", "float32", r"colorzoo\[onnx\]"),
        ("onnxruntime", "openvino", "int8", r"colorzoo\[openvino,onnx\]"),
    ],
)
def test_what_is_not_installed_names_the_extra(
    without: Callable[..., None], hidden: str, backend: str, dtype: str, remedy: str
) -> None:
    without(hidden)
    with pytest.raises(OptionError, match=remedy):
        zoo.load("regression.alpha", backend=backend, dtype=dtype)
    assert (backend, dtype) not in backends.candidates(_model("regression"))


def test_other_devices_are_torch_s(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model("regression")
    monkeypatch.setattr(type(model), "device", torch.device("cuda"))
    assert backends.choose(model) == ("torch", "float32")
    assert {backend for backend, _ in backends.candidates(model)} == {"torch"}
    for asked in (("onnx", "float32"), ("auto", "int8")):
        with pytest.raises(OptionError, match="CPU only"):
            backends.choose(model, *asked)


def test_load_says_what_it_chose(make_picture: Callable[..., Any]) -> None:
    model = zoo.load("regression.alpha", backend="onnx")
    assert (model.backend, model.dtype) == ("onnx", "float32")
    plain = zoo.load("regression.alpha", backend="torch", dtype="float32")
    assert (plain.backend, plain.dtype, plain.runner) == ("torch", "float32", None)
    assert backends.fidelity(model, plain, [make_picture(64, 64)]) < 0.05


def test_every_packaged_weights_have_a_record() -> None:
    for name in ("fusion", "regression", "classification"):
        for weights in registry.find(name)[0].weights:
            for backend, dtype in (("torch", "bfloat16"), ("openvino", "bfloat16")):
                assert likeness.recorded(str(weights.sha256), backend, dtype) is not None, f"{name}.{weights.tag}"


def test_the_dtype_is_what_the_network_computes_in() -> None:
    seen = []
    model = _model("regression")
    model.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    with model.inference():
        model.predictor()(torch.zeros(1, 1, 32, 32))
        backends.attach(model, "torch", "bfloat16")
        model.predictor()(torch.zeros(1, 1, 32, 32))
    assert seen == [False, True]
    with inference_autocast(torch.device("cpu")):
        assert torch.is_autocast_enabled("cpu") == has_fast_bf16()


def test_the_record_is_written_by_a_command(tmp_path: Path, make_picture: Callable[..., Any]) -> None:
    from PIL import Image

    from training import fidelity

    photos = [tmp_path / f"{n}.png" for n in range(2)]
    for n, photo in enumerate(photos):
        Image.fromarray(make_picture(80, 64, seed=n)).save(photo)
    target = tmp_path / "fidelity.toml"
    target.write_text('["fusion.other"]\nsha256 = "1"\nonnx = { int8 = 0.1 }\n', encoding="utf-8")
    fidelity.record(["regression.alpha"], photos, target=target)
    table = tomllib.loads(target.read_text(encoding="utf-8"))
    assert table["fusion.other"] == {"sha256": "1", "onnx": {"int8": 0.1}}
    entry = table["regression.alpha"]
    assert entry["sha256"] == next(w.sha256 for w in registry.find("regression")[0].weights if w.tag == "alpha")
    assert entry["pictures"] == 2
    assert 0 < entry["onnx"]["int8"] < 5
    assert ("bfloat16" in entry.get("torch", {})) == has_fast_bf16()


def test_the_command_line_passes_them_on(
    tmp_path: Path, make_picture: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    photo, target = tmp_path / "grey.png", tmp_path / "color.png"
    Image.fromarray(make_picture(40, 48)).save(photo)
    asked = []
    attach = backends.attach
    monkeypatch.setattr(backends, "attach", lambda model, *pair: asked.append(pair) or attach(model, *pair))
    model = ["--model", "regression.alpha", "--backend", "onnx", "--dtype", "float32"]
    done = CliRunner().invoke(app, ["colorize", str(photo), "--out", str(target), *model])
    assert done.exit_code == 0, done.output
    assert asked == [("onnx", "float32")]
    for command in (["colorize", str(photo)], ["compare", str(photo)], ["video", str(photo)]):
        out = [str(tmp_path / "other.mp4")] if command[0] == "video" else ["--out", str(tmp_path / "other.png")]
        refused = CliRunner().invoke(app, [*command, *out, "--backend", "tensorrt"])
        assert refused.exit_code == 2
        assert "unknown backend" in refused.output


def test_show_says_what_was_measured() -> None:
    weights = next(w for w in registry.find("regression")[0].weights if w.tag == "alpha")
    backends.keep(str(weights.sha256), [Measured("onnx", "int8", 12.34, 0.456)])
    said = CliRunner().invoke(app, ["show", "regression"]).output
    assert "12.3 ms here, CIEDE2000 0.46" in said


def test_auto_does_without_a_backend_that_fails(
    cache: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = backends.key_of(zoo.load("regression.alpha", backend="torch", dtype="float32"))
    backends.keep(key, [Measured("onnx", "float32", 1.0, 0.0), Measured("torch", "float32", 2.0, 0.0)])
    (cache / "networks").write_text("in the way of the folder")
    assert zoo.load("regression.alpha", dtype="float32").backend == "torch"
    assert "torch runs it" in caplog.text
    with pytest.raises(ZooError, match="cannot be written"):
        zoo.load("regression.alpha", backend="onnx")
    (cache / "networks").unlink()

    def broken(*_: Any) -> Any:
        raise ImportError("libonnxruntime.so: no such file")

    monkeypatch.setattr("zoo.backends.runners.OnnxRunner.__init__", broken)
    with pytest.raises(OptionError, match="does not start"):
        zoo.load("regression.alpha", backend="onnx")


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_model_on_a_backend_can_go_to_another_process(backend: str, make_picture: Callable[..., Any]) -> None:
    model = zoo.load("regression.alpha", backend=backend, dtype="float32")
    other = pickle.loads(pickle.dumps(model))
    assert (other.backend, other.runner is model.runner) == (backend, False)
    picture = make_picture(48, 48)
    np.testing.assert_array_equal(other.colorize_array(picture), model.colorize_array(picture))


def test_on_another_device_torch_runs_it() -> None:
    model = zoo.load("regression.alpha", backend="onnx", dtype="float32")
    assert model.to(torch.float32).runner is not None
    model.to("meta")
    assert (model.backend, model.runner) == ("torch", None)


def test_openvino_needs_no_place_for_what_it_compiled(cache: Path, make_picture: Callable[..., Any]) -> None:
    cache.mkdir(parents=True)
    (cache / "openvino").write_text("in the way of the folder")
    model = zoo.load("regression.alpha", backend="openvino", dtype="float32")
    assert model.backend == "openvino"
    assert model.colorize_array(make_picture(48, 48)).shape == (48, 48, 3)


def test_a_network_without_a_source_file_is_made_again_when_its_code_changes() -> None:
    found = []
    for factor in (1, 2):
        families: dict[str, Any] = {"torch": torch}
        exec(f"class Made(torch.nn.Conv2d):\n def forward(self, x): return super().forward({factor} * x)", families)
        families["Made"].__module__ = "not_a_module"  # as in a notebook
        torch.manual_seed(0)
        model = _model("regression")
        first = next(m for m in model.modules() if type(m) is torch.nn.Conv2d)
        first.__class__ = families["Made"]
        found.append(files._fingerprint(model))
    assert found[0] != found[1]


def test_int8_without_vnni_is_warned_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    backends.attach(_model("regression"), "onnx", "float32")
    assert not caplog.records
    backends.attach(_model("regression"), "onnx", "int8")
    assert "without VNNI" in caplog.text
