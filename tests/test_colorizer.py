"""What every model gets for free: options checked once, inputs refused in words, results the caller may go on with."""

from typing import Any

import numpy as np
import pytest
import torch

import zoo
from zoo import registry
from zoo.colorizer import Colorizer
from zoo.errors import ConfigError, ImageError, OptionError


@pytest.fixture(scope="module")
def fusion() -> Colorizer[Any]:
    spec, cls = registry.find("fusion")
    torch.manual_seed(0)
    model: Colorizer[Any] = cls(type(spec.config).tiny())
    return model


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
    with pytest.raises(OptionError, match="classification, fusion"):
        zoo.load("grayscale").check_options(temperature=0.5)


def test_temperature_alone_asks_for_vivid_and_seeds_differ(fusion: Colorizer[Any]) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    plain = fusion.colorize_array(grey, temperature=0.5)
    assert (plain == fusion.colorize_array(grey, style="vivid", temperature=0.5)).all()
    first, again, other = (fusion.colorize_array(grey, seed=s) for s in (1, np.int64(1), 2))
    assert (first == again).all()
    assert (first != other).any()


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
