"""Pictures that no honest visitor sends, and a few that some do: made here, always the same."""

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

Array = npt.NDArray[Any]

SCRIPT = "<script>alert(document.cookie)</script>"
SVG = f'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)">{SCRIPT}<rect width="9" height="9"/></svg>'.encode()
SIZE = (160, 120)


class Upload(NamedTuple):
    """A file to be sent.

    Attributes:
        name: Of the case.
        data: The file.
        file: Its name, as it is written into the request.
        may: ``"refuse"``, ``"done"`` or ``"either"``: what the app may do with it.
        size: Width and height of the answer, where there has to be one.
    """

    name: str
    data: bytes
    file: str
    may: str = "refuse"
    size: tuple[int, int] | None = None


def pixels(width: int = SIZE[0], height: int = SIZE[1]) -> Array:
    """Waves and grain, (H, W, 3), uint8."""
    grain = np.random.default_rng(6).integers(0, 30, (height, width, 3))
    waves = 100 + 60 * np.sin(np.arange(width) / 9) + 40 * np.cos(np.arange(height) / 7)[:, None]
    return (waves[..., None] + grain).clip(0, 255).astype(np.uint8)


def encoded(kind: str, image: Image.Image | None = None, **options: Any) -> bytes:
    """A file of Pillow's format ``kind``."""
    file = io.BytesIO()
    (image or Image.fromarray(pixels())).save(file, kind, **options)
    return file.getvalue()


def tiff(values: Array, **options: Any) -> bytes:
    """A file that tifffile writes."""
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int = 8, color: int = 0, extra: bytes = b"") -> bytes:
    """A whole PNG of zeros, with ``extra`` chunks; however large it is, the file is small."""
    row = 1 + (width * depth * {0: 1, 2: 3, 4: 2, 6: 4}[color] + 7) // 8
    deflate = zlib.compressobj(1)
    zeros, left, parts = bytes(1 << 22), row * height, []
    while left > 0:
        parts.append(deflate.compress(zeros[: min(left, len(zeros))]))
        left -= len(zeros)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    data = b"".join([*parts, deflate.flush()])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def with_segment(jpeg: bytes, marker: int, data: bytes) -> bytes:
    """A JPEG with one more segment at its beginning."""
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data + jpeg[2:]


def ifd(*entries: tuple[int, int, int, int], next_: int = 0) -> bytes:
    """A little-endian TIFF of one directory of (tag, type, count, value)."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + struct.pack("<I", next_)


def declared(width: int, height: int, **more: int) -> bytes:
    """A TIFF whose directory says that size, with hardly any data."""
    tags = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 100}
    tags |= {int(tag.removeprefix("t")): value for tag, value in more.items()}
    return ifd(*((tag, 4, 1, value) for tag, value in tags.items())) + bytes(200)


def patched(data: bytes, after: bytes, offset: int, new: bytes) -> bytes:
    """``data`` with ``new`` at ``offset`` bytes behind the first ``after``."""
    at = data.index(after) + len(after) + offset
    return data[:at] + new + data[at + len(new) :]


def uploads() -> Iterator[Upload]:
    """All of them."""
    kinds = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "GIF", "BMP")
    whole = {kind: encoded(kind) for kind in kinds}
    yield from _damaged(whole)
    yield from _no_pictures()
    yield from _bombs(whole)
    yield from _shapes()
    yield from _names(whole["JPEG"])
    yield from _tiffs()
    yield from _passengers(whole)
    yield from _animations()


def _damaged(whole: dict[str, bytes]) -> Iterator[Upload]:
    rng = random.Random(1)
    for kind, data in whole.items():
        suffix = kind.lower()
        for part in (0.1, 0.5, 0.95):
            yield Upload(f"{kind} cut at {part:.0%}", data[: int(len(data) * part)], f"cut.{suffix}")
        yield Upload(f"{kind} of noise after 16 bytes", data[:16] + rng.randbytes(4000), f"noise.{suffix}", "either")
        yield Upload(f"only 8 bytes of {kind}", data[:8], f"start.{suffix}")
        flipped = bytearray(data)
        for at in (rng.randrange(len(data) // 3, len(data)) for _ in range(20)):
            flipped[at] ^= 1 << rng.randrange(8)
        yield Upload(f"{kind} with flipped bits", bytes(flipped), f"flipped.{suffix}", "either")


def _no_pictures() -> Iterator[Upload]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("../../../tmp/evil", bytes(10_000_000))
    laughs = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY a "ha">' + b"".join(
        b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)
    )
    yield Upload("an empty file", b"", "empty.jpg")
    yield Upload("a single zero", b"\0", "zero.jpg")
    yield Upload("a megabyte of zeros", bytes(1 << 20), "zeros.png")
    yield Upload("text", b"Dear Sir or Madam,\n" * 40, "letter.jpg")
    yield Upload("PDF", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n%%EOF", "scan.jpg")
    yield Upload("ELF", b"\x7fELF\x02\x01\x01" + bytes(500), "program.png")
    yield Upload("EXE", b"MZ\x90\0" + bytes(500), "program.webp")
    yield Upload("HTML", f"<!doctype html><html>{SCRIPT}</html>".encode(), "page.jpg")
    yield Upload("ZIP that leaves its folder", archive.getvalue(), "archive.jpg")
    yield Upload("SVG with a script", SVG, "drawing.svg")
    yield Upload("SVG as PNG", SVG, "drawing.png")
    yield Upload("XML bomb", laughs + b"]><svg>&j;</svg>", "laughs.svg")
    yield Upload("EPS that runs a command", b"%!PS-Adobe-3.0 EPSF-3.0\n(%pipe%id) (r) file\n", "vector.eps")
    yield Upload("ImageMagick script", b"push graphic-context\nfill 'url(https://x/|id)'\n", "image.mvg")
    yield Upload("pickle", b"\x80\x04\x95cposix\nsystem\n(S'id'\ntR.", "weights.png")
    yield Upload("gzip", b"\x1f\x8b\x08\0" + bytes(200), "packed.tif")
    yield Upload("PPM, which is not taken", encoded("PPM"), "photo.ppm")
    yield Upload("ICO, which is not taken", encoded("ICO"), "icon.ico")
    yield Upload("a fonts file", b"\0\1\0\0" + bytes(300), "font.gif")


def _bombs(whole: dict[str, bytes]) -> Iterator[Upload]:
    zeros = zlib.compress(bytes(200_000_000), 9)
    yield Upload("PNG of 50000 x 50000, 1 bit", png(50_000, 50_000, 1), "bomb.png")
    yield Upload("PNG of 30000 x 30000", png(30_000, 30_000), "bomb.png")
    yield Upload("PNG of 8000 x 8000 of 16 bits in color", png(8000, 8000, 16, 2), "bomb.png")
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 16, 6, 0, 0, 0)
    yield Upload("PNG that says 2^31", b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + whole["PNG"][33:], "huge.png")
    yield Upload("PNG of 0 x 0", png(0, 0), "nothing.png")
    for kind, start in ((b"iCCP", b"icc\0\0"), (b"zTXt", b"text\0\0"), (b"iTXt", b"text\0\1\0\0\0")):
        bomb = png(*SIZE, extra=chunk(kind, start + zeros))
        yield Upload(f"PNG with 200 MB packed into {kind.decode()}", bomb, "chunk.png", "either")
    texts = chunk(b"zTXt", b"text\0\0" + zlib.compress(bytes(900_000), 9)) * 300
    yield Upload("PNG with 300 texts of 900 kB", png(*SIZE, extra=texts), "texts.png", "either")
    chunks = chunk(b"tEXt", b"a\0b") * 100_000
    yield Upload("PNG with 100000 small texts", png(*SIZE, extra=chunks), "many.png", "either")
    for width, height in ((100_000, 100_000), (2**32 - 1, 2**32 - 1), (0, 0), (2**31, 1), (1, 2**31)):
        yield Upload(f"TIFF that says {width} x {height}", declared(width, height), "huge.tif")
    yield Upload("TIFF that says 65000 samples", declared(100, 100, t277=65_000), "samples.tif")
    yield Upload("TIFF of 64 bits that says 20000 x 20000", declared(20_000, 20_000, t258=64), "deep.tif")
    wide = tiff(np.zeros((10_000, 10_000), np.uint8), compression="zlib")
    yield Upload("TIFF with 10000 x 10000 packed", wide, "bomb.tif")
    deep = tiff(np.zeros((7000, 7000), np.uint16), compression="zlib")
    yield Upload("TIFF with 7000 x 7000 of 16 bits packed", deep, "bomb.tif")
    small = declared(100, 100, t258=16, t259=8, t278=100, t279=len(zeros), t273=126)
    yield Upload("TIFF whose strip unpacks to 200 MB", small[:126] + zeros, "strip.tif", "either")
    yield Upload("TIFF of a directory that follows itself", ifd((256, 4, 1, 9), (257, 4, 1, 9), next_=8), "loop.tif")
    yield Upload("TIFF with a tag of 4 GB", ifd((256, 4, 1, 9), (257, 4, 1, 9), (270, 2, 2**32 - 1, 8)), "tag.tif")
    huge = patched(whole["JPEG"], b"\xff\xc0", 3, b"\xff\xdc\xff\xdc")
    yield Upload("JPEG that says 65500 x 65500", huge, "huge.jpg")
    yield Upload("JPEG that says 0 x 0", patched(whole["JPEG"], b"\xff\xc0", 3, bytes(4)), "nothing.jpg")
    yield Upload("GIF that says 65535 x 65535", patched(whole["GIF"], b"GIF8", 2, b"\xff" * 4), "huge.gif")
    yield Upload("BMP that says 2^31", patched(whole["BMP"], b"BM", 16, b"\xff\xff\xff\x7f" * 2), "huge.bmp")
    negative = patched(whole["BMP"], b"BM", 20, struct.pack("<i", -120))
    yield Upload("BMP of negative height", negative, "up.bmp", "either")
    extended = b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6 + bytes(8)
    yield Upload("WebP that says 2^24 x 2^24", extended, "huge.webp")
    yield Upload("AVIF that says 2^31", patched(whole["AVIF"], b"ispe", 4, b"\x7f\xff\xff\xff" * 2), "huge.avif")
    yield Upload("more pixels than the limit", png(6000, 5100), "poster.png")
    yield Upload("more bytes than the limit of photos", whole["JPEG"] + bytes(31 << 20), "heavy.jpg")
    yield Upload("more bytes than any limit", whole["JPEG"] + bytes(61 << 20), "heavier.jpg")
    yield Upload("29 megapixels", png(5800, 5000), "large.png", "done", (5800, 5000))
    yield Upload("24 megapixels of 16 bits in color", png(6000, 4000, 16, 2), "large.png", "done", (6000, 4000))


def _shapes() -> Iterator[Upload]:
    for width, height in ((1, 1), (2, 1), (1, 300), (300, 1), (3, 10_000), (1, 20_000), (65_000, 1)):
        image = Image.fromarray(pixels(width, height))
        for kind in ("PNG", "JPEG") if width * height < 50_000 else ("JPEG",):
            name = f"{kind} of {width} x {height}"
            yield Upload(name, encoded(kind, image), f"thin.{kind.lower()}", "done", image.size)
    long = png(1, 20_000_000)
    yield Upload("PNG of 1 x 20 million", long, "line.png", "either")
    for mode in ("1", "L", "LA", "P", "RGBA", "I;16"):
        image = Image.fromarray(pixels()[..., 0]).convert("I;16" if mode == "I;16" else mode)
        yield Upload(f"PNG of mode {mode}", encoded("PNG", image), "mode.png", "done", SIZE)
    clear = Image.fromarray(pixels()).convert("P")
    yield Upload("PNG with a transparent index", encoded("PNG", clear, transparency=3), "clear.png", "done", SIZE)
    yield Upload("CMYK JPEG", encoded("JPEG", Image.fromarray(pixels()).convert("CMYK")), "print.jpg", "done", SIZE)
    yield Upload("progressive JPEG", encoded("JPEG", progressive=True), "slow.jpg", "done", SIZE)


def _names(jpeg: bytes) -> Iterator[Upload]:
    leaving = (
        "../../../../tmp/evil.jpg",
        "..\\..\\evil.jpg",
        "/etc/passwd",
        "/etc/cron.d/evil.jpg",
        ".",
        "..",
        "~.jpg",
    )
    control = ("line\nbreak.jpg", "head\r\nX-Evil: 1.jpg", "tab\there.jpg", "null\0byte.jpg", 'quote"d.jpg', "it's.jpg")
    unicode = (
        "größe.jpg",
        "写真.jpg",
        "🙂.jpg",
        "right\u202eto left.jpg",
        "a\u0301.jpg",
        "\ufeff.jpg",
        "half \udcff.jpg",
    )
    long = ("long" * 75 + ".jpg", "写" * 300 + ".jpg", "l" * 5000 + ".jpg")
    shell = ("-rf.jpg", "--help", "a;touch evil.jpg", "$(touch evil).jpg", "`id`.jpg", "|id.jpg", "*.jpg", "CON.jpg")
    other = ("", " ", ".jpg", "...jpg", "photo", "photo.", "photo.jpg.exe", "photo.html", SCRIPT + ".jpg")
    formats = ("%2e%2e%2fevil.jpg", "%s%n%d.jpg", "{0.__class__}.jpg", "http://127.0.0.1/x.jpg", "C:\\photo.jpg")
    for name in (*leaving, *control, *unicode, *long, *shell, *other, *formats):
        shown = name if len(name) < 50 else f"{name[:8]}, {len(name)} characters"
        yield Upload(f"the name {shown!r}", jpeg, name, "either", SIZE)


def _tiffs() -> Iterator[Upload]:
    rgb = pixels()
    grey, ramp = rgb[..., 0], rgb[..., 0].astype(np.float32) / 255
    holes = ramp.copy()
    holes[5:9] = np.nan
    deep = rgb.astype(np.uint16) * 257
    good = {
        "16 bits grey": tiff(deep[..., 0]),
        "16 bits": tiff(deep, photometric="rgb"),
        "16 bits, big-endian": tiff(deep, photometric="rgb", byteorder=">"),
        "float32": tiff(ramp),
        "float16": tiff(ramp.astype(np.float16)),
        "float64": tiff(ramp.astype(np.float64)),
        "planes": tiff(np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate"),
        "tiles": tiff(deep, photometric="rgb", tile=(64, 64)),
        "tiles packed": tiff(rgb, photometric="rgb", tile=(64, 64), compression="zlib"),
        "LZW": encoded("TIFF", compression="tiff_lzw"),
        "JPEG within": encoded("TIFF", compression="jpeg"),
        "1 bit, fax": encoded("TIFF", Image.fromarray(grey > 120), compression="group4"),
        "1 bit": encoded("TIFF", Image.fromarray(grey > 120)),
        "CMYK": encoded("TIFF", Image.fromarray(rgb).convert("CMYK")),
        "CMYK of 16 bits": tiff(np.dstack([deep, deep[..., 0]]), photometric="separated"),
        "Lab": encoded("TIFF", ImageCms.profileToProfile(Image.fromarray(rgb), *_to_lab(), outputMode="LAB")),
        "palette": encoded("TIFF", Image.fromarray(rgb).convert("P")),
        "three pages": tiff(np.stack([rgb] * 3), photometric="rgb"),
        "BigTIFF": tiff(deep, photometric="rgb", bigtiff=True),
        "alpha": tiff(np.dstack([deep, deep[..., 0]]), photometric="rgb", extrasamples=["unassalpha"]),
    }
    for name, data in good.items():
        yield Upload(f"TIFF: {name}", data, "scan.tif", "done", SIZE)
    odd = {
        "NaN": tiff(holes),
        "infinite": tiff(np.where(np.isnan(holes), np.inf, holes)),
        "floats up to 255": tiff(ramp * 255),
        "negative": tiff(-ramp),
        "uint32": tiff(grey.astype(np.uint32)),
        "int8": tiff(grey.astype(np.int8)),
        "int16": tiff(grey.astype(np.int16)),
        "uint64": tiff(grey.astype(np.uint64)),
        "complex": tiff(ramp.astype(np.complex64)),
        "5 channels": tiff(np.dstack([deep, deep[..., :2]]), photometric="rgb"),
        "5 channels of 8 bits": tiff(np.dstack([rgb, rgb[..., :2]]), photometric="rgb"),
        "2 channels": tiff(deep[..., :2], photometric="minisblack", planarconfig="contig"),
        "40 channels": tiff(np.dstack([grey] * 40), photometric="minisblack", planarconfig="contig"),
        "a volume": tiff(np.stack([grey] * 16), volumetric=True, tile=(16, 32, 32)),
        "LZMA": tiff(deep, photometric="rgb", compression="lzma"),
        "zstd": tiff(deep, photometric="rgb", compression="zstd"),
        "JPEG 2000 within": tiff(rgb, photometric="rgb", compression="jpeg2000"),
        "no pixels": ifd((256, 4, 1, 160), (257, 4, 1, 120), (258, 3, 1, 8), (262, 3, 1, 1)),
        "no directory": b"II*\0\0\0\0\0" + bytes(40),
        "a directory beyond the end": b"II*\0\xff\xff\xff\x7f" + bytes(40),
        "unknown compression": declared(100, 100, t259=9999),
        "3 bits": declared(100, 100, t258=3),
        "16 bits, strip beyond the end": declared(100, 100, t258=16, t273=2**31, t279=20_000),
    }
    for name, data in odd.items():
        yield Upload(f"TIFF: {name}", data, "odd.tif", "either")


def _to_lab() -> tuple[Any, Any]:
    return ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB", 5000)


def _passengers(whole: dict[str, bytes]) -> Iterator[Upload]:
    jpeg, rng = whole["JPEG"], random.Random(2)
    exif = Image.Exif()
    exif[270], exif[315], exif[37510] = SCRIPT, "' OR 1=1 --", SCRIPT
    text = PngImagePlugin.PngInfo()
    text.add_text("Title", SCRIPT)
    xmp = b"http://ns.adobe.com/xap/1.0/\0" + f'<x:xmpmeta xmlns:x="adobe:ns:meta/">{SCRIPT}</x:xmpmeta>'.encode()
    exif_start, lie = b"Exif\0\0", (274, 3, 1, 6)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    turned, nonsense = Image.Exif(), Image.Exif()
    turned[274], nonsense[274] = 6, 99
    fine = {
        "script in EXIF": encoded("JPEG", exif=exif),
        "script in XMP": with_segment(jpeg, 0xE1, xmp),
        "script in the comment": with_segment(jpeg, 0xFE, SCRIPT.encode()),
        "script in a text of PNG": encoded("PNG", pnginfo=text),
        "ICC of noise": encoded("JPEG", icc_profile=rng.randbytes(3000)),
        "ICC that is cut": encoded("PNG", icc_profile=srgb[:200]),
        "ICC of a megabyte": encoded("JPEG", icc_profile=srgb + rng.randbytes(1_000_000)),
        "ICC for another kind of picture": encoded("JPEG", icc_profile=patched(srgb, srgb[:12], 4, b"CMYK")),
        "ICC that says 4 GB": encoded("PNG", icc_profile=b"\xff" * 4 + srgb[4:]),
        "orientation 99": encoded("JPEG", exif=nonsense),
        "EXIF of noise": with_segment(jpeg, 0xE1, exif_start + rng.randbytes(5000)),
        "EXIF that follows itself": with_segment(jpeg, 0xE1, exif_start + ifd((34665, 4, 1, 8), lie, next_=8)),
        "EXIF that says 4 GB": with_segment(jpeg, 0xE1, exif_start + ifd((270, 2, 2**32 - 1, 8), (274, 3, 1, 1))),
        "EXIF of 5000 tags": with_segment(jpeg, 0xE1, exif_start + ifd(*((n, 4, 1, n) for n in range(40_000, 45_000)))),
        "EXIF with a resolution by zero": with_segment(
            jpeg, 0xE1, exif_start + ifd((282, 5, 1, 50), (283, 5, 1, 50)) + bytes(40)
        ),
        "200 comments": jpeg[:2] + with_segment(jpeg, 0xFE, bytes(60_000))[2:60_006] * 200 + jpeg[2:],
        "a ZIP behind it": jpeg + b"PK\x03\x04" + rng.randbytes(3000),
        "a page behind it": whole["GIF"] + SCRIPT.encode(),
        "a JPEG behind it": jpeg + jpeg,
    }
    for name, data in fine.items():
        same = None if name == "EXIF that follows itself" else SIZE  # it is turned
        yield Upload(f"a picture with {name}", data, "photo.jpg", "done", same)
    yield Upload("a picture that is turned", encoded("JPEG", exif=turned), "turned.jpg", "done", SIZE[::-1])


def _animations() -> Iterator[Upload]:
    images = [Image.fromarray(np.roll(pixels(), 5 * n, 1)) for n in range(5)]
    for kind in ("GIF", "WEBP", "PNG", "AVIF", "TIFF"):
        data = encoded(kind, images[0], save_all=True, append_images=images[1:])
        yield Upload(f"animated {kind}", data, f"moving.{kind.lower()}", "done", SIZE)
    many = [Image.fromarray(np.full((20, 20), n % 250, np.uint8)) for n in range(5000)]
    data = encoded("GIF", many[0], save_all=True, append_images=many[1:])
    yield Upload("GIF of 5000 frames", data, "many.gif", "done", (20, 20))
    outside = patched(encoded("GIF", images[0]), b"GIF8", 2, struct.pack("<HH", 4, 4))
    yield Upload("GIF whose frame is larger than itself", outside, "outside.gif", "either")
