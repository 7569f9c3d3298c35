"""The pages about films among all that is generated from results: made, or found to be of other results."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from zoo.errors import VideoError
from zoo.evaluation import cards
from zoo.evaluation.films import report
from zoo.evaluation.films.results import FilmResult


def files(
    found: Mapping[str, Sequence[FilmResult]], reports: Path, clips: Path | None, *, draw: bool
) -> dict[Path, str | bytes]:
    """Every file of the pages about benchmarks of films: its path, and what it is to hold.

    Strips of frames that were drawn from these very results are kept, since drawing them takes the clips and minutes.

    Args:
        found: The results by benchmark.
        reports: The folder of the reports.
        clips: Where the clips of the only benchmark lie, to draw the strips from; None is where they were evaluated
            from, for strips that are missing.
        draw: Whether strips are drawn; without them the texts are the same but for the pictures inside.

    Raises:
        ZooError: Strips are missing, and so are the clips or the models to draw them from.
    """
    made: dict[Path, str | bytes] = {}
    for name, results in found.items():
        folder, title = reports / name, f"Benchmark {name}"
        if not draw or not report.moments(results):
            texts = report.render(results, title=title)
        elif clips is None and all(_drawn_from(p) == _mark(r) for p, r in _strips(results, folder).items()):
            drawn = {path.name: path.read_bytes() for path in _strips(results, folder)}
            texts = report.render(results, title=title, drawn=drawn)
        else:
            from zoo.evaluation.films.stills import stills_of  # decodes films

            texts = report.render(results, title=title, stills=stills_of(results, clips or _folder_of(results)))
        made |= {folder / file: content for file, content in texts.items()}
    return made


def stale_weights(found: Mapping[str, Sequence[FilmResult]]) -> list[str]:
    """What is wrong with results whose weights are not those of the registry."""
    problems = (
        cards.problem(r, f"model_cards/results/{name}/{r.file_name}", "--video CLIPS")
        for name, results in found.items()
        for r in results
    )
    return [str(problem) for problem in problems if problem]


def stale_strips(results: Sequence[FilmResult], folder: Path) -> list[str]:
    """Which strips of a benchmark's page were drawn from other results; those that are missing are not told of."""
    return [
        f"{path}: was drawn from another result"
        for path, result in _strips(results, folder).items()
        if _drawn_from(path) not in (None, _mark(result))
    ]


def _strips(results: Sequence[FilmResult], folder: Path) -> dict[Path, FilmResult]:
    shown = report.moments(results)
    return {folder / report.strip_name(result, moment): result for result in results for moment in shown}


def _mark(result: FilmResult) -> bytes:
    return result.digest[: report.COMMENT].encode()


def _drawn_from(path: Path) -> bytes | None:
    """What a strip says of the result that it was drawn from; None where there is no picture."""
    try:
        with Image.open(path) as image:
            mark: bytes = image.info.get("comment", b"")
            return mark
    except OSError:
        return None


def _folder_of(results: Sequence[FilmResult]) -> Path:
    for result in results:
        if folder := result.data.get("folder"):
            return Path(folder)
    name = results[0].benchmark
    raise VideoError(
        f"benchmark {name!r}: its films are needed to draw neighbouring frames",
        remedy=f"say where they are: colorzoo report --benchmark {name} --data FOLDER",
    )
