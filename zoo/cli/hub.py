"""`colorzoo pull`, `cache`, `convert` and `push`: weights that come over the network, and go."""

import json
from pathlib import Path
from typing import Annotated

import typer

from zoo.errors import OptionError, ZooError

Trust = Annotated[
    bool,
    typer.Option(
        "--trust-first-use",
        help="Take weights whose whole sha256 is not known here; what is found is recorded for later pulls.",
    ),
]


def pull(
    names: Annotated[list[str] | None, typer.Argument(help="Models or weights, or hf-hub:OWNER/REPO@COMMIT.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All registered weights that are not packaged.")] = False,
    trust_first_use: Trust = False,
) -> None:
    """Bring weights to this machine, checked and ready for use without the network."""
    if bool(names) == every:
        raise OptionError("nothing to pull" if not every else "--all and names", expected="NAME... or --all")
    from zoo import pulling

    wanted = pulling.pullable() if every else list(dict.fromkeys(names or ()))
    failed = 0
    for name in wanted:
        try:
            typer.echo(f"{name}: {pulling.pull(name, trust_first_use=trust_first_use)}")
        except ZooError as error:
            if len(wanted) == 1:
                raise
            failed += 1
            typer.echo(f"failed: {name}: {error}", err=True)
    if not wanted:
        typer.echo("all registered weights come with the package")
    if failed:
        raise typer.Exit(2 if failed == len(wanted) else 1)


def cache(
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="NAME", help="Delete these weights; may be repeated.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the weights in the caches of this machine, or remove some."""
    from zoo import converted, pulling

    for name in remove or ():
        for each in pulling.remove(name):
            kept = f"; its record stays: {converted.record_path(each.name)}" if each.kind == "converted" else ""
            typer.echo(f"removed {each.name}, {each.size_bytes / 1e6:.1f} MB{kept}")
    if remove:
        return
    found = pulling.stored()
    if as_json:
        typer.echo(json.dumps([each._asdict() | {"path": str(each.path)} for each in found], indent=2))
        return
    if not found:
        typer.echo("no weights but the packaged ones; `colorzoo pull` brings more")
        return
    table = [("WEIGHTS", "KIND", "MB", "WHERE")]
    for each in found:
        size = f"{each.size_bytes / 1e6:.1f}" if each.size_bytes else "removed"
        table.append((each.name, each.kind, size, str(each.path)))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    typer.echo(f"{sum(each.size_bytes for each in found) / 1e6:.1f} MB together")


def convert(
    file: Annotated[Path, typer.Argument(help="A file of weights as its authors published it.")],
    name: Annotated[str, typer.Option("--as", metavar="NAME[.TAG]", help="The registered weights that it is.")],
    trust_first_use: Trust = False,
) -> None:
    """Convert a published pickle that was brought by hand; nothing in it is run."""
    from zoo import convert

    typer.echo(str(convert.from_file(file, name, trust_first_use=trust_first_use)))


def push(
    source: Annotated[str, typer.Argument(help="A folder of Colorizer.save, or a model.", metavar="DIR|NAME")],
    repo_id: Annotated[str, typer.Option("--repo-id", metavar="OWNER/NAME", help="The repository; made if need be.")],
    private: Annotated[bool, typer.Option("--private", help="Close a repository that is made now to others.")] = False,
    license: Annotated[str | None, typer.Option(help="Of the weights, as in SPDX, where none is known.")] = None,
    training_data: Annotated[
        list[str] | None, typer.Option(help="What they were trained on, where no registry says; may be repeated.")
    ] = None,
    commercial_use: Annotated[
        bool | None, typer.Option("--commercial-use/--no-commercial-use", help="Where no registry says.")
    ] = None,
    cards: Annotated[Path, typer.Option(help="Folder of results and notes, for the card.")] = Path("model_cards"),
    links: Annotated[str | None, typer.Option(metavar="URL", help="Where relative links of the card start.")] = None,
) -> None:
    """Upload a model to the Hugging Face Hub, with a card, and print the entry that pins it in a registry."""
    from zoo import publishing

    pushed = publishing.push(
        source,
        repo_id,
        private=private,
        license=license,
        training_data=training_data or (),
        commercial_use=commercial_use,
        cards_folder=cards,
        links=links,
    )
    typer.echo(f"pushed; load it as {pushed.name}")
    if pushed.entry is not None:
        typer.echo(f"\n{pushed.entry}")
