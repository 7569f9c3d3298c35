"""DDColor: the published tensors fit to the last name, and the fast forward pass answers as the published one."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import ddcolor_reference
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from zoo import color, contract, registry
from zoo.contract import subjects
from zoo.errors import ConfigError, WeightsError
from zoo.evaluation import metrics
from zoo.models import _ddcolor_network as network
from zoo.models.ddcolor import DDColor, DDColorConfig, colorfulness

HERE = Path(__file__).parent
MODELS = {"ddcolor": 227.9, "ddcolor_tiny": 55.0}  # millions of parameters, from the paper's Table 1


def published(name: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the tensors in the published file; ``[0-2]`` in the list stands for each of these numbers."""
    for line in (HERE / "golden" / f"{name}.txt").read_text(encoding="utf-8").splitlines():
        key, _, shape = line.partition(" ")
        sizes = tuple(int(size) for size in re.findall(r"\d+", shape))
        many = re.search(r"\[(\d+)-(\d+)\]", key)
        for n in range(int(many[1]), int(many[2]) + 1) if many else ("",):
            yield re.sub(r"\[\d+-\d+\]", str(n), key), sizes


def untrained(config: DDColorConfig | None = None, seed: int = 0) -> DDColor:
    """A network in which no tensor is at a value that would hide it: norms shift and scale, blocks count."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    model = DDColor(config or DDColorConfig.tiny()).eval()
    for key, tensor in model.state_dict().items():
        if key.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.01)  # some so small that epsilon shows
        elif tensor.ndim == 1 and key.endswith((".weight", ".gamma")):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif key.endswith(("running_mean", ".bias", "in_proj_bias")):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    return model


def lightness(height: int, width: int, count: int = 2) -> Tensor:
    noise = torch.rand((count, 1, height // 8, width // 8), generator=torch.Generator().manual_seed(5))
    return F.interpolate(noise, (height, width), mode="bilinear") * 100


def reference(model: DDColor, L: Tensor) -> Tensor:
    state = model.state_dict()
    with torch.inference_mode():
        x = ddcolor_reference.normalized(state, color.grey_from_lightness(L).expand(-1, 3, -1, -1))
        return ddcolor_reference.decode(state, model.config, x, ddcolor_reference.encode(state, model.config, x))


# The published files


@pytest.mark.parametrize("name", MODELS)
def test_published_tensors_fit_in_both_directions(name: str) -> None:
    spec, _ = registry.find(name)
    with torch.device("meta"):
        model = DDColor(spec.config)
    theirs = dict(published(name))
    ours = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    assert len(theirs) == {"ddcolor": 602, "ddcolor_tiny": 440}[name]
    assert theirs == ours
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == MODELS[name]
    state = {key: torch.empty(shape, device="meta") for key, shape in theirs.items()}
    model.load_state_dict(DDColor.from_published(state), strict=True, assign=True)


def test_the_classifier_of_older_files_is_dropped() -> None:
    state = dict(DDColor(DDColorConfig.tiny()).state_dict())
    old = state | {"encoder.arch.head_cls.weight": torch.zeros(3, 16), "encoder.arch.head_cls.bias": torch.zeros(3)}
    assert DDColor.from_published(old).keys() == state.keys()
    strange = DDColor.from_published(state | {"encoder.arch.head.weight": torch.zeros(1)})
    assert "encoder.arch.head.weight" in strange  # what is not known is left to the loader to refuse


def test_what_is_known_of_the_weights() -> None:
    for name in MODELS:
        for weights in registry.find(name)[0].weights:
            assert weights.license == "Apache-2.0"
            assert weights.commercial_use  # as their licence says
            assert weights.convert_from == f"{weights.source_url}/resolve/main/pytorch_model.bin"
            assert weights.sha256 is None
            assert not registry.is_packaged(weights)
    tags = [w.tag for w in registry.find("ddcolor")[0].weights]
    assert sorted(tags) == ["artistic", "modelscope", "paper"]


# The fast forward pass


@pytest.mark.parametrize("size", [(64, 96), (32, 32), (96, 64)])
@pytest.mark.parametrize("grad", [False, True])
def test_answers_as_the_published_forward_pass(size: tuple[int, int], grad: bool) -> None:
    model, L = untrained(), lightness(*size)
    expected = reference(model, L)
    assert expected.std() > 0.5  # there is something to compare
    assert expected.amax() - expected.amin() > 3
    for memory_format in (torch.contiguous_format, torch.channels_last):
        model.to(memory_format=memory_format)
        with torch.set_grad_enabled(grad):  # frozen normalisation is learned through, by other code
            found = model(L)
        assert found.shape == (2, 2, *size)
        assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_every_tensor_matters() -> None:
    """So that the comparison above would notice any of them going astray."""
    model, L = untrained(), lightness(64, 64, 1)
    with torch.inference_mode():
        before = model(L)
    idle = []
    for key, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        kept = tensor.clone()
        tensor.copy_(kept.flip(0) * 1.5 + 0.1)
        with torch.inference_mode():
            if torch.allclose(model(L), before, rtol=1e-5, atol=1e-6):
                idle.append(key)
        tensor.copy_(kept)
    # The classifier's norm, which the published files have, is used by no colour.
    assert idle == ["encoder.arch.norm.weight", "encoder.arch.norm.bias"]


@pytest.mark.slow
def test_answers_as_published_at_full_width() -> None:
    model = untrained(registry.find("ddcolor_tiny")[0].config).to(memory_format=torch.channels_last)
    L = lightness(64, 96, 1)
    expected = reference(model, L)
    with torch.inference_mode():
        assert (model(L) - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_the_full_size_features_never_exist() -> None:
    """What is allocated at once stays far below the 100 queries' and 256 channels' planes at full size."""
    config = replace(DDColorConfig.tiny(), queries=64, decoder_widths=(16, 16, 64))
    model, L = untrained(config), lightness(128, 128, 1)
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.shape[:1] == (1,):
                largest = max(largest, out.numel())
            return out

    with torch.no_grad(), Watch():
        model(L)
    assert 0 < largest < 64 * 128 * 128 / 2


def test_state_is_as_before_and_changes_count_at_once() -> None:
    """Nothing folded is kept: new weights give new answers, and the state has the published tensors only."""
    model, L = untrained(), lightness(64, 64)
    keys = set(model.state_dict())
    with torch.inference_mode():
        model(L)
    other = untrained(seed=1)
    with torch.inference_mode():
        different = other(L)
        assert not torch.allclose(model(L), different, atol=0.1)
        model.load_state_dict(other.state_dict())
        assert torch.equal(model(L), different)
    assert set(model.state_dict()) == keys


@pytest.mark.parametrize("shape", [(6, 10, 1), (12, 7, 3)])
def test_spectral_norm_is_torchs(shape: tuple[int, int, int]) -> None:
    """That of torch whose names the published files have."""
    outputs, inputs, kernel = shape
    own = network.SpectralConv2d(inputs, outputs, kernel).double().to(memory_format=torch.channels_last)
    theirs = nn.utils.spectral_norm(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)).double()
    theirs.load_state_dict(own.state_dict())
    x = torch.randn(2, inputs, 5, 4, dtype=torch.float64)
    for _ in range(3):
        expected = theirs.train()(x)
        y, sigma = own.train()(x)
        assert sigma > 0
        torch.testing.assert_close(y / sigma, expected)
        for key, value in theirs.state_dict().items():
            torch.testing.assert_close(own.state_dict()[key], value)
        for answer in (expected, y / sigma):
            answer.square().sum().backward()
        torch.testing.assert_close(own.weight_orig.grad, theirs.weight_orig.grad)
        own.weight_orig.grad = theirs.weight_orig.grad = None
    before = own.weight_u.clone()
    y, sigma = own.eval()(x)
    torch.testing.assert_close(y / sigma, theirs.eval()(x))
    assert torch.equal(own.weight_u, before)


def test_two_passes_before_one_step_have_gradients() -> None:
    model, batch = contract.maker("ddcolor")().train(), subjects.training_batch(contract.maker("ddcolor")())
    (model.loss(batch).total + model.loss(batch).total).backward()
    assert model.decoder.layers[0].conv[0].weight_orig.grad.isfinite().all()


# Learning


def test_the_encoder_takes_timms_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(DDColorConfig.tiny(), pretrained="convnext_tiny")
    timms = timm.create_model("convnext_tiny", depths=config.encoder_depths, dims=config.encoder_widths, num_classes=7)
    for parameter in timms.parameters():
        nn.init.normal_(parameter, std=0.5)
    monkeypatch.setattr(network, "pretrained_state", lambda name, remedy: dict(timms.state_dict()))
    model = DDColor(config)
    model.init_pretrained()
    L = lightness(64, 64)
    x = (color.grey_from_lightness(L).expand(-1, 3, -1, -1) - model.mean) / model.std
    with torch.inference_mode():
        expected = timms.eval().forward_intermediates(x, intermediates_only=True)
        for own, theirs in zip(model.encode(L), expected, strict=True):
            theirs = F.layer_norm(theirs.permute(0, 2, 3, 1), theirs.shape[1:2], eps=1e-6).permute(0, 3, 1, 2)
            torch.testing.assert_close(own, theirs, rtol=1e-4, atol=1e-4)
    assert torch.equal(model.encoder.arch.norm.weight, timms.head.norm.weight)


def test_weights_that_are_not_to_be_had_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str, **options: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(WeightsError, match=r"'convnext_tiny\.fb_in22k'.*no network"):
        DDColor(replace(DDColorConfig.tiny(), pretrained="convnext_tiny.fb_in22k")).init_pretrained()
    DDColor(DDColorConfig.tiny()).init_pretrained()  # from scratch: nothing to be had


def test_colorfulness_is_the_evaluators() -> None:
    pictures = [(contract.picture(40, 30, seed) * 255).astype("uint8") for seed in range(3)]
    found = colorfulness(torch.stack([torch.from_numpy(p).permute(2, 0, 1).double() for p in pictures]))
    assert found.tolist() == pytest.approx([metrics.colorfulness_abs(p) for p in pictures])
    grey = torch.full((1, 3, 4, 4), 99.0, requires_grad=True)
    (value,) = colorfulness(grey)
    value.backward()
    assert value == 0
    assert grey.grad is not None
    assert bool(grey.grad.isfinite().all())


def test_the_loss_says_its_parts() -> None:
    model = contract.maker("ddcolor")()
    batch = subjects.training_batch(model)
    loss = model.loss(batch)
    assert set(loss.parts) == {"pixels", "colorfulness"}
    torch.testing.assert_close(loss.total, 0.1 * loss.parts["pixels"] + 0.5 * loss.parts["colorfulness"])
    ab = F.avg_pool2d(model(batch.L), subjects.AB_STRIDE)
    torch.testing.assert_close(loss.parts["pixels"], (ab - batch.ab).abs().mean())
    bare = replace(DDColorConfig.tiny(), pixel_weight=0.0, colorfulness_weight=0.0)
    assert DDColor(bare).loss(batch).total == 0


def test_answers_stay_in_the_plane() -> None:
    model, L = untrained(), lightness(64, 64)
    with torch.inference_mode():
        model.refine_net[0][0].bias.copy_(torch.tensor([300.0, -300.0]))
        assert model(L).abs().max() > 200
        assert model.predict_ab(L).abs().max() == 127


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder_widths": (8, 8)}, "encoder_widths"),
        ({"encoder_depths": (1, 1, 1)}, "encoder_depths"),
        ({"encoder_depths": (1, 0, 1, 1)}, "encoder_depths"),
        ({"decoder_widths": (16, 16)}, "decoder_widths"),
        ({"decoder_widths": (16, 16, 12)}, "12 channels for 2 heads"),
        ({"queries": 0}, "queries"),
        ({"pixel_weight": -1.0}, "pixel_weight"),
    ],
)
def test_sizes_that_cannot_be_built(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(DDColorConfig.tiny(), **changes)


def test_the_shared_trainer_trains_it(tmp_path: Path) -> None:
    """The whole of it, and with the backbone frozen and its features kept."""
    train = pytest.importorskip("training.train")
    photos = tmp_path / "photos"
    photos.mkdir()
    for n in range(6):
        pixels = (contract.picture(80, 96, seed=n) * 255).astype("uint8")
        Image.fromarray(pixels).save(photos / f"{n}.png")
    tiny = "\n".join(
        f"{key} = {json.dumps(value)}" for key, value in asdict(DDColorConfig.tiny()).items() if value is not None
    )
    config = tmp_path / "ddcolor.toml"
    config.write_text(
        f'model = "ddcolor"\n[network]\n{tiny}\n'
        "[data]\ncrop = 64\ncrops_per_photo = 1\nvalid_share = 0.3\nworkers = 0\n"
        'provenance = ["made-up pictures"]\n'
        '[train]\nsteps = 3\nbatch_size = 2\nwarmup = 1\npretrained = false\nprecision = "fp32"\n'
        "[log]\nevery = 1\nvalid_size = 64\n"
    )
    for name, changes in {"whole": [], "head": ["train.freeze_backbone=true", "train.cache_features=true"]}.items():
        run = tmp_path / name
        settings = [argument for change in changes for argument in ("--set", change)]
        assert train.main([str(config), "--data", str(photos), "--out", str(run), *settings]) == 0
        assert len((run / "log.jsonl").read_text().splitlines()) == 3
        state = load_file(run / "weights.safetensors")
        DDColor(DDColorConfig.tiny()).load_state_dict(state)
        assert all(value.isfinite().all() for value in state.values())
        assert state["decoder.layers.0.bn.running_mean"].any()  # zero before anything is seen
