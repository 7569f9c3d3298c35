"""The house rules that no other test sees: who imports whom, what an import does, what the wheel holds."""

import re
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

ROOT = Path(__file__).parents[1]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "zoo").rglob("*.py")
    if path.name != "__main__.py"
)
BANNED_NAMES = {"utils", "helpers", "common", "misc"}


def _python(code: str) -> str:
    """What a fresh interpreter prints for ``code``, run in the repository."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_import_contracts() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports; exit(lint_imports(no_cache=True))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"Contracts: [1-9]\d* kept, 0 broken", done.stdout)


def test_zoo_imports_no_torch_before_it_is_needed() -> None:
    code = """
import sys, zoo
dir(zoo), zoo.__version__, zoo.register, zoo.list_models, zoo.ModelSpec, zoo.ZooError
import zoo.hub
print(*sorted({"torch", "timm", "numpy", "PIL", "skimage", "huggingface_hub"} & set(sys.modules)))
import zoo.cli
try:
    sys.argv = ["colorzoo", "--help"]
    zoo.cli.main()
except SystemExit as exit:
    assert not exit.code, exit.code
print("after --help:", *sorted({"torch", "timm", "huggingface_hub"} & set(sys.modules)))
"""
    lines = _python(code).splitlines()
    assert lines[0] == ""
    assert lines[-1].strip() == "after --help:"


def test_importing_has_no_side_effects() -> None:
    code = f"""
import importlib, logging, os, random, sys, warnings
import av, cv2, huggingface_hub, imagecodecs, numpy, PIL.Image, skimage, tifffile, timm, torch, tqdm, typer
from skimage.metrics import peak_signal_noise_ratio  # what libraries do to warnings is theirs
PIL.Image.init()
def state():
    return {{
        "environment": dict(os.environ),
        "working directory": os.getcwd(),
        "logging": (logging.root.handlers[:], logging.root.level, logging.getLogger("zoo").handlers[:]),
        "warnings": warnings.filters[:],
        "path": sys.path[:],
        "threads": torch.get_num_threads(),
        "dtype": torch.get_default_dtype(),
        "gradients": torch.is_grad_enabled(),
        "random": (random.getstate(), str(numpy.random.get_state()), torch.get_rng_state().tolist()),
        "pixel limit": PIL.Image.MAX_IMAGE_PIXELS,
    }}
before = state()
for name in {MODULES!r}:
    importlib.import_module(name)
after = state()
print(*(key for key in before if before[key] != after[key]))
print(torch.cuda.is_initialized())
"""
    changed, cuda = _python(code).splitlines()[-2:]
    assert changed.strip() == ""
    assert cuda == "False"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    return zipfile.ZipFile(path).namelist()


def test_the_wheel_holds_zoo_only(wheel: list[str]) -> None:
    own = {name for name in wheel if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in own} == {"zoo"}
    expected = {p.relative_to(ROOT).as_posix() for p in (ROOT / "zoo").rglob("*") if p.is_file()}
    assert own == {name for name in expected if "__pycache__" not in name}


def test_the_wheel_holds_types_weights_and_licence(wheel: list[str]) -> None:
    assert {"zoo/py.typed", "zoo/weights/MANIFEST.toml"} <= set(wheel)
    assert any(re.search(r"\.dist-info/.*LICENSE$", name) for name in wheel)


@pytest.mark.parametrize("folder", ["zoo", "training", "demo"])
def test_no_room_is_a_junk_room(folder: str) -> None:
    assert [p for p in (ROOT / folder).rglob("*.py") if p.stem in BANNED_NAMES] == []


@pytest.mark.parametrize("folder", ["zoo", "training", "demo"])
def test_sources_name_no_machine_and_no_pickle(folder: str) -> None:
    machine = re.compile(r"""["'](/home/|/root/|/mnt/|/work/|[A-Z]:\\\\)""")
    unsafe = re.compile(r"weights_only\s*=\s*False|\bpickle\.load|\bos\.system\(|shell=True")
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if machine.search(line) or unsafe.search(line)
    ]
    assert found == []


@pytest.mark.parametrize("host", ["192.0.2.1", "example.org"])
def test_tests_do_not_reach_the_network(host: str) -> None:
    with pytest.raises(pytest.fail.Exception, match=f"reaches for the network: {host}"):
        socket.create_connection((host, 80), timeout=0.1)
