"""Picture files and Pillow images as pictures: the content decides what a file is, the header how large it is."""

import logging
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from zoo.errors import ImageError
from zoo.images import deep, jpeg, metadata, profiles, webp
from zoo.images.picture import Picture
from zoo.images.strips import strips

Array = npt.NDArray[Any]
StrPath = str | os.PathLike[str]

_logger = logging.getLogger(__name__)

MAX_PIXELS = 250_000_000  # larger than any scanner's A3 at 1200 dpi; 750 MB of RGB
READABLE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"}
    | {".avif", ".heic", ".heif", ".hif"}
)

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",  # BigTIFF
    b"MM\0+": "TIFF",
}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}

# Pillow's modes that hold no more than another one.
_PLAIN_MODES = {
    "1": "L",
    "P": "RGB",
    "PA": "RGBA",
    "La": "LA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "YCbCr": "RGB",
    "HSV": "RGB",
}
# What the stored picture is turned by, per EXIF orientation.
_TURNS: dict[int, Callable[[Array], Array]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}


def read(path: StrPath, *, max_pixels: int = MAX_PIXELS) -> Picture:
    """The picture in a file, of animations and documents the first; upright, in sRGB, 16 bits and alpha kept.

    Args:
        path: A JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or HEIC file, whatever its suffix.
        max_pixels: Larger pictures are refused before they are decoded.

    Raises:
        ImageError: No file, no picture, a damaged, an incomplete, an unsupported or a too large one.
    """
    name = shown(path)
    with _refusing(name), _opened(Path(path), name) as file:
        kind = _kind(file, name)
        if kind == "TIFF" and (picture := _read_deep_tiff(file, name, max_pixels)):
            return picture
        file.seek(0)
        with metadata.logged_warnings(name):
            image = _open(kind, file, name)
        _check_size(image.width, image.height, max_pixels, name)
        if kind == "PNG" and (pixels := deep.png(file)) is not None:
            exif = metadata.parsed(image.info.get("exif") or deep.late_exif(file), name)
            pixels, alpha = _without_alpha(pixels)
            return _finished(pixels, alpha, image.info, exif, metadata.orientation(exif), kind, name)
        if kind == "JPEG" and (plain := _read_plain_jpeg(image, file)) is not None:
            exif = metadata.of_image(image, name)
            return _finished(plain, None, image.info, exif, metadata.orientation(exif), kind, name)
        if kind == "WEBP" and (plain := _read_still_webp(image, file)) is not None:
            exif = metadata.of_image(image, name)
            plain, alpha = _without_alpha(plain)
            return _finished(plain, alpha, image.info, exif, metadata.orientation(exif), kind, name)
        return _from_image(image, kind, name, own=True)


def from_pil(image: Image.Image) -> Picture:
    """The picture in a Pillow image of any mode, its EXIF orientation, ICC profile and transparency applied.

    Raises:
        ImageError: An empty image, one that cannot be decoded, or whose values have no known range.
    """
    name = shown(getattr(image, "filename", "") or "the image")
    with _refusing(name):
        _check_size(image.width, image.height, None, name)
        return _from_image(image, {"MPO": "JPEG"}.get(image.format or "", image.format or ""), name)


def picture_of(image: Image.Image | StrPath) -> Picture:
    """The picture in a Pillow image or at a path, upright.

    Raises:
        ImageError: Something else, or it cannot be read.
    """
    if not isinstance(image, Image.Image | str | os.PathLike):
        raise ImageError("not a picture", found=type(image).__name__, expected="a PIL image, a numpy array or a path")
    return from_pil(image) if isinstance(image, Image.Image) else read(image)


def shown(path: StrPath) -> str:
    """A path as it can be printed on one line."""
    text = os.fsdecode(path)
    return text if text.isprintable() else repr(text)


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Turns everything that reading may raise into an ImageError: damaged files lead decoders to anything."""
    try:
        yield
    except ImageError:
        raise
    except FileNotFoundError as error:
        raise ImageError(f"{name}: no such file", remedy="check the path") from error
    except PermissionError as error:
        raise ImageError(
            f"{name}: cannot be read", found="no permission", remedy="change the file's permissions"
        ) from error
    except MemoryError as error:
        raise ImageError(f"{name}: does not fit into memory", remedy="use a smaller copy") from error
    except Exception as error:
        raise ImageError(
            f"{name}: the picture is damaged, incomplete or of an unsupported kind",
            found=str(error) or type(error).__name__,
            expected="a whole picture file",
            remedy="open it in a photo editor and save it as PNG or TIFF, or fetch it anew",
        ) from error


@contextmanager
def _opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    try:
        mode = path.stat().st_mode
    except ValueError as error:  # a null character
        raise ImageError(f"{name}: not a path", remedy="check the path") from error
    if not stat.S_ISREG(mode):
        found = "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise ImageError(f"{name}: not a file", found=found, expected="a picture file")
    with path.open("rb") as file:
        yield file


def _kind(file: IO[bytes], name: str) -> str:
    head = file.read(64)
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] == b"ftyp":
        length = min(int.from_bytes(head[:4], "big"), len(head))
        brands = {head[8:12], *(head[i : i + 4] for i in range(16, length, 4))}
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIF"
    raise ImageError(
        f"{name}: {'not a picture of a known format' if head else 'the file is empty'}",
        found=f"a file that begins with {head[:12]!r}" if head else None,
        expected="JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or HEIC",
    )


def _open(kind: str, file: IO[bytes], name: str) -> ImageFile.ImageFile:
    """The Pillow image with its header read. Not by Image.open: that has a limit of its own on the size."""
    if kind == "JPEG":
        return JpegImagePlugin.jpeg_factory(file)
    if kind == "HEIF":
        try:
            import pillow_heif
        except ImportError as error:
            raise ImageError(
                f"{name}: HEIC pictures need the package pillow-heif", remedy="pip install pillow-heif"
            ) from error
        return cast(ImageFile.ImageFile, pillow_heif.HeifImageFile(file))  # type: ignore[no-untyped-call]
    if kind == "AVIF":
        try:
            from PIL import AvifImagePlugin, _avif  # noqa: F401
        except ImportError as error:
            raise ImageError(f"{name}: this Pillow cannot read AVIF", remedy="pip install 'pillow>=11.3'") from error
        return AvifImagePlugin.AvifImageFile(file)
    plugins: dict[str, Callable[[IO[bytes]], ImageFile.ImageFile]] = {
        "PNG": PngImagePlugin.PngImageFile,
        "WEBP": WebPImagePlugin.WebPImageFile,
        "TIFF": _TiffImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
        "GIF": GifImagePlugin.GifImageFile,
    }
    return plugins[kind](file)


class _TiffImageFile(TiffImagePlugin.TiffImageFile):
    """Pillow's, without the limit that it alone has for a second time when it decodes."""

    def load_prepare(self) -> None:
        if self._im is None:
            stored = (self.tag_v2[ExifTags.Base.ImageWidth], self.tag_v2[ExifTags.Base.ImageLength])
            self.im = Image.new(self.mode, stored, None).im
        super().load_prepare()


def _check_size(width: int, height: int, max_pixels: int | None, name: str) -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name}: the picture is empty", found=f"{width} x {height} pixels", expected="1 x 1 at least")
    if max_pixels is not None and width * height > max_pixels:
        raise ImageError(
            f"{name}: the picture is too large",
            found=f"{width} x {height} pixels",
            expected=f"at most {max_pixels} pixels",
            remedy="use a smaller copy",
        )


def _from_image(image: Image.Image, kind: str, name: str, *, own: bool = False) -> Picture:
    """The picture in a Pillow image; where that is our ``own``, it is closed as soon as its pixels are taken."""
    turns_itself = isinstance(image, TiffImagePlugin.TiffImageFile)
    if not turns_itself:
        image.load()
    exif = metadata.of_image(image, name)
    stored = metadata.orientation(exif)
    image.load()
    left = metadata.orientation(exif) if turns_itself else stored
    pixels, alpha = _arrays(image, name)
    info = dict(image.info)
    if stored > 4 >= left and (dpi := metadata.plausible_dpi(info.get("dpi"))):
        info["dpi"] = dpi[::-1]
    if image.mode == "LAB":
        info["icc_profile"] = None  # it has been used up
    return _finished(pixels, alpha, info, exif, left, kind, name, image if own else None)


def _finished(
    pixels: Array,
    alpha: Array | None,
    info: dict[Any, Any],
    exif: Image.Exif,
    orientation: int,
    kind: str,
    name: str,
    image: Image.Image | None = None,
) -> Picture:
    """The picture of decoded arrays as they are stored: profile and orientation applied.

    The arrays are used up, and so is the ``image`` that they came from: it is closed, to free its memory.
    """
    dpi = metadata.plausible_dpi(info.get("dpi")) or metadata.resolution(exif)
    tags = metadata.upright(exif, name)
    if image is not None:
        image.close()
    pixels = profiles.to_srgb(pixels, info.get("icc_profile"), name)
    if turn := _TURNS.get(orientation):
        pixels = np.ascontiguousarray(turn(pixels))
        alpha = None if alpha is None else np.ascontiguousarray(turn(alpha))
    return Picture(
        pixels=pixels,
        alpha=alpha,
        format=kind,
        exif=tags,
        dpi=dpi[::-1] if dpi and orientation > 4 else dpi,
    )


def _arrays(image: Image.Image, name: str) -> tuple[Array, Array | None]:
    """Pixels (H, W), (H, W, 3) or, for CMYK, (H, W, 4), and alpha, of a decoded Pillow image."""
    mode = image.mode
    if mode == "LAB":
        return np.asarray(profiles.lab_to_srgb(image)), None
    if mode in ("I", "F") or mode.startswith("I;16"):
        return deep.grey(np.asarray(image), name), None
    mode = _PLAIN_MODES.get(mode, mode)
    if mode not in ("L", "LA", "RGB", "RGBA", "CMYK"):
        raise ImageError(
            f"{name}: pictures of this kind cannot be read", found=f"mode {mode}", remedy="convert it to RGB"
        )
    if mode != "CMYK" and image.has_transparency_data:
        mode = "LA" if mode in ("L", "LA") else "RGBA"
    return _taken(image, mode)


def _taken(image: Image.Image, mode: str) -> tuple[Array, Array | None]:
    """Color and alpha of a decoded Pillow image as if converted to ``mode``; in strips, since Pillow makes copies."""
    width, height = image.size
    channels = {"L": 1, "LA": 1, "CMYK": 4}.get(mode, 3)
    color = np.empty((height, width, channels), np.uint8)
    alpha = np.empty((height, width), np.uint8) if mode in ("LA", "RGBA") else None
    for rows in strips(height, width):
        whole = rows == slice(0, height)
        strip = image if whole else image.crop((0, rows.start, width, rows.stop))  # which has a limit on its size
        values = np.asarray(strip if strip.mode == mode else strip.convert(mode)).reshape(-1, width, len(mode))
        color[rows] = values[..., :channels]
        if alpha is not None:
            alpha[rows] = values[..., channels]
    return color[..., 0] if channels == 1 else color, alpha


def _without_alpha(pixels: Array) -> tuple[Array, Array | None]:
    """Views of (H, W[, C]): color, C = 1 or 3, and the alpha after it, if any."""
    if pixels.ndim == 2:
        return pixels, None
    channels = pixels.shape[2]
    color = pixels[..., 0] if channels < 3 else pixels[..., :3]
    return color, pixels[..., -1] if channels in (2, 4) else None


def _read_plain_jpeg(image: ImageFile.ImageFile, file: IO[bytes]) -> Array | None:
    """The pixels of a JPEG of one grey or RGB picture; None for others, which are Pillow's to read."""
    if type(image) is not JpegImagePlugin.JpegImageFile or image.mode not in ("L", "RGB"):
        return None
    file.seek(0)
    return jpeg.decode(file.read(), (image.height, image.width, 3)[: 2 if image.mode == "L" else 3])


def _read_still_webp(image: ImageFile.ImageFile, file: IO[bytes]) -> Array | None:
    """The pixels of a WebP of one picture; None for others, which are Pillow's to read."""
    if image.is_animated:  # type: ignore[attr-defined]
        return None
    file.seek(0)
    return webp.decode(file.read(), (image.height, image.width, len(image.mode)))


def _read_deep_tiff(file: IO[bytes], name: str, max_pixels: int) -> Picture | None:
    """A TIFF of more than 8 bits; None where it has fewer, which is Pillow's to read."""
    import tifffile  # 0.2 s

    file.seek(0)
    with tifffile.TiffFile(file) as tiff:
        page = tiff.pages.first
        _check_size(page.imagewidth, page.imagelength, max_pixels, name)
        if page.bitspersample <= 8:
            return None
        pixels, alpha = deep.tiff_arrays(page, name)
        exif = metadata.of_big_tiff(page) if tiff.is_bigtiff else Image.Exif()
    file.seek(0)
    with metadata.logged_warnings(name):
        if not exif:
            exif.load_from_fp(file)
        info = {"icc_profile": exif.get(ExifTags.Base.InterColorProfile)}
    return _finished(pixels, alpha, info, exif, metadata.orientation(exif), "TIFF", name)
