"""When frames are shown, and which are missing: what time stamps, packets and a decoder's complaints tell."""

import heapq
from abc import ABC, abstractmethod
from collections import deque
from typing import Any

import av

_BACKWARD, _FORWARD = 0.5, 10  # seconds by which a clock may jump before it is taken to have been set anew
_BACK = 0.1  # the same, backward, of formats whose clock may be set anew
_MATCHING = 16  # frames for every packet that may have given none before that is taken for its nature


class Clock:
    """Makes time stamps rise: those that are missing, doubled, or of a clock that was set anew.

    Args:
        step: What a frame usually takes.
        second: What a second is.
        jumps: Whether the clock may have been set forward too.
    """

    def __init__(self, step: int, second: float, *, jumps: bool = False) -> None:
        self._step, self._second, self._jumps = step, second, jumps
        self._backward = _BACK if jumps else _BACKWARD
        self._least = max(1, round(second / 1000))
        self._last: int | None = None
        self._shift = 0

    def at(self, stamp: int | None, lasts: int | None = None) -> int:
        """The time stamp to use for what comes next and has this one; ``lasts`` is how long that is."""
        after, self._step = self._step, lasts or self._step
        if self._last is None:
            now = 0 if stamp is None else stamp
        elif stamp is None:
            now = self._last + after
        else:
            now = stamp + self._shift
            back, forward = (self._last - now) / self._second, (now - self._last) / self._second
            if back > self._backward or (self._jumps and forward > _FORWARD):
                self._shift += self._last + after - now
                now = self._last + after
            if now <= self._last:
                now = self._last + self._least
        self._last = now
        return now


class Stamps(ABC):
    """Follows packets into a decoder and frames out of it."""

    finds_losses = True  # whether what is lost is found, and not only that something is

    @abstractmethod
    def sent(self, packet: "av.Packet[Any]") -> None:
        """A packet is given to the decoder."""

    @abstractmethod
    def failed(self) -> list[int | None]:
        """The decoder complained, of that packet or one before: the stamps of what is lost, if that is known yet."""

    @abstractmethod
    def came(self, pts: int | None) -> tuple[list[int | None], int | None] | None:
        """A frame came with this stamp: the stamps of those that were lost before, and its own.

        None if it comes too late: it was taken for lost already, and another frame is in its place.
        """

    @abstractmethod
    def rest(self) -> list[int | None]:
        """The decoder gave its last frame: the stamps of those that were lost behind it."""


class InOrder(Stamps):
    """Of formats that do not say when a frame is shown: in the order in which they come, when packets are due."""

    def __init__(self) -> None:
        self._due: deque[int | None] = deque()

    def sent(self, packet: "av.Packet[Any]") -> None:
        """It is due at its time of decoding, if it has one."""
        self._due.append(packet.dts)

    def failed(self) -> list[int | None]:
        """One frame is lost."""
        return [self._due.popleft()] if self._due else []

    def came(self, pts: int | None) -> tuple[list[int | None], int | None]:
        """It has the earliest time that is left."""
        return [], self._due.popleft() if self._due else None

    def rest(self) -> list[int | None]:
        """Nothing is known of them."""
        return []


class Matched(Stamps):
    """Of other formats: a packet whose stamp no frame has was lost.

    But of some films many packets are no frames of their own, such as fields; those are not judged, save after errors.

    Args:
        judge: Whether packets without frames are lost at all.
        jumps: Whether the clock may be set anew. From there on nothing is found.
    """

    def __init__(self, *, judge: bool, jumps: bool) -> None:
        self.finds_losses = judge
        self._jumps = jumps
        self._pending: list[int] = []
        self._replaced: set[int] = set()
        self._came = self._silent = self._errors = 0
        self._judging = True
        self._before: float | None = None

    def sent(self, packet: "av.Packet[Any]") -> None:
        """A frame with its stamp is expected."""
        if self._jumps and packet.dts is not None:
            now = float(packet.dts * packet.time_base)
            if self._before is not None and not -_BACK < now - self._before < _FORWARD:
                self.finds_losses = False
            self._before = now
        if packet.pts is not None and self.finds_losses and not packet.is_discard:
            heapq.heappush(self._pending, packet.pts)

    def failed(self) -> list[int | None]:
        """What is lost is seen when the next frame comes."""
        self._errors += 1
        return []

    def came(self, pts: int | None) -> tuple[list[int | None], int | None] | None:
        """Those are lost that should have come before."""
        if pts in self._replaced and self.finds_losses:
            self._replaced.remove(pts)
            return None
        lost = [] if pts is None else self._lost(pts)
        self._replaced.update(stamp for stamp in lost if stamp is not None)
        self._came += 1
        return lost, pts

    def rest(self) -> list[int | None]:
        """All that have not come."""
        return self._lost(None) if self._came else []

    def _lost(self, pts: int | None) -> list[int | None]:
        before: list[int | None] = []
        while self._pending and (pts is None or self._pending[0] <= pts):
            earlier = heapq.heappop(self._pending)
            if earlier != pts:
                before.append(earlier)
        if not self.finds_losses:
            return []
        if self._errors:  # after one, a decoder may be silent up to the next key frame
            self._errors = max(0, self._errors - len(before))
            # What a broadcast begins with cannot be decoded, as a rule, and is no damage.
            return before if self._came or not self._jumps else []
        if not self._came:  # a film may begin within a group of pictures
            return []
        self._silent += len(before)
        self._judging = self._judging and self._came + 1 >= _MATCHING * self._silent
        return before if self._judging else []
