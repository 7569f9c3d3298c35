"""The tab for photos: layout and wiring."""

import secrets
import tempfile
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.data_classes import FileData

from demo import limits, models, parts, photos, snippets
from demo.photos import Settings
from demo.refusals import refusal
from zoo.evaluation.metrics import METRICS

EXAMPLES = Path(__file__).parent / "examples"
EXAMPLE_NAMES = (
    *("totara-tree", "mill-workers", "jicarilla", "parthenon", "lake-george", "washington-square"),  # black and white
    *("dog", "aizkorri", "summer-palace", "coffee"),  # in color
)
KINDS = (".tif", ".tiff", ".avif", ".bmp", ".webp")  # which not every browser takes for pictures
SIZES = (128, 192, 256, 320, 384, 512, 768)
OWN = "the model's own"
VIEWS = [("1: as it is", 1), ("2: also mirrored", 2), ("4: also larger", 4)]
LIMITS = f"<small>{limits.PHOTOS}; {limits.PHOTOS_AT_ONCE} photos at once.</small>"
CAPTION = "Against the original, at 512 pixels: decibels closer than grey, mean color difference, strength of colors"
_METRICS = ("gain", "ciede2000", "cf_share")


# What is waited for is in view.
SCROLL = """(...given) => {
  document.querySelector('.viewer:not([hidden]), .empty')?.scrollIntoView({block: 'nearest', behavior: 'smooth'});
  return given;
}"""


@dataclass(eq=False)
class Run:
    """What a visitor asked for last, and how far it is.

    Attributes:
        sources: The photos.
        chosen: The names of the models, in the order of the panels.
        settings: Of which the saturation is the one that is wanted now.
        board: What the page shows of it, as `viewer.js` reads it.
        shown: The photo that is in view.
        stopped: Whether the visitor has stopped it.
        over: Whether another run has taken its place on the page.
    """

    sources: list[str]
    chosen: list[str]
    settings: Settings
    board: dict[str, Any]
    shown: int = 0
    stopped: bool = False
    over: bool = False


class PhotoTab(NamedTuple):
    """What other tabs need of this one.

    Attributes:
        view: Tells, as ``select``, with which result the visitor wants to go on.
        last: Holds the `Run` that is shown.
    """

    view: gr.HTML
    last: gr.State


def add_photo_tab(done: gr.State) -> PhotoTab:
    """What is in the tab, and the endpoints ``/colorize``, ``/compare`` and ``/models``.

    Args:
        done: Takes the visitor's last `snippets.Job`.
    """
    with gr.Row():
        with gr.Column(min_width=320):
            drop = gr.Gallery(
                label="Your photos",
                type="filepath",
                format="png",
                file_types=["image", *KINDS],
                columns=3,
                height=250,
                object_fit="contain",
                buttons=[],
                elem_id="photos",
            )
            gr.Markdown(LIMITS)
            examples = example_photos("examples")
        with gr.Column(min_width=320):
            job = parts.model_choice("")
            with gr.Accordion("More settings, for the next coloring", open=False):
                size = gr.Dropdown(
                    [(OWN, 0), *((f"{side} pixels", side) for side in SIZES)],
                    value=0,
                    label="Working size",
                    info="What the network sees of the photo; the result has the photo's own size",
                )
                temperature = gr.Slider(
                    0,
                    limits.TEMPERATURES[1],
                    value=0,
                    step=limits.TEMPERATURES[0],
                    label="Temperature",
                    info="Of vivid styles and classification: low is bold, high is cautious; 0 is the model's own",
                )
                views = gr.Dropdown(
                    VIEWS,
                    value=1,
                    label="Views",
                    info="The mean of what the model answers to several views: steadier, and as many times slower",
                )
            job.button.render()  # type: ignore[no-untyped-call]
    empty = parts.nothing_yet("Choose photos, tick the models, press <b>Colorize</b>.")
    view = gr.HTML(
        {},
        html_template="",
        css_template=parts.source("viewer.css"),
        js_on_load=parts.source("elements.js", "viewer.js"),
        apply_default_css=False,
        elem_id="results",
    )
    fetch = gr.HTML({}, html_template="", js_on_load=parts.FETCH, elem_id="fetch")
    last = gr.State(None)

    def prepare(sources: Sequence[Any] | None) -> Iterator[list[str]]:
        yield from photos.prepare([file for file, _ in sources or ()])

    def show(
        sources: Sequence[Any] | None,
        ticked: list[str],
        saturation: float,
        heat: float,
        side: int,
        count: int,
        before: Run | None,
    ) -> Iterator[dict[Any, Any]]:
        """Updates of the page, as results come in."""
        wanted = [name for name in models.choices() if name in ticked]  # in the order that they are offered in
        files = photos.check_job([file for file, _ in sources or ()], wanted)
        run = _started(list(files), wanted, Settings(saturation, heat or None, side or None, count))
        if before:
            before.over = True
        for board in _colored(run, view):
            yield {empty: gr.update(visible=False), view: board, last: run, done: _job(run)}

    def paint_again(run: Run | None, saturation: float) -> Iterator[dict[Any, Any]]:
        if run:
            run.settings = run.settings._replace(saturation=saturation)
            for board in _painted(run, view):
                yield {view: board, done: _job(run)}

    def turn_to(run: Run | None, event: gr.EventData) -> Iterator[dict[Any, Any]]:
        """Another photo is in view, which may have been painted at another saturation."""
        number = parts.told(event, "photo")
        if run and number in range(len(run.sources)):
            run.shown = number
            for board in _painted(run, view):
                yield {view: board}

    def stop(run: Run | None) -> None:
        if run:
            run.stopped = True

    def save(run: Run | None, event: gr.EventData) -> Iterator[dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder, parts.fetching(event) as file:
            number, name = parts.told(event, "photo"), parts.told(event, "key")
            if run is None or number not in range(len(run.sources)) or name not in run.chosen:
                raise refusal("There is no such picture any more. Color the photo again.")
            path = photos.full(run.sources[number], name, run.settings, str(parts.told(event, "suffix")), Path(folder))
            file["file"] = FileData(path=str(path), orig_name=path.name).model_dump()
            yield file
        if "file" not in file:
            yield file

    def save_all(run: Run | None, event: gr.EventData) -> Iterator[dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder, parts.fetching(event) as file:
            wanted = _finished(run) if run else []
            if run is None or not wanted:
                raise refusal(photos.NO_PHOTO)
            path = photos.archive(wanted, run.settings, Path(folder))
            file["file"] = FileData(path=str(path), orig_name=path.name).model_dump()
            yield file
        if "file" not in file:
            yield file

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    painting: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "paint", **quiet}
    job.button.click(
        show,
        [drop, job.models, job.saturation, temperature, size, views, last],
        [empty, view, last, done],
        js=SCROLL,
        show_progress_on=empty,
        concurrency_limit=1,
        concurrency_id="model",
        api_visibility="private",
    )
    job.saturation.input(paint_again, [last, job.saturation], [view, done], trigger_mode="always_last", **painting)
    view.expand(turn_to, last, view, trigger_mode="multiple", **painting)  # Gradio would send the first one again
    view.stop(stop, last, None, queue=False, **quiet)
    view.download(save, last, fetch, trigger_mode="multiple", **painting)
    view.submit(save_all, last, fetch, **painting)
    examples.click(lambda sample: sample, examples, drop, queue=False, **quiet)
    drop.upload(
        prepare,
        drop,
        drop,
        concurrency_limit=2,
        api_visibility="private",
    )
    _add_api()
    return PhotoTab(view, last)


def example_photos(elem_id: str) -> gr.Dataset:
    """The photos that come with the app, to choose from."""
    return gr.Dataset(
        components=[gr.Image(render=False)],
        samples=[[str(EXAMPLES / f"{name}.jpg")] for name in EXAMPLE_NAMES],
        samples_per_page=len(EXAMPLE_NAMES),
        label="Or try one of these",
        elem_classes="examples",
        elem_id=elem_id,
    )


def _started(sources: list[str], chosen: list[str], settings: Settings) -> Run:
    labels = {photos.BEFORE: "Black and white", **{name: models.parse(name).label for name in chosen}}
    board = {
        "run": secrets.token_hex(4),
        "photos": [
            {
                "name": Path(source).name,
                "panels": [
                    {"key": key, "label": label, "model": key != photos.BEFORE, "state": "waiting"}
                    for key, label in labels.items()
                ],
                "figures": {"caption": CAPTION, "head": ["", *(METRICS[m].title for m in _METRICS)], "rows": []},
            }
            for source in sources
        ],
    }
    return Run(sources, chosen, settings, board)


def _job(run: Run) -> snippets.Job:
    return snippets.Job(False, [Path(file).name for file in run.sources], run.chosen, run.settings)


def _colored(run: Run, view: gr.HTML) -> Iterator[dict[str, Any]]:
    """What the page shows of a run, whenever that changes; the photos are colored meanwhile."""
    board = run.board
    tasks = [panel for photo in board["photos"] for panel in photo["panels"] if panel["model"]]
    settings = run.settings
    results = photos.colorize(run.sources, run.chosen, settings, lambda: run.stopped or run.over)
    while not run.over:
        waiting = [panel for panel in tasks if panel["state"] == "waiting"]
        if waiting:
            waiting[0]["state"] = "working"
        count = sum(panel["state"] in ("done", "failed") for panel in tasks)
        board |= {"busy": True, "done": count, "of": len(tasks), "status": f"{count} of {len(tasks)}"}
        yield deepcopy(board)
        result = next(results, None)
        if result is None:
            break
        _enter(board["photos"][result.photo], result, view, settings)
    for panel in tasks:
        if panel["state"] in ("waiting", "working"):
            panel["state"] = "stopped"
    good = sum(panel["state"] == "done" for panel in tasks)
    word = "Stopped" if run.stopped else "Done"
    board |= {"busy": False, "status": f"{word}: {good} of {len(tasks)} in color."}
    yield from _painted(run, view)
    if not run.over:
        yield deepcopy(board)


def _painted(run: Run, view: gr.HTML) -> Iterator[dict[str, Any]]:
    """What the page shows, after each panel in view that was painted at another saturation than is wanted now."""
    while not run.over:
        photo = run.board["photos"][run.shown]
        settings = run.settings
        stale = [
            panel["key"]
            for panel in photo["panels"]
            if panel["model"] and panel["state"] == "done" and panel["saturation"] != settings.saturation
        ]
        if not stale:
            return
        for result in photos.colorize([run.sources[run.shown]], stale[:1], settings):
            if result.name == stale[0] or not result.name:
                _enter(photo, result, view, settings)
        if not run.over:
            yield deepcopy(run.board)


def _finished(run: Run) -> list[tuple[str, str]]:
    """The photos, and by which model, that are in color."""
    return [
        (source, panel["key"])
        for source, photo in zip(run.sources, run.board["photos"], strict=True)
        for panel in photo["panels"]
        if panel["model"] and panel["state"] == "done"
    ]


def _enter(photo: dict[str, Any], result: photos.Result, view: gr.HTML, settings: Settings) -> None:
    """Put a result where the page shows it."""
    panels = {panel["key"]: panel for panel in photo["panels"]}
    if not result.name:
        photo["problem"] = result.problem
        for panel in panels.values():
            panel["state"] = "failed"
        return
    if result.name == photos.ORIGINAL and result.name not in panels:
        panels[result.name] = {"key": result.name, "label": "Original", "model": False}
        photo["panels"].append(panels[result.name])
    panel = panels[result.name]
    if result.path is None:
        panel |= {"state": "failed", "note": result.problem}
        return
    photo["width"], photo["height"] = result.size
    photo["transparent"] = result.path.suffix == ".png"
    kept = view.move_resource_to_block_cache(str(result.path))  # at once, not with every update
    panel |= {"state": "done", "file": FileData(path=str(kept)).model_dump(), "saturation": settings.saturation}
    if result.seconds is not None:
        panel["note"] = f"{result.seconds:.1f} s"
    if result.figures:
        figures = [f"{result.figures[m]:.{METRICS[m].decimals}f} {METRICS[m].unit}".strip() for m in _METRICS]
        rows = {row[0]: row for row in photo["figures"]["rows"]} | {panel["label"]: [panel["label"], *figures]}
        photo["figures"]["rows"] = [rows[p["label"]] for p in photo["panels"] if p["label"] in rows]


def _add_api() -> None:
    """The endpoints ``/colorize``, ``/compare`` and ``/models``."""
    first = models.parse(models.default_choices()[0]).spec.name
    queued: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
    with gr.Row(visible=False):
        picture = parts.as_uploaded(gr.Image(type="filepath", format="png", sources=["upload"], label="picture"))
        model = gr.Textbox(first, label="model")
        style = gr.Textbox("", label="style")
        several = gr.JSON(models.default_choices(), label="models")
        saturation = gr.Number(1.0, label="saturation")
        temperature = gr.Number(None, label="temperature")
        size, views = gr.Number(None, label="working_size"), gr.Number(1, label="views")
        one, all_of_them = gr.Image(type="filepath", format="png"), gr.Gallery(format="png", type="filepath")
        gr.Button().click(
            photos.colorize_one,
            [picture, model, style, saturation, temperature, size, views],
            one,
            api_name="colorize",
            **queued,
        )
        gr.Button().click(photos.compare, [picture, several, saturation], all_of_them, api_name="compare", **queued)
        table = gr.Dataframe(headers=models.table()[0], type="array")
        gr.Button().click(lambda: models.table()[1], None, table, api_name="models", queue=False)
