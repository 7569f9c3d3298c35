"""The app's page: layout and wiring. `python demo/app.py` opens it; what the buttons do is in demo/handlers.py."""

import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from demo import handlers

EXAMPLES = Path(__file__).parent / "examples"
EXAMPLE_NAMES = (
    *("totara-tree", "mill-workers", "jicarilla", "parthenon", "lake-george", "washington-square"),  # black and white
    *("dog", "aizkorri", "summer-palace", "coffee"),  # in color
)
HOUR = 3600
PAUSE = 0.1  # seconds for the page to lay out its panels, before a fast model fills them

HEADER = """
# colorzoo
Bring color to black-and-white photographs, and compare what different models make of the same picture.
"""
EMPTY = """
<div class="empty">
  <div class="swatches" aria-hidden="true"><i></i><i></i><i></i></div>
  <p><b>Your results appear here</b>, side by side.</p>
  <p>Choose a photo, tick the models, press <b>Colorize</b>.</p>
</div>
"""
NOTE = """
<small>The colors are plausible guesses, not a record of how things were. Color in the photo you upload is ignored.
Uploads and results are deleted within two hours.</small>
"""
CSS = """
.gradio-container > main {max-width: 1320px !important}
#examples .gallery {display: grid; grid-template-columns: repeat(5, minmax(0, 100px))}
#examples .gallery-item {padding: 0; width: 100%; height: auto; aspect-ratio: 1}
#examples .gallery-item :is(span, .container, img)
  {display: block; width: 100%; height: 100%; max-width: none; max-height: none}
#examples .gallery-item img {object-fit: cover}
#photo .top-panel:not(:has(button)), footer .divider:last-child {display: none}
[data-testid=status-tracker]:has(.error) {display: none}
.html-container:has(.empty) {padding: 0}
#results {display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr)); gap: 12px}
#results > * {height: 100%; min-height: 240px}
#results .working {animation: working 1.2s ease-in-out infinite alternate}
@keyframes working {from {opacity: .35} to {opacity: .9}}
@media (prefers-reduced-motion: reduce) {#results .working {animation: none}}
.empty {text-align: center; padding: 40px 16px; border: 1px dashed var(--border-color-primary); border-radius: 12px}
.swatches {display: flex; gap: 8px; justify-content: center; margin-bottom: 14px}
.swatches i {width: 54px; height: 40px; border-radius: 6px; background: linear-gradient(135deg, #777, #bbb)}
.swatches i:nth-child(2) {background: linear-gradient(135deg, #6b7f5e, #c9b48f)}
.swatches i:nth-child(3) {background: linear-gradient(135deg, #2f6f9f, #e8a13c)}
"""


def build_demo() -> gr.Blocks:
    """The app, to be launched with `launch_options`."""
    choices = handlers.choices()
    labels = {handlers.BEFORE: "Black and white", **choices, handlers.ORIGINAL: "Original"}
    demo: gr.Blocks
    with gr.Blocks(title="colorzoo", analytics_enabled=False, delete_cache=(HOUR, HOUR)) as demo:
        gr.Markdown(HEADER)
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
                chosen = gr.CheckboxGroup(
                    [(label, name) for name, label in choices.items()],
                    value=handlers.default_choices(),
                    label="Models to compare",
                    elem_id="models",
                )
                saturation = gr.Slider(
                    0, 2, value=1, step=0.05, label="Saturation", info="1 leaves the colors as the model gives them"
                )
                button = gr.Button("Colorize", variant="primary", size="lg", elem_id="colorize")
                with gr.Accordion("About the models", open=False):
                    gr.Markdown(handlers.about_models())
        empty = gr.HTML(EMPTY)
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
        gr.Markdown(NOTE)

        def show(source: str | None, ticked: list[str], factor: float) -> Iterator[dict[Any, Any]]:
            """Updates of the page, as results come in."""
            wanted = [name for name in choices if name in ticked]  # in the order of the panels
            done: dict[str, str] = {}
            before = ""
            original: Any = None
            for name, path, problem in handlers.colorize(source, wanted, factor):
                file = str(path) if path else None
                finished = gr.update(value=file, visible=path is not None, elem_classes="")
                updates: dict[Any, Any] = {panels[name]: finished}
                if name == handlers.ORIGINAL:
                    original = finished
                    continue  # it is shown with the next, since a panel may miss one of two updates in a row
                if problem:
                    gr.Warning(f"{labels[name]}: {problem}")
                elif file and name == handlers.BEFORE:
                    before = file
                    waiting = {
                        panel: gr.update(value=None, visible=key in wanted, elem_classes="working")
                        for key, panel in panels.items()
                    }
                    updates = waiting | updates | ({panels[handlers.ORIGINAL]: original} if original else {})
                    updates |= {empty: gr.update(visible=False), results: gr.update(visible=True)}
                    updates[comparison] = gr.update(visible=False)
                elif file and name in choices:
                    done[name] = file
                    updates[pick] = gr.update(choices=[(labels[key], key) for key in done])
                    if len(done) == 1:
                        updates[pick] |= {"value": name}
                        updates |= {slider: (before, file), download: file, comparison: gr.update(visible=True)}
                yield updates
                if name == handlers.BEFORE:
                    time.sleep(PAUSE)

        def compare(name: str, *files: str) -> tuple[tuple[str, str], str]:
            """The slider's two pictures, and the file to download."""
            by_name = dict(zip(panels, files, strict=True))
            return (by_name[handlers.BEFORE], by_name[name]), by_name[name]

        button.click(
            show,
            [photo, chosen, saturation],
            [*panels.values(), empty, results, comparison, pick, slider, download],
            show_progress_on=[empty, panels[handlers.BEFORE]],
            scroll_to_output=True,
            concurrency_limit=1,
            concurrency_id="model",
            api_visibility="private",
        )
        examples.click(lambda sample: sample[0], examples, photo, show_progress="hidden", api_visibility="private")
        photo.upload(handlers.prepare, photo, photo, concurrency_limit=2, api_visibility="private")
        pick.input(
            compare,
            [pick, *panels.values()],
            [slider, download],
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
        _add_api()
    demo.queue(max_size=20)
    return demo


def _add_api() -> None:
    """The endpoint ``/colorize``: picture, model, style, saturation -> picture."""
    with gr.Row(visible=False):
        picture = _photo("picture")
        model = gr.Textbox(handlers.offered()[0].name, label="model")
        style = gr.Textbox("", label="style")
        saturation = gr.Number(1.0, label="saturation")
        gr.Button().click(
            handlers.colorize_one,
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


def launch_options() -> dict[str, Any]:
    """What `build_demo` is launched with: looks, limits, and nothing that reaches beyond this machine."""
    theme = gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="zinc",  # without a tint, next to which colors could not be judged
        font=["ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        block_border_width="1px",
        block_title_padding="0",
        button_border_width="1px",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_600",
        checkbox_border_color="*neutral_400",
        checkbox_label_border_width="1px",
        checkbox_label_border_color="*neutral_300",
        checkbox_label_border_color_dark="*neutral_600",
        body_text_color_subdued="*neutral_500",
        block_label_background_fill="*neutral_100",
        block_label_background_fill_dark="*neutral_800",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_background_fill="none",
        block_title_background_fill_dark="none",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
    )
    return {
        "theme": theme,
        "css": CSS,
        "max_file_size": handlers.MAX_MEGABYTES * 2**20,
        "show_error": True,
        "ssr_mode": False,
        "mcp_server": False,
        "pwa": False,
        "enable_monitoring": False,
        "run_history": False,
        "allowed_paths": [str(EXAMPLES)],
        "footer_links": ["api"],
    }


def main() -> None:
    """Open the app, at GRADIO_SERVER_NAME and GRADIO_SERVER_PORT where they are set."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    build_demo().launch(**launch_options())


if __name__ == "__main__":
    main()
