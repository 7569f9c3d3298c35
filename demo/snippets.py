"""What was just done in the page, as code: with the zoo, over the app's API, on the command line."""

import os
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from demo import models, photos
from demo.photos import Settings


class Job(NamedTuple):
    """What a visitor has just done.

    Attributes:
        film: Whether it was a clip rather than photos.
        names: The files' names.
        chosen: What was ticked, names as in `models.parse`.
        settings: How it was colored.
    """

    film: bool
    names: list[str]
    chosen: list[str]
    settings: Settings

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """For each choice the model's name and the options of `zoo.Colorizer.colorize`."""
        strength = {} if self.settings.saturation == 1 else {"saturation": self.settings.saturation}
        return [
            (models.parse(name).spec.name, {**photos.options(name, self.settings), **strength}) for name in self.chosen
        ]


def example() -> Job:
    """What is shown as long as nothing was done."""
    return Job(False, ["photo.jpg"], models.default_choices(), Settings())


def in_python(job: Job) -> str:
    """The same with the library."""
    if job.film:
        lines = ["import zoo", ""]
        for model, options in job.calls:
            target = f"{Path(job.names[0]).stem}-{_word(model, options)}.mp4"
            lines.append(f"zoo.colorize_video({job.names[0]!r}, {target!r}, {_arguments({'model': model, **options})})")
        return "\n".join(lines)
    lines = ["from pathlib import Path", "", "import zoo", "", f"photos = {job.names!r}"]
    loaded = ""
    for model, options in job.calls:
        lines += [f"model = zoo.load({model!r})"] if model != loaded else []
        loaded = model
        lines += [
            "for photo in photos:",
            f'    target = f"{{Path(photo).stem}}-{_word(model, options)}.png"',
            f"    model.colorize_file({', '.join(filter(None, ('photo, target', _arguments(options))))})",
        ]
    return "\n".join(lines)


def over_http(job: Job, address: str) -> str:
    """The same with this app as the server; ``address`` is its URL, or OWNER/NAME of a Space."""
    endpoint = "/video" if job.film else "/colorize"
    lines = ["from gradio_client import Client, handle_file", "", f"client = Client({address!r})"]
    calls = [
        (
            model,
            options.get("style", ""),
            job.settings.saturation,
            options.get("temperature"),
            options.get("working_size"),
        )
        for model, options in job.calls
    ]
    for name in job.names:
        for call in calls:
            given = call[:3] if job.film or not any(call[3:]) else call
            lines.append(
                f"print(client.predict(handle_file({name!r}), {', '.join(map(repr, given))}, api_name={endpoint!r}))"
            )
    return "\n".join(lines)


def on_command_line(job: Job) -> str:
    """The same with ``colorzoo``."""
    lines = []
    for model, options in job.calls:
        flags = "".join(f" --{name.replace('_', '-')} {value}" for name, value in options.items())
        word = _word(model, options)
        if job.film:
            name = job.names[0]
            lines.append(
                f"colorzoo video {_quoted(name)} {_quoted(f'{Path(name).stem}-{word}.mp4')} --model {model}{flags}"
            )
        else:
            lines.append(f"colorzoo colorize {' '.join(map(_quoted, job.names))} --model {model}{flags} --out {word}")
    return "\n".join(lines)


def address(request: gr.Request) -> str:
    """Where this app is reached, as `gradio_client.Client` takes it."""
    space = os.environ.get("SPACE_ID")
    if space:
        return space
    scheme = request.headers.get("x-forwarded-proto", "http")
    return f"{scheme}://{request.headers.get('host', 'localhost')}/"


def _word(model: str, options: dict[str, Any]) -> str:
    return f"{model}-{options['style']}" if "style" in options else model


def _arguments(options: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in options.items())


def _quoted(name: str) -> str:
    return shlex.quote(name if not name.startswith("-") else f"./{name}")
