"""The app's page. `python demo/app.py` opens it; each tab is in a module of its own."""

import logging
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from demo import film_guide, limits, memory, parts, published, refusals, report_tab, serving, touch_tab, uploads
from demo.code_tab import add_code_tab
from demo.film_tab import add_film_tab
from demo.gate import Gate
from demo.photo_tab import EXAMPLE_NAMES, EXAMPLES, add_photo_tab
from demo.report_tab import add_report_tab

HOUR = 3600

HEADER = """
# colorzoo
Bring color to black-and-white photographs and films, and compare what different models make of the same picture.
"""
NOTE = """
<small>The colors are plausible guesses, not a record of how things were. Color in what you upload is ignored.
Uploads and results are deleted within two hours.</small>
"""
CSS = """
.gradio-container > main {max-width: 1320px !important}
.dark {--color-accent: var(--primary-400)}
.gradio-container :is(a, button, input, select, textarea, iframe, [tabindex], [contenteditable]):focus-visible
  {outline: 2px solid var(--color-accent) !important; outline-offset: 2px !important}
.gradio-container :is([role=tab], .gallery-item, .thumbnail-item, .upload-container, .reset-button):focus-visible
  {outline-offset: -2px !important}
.examples .gallery {display: grid; grid-template-columns: repeat(5, minmax(0, 100px))}
.examples .gallery-item {padding: 0; width: 100%; height: auto; aspect-ratio: 1}
.examples .gallery-item :is(span, .container, img)
  {display: block; width: 100%; height: 100%; max-width: none; max-height: none}
.examples .gallery-item img {object-fit: cover}
.gradio-container .block input[type=range]::-webkit-slider-thumb
  {box-sizing: border-box; border: 2px solid var(--slider-color)}
.gradio-container .block input[type=range]::-moz-range-thumb
  {box-sizing: border-box; border: 2px solid var(--slider-color)}
#photos .grid-container {grid-template-columns: repeat(auto-fill, minmax(120px, 1fr)) !important}
#photos .thumbnail-lg {aspect-ratio: 1}
#photos .thumbnail-lg img {object-fit: cover}
#photos .grid-container:has(> :only-child) {grid-template-columns: 1fr !important}
#photos :only-child > .thumbnail-lg {aspect-ratio: auto; height: 230px}
#photos :only-child > .thumbnail-lg img {object-fit: contain}
@media (max-width: 480px) {.tab-container button {padding: 0 5px !important; font-size: var(--text-sm) !important}}
footer .divider:last-child {display: none}
[data-testid=status-tracker]:has(.error) {display: none}
.html-container:has(> .empty, .touch) {padding: 0}
#films {display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr)); gap: 12px}
#films .working {animation: working 1.2s ease-in-out infinite alternate}
@keyframes working {from {opacity: .35} to {opacity: .9}}
@media (prefers-reduced-motion: reduce) {#films .working {animation: none}}
#films > * {height: 100%; min-height: 180px}
#films video {max-height: 70vh}
#films #before video {filter: grayscale(1)}
:is(#clip, #films) .top-panel:not(:has(button, a)) {display: none}
#clips .gallery-item video {height: 84px; width: auto}
#clips .gallery-item::after {content: "Black and white"; display: block; font-size: var(--text-sm); padding: 2px}
#clips .gallery-item:nth-child(2)::after {content: "In color"}
#work {align-items: center; min-height: 92px}
#work .column {gap: 0}
#work p {margin: 6px 0; font-variant-numeric: tabular-nums}
#work progress {appearance: none; width: 100%; height: 8px; border: 0; border-radius: 4px; overflow: hidden}
#work progress, ::-webkit-progress-bar {background: var(--border-color-primary)}
#work ::-webkit-progress-value {background: var(--primary-500)}
#work ::-moz-progress-bar {background: var(--primary-500)}
#endpoints :is(th, td) {padding: 6px 8px}
.toast-message-text {white-space: pre-line}
.toast-body .toast-close {opacity: 1}
.snippet .cm-line > span {filter: brightness(.55)}
.dark .snippet .cm-line > span {filter: none}
.empty {text-align: center; padding: 40px 16px; border: 1px dashed var(--border-color-primary); border-radius: 12px}
.swatches {display: flex; gap: 8px; justify-content: center; margin-bottom: 14px}
.swatches i {width: 54px; height: 40px; border-radius: 6px; background: linear-gradient(135deg, #777, #bbb)}
.swatches i:nth-child(2) {background: linear-gradient(135deg, #6b7f5e, #c9b48f)}
.swatches i:nth-child(3) {background: linear-gradient(135deg, #2f6f9f, #e8a13c)}
"""

# The pictures to click are buttons without words; those of a tab are there once it was opened.
NAME_EXAMPLES = f"""() => {{
  const names = {[name.replace("-", " ") for name in EXAMPLE_NAMES]};
  const tell = () => document.querySelectorAll('.examples').forEach(
    each => each.querySelectorAll('.gallery-item').forEach((item, n) => {{
      item.title = item.ariaLabel = `Example: ${{names[n]}}`;
    }}));
  tell();
  new MutationObserver(tell).observe(document.body, {{childList: true, subtree: true}});
}}"""


def build_demo() -> gr.Blocks:
    """The app, to be launched with `launch_options`."""
    demo: gr.Blocks
    with refusals.Blocks(title="colorzoo", analytics_enabled=False, delete_cache=(HOUR, HOUR)) as demo:
        gr.Markdown(HEADER)
        done = gr.State(None)
        with gr.Tabs() as tabs:
            with gr.Tab("Photos", id="photos"):
                photo = add_photo_tab(done)
            with gr.Tab("Touch up", id="touch"):
                touch = touch_tab.add_touch_tab(done, tabs, photo)
            with gr.Tab("Videos", id="videos"):
                add_film_tab(done, tabs, touch)
            with gr.Tab("Reports", id="reports"):
                add_report_tab(done)
            with gr.Tab("Code", id="code") as developers:
                add_code_tab(developers, done)
        gr.Markdown(NOTE)
        demo.unload(touch_tab.leave)
        demo.load(None, js=NAME_EXAMPLES, show_progress="hidden", api_visibility="private")
    demo.queue(max_size=limits.QUEUE, api_open=False)
    return demo


def launch_options() -> dict[str, Any]:
    """What `build_demo` is launched with: looks, limits, and nothing that reaches beyond this machine."""
    theme = gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="zinc",  # without a tint, next to which colors could not be judged
        font=["ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        color_accent="*primary_600",
        block_border_width="1px",
        block_title_padding="0",
        button_border_width="1px",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_border_color="*primary_600",
        button_primary_border_color_hover="*primary_700",
        button_primary_border_color_hover_dark="*primary_700",
        button_secondary_background_fill_hover_dark="*neutral_500",
        button_secondary_border_color="*neutral_300",
        button_secondary_border_color_dark="*neutral_600",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        checkbox_label_background_fill_dark="*neutral_800",
        checkbox_label_background_fill_hover_dark="*neutral_700",
        checkbox_label_text_color_selected="*body_text_color",
        checkbox_label_border_width="1px",
        checkbox_label_border_width_dark="1px",
        checkbox_label_border_color="*neutral_300",
        checkbox_label_border_color_dark="*neutral_600",
        body_text_color_subdued="*neutral_600",
        block_label_background_fill="*neutral_100",
        block_label_background_fill_dark="*neutral_800",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_200",
        block_title_background_fill="none",
        block_title_background_fill_dark="none",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_200",
        link_text_color_dark="*primary_400",
        link_text_color_active_dark="*primary_400",
        link_text_color_hover_dark="*primary_300",
        link_text_color_visited="*primary_600",
        link_text_color_visited_dark="*primary_400",
        slider_color="*primary_600",
    )
    return {
        "theme": theme,
        "css": CSS + parts.CSS + film_guide.CSS + report_tab.CSS,
        "max_file_size": max(limits.PHOTO_MEGABYTES, limits.CLIP_MEGABYTES) * 2**20,
        "show_error": False,  # refusals are shown all the same; whatever else is raised may name folders
        "i18n": gr.I18n(en={"upload_text.drop_gallery": "Drop Photos Here"}),
        "ssr_mode": False,
        "mcp_server": False,
        "pwa": False,
        "enable_monitoring": False,
        "run_history": False,
        "allowed_paths": [str(EXAMPLES), *published.served()],
        "footer_links": ["api"],
        "app_kwargs": {"lifespan": uploads.sweeping, "middleware": [Middleware(Gate)], "openapi_url": None},
    }


def main() -> None:
    """Open the app, at GRADIO_SERVER_NAME and GRADIO_SERVER_PORT where they are set, until SIGTERM or Ctrl-C."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    memory.few_heaps()
    serving.serve(build_demo, launch_options())


if __name__ == "__main__":
    main()
