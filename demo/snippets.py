"""What was just done in the page, as code: with the zoo, over the app's API, on the command line."""

import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from demo import models, photos
from demo.photos import Settings

_WIDTH = 60  # characters that a line has room for beside another block of code
_INDENT = " " * 4


class Job(NamedTuple):
    """What a visitor has just done.

    Attributes:
        film: Whether it was a clip rather than photos.
        names: The files' names.
        chosen: What was ticked, names as in `models.parse`.
        settings: How it was colored.
        report: Whether the photos were not colored but compared, in a report.
        guidance: What was told of the colors of one photo, as options of `zoo.Colorizer.colorize`; of a clip's, as
            those of `zoo.colorize_video`.
    """

    film: bool
    names: list[str]
    chosen: list[str]
    settings: Settings
    report: bool = False
    guidance: tuple[tuple[str, Any], ...] = ()

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """For each choice the model's name and the options of `zoo.Colorizer.colorize`."""
        strength = {} if self.settings.saturation == 1 else {"saturation": self.settings.saturation}
        more = {**strength, **dict(self.guidance)}
        settings = self.settings._replace(views=1) if "variant" in more else self.settings  # which it does not go with
        return [(models.parse(name).spec.name, {**photos.options(name, settings), **more}) for name in self.chosen]


def example() -> Job:
    """What is shown as long as nothing was done."""
    return Job(False, ["photo.jpg"], models.default_choices(), Settings())


def in_python(job: Job) -> str:
    """The same with the library."""
    if job.report:
        return "\n".join(
            [
                "from pathlib import Path\n\nimport zoo\n",
                _call("evaluation = zoo.evaluate", _list(job.chosen, 1), _list(job.names, 1, "Path({})")),
                "for result in evaluation.results:",
                '    print(result.label, result.value("ciede2000"))',
            ]
        )
    if job.film:
        lines = ["import zoo", ""]
        for model, options in job.calls:
            target = f"{Path(job.names[0]).stem}-{_word(model, options)}.mp4"
            given = map(_literal, (job.names[0], target))
            lines.append(_call("zoo.colorize_video", *given, *_arguments({"model": model, **options})))
        return "\n".join(lines)
    lines = ["from pathlib import Path", "", "import zoo", "", f"photos = {_list(job.names)}"]
    loaded = ""
    for model, options in job.calls:
        lines += [f"model = zoo.load({_literal(model)})"] if model != loaded else []
        loaded = model
        lines += [
            "for photo in photos:",
            f'    target = f"{{Path(photo).stem}}-{_word(model, options)}.png"',
            _call("model.colorize_file", "photo", "target", *_arguments(options), depth=1),
        ]
    return "\n".join(lines)


def over_http(job: Job, address: str) -> str:
    """The same with this app as the server; ``address`` is its URL, or OWNER/NAME of a Space."""
    lines = ["from gradio_client import Client, handle_file", "", f"client = Client({_literal(address)})"]
    predict = "answer = client.predict"
    if job.report:
        photos = _list(job.names, 1, "handle_file({})")
        return "\n".join([*lines, _call(predict, photos, _list(job.chosen, 1), 'api_name="/report"'), "print(answer)"])
    endpoint = f'api_name="{"/video" if job.film else "/colorize"}"'
    if job.film and job.guidance:
        for model, options in job.calls:
            told = {name: value for name, value in options.items() if name not in ("style", "saturation")}
            layers = told.pop("hints", {})
            files = {"layers": _list(layers.values(), 1, "handle_file({})")} if layers else {}
            more = {"moments": list(layers)} if layers else {}
            files |= {"reference": f"handle_file({_literal(told.pop('reference'))})"} if "reference" in told else {}
            written = [f"{name}={code}" for name, code in files.items()]
            plain = map(_literal, (model, options.get("style", ""), job.settings.saturation))
            clip = f"handle_file({_literal(job.names[0])})"
            lines.append(_call(predict, clip, *plain, *written, *_arguments(more | told), endpoint))
            lines.append("print(answer)")
        return "\n".join(lines)
    if job.guidance:
        ((model, options),) = job.calls
        told = {"source": job.names[0], "model": model, **options}
        told |= {"layer": told.pop("hints")} if "hints" in told else {}
        files = {
            name: f"handle_file({_literal(told.pop(name))})"
            for name in ("source", "layer", "reference")
            if name in told
        }
        written = [f"{name}={code}" for name, code in files.items()]
        return "\n".join([*lines, _call(predict, *written, *_arguments(told), 'api_name="/touch_up"'), "print(answer)"])
    calls = [
        (
            model,
            options.get("style", ""),
            job.settings.saturation,
            options.get("temperature"),
            options.get("working_size"),
            options.get("views", 1),
        )
        for model, options in job.calls
    ]
    photo, depth = _literal(job.names[0]), 0
    if len(job.names) > 1:
        lines.append(f"for photo in {_list(job.names)}:")
        photo, depth = "photo", 1
    for call in calls:
        given = call[:3] if job.film or call[3:] == (None, None, 1) else call
        lines += [
            _call(predict, f"handle_file({photo})", *map(_literal, given), endpoint, depth=depth),
            f"{_INDENT * depth}print(answer)",
        ]
    return "\n".join(lines)


def on_command_line(job: Job) -> str:
    """The same with ``colorzoo``."""
    if job.report:
        copied = _command("mkdir photos && cp", *map(_quoted, job.names), "photos/")
        made = _command("colorzoo report photos/", f"--models {','.join(job.chosen)}", "--out report.html")
        return f"{copied}\n{made}"
    lines = []
    for model, options in job.calls:
        if "variant" in options and not job.film:  # the command makes the first ones, of which this is the last
            options = {"variants": options["variant"] + 1, **{k: v for k, v in options.items() if k != "variant"}}
        flags = [
            f"--{name.replace('_', '-')} {_quoted(str(own))}"
            for name, value in {"model": model, **options}.items()
            for own in ([f"{at:g}:{layer}" for at, layer in value.items()] if isinstance(value, dict) else [value])
        ]
        word = _word(model, options)
        if job.film:
            name = job.names[0]
            lines.append(_command("colorzoo video", _quoted(name), _quoted(f"{Path(name).stem}-{word}.mp4"), *flags))
        else:
            lines.append(_command("colorzoo colorize", *map(_quoted, job.names), *flags, f"--out {word}"))
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


def _arguments(options: dict[str, Any]) -> list[str]:
    return [f"{name}={_literal(value)}" for name, value in options.items()]


def _literal(value: Any) -> str:
    """As it stands in code, in double quotes where that needs no escapes."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(own)}' for key, own in value.items())}}}"
    text = repr(value)
    return f'"{text[1:-1]}"' if text[0] == "'" and '"' not in text else text


def _list(values: Iterable[str], depth: int = 0, each: str = "{}") -> str:
    return _broken("[", [each.format(_literal(value)) for value in values], "]", depth)


def _call(function: str, *arguments: str, depth: int = 0) -> str:
    return _INDENT * depth + _broken(f"{function}(", arguments, ")", depth)


def _broken(start: str, parts: Sequence[str], end: str, depth: int) -> str:
    """Parts with commas between, in lines as formatters break them, of which all but the first are indented."""
    line, indent = ", ".join(parts), _INDENT * depth
    if "\n" not in line and len(f"{indent}{start}{line}{end}") <= _WIDTH:
        return f"{start}{line}{end}"
    if "\n" not in line and len(f"{indent}{_INDENT}{line}") <= _WIDTH and start.endswith("("):
        return f"{start}\n{indent}{_INDENT}{line}\n{indent}{end}"
    return f"{start}\n{''.join(f'{indent}{_INDENT}{part},{chr(10)}' for part in parts)}{indent}{end}"


def _command(*words: str) -> str:
    """A line for the shell, which goes on in the next where it would be long."""
    lines = [words[0]]
    for word in words[1:]:
        if len(lines[-1]) + len(word) < _WIDTH:
            lines[-1] += f" {word}"
        else:
            lines.append(f"{_INDENT}{word}")
    return " \\\n".join(lines)


def _quoted(name: str) -> str:
    return shlex.quote(name if not name.startswith("-") else f"./{name}")
