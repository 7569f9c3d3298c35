"""The base class of every model: a family writes three methods; files, sizes, colour and options come for free."""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, Unpack, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn

from zoo import certainty, images, pipeline, variants
from zoo.errors import ImageError, OptionError
from zoo.options import GUIDANCE, MOST_VARIANTS, check, check_number, check_seed
from zoo.runnable import Runnable
from zoo.spec import OPTIONS, ModelSpec, WeightsSpec
from zoo.spread import Spread, from_views
from zoo.views import answers as view_answers

if TYPE_CHECKING:
    from zoo.canvas import Canvas, Guidance

ConfigT = TypeVar("ConfigT")
SelfT = TypeVar("SelfT", bound="Colorizer[Any]")
ImageLike = Image.Image | npt.NDArray[Any] | str | os.PathLike[str]

FORMAT_VERSION = 1


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


class Colorizer(Runnable, ABC, Generic[ConfigT]):
    """A colorization model: L in, ab out.

    A family writes `forward`, `loss` and `predict_ab`, and registers itself with `zoo.register`; what it needs to know
    of files, sizes and colour spaces is done here. Families with a pretrained backbone also give `backbone`, `encode`
    and `init_pretrained`.
    """

    specs: ClassVar[tuple[ModelSpec, ...]] = ()  # of the family, set by @register
    spec: ModelSpec  # of this object: the one whose configuration it has, else the family's first; zoo.load sets it
    weights: WeightsSpec | None = None
    roles: ClassVar[tuple[str, ...]] = ("colorizer",)
    takes_hints: ClassVar[bool] = False  # whether `predict_ab` takes ``hints`` itself, (N, 3, H, W): ab and a mask

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

    def spread(self, L: Tensor, **options: Any) -> Spread:
        """What else the colours of L might be, for variants and certainty; L and ``options`` as in `predict_ab`.

        Families with a distribution over colours say what it is; for the others the network's answers to other views
        of the picture tell, for about 3.1 forward passes.
        """
        return from_views(lambda view: self.predict_ab(view, **options), L, self.spec.multiple_of)

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
        variant: int | None = None,
        **guidance: "Unpack[Guidance]",
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
            variant: The number, from 0, of one of the colourings that `variants` offers, instead of the model's own
                answer; the seed is then theirs, which every model takes, 0 by itself.
            guidance: ``hints``, ``hint_radius``, ``reference`` and ``reference_mode``: see `zoo.canvas.Guidance`. To
                change them again and again, `canvas` is faster.

        Raises:
            ImageError: The picture cannot be read or is not one.
            OptionError: An option that this model does not support, or a value out of range.
        """
        pixels, alpha = _read(image)
        rgb = self.colorize_array(
            pixels,
            style=style,
            saturation=saturation,
            working_size=working_size,
            temperature=temperature,
            seed=seed,
            views=views,
            variant=variant,
            **guidance,
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
        variant: int | None = None,
        **guidance: "Unpack[Guidance]",
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
            variant: See `colorize`.
            guidance: See `colorize`.

        Raises:
            ImageError: An array of another shape, dtype or range.
            OptionError: An option that this model does not support, or a value out of range.
        """
        own: dict[str, Any] = {
            "style": style,
            "working_size": working_size,
            "temperature": temperature,
            "seed": seed,
            "views": views,
            "variant": variant,
        }
        if guidance:
            return self.canvas(array, **own).colorize_array(saturation=saturation, **guidance)
        predict = self.predictor(saturation=saturation, **own)
        with self.inference():
            return pipeline.colorize_array(array, predict, saturation=saturation, **self.sizes(own))

    def canvas(self, image: ImageLike, **options: Any) -> "Canvas":
        """The picture with its network answer kept, to be coloured by hints and a reference as often as one likes.

        Args:
            image: As in `colorize`.
            options: As in `colorize`, but the saturation and the guidance, which the canvas's own `colorize` takes.

        Raises:
            ImageError: The picture cannot be read or is not one.
            OptionError: An option that this model does not support, or a value out of range.
        """
        from zoo.canvas import Canvas  # here, because it is built on models

        return Canvas(self, image, **options)

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
                **self.sizes(options),
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
                **self.sizes(options),
                saturation=options.get("saturation", 1.0),
            ).clone()

    def variants(self, image: ImageLike, n: int = 4, *, seed: int = 0, **options: Any) -> list[Image.Image]:
        """``n`` plausible colourings that differ clearly from one another, likely ones first; pictures as `colorize`'s.

        Each is what `colorize` gives for a ``variant`` of 0 to ``n - 1``. The network runs once, however many there
        are, and with guidance twice. The same seed gives the same pictures, and the first of many are those of few.

        Args:
            image: As in `colorize`.
            n: 1 to 64; of four, two by two lie on either side of the model's own answer.
            seed: Another one gives others.
            options: As in `colorize`, guidance too, but ``views``.

        Raises:
            ImageError: The picture cannot be read or is not one.
            OptionError: A model that has none, an option that it does not support, or a value out of range.
        """
        pixels, alpha = _read(image)
        found = self.variants_array(pixels, n, seed=seed, **options)
        return [images.to_pil(images.to_8_bit(rgb), None if alpha is None else images.to_8_bit(alpha)) for rgb in found]

    def variants_array(
        self, array: npt.NDArray[Any], n: int = 4, *, seed: int = 0, **options: Any
    ) -> list[npt.NDArray[Any]]:
        """`variants` of an array, each as `colorize_array` gives it; arguments as there.

        Raises:
            ImageError: An array of another shape, dtype or range.
            OptionError: As `variants`.
        """
        check_number("number of variants", n, 1, MOST_VARIANTS, whole=True)
        if set(options) & GUIDANCE:
            from zoo.canvas import variants as guided  # here, because it is built on models

            return guided(self, array, n, seed, **options)
        predictors = self.variant_predictors(range(n), seed=seed, **options)
        own = {"saturation": options.get("saturation", 1.0), **self.sizes(options)}
        with self.inference():
            return [pipeline.colorize_array(array, predict, **own) for predict in predictors]

    def certainty(self, image: ImageLike, **options: Any) -> npt.NDArray[np.float32]:
        """How sure the model is of each colour: (H, W), float32, 0 to 1, half where the truth is likely 15 ab away.

        Args:
            image: As in `colorize`.
            options: ``style``, ``working_size`` and ``temperature``, as in `colorize`.

        Raises:
            ImageError: The picture cannot be read or is not one.
            OptionError: A model that has none, an option that it does not support, or a value out of range.
        """
        spread_of = self.spreader(**options)
        with self.inference():
            # The pipeline brings two maps to full size along the edges of L; here both are the certainty.
            lab = pipeline.predict_lab(
                _read(image)[0],
                lambda L: certainty.of_spread(spread_of(L)).expand(-1, 2, -1, -1),
                **self.sizes(options),
            )
            return lab[1].clamp(0, 1).numpy()

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
                saturation=saturation,
                **self.sizes({"working_size": working_size}),
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
        guidance = {name: options.pop(name) for name in GUIDANCE if name in options}
        predict = self.predictor(**options)
        picture = images.read(source)
        if guidance:
            colored = self.colorize_array(picture.pixels, **options, **guidance)
        else:
            with self.inference():
                colored = pipeline.colorize_in_place(
                    picture.pixels,
                    predict,
                    **self.sizes(options),
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

    def check_options(self, **options: Any) -> None:
        """Refuse what `colorize` would refuse, before any picture is touched; options as there, without guidance.

        Raises:
            OptionError: An option that this model does not support, or a value of another type or out of range.
        """
        check(self.spec, **options)

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

    def predictor(self, **options: Any) -> pipeline.Predict:
        """The network as `zoo.pipeline` calls it; to be run inside `inference`.

        One that takes hints may be given them behind L: ab in Lab units and a mask, (N, 4, H, W) together.

        Args:
            options: As in `colorize`; those that are the pipeline's own are checked, and left to it.

        Raises:
            OptionError: An option that this model does not support, or a value out of range.
        """
        self.check_options(**options)
        if (variant := options.get("variant")) is not None:
            rest = {name: value for name, value in options.items() if name not in ("variant", "seed")}
            return self.variant_predictors([variant], seed=options.get("seed") or 0, **rest)[0]
        views = options.get("views", 1)
        own = {name: options[name] for name in OPTIONS if options.get(name) is not None}

        def answer(x: Tensor) -> Tensor:
            if x.shape[1] == 1:
                return self.predict_ab(x, **own).float()
            known = (x[:, 3:] > 0.01).float()  # views of another size have soft edges
            told = torch.cat([x[:, 1:3] / x[:, 3:].clamp(min=0.01) * known, known], 1)
            return self.predict_ab(x[:, :1], hints=told, **own).float()

        def predict(L: Tensor) -> Tensor:
            x = self._placed(L)
            with self.autocast():
                return view_answers(answer, x, views, self.spec.multiple_of).mean(0).cpu()

        return predict

    def _placed(self, L: Tensor) -> Tensor:
        """L where and as the network takes it."""
        # Other backends have their own layouts; a copy by torch's threads, which then look for more work a while, would
        # only be in the way of theirs.
        layout = torch.channels_last if self.backend == "torch" else torch.preserve_format
        return L.to(self.device, torch.float32, memory_format=layout)

    def sizes(self, options: Mapping[str, Any]) -> dict[str, int]:
        """At what size the network looks, as `zoo.pipeline` takes it."""
        return {
            "working_size": options.get("working_size") or self.spec.working_size,
            "multiple_of": self.spec.multiple_of,
        }

    def spreader(self, **options: Any) -> Callable[[Tensor], Spread]:
        """`spread` as `predictor` is `predict_ab`: at the network's precision, the result on the CPU.

        Raises:
            OptionError: As `predictor`; neither ``seed`` nor ``views`` goes with it.
        """
        for name in ("seed", "views", "variant"):
            if options.get(name) is not None and (name, options[name]) != ("views", 1):
                raise OptionError(f"{name} does not go with variants and certainty", found=repr(options[name]))
        self.check_options(**options)
        own = {name: options[name] for name in OPTIONS if options.get(name) is not None}

        def spread_of(L: Tensor) -> Spread:
            x = self._placed(L)
            with self.autocast():
                return Spread(*(maps.float().cpu() for maps in self.spread(x, **own)))

        return spread_of

    def variant_predictors(self, numbers: Sequence[int], *, seed: int = 0, **options: Any) -> list[pipeline.Predict]:
        """`predictor` of each variant, by its number from 0; of one picture after another they run the network once.

        Raises:
            OptionError: As `variants`.
        """
        check_seed(seed)
        return variants.predictors(self.spreader(**options), numbers, seed)


def _description(model: Colorizer[Any]) -> dict[str, Any]:
    """What ``config.json`` says of a model, and in the same way of its parts, whose tensors lie in the same file."""
    parts = {"parts": [_description(part) for part in model.parts]} if model.parts else {}
    return {"model": model.spec.name, "config": asdict(model.config), **parts}


def _read(image: ImageLike) -> tuple[npt.NDArray[Any], npt.NDArray[Any] | None]:
    """The pixels and the alpha of a picture."""
    if isinstance(image, np.ndarray):
        return image, None
    picture = images.picture_of(image)
    return picture.pixels, picture.alpha
