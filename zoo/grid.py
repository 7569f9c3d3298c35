"""Pictures side by side on one labelled sheet: for `colorzoo compare`, the README, the trainer's validation."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from PIL import Image, ImageDraw, ImageFont

from zoo.errors import OptionError

CELL_SIZES = (16, 4096)
BACKGROUND = (248, 248, 246)
INK = (40, 40, 40)
FAINT = (110, 110, 110)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def fit(image: Image.Image, cell: int) -> Image.Image:
    """``image`` scaled up or down so that its longer side is ``cell`` pixels; RGB, or RGBA where it has alpha."""
    image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    scale = cell / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def grid(
    rows: Sequence[Sequence[Image.Image | None]],
    columns: Sequence[str],
    *,
    row_labels: Sequence[str] | None = None,
    cell: int = 320,
) -> Image.Image:
    """One RGB sheet with a header of column labels and one row of pictures under another.

    A column is as wide as its widest picture, a row as high as its highest; text that is too long is shortened.

    Args:
        rows: Pictures of 8 bits a channel, any size, one for each column; None leaves a gap.
        columns: What stands above each column.
        row_labels: What stands above each row, such as a file name.
        cell: Longer side of every picture on the sheet, in pixels.

    Raises:
        OptionError: Rows of unequal length, labels that do not match, or a ``cell`` out of range.
    """
    low, high = CELL_SIZES
    if not low <= cell <= high:
        raise OptionError("grid: cell size out of range", found=cell, expected=f"{low} to {high} pixels")
    if not columns or any(len(row) != len(columns) for row in rows):
        raise OptionError(
            "grid: rows do not fit the columns",
            found=f"rows of {sorted({len(row) for row in rows})}",
            expected=f"{max(1, len(columns))} in each row, with a label each",
        )
    if row_labels is not None and len(row_labels) != len(rows):
        raise OptionError("grid: labels do not fit the rows", found=len(row_labels), expected=len(rows))

    gap = max(4, cell // 32)
    header, caption = (_font(max(10, min(28, cell // divisor))) for divisor in (15, 17))
    line = _height(caption) + gap // 2 if row_labels is not None else 0
    cells = [[None if image is None else fit(image, cell) for image in row] for row in rows]
    widths = [max([cell // 2] + [row[i].width for row in cells if (row[i])]) for i in range(len(columns))]  # type: ignore[union-attr]
    heights = [max([0] + [image.height for image in row if image]) for row in cells]
    lefts = list(accumulate(widths, lambda x, width: x + width + gap, initial=gap))
    tops = list(accumulate(heights, lambda y, height: y + line + height + gap, initial=_height(header) + 2 * gap))

    sheet = Image.new("RGB", (lefts[-1], tops[-1]), BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    for label, left, width in zip(columns, lefts, widths, strict=False):
        text = _shorten(label, header, width)
        draw.text((left + (width - header.getlength(text)) / 2, gap), text, INK, header)
    for row, top, i in zip(cells, tops, range(len(rows)), strict=False):
        if row_labels is not None:
            draw.text((gap, top), _shorten(row_labels[i], caption, sheet.width - 2 * gap), FAINT, caption)
        for image, left, width in zip(row, lefts, widths, strict=False):
            if image is not None:
                place = (left + (width - image.width) // 2, top + line + (heights[i] - image.height) // 2)
                sheet.paste(image, place, image if image.mode == "RGBA" else None)
    return sheet


def _font(size: int) -> Font:
    return ImageFont.load_default(size=size)


def _height(font: Font) -> int:
    top, bottom = font.getbbox("Åg|")[1::2]
    return round(bottom - min(0, top))


def _shorten(text: str, font: Font, width: float) -> str:
    """``text`` on one line, its middle left out where it is wider than ``width`` pixels."""
    text = " ".join(text.encode("utf-8", "replace").decode().split())

    def keep(count: int) -> str:
        return text[: (count + 1) // 2] + "…" + text[len(text) - count // 2 :]

    if font.getlength(text) <= width:
        return text
    fitting = bisect_right(range(len(text)), width, key=lambda count: font.getlength(keep(count)))
    return keep(fitting - 1) if fitting else ""
