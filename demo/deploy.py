"""``python -m demo.deploy --repo-id USER/NAME``: put the app on the Hugging Face Hub, as a Space.

What a Space needs is staged in a folder and uploaded: the app, the library with its packaged weights, the model cards
and reports; neither the trainer nor the tests.
"""

import shutil
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import zoo
from zoo import hub, registry
from zoo.digests import verify_sha256
from zoo.errors import ConfigError, OptionError, ZooError
from zoo.evaluation import tables
from zoo.spec import ModelSpec, WeightsSpec

ROOT = Path(__file__).parents[1]
TEMPLATES = "demo/space"
FOLDERS = ("demo", "zoo", "model_cards")
KINDS = {".css", ".html", ".j2", ".js", ".json", ".md", ".py", ".toml", ".tsv", ".typed", ".safetensors"}
KINDS |= {".gif", ".jpg", ".mp4", ".png", ".svg", ".webp"}
NOT_STAGED = (TEMPLATES, "demo/deploy.py")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"  # PyTorch's own; its builds are a tenth the size of those for CUDA
ZERO_GPU = "zero-a10g"  # the Hub's name of it, whatever GPU it is
NOT_COMMERCIAL = """\
The code's license is Apache-2.0. Weights without commercial use were trained on photos that are, in part or all, for
research only."""

_REMEDIES = {
    401: "log in with `hf auth login`, with a token that may write",
    402: "the Hub asks for a subscription or credits for Spaces of this kind",
    403: "the token may not write there: make one that may at https://huggingface.co/settings/tokens",
    404: "check the name: the user or organization must exist",
}


def stage(folder: Path, repo_id: str, *, zero_gpu: bool = False) -> list[Path]:
    """Put everything the Space needs into ``folder``, which is made where it is not there.

    Args:
        folder: Empty, or not there.
        repo_id: USER/NAME, which the card tells.
        zero_gpu: Whether the Space is to run on ZeroGPU.

    Returns:
        Files that were left out since the app reads none of their kind.

    Raises:
        OptionError: The folder is not empty.
        ConfigError: A package that the app needs is not installed, or not as a release.
        WeightsError: Packaged weights are missing or damaged.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OptionError(f"{folder} is not an empty folder", remedy="name another, or one that is not there")
    there = available()
    for weights in (weights for _, weights in there if weights.packaged):
        verify_sha256(hub.packaged_path(weights), str(weights.sha256))
    texts = {"requirements.txt": requirements(zero_gpu=zero_gpu), "README.md": card(there, repo_id, zero_gpu=zero_gpu)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    shutil.copyfile(ROOT / "LICENSE", folder / "LICENSE")
    shutil.copyfile(ROOT / TEMPLATES / "app.py", folder / "app.py")
    left_out = []
    for path in _files():
        if path.suffix not in KINDS:
            left_out.append(path)
            continue
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return left_out


def requirements(*, zero_gpu: bool = False) -> str:
    """The Space's ``requirements.txt``: the app's direct dependencies, in the versions that are installed here.

    Raises:
        ConfigError: One is not installed, or not as a release that pip finds.
    """
    lines = sorted({_pinned(requirement) for requirement in _dependencies()}, key=str.lower)
    if zero_gpu:
        return "\n".join([*lines, "spaces", ""])  # with PyTorch for CUDA, as pip finds it
    return "\n".join([f"--extra-index-url {CPU_INDEX}", *lines, ""])


def available() -> list[tuple[ModelSpec, WeightsSpec]]:
    """What a Space has: models whose weights are packaged or on the Hub, and whose code is staged; no plug-ins."""
    found = []
    for name in registry.list_models():
        spec, cls = registry.find(name)
        if cls.__module__.partition(".")[0] == "zoo":
            found += [(spec, weights) for weights in spec.weights if weights.repo_id or registry.is_packaged(weights)]
    return found


def card(there: Sequence[tuple[ModelSpec, WeightsSpec]], repo_id: str, *, zero_gpu: bool = False) -> str:
    """The Space's ``README.md``: its settings at the head, then what it is, with the models and their licences.

    Args:
        there: As `available` says.
        repo_id: USER/NAME.
        zero_gpu: Whether the Space is to run on ZeroGPU.
    """
    from huggingface_hub import SpaceCard

    made = SpaceCard((ROOT / TEMPLATES / "README.md").read_text(encoding="utf-8"))
    made.data["sdk_version"] = version("gradio")
    made.data["python_version"] = f"{sys.version_info.major}.{sys.version_info.minor}"
    if zero_gpu:
        made.data["suggested_hardware"] = ZERO_GPU
    fetched = _on_the_hub([weights for _, weights in there])
    if fetched:
        made.data["models"] = sorted({repository for repository, _ in fetched})
        made.data["preload_from_hub"] = [
            f"{repository} {','.join(names)} {revision}" for (repository, revision), names in sorted(fetched.items())
        ]
    filled = {
        "hardware": "with a GPU that is lent for each run of a network" if zero_gpu else "on two processor cores",
        "models": _table(there),
        "repo-id": repo_id,
    }
    for name, text in filled.items():
        made.text = made.text.replace(f"<!-- {name} -->", text)
    return str(made)


def upload(folder: Path, repo_id: str, *, private: bool = False, zero_gpu: bool = False) -> str:
    """Make the Space where it is not there, and make its files those of ``folder``; others of it go.

    Args:
        folder: As `stage` fills it.
        repo_id: USER/NAME.
        private: Whether a new Space is seen by its owner only; one that is there stays as it is.
        zero_gpu: Whether a new Space gets ZeroGPU.

    Returns:
        The Space's address.

    Raises:
        ZooError: The Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="colorzoo", library_version=zoo.__version__)
    try:
        address = api.create_repo(
            repo_id,
            repo_type="space",
            space_sdk="gradio",
            space_hardware=ZERO_GPU if zero_gpu else None,  # type: ignore[arg-type]
            private=private or None,
            exist_ok=True,
        )
        api.upload_folder(
            repo_id=repo_id,
            repo_type="space",
            folder_path=folder,
            commit_message=f"Deploy colorzoo {zoo.__version__}",
            delete_patterns="*",
        )
    except Exception as error:  # whatever the library and its transports raise
        raise _refusal(repo_id, error) from error
    return str(address)


def check_repo_id(repo_id: str) -> None:
    """Refuse a name that the Hub would refuse.

    Raises:
        OptionError: It is not USER/NAME.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    found = repr(repo_id)
    try:
        validate_repo_id(repo_id)
        if repo_id.count("/") == 1:
            return
    except HFValidationError as error:
        found = str(error)
    raise OptionError("bad --repo-id", found=found, expected="USER/NAME of letters, digits, '-', '_' and '.'")


def _files() -> Iterator[Path]:
    """The files of the folders that are staged, in order; none that is hidden or compiled."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT)
            hidden = any(part.startswith(".") or part == "__pycache__" for part in name.parts)
            if path.is_file() and not hidden and not any(name.is_relative_to(other) for other in NOT_STAGED):
                yield path


def _dependencies() -> Iterator[Requirement]:
    """The project's direct dependencies and those of its extra ``demo``, as its pyproject.toml has them."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras, own = project["optional-dependencies"], canonicalize_name(project["name"])
    waiting = [*project["dependencies"], *extras["demo"]]
    while waiting:
        requirement = Requirement(waiting.pop())
        if canonicalize_name(requirement.name) == own:
            waiting += [line for extra in sorted(requirement.extras) for line in extras[extra]]
        elif requirement.marker is None or requirement.marker.evaluate():
            yield requirement


def _pinned(requirement: Requirement) -> str:
    """``name==version`` of what is installed; without what says how it was built, such as ``+cpu``."""
    name, wanted = requirement.name, f"{requirement.name}{requirement.specifier}"
    remedy = "install the app here first: pip install -e '.[demo]'"
    try:
        installed = Version(version(name))
    except PackageNotFoundError:
        raise ConfigError(f"package {name} is not installed", expected=wanted, remedy=remedy) from None
    if installed.is_devrelease or not requirement.specifier.contains(installed, prereleases=True):
        raise ConfigError(
            f"package {name} cannot be had on a Space as it is here", found=installed, expected=wanted, remedy=remedy
        )
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{name}{extras}=={installed.public}"


def _on_the_hub(there: Sequence[WeightsSpec]) -> dict[tuple[str, str], list[str]]:
    """By repository and commit, the files that the weights are there."""
    found: dict[tuple[str, str], list[str]] = {}
    for weights in there:
        if weights.repo_id:
            names = found.setdefault((weights.repo_id, str(weights.revision)), [])
            names.append(str(weights.filename))
    return found


def _table(there: Sequence[tuple[ModelSpec, WeightsSpec]]) -> str:
    """The models' weights in Markdown, each with its licence; and what must not be done with them."""
    rows = [
        [
            tables.in_code(tables.load_name(spec, weights)),
            tables.what_it_is(spec, weights),
            f"{weights.size_bytes / 1e6:.1f}" if weights.size_bytes else "",
            tables.escaped(weights.license),
            tables.yes_or_no(weights.commercial_use),
        ]
        for spec, weights in there
    ]
    table = tables.markdown_table(["model", "what it is", "MB", "license of the weights", "commercial use"], rows)
    if all(weights.commercial_use for _, weights in there):
        return table
    return f"{table}\n\n{NOT_COMMERCIAL}"


def _refusal(repo_id: str, error: Exception) -> ZooError:
    status = getattr(getattr(error, "response", None), "status_code", None)
    remedy = _REMEDIES.get(status or 0, "try again later")
    if type(error).__name__ == "OfflineModeIsEnabled":
        remedy = "unset HF_HUB_OFFLINE"
    line = next(iter(str(error).strip().splitlines()), "")
    return ZooError(f"the Hub did not take {repo_id}", found=f"{type(error).__name__}: {line}", remedy=remedy)


def _tell(folder: Path, left_out: list[Path]) -> None:
    """Print what a staged folder holds."""
    sizes: dict[str, list[int]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            sizes.setdefault(path.relative_to(folder).parts[0], []).append(path.stat().st_size)
    for name, found in sizes.items():
        typer.echo(f"{name:<18}{len(found):>5} files {sum(found) / 1e6:>8.1f} MB")
    count, total = sum(map(len, sizes.values())), sum(map(sum, sizes.values()))
    typer.echo(f"{'together':<18}{count:>5} files {total / 1e6:>8.1f} MB")
    for path in left_out:
        typer.echo(f"left out, since the app reads no such file: {path.relative_to(ROOT)}", err=True)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.command()
def deploy(
    repo_id: Annotated[str, typer.Option(metavar="USER/NAME", help="The Space, made where it is not there.")],
    dry_run: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Stage into this empty folder, and upload nothing.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Show a new Space to its owner only.")] = False,
    zero_gpu: Annotated[
        bool, typer.Option("--zero-gpu", help="For ZeroGPU instead of two processor cores; see which torch it takes.")
    ] = False,
) -> None:
    """Put the app on the Hugging Face Hub, as a Space. The token is the one of `hf auth login`, or HF_TOKEN.

    The Space gets the versions of the packages that are installed here.
    """
    from huggingface_hub import get_token

    try:
        check_repo_id(repo_id)
        if dry_run is not None:
            _tell(dry_run, stage(dry_run, repo_id, zero_gpu=zero_gpu))
            typer.echo(f"staged in {dry_run}, nothing is uploaded")
            return
        if get_token() is None:
            raise ZooError("no token for the Hugging Face Hub", remedy="log in with `hf auth login`, or set HF_TOKEN")
        with tempfile.TemporaryDirectory() as name:
            _tell(Path(name), stage(Path(name), repo_id, zero_gpu=zero_gpu))
            typer.echo(upload(Path(name), repo_id, private=private, zero_gpu=zero_gpu))
    except ZooError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    app(prog_name="python -m demo.deploy")
