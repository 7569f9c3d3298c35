"""`colorzoo colorize` and `colorzoo compare`: from picture files to picture files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zoo.cli.backends import Backend, Dtype
from zoo.cli.progress import progress
from zoo.cli.running import check_kept, check_single, failed_line, run
from zoo.errors import ZooError

if TYPE_CHECKING:
    from PIL import Image

    from zoo.colorizer import Colorizer

Inputs = Annotated[list[str], typer.Argument(metavar="INPUT", help="Pictures, or folders of pictures.")]
Style = Annotated[str | None, typer.Option(help="Manner of colouring, for models that have several.")]
Saturation = Annotated[float, typer.Option(help="Factor on the colours' strength.")]
Temperature = Annotated[
    float | None, typer.Option(help="Sharpness of the choice between colours, for models that have it.")
]
WorkingSize = Annotated[
    int | None,
    typer.Option(help="Side in pixels at which the model sees the picture.", show_default="the model's own"),
]
Seed = Annotated[int | None, typer.Option(help="Draws another colouring, for models that can.")]
Views = Annotated[
    int,
    typer.Option(
        help="Views whose answers are averaged: 1 the picture, 2 its mirror image too, 4 both smaller as well. "
        "Costs 1, 2 or about 3.1 runs of the network; not with --seed."
    ),
]
Variants = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="Write so many colourings of each picture, NAME-1, NAME-2 and so on; --seed gives others. "
        "Any model but grayscale has them.",
        show_default="one, NAME",
    ),
]
Device = Annotated[str, typer.Option(help="Where the model runs, such as cpu or cuda.")]
Hint = Annotated[
    list[str] | None,
    typer.Option(
        metavar="X,Y,COLOR",
        help="A colour, such as 120,80,#c03020, at a pixel of the upright picture; similar pixels follow. Repeatable.",
    ),
]
HintLayer = Annotated[
    str | None,
    typer.Option(metavar="LAYER", help="Instead: a picture of the same size, transparent where no colour is told."),
]
HintRadius = Annotated[float, typer.Option(help="Pixels around a hint that have exactly its colour.")]
ReferencePicture = Annotated[
    str | None,
    typer.Option(metavar="PICTURE", help="A coloured picture of something similar, whose colours are taken."),
]
ReferenceMode = Annotated[
    str, typer.Option(help="match takes colours from places that are alike, palette those of the whole.")
]
Force = Annotated[bool, typer.Option("--force", "-f", help="Replace results that exist.")]
Quality = Annotated[int, typer.Option(min=1, max=100, help="Of JPEG, WebP and AVIF files.")]


def colorize(
    inputs: Inputs,
    out: Annotated[str, typer.Option("--out", "-o", help="A folder, or with a suffix the file itself.")],
    model: Annotated[str, typer.Option("--model", "-m", help="As in `colorzoo list`.")] = "fusion",
    style: Style = None,
    saturation: Saturation = 1.0,
    temperature: Temperature = None,
    working_size: WorkingSize = None,
    seed: Seed = None,
    views: Views = 1,
    hint: Hint = None,
    hints: HintLayer = None,
    hint_radius: HintRadius = 3.0,
    reference: ReferencePicture = None,
    reference_mode: ReferenceMode = "match",
    variants: Variants = None,
    device: Device = "cpu",
    backend: Backend = "auto",
    dtype: Dtype = "auto",
    force: Force = False,
    quality: Quality = 95,
) -> None:
    """Colour pictures.

    A folder is walked and mirrored in --out: same names, same formats, .png for those that cannot be written.
    Results that exist are skipped, so that an interrupted run goes on when it is started again.
    """
    from zoo import batch, loading

    items = batch.plan(inputs, out)
    single = len(inputs) == 1 and not Path(inputs[0]).is_dir()
    if variants is None:
        check_single(inputs, items, force)
    colorizer = loading.load(model, device=device, backend=backend, dtype=dtype)
    options: dict[str, Any] = {
        "style": style,
        "saturation": saturation,
        "temperature": temperature,
        "working_size": working_size,
        "seed": seed,
        "views": views,
    }
    told = _guidance(
        hint or [], hints, reference, {"hint_radius": hint_radius, "reference_mode": reference_mode}, single
    )
    colorizer.check_options(**options | ({} if variants is None else {"variant": 0}))
    work: Callable[..., object] = partial(colorizer.colorize_file, quality=quality, **options, **told)
    if variants is not None:
        items = batch.plan_variants(items, variants)
        numbers = {item.target: place % variants for place, item in enumerate(items)}

        def work(source: Path, target: Path, *, overwrite: bool) -> None:
            own = {"variant": numbers[target], "overwrite": overwrite, "quality": quality, **options, **told}
            colorizer.colorize_file(source, target, **own)

    check_kept(items, hints, reference)
    done = out
    if single:
        done = str(items[0].target) if len(items) == 1 else f"{items[0].target} to {items[-1].target.name}"
    run(items, _blaming(colorizer)(work), force, done)


def compare(
    inputs: Inputs,
    out: Annotated[str, typer.Option("--out", "-o", help="The sheet; its suffix chooses the format.")],
    models: Annotated[
        str,
        typer.Option(help="Names with commas between, each with a style if wanted: fusion:vivid. Or all."),
    ] = "all",
    style: Style = None,
    saturation: Saturation = 1.0,
    temperature: Temperature = None,
    working_size: WorkingSize = None,
    seed: Seed = None,
    views: Views = 1,
    device: Device = "cpu",
    backend: Backend = "auto",
    dtype: Dtype = "auto",
    cell: Annotated[
        int, typer.Option(min=16, max=4096, help="Longer side of each picture on the sheet, in pixels.")
    ] = 320,
    force: Force = False,
    quality: Quality = 95,
) -> None:
    """Draw a labelled sheet: grey, each model, the original.

    One row for each picture; the original is shown where it has colours of its own, a clear tint included.
    `--models all` takes every model that has weights, and goes on without those that cannot be loaded; the grey column
    is the model grayscale.
    """
    import numpy as np

    from zoo import batch, color, grid, images, loading
    from zoo.errors import ImageError, WeightsError

    found = batch.find(inputs, skip=out)
    target = _check_sheet(out, [f.source for f in found], cell, force)
    with batch.folder_for(target):  # made now, to fail before the work
        pass
    wanted = parse_models(models)
    loaded, unloaded = {}, []
    for name in {"grayscale": None} | dict(wanted):
        try:
            loaded[name] = loading.load(name, device=device, backend=backend, dtype=dtype)
        except WeightsError as error:
            if models.strip() != "all":
                raise
            unloaded.append(str(error))
    wanted = [(name, own) for name, own in wanted if name in loaded]
    common: dict[str, Any] = {"saturation": saturation, "working_size": working_size, "views": views}
    loaded["grayscale"].check_options(**common)
    given = {"style": style, "temperature": temperature, "seed": seed}
    options = options_by_column(wanted, [loaded[name] for name, _ in wanted], common, given)
    columns = [
        ("grey", "grayscale", common),
        *((column_label(n, o), n, o) for (n, _), o in zip(wanted, options, strict=True)),
    ]

    rows: list[list[Image.Image | None]] = []
    labels: list[str] = []
    failures: list[str] = []
    broken: dict[int, str] = {}  # columns, with what their models raised
    for item in progress(iter(found), len(found), "picture"):
        try:
            if item.problem is not None:
                raise ImageError(item.problem)
            picture = images.read(item.source)
            alpha = None if picture.alpha is None else images.to_8_bit(picture.alpha)
            original = images.to_pil(images.to_8_bit(picture.pixels), alpha)
            row: list[Image.Image | None] = []
            for number, (_, name, chosen) in enumerate(columns):
                row.append(None)
                if number in broken:
                    continue
                try:
                    with _blaming(loaded[name]):
                        row[number] = grid.fit(loaded[name].colorize(original, **chosen), cell)
                except _BrokenModelError as error:  # the others go on without it
                    broken[number] = str(error)
            shown = grid.fit(original, cell)
        except batch.ITEM_ERRORS as error:
            failures.append(failed_line(item.source, str(error) or type(error).__name__))
        else:
            rows.append([*row, shown if color.has_color(images.to_8_bit(picture.pixels)) else None])
            labels.append(str(item.name))
    headers = [header for number, (header, _, _) in enumerate(columns) if number not in broken]
    rows = [[shown for number, shown in enumerate(row) if number not in broken] for row in rows]
    if any(row[-1] for row in rows):
        headers.append("original")
    if rows:
        sheet = grid.grid([row[: len(headers)] for row in rows], headers, row_labels=labels, cell=cell)
        with batch.folder_for(target):
            images.write(target, np.asarray(sheet), quality=quality, overwrite=force)
    left_out = [f"failed, and left out: {why}" for why in (*unloaded, *broken.values())]
    for failure in [*left_out, *failures]:
        typer.echo(failure, err=True)
    typer.echo(f"{len(rows)} done, {len(failures)} failed" + (f": {target}" if rows else ""))
    raise typer.Exit(1 if failures or left_out else 0)


def _guidance(
    points: list[str], layer: str | None, reference: str | None, how: dict[str, Any], single: bool
) -> dict[str, Any]:
    """The guidance that is asked for, checked before a picture is touched; nothing where none is."""
    from zoo import canvas
    from zoo.errors import OptionError
    from zoo.hints import parse_point
    from zoo.reference import Reference

    if (points or layer) and not single:
        raise OptionError("hints are for one picture", remedy="give one file, not a folder or several")
    if points and layer:
        raise OptionError("both --hint and --hints", remedy="give points or a layer")
    guidance: dict[str, Any] = {"hints": layer or [parse_point(text) for text in points], "reference": reference, **how}
    canvas.check(**guidance)
    if not guidance["hints"] and reference is None:
        return {}
    if reference is not None:
        guidance["reference"] = Reference.of(reference)  # read once, for all pictures
    return guidance


class _BrokenModelError(ZooError):
    """What a plug-in's model raised that no picture is to blame for."""


@contextmanager
def _blaming(colorizer: "Colorizer[Any]") -> Iterator[None]:
    """Name the plug-in that what is raised comes from; bugs of the zoo's own models keep their traceback.

    Raises:
        _BrokenModelError: In place of what a plug-in raised.
    """
    from zoo import batch

    try:
        yield
    except batch.ITEM_ERRORS:
        raise
    except Exception as error:  # of whatever kind a plug-in's bug is
        if type(colorizer).__module__.startswith("zoo."):
            raise
        name = colorizer.spec.name
        raise _BrokenModelError(
            f"model {name!r} fails",
            found=f"{type(error).__name__}: {error}",
            remedy=f"`colorzoo check {name}` says where",
        ) from error


def _check_sheet(out: str, sources: list[Path], cell: int, force: bool) -> Path:
    from zoo import batch, images
    from zoo.errors import ImageError, OptionError

    target = Path(out)
    if not target.suffix or images.output_suffix(target).lower() != target.suffix.lower():
        raise ImageError(
            f"{out or '--out'}: not a picture file that can be written", expected="a name such as grid.png"
        )
    there = batch.status_of_output(out) is not None
    if any(there and target.samefile(source) for source in sources if source.exists()):
        raise ImageError(f"{target}: is one of the inputs", remedy="choose another name for the sheet")
    if there and not force:
        raise ImageError(f"{target}: exists already", remedy="choose another name, or --force to replace it")
    most = 16_000 if target.suffix.lower() == ".webp" else 65_000  # pixels a side that the formats can hold
    if len(sources) * cell * 1.1 > most:
        raise OptionError(
            "too many pictures for one sheet",
            found=f"{len(sources)} of {cell} pixels",
            expected=f"at most {int(most / cell / 1.1)}",
            remedy="give fewer, or a smaller --cell",
        )
    return target


def parse_models(text: str) -> list[tuple[str, str | None]]:
    """Names with their styles, in the order given, none twice."""
    from zoo import loading, registry

    if text.strip() == "all":
        return [
            (name, None) for name in registry.list_models() if registry.find(name)[0].weights and loading.is_here(name)
        ]
    return list(dict.fromkeys(loading.name_and_style(part) for part in text.split(",")))


def options_by_column(
    wanted: list[tuple[str, str | None]],
    colorizers: "list[Colorizer[Any]]",
    common: dict[str, Any],
    given: dict[str, Any],
) -> list[dict[str, Any]]:
    """The options of each column: ``common``, its own style, and of ``given`` what it accepts; says which go without.

    Raises:
        OptionError: A style that a column asks for itself, or an option that no column accepts.
    """
    from zoo.errors import OptionError

    options: list[dict[str, Any]] = [common | ({} if style is None else {"style": style}) for _, style in wanted]
    for colorizer, own in zip(colorizers, options, strict=True):
        colorizer.check_options(**own)
    labels = [column_label(name, own) for (name, _), own in zip(wanted, options, strict=True)]
    for option, value in given.items():
        if value is None:
            continue
        without: list[str] = []
        refusal: OptionError | None = None  # of a model that has the option, since that says what is wrong with it
        for label, colorizer, own in zip(labels, colorizers, options, strict=True):
            try:
                colorizer.check_options(**(own | {option: value}))
            except OptionError as error:
                without.append(label)
                refusal = error if option in colorizer.spec.supports else refusal
            else:
                own.setdefault(option, value)
        if len(without) == len(labels):
            raise refusal or OptionError(
                f"--{option} {value}: none of the models has it",
                found=", ".join(labels) or "no model that has weights",
                remedy="see OPTIONS in `colorzoo list`",
            )
        if without:
            typer.echo(f"note: --{option} {value} does not apply to {', '.join(dict.fromkeys(without))}", err=True)
    return options


def column_label(name: str, options: dict[str, Any]) -> str:
    """What stands above a column: the model's name, and its style where it has one."""
    short = Path(name).name if name.startswith(("hf-hub:", "local-dir:")) else name
    return f"{short}:{options['style']}" if "style" in options else short
