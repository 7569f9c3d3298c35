"""The networks that judge pictures: a timm classifier, LPIPS, Inception; each used only where its weights are."""

import hashlib
import importlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import timm
import torch
from torch import Tensor, nn

from zoo.errors import WeightsError
from zoo.evaluation.metrics import BACKBONE
from zoo.pretrained import pretrained_state

Array = npt.NDArray[Any]

INSTALL = "pip install 'colorzoo[metrics]'"
INPUT_SIZE = 256  # what pictures of another size are brought to before the classifier

# As torch.hub names them: with the first digits of their sha256. They are never downloaded here.
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
ALEXNET_FILE = "alexnet-owt-7be5be79.pth"


class Classifier:
    """An ImageNet classifier of timm, which gives a picture's pooled features and its answer.

    Raises:
        WeightsError: Its weights are not to be had.
    """

    def __init__(self, name: str = BACKBONE) -> None:
        state = pretrained_state(name, remedy=INSTALL)
        net: Any = timm.create_model(name, pretrained=False)
        net.load_state_dict(state)
        self._net = net.eval().to(memory_format=torch.channels_last)
        self._mean, self._std = (torch.tensor(net.pretrained_cfg[k]).view(1, 3, 1, 1) for k in ("mean", "std"))

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Array]) -> tuple[Array, Array]:
        """Of 8-bit pictures of one size: features (n, d) and logits (n, 1000), float32, in full precision."""
        x = _stack(pictures).float() / 255
        if x.shape[-2:] != (INPUT_SIZE, INPUT_SIZE):
            x = nn.functional.interpolate(x, (INPUT_SIZE, INPUT_SIZE), mode="bicubic", antialias=True).clamp(0, 1)
        x = ((x - self._mean) / self._std).contiguous(memory_format=torch.channels_last)
        features = self._net.forward_head(self._net.forward_features(x), pre_logits=True)
        return features.numpy(), self._net.get_classifier()(features).numpy()


class Lpips:
    """LPIPS (AlexNet, v0.1) between 8-bit pictures.

    Raises:
        WeightsError: The package or AlexNet's weights are absent.
    """

    def __init__(self) -> None:
        package = _package("lpips")
        state = _hub_state(ALEXNET_FILE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the package's use of torchvision
            self._net = package.LPIPS(net="alex", version="0.1", pnet_rand=True, verbose=False)
        layers = dict(self._net.net.named_modules())
        for name, layer in layers.items():  # slices keep AlexNet's own numbers
            if isinstance(layer, nn.Conv2d):
                number = name.split(".")[-1]
                layer.load_state_dict({k: state[f"features.{number}.{k}"] for k in ("weight", "bias")})

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Array], truth: Array) -> Array:
        """The distance of each picture from ``truth``, (n,)."""
        x = _stack([*pictures, truth]).float() / 127.5 - 1  # the package expects [-1, 1]
        values: Tensor = self._net(x[:-1], x[-1:].expand(len(pictures), -1, -1, -1))
        return values.flatten().numpy()


class Inception:
    """The features that FID compares: pool3 of torch-fidelity's Inception, with its own resize.

    Raises:
        WeightsError: The package or the weights are absent.
    """

    def __init__(self) -> None:
        module = _package("torch_fidelity.feature_extractor_inceptionv3")
        path = _hub_file(INCEPTION_FILE)
        self._net = module.FeatureExtractorInceptionV3("pool3", ["2048"], feature_extractor_weights_path=str(path))

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[Array]) -> Array:
        """Features (n, 2048) of 8-bit pictures of one size."""
        (features,) = self._net(_stack(pictures))
        return np.asarray(features.numpy())


def frechet_distance(features: Array, true_features: Array) -> float:
    """The Frechet distance of two sets of features (n, d), by torch-fidelity.

    Source: Heusel et al. 2017, equation 6.
    """
    module = _package("torch_fidelity.metric_fid")
    statistics = [
        {"mu": x.mean(0), "sigma": np.cov(x, rowvar=False)} for x in (np.float64(features), np.float64(true_features))
    ]
    (value,) = module.fid_statistics_to_metric(*statistics, verbose=False).values()
    return float(value)


def _stack(pictures: Sequence[Array]) -> Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def _package(name: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except ImportError as error:
        raise WeightsError("the package is not installed", found=error, remedy=INSTALL) from error


def _hub_file(name: str) -> Path:
    """The file in torch's own cache, checked against the digits of its sha256 in its name."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        raise WeightsError("weights absent", expected=f"{name} in the folder `checkpoints` of torch.hub.get_dir()")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    wanted = path.stem.rpartition("-")[2]
    if not digest.startswith(wanted):
        raise WeightsError(f"{name} is damaged", found=f"sha256 {digest}", expected=f"{wanted}...")
    return path


def _hub_state(name: str) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(_hub_file(name), map_location="cpu", weights_only=True)
    return state
