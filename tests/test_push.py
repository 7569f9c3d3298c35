"""To the Hub and back: what is pushed loads bit-equal, has a card with its licence, and an entry that pins it."""

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import TOKEN, HubServer, point_client_at
from huggingface_hub import ModelCard
from torch import Tensor
from typer.testing import CliRunner

from zoo import publishing, registry
from zoo.cli import app
from zoo.colorizer import Colorizer
from zoo.errors import OptionError, WeightsError
from zoo.evaluation import cards, results
from zoo.evaluation.candidates import candidate_from
from zoo.loading import load
from zoo.models.regression import RegressionConfig
from zoo.publishing import push, relinked
from zoo.spec import WeightsSpec

CARDS = Path(__file__).parents[1] / "model_cards"
REPO, STATE = "someone/my-own", "model.safetensors"
L = torch.linspace(0, 100, 64 * 64).reshape(1, 1, 64, 64)
_RELATIVE = re.compile(r"\]\((?!https?:|#)")


def answer(model: Colorizer[Any]) -> Tensor:
    with torch.inference_mode():
        return model.eval().to(memory_format=torch.channels_last).predict_ab(L)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def logged_in(server: HubServer, tmp_path: Path) -> HubServer:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text(TOKEN)
    return server


@pytest.fixture
def fresh(logged_in: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """`fresh()`: from here on another machine's empty caches, without a token."""
    return lambda: point_client_at(logged_in.url, tmp_path / "elsewhere", monkeypatch)


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # the client's own, of large files
@pytest.mark.parametrize("lfs", [False, True])
def test_a_folder_there_and_back(
    logged_in: HubServer,
    tiny: Colorizer[Any],
    tmp_path: Path,
    fresh: Callable[[], None],
    registry_sandbox: None,
    monkeypatch: pytest.MonkeyPatch,
    lfs: bool,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # its servers have no stand-in
    logged_in.lfs = lfs
    folder = tiny.save(tmp_path / "saved")
    (folder / "train.log").write_text("is not pushed")
    pushed = push(str(folder), REPO, license="MIT", training_data=("my photos",), commercial_use=True)
    (commit, files), *more = logged_in.repositories[REPO].commits
    assert not more
    assert pushed.name == f"hf-hub:{REPO}@{commit}"
    assert set(files) == {"config.json", STATE, "README.md"}
    assert list(logged_in.large.values()) == ([files[STATE]] if lfs else [])
    assert not logged_in.repositories[REPO].private
    card = ModelCard(files["README.md"].decode())
    assert (card.data.license, card.data.library_name) == ("mit", "colorzoo")
    assert "my photos" in card.text
    assert f'zoo.load("hf-hub:{REPO}")' in card.text
    assert not _RELATIVE.search(card.text)
    fresh()
    again = load(pushed.name)
    assert torch.equal(answer(again), answer(tiny))
    # The entry, pasted
    assert pushed.entry is not None
    pasted = eval(pushed.entry, {"WeightsSpec": WeightsSpec, "RegressionConfig": RegressionConfig})
    assert pasted == pushed.weights
    assert (pasted.sha256, pasted.revision) == (digest(files[STATE]), commit)
    assert (pasted.license, pasted.training_data, pasted.commercial_use) == ("MIT", ("my photos",), True)
    spec, cls = registry.find("regression")
    registry._models["regression"] = (replace(spec, weights=(pasted,)), cls)
    registry.check(registry.find("regression")[0])
    assert torch.equal(answer(load(f"regression.{pasted.tag}")), answer(tiny))


def test_a_registered_model_there_and_back(logged_in: HubServer, fresh: Callable[[], None]) -> None:
    pushed = push("fusion", REPO, private=True, cards_folder=CARDS, links="https://example.org/tree/")
    files = logged_in.repositories[REPO].commits[-1][1]
    assert logged_in.repositories[REPO].private
    weights = registry.find("fusion")[0].weights[0]
    card = ModelCard(files["README.md"].decode())
    assert card.data.license == "apache-2.0"
    found = {(e.dataset_type, e.metric_type): e.metric_value for e in card.data.eval_results or ()}
    assert ("colorzoo-eval", "psnr") in found
    assert "## Ethics" in card.text
    assert "https://example.org/tree/reports/eval/README.md" in card.text
    assert not _RELATIVE.search(card.text)
    assert digest(files[STATE]) == weights.sha256  # the packaged file itself, in half precision
    assert f"tag='{weights.tag}'" in str(pushed.entry)
    before = answer(load("fusion"))
    fresh()
    with pytest.raises(WeightsError, match="RepositoryNotFoundError"):
        load(pushed.name)  # it is private, and this machine has no token
    logged_in.repositories[REPO].private = False
    assert torch.equal(answer(load(pushed.name)), before)


def test_a_model_made_of_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sent = tmp_path / "sent"

    def upload(folder: Path, repo_id: str, private: bool) -> str:
        shutil.copytree(folder, sent)
        return "0" * 40

    monkeypatch.setattr(publishing, "_upload", upload)
    pushed = push("blend", REPO, cards_folder=tmp_path)
    assert pushed.entry is None  # a registry has no weights of its own for what is made of others
    assert pushed.weights.license == "Apache-2.0"
    assert torch.equal(answer(load(f"local-dir:{sent}")), answer(load("blend")))


def test_without_a_licence_nothing_leaves(logged_in: HubServer, tiny: Colorizer[Any], tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "saved")
    for license in (None, " "):
        with pytest.raises(OptionError, match=r"no licence is known of 'regression' from here.*--license"):
            push(str(folder), REPO, license=license)
    with pytest.raises(OptionError, match=r"another licence than the one stated; found: MIT; expected: Apache-2\.0"):
        push("fusion", REPO, license="MIT")
    with pytest.raises(WeightsError, match="no weights to push"):
        push("grayscale", REPO, license="MIT")
    assert logged_in.requests == []


def test_a_folder_keeps_its_own_card(logged_in: HubServer, tiny: Colorizer[Any], tmp_path: Path) -> None:
    folder = tiny.save(tmp_path / "saved")
    (folder / "README.md").write_text("---\nlicense: cc0-1.0\ntags: [mine]\n---\n\n# Mine, [see](notes.md)\n")
    weights = push(f"local-dir:{folder}", REPO).weights
    card = ModelCard(logged_in.repositories[REPO].commits[-1][1]["README.md"].decode())
    assert (weights.license, card.data.license, card.data.tags) == ("cc0-1.0", "cc0-1.0", ["mine"])
    assert card.text.strip() == "# Mine, see"
    (folder / "README.md").write_text("# No metadata\n")
    with pytest.raises(OptionError, match="no licence"):
        push(str(folder), REPO)
    push(str(folder), REPO, license="Apache-2.0")
    card = ModelCard(logged_in.repositories[REPO].commits[-1][1]["README.md"].decode())
    assert card.data.license == "apache-2.0"
    (folder / "README.md").write_text("---\nlicense: [mit\n---\n# Broken\n")
    with pytest.raises(WeightsError, match=r"README\.md: its metadata cannot be read"):
        push(str(folder), REPO, license="Apache-2.0")
    assert weights.training_data == (publishing.NOT_STATED,)
    assert not weights.commercial_use


def test_results_of_a_folder_are_found_by_its_weights(
    logged_in: HubServer, tiny: Colorizer[Any], tmp_path: Path
) -> None:
    folder = tiny.save(tmp_path / "saved")
    made = tmp_path / "model_cards" / "results" / "eval"
    made.mkdir(parents=True)
    for name in ("grayscale", "truth", "mean_ab", "regression.base"):
        shutil.copy(CARDS / "results" / "eval" / f"{name}.json", made)
    theirs = results.read(made / "regression.base.json")  # of other weights
    own = replace(theirs, label="saved", model="saved", tag=None, weights=candidate_from(tiny, "saved").weights)
    results.write(own, made)
    push(str(folder), REPO, license="MIT", cards_folder=tmp_path / "model_cards")
    card = ModelCard(logged_in.repositories[REPO].commits[-1][1]["README.md"].decode())
    values = [e.metric_value for e in card.data.eval_results or () if e.metric_type == "psnr"]
    assert values == [pytest.approx(own.measured["psnr"]["value"], abs=0.005)]
    assert "saved" in card.text
    (made / results.file_name("saved", None, {})).unlink()
    push(str(folder), REPO, license="MIT", cards_folder=tmp_path / "model_cards")
    text = logged_in.repositories[REPO].commits[-1][1]["README.md"].decode()
    assert ModelCard(text).data.eval_results is None
    assert "Not evaluated yet" in text


def test_who_may_not_push(server: HubServer, tiny: Colorizer[Any], tmp_path: Path) -> None:
    folder = str(tiny.save(tmp_path / "saved"))
    with pytest.raises(WeightsError, match=r"cannot be pushed to.*`hf auth login`"):
        push(folder, REPO, license="MIT")
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "token").write_text("hf_readOnlyToken")
    with pytest.raises(WeightsError, match=r"`hf auth login`, with a token that may do so") as caught:
        push(folder, REPO, license="MIT")
    assert "readOnly" not in str(caught.value)
    assert server.repositories == {}


def test_offline_is_told_at_once(
    logged_in: HubServer, tiny: Colorizer[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="offline"):
        push(str(tiny.save(tmp_path / "saved")), REPO, license="MIT")
    assert logged_in.requests == []


def test_the_command(logged_in: HubServer, tiny: Colorizer[Any], tmp_path: Path) -> None:
    folder = str(tiny.save(tmp_path / "saved"))
    refused = CliRunner().invoke(app, ["push", folder, "--repo-id", REPO])
    assert (refused.exit_code, logged_in.requests) == (2, [])
    assert "--license" in refused.stderr
    pushed = CliRunner().invoke(app, ["push", folder, "--repo-id", REPO, "--license", "MIT", "--no-commercial-use"])
    commit = logged_in.repositories[REPO].commits[-1][0]
    assert pushed.exit_code == 0
    assert pushed.stdout.startswith(f"pushed; load it as hf-hub:{REPO}@{commit}\n\nWeightsSpec(")
    assert f"revision='{commit}'" in pushed.stdout
    assert TOKEN not in pushed.stdout + pushed.stderr


def test_links_of_a_card() -> None:
    card = "![a](x.jpg)\n\n[b `c`](../d.md), [e](https://f), [g](#h), ![i](https://j)\n"
    assert relinked(card, None) == "b `c`, [e](https://f), [g](#h), ![i](https://j)\n"
    changed = relinked(card, "https://k/l/m")
    assert "![a](https://k/l/m/x.jpg)" in changed
    assert "[b `c`](https://k/l/d.md)" in changed


def test_a_card_without_notes_invents_none() -> None:
    spec = registry.find("regression")[0]
    weights = replace(spec.weights[0], packaged=None, repo_id=REPO, filename=STATE)
    text = cards.card(replace(spec, weights=(weights,)), weights, {}, None, {}, load=f"hf-hub:{REPO}", parameters=12345)
    assert "12,345" in text
    for heading in ("## Ethics", "## Intended use", "## Failure cases", "## What was tried"):
        assert heading not in text
    assert "#ethics" not in text
