"""What came back, for people: a Secondary Capture as PNG, a structured report as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw
from pydicom.dataset import Dataset

from appliance.picture.text import font

SHEET_PX, SHEET_COLUMNS, SHEET_TEXT_PX = 420, 4, 18
"""Side of a picture on a contact sheet, pictures in a row, and the size of their names."""


def png_from_secondary_capture(ds: Dataset, path: Path) -> None:
    """Write the pixels of a Secondary Capture, which are as displayed, to `path`."""
    Image.fromarray(ds.pixel_array).save(path)


def contact_sheet(pictures: Sequence[tuple[str, Path]], path: Path) -> None:
    """Write one picture of all `pictures`, each under its name, to `path`; nothing if there are none."""
    if not pictures:
        return
    columns = min(SHEET_COLUMNS, len(pictures))
    step_x, step_y = SHEET_PX + 10, SHEET_PX + 2 * SHEET_TEXT_PX
    sheet = Image.new("RGB", (columns * step_x, -(-len(pictures) // columns) * step_y), (40, 40, 44))
    draw = ImageDraw.Draw(sheet)
    for k, (name, file) in enumerate(pictures):
        x, y = k % columns * step_x + 5, k // columns * step_y
        draw.text((x, y + 6), name, (230, 230, 230), font(SHEET_TEXT_PX))
        with Image.open(file) as picture:
            small = picture.convert("RGB")
        small.thumbnail((SHEET_PX, SHEET_PX), Image.Resampling.LANCZOS)
        sheet.paste(small, (x, y + 2 * SHEET_TEXT_PX - 6))
    sheet.save(path)


def text_from_structured_report(ds: Dataset) -> str:
    """The content tree of an SR document as indented lines, without identity."""
    return "\n".join(_lines(ds, 0)) + "\n"


def _lines(item: Dataset, depth: int) -> Iterator[str]:
    name = item.ConceptNameCodeSequence[0].CodeMeaning if item.get("ConceptNameCodeSequence") else ""
    value = _value(item)
    yield "  " * depth + ": ".join(part for part in (name, value) if part)
    for child in item.get("ContentSequence", []):
        yield from _lines(child, depth + 1)


def _value(item: Dataset) -> str:
    match item.ValueType:
        case "CODE":
            return str(item.ConceptCodeSequence[0].CodeMeaning)
        case "NUM":
            measured = item.MeasuredValueSequence[0]
            return f"{measured.NumericValue} {measured.MeasurementUnitsCodeSequence[0].CodeValue}"
        case "SCOORD":
            return f"{item.GraphicType} {', '.join(f'{v:.0f}' for v in item.GraphicData)}"
        case "IMAGE":
            return f"image {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID}"
        case "CONTAINER":
            return ""
        case _:
            keywords = {"TEXT": "TextValue", "UIDREF": "UID", "DATETIME": "DateTime", "PNAME": "PersonName"}
            return str(item.get(keywords.get(item.ValueType, ""), ""))
