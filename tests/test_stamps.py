"""Time stamps made to rise, losses found, and a writer that does not run behind: the parts of a film's way."""

import threading
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest
from clips import frame, make, orange, read

from zoo.errors import VideoError
from zoo.video.background import Background
from zoo.video.film import Film
from zoo.video.source import Span
from zoo.video.stamps import Clock, InOrder, Matched
from zoo.video.transcode import colorize_video


def test_a_clock_keeps_what_rises() -> None:
    clock = Clock(40, 1000)
    assert [clock.at(t) for t in (-40, 0, 1, 200, 10_000, 10_001)] == [-40, 0, 1, 200, 10_000, 10_001]


def test_a_clock_fills_in_and_mends() -> None:
    clock = Clock(40, 1000)
    assert [clock.at(t) for t in (0, None, None, 120, 120, 100, 160)] == [0, 40, 80, 120, 121, 122, 160]
    set_anew = Clock(40, 1000)
    assert [set_anew.at(t) for t in (5000, 5040, 0, 40, 80)] == [5000, 5040, 5080, 5120, 5160]
    jumping = Clock(40, 1000, jumps=True)
    assert [jumping.at(t) for t in (0, 40, 3_600_000, 3_600_040)] == [0, 40, 80, 120]
    short = Clock(40, 1000, jumps=True)
    assert [short.at(t) for t in (1400, 1440, 1480, 1520, 1400, 1440)] == [1400, 1440, 1480, 1520, 1560, 1600]
    lasting = Clock(1, 1000)
    assert [lasting.at(t, 128) for t in (1000, 1128, 0, 128)] == [1000, 1128, 1256, 1384]


def packet(pts: int | None, dts: int | None) -> Any:
    made = av.Packet(b"x")
    made.pts, made.dts, made.time_base = pts, dts, Fraction(1, 25)
    return made


def came(stamps: Matched, pts: int) -> tuple[list[int | None], int | None]:
    """Of a frame that is not late."""
    found = stamps.came(pts)
    assert found is not None
    return found


def follow(stamps: Matched, packets: list[int], frames: list[int]) -> list[int]:
    """What is found lost of packets that come in order, and two packets late these frames."""
    found: list[Any] = []
    waiting = list(frames)
    for n, pts in enumerate(packets):
        stamps.sent(packet(pts, pts))
        while waiting and n >= 2 and waiting[0] <= packets[n - 2]:
            found += came(stamps, waiting.pop(0))[0]
    for pts in waiting:
        found += came(stamps, pts)[0]
    return found + stamps.rest()


def test_packets_without_a_frame_are_found() -> None:
    everything = list(range(60))
    assert follow(Matched(judge=True, jumps=False), everything, everything) == []
    assert follow(Matched(judge=True, jumps=False), everything, [i for i in everything if i != 30]) == [30]
    assert follow(Matched(judge=True, jumps=False), everything, everything[:59]) == [59]
    assert follow(Matched(judge=False, jumps=False), everything, everything[:59]) == []


def test_packets_that_are_half_a_frame_are_not_lost() -> None:
    fields = list(range(200))
    assert follow(Matched(judge=True, jumps=False), fields, fields[::2]) == []


def test_after_an_error_all_that_is_missing_is_lost() -> None:
    stamps = Matched(judge=True, jumps=False)
    for i in range(5):
        stamps.sent(packet(i, i))
    assert stamps.came(0) == ([], 0)
    assert stamps.failed() == []
    assert stamps.came(4) == ([1, 2, 3], 4)
    assert stamps.rest() == []


def test_a_frame_that_comes_after_it_was_replaced_is_too_late() -> None:
    stamps = Matched(judge=True, jumps=False)
    for i in range(6):
        stamps.sent(packet(i, i))
    assert stamps.came(0) == ([], 0)
    stamps.failed()
    assert stamps.came(4) == ([1, 2, 3], 4)
    assert stamps.came(2) is None
    assert stamps.came(5) == ([], 5)
    assert stamps.rest() == []


def test_a_late_frame_adds_none_to_a_film(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(tmp_path / "in.mkv", frames=20)
    decoded, late = Film._decoded, []

    def delay(self: Film, given: Any) -> Any:
        """As a decoder does after an error: frames 8 to 11 are missing, and 8 comes behind 12."""
        frames = decoded(self, given)
        late.extend(f for f in frames if f.pts == 320)
        shown = [f for f in frames if not 320 <= f.pts < 480]
        if len(shown) < len(frames):
            raise av.error.InvalidDataError(1, "damaged")
        return shown + (late if any(f.pts == 480 for f in shown) else [])

    monkeypatch.setattr(Film, "_decoded", delay)
    with Film(source, Span()) as film:
        shots = list(film.shots())
    assert len(late) == 1
    assert [shot.pts for shot in shots] == [40 * i for i in range(20)]
    assert [shot.pts for shot in shots if shot.lost] == [320, 360, 400, 440]


def test_where_a_clock_is_set_anew_nothing_is_judged() -> None:
    stamps = Matched(judge=True, jumps=True)
    found: list[Any] = []
    for i in [*range(100, 140), *range(20)]:
        stamps.sent(packet(i, i))
        found += came(stamps, i - 2 if i >= 102 else i)[0]
    assert found == []
    assert not stamps.finds_losses


def test_what_has_no_times_is_shown_in_the_order_of_decoding() -> None:
    stamps = InOrder()
    for dts in (0, 1, 2, 5):
        stamps.sent(packet(None, dts))
    assert stamps.came(7) == ([], 0)
    assert stamps.failed() == [1]
    assert [stamps.came(None)[1] for _ in range(3)] == [2, 5, None]


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [
        ("a.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16", "b": "100k", "cpu-used": "5"}),
        ("b.ts", "mpeg2video", {"bf": "2"}),
        ("c.mkv", "libx264", {"x264-params": "open-gop=1:keyint=12:interlaced=1"}),
    ],
)
def test_films_that_are_whole_have_no_losses(name: str, codec: str, options: dict[str, str], tmp_path: Path) -> None:
    source = make(tmp_path / name, codec=codec, options=options, frames=60, grain=20, base=Fraction(1, 25))
    plain = [f.pts for f in read(source)]
    with Film(source, Span()) as film:
        assert [shot.pts for shot in film.shots()] == plain
        assert film.findings.damaged == []
        assert len(plain) == 60


def test_short_films_behind_each_other_keep_their_time(tmp_path: Path) -> None:
    one = make(tmp_path / "one.ts", codec="mpeg2video", frames=10, base=Fraction(1, 25)).read_bytes()
    (tmp_path / "in.ts").write_bytes(one + one)
    with Film(tmp_path / "in.ts", Span()) as film:
        shots = list(film.shots())
        assert {round(film.seconds(b.pts) - film.seconds(a.pts), 6) for a, b in pairwise(shots)} == {0.04}
    assert len(shots) == len(read(tmp_path / "in.ts")) >= 19


def test_a_file_that_cannot_be_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # nothing moves, so that colours are known late
    source = make(tmp_path / "in.mkv", frames=20, pictures=lambda n: frame(0, (48, 64), "yuv420p"))
    packets = Film._packets

    def fail(self: Film) -> Any:
        for n, found in enumerate(packets(self)):
            if n == 12:
                raise av.error.OSError(5, "Input/output error")
            yield found

    monkeypatch.setattr(Film, "_packets", fail)
    with pytest.raises(
        VideoError, match=r"stops at 0\.5 seconds, after 12 frames; found: it cannot be read on: .*Input/output error"
    ) as caught:
        colorize_video(source, tmp_path / "out.mp4", model=orange(), keyframe_interval=8)
    assert "out.mp4.partial" in str(caught.value)
    assert len(read(tmp_path / "out.mp4.partial")) == 12


def test_a_writer_is_waited_for_and_stops_where_it_fails() -> None:
    background, gate, done = Background(), threading.Event(), []

    def job(n: int) -> None:
        gate.wait(5)
        if n == 12:
            raise ArithmeticError
        done.append(n)

    started = [0]

    def produce() -> None:
        for n in range(30):
            background.do(job, n)
            started[0] = n + 1

    errors: list[BaseException] = []

    def catching() -> None:
        try:
            produce()
        except ArithmeticError as error:
            errors.append(error)

    thread = threading.Thread(target=catching)
    thread.start()
    time.sleep(0.2)
    assert started[0] <= 9, "no more are taken than may wait"
    gate.set()
    thread.join(5)
    assert len(errors) == 1
    assert background.failed
    background.close()
    assert done == list(range(12)), "in order, and none behind the one that failed"
