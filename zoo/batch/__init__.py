"""Many files: a plan of what goes where (`plan`, `colorize_files`), and archives on many cores or machines (`run`).

Nothing here imports torch, Ray or fsspec before it is needed.
"""

import importlib
from typing import TYPE_CHECKING, Any

from zoo.batch.planning import (
    ITEM_ERRORS,
    Found,
    Item,
    Result,
    colorize_files,
    find,
    folder_for,
    plan,
    plan_variants,
    status_of_output,
)

if TYPE_CHECKING:
    from zoo.batch.running import Progress, Summary, run

__all__ = [
    "ITEM_ERRORS",
    "Found",
    "Item",
    "Progress",
    "Result",
    "Summary",
    "colorize_files",
    "find",
    "folder_for",
    "plan",
    "plan_variants",
    "run",
    "status_of_output",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(importlib.import_module("zoo.batch.running"), name)
    raise AttributeError(f"module 'zoo.batch' has no attribute {name!r}")
