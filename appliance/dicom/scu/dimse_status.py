"""What the status of a C-STORE means for us, as one table.

References
----------
DICOM PS3.4 table B.2-1, PS3.7 annex C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fate = Literal["stored", "exists", "transient", "rejected"]

STATUSES: dict[int, tuple[Fate, str]] = {
    0x0000: ("stored", "stored"),
    0x0111: ("exists", "already there (duplicate SOP Instance)"),
    0xB000: ("stored", "stored, with some elements coerced"),
    0xB006: ("stored", "stored, with some elements discarded"),
    0xB007: ("stored", "stored, although the data set does not match its SOP class"),
    0x0110: ("transient", "processing failure"),
    0x0124: ("transient", "not authorised: allow our AE title at the peer"),
    0x0117: ("rejected", "invalid SOP Instance UID"),
    0x0122: ("rejected", "SOP class not supported"),
    0x0210: ("transient", "duplicate invocation"),
    0x0211: ("rejected", "the peer does not know C-STORE"),
    0x0212: ("rejected", "the peer finds the command mistyped"),
    # dcm4chee-arc-light, interface StoreService: in the range of "out of resources", and yet for a person
    0xA771: ("rejected", "the archive has rejected this object before"),
    0xA777: ("rejected", "the archive misses the patient id"),
    0xA778: ("rejected", "the archive knows the study under another patient id"),
    0xA779: ("rejected", "the archive knows the study under other patient attributes"),
}
"""DIMSE status to what we do. 0x0111 stands in no table of the Storage service, but archives answer it."""

FAMILIES: tuple[tuple[int, int, Fate, str], ...] = (
    (0xFF00, 0xA700, "transient", "out of resources"),
    (0xFF00, 0xA900, "rejected", "the data set does not match its SOP class, or the patient its study"),
    (0xF000, 0xC000, "rejected", "the peer cannot understand the data set"),
    (0xF000, 0xB000, "stored", "stored, with a warning"),
)
"""Mask, value: statuses that the Standard gives as ranges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SendStatus:
    """What became of one instance.

    Attributes
    ----------
    fate
        ``exists``: the peer says that it has this object; it did not compare the two.
    code
        The DIMSE status, or None where it came to none.
    """

    fate: Fate
    words: str
    code: int | None = None

    @property
    def is_there(self) -> bool:
        """Whether the peer says that it has the object."""
        return self.fate in ("stored", "exists")


def status_from_code(code: int) -> SendStatus:
    """What a C-STORE status means for us; an unknown failure is `transient`, since retrying loses nothing."""
    fate, words = STATUSES.get(code, (None, ""))
    for mask, value, family_fate, family_words in FAMILIES:
        if fate is None and code & mask == value:
            fate, words = family_fate, family_words
    if fate is None:
        fate, words = "transient", "unknown failure"
    return SendStatus(fate=fate, words=f"{words} (0x{code:04X})", code=code)
