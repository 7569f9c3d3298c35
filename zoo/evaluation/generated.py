"""All that is generated from result files: reports, model cards, leaderboard, the README's table; written or checked.

Laid out as in this project: a folder ``model_cards`` with ``results/<benchmark>/*.json`` and hand-written ``notes``,
and a ``README.md`` beside it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from PIL import Image

from zoo.errors import ZooError
from zoo.evaluation import cards, plots, report, results, tables
from zoo.evaluation.candidates import Candidate, candidate_of
from zoo.evaluation.evaluate import find_photos
from zoo.evaluation.protocol import Protocol, data_hash, prepare
from zoo.evaluation.results import Result

Pictures = Callable[[Sequence[str]], Mapping[str, Mapping[str, Image.Image]]]

_LOCAL_LINK = re.compile(r"\]\(<?(?!https?:|#|<)([^)>\s#]+)")


def render(cards_folder: Path, photos: Path | None = None, *, draw: bool = True) -> dict[Path, str | bytes]:
    """Every generated file: its path, and what it is to hold.

    Args:
        cards_folder: ``model_cards``.
        photos: Folder of the photos of a benchmark whose pictures are shown; None is the folder that it was evaluated
            from.
        draw: Whether pictures are drawn; without them the texts are the same but for the pictures inside.

    Raises:
        ZooError: Results or notes that are missing or do not fit, photos that are not those of the results.
    """
    every = read_benchmarks(cards_folder)
    files: dict[Path, str | bytes] = {}
    failures: dict[str, str] = {}  # by label, relative to the cards
    for name, found in every.items():
        folder = cards_folder / "reports" / name
        shown = report.shown(found)
        pictures = pictures_of(found, photos or _folder_of(found)) if shown and draw else None
        texts = report.render(found, title=f"Benchmark {name}", pictures=pictures)
        files |= {folder / file: content for file, content in texts.items()}
        if shown and name == tables.SHOWN_BENCHMARK:
            for result in found:
                if result.kind == "model":
                    file = f"failures-{Path(result.file_name).stem}.jpg"
                    failures[result.label] = f"reports/{name}/{file}"
                    if pictures is not None:
                        files[folder / file] = _failures(result, pictures)
    for spec, weights in tables.carded():
        notes = cards.read_notes(cards_folder / "notes", spec.name)
        files[cards_folder / tables.card_name(spec, weights)] = cards.card(spec, weights, every, notes, failures)
    files[cards_folder / "README.md"] = tables.leaderboard(every)
    if tables.MAIN_BENCHMARK in every:
        readme = cards_folder.parent / "README.md"
        table = tables.readme_table(every[tables.MAIN_BENCHMARK])
        files[readme] = tables.replaced(readme.read_text(encoding="utf-8"), table)
    return files


def write(files: Mapping[Path, str | bytes]) -> list[Path]:
    """Write the files that are not what they should be; returns them.

    Raises:
        ZooError: One cannot be written.
    """
    changed = [path for path, content in files.items() if not _holds(path, content)]
    for path in changed:
        results.write_text(path, files[path])
    return changed


def stale(cards_folder: Path) -> list[str]:
    """What is not as it would be generated now, a line for each file; nothing when all is well.

    Texts are compared, pictures by being there.

    Raises:
        ZooError: Results or notes that are missing or do not fit.
    """
    every = read_benchmarks(cards_folder)
    problems = cards.stale_weights(every)
    if problems:  # cards cannot be made of them
        return problems
    files = render(cards_folder, draw=False)
    for path, content in files.items():
        if isinstance(content, bytes):  # a plot; it differs with the version of matplotlib
            if not path.is_file():
                problems.append(f"{path}: is missing")
            continue
        if not path.is_file():
            problems.append(f"{path}: is missing")
        elif report.stripped(path.read_text(encoding="utf-8")) != report.stripped(content):
            problems.append(f"{path}: is stale")
        for link in sorted(set(_LOCAL_LINK.findall(content))) if path.suffix == ".md" else ():
            target = path.parent / link.replace("%20", " ")
            if target not in files and not target.exists():
                problems.append(f"{path}: links to {link}, which is missing")
    expected = {path for path in files if path.parent == cards_folder}
    problems += [f"{p}: belongs to no packaged weights" for p in sorted(cards_folder.glob("*.md")) if p not in expected]
    reports = cards_folder / "reports"
    for folder in sorted(reports.iterdir()) if reports.is_dir() else ():
        if folder.name not in every:
            problems.append(f"{folder}: belongs to no benchmark in {cards_folder / 'results'}")
    return problems


def read_benchmarks(cards_folder: Path) -> dict[str, list[Result]]:
    """The results by benchmark.

    Raises:
        ZooError: There are none, or one cannot be read.
    """
    folder = cards_folder / "results"
    found = {path.name: results.read_all(path) for path in sorted(folder.glob("*/")) if any(path.glob("*.json"))}
    if not found:
        raise ZooError(f"{folder}: no results", remedy="make some with `colorzoo evaluate`")
    return found


def pictures_of(found: Sequence[Result], photos: Path | Mapping[str, Path], *, check: bool = True) -> Pictures:
    """What draws the pictures of photos again: the grey input, each model's answer, the truth.

    Args:
        found: The results whose models are asked.
        photos: The photos' folder, or the photos by name.
        check: Whether to make sure that they are the photos of the results.

    Raises:
        ZooError: They are others.
    """
    by_name = dict(photos) if isinstance(photos, Mapping) else find_photos(photos)
    if check and data_hash(list(by_name.values()), list(by_name)) != found[0].data["sha256"]:
        raise ZooError(
            f"{photos}: not the photos that benchmark {found[0].benchmark!r} was evaluated on",
            remedy="give their folder with --data, or evaluate again",
        )
    stated = found[0].protocol
    protocol = Protocol(crop=stated["crop"], size=stated["size"], near_grey=stated["near_grey"])

    @cache
    def candidates() -> dict[str, Candidate]:
        return {r.label: candidate_of(r) for r in found if r.kind == "model"}

    @cache
    def of_photo(name: str) -> dict[str, Image.Image]:
        picture = prepare(by_name[name], protocol)
        answers = {label: c.colorize(picture).rgb for label, c in candidates().items()}
        arrays = {"grey": picture.grey, **answers, "truth": picture.truth}
        return {label: Image.fromarray(array) for label, array in arrays.items()}

    return lambda names: {name: of_photo(name) for name in names}


def _folder_of(found: Sequence[Result]) -> Path:
    for result in found:
        if folder := result.data.get("folder"):
            return Path(folder)
    raise ZooError(
        f"benchmark {found[0].benchmark!r}: its photos are needed to draw its pictures", remedy="give them with --data"
    )


def _failures(result: Result, pictures: Pictures) -> bytes:
    """The photos that a model got most wrong, and what it made of them."""
    names = report.worst_by(result, cards.FAILURES)
    (sheet,) = plots.sheets({"": {name: name for name in names}}, [result.label], pictures(names)).values()
    return sheet


def _holds(path: Path, content: str | bytes) -> bool:
    try:
        present = path.read_bytes()
    except OSError:
        return False
    return present == (content.encode("utf-8") if isinstance(content, str) else content)
