"""What both tabs of the page have."""

import gradio as gr

from demo import models

PAUSE = 0.1  # seconds for the page to lay out its panels, before a fast model fills them


def model_choice(kind: str) -> tuple[gr.CheckboxGroup, gr.Slider, gr.Button]:
    """Models to be ticked, the saturation and the button that starts; ``kind`` is appended to their ids."""
    chosen = gr.CheckboxGroup(
        [(label, name) for name, label in models.choices().items()],
        value=models.default_choices(),
        label="Models to compare",
        elem_id=f"models{kind}",
    )
    saturation = gr.Slider(
        0, 2, value=1, step=0.05, label="Saturation", info="1 leaves the colors as the model gives them"
    )
    button = gr.Button("Colorize", variant="primary", size="lg", elem_id=f"colorize{kind}")
    with gr.Accordion("About the models", open=False):
        gr.Markdown(models.about_models())
    return chosen, saturation, button


def nothing_yet(steps: str) -> gr.HTML:
    """What stands where results will be, with what to do first; HTML."""
    return gr.HTML(f"""
<div class="empty">
  <div class="swatches" aria-hidden="true"><i></i><i></i><i></i></div>
  <p><b>Your results appear here</b>, side by side.</p>
  <p>{steps}</p>
</div>
""")
