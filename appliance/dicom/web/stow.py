"""STOW-RS: the body of a request, and the status of each object in a response.

References
----------
DICOM PS3.18 sections 8.6.1.2 (multipart payload) and 10.5 (Store Transaction), annex I.2 (Store Instances Response
Module, failure and warning reasons), annex F.2 (JSON model); RFC 2387 (multipart/related).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from appliance.dicom.scu.dimse_status import StoreOutcome, StoreStatus, status_from_code

JSON: Final = "application/dicom+json"

REFERENCED, FAILED = "00081199", "00081198"
"""Referenced SOP Sequence, with the objects that were stored, and Failed SOP Sequence."""

INSTANCE_UID, WARNING, FAILURE = "00081155", "00081196", "00081197"
"""Referenced SOP Instance UID, Warning Reason and Failure Reason."""

SOP_CLASS_NOT_SUPPORTED, SYNTAX_NOT_SUPPORTED = 0x0122, 0xC122
"""Failure reasons after which another form of the object may be taken (PS3.18 table I.2-2)."""

PROCESSING_FAILURE = 0x0110
"""Failure reason that stands for a missing one, and for one that is a success."""

EXISTS_AT_AZURE = 0xB00E
"""Failure reason of Azure's DICOM service for an object that it has already (its conformance statement, 45070)."""


def multipart(contents: Iterable[bytes]) -> tuple[bytes, str]:
    """Return a request's body with a part for each DICOM file, and its Content-Type."""
    boundary = uuid.uuid4().hex
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    body = b"".join(piece for content in contents for piece in (head, content, b"\r\n"))
    return body + f"--{boundary}--\r\n".encode(), f'multipart/related; type="application/dicom"; boundary={boundary}'


def store_statuses(content: bytes) -> dict[str, StoreStatus]:
    """Return the status of each object that a response names, by SOP Instance UID; empty if it is no such response.

    An object that a response calls both stored and failed has failed.
    """
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    found = {uid: _stored(first_value(item, WARNING)) for uid, item in _items(answer, REFERENCED)}
    return found | {uid: _failed(first_value(item, FAILURE)) for uid, item in _items(answer, FAILED)}


def _items(answer: Any, sequence: str) -> Iterator[tuple[str, Any]]:
    for item in values(answer, sequence):
        if isinstance(uid := first_value(item, INSTANCE_UID), str):
            yield uid.strip("\0 "), item


def _stored(warning: Any) -> StoreStatus:
    if not _is_code(warning) or warning == 0:
        return status_from_code(0x0000)
    known = status_from_code(warning)
    if known.outcome is StoreOutcome.STORED:
        return known
    return StoreStatus(outcome=StoreOutcome.STORED, words=f"Warning (0x{warning:04X})", code=warning)


def _failed(reason: Any) -> StoreStatus:
    if reason == EXISTS_AT_AZURE:
        return StoreStatus(
            outcome=StoreOutcome.EXISTS, words=f"Duplicate SOP Instance (0x{reason:04X})", code=EXISTS_AT_AZURE
        )
    status = status_from_code(reason if _is_code(reason) else PROCESSING_FAILURE)
    return status_from_code(PROCESSING_FAILURE) if status.outcome is StoreOutcome.STORED else status


def _is_code(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and 0 <= given <= 0xFFFF


def values(dataset: Any, tag: str) -> list[Any]:
    """Return the values of an attribute in the JSON model, whatever a peer has sent there."""
    element = dataset.get(tag) if isinstance(dataset, Mapping) else None
    found = element.get("Value") if isinstance(element, Mapping) else None
    return found if isinstance(found, list) else []


def first_value(dataset: Any, tag: str) -> Any:
    """Return the first value of an attribute in the JSON model; None if it has none."""
    return next(iter(values(dataset, tag)), None)
