"""Zhang et al.'s two networks: the published keys, the published answers, the fast path, and how they learn."""

import json
import os
import signal
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest
import straightforward
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import zoo
from training.train import main
from training.trainer import Trainer
from zoo import bins, registry
from zoo.colorizer import Batch, Colorizer
from zoo.errors import ConfigError, OptionError, WeightsError
from zoo.models.zhang import Eccv16, Eccv16Config, Siggraph17, Siggraph17Config, published_bins, simulated_hints

GOLDEN = Path(__file__).parent / "golden"
PHOTOS = Path(__file__).parent / "photos"
FAMILIES: dict[str, type[Colorizer[Any]]] = {"eccv16": Eccv16, "siggraph17": Siggraph17}
CONFIG = """
model = "{model}"
[network]
widths = [8, 8, 8, 8]
[data]
limit = 12
valid_share = 0.25
crop = 64
crops_per_photo = 1
workers = 0
[train]
steps = 4
batch_size = 4
pretrained = false
precision = "fp32"
[log]
every = 1
checkpoint_every = 2
valid_size = 64
"""


def random_state(model: nn.Module) -> None:
    """Statistics and scales as training leaves them, not those that batch normalisation starts with."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor, (low, high) in {
                module.running_mean: (-0.1, 0.4),
                module.running_var: (0.05, 0.4),
                module.weight: (-1.5, 1.5),
                module.bias: (-0.5, 0.5),
            }.items():
                nn.init.uniform_(tensor, low, high)  # type: ignore[arg-type]


@pytest.fixture
def eccv16() -> Eccv16:
    model = Eccv16(Eccv16Config.tiny()).eval()
    random_state(model)
    nn.init.normal_(model.model8[-1].weight, std=0.5)  # distributions that are far from even
    return model


@pytest.fixture
def siggraph17() -> Siggraph17:
    model = Siggraph17(Siggraph17Config.tiny()).eval()
    random_state(model)
    return model


@pytest.fixture
def L() -> Tensor:
    return torch.rand(2, 1, 40, 24) * 100


# The published files


def on_meta(name: str) -> Colorizer[Any]:
    with torch.device("meta"):
        spec, cls = registry.find(name)
        return cls.build(spec, spec.config).eval()


@pytest.mark.parametrize("name", FAMILIES)
def test_keys_and_shapes_are_the_published_ones(name: str) -> None:
    lines = (GOLDEN / f"{name}.txt").read_text().splitlines()
    published = {key: literal_eval(shape) for key, shape in (line.split(" ", 1) for line in lines)}
    state = on_meta(name).state_dict()
    assert {key: tuple(value.shape) for key, value in state.items()} == published
    assert list(state) == list(published) or name == "siggraph17"  # its layers are listed by kind


@pytest.mark.parametrize(("name", "millions"), [("eccv16", 32.24), ("siggraph17", 34.19)])
def test_parameters_are_as_many_as_published(name: str, millions: float) -> None:
    assert round(sum(p.numel() for p in on_meta(name).parameters()) / 1e6, 2) == millions


def gflops(run: Any) -> float:
    with FlopCounterMode(display=False) as counter:
        run()
    return round(counter.get_total_flops() / 1e9, 1)


def test_the_fast_path_saves_a_quarter_of_the_work() -> None:
    L = torch.empty(1, 1, 256, 256, device="meta")
    model = on_meta("siggraph17")
    assert gflops(lambda: straightforward.siggraph17(model, L)) == 202.0
    assert gflops(lambda: model.predict_ab(L)) == 150.4
    model = on_meta("eccv16")
    assert gflops(lambda: straightforward.eccv16(model, L)) == gflops(lambda: model.predict_ab(L)) == 83.5


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_known_of_the_weights_is_stated_and_no_more(name: str) -> None:
    (weights,) = zoo.describe(name).weights
    assert weights.convert_from is not None
    assert weights.convert_from.startswith("https://")
    assert weights.convert_from.endswith(f"-{weights.upstream_sha256}.pth")
    assert (weights.sha256, weights.size_bytes) == (None, None)
    assert (weights.license, weights.commercial_use) == ("BSD-2-Clause", True)
    assert "ImageNet" in " ".join(weights.training_data)
    assert weights.config is None  # the family's own


@pytest.mark.parametrize("name", FAMILIES)
def test_without_the_weights_nothing_is_colored(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))  # where nobody has put them
    with pytest.raises(WeightsError, match=name):
        zoo.load(name)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_published_state_fits_as_it_is(name: str) -> None:
    cls = FAMILIES[name]
    donor, other = (cls(type(registry.find(name)[0].config).tiny()) for _ in range(2))
    other.load_state_dict(cls.from_published(donor.state_dict()), strict=True)
    L = torch.rand(1, 1, 16, 16) * 100
    assert torch.equal(other.eval().predict_ab(L), donor.eval().predict_ab(L))


@pytest.mark.parametrize("cls", [Eccv16Config, Siggraph17Config])
def test_a_config_that_cannot_be_is_refused(cls: Any) -> None:
    with pytest.raises(ConfigError, match="widths"):
        cls(widths=(8, 8, 8))


# eccv16


def test_by_default_it_answers_as_published(eccv16: Eccv16, L: Tensor) -> None:
    with torch.inference_mode():
        ab = eccv16.predict_ab(L)
        assert ab.shape == (2, 2, 10, 6)
        large = F.interpolate(ab, scale_factor=4, mode="bilinear")
        torch.testing.assert_close(large, straightforward.eccv16(eccv16, L), rtol=0, atol=1e-4)
    assert large.std() > 1


def test_temperature_anneals_the_published_distribution(eccv16: Eccv16, L: Tensor) -> None:
    with torch.inference_mode():
        logits = eccv16(L)
        assert logits.shape == (2, 313, 10, 6)
        paper = 110 * eccv16.model_out((logits / 0.38).softmax(1))
        torch.testing.assert_close(eccv16.predict_ab(L, temperature=0.38), paper, rtol=0, atol=1e-3)
        mode = eccv16.centers[logits.argmax(1)].permute(0, 3, 1, 2)
        torch.testing.assert_close(eccv16.predict_ab(L, temperature=0.001), mode, rtol=0, atol=0.1)
        assert not torch.allclose(paper, eccv16.predict_ab(L), atol=1)


def test_the_bins_are_the_published_set() -> None:
    centers = published_bins()
    assert centers.shape == (313, 2)
    assert len(centers.unique(dim=0)) == 313
    assert centers[[0, 4, 5, -10, -1]].tolist() == [[-90, 50], [-90, 90], [-80, 20], [100, -90], [100, 0]]
    own = {tuple(c) for c in centers.tolist()}
    assert {tuple(c) for c in bins.bins().tolist()} < own  # every bin of the sRGB gamut is one of them


def test_the_centers_are_those_of_the_weights(eccv16: Eccv16, L: Tensor) -> None:
    torch.testing.assert_close(eccv16.centers, published_bins(), rtol=0, atol=1e-4)
    state = eccv16.state_dict()
    state["model_out.weight"] = state["model_out.weight"].flip(1) * 0.5
    plain = eccv16.predict_ab(L)
    eccv16.load_state_dict(state)
    torch.testing.assert_close(eccv16.centers, published_bins().flip(0) / 2, rtol=0, atol=1e-4)
    assert not torch.allclose(plain, eccv16.predict_ab(L), atol=1)


def test_it_learns_by_the_papers_loss_on_its_own_bins(eccv16: Eccv16) -> None:
    truth = torch.tensor([[[[12.0, -87.0], [98.0, 3.0]], [[-7.0, 81.0], [-3.0, 96.0]]]])  # two outside sRGB's bins
    L = torch.rand(1, 1, 8, 8) * 100
    eccv16.class_weights.uniform_(0.5, 2)
    found = eccv16.loss(Batch(L, truth)).total
    rows, expected = eccv16(L).log_softmax(1)[0].reshape(313, 4), torch.tensor(0.0)
    for n, color in enumerate(truth.reshape(2, 4).T):
        squared = ((published_bins() - color) ** 2).sum(1)
        nearest = squared.argsort()[:5]
        share = (-squared[nearest] / (2 * 5.0**2)).exp()
        entropy = -(share / share.sum() * rows[nearest, n]).sum()
        expected = expected + eccv16.class_weights[nearest[0]] * entropy / 4
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=0)


def test_rare_colors_weigh_more(eccv16: Eccv16) -> None:
    ab = torch.cat([torch.zeros(99, 2), torch.tensor([[-90.0, 80.0]])])
    eccv16.fit_statistics(ab)
    weights = eccv16.class_weights
    index = {tuple(c): n for n, c in enumerate(published_bins().tolist())}
    assert weights[index[-90, 80]] > 10 * weights[index[0, 0]]
    assert weights.shape == (313,)
    assert "class_weights" not in eccv16.state_dict()


def test_the_centers_stay_as_they_are(eccv16: Eccv16) -> None:
    eccv16.train().loss(Batch(torch.rand(1, 1, 16, 16) * 100, torch.rand(1, 2, 4, 4) * 50)).total.backward()  # type: ignore[no-untyped-call]
    assert eccv16.model_out.weight.grad is None
    trained = {id(p) for p in eccv16.parameters_of("colorizer")}
    assert [name for name, p in eccv16.named_parameters() if id(p) not in trained] == ["model_out.weight"]


# siggraph17


@pytest.mark.parametrize("given", [False, True])
def test_the_tail_computed_once_gives_the_published_answer(siggraph17: Siggraph17, L: Tensor, given: bool) -> None:
    ab, mask = torch.zeros(2, 2, 40, 24), torch.zeros(2, 1, 40, 24)
    if given:
        ab[:, 0, 8:14, 4:9], ab[:, 1, 8:14, 4:9], mask[:, :, 8:14, 4:9] = 60, -35, 1
    hints = torch.cat([ab, mask], 1) if given else None
    with torch.inference_mode():
        expected = straightforward.siggraph17(siggraph17, L, ab, mask)
        torch.testing.assert_close(siggraph17.predict_ab(L, hints=hints), expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(siggraph17(L, hints=hints)[0], expected, rtol=0, atol=1e-5)
    assert expected.std() > 0.5


def test_only_what_the_answer_needs_is_computed(siggraph17: Siggraph17, L: Tensor) -> None:
    calls: list[str] = []
    for name, module in siggraph17.named_children():
        module.register_forward_hook(lambda *_, name=name: calls.append(name))
    siggraph17.predict_ab(L)
    assert sorted(calls) == sorted({name for name, _ in siggraph17.named_children()} - {"model_class"})


def test_the_classes_are_those_of_the_published_head(siggraph17: Siggraph17, L: Tensor) -> None:
    _, logits = siggraph17(L)
    assert logits.shape == (2, 23 * 23, 10, 6)
    assert torch.equal(logits, siggraph17.model_class(siggraph17._trunk(L, None)[-1]))


def test_hints_of_nothing_are_no_hints(siggraph17: Siggraph17, L: Tensor) -> None:
    plain = siggraph17.predict_ab(L)
    hints = torch.zeros(2, 3, 40, 24)
    assert torch.equal(siggraph17.predict_ab(L, hints=hints), plain)
    hints[:, :2] = 50  # colours that no mask vouches for
    assert torch.equal(siggraph17.predict_ab(L, hints=hints), plain)
    hints[0, 2, 20, 10] = 1
    told = siggraph17.predict_ab(L, hints=hints)
    assert not torch.equal(told[0], plain[0])
    torch.testing.assert_close(told[1], plain[1])  # the other picture has no hints


@pytest.mark.parametrize("shape", [(2, 3, 20, 12), (1, 3, 40, 24), (2, 2, 40, 24), (3, 40, 24)])
def test_hints_of_another_shape_are_refused(siggraph17: Siggraph17, L: Tensor, shape: tuple[int, ...]) -> None:
    with pytest.raises(OptionError, match=r"hints.*\(2, 3, 40, 24\)"):
        siggraph17.predict_ab(L, hints=torch.zeros(shape))


def test_simulated_hints_tell_the_truth() -> None:
    ab = torch.tensor([[20.0, -30.0], [-5.0, 60.0]])[:, :, None, None].expand(2, 2, 16, 8)
    counts = []
    for seed in range(40):
        torch.manual_seed(seed)
        hints = simulated_hints(ab, (64, 32), 0.2)
        assert hints.shape == (2, 3, 64, 32)
        mask = hints[:, 2:]
        assert set(mask.unique().tolist()) <= {0.0, 1.0}
        torch.testing.assert_close(hints[:, :2], ab[:, :, :1, :1] * mask)
        counts += mask.mean((1, 2, 3)).tolist()
    assert 0 in counts  # some pictures go without, as when nobody gives any
    assert 0.005 < sum(counts) / len(counts) < 0.2
    torch.manual_seed(39)
    assert torch.equal(simulated_hints(ab, (64, 32), 0.2), hints)
    assert not simulated_hints(ab, (64, 32), 1.0).any()
    assert simulated_hints(ab, (4, 3), 0.2).isfinite().all()  # smaller than a patch


def test_hints_are_simulated_in_training_only(siggraph17: Siggraph17) -> None:
    batch = Batch(torch.rand(4, 1, 32, 32) * 100, torch.randn(4, 2, 8, 8) * 30)
    seen: list[bool] = []
    siggraph17.model1.register_forward_pre_hook(lambda _, x: seen.append(bool(x[0][:, 1:].any())))
    first, again = (siggraph17.loss(batch) for _ in range(2))
    assert torch.equal(first.total, again.total)
    siggraph17.train().loss(batch)
    assert seen == [False, False, True]


def test_colors_and_classes_are_learned_side_by_side(siggraph17: Siggraph17) -> None:
    ab = torch.tensor([4.0, -26.0])[None, :, None, None].expand(1, 2, 4, 4)
    batch = Batch(torch.rand(1, 1, 16, 16) * 100, ab)
    loss = siggraph17.loss(batch)
    mine, logits = siggraph17(batch.L)
    off = (F.avg_pool2d(mine, 4) - ab).abs()
    expected = torch.where(off < 1, off**2 / 2, off - 0.5).mean()  # the published beta is one ab unit
    torch.testing.assert_close(loss.parts["colors"], expected)
    bin_of_it = (0 + 11) * 23 + (-3 + 11)
    torch.testing.assert_close(loss.parts["classes"], -logits.log_softmax(1)[:, bin_of_it].mean())
    torch.testing.assert_close(loss.total, loss.parts["colors"] + loss.parts["classes"])


# The shared trainer


@pytest.mark.parametrize("name", FAMILIES)
def test_the_shared_trainer_trains_and_resumes(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c.toml").write_text(CONFIG.format(model=name))
    command = [str(tmp_path / "c.toml"), "--data", str(PHOTOS)]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    learn = Trainer._learn

    def interrupted(self: Trainer, batch: Any) -> Any:
        if self.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return learn(self, batch)

    monkeypatch.setattr(Trainer, "_learn", interrupted)
    assert main([*command, "--out", str(tmp_path / "cut")]) == 130
    monkeypatch.undo()
    assert main([*command, "--out", str(tmp_path / "cut"), "--resume"]) == 0
    logs = [(tmp_path / run / "log.jsonl").read_text().splitlines() for run in ("whole", "cut")]
    whole, cut = ([json.loads(line)["loss"] for line in log] for log in logs)
    assert len(whole) == 4
    assert cut == whole
