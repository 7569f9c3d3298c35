"""What the buttons for photos do: pictures in, pictures out."""

import hashlib
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
import numpy.typing as npt
import torch
from cachetools import LRUCache
from PIL import Image
from torch import Tensor

from demo import gpu, limits, models
from demo.refusals import in_short, refusal, warn
from zoo import color, images, pipeline
from zoo.errors import ImageError, OptionError
from zoo.evaluation import metrics

NO_PHOTO = "Upload a photo or click one of the examples first."
BEFORE, ORIGINAL = "before", "original"  # results that are no model's
_SHOWN_BY_BROWSERS = {"JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF"}
_MEASURED_SIDE = 512  # pixels, to which a picture is made smaller before it is compared with the original
_KEPT_BYTES = 64 << 20  # of maps, those of some sixty pictures
_kept: LRUCache[tuple[Any, ...], Tensor] = LRUCache(_KEPT_BYTES, getsizeof=lambda maps: maps.nbytes)
_keeping = Lock()

Array = npt.NDArray[Any]


class Settings(NamedTuple):
    """How a picture is colored, whichever model does it; None leaves it to the model.

    A model that knows no temperature does without.
    """

    saturation: float = 1.0
    temperature: float | None = None
    working_size: int | None = None
    views: int = 1


class Result(NamedTuple):
    """One finished panel: of which photo, whose it is, and its file or, where there is none, the reason.

    Attributes:
        photo: Its place among those that were given, from 0 on.
        name: What was asked for, `BEFORE` or `ORIGINAL`; empty where the photo itself cannot be read.
        path: The picture at full size, as browsers show it.
        size: Its width and height in pixels.
        figures: By metric, how it compares with the original, where that has color.
        seconds: That the model took; None where it had been asked before.
        problem: In words for the visitor.
    """

    photo: int
    name: str
    path: Path | None = None
    size: tuple[int, int] = (0, 0)
    figures: dict[str, float] | None = None
    seconds: float | None = None
    problem: str = ""


def prepare(sources: Sequence[str] | None) -> Iterator[list[str]]:
    """Uploaded files as the page can show them: themselves, or as PNG where browsers cannot; what is no picture goes.

    A generator, as `colorize` is, since its files are gone once it has ended: the app keeps a copy of what it yields.
    """
    with tempfile.TemporaryDirectory() as folder:
        kept, problems = [], []
        for n, source in enumerate(sources or ()):
            if n >= limits.PHOTOS_AT_ONCE:
                problems.append(limits.PHOTO_COUNT)
                break
            try:
                with in_short(source):
                    picture = _read(source)
                    if picture.format in _SHOWN_BY_BROWSERS:
                        kept.append(source)
                    else:
                        place = Path(folder, str(n))
                        place.mkdir()
                        kept.append(str(_written(place / f"{Path(source).stem}.png", picture, picture.pixels)))
            except gr.Error as error:
                problems.append(error.message)
        warn(problems)
        yield kept


def colorize(
    sources: Sequence[str] | None, chosen: Sequence[str], settings: Settings, stop: Callable[[], bool] = lambda: False
) -> Iterator[Result]:
    """Each picture as each of the ``chosen`` models colors it, as soon as it is done; before that in black and white.

    A picture in color comes first of all as `ORIGINAL`. Where a model or a picture fails, the others go on. What a
    network said of a picture is kept for a while: at another saturation it is not asked again. Once ``stop`` says
    so, nothing more comes.

    Raises:
        gr.Error: Nothing to do, or too much; in words for the visitor.
    """
    sources = check_job(sources, chosen)
    with tempfile.TemporaryDirectory() as folder:
        for n, source in enumerate(sources):
            try:
                yield from _colorized(n, source, chosen, settings, Path(folder), stop)
            except gr.Error as error:
                yield Result(n, "", problem=error.message)
            if stop():
                return


def _colorized(
    n: int, source: str, chosen: Sequence[str], settings: Settings, folder: Path, stop: Callable[[], bool]
) -> Iterator[Result]:
    with in_short(source):
        photo = Photo(source)
        truth = photo.picture.pixels if color.has_color(images.to_8_bit(photo.picture.pixels)) else None
        toned = truth is None or color.is_toned(images.to_8_bit(truth))  # a sepia print says nothing of the colors
        judge = None if truth is None or toned else _Judge(truth, photo.grey)
        before = _shown(folder, photo, BEFORE, photo.grey)
        original = None if truth is None else _shown(folder, photo, ORIGINAL, truth)
    if original:
        yield Result(n, ORIGINAL, original, photo.size)
    yield Result(n, BEFORE, before, photo.size)
    for name in chosen:
        if stop():
            return
        try:
            with in_short(source):
                pixels = photo.colored(name, settings)
                path, figures = _shown(folder, photo, name, pixels), judge(pixels) if judge else None
                result = Result(n, name, path, photo.size, figures, photo.seconds)
        except gr.Error as error:
            result = Result(n, name, problem=error.message)
        yield result


def full(source: str, name: str, settings: Settings, suffix: str, folder: Path) -> Path:
    """The picture as a model colors it, in ``folder``, as good as a file of this kind can hold it.

    Args:
        source: The photo.
        name: As in `models.parse`, or `BEFORE`.
        settings: As in `colorize`.
        suffix: ``.png``, which keeps 16 bits and alpha, or ``.jpg``.
        folder: That exists.

    Raises:
        gr.Error: In words for the visitor.
    """
    with in_short(source):
        photo = Photo(source)
        photo.check_suffix(suffix)
        pixels = photo.grey if name == BEFORE else photo.colored(name, settings)
        return photo.written(folder / f"{photo.stem(name)}{suffix}", pixels)


def archive(wanted: Sequence[tuple[str, str]], settings: Settings, folder: Path) -> Path:
    """A ZIP, in ``folder``, of pictures in color, PNG; ``wanted`` are photos, and for each a name as in `full`.

    What cannot be colored is left out and named in ``problems.txt``.
    """
    target, problems = folder / "colorzoo.zip", ""
    sources = list(dict.fromkeys(source for source, _ in wanted))
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for source, name in wanted:
            try:
                path = full(source, name, settings, ".png", folder)
            except gr.Error as error:
                problems += f"{Path(source).name}, {name}: {error.message}\n"
                continue
            taken = path.name in out.namelist()  # by a photo of the same name
            out.write(path, f"{path.stem}-{sources.index(source) + 1}.png" if taken else path.name)
            path.unlink()
        if problems:
            out.writestr("problems.txt", problems)
    return target


def options(name: str, settings: Settings) -> dict[str, Any]:
    """The options of the network that the settings stand for; a temperature only where it turns anything.

    Raises:
        ZooError: As `models.parse` and `zoo.Colorizer.check_options`.
    """
    choice = models.parse(name)
    model = models.named(choice.spec.name)
    found = choice.options
    if settings.working_size is not None:
        found["working_size"] = settings.working_size
    if settings.views != 1:
        found["views"] = settings.views
    model.check_options(**found, saturation=settings.saturation)
    if settings.temperature is None:
        return found
    if not limits.TEMPERATURES[0] <= settings.temperature <= limits.TEMPERATURES[1]:
        raise OptionError("bad temperature", found=settings.temperature, expected=limits.TEMPERATURE_RANGE)
    try:
        model.check_options(**found, temperature=settings.temperature)
    except OptionError:
        return found
    return {**found, "temperature": settings.temperature}


def colorize_one(
    source: str | None,
    model: str,
    style: str = "",
    saturation: float = 1.0,
    temperature: float | None = None,
    working_size: float | None = None,
    views: float = 1,
) -> Iterator[str]:
    """The picture in color, a PNG of the source's size and bit depth; the endpoint ``/colorize``.

    Raises:
        gr.Error: What `full` raises, or there is no picture.
    """
    if not source:
        raise refusal(NO_PHOTO)
    with tempfile.TemporaryDirectory() as folder:
        name = f"{model}:{style}" if style else model
        settings = Settings(saturation, temperature, whole(working_size), whole(views))
        yield str(full(source, name, settings, ".png", Path(folder)))


def compare(source: str | None, chosen: Any, saturation: float = 1.0) -> Iterator[list[tuple[str, str]]]:
    """The picture as each of the ``chosen`` models colors it, PNG, with its name; the endpoint ``/compare``.

    Raises:
        gr.Error: What `full` raises, or there is nothing to do.
    """
    chosen = [chosen] if isinstance(chosen, str) else chosen
    if not isinstance(chosen, list) or not all(isinstance(name, str) for name in chosen):
        raise refusal('The models are a list of names, such as ["fusion:vivid"].')
    check_job([source] if source else [], chosen)
    with tempfile.TemporaryDirectory() as folder:
        done: list[tuple[str, str]] = []
        for name in dict.fromkeys(chosen):
            done = [*done, (str(full(str(source), name, Settings(saturation), ".png", Path(folder))), name)]
            yield done


class Photo:
    """A photo that was read, and what is made of it.

    Attributes:
        size: Width and height in pixels.
        seconds: That the last coloring took; None where the network had been asked before.
    """

    seconds: float | None = None

    def __init__(self, source: str) -> None:
        self.source = source
        self.picture = _read(source)
        self.digest = hashlib.sha256(Path(source).read_bytes()).digest()
        height, width = self.picture.pixels.shape[:2]
        self.size = (width, height)

    @property
    def transparent(self) -> bool:
        """Whether anything shines through."""
        alpha = self.picture.alpha
        return alpha is not None and bool(alpha.min() < np.iinfo(alpha.dtype).max)

    @cached_property
    def grey(self) -> Array:
        """The pixels without color."""
        return models.named(models.BASELINE).colorize_array(self.picture.pixels)

    def colored(self, name: str, settings: Settings) -> Array:
        """The pixels as the model ``name`` colors them, of the photo's own dtype.

        Raises:
            ZooError: As `models.parse` and `zoo.Colorizer.colorize_array`.
        """
        asked = options(name, settings)
        key = (self.digest, name, *sorted(asked.items()))
        with _keeping:
            maps = _kept.get(key)
        began, self.seconds = time.perf_counter(), None
        if maps is not None:
            return pipeline.paint(self.picture.pixels, maps, saturation=settings.saturation)
        maps = torch.from_numpy(_maps(name, self.picture.pixels, asked))
        with _keeping:
            if maps.nbytes <= _kept.maxsize:
                _kept[key] = maps
        pixels = pipeline.paint(self.picture.pixels, maps, saturation=settings.saturation)
        self.seconds = time.perf_counter() - began
        return pixels

    @property
    def image(self) -> Image.Image:
        """Itself, 8 bits."""
        return images.to_pil(images.to_8_bit(self.picture.pixels), self.picture.alpha)

    def stem(self, name: str) -> str:
        """Of a file of what ``name`` made of it."""
        return f"{Path(self.source).stem[:80]}-{name.replace(':', '-')}"

    def check_suffix(self, suffix: str) -> None:
        """Refuse kinds of files in which this app does not write the photo.

        Raises:
            OptionError: It is one.
        """
        if suffix not in (".png", ".jpg"):
            raise OptionError(f"no pictures of kind {suffix!r}", expected=".png or .jpg")
        if suffix == ".jpg" and self.transparent:
            raise OptionError("JPEG has no transparency, and this picture has", remedy="take the PNG")

    def written(self, target: Path, pixels: Array) -> Path:
        """Write what was made of it, as good as such a file can hold it, with its alpha, EXIF and resolution."""
        return _written(target, self.picture, pixels)


@gpu.borrowed(seconds=30)
def _maps(name: str, pixels: Array, asked: dict[str, Any]) -> Array:
    """What the network says of a picture, as `zoo.Colorizer.predict_maps`; an array, since it may cross processes."""
    model = models.named(models.parse(name).spec.name)
    return gpu.moved(model).predict_maps(pixels, **asked).numpy()


class _Judge:
    """Compares pictures with the original, all made smaller in the same way."""

    def __init__(self, truth: Array, grey: Array) -> None:
        self.truth, small_grey = _small(truth), _small(grey)
        self.lab = metrics.lab_of(self.truth)
        self.grey_psnr = metrics.psnr(small_grey, self.truth)
        self.colorfulness = metrics.colorfulness_abs(self.truth)

    def __call__(self, pixels: Array) -> dict[str, float]:
        rgb = _small(pixels)
        return {
            "gain": metrics.psnr(rgb, self.truth) - self.grey_psnr,
            "ciede2000": metrics.ciede2000(metrics.lab_of(rgb), self.lab),
            "cf_share": 100 * metrics.colorfulness_abs(rgb) / self.colorfulness,
        }


def whole(value: Any) -> Any:
    """A number of the page or of an endpoint, an int where it is whole, whichever way JSON has it; others are kept."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def check_job(sources: Sequence[str] | None, chosen: Sequence[str]) -> Sequence[str]:
    """The photos, if there is something to do and not too much.

    Raises:
        gr.Error: In words for the visitor.
    """
    if not sources:
        raise refusal(NO_PHOTO)
    if not chosen:
        raise refusal("Tick at least one model.")
    if len(sources) > limits.PHOTOS_AT_ONCE:
        raise refusal(limits.PHOTO_COUNT)
    return sources


def _small(pixels: Array) -> Array:
    rgb = images.to_8_bit(pixels)
    image = Image.fromarray(rgb if rgb.ndim == 3 else np.repeat(rgb[..., None], 3, 2))
    image.thumbnail((_MEASURED_SIDE, _MEASURED_SIDE), Image.Resampling.BOX)
    return np.asarray(image)


def _read(source: str) -> images.Picture:
    if Path(source).is_file() and Path(source).stat().st_size > limits.PHOTO_MEGABYTES * 2**20:
        raise ImageError(f"{source}: the file is too large")
    picture = images.read(source, max_pixels=limits.PHOTO_MEGAPIXELS * 1_000_000)
    height, width = picture.pixels.shape[:2]
    if max(height, width) > limits.PHOTO_SIDE:
        raise ImageError(f"{source}: {width} x {height} pixels; a side has at most {limits.PHOTO_SIDE}")
    return picture


def _shown(folder: Path, photo: Photo, name: str, pixels: Array) -> Path:
    """A file that a browser loads quickly: what is downloaded is made by `full`."""
    place = Path(tempfile.mkdtemp(dir=folder))
    alpha = photo.picture.alpha if photo.transparent else None
    target = place / f"{photo.stem(name)}{'.jpg' if alpha is None else '.png'}"
    return images.write(target, images.to_8_bit(pixels), alpha=None if alpha is None else images.to_8_bit(alpha))


def _written(target: Path, picture: images.Picture, pixels: Array) -> Path:
    return images.write(target, pixels, alpha=picture.alpha, exif=picture.exif, dpi=picture.dpi)
