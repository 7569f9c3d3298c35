import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, features
from typer.testing import CliRunner

from zoo import loading, registry
from zoo.cli import app
from zoo.colorizer import Batch, Colorizer, Loss
from zoo.errors import OptionError
from zoo.spec import ModelSpec, WeightsSpec

SIZE = (48, 32)  # width, height
COLORZOO = [sys.executable, "-m", "zoo.cli"]


def colorzoo(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [*COLORZOO, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, **options)


def call(*arguments: object) -> Any:
    """The command in this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def photo(seed: int = 0, size: tuple[int, int] = SIZE) -> Image.Image:
    """Smooth colours, so that JPEG keeps them."""
    small = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def grey16() -> Any:
    return np.linspace(0, 65535, SIZE[0] * SIZE[1]).astype(np.uint16).reshape(SIZE[1], SIZE[0])


def files_under(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# Files of every kind, in one run


def write_pictures(folder: Path) -> dict[str, str]:
    """One file of each kind; source name -> name of its result."""
    (folder / "sub").mkdir(parents=True)
    rgb, grey = photo(), photo().convert("L")
    alpha = Image.new("L", SIZE, 128)
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    grey_alpha = grey.copy()
    grey_alpha.putalpha(alpha)
    turned = Image.Exif()
    turned[0x0112] = 6
    rgb.save(folder / "rgb.jpg", quality=95)
    grey.save(folder / "grey.JPEG", quality=95)
    rgb.convert("CMYK").save(folder / "cmyk.jpg")
    rgb.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=turned)
    rgb.convert("1").save(folder / "one_bit.png")
    grey.save(folder / "grey.png")
    grey_alpha.save(folder / "grey_alpha.png")
    rgb.save(folder / "rgb.png")
    rgba.save(folder / "rgba.png")
    rgb.quantize(16).save(folder / "palette.png")
    rgba.quantize(16).save(folder / "palette_alpha.png")
    color16 = np.dstack([grey16(), grey16()[::-1], grey16()[:, ::-1]])
    (folder / "grey16.png").write_bytes(imagecodecs.png_encode(grey16()))
    (folder / "rgb16.png").write_bytes(imagecodecs.png_encode(color16))
    rgb.save(folder / "rgb.webp", quality=95)
    rgba.save(folder / "rgba.webp", lossless=True)
    rgb.save(folder / "sub" / "rgb.tif")
    grey.save(folder / "sub" / "grey.tiff", compression="tiff_lzw")
    rgb.convert("1").save(folder / "sub" / "one_bit.tif")
    rgb.convert("CMYK").save(folder / "sub" / "cmyk.tif")
    tifffile.imwrite(folder / "sub" / "rgb16.tif", color16, photometric="rgb")
    tifffile.imwrite(folder / "sub" / "grey16.tif", grey16(), photometric="minisblack")
    rgb.save(folder / "rgb.bmp")
    rgb.save(folder / "moving.gif", save_all=True, append_images=[photo(1)])
    rgb.quantize(16).save(folder / "same.gif")
    rgb.save(folder / "same.png")
    if features.check("avif"):
        rgb.save(folder / "rgb.avif")
    names = files_under(folder)
    return {n: n for n in names} | {"moving.gif": "moving.png", "same.gif": "same.gif.png"}


BAD = ("bad/empty.jpg", "bad/truncated.jpg", "bad/text.png")


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, str], Any]:
    """Folder of sources, folder of results, names, and the finished process."""
    root = tmp_path_factory.mktemp("kinds")
    names = write_pictures(root / "in")
    (root / "in" / "bad").mkdir()
    (root / "in" / BAD[0]).write_bytes(b"")
    (root / "in" / BAD[1]).write_bytes((root / "in" / "rgb.jpg").read_bytes()[:300])
    (root / "in" / BAD[2]).write_text("not a picture")
    (root / "in" / "notes.txt").write_text("not coloured")
    before = {name: (root / "in" / name).read_bytes() for name in files_under(root / "in")}
    process = colorzoo("colorize", root / "in", "--model", "grayscale", "--out", root / "out")
    assert before == {name: (root / "in" / name).read_bytes() for name in files_under(root / "in")}
    return root / "in", root / "out", names, process


def test_every_kind_has_its_result_and_nothing_else_is_written(every_kind: Any) -> None:
    _, out, names, process = every_kind
    assert files_under(out) == set(names.values()), process.stderr
    assert not (out / "bad").exists()


def test_bad_files_are_named_and_make_the_exit_code_1(every_kind: Any) -> None:
    source, _, names, process = every_kind
    assert process.returncode == 1
    assert process.stdout.startswith(f"{len(names)} done, 0 skipped, 3 failed")
    failures = [line for line in process.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failures) == len(BAD)
    for bad in BAD:
        (line,) = (line for line in failures if str(source / bad) in line)
        assert len(line) > len(f"failed: {source / bad}: ")
        assert line.count(str(source / bad)) == 1
    assert "Traceback" not in process.stderr


def test_results_are_upright_grey_and_of_the_same_size(every_kind: Any) -> None:
    _, out, names, _ = every_kind
    for name in names.values():
        with Image.open(out / name) as image:
            assert image.size == SIZE, name
            assert image.getexif().get(0x0112, 1) == 1, name
            channels = np.asarray(image.convert("RGB"), dtype=int)
            assert np.ptp(channels, axis=-1).max() <= 2, name  # lossy formats round chroma
            assert channels.std() > 20, name


@pytest.mark.parametrize("name", ["grey.png", "one_bit.png", "grey_alpha.png", "sub/grey.tiff", "sub/one_bit.tif"])
def test_grey_in_lossless_files_is_unchanged(every_kind: Any, name: str) -> None:
    source, out, _, _ = every_kind
    with Image.open(source / name) as before, Image.open(out / name) as after:
        expected = np.asarray(before.convert("L"), dtype=int)
        assert np.abs(np.asarray(after.convert("RGB")) - expected[..., None]).max() <= 1


@pytest.mark.parametrize("name", ["rgba.png", "grey_alpha.png", "palette_alpha.png", "rgba.webp"])
def test_alpha_is_kept(every_kind: Any, name: str) -> None:
    source, out, _, _ = every_kind
    with Image.open(source / name) as before, Image.open(out / name) as after:
        expected = np.asarray(before.convert("RGBA"))[..., 3]
        np.testing.assert_array_equal(np.asarray(after.convert("RGBA"))[..., 3], expected)


def test_16_bits_stay_16_bits(every_kind: Any) -> None:
    _, out, _, _ = every_kind
    png = imagecodecs.png_decode((out / "grey16.png").read_bytes())
    tiff = tifffile.imread(out / "sub" / "grey16.tif")
    for pixels in (png, tiff):
        assert pixels.dtype == np.uint16
        assert np.abs(pixels.reshape(*pixels.shape[:2], -1)[..., 0].astype(int) - grey16()).max() <= 64
    assert imagecodecs.png_decode((out / "rgb16.png").read_bytes()).dtype == np.uint16
    assert tifffile.imread(out / "sub" / "rgb16.tif").dtype == np.uint16


def test_a_second_run_skips_what_is_there(every_kind: Any) -> None:
    source, out, names, _ = every_kind
    before = {name: (out / name).stat().st_mtime_ns for name in names.values()}
    result = call("colorize", source, "-m", "grayscale", "-o", out)
    assert result.exit_code == 1
    assert result.stdout.startswith(f"0 done, {len(names)} skipped, 3 failed")
    assert before == {name: (out / name).stat().st_mtime_ns for name in names.values()}


# One process each


def test_help_answers_without_torch() -> None:
    code = """if True:
        import sys
        from zoo.cli import main
        try:
            main()
        except SystemExit as end:
            heavy = {"torch", "numpy", "timm"} & set(sys.modules)
            sys.exit(f"imported {heavy}" if heavy else end.code)
    """
    for arguments in (["--help"], ["-h"], ["colorize", "--help"], ["--version"]):
        process = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert process.returncode == 0, process.stderr
        assert "colorzoo" in process.stdout


def test_a_broken_pipe_is_quiet() -> None:
    process = subprocess.Popen([*COLORZOO, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait(60)


def test_interrupted_it_stops_cleanly_and_can_go_on(tmp_path: Path) -> None:
    photo(size=(800, 600)).save(tmp_path / "photo.png")
    photos, out = tmp_path / "in", tmp_path / "out"
    photos.mkdir()
    for i in range(400):
        shutil.copy(tmp_path / "photo.png", photos / f"{i:03}.png")
    command = [*COLORZOO, "colorize", str(photos), "--model", "grayscale", "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        give_up = time.monotonic() + 200
        while not list(out.glob("*.png")) and process.poll() is None and time.monotonic() < give_up:
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    done = files_under(out)
    assert 0 < len(done) < 400
    assert done <= files_under(photos), "a temporary file was left"
    for name in done:
        with Image.open(out / name) as image:
            image.load()
    assert f"interrupted: {len(done)} done, 0 skipped, 0 failed, {400 - len(done)} left" in errors
    assert "Traceback" not in errors


# In this process


@dataclass(frozen=True)
class TintConfig:
    strength: float = 30.0

    @classmethod
    def tiny(cls) -> "TintConfig":
        return cls()


class Tint(Colorizer[TintConfig]):
    """One colour everywhere: red or blue; more of it at a higher temperature."""

    def forward(self, L: torch.Tensor, features: Any = None) -> torch.Tensor:
        return torch.zeros_like(L).repeat(1, 2, 1, 1)

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        raise AssertionError

    def check_options(self, **options: Any) -> None:
        super().check_options(**options)
        if options.get("style") == "red" and options.get("temperature") is not None:
            raise OptionError("style 'red' takes no temperature")

    def predict_ab(self, L: torch.Tensor, **options: Any) -> torch.Tensor:
        ab = self(L)
        strength = self.config.strength * options.get("temperature", 1.0)
        ab[:, 1 if options.get("style") == "blue" else 0] = -strength if options.get("style") == "blue" else strength
        return ab


@pytest.fixture
def tint(monkeypatch: pytest.MonkeyPatch) -> str:
    """A registered model with two styles, a temperature and weights on paper."""
    registry.list_models()
    monkeypatch.setattr(registry, "_models", dict(registry._models))
    weights = WeightsSpec(
        tag="v1",
        sha256=None,
        size_bytes=2_500_000,
        license="CC0-1.0",
        commercial_use=True,
        training_data=("nothing",),
        source_url=None,
        convert_from="https://example.org/weights.pth",
    )
    registry.register(
        ModelSpec(
            name="tint",
            summary="One colour",
            config=TintConfig(),
            weights=(weights,),
            working_size=32,
            multiple_of=1,
            supports=frozenset({"style", "temperature"}),
            styles=("red", "blue"),
        )
    )(Tint)
    return "tint"


@pytest.fixture
def grey_jpeg(tmp_path: Path) -> Path:
    path = tmp_path / "grey.jpg"
    photo().convert("L").save(path)
    return path


def mean_ab_signs(path: Path) -> tuple[float, float]:
    """Red minus green and blue minus green, on average."""
    with Image.open(path) as image:
        red, green, blue = np.asarray(image.convert("RGB"), dtype=float).mean((0, 1))
    return red - green, blue - green


def test_one_file_to_one_file(tint: str, grey_jpeg: Path, tmp_path: Path) -> None:
    result = call("colorize", grey_jpeg, "--model", tint, "--out", tmp_path / "new" / "red.png")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"1 done, 0 skipped, 0 failed: {tmp_path / 'new' / 'red.png'}\n"
    assert result.stderr == ""
    assert mean_ab_signs(tmp_path / "new" / "red.png")[0] > 20


def test_options_reach_the_model(tint: str, grey_jpeg: Path, tmp_path: Path) -> None:
    def reddish(*options: str) -> float:
        out = tmp_path / f"red{'_'.join(options)}.png"
        assert call("colorize", grey_jpeg, "-m", tint, "-o", out, *options).exit_code == 0
        return mean_ab_signs(out)[0]

    plain = reddish()
    assert reddish("--saturation", "0.5") < 0.7 * plain
    assert reddish("--temperature", "0.5") < 0.7 * plain
    assert reddish("--style", "blue") < 0.5 * plain
    assert reddish("--working-size", "64") == pytest.approx(plain, abs=1)
    out = [tmp_path / f"{quality}.jpg" for quality in (10, 95)]
    for path, quality in zip(out, (10, 95), strict=True):
        assert call("colorize", grey_jpeg, "-m", tint, "-o", path, "--quality", quality).exit_code == 0
    assert out[0].stat().st_size < out[1].stat().st_size


@pytest.mark.parametrize("command", ["colorize", "compare"])
def test_views_reach_the_model(
    tint: str, grey_jpeg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    predict_ab, widths = Tint.predict_ab, []

    def watched(self: Tint, L: torch.Tensor, **options: Any) -> torch.Tensor:
        widths.append(L.shape[3])
        return predict_ab(self, L, **options)

    monkeypatch.setattr(Tint, "predict_ab", watched)
    for views, calls in ((), 1), (("--views", "2"), 2), (("--views", "4"), 4):
        widths.clear()
        model = "--model" if command == "colorize" else "--models"
        result = call(command, grey_jpeg, model, tint, "-o", tmp_path / f"{calls}.png", *views)
        assert result.exit_code == 0, result.output
        assert len(widths) == calls
    assert widths[2] < widths[0]


@pytest.mark.parametrize("out", ["folder", "result.png"])
def test_an_existing_result_of_a_single_input_needs_force(grey_jpeg: Path, tmp_path: Path, out: str) -> None:
    arguments = ("colorize", grey_jpeg, "-m", "grayscale", "-o", tmp_path / out)
    target = tmp_path / "result.png" if out == "result.png" else tmp_path / "folder" / "grey.jpg"
    target.parent.mkdir(exist_ok=True)
    target.write_text("old")
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {target}: exists already")
    assert "--force" in result.stderr
    assert target.read_text() == "old"
    assert call(*arguments, "--force").exit_code == 0
    with Image.open(target) as image:
        assert image.size == SIZE


def test_a_named_file_that_is_no_picture_fails(grey_jpeg: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("words")
    result = call("colorize", tmp_path / "notes.txt", grey_jpeg, "-m", "grayscale", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert result.stdout.startswith("1 done, 0 skipped, 1 failed")
    assert files_under(tmp_path / "out") == {"grey.jpg"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.jpg", "--out", "o"], "no such file"),
        (["grey.jpg", "--out", "grey.jpg", "--force"], "overwrite a source"),
        (["empty", "--out", "o"], "no pictures"),
        (["grey.jpg", "--out", "x" * 300 + ".png"], "cannot be written"),
        (["grey.jpg", "--out", "x" * 300], "cannot be written"),
        (["grey.jpg", "--out", "o.xyz"], "cannot be written as .xyz"),
        (["grey.jpg"], "--out"),
        (["--out", "o"], "INPUT"),
        (["grey.jpg", "--out", "o", "--model", "grayscal"], "did you mean 'grayscale'"),
        (["grey.jpg", "--out", "o", "--model", "owner/repo"], "hf-hub:owner/repo"),
        (["grey.jpg", "--out", "o", "--style", "vivid"], "has no option 'style'"),
        (["grey.jpg", "--out", "o", "--temperature", "0.3"], "has no option 'temperature'"),
        (["grey.jpg", "--out", "o", "--seed", "3"], "has no option 'seed'"),
        (["grey.jpg", "--out", "o", "--saturation", "-1"], "saturation"),
        (["grey.jpg", "--out", "o", "--saturation", "much"], "saturation"),
        (["grey.jpg", "--out", "o", "--working-size", "1"], "working size"),
        (["grey.jpg", "--out", "o", "--views", "3"], "expected: 1, 2 or 4"),
        (["grey.jpg", "--out", "o", "--model", "fusion", "--views", "2", "--seed", "1"], "seed 1 and views 2"),
        (["grey.jpg", "--out", "o", "--quality", "101"], "quality"),
        (["grey.jpg", "--out", "o", "--device", "toaster"], "toaster"),
    ],
)
def test_misuse_is_one_line_and_exit_code_2(
    grey_jpeg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    model = [] if "--model" in arguments else ["--model", "grayscale"]
    before = files_under(tmp_path)
    result = call("colorize", *arguments, *model)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    if result.stderr.startswith("error: "):
        assert result.stderr.count("\n") == 1
    assert files_under(tmp_path) == before
    assert not (tmp_path / "o").exists()


def test_a_bug_keeps_its_traceback(grey_jpeg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str, **options: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(loading, "load", broken)
    result = call("colorize", grey_jpeg, "-o", tmp_path / "o")
    assert isinstance(result.exception, RuntimeError)


# list, show


def test_list_names_every_model(tint: str) -> None:
    result = call("list")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.stdout.splitlines()}
    assert set(lines) == {"MODEL", *registry.list_models()}
    assert lines["grayscale"].split()[1:3] == ["not", "needed"]
    for shown in ("v1", "CC0-1.0", "yes", "2.5", "red|blue", "temperature", "One colour"):
        assert shown in lines["tint"]


def test_list_tells_untrained_from_weightless(tint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tint, "parameters", lambda self: iter([torch.zeros(1)]))
    spec = replace(registry.find(tint)[0], weights=())
    monkeypatch.setattr(registry, "find", lambda name: (spec, Tint))
    monkeypatch.setattr(registry, "list_models", lambda: [tint])
    assert call("list").stdout.splitlines()[1].split()[1:3] == ["not", "trained"]
    assert "not trained" in call("show", tint).stdout


def test_list_as_json(tint: str) -> None:
    specs = {spec["name"]: spec for spec in json.loads(call("list", "--json").stdout)}
    assert set(specs) == set(registry.list_models())
    assert specs["tint"]["styles"] == ["red", "blue"]
    assert specs["tint"]["weights"][0]["license"] == "CC0-1.0"


def test_show_tells_all(tint: str) -> None:
    text = call("show", tint).stdout
    for shown in ("One colour", "tint.v1 (default)", "CC0-1.0", "2500000", "strength", "red|blue"):
        assert shown in text
    shown = json.loads(call("show", tint, "--json").stdout)
    assert shown["config"] == {"strength": 30.0}
    assert shown["parameters"] == 0
    assert "no weights needed" in call("show", "grayscale").stdout


def test_show_of_an_unknown_model_offers_near_names() -> None:
    result = call("show", "fusoin")
    assert result.exit_code == 2
    assert "did you mean 'fusion'" in result.stderr


# compare


def columns_of(path: Path, cell: int) -> int:
    """How many pictures stand side by side on a sheet of wide pictures."""
    with Image.open(path) as image:
        gap = max(4, cell // 32)
        return round((image.width - gap) / (cell + gap))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    photo(1).save(folder / "color.png")
    photo(2).convert("L").save(folder / "grey.png")
    return folder


def test_compare_draws_grey_models_and_original(tint: str, pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "grid.png"
    result = call("compare", pictures, "--models", "tint:blue, tint:red", "--out", out, "--cell", 96)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"2 done, 0 failed: {out}\n"
    assert columns_of(out, 96) == 4
    with Image.open(out) as image:
        pixels = np.asarray(image, dtype=float)
    cells = [pixels[-66:-6, 6 + 100 * i : 96 + 100 * i] for i in range(4)]  # of the last row, the grey picture
    spread = [np.ptp(cell, axis=-1).max() for cell in cells]
    assert spread[0] == 0
    assert cells[1][..., 2].mean() > cells[1][..., 0].mean() + 10  # blue
    assert cells[2][..., 0].mean() > cells[2][..., 2].mean() + 10  # red
    assert spread[3] <= 2  # the background: no original of a grey picture


def test_compare_of_grey_pictures_has_no_column_for_originals(tint: str, grey_jpeg: Path, tmp_path: Path) -> None:
    assert call("compare", grey_jpeg, "--models", tint, "--out", tmp_path / "g.png", "--cell", 96).exit_code == 0
    assert columns_of(tmp_path / "g.png", 96) == 2


@pytest.mark.parametrize(("tone", "columns"), [((0, 0, 0), 2), ((2, 1, 0), 2), ((45, 15, -20), 3)])
def test_compare_takes_a_clear_tint_for_colour(tint: str, tmp_path: Path, tone: tuple[int, ...], columns: int) -> None:
    grey = np.asarray(photo().convert("L"), dtype=int)
    tinted = (grey[..., None] * 0.7 + 40 + np.array(tone)).clip(0, 255).astype(np.uint8)
    Image.fromarray(tinted).save(tmp_path / "sepia.png")
    arguments = ("compare", tmp_path / "sepia.png", "--models", tint, "--out", tmp_path / "g.png", "--cell", 96)
    assert call(*arguments).exit_code == 0
    assert columns_of(tmp_path / "g.png", 96) == columns


def test_compare_is_deterministic(tint: str, pictures: Path, tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        arguments = ("compare", pictures, "--models", "tint,grayscale", "--out", tmp_path / name)
        assert call(*arguments).exit_code == 0
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_compare_all_takes_models_with_weights(
    tint: str, grey_jpeg: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = {name: entry for name, entry in registry._models.items() if name in ("tint", "grayscale")}
    monkeypatch.setattr(registry, "_models", kept)
    monkeypatch.setattr(loading, "is_here", lambda name: name == "tint")
    assert call("compare", grey_jpeg, "--out", tmp_path / "g.jpg", "--cell", 96).exit_code == 0
    assert columns_of(tmp_path / "g.jpg", 96) == 2
    with Image.open(tmp_path / "g.jpg") as image:
        assert image.format == "JPEG"


def test_compare_goes_on_after_a_bad_picture(tint: str, pictures: Path, tmp_path: Path) -> None:
    (pictures / "bad.jpg").write_text("no picture")
    result = call("compare", pictures, "--models", tint, "--out", tmp_path / "g.png")
    assert result.exit_code == 1
    assert result.stdout.startswith("2 done, 1 failed")
    assert f"failed: {pictures / 'bad.jpg'}" in result.stderr
    result = call("compare", pictures / "bad.jpg", "--models", tint, "--out", tmp_path / "none.png")
    assert result.exit_code == 1
    assert not (tmp_path / "none.png").exists()


def test_compare_replaces_a_sheet_only_with_force_and_never_draws_it(tint: str, pictures: Path, tmp_path: Path) -> None:
    arguments = ("compare", pictures, "--models", tint, "--out", pictures / "sheet.png")
    assert call(*arguments).stdout.startswith("2 done")
    result = call(*arguments)
    assert result.exit_code == 2
    assert "exists already" in result.stderr
    assert call(*arguments, "--force").stdout.startswith("2 done")
    before = (pictures / "grey.png").read_bytes()
    result = call("compare", pictures / "grey.png", "--models", tint, "--out", pictures / "grey.png", "-f")
    assert result.exit_code == 2
    assert (pictures / "grey.png").read_bytes() == before


def test_compare_applies_options_where_they_are_supported(tint: str, grey_jpeg: Path, tmp_path: Path) -> None:
    arguments = ("compare", grey_jpeg, "--models", "tint,grayscale", "--style", "blue", "--cell", 96)
    result = call(*arguments, "--out", tmp_path / "g.png")
    assert result.exit_code == 0
    assert "note: --style blue does not apply to grayscale\n" in result.stderr
    assert mean_ab_signs(tmp_path / "g.png")[1] > 1


def test_compare_draws_a_style_without_the_option_it_refuses(tint: str, grey_jpeg: Path, tmp_path: Path) -> None:
    arguments = ("compare", grey_jpeg, "--models", "tint:red,tint:blue", "--cell", 96)
    for name, options in (("plain.png", ()), ("dialed.png", ("--temperature", 0.5))):
        result = call(*arguments, *options, "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
    assert result.stderr == "note: --temperature 0.5 does not apply to tint:red\n"
    plain, dialed = (np.asarray(Image.open(tmp_path / name)) for name in ("plain.png", "dialed.png"))
    changed = (plain != dialed).any(axis=(0, 2)).nonzero()[0]
    assert changed.min() > 200, "the red column is as it was"


def test_options_are_checked_where_all_results_exist(tint: str, pictures: Path, tmp_path: Path) -> None:
    arguments = ("colorize", pictures, "-m", tint, "-o", tmp_path / "out")
    assert call(*arguments).exit_code == 0
    result = call(*arguments, "--saturation", "99")
    assert result.exit_code == 2
    assert "saturation" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "tint", "--style", "green"], "unknown style"),
        (["--models", "grayscale", "--temperature", "1"], "--temperature 1.0: none of the models"),
        (["--models", "tint", "--temperature", "99"], "temperature"),
        (["--models", "tint:red,grayscale", "--temperature", "0.5"], "style 'red' takes no temperature"),
        (["--models", "tint", "--saturation", "-1"], "saturation"),
        (["--models", "tint", "--working-size", "1"], "working size"),
        (["--models", "tint", "--views", "3"], "expected: 1, 2 or 4"),
        (["--models", "fusion,tint", "--views", "2", "--seed", "1"], "seed 1 and views 2"),
        (["--models", "tint", "--out", "grey.jpg/g.png"], "cannot be written"),
        (["--models", "tint", "--out", "/proc/nope/g.png"], "cannot be written"),
        (["--models", "tint", "--out", "x" * 300 + ".png"], "cannot be written"),
        (["--models", "tint:green"], "unknown style"),
        (["--models", "grayscale:red"], "has no option 'style'"),
        (["--models", "tint,,grayscale"], "empty name of a model"),
        (["--models", "tin"], "did you mean 'tint'"),
        (["--models", "tint", "--cell", "5"], "--cell"),
        (["--models", "tint", "--out", "sheet"], "not a picture file"),
        (["--models", "tint", "--out", "sheet.txt"], "not a picture file"),
        (["--models", "tint", "--out", "sheet.webp", "--cell", "4096", "grey.jpg", *["a", "b", "c"]], "too many"),
    ],
)
def test_compare_refuses_what_cannot_be(
    tint: str,
    grey_jpeg: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Tint, "predict_ab", None)  # refused before the work
    for name in "abc":
        shutil.copy(grey_jpeg, tmp_path / name)
    out = [] if "--out" in arguments else ["--out", "g.png"]
    before = files_under(tmp_path)
    result = call("compare", grey_jpeg, *arguments, *out)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert files_under(tmp_path) == before
