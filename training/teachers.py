"""Other models as teachers: what several answer on average is closer to the truth than what one of them does.

Source: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015; Beyer et al., "Knowledge distillation: A
good teacher is patient and consistent", CVPR 2022 (the pupil sees the very crops that its teachers see).
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

import zoo
from zoo import registry
from zoo.colorizer import Colorizer
from zoo.errors import ConfigError
from zoo.spec import config_from_mapping


class Teachers:
    """The models that teach a run, style by style.

    Args:
        names: For each style of the pupil the teachers' names: models of the zoo, or folders of finished runs.
        pupil: Who is taught.
        device: Where the teachers work.

    Raises:
        ConfigError: A style that the pupil does not have, or a teacher that is not to be had.
    """

    def __init__(self, names: Mapping[str, Sequence[str]], pupil: Colorizer[Any], device: torch.device) -> None:
        unknown = set(names) - set(pupil.spec.styles)
        if unknown:
            raise ConfigError("train.teachers: no such style", found=sorted(unknown), expected=list(pupil.spec.styles))
        loaded: dict[str, Colorizer[Any]] = {}
        self.models: dict[str, list[Colorizer[Any]]] = {}
        for style, several in names.items():
            for name in several:
                if name not in loaded:
                    model = load_run(Path(name)) if Path(name).is_dir() else zoo.load(name, backend="torch")
                    model.eval().requires_grad_(False)
                    loaded[name] = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
                self.models.setdefault(style, []).append(loaded[name])

    @torch.no_grad()
    def answers(self, L: Tensor, shape: torch.Size) -> dict[str, Tensor]:
        """For each style the mean of its teachers' ab, (N, 2, h, w) in Lab units.

        Args:
            L: (N, 1, H, W) in [0, 100].
            shape: (h, w).
        """
        taught = {}
        for style, models in self.models.items():
            each = [m.predict_ab(L, **({"style": style} if style in m.spec.styles else {})).float() for m in models]
            each = [nn.functional.interpolate(ab, shape, mode="bilinear", align_corners=False) for ab in each]
            taught[style] = torch.stack(each).mean(0)
        return taught


def load_run(run: Path) -> Colorizer[Any]:
    """The network of a finished run, with its averaged weights.

    Raises:
        ConfigError: The folder holds none.
    """
    try:
        record = json.loads((run / "run.json").read_text(encoding="utf-8"))
        spec, cls = registry.find(record["config"]["model"])
        model = cls.build(spec, config_from_mapping(type(spec.config), record["network"], "run.json: network"))
        model.load_state_dict({k: v.float() for k, v in load_file(run / "weights.safetensors").items()}, strict=True)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise ConfigError(f"{run} is not a run with weights", found=error) from error
    return model
