"""A run of `colorzoo bench` as tables of text: for the terminal as they are, for a page through Markdown."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from zoo.evaluation.report import number
from zoo.evaluation.speed import results
from zoo.evaluation.speed.results import Speed
from zoo.evaluation.speed.targets import file_ratio, ratio, targets

NONE = "–"
STAGE_NAMES = ("decode", "L", "network", "upsampling", "gamut", "encode", "other")


class Table(NamedTuple):
    """A table with what it shows; ``notes`` say how it is to be read."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: str = ""


def tables(speed: Speed) -> list[Table]:
    """Those that have rows, in the order in which they are read."""
    several = len(speed.models) > 1
    found = [_targets(speed, several)]
    for model in speed.models:
        suffix = f": {model}" if several else ""
        made = (
            _ways(speed, model),
            _networks(speed, model),
            _files(speed, model),
            _stages(speed, model),
            _memory(speed, model),
            _more(speed, model),
        )
        found += [table._replace(title=table.title + suffix) for table in made]
    return [table for table in (*found, _failures(speed)) if table.rows]


def _targets(speed: Speed, several: bool) -> Table:
    rows = []
    for target in targets(speed):
        name = f"{target.model}: {target.goal.name}" if several and target.model else target.goal.name
        met = {True: "yes", False: "no", None: NONE}[target.met]
        rows.append([name, target.shown, target.goal.wanted, met])
    photos = sorted({int(row.parts["photos"]) for row in speed.find(results.FOLDER, error=None)})
    folder = f" The folder: {' and '.join(map(str, photos))} photos, starting up included." if photos else ""
    notes = f"Medians, taken in turn with what they are compared with, with {counted(speed.threads)}.{folder}"
    return Table("Targets", ["target", "measured", "wanted", "met"], rows, notes)


def _ways(speed: Speed, model: str) -> Table:
    about = speed.models[model]
    rows = []
    chosen = speed.chosen(model)
    size = _working_size(speed, model)
    for row in speed.find(results.FIDELITY, model=model):
        cells = [row.candidate, _figure(row.value, 3)]
        for threads in speed.settings["threads"]:
            at = {"model": model, "subject": "", "backend": row.backend, "dtype": row.dtype, "threads": threads}
            cells += [
                _milliseconds(speed.median(results.FORWARD, size=size, **at)),
                _milliseconds(next((r.p95 for r in speed.find(results.FORWARD, size=size, **at)), None)),
                _milliseconds(speed.median(results.PICTURE, **at)),
            ]
        is_chosen = (row.backend, row.dtype) == chosen
        rows.append([*cells, "chosen" if is_chosen else about.get("passed_over", {}).get(row.candidate, NONE)])
    seen = {row[0] for row in rows}
    width = 2 + 3 * len(speed.settings["threads"])
    for way, why in about.get("passed_over", {}).items():
        if way not in seen:
            rows.append([way, *[NONE] * (width - 1), why])
    heads = [
        f"{what}, {counted(n)}"
        for n in speed.settings["threads"]
        for what in (f"forward at {size}, ms", "p95", "512 x 512 picture, ms")
    ]
    notes = (
        f"CIEDE2000: the mean difference from torch in float32, on {speed.settings['fidelity']}; at most "
        f"{speed.settings['limit']:g} is allowed. The last column: what `auto` uses on this machine, and why no other."
    )
    return Table("Ways to run the network", ["way", "CIEDE2000", *heads, "auto"], rows, notes)


def _networks(speed: Speed, model: str) -> Table:
    rows = []
    for row in speed.find(results.FORWARD, model=model, size="256"):
        if not row.times:
            continue
        beside = {"model": model, "size": row.size, "threads": row.threads, "subject": ""}
        backend, dtype = speed.chosen(model)
        own = speed.median(results.FORWARD, backend=backend, dtype=dtype, **beside)
        relative = ratio(row.median, own)
        rows.append(
            [
                row.subject or model,
                row.candidate,
                str(row.threads),
                _milliseconds(row.median),
                _milliseconds(row.p95),
                str(len(row.times)),
                _figure(relative, 2),
            ]
        )
    header = ["network", "way", "threads", "median, ms", "p95, ms", "rounds", "by the chosen way"]
    notes = (
        "From L to the ab that a network answers, for one picture of 256 x 256. The networks of others are those of "
        "their published code, with random weights, in torch with the same choice of dtype and memory layout."
    )
    return Table("Forward pass against other networks", header, rows, notes)


def _files(speed: Speed, model: str) -> Table:
    rows = []
    for size in speed.sizes:
        for row in speed.find(results.FILE, model=model, size=size):
            if not row.times:
                continue
            pillow = speed.median(results.FILE, model=model, size=size, threads=row.threads, subject=results.PILLOW)
            relative = ratio(row.median, pillow)
            rows.append(
                [
                    size,
                    row.candidate or f"{row.subject}'s decode and colour encode",
                    str(row.threads),
                    _milliseconds(row.median),
                    _milliseconds(row.p95),
                    str(len(row.times)),
                    _figure(ratio(1.0, row.median), 2),
                    _figure(relative, 2),
                ]
            )
    header = ["JPEG", "way", "threads", "median, ms", "p95, ms", "rounds", "pictures a second", "by Pillow"]
    notes = "A grey JPEG into a colour JPEG of quality 95. A 95th percentile of few rounds is near the slowest of them."
    return Table("File to file", header, rows, notes)


def _stages(speed: Speed, model: str) -> Table:
    rows = []
    for size in speed.sizes:
        for row in speed.find(results.STAGES, model=model, size=size, error=None):
            total = sum(row.parts.values())
            rows.append([size, *(_figure(100 * row.parts[s] / total, 1) for s in STAGE_NAMES), _milliseconds(total)])
    header = ["JPEG", *(f"{name}, %" for name in STAGE_NAMES), "all, ms"]
    notes = (
        "Where the time of a file goes, in the chosen way. The pipeline's own functions are timed, each without "
        "what it calls of another stage; pictures are read and painted in strips, whose times are added up. Upsampling "
        "holds the painting too: from ab and L to 8-bit sRGB, the mapping into the gamut apart."
    )
    return Table("Share of each stage", header, rows, notes)


def _memory(speed: Speed, model: str) -> Table:
    rows = [
        [row.size, row.candidate, _figure(row.value, 0)]
        for size in speed.sizes
        for row in speed.find(results.MEMORY, model=model, size=size, error=None)
    ]
    notes = "Of a process that loads the model, colours one JPEG and ends; the interpreter and its libraries included."
    return Table("Peak memory", ["JPEG", "way", "MB"], rows, notes)


def _more(speed: Speed, model: str) -> Table:
    rows = []
    backend, dtype = speed.chosen(model)
    size = _working_size(speed, model)
    at = {"model": model, "subject": "", "backend": backend, "dtype": dtype, "threads": speed.threads}
    picture, forward = speed.median(results.PICTURE, **at), speed.median(results.FORWARD, size=size, **at)
    if picture and forward:
        rows.append(["a picture of 512 x 512 in memory, by the plain forward pass", f"{picture / forward:.2f}x"])
    for size in speed.sizes:
        relative = file_ratio(speed, model, size)
        if relative:
            rows.append([f"a JPEG of {size}, by Pillow's decode and colour encode", f"{relative:.2f}x"])
    for row in speed.find(results.FILM, model=model):
        if row.median:
            what = "a plain transcode of it" if row.subject else "a film in colour"
            rows.append([f"{what} ({speed.settings['film']})", f"{row.parts['frames'] / row.median:.1f} frames/s"])
    plain = speed.median(results.FILM, model=model, subject=results.TRANSCODE)
    if relative := ratio(speed.median(results.FILM, model=model, subject=""), plain):
        rows.append(["the film, by the plain transcode", f"{relative:.2f}x"])
    for row in speed.find(results.FOLDER, model=model, error=None):
        photos, wall = int(row.parts["photos"]), row.parts["wall"]
        rows.append([f"a folder of {photos} photos of 1 MP", f"{photos / wall:.2f} photos/s"])
        used = row.parts["cpu"] / wall
        rows.append([f"processors at work on it, of {int(row.parts['cores'])}", f"{used:.2f}"])
    for row in speed.find(results.LOAD, model=model):
        rows.append(["loading it", f"{_milliseconds(row.median)} ms"])
    return Table("Against the limits, films and folders", ["what", "measured"], rows)


def _failures(speed: Speed) -> Table:
    rows = [
        [" ".join(filter(None, (row.model, row.kind, row.subject, row.candidate, row.size))), row.error or ""]
        for row in speed.rows
        if row.error is not None
    ]
    return Table("Not measured", ["what", "why"], rows)


def choice(speed: Speed) -> Iterator[str]:
    """For each model a line on what ``auto`` uses now, and one on each other way."""
    for model, about in speed.models.items():
        if not about.get("backend"):
            yield f"{model}: no way to run it was measured"
            continue
        yield f"{model}: auto uses {about['backend']} {about['dtype']}"
        for way, why in about.get("passed_over", {}).items():
            yield f"  not {way}: {why}"


def as_text(table: Table) -> str:
    """A table for a terminal."""
    lines = [list(table.header), *map(list, table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    figures = [all(row[i][:1].isdigit() or row[i][:1] in ("−", NONE) for row in table.rows) for i in range(len(widths))]
    shown = [
        "  ".join(
            text.rjust(width) if figure and i else text.ljust(width)
            for i, (text, width, figure) in enumerate(zip(line, widths, figures, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([table.title.upper(), *shown])


def machine(speed: Speed) -> str:
    """Where and when it was measured."""
    m = speed.machine
    bf16 = "bfloat16 in hardware" if m.get("bf16") else "no bfloat16 in hardware"
    cores = m.get("cores")
    parts = [m.get("processor"), cores and f"{cores} {'core' if cores == 1 else 'cores'}", bf16, m.get("system")]
    return f"{', '.join(str(p) for p in parts if p)}; {speed.run.get('date', 'no date')}"


def _working_size(speed: Speed, model: str) -> str:
    """The side at which the network was timed beside the picture in memory: the first."""
    return next((row.size for row in speed.find(results.FORWARD, model=model, subject="")), "256")


def counted(count: int) -> str:
    """``1 thread``, ``2 threads``."""
    return f"{count} {'thread' if count == 1 else 'threads'}"


def _figure(value: float | None, decimals: int) -> str:
    return NONE if value is None else number(value, decimals)


def _milliseconds(seconds: float | None) -> str:
    if seconds is None:
        return NONE
    value = 1000 * seconds
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
