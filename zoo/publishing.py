"""Models on their way to the Hugging Face Hub: weights, config, card; and the entry that pins them in a registry."""

import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from zoo import hub, loading, registry
from zoo.colorizer import Colorizer
from zoo.digests import sha256_of
from zoo.errors import OptionError, UnknownModelError, WeightsError
from zoo.evaluation import cards, generated
from zoo.evaluation.candidates import candidate_from
from zoo.evaluation.results import Result
from zoo.hub import CONFIG_FILE, STATE_FILE
from zoo.spec import ModelSpec, WeightsSpec

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

CARD_FILE = "README.md"
NOT_STATED = "not stated"
_IMAGE = re.compile(r"!\[[^\]\n]*\]\((?!https?:)[^)\n]*\)\n*")
_LINK = re.compile(r"\[((?:[^\[\]\n]|\\.)*)\]\((?!https?:|#)([^)\n]*)\)")


@dataclass(frozen=True)
class Pushed:
    """What was uploaded.

    Attributes:
        name: Loads it: ``hf-hub:OWNER/REPO@COMMIT``.
        weights: As a registry would know it.
        entry: That in Python, to paste into a `ModelSpec`; None for a model made of others, which has no such entry.
    """

    name: str
    weights: WeightsSpec
    entry: str | None


def push(
    source: str,
    repo_id: str,
    *,
    private: bool = False,
    license: str | None = None,
    training_data: Sequence[str] = (),
    commercial_use: bool | None = None,
    cards_folder: Path = Path("model_cards"),
    links: str | None = None,
) -> Pushed:
    """Upload a model to a repository, which is made where there is none.

    Args:
        source: A folder that `Colorizer.save` wrote, or a name as `zoo.load` takes it.
        repo_id: OWNER/NAME.
        private: Whether a repository that is made now is closed to others.
        license: Of the weights, an SPDX identifier; what a registered model states need not be said again.
        training_data: What they were trained on, where no registry states it.
        commercial_use: Whether they may be used commercially, where no registry states it; not stated counts as no.
        cards_folder: Results and notes, from which the card is made. A folder with a ``README.md`` keeps its own.
        links: The address that relative links of the card start from; without one they become plain text.

    Raises:
        OptionError: No licence, or another than the one that is stated.
        UnknownModelError: No such model or weights.
        WeightsError: Weights that do not load, or a Hub that does not take them.
        ConfigError: The configuration does not fit its model.
    """
    name = _name(source)
    network = loading.load(name, backend="torch")
    if not network.state_dict():
        raise WeightsError(f"model {name!r} has no weights to push")
    with _folder() as folder:
        _write_model(network, name, folder)
        text = _own_card(Path(name.removeprefix(loading.FOLDER))) if name.startswith(loading.FOLDER) else None
        stated = _stated_license(network, text, license)
        weights = _weights(network, folder, repo_id, stated, training_data, commercial_use)
        text = _with_license(text, stated) if text else _card(network, weights, name, repo_id, cards_folder)
        (folder / CARD_FILE).write_text(relinked(text, links), encoding="utf-8")
        commit = _upload(folder, repo_id, private)
    weights = replace(weights, revision=commit)
    entry = None if network.spec.parts else entry_of(weights, network)
    return Pushed(f"{loading.HUB}{repo_id}@{commit}", weights, entry)


def entry_of(weights: WeightsSpec, network: Colorizer[Any]) -> str:
    """A `WeightsSpec` in Python, for the ``weights`` of a `ModelSpec`; what is left at its default is left out."""
    shown = ("tag", "sha256", "size_bytes", "license", "commercial_use", "training_data", "source_url", "repo_id")
    lines = [f"    {key}={getattr(weights, key)!r}," for key in (*shown, "revision", "filename")]
    if network.config != registry.find(network.spec.name)[0].config:
        lines.append(f"    config={network.config!r},")
    return "\n".join(["WeightsSpec(", *lines, ")"])


def relinked(card: str, base: str | None) -> str:
    """A card whose relative links start from ``base``, or are plain text; relative pictures are left out without it."""
    if base is None:
        return _LINK.sub(r"\1", _IMAGE.sub("", card))
    start = base if base.endswith("/") else f"{base}/"
    return _LINK.sub(lambda match: f"[{match[1]}]({urljoin(start, match[2])})", card)


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder for what is to be uploaded, for as long."""
    try:
        with tempfile.TemporaryDirectory() as made:
            yield Path(made)
    except OSError as error:
        remedy = "set TMPDIR to a folder with room"
        raise WeightsError("what is to be pushed cannot be put together", found=error, remedy=remedy) from error


def _name(source: str) -> str:
    if source.startswith((loading.FOLDER, loading.HUB)):
        return source
    try:
        registry.find_weights(source)
        return source
    except UnknownModelError:
        if Path(source).is_dir():
            return f"{loading.FOLDER}{source}"
        raise


def _write_model(network: Colorizer[Any], name: str, folder: Path) -> None:
    """``config.json``, and the weights as they lie here: in half precision where they are."""
    network.save(folder)
    if name.startswith(loading.FOLDER):
        shutil.copyfile(Path(name.removeprefix(loading.FOLDER)).expanduser() / STATE_FILE, folder / STATE_FILE)
    elif not network.parts:
        shutil.copyfile(loading.fetch(name), folder / STATE_FILE)


def _stated_license(network: Colorizer[Any], card: str | None, license: str | None) -> str:
    """The licence that the registry or the folder's own card states, or else the caller."""
    known = network.weights.license if network.weights else None
    if network.spec.parts and network.spec.weights:
        known = network.spec.weights[0].license
    if known is None and card is not None:
        data = _parsed(card).data
        known = data.get("license") if data.get("license") != "other" else data.get("license_name")
    if known is not None and license is not None and known.lower() != license.lower():
        raise OptionError("another licence than the one stated", found=license, expected=known)
    if not (known or license or "").strip():
        raise OptionError(
            f"no licence is known of {network.spec.name!r} from here",
            expected="an SPDX identifier, such as Apache-2.0",
            remedy="say which with --license: nothing is published without one",
        )
    return str(license or known)


def _weights(
    network: Colorizer[Any],
    folder: Path,
    repo_id: str,
    license: str,
    training_data: Sequence[str],
    commercial_use: bool | None,
) -> WeightsSpec:
    """What a registry would say of the weights in ``folder``; the commit is not known yet."""
    from huggingface_hub import constants

    file = folder / STATE_FILE
    known = network.weights or (network.spec.weights[0] if network.spec.parts and network.spec.weights else None)
    return WeightsSpec(
        tag=known.tag if known else re.sub(r"[^\w.-]", "-", repo_id.rpartition("/")[2]).lstrip("_.-") or "hub",
        sha256=sha256_of(file),
        size_bytes=file.stat().st_size,
        license=license,
        commercial_use=known.commercial_use if known else bool(commercial_use),
        training_data=known.training_data if known else tuple(training_data) or (NOT_STATED,),
        source_url=f"{constants.ENDPOINT}/{repo_id}",
        repo_id=repo_id,
        filename=STATE_FILE,
        config=network.config,
        commit=known.commit if known else None,
        training_config=known.training_config if known else None,
    )


def _card(network: Colorizer[Any], weights: WeightsSpec, name: str, repo_id: str, folder: Path) -> str:
    """The card, with the results and notes of ``folder`` where there are some."""
    spec: ModelSpec = replace(network.spec, weights=(weights,))
    registered = not name.startswith((loading.FOLDER, loading.HUB))
    notes = folder / "notes" / f"{spec.name}.md"
    text = cards.read_notes(folder / "notes", spec.name) if registered and notes.is_file() else None
    results: Mapping[str, Sequence[Result]] = {}
    if (folder / "results").is_dir():
        results = _matched(generated.read_benchmarks(folder)[0], network, weights)
    parameters = sum(p.numel() for p in network.parameters())
    return cards.card(spec, weights, results, text, {}, load=f"{loading.HUB}{repo_id}", parameters=parameters)


def _matched(
    every: Mapping[str, Sequence[Result]], network: Colorizer[Any], weights: WeightsSpec
) -> dict[str, list[Result]]:
    """The baselines, and the results of this network, by the hash of its weights, in the name of ``weights``."""
    known = network.weights or (network.spec.weights[0] if network.spec.parts and network.spec.weights else None)
    own = {candidate_from(network, network.spec.name).weights["sha256"]}
    if known is not None and known.sha256 is not None:
        own.add(known.sha256)
    found = {}
    for benchmark, results in every.items():
        found[benchmark] = [
            replace(r, model=network.spec.name, tag=weights.tag, weights={**r.weights, "sha256": weights.sha256})
            if r.kind == "model"
            else r
            for r in results
            if r.kind != "model" or r.weights.get("sha256") in own
        ]
    return found


def _with_license(card: str, license: str) -> str:
    own = _parsed(card)
    if own.data.get("license") is None:
        for key, value in cards.hub_license(license).items():
            setattr(own.data, key, value)
    return str(own)


def _own_card(folder: Path) -> str | None:
    path = folder.expanduser() / CARD_FILE
    try:
        return path.read_text(encoding="utf-8") if path.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} cannot be read", found=error) from error


def _parsed(card: str) -> "ModelCard":
    from huggingface_hub import ModelCard

    try:
        return ModelCard(card)
    except Exception as error:  # the library's, and those of the parser that it uses
        raise WeightsError(
            f"{CARD_FILE}: its metadata cannot be read",
            found=str(error).splitlines()[0],
            expected="YAML between two ---",
        ) from error


def _upload(folder: Path, repo_id: str, private: bool) -> str:
    """The commit that the files of ``folder`` became."""
    where = f"hf-hub:{repo_id}: cannot be pushed to"
    try:
        from huggingface_hub import CommitOperationAdd, HfApi

        api = HfApi()
        api.create_repo(repo_id, private=private or None, exist_ok=True)
        names = (CONFIG_FILE, STATE_FILE, CARD_FILE)
        info = api.create_commit(
            repo_id,
            [CommitOperationAdd(name, folder / name) for name in names],
            commit_message="Upload a model of colorzoo",
        )
    except Exception as error:  # whatever the library and its transports raise
        raise hub.hub_error(where, error) from error
    if not hub.is_commit(info.oid):
        raise WeightsError(where, found=f"commit {info.oid!r}", expected="40 digits")
    return info.oid
