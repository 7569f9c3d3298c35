"""Films that tests make and read: grey ramps that move, tones, subtitles, chapters."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from zoo.models.grayscale import Grayscale, GrayscaleConfig

MS = Fraction(1, 1000)


class Orange(Grayscale):
    """Every pixel orange."""

    ab = (15.0, 30.0)

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        return torch.tensor(self.ab).view(1, 2, 1, 1).expand(len(L), 2, L.shape[2] // 4, L.shape[3] // 4)


class Blue(Orange):
    """Every pixel blue."""

    ab = (0.0, -30.0)


def orange() -> Orange:
    return _small(Orange(GrayscaleConfig()))


def blue() -> Orange:
    return _small(Blue(GrayscaleConfig()))


def _small(model: Orange) -> Orange:
    """One that sees the frames of these small films no larger than they are."""
    model.spec = replace(model.spec, working_size=32)
    return model


def luma(i: int, height: int, width: int, bits: int = 8) -> npt.NDArray[Any]:
    """Frame i of a film: a ramp that moves."""
    ramp = (np.arange(width) * 2 + np.arange(height)[:, None] + 3 * i) % 200 + 20
    return (ramp << (bits - 8)).astype(np.uint8 if bits == 8 else np.uint16)


def frame(i: int, size: tuple[int, int], pix_fmt: str, grain: int = 0) -> av.VideoFrame:
    """Frame i; with ``grain``, one that takes an encoder many bytes."""
    height, width = size
    bits = av.VideoFormat(pix_fmt, 16, 16).components[0].bits
    made = av.VideoFrame(width, height, pix_fmt)
    for index, part in enumerate(made.planes):
        rows = view(made, index)
        rows[:] = luma(i, height, width, bits) if index == 0 else 100 << (bits - 8)
        if grain and index == 0:
            rows += np.random.default_rng(i).integers(0, grain, rows.shape).astype(rows.dtype)
        del part
    return made


def view(made: Any, index: int) -> npt.NDArray[Any]:
    """A plane's memory."""
    part = made.planes[index]
    dtype: Any = np.uint8 if av.VideoFormat(made.format.name, 16, 16).components[0].bits == 8 else np.uint16
    array: npt.NDArray[Any] = np.frombuffer(part, dtype).reshape(part.height, -1)[:, : part.width]
    return array


def plane(made: Any, index: int) -> npt.NDArray[Any]:
    """A copy of a plane."""
    return view(made, index).copy()


def make(
    path: Path,
    *,
    frames: int = 12,
    size: tuple[int, int] = (48, 64),
    pix_fmt: str = "yuv420p",
    codec: str = "ffv1",
    options: dict[str, str] | None = None,
    sounds: Sequence[str] = (),
    sound_codec: str = "pcm_s16le",
    times: Callable[[int], int] | None = None,
    base: Fraction = MS,
    sound_at: int = 0,
    color_range: int = 0,
    aspect: Fraction | None = None,
    grain: int = 0,
    pictures: Callable[[int], av.VideoFrame] | None = None,
    mux: dict[str, str] | None = None,
    prepare: Callable[[Any], None] | None = None,
) -> Path:
    """A film of ``luma`` in grey, its time stamps in ``base``, with a tone in each of the languages ``sounds``."""
    height, width = size
    when = times or (lambda i: round(i / 25 / base))
    with av.open(f"file:{path}", "w", options=mux or {}) as out:
        video = out.add_stream(codec, rate=25, options=options or {})
        video.width, video.height, video.pix_fmt = width, height, pix_fmt
        video.time_base = video.codec_context.time_base = base
        video.codec_context.color_range = color_range
        if aspect is not None:
            video.codec_context.sample_aspect_ratio = aspect
        tones = [out.add_stream(sound_codec, rate=8000, layout="mono") for _ in sounds]
        for tone, language in zip(tones, sounds, strict=True):
            tone.metadata["language"] = language
        if prepare is not None:
            prepare(out)
        seconds = (when(frames - 1) * base if frames else 0.44) + 0.04
        for n in range(max(frames, round(seconds * 25))):  # interleaved, as films are
            if n < frames:
                made = frame(n, size, pix_fmt, grain) if pictures is None else pictures(n)
                made.pts, made.time_base = when(n), base
                out.mux(video.encode(made))
            if n < round(seconds * 25):
                for k, tone in enumerate(tones):
                    samples = (np.sin(np.arange(320 * n, 320 * (n + 1)) / (5 + k)) * 9000).astype(np.int16)[None]
                    sound = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                    sound.sample_rate, sound.pts = 8000, 320 * n + 8 * sound_at
                    out.mux(tone.encode(sound))
        for stream in (video, *tones):
            out.mux(stream.encode(None))
    return path


def read(path: Path) -> list[Any]:
    """The frames."""
    with av.open(f"file:{path}") as container:
        return list(container.decode(video=0))


def about(path: Path) -> SimpleNamespace:
    """What is said of the pictures."""
    with av.open(f"file:{path}") as container:
        video = container.streams.video[0]
        context = video.codec_context
        return SimpleNamespace(
            rate=video.average_rate,
            aspect=video.sample_aspect_ratio,
            codec=context.name,
            colors=(context.colorspace, context.color_primaries, context.color_trc),
            seconds=(container.duration or 0) / 1e6,
            begin=(container.start_time or 0) / 1e6,
        )


def lumas(path: Path) -> list[npt.NDArray[Any]]:
    """The luma planes."""
    return [plane(f, 0) for f in read(path)]


def times_of(path: Path) -> list[int]:
    """When the frames are shown, in ms."""
    return [round(float(f.pts * f.time_base) * 1000) for f in read(path)]


def packets(path: Path, kind: str) -> list[tuple[int, float, bytes]]:
    """Stream, time in seconds and bytes of the packets of a kind, in the order of the streams."""
    with av.open(f"file:{path}") as container:
        streams = [s for s in container.streams if s.type == kind]
        found = [
            (p.stream.index, float((p.pts if p.pts is not None else p.dts) * p.time_base), bytes(p))
            for p in (container.demux(streams) if streams else ())  # demux([]) would give all
            if p.size
        ]
    return sorted(found, key=lambda item: item[0])


def same_luma(one: Path, other: Path) -> bool:
    """Whether two films have the same luma, frame by frame."""
    a, b = lumas(one), lumas(other)
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
