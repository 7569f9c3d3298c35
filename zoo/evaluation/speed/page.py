"""The page about speed, from the results of `colorzoo bench`: Markdown and plots beside it."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from zoo import registry
from zoo.errors import UnknownModelError
from zoo.evaluation.speed import plots
from zoo.evaluation.speed.results import Speed
from zoo.evaluation.speed.tables import Table, machine, tables
from zoo.evaluation.speed.targets import targets
from zoo.evaluation.tables import GENERATED, escaped, markdown_table

_ALTS = {
    "latency.svg": "Time of a JPEG by its size, a line for each way to run the network",
    "stages.svg": "What share of the time each stage takes, by size",
    "targets.svg": "How far each target is met",
}
_PLACES = {"File to file": "latency.svg", "Share of each stage": "stages.svg", "Targets": "targets.svg"}


def files(found: Mapping[str, Mapping[str, Speed]], reports: Path) -> dict[Path, str | bytes]:
    """Every file of the pages: its path, and what it is to hold.

    Args:
        found: By folder of results, its runs by name.
        reports: The folder of the reports.

    Raises:
        ZooError: matplotlib is not installed.
    """
    made: dict[Path, str | bytes] = {}
    for name, runs in found.items():
        folder = reports / name
        made |= {folder / file: content for file, content in render(runs).items()}
    return made


def render(runs: Mapping[str, Speed], *, name: str = "README.md") -> dict[str, str | bytes]:
    """The page's files by relative name.

    Args:
        runs: By name, which stands before the plots of each where there are several.
        name: Of the page.

    Raises:
        ZooError: matplotlib is not installed.
    """
    made: dict[str, bytes] = {}
    several = len(runs) > 1
    parts = [GENERATED.format("Run `colorzoo bench` and it again instead of editing."), "# Speed"]
    for run, speed in runs.items():
        stem = Path(name).stem
        prefix = f"{run}-" if several else "" if name == "README.md" else f"{stem}-"
        drawn = plots.plots(speed, prefix)
        made |= drawn
        parts += [f"## {escaped(run)}"] if several else []
        parts += _introduction(speed)
        for table in tables(speed):
            parts += _section(speed, table, drawn, prefix, "###" if several else "##")
    return {name: "\n\n".join(parts) + "\n", **made}


def stale_weights(found: Mapping[str, Mapping[str, Speed]]) -> list[str]:
    """What is wrong with runs whose models are not those of the registry."""
    problems = []
    for folder, runs in found.items():
        for run, speed in runs.items():
            for name, about in speed.models.items():
                where = f"model_cards/results/{folder}/{run}.json"
                remedy = f"measure again: colorzoo bench {' '.join(speed.models)} --no-page --out {where}"
                try:
                    weights = registry.find_weights(name)[2]
                except UnknownModelError as error:
                    problems.append(f"{where}: {error.what}; delete the file")
                    continue
                known = None if weights is None else weights.sha256
                if known is not None and known != about.get("weights", {}).get("sha256"):
                    problems.append(f"{where}: {name} was measured with other weights than the registry's; {remedy}")
    return problems


def sections(found: Mapping[str, Mapping[str, Speed]], reports: str) -> list[str]:
    """What stands on the leaderboard about speed: how many targets are met, and where the page is."""
    made = []
    for folder, runs in found.items():
        lines = [
            f"{escaped(name)}: {sum(bool(t.met) for t in targets(speed))} of {len(targets(speed))} targets met, on "
            f"{escaped(machine(speed))}."
            for name, speed in runs.items()
        ]
        link = f"See [latency, memory and where the time goes]({reports}/{quote(folder)}/README.md)."
        made.append("\n\n".join(["## Speed", *lines, link]))
    return made


def _introduction(speed: Speed) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in speed.versions.items())
    text = (
        f"Measured by `colorzoo bench` in {speed.run.get('seconds', 0):.0f} s on {escaped(machine(speed))}. "
        f"{escaped(versions)}. What is compared ran in turn, round by round, each network in a process of its own; "
        "figures are medians."
    )
    return [text] if speed.complete else [text, "**This run was interrupted: some is not measured.**"]


def _section(speed: Speed, table: Table, drawn: Mapping[str, bytes], prefix: str, level: str) -> list[str]:
    rows = [[escaped(cell) for cell in row] for row in table.rows]
    title, _, model = table.title.partition(": ")
    number = f"{list(speed.models).index(model) + 1}-" if model else ""
    parts = [f"{level} {escaped(table.title)}", markdown_table([escaped(head) for head in table.header], rows)]
    parts += [escaped(table.notes)] if table.notes else []
    plot = _PLACES.get(title, "")
    file = f"{prefix}{number}{plot}"
    return [*parts, f"![{_ALTS[plot]}]({quote(file)})"] if plot and file in drawn else parts
