"""C-STORE statuses as one table: the Standard's words, and the outcome for the sender.

References
----------
DICOM PS3.4 table B.2-1 (Storage Service), PS3.7 annex C (general statuses).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class StoreOutcome(StrEnum):
    """Outcome of one C-STORE.

    `STORED`: the peer has the object. `EXISTS`: the peer says that it already has this SOP Instance; it did not
    compare the two. `TRANSIENT`: send it again later. `REJECTED`: sending it again cannot help.
    """

    STORED = "stored"
    EXISTS = "exists"
    TRANSIENT = "transient"
    REJECTED = "rejected"


STORED, EXISTS, TRANSIENT, REJECTED = StoreOutcome

STATUSES: dict[int, tuple[StoreOutcome, str]] = {
    0x0000: (STORED, "Success"),
    0xB000: (STORED, "Coercion of Data Elements"),
    0xB006: (STORED, "Elements Discarded"),
    0xB007: (STORED, "Data Set does not match SOP Class"),
    0x0110: (TRANSIENT, "Processing Failure"),
    0x0111: (EXISTS, "Duplicate SOP Instance"),
    0x0117: (REJECTED, "Invalid SOP Instance"),
    0x0122: (REJECTED, "SOP Class not supported"),
    0x0124: (TRANSIENT, "Not Authorized: allow our AE title at the peer"),
    0x0210: (TRANSIENT, "Duplicate Invocation"),
    0x0211: (REJECTED, "Unrecognized Operation: the peer does not support C-STORE"),
    0x0212: (REJECTED, "Mistyped Argument"),
    # dcm4chee-arc-light, interface StoreService: in the range of Out of Resources, yet only a person can mend it
    0xA771: (REJECTED, "the archive has rejected this object before"),
    0xA777: (REJECTED, "the archive requires a Patient ID"),
    0xA778: (REJECTED, "the archive has the study under another Patient ID"),
    0xA779: (REJECTED, "the archive has the study under other patient attributes"),
}
"""Outcome and words of each DIMSE status. 0x0111 is in no table of the Storage Service, but archives send it."""

STATUS_RANGES: tuple[tuple[int, int, StoreOutcome, str], ...] = (
    (0xFF00, 0xA700, TRANSIENT, "Refused: Out of Resources"),
    (0xFF00, 0xA900, REJECTED, "Error: Data Set does not match SOP Class, or the patient does not match the study"),
    (0xF000, 0xC000, REJECTED, "Error: Cannot understand"),
    (0xF000, 0xB000, STORED, "Warning"),
)
"""Mask, value, outcome and words of the statuses that the Standard gives as ranges (PS3.4 table B.2-1, PS3.7 C)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """Outcome of one C-STORE, in words, with its status.

    Attributes
    ----------
    code
        The DIMSE status, or None if no C-STORE response came.
    """

    outcome: StoreOutcome
    words: str
    code: int | None = None

    @property
    def is_there(self) -> bool:
        """True if the peer says that it has the object."""
        return self.outcome in (STORED, EXISTS)


def status_from_code(code: int) -> StoreStatus:
    """Look up a C-STORE status; an unknown failure is `TRANSIENT`, since sending again loses nothing."""
    outcome, words = STATUSES.get(code) or _range_of(code) or (TRANSIENT, "unknown failure")
    return StoreStatus(outcome=outcome, words=f"{words} (0x{code:04X})", code=code)


def _range_of(code: int) -> tuple[StoreOutcome, str] | None:
    return next(((outcome, words) for mask, value, outcome, words in STATUS_RANGES if code & mask == value), None)
