"""DeOldify: the size and the names of the published networks, its layers against torch's own, and what it answers."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

import zoo
from training.train import main
from zoo import contract, registry
from zoo.colorizer import Batch
from zoo.errors import ConfigError, WeightsError
from zoo.models import _deoldify_network as network
from zoo.models import deoldify
from zoo.models.deoldify import DeOldify, DeOldifyConfig

NAMES = ("deoldify_artistic", "deoldify_stable")
WIDE = DeOldifyConfig(encoder="test_resnet", decoder="wide", factor=0.0625)
TINY = DeOldifyConfig.tiny()


def make(config: DeOldifyConfig = TINY, name: str = "deoldify_artistic") -> DeOldify:
    torch.manual_seed(0)
    return DeOldify.build(registry.find(name)[0], config).eval()


# The published networks


@pytest.fixture(scope="module")
def published() -> dict[str, DeOldify]:
    """Both networks without memory."""
    with torch.device("meta"):
        return {name: DeOldify(registry.find(name)[0].config) for name in NAMES}


@pytest.mark.parametrize(("name", "size"), [(NAMES[0], 255_144_681), (NAMES[1], 874_066_230)])
def test_as_many_bytes_as_the_published_file_holds(published: dict[str, DeOldify], name: str, size: int) -> None:
    state = published[name].state_dict()
    told = size - sum(tensor.nbytes for tensor in state.values())  # the names, shapes and places of the tensors
    assert 150 < told / len(state) < 250


def test_the_published_number_of_parameters(published: dict[str, DeOldify]) -> None:
    millions = {name: sum(p.numel() for p in model.parameters()) / 1e6 for name, model in published.items()}
    assert {name: round(count, 1) for name, count in millions.items()} == dict(zip(NAMES, (63.6, 218.2), strict=True))


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        (
            "deoldify_artistic",
            {
                "layers.0.0.weight": (64, 3, 7, 7),
                "layers.0.5.0.downsample.0.weight": (128, 64, 1, 1),
                "layers.0.7.2.conv2.weight": (512, 512, 3, 3),
                "layers.1.running_mean": (512,),
                "layers.3.0.0.weight_orig": (1024, 512, 3, 3),
                "layers.4.shuf.conv.0.weight_orig": (1024, 512, 1, 1),
                "layers.4.shuf.conv.1.weight": (1024,),
                "layers.4.bn.weight": (256,),
                "layers.4.conv1.0.weight_orig": (768, 512, 3, 3),
                "layers.5.conv2.3.query.weight_orig": (96, 768, 1),
                "layers.5.conv2.3.gamma": (1,),
                "layers.6.conv2.0.weight_v": (672 * 9,),
                "layers.7.conv2.2.weight": (300,),
                "layers.8.conv.0.weight_g": (1200, 1, 1, 1),
                "layers.8.conv.0.weight_v": (1200, 300, 1, 1),
                "layers.10.layers.1.0.bias": (303,),
                "layers.11.0.weight_orig": (3, 303, 1, 1),
                "layers.11.0.weight_u": (3,),
            },
        ),
        (
            "deoldify_stable",
            {
                "layers.0.7.2.conv3.weight": (2048, 512, 1, 1),
                "layers.4.shuf.conv.0.weight_orig": (2048, 2048, 1, 1),
                "layers.4.conv.0.weight_orig": (512, 1536, 3, 3),
                "layers.5.conv.3.value.weight_orig": (512, 512, 1),
                "layers.7.conv.0.weight_orig": (256, 320, 3, 3),
                "layers.10.layers.0.0.weight_orig": (259, 259, 3, 3),
            },
        ),
    ],
)
def test_names_and_shapes_as_the_public_source_makes_them(
    published: dict[str, DeOldify], name: str, tensors: dict[str, tuple[int, ...]]
) -> None:
    state = published[name].state_dict()
    assert {key: tuple(state[key].shape) for key in tensors if key in state} == tensors


def test_what_is_said_of_the_weights() -> None:
    for name in NAMES:
        spec = zoo.describe(name)
        assert "weights by its author; conversion unverified" in spec.summary
        (weights,) = spec.weights
        assert (weights.license, weights.commercial_use, weights.sha256) == ("MIT", True, None)
        assert len(weights.upstream_sha256 or "") == 64


def test_it_is_not_loaded_without_weights() -> None:
    with pytest.raises(WeightsError, match="deoldify_artistic"):
        zoo.load("deoldify_artistic")


# Its layers


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("kernel", "dimensions"), [(3, 2), (1, 1)])
def test_spectral_normalization_is_torchs(kernel: int, dimensions: int, training: bool) -> None:
    own = network.SpectralConv(6, 5, kernel, bias=True, dimensions=dimensions)
    cls = nn.Conv2d if dimensions == 2 else nn.Conv1d
    theirs = nn.utils.spectral_norm(cls(6, 5, kernel, padding=kernel // 2))
    theirs.load_state_dict(own.state_dict())
    own.train(training), theirs.train(training)
    x = torch.randn(2, 6, *[7] * dimensions)
    for _ in range(2):
        answers = own(x), theirs(x)
        torch.testing.assert_close(*answers)
        gradients = [
            torch.autograd.grad(answer.square().sum(), module.weight_orig)[0]
            for answer, module in zip(answers, (own, theirs), strict=True)
        ]
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(own.state_dict(), theirs.state_dict())


@pytest.mark.parametrize("side", [2, 30], ids=["the map scaled", "the weight scaled"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_without_gradients_the_convolution_is_the_same(side: int, layout: torch.memory_format) -> None:
    own = network.SpectralConv(16, 12, 3, bias=True).eval().to(memory_format=layout)
    with torch.no_grad():
        own.weight_orig.mul_(7), own.bias.normal_()
    x = torch.randn(2, 16, side, side)
    straightforward = F.conv2d(x, own.weight(), own.bias, padding=1).detach()
    kept = {key: value.clone() for key, value in own.state_dict().items()}
    for _ in range(2):
        with torch.inference_mode():
            torch.testing.assert_close(own(x).clone(), straightforward, rtol=1e-5, atol=1e-5)
    assert all(torch.equal(value, kept[key]) for key, value in own.state_dict().items())
    assert own.state_dict().keys() == kept.keys()
    with torch.no_grad():
        own.weight_orig.data.mul_(torch.rand(12, 1, 1, 1) + 0.5)  # what is not seen by torch's version counters
        torch.testing.assert_close(own(x), F.conv2d(x, own.weight(), own.bias, padding=1), rtol=1e-5, atol=1e-5)


def test_without_gradients_the_network_is_the_same() -> None:
    model = make().to(memory_format=torch.channels_last)
    L = torch.rand(1, 1, 64, 64) * 100
    straightforward = model(L).detach()
    with torch.inference_mode():
        torch.testing.assert_close(model(L).clone(), straightforward, rtol=1e-5, atol=1e-5)


def test_weight_normalization_is_torchs() -> None:
    own = network.WeightNormConv(6, 8)
    with torch.no_grad():
        own.weight_g.mul_(torch.rand(8, 1, 1, 1) + 0.5)
        own.bias.normal_()
    theirs = nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 8, 1))
    theirs.load_state_dict(
        {
            "bias": own.bias,
            "parametrizations.weight.original0": own.weight_g,
            "parametrizations.weight.original1": own.weight_v,
        }
    )
    x = torch.randn(2, 6, 5, 7)
    torch.testing.assert_close(own(x), theirs(x))


def test_attention_is_the_published_formula() -> None:
    attention = network.SelfAttention(16).eval()
    x = torch.randn(2, 16, 3, 5)
    assert torch.equal(attention(x), x)  # as it begins
    with torch.no_grad():
        attention.gamma.fill_(0.7)
        flat = x.flatten(2)
        f, g, h = (part(flat) for part in (attention.query, attention.key, attention.value))
        beta = F.softmax(torch.bmm(f.transpose(1, 2), g), dim=1)
        expected = (0.7 * torch.bmm(h, beta) + flat).view_as(x)
        torch.testing.assert_close(attention(x), expected)


@pytest.mark.parametrize("layer", [network.enlarging(6, 4), network.enlarging_last(6)], ids=["within", "last"])
def test_enlarging_begins_without_chequers(layer: network.Shuffle) -> None:
    layer.blur = False
    x = layer.eval()(torch.randn(1, 6, 4, 5))
    assert x.shape[-2:] == (8, 10)
    assert torch.allclose(x, F.interpolate(x[..., ::2, ::2], scale_factor=2))
    assert x.std() > 0


# What it answers


@pytest.mark.slow
def test_the_wide_decoder_keeps_the_contract_too() -> None:
    assert [r for r in contract.run(partial(make, WIDE, "deoldify_stable")) if not r.passed] == []


@pytest.mark.parametrize("config", [TINY, WIDE], ids=["deep", "wide"])
def test_sides_that_are_no_multiples_of_32(config: DeOldifyConfig) -> None:
    L = torch.rand(1, 1, 48, 80) * 100
    with torch.inference_mode():
        ab = make(config).predict_ab(L)
    assert ab.shape == (1, 2, 48, 80)


def test_it_sees_and_paints_in_imagenets_units() -> None:
    seen: list[Tensor] = []
    model = make()
    model.layers[0][0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    model.layers[11] = nn.Conv2d(1, 1, 1)  # in place of the last convolution: what it paints is known
    model.layers[11].forward = lambda x: torch.zeros(1, 3, *x.shape[-2:]) + torch.tensor([0.0, 0.7, -0.4]).view(3, 1, 1)
    with torch.inference_mode():
        painted = model(torch.full((1, 1, 32, 32), 50.0))[0, :, 5, 5]
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(seen[0][0, :, 3, 3], (0.4663 - mean) / std, atol=1e-3)  # sRGB 0.4663 is L 50
    ranged = 6 / (1 + np.exp(-np.array([0.0, 0.7, -0.4]))) - 3
    np.testing.assert_allclose(painted, ranged * std + mean, atol=1e-5)


def test_init_pretrained_takes_imagenet_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    asked: list[str] = []
    states = {"test_resnet.tv_in1k": timm.create_model("test_resnet").state_dict()}

    def state_of(name: str, **options: Any) -> dict[str, Tensor]:
        asked.append(name)
        return states[name]

    monkeypatch.setattr(deoldify, "pretrained_state", state_of)
    model = make()
    model.init_pretrained()
    assert asked == ["test_resnet.tv_in1k"]
    (source,) = ({k: v for k, v in state.items() if not k.startswith("fc.")} for state in states.values())
    own = model.layers[0].state_dict()
    assert [key.partition(".")[2] for key in own] == [key.partition(".")[2] for key in source]
    assert all(torch.equal(*pair) for pair in zip(own.values(), source.values(), strict=True))


def test_a_colour_beyond_srgb_still_has_a_gradient() -> None:
    model = make()
    rgb = torch.tensor([1.4, -0.2, 0.5]).view(1, 3, 1, 1).expand(1, 3, 32, 32).clone().requires_grad_()
    model.forward = lambda L, features=None: rgb  # type: ignore[method-assign, assignment]
    batch = Batch(torch.full((1, 1, 32, 32), 50.0), torch.zeros(1, 2, 8, 8))
    model.loss(batch).total.backward()
    assert rgb.grad is not None
    assert bool((rgb.grad.abs().amax((0, 2, 3)) > 0).all())
    assert model.predict_ab(batch.L).abs().max() < 128


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"encoder": "resnet_of_mine"}, "unknown encoder 'resnet_of_mine'"),
        ({"encoder": "tf_efficientnet_lite0"}, "does not fit.*EfficientNet"),
        ({"decoder": "flat"}, "unknown decoder"),
        ({"factor": 0.0}, "bad factor"),
    ],
)
def test_what_cannot_be_built_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        DeOldify(DeOldifyConfig(**({"encoder": "test_resnet"} | values)))


@pytest.mark.slow
def test_the_shared_trainer_trains_it(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(6):
        rgb = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        Image.fromarray(rgb).resize((100, 80)).save(tmp_path / "photos" / f"{i}.png")
    (tmp_path / "tiny.toml").write_text(
        'model = "deoldify_artistic"\n[network]\nencoder = "test_resnet"\nfactor = 0.25\n'
        "[data]\ncrop = 64\ncrops_per_photo = 1\nvalid_share = 0.34\nworkers = 0\n"
        '[train]\nsteps = 3\nbatch_size = 2\nwarmup = 1\npretrained = false\nprecision = "fp32"\n'
        "[log]\nevery = 1\nvalid_size = 64\n"
    )
    run = tmp_path / "run"
    assert main([str(tmp_path / "tiny.toml"), "--data", str(tmp_path / "photos"), "--out", str(run)]) == 0
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert all(np.isfinite([line["loss"], line["ab"], line["L"]]).all() for line in lines)
