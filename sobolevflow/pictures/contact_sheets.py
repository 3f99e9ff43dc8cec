"""A grid of pictures with labelled rows and columns, as one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import InputError
from ..text import one_line, shortened
from .pixels import Pixels, on_host, viewable

_INK = (34, 34, 34)

_QUIET = (110, 110, 110)

_PAPER = (255, 255, 255)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class _Layout:
    """Where things are on the sheet, in pixels."""

    cell: int
    margin: int
    gap: int
    left: int
    top: int
    rows: int
    columns: int

    def corner(self, row: int, column: int) -> tuple[int, int]:
        """Left and upper edge of a cell."""
        step = self.cell + self.gap
        return self.margin + self.left + column * step, self.margin + self.top + row * step

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the sheet."""
        right, bottom = self.corner(self.rows, self.columns)
        return right - self.gap + self.margin, bottom - self.gap + self.margin


def contact_sheet(
    images: Sequence[Sequence[Pixels | None]],
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    title: str | None = None,
    *,
    caption: str | None = None,
    notes: Sequence[Sequence[str]] | None = None,
    cell: int = 224,
) -> Pixels:
    """Lay pictures out in a labelled grid.

    Parameters
    ----------
    images : rows of (H, W, C) uint8 arrays, of any library
        One sequence a row; None leaves a cell empty, and rows may differ in length. A picture is scaled to
        fit its cell with its proportions kept, enlargement by whole factors showing plain pixels.
    row_labels, column_labels : sequences of str, optional
        One label for each row, and for each column of the longest row. Texts that would run into others, or
        over the edge, lose their middle.
    title, caption : str, optional
        A line above the grid, and a quieter one below the title.
    notes : rows of str, optional
        A few words for each picture, written over its lower edge.
    cell : int
        Width and height of a cell in pixels.

    Returns
    -------
    (H, W, 3) uint8 array

    Raises
    ------
    InputError
        There is no picture, or the number of labels differs from that of the rows or columns.
    """
    rows, columns = len(images), max((len(row) for row in images), default=0)
    if rows == 0 or columns == 0:
        raise InputError("A contact sheet needs at least one picture.")
    _check_labels("row", row_labels, rows)
    _check_labels("column", column_labels, columns)

    text, bold = _font(cell // 13 + 3), _font(cell // 9 + 4)
    row_labels = [_within(label, text, 2 * cell) for label in row_labels or ()]
    line = _line(text)
    head = (_line(bold) if title else 0) + (line if caption else 0)
    layout = _Layout(
        cell=cell,
        margin=max(cell // 12, 8),
        gap=max(cell // 28, 4),
        left=_widest(row_labels, text) + cell // 12 if row_labels else 0,
        top=head + (line if column_labels else 0),
        rows=rows,
        columns=columns,
    )
    sheet = Image.new("RGB", layout.size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    edge = layout.margin
    width = layout.size[0] - 2 * edge
    if title:
        draw.text((edge, edge), _within(title, bold, width), fill=_INK, font=bold)
    if caption:
        draw.text((edge, edge + head - line), _within(caption, text, width), fill=_QUIET, font=text)
    _write_labels(draw, layout, text, row_labels, column_labels or ())
    for row, pictures in enumerate(images):
        for column in range(columns):
            picture = pictures[column] if column < len(pictures) else None
            if picture is not None:
                _place(sheet, picture, layout.corner(row, column), cell)
    for row, words in enumerate(notes or ()):
        for column, note in enumerate(words):
            _write_note(draw, layout, text, note, layout.corner(row, column))
    return np.array(sheet)


def _write_note(
    draw: ImageDraw.ImageDraw, layout: _Layout, font: Font, note: str, at: tuple[int, int]
) -> None:
    """Words on a white label in the lower left corner of a cell."""
    left, bottom = at[0], at[1] + layout.cell
    note = _within(note, font, layout.cell - 6)
    box = draw.textbbox((left + 3, bottom - 3), note, font=font, anchor="lb")
    draw.rectangle((left, box[1] - 2, box[2] + 3, bottom - 1), fill=_PAPER)
    draw.text((left + 3, bottom - 3), note, fill=_INK, font=font, anchor="lb")


def _write_labels(
    draw: ImageDraw.ImageDraw, layout: _Layout, font: Font, rows: Sequence[str], columns: Sequence[str]
) -> None:
    """Row labels beside the grid, column labels above it."""
    middle = layout.cell / 2
    for column, label in enumerate(columns):
        x, y = layout.corner(0, column)
        rise = 0.3 * _line(font)
        label = _within(label, font, layout.cell + layout.gap)
        draw.text((x + middle, y - rise), label, fill=_INK, font=font, anchor="ms")
    for row, label in enumerate(rows):
        x, y = layout.corner(row, 0)
        draw.text((x - layout.cell // 12, y + middle), label, fill=_INK, font=font, anchor="rm")


def _within(text: str, font: Font, pixels: int) -> str:
    """A text in one line that is no wider than that."""
    return shortened(one_line(text), pixels, lambda part: math.ceil(font.getlength(part)))


def _line(font: Font) -> int:
    """Distance from one line of text to the next, in pixels."""
    return round(1.7 * font.getbbox("Hg")[3])


def _check_labels(kind: str, labels: Sequence[str] | None, expected: int) -> None:
    if labels is not None and len(labels) != expected:
        raise InputError(f"The contact sheet has {expected} {kind}s but {len(labels)} {kind} labels.")


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _widest(labels: Sequence[str], font: Font) -> int:
    return max(round(font.getbbox(label)[2]) for label in labels)


def _place(sheet: Image.Image, picture: Pixels, corner: tuple[int, int], cell: int) -> None:
    """Put one picture in the middle of its cell."""
    x, y = corner
    scaled = _fitted(picture, cell)
    sheet.paste(scaled, (x + (cell - scaled.width) // 2, y + (cell - scaled.height) // 2))


def _fitted(picture: Pixels, cell: int) -> Image.Image:
    pixels = viewable(on_host(picture))
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[-1] == 1 else pixels).convert("RGB")
    longest = max(image.size)
    if longest <= cell:
        factor = cell // longest
        return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    size = (max(1, image.width * cell // longest), max(1, image.height * cell // longest))
    return image.resize(size, Image.Resampling.LANCZOS)
