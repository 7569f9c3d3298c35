"""`colorzoo export`: a model's network as a file for other programs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from zoo.cli.colorize import Force
from zoo.errors import OptionError


def export(
    model: Annotated[str, typer.Argument(help="As in `colorzoo list`.")],
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="The file: .onnx, or .xml for OpenVINO.")],
    format: Annotated[str | None, typer.Option(help="onnx or openvino.", show_default="by the suffix of --out")] = None,
    opset: Annotated[int, typer.Option(help="The version of ONNX's operators.")] = 17,
    dtype: Annotated[str, typer.Option(help="float32 or int8.")] = "float32",
    calibrate: Annotated[
        str | None,
        typer.Option(
            metavar="FOLDER",
            help="Pictures of your kind, from which int8 takes the ranges of the numbers.",
            show_default="11 photos that come with scikit-image",
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Write a model's network as ONNX or OpenVINO, of dynamic size and batch.

    It takes L, the lightness of CIE Lab, float32 (n, 1, h, w) in [0, 100], with sides that are multiples of what the
    file's metadata say, and gives what the model's forward() gives. It is compared with torch at three sizes first, or,
    in int8, by the pictures it paints, and not written where it differs.
    """
    from zoo import loading
    from zoo.backends import publish

    target = Path(out)
    kind = format or {".onnx": "onnx", ".xml": "openvino"}.get(target.suffix.lower())
    if kind is None:
        raise OptionError(f"--out {out}: no format", expected="a name that ends in .onnx or .xml, or --format")
    pictures = None if calibrate is None else _pictures(calibrate)
    colorizer = loading.load(model, backend="torch", dtype="float32")
    done = publish.export(colorizer, target, kind, opset=opset, dtype=dtype, pictures=pictures, force=force)
    typer.echo(f"{done.said}\n{', '.join(map(str, done.files))}: {done.size_bytes / 1e6:.1f} MB, opset {opset}")


def _pictures(folder: str) -> list[Any]:
    from zoo import batch, images

    return [images.read(item.source).pixels for item in batch.find([folder]) if item.problem is None]
