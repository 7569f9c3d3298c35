"""The tab for reports: layout and wiring."""

import html
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from demo import limits, models, parts, published, reports, snippets
from demo.photos import Settings
from demo.reports import Report, Working

CSS = """
#pages .wrap {flex-flow: column nowrap; align-items: stretch}
#pages label {align-items: flex-start}
#pages label span {white-space: pre-line; line-height: 1.4; font-weight: 400; font-size: var(--text-sm)}
#pages label span::first-line {font-weight: 600; font-size: var(--text-md)}
#pages label input {margin-top: 5px}
#published {min-height: 82vh; scroll-margin-top: 12px}
.html-container:has(> * > :is(.no-report, .report, .card)) {padding: 0}
#report-work .generating {display: none}
.report {position: relative}
.report iframe {display: block; width: 100%; height: 82vh; min-height: 480px; resize: vertical; background: #fff;
  border: 1px solid var(--border-color-primary); border-radius: 12px; color-scheme: light}
.dark .report iframe {background: #111; color-scheme: dark}
.report .opening {position: absolute; inset: 120px 0 auto; margin: 0; text-align: center}
.by-itself {text-align: right; margin: 0 0 8px}
.card {overflow-wrap: anywhere}
.card a {padding: 0; margin: 0}
.card :is(h1, h2, h3) {scroll-margin-top: 12px}
.card .scroll {overflow-x: auto; width: fit-content; max-width: 100%; margin: 1em 0;
  border: 1px solid var(--border-color-primary); border-radius: 8px}
.card .scroll table {width: auto; margin: 0; overflow-wrap: normal; border-collapse: collapse}
.card .scroll :is(table, thead, tbody, tr) {border: 0 !important}
.card .scroll tbody tr:last-child > * {border-bottom: 0}
.card .scroll :is(th, td) {white-space: nowrap; vertical-align: top; font-size: var(--text-sm);
  border: 0; border-bottom: 1px solid var(--border-color-primary)}
.card .scroll tr > :first-child {position: sticky; z-index: 1; left: 0; min-width: 8em; white-space: normal;
  background: var(--body-background-fill)}
.card pre {overflow-x: auto; padding: 12px; border-radius: 8px; background: var(--code-background-fill)}
.card img {max-width: 100%; height: auto}
@media (max-width: 767px) {#pages .wrap {max-height: 320px; overflow-y: auto}}
.no-report {text-align: center; padding: 40px 16px; border: 1px dashed var(--border-color-primary); border-radius: 12px}
#report-work {align-items: center; min-height: 92px}
#report-work p {margin: 6px 0; font-variant-numeric: tabular-nums}
#report-work progress {appearance: none; width: 100%; height: 8px; border: 0; border-radius: 4px; overflow: hidden}
#report-work progress, #report-work ::-webkit-progress-bar {background: var(--border-color-primary)}
#report-work ::-webkit-progress-value {background: var(--primary-500)}
#report-work ::-moz-progress-bar {background: var(--primary-500)}
#report-work progress:not([value]) {animation: report-work 1.2s ease-in-out infinite alternate}
@keyframes report-work {from {opacity: .35} to {opacity: 1}}
@media (prefers-reduced-motion: reduce) {#report-work progress {animation: none !important}}
"""

LIMITS = f"""
<small>The models see them in black and white, and the report sets what they made of them beside the true colors.
{limits.REPORT[0].upper()}{limits.REPORT[1:]}. Of each, the largest central square is compared.</small>
"""
# On a phone, what was chosen is below the list.
SHOW = "() => innerWidth < 768 && document.querySelector('#published').scrollIntoView()"


def add_report_tab(done: gr.State) -> None:
    """What is in the tab, and the endpoint ``/report``.

    Args:
        done: Takes the visitor's last `snippets.Job`.
    """
    with gr.Tabs():
        with gr.Tab("Published", id="published-reports"):
            _add_published()
        with gr.Tab("Of your photos", id="own-report"):
            _add_own(done)
    _add_api()


def _add_published() -> None:
    pages = published.pages()
    if not pages:
        gr.HTML(_empty("The published reports and model cards did not come with this installation."))
        return
    parts.heading("How good are the models?")
    with gr.Row():
        with gr.Column(min_width=280):
            chosen = gr.Radio(
                [(f"{page.title}\n{page.about}", key) for key, page in pages.items()],
                label="Reports and model cards",
                info="Comparisons with the true colors, and a card for each set of weights",
                elem_id="pages",
            )
        with gr.Column(scale=3, min_width=320):
            view = gr.HTML(
                _empty("<b>Choose what to read</b>: the leaderboard, a report with pictures, or a model’s card."),
                js_on_load=published.OPEN_FRAME,
                elem_id="published",
            )

    def follow(event: gr.EventData) -> tuple[Any, Any]:
        """A link from one page to another was clicked."""
        key = str(event.key)
        page = published.view(key)
        return (key.partition("#")[0], page) if page else (gr.skip(), gr.skip())

    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
    chosen.input(published.view, chosen, view, **quick).then(None, js=SHOW)
    view.click(follow, None, [chosen, view], **quick)


def _add_own(done: gr.State) -> None:
    parts.heading("How good are they on your photos?")
    with gr.Row():
        with gr.Column(min_width=320):
            photos = parts.as_uploaded(
                gr.File(
                    label="Your photos, in color",
                    file_count="multiple",
                    file_types=["image"],
                    height=190,
                    elem_id="report-photos",
                )
            )
            gr.Markdown(LIMITS)
        with gr.Column(min_width=320):
            chosen = gr.CheckboxGroup(
                parts.cards(models.choices()),
                value=models.default_choices(),
                label="Models to compare",
                elem_id="report-models",
                elem_classes="models",
            )
            button = gr.Button("Make the report", variant="primary", size="lg", elem_id="make-report")
    parts.heading("Result")
    empty = gr.HTML(_empty("<b>Your report appears here</b>: figures, plots and the pictures side by side."))
    with gr.Row(visible=False, elem_id="report-work") as work:
        with gr.Column(min_width=240):
            phase = gr.HTML(padding=False)
        stop = gr.Button("Stop", size="md", scale=0, min_width=120, elem_id="stop-report")
    with gr.Column(visible=False) as result:
        download = gr.DownloadButton("Download the report", elem_id="download-report")
        frame = gr.HTML(js_on_load=published.OPEN_FRAME, elem_id="own")
    stopping = gr.State()

    def show(sources: list[str] | None, ticked: list[str]) -> Iterator[dict[Any, Any]]:
        """Updates of the page, as the report comes along."""
        wanted = [name for name in models.choices() if name in ticked]
        job = snippets.Job(False, [Path(source).name for source in sources or ()], wanted, Settings(), report=True)
        event = Event()
        last: Working | Report | None = None
        try:
            for step in reports.make(sources, wanted, event):
                if step != last:
                    yield {**begin(event), **progress(step), done: job} if last is None else progress(step)
                last = step
        except gr.Error:
            if last is not None:  # else what is there can stay
                yield {work: gr.update(visible=False), empty: gr.update(visible=True)}
            raise
        if not isinstance(last, Report):
            yield {phase: '<p role="status">Stopped.</p>', stop: gr.update(visible=False)}

    def begin(event: Event) -> dict[Any, Any]:
        return {
            empty: gr.update(visible=False),
            result: gr.update(visible=False),
            work: gr.update(visible=True),
            stop: gr.update(visible=True),
            download: None,
            frame: "",
            stopping: event,
        }

    def progress(step: Working | Report) -> dict[Any, Any]:
        if isinstance(step, Working):
            return {phase: _working(step)}
        # Where the app serves it from; the button would copy it there by itself, but tell the frame nothing.
        path = save_file_to_cache(step.path, download.GRADIO_CACHE)
        return {
            phase: _done(step),
            stop: gr.update(visible=False),
            result: gr.update(visible=True),
            download: path,
            frame: published.framed(path, "The report on your photos"),
        }

    button.click(
        show,
        [photos, chosen],
        [empty, work, phase, stop, result, download, frame, stopping, done],
        show_progress_on=[empty, phase],  # the queue, until it is this one's turn
        concurrency_limit=1,
        concurrency_id="model",
        api_visibility="private",
    )
    parts.stops(stop, stopping)


def _add_api() -> None:
    """The endpoint ``/report``: pictures, models -> HTML file."""
    with gr.Row(visible=False):
        pictures = parts.as_uploaded(gr.File(file_count="multiple", label="pictures"))
        chosen = gr.Dropdown(
            list(models.choices()),
            value=models.default_choices(),
            multiselect=True,
            allow_custom_value=True,
            label="models",
        )
        gr.Button().click(
            reports.make_one,
            [pictures, chosen],
            gr.File(label="report"),
            api_name="report",
            concurrency_limit=1,
            concurrency_id="model",
        )


def _empty(words: str) -> str:
    return f'<div class="no-report"><p>{words}</p></div>'


def _working(step: Working) -> str:
    value = f'value="{step.done}" max="{step.total}"' if step.total else ""
    return f'<p role="status">{html.escape(step.words)}</p><progress aria-label="photos" {value}></progress>'


def _done(made: Report) -> str:
    words = f"Done: {made.photos} {'photo' if made.photos == 1 else 'photos'} compared."
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in made.left_out)
    return f'<p role="status">{words}{" Left out:" if reasons else ""}</p>' + (reasons and f"<ul>{reasons}</ul>")
