"""`colorzoo export`: files for other programs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from zoo import contract, images
from zoo.backends import export as onnx_export
from zoo.backends import publish
from zoo.bench import subjects
from zoo.cli import app
from zoo.colorizer import Colorizer
from zoo.errors import OptionError

NAME = "regression.alpha"  # the smallest that is packaged


def _run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["export", *arguments])
    return result.exit_code, result.output


def test_onnx_says_what_it_is(tmp_path: Path) -> None:
    import onnx

    file = tmp_path / "alpha.onnx"
    code, said = _run(NAME, "--out", str(file), "--opset", "18")
    assert code == 0, said
    assert "opset 18" in said
    assert "largest difference from torch" in said
    proto = onnx.load(file)
    onnx.checker.check_model(proto)
    assert {entry.domain: entry.version for entry in proto.opset_import}[""] == 18
    known = {entry.key: entry.value for entry in proto.metadata_props}
    assert known["model"] == NAME
    assert known["opset"] == "18"
    assert len(known["weights_sha256"]) == 64
    assert (known["working_size"], known["multiple_of"]) == ("256", "32")
    assert "lightness" in known["input"]
    dims = [d.dim_param for d in proto.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["n", "", "h", "w"]
    assert _names(tmp_path) == ["alpha.onnx"]


def test_openvino_reads_its_own_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    monkeypatch.setattr(openvino, "convert_model", lambda *_: pytest.fail("it sends telemetry"))
    file = tmp_path / "alpha.xml"
    code, said = _run(NAME, "--out", str(file))
    assert code == 0, said
    assert _names(tmp_path) == ["alpha.bin", "alpha.xml"]
    network = openvino.Core().read_model(file)
    assert network.get_rt_info(["colorzoo", "model"]).astype(str) == NAME
    compiled = openvino.Core().compile_model(network, "CPU")
    assert compiled(np.zeros((2, 1, 64, 96), np.float32))[0].shape == (2, 2, 64, 96)


@pytest.mark.parametrize(
    ("arguments", "made"),
    [
        ([], [f"{NAME}.onnx"]),
        (["--format", "onnx"], [f"{NAME}.onnx"]),
        (["--format", "openvino"], [f"{NAME}.bin", f"{NAME}.xml"]),
        (["-o", "noext", "--format", "onnx"], ["noext.onnx"]),
        (["-o", "sub/", "--format", "openvino"], ["sub.bin", "sub.xml"]),
    ],
)
def test_names_that_need_not_be_given(
    arguments: list[str], made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = _run(NAME, *arguments)
    assert code == 0, said
    assert all(name in said for name in made)
    assert _names(tmp_path) == made
    code, said = _run(NAME, *arguments)
    assert code == 2
    assert "exists already" in said


def test_a_model_in_a_folder_goes_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Colorizer[Any]
) -> None:
    tiny.save(tmp_path / "saved")
    monkeypatch.chdir(tmp_path)
    code, said = _run("local-dir:saved")
    assert code == 0, said
    assert _names(tmp_path) == [f"{tiny.spec.name}.onnx", "saved"]


def test_what_exists_is_kept_unless_forced(tmp_path: Path) -> None:
    file = tmp_path / "alpha.onnx"
    file.write_text("mine")
    code, said = _run(NAME, "--out", str(file))
    assert code == 2
    assert "exists already" in said
    assert file.read_text() == "mine"
    code, _ = _run(NAME, "--out", str(file), "--force")
    assert code == 0
    assert file.stat().st_size > 50_000


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "x"], "no format"),
        (["--out", "", "--format", "onnx"], "not the name of a file"),
        (["--format", "tflite"], "unknown format"),
        (["--out", "x.onnx", "--format", "tflite"], "unknown format"),
        (["--out", "x.bin", "--format", "onnx"], "ends in .onnx"),
        (["--out", "x.onnx", "--opset", "3"], "bad opset"),
        (["--out", "x.onnx", "--dtype", "bfloat16"], "float32 or int8"),
        (["--out", "no/such/x.onnx"], "no such folder"),
    ],
)
def test_what_is_refused_leaves_nothing(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, output = _run(NAME, *arguments)
    assert code == 2
    assert said in output
    assert _names(tmp_path) == []


def test_a_file_that_differs_from_torch_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = onnx_export.ort_run
    monkeypatch.setattr(
        onnx_export, "ort_run", lambda *a: lambda L: {name: out * 1.01 for name, out in right(*a)(L).items()}
    )
    code, said = _run(NAME, "--out", str(tmp_path / "alpha.onnx"))
    assert code == 2
    assert "differs from torch by" in said
    assert _names(tmp_path) == []


def test_int8_that_paints_otherwise_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_picture: Callable[..., np.ndarray]
) -> None:
    model = contract.maker("regression")().eval()
    pictures = [make_picture(48, 64)]
    file = tmp_path / "tiny.onnx"
    monkeypatch.setattr(publish, "BOUND", 0.0)
    with pytest.raises(OptionError, match="in int8 paints other pictures"):
        publish.export(model, file, "onnx", dtype="int8", pictures=pictures)
    assert _names(tmp_path) == []
    monkeypatch.setattr(publish, "BOUND", 100.0)
    done = publish.export(model, file, "onnx", dtype="int8", pictures=pictures)
    assert "CIEDE2000" in done.said
    assert done.size_bytes == file.stat().st_size


def test_int8_is_calibrated_on_what_can_be_read_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, seen, read = tmp_path / "photos", [], images.read
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(images, "read", lambda path: seen.append(path.name) or read(path))
    int8 = ["--dtype", "int8", "--calibrate", "photos"]
    monkeypatch.setattr(publish, "quantized", lambda content, model, pictures: [*pictures] and content)
    code, said = _run(NAME, *int8)
    assert code == 2
    assert "no picture that can be read" in said
    assert _names(tmp_path) == ["photos"]
    subjects.photo(1500, 1000).save(photos / "b.png")
    sizes: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        publish, "quantized", lambda content, model, pictures: sizes.extend(p.shape for p in pictures) or content
    )
    code, said = _run(NAME, *int8)
    assert code == 0, said
    assert "left out: " in said
    assert "a.jpg" in said
    assert [h * w <= 512 * 512 for h, w, _ in sizes] == [True]
    seen.clear()
    code, said = _run(NAME, "--calibrate", "photos", "--force")
    assert code == 2
    assert "--calibrate is for int8" in said
    assert seen == []


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
