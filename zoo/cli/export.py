"""`colorzoo export`: a model's network as a file for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from zoo.cli.colorize import Force
from zoo.errors import OptionError


def export(
    model: Annotated[str, typer.Argument(help="As in `colorzoo list`.")],
    out: Annotated[
        str | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The file: .onnx, or .xml for OpenVINO; a name without a suffix gets that of --format.",
            show_default="NAME.onnx or NAME.xml, in the current folder",
        ),
    ] = None,
    format: Annotated[
        str | None, typer.Option(help="onnx or openvino.", show_default="by the suffix of --out, else onnx")
    ] = None,
    opset: Annotated[int, typer.Option(help="The version of ONNX's operators.")] = 17,
    dtype: Annotated[str, typer.Option(help="float32 or int8.")] = "float32",
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Pictures of your kind, from which int8 takes the ranges of the numbers.",
            show_default="photos that come with scikit-image",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Write a model's network as ONNX or OpenVINO, of dynamic size and batch.

    It takes L, the lightness of CIE Lab, float32 (n, 1, h, w) in [0, 100], with sides that are multiples of what the
    file's metadata say, and gives what the model's forward() gives. It is compared with torch at three sizes first, or,
    in int8, by what it paints of photos that come with scikit-image, and not written where it differs.
    """
    from zoo import loading
    from zoo.backends import publish
    from zoo.bench import subjects

    given = None if out is None else Path(out)
    if given is not None and not given.name:
        raise OptionError(f"--out {out}: not the name of a file", expected="a name such as fusion.onnx")
    kinds = {suffix: kind for kind, suffix in publish.SUFFIXES.items()}
    kind = format or ("onnx" if given is None else kinds.get(given.suffix.lower()))
    if kind is None:
        raise OptionError(f"--out {out}: no format", expected="a name that ends in .onnx or .xml, or --format")
    colorizer = loading.load(model, backend="torch", dtype="float32")
    # What lies in a folder or repository goes by the name of its model.
    default = colorizer.spec.name if model.startswith((loading.HUB, loading.FOLDER)) else model
    target = given if given and given.suffix else Path(f"{given or default}{publish.SUFFIXES.get(kind, '')}")
    pictures = None
    if calibrate is not None:
        if dtype != "int8":
            raise OptionError("--calibrate is for int8", found=f"--dtype {dtype}", remedy="leave one of them out")
        area = (2 * colorizer.spec.working_size) ** 2  # more than the network sees
        pictures = subjects.own_pictures(Path(calibrate), area, lambda what: typer.echo(what, err=True))
    done = publish.export(colorizer, target, kind, opset=opset, dtype=dtype, pictures=pictures, force=force)
    typer.echo(f"{done.said}\n{', '.join(map(str, done.files))}: {done.size_bytes / 1e6:.1f} MB, opset {opset}")
