"""The command line, `colorzoo`: one module for each group of commands; they parse and print, nothing else.

Command modules import the zoo inside their functions, so that ``--help`` answers at once, without torch.
"""

import logging
import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from zoo.cli import batch, bench, check, choices, colorize, evaluate, export, guidance, hub, models, report, video
from zoo.errors import ZooError


class _Commands(TyperGroup):
    """Prints what the zoo refuses as one line, exit code 2; the rest are bugs and keep their traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except ZooError as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(2) from error


def _print_version(wanted: bool) -> None:
    if wanted:
        import zoo

        typer.echo(f"colorzoo {zoo.__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _colorzoo(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Colour grey pictures and compare the models that do it.

    Exit codes: 0 all done, 1 some pictures failed, 2 nothing done because of the call itself.
    """


# A new command is a function in a module of this folder, and a line here.
app.command("list")(models.list_)
app.command("show")(models.show)
app.command("colorize")(colorize.colorize)
app.command("compare")(colorize.compare)
app.command("batch")(batch.batch)
app.command("certainty")(choices.certainty)
app.command("video")(video.video)
app.command("check")(check.check)
app.command("bench")(bench.bench)
app.command("evaluate")(evaluate.evaluate)
app.command("guidance")(guidance.guidance)
app.command("choices")(choices.choices)
app.command("report")(report.report)
app.command("pull")(hub.pull)
app.command("cache")(hub.cache)
app.command("export")(export.export)
app.command("convert")(hub.convert)
app.command("push")(hub.push)


def main() -> None:
    """Run the command line and exit."""
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs each odd tag; what matters is raised
    try:
        app(prog_name="colorzoo")
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:  # as in `colorzoo list | head -1`; what is left to flush at exit goes nowhere
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
