"""Read attributes of a received data set: absent, empty, multiple or broken ones included.

Modalities send broken values. An attribute that cannot be read counts as absent, and objects are made from the rest.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Iterator
from typing import Any

from pydicom import config
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import PersonName, validate_value

from appliance.domain.identifiers import is_valid_uid

from .dates import modern

UNREADABLE = (
    ArithmeticError, AttributeError, EOFError, LookupError, NotImplementedError, OSError, RecursionError, TypeError,
    ValueError, struct.error, BytesLengthException,
)  # fmt: skip
"""Exceptions that pydicom raises on an element whose bytes are not valid for its VR, or are nested without end."""

SPECIFIC_CHARACTER_SET = 0x00080005

FORMAL = ("DA", "TM", "DT", "AS", "CS")
"""Value representations with a strict format: a value that breaks it counts as unreadable (DICOM PS3.5 6.2)."""


def as_list(value: object) -> list[object]:
    """Return the values of an element, however many it has (DICOM PS3.5 section 6.4, value multiplicity)."""
    if value is None:
        return []
    return list(value) if isinstance(value, (MultiValue, list)) else [value]


def words(ds: Dataset, keyword: str) -> list[str]:
    """Return the values of a code string, stripped and in capitals; empty if the attribute is absent or unreadable."""
    return [str(value).strip(" \0").upper() for value in as_list(_value(ds, keyword))]


def word(ds: Dataset, keyword: str) -> str:
    """Return the first value of a code string, stripped and in capitals; empty if it is absent or unreadable."""
    return next(iter(words(ds, keyword)), "")


def numbers(ds: Dataset, keyword: str | int) -> list[float]:
    """Return the finite numbers of an attribute in their order, NaN for any other value.

    A decimal comma, which DICOM PS3.5 6.2 does not allow, is read as a point.
    """
    return [_number(value) for value in as_list(_value(ds, keyword))]


def number(ds: Dataset, keyword: str | int) -> float | None:
    """Return the first number of an attribute; None if it is absent or empty, NaN if it is no finite number."""
    return next(iter(numbers(ds, keyword)), None)


def whole(ds: Dataset, keyword: str | int, default: int = 0) -> int:
    """Return the first number of an attribute, or of a tag; `default` if it is absent, zero or no number."""
    value = number(ds, keyword)
    return default if not value or math.isnan(value) else int(value)


def items(ds: Dataset, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none if it is absent or unreadable."""
    value = _value(ds, keyword)
    return list(value) if isinstance(value, Sequence) else []


def copied(source: Dataset, keywords: Iterable[str]) -> Dataset:
    """Return a data set with copies of the attributes of `source` that are present and readable."""
    made = Dataset()
    for tag in _tags(keywords):
        element = _read_element(source, tag)
        if element is not None:
            made.add(element)
    return made


def text(source: Dataset, keyword: str) -> str:
    """Return the decoded value as text, several values as they were sent; empty if it is absent or unreadable."""
    element = _read_element(source, Tag(keyword)) if keyword in source else None
    if element is None or element.value is None:
        return ""
    return "\\".join(map(str, element.value)) if isinstance(element.value, MultiValue) else str(element.value)


def _value(ds: Dataset, keyword: str | int) -> object:
    """Return the value of an attribute; None if it is absent, empty or unreadable."""
    try:
        value = ds.get(keyword)
        value = value.value if isinstance(value, DataElement) else value
    except UNREADABLE:
        return None
    return None if value in ("", b"") else value


def _number(value: object) -> float:
    try:
        number = float(str(value).strip(" \0").replace(",", "."))
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _tags(keywords: Iterable[str]) -> Iterator[BaseTag]:
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        assert tag is not None, keyword
        yield Tag(tag)


def _read_element(source: Dataset, tag: BaseTag) -> DataElement | None:
    if tag not in source:
        return None
    try:
        element = source[tag]
        if element.VR in ("DA", "TM") and isinstance(element.value, str):
            element = DataElement(tag, element.VR, modern(element.VR, element.value.strip()))
        if element.VR in FORMAL and element.value:  # "31.01.70" would make our object invalid
            for value in as_list(element.value):
                validate_value(element.VR, value, config.RAISE)
        if element.VR == "UI" and not all(is_valid_uid(str(value)) for value in as_list(element.value) if value):
            return None
        if element.VR == "SQ":
            items = [made for item in element.value if _is_whole(element.keyword, made := _copy_item(item))]
            return DataElement(tag, "SQ", Sequence(items)) if items else None
        return DataElement(tag, element.VR, _utf8(element.value))
    except UNREADABLE:
        return None


def _is_whole(keyword: str, item: Dataset) -> bool:
    """Return whether an item of the sequence `keyword` has its required attributes (DICOM PS3.3 chapters 8 and 10)."""

    def has(*keywords: str) -> bool:
        return all(text(item, k) for k in keywords)

    if keyword.endswith("CodeSequence"):
        value = has("CodeValue") or has("LongCodeValue")
        return has("CodeMeaning") and (has("URNCodeValue") or (value and has("CodingSchemeDesignator")))
    if keyword.startswith("IssuerOf"):
        named = has("LocalNamespaceEntityID") or has("UniversalEntityID") or keyword.endswith("QualifiersSequence")
        return named and has("UniversalEntityID") == has("UniversalEntityIDType")
    if keyword in ("ReferencedPatientSequence", "ReferencedStudySequence"):
        return has("ReferencedSOPClassUID", "ReferencedSOPInstanceUID")
    if keyword == "OtherPatientIDsSequence":
        return has("PatientID", "TypeOfPatientID")
    return "Physician" not in keyword or has("PersonIdentificationCodeSequence")


def _utf8(value: Any) -> Any:
    """Convert `value` to plain strings; a `PersonName` would be written in the character set of its source."""
    if isinstance(value, PersonName):
        return str(value)
    if isinstance(value, MultiValue):
        return [_utf8(v) for v in value]
    return value


def _copy_item(source: Dataset) -> Dataset:
    made = Dataset()
    for tag in list(source.keys()):
        element = None if tag.is_private or tag == SPECIFIC_CHARACTER_SET else _read_element(source, tag)
        if element is not None and element.value not in (None, ""):  # most attributes of an item may not be empty
            made.add(element)
    return made
