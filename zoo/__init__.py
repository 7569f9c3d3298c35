"""colorzoo: load a colorization model, colour a picture, compare models.

import zoo
model = zoo.load("fusion")
model.colorize("grey.jpg").save("colour.png")
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.canvas import Canvas
    from zoo.colorizer import Batch, Colorizer, Loss
    from zoo.errors import ZooError
    from zoo.evaluation.evaluate import evaluate
    from zoo.loading import describe, load
    from zoo.reference import Reference
    from zoo.registry import list_models, register
    from zoo.spec import ModelSpec, WeightsSpec
    from zoo.video.transcode import colorize_video

__version__ = "0.1.0"
__all__ = [
    "Batch",
    "Canvas",
    "Colorizer",
    "Loss",
    "ModelSpec",
    "Reference",
    "WeightsSpec",
    "ZooError",
    "colorize_video",
    "describe",
    "evaluate",
    "list_models",
    "load",
    "register",
]

# Resolved on first use, so that `import zoo` does not import torch.
_HOME = {
    "Batch": "colorizer",
    "Canvas": "canvas",
    "Colorizer": "colorizer",
    "Loss": "colorizer",
    "ModelSpec": "spec",
    "Reference": "reference",
    "WeightsSpec": "spec",
    "ZooError": "errors",
    "colorize_video": "video",
    "describe": "loading",
    "evaluate": "evaluation.evaluate",
    "list_models": "registry",
    "load": "loading",
    "register": "registry",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"zoo.{_HOME[name]}"), name)
    if name in {"registry", "errors", "spec"}:
        return importlib.import_module(f"zoo.{name}")
    raise AttributeError(f"module 'zoo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
