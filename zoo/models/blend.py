"""Blend: the mean of what several models answer. Networks err differently, so that their mean is right more often.

Any models will do, in one statement, which names them as `zoo.load` does:

    zoo.register(ModelSpec(name="mine", config=BlendConfig(), parts=("fusion", "regression"), ...))(Blend)

Source: Perrone and Cooper, "When networks disagree: ensemble methods for hybrid neural networks", 1993.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo import upsampling
from zoo.colorizer import Batch, Colorizer, Loss
from zoo.errors import ConfigError, RegistryError
from zoo.registry import register
from zoo.spec import ModelSpec
from zoo.spread import Spread, mean_spread


@dataclass(frozen=True)
class BlendConfig:
    """Nothing to configure: the parts are named in the spec, and all count alike."""

    @classmethod
    def tiny(cls) -> "BlendConfig":
        """The smallest configuration, for tests."""
        return cls()


@register(
    ModelSpec(
        name="blend",
        summary="Mean of two fusion networks: calmer than fusion, for twice its time",
        config=BlendConfig(),
        weights=(),
        working_size=256,
        multiple_of=32,
        supports=frozenset({"style", "temperature", "seed"}),
        styles=("faithful", "vivid"),
        parts=("fusion.base", "fusion.long"),
        reference="after Perrone and Cooper 1993",
    )
)
class Blend(Colorizer[BlendConfig]):
    """Answers with the mean of its parts' ab; an option goes to those parts that have it.

    The parts are taken over as they are, and their gradients switched off.

    Args:
        config: Nothing.
        parts: The models, loaded, at least one.

    Raises:
        ConfigError: There are none.
    """

    roles = ()

    def __init__(self, config: BlendConfig, parts: Sequence[Colorizer[Any]] = ()) -> None:
        super().__init__(config)
        if not parts:
            raise ConfigError("a blend without parts", expected="models", remedy="zoo.load(NAME) hands them over")
        self.networks = nn.ModuleList(parts).requires_grad_(False)

    @classmethod
    def build(cls, spec: ModelSpec, config: Any, parts: Sequence[Colorizer[Any]] = ()) -> "Blend":
        """As `Colorizer.build`.

        Raises:
            ConfigError: There are no parts.
            RegistryError: The spec allows what a part cannot take, or promises what none has.
        """
        if unknown := sorted(spec.supports - {option for part in parts for option in part.spec.supports}):
            raise RegistryError(f"model {spec.name!r}: option {unknown[0]!r} is one that none of its parts has")
        for part in parts:
            own = part.spec
            for what, wanted, has, fits in (
                ("multiple_of", spec.multiple_of, own.multiple_of, spec.multiple_of % own.multiple_of == 0),
                ("styles", spec.styles, own.styles, not own.styles or set(spec.styles) <= set(own.styles)),
            ):
                if not fits:
                    raise RegistryError(
                        f"model {spec.name!r}: {what} {wanted} does not suit its part {own.name!r}", found=has
                    )
        return super().build(spec, config, parts)

    @property
    def parts(self) -> tuple[Colorizer[Any], ...]:
        """The models whose mean it is, in the order of ``spec.parts``."""
        return tuple(self.networks)  # type: ignore[arg-type]

    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> tuple[Any, ...]:
        """What each part's network gives for L, (N, 1, H, W) in [0, 100]."""
        return tuple(part(L) for part in self.parts)

    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        """Nothing: a blend has no role in training.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            f"model {self.spec.name!r} is not trained",
            found="it is a mean of other models",
            remedy=f"train its parts: {', '.join(self.spec.parts)}",
        )

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        """The mean at the size of the largest answer, (N, 2, h, w) in Lab units."""
        answers = [part.predict_ab(L, **_taken(part, options)).float() for part in self.parts]
        size = max((ab.shape[2], ab.shape[3]) for ab in answers)
        return torch.stack([upsampling.bilinear_upsample(ab, size) for ab in answers]).mean(0)

    def spread(self, L: Tensor, **options: Any) -> Spread:
        """As `Colorizer.spread`: what each part may be off by, and how the parts differ."""
        return mean_spread([part.spread(L, **_taken(part, options)) for part in self.parts])

    def check_options(self, **options: Any) -> None:
        """As `Colorizer.check_options`, and what a part refuses of its options."""
        super().check_options(**options)
        for part in self.parts:
            part.check_options(**_taken(part, options))


def _taken(part: Colorizer[Any], options: dict[str, Any]) -> dict[str, Any]:
    """Those of ``options`` that a part has."""
    return {name: value for name, value in options.items() if name in part.spec.supports}
