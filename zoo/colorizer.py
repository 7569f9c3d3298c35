"""The base class of every model: a family writes three methods; files, sizes, colour and options come for free."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from zoo import images, pipeline, upsampling
from zoo.errors import ImageError, OptionError
from zoo.spec import OPTIONS, ModelSpec, WeightsSpec

ConfigT = TypeVar("ConfigT")
SelfT = TypeVar("SelfT", bound="Colorizer[Any]")
ImageLike = Image.Image | npt.NDArray[Any] | str | os.PathLike[str]

FORMAT_VERSION = 1
WORKING_SIZES = (32, 2048)
VIEWS = (1, 2, 4)


@dataclass(frozen=True)
class Batch:
    """What a family learns from.

    Attributes:
        L: Lightness, (N, 1, H, W) in [0, 100].
        ab: The true colours, (N, 2, h, w) in Lab units; h, w are H/4, W/4 from this project's trainer.
        features: What `Colorizer.encode` gave for these L, when the trainer keeps it for a frozen backbone.
        taught: What the run's teachers answer in each style, like ``ab``; empty without teachers.
        seeds: One number for each crop, (N,) on the CPU, for losses that draw random numbers: the same however the
            batch is split. None leaves them to torch's own generator.
    """

    L: Tensor
    ab: Tensor
    features: tuple[Tensor, ...] | None = None
    taught: dict[str, Tensor] = field(default_factory=dict)
    seeds: Tensor | None = None


@dataclass(frozen=True)
class Loss:
    """The total to minimise and its named parts, for the log; both are means over the batch.

    A trainer may split a batch among processes or take it in several parts, and then takes the mean of the losses.

    Attributes:
        total: A scalar with a gradient.
        parts: Scalars; only looked at.
        weight: What the means were divided by where it is not the same for every photo, such as the sum of the
            weights of the batch's positions: the split batch's mean is then weighted by it. None counts all alike.
        sets: Names of the terms that look at the batch as a set, such as matched moments: over several processes
            they are still those of the whole batch, but not over a batch that is taken in several parts.
    """

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)
    weight: Tensor | None = None
    sets: tuple[str, ...] = ()


class Runner(Protocol):
    """A network on another backend than torch."""

    def __call__(self, L: Tensor, *, first: bool = False) -> Any:
        """What `Colorizer.forward` gives for L, (N, 1, H, W) in [0, 100], with sides that the model takes.

        With ``first``, of several tensors the first alone; what only the others need is not computed.
        """


class Colorizer(nn.Module, ABC, Generic[ConfigT]):
    """A colorization model: L in, ab out.

    A family writes `forward`, `loss` and `predict_ab`, and registers itself with `zoo.register`; what it needs to know
    of files, sizes and colour spaces is done here. Families with a pretrained backbone also give `backbone`, `encode`
    and `init_pretrained`.
    """

    specs: ClassVar[tuple[ModelSpec, ...]] = ()  # of the family, set by @register
    spec: ModelSpec  # of this object: the one whose configuration it has, else the family's first; zoo.load sets it
    weights: WeightsSpec | None = None
    roles: ClassVar[tuple[str, ...]] = ("colorizer",)
    backend: str = "torch"  # what runs the network, and its number format: as zoo.load chose them
    dtype: str = "float32"
    runner: "Runner | None" = None  # computes `forward` in torch's place, for inference

    def __init__(self, config: ConfigT) -> None:
        super().__init__()
        self.config = config
        for spec in (*(s for s in self.specs if s.config == config), *self.specs)[:1]:
            self.spec = spec

    @classmethod
    def build(cls: type[SelfT], spec: ModelSpec, config: Any, parts: "Sequence[Colorizer[Any]]" = ()) -> SelfT:
        """A new network of this family, without weights of its own.

        Args:
            spec: The model that it is.
            config: Its configuration: the spec's own, or another of that class.
            parts: The models that it is made of, as the spec names them; families without parts take none.
        """
        model = cls(config, parts) if parts else cls(config)  # type: ignore[call-arg]
        model.spec = spec
        return model

    # What a family writes

    @abstractmethod
    def forward(self, L: Tensor, features: tuple[Tensor, ...] | None = None) -> Any:
        """The network's raw output for L, (N, 1, H, W) in [0, 100]; ``features`` replaces the backbone's own run."""

    @abstractmethod
    def loss(self, batch: Batch, role: str = "colorizer") -> Loss:
        """What to minimise on ``batch``; ``role`` says whose turn it is in families with several players."""

    @abstractmethod
    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        """The colours of L, (N, 1, H, W) in [0, 100] -> (N, 2, h, w) in Lab units.

        H and W are multiples of ``spec.multiple_of``; h and w may be smaller by one common integer factor. ``options``
        holds those of ``spec.supports`` that the caller set.
        """

    # What a family may write

    @property
    def backbone(self) -> nn.Module | None:
        """The part that may be frozen or learn at its own rate; None where there is none."""
        return None

    @property
    def parts(self) -> "tuple[Colorizer[Any], ...]":
        """The models that this one is made of, in the order of ``spec.parts``; most have none."""
        return ()

    def encode(self, L: Tensor) -> tuple[Tensor, ...]:
        """What `forward` accepts as ``features``: the backbone's output for L. Empty without a backbone."""
        return ()

    def init_pretrained(self) -> None:
        """Load published weights into the backbone, before training. Nothing to do without one."""

    def fit_statistics(self, ab: Tensor) -> None:
        """Take from a sample of the training photos' colours, (M, 2) in Lab units, what the loss needs to know."""

    @classmethod
    def from_published(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The state of this family's network, from that of a file published by others; by default the same."""
        return state

    def parameters_of(self, role: str) -> Iterator[nn.Parameter]:
        """The parameters that ``role`` trains."""
        return self.parameters()

    # What comes for free

    def colorize(
        self,
        image: ImageLike,
        *,
        style: str | None = None,
        saturation: float = 1.0,
        working_size: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        views: int = 1,
    ) -> Image.Image:
        """The picture in colour, at its own size, 8 bits a channel; alpha is kept, EXIF orientation applied.

        Colour in the input is ignored: the model sees lightness only.

        Args:
            image: A PIL image, a path, or an array as in `colorize_array`.
            style: One of ``spec.styles``, for models that have several; None leaves the choice to the model.
            saturation: Factor on the predicted chroma, >= 0.
            working_size: Side of the square whose area the network's input has; None is the model's own.
            temperature: Sharpness of the colour distribution, > 0, for models that predict one.
            seed: Draws another plausible colouring, for models that can.
            views: Whose answers are averaged: 1 the picture alone, 2 its mirror image too, 4 both at three quarters of
                the working size as well. Smoother and slightly closer to the truth, for 1, 2 or about 3.1 forward
                passes; more than 1 does not go with a seed.

        Raises:
            ImageError: The picture cannot be read or is not one.
            OptionError: An option that this model does not support, or a value out of range.
        """
        if isinstance(image, np.ndarray):
            pixels, alpha = image, None
        elif not isinstance(image, Image.Image | str | os.PathLike):
            raise ImageError(
                "not a picture", found=type(image).__name__, expected="a PIL image, a numpy array or a path"
            )
        else:
            picture = images.from_pil(image) if isinstance(image, Image.Image) else images.read(image)
            pixels, alpha = picture.pixels, picture.alpha
        rgb = self.colorize_array(
            pixels,
            style=style,
            saturation=saturation,
            working_size=working_size,
            temperature=temperature,
            seed=seed,
            views=views,
        )
        return images.to_pil(images.to_8_bit(rgb), None if alpha is None else images.to_8_bit(alpha))

    def colorize_array(
        self,
        array: npt.NDArray[Any],
        *,
        style: str | None = None,
        saturation: float = 1.0,
        working_size: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        views: int = 1,
    ) -> npt.NDArray[Any]:
        """The picture in colour as an array of the same dtype, (H, W, 3), or (H, W, 4) where alpha came in.

        Args:
            array: (H, W) or (H, W, 1 | 3 | 4), sRGB; uint8, uint16, or floating point in [0, 1].
            style: As in `colorize`, and so the others.
            saturation: See `colorize`.
            working_size: See `colorize`.
            temperature: See `colorize`.
            seed: See `colorize`.
            views: See `colorize`.

        Raises:
            ImageError: An array of another shape, dtype or range.
            OptionError: An option that this model does not support, or a value out of range.
        """
        predict = self.predictor(
            style=style,
            saturation=saturation,
            working_size=working_size,
            temperature=temperature,
            seed=seed,
            views=views,
        )
        with self.inference():
            return pipeline.colorize_array(
                array,
                predict,
                working_size=working_size or self.spec.working_size,
                multiple_of=self.spec.multiple_of,
                saturation=saturation,
            )

    def predict_maps(self, array: npt.NDArray[Any], **options: Any) -> Tensor:
        """What `zoo.pipeline.paint` needs of the network for this picture, (4, h, w) at working size.

        `colorize_array` is the two together; apart, a picture is painted again at another saturation at no cost of the
        network.

        Args:
            array: As in `colorize_array`.
            options: As in `colorize`, but the saturation.

        Raises:
            ImageError: An array of another shape, dtype or range.
            OptionError: An option that this model does not support, or a value out of range.
        """
        predict = self.predictor(**options)
        with self.inference():
            return pipeline.predict_maps(
                array,
                predict,
                working_size=options.get("working_size") or self.spec.working_size,
                multiple_of=self.spec.multiple_of,
            ).clone()

    def predict_lab(self, array: npt.NDArray[Any], **options: Any) -> Tensor:
        """Lab (3, H, W) of the picture's L and the predicted ab at full size, before it is mapped to sRGB's gamut.

        Args:
            array: As in `colorize_array`.
            options: As in `colorize`.

        Raises:
            ImageError: An array of another shape, dtype or range.
            OptionError: An option that this model does not support, or a value out of range.
        """
        predict = self.predictor(**options)
        with self.inference():
            return pipeline.predict_lab(
                array,
                predict,
                working_size=options.get("working_size") or self.spec.working_size,
                multiple_of=self.spec.multiple_of,
                saturation=options.get("saturation", 1.0),
            ).clone()

    def colorize_batch(
        self,
        rgb: Tensor,
        *,
        style: str | None = None,
        saturation: float = 1.0,
        working_size: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        views: int = 1,
    ) -> Tensor:
        """Pictures in colour as a tensor, (N, 1 | 3, H, W) in [0, 1] -> (N, 3, H, W) in [0, 1]; options as `colorize`.

        Raises:
            ImageError: A tensor of another shape or range.
            OptionError: An option that this model does not support, or a value out of range.
        """
        if not isinstance(rgb, Tensor):
            raise ImageError("not a batch of pictures", found=type(rgb).__name__, expected="a tensor (N, 1 | 3, H, W)")
        predict = self.predictor(
            style=style,
            saturation=saturation,
            working_size=working_size,
            temperature=temperature,
            seed=seed,
            views=views,
        )
        with self.inference():
            colored = pipeline.colorize_batch(
                rgb,
                predict,
                working_size=working_size or self.spec.working_size,
                multiple_of=self.spec.multiple_of,
                saturation=saturation,
            )
        return colored.clone()  # outside inference mode, so that the caller may go on with it

    def colorize_file(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        quality: int = 95,
        **options: Any,
    ) -> Path:
        """Colour the picture file ``source`` into ``target``: bit depth, alpha, EXIF and resolution are kept.

        Args:
            source: Is never written.
            target: Its suffix chooses the format; written beside it first, then moved into place.
            overwrite: Whether ``target`` may exist.
            quality: Of JPEG, WebP and AVIF.
            options: As in `colorize`.

        Returns:
            The path written.

        Raises:
            ImageError: ``source`` cannot be read or ``target`` not be written.
            OptionError: An option that this model does not support, or a value out of range.
        """
        if not overwrite and Path(target).exists():
            raise ImageError(f"{target}: exists already", remedy="choose another name or allow overwriting")
        predict = self.predictor(**options)
        picture = images.read(source)
        with self.inference():
            colored = pipeline.colorize_in_place(
                picture.pixels,
                predict,
                working_size=options.get("working_size") or self.spec.working_size,
                multiple_of=self.spec.multiple_of,
                saturation=options.get("saturation", 1.0),
            )
        picture = replace(picture, pixels=colored)  # frees a grey one before the encoder needs memory
        return images.write(
            target,
            picture.pixels,
            alpha=picture.alpha,
            exif=picture.exif,
            dpi=picture.dpi,
            quality=quality,
            overwrite=overwrite,
            source=Path(source),
        )

    def check_options(
        self,
        *,
        style: str | None = None,
        saturation: float = 1.0,
        working_size: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        views: int = 1,
    ) -> None:
        """Refuse what `colorize` would refuse, before any picture is touched; options as there.

        Raises:
            OptionError: An option that this model does not support, or a value of another type or out of range.
        """
        for name, value in {"style": style, "temperature": temperature, "seed": seed}.items():
            if value is not None and name not in self.spec.supports:
                raise OptionError(
                    f"model {self.spec.name!r} has no option {name!r}", remedy=_who_supports(name, self.spec.name)
                )
        if style is not None and style not in self.spec.styles:
            raise OptionError(
                f"model {self.spec.name!r}: unknown style", found=repr(style), expected=" or ".join(self.spec.styles)
            )
        _check_number("saturation", saturation, 0, 10)
        if temperature is not None:
            _check_number("temperature", temperature, 0.001, 10)
        if working_size is not None:
            _check_number("working size", working_size, *WORKING_SIZES, whole=True)
        if seed is not None:
            _check_number("seed", seed, 0, 2**63 - 1, whole=True)
        if isinstance(views, bool) or not isinstance(views, int | np.integer) or views not in VIEWS:
            raise OptionError("bad views", found=repr(views), expected="1, 2 or 4")
        if seed is not None and views > 1:
            raise OptionError(
                "seed does not go with several views, each of which would draw a colouring of its own",
                found=f"seed {seed} and views {views}",
                remedy="leave one of them out",
            )

    def save(self, directory: str | os.PathLike[str]) -> Path:
        """Write ``config.json`` and ``model.safetensors``, which ``zoo.load("local-dir:...")`` reads back."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        state = {k: v.detach().cpu().contiguous() for k, v in self.state_dict().items()}
        (folder / "model.safetensors").write_bytes(save(state))
        config = {"format_version": FORMAT_VERSION, **_description(self)}
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        return folder

    # As huggingface_hub's PyTorchModelHubMixin names them. It is not inherited: it would take pickles, ignore unknown
    # keys of a config, and load what does not fit without a word.

    @classmethod
    def from_pretrained(
        cls: type[SelfT],
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        revision: str | None = None,
        map_location: str | torch.device | None = None,
    ) -> SelfT:
        """The model in a folder or a repository on the Hugging Face Hub, in evaluation mode: `zoo.load` by other names.

        Args:
            pretrained_model_name_or_path: A folder, OWNER/REPO, or a name as `zoo.load` takes it.
            revision: Of a repository; a 40-digit commit never changes.
            map_location: The device.

        Raises:
            UnknownModelError: No such model, or one of another family than the class that this is called on.
            WeightsError: See `zoo.load`, and for the others.
        """
        from zoo import loading  # here, because it is built on this class

        name = os.fspath(pretrained_model_name_or_path)
        if Path(name).is_dir():
            name = f"{loading.FOLDER}{name}"
        elif "/" in name and not name.startswith((loading.HUB, loading.FOLDER)):
            name = f"{loading.HUB}{name}"
        if revision is not None:
            if not name.startswith(loading.HUB) or "@" in name:
                raise OptionError("revision goes with a repository", found=name, expected="OWNER/REPO")
            name = f"{name}@{revision}"
        return cast(SelfT, loading.load(name, device=map_location, family=cls))

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> Path:
        """Write what `from_pretrained` reads back, as `save` does; returns the folder."""
        return self.save(save_directory)

    # Inside

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """As of every module; the ``runner`` answers where nothing but L is given and no gradient is wanted.

        Families whose `forward` gives several tensors may take ``first`` there, as `Runner` does.
        """
        alone = len(args) == 1 and all(value is None for name, value in kwargs.items() if name != "first")
        if self.runner is not None and alone and not self.training and not torch.is_grad_enabled():
            return self.runner(args[0], first=kwargs.get("first", False))
        return super().__call__(*args, **kwargs)

    def train(self: SelfT, mode: bool = True) -> SelfT:
        """As of every module; weights that are to change are torch's again, in full precision."""
        if mode:
            self.detach_backend()
        return super().train(mode)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As of every module; other weights are torch's to run, in full precision."""
        self.detach_backend()
        return super().load_state_dict(*args, **kwargs)

    def _apply(self: SelfT, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SelfT:
        """As of every module, behind its ``to``; on other devices than the CPU, torch runs it."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        if self.device.type != "cpu" and self.backend != "torch":
            self.detach_backend()
        return self

    def detach_backend(self) -> None:
        """Run on torch in float32 again; what `zoo.backends.attach` undoes."""
        self.backend, self.dtype, self.runner = "torch", "float32", None
        for part in self.parts:
            part.detach_backend()

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def predictor(self, **options: Any) -> pipeline.Predict:
        """The network as `zoo.pipeline` calls it; to be run inside `inference`.

        Args:
            options: As in `colorize`; those that are the pipeline's own are checked, and left to it.

        Raises:
            OptionError: An option that this model does not support, or a value out of range.
        """
        self.check_options(**options)
        views = options.get("views", 1)
        own = {name: options[name] for name in OPTIONS if options.get(name) is not None}

        def answer(L: Tensor) -> Tensor:
            return self.predict_ab(L, **own).float()

        def predict(L: Tensor) -> Tensor:
            # Other backends have their own layouts; a copy by torch's threads, which then look for more work a while,
            # would only be in the way of theirs.
            layout = torch.channels_last if self.backend == "torch" else torch.preserve_format
            x = L.to(self.device, torch.float32, memory_format=layout)
            with inference_autocast(x.device, self.dtype if self.backend == "torch" else "float32"):
                return _mean_of_views(answer, x, views, self.spec.multiple_of).cpu()

        return predict

    @contextmanager
    def inference(self) -> Iterator[None]:
        """Evaluation mode without gradients, and a plain word when memory runs out; the mode before comes back."""
        training = [m for m in self.modules() if m.training]
        self.eval()
        try:
            with torch.inference_mode():
                yield
        except RuntimeError as error:
            if "memory" not in str(error):  # torch has no class of its own for memory that a CPU lacks
                raise
            raise ImageError(
                f"not enough memory on {self.device} for a picture of this size",
                found=str(error).splitlines()[0],
                remedy="make the picture or working_size smaller, or close other programs",
            ) from error
        finally:
            for module in training:
                module.training = True


def _description(model: Colorizer[Any]) -> dict[str, Any]:
    """What ``config.json`` says of a model, and in the same way of its parts, whose tensors lie in the same file."""
    parts = {"parts": [_description(part) for part in model.parts]} if model.parts else {}
    return {"model": model.spec.name, "config": asdict(model.config), **parts}


def has_fast_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; elsewhere bfloat16 would only cost accuracy."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def inference_autocast(device: torch.device, dtype: str | None = None) -> AbstractContextManager[Any]:
    """The context a network of torch predicts in.

    Args:
        device: Where it lies.
        dtype: ``float32`` or ``bfloat16``; None is bfloat16 on CPUs that have it, and float32 elsewhere.
    """
    if dtype is None:
        dtype = "bfloat16" if device.type == "cpu" and has_fast_bf16() else "float32"
    return torch.autocast(device.type, torch.bfloat16) if dtype == "bfloat16" else nullcontext()


def _mean_of_views(predict: pipeline.Predict, L: Tensor, views: int, multiple_of: int) -> Tensor:
    """The mean (N, 2, h, w) of what ``predict`` answers to the views of L, (N, 1, H, W)."""
    if views == 1:
        return predict(L)
    if views == 2:
        return (predict(L) + predict(L.flip(3)).flip(3)) / 2
    size = [max(1, round(0.75 * side / multiple_of)) * multiple_of for side in L.shape[2:]]
    if size == list(L.shape[2:]):  # too small a picture to have a second size
        return _mean_of_views(predict, L, 2, multiple_of)
    small = F.interpolate(L, size, mode="bilinear", antialias=True)
    own, other = (_mean_of_views(predict, view, 2, multiple_of) for view in (L, small))
    return (own + upsampling.bilinear_upsample(other, (own.shape[2], own.shape[3]))) / 2


def _check_number(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> None:
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        number = "a whole number" if whole else "a number"
        raise OptionError(f"bad {name}", found=repr(value), expected=f"{number} from {low} to {high}")


def _who_supports(option: str, asked: str) -> str:
    from zoo import registry  # here, because the registry knows this module's class

    names = [n for n in registry.list_models() if option in registry.find(n)[0].supports and n != asked]
    return f"models that have it: {', '.join(names)}" if names else "no registered model has it"
