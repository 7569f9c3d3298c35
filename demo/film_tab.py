"""The tab for clips: layout and wiring."""

import html
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import gradio as gr

from demo import film_guide, films, limits, models, parts, photos, snippets
from demo.guides import Guide, Moments
from demo.photos import Settings
from demo.touch_tab import TouchTab
from zoo.reference import MODES
from zoo.video.transcode import Progress

EXAMPLES = Path(__file__).parent / "examples"
KINDS = (".avi", ".flv", ".mkv", ".mts", ".ts", ".wmv")  # which not every browser takes for films
EXAMPLE_NAMES = ("chaplin", "fetch")  # black and white; in color

LIMITS = f"""
<small>Up to {limits.CLIP_MEGABYTES} MB. {limits.CLIP_CUT} Larger clips are made smaller, to {limits.CLIP_SIDE} pixels
and {limits.CLIP_RATE} frames a second; on the command line, `colorzoo video` has no limits.</small>
"""
# Whichever is first in the page keeps its sound, and says where the others are to go on.
PLAY = """() => {
  const films = [...document.querySelectorAll('#films video')].filter(film => film.currentSrc);
  const rest = films.every(film => film.paused);
  const at = films.some(film => film.ended) ? 0 : films[0]?.currentTime;
  films.forEach((film, n) => {
    if (!rest) return film.pause();
    film.muted = n > 0;
    film.currentTime = at;
    film.play().catch(() => {});  // paused before it began
  });
}"""


def add_film_tab(done: gr.State, tabs: gr.Tabs, touch: TouchTab) -> None:
    """What is in the tab, and the endpoint ``/video``.

    Args:
        done: Takes the visitor's last `snippets.Job`.
        tabs: Of which this one is called ``videos``, and ``touch`` the next.
        touch: Where frames are painted.
    """
    choices = models.choices()
    names = {name: choice.label for name, choice in choices.items()}
    labels = {photos.BEFORE: "Black and white", **names, photos.ORIGINAL: "Original"}
    with gr.Row():
        with gr.Column(min_width=320):
            drop = parts.as_uploaded(
                gr.File(label="Your clip", file_types=["video", *KINDS], height=150, elem_id="drop")
            )
            gr.Markdown(LIMITS)
            examples = gr.Dataset(
                components=[gr.Video(render=False)],
                samples=[[str(EXAMPLES / f"{name}.mp4")] for name in EXAMPLE_NAMES],
                label="Or try one of these",
                elem_id="clips",
            )
            clip = gr.Video(
                label="To be colored",
                interactive=False,
                include_audio=True,
                buttons=[],
                height=260,
                visible=False,
                elem_id="clip",
            )
            picker = film_guide.add_picker()
        with gr.Column(min_width=320):
            job = parts.model_choice("-film")
            choice = film_guide.add_choice()
            job.button.render()  # type: ignore[no-untyped-call]
    empty = parts.nothing_yet("Choose a clip, tick the models, press <b>Colorize</b>.")
    with gr.Row(visible=False, elem_id="work") as work:
        with gr.Column(min_width=240):
            phase, bar = gr.HTML(padding=False), gr.HTML(padding=False)
        stop = gr.Button("Stop", size="md", scale=0, min_width=120, elem_id="stop")
        play = gr.Button("Play or pause all", size="md", scale=0, min_width=200, visible=False, elem_id="play")
    with gr.Row(elem_id="films", visible=False) as results:
        panels = {name: _panel(name, label) for name, label in labels.items()}
    stopping = gr.State()

    def show(
        source: str | None, ticked: list[str], factor: float, moments: Moments, *told: Any
    ) -> Iterator[dict[Any, Any]]:
        """Updates of the page, as results come in."""
        guide = choice.guide(moments, source, *told)
        also = f" With {html.escape(guide.words)}." if guide.words else ""
        wanted = [name for name in choices if name in ticked]  # in the order of the panels
        ended: set[str] = set()
        good = 0
        original: Any = gr.update(value=None, visible=False)
        event = Event()
        for step in films.colorize(source, wanted, factor, event, guide):
            if isinstance(step, films.Working):
                if step.progress:
                    yield {bar: _bar(step.progress)}
                else:
                    of = f", {wanted.index(step.name) + 1} of {len(wanted)}" if len(wanted) > 1 else ""
                    yield {phase: _phase(f"Coloring with <b>{labels[step.name]}</b>{of}.{also}"), bar: _bar(None)}
                continue
            ended.add(step.name)
            finished = gr.update(value=step.path and str(step.path), visible=step.path is not None, elem_classes="")
            if step.name == photos.ORIGINAL:
                original = finished
                continue  # it is shown with the next, since a panel may miss one of two updates in a row
            if step.name == photos.BEFORE:
                yield {
                    **{
                        panels[name]: gr.update(value=None, visible=name in wanted, elem_classes="working")
                        for name in choices
                    },
                    panels[photos.BEFORE]: gr.update(value=str(step.path), visible=True),
                    panels[photos.ORIGINAL]: original,
                    empty: gr.update(visible=False),
                    work: gr.update(visible=True),
                    stop: gr.update(visible=True),
                    play: gr.update(visible=False),
                    results: gr.update(visible=True),
                    stopping: event,
                    done: _job(str(source), wanted, factor, guide),
                }
                time.sleep(parts.PAUSE)
                continue
            if step.problem:
                gr.Warning(f"{labels[step.name]}: {step.problem}")
            else:
                good += 1
            yield {panels[step.name]: finished, play: gr.update(visible=good > 0)}
        yield {
            **{panels[name]: gr.update(visible=False) for name in wanted if name not in ended},
            phase: _phase(f"{'Stopped' if event.is_set() else 'Done'}: {good} of {len(wanted)} in color.{also}"),
            bar: "",
            stop: gr.update(visible=False),
        }

    def choose(source: str | None) -> Iterator[tuple[Any, None]]:
        for path in films.prepare(source):
            yield gr.update(value=path, visible=path is not None), None

    job.button.click(
        show,
        [clip, job.models, job.saturation, picker.moments, *choice],
        [*panels.values(), empty, work, phase, bar, stop, play, results, stopping, done],
        show_progress_on=[empty, panels[photos.BEFORE]],
        scroll_to_output=True,
        concurrency_limit=1,
        concurrency_id="model",
        api_visibility="private",
    )
    parts.stops(stop, stopping)
    play.click(None, js=PLAY)
    examples.click(
        lambda sample: gr.update(value=sample[0], visible=True),
        examples,
        clip,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    drop.upload(
        choose,
        drop,
        [clip, drop],
        show_progress_on=drop,
        concurrency_limit=1,
        concurrency_id="clips",
        api_visibility="private",
    )
    film_guide.wire(picker, choice, clip, job, tabs, touch)
    _add_api()


def _job(source: str, chosen: list[str], factor: float, guide: Guide) -> snippets.Job:
    told = tuple(guide.as_code(source).items())
    return snippets.Job(True, [Path(source).name], chosen, Settings(factor), guidance=told)


def _phase(words: str) -> str:
    return f'<p role="status">{words}</p>'


def _bar(progress: Progress | None) -> str:
    if progress is None:
        return '<progress aria-label="frames"></progress><p>Getting ready</p>'
    value = f'value="{progress.done}" max="{progress.total}"' if progress.total else ""
    return f'<progress aria-label="frames" {value}></progress><p>{films.in_words(progress)}</p>'


def _panel(name: str, label: str) -> gr.Video:
    return gr.Video(
        interactive=False,
        label=label,
        buttons=["download"] if name in models.choices() else [],  # the others are the visitor's own
        visible=False,
        elem_id="before" if name == photos.BEFORE else None,
    )


def _add_api() -> None:
    """The endpoint ``/video``."""
    with gr.Row(visible=False):
        clip = gr.Video(sources=["upload"], include_audio=True, label="clip")
        model = gr.Textbox(models.offered()[0].name, label="model")
        style = gr.Textbox("", label="style")
        saturation = gr.Number(1.0, label="saturation")
        variant, seed = gr.Number(None, label="variant"), gr.Number(None, label="seed")
        layers = parts.as_uploaded(gr.File(file_count="multiple", label="layers"))
        moments = gr.JSON(None, label="moments")
        reference = parts.as_uploaded(gr.Image(type="filepath", format="png", sources=["upload"], label="reference"))
        mode = gr.Textbox(MODES[0], label="reference_mode")
        gr.Button().click(
            films.colorize_one,
            [clip, model, style, saturation, variant, seed, layers, moments, reference, mode],
            gr.Video(),
            api_name="video",
            concurrency_limit=1,
            concurrency_id="model",
        )
