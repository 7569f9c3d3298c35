"""Picture files: every format, mode and depth, profiles, EXIF, hostile files, and how results are put in place."""

import io
import itertools
import logging
import os
import struct
import sys
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, ImageSequence, features

from zoo import images
from zoo.errors import ImageError, OptionError, ZooError
from zoo.images import deep, profiles, strips
from zoo.images.picture import joined

HEIGHT, WIDTH = 48, 64
_y, _x = np.mgrid[:HEIGHT, :WIDTH]
RGB = np.stack([_x * 4, _y * 5, 255 - (_x + _y) * 2], -1).astype(np.uint8)
GREY = (_x * 3 + _y).astype(np.uint8)
ALPHA = np.where(_x < 20, 0, _y * 5 + 15).astype(np.uint8)
RGB16 = RGB.astype(np.uint16) * 257 + np.uint16(100) * (RGB < 200)  # not the 16-bit form of any 8-bit picture
GREY16 = GREY.astype(np.uint16) * 257 + 77
ALPHA16 = ALPHA.astype(np.uint16) * 256 + 5
LOSSLESS = [".png", ".tif", ".bmp"]
LOSSY = [".jpg", ".webp", *([".avif"] if features.check("avif") else [])]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(array: np.ndarray, **options: object) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, array, **options)
    return buffer.getvalue()


def read(data: bytes, folder: Path, name: str = "picture") -> images.Picture:
    path = folder / name
    path.write_bytes(data)
    return images.read(path)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def close(a: np.ndarray, b: np.ndarray, tolerance: float) -> bool:
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    return float(np.abs(a.astype(float) - b).mean()) <= tolerance


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def exif_of(data: bytes | None) -> Image.Exif:
    exif = Image.Exif()
    exif.load(data or b"")
    return exif


def an_exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[271], exif[274], exif[315] = "Kodak", orientation, "Jane Doe"
    exif.get_ifd(0x8769).update({36867: "1999:12:31 23:59:59", 40962: 9999, 40963: 8888, 33434: 0.01})
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 30.0)})
    return exif


# Reading


RGB_IMAGE, GREY_IMAGE = Image.fromarray(RGB), Image.fromarray(GREY)
RGBA_IMAGE = Image.fromarray(np.dstack([RGB, ALPHA]))
EXACT = {
    "png grey": (encoded(GREY_IMAGE, "PNG"), GREY, None),
    "png rgb": (encoded(RGB_IMAGE, "PNG"), RGB, None),
    "png rgba": (encoded(RGBA_IMAGE, "PNG"), RGB, ALPHA),
    "png grey alpha": (encoded(Image.fromarray(np.dstack([GREY, ALPHA])), "PNG"), GREY, ALPHA),
    "png 16 grey": (imagecodecs.png_encode(GREY16), GREY16, None),
    "png 16 rgb": (imagecodecs.png_encode(RGB16), RGB16, None),
    "png 16 rgba": (imagecodecs.png_encode(np.dstack([RGB16, ALPHA16])), RGB16, ALPHA16),
    "png 16 grey alpha": (imagecodecs.png_encode(np.dstack([GREY16, ALPHA16])), GREY16, ALPHA16),
    "bmp": (encoded(RGB_IMAGE, "BMP"), RGB, None),
    "bmp grey": (encoded(GREY_IMAGE, "BMP"), GREY, None),
    "webp lossless": (encoded(RGBA_IMAGE, "WEBP", lossless=True, exact=True), RGB, ALPHA),
    "tiff rgb": (encoded(RGB_IMAGE, "TIFF"), RGB, None),
    "tiff rgba": (encoded(RGBA_IMAGE, "TIFF"), RGB, ALPHA),
    "tiff lzw": (encoded(RGB_IMAGE, "TIFF", compression="tiff_lzw"), RGB, None),
    "tiff deflate": (encoded(RGB_IMAGE, "TIFF", compression="tiff_adobe_deflate"), RGB, None),
    "tiff packbits": (encoded(GREY_IMAGE, "TIFF", compression="packbits"), GREY, None),
    "tiff planar": (tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate"), RGB, None),
    "tiff big": (tiff(RGB, photometric="rgb", bigtiff=True), RGB, None),
    "tiff white is zero": (tiff(255 - GREY, photometric="miniswhite"), GREY, None),
    "tiff 16 grey": (tiff(GREY16), GREY16, None),
    "tiff 16 big endian": (tiff(GREY16, byteorder=">"), GREY16, None),
    "tiff 16 white is zero": (tiff(65535 - GREY16, photometric="miniswhite"), GREY16, None),
    "tiff 16 rgb": (tiff(RGB16, photometric="rgb"), RGB16, None),
    "tiff 16 big": (tiff(RGB16, photometric="rgb", bigtiff=True), RGB16, None),
    "tiff 16 tiles": (
        tiff(RGB16, photometric="rgb", tile=(16, 16), compression="lzw", predictor=True),
        RGB16,
        None,
    ),
    "tiff 16 planar": (
        tiff(np.moveaxis(RGB16, -1, 0), photometric="rgb", planarconfig="separate"),
        RGB16,
        None,
    ),
    "tiff 16 rgba": (
        tiff(np.dstack([RGB16, ALPHA16]), photometric="rgb", extrasamples=["unassalpha"]),
        RGB16,
        ALPHA16,
    ),
    "tiff 16 grey alpha": (
        tiff(np.dstack([GREY16, ALPHA16]), photometric="minisblack", extrasamples=["unassalpha"]),
        GREY16,
        ALPHA16,
    ),
    "tiff 32 float": (tiff((RGB16 / 65535).astype(np.float32), photometric="rgb"), RGB16, None),
    "tiff 32 integer": (tiff(GREY16.astype(np.uint32) * 65537), GREY16, None),
    "tiff pages": (tiff(np.stack([GREY16, GREY16 // 2])), GREY16, None),
    "png named as jpeg": (encoded(RGB_IMAGE, "PNG"), RGB, None),
}


@pytest.mark.parametrize("case", EXACT)
def test_lossless_files_are_read_exactly(case: str, tmp_path: Path) -> None:
    data, pixels, alpha = EXACT[case]
    picture = read(data, tmp_path, "a.jpg")
    assert picture.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(picture.pixels, pixels)
    if alpha is None:
        assert picture.alpha is None
    else:
        np.testing.assert_array_equal(picture.alpha, alpha)
    assert min(picture.pixels.strides) > 0  # torch takes no others
    assert picture.format == case.split()[0].upper()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "AVIF", "TIFF"])
def test_lossy_files(kind: str, tmp_path: Path) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    options = {"compression": "jpeg"} if kind == "TIFF" else {}
    picture = read(encoded(RGB_IMAGE, kind, quality=95, **options), tmp_path)
    assert picture.format == kind
    assert close(picture.pixels, RGB, 4)


def test_grey_jpeg_stays_grey(tmp_path: Path) -> None:
    assert close(read(encoded(GREY_IMAGE, "JPEG", quality=95), tmp_path).pixels, GREY, 2)


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("TIFF", {"compression": "group4"}), ("BMP", {}), ("GIF", {})]
)
def test_bilevel(kind: str, options: dict[str, str], tmp_path: Path) -> None:
    image = Image.fromarray(GREY > 100)
    assert image.mode == "1"
    picture = read(encoded(image, kind, **options), tmp_path)
    pixels = picture.pixels if picture.pixels.ndim == 2 else picture.pixels[..., 0]
    np.testing.assert_array_equal(pixels, np.where(GREY > 100, 255, 0))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "TIFF", "BMP"])
def test_palette(kind: str, tmp_path: Path) -> None:
    image = RGB_IMAGE.quantize(40)
    picture = read(encoded(image, kind), tmp_path)
    np.testing.assert_array_equal(picture.pixels, np.asarray(image.convert("RGB")))
    assert picture.alpha is None


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_transparency_of_a_palette(kind: str, tmp_path: Path) -> None:
    image = RGB_IMAGE.quantize(40)
    picture = read(encoded(image, kind, transparency=7), tmp_path)
    np.testing.assert_array_equal(picture.alpha, np.where(np.asarray(image) == 7, 0, 255))


@pytest.mark.parametrize(("array", "key"), [(GREY, 60), (RGB, (40, 50, 215)), (GREY16, int(GREY16[3, 3]))])
def test_transparent_color_in_a_png(array: np.ndarray, key: int | tuple[int, ...], tmp_path: Path) -> None:
    data = imagecodecs.png_encode(array)
    values = struct.pack(">H" if isinstance(key, int) else ">3H", *np.ravel(key).tolist())
    picture = read(data[:33] + png_chunk(b"tRNS", values) + data[33:], tmp_path)
    hit = array == key if array.ndim == 2 else (array == np.array(key)).all(-1)
    assert hit.any()
    np.testing.assert_array_equal(picture.alpha, np.where(hit, 0, np.iinfo(array.dtype).max))
    np.testing.assert_array_equal(picture.pixels[~hit], array[~hit])


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [RGB_IMAGE.quantize(30), Image.new("RGB", RGB_IMAGE.size, "red").quantize(30)]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0].convert("RGB"), kind, save_all=True, append_images=[frames[1]], lossless=True)
        first = np.asarray(next(iter(ImageSequence.Iterator(Image.open(io.BytesIO(data))))).convert("RGB"))
        np.testing.assert_array_equal(read(data, tmp_path).pixels, first)


def test_first_picture_of_a_stereo_jpeg(tmp_path: Path) -> None:
    data = encoded(RGB_IMAGE, "MPO", save_all=True, append_images=[Image.new("RGB", RGB_IMAGE.size)])
    picture = read(data, tmp_path)
    assert picture.format == "JPEG"
    assert close(picture.pixels, RGB, 8)


CMYK = np.dstack([RGB, GREY // 3])


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str, tmp_path: Path) -> None:
    image = Image.frombytes("CMYK", (WIDTH, HEIGHT), CMYK.tobytes())
    picture = read(encoded(image, kind, **({"quality": 95} if kind == "JPEG" else {})), tmp_path)
    assert close(picture.pixels, np.asarray(image.convert("RGB")), 1 if kind == "TIFF" else 4)


def test_cmyk_of_16_bits(tmp_path: Path) -> None:
    picture = read(tiff(CMYK.astype(np.uint16) * 257, photometric="separated"), tmp_path)
    eight = np.asarray(Image.frombytes("CMYK", (WIDTH, HEIGHT), CMYK.tobytes()).convert("RGB"))
    assert close(picture.pixels, eight.astype(np.uint16) * 257, 257)


def test_alpha_that_is_multiplied_in(tmp_path: Path) -> None:
    alpha = np.maximum(ALPHA16, 3000)
    stored = np.rint(RGB16 * (alpha[..., None] / 65535)).astype(np.uint16)
    data = tiff(np.dstack([stored, alpha]), photometric="rgb", extrasamples=["assocalpha"])
    picture = read(data, tmp_path)
    assert close(picture.pixels, RGB16, 8)
    np.testing.assert_array_equal(picture.alpha, alpha)


@pytest.mark.parametrize("kind", ["float", "alpha", "inks"])
def test_conversions_are_the_same_in_strips(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "float":
        data = tiff((RGB16 / 65535).astype(np.float32), photometric="rgb")
    elif kind == "alpha":
        data = tiff(np.dstack([RGB16 // 2, ALPHA16]), photometric="rgb", extrasamples=["assocalpha"])
    else:
        data = tiff(CMYK.astype(np.uint16) * 257, photometric="separated")
    whole = read(data, tmp_path)
    monkeypatch.setattr(strips, "_STRIP_PIXELS", 5 * WIDTH)  # does not divide the height
    np.testing.assert_array_equal(read(data, tmp_path).pixels, whole.pixels)
    if kind == "float":
        np.testing.assert_array_equal(whole.pixels, RGB16)


def test_half_precision_holds_white(tmp_path: Path) -> None:
    picture = read(tiff(np.linspace(0, 1, 12, dtype=np.float16).reshape(3, 4)), tmp_path)
    assert picture.pixels.max() == 65535


def test_reading_needs_no_picture_of_floating_point(tmp_path: Path) -> None:
    stored = np.full((1200, 1000, 3), 0.5, np.float32)
    tifffile.imwrite(tmp_path / "f.tif", stored, photometric="rgb")
    tracemalloc.start()
    try:
        images.read(tmp_path / "f.tif")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 * stored.nbytes  # itself, half of it as result, and strips


def test_lab_and_ycbcr_tiffs(tmp_path: Path) -> None:
    lab = Image.new("LAB", (8, 4), (128, 128, 128))  # L 50, a and b 0 after an offset
    grey = read(encoded(lab, "TIFF"), tmp_path).pixels
    assert np.ptp(grey) <= 2
    assert abs(int(grey[0, 0, 0]) - 119) <= 2
    ycbcr = tiff(
        np.asarray(RGB_IMAGE.convert("YCbCr")), photometric="ycbcr", compression="jpeg", compressionargs={"level": 95}
    )
    assert close(read(ycbcr, tmp_path).pixels, RGB, 4)


def test_values_without_a_known_range_are_refused(tmp_path: Path) -> None:
    for array in (GREY.astype(np.float32), np.full((4, 4), np.nan, np.float32), GREY.astype(np.int16)):
        with pytest.raises(ImageError):
            read(tiff(array), tmp_path)


def test_heic(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(RGB_IMAGE).save(buffer, quality=95, exif=an_exif(1).tobytes())
    picture = read(buffer.getvalue(), tmp_path)
    assert picture.format == "HEIF"
    assert close(picture.pixels, RGB, 6)
    assert exif_of(picture.exif)[315] == "Jane Doe"


def test_heic_without_the_extra_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match="pip install pillow-heif"):
        read(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40), tmp_path)


# Orientation and EXIF


def turned(array: np.ndarray, orientation: int) -> np.ndarray:
    """``array`` stored so that it is upright under that orientation: where row 0 and column 0 lie, EXIF 2.3 4.6.4A."""
    stored = {
        1: array,
        2: np.fliplr(array),
        3: np.rot90(array, 2),
        4: np.flipud(array),
        5: np.swapaxes(array, 0, 1),
        6: np.rot90(array, 1),
        7: np.rot90(np.swapaxes(array, 0, 1), 2),
        8: np.rot90(array, -1),
    }[orientation]
    return np.ascontiguousarray(stored)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF deflate", "PNG 16", "TIFF 16", "AVIF", "HEIF"])
def test_orientation_is_applied(kind: str, orientation: int, tmp_path: Path) -> None:
    deep = kind.endswith("16")
    stored = turned(RGB16 if deep else RGB, orientation)
    exif = an_exif(orientation)
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    if kind == "HEIF":
        buffer = io.BytesIO()
        heif = pytest.importorskip("pillow_heif").from_pillow(Image.fromarray(stored))
        heif.save(buffer, quality=95, exif=exif.tobytes())
        data = buffer.getvalue()
    elif kind == "PNG 16":
        data = imagecodecs.png_encode(stored)
        late = png_chunk(b"eXIf", exif.tobytes()[6:])  # after the pixels, as some programs do
        data = data[:-12] + late + data[-12:]
    elif kind == "TIFF 16":
        data = tiff(stored, photometric="rgb", extratags=[(274, "H", 1, orientation, True)])
    else:
        options = {"compression": "tiff_adobe_deflate"} if "deflate" in kind else {"quality": 95}
        options |= {"dpi": (300, 200)} if kind not in ("WEBP", "AVIF") else {}
        data = encoded(Image.fromarray(stored), kind.split()[0], exif=exif, **options)
    picture = read(data, tmp_path)
    assert close(picture.pixels, RGB16 if deep else RGB, 0 if "16" in kind or "TIFF" in kind else 4)
    assert exif_of(picture.exif).get(274, 1) == 1
    if kind in ("JPEG", "PNG", "TIFF", "TIFF deflate"):
        assert picture.dpi == pytest.approx((200, 300) if orientation > 4 else (300, 200), abs=0.1)
    again = images.write(tmp_path / "again.png", picture.pixels, exif=picture.exif)
    np.testing.assert_array_equal(images.read(again).pixels, picture.pixels)


def test_pillow_images_are_turned_too() -> None:
    image = Image.open(io.BytesIO(encoded(Image.fromarray(turned(RGB, 6)), "PNG", exif=an_exif(6))))
    np.testing.assert_array_equal(images.from_pil(image).pixels, RGB)
    assert image.getexif()[274] == 6  # the caller's is left alone
    assert image.getexif().get_ifd(0x8769)[40962] == 9999


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", *LOSSY[1:]])
def test_exif_profile_and_resolution_are_written(suffix: str, depth: int, tmp_path: Path) -> None:
    pixels = RGB if depth == 8 else RGB16
    source = read(encoded(RGB_IMAGE, "JPEG", exif=an_exif(3), dpi=(300, 150)), tmp_path)
    path = images.write(tmp_path / f"a{suffix}", pixels, exif=source.exif, dpi=source.dpi)
    with tifffile.TiffFile(path) if suffix == ".tif" else Image.open(path) as opened:
        profile = opened.pages.first.iccprofile if suffix == ".tif" else opened.info["icc_profile"]
    assert profile == profiles.srgb()
    picture = images.read(path)
    exif = exif_of(picture.exif)
    assert (exif[271], exif[315]) == ("Kodak", "Jane Doe")
    assert exif.get(274, 1) == 1
    inner = exif.get_ifd(0x8769)
    assert (inner[36867], inner[40962], inner[40963]) == ("1999:12:31 23:59:59", WIDTH, HEIGHT)
    assert exif.get_ifd(0x8825) == {1: "N", 2: (48.0, 12.0, 30.0)}
    assert picture.dpi == pytest.approx((300, 150), abs=0.02)
    assert picture.pixels.dtype == (np.uint16 if depth == 16 and suffix in LOSSLESS else np.uint8)


def test_exif_of_a_tiff_says_nothing_of_its_storage(tmp_path: Path) -> None:
    data = encoded(RGB_IMAGE, "TIFF", compression="tiff_lzw", exif=an_exif(), description="A street in Paris")
    path = images.write(tmp_path / "a.jpg", RGB[::2, ::2], exif=read(data, tmp_path).exif)
    tags = exif_of(images.read(path).exif)
    assert tags[270] == "A street in Paris"
    assert not {256, 257, 258, 259, 273, 277, 279, 34675} & set(tags)


def test_what_a_deep_big_tiff_says_is_read(tmp_path: Path) -> None:
    said = {"resolution": (300, 150), "resolutionunit": 2, "description": "A street", "iccprofile": profiles.srgb()}
    data = tiff(RGB16, photometric="rgb", bigtiff=True, metadata=None, extratags=[(274, 3, 1, 6, True)], **said)
    picture = read(data, tmp_path, "a.tif")
    assert (picture.pixels == RGB16[::-1].swapaxes(0, 1)).all()
    assert picture.dpi == (150, 300)
    assert exif_of(picture.exif)[270] == "A street"


def test_thumbnail_is_dropped(tmp_path: Path) -> None:
    exif = an_exif()
    small = encoded(RGB_IMAGE.resize((16, 12)), "JPEG")
    blob = exif.tobytes()
    # A second directory with a thumbnail, linked from the first: two entries and the bytes behind.
    first = 6 + 8
    count = struct.unpack(">H", blob[first : first + 2])[0]
    link = first + 2 + 12 * count
    second = len(blob) - 6
    entries = struct.pack(">HHHIIHHIII", 2, 513, 4, 1, second + 30, 514, 4, 1, len(small), 0)
    blob = blob[:link] + struct.pack(">I", second) + blob[link + 4 :] + entries + small
    assert exif_of(blob).get_ifd(ExifTags.IFD.IFD1)[514] == len(small)
    picture = read(encoded(RGB_IMAGE, "JPEG", exif=blob), tmp_path)
    data = images.write(tmp_path / "a.jpg", RGB, exif=picture.exif).read_bytes()
    assert exif_of(images.read(tmp_path / "a.jpg").exif)[271] == "Kodak"
    assert small[:100] not in data
    assert exif_of(Image.open(io.BytesIO(data)).info["exif"]).get_ifd(ExifTags.IFD.IFD1) == {}


def test_warnings_of_pillow_are_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exif = an_exif().tobytes()
    picture = read(encoded(RGB_IMAGE, "JPEG", exif=exif[: len(exif) // 2]), tmp_path)
    assert picture.pixels.shape == RGB.shape
    assert caplog.records


@pytest.mark.parametrize("blob", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\0\0", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_broken_exif_is_dropped(blob: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        picture = read(encoded(RGB_IMAGE, "JPEG", exif=blob, quality=95), tmp_path)
        path = images.write(tmp_path / "a.png", RGB, exif=blob)
    assert close(picture.pixels, RGB, 4)
    assert picture.exif is None
    assert images.read(path).exif is None
    assert caplog.records


def test_too_long_exif_loses_the_makers_note(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    exif = an_exif()
    exif.get_ifd(0x8769)[37500] = os.urandom(70_000)
    path = images.write(tmp_path / "a.jpg", RGB, exif=exif.tobytes())
    assert exif_of(images.read(path).exif).get_ifd(0x8769)[36867] == "1999:12:31 23:59:59"
    assert "maker's note" in caplog.text
    exif[270] = "x" * 70_000
    images.write(path, RGB, exif=exif.tobytes(), overwrite=True)
    assert images.read(path).exif is None


# Color profiles


def matrix_profile(gamma: float, *, red_and_green_swapped: bool = False) -> bytes:
    primaries = [0.64, 0.33, 1, 0.30, 0.60, 1, 0.15, 0.06, 1]
    if red_and_green_swapped:
        primaries = primaries[3:6] + primaries[:3] + primaries[6:]
    return imagecodecs.cms_profile("rgb", whitepoint=(0.3127, 0.329, 1), primaries=primaries, gamma=gamma)


def grey_profile(gamma: float) -> bytes:
    return imagecodecs.cms_profile("gray", gamma=gamma)


def ink_profile() -> bytes:
    """Of a press whose cyan is red: an 8-bit table from CMYK to Lab, two points an axis (ICC.1:2001-04, 6.5.5)."""
    table = bytearray()
    for cyan, magenta, yellow, black in itertools.product((0, 1), repeat=4):
        lightness = 0 if black else 255 - 127 * cyan - 40 * magenta - 20 * yellow
        table += bytes([lightness, 128 + 60 * cyan * (1 - black), 128 + 40 * cyan * (1 - black)])
    ramp = bytes(range(256))
    identity = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramp * 4 + table + ramp * 3
    lut += bytes(-len(lut) % 4)
    size = 128 + 4 + 12 + len(lut)
    header = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, b"prtr", b"CMYK", b"Lab ")
    header += (
        struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    )
    header += bytes(128 - len(header))
    return header + struct.pack(">I4sII", 1, b"A2B0", 144, len(lut)) + lut


def srgb_of_gamma(values: np.ndarray, gamma: float) -> np.ndarray:
    top = np.iinfo(values.dtype).max
    linear = (values / top) ** gamma
    result = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(result * top).astype(values.dtype)


def with_profile(array: np.ndarray, kind: str, profile: bytes) -> bytes:
    if array.dtype == np.uint8:
        return encoded(Image.fromarray(array), kind, icc_profile=profile)
    if kind == "TIFF":
        return tiff(array, photometric="rgb" if array.ndim == 3 else "minisblack", iccprofile=profile)
    data = imagecodecs.png_encode(array)
    return data[:33] + png_chunk(b"iCCP", b"x\0\0" + zlib.compress(profile)) + data[33:]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("array", [RGB, RGB16, GREY, GREY16], ids=["rgb", "rgb 16", "grey", "grey 16"])
def test_tone_curve_of_a_profile_is_honored(kind: str, array: np.ndarray, tmp_path: Path) -> None:
    profile = matrix_profile(1.4) if array.ndim == 3 else grey_profile(1.4)
    picture = read(with_profile(array, kind, profile), tmp_path)
    expected = srgb_of_gamma(array, 1.4)
    assert picture.pixels.dtype == array.dtype
    assert picture.pixels.shape == array.shape
    top = np.iinfo(array.dtype).max
    assert np.abs(picture.pixels.astype(float) - expected).max() <= top / 255 * 1.5
    if array is GREY16:
        assert len(np.unique(picture.pixels)) > 200  # not by way of 8 bits
        assert np.abs(picture.pixels.astype(float) - expected).max() <= 40


@pytest.mark.parametrize("array", [RGB, RGB16], ids=["8", "16"])
def test_primaries_of_a_profile_are_honored(array: np.ndarray, tmp_path: Path) -> None:
    profile = matrix_profile(2.2, red_and_green_swapped=True)
    pixels = read(with_profile(array, "PNG", profile), tmp_path).pixels
    expected = srgb_of_gamma(array[..., [1, 0, 2]], 2.2)
    assert np.abs(pixels.astype(float) - expected).max() <= np.iinfo(array.dtype).max / 255 * 2


def test_rgb_profile_on_a_grey_picture_gives_its_tone_curve(tmp_path: Path) -> None:
    pixels = read(with_profile(GREY, "TIFF", matrix_profile(1.4)), tmp_path).pixels
    assert np.abs(pixels.astype(int) - srgb_of_gamma(GREY, 1.4)).max() <= 1


def test_profile_of_inks(tmp_path: Path) -> None:
    inks = np.zeros((2, 2, 4), np.uint8)
    inks[0, 1, 0] = inks[1, 0, 3] = 255
    image = Image.frombytes("CMYK", (2, 2), inks.tobytes())
    eight = read(encoded(image, "TIFF", icc_profile=ink_profile()), tmp_path).pixels
    deep = read(tiff(inks.astype(np.uint16) * 257, photometric="separated", iccprofile=ink_profile()), tmp_path).pixels
    for pixels in (eight.astype(int), deep.astype(int) // 257):
        assert pixels[0, 0].min() >= 254
        assert pixels[1, 0].max() <= 3
        assert pixels[0, 1, 0] > 170
        assert pixels[0, 1, 1:].max() < 90  # red, whatever ideal cyan would be


def test_srgb_by_any_name_changes_nothing(tmp_path: Path) -> None:
    for profile in (profiles.srgb(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()):
        np.testing.assert_array_equal(read(with_profile(RGB, "PNG", profile), tmp_path).pixels, RGB)
        np.testing.assert_array_equal(read(with_profile(RGB16, "PNG", profile), tmp_path).pixels, RGB16)


@pytest.mark.parametrize("profile", [b"nonsense" * 40, ink_profile(), matrix_profile(1.0)[:200]])
def test_broken_or_foreign_profile_is_ignored(profile: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for kind, array in itertools.product(("PNG", "TIFF"), (RGB, RGB16, GREY16)):
        caplog.clear()
        np.testing.assert_array_equal(read(with_profile(array, kind, profile), tmp_path).pixels, array)
        assert "the color profile is ignored" in caplog.text


# Pillow images and arrays


def test_every_mode_of_pillow() -> None:
    for mode in ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBX", "RGBA", "RGBa", "CMYK", "YCbCr", "HSV", "LAB"):
        source = RGBA_IMAGE if mode in ("LA", "La", "PA", "RGBA", "RGBa") else RGB_IMAGE
        image = source.convert("LA" if mode == "La" else "P" if mode == "PA" else "RGB" if mode == "LAB" else mode)
        image = Image.new("LAB", image.size, (99, 128, 128)) if mode == "LAB" else image.convert(mode)
        picture = images.from_pil(image)
        assert picture.pixels.shape[:2] == (HEIGHT, WIDTH), mode
        assert (picture.alpha is not None) == (mode in ("LA", "La", "PA", "RGBA", "RGBa")), mode
        assert (picture.pixels.ndim == 2) == (mode in ("1", "L", "LA", "La")), mode
    for array in (GREY16, GREY16.astype(">u2"), GREY16.astype(np.int32), (GREY16 / 65535).astype(np.float32)):
        np.testing.assert_array_equal(images.from_pil(Image.fromarray(array)).pixels, GREY16)
    with pytest.raises(ImageError):
        images.from_pil(Image.new("RGB", (0, 5)))
    with pytest.raises(ImageError):
        images.from_pil(Image.fromarray(np.full((3, 3), -5, np.int32)))


def test_to_pil_and_back() -> None:
    for pixels, alpha, mode in (
        (GREY, None, "L"),
        (GREY, ALPHA, "LA"),
        (RGB, None, "RGB"),
        (RGB, ALPHA, "RGBA"),
        (GREY16, None, "I;16"),
    ):
        image = images.to_pil(pixels, alpha)
        assert image.mode == mode
        picture = images.from_pil(image)
        np.testing.assert_array_equal(picture.pixels, pixels)
        assert (alpha is None and picture.alpha is None) or np.array_equal(picture.alpha, alpha)
    assert images.to_pil(np.dstack([RGB16, ALPHA16])).mode == "RGBA"
    assert images.to_pil(GREY[..., None]).mode == "L"
    for bad in (np.zeros((0, 4)), np.zeros((3, 3, 2), np.uint8), np.zeros(5, np.uint8), np.zeros((3, 3), bool)):
        with pytest.raises(ImageError):
            images.to_pil(bad)
    with pytest.raises(ImageError, match="alpha"):
        images.to_pil(RGB, ALPHA[1:])


def test_to_8_bit_rounds_to_nearest() -> None:
    values = np.arange(65536, dtype=np.uint16)
    np.testing.assert_array_equal(images.to_8_bit(values), np.rint(values / 65535 * 255))
    np.testing.assert_array_equal(images.to_8_bit(np.array([0, 0.5, 1.0, 0.9999])), [0, 128, 255, 255])
    assert images.to_8_bit(RGB) is RGB


# Writing


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize("alpha", [False, True])
def test_round_trip(suffix: str, depth: int, color: bool, alpha: bool, tmp_path: Path) -> None:
    pixels = (RGB if color else GREY) if depth == 8 else (RGB16 if color else GREY16)
    mask = None if not alpha or suffix == ".bmp" else ALPHA if depth == 8 else ALPHA16
    picture = images.read(images.write(tmp_path / f"a{suffix}", pixels, alpha=mask))
    if suffix == ".bmp":
        pixels = images.to_8_bit(pixels)
    assert picture.pixels.dtype == pixels.dtype
    np.testing.assert_array_equal(picture.pixels, pixels)
    if mask is None:
        assert picture.alpha is None
    else:
        np.testing.assert_array_equal(picture.alpha, mask)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("array", [np.dstack([RGB, ALPHA]), np.dstack([RGB16, ALPHA16]), GREY, GREY16])
def test_other_programs_read_the_same(suffix: str, array: np.ndarray, tmp_path: Path) -> None:
    path = images.write(tmp_path / f"a{suffix}", array, dpi=(72, 72), exif=an_exif().tobytes())
    found = tifffile.imread(path) if suffix == ".tif" else imagecodecs.png_decode(path.read_bytes())
    np.testing.assert_array_equal(found, array)
    if array.dtype == np.uint8:
        with Image.open(path) as image:
            np.testing.assert_array_equal(np.asarray(image), array)
            assert image.info["dpi"] == pytest.approx((72, 72), abs=0.1)


@pytest.mark.parametrize("suffix", LOSSY)
def test_lossy_round_trip(suffix: str, tmp_path: Path) -> None:
    for pixels in (RGB, RGB16):
        picture = images.read(images.write(tmp_path / f"a{suffix}", pixels, overwrite=True))
        assert close(picture.pixels, RGB, 6)
    if suffix != ".jpg":
        picture = images.read(images.write(tmp_path / f"b{suffix}", RGB, alpha=ALPHA))
        assert close(picture.alpha, ALPHA, 3)


def test_many_strips(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (700, 901, 3), np.uint16)
    np.testing.assert_array_equal(images.read(images.write(tmp_path / "a.tiff", pixels)).pixels, pixels)


def test_quality_and_same_bytes(tmp_path: Path) -> None:
    sizes = []
    for quality in (30, 95, 100):
        path = images.write(tmp_path / "a.jpg", RGB, quality=quality, overwrite=True)
        data = path.read_bytes()
        sizes.append(len(data))
        images.write(path, RGB, quality=quality, overwrite=True)
        assert path.read_bytes() == data
    assert sizes == sorted(sizes)
    for quality in (0, 101):
        with pytest.raises(OptionError):
            images.write(tmp_path / "b.jpg", RGB, quality=quality)


def test_transparency_where_there_is_none(tmp_path: Path) -> None:
    for suffix in (".jpg", ".bmp"):
        with pytest.raises(ImageError, match=r"transparency.*\.png"):
            images.write(tmp_path / f"a{suffix}", RGB, alpha=ALPHA)
        images.write(tmp_path / f"b{suffix}", RGB, alpha=np.full_like(ALPHA, 255))
    assert names_in(tmp_path) == ["b.bmp", "b.jpg"]


def test_output_suffix() -> None:
    for name, suffix in (
        ("a.jpg", ".jpg"), ("a.JPEG", ".JPEG"), ("a.tiff", ".tiff"), ("a.gif", ".png"), ("a.heic", ".png"),
        ("a", ".png"), ("a.webp", ".webp"), ("a.xyz", ".png"),
    ):  # fmt: skip
        assert images.output_suffix(name) == suffix
    assert {".jpg", ".heic", ".gif"} <= images.READABLE_SUFFIXES


def test_existing_files_and_the_source(tmp_path: Path) -> None:
    source = images.write(tmp_path / "a.png", RGB)
    before = source.read_bytes()
    (tmp_path / "link.png").symlink_to(source)
    (tmp_path / "hard.png").hardlink_to(source)
    for name in ("a.png", "link.png", "hard.png"):
        with pytest.raises(ImageError, match="exists already"):
            images.write(tmp_path / name, RGB // 2)
        with pytest.raises(ImageError, match="the source"):
            images.write(tmp_path / name, RGB // 2, overwrite=True, source=source)
    assert source.read_bytes() == before
    images.write(tmp_path / "b.png", RGB, source=source)
    images.write(tmp_path / "b.png", RGB // 2, overwrite=True, source=source)
    np.testing.assert_array_equal(images.read(tmp_path / "b.png").pixels, RGB // 2)
    assert names_in(tmp_path) == ["a.png", "b.png", "hard.png", "link.png"]


@pytest.mark.parametrize("has_links", [True, False])
def test_a_target_that_appears_meanwhile_is_kept(
    has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.jpg"
    link = os.link

    def late(part: Path, path: Path) -> None:
        Path(path).write_bytes(b"of someone else")
        if not has_links:
            raise OSError(95, "Operation not supported")
        link(part, path)

    monkeypatch.setattr(os, "link", late)
    with pytest.raises(ImageError, match="exists already"):
        images.write(target, RGB)
    assert target.read_bytes() == b"of someone else"
    assert names_in(tmp_path) == ["a.jpg"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device"), ValueError("no")])
def test_failure_leaves_nothing_behind(error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = images.write(tmp_path / "old.bmp", RGB).read_bytes()

    def fail(self: Image.Image, file: io.BufferedWriter, *args: object, **options: object) -> None:
        file.write(b"half")
        raise error

    monkeypatch.setattr(Image.Image, "save", fail)
    for name in ("old.bmp", "new.bmp"):
        with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else ImageError) as caught:
            images.write(tmp_path / name, RGB, overwrite=True)
        if isinstance(caught.value, ImageError):
            assert caught.value.__cause__ is error
    assert names_in(tmp_path) == ["old.bmp"]
    assert (tmp_path / "old.bmp").read_bytes() == old


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    for umask in (0o022, 0o077, 0o002):
        before = os.umask(umask)
        try:
            (tmp_path / f"plain{umask}").touch()
            path = images.write(tmp_path / f"a{umask}.png", RGB)
        finally:
            os.umask(before)
        assert path.stat().st_mode == (tmp_path / f"plain{umask}").stat().st_mode


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    for target in ("folder.png", "none/a.png", "file/a.png", "a.gif", "a", "a.xyz", "x" * 300 + ".png", "a\0.png"):
        with pytest.raises(ImageError):
            images.write(tmp_path / target, RGB, overwrite=True)
    with pytest.raises(ImageError):
        images.write(tmp_path / "a.png", RGB.astype(np.float32))
    for suffix, side in ((".jpg", 65501), (".webp", 16384)):
        with pytest.raises(ImageError, match=r"choose \.png"):
            images.write(tmp_path / f"a{suffix}", np.zeros((1, side, 3), np.uint8))
    assert names_in(tmp_path) == ["file", "folder.png"]


def test_names_of_all_kinds(tmp_path: Path) -> None:
    for name in ("Straße 東京 é.png", "a\nb.png", " .png", "y" * 251 + ".png"):
        np.testing.assert_array_equal(images.read(images.write(tmp_path / name, RGB)).pixels, RGB)
        with pytest.raises(ImageError) as caught:
            images.write(tmp_path / name, RGB)
        assert "\n" not in str(caught.value)


# Hostile files


def png_header(width: int, height: int, depth: int = 8, color: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))


def deep_tiff_header(width: int, height: int) -> bytes:
    data = bytearray(tiff(GREY16))
    for tag, value in ((256, width), (257, height)):
        at = data.index(struct.pack("<HHI", tag, 4, 1)) if struct.pack("<HHI", tag, 4, 1) in data else -1
        assert at >= 0
        data[at + 8 : at + 12] = struct.pack("<I", value)
    return bytes(data)


HOSTILE = {
    "empty": b"",
    "text": b"not a picture at all, really",
    "zeros": bytes(1000),
    "signature only": b"\x89PNG\r\n\x1a\n",
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "jpeg start": b"\xff\xd8\xff\xe0",
    "png without pixels": png_header(4, 4) + png_chunk(b"IEND", b""),
    "png of no size": png_header(0, 4) + png_chunk(b"IDAT", zlib.compress(b"")) + png_chunk(b"IEND", b""),
    "text bomb": png_header(4, 4)
    + png_chunk(b"zTXt", b"c\0\0" + zlib.compress(bytes(100_000_000)))
    + png_chunk(b"IDAT", zlib.compress(bytes(4 * 13)))
    + png_chunk(b"IEND", b""),
    "tiff without directory": b"II*\0\0\0\0\0",
    "tiff in a loop": b"II*\0\x08\0\0\0" + struct.pack("<HHHIII", 1, 256, 4, 1, 5, 8),
    "avif of nothing": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(100),
    "heic of nothing": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(case: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        read(HOSTILE[case], tmp_path, "bad.png")
    assert "bad.png" in str(caught.value)


BOMBS = {
    "png": png_header(60000, 60000) + png_chunk(b"IDAT", zlib.compress(bytes(10))) + png_chunk(b"IEND", b""),
    "png 16": png_header(100000, 100000, 16) + png_chunk(b"IDAT", zlib.compress(bytes(10))) + png_chunk(b"IEND", b""),
    "png absurd": png_header(2**31 - 1, 2**31 - 1) + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b""),
    "gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0)
    + b"," + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02D\x01\0;",
    "bmp": encoded(RGB_IMAGE, "BMP")[:18] + struct.pack("<ii", 100000, 100000) + encoded(RGB_IMAGE, "BMP")[26:],
    "jpeg": encoded(GREY_IMAGE, "JPEG").replace(struct.pack(">HH", HEIGHT, WIDTH), struct.pack(">HH", 65500, 65500)),
    "tiff 16": deep_tiff_header(100000, 100000),
}  # fmt: skip


@pytest.mark.parametrize("case", BOMBS)
def test_bombs_are_refused_by_their_header(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageError, match=r"too large.*at most 250000000 pixels"):
        read(BOMBS[case], tmp_path)


def test_limit_is_the_callers(tmp_path: Path) -> None:
    path = images.write(tmp_path / "a.png", RGB)
    assert images.read(path, max_pixels=WIDTH * HEIGHT).pixels.shape == RGB.shape
    with pytest.raises(ImageError, match="too large"):
        images.read(path, max_pixels=WIDTH * HEIGHT - 1)


def test_pillows_own_limit_does_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for kind in ("JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP"):
        assert read(encoded(RGB_IMAGE, kind), tmp_path).pixels.shape == RGB.shape


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    for name, message in (
        ("", "a folder"),
        ("none.png", "no such file"),
        ("none/a.png", "no such file"),
        ("pipe.png", "a pipe"),
        ("loop.png", "loop.png"),
        ("a\0b.png", "not a path"),
    ):
        with pytest.raises(ImageError, match=message):
            images.read(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_no_permission_to_read(tmp_path: Path) -> None:
    path = images.write(tmp_path / "a.png", RGB)
    path.chmod(0)
    with pytest.raises(ImageError, match="no permission"):
        images.read(path)


def test_no_permission_as_any_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = images.write(tmp_path / "a.png", RGB)

    def refuse(*args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ImageError, match="no permission"):
        images.read(path)
    with pytest.raises(ImageError, match="cannot be written"):
        images.write(tmp_path / "b.png", RGB)


_noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8)
_noise16 = _noise.astype(np.uint16) * 257
_noise_image = Image.fromarray(_noise)
WHOLE = {
    "jpeg": encoded(_noise_image, "JPEG", exif=an_exif(6), icc_profile=profiles.srgb()),
    "progressive": encoded(_noise_image, "JPEG", progressive=True),
    "png": encoded(_noise_image, "PNG", exif=an_exif(6)),
    "png 16": imagecodecs.png_encode(_noise16),
    "webp": encoded(_noise_image, "WEBP", exif=an_exif(6)),
    "tiff": encoded(_noise_image, "TIFF", exif=an_exif(6)),
    "tiff lzw": encoded(_noise_image, "TIFF", compression="tiff_lzw"),
    "tiff jpeg": encoded(_noise_image, "TIFF", compression="jpeg"),
    "tiff 16": tiff(_noise16, photometric="rgb"),
    "tiff 16 deflate": tiff(_noise16, photometric="rgb", compression="deflate", rowsperstrip=16),
    "tiff 16 deflate strip": tiff(_noise16, photometric="rgb", compression="deflate", rowsperstrip=120),
    "tiff 16 lzw strip": tiff(_noise16, photometric="rgb", compression="lzw", rowsperstrip=120),
    "bmp": encoded(_noise_image, "BMP"),
    "gif": encoded(_noise_image, "GIF"),
    **({"avif": encoded(_noise_image, "AVIF")} if features.check("avif") else {}),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOLE)
def test_cut_files_are_refused(case: str, tmp_path: Path) -> None:
    data = WHOLE[case]
    for share in (0.002, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98):
        with pytest.raises(ImageError):
            read(data[: int(len(data) * share)], tmp_path)
    for lost in (1, 2, 3):  # the end mark alone may be missing, of the picture nothing
        try:
            picture = read(data[:-lost], tmp_path)
        except ImageError:
            continue
        np.testing.assert_array_equal(picture.pixels, read(data, tmp_path).pixels)


@pytest.mark.parametrize("case", WHOLE)
def test_damaged_files_give_a_picture_or_an_image_error(case: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(len(case))
    data = WHOLE[case]
    for turn in range(30):
        damaged = bytearray(data)
        for at in rng.integers(0, len(data) if turn % 2 else min(len(data), 300), rng.integers(1, 6)):
            damaged[at] = rng.integers(0, 256)
        path = tmp_path / "damaged"
        path.write_bytes(damaged)
        try:
            picture = images.read(path, max_pixels=10_000_000)
        except ZooError as error:
            assert isinstance(error, ImageError)  # noqa: PT017
        else:
            assert picture.pixels.dtype in (np.uint8, np.uint16)
            assert picture.pixels.size


def test_what_png_cannot_hold_is_said(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"choose \.tif: PNGs have sides of at most a million"):
        images.write(tmp_path / "line.png", np.zeros((1_000_001, 1), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_webp_is_what_pillow_writes(tmp_path: Path) -> None:
    """The same picture in the same container, made without Pillow's copies."""
    for pixels, alpha in ((RGB, None), (RGB, ALPHA), (RGB, np.full_like(ALPHA, 255)), (GREY, None), (GREY, ALPHA)):
        for exif in (None, an_exif(1).tobytes()):
            path = images.write(tmp_path / "a.webp", pixels, alpha=alpha, exif=exif, dpi=(300, 200), overwrite=True)
            with Image.open(path) as made:
                more = {"exif": made.info["exif"], "icc_profile": made.info.get("icc_profile", b"")}
                expected = io.BytesIO()
                images.to_pil(pixels, alpha).save(expected, "WEBP", quality=95, **more)
                assert made.getexif()[ExifTags.Base.XResolution] == 300
            assert path.read_bytes() == expected.getvalue()


def test_arrays_that_lie_together_are_joined_without_a_copy() -> None:
    whole = np.arange(5 * 7 * 4, dtype=np.uint16).reshape(5, 7, 4)
    assert np.shares_memory(joined(whole[..., :3], whole[..., 3]), whole)
    for color, alpha in ((whole[..., :3].copy(), whole[..., 3]), (whole[1:, :, :3], whole[:-1, :, 3])):
        np.testing.assert_array_equal(joined(color, alpha), np.dstack([color, alpha]))
    np.testing.assert_array_equal(joined(whole[..., 0], whole[..., 3]), whole[..., [0, 3]])
    assert joined(whole, None) is whole


@pytest.mark.parametrize("rows", [37, 64, 5])
@pytest.mark.parametrize(
    "more",
    [
        {"compression": "lzw", "predictor": True},
        {"compression": "zlib"},
        {"compression": "zlib", "predictor": True, "byteorder": ">"},
        {"compression": "zstd"},
        {"compression": "packbits"},
        {"compression": "jpeg2000"},
        {},
    ],
)
def test_deep_tiffs_of_one_strip(rows: int, more: dict[str, Any], tmp_path: Path) -> None:
    whole = np.random.default_rng(0).integers(0, 65536, (37, 21, 4), np.uint16)
    picture = read(tiff(whole, photometric="rgb", extrasamples=["unassalpha"], rowsperstrip=rows, **more), tmp_path)
    np.testing.assert_array_equal(picture.pixels, whole[..., :3])
    np.testing.assert_array_equal(picture.alpha, whole[..., 3])
    assert picture.pixels.flags.writeable  # so that it is painted in place
    white_is_zero = tiff(65535 - whole[..., 0], photometric="miniswhite", rowsperstrip=rows, **more)
    np.testing.assert_array_equal(read(white_is_zero, tmp_path).pixels, whole[..., 0])


def test_deflated_strips_are_unpacked_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deep, "_PIECE_BYTES", 100)
    noise = np.random.default_rng(0).integers(0, 65536, (37, 21, 3), np.uint16)
    layout = {"shape": noise.shape, "dtype": np.uint16, "photometric": "rgb", "compression": "zlib", "rowsperstrip": 37}
    for whole in (noise, np.full_like(noise, 40000)):  # less comes out than goes in, or more
        packed = zlib.compress(whole.tobytes())
        np.testing.assert_array_equal(read(tiff(iter([packed]), **layout), tmp_path).pixels, whole)
        longer = zlib.compress(whole.tobytes() + bytes(1000))
        np.testing.assert_array_equal(read(tiff(iter([longer]), **layout), tmp_path).pixels, whole)
        for damaged in (packed[:-10], packed[:-1] + bytes([packed[-1] ^ 1])):  # it ends early, its checksum is wrong
            with pytest.raises(ImageError):
                read(tiff(iter([damaged]), **layout), tmp_path)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (1, 1, 3), (1, 5, 3), (5, 1, 3)])
def test_pictures_with_a_side_of_one_pixel_are_written(shape: tuple[int, ...], suffix: str, tmp_path: Path) -> None:
    pixels = np.full(shape, 90, np.uint8)[::-1, ::-1]  # as a view that was turned
    path = images.write(tmp_path / f"a{suffix}", pixels)
    assert np.abs(images.read(path).pixels.astype(int) - 90).max() <= 2
    assert images.read(path).pixels.shape[:2] == shape[:2]
