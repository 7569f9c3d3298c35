"""Model cards: text made of specs, results and hand-written notes.

No number is typed here: all come from result files and specs, so that a stale card can be told by making it again.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from zoo import registry
from zoo.errors import UnknownModelError, ZooError
from zoo.evaluation.metrics import METRICS
from zoo.evaluation.report import worst_by
from zoo.evaluation.results import Result
from zoo.evaluation.tables import (
    BASELINE_NAMES,
    GENERATED,
    LEVEL_NAME,
    SHOWN_BENCHMARK,
    benchmark_order,
    bullet_list,
    by_weights,
    column_title,
    cost_table,
    escaped,
    figure_cell,
    fixed,
    in_code,
    interval_below,
    load_name,
    machines_line,
    main_metrics,
    markdown_table,
    metric_number,
    not_measured_line,
    of_kind,
    protocol_line,
    what_it_is,
)
from zoo.spec import ModelSpec, WeightsSpec, statements

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from zoo.evaluation.films.results import FilmResult

FAILURES = 4
FAILURE_RULE = f"the {FAILURES} photos of benchmark `{SHOWN_BENCHMARK}` with the highest CIEDE2000, the worst first"
NOTES = ("Intended use", "Failures seen", "Ethics", "What was tried")
SHARED_NOTES = "ethics.md"
_HUB_LICENSES = {  # those of https://huggingface.co/docs/hub/repositories-licenses that weights often have
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "isc", "mpl-2.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0"),
    *("openrail", "unlicense"),
}
_UNFIT = re.compile(r"<[A-Za-z/!?]|^\s*(?:# |---|===|\*\*\*|```|~~~)", re.MULTILINE)
_HEADING = re.compile(r"^## +(.+?) *$", re.MULTILINE)


def read_notes(folder: Path, model: str) -> str:
    """The notes on a model, with the section that all cards share where it has none of its own.

    Args:
        folder: ``model_cards/notes``.
        model: Its name.

    Raises:
        ZooError: A file is missing.
    """
    path = folder / f"{model}.md"
    text = _read(path)
    if "Ethics" not in _HEADING.findall(text):
        shared = _read(folder / SHARED_NOTES)
        heading = _HEADING.search(shared)
        text += "\n" + (shared[heading.start() :] if heading else "")
    return text


def card(
    spec: ModelSpec,
    weights: WeightsSpec,
    results: Mapping[str, Sequence[Result]],
    notes: str | None,
    pictures: Mapping[str, str],
    *,
    load: str | None = None,
    parameters: int | None = None,
) -> str:
    """The card of one set of weights: Markdown with the metadata that the Hugging Face Hub reads.

    Args:
        spec: The model.
        weights: One of its weights.
        results: By benchmark, those of these weights and the baselines; results of others are left out.
        notes: As `read_notes` gives them; None leaves out what is written by hand.
        pictures: By label the picture of its failures, a path relative to ``model_cards``.
        load: The name to load it by; None is the registry's.
        parameters: How many there are; None is what the results say.

    Raises:
        ZooError: A section of the notes is missing, doubled, empty or holds HTML; a result is of other weights.
    """
    sections = {} if notes is None else _sections(notes, spec.name)
    own = _own(spec, weights, results)
    benchmarks = [name for name in benchmark_order(results) if own[name]]
    used = [r for name in benchmarks for r in (*own[name], *of_kind(results[name], "baseline"))]
    evaluated = [r for name in benchmarks for r in own[name]]
    name = load or load_name(spec, weights)
    parts = [
        *([GENERATED.format(f"Edit notes/{spec.name}.md instead.")] if sections else []),
        f"# {escaped(f'{spec.name}.{weights.tag}')}",
        f"> Colours are plausible guesses, not a record of the scene{': see [ethics](#ethics)' if sections else ''}.",
        _summary(spec, weights),
        _facts(spec, weights, evaluated, parameters),
        "## How to use",
        _usage(spec, name),
        *_section(sections, "Intended use"),
        "## Training data",
        bullet_list(escaped(line) for line in statements(weights.training_data)),
        "## Training",
        _training(weights),
        "## Results",
        *([] if benchmarks else [f"Not evaluated yet: `colorzoo evaluate --models {name}`."]),
    ]
    for benchmark in benchmarks:
        parts += _benchmark(benchmark, own[benchmark], of_kind(results[benchmark], "baseline"))
    failures = _failure_cases(own.get(SHOWN_BENCHMARK, []), pictures)
    parts += [
        *(["## Failure cases"] if sections or failures else []),
        *_section(sections, "Failures seen")[1:],
        *failures,
        "## Limits",
        _limits(spec),
        *_section(sections, "Ethics"),
        *_section(sections, "What was tried"),
        "## Provenance",
        _provenance(used),
    ]
    return f"---\n{_metadata(spec, weights, own)}\n---\n\n" + "\n\n".join(parts) + "\n"


def stale_weights(results: Mapping[str, Sequence[Result]]) -> list[str]:
    """What is wrong with results whose weights are not those of the registry: file, found, expected, remedy."""
    problems = (
        problem(r, f"model_cards/results/{name}/{r.file_name}")
        for name in benchmark_order(results)
        for r in of_kind(results[name], "model")
    )
    return [str(each) for each in problems if each]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ZooError(
            f"model_cards/notes/{path.name}: cannot be read",
            found=getattr(error, "strerror", None) or error,
            expected="a Markdown file with the headings " + ", ".join(f"'## {h}'" for h in NOTES),
            remedy="write it by hand",
        ) from error


def _sections(notes: str, model: str) -> dict[str, str]:
    """The notes cut at their headings; what stands before the first is left out."""
    where = f"model_cards/notes/{model}.md"
    _, *pieces = _HEADING.split(notes)
    found: dict[str, str] = {}
    for heading, text in zip(pieces[::2], pieces[1::2], strict=True):
        if heading not in NOTES or heading in found:
            wrong = "twice" if heading in found else "unknown"
            raise ZooError(f"{where}: heading '## {heading}' is {wrong}", expected=", ".join(NOTES))
        if unfit := _UNFIT.search(re.sub(r"`[^`\n]+`", "", text)):
            raise ZooError(
                f"{where}: section '## {heading}' does not fit into a card",
                found=repr(unfit[0]),
                expected="Markdown without HTML, code blocks, rules and headings of the first level",
            )
        found[heading] = text.strip()
    for heading in NOTES:
        if not found.get(heading):
            raise ZooError(
                f"{where}: section '## {heading}' is {'empty' if heading in found else 'missing'}",
                remedy=f"write it by hand (what all cards share is in model_cards/notes/{SHARED_NOTES})",
            )
    return found


def _section(sections: Mapping[str, str], heading: str) -> list[str]:
    return [f"## {heading}", sections[heading]] if sections else []


def _own(spec: ModelSpec, weights: WeightsSpec, results: Mapping[str, Sequence[Result]]) -> dict[str, list[Result]]:
    """By benchmark the results of ``weights``, in the order of the styles."""
    own = {}
    for name, every in results.items():
        own[name] = [r for r in by_weights(of_kind(every, "model")) if (r.model, r.tag) == (spec.name, weights.tag)]
        for result in own[name]:
            if result.weights.get("sha256") != weights.sha256:
                raise ZooError(
                    f"model_cards/results/{name}/{result.file_name}: made with other weights than the card's",
                    found=f"sha256 {result.weights.get('sha256')}",
                    expected=f"sha256 {weights.sha256}",
                    remedy="evaluate again",
                )
    return own


def problem(result: "Result | FilmResult", where: str, data: str = "--data PHOTOS") -> ZooError | None:
    """Why the registry does not know what a result was made with; None where it does.

    Args:
        result: Of a model.
        where: It lies.
        data: The option that says what to evaluate on.
    """
    found = result.weights.get("sha256")
    try:
        spec = registry.find(result.model)[0]
    except UnknownModelError as error:
        return ZooError(f"{where}: {error.what}", expected=error.expected, remedy="delete the file")
    style = result.options.get("style")
    weights = next((w for w in spec.weights if w.tag == result.tag), None)
    if weights is None and (result.tag is not None or spec.weights):
        return ZooError(
            f"{where}: model {spec.name!r} has no such weights",
            found=f"{result.tag} with sha256 {found}",
            expected=", ".join(w.tag for w in spec.weights) or "none",
            remedy="delete the file, and evaluate what there is now",
        )
    if weights is not None and weights.sha256 != found:
        command = f"colorzoo evaluate --models {load_name(spec, weights)} {data} --benchmark {result.benchmark}"
        return ZooError(
            f"{where}: made with other weights than the registry's",
            found=f"sha256 {found}",
            expected=f"sha256 {weights.sha256}",
            remedy=f"evaluate again: {command}",
        )
    if style is not None and style not in spec.styles:
        expected = ", ".join(spec.styles) or "none"
        return ZooError(f"{where}: no such style", found=style, expected=expected, remedy="delete the file")
    return None


def _metadata(spec: ModelSpec, weights: WeightsSpec, own: Mapping[str, Sequence[Result]]) -> str:
    from huggingface_hub import ModelCardData

    found = [e for name in benchmark_order(own) for result in own[name] for e in _eval_results(result)]
    tags = ["colorization", "image-colorization", spec.name]
    if not weights.commercial_use:
        tags.append("not-for-commercial-use")
    data = ModelCardData(
        **hub_license(weights.license),
        library_name="colorzoo",
        pipeline_tag="image-to-image",
        tags=tags,
        model_name=f"{spec.name}.{weights.tag}",
        eval_results=found or None,
    )
    return data.to_yaml()


def _eval_results(result: Result) -> "list[EvalResult]":
    from huggingface_hub import EvalResult

    options = "".join(f", {value}" if key == "style" else f", {key} {value}" for key, value in result.options.items())
    found = []
    for metric in main_metrics([result]):
        unit = f" ({metric.unit})" if metric.unit else ""
        value = round(result.measured[metric.name]["value"], metric.decimals) + 0.0  # no -0.0
        found.append(
            EvalResult(
                task_type="image-to-image",
                task_name="Colorization",
                dataset_type=f"colorzoo-{result.benchmark}",
                dataset_name=f"{result.benchmark} ({len(result.names)} photos)",
                dataset_args={
                    key: result.protocol[key] for key in ("crop", "size", "ageing") if key in result.protocol
                },
                metric_type=metric.name,
                metric_name=f"{metric.title}{unit}{options}",
                metric_value=int(value) if metric.decimals == 0 else value,
                metric_args=dict(result.options) or None,
            )
        )
    return found


def hub_license(license: str) -> dict[str, Any]:
    """A licence in the Hub's words; one that it does not know is ``other`` with its name."""
    known = re.sub(r"-(only|or-later)\Z", "", license.strip().lower())
    if known in _HUB_LICENSES:
        return {"license": known}
    name = re.sub(r"[^a-z0-9.]+", "-", known).strip("-")
    if not name:
        raise ZooError("a licence without a name", found=repr(license), expected="an SPDX identifier: Apache-2.0")
    return {"license": "other", "license_name": name}


def _summary(spec: ModelSpec, weights: WeightsSpec) -> str:
    text = f"{escaped(spec.summary.rstrip('.'))}."
    if weights.tag == spec.weights[0].tag:
        return text
    return f"A variant: {what_it_is(spec, weights)}. {in_code(spec.name)} itself: {text}"


def _facts(spec: ModelSpec, weights: WeightsSpec, own: Sequence[Result], parameters: int | None) -> str:
    parameters = parameters or next((r.cost["parameters"] for r in own if r.cost.get("parameters")), None)
    options = sorted(spec.supports - {"style"})
    facts = {
        "Design": escaped(spec.reference or ""),
        "Styles": ", ".join(map(in_code, spec.styles)),
        "Options": ", ".join(map(in_code, options)),
        "Parameters": f"{parameters:,}" if parameters else "",
        **_place(weights),
        "Licence of the weights": escaped(weights.license),
        "Commercial use": "yes" if weights.commercial_use else "**no**, because of the [training data](#training-data)",
        "Source": escaped(weights.source_url or ""),
    }
    return bullet_list(f"**{key}**: {value}" for key, value in facts.items() if value)


def _place(weights: WeightsSpec) -> dict[str, str]:
    """Where the weights are, and how large."""
    size = f"{fixed(weights.size_bytes and weights.size_bytes / 1e6, 1)} MB"
    if weights.parts:
        return {"Made of": f"{_parts(weights)}; {size} together, comes with the package"}
    if weights.packaged is None:
        return {"File": f"{in_code(str(weights.filename))}, {size}", "sha256": in_code(str(weights.sha256))}
    name = str(weights.packaged)
    return {
        "File": f"[{in_code(name)}](../zoo/weights/{quote(name)}), {size}, comes with the package",
        "sha256": in_code(str(weights.sha256)),
    }


def _parts(weights: WeightsSpec) -> str:
    return ", ".join(f"[{in_code(part)}]({quote(part)}.md)" for part in weights.parts)


def _usage(spec: ModelSpec, name: str) -> str:
    style = spec.styles[-1] if spec.styles else None
    call = f', style="{style}"' if style else ""
    flag = f" --style {style}" if style else ""
    return (
        "```python\nimport zoo\n\n"
        f'model = zoo.load("{name}")\n'
        f'model.colorize("old.jpg"{call}).save("coloured.png")\n```\n\n'
        f"```sh\ncolorzoo colorize old.jpg --model {name}{flag} --out coloured.png\n```"
    )


def _training(weights: WeightsSpec) -> str:
    if weights.parts:
        return f"Not trained itself: see its parts, {_parts(weights)}."
    said = []
    if weights.training_config:
        name = weights.training_config
        said.append(f"Trained with [{in_code(name)}](../training/configs/{quote(name)}).")
    if weights.commit:
        said.append(f"Packaged at commit {in_code(weights.commit[:12])} of this project.")
    return " ".join(said) or "Not stated."


def _benchmark(name: str, own: Sequence[Result], baselines: Sequence[Result]) -> list[str]:
    columns = main_metrics([*own, *baselines])
    rows = [
        [
            in_code(r.label) if r.kind == "model" else BASELINE_NAMES.get(r.label, in_code(r.label)),
            *(figure_cell(r, m) for m in columns),
        ]
        for r in (*own, *baselines)
    ]
    parts = [
        f"### Benchmark {in_code(name)}",
        f"{protocol_line(own[0])} Below each figure stands its {LEVEL_NAME} bootstrap interval.",
        markdown_table(["", *map(column_title, columns)], rows),
        *not_measured_line(own),
        f"[What the columns mean](README.md#what-the-columns-mean), [report](reports/{quote(name)}/README.md).",
    ]
    if costs := cost_table(own, lambda r: in_code(r.label)):
        parts += [costs, machines_line(own)]
    for result in own:
        if result.sweep:
            parts += [
                f"{in_code(result.label)} at other temperatures, closer to the truth or more colourful:",
                _sweep(result.sweep),
            ]
    return parts


def _sweep(points: Sequence[Mapping[str, Any]]) -> str:
    columns = [METRICS["gain"], METRICS["cf_share"]]
    rows = [
        [
            f"{p['temperature']:g}",
            *(metric_number(m, p[m.name]) + interval_below(m, p.get(f"{m.name}_interval")) for m in columns),
        ]
        for p in points
    ]
    return markdown_table(["temperature", *map(column_title, columns)], rows)


def _failure_cases(shown: Sequence[Result], pictures: Mapping[str, str]) -> list[str]:
    parts = [f"Chosen by rule, not by hand: {FAILURE_RULE}."] if shown else []
    metric = METRICS["ciede2000"]
    for result in shown:
        credits = result.data.get("credits") or {}
        errors = dict(zip(result.names, result.per_picture[metric.name], strict=True))
        parts.append(f"{in_code(result.label)}:")
        if result.label in pictures:
            parts.append(f"![Failures of {escaped(result.label)}]({quote(pictures[result.label], safe='/+')})")
        parts.append(
            "\n".join(
                f"1. {metric.title} {metric_number(metric, errors[name])}: {_credit(name, credits.get(name) or {})}"
                for name in worst_by(result, FAILURES)
            )
        )
    return parts


def _credit(name: str, credit: Mapping[str, Any]) -> str:
    title = escaped(credit["title"]) if credit.get("title") else in_code(name)
    return ", ".join([title, *(escaped(credit[key]) for key in ("author", "licence", "source") if credit.get(key))])


def _limits(spec: ModelSpec) -> str:
    return bullet_list(
        (
            f"The network sees a picture at the area of {spec.working_size} × {spec.working_size} pixels, whatever its "
            "size, and answers on a coarser grid; colours are then brought to full size along the edges of the "
            "lightness. Small coloured things are missed, and colour spills where an edge is soft.",
            "The figures come from modern colour photos that were turned grey, on some benchmarks after they were aged "
            "by computation. Emulsions of old prints saw colours unequally, and their true colours are not known: how "
            "well the model does on them is not measured.",
            "Each picture is coloured by itself: the same coat can differ between two photos of it.",
            "Lightness is kept: what is too dark, faded or damaged in the original stays so.",
        )
    )


def _provenance(results: Sequence[Result]) -> str:
    if not results:
        return "Generated from the registry and the notes; there are no results yet."
    files = ", ".join(
        f"[{in_code(path)}]({quote(path, safe='/+')}) (`{r.digest[:12]}`)"
        for r in results
        if (path := f"results/{r.benchmark}/{r.file_name}")
    )
    return f"Generated from {files}; numbers come from there. In brackets: the first 12 digits of each file's sha256."
