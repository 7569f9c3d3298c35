"""Clips that no honest visitor sends, and a few that some do: made here, always the same."""

import random
import struct
import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from hostile_pictures import SCRIPT, SVG, Upload, encoded, patched, pixels
from PIL import Image

CLIP = (64, 48)


def clip(
    suffix: str = ".mp4",
    *,
    size: tuple[int, int] = CLIP,
    frames: int = 12,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    rate: int = 12,
    base: Fraction | None = None,
    times: Callable[[int], int] | None = None,
    sound: bool = False,
    title: str = "",
    flat: bool = False,
    options: dict[str, str] | None = None,
) -> bytes:
    """A film of a moving picture, or with ``frames`` 0 of sound alone."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"clip{suffix}"
        with av.open(f"file:{path}", "w") as out:
            if title:
                out.metadata["title"] = title
            video: Any = out.add_stream(codec, rate=rate, options=options or {}) if frames else None
            if video:
                video.width, video.height, video.pix_fmt = *size, pix_fmt
                if base:
                    video.time_base = video.codec_context.time_base = base
            tone: Any = out.add_stream("aac", rate=8000, layout="mono") if sound else None
            whole = np.zeros((size[1], size[0], 3), np.uint8) if flat else pixels(*size)
            for n in range(frames):
                frame = av.VideoFrame.from_ndarray(np.roll(whole, 2 * n, 1), "rgb24").reformat(format=pix_fmt)
                if times:
                    frame.pts, frame.time_base = times(n), base
                out.mux(video.encode(frame))
            if tone:
                silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
                silence.sample_rate = 8000
                out.mux(tone.encode(silence))
            for stream in filter(None, (video, tone)):
                out.mux(stream.encode(None))
        return path.read_bytes()


def atom(kind: bytes, data: bytes) -> bytes:
    """Of an MP4."""
    return struct.pack(">I", len(data) + 8) + kind + data


def uploads() -> Iterator[Upload]:
    """All of them."""
    yield from _lists()
    yield from _no_clips()
    yield from _broken()
    yield from _odd()
    yield from _kinds()
    plain = clip()
    names = (
        "../../evil.mp4",
        "line\nbreak.mp4",
        "-i.mp4",
        "写真🙂.mp4",
        "quote\"'.mp4",
        "%03d.mp4",
        "c" * 300 + ".mp4",
    )
    for name in names:
        yield Upload(f"a clip named {name[:20]!r}", plain, name, "either", CLIP)


def _lists() -> Iterator[Upload]:
    aims = ("/etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/x.mp4", "http://169.254.169.254/latest/meta-data/")
    for aim in aims:
        hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{aim}\n#EXT-X-ENDLIST\n".encode()
        concat = f"ffconcat version 1.0\nfile '{aim}'\n".encode()
        dash = (
            '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
            f'mimeType="video/mp4"><Representation id="1"><BaseURL>{aim}</BaseURL></Representation></AdaptationSet>'
            "</Period></MPD>"
        ).encode()
        yield Upload(f"HLS of {aim}", hls, "film.mp4")
        yield Upload(f"concat of {aim}", concat, "film.mp4")
        yield Upload(f"DASH of {aim}", dash, "film.mp4")
    sdp = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    sdp += b"a=rtpmap:96 H264/90000\n"
    yield Upload("SDP", sdp, "stream.mp4")
    yield Upload("SDP under its name", sdp, "stream.sdp")
    yield Upload("HLS under its name", b"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n#EXT-X-ENDLIST\n", "list.m3u8")
    yield Upload("concat under its name", b"ffconcat version 1.0\nfile '/etc/passwd'\n", "list.ffconcat")
    yield Upload("AviSynth script", b'AviSource("/etc/passwd")\n', "script.avs")
    filters = b"movie=/etc/passwd[out0]\n"
    yield Upload("filter graph", filters, "graph.mp4")
    reference = atom(b"ftyp", b"qt  \0\0\0\0qt  ") + atom(
        b"moov", atom(b"rmra", atom(b"rmda", atom(b"rdrf", b"\0\0\0\0url \0\0\0\x0c/etc/passwd\0")))
    )
    yield Upload("QuickTime reference to a file", reference, "reference.mov")


def _no_clips() -> Iterator[Upload]:
    yield Upload("an empty clip", b"", "empty.mp4")
    yield Upload("a letter as a clip", b"Dear Sir or Madam,\n" * 40, "letter.mp4")
    yield Upload("noise as a clip", random.Random(3).randbytes(50_000), "noise.mp4")
    yield Upload("zeros as a clip", bytes(50_000), "zeros.mkv")
    yield Upload("a page as a clip", f"<html>{SCRIPT}</html>".encode(), "page.webm")
    yield Upload("SVG as a clip", SVG, "drawing.mp4")
    yield Upload("JPEG as a clip", encoded("JPEG"), "photo.mp4")
    yield Upload("PNG as a clip", encoded("PNG"), "photo.mov")
    yield Upload("TIFF as a clip", encoded("TIFF"), "photo.avi")
    yield Upload("AVIF as a clip", encoded("AVIF"), "photo.mp4", "either")
    yield Upload("sound alone", clip(".m4a", frames=0, sound=True), "song.mp4")
    yield Upload("subtitles", b"1\n00:00:01,000 --> 00:00:02,000\nHello\n", "film.srt")
    yield Upload("more bytes than the limit of clips", clip() + bytes(61 << 20), "heavy.mp4")


def _broken() -> Iterator[Upload]:
    whole, matroska = clip(sound=True), clip(".mkv")
    rng = random.Random(4)
    for part in (0.02, 0.4, 0.9):
        yield Upload(f"MP4 cut at {part:.0%}", whole[: int(len(whole) * part)], "cut.mp4")
        yield Upload(f"Matroska cut at {part:.0%}", matroska[: int(len(matroska) * part)], "cut.mkv", "either")
    for n in range(4):
        flipped = bytearray(whole)
        for at in (rng.randrange(40, len(whole)) for _ in range(30)):
            flipped[at] ^= 1 << rng.randrange(8)
        yield Upload(f"MP4 with flipped bits, {n}", bytes(flipped), "flipped.mp4", "either")
    moov = whole.index(b"moov") - 4
    yield Upload("MP4 without its index", whole[:moov], "index.mp4")
    yield Upload("MP4 without its pictures", whole[:40] + whole[moov:], "pictures.mp4", "either")
    yield Upload("MP4 of an atom of size 0", patched(whole, b"moov", -8, bytes(4)), "atom.mp4", "either")
    yield Upload("MP4 of an atom of 4 GB", patched(whole, b"moov", -8, b"\xff" * 4), "atom.mp4", "either")
    for kind in (b"stsz", b"stts", b"stsc", b"stco", b"stsd"):
        offset = 8 if kind == b"stsz" else 4
        lying = patched(whole, kind, offset, b"\x7f\xff\xff\xff")
        yield Upload(f"MP4 whose {kind.decode()} says 2^31", lying, "lying.mp4", "either")
    nested = b""
    for _ in range(5000):
        nested = atom(b"moov", nested)
    yield Upload("MP4 of 5000 nested atoms", atom(b"ftyp", b"isom\0\0\0\0isom") + nested, "nested.mp4")
    yield Upload("MP4 of a header alone", whole[:40], "header.mp4")
    yield Upload("MP4 that says 32767 x 32767", patched(whole, b"avc1", 24, b"\x7f\xff\x7f\xff"), "huge.mp4", "either")
    yield Upload("MP4 that says 0 x 0", patched(whole, b"avc1", 24, bytes(4)), "nothing.mp4", "either")
    avi = clip(".avi", codec="rawvideo", frames=2)
    at = avi.index(b"strf") + 12
    wide = avi[:at] + struct.pack("<ii", 60_000, 60_000) + avi[at + 8 :]
    yield Upload("AVI that says 60000 x 60000", wide, "huge.avi")
    tall = avi[:at] + struct.pack("<ii", 64, -(2**31)) + avi[at + 8 :]
    yield Upload("AVI of height -2^31", tall, "negative.avi", "either")
    lasting = patched(whole, b"mvhd", 16, b"\x7f\xff\xff\xff")
    yield Upload("MP4 that says it lasts for days", lasting, "days.mp4", "either")


def _odd() -> Iterator[Upload]:
    yield Upload("one frame", clip(frames=1), "one.mp4", "done", CLIP)
    yield Upload("2 x 2 pixels", clip(size=(2, 2)), "small.mp4", "done", (2, 2))
    yield Upload("16 x 1200 pixels", clip(size=(16, 1200), frames=4), "thin.mp4", "done", (16, 1200))
    yield Upload("4096 x 2304 pixels", clip(size=(4096, 2304), frames=3), "large.mp4", "done", (1280, 720))
    poster = clip(".mov", size=(8200, 8200), frames=1, codec="png", pix_fmt="gray", flat=True)
    yield Upload("8200 x 8200 pixels, packed", poster, "poster.mov")
    yield Upload("1000 frames a second", clip(rate=1000, frames=100), "fast.mp4", "done", CLIP)
    yield Upload("25 seconds", clip(rate=4, frames=100), "long.mp4", "done", CLIP)
    slow = clip(base=Fraction(1, 10), times=lambda n: n * 36_000)
    yield Upload("a frame an hour", slow, "slow.mp4", "either", CLIP)
    leap = clip(".mkv", base=Fraction(1, 1000), times=lambda n: n * 80 + (2**40 if n > 6 else 0))
    yield Upload("a leap of 35 years", leap, "leap.mkv", "either", CLIP)
    early = clip(".mkv", base=Fraction(1, 1000), times=lambda n: n * 80 - 500)
    yield Upload("time before the beginning", early, "early.mkv", "either", CLIP)
    change = clip(".ts", codec="mpeg2video") + clip(".ts", codec="mpeg2video", size=(96, 64))
    yield Upload("a size that changes", change, "change.ts", "done", CLIP)
    grow = clip(".ts", codec="mpeg2video") + clip(".ts", codec="mpeg2video", size=(1920, 1080), frames=4)
    yield Upload("a size that grows to 1080 rows", grow, "grow.ts", "done", CLIP)
    yield Upload("script in the title", clip(title=SCRIPT), "title.mp4", "done", CLIP)
    many = clip(frames=800, rate=100, options={"crf": "51", "preset": "ultrafast"})
    yield Upload("800 frames in 8 seconds", many, "many.mp4", "done", CLIP)


def _kinds() -> Iterator[Upload]:
    kinds: dict[str, tuple[str, dict[str, Any]]] = {
        "63 x 47 pixels": (".mkv", {"size": (63, 47), "codec": "ffv1"}),
        "VP9": (".webm", {"codec": "libvpx-vp9"}),
        "VP8": (".webm", {"codec": "libvpx"}),
        "Motion JPEG": (".avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}),
        "10 bits": (".mkv", {"codec": "ffv1", "pix_fmt": "yuv420p10le"}),
        "16 bits grey": (".mkv", {"codec": "ffv1", "pix_fmt": "gray16le"}),
        "RGB": (".mkv", {"codec": "ffv1", "pix_fmt": "bgr0"}),
        "4:4:4": (".mp4", {"pix_fmt": "yuv444p"}),
        "raw RGB": (".avi", {"codec": "rawvideo", "pix_fmt": "bgr24"}),
        "raw H.264": (".h264", {}),
        "Y4M": (".y4m", {"codec": "wrapped_avframe"}),
        "MPEG-4": (".mp4", {"codec": "mpeg4"}),
        "ProRes": (".mov", {"codec": "prores_ks", "pix_fmt": "yuv422p10le"}),
    }
    for name, (suffix, settings) in kinds.items():
        yield Upload(f"clip: {name}", clip(suffix, **settings), f"clip{suffix}", "done", CLIP)
    images = [pixels(64, 48), pixels(64, 48)[::-1]]
    first, second = (Image.fromarray(image) for image in images)
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(kind, first, save_all=True, append_images=[second])
        yield Upload(f"animated {kind} as a clip", data, f"moving.{kind.lower()}", "either", CLIP)
