"""The tab for photos: layout and wiring."""

import secrets
import tempfile
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

from demo import limits, models, parts, photos, snippets
from demo.photos import Settings
from zoo.evaluation.metrics import METRICS

EXAMPLES = Path(__file__).parent / "examples"
EXAMPLE_NAMES = (
    *("totara-tree", "mill-workers", "jicarilla", "parthenon", "lake-george", "washington-square"),  # black and white
    *("dog", "aizkorri", "summer-palace", "coffee"),  # in color
)
KINDS = (".tif", ".tiff", ".avif", ".bmp", ".webp")  # which not every browser takes for pictures
SIZES = (128, 192, 256, 320, 384, 512, 768)
OWN = "the model's own"
LIMITS = f"<small>{limits.PHOTOS}; {limits.PHOTOS_AT_ONCE} photos at once.</small>"
CAPTION = "Against the original, at 512 pixels: decibels closer than grey, mean color difference, strength of colors"
_VIEWER = Path(__file__).parent
_METRICS = ("gain", "ciede2000", "cf_share")


# The server has made a file; the page fetches it.
FETCH = """
watch('value', () => {
  for (const asked of document.querySelectorAll('#results button[aria-busy=true]')) asked.removeAttribute('aria-busy');
  const file = props.value && props.value.file;
  if (!file) return;
  const link = document.createElement('a');
  [link.href, link.download] = [file.url, file.orig_name];
  document.body.append(link);
  link.click();
  link.remove();
});
"""


@dataclass(eq=False)
class Run:
    """What a visitor asked for last, and how far it is.

    Attributes:
        sources: The photos.
        chosen: The names of the models, in the order of the panels.
        settings: Of which the saturation is the one that is wanted now.
        board: What the page shows of it, as `viewer.js` reads it.
        stopped: Whether the visitor has stopped it.
    """

    sources: list[str]
    chosen: list[str]
    settings: Settings
    board: dict[str, Any]
    stopped: bool = False


def add_photo_tab(done: gr.State) -> None:
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
            examples = gr.Dataset(
                components=[gr.Image(render=False)],
                samples=[[str(EXAMPLES / f"{name}.jpg")] for name in EXAMPLE_NAMES],
                samples_per_page=len(EXAMPLE_NAMES),
                label="Or try one of these",
                elem_id="examples",
            )
        with gr.Column(min_width=320):
            job = parts.model_choice("")
            with gr.Accordion("More settings", open=False):
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
            job.button.render()  # type: ignore[no-untyped-call]
    empty = parts.nothing_yet("Choose photos, tick the models, press <b>Colorize</b>.")
    view = gr.HTML(
        {},
        html_template="",
        css_template=(_VIEWER / "viewer.css").read_text(encoding="utf-8"),
        js_on_load=(_VIEWER / "viewer.js").read_text(encoding="utf-8"),
        apply_default_css=False,
        elem_id="results",
    )
    fetch = gr.HTML({}, html_template="", js_on_load=FETCH, elem_id="fetch")
    last = gr.State(None)

    def prepare(sources: Sequence[Any] | None) -> Iterator[list[str]]:
        yield from photos.prepare([file for file, _ in sources or ()])

    def show(
        sources: Sequence[Any] | None, ticked: list[str], saturation: float, warmth: float, side: int
    ) -> Iterator[dict[Any, Any]]:
        """Updates of the page, as results come in."""
        wanted = [name for name in models.choices() if name in ticked]  # in the order that they are offered in
        files = photos.check_job([file for file, _ in sources or ()], wanted)
        run = _started(list(files), wanted, Settings(saturation, warmth or None, side or None))
        job = snippets.Job(False, [Path(file).name for file in run.sources], wanted, run.settings)
        for board in _boards(run, view):
            yield {empty: gr.update(visible=False), view: board, last: run, done: job}

    def paint_again(run: Run | None, saturation: float) -> Iterator[dict[str, Any]]:
        if run:
            run.settings = run.settings._replace(saturation=saturation)
            run.stopped = False
            yield from _boards(run, view)

    def want(run: Run | None, saturation: float) -> None:
        """What is being painted at another saturation ends."""
        if run:
            run.settings = run.settings._replace(saturation=saturation)

    def stop(run: Run | None) -> None:
        if run:
            run.stopped = True

    def save(run: Run | None, event: gr.EventData) -> Iterator[dict[str, Any]]:
        run, source, name = _asked(run, event._data)
        with tempfile.TemporaryDirectory() as folder:
            suffix = str(event._data.get("suffix"))
            yield _file(photos.full(source, name, run.settings, suffix, Path(folder)))

    def save_all(run: Run | None) -> Iterator[dict[str, Any]]:
        if run is None:
            raise gr.Error(photos.NO_PHOTO, print_exception=False)
        with tempfile.TemporaryDirectory() as folder:
            yield _file(photos.archive(run.sources, run.chosen, run.settings, Path(folder)))

    quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    painting: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "paint", **quiet}
    job.button.click(
        show,
        [drop, job.models, job.saturation, temperature, size],
        [empty, view, last, done],
        show_progress_on=empty,
        scroll_to_output=True,
        concurrency_limit=1,
        concurrency_id="model",
        api_visibility="private",
    )
    job.saturation.input(want, [last, job.saturation], None, queue=False, trigger_mode="multiple", **quiet)
    job.saturation.input(paint_again, [last, job.saturation], view, trigger_mode="always_last", **painting)
    view.stop(stop, last, None, queue=False, **quiet)
    view.select(save, last, fetch, trigger_mode="multiple", **painting)
    view.submit(save_all, last, fetch, **painting)
    examples.click(lambda sample: sample, examples, drop, **quiet)
    drop.upload(
        prepare,
        drop,
        drop,
        concurrency_limit=2,
        api_visibility="private",
    )
    _add_api()


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


def _boards(run: Run, view: gr.HTML) -> Iterator[dict[str, Any]]:
    """What the page shows of a run, whenever that changes; the photos are colored meanwhile.

    Ends without a word where another saturation is wanted meanwhile: then another goes on.
    """
    settings, board = run.settings, run.board
    tasks = [panel for photo in board["photos"] for panel in photo["panels"] if panel["model"]]
    for photo in board["photos"]:
        photo["figures"]["rows"] = []
        for panel in photo["panels"]:
            panel |= {"state": "waiting" if panel["model"] else panel["state"], "note": ""}
    results = photos.colorize(run.sources, run.chosen, settings, lambda: run.stopped or run.settings != settings)
    began = time.perf_counter()
    while True:
        waiting = [panel for panel in tasks if panel["state"] == "waiting"]
        if waiting:
            waiting[0]["state"] = "working"
        done = sum(panel["state"] in ("done", "failed") for panel in tasks)
        board |= {"busy": True, "done": done, "of": len(tasks), "status": f"{done} of {len(tasks)}"}
        yield deepcopy(board)
        result = next(results, None)
        if run.settings != settings:
            return
        if result is None:
            break
        took, began = time.perf_counter() - began, time.perf_counter()
        _enter(board["photos"][result.photo], result, view, took)
    for panel in tasks:
        if panel["state"] in ("waiting", "working"):
            panel["state"] = "done" if "file" in panel else "stopped"
    good = sum(panel["state"] == "done" for panel in tasks)
    word = "Stopped" if run.stopped else "Done"
    board |= {"busy": False, "status": f"{word}: {good} of {len(tasks)} in color."}
    yield deepcopy(board)


def _enter(photo: dict[str, Any], result: photos.Result, view: gr.HTML, took: float) -> None:
    """Put a result where the page shows it; ``took`` is the seconds that it took."""
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
    kept = view.move_resource_to_block_cache(str(result.path))  # at once, not with every update
    panel |= {"state": "done", "file": FileData(path=str(kept)).model_dump()}
    panel["note"] = f"{took:.1f} s" if panel["model"] else ""
    if result.figures:
        figures = (f"{result.figures[m]:.{METRICS[m].decimals}f} {METRICS[m].unit}".strip() for m in _METRICS)
        photo["figures"]["rows"].append([panel["label"], *figures])


def _asked(run: Run | None, what: Any) -> tuple[Run, str, str]:
    """The run, the photo and the name of the panel that a visitor wants to have.

    Raises:
        gr.Error: There is none such.
    """
    number, name = what.get("photo"), what.get("key")
    if run is None or number not in range(len(run.sources)) or name not in run.chosen:
        raise gr.Error("There is no such picture any more. Color the photo again.", print_exception=False)
    return run, run.sources[number], name


def _file(path: Path) -> dict[str, Any]:
    return {"file": FileData(path=str(path), orig_name=path.name).model_dump(), "at": secrets.token_hex(4)}


def _add_api() -> None:
    """The endpoints ``/colorize``, ``/compare`` and ``/models``."""
    first = models.offered()[0].name
    queued: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
    with gr.Row(visible=False):
        picture = parts.as_uploaded(gr.Image(type="filepath", format="png", sources=["upload"], label="picture"))
        model = gr.Textbox(first, label="model")
        style = gr.Textbox("", label="style")
        several = gr.JSON(models.default_choices(), label="models")
        saturation = gr.Number(1.0, label="saturation")
        temperature = gr.Number(None, label="temperature")
        size = gr.Number(None, label="working_size", precision=0)
        one, all_of_them = gr.Image(type="filepath", format="png"), gr.Gallery(format="png", type="filepath")
        gr.Button().click(
            photos.colorize_one,
            [picture, model, style, saturation, temperature, size],
            one,
            api_name="colorize",
            **queued,
        )
        gr.Button().click(photos.compare, [picture, several, saturation], all_of_them, api_name="compare", **queued)
        table = gr.Dataframe(headers=models.table()[0], type="array")
        gr.Button().click(lambda: models.table()[1], None, table, api_name="models", queue=False)
