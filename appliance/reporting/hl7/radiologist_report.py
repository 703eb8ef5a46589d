"""Radiologist reports, ORU^R01: the few fields that name sender, order, study and status, and the acknowledgement.

The message itself is kept byte for byte, and no fact about the patient is read from it. Only the delimiters of the
standard are read, and the acknowledgement uses the same.

References
----------
HL7 v2.5.1 ch. 2.9.2 (AA, AE, AR), 2.15.8 (MSA), 2.15.5 (ERR), tables 0123 and 0357; ch. 7.3.1 (ORU^R01).
IHE Radiology TF-2, transaction RAD-28, for the study's UID in an OBX.
"""

from __future__ import annotations

import re
import uuid

from appliance.clock import now
from appliance.domain.identifiers import is_valid_uid
from appliance.domain.radiologist_report import RadiologistReport
from appliance.domain.reason import ReasonCode
from appliance.errors import OsteonError, Rejected

from .message import CODECS, TIMESTAMP, Segment, escape, unescape

BEGINNING = b"MSH|^~\\&"
"""MSH-1 and the first four characters of MSH-2; version 2.7 may add a fifth delimiter."""

VERSIONS = ("2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2")
"""MSH-12: versions that agree on every field read here."""

CODED_ERRORS_SINCE = "2.5"
"""First version with ERR-3 and ERR-4 (HL7 v2.5 section 2.15.5)."""

RECEIVED_CODECS = (
    CODECS
    | {f"8859/{part}": f"iso8859-{part}" for part in range(1, 10)}
    | dict.fromkeys(("", "UNICODE", "UTF-8"), "utf-8")
)
"""MSH-18 and its codec. An empty field means ASCII; many send UTF-8 then, which contains it."""

RESULT_STATUSES = frozenset("OISAPCRFXYZ")
"""OBR-25, table 0123."""

LONGEST_CONTROL_ID = 199
"""MSH-10 in version 2.7, the longest of all versions."""

LONGEST_NAME = 227
"""MSH-3 and MSH-4, HD (HL7 v2.5.1 section 2.A.33)."""

LONGEST_ACCESSION_NUMBER = 64
"""More than the entity identifier of EI in most versions; the database column has this width."""

LONGEST_MSA_TEXT = 80
"""MSA-3 (2.15.8.3)."""

_EVENT = re.compile(r"[A-Z][0-9]{2}")
"""MSH-9.2, table 0003."""

STUDY = "113014"
"""OBX-3 of the Study Instance UID: DICOM Study (DICOM PS3.16 annex D)."""

ACCESSION_NUMBER = "121022"
"""OBX-3 of the accession number: Accession Number (DICOM PS3.16 annex D)."""

INTERNAL_ERROR = ("AE", "207", "Application internal error")
"""Acknowledgement of a temporary fault of Osteon, such as a full disk or a locked database: the sender retries."""

REFUSALS = {
    ReasonCode.HL7_GARBLED: ("AE", "100", "Segment sequence error"),
    ReasonCode.HL7_INCOMPLETE: ("AE", "101", "Required field missing"),
    ReasonCode.HL7_FIELD: ("AE", "102", "Data type error"),
    ReasonCode.HL7_CHARACTER_SET: ("AE", "103", "Table value not found"),
    ReasonCode.HL7_TOO_LARGE: INTERNAL_ERROR,
    ReasonCode.HL7_MESSAGE_TYPE: ("AR", "200", "Unsupported message type"),
    ReasonCode.HL7_EVENT: ("AR", "201", "Unsupported event code"),
    ReasonCode.HL7_PROCESSING_ID: ("AR", "202", "Unsupported processing id"),
    ReasonCode.HL7_VERSION: ("AR", "203", "Unsupported version id"),
}
"""MSA-1, ERR-3.1 and ERR-3.2 for each reason to refuse a message."""


def report_of(message: bytes) -> RadiologistReport:
    """Read a message.

    Raises
    ------
    Rejected
        With a code of `REFUSALS`, if the message is no readable report.
    """
    header = _header(message)
    if not header:
        raise Rejected(
            ReasonCode.HL7_GARBLED, "it does not begin with MSH|^~\\&: it has another encoding or is no HL7 v2"
        )
    _check(header)
    codec = RECEIVED_CODECS.get(_first(header, 17))  # MSH-18
    if codec is None:
        raise Rejected(ReasonCode.HL7_CHARACTER_SET, "MSH-18 names a character set that Osteon does not read")
    segments = _segments(message.decode(codec, "replace"))
    order = next((s for s in segments if s[0] == "OBR"), None)
    if order is None:
        raise Rejected(ReasonCode.HL7_GARBLED, "it has no OBR")
    observed = {
        _first(s, 3): _first(s, 5) for s in reversed(segments) if s[0] == "OBX"
    }  # the first OBX of a code counts
    study = observed.get(STUDY) or next((_first(s, 1) for s in segments if s[0] == "ZDS"), "")
    accession = _first(order, 18) or observed.get(ACCESSION_NUMBER) or _first(order, 3)
    status = _first(order, 25)
    return RadiologistReport(
        sending_application=unescape(_field(segments[0], 2)),  # MSH-3
        sending_facility=unescape(_field(segments[0], 3)),
        control_id=_field(header, 9),
        accession_number=accession if len(accession) <= LONGEST_ACCESSION_NUMBER else "",
        study_instance_uid=study if is_valid_uid(study) else "",
        result_status=status if status in RESULT_STATUSES else "",
    )


def acknowledgement(message: bytes, refusal: OsteonError | None = None) -> bytes:
    """Return the acknowledgement of `message`, or of its beginning, unframed; `refusal` says why it failed."""
    header = _header(message)
    version = _first(header, 11) if _first(header, 11) in VERSIONS else "2.5.1"
    code, error, meaning = REFUSALS.get(refusal.code, INTERNAL_ERROR) if refusal else ("AA", "", "")
    if _field(header, 14) in ("AL", "ER", "SU") and _field(header, 15) in (
        "",
        "NE",
    ):  # 2.9.3: only an accept acknowledgement
        code = "C" + code[1]
    text = escape(refusal.reason)[:LONGEST_MSA_TEXT] if refusal else ""
    _, event, *_ = [*_field(header, 8).split("^"), "", ""]
    names = [_echo(header, n, LONGEST_NAME) for n in (4, 5, 2, 3)]  # sender and receiver change places
    event = event if _EVENT.fullmatch(event) else ""
    processing = _first(header, 10) if _first(header, 10) in ("D", "P", "T") else "P"
    msh = [
        "MSH", "^~\\&", *names, now().strftime(TIMESTAMP), "", f"ACK^{event}^ACK", uuid.uuid4().hex[:20], processing,
        version,
    ]  # fmt: skip
    made = [msh, ["MSA", code, _echo(header, 9, LONGEST_CONTROL_ID), text]]
    if refusal and version >= CODED_ERRORS_SINCE:
        made.append(["ERR", "", "", f"{error}^{meaning}^HL70357", "E"])
    return "".join("|".join(fields).rstrip("|") + "\r" for fields in made).encode("latin-1", "replace")


def _check(header: Segment) -> None:
    """Raise Rejected unless the message is an ORU^R01 of a readable version with a control id."""
    kind, event, *_ = [*_field(header, 8).split("^"), "", ""]
    if kind != "ORU":
        raise Rejected(ReasonCode.HL7_MESSAGE_TYPE, "it is no ORU: only reports are taken")
    if event != "R01":
        raise Rejected(ReasonCode.HL7_EVENT, "it is no ORU^R01: only reports are taken")
    if _first(header, 11) not in VERSIONS:
        raise Rejected(ReasonCode.HL7_VERSION, f"MSH-12 is none of {VERSIONS[0]} to {VERSIONS[-1]}")
    if _first(header, 10) in ("D", "T"):
        raise Rejected(ReasonCode.HL7_PROCESSING_ID, "MSH-11 says that it is for training or debugging")
    if not _field(header, 9):
        raise Rejected(ReasonCode.HL7_INCOMPLETE, "it has no control id (MSH-10)")
    if not _echo(header, 9, LONGEST_CONTROL_ID):
        raise Rejected(ReasonCode.HL7_FIELD, "MSH-10 is too long, or not printable")
    if any(_field(header, n) and not _echo(header, n, LONGEST_NAME) for n in (2, 3)):
        raise Rejected(ReasonCode.HL7_FIELD, "MSH-3 or MSH-4 is too long, or not printable")


def _header(message: bytes) -> Segment:
    """Return MSH, one character for each byte, so that echoed fields keep their bytes; empty without an MSH."""
    line = re.split(rb"[\r\n]", message, maxsplit=1)[0]
    return line.decode("latin-1").split("|") if message.startswith(BEGINNING) else []


def _segments(text: str) -> list[Segment]:
    """Return the segments of a message with any line ends."""
    return [line.split("|") for line in text.replace("\n", "\r").split("\r") if line]


def _field(segment: Segment, number: int) -> str:
    return segment[number].strip() if number < len(segment) else ""


def _first(segment: Segment, number: int) -> str:
    """Return the first component of the first repetition of a field, unescaped."""
    return unescape(_field(segment, number).split("~")[0].split("^")[0]).strip()


def _echo(header: Segment, number: int, longest: int) -> str:
    """Return a field unchanged if our own message may carry it, else nothing."""
    value = header[number] if number < len(header) else ""
    return value if len(value) <= longest and not any(ord(c) < 0x20 or ord(c) == 0x7F for c in value) else ""
