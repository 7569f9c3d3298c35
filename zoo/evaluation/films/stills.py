"""Draws the frames that the page about films shows: the clips are decoded and coloured again up to them."""

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import torch
from PIL import Image

from zoo.errors import ZooError
from zoo.evaluation.candidates import Candidate, candidate_called
from zoo.evaluation.evaluate import printable
from zoo.evaluation.films import clips
from zoo.evaluation.films.coloring import Shown, asked, colored
from zoo.evaluation.films.protocol import FILM, PER_FRAME, FilmProtocol
from zoo.evaluation.films.report import STRIP, Moment, Stills
from zoo.evaluation.films.results import FilmResult
from zoo.evaluation.protocol import data_hash


def stills_of(found: Sequence[FilmResult], folder: Path) -> Callable[[Sequence[Moment]], Stills]:
    """What draws the moments of a benchmark's clips again.

    Args:
        found: The results, whose models are loaded again by what they say.
        folder: The clips' folder, which is checked to hold those of the results.

    Raises:
        ZooError: It holds others.
    """
    first = found[0]
    by_name = {printable(name): path for name, path in clips.find(folder).items()}
    limited = {name: by_name[name] for name in (*first.names, *first.data["left_out"]) if name in by_name}
    limited = {name: limited[name] for name in by_name if name in limited}  # a limit may have been set
    if data_hash(list(limited.values()), list(limited)) != first.data["sha256"]:
        raise ZooError(
            f"{folder}: not the clips that benchmark {first.benchmark!r} was evaluated on",
            remedy="give their folder with --data, or evaluate again",
        )
    protocol = FilmProtocol.of(first.protocol)

    def draw(moments: Sequence[Moment]) -> Stills:
        models = [candidate_called(r.label, r.weights.get("sha256")) for r in found]
        drawn: dict[str, dict[str, dict[int, dict[str, Image.Image]]]] = {c.label: {} for c in models}
        for moment in moments:
            for shown in _seen(by_name[moment.clip], models, protocol, moment):
                for label, pictures in _pictures(shown).items():
                    drawn[label].setdefault(moment.key, {})[shown.index] = pictures
        return drawn

    return draw


def _seen(path: Path, models: Sequence[Candidate], protocol: FilmProtocol, moment: Moment) -> list[Shown]:
    """The frames of the moment."""
    failures: dict[str, str] = {}
    with asked(models):
        frames = clips.frames(path, protocol.size, protocol.frames)
        shown = [
            s for s in islice(colored(frames, models, failures), max(moment.frames) + 1) if s.index in moment.frames
        ]
    if failures:
        raise ZooError(f"{moment.clip}: not coloured again", found=failures)
    return shown


def _pictures(shown: Shown) -> dict[str, dict[str, Image.Image]]:
    """By model the pictures of the strip."""

    def picture(chroma: torch.Tensor) -> Image.Image:
        return Image.fromarray(clips.to_8_bit(clips.rgb(shown.true.luma, chroma, shown.true.coding)))

    grey, truth = picture(torch.zeros_like(shown.true.chroma)), picture(shown.true.chroma)
    return {
        label: dict(zip(STRIP, (grey, picture(a[PER_FRAME].chroma), picture(a[FILM].chroma), truth), strict=True))
        for label, a in shown.answers.items()
    }
