"""What is put through the evaluator: models of the zoo, each style by itself, and the baselines of every table."""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils import _pytree

from zoo import color, loading, pipeline, registry
from zoo.colorizer import Colorizer
from zoo.errors import OptionError, WeightsError
from zoo.evaluation.metrics import lab_of
from zoo.evaluation.protocol import Prepared
from zoo.evaluation.results import BASELINES, GREY, MEAN, TRUTH, Result
from zoo.spec import WeightsSpec

Picture = npt.NDArray[np.uint8]

_MEAN_FILE = Path(__file__).with_name("mean_ab.json")  # of the training photos, by training/mean_ab.py
_SAFE = re.compile(r"[^\w.-]+")


class Colored(NamedTuple):
    """An answer: 8-bit sRGB (H, W, 3), and the share of its pixels whose colour had to be mapped into the gamut."""

    rgb: Picture
    out_of_gamut: float


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Something that colours pictures, and what results say of it.

    ``colorize`` of a model looks at the grey picture alone; the baselines that need the truth look at that too.
    """

    label: str
    kind: Literal["model", "baseline"]
    model: str
    colorize: Callable[[Prepared], Colored]
    tag: str | None = None
    weights: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    network: Colorizer[Any] | None = None
    loaded_from: str | None = None  # the name that `zoo.load` takes


def baselines() -> list[Candidate]:
    """What stands in every table: grey, the mean colour of the training photos, and the truth."""
    grey = loading.load("grayscale")
    mean = torch.tensor(json.loads(_MEAN_FILE.read_text(encoding="utf-8"))["mean_ab"]).view(1, 2, 1, 1)

    def colorize_mean(picture: Prepared) -> Colored:
        sizes = {"working_size": 32, "multiple_of": 1}
        lab = pipeline.predict_lab(picture.grey, lambda L: mean, **sizes)
        return Colored(pipeline.colorize_array(picture.grey, lambda L: mean, **sizes), _outside(lab))

    return [
        Candidate(label=GREY, kind="baseline", model=GREY, colorize=_answer(grey, {})),
        Candidate(label=MEAN, kind="baseline", model=MEAN, colorize=colorize_mean),
        Candidate(
            label=TRUTH, kind="baseline", model=TRUTH, colorize=lambda p: Colored(p.truth, _outside(lab_of(p.truth)))
        ),
    ]


def candidates(models: Sequence[str | Candidate], device: str | None = None) -> list[Candidate]:
    """The models called ``models``, each style by itself.

    Args:
        models: As `zoo.load` takes them, with ``:STYLE`` for one style alone; ``all`` is every set of weights that
            comes with an installed package. The baseline ``grayscale`` is left out: it is in every table. A candidate
            stands for itself.
        device: As torch names it; None is the CPU.

    Raises:
        OptionError: No such style, an empty name, or two candidates of one label.
        UnknownModelError: No such model or weights.
        WeightsError: Weights that are missing, damaged or do not fit.
    """
    found: dict[str, Candidate] = {}
    for model in models:
        if isinstance(model, Candidate):
            _enter(found, model)
            continue
        for name in _all() if model.strip() == "all" else [model.strip()]:
            for candidate in _of_model(name, device):
                if candidate.model != GREY:
                    _enter(found, candidate)
    return list(found.values())


def _enter(found: dict[str, Candidate], candidate: Candidate) -> None:
    other = found.get(candidate.label)
    again = other is not None and (other.loaded_from, other.options) == (candidate.loaded_from, candidate.options)
    if candidate.label in BASELINES or (other is not None and (not again or candidate.loaded_from is None)):
        raise OptionError(
            f"two candidates are called {candidate.label!r}", remedy="give one of them another label or folder name"
        )
    found.setdefault(candidate.label, candidate)


def candidate_of(result: Result, device: str | None = None) -> Candidate:
    """What a result of a registered model was made with, loaded again.

    Raises:
        UnknownModelError: The registry has no such model or weights now.
        WeightsError: The weights are no longer those of the result, or cannot be had.
    """
    if result.kind == "baseline":
        return next(c for c in baselines() if c.label == result.label)
    return candidate_called(result.label, result.weights.get("sha256"), device)


def candidate_called(label: str, sha256: str | None, device: str | None = None) -> Candidate:
    """The registered model that tables call ``label``, with the weights of this hash.

    Raises:
        UnknownModelError: The registry has no such model or weights now.
        WeightsError: The weights are no longer those, or cannot be had.
    """
    (candidate,) = candidates([label], device)
    if candidate.weights["sha256"] != sha256:
        raise WeightsError(
            f"{label}: not the weights of its result",
            found=candidate.weights["sha256"],
            expected=sha256,
            remedy="evaluate again",
        )
    return candidate


@contextmanager
def shared_forward(network: Colorizer[Any]) -> Iterator[None]:
    """Within it a built-in network's last output is kept for the same L: styles and temperatures share it.

    Of plug-ins it is not known that their output depends on L alone; they are left as they are. A model that is made of
    others asks these for their answers, so that it is their output that is kept.
    """
    if network.parts:
        with ExitStack() as stack:
            for part in network.parts:
                stack.enter_context(shared_forward(part))
            yield
        return
    if not type(network).__module__.startswith("zoo.models."):
        yield
        return
    plain: Callable[..., Any] = network.forward
    last: list[Any] = []

    def forward(L: Tensor, *args: Any, first: bool = False, **more: Any) -> Any:
        if any(value is not None for value in (*args, *more.values())):
            return plain(L, *args, **more, **({"first": True} if first else {}))
        if not last or not torch.equal(last[0], L):
            last[:] = [L.clone(), plain(L)]
        return _pytree.tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, last[1][0] if first else last[1])

    network.forward = forward  # type: ignore[method-assign]
    try:
        yield
    finally:
        del network.forward


def _all() -> list[str]:
    """All weights that are here: packaged ones, and those of others that were pulled."""
    names = []
    for name in registry.list_models():
        tags = [weights.tag for weights in registry.find(name)[0].weights]
        names += [text for i, tag in enumerate(tags) if loading.is_here(text := f"{name}.{tag}" if i else name)]
    return names


def _of_model(text: str, device: str | None) -> list[Candidate]:
    name, style = loading.name_and_style(text)
    # Not what happens to be fastest here: published figures are not to depend on a cache of this machine.
    network = loading.load(name, device=device, backend="torch")
    network.check_options(style=style)
    styles: list[str | None] = [style] if style else [*network.spec.styles] or [None]
    short = name
    if name.startswith(("hf-hub:", "local-dir:")):
        short = _SAFE.sub("-", Path(name.partition(":")[2]).name.partition("@")[0]) or "folder"
    tag, known = (network.weights.tag, _stated(network.weights)) if network.weights else (None, _hashed(network))
    return [
        replace(
            candidate_from(network, short, {"style": one} if one else {}),
            model=network.spec.name if network.weights else short,
            tag=tag,
            weights=known,
            loaded_from=name,
        )
        for one in styles
    ]


def candidate_from(network: Colorizer[Any], label: str, options: dict[str, Any] | None = None) -> Candidate:
    """A network in memory, perhaps still in training, as something to evaluate; it is known by the hash of its state.

    Args:
        network: Any model of the zoo.
        label: What tables call it; a style among the options is added.
        options: That it colours with, as in `Colorizer.colorize`.
    """
    options = options or {}
    return Candidate(
        label=":".join([label, *filter(None, [options.get("style")])]),
        kind="model",
        model=label,
        colorize=_answer(network, options),
        weights=_hashed(network),
        options=options,
        network=network,
    )


def _stated(weights: WeightsSpec) -> dict[str, Any]:
    return {
        "sha256": weights.sha256,
        "size_bytes": weights.size_bytes,
        "license": weights.license,
        "commercial_use": weights.commercial_use,
    }


def _hashed(network: Colorizer[Any]) -> dict[str, Any]:
    """The sha256 of the state, of the configuration and of the class, since there is no file that says more."""
    total = hashlib.sha256(f"{type(network).__module__}.{type(network).__qualname__} {network.config}".encode())
    for key, value in sorted(network.state_dict().items()):
        total.update(key.encode() + value.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return {"sha256": total.hexdigest(), "size_bytes": None, "license": None, "commercial_use": None}


def _answer(network: Colorizer[Any], options: dict[str, Any]) -> Callable[[Prepared], Colored]:
    def colorize(picture: Prepared) -> Colored:
        rgb = network.colorize_array(picture.grey, **options)
        return Colored(rgb, _outside(network.predict_lab(picture.grey, **options)))

    return colorize


def _outside(lab: Tensor) -> float:
    return float(color.out_of_gamut(lab[:1], lab[1:]).float().mean())
