"""What pictures and films are coloured with, and the digest by which a later run knows whether it was the same."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import OptionError

if TYPE_CHECKING:
    from zoo.colorizer import Colorizer

FILM_OPTIONS = ("style", "saturation", "temperature", "working_size")  # of the options, those that films have too


@dataclass(frozen=True)
class Settings:
    """Everything that a result depends on but the source, and where to work.

    Attributes:
        model: As for `zoo.load`; names a commit where it is a repository on the Hub.
        device: Where the network runs; results are the same wherever they are made, but for rounding.
        loading: ``backend`` and ``dtype`` of `zoo.load`; `resolved` leaves no ``auto`` in them.
        options: Of `Colorizer.colorize` that are set.
        quality: Of JPEG, WebP and AVIF.
        keyframe_interval: As of `zoo.colorize_video`, like the next two.
        crf: Quality of the films' encoder.
        preset: Its speed.
    """

    model: str = "fusion"
    device: str = "cpu"
    loading: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    quality: int = 95
    keyframe_interval: int | None = None
    crf: int = 18
    preset: str = "medium"

    def load(self) -> "Colorizer[Any]":
        """The model."""
        from zoo import loading

        return loading.load(self.model, device=self.device, **self.loading)

    def resolved(self, earlier: Iterable[dict[str, Any]], threads: int | None, *, cluster: bool) -> "Settings":
        """The same without ``auto``: what a run before took with these weights, where that fits, else what fits here.

        So all workers of a run and of those that go on with it have the same, on whatever machines they are.

        Args:
            earlier: As what runs before were `described`, the last one last.
            threads: Of torch, in a worker; None for as many as there are.
            cluster: Whether workers are on other machines, which were not all measured: torch runs there.

        Raises:
            OptionError: A backend that is not installed, or cannot run the model.
            UnknownModelError: No such model or weights.
            WeightsError: They cannot be loaded.
        """
        import torch

        from zoo.backends import kinds

        asked = {name: self.loading.get(name, kinds.AUTO) for name in ("backend", "dtype")}
        if kinds.AUTO not in asked.values():
            return self
        weights, on_cpu = weights_of(self.model), self.device.startswith("cpu")
        for taken in [table.get("loading", {}) for table in earlier if table.get("weights") == weights][::-1]:
            if _fits(taken, asked) and (on_cpu or taken["backend"] == "torch"):
                return replace(self, loading=taken)
        if cluster and asked["backend"] == kinds.AUTO:
            asked["backend"] = "torch"
        if not on_cpu:  # which this machine need not have
            default = {"backend": "torch", "dtype": "float32"}
            return replace(self, loading={k: default[k] if v == kinds.AUTO else v for k, v in asked.items()})
        before = torch.get_num_threads()
        torch.set_num_threads(threads or before)
        try:
            model = replace(self, loading=asked).load()
        finally:
            torch.set_num_threads(before)
        return replace(self, loading={"backend": model.backend, "dtype": model.dtype})

    @property
    def film_options(self) -> dict[str, Any]:
        """As `zoo.colorize_video` takes them."""
        options = {name: value for name, value in self.options.items() if name in FILM_OPTIONS}
        return {
            **options,
            "keyframe_interval": self.keyframe_interval,
            "crf": self.crf,
            "preset": self.preset,
        }

    def described(self) -> dict[str, Any]:
        """As JSON can hold it, with the sha256 of the weights."""
        table = asdict(self)
        del table["device"]
        return {**table, "weights": weights_of(self.model)}

    def check(self, *, films: bool) -> None:
        """Refuse options that the model does not have; no weights are loaded.

        Args:
            films: Whether there are films among the sources.

        Raises:
            OptionError: No such backend, an option or a value that the model does not have, or that films do not have.
            UnknownModelError: No such model.
        """
        from zoo import loading
        from zoo.backends import kinds

        kinds.check(str(self.loading.get("backend", "auto")), str(self.loading.get("dtype", "auto")))
        loading.network(self.model).check_options(**self.options)
        if not 1 <= self.quality <= 100:
            raise OptionError("quality is out of range", found=self.quality, expected="1 to 100")
        extra = sorted(set(self.options) - set(FILM_OPTIONS))
        if films and extra:
            raise OptionError(
                f"films have no option {extra[0]!r}",
                remedy="leave it out, or colour the pictures alone (only='pictures')",
            )


def pinned(model: str) -> str:
    """The name under which all workers find the same: with a repository's commit of now, or a folder's whole path.

    Raises:
        WeightsError: The Hub cannot be asked.
    """
    from zoo import hub, loading

    if model.startswith(loading.FOLDER):
        return f"{loading.FOLDER}{Path(model.removeprefix(loading.FOLDER)).expanduser().absolute()}"
    if not model.startswith(loading.HUB):
        return model
    repo_id, _, revision = model.removeprefix(loading.HUB).partition("@")
    return f"{loading.HUB}{repo_id}@{hub.resolve(repo_id, revision or None)}"


def weights_of(model: str) -> str | None:
    """The sha256 of a model's weights, or of those of its parts together; None for one without.

    Raises:
        UnknownModelError: No such model or weights.
        WeightsError: They cannot be read.
    """
    from zoo import loading
    from zoo.digests import sha256_of

    if model.startswith((loading.FOLDER, loading.HUB)):
        folder = Path(model.removeprefix(loading.FOLDER)).expanduser()
        return sha256_of(folder / "model.safetensors" if model.startswith(loading.FOLDER) else loading.fetch(model))
    spec = loading.describe(model)
    if spec.parts:
        return hashlib.sha256("".join(str(weights_of(part)) for part in spec.parts).encode()).hexdigest()
    return spec.weights[0].sha256 if spec.weights else None


def _fits(taken: Any, asked: dict[str, str]) -> bool:
    """Whether what a manifest says was taken is a backend and a dtype, and such as are asked for now."""
    from zoo.backends import kinds

    if not isinstance(taken, dict) or taken.keys() != asked.keys():
        return False
    if not all(isinstance(value, str) for value in taken.values()):
        return False
    known = taken["dtype"] in kinds.DTYPES.get(taken["backend"], ())
    return known and all(asked[name] in (kinds.AUTO, taken[name]) for name in asked)


def digest(described: dict[str, Any]) -> str:
    """Tells settings apart; 16 hex digits."""
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()[:16]


def differences(found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What `Settings.described` differs in, in words."""
    left, right = _flat(found), _flat(expected)
    return [
        f"{key.replace('_', ' ')} {left.get(key)!r} in place of {right.get(key)!r}"
        for key in sorted({*left, *right})
        if left.get(key) != right.get(key)
    ]


def _flat(table: dict[str, Any]) -> dict[str, Any]:
    inner = {key: value for name in ("options", "loading") for key, value in table.get(name, {}).items()}
    return {key: value for key, value in table.items() if key not in ("options", "loading")} | inner
