"""The options --backend and --dtype, which several commands share."""

from typing import Annotated

import typer

Backend = Annotated[
    str,
    typer.Option(
        help="What runs the network: torch, onnx or openvino; auto is the best that `colorzoo bench` found here."
    ),
]
Dtype = Annotated[
    str,
    typer.Option(help="What it computes in: float32, bfloat16 (torch, openvino) or int8 (onnx, openvino), or auto."),
]
