"""Films as files: the luma is the source's, time and sound are kept, and what cannot be read is refused."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from zoo.errors import OptionError, VideoError
from zoo.models.grayscale import Grayscale, GrayscaleConfig
from zoo.video.transcode import Progress, colorize_video


class Orange(Grayscale):
    """Every pixel orange."""

    def predict_ab(self, L: Tensor, **options: Any) -> Tensor:
        return torch.tensor([15.0, 30.0]).view(1, 2, 1, 1).expand(len(L), 2, L.shape[2] // 4, L.shape[3] // 4)


@pytest.fixture
def model() -> Orange:
    return Orange(GrayscaleConfig())


def luma(i: int, height: int, width: int, bits: int = 8) -> npt.NDArray[Any]:
    """Frame i of a film: a ramp that moves."""
    ramp = (np.arange(width) * 2 + np.arange(height)[:, None] + 3 * i) % 200 + 20
    return (ramp << (bits - 8)).astype(np.uint8 if bits == 8 else np.uint16)


def make(
    path: Path,
    *,
    frames: int = 12,
    size: tuple[int, int] = (48, 64),
    pix_fmt: str = "yuv420p",
    codec: str = "ffv1",
    sounds: int = 0,
    times: Callable[[int], int] = lambda i: 40 * i,
    color_range: int = 0,
) -> Path:
    """A film of ``luma`` in grey, its time stamps in ms, with ``sounds`` tones."""
    height, width = size
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=25)
        video.width, video.height, video.pix_fmt = width, height, pix_fmt
        video.time_base = video.codec_context.time_base = Fraction(1, 1000)
        video.codec_context.color_range = color_range
        tones = [out.add_stream("pcm_s16le", rate=8000, layout="mono") for _ in range(sounds)]
        bits = video.format.components[0].bits
        for i in range(frames):
            frame = av.VideoFrame(width, height, pix_fmt)
            for index, plane in enumerate(frame.planes):
                dtype: Any = np.uint8 if bits == 8 else np.uint16
                rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width]
                rows[:] = luma(i, height, width, bits) if index == 0 else 100 << (bits - 8)
            frame.pts, frame.time_base = times(i), Fraction(1, 1000)
            out.mux(video.encode(frame))
        for n, tone in enumerate(tones):
            samples = (np.sin(np.arange(3840) / (5 + n)) * 9000).astype(np.int16)[None]
            sound = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            sound.sample_rate, sound.pts = 8000, 0
            out.mux(tone.encode(sound))
        for stream in (video, *tones):
            out.mux(stream.encode(None))
    return path


def read(path: Path) -> tuple[list[Any], Any]:
    """The frames and the stream."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0)), container.streams.video[0]


def plane(frame: Any, index: int) -> npt.NDArray[Any]:
    data = frame.planes[index]
    dtype: Any = np.uint8 if frame.format.components[0].bits == 8 else np.uint16
    array: npt.NDArray[Any] = np.frombuffer(data, dtype).reshape(data.height, -1)[:, : data.width]
    return array.copy()


@pytest.mark.parametrize(
    ("options", "pix_fmt"),
    [
        ({}, "yuv420p"),
        ({"pix_fmt": "yuv444p"}, "yuv420p"),
        ({"pix_fmt": "yuv420p10le"}, "yuv420p10le"),
        ({"pix_fmt": "gray"}, "yuv420p"),
        ({"size": (35, 51)}, "yuv444p"),
        ({"color_range": 2}, "yuv420p"),
        ({"frames": 1}, "yuv420p"),
    ],
)
def test_luma_is_written_through(options: dict[str, Any], pix_fmt: str, model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", **options)
    report = colorize_video(source, tmp_path / "out.mkv", model=model, crf=0)
    before, after = read(source)[0], read(tmp_path / "out.mkv")[0]
    assert len(after) == len(before) == report.frames
    for one, other in zip(before, after, strict=True):
        assert other.format.name.replace("yuvj", "yuv") == pix_fmt
        assert np.array_equal(plane(one, 0), plane(other, 0))
        assert float(other.pts * other.time_base) == pytest.approx(float(one.pts * one.time_base), abs=1e-3)
    bits = 2 ** (after[0].format.components[0].bits - 8)
    blue, red = (plane(after[0], i).mean() / bits for i in (1, 2))
    assert blue < 122
    assert red > 132


def test_uneven_time_is_kept(model: Orange, tmp_path: Path) -> None:
    times = [0, 40, 90, 95, 200, 333, 400, 401, 500, 777, 900, 1000]
    source = make(tmp_path / "in.mkv", times=times.__getitem__)
    colorize_video(source, tmp_path / "out.mkv", model=model)
    assert [round(float(f.pts * f.time_base) * 1000) for f in read(tmp_path / "out.mkv")[0]] == times


def packets(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        streams = [s for s in container.streams if s.type == kind]
        return [bytes(p) for p in container.demux(streams) if p.dts is not None]


def test_two_sound_tracks_are_copied_bit_for_bit(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", sounds=2)
    report = colorize_video(source, tmp_path / "out.mkv", model=model)
    assert packets(tmp_path / "out.mkv", "audio") == packets(source, "audio")
    assert not report.left_out
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert len(container.streams.audio) == 2


def test_a_part_of_a_film(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=50, sounds=1)
    colorize_video(source, tmp_path / "out.mp4", model=model, start=0.4, end=1.2)
    frames = read(tmp_path / "out.mp4")[0]
    assert len(frames) == 20
    assert frames[0].time == pytest.approx(0, abs=0.05)


def test_progress_and_nothing_half_under_the_name(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=20)
    seen: list[Progress] = []
    colorize_video(source, tmp_path / "out.mp4", model=model, progress=seen.append)
    assert [p.done for p in seen] == list(range(1, 21))

    def stop(_: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        colorize_video(source, tmp_path / "other.mp4", model=model, progress=stop)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.mkv", "out.mp4"]


def test_what_is_no_film_is_refused(model: Orange, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a film")
    source = make(tmp_path / "in.mkv")
    empty = make(tmp_path / "empty.mkv", frames=0, sounds=1)
    cases: list[tuple[Path, str, dict[str, Any], str]] = [
        (tmp_path / "text.mp4", "out.mp4", {}, "not a film"),
        (tmp_path / "none.mp4", "out.mp4", {}, "no such file"),
        (empty, "out.mkv", {}, "not one frame"),
        (source, "out.xyz", {}, "unknown kind"),
        (source, "in.mkv", {}, "exists already"),
        (source, "in.mkv", {"force": True}, "source itself"),
        (source, "no/out.mp4", {}, "not a folder"),
        (source, "out.mp4", {"start": 99.0}, "not one frame"),
    ]
    for file, target, options, message in cases:
        with pytest.raises(VideoError, match=message):
            colorize_video(file, tmp_path / target, model=model, **options)
    for wrong in ({"crf": 99}, {"keyframe_interval": 0}, {"preset": "x"}, {"start": 2.0, "end": 1.0}, {"style": "x"}):
        with pytest.raises(OptionError):
            colorize_video(source, tmp_path / "out.mp4", model=model, **wrong)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("out*"))
    assert not list(tmp_path.glob(".*"))
