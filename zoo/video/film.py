"""A film's file as shots: decoded, its time stamps made to rise, what is damaged concealed."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from stat import S_ISREG
from typing import Any

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.frame import VideoFrame

from zoo.errors import VideoError
from zoo.video import planes
from zoo.video.source import Broken, Lost, Shot, Source, Span, check_size, within
from zoo.video.stamps import Clock, InOrder, Matched, Stamps

_SAYS_ITS_LENGTH = ("mov", "matroska", "avi", "flv", "asf")  # formats whose header knows; others are estimated
_MISSING = 1  # second that a file may be shorter than it says
_MARGIN = 16  # frames that are sought before the one that is wanted, since some indexes know decoding times only
_AHEAD = 10  # seconds that are sought before it in formats without an index; some key frame is among them
_SEVERAL_OF_A_FRAME = ("vp8",)  # codecs whose packets may be no frames of their own
_NO_TIME_STAMPS, _ANY_CLOCK = 0x80, 0x200  # AVFMT_NOTIMESTAMPS and AVFMT_TS_DISCONT
_UNKNOWN = 2  # of H.273's numbers
_HIGH_DEFINITION = 720  # rows; as in `zoo.video.chroma`


class Film(Source):
    """The moving pictures of a file.

    Attributes:
        seeks: Whether what lies before the frames that are wanted is passed over and not read in vain. None is where
            the format has an index; True is in others too, where it has to be checked that what is found is the
            film as it is when it is read from its beginning; False is never.

    Args:
        path: Anything that PyAV opens.
        span: What is wanted of it.

    Raises:
        VideoError: It cannot be opened, has no moving pictures, or too large ones.
    """

    time_base: Fraction

    def __init__(self, path: Path, span: Span) -> None:
        super().__init__()
        self.seeks: bool | None = None
        self.path, self.name, self._span = path, str(path), span
        self.container = opened(path)
        try:
            self.video = self._choose()
        except BaseException:
            self.container.close()
            raise
        self.video.thread_type = "AUTO"
        self._format = self.container.format
        self._says_length = self._format.name.startswith(_SAYS_ITS_LENGTH)
        self._untimed = self._format.name == "avi" or bool(self._format.flags & _NO_TIME_STAMPS)
        self.jumps = bool(self._format.flags & _ANY_CLOCK)
        self.time_base = self.video.time_base or Fraction(1, 1000)
        self.rate = self.video.average_rate or self.video.guessed_rate
        # Where a clock may begin anywhere, as that of a broadcast, the film begins at its first stamp.
        self.begin = Fraction(self.container.start_time or 0, av.time_base) if self.jumps else Fraction(0)
        self.origin = round((self.begin + span.start) / self.time_base)
        self.aspect = self.video.sample_aspect_ratio
        self.total = self._expected()
        self._size: tuple[int, int] | None = None
        self._seen = self._shown = Fraction(0)  # where the file ends that was read, and the pictures in it
        self._reached = self.begin  # where the last frame ends
        self._cut = False

    def close(self) -> None:
        """Close the file."""
        self.container.close()

    def follow(self, first: "Film") -> None:
        """Take the pictures for such as come after those that ``first``, of the same file, has given."""
        self._size, self._coding, self.tags, self.aspect = first._size, first._coding, dict(first.tags), first.aspect

    def _choose(self) -> Any:
        pictures = [s for s in self.container.streams.video if not s.disposition & Disposition.attached_pic]
        if not pictures:
            raise VideoError(f"{self.name}: no moving pictures in it", remedy="give a film; photos go to colorize")
        video = pictures[0]
        if video.codec_context is None:
            raise VideoError(f"{self.name}: its pictures are of a kind that cannot be decoded")
        check_size(video.height, video.width, self.name)
        return video

    def _expected(self) -> int | None:
        seconds, (start, end) = None, (self._span.start, self._span.end)
        if self.video.duration:
            seconds = self.video.duration * self.time_base
        elif self.container.duration:
            seconds = Fraction(self.container.duration, av.time_base)
        if not start and end is None and self.video.frames:
            return int(self.video.frames)
        if seconds is None or not self.rate:
            return None
        frames: int = round((min(seconds if end is None else end, seconds) - start) * self.rate)
        return max(1, frames)

    def _read(self, after: int | None) -> Iterator[Shot | Lost]:
        low = self.origin if self._span.start else None
        end = None if self._span.end is None else (self.begin + self._span.end) / self.time_base
        wanted = max((pts for pts in (low, after) if pts is not None), default=None)
        self._step = max(1, round(1 / (self.rate * self.time_base))) if self.rate else 1
        self._seek(wanted)
        for item in self._frames(wanted):
            if end is not None and item.pts >= end:
                return
            if low is None or item.pts >= low:
                yield within(item, end)

    def _seek(self, pts: int | None) -> None:
        # A format without an index finds a place, but not always one from which pictures can be decoded.
        # A number that is too large for a time stamp lies behind the end, which is found by reading.
        indexed = not self._untimed and not self.jumps
        if pts is None or self.seeks is False or not (indexed or self.seeks):
            return
        if self._untimed and not self.video.codec_context.codec.intra_only:  # frames are counted, and none may lack
            return
        ahead = 0 if indexed else round(_AHEAD / self.time_base)
        with suppress(av.FFmpegError, OverflowError):
            self.container.seek(pts - max(ahead, _MARGIN * self._step), stream=self.video)

    def _frames(self, wanted: int | None) -> Iterator[Shot | Lost]:
        """The frames from ``wanted`` on, and a few that are lost before."""
        clock = Clock(self._step, float(1 / self.time_base), jumps=self.jumps)
        judge = self.video.codec_context.name not in _SEVERAL_OF_A_FRAME
        stamps: Stamps = InOrder() if self._untimed else Matched(judge=judge, jumps=self.jumps)
        failure: av.FFmpegError | None = None
        packets = self._packets()
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError as error:
                failure, packet = error, None
            if packet is not None:
                stamps.sent(packet)
            try:
                frames = self._decoded(packet)
            except av.FFmpegError:
                frames = []
                yield from (Lost(clock.at(pts), self._step) for pts in stamps.failed())
                if packet is not None and not stamps.finds_losses:
                    self.findings.damaged.append(self.seconds(packet.pts or packet.dts or 0))
            for frame in frames:
                found = stamps.came(frame.pts)
                if found is None:
                    continue
                lost, pts = found
                yield from (Lost(clock.at(pts), self._step) for pts in lost)
                at = clock.at(pts)
                self._reached = (at + (frame.duration or self._step)) * self.time_base
                if wanted is None or at >= wanted:
                    yield self._shot(frame, at)
            if packet is None:
                break
        yield from (Lost(clock.at(pts), self._step) for pts in stamps.rest())
        self._check_end(failure)

    def _packets(self) -> Iterator["av.Packet[Any]"]:
        """Those of the pictures. The others are looked at to know where the file ends."""
        held = None
        for packet in self.container.demux([s for s in self.container.streams if s.discard != Discard.all]):
            if not packet.size:  # the end, which a decoder must not be told twice
                continue
            stamp = packet.dts if packet.pts is None else packet.pts
            ends = self._seen if stamp is None else (stamp + (packet.duration or 0)) * packet.time_base
            self._seen = max(self._seen, ends)
            if packet.stream is not self.video:
                continue
            self._shown = max(self._shown, ends)
            if held is not None:
                yield held
            held = packet if packet.is_corrupt else None
            if held is None:
                yield packet
        if held is not None and self._says_length:  # the last packet is not whole: a decoder would make up its rest
            self._cut = True
        elif held is not None:
            yield held

    def _decoded(self, packet: "av.Packet[Any] | None") -> list[VideoFrame]:
        frames: list[VideoFrame] = self.video.codec_context.decode(packet)
        return frames

    def _shot(self, frame: VideoFrame, pts: int) -> Shot:
        check_size(frame.height, frame.width, self.name)
        corrupt, duration = frame.is_corrupt, frame.duration
        name = planes.luma_format(frame.format.name)
        size = (frame.height, frame.width)
        if self._size is None:
            self._size = size
        if size != self._size:
            note = f"the pictures change their size: they are scaled to {self._size[1]} x {self._size[0]}"
            if note not in self.findings.notes:
                self.findings.notes.append(note)
        if name != frame.format.name or size != self._size:
            rgb = frame.format.is_rgb or frame.format.name.startswith("pal")
            matrix = "ITU709" if size[0] >= _HIGH_DEFINITION else "ITU601"  # as is guessed later
            coded: dict[str, Any] = {"dst_colorspace": matrix, "dst_color_range": "MPEG"} if rgb else {}
            frame = frame.reformat(self._size[1], self._size[0], name, **coded)
        if self._coding is None:
            self._coding = planes.coding(frame)
            self._mark()
            if self.aspect and planes.is_turned(frame):
                self.aspect = 1 / self.aspect
            if planes.is_askew(frame):
                self.findings.notes.append("the pictures are to be shown askew: they are to the nearest quarter turn")
        return Shot(planes.luma(frame), pts, duration, damaged=corrupt)

    def _mark(self) -> None:
        given = self.video.codec_context
        for name in ("colorspace", "color_primaries", "color_trc"):
            value = int(getattr(given, name))
            if value != _UNKNOWN and not (name == "colorspace" and value == 0):  # RGB is not written
                self.tags[name] = value

    def _check_end(self, failure: av.FFmpegError | None) -> None:
        expected, there = None, self._seen
        if self.video.duration and self._says_length:
            expected, there = ((self.video.start_time or 0) + self.video.duration) * self.time_base, self._shown
        elif self.container.duration and self._says_length:
            # Matroska's counts from 0, wherever the film begins.
            expected = Fraction(self.container.duration, av.time_base)
        short = expected is not None and expected - there > _MISSING
        if failure is not None or self._cut or short:
            found = f"it cannot be read on: {failure}" if failure else "the file ends"
            raise Broken(found, float(self._reached - self.begin), float(expected) if expected else None)


def opened(path: Path) -> InputContainer:
    """The file, whatever its name looks like.

    Raises:
        VideoError: There is none, or it is no film.
    """
    try:
        found = path.stat()
    except FileNotFoundError as error:
        raise VideoError(f"{path}: no such file") from error
    except (OSError, ValueError) as error:
        raise VideoError(f"{path}: cannot be read", found=getattr(error, "strerror", None) or error) from error
    if not S_ISREG(found.st_mode):
        raise VideoError(f"{path}: not a file", remedy="a stream has to be saved first: films are read twice")
    try:
        return av.open(f"file:{path}", metadata_errors="replace")
    except (av.FFmpegError, OSError) as error:
        raise VideoError(f"{path}: not a film that can be opened", found=error) from error
