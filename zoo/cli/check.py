"""`colorzoo check`: does a model do what every model must? For those who write one."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from zoo.contract import CheckResult


def check(name: Annotated[str, typer.Argument(help="A model, as in `colorzoo list`, or MODEL.TAG.")]) -> None:
    """Check that a model does what every model must, and print what fails.

    All checks run on its smallest configuration, untrained. Where weights come with an installed package they are
    loaded, and checked as far as that is quick. Nothing is fetched.

    Exit codes: 0 all checks passed, 1 some failed, 2 no such model.
    """
    from zoo import registry

    _, cls, _ = registry.find_weights(name)
    package = cls.__module__.partition(".")[0]
    results = []
    for result in _results(name):
        results.append(result)
        typer.echo(f"  {'ok' if result.passed else 'FAIL':<5} {result.check}")
        if result.problem is not None:
            typer.echo(f"        {result.problem}")
            if place := _place(result.error, package):
                typer.echo(f"        {place}")
    failed = sum(not result.passed for result in results)
    typer.echo(f"{failed} of {len(results)} checks failed" if failed else f"all {len(results)} checks passed")
    raise typer.Exit(1 if failed else 0)


def _results(name: str) -> "Iterator[CheckResult]":
    """What became of each step, as it happens; what cannot be made or loaded is not checked further."""
    from zoo import contract, loading, registry

    spec, _, weights = registry.find_weights(name)
    typer.echo(f"{spec.name}, smallest configuration, untrained")
    make = contract.maker(spec.name)
    built = contract.attempt("builds", make)
    yield built
    if not built.passed:
        return
    with _one_thread():
        for check in contract.CHECKS:
            yield from contract.run(make, [check])
    for each in spec.weights if "." not in name else filter(None, [weights]):
        full = spec.name if spec.parts else f"{spec.name}.{each.tag}"
        if each.packaged is None and not loading.is_here(full):
            typer.echo(f"{full}: weights not here; not checked")
            continue
        typer.echo(f"{full}, with its weights")
        load = partial(loading.load, full)
        loaded = contract.attempt("loads", load)
        yield loaded
        for check in contract.QUICK if loaded.passed else ():
            yield from contract.run(load, [check])


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: in tiny networks several only wait for each other, for minutes where cores are busy."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _place(error: BaseException | None, package: str) -> str | None:
    """Where in the model's own package the innermost call was; None where it is not in the traceback."""
    frames = traceback.walk_tb(error.__traceback__) if error else ()
    own = [(f, line) for f, line in frames if str(f.f_globals.get("__name__")).partition(".")[0] == package]
    return f"in {Path(own[-1][0].f_code.co_filename).name}, line {own[-1][1]}" if own and package != "zoo" else None
