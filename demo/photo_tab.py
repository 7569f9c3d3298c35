"""The tab for photos: layout and wiring."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from demo import models, parts, photos

EXAMPLES = Path(__file__).parent / "examples"
EXAMPLE_NAMES = (
    *("totara-tree", "mill-workers", "jicarilla", "parthenon", "lake-george", "washington-square"),  # black and white
    *("dog", "aizkorri", "summer-palace", "coffee"),  # in color
)


def add_photo_tab() -> None:
    """What is in the tab, and the endpoint ``/colorize``."""
    choices = models.choices()
    labels = {photos.BEFORE: "Black and white", **choices, photos.ORIGINAL: "Original"}
    with gr.Row():
        with gr.Column(min_width=320):
            photo = _photo("Your photo", height=320, elem_id="photo", placeholder="Drop a photo here\nor click")
            examples = gr.Dataset(
                components=[gr.Image(render=False)],
                samples=[[str(EXAMPLES / f"{name}.jpg")] for name in EXAMPLE_NAMES],
                samples_per_page=len(EXAMPLE_NAMES),
                label="Or try one of these",
                elem_id="examples",
            )
        with gr.Column(min_width=320):
            chosen, saturation, button = parts.model_choice("")
    empty = parts.nothing_yet("Choose a photo, tick the models, press <b>Colorize</b>.")
    with gr.Row(elem_id="results", visible=False) as results:
        panels = {name: _panel(label) for name, label in labels.items()}
    with gr.Column(visible=False) as comparison:
        pick = gr.Radio([], label="Before and after", elem_id="pick")
        slider = gr.ImageSlider(
            type="filepath",
            format="png",
            interactive=False,
            show_label=False,
            buttons=["fullscreen"],
            max_height=720,
            elem_id="slider",
        )
        download = gr.DownloadButton("Download as PNG, full size", elem_id="download")

    def show(source: str | None, ticked: list[str], factor: float) -> Iterator[dict[Any, Any]]:
        """Updates of the page, as results come in."""
        wanted = [name for name in choices if name in ticked]  # in the order of the panels
        done: dict[str, str] = {}
        before = ""
        original: Any = None
        for name, path, problem in photos.colorize(source, wanted, factor):
            file = str(path) if path else None
            finished = gr.update(value=file, visible=path is not None, elem_classes="")
            updates: dict[Any, Any] = {panels[name]: finished}
            if name == photos.ORIGINAL:
                original = finished
                continue  # it is shown with the next, since a panel may miss one of two updates in a row
            if problem:
                gr.Warning(f"{labels[name]}: {problem}")
            elif file and name == photos.BEFORE:
                before = file
                waiting = {
                    panel: gr.update(value=None, visible=key in wanted, elem_classes="working")
                    for key, panel in panels.items()
                }
                updates = waiting | updates | ({panels[photos.ORIGINAL]: original} if original else {})
                updates |= {empty: gr.update(visible=False), results: gr.update(visible=True)}
                updates[comparison] = gr.update(visible=False)
            elif file and name in choices:
                done[name] = file
                updates[pick] = gr.update(choices=[(labels[key], key) for key in done])
                if len(done) == 1:
                    updates[pick] |= {"value": name}
                    updates |= {slider: (before, file), download: file, comparison: gr.update(visible=True)}
            yield updates
            if name == photos.BEFORE:
                time.sleep(parts.PAUSE)

    def compare(name: str, *files: str) -> tuple[tuple[str, str], str]:
        """The slider's two pictures, and the file to download."""
        by_name = dict(zip(panels, files, strict=True))
        return (by_name[photos.BEFORE], by_name[name]), by_name[name]

    button.click(
        show,
        [photo, chosen, saturation],
        [*panels.values(), empty, results, comparison, pick, slider, download],
        show_progress_on=[empty, panels[photos.BEFORE]],
        scroll_to_output=True,
        concurrency_limit=1,
        concurrency_id="model",
        api_visibility="private",
    )
    examples.click(lambda sample: sample[0], examples, photo, show_progress="hidden", api_visibility="private")
    photo.upload(photos.prepare, photo, photo, concurrency_limit=2, api_visibility="private")
    pick.input(
        compare,
        [pick, *panels.values()],
        [slider, download],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    _add_api()


def _add_api() -> None:
    """The endpoint ``/colorize``: picture, model, style, saturation -> picture."""
    with gr.Row(visible=False):
        picture = _photo("picture")
        model = gr.Textbox(models.offered()[0].name, label="model")
        style = gr.Textbox("", label="style")
        saturation = gr.Number(1.0, label="saturation")
        gr.Button().click(
            photos.colorize_one,
            [picture, model, style, saturation],
            gr.Image(type="filepath", format="png"),
            api_name="colorize",
            concurrency_limit=1,
            concurrency_id="model",
        )


def _photo(label: str, **layout: Any) -> gr.Image:
    """An image that hands over the uploaded file as it is; Gradio's own way refuses what Pillow cannot open.

    A subclass would make Gradio write a .pyi file beside this one. What is done instead lasts as long as no event sets
    any property of the image but its value (no `gr.update`): that makes a new one.
    """
    photo = gr.Image(type="filepath", format="png", sources=["upload", "clipboard"], label=label, **layout)
    photo.preprocess = _path_of  # type: ignore[method-assign, assignment]
    return photo


def _path_of(upload: Any) -> Any:
    return upload and upload.path


def _panel(label: str) -> gr.Image:
    return gr.Image(
        type="filepath",
        image_mode=None,
        format="png",
        interactive=False,
        label=label,
        buttons=["download", "fullscreen"],
        visible=False,
        alt_text=f"Result: {label}",
    )
