"""The text of a radiologist report, ORU^R01, and a decision about our answer that it carries.

Read from the kept message when the report is judged; nothing of it is stored but the judgement.

References
----------
HL7 v2.5.1 ch. 2.7 (escapes, formatted text), ch. 7.4.2 (OBX; suffix ``&IMP`` of OBX-3 in 7.4.2.3 for an impression;
OBX-11 in 7.4.2.11).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from appliance.domain.validation import Decision

from .message import Segment, unescape
from .radiologist_report import CHARACTER_SETS, WESTERN, character_set_key

LARGEST_BYTES = 200_000
"""Bytes of a message that is read: a report is a few pages, and a longer one is left to a person."""

TEXT_TYPES = frozenset({"TX", "FT", "ST"})
"""OBX-2 of narrative text."""

IMPRESSION_CODES = frozenset({"IMP", "19005-8"})
"""OBX-3.1, or its suffix: impression (HL7 v2.5.1 7.4.2.3; LOINC)."""

COUNTED = frozenset({"", "F", "C"})
"""OBX-11 (table 0085) of an observation that counts: not stated, final, corrected; not deleted, wrong, preliminary."""

_LINE_END = re.compile(r"\\(?:\.br|\.sp\d*|X0[AD])\\", re.IGNORECASE)
_FORMAT = re.compile(r"\\(?:H|N|\.\w+[+-]?\d*)\\")


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionCode:
    """The OBX by which a site's reports carry a decision about our answer.

    Attributes
    ----------
    code
        OBX-3.1; empty if reports carry none.
    accepted, rejected
        Values of OBX-5, its first component, in any case of letters.
    """

    code: str = ""
    accepted: tuple[str, ...] = ("ACCEPT",)
    rejected: tuple[str, ...] = ("REJECT",)

    def read(self, values: Iterable[str]) -> Decision | None:
        """Return the decision of the last of these values that is one."""
        decided = None
        for value in values:
            if value.casefold() in map(str.casefold, self.accepted):
                decided = Decision.ACCEPT
            elif value.casefold() in map(str.casefold, self.rejected):
                decided = Decision.REJECT
        return decided


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportText:
    """The text of a report.

    Attributes
    ----------
    impression
        The impression, if the message tells it apart.
    decision
        The radiologist's decision about our answer, if the message has one.
    is_of_one_order
        Whether the message has one OBR; else nobody but a person knows which text is about which study.
    """

    text: str = field(default="", repr=False)
    impression: str = field(default="", repr=False)
    decision: Decision | None = None
    is_of_one_order: bool = True


def read_report_text(message: bytes, decision_code: DecisionCode) -> ReportText:
    """Return the text of a kept message; empty if it is too long or holds none."""
    if len(message) > LARGEST_BYTES:
        return ReportText()
    segments = list(_segments(message))
    is_of_one_order = sum(s[0] == "OBR" for s in segments) <= 1
    observed = [s for s in segments if s[0] == "OBX" and len(s) > 5 and _status(s) in COUNTED]
    told = [(_codes(s), s) for s in observed if s[2].strip() in TEXT_TYPES]
    decided = [s for s in observed if decision_code.code and decision_code.code in _codes(s)]
    return ReportText(
        text="\n".join(line for _, s in told for line in _lines(s[5])),
        impression="\n".join(line for codes, s in told if codes & IMPRESSION_CODES for line in _lines(s[5])),
        decision=decision_code.read(_plain(s[5].split("^")[0]) for s in decided) if is_of_one_order else None,
        is_of_one_order=is_of_one_order,
    )


def _segments(message: bytes) -> Iterator[Segment]:
    """Yield the segments from MSH on, decoded as MSH-18 says, else as UTF-8 or Windows-1252."""
    content = message[max(0, message.find(b"MSH|")) :]
    header = content.replace(b"\n", b"\r").split(b"\r", 1)[0].decode("latin-1").split("|")
    codec = CHARACTER_SETS.get(character_set_key(header[17]) if len(header) > 17 else "") or "utf-8"
    try:
        text = content.decode(codec)
    except UnicodeDecodeError:
        text = content.decode(WESTERN, "replace")
    for line in re.split(r"[\r\n]+", text):
        if line.strip():
            yield line.split("|")


def _status(segment: Segment) -> str:
    return segment[11].strip() if len(segment) > 11 else ""


def _codes(segment: Segment) -> set[str]:
    """Return the identifier of OBX-3 and its suffix."""
    return {part.strip() for part in segment[3].split("~")[0].split("^")[0].split("&")}


def _lines(value: str) -> Iterator[str]:
    """Yield the lines of OBX-5: repetitions, and the line ends of formatted text."""
    for repetition in value.split("~"):
        yield from (_plain(line) for line in _LINE_END.split(repetition))


def _plain(value: str) -> str:
    return unescape(_FORMAT.sub("", value)).strip()
