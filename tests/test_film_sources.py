"""How a film's pictures are to be shown: mirrored, turned, for how long; and where a film begins and ends."""

import contextlib
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import about, make, orange, plane, read

from zoo.video.film import Film
from zoo.video.source import Broken, Span
from zoo.video.transcode import colorize_video

ONE = 1 << 16


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """An MP4 of pictures that are to be shown by this matrix."""
    source = make(path, codec="libx264", options={"crf": "0"}, frames=4, aspect=Fraction(2))
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 44
    assert data[at : at + 4] == ONE.to_bytes(4, "big")
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    source.write_bytes(data)
    return source


@pytest.mark.parametrize(
    ("matrix", "steps"),
    [
        ((-ONE, 0, 0, ONE), "mirror"),
        ((ONE, 0, 0, -ONE), "mirror turn turn"),
        ((-ONE, 0, 0, -ONE), "turn turn"),
        ((0, ONE, -ONE, 0), "turn turn turn"),
        ((0, -ONE, ONE, 0), "turn"),
        ((0, ONE, ONE, 0), "mirror turn"),
        ((0, -ONE, -ONE, 0), "turn mirror"),
        ((2 * ONE, 0, 0, 2 * ONE), ""),
        ((ONE, 1000, -1000, ONE), ""),
    ],
)
def test_pictures_are_mirrored_and_turned_as_they_are_to_be_shown(
    matrix: tuple[int, int, int, int], steps: str, tmp_path: Path
) -> None:
    source = with_matrix(tmp_path / "in.mp4", *matrix)
    expected = plane(read(source)[0], 0)
    for step in steps.split():
        expected = np.rot90(expected) if step == "turn" else expected[:, ::-1]
    with Film(source, Span()) as film:
        assert np.array_equal(next(film.shots()).plane, expected)
        assert film.aspect == (2 if expected.shape == (48, 64) else Fraction(1, 2))
        assert film.findings.notes == []


def test_what_is_shown_askew_is_told(tmp_path: Path) -> None:
    half = 46341
    report = colorize_video(
        with_matrix(tmp_path / "in.mp4", half, half, -half, half), tmp_path / "out.mp4", model=orange()
    )
    assert report.notes == ["the pictures are to be shown askew: they are to the nearest quarter turn"]
    report = colorize_video(with_matrix(tmp_path / "a.mp4", ONE, 0, 0, ONE), tmp_path / "b.mp4", model=orange())
    assert report.notes == []


def test_the_last_frame_is_not_shown_beyond_the_end(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mkv", frames=4, times=lambda i: i * 500)
    with Film(source, Span(end=Fraction(6, 5))) as film:
        assert [shot.pts for shot in film.shots()] == [0, 500, 1000]
    colorize_video(source, tmp_path / "out.mp4", model=orange(), end=1.2)
    assert about(tmp_path / "out.mp4").seconds <= 1.201


def test_where_a_truncated_film_stops_is_where_its_last_frame_ends(tmp_path: Path) -> None:
    source = make(tmp_path / "in.mp4", codec="libx264", frames=80, grain=50, mux={"movflags": "faststart"})
    source.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])
    with Film(source, Span()) as film, pytest.raises(Broken) as caught:
        list(film.shots())
    with Film(source, Span()) as film:
        last = None
        with contextlib.suppress(Broken):
            for shot in film.shots():
                last = shot
        assert last is not None
        assert caught.value.at == pytest.approx(film.seconds(last.pts) + 0.04, abs=0.001)


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "ffv1"), (".webm", "libvpx-vp9")])
def test_a_film_that_begins_late_is_whole(suffix: str, codec: str, tmp_path: Path) -> None:
    source = make(tmp_path / f"in{suffix}", codec=codec, frames=80, times=lambda i: 2000 + 40 * i)
    assert colorize_video(source, tmp_path / "out.mkv", model=orange()).frames == 80
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    with Film(source, Span()) as film, pytest.raises(Broken):
        list(film.shots())
