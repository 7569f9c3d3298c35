"""The tab for developers: the code of what was just done."""

import asyncio
from typing import Any

import gradio as gr

from demo import limits, parts, snippets
from demo.snippets import Job

ENDPOINTS = f"""
| endpoint | takes | gives |
|---|---|---|
| `/colorize` | picture, model, style, saturation, temperature, working size, views | PNG of its size and depth |
| `/compare` | picture, list of models, saturation | gallery, one PNG for each |
| `/touch_up` | picture, model, style, hints, layer, variant, seed, reference, its mode, saturation, working size, \
views | the same |
| `/variants` | picture, model, style, number, seed, saturation | gallery, one PNG for each |
| `/certainty` | picture, model, style | how sure the model is, over the picture, PNG |
| `/video` | clip, model, style, saturation, variant, seed, layers, their moments, reference, its mode | MP4 of up to \
{limits.CLIP_SECONDS} seconds |
| `/report` | list of photos in color, list of models | the comparison as an HTML file |
| `/models` | nothing | table of the models with license, size and speed |

Hints are a list of strokes, `{{"color": "#c03020", "size": 20, "points": [[120, 80], [160, 90]]}}`, and of points,
`[120, 80, "#c03020"]`, in pixels of the upright picture. A layer is a PNG of its size, transparent where nothing is
told; those of a clip have the size at which frames are shown, and each a moment in seconds. A model is named as in the
table, `fusion`, or with its style, `fusion:vivid`. Limits are those of the page; who has to wait is told so, and when
the queue is full, that too.
"""


def add_code_tab(tab: gr.Tab, done: gr.State) -> None:
    """What is in the ``tab``, filled when it is opened; ``done`` holds the visitor's last `Job`."""
    parts.heading("What you have just done, as code")
    gr.Markdown("Nothing yet? Then this is how it begins.")
    shown: dict[str, Any] = {"interactive": False, "wrap_lines": True, "elem_classes": "snippet"}
    with gr.Row():
        with gr.Column(min_width=320):
            python = gr.Code(language="python", label="In Python, with the library", lines=6, **shown)
            shell = gr.Code(language="shell", label="On the command line", lines=2, **shown)
        with gr.Column(min_width=320):
            client = gr.Code(language="python", label="With gradio_client", lines=6, **shown)
    parts.heading("Endpoints")
    gr.Markdown(ENDPOINTS, elem_id="endpoints")

    one_at_a_time = asyncio.Semaphore()

    async def tell(job: Job | None, request: gr.Request) -> tuple[str, str, str]:
        """Outside the queue, and without one of Gradio's threads: the models that it asks may be at work."""
        address = snippets.address(request)
        async with one_at_a_time:
            return await asyncio.to_thread(_code, job or snippets.example(), address)

    tab.select(tell, done, [python, shell, client], queue=False, show_progress="hidden", api_visibility="private")


def _code(job: Job, address: str) -> tuple[str, str, str]:
    return snippets.in_python(job), snippets.on_command_line(job), snippets.over_http(job, address)
