"""Artefacts in a form that people can open: a Secondary Capture as PNG, a structured report as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from pydicom.dataset import Dataset


def png_from_secondary_capture(ds: Dataset, path: Path) -> None:
    """Write the pixels of a Secondary Capture to `path`; they are stored as they are displayed."""
    Image.fromarray(ds.pixel_array).save(path)


def text_from_structured_report(ds: Dataset) -> str:
    """Return the content tree of an SR document as indented lines, without the patient's identity."""
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
