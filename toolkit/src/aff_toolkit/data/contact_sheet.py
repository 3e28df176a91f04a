"""Pictures of search results: a row per query, followed by its hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

_CELL = 150
_GAP = 10
_FRAME = 5
_LABEL = 22
_BACKGROUND = (250, 250, 250)
_INK = (40, 40, 40)
_QUERY_FRAME = (70, 90, 200)
_FRAMES = {None: (150, 150, 150), True: (30, 160, 70), False: (210, 60, 50)}


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture of the sheet, (H, W, 3) uint8 RGB or None, a label, and whether it is a correct match, if known."""

    image: NDArray[np.uint8] | None
    label: str
    correct: bool | None = None


def contact_sheet(rows: Sequence[tuple[Cell | None, Sequence[Cell]]], title: str) -> Image.Image:
    """Draw a query and its hits per row; correct hits have green frames, wrong ones red; a query may be missing."""
    columns = 1 + max(len(hits) for _, hits in rows)
    step_x, step_y = _CELL + _GAP, _CELL + _LABEL + _GAP
    top = _GAP + 2 * _LABEL
    sheet = Image.new("RGB", (_GAP + columns * step_x, top + len(rows) * step_y), _BACKGROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), title, fill=_INK, font=ImageFont.load_default(18))
    for r, (query, hits) in enumerate(rows):
        frames = [_QUERY_FRAME, *(_FRAMES[hit.correct] for hit in hits)]
        for c, (cell, colour) in enumerate(zip([query, *hits], frames, strict=True)):
            if cell is not None:
                _draw_cell(sheet, draw, cell, (_GAP + c * step_x, top + r * step_y), colour)
    return sheet


def _draw_cell(
    sheet: Image.Image, draw: ImageDraw.ImageDraw, cell: Cell, corner: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    left, top = corner
    draw.rectangle((left, top, left + _CELL - 1, top + _CELL - 1), outline=colour, width=_FRAME)
    if cell.image is not None:
        inner = _CELL - 2 * _FRAME
        picture = ImageOps.fit(Image.fromarray(cell.image), (inner, inner))
        sheet.paste(picture, (left + _FRAME, top + _FRAME))
    font = ImageFont.load_default(12)
    label = cell.label
    while label and draw.textlength(label, font=font) > _CELL:
        label = label[:-2] + "…"
    draw.text((left, top + _CELL + 3), label, fill=_INK, font=font)
