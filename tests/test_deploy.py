"""The Space: what is staged, what is sent to the Hub, and that the staged folder runs by itself."""

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import packages_distributions, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi, SpaceCard
from huggingface_hub.errors import HfHubHTTPError
from load import cold_start
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.testing import CliRunner
from visiting import running

from demo import deploy
from zoo import registry
from zoo.errors import ConfigError, WeightsError
from zoo.spec import WeightsSpec

ROOT = deploy.ROOT
COLORS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}  # that the Hub knows


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("staged") / "space"
    assert deploy.stage(folder, "me/colors") == []
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def small_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with little in it, some of it by chance."""
    root = tmp_path / "checkout"
    for name in ("LICENSE", "pyproject.toml", "demo/space/README.md", "demo/space/app.py"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    by_chance = ("zoo/.env", "zoo/__pycache__/a.pyc", "zoo/.cache/a.py", "zoo/notes.bak", "training/a.py", "tests/a.py")
    for name in ("zoo/a.py", "zoo/weights/a.safetensors", "demo/app.py", "demo/deploy.py", *by_chance):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    monkeypatch.setattr(deploy, "ROOT", root)
    return root


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _run(*arguments: str) -> Any:
    return CliRunner().invoke(deploy.app, arguments)


# What is staged


def test_a_space_has_all_that_the_app_reads_and_nothing_else(staged: Path) -> None:
    top = {path.name for path in staged.iterdir()}
    assert top == {"app.py", "README.md", "requirements.txt", "LICENSE", "demo", "zoo", "model_cards"}
    names = _names(staged)
    for folder in ("zoo", "demo", "model_cards"):
        code = {p.relative_to(ROOT).as_posix() for p in (ROOT / folder).rglob("*.py")}
        assert code - names <= {"demo/deploy.py", "demo/space/app.py"}
    for weights in (weights for _, weights in deploy.available() if weights.packaged):
        assert (staged / "zoo/weights" / str(weights.packaged)).stat().st_size == weights.size_bytes
    assert {"demo/examples/dog.jpg", "demo/examples/fetch.mp4", "demo/examples/CREDITS.md"} <= names
    assert {"model_cards/fusion.base.md", "model_cards/reports/free/index.html"} <= names
    assert {"zoo/weights/MANIFEST.toml", "zoo/evaluation/mean_ab.json", "zoo/evaluation/templates/page.css"} <= names
    assert not {part for name in names for part in name.split("/")} & {"training", "tests", "__pycache__", "space"}
    assert not [name for name in names if name.endswith(".pyc") or "/." in name]


def test_what_lies_in_a_checkout_by_chance_is_left(small_checkout: Path, tmp_path: Path) -> None:
    left_out = deploy.stage(tmp_path / "space", "me/colors")
    assert left_out == [small_checkout / "zoo/notes.bak"]
    own = {"app.py", "README.md", "requirements.txt", "LICENSE"}
    assert _names(tmp_path / "space") == own | {"zoo/a.py", "zoo/weights/a.safetensors", "demo/app.py"}


def test_staging_twice_gives_the_same(small_checkout: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        deploy.stage(tmp_path / name, "me/colors")
    files = _names(tmp_path / "one")
    assert files == _names(tmp_path / "two")
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)


def test_damaged_weights_are_not_staged(
    small_checkout: Path, tmp_path: Path, registry_sandbox: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec, cls = registry._models["regression"]
    registry._models["regression"] = (replace(spec, weights=(replace(spec.weights[0], sha256="0" * 64),)), cls)
    with pytest.raises(WeightsError, match="wrong sha256"):
        deploy.stage(tmp_path / "space", "me/colors")
    assert not (tmp_path / "space").exists()


def test_what_a_space_cannot_load_is_not_promised(registry_sandbox: None) -> None:
    spec, cls = registry.find("regression")
    foreign = type("Foreign", (cls,), {"__module__": "zoological.models"})  # a plug-in of this machine
    registry._models["foreign"] = (replace(spec, name="foreign"), foreign)
    upstream = replace(spec.weights[0], tag="upstream", packaged=None, convert_from="https://example.org/net.pth")
    registry._models["regression"] = (replace(spec, weights=(upstream, *spec.weights)), cls)
    there = {f"{spec.name}.{weights.tag}" for spec, weights in deploy.available()}
    assert {"fusion.base", "fusion.long", "blend.parts", "regression.base"} <= there
    assert not {"foreign.base", "regression.upstream"} & there
    assert not [name for name in there if name.startswith("grayscale")]  # which has no weights


# Its card


def test_the_card_has_what_the_hub_asks_for(staged: Path) -> None:
    card = SpaceCard.load(staged / "README.md")
    data = card.data.to_dict()
    assert data["sdk"] == "gradio"
    assert data["sdk_version"] == version("gradio")
    assert data["python_version"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert (staged / data["app_file"]).is_file()
    assert data["suggested_hardware"] == "cpu-basic"
    assert data["license"] == "apache-2.0"
    assert len(data["short_description"]) <= 60
    assert {data["colorFrom"], data["colorTo"]} <= COLORS
    assert not {"models", "preload_from_hub"} & set(data)  # the weights come along
    assert "<!--" not in card.text
    assert 'Client("me/colors")' in card.text
    for name in ("fusion", "fusion.long", "regression.scratch", "blend"):
        assert f"| `{name}` |" in card.text
    assert card.text.count("| Apache-2.0 | no |") == len(deploy.available())
    assert deploy.NOT_COMMERCIAL in card.text
    assert "two processor cores" in card.text


def test_the_card_of_a_space_on_zero_gpu() -> None:
    card = SpaceCard(deploy.card([], "me/colors", zero_gpu=True))
    assert card.data.to_dict()["suggested_hardware"] == "zero-a10g"
    assert "two processor cores" not in card.text
    assert deploy.NOT_COMMERCIAL not in card.text


def test_weights_on_the_hub_are_preloaded_by_commit() -> None:
    spec = registry.find("regression")[0]
    there = WeightsSpec(
        tag="far",
        sha256="0" * 64,
        size_bytes=1,
        license="MIT",
        commercial_use=True,
        training_data=("own",),
        source_url=None,
        repo_id="them/net",
        revision="a" * 40,
        filename="one.safetensors",
    )
    weights = (there, replace(there, tag="two", filename="sub/two.safetensors"), spec.weights[0])
    data = SpaceCard(deploy.card([(spec, w) for w in weights], "me/colors")).data.to_dict()
    assert data["models"] == ["them/net"]
    assert data["preload_from_hub"] == [f"them/net one.safetensors,sub/two.safetensors {'a' * 40}"]


# Its requirements


def test_requirements_are_the_direct_dependencies_in_installed_versions(staged: Path) -> None:
    first, *lines = (staged / "requirements.txt").read_text().splitlines()
    assert first == "--extra-index-url https://download.pytorch.org/whl/cpu"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = {Requirement(line).name for line in (*project["dependencies"], *extras["demo"], *extras["video"])}
    requirements = [Requirement(line) for line in lines]
    assert wanted - {"colorzoo"} <= {requirement.name for requirement in requirements}
    assert not {"colorzoo", "accelerate", "pytest"} & {requirement.name for requirement in requirements}
    for requirement in requirements:
        (specifier,) = requirement.specifier
        assert specifier.operator == "=="
        assert "+" not in specifier.version
        assert version(requirement.name).partition("+")[0] == specifier.version


def test_requirements_name_all_that_the_app_imports(staged: Path) -> None:
    lines = (staged / "requirements.txt").read_text().splitlines()[1:]
    wanted = {canonicalize_name(Requirement(line).name) for line in lines}
    origins = packages_distributions()
    for path in (staged / "demo").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module]
            for top in {module.partition(".")[0] for module in modules} - {"demo", "zoo"} - sys.stdlib_module_names:
                assert wanted & {canonicalize_name(name) for name in origins[top]}, f"{path.name} imports {top}"


def test_zero_gpu_has_pytorch_for_cuda() -> None:
    lines = deploy.requirements(zero_gpu=True).splitlines()
    assert "spaces" in lines
    assert not [line for line in lines if line.startswith("-")]


@pytest.mark.parametrize("installed", ["2.14.1", "2.14.1+cpu", "2.14.1+cu126"])
def test_how_a_package_was_built_is_not_pinned(monkeypatch: pytest.MonkeyPatch, installed: str) -> None:
    monkeypatch.setattr(deploy, "version", lambda name: installed)
    assert deploy._pinned(Requirement("torch>=2.6")) == "torch==2.14.1"
    assert deploy._pinned(Requirement("torch[b,a]>=2.6")) == "torch[a,b]==2.14.1"


@pytest.mark.parametrize("installed", ["2.15.0.dev20261101+cpu", "2.5"])
def test_versions_that_cannot_be_had_are_refused(monkeypatch: pytest.MonkeyPatch, installed: str) -> None:
    monkeypatch.setattr(deploy, "version", lambda name: installed)
    with pytest.raises(ConfigError, match=r"torch cannot be had.*torch>=2\.6.*pip install"):
        deploy._pinned(Requirement("torch>=2.6"))


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match="package no-such-thing is not installed"):
        deploy._pinned(Requirement("no-such-thing"))


# The command


@pytest.mark.parametrize("repo_id", ["colors", "me/colors/more", "me/a--b", "me/", "me/with space", "me/x.git"])
def test_bad_names_are_refused(repo_id: str, tmp_path: Path) -> None:
    result = _run("--repo-id", repo_id, "--dry-run", str(tmp_path / "space"))
    assert result.exit_code == 2
    assert "error: bad --repo-id" in result.output
    assert "USER/NAME" in result.output
    assert not (tmp_path / "space").exists()


def test_a_dry_run_stages_and_says_how_much(small_checkout: Path, tmp_path: Path) -> None:
    folder = tmp_path / "space"
    result = _run("--repo-id", "me/colors", "--dry-run", str(folder))
    assert result.exit_code == 0
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    assert f"together{7:>15} files {total / 1e6:>8.1f} MB" in result.output
    assert "zoo/notes.bak" in result.output
    assert "nothing is uploaded" in result.output
    again = _run("--repo-id", "me/colors", "--dry-run", str(folder))
    assert again.exit_code == 2
    assert "is not an empty folder" in again.output


def test_without_a_token_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setattr(deploy, "stage", lambda *_, **__: pytest.fail("staged"))
    result = _run("--repo-id", "me/colors")
    assert result.exit_code == 2
    assert "no token" in result.output
    assert "hf auth login" in result.output


@pytest.mark.parametrize("flags", [(), ("--private", "--zero-gpu")])
def test_what_is_sent_to_the_hub(small_checkout: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]) -> None:
    sent: dict[str, Any] = {}

    def create_repo(self: HfApi, repo_id: str, **options: Any) -> str:
        sent["create"] = {"repo_id": repo_id, **options}
        return f"https://hub.example/spaces/{repo_id}"

    def upload_folder(self: HfApi, *, folder_path: Path, **options: Any) -> None:
        assert "create" in sent
        sent["upload"], sent["files"] = options, _names(folder_path)
        sent["requirements"] = (folder_path / "requirements.txt").read_text()

    monkeypatch.setenv("HF_TOKEN", "hf_none")
    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "upload_folder", upload_folder)
    result = _run("--repo-id", "me/colors", *flags)
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "https://hub.example/spaces/me/colors"
    assert sent["create"] == {
        "repo_id": "me/colors",
        "repo_type": "space",
        "space_sdk": "gradio",
        "space_hardware": "zero-a10g" if flags else None,
        "private": True if flags else None,
        "exist_ok": True,
    }
    upload = sent["upload"]
    assert (upload["repo_id"], upload["repo_type"], upload["delete_patterns"]) == ("me/colors", "space", "*")
    assert "colorzoo" in upload["commit_message"]
    assert {"app.py", "README.md", "requirements.txt", "zoo/weights/a.safetensors"} <= sent["files"]
    assert ("spaces" in sent["requirements"].splitlines()) == bool(flags)


@pytest.mark.parametrize(
    ("status", "remedy"), [(401, "hf auth login"), (402, "subscription"), (403, "may not write"), (500, "later")]
)
def test_refusals_of_the_hub_say_what_to_do(
    small_checkout: Path, monkeypatch: pytest.MonkeyPatch, status: int, remedy: str
) -> None:
    def refuse(self: HfApi, *_: Any, **__: Any) -> None:
        response: Any = SimpleNamespace(status_code=status, headers={}, request=None)
        raise HfHubHTTPError(f"{status} of the Hub\nmore of it", response=response)

    monkeypatch.setenv("HF_TOKEN", "hf_none")
    monkeypatch.setattr(HfApi, "create_repo", refuse)
    result = _run("--repo-id", "me/colors")
    assert result.exit_code == 2
    assert f"error: the Hub did not take me/colors; found: HfHubHTTPError: {status} of the Hub" in result.output
    assert remedy in result.output
    assert "hf_none" not in result.output


def test_offline_is_said(small_checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_none")
    result = _run("--repo-id", "me/colors")  # the tests run offline
    assert result.exit_code == 2
    assert "unset HF_HUB_OFFLINE" in result.output


# The GPU that is lent

LENT = """
import sys
from demo import gpu
@gpu.borrowed(30)
def color(pixels): return pixels
class Model:
    place = "cpu"
    def to(self, place): self.place = place; return self
print(color("grey"), gpu.moved(Model()).place, "spaces" in sys.modules, "torch" in sys.modules)
"""
FAKE = """
def GPU(duration): return lambda function: lambda *a: f"{function(*a)} within {duration} s"
"""


@pytest.mark.parametrize(
    ("variable", "there", "said"),
    [
        ("true", True, "grey within 30 s cuda True False"),
        ("true", False, "grey cpu False False"),
        ("", True, "grey cpu False False"),
        ("false", True, "grey cpu False False"),
    ],
)
def test_a_gpu_is_borrowed_on_zero_gpu_only(tmp_path: Path, variable: str, there: bool, said: str) -> None:
    if there:
        (tmp_path / "spaces.py").write_text(FAKE)
    environment = {**os.environ, "SPACES_ZERO_GPU": variable, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    run = subprocess.run([sys.executable, "-c", LENT], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert run.stdout.strip() == said, run.stderr


# It runs; the last of all, since what it compiles lies in the folder


@pytest.mark.slow
@running
def test_the_staged_folder_runs_by_itself(staged: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    code = "import zoo, demo, sys; print(zoo.__file__, demo.__file__, 'training' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], cwd=staged, env=environment, capture_output=True, text=True)
    assert said.stdout.split() == [str(staged / "zoo/__init__.py"), str(staged / "demo/__init__.py"), "False"]
    result = cold_start.measure(staged)  # which checks the picture
    assert result["exit_code"] == 0
    assert not [name for name in _names(staged) if name.startswith(("flagged", ".gradio"))]
