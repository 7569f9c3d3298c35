"""Every registered model does what every model must, and the checks can fail: models that are wrong in one way each."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import zoo
from zoo import contract, registry
from zoo.colorizer import Batch, Colorizer, Loss
from zoo.spec import ModelSpec, WeightsSpec


@pytest.mark.parametrize("check", contract.CHECKS)
@pytest.mark.parametrize("name", registry.list_models())
def test_model(name: str, check: str) -> None:
    contract.CHECKS[check](contract.maker(name))


def test_grayscale_is_exactly_grey(make_picture: Callable[..., Any]) -> None:
    model = zoo.load("grayscale")
    grey = make_picture(40, 30)[..., 1]
    assert np.array_equal(model.colorize_array(grey), np.stack([grey] * 3, axis=2))
    colored = model.colorize_array(make_picture(40, 30))
    assert np.ptp(colored, axis=2).max() == 0


# A model that is right, and models that are wrong in one way.


@dataclass(frozen=True)
class Config:
    width: int = 8

    @classmethod
    def tiny(cls) -> "Config":
        return cls(width=6)


SPEC = ModelSpec(
    name="right",
    summary="A small network",
    config=Config(),
    weights=(),
    working_size=32,
    multiple_of=4,
    supports=frozenset({"seed"}),
)


class Right(Colorizer[Config]):
    spec = SPEC

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.stem = nn.Sequential(nn.Conv2d(1, config.width, 1, bias=False), nn.BatchNorm2d(config.width))
        self.head = nn.Sequential(nn.ReLU(), nn.Dropout(0.1), nn.Conv2d(config.width, 2, 1))

    def encode(self, L: Tensor) -> tuple[Tensor, ...]:
        return (self.stem(F.avg_pool2d(L, 4) / 50 - 1),)

    @property
    def backbone(self) -> nn.Module:
        return self.stem

    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        return self.head((features or self.encode(L))[0]) * 20

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        return Loss(F.mse_loss(self(batch.L, batch.features), batch.ab))

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        ab = self(L)
        if "seed" in options:
            ab = ab + torch.rand(1, 2, 1, 1, generator=torch.Generator().manual_seed(options["seed"]))
        return ab


class WrongSize(Right):
    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        ab = super().predict_ab(L, **options)
        return F.interpolate(ab, (ab.shape[2] + 1, ab.shape[3]))


class NotFinite(Right):
    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        ab = super().predict_ab(L, **options)
        if len(L) == 3:
            ab[2, 1, 0, 0] = torch.nan
        return ab


class OutOfRange(Right):
    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        ab = super().predict_ab(L, **options)
        return ab * 1000 if len(L) == 3 else ab


class LooksAtItsNeighbors(Right):
    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        return super().predict_ab(L, **options) + 0.1 * (len(L) - 1)


class IgnoresSeed(Right):
    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        return super().predict_ab(L)


class CountsCalls(Right):
    calls = 0

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        self.calls += 1
        return super().predict_ab(L, **{name: value + self.calls for name, value in options.items()})


class DrawsFromTheGlobalGenerator(Right):
    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        torch.rand(1)
        return super().predict_ab(L, **options)


class TakesAnyOption(Right):
    def colorize_array(self, array: Any, *, style: Any = None, temperature: Any = None, **options: Any) -> Any:
        return super().colorize_array(array, **options)


class LeaksColor(Right):
    def colorize_array(self, array: Any, *, saturation: float = 1.0, **options: Any) -> Any:
        if array.ndim == 3 and array.shape[2] >= 3 and array.dtype.kind == "f":
            saturation = min(10, saturation * (1 + 20 * float(np.ptp(array[..., :3], axis=2).mean())))
        return super().colorize_array(array, saturation=saturation, **options)


class LosesAlpha(Right):
    def colorize_array(self, array: Any, **options: Any) -> Any:
        return super().colorize_array(array, **options)[..., :3]


class LosesAlphaOfFiles(Right):
    def colorize(self, image: Any, **options: Any) -> Any:
        return super().colorize(image, **options).convert("RGB")


class TurnsFloatIntoDouble(Right):
    def colorize_array(self, array: Any, **options: Any) -> Any:
        result = super().colorize_array(array, **options)
        return result.astype(np.float64) if array.dtype == np.float32 else result


class Darkens(Right):
    def colorize_array(self, array: Any, **options: Any) -> Any:
        result = super().colorize_array(array, **options)
        if array.dtype == np.float32:
            result[..., :3] *= 0.95
        return result


class IgnoresHints(Right):
    def colorize_array(self, array: Any, *, hints: Any = None, **options: Any) -> Any:
        return super().colorize_array(array, **options)


class AlwaysColors(Right):
    def colorize_array(self, array: Any, *, saturation: float = 1.0, **options: Any) -> Any:
        return super().colorize_array(array, saturation=saturation or 5.0, **options)


class WritesIntoItsInput(Right):
    def colorize_batch(self, rgb: Tensor, **options: Any) -> Tensor:
        result = super().colorize_batch(rgb, **options)
        rgb[0, 0, 0, 0] = 0.5
        return result


class WritesIntoTheBatch(Right):
    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        batch.ab.mul_(0.99999)
        return super().loss(batch, role)


class ForgetsTrainingMode(Right):
    def colorize_array(self, array: Any, **options: Any) -> Any:
        self.eval()
        return super().colorize_array(array, **options)


class LearnsFromItsInput(Right):
    def colorize_array(self, array: Any, **options: Any) -> Any:
        self.stem[1].num_batches_tracked += 1  # type: ignore[operator]
        return super().colorize_array(array, **options)


class DeadParameter(Right):
    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.unused = nn.Parameter(torch.ones(3))


class ForgottenParameter(Right):
    def parameters_of(self, role: str) -> Any:
        return self.head.parameters()


class DoesNotLearn(Right):
    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        return Loss(batch.ab.abs().mean() + 0 * super().loss(batch, role).total)


class OtherFeatures(Right):
    def encode(self, L: Tensor) -> tuple[Tensor, ...]:
        return (self.stem(F.avg_pool2d(L, 4)),)

    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Tensor:
        return super().forward(L, features or super().encode(L))


class KeepsSomethingToItself(Right):
    offset: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.register_buffer("offset", torch.rand(1, 2, 1, 1), persistent=False)

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        return super().predict_ab(L, **options) + self.offset


class LacksItsWeights(Right):
    spec = replace(
        SPEC,
        weights=(
            WeightsSpec(
                tag="gone",
                sha256="0" * 64,
                size_bytes=1,
                license="Apache-2.0",
                commercial_use=True,
                training_data=("none",),
                source_url=None,
                packaged="nowhere.safetensors",
            ),
        ),
    )


WRONG: dict[type[Right], set[str]] = {
    Right: set(),
    WrongSize: {"predict_ab"},
    NotFinite: {"predict_ab"},
    OutOfRange: {"predict_ab"},
    LooksAtItsNeighbors: {"batch_of_two"},
    IgnoresSeed: {"options"},
    CountsCalls: {"options", "same_every_time"},
    DrawsFromTheGlobalGenerator: {"same_every_time"},
    TakesAnyOption: {"other_options"},
    LeaksColor: {"color_is_ignored"},
    LosesAlpha: {"output"},
    LosesAlphaOfFiles: {"output"},
    TurnsFloatIntoDouble: {"output"},
    Darkens: {"lightness"},
    IgnoresHints: {"hints"},
    AlwaysColors: {"no_saturation_is_grey"},
    WritesIntoItsInput: {"input_is_not_changed"},
    WritesIntoTheBatch: {"input_is_not_changed"},
    ForgetsTrainingMode: {"model_is_not_changed"},
    LearnsFromItsInput: {"model_is_not_changed"},
    DeadParameter: {"gradients"},
    ForgottenParameter: {"gradients"},
    DoesNotLearn: {"overfits"},
    OtherFeatures: {"features"},
    KeepsSomethingToItself: {"save"},
    LacksItsWeights: {"spec"},
}


def _make(cls: type[Right]) -> Right:
    torch.manual_seed(0)
    return cls(Config.tiny()).eval()


@pytest.mark.parametrize(("cls", "failing"), WRONG.items(), ids=[cls.__name__ for cls in WRONG])
def test_wrong_model_fails_the_named_check_alone(cls: type[Right], failing: set[str]) -> None:
    results = contract.run(partial(_make, cls))
    assert [r.check for r in results] == list(contract.CHECKS)
    assert {r.check: r.problem for r in results if not r.passed}.keys() == failing, results


def test_every_check_can_fail() -> None:
    assert set().union(*WRONG.values()) == set(contract.CHECKS)


def test_a_problem_names_the_model_and_what_was_found() -> None:
    with pytest.raises(contract.ContractError, match=r"'right'.*found: values that are not finite.*expected"):
        contract.check_predict_ab(partial(_make, NotFinite))


def test_run_goes_on_after_an_exception() -> None:
    class Breaks(Right):
        def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
            raise RuntimeError("shapes do not match")

    problems = {r.check: r.problem for r in contract.run(partial(_make, Breaks))}
    assert problems["predict_ab"] == "RuntimeError: shapes do not match"
    assert problems["gradients"] is None


def test_run_by_name_knows_the_registry() -> None:
    with pytest.raises(zoo.ZooError, match=r"no model named 'fussion'.*'fusion'"):
        contract.run("fussion")
