"""The tab for touching up one picture: layout and wiring."""

import tempfile
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakValueDictionary

import gradio as gr
from gradio.data_classes import FileData
from PIL import Image

from demo import limits, models, parts, snippets, touch_api, touches, touching
from demo.photo_tab import KINDS, OWN, SIZES, VIEWS, PhotoTab, example_photos
from demo.photos import Settings
from demo.refusals import in_short, refusal
from demo.touches import Touches
from demo.touching import Sitting

LIMITS = f"<small>{limits.PHOTOS}.</small>"
EMPTY = """
<div class="empty">
  <p><b>Open a photo</b>, or press <b>Touch up</b> below a result in the tab Photos.</p>
  <p>Then paint colors on it: similar places follow. You can also choose among other colorings of it, take the colors of
  another picture, and see where the model is unsure.</p>
</div>
"""
_open: WeakValueDictionary[str, Sitting] = WeakValueDictionary()  # by session, the last one
# What is waited for is in view.
SCROLL = """(...given) => {
  const page = document.querySelector('#touch');
  if (page?.getBoundingClientRect().top < 0) page.scrollIntoView({block: 'start', behavior: 'smooth'});
  return given;
}"""


class _Page(NamedTuple):
    """The parts of the page that a picture that is opened changes."""

    empty: gr.HTML
    editor: gr.HTML
    table: gr.State
    done: gr.State


class TouchTab(NamedTuple):
    """What other tabs need of this one.

    Attributes:
        page: What a picture that is opened changes; ``editor`` tells, as ``apply``, that a clip is to have its colors.
        settings: The model, saturation, working size and views, by which a picture is colored.
        open: Updates of ``page``, as `_opened` makes them.
    """

    page: _Page
    settings: list[Any]
    open: Callable[..., dict[Any, Any]]


def add_touch_tab(done: gr.State, tabs: gr.Tabs, photo: PhotoTab) -> TouchTab:
    """What is in the tab, and the endpoints ``/touch_up``, ``/variants`` and ``/certainty``.

    Args:
        done: Takes the visitor's last `snippets.Job`.
        tabs: Of which this one is called ``touch``.
        photo: From where pictures come too.
    """
    with gr.Row(elem_id="touch"):
        with gr.Column(scale=3, min_width=320):
            parts.heading("Your picture")
            empty = gr.HTML(EMPTY)
            editor = gr.HTML(
                {},
                html_template="",
                css_template=parts.source("touch.css"),
                js_on_load=parts.source("elements.js", "touch.js", "touch_sheet.js"),
                apply_default_css=False,
                elem_id="editor",
            )
            fetch = gr.HTML({}, html_template="", js_on_load=parts.FETCH, elem_id="fetch-touched")
        with gr.Column(scale=1, min_width=280):
            drop = parts.as_uploaded(
                gr.File(label="Open a photo", file_types=["image", *KINDS], height=160, elem_id="touch-drop")
            )
            gr.Markdown(LIMITS)
            examples = example_photos("touch-examples")
            model = gr.Dropdown(
                [(choice.label, name) for name, choice in models.choices().items()],
                value=models.default_choices()[0],
                label="Model",
                elem_id="touch-model",
            )
            saturation = gr.Slider(
                0, 2, value=1, step=0.05, label="Saturation", info="Of what the model gives, not of what you paint"
            )
            with gr.Accordion("More settings", open=False):
                size = gr.Dropdown(
                    [(OWN, 0), *((f"{side} pixels", side) for side in SIZES)], value=0, label="Working size"
                )
                views = gr.Dropdown(VIEWS, value=1, label="Views")
            reference = parts.as_uploaded(
                gr.File(
                    label="Take colors from a picture",
                    file_types=["image", *KINDS],
                    height=160,
                    elem_id="touch-reference",
                )
            )
    table = gr.State(None)
    page = _Page(empty, editor, table, done)

    def open_file(
        source: str | None, name: str, factor: float, side: int, count: int, before: Sitting | None, request: gr.Request
    ) -> dict[Any, Any]:
        return _opened(page, source, name, Settings(factor, None, side or None, count), before, request)

    def open_example(
        sample: list[str], name: str, factor: float, side: int, count: int, before: Sitting | None, request: gr.Request
    ) -> dict[Any, Any]:
        return open_file(sample[0], name, factor, side, count, before, request)

    def go_on(run: Any, before: Sitting | None, event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        """With a picture of the tab Photos, as it was colored there."""
        number, name = parts.told(event, "photo"), parts.told(event, "key")
        if run is None or number not in range(len(run.sources)) or name not in run.chosen:
            raise refusal("There is no such picture any more. Color the photo again.")
        wanted = run.settings
        return {
            **_opened(page, run.sources[number], name, wanted, before, request),
            model: name,
            saturation: wanted.saturation,
            size: wanted.working_size or 0,
            views: wanted.views,
        }

    def edit(sitting: Sitting | None, event: gr.EventData) -> dict[Any, Any]:
        sitting = _here(sitting, event)

        with in_short(sitting.source):
            number = touches.whole(parts.told(event, "number"), "request")

        def work() -> None:
            _paint(sitting, touches.read(parts.told(event, "touches")))

        return {editor: _tried(sitting, work, number=number), done: _job(sitting)}

    def set_saturation(sitting: Sitting | None, factor: float) -> dict[Any, Any]:
        if sitting is None:
            return {editor: gr.skip()}
        sitting.settings = sitting.settings._replace(saturation=factor)
        return {editor: _tried(sitting, lambda: _paint(sitting)), done: _job(sitting)}

    def set_model(sitting: Sitting | None, name: str, side: int, count: int) -> dict[Any, Any]:
        """Another model, or how it looks at the picture: what was told stays."""
        if sitting is None:
            return {editor: gr.skip()}
        sitting.choice = name
        sitting.settings = sitting.settings._replace(working_size=side or None, views=count)
        sitting.stopped = True
        with sitting.lock:
            sitting.board |= {"sure": None, "variants": None, "likely": None, "label": models.parse(name).label}
        return {editor: _tried(sitting, lambda: _paint(sitting)), done: _job(sitting)}

    def vary(sitting: Sitting | None, event: gr.EventData) -> Iterator[dict[str, Any]]:
        sitting = _here(sitting, event)
        with in_short(sitting.source):
            seed = touches.whole(parts.told(event, "seed"), "seed")
        yield from _varied(sitting, seed, editor)

    def doubt(sitting: Sitting | None, event: gr.EventData) -> dict[str, Any]:
        sitting = _here(sitting, event)
        return _tried(sitting, lambda: sitting.board.update(sure=_file(editor, touching.sureness(sitting))))

    def suggest(sitting: Sitting | None, event: gr.EventData) -> dict[str, Any]:
        sitting = _here(sitting, event)

        def work() -> None:
            x, y = touches.place(parts.told(event, "at"), sitting.size)
            sitting.board["likely"] = {"at": [x, y], "colors": touching.likely(sitting, x, y)}

        return _tried(sitting, work)

    def refer(path: str | None, sitting: Sitting | None) -> dict[str, Any]:
        if sitting is None or path is None:
            raise refusal("Open a photo first, then add the picture that its colors come from.")
        name, thumbnail = touching.refer(sitting, path)
        known = {each: at for each, at in sitting.board["references"].items() if each in sitting.references}
        return _board(sitting, references={**known, name: _file(editor, thumbnail)}, added=name)

    def stop(sitting: Sitting | None) -> None:
        if sitting:
            sitting.stopped = True

    def save(sitting: Sitting | None, event: gr.EventData) -> Iterator[dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder, parts.fetching(event) as file:
            opened, told = told_of(sitting, event)
            path = touching.full(opened, told, str(parts.told(event, "suffix")), Path(folder))
            file["file"] = FileData(path=str(path), orig_name=path.name).model_dump()
            yield file
        if "file" not in file:
            yield file

    hidden: dict[str, Any] = {"api_visibility": "private"}
    quiet: dict[str, Any] = {"show_progress": "hidden", **hidden}
    heavy: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "model"}
    light: dict[str, Any] = {"concurrency_limit": 2, "concurrency_id": "touch", **quiet}
    told = [model, saturation, size, views, table]
    opening: dict[str, Any] = {"js": SCROLL, "show_progress_on": [empty, editor], **heavy, **hidden}
    drop.upload(open_file, [drop, *told], [*page], **opening)
    drop.upload(lambda: None, None, drop, queue=False, **quiet)
    examples.click(open_example, [examples, *told], [*page], **opening)
    photo.view.select(lambda: gr.Tabs(selected="touch"), None, tabs, queue=False, **quiet)
    photo.view.select(go_on, [photo.last, table], [*page, model, saturation, size, views], **opening)
    editor.edit(edit, table, [editor, done], trigger_mode="multiple", **light)
    saturation.input(set_saturation, [table, saturation], [editor, done], trigger_mode="always_last", **light)
    for each in (model, size, views):
        each.input(
            set_model,
            [table, model, size, views],
            [editor, done],
            trigger_mode="always_last",
            show_progress_on=editor,
            **heavy,
            **hidden,
        )
    editor.retry(vary, table, editor, **heavy, **quiet)
    editor.expand(doubt, table, editor, **heavy, **quiet)
    editor.select(suggest, table, editor, trigger_mode="multiple", **heavy, **quiet)
    editor.stop(stop, table, None, queue=False, **quiet)
    editor.download(save, table, fetch, trigger_mode="multiple", concurrency_limit=2, concurrency_id="paint", **quiet)
    reference.upload(refer, [reference, table], editor, show_progress_on=reference, **heavy, **hidden)
    reference.upload(lambda: None, None, reference, queue=False, **quiet)
    touch_api.add_endpoints()
    return TouchTab(page, [model, saturation, size, views], partial(_opened, page))


def leave(request: gr.Request) -> None:
    """The page was closed: what is kept of its pictures goes, and is made again if that was a mistake."""
    if request.session_hash:
        touching.leave(request.session_hash)
        if sitting := _open.pop(request.session_hash, None):
            sitting.board["picture"] = ""


def told_of(sitting: Sitting | None, event: gr.EventData) -> tuple[Sitting, Touches]:
    """The picture that an event is about, and what it tells of its colors.

    Raises:
        gr.Error: It is not open any more, or that is not understood.
    """
    opened = _here(sitting, event)
    with in_short(opened.source):
        return opened, touches.read(parts.told(event, "touches"))


def _opened(
    page: _Page,
    source: str | None,
    name: str,
    settings: Settings,
    before: Sitting | None,
    request: gr.Request,
    told: Touches | None = None,
    frame: tuple[str, float] | None = None,
) -> dict[Any, Any]:
    sitting = touching.opened(source, name, settings, request.session_hash)
    if before:
        before.stopped = True
        touching.leave(*before.owner)
    picture = touching.small(sitting)
    grey = models.named(models.BASELINE).colorize_array(picture.pixels)
    sitting.board = {
        "run": sitting.owner.picture,
        "name": Path(sitting.source).name,
        "label": models.parse(name).label,
        "size": sitting.size,
        "transparent": picture.alpha is not None,
        "grey": _file(page.editor, Image.fromarray(grey)),
        "sure": None,
        "variants": None,
        "likely": None,
        "references": {},
        "added": None,
        "told": None,
        "film": frame and f"{Path(frame[0]).name} at {frame[1]:g} s",
        "number": 0,
        "stamp": 0,
    }
    sitting.frame = frame
    with in_short(sitting.source):
        if told and told.reference:
            reference, thumbnail = touching.refer(sitting, told.reference)
            told = told._replace(reference=reference)
            sitting.board["references"] = {reference: _file(page.editor, thumbnail)}
        _paint(sitting, told)
    sitting.board["told"] = told and touches.as_sent(told)
    _open[sitting.owner.session] = sitting
    return {
        page.empty: gr.update(visible=False),
        page.editor: deepcopy(sitting.board),
        page.table: sitting,
        page.done: _job(sitting),
    }


def _paint(sitting: Sitting, told: Touches | None = None) -> None:
    """Show the picture as it was told now, or before."""
    pixels = touching.painted(sitting, sitting.touches if told is None else told)
    sitting.board["picture"] = touching.data_url(pixels, touching.small(sitting).alpha)


def _tried(sitting: Sitting, work: Callable[[], None], **changes: Any) -> dict[str, Any]:
    """What the page shows once the work is done, or why it is not."""
    problem = ""
    with sitting.lock:
        try:
            with in_short(sitting.source):
                work()
        except gr.Error as error:
            problem = error.message
        return _board(sitting, problem=problem, **changes)


def _board(sitting: Sitting, **changes: Any) -> dict[str, Any]:
    """What the page shows, with a stamp by which it knows what comes late."""
    with sitting.lock:
        sitting.board |= {**changes, "stamp": sitting.board["stamp"] + 1}
        return deepcopy(sitting.board)


def _varied(sitting: Sitting, seed: int, editor: gr.HTML) -> Iterator[dict[str, Any]]:
    """What the page shows while variants come."""
    sitting.stopped, choice = False, sitting.choice
    pictures: list[dict[str, Any]] = []
    row = {"seed": seed, "pictures": pictures, "of": touching.VARIANTS, "busy": True}
    yield _board(sitting, variants=row, problem="")
    problem = ""
    try:
        for image in touching.variants(sitting, seed):
            pictures.append(_file(editor, image))
            if sitting.choice == choice:
                yield _board(sitting, variants=row)
    except gr.Error as error:
        problem = error.message
    if sitting.choice == choice:
        yield _board(sitting, variants={**row, "busy": False} if pictures else None, problem=problem)


def _file(editor: gr.HTML, image: Image.Image) -> dict[str, Any]:
    """A picture that stays as it is, as the page fetches it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.jpg"
        image.save(path, quality=90)
        return FileData(path=str(editor.move_resource_to_block_cache(str(path)))).model_dump()


def _here(sitting: Sitting | None, event: gr.EventData) -> Sitting:
    """The picture that an event is about.

    Raises:
        gr.Error: It is not open any more.
    """
    if sitting is None or parts.told(event, "run") != sitting.board["run"]:
        raise refusal(touching.GONE)
    if not sitting.board["picture"]:  # the page was left, and is there again
        with in_short(sitting.source):
            _paint(sitting)
    return sitting


def _job(sitting: Sitting) -> snippets.Job:
    told = sitting.touches
    guidance: dict[str, Any] = {}
    if told.variant is not None:
        guidance |= {"variant": told.variant[0], "seed": told.variant[1]}
    if told.strokes:
        guidance["hints"] = f"{Path(sitting.source).stem[:80]}-strokes.png"
    if told.reference in sitting.references:
        guidance |= {"reference": Path(sitting.references[told.reference]).name, "reference_mode": told.mode}
    return snippets.Job(
        False, [Path(sitting.source).name], [sitting.choice], sitting.settings, guidance=tuple(guidance.items())
    )
