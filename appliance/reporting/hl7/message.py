"""HL7 v2 as bytes: escapes, character sets, and validation of a message.

We write the segments and hl7apy reads and validates them: the text is under our control to the byte, and a second
implementation has checked it.

References
----------
HL7 v2.5.1 ch. 2.7 (escapes), 2.14.9.18 and table 0211 (character sets).
"""

from __future__ import annotations

import re
import unicodedata
from datetime import date, datetime

from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

Segment = list[str]
"""Name of the segment, then its fields: field n at index n, in MSH at n - 1, since MSH-1 is the separator itself."""

ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}
"""Escape sequence of each delimiter (HL7 v2.5.1 section 2.7.1)."""

_DELIMITERS = {escaped: c for c, escaped in ESCAPES.items()}
_ESCAPED = re.compile(r"\\[EFSTR]\\")

CODECS = {
    "UNICODE UTF-8": "utf-8",
    "ASCII": "ascii",
    "8859/1": "iso8859-1",
    "8859/2": "iso8859-2",
    "8859/5": "iso8859-5",
    "8859/7": "iso8859-7",
    "8859/9": "iso8859-9",
    "8859/15": "iso8859-15",
}
"""Codec of each character set of MSH-18 (table 0211)."""

TIMESTAMP = "%Y%m%d%H%M%S%z"
"""TS, to the second and with its offset (HL7 v2.5.1 section 2.A.77)."""

LONGEST_ESCAPE = 3
"""Characters of the longest entry in `ESCAPES`."""

LONGEST_TEXT = 199
"""Characters of ST (HL7 v2.5.1 section 2.A.74). TX may be longer, but receivers and hl7apy limit its lines so too."""


def timestamp(moment: datetime | date | None) -> str:
    """Return a TS as exact as `moment`: to the second, to the day, or empty."""
    if moment is None:
        return ""
    return moment.strftime(TIMESTAMP if isinstance(moment, datetime) else "%Y%m%d")


def escape(value: str) -> str:
    """Return `value` as text of one component: delimiters escaped, line ends and control characters as spaces."""
    printable = "".join(c if c.isprintable() else " " for c in value)
    return "".join(ESCAPES.get(c, c) for c in printable).strip()


def unescape(value: str) -> str:
    """Undo `escape`; other escape sequences (2.7.2 to 2.7.7) stay unchanged."""
    return _ESCAPED.sub(lambda found: _DELIMITERS[found[0]], value)


def identifier(value: str, character_set: str) -> str:
    """Return `value` escaped, for numbers that must arrive to the letter: another number is another patient.

    Raises
    ------
    Rejected
        ``oru_characters``: the destination's character set lacks one of its letters.
    """
    try:
        value.encode(CODECS[character_set])
    except UnicodeEncodeError:
        raise Rejected(
            ReasonCode.ORU_CHARACTERS,
            f"a number in the radiograph's header has letters that {character_set} lacks; "
            "set another character_set for this destination",
        ) from None
    return escape(value)


def carries(value: str, character_set: str) -> bool:
    """Return whether the character set can write `value` with at most its accents lost."""
    return "?" not in encoded(value.replace("?", ""), character_set).decode(CODECS[character_set])


def encoded(text: str, character_set: str) -> bytes:
    """Return the bytes; a letter that the character set lacks loses its accent, else becomes ``?``."""
    codec = CODECS[character_set]
    return "".join(_nearest(c, codec) for c in text).encode(codec)


def _nearest(character: str, codec: str) -> str:
    """Return the character, its base letter or ``?``, the first that the codec has."""
    bases = (b for b in unicodedata.normalize("NFKD", character) if not unicodedata.combining(b))
    # only letters and digits lose accents: the full-width "|" would become a delimiter
    for candidate in (character, "".join(b for b in bases if b.isalnum())):
        try:
            candidate.encode(codec)
        except UnicodeEncodeError:
            continue
        if candidate:
            return candidate
    return "?"


def message_of(segments: list[Segment], character_set: str) -> bytes:
    """Return the message, each segment ended by CR, without MLLP framing.

    Raises
    ------
    Rejected
        ``oru_invalid``: hl7apy finds that the message breaks the standard.
    """
    text = "".join("|".join(fields).rstrip("|") + "\r" for fields in segments)
    content = encoded(text, character_set)
    from hl7apy.exceptions import HL7apyException  # its tables take a while; a process that renders needs none

    try:
        _validate(content.decode(CODECS[character_set]).rstrip("\r"))
    except (HL7apyException, ValueError) as error:  # hl7apy raises a bare ValueError for a time that does not exist
        raise Rejected(
            ReasonCode.ORU_INVALID,
            f"the HL7 message would break the standard ({type(error).__name__}): look for an over-long identifier "
            "in the radiograph's header, or at the destination's map",
        ) from None
    return content


def _validate(text: str) -> None:
    from hl7apy.consts import VALIDATION_LEVEL
    from hl7apy.parser import parse_message, parse_segment

    header, *lines = text.split("\r")
    event, version = header.split("|")[8], header.split("|")[11]
    if event.startswith("ORM"):  # hl7apy demands every segment of ORM^O01's choice: validate one by one
        for line in lines:
            parse_segment(line, version=version, validation_level=VALIDATION_LEVEL.STRICT).validate()
    else:
        parse_message(text, validation_level=VALIDATION_LEVEL.STRICT).validate()
