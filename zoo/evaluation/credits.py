"""Who made the pictures of a benchmark, and under which licence: what has a credit may be shown."""

import csv
from collections.abc import Container
from pathlib import Path

from zoo.errors import ZooError

FILE = "CREDITS.tsv"  # tab-separated, for each file that may be shown a line
COLUMNS = ("file", "title", "author", "licence", "source")


def read(path: Path, names: Container[str]) -> dict[str, dict[str, str]]:
    """By file its title, author, licence and source, of those of ``names`` that ``path`` credits; none without it.

    Raises:
        ZooError: It is no such list.
    """
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        head, *table = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        wrong = next((number for number, row in enumerate(table, 2) if row and len(row) != len(COLUMNS)), None)
        if tuple(head) != COLUMNS or wrong is not None:
            raise ValueError("another first line" if wrong is None else f"line {wrong} has another number of columns")
    except (OSError, ValueError, csv.Error) as error:
        raise ZooError(
            f"{path}: not a list of credits", found=error, expected=f"tab-separated columns {', '.join(COLUMNS)}"
        ) from error
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in table if row]
    return {row.pop("file"): row for row in rows if row["file"] in names and row["licence"].strip()}
