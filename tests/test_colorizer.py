"""What every model gets for free: options checked once, inputs refused in words, results the caller may go on with."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import zoo
from zoo import pipeline, registry
from zoo.colorizer import Colorizer
from zoo.errors import ConfigError, ImageError, OptionError


@pytest.fixture(scope="module")
def fusion() -> Colorizer[Any]:
    spec, cls = registry.find("fusion")
    torch.manual_seed(0)
    model: Colorizer[Any] = cls(type(spec.config).tiny())
    return model.eval()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1.5, "style": "vivid"}, "seed"),
        ({"seed": True}, "seed"),
        ({"seed": -1}, "seed"),
        ({"seed": 10**30}, "seed"),
        ({"temperature": "0.3"}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": 0.5, "style": "faithful"}, "takes no temperature"),
        ({"saturation": None}, "saturation"),
        ({"saturation": float("inf")}, "saturation"),
        ({"working_size": 64.5}, "working size"),
        ({"working_size": 10**9}, "working size"),
        ({"style": "purple"}, "faithful or vivid"),
        ({"views": 3}, "found: 3; expected: 1, 2 or 4"),
        ({"views": 0}, "views"),
        ({"views": True}, "views"),
        ({"views": 2.0}, "views"),
        ({"views": "2"}, "views"),
        ({"views": None}, "views"),
        ({"views": 2, "seed": 1}, "seed 1 and views 2"),
    ],
)
def test_bad_options_are_refused_before_any_picture(
    fusion: Colorizer[Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OptionError, match=message):
        fusion.check_options(**options)
    with pytest.raises(OptionError, match=message):
        fusion.colorize_array(np.zeros((8, 8), np.uint8), **options)


def test_an_option_that_is_not_supported_names_the_models_which_do() -> None:
    with pytest.raises(OptionError, match=r"classification,.* fusion"):
        zoo.load("grayscale").check_options(temperature=0.5)


def test_temperature_alone_asks_for_vivid_and_seeds_differ(fusion: Colorizer[Any]) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    plain = fusion.colorize_array(grey, temperature=0.5)
    assert (plain == fusion.colorize_array(grey, style="vivid", temperature=0.5)).all()
    first, again, other = (fusion.colorize_array(grey, seed=s) for s in (1, np.int64(1), 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize(("count", "height", "width"), [(1, 41, 67), (1, 5, 300), (2, 64, 61)])
def test_views_are_averaged(
    monkeypatch: pytest.MonkeyPatch, fusion: Colorizer[Any], count: int, height: int, width: int
) -> None:
    monkeypatch.setattr("zoo.runnable.has_fast_bf16", lambda: False)
    rgb = torch.rand(count, 1, height, width)
    sizes = {"working_size": 96, "multiple_of": 32}

    def mirrored(L: Tensor) -> Tensor:
        return (fusion.predict_ab(L) + fusion.predict_ab(L.flip(3)).flip(3)) / 2

    def both_sizes(L: Tensor) -> Tensor:
        own = mirrored(L)
        smaller = [max(32, round(side * 3 / 128) * 32) for side in L.shape[2:]]
        small = mirrored(F.interpolate(L, smaller, mode="bilinear", antialias=True))
        return (own + F.interpolate(small, own.shape[2:], mode="bilinear")) / 2

    with torch.inference_mode():
        expected = [pipeline.colorize_batch(rgb, predict, **sizes) for predict in (mirrored, both_sizes)]
        lab = pipeline.predict_lab(rgb[0, 0].numpy(), both_sizes, **sizes)
    alone, *found = (fusion.colorize_batch(rgb, working_size=96, views=views) for views in (1, 2, 4))
    for own, other, right in zip(found, (alone, found[0]), expected, strict=True):
        torch.testing.assert_close(own, right, atol=2e-5, rtol=0)
        assert (own - other).abs().max() > 2e-4
    array = rgb[0, 0].numpy()
    torch.testing.assert_close(fusion.predict_lab(array, working_size=96, views=4), lab, atol=2e-3, rtol=0)
    colored = torch.from_numpy(fusion.colorize_array(array, working_size=96, views=4)).permute(2, 0, 1)
    torch.testing.assert_close(colored, found[1][0], atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "size", "working_size", "seen"),
    [
        ("grayscale", (32, 32), 32, [(32, 32), (24, 24)]),
        ("grayscale", (1, 300), 32, [(1, 256), (1, 192)]),
        ("fusion", (64, 64), 256, [(256, 256), (192, 192)]),
        ("fusion", (64, 64), 32, [(32, 32)]),
        ("fusion", (90, 150), 100, [(96, 160), (64, 128)]),
    ],
)
def test_views_are_seen_at_two_sizes(
    monkeypatch: pytest.MonkeyPatch,
    fusion: Colorizer[Any],
    name: str,
    size: tuple[int, int],
    working_size: int,
    seen: list[tuple[int, int]],
) -> None:
    model = fusion if name == "fusion" else zoo.load(name)
    shapes = []

    def predict_ab(L: Tensor) -> Tensor:
        shapes.append(tuple(L.shape[2:]))
        return torch.full((1, 2, 1, 1), 10.0 * len(shapes))  # at its own stride

    monkeypatch.setattr(model, "predict_ab", predict_ab)
    lab = model.predict_lab(np.full(size, 0.5), working_size=working_size, views=4)
    assert shapes == [view for view in seen for _ in range(2)]
    torch.testing.assert_close(lab[1:], torch.full((2, *size), 25.0 if len(seen) == 2 else 15.0))


def test_a_symmetric_picture_has_symmetric_colors_with_its_mirror_image(fusion: Colorizer[Any]) -> None:
    half = np.random.default_rng(0).random((64, 32), np.float32)
    array = np.concatenate([half, half[:, ::-1]], axis=1)
    off = []
    for views in (1, 2, 4):
        ab = fusion.predict_lab(array, working_size=64, views=views)[1:]
        off.append(float((ab - ab.flip(2)).abs().max()))
    assert off[0] > 0.2
    assert max(off[1:]) < 0.05


@pytest.mark.parametrize("thing", [None, 3, [1, 2], torch.zeros(3, 4, 4), b"x.png"])
def test_what_is_not_a_picture_is_an_image_error(thing: Any) -> None:
    with pytest.raises(ImageError, match="not a picture"):
        zoo.load("grayscale").colorize(thing)


def test_a_batch_is_a_tensor_the_caller_may_train_on() -> None:
    model = zoo.load("grayscale")
    out = model.colorize_batch(torch.rand(2, 3, 9, 11))
    layer = torch.nn.Conv2d(3, 1, 1)
    layer(out).sum().backward()
    out.mul_(2)
    with pytest.raises(ImageError, match="not a batch"):
        model.colorize_batch(np.zeros((1, 3, 4, 4)))  # type: ignore[arg-type]


def test_memory_that_is_not_there_is_a_zoo_error(monkeypatch: pytest.MonkeyPatch) -> None:
    model = zoo.load("grayscale")

    def greedy(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(model, "predict_ab", greedy)
    with pytest.raises(ImageError, match="not enough memory"):
        model.colorize_array(np.zeros((4, 4), np.uint8))


def test_a_family_with_two_models_knows_which_it_is() -> None:
    spec, cls = registry.find("fusion")
    assert cls(type(spec.config).tiny()).spec.name == "fusion"
    assert [s.name for s in cls.specs] == ["fusion"]


@pytest.mark.parametrize(
    "values",
    [{"decoder_widths": (8,)}, {"decoder_widths": (8, 8, 10**12)}, {"beta": -1.0}, {"vivid_temperature": 0.0}],
)
def test_networks_that_cannot_be_built_are_refused(values: dict[str, Any]) -> None:
    spec, _ = registry.find("fusion")
    with pytest.raises(ConfigError):
        type(spec.config)(**values)
