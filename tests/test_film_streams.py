"""What goes with a film's pictures: sound, subtitles, chapters, tags, attachments, covers. All of it is copied."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from clips import MS, Orange, frame, make, orange, packets, read, times_of
from PIL import Image

from zoo.video import copying
from zoo.video.transcode import colorize_video

ASS = (
    b"[Script Info]\nScriptType: v4.00+\n\n[V4+ Styles]\nFormat: Name, Fontname\nStyle: Default,Arial\n\n"
    b"[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text\n"
)
LINES = {"mov_text": b"\x00\x05hello", "ass": b"0,0,Default,,0,0,0,,hello", "subrip": b"hello"}


@pytest.fixture
def model() -> Orange:
    return orange()


def rich(path: Path, subtitles: str, frames: int = 50, sound: str = "aac") -> Path:
    """A film of ``frames``, 25 a second, with two languages, subtitles at 0.4 and 1.2 s, two chapters and tags."""
    seconds = frames * 40
    with av.open(str(path), "w") as out:
        out.metadata.update({"title": "A film", "artist": "Someone", "comment": "of note"})
        tracks: list[Any] = []
        for language, disposition in (("eng", Disposition.default), ("ger", Disposition.comment)):
            track = out.add_stream(sound, rate=8000, layout="mono")
            track.metadata.update({"language": language, "title": f"in {language}"})
            track.disposition = disposition
            tracks.append(track)
        video = out.add_stream("libx264", rate=25)  # behind the sound
        video.width, video.height = 64, 48
        video.metadata["title"] = "the pictures"
        text = out.add_stream(subtitles)
        text.metadata["language"] = "fre"
        text.disposition = Disposition.forced
        text.time_base = MS
        text.codec_context.subtitle_header = ASS
        if path.suffix == ".mkv":
            out.add_attachment("font.ttf", "application/x-truetype-font", b"a font" * 50)
        out.set_chapters(
            [
                {"id": 1, "start": 0, "end": 1000, "time_base": MS, "metadata": {"title": "One"}},
                {"id": 2, "start": 1000, "end": seconds, "time_base": MS, "metadata": {"title": "Two"}},
            ]
        )
        for i in range(frames):
            made = frame(i, (48, 64), "yuv420p")
            made.pts, made.time_base = i, Fraction(1, 25)
            out.mux(video.encode(made))
            for k, track in enumerate(tracks):
                samples = (np.sin(np.arange(320 * i, 320 * i + 320) / (5 + k)) * 9000).astype(np.int16)[None]
                heard = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
                heard.sample_rate, heard.pts = 8000, 320 * i
                out.mux(track.encode(heard))
            if i in (10, 30):
                line = av.Packet(LINES[subtitles])
                line.stream, line.pts, line.dts, line.duration, line.time_base = text, 40 * i, 40 * i, 400, MS
                out.mux(line)
        for stream in (video, *tracks):
            out.mux(stream.encode(None))
    return path


def described(path: Path) -> list[tuple[Any, ...]]:
    """Kind, codec, title, language and disposition of the streams."""
    with av.open(str(path)) as container:
        return [
            (
                s.type,
                "" if s.type == "video" else getattr(s.codec_context, "name", s.metadata.get("filename")),
                s.metadata.get("title", s.metadata.get("name")),
                s.metadata.get("language"),
                int(s.disposition),
            )
            for s in container.streams
        ]


def chapters(path: Path) -> list[tuple[float, float, str]]:
    with av.open(str(path)) as container:
        return [
            (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), c["metadata"]["title"])
            for c in container.chapters()
        ]


def tags(path: Path) -> dict[str, str]:
    with av.open(str(path)) as container:
        found = {k.lower(): v for k, v in container.metadata.items()}
    return {k: found.get(k, "") for k in ("title", "artist", "comment")}


@pytest.mark.parametrize(
    ("source_name", "subtitles", "target_name"),
    [("in.mkv", "ass", "out.mkv"), ("in.mkv", "subrip", "out.mkv"), ("in.mp4", "mov_text", "out.mp4")],
)
def test_everything_is_copied_bit_for_bit(
    source_name: str, subtitles: str, target_name: str, model: Orange, tmp_path: Path
) -> None:
    source, target = rich(tmp_path / source_name, subtitles), tmp_path / target_name
    report = colorize_video(source, target, model=model)
    assert report.left_out == []
    for kind in ("audio", "subtitle"):
        assert packets(source, kind), kind
        assert packets(target, kind) == packets(source, kind)
    assert len({index for index, *_ in packets(target, "audio")}) == 2
    assert described(target) == described(source)
    assert chapters(target) == chapters(source) == [(0, 1, "One"), (1, 2, "Two")]
    assert tags(target) == tags(source) == {"title": "A film", "artist": "Someone", "comment": "of note"}
    assert times_of(target) == times_of(source)
    with av.open(str(source)) as before, av.open(str(target)) as after:
        assert after.duration == pytest.approx(before.duration, abs=128_000)  # of a packet of sound
        assert [s.data for s in after.streams.attachments] == [s.data for s in before.streams.attachments]


def test_what_the_format_cannot_hold_is_told_before_and_left_out(model: Orange, tmp_path: Path) -> None:
    source = rich(tmp_path / "in.mkv", "ass")
    report = colorize_video(source, tmp_path / "out.mp4", model=model)
    assert len(report.left_out) == 2
    assert report.left_out[0].startswith("stream 3 (subtitle, ssa): ")
    assert report.left_out[1].startswith("stream 4 (attachment, font.ttf): ")
    assert packets(tmp_path / "out.mp4", "audio") == packets(source, "audio")
    assert chapters(tmp_path / "out.mp4") == [(0, 1, "One"), (1, 2, "Two")]
    assert tags(tmp_path / "out.mp4") == tags(source)
    report = colorize_video(source, tmp_path / "out.webm", model=model)
    assert [line.split(":")[0] for line in report.left_out] == [
        "stream 0 (audio, aac)",
        "stream 1 (audio, aac)",
        "stream 3 (subtitle, ssa)",
    ]
    assert chapters(tmp_path / "out.webm") == [(0, 1, "One"), (1, 2, "Two")]


def test_from_mp4_to_mkv(model: Orange, tmp_path: Path) -> None:
    source = rich(tmp_path / "in.mp4", "mov_text")
    report = colorize_video(source, tmp_path / "out.mkv", model=model)
    assert [line.split(":")[0] for line in report.left_out] == ["stream 3 (subtitle, mov_text)"]
    before, after = packets(source, "audio"), packets(tmp_path / "out.mkv", "audio")
    assert [(i, data) for i, _, data in after] == [(i, data) for i, _, data in before]
    # sound that begins before the pictures does so still, though an mkv begins at 0
    heard = after[0][1] - before[0][1]
    shown = (times_of(tmp_path / "out.mkv")[0] - times_of(source)[0]) / 1000
    assert heard == pytest.approx(shown, abs=0.002)
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert not {"major_brand", "minor_version", "compatible_brands"} & {k.lower() for k in container.metadata}
        assert container.streams[2].metadata["title"] == "the pictures"


def test_a_part_takes_its_own_sound_subtitles_and_chapters(model: Orange, tmp_path: Path) -> None:
    source, target = rich(tmp_path / "in.mkv", "subrip", frames=75), tmp_path / "out.mkv"
    colorize_video(source, target, model=model, start=0.6, end=1.6)
    assert chapters(target) == [(0, pytest.approx(0.4), "One"), (pytest.approx(0.4), 1, "Two")]
    assert [(round(t, 3), data) for _, t, data in packets(target, "subtitle")] == [
        (0, b"hello"),
        (0.6, b"hello"),
    ]
    inside = [(i, t - 0.6, data) for i, t, data in packets(source, "audio") if 0.6 <= t < 1.6]
    assert [(i, data) for i, _, data in packets(target, "audio")] == [(i, data) for i, _, data in inside]
    shift = packets(target, "audio")[0][1] - inside[0][1]
    assert abs(shift) < 0.002
    assert [t for _, t, _ in packets(target, "audio")] == pytest.approx([t for _, t, _ in inside], abs=0.002)


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "subrip"), (".mp4", "mov_text")])
def test_a_subtitle_that_is_on_screen_where_a_part_begins_stays(
    suffix: str, codec: str, model: Orange, tmp_path: Path
) -> None:
    source, target = rich(tmp_path / f"in{suffix}", codec, frames=75), tmp_path / f"out{suffix}"
    colorize_video(source, target, model=model, start=1.36)  # from 1.2 to 1.6 s
    with av.open(str(target)) as container:
        lines = [p for p in container.demux(subtitles=0) if p.size > copying._PAUSE]
    found = [(float(p.pts * p.time_base), float(p.duration * p.time_base), bytes(p)) for p in lines]
    assert found == [(0, pytest.approx(0.24, abs=0.002), LINES[codec])]


def test_sound_that_begins_before_or_after_the_pictures(model: Orange, tmp_path: Path) -> None:
    for begins in (-200, 300):
        source = make(tmp_path / f"{begins}.mov", codec="libx264", sounds=["eng"], sound_at=begins, frames=25)
        for suffix in (".mp4", ".mkv"):
            target = tmp_path / f"out{begins}{suffix}"
            colorize_video(source, target, model=model)
            before, after = packets(source, "audio"), packets(target, "audio")
            assert [data for *_, data in after] == [data for *_, data in before]
            apart = [found[0][1] - times_of(path)[0] / 1000 for found, path in ((before, source), (after, target))]
            assert apart[0] == pytest.approx(begins / 1000, abs=0.1)
            assert apart[1] == pytest.approx(apart[0], abs=0.002)


def test_an_edit_list_is_followed(model: Orange, tmp_path: Path) -> None:
    """A film that was cut without being coded anew: an MP4 then says from where on it is shown."""
    whole = make(tmp_path / "whole.mp4", codec="libx264", frames=50, sounds=["eng"], sound_codec="aac")
    source = tmp_path / "in.mp4"
    with av.open(str(whole)) as old, av.open(str(source), "w") as out:
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in old.streams}
        for packet in old.demux():
            if packet.dts is not None:
                shift = round(Fraction(4, 10) / packet.time_base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    shown = [t for t in times_of(source) if t >= 0]
    assert len(shown) == 40
    colorize_video(source, tmp_path / "out.mp4", model=model)
    assert times_of(tmp_path / "out.mp4") == times_of(source)


def test_sound_alone_goes_on_when_the_pictures_end(model: Orange, tmp_path: Path) -> None:
    source = tmp_path / "in.mkv"
    make(source, frames=12, sounds=["eng"])
    with av.open(str(source)) as old, av.open(str(tmp_path / "long.mkv"), "w") as out:
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in old.streams}
        for packet in old.demux():
            if packet.size and not (packet.stream.type == "video" and packet.pts > 200):
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    report = colorize_video(tmp_path / "long.mkv", tmp_path / "out.mkv", model=model)
    assert report.frames == 6
    assert packets(tmp_path / "out.mkv", "audio") == packets(source, "audio")


def test_a_cover_is_no_film_but_is_kept(model: Orange, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "cover.png")
    cover = (tmp_path / "cover.png").read_bytes()
    plain = make(tmp_path / "plain.mp4", codec="libx264", sounds=["eng"], sound_codec="aac")
    source = tmp_path / "in.mp4"
    with av.open(str(plain)) as old, av.open(str(source), "w") as out:
        streams = {s.index: out.add_stream_from_template(s, opaque=True) for s in old.streams}
        picture = out.add_stream("png", rate=1)
        picture.width, picture.height, picture.pix_fmt = 40, 30, "rgb24"
        picture.disposition = Disposition.attached_pic
        for packet in old.demux():
            if packet.size:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
        packet = av.Packet(cover)
        packet.stream, packet.pts, packet.dts = picture, 0, 0
        out.mux(packet)
    report = colorize_video(source, tmp_path / "out.mp4", model=model)
    assert report.left_out == []
    assert len(read(tmp_path / "out.mp4")) == 12
    with av.open(str(tmp_path / "out.mp4")) as container:
        covers = [s for s in container.streams.video if s.disposition & Disposition.attached_pic]
        assert [bytes(p) for p in container.demux(covers) if p.size] == [cover]


def test_tags_that_are_no_utf_8_do_no_harm(model: Orange, tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", prepare=lambda out: out.metadata.update({"title": "Zwoelf Monate"}))
    source.write_bytes(source.read_bytes().replace(b"Zwoelf", b"Zw\xf6lf "))
    colorize_video(source, tmp_path / "out.mkv", model=model)
    assert "Monate" in tags(tmp_path / "out.mkv")["title"]


def test_a_clock_that_is_set_anew_does_not_stop_the_sound(model: Orange, tmp_path: Path) -> None:
    parts = [
        make(tmp_path / f"{n}.ts", frames=25, codec="libx264", sounds=["eng"], sound_codec="aac") for n in range(2)
    ]
    joined = tmp_path / "joined.ts"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    colorize_video(joined, tmp_path / "out.mp4", model=model)
    assert len(read(tmp_path / "out.mp4")) == 50
    heard = packets(tmp_path / "out.mp4", "audio")
    # a broadcast's sound has a head before each packet, which an MP4 has once
    assert all(b.endswith(a) for (*_, a), (*_, b) in zip(heard, packets(joined, "audio"), strict=True))
    assert heard[-1][1] == pytest.approx(times_of(tmp_path / "out.mp4")[-1] / 1000, abs=0.4)


def test_the_format_is_asked_by_trying(tmp_path: Path) -> None:
    source = rich(tmp_path / "in.mkv", "subrip")
    with av.open(str(source)) as container:
        refused = {
            kind: [s.index for s in container.streams if copying._refusal(s, kind) is not None]
            for kind in ("matroska", "mp4", "mov", "webm")
        }
    assert refused == {"matroska": [], "mp4": [3, 4], "mov": [3, 4], "webm": [0, 1, 2, 3]}
