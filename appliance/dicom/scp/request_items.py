"""The items of an A-ASSOCIATE-RQ that decide its answer; every other item is skipped, as DICOM PS3.8 9.3.1 demands.

pynetdicom refuses a request with an unknown item, or with a broken one that nothing here depends on, such as an
implementation version name of more than 16 characters.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

APPLICATION_CONTEXT_ITEM, PRESENTATION_CONTEXT, ABSTRACT_SYNTAX, TRANSFER_SYNTAX = 0x10, 0x20, 0x30, 0x40
USER_INFORMATION, MAXIMUM_LENGTH, ROLE_SELECTION = 0x50, 0x51, 0x54
"""Item types (DICOM PS3.8 9.3.2 and annex D, PS3.7 annex D.3.3)."""

USED: Final[Mapping[int, Collection[int]]] = {
    APPLICATION_CONTEXT_ITEM: (),
    PRESENTATION_CONTEXT: (ABSTRACT_SYNTAX, TRANSFER_SYNTAX),
    USER_INFORMATION: (MAXIMUM_LENGTH, ROLE_SELECTION),
}
"""Items that are used, each with its sub-items that are."""

CONTEXT_ID_BYTES = 4
"""Length of the id of a presentation context, which stands before its sub-items (DICOM PS3.8 table 9-13)."""


def used_items(items: bytes) -> bytes:
    """Return the used ones of the variable items of an A-ASSOCIATE-RQ; a cut item is left for the decoder to refuse."""
    return _filtered(items, USED)


def _filtered(items: bytes, used: Mapping[int, Collection[int]]) -> bytes:
    kept, at = bytearray(), 0
    while at + 4 <= len(items) and (end := at + 4 + int.from_bytes(items[at + 2 : at + 4])) <= len(items):
        kind, body = items[at], items[at + 4 : end]
        at = end
        if kind not in used:
            continue
        if inner := used[kind]:
            head = CONTEXT_ID_BYTES if kind == PRESENTATION_CONTEXT else 0
            body = body[:head] + _filtered(body[head:], dict.fromkeys(inner, ()))
        kept += bytes([kind, 0]) + len(body).to_bytes(2) + body
    return bytes(kept) + items[at:]
