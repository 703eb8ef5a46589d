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
    """Return the day of a DA; None outside the calendar, as 19700231 is."""
    found = _DAY.fullmatch(value)
    try:
        return date(int(found[1]), int(found[3]), int(found[4])) if found else None
    except ValueError:
        return None


def parse_partial_day(value: str) -> PartialDate | None:
    """Return a birth date with or without month and day, such as 19700131, 19700100 or 19700000; else None.

    German insurance cards write an unknown month or day as zeros.
    """
    found = _DAY.fullmatch(value)
    try:
        return PartialDate(year=int(found[1]), month=int(found[3]), day=int(found[4])) if found else None
    except ValueError:
        return None


def parse_time(value: str) -> time | None:
    """Return the time of day of a TM, to the second; None without minutes.

    The leap second 60 becomes 59, the last second of HL7 and FHIR.
    """
    found = _TIME.fullmatch(value)
    try:
        return time(int(found[1]), int(found[3]), min(int(found[4] or 0), 59)) if found else None
    except ValueError:
        return None


def modern(vr: str, value: str) -> str:
    """Return a date or time of ACR-NEMA in the form of DICOM, and other values unchanged."""
    if vr == "DA" and _DAY.fullmatch(value):
        return value.replace(".", "")
    return value.replace(":", "") if vr == "TM" and _TIME.fullmatch(value) else value
