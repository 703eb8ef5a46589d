"""A contact sheet: many pictures as one, each under its name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from appliance.picture.text import font

PICTURE_PX = 420
"""Longest side of a picture on the sheet."""

COLUMNS = 4
"""Pictures in a row."""

TEXT_PX = 18
"""Height of the letters of a name."""


def write_contact_sheet(pictures: Sequence[tuple[str, Path]], path: Path) -> None:
    """Write one picture of all (name, file) `pictures` to `path`; write nothing if there are none."""
    if not pictures:
        return
    columns = min(COLUMNS, len(pictures))
    step_x, step_y = PICTURE_PX + 10, PICTURE_PX + 2 * TEXT_PX
    sheet = Image.new("RGB", (columns * step_x, -(-len(pictures) // columns) * step_y), (40, 40, 44))
    draw = ImageDraw.Draw(sheet)
    for k, (name, file) in enumerate(pictures):
        x, y = k % columns * step_x + 5, k // columns * step_y
        draw.text((x, y + 6), name, (230, 230, 230), font(TEXT_PX))
        with Image.open(file) as picture:
            small = picture.convert("RGB")
        small.thumbnail((PICTURE_PX, PICTURE_PX), Image.Resampling.LANCZOS)
        sheet.paste(small, (x, y + 2 * TEXT_PX - 6))
    sheet.save(path)
