"""Pictures as files: encoded beside the target, then moved into place, so that a target is whole or not there."""

import os
import secrets
import struct
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import features

from zoo.errors import ImageError, OptionError
from zoo.images import jpeg, metadata, png, profiles, tiff, webp
from zoo.images.picture import checked, joined, to_8_bit, to_pil
from zoo.images.reading import shown

Array = npt.NDArray[Any]
StrPath = str | os.PathLike[str]

_FORMATS = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".bmp": "BMP",
    ".avif": "AVIF",
}
_OPAQUE = ("JPEG", "BMP")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """What is to be encoded; names as in `write`."""

    kind: str
    name: str
    pixels: Array  # (H, W) or (H, W, 3)
    alpha: Array | None
    tags: metadata.Tags
    dpi: tuple[float, float] | None
    quality: int

    @property
    def profile(self) -> bytes | None:
        """None for grey, where a profile of RGB would be wrong."""
        return None if self.pixels.ndim == 2 else profiles.srgb()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def rows(self, rows: slice) -> Array:
        """Some rows, (n, W) or (n, W, 2 | 3 | 4), alpha last."""
        return np.ascontiguousarray(joined(self.pixels[rows], None if self.alpha is None else self.alpha[rows]))

    @property
    def whole_exif(self) -> bytes:
        """With the resolution, for formats that cannot say it elsewhere."""
        tags = metadata.with_dpi(self.tags, self.dpi)
        return metadata.to_bytes(tags) if tags else b""

    @property
    def dpi_option(self) -> dict[str, tuple[float, float]]:
        """For Pillow, to which no resolution is no option."""
        return {} if self.dpi is None else {"dpi": self.dpi}


def output_suffix(path: StrPath) -> str:
    """The suffix for a result that takes after ``path``: its own where that can be written, else ``.png``.

    Args:
        path: Need not exist; only its suffix is looked at.
    """
    suffix = Path(path).suffix
    kind = _FORMATS.get(suffix.lower())
    if kind is None or (kind == "AVIF" and not features.check("avif")):
        return ".png"
    return suffix


def write(
    path: StrPath,
    pixels: Array,
    *,
    alpha: Array | None = None,
    exif: bytes | None = None,
    dpi: tuple[float, float] | None = None,
    quality: int = 95,
    overwrite: bool = False,
    source: StrPath | None = None,
) -> Path:
    """The path that was written; either the whole picture is there, or what was there before.

    PNG and TIFF keep 16 bits, the others are rounded to 8. Colors are tagged as sRGB, but in BMP, which cannot say so.

    Args:
        path: Its suffix chooses the format: JPEG, PNG, WebP, TIFF, BMP or AVIF.
        pixels: sRGB, (H, W), (H, W, 1), (H, W, 3) or (H, W, 4); uint8 or uint16.
        alpha: (H, W) of the same dtype. JPEG and BMP take it only where it is opaque everywhere.
        exif: Written with orientation 1 and this size, where the format has it (not BMP).
        dpi: Horizontal and vertical resolution.
        quality: Of JPEG, WebP and AVIF, 1 to 100. JPEG has its chroma at half size up to 95.
        overwrite: Whether a file may be replaced.
        source: A file that is never replaced, ``overwrite`` or not.

    Raises:
        ImageError: A format that cannot be written, pixels that do not fit it, a target that exists, is the source or
            cannot be written to.
        OptionError: ``quality`` is out of range.
    """
    target, name = Path(path), shown(path)
    kind = _FORMATS.get(target.suffix.lower(), "")
    if not kind or output_suffix(target).lower() != target.suffix.lower():
        raise ImageError(
            f"{name}: pictures cannot be written as {target.suffix or 'a file without suffix'}",
            expected=", ".join(_FORMATS),
            remedy="choose .png or .jpg",
        )
    if not 1 <= quality <= 100:
        raise OptionError("quality is out of range", found=quality, expected="1 to 100")
    pixels, alpha = checked(pixels, alpha)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{name}: not the values of a picture", found=pixels.dtype, expected="uint8 or uint16")
    if alpha is not None and kind in _OPAQUE:
        if alpha.min() < np.iinfo(alpha.dtype).max:
            raise ImageError(
                f"{name}: {kind} has no transparency, the picture has",
                remedy="color it by itself, into a .png, .webp or .tif",
            )
        alpha = None
    _check_target(target, name, overwrite, source)
    height, width = pixels.shape[:2]
    dpi = metadata.plausible_dpi(dpi)
    job = _Job(
        kind=kind,
        name=name,
        pixels=pixels,
        alpha=alpha,
        tags=metadata.for_output(exif, width, height, dpi, name),
        dpi=dpi,
        quality=quality,
    )
    with _replacing(target, name, overwrite) as file:
        try:
            _ENCODERS[kind](file, job)
        except OSError as error:
            if error.errno is not None:  # of the disk, not of the encoder
                raise
            raise _refusal(name, kind, error) from error
        except Exception as error:
            raise _refusal(name, kind, error) from error
    return target


def _refusal(name: str, kind: str, error: Exception) -> ImageError:
    others = "choose .tif: PNGs have sides of at most a million pixels"
    return ImageError(
        f"{name}: cannot be written as {kind}",
        found=str(error) or type(error).__name__,
        remedy=others if kind == "PNG" else "choose .png or .tif: other formats limit the size of a picture",
    )


def _check_target(target: Path, name: str, overwrite: bool, source: StrPath | None) -> None:
    try:
        if not target.exists():  # of a dangling link too, which would be replaced itself
            if not target.parent.is_dir():
                raise ImageError(f"{name}: its folder does not exist", remedy="make the folder first")
            return
        if source is not None and Path(source).exists() and target.samefile(source):
            raise ImageError(f"{name}: is the source, which is never replaced", remedy="choose another name")
        if target.is_dir():
            raise ImageError(f"{name}: is a folder", expected="the name of a file")
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: cannot be written", found=str(error)) from error
    if not overwrite:
        raise _exists(name)


def _exists(name: str) -> ImageError:
    return ImageError(f"{name}: exists already", remedy="choose another name or allow overwriting")


@contextmanager
def _replacing(target: Path, name: str, overwrite: bool) -> Iterator[IO[bytes]]:
    """A new file beside ``target`` that takes its place when all went well, and is gone when not."""
    part = target.with_name(f".{secrets.token_hex(8)}.part")  # hidden, and short where the target's name is long
    try:
        try:
            with part.open("xb") as file:  # unlike tempfile's, with the permissions of any new file
                yield file
            if overwrite:
                part.replace(target)
            else:
                _move_without_replacing(part, target)
        finally:
            part.unlink(missing_ok=True)
    except FileExistsError as error:
        raise _exists(name) from error
    except (OSError, ValueError) as error:  # a ValueError is a null character in the name
        raise ImageError(
            f"{name}: cannot be written",
            found=getattr(error, "strerror", None) or str(error),
            remedy="check the folder's permissions and the space on the disk",
        ) from error


def _move_without_replacing(part: Path, target: Path) -> None:
    try:
        os.link(part, target)  # fails where there is a target, even one that was made this moment
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if target.exists():
            raise FileExistsError from None
        part.replace(target)


def _encode_jpeg(file: IO[bytes], job: _Job) -> None:
    jpeg.encode(
        file,
        to_8_bit(job.pixels),
        quality=job.quality,
        subsampling="420" if job.quality <= 95 else "444",
        dpi=job.dpi,
        exif=metadata.for_jpeg(job.tags, job.name),
        profile=job.profile,
    )


def _encode_webp(file: IO[bytes], job: _Job) -> None:
    pixels = joined(to_8_bit(job.pixels), None if job.alpha is None else to_8_bit(job.alpha))
    webp.encode(file, pixels, quality=job.quality, exif=job.whole_exif, profile=job.profile)


def _encode_avif(file: IO[bytes], job: _Job) -> None:
    to_pil(to_8_bit(job.pixels), None if job.alpha is None else to_8_bit(job.alpha)).save(
        file, "AVIF", quality=job.quality, exif=job.whole_exif, icc_profile=job.profile or b""
    )


def _encode_bmp(file: IO[bytes], job: _Job) -> None:
    to_pil(to_8_bit(job.pixels)).save(file, "BMP", **job.dpi_option)


def _encode_png(file: IO[bytes], job: _Job) -> None:
    chunks = []
    if job.profile:
        chunks.append((b"iCCP", b"sRGB\0\0" + zlib.compress(job.profile)))
    if job.dpi is not None:
        per_meter = (round(value / 0.0254) for value in job.dpi)
        chunks.append((b"pHYs", struct.pack(">IIB", *per_meter, 1)))
    if job.tags:
        chunks.append((b"eXIf", metadata.to_bytes(job.tags)[6:]))
    png.encode(file, job.rows, job.size, chunks)


def _encode_tiff(file: IO[bytes], job: _Job) -> None:
    tags = metadata.with_dpi(job.tags, job.dpi)
    tiff.encode(file, job.rows, job.size, tags=tags, alpha=job.alpha is not None, profile=job.profile)


_ENCODERS: dict[str, Callable[[IO[bytes], _Job], None]] = {
    "JPEG": _encode_jpeg,
    "PNG": _encode_png,
    "WEBP": _encode_webp,
    "TIFF": _encode_tiff,
    "BMP": _encode_bmp,
    "AVIF": _encode_avif,
}
