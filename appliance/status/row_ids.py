"""Ids of rows that come from outside, by a form."""

from __future__ import annotations

from typing import Final

LARGEST: Final = 2**31 - 1
"""Largest id: a larger number cannot be compared with one in PostgreSQL, nor beyond 64 bits in SQLite."""


def row_id(text: str) -> int:
    """Return the id that a form gives; raises ValueError if it can be none."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(LARGEST)) and int(text) <= LARGEST):
        raise ValueError(text)
    return int(text)
