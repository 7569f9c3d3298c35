"""`colorzoo list` and `colorzoo show`: what can be loaded, and whether its weights are on this machine."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from zoo.spec import ModelSpec, WeightsSpec

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def list_(as_json: AsJson = False) -> None:
    """List the models, with their default weights."""
    from zoo import registry

    specs = [registry.find(name)[0] for name in registry.list_models()]
    if as_json:
        typer.echo(json.dumps([_as_dict(spec) for spec in specs], indent=2))
        return
    table = [("MODEL", "WEIGHTS", "HERE", "LICENCE", "COMMERCIAL", "MB", "OPTIONS", "SUMMARY")]
    for spec in specs:
        weights = spec.weights[0] if spec.weights else None
        table.append(
            (
                spec.name,
                weights.tag if weights else _without_weights(spec),
                _here(spec.name),
                weights.license if weights else "-",
                _yes(weights.commercial_use) if weights else "-",
                _megabytes(weights) if weights else "-",
                _options(spec) or "-",
                spec.summary,
            )
        )
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        typer.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())
    if far := [row[0] for row in table if row[2] == "no" and row[1] != "not trained"]:
        typer.echo(f"weights not here: {', '.join(far)}; `colorzoo pull NAME` brings them", err=True)


def show(
    name: Annotated[str, typer.Argument(help="A model, as in `colorzoo list`.")],
    as_json: AsJson = False,
) -> None:
    """Show all that is known of a model and its weights."""
    from zoo import loading

    spec = loading.describe(name)
    parameters = loading.parameters(name)
    if as_json:
        typer.echo(json.dumps(_as_dict(spec) | {"parameters": parameters}, indent=2))
        return
    fields = {
        "summary": spec.summary,
        "reference": spec.reference,
        "parameters": f"{parameters:,}",
        "working size": f"{spec.working_size}, sides multiples of {spec.multiple_of}",
        "options": _options(spec),
        "made of": ", ".join(spec.parts),
    }
    typer.echo(spec.name)
    _print_fields(fields)
    _print_fields({f"config {key}": value for key, value in _as_dict(spec)["config"].items()})
    if not spec.weights:
        untrained = "not trained: no weights" if parameters else "no weights needed"
        typer.echo("  weights: those of its parts" if spec.parts else f"  {untrained}")
    for weights in spec.weights:
        typer.echo(f"\n{spec.name}.{weights.tag}" + (" (default)" if weights is spec.weights[0] else ""))
        known = _plain(asdict(weights))
        config = known.pop("config") or {}
        del known["tag"]
        here = _here(f"{spec.name}.{weights.tag}" if not weights.parts else spec.name)
        _print_fields({"here": here if here == "yes" else f"no: `colorzoo pull {spec.name}.{weights.tag}`", **known})
        _print_fields({f"config {key}": value for key, value in config.items()})
        _print_fields(_backends(weights))


def _backends(weights: "WeightsSpec") -> dict[str, str]:
    """What is known of the backends these weights can run on: how fast here, and how true to torch in float32."""
    from zoo import backends

    if weights.sha256 is None:
        return {}
    known: dict[str, str] = {}
    measured = {(one.backend, one.dtype): one for one in backends.measured(weights.sha256)}
    for backend, dtypes in backends.DTYPES.items():
        for dtype in dtypes:
            one = measured.get((backend, dtype))
            recorded = backends.recorded(weights.sha256, backend, dtype)
            said = [f"{one.milliseconds:.1f} ms here, CIEDE2000 {one.delta_e:.2f} from torch in float32"] if one else []
            if recorded is not None and (backend, dtype) != ("torch", "float32"):
                said.append(f"CIEDE2000 {recorded:.2f} on record")
            if said:
                known[f"{backend} {dtype}"] = "; ".join(said)
    return known


def _without_weights(spec: "ModelSpec") -> str:
    """What `list` says of a model that has no weights to show."""
    from zoo import loading
    from zoo.errors import ZooError

    if spec.parts:  # they may be far away, or missing, which a list is not to ask
        return "of its parts"
    try:
        return "not trained" if loading.parameters(spec.name) else "not needed"
    except ZooError:  # a plug-in that cannot be built
        return "broken"


def _here(name: str) -> str:
    """Whether the weights are on this machine."""
    from zoo import loading
    from zoo.errors import ZooError

    try:
        return _yes(loading.is_here(name))
    except ZooError:  # parts that are not to be had
        return "no"


def _print_fields(fields: dict[str, Any]) -> None:
    for key, value in fields.items():
        if value not in (None, "", []):
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            typer.echo(f"  {key.replace('_', ' '):<24} {_yes(text) if isinstance(text, bool) else text}")


def _as_dict(spec: "ModelSpec") -> dict[str, Any]:
    plain: dict[str, Any] = _plain(asdict(spec))
    for weights in plain["weights"]:
        weights["here"] = _here(spec.name if weights["parts"] else f"{spec.name}.{weights['tag']}") == "yes"
    return plain


def _plain(value: Any) -> Any:
    """``value`` in the types JSON has; sets sorted."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _options(spec: "ModelSpec") -> str:
    names = sorted(spec.supports - {"style"})
    return ", ".join((["style " + "|".join(spec.styles)] if spec.styles else []) + names)


def _megabytes(weights: "WeightsSpec") -> str:
    return "?" if weights.size_bytes is None else f"{weights.size_bytes / 1e6:.1f}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
