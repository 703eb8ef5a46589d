"""Days and times as devices write them: whole, partly known, and in the form of ACR-NEMA.

References
----------
DICOM PS3.5 section 6.2, VR DA and TM. ACR-NEMA, before DICOM, wrote ``2026.01.31`` and ``10:11:12``.
"""

from __future__ import annotations

import re
from datetime import date, time

from appliance.domain.order import PartialDate

_DAY = re.compile(r"([12]\d{3})(\.?)(\d\d)\2(\d\d)", re.ASCII)
_TIME = re.compile(r"(\d\d)(:?)(\d\d)(?:\2(\d\d)(?:\.\d{0,6})?)?", re.ASCII)


def parse_day(value: str) -> date | None:
    """Return the day that a DA names; None for a value such as 19700231, which is no day."""
    found = _DAY.fullmatch(value)
    try:
        return date(int(found[1]), int(found[3]), int(found[4])) if found else None
    except ValueError:
        return None


def parse_partial_day(value: str) -> PartialDate | None:
    """Return a birth date of which month and day may be unknown, as 19700100 and 19700000; None if it is no date.

    German insurance cards write an unknown month or day as zeros.
    """
    found = _DAY.fullmatch(value)
    try:
        return PartialDate(year=int(found[1]), month=int(found[3]), day=int(found[4])) if found else None
    except ValueError:
        return None


def parse_time(value: str) -> time | None:
    """Return the time of day that a TM names, to the second; None if it has no minutes.

    A leap second is the second before it, since HL7 and FHIR have none.
    """
    found = _TIME.fullmatch(value)
    try:
        return time(int(found[1]), int(found[3]), min(int(found[4] or 0), 59)) if found else None
    except ValueError:
        return None


def modern(vr: str, value: str) -> str:
    """Return a date or time of ACR-NEMA's form in that of DICOM; any other value unchanged."""
    if vr == "DA" and _DAY.fullmatch(value):
        return value.replace(".", "")
    return value.replace(":", "") if vr == "TM" and _TIME.fullmatch(value) else value
