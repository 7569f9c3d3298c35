"""One pass over a clip in all ways at once: as films are coloured, frame by frame, averaged; the network runs once."""

import hashlib
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from torch import Tensor

from zoo import pipeline, upsampling
from zoo.errors import ZooError
from zoo.evaluation.candidates import Candidate, shared_forward
from zoo.evaluation.films.clips import TrueFrame
from zoo.evaluation.films.metrics import CentredMean
from zoo.evaluation.films.motion import Motion, MotionFinder
from zoo.evaluation.films.protocol import AVERAGED, FILM, OF_MODEL, PER_FRAME, WINDOW
from zoo.video import chroma
from zoo.video.coloring import Colored, FilmColorizer

_log = logging.getLogger(__name__)

_REMEMBERED = 64  # answers; a film asks for those of the last few frames


class Answer(NamedTuple):
    """A frame's colours.

    Attributes:
        chroma: As they are shown, Cb and Cr in [-0.5, 0.5], (1, 2, h, w) at the size of the comparison.
        ab: As they were meant, before the gamut mapping, in Lab units, (1, 2, h', w') at the model's working size.
    """

    chroma: Tensor
    ab: Tensor


@dataclass(frozen=True)
class Shown:
    """A frame in all its colours.

    Attributes:
        index: Its number in the clip.
        true: The frame itself.
        motion: From the frame before; None where it begins a scene.
        answers: By model and way.
        runs: By model how often the film alone has asked its network so far.
    """

    index: int
    true: TrueFrame
    motion: Motion | None
    answers: Mapping[str, Mapping[str, Answer]]
    runs: Mapping[str, int]


@contextmanager
def asked(candidates: Sequence[Candidate]) -> Iterator[None]:
    """Within it the candidates' networks can be asked; styles of one network share its answers."""
    with ExitStack() as stack:
        for network in {id(c.network): c.network for c in candidates if c.network is not None}.values():
            stack.enter_context(network.inference())
            stack.enter_context(shared_forward(network))
        yield


def colored(frames: Iterable[TrueFrame], candidates: Sequence[Candidate], failures: dict[str, str]) -> Iterator[Shown]:
    """The frames of a clip, in order, in the colours of all candidates; a few are held at a time.

    Args:
        frames: Of one clip.
        candidates: With a network, inside `asked`.
        failures: By label why a candidate failed is entered here; the others go on.
    """
    finder = MotionFinder()
    contestants: dict[str, _Contestant] = {}
    held: deque[tuple[int, TrueFrame, Motion | None]] = deque()

    def each(job: Callable[[_Contestant], None]) -> None:
        for label, contestant in list(contestants.items()):
            try:
                job(contestant)
            except Exception as error:  # of whatever kind a plug-in's bug is
                _log.warning("%s failed on a film", label, exc_info=not isinstance(error, ZooError))
                failures[label] = str(error or type(error).__name__)
                del contestants[label]

    def known() -> Iterator[Shown]:
        while held and all(c.ready for c in contestants.values()):
            at = held.popleft()
            answers = {label: c.next(at[1]) for label, c in contestants.items()}
            yield Shown(*at, answers, {label: c.runs for label, c in contestants.items()})

    for index, frame in enumerate(frames):
        motion = finder(frame.codes)
        held.append((index, frame, motion))
        if index == 0:
            contestants |= {c.label: _Contestant(c, frame) for c in candidates}
        each(partial(_Contestant.feed, frame=frame, first=motion is None))
        yield from known()
    each(partial(_Contestant.flush, waiting=len(held)))
    yield from known()


class _Contestant:
    """One candidate on one clip."""

    def __init__(self, candidate: Candidate, frame: TrueFrame) -> None:
        network = candidate.network
        if network is None:
            raise ZooError(f"{candidate.label}: only networks colour films")
        make = partial(
            FilmColorizer,
            _Remembering(network.predictor(**candidate.options)),
            (frame.plane.shape[0], frame.plane.shape[1]),
            working_size=network.spec.working_size,
            multiple_of=network.spec.multiple_of,
            coding=frame.coding,
        )
        self._each, self._film = make(interval=1, steadiness=0.0), make()
        self._coding = frame.coding
        self._mean = CentredMean(WINDOW)
        self._first: deque[bool] = deque()
        self._lumas: deque[Tensor] = deque()  # of the frames whose mean is not known yet
        self._queues: dict[str, deque[Answer]] = {way: deque() for way in OF_MODEL}

    @property
    def runs(self) -> int:
        """Of the network, had the film alone been coloured."""
        return self._film.runs

    @property
    def ready(self) -> bool:
        """Whether the next frame is known in all ways."""
        return all(self._queues.values())

    def next(self, frame: TrueFrame) -> dict[str, Answer]:
        """The next frame's colours by way, at the size of ``frame``."""
        size = frame.luma.shape[2], frame.luma.shape[3]
        answers = {way: queue.popleft() for way, queue in self._queues.items()}
        return {way: a._replace(chroma=_at_size(a.chroma, size)) for way, a in answers.items()}

    def feed(self, frame: TrueFrame, first: bool) -> None:
        """One frame more; ``first`` of a scene or not."""
        self._first.append(first)
        self._by_itself(self._each.feed(frame.plane))
        self._carried(self._film.feed(frame.plane))

    def flush(self, waiting: int) -> None:
        """The rest, which are to be ``waiting`` frames.

        Raises:
            ZooError: They are not.
        """
        self._by_itself(self._each.flush())
        self._averaged(self._mean.flush())
        self._carried(self._film.flush())
        for way, queue in self._queues.items():
            if len(queue) != waiting:
                raise ZooError(f"{way}: not a colour for each frame", found=len(queue), expected=waiting)

    def _by_itself(self, frames: Iterable[Colored]) -> None:
        for colored in frames:
            self._queues[PER_FRAME].append(Answer(colored.chroma, colored.ab))
            self._lumas.append(colored.luma)
            self._averaged(self._mean.feed(colored.ab, self._first.popleft()))

    def _averaged(self, means: Iterable[Tensor]) -> None:
        for ab in means:
            self._queues[AVERAGED].append(Answer(chroma.from_ab(self._lumas.popleft(), ab, self._coding), ab))

    def _carried(self, frames: Iterable[Colored]) -> None:
        self._queues[FILM].extend(Answer(colored.chroma, colored.ab) for colored in frames)


class _Remembering:
    """A network that answers again what it was asked a little while ago; its answers are seen to be numbers."""

    def __init__(self, predict: pipeline.Predict) -> None:
        self._predict = predict
        self._answers: OrderedDict[bytes, Tensor] = OrderedDict()

    def __call__(self, L: Tensor) -> Tensor:
        key = hashlib.blake2b(L.contiguous().numpy().tobytes() + str(tuple(L.shape)).encode()).digest()
        if key not in self._answers:
            answer = self._predict(L)
            if not bool(answer.isfinite().all()):
                raise ZooError("the model's ab has values that are not finite", expected="Lab units")
            self._answers[key] = answer
            if len(self._answers) > _REMEMBERED:
                self._answers.popitem(last=False)
        return self._answers[key].clone()


def _at_size(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return maps if tuple(maps.shape[2:]) == size else upsampling.bilinear_upsample(maps, size)
