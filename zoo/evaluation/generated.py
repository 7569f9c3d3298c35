"""All that is generated from result files: reports, model cards, leaderboard, the README's table; written or checked.

Laid out as in this project: a folder ``model_cards`` with ``results/<benchmark>/*.json`` and hand-written ``notes``,
and a ``README.md`` beside it.
"""

import base64
import glob
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from PIL import Image

from zoo.errors import OptionError, ZooError
from zoo.evaluation import cards, choices, guidance, plots, report, results, tables
from zoo.evaluation.candidates import Candidate, candidate_of
from zoo.evaluation.evaluate import find_photos
from zoo.evaluation.films import pages
from zoo.evaluation.films import report as film_report
from zoo.evaluation.films import results as film_results
from zoo.evaluation.films.results import FilmResult
from zoo.evaluation.protocol import Protocol, data_hash, prepare
from zoo.evaluation.results import Result
from zoo.evaluation.speed import page as speed_page
from zoo.evaluation.speed import results as speed_results
from zoo.evaluation.speed.results import Speed

Pictures = Callable[[Sequence[str]], Mapping[str, Mapping[str, Image.Image]]]

_PAYLOAD = re.compile(r"data:[\w.+/-]+;base64,([A-Za-z0-9+/=]*)")
_LOCAL_LINK = re.compile(r"\]\(<?(?!https?:|#|<)([^)>\s#]+)")


def render(
    cards_folder: Path, photos: Path | None = None, *, only: str | None = None, draw: bool = True
) -> dict[Path, str | bytes]:
    """Every generated file: its path, and what it is to hold.

    Cards and the README's table are made where there are notes, as in this project; elsewhere the reports and the
    leaderboard alone.

    Args:
        cards_folder: ``model_cards``.
        photos: Folder of the photos of the benchmark whose pictures are shown; None is the one it was evaluated from.
            With ``only`` a benchmark of films, its clips.
        only: Make the report of this benchmark alone.
        draw: Whether pictures are drawn; without them the texts are the same but for the pictures inside.

    Raises:
        ZooError: Results or notes that are missing or do not fit, photos that are not those of the results.
    """
    every, films = read_benchmarks(cards_folder, only)
    files = pages.files(films, cards_folder / "reports", photos if only in films else None, draw=draw)
    speed = read_speed(cards_folder, only)
    files |= speed_page.files(speed, cards_folder / "reports")
    failures: dict[str, str] = {}  # by label, relative to the cards
    for name, found in every.items():
        folder = cards_folder / "reports" / name
        shown = report.shown(found)
        pictures = pictures_of(found, photos or _folder_of(found)) if shown and draw else None
        texts = report.render(found, title=f"Benchmark {name}", pictures=pictures)
        files |= {folder / file: content for file, content in texts.items()}
        for result in found if shown and name == tables.SHOWN_BENCHMARK else ():
            if result.kind == "model":
                file = f"failures-{Path(result.file_name).stem}.jpg"
                failures[result.label] = f"reports/{name}/{file}"
                if pictures is not None:
                    files[folder / file] = _failures(result, pictures)
    if only is not None:
        return files
    if (guided := cards_folder / "results" / guidance.FILE).exists():
        files[cards_folder / "reports" / "guidance.md"] = guidance.page(guidance.read(guided))
    files |= choices.files(cards_folder)
    with_cards = (cards_folder / "notes").is_dir()
    sections = [film_report.section(name, found) for name, found in films.items()]
    sections += speed_page.sections(speed, "reports")
    files[cards_folder / "README.md"] = tables.leaderboard(every, with_cards=with_cards, sections=sections)
    if with_cards:
        for spec, weights in tables.carded():
            notes = cards.read_notes(cards_folder / "notes", spec.name)
            files[cards_folder / tables.card_name(spec, weights)] = cards.card(spec, weights, every, notes, failures)
        if tables.MAIN_BENCHMARK in every:
            readme = cards_folder.parent / "README.md"
            files[readme] = tables.replaced(_text_of(readme), tables.readme_table(every[tables.MAIN_BENCHMARK]))
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
    every, films = read_benchmarks(cards_folder)
    problems = cards.stale_weights(every) + pages.stale_weights(films) + choices.stale_weights(cards_folder)
    problems += speed_page.stale_weights(read_speed(cards_folder))
    if problems:  # cards cannot be made of them
        return problems
    files = render(cards_folder, draw=False)
    linked: set[Path] = set()
    for path, content in files.items():
        if not path.is_file():
            problems.append(f"{path}: is missing")
        elif isinstance(content, bytes):  # a plot; it differs with the version of matplotlib
            problems += [f"{path}: is no plot"] if b"<svg" not in path.read_bytes() else []
        elif report.stripped(_text_of(path)) != report.stripped(content):
            problems.append(f"{path}: is stale")
        if isinstance(content, str) and path.suffix == ".md":
            links = {path.parent / unquote(link) for link in _LOCAL_LINK.findall(content)}
            linked |= links
            gone = sorted(p for p in links - files.keys() if not p.exists())
            problems += [f"{path}: links to {p}, which is missing" for p in gone]
    for name, found in films.items():
        problems += pages.stale_strips(found, cards_folder / "reports" / name)
    pictures = sorted(p for p in linked if p.suffix == ".jpg" and p.exists())
    problems += [f"{path}: is no picture" for path in pictures if not _is_picture(path)]
    for page in (path for path in files if path.name == "index.html" and path.is_file()):
        own = {_encoded(p) for p in page.parent.iterdir() if p.suffix in {".svg", ".jpg"}}
        if not {payload for payload in _PAYLOAD.findall(_text_of(page)) if payload} <= own:
            problems.append(f"{page}: holds other pictures than the files beside it")
    expected = files.keys() | linked
    reports = cards_folder / "reports"
    there = [*cards_folder.glob("*.md"), *(p for p in reports.rglob("*") if p.is_file())]
    problems += [f"{p}: belongs to nothing; delete it" for p in sorted(there) if p not in expected and p.name[0] != "."]
    return problems


def read_benchmarks(
    cards_folder: Path, only: str | None = None
) -> tuple[dict[str, list[Result]], dict[str, list[FilmResult]]]:
    """The results by benchmark, of photos and of films; those of `colorzoo bench` are no benchmark.

    Raises:
        ZooError: There are none, or one cannot be read.
        OptionError: There is no benchmark called ``only``.
    """
    folder = cards_folder / "results"
    names = sorted(path.name for path in folder.glob("*/") if any(path.glob("*.json")))
    if not names:
        raise ZooError(f"{folder}: no results", remedy="make some with `colorzoo evaluate`")
    if only is not None and only not in names:
        raise OptionError(f"no results of benchmark {only!r}", expected=" or ".join(names))
    chosen = {name: folder / name for name in names if only in (None, name)}
    chosen = {name: path for name, path in chosen.items() if not speed_results.holds_speed(path)}
    films = [name for name, path in chosen.items() if film_results.holds_films(path)]
    photos = {name: results.read_all(path) for name, path in chosen.items() if name not in films}
    return photos, {name: film_results.read_all(chosen[name]) for name in films}


def read_speed(cards_folder: Path, only: str | None = None) -> dict[str, dict[str, Speed]]:
    """What `colorzoo bench` measured, by folder of results and by name.

    Raises:
        ZooError: One cannot be read.
    """
    folders = sorted((cards_folder / "results").glob(f"{glob.escape(only)}/" if only else "*/"))
    return {path.name: speed_results.read_all(path) for path in folders if speed_results.holds_speed(path)}


def pictures_of(
    found: Sequence[Result], photos: Path | Mapping[str, Path], models: Sequence[Candidate] | None = None
) -> Pictures:
    """What draws the pictures of photos again: the grey input, each model's answer, the truth.

    Args:
        found: The results whose models are asked.
        photos: The photos' folder, which is checked to hold those of the results; or the photos by name.
        models: The models themselves; None loads them again by what the results say.

    Raises:
        ZooError: They are others.
    """
    by_name = dict(photos) if isinstance(photos, Mapping) else find_photos(photos)
    if isinstance(photos, Path) and data_hash(list(by_name.values()), list(by_name)) != found[0].data["sha256"]:
        raise ZooError(
            f"{photos}: not the photos that benchmark {found[0].benchmark!r} was evaluated on",
            remedy="give their folder with --data, or evaluate again",
        )
    protocol = Protocol.of(found[0].protocol)

    @cache
    def asked() -> list[Candidate]:
        labels = [r.label for r in found if r.kind == "model"]
        if models is not None:
            return [candidate for candidate in models if candidate.label in labels]
        return [candidate_of(r) for r in found if r.kind == "model"]

    @cache
    def of_photo(name: str) -> dict[str, Image.Image]:
        picture = prepare(by_name[name], protocol)
        answers = {candidate.label: candidate.colorize(picture).rgb for candidate in asked()}
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


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ZooError(f"{path}: cannot be read", found=error) from error


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _is_picture(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            image.load()
    except OSError:
        return False
    return True
