"""What several tabs of the page have."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import gradio as gr

from demo import models

_HERE = Path(__file__).parent
C = TypeVar("C", bound=gr.components.Component)

PAUSE = 0.1  # seconds for the page to lay out its panels, before a fast model fills them
CSS = """
.heading h2 {font-size: var(--text-lg); font-weight: 600; margin: 0}
.models .wrap {display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 250px), 1fr)); gap: 8px}
.models label {align-items: flex-start; white-space: pre-line; line-height: 1.35; padding: 8px 10px}
.models label span {font-size: var(--text-sm); color: var(--body-text-color-subdued)}
.models label span::first-line {font-size: var(--text-md); font-weight: 600; color: var(--body-text-color)}
:is(.models, #pages) label.selected {border-color: var(--color-accent);
  background: color-mix(in srgb, var(--primary-500) 12%, var(--checkbox-label-background-fill))}
.models label input {margin-top: 3px}
:is(#touch-drop, #touch-reference) > button {padding-top: 24px}  /* below the label, which would lie on the arrow */
"""
# The server has made a file; the page fetches it.
FETCH = """
watch('value', () => {
  const {token, file} = props.value || {};
  document.querySelector(`[data-token="${token}"][aria-busy]`)?.removeAttribute('aria-busy');
  if (!file) return;
  const link = document.createElement('a');
  [link.href, link.download] = [file.url, file.orig_name];
  document.body.append(link);
  link.click();
  link.remove();
});
"""
NONE_COMMERCIAL = """
None of these models may be used commercially: their weights were learned from photos that are for research.
Weights of your own, from photos that you may use, can be: see "Train" in the README.
"""


class Job(NamedTuple):
    """What a visitor sets before pressing the button.

    Attributes:
        models: The names that are ticked.
        saturation: From 0 to 2.
        button: Starts the work; still to be rendered.
    """

    models: gr.CheckboxGroup
    saturation: gr.Slider
    button: gr.Button


def model_choice(kind: str, button: str = "Colorize") -> Job:
    """Models to be ticked, the saturation and the button that starts; ``kind`` is appended to their ids."""
    chosen = gr.CheckboxGroup(
        cards(models.choices()),
        value=models.default_choices(),
        label="Models to compare",
        elem_id=f"models{kind}",
        elem_classes="models",
    )
    commercial = gr.Checkbox(label="Only models for commercial use", elem_id=f"commercial{kind}", container=False)
    none = gr.Markdown(NONE_COMMERCIAL, visible=False)
    saturation = gr.Slider(
        0, 2, value=1, step=0.05, label="Saturation", info="1 leaves the colors as the model gives them"
    )
    start = gr.Button(button, variant="primary", size="lg", elem_id=f"colorize{kind}", render=False)

    gone = gr.State([])  # what was ticked among the models that are left out

    def choose(only: bool, ticked: list[str], before: list[str]) -> tuple[Any, Any, list[str]]:
        found = models.choices(commercial=only)
        wanted = {*ticked, *before}
        return (
            gr.update(choices=cards(found), value=[name for name in found if name in wanted]),
            gr.update(visible=not found),
            [name for name in models.choices() if name in wanted and name not in found],
        )

    commercial.change(
        choose,
        [commercial, chosen, gone],
        [chosen, none, gone],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    return Job(chosen, saturation, start)


def heading(text: str) -> None:
    """The heading of a part of the page, by which screen readers find it."""
    gr.Markdown(f"## {text}", elem_classes="heading")


def stops(button: gr.Button, event: gr.State) -> None:
    """Let the button set the `threading.Event` that the state holds while work is done."""
    button.click(
        lambda event: event and event.set(), event, None, queue=False, show_progress="hidden", api_visibility="private"
    )


def nothing_yet(steps: str) -> gr.HTML:
    """What stands where results will be, below the heading of them, with what to do first; HTML."""
    heading("Results")
    return gr.HTML(f"""
<div class="empty">
  <div class="swatches" aria-hidden="true"><i></i><i></i><i></i></div>
  <p><b>Your results appear here</b>, side by side.</p>
  <p>{steps}</p>
</div>
""")


def told(event: gr.EventData, name: str) -> Any:
    """What the page tells with an event; None where it does not."""
    data = getattr(event, "_data", None)
    return data.get(name) if isinstance(data, dict) else None


@contextmanager
def fetching(event: gr.EventData) -> Iterator[dict[str, Any]]:
    """What the page is told of a file that it asked for; also where there is none, with a message why."""
    answer: dict[str, Any] = {"token": str(told(event, "token"))}
    try:
        yield answer
    except gr.Error as error:
        gr.Warning(error.message)


def cards(found: dict[str, models.Choice]) -> list[tuple[str, str]]:
    """What a group of checkboxes offers: what there is to know of each choice, and its name."""
    return [(f"{choice.label}\n{models.about(choice)}", name) for name, choice in found.items()]


def as_uploaded(component: C) -> C:
    """The component, which hands over files as they were uploaded, by path.

    Gradio's own way refuses pictures that Pillow cannot open, all files for a bad one, and leaves empty ones behind. A
    subclass would make Gradio write a .pyi file beside this one. What is done instead lasts as long as no event sets
    any property of the component but its value (no `gr.update`): that makes a new one.
    """
    component.preprocess = _paths_of  # type: ignore[method-assign, assignment]
    return component


def _paths_of(upload: Any) -> Any:
    if upload is None or hasattr(upload, "path"):
        return upload and upload.path
    return [file.path for file in upload.root]


def source(*names: str) -> str:
    """The scripts or styles of the page in the files of these names, in one piece."""
    return "".join((_HERE / name).read_text(encoding="utf-8") for name in names)
