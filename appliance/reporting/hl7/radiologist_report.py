"""Radiologist reports, ORU^R01: the few fields that name sender, order, study and status, and the acknowledgement.

The message itself is kept byte for byte, and no fact about the patient is read from it. Only the delimiters of the
standard are read, and the acknowledgement uses the same. A message is read as it arrives: of its segments only those
that are used are kept, so that ten megabytes of short segments need no more memory than one segment.

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

from .frames import BLANK
from .message import TIMESTAMP, Segment, escape, unescape

BEGINNING = b"MSH|^~\\&"
"""MSH-1 and the first four characters of MSH-2; version 2.7 may add a fifth delimiter."""

VERSIONS = ("2.2", "2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2")
"""MSH-12: versions that agree on every field read here."""

CODED_ERRORS_SINCE = "2.5"
"""First version with ERR-3 and ERR-4 (HL7 v2.5 section 2.15.5)."""

WESTERN = "cp1252"
"""Windows-1252, which contains every letter of ISO 8859-1."""

ISO_IR = {1: 100, 2: 101, 3: 109, 4: 110, 5: 144, 6: 127, 7: 126, 8: 138, 9: 148, 15: 203}
"""Parts of ISO 8859 by their numbers in the ISO register, which DICOM uses."""

CHARACTER_SETS = (
    dict.fromkeys(("", "ASCII", "USASCII", "ISOIR6", "ISO646"), "")
    | dict.fromkeys(("UTF8", "UNICODE", "UNICODEUTF8", "ISOIR192", "ISO10646"), "utf-8")
    | dict.fromkeys(("ANSI", "LATIN1", "ISOLATIN1"), WESTERN)
    | {f"8859{part}": f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))}
    | {f"ISOIR{number}": f"iso8859-{part}" for part, number in ISO_IR.items()}
    | {f"{page}": f"cp{page}" for page in range(1250, 1259)}
)
"""MSH-18, as `character_set_key` writes it, and its codec; table 0211, and the spellings of other vendors.

Each codec contains ASCII, so that the delimiters are found before the text is decoded. An empty one stands for ASCII,
where many send UTF-8 or Windows-1252.
"""

_PREFIX = re.compile(r"(ISO(?=8859)|WINDOWS|WIN|CP|ANSI|MS)(?=\d{4})")
_YEAR = re.compile(r"[:-](19|20)\d\d$")

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


LONGEST_SEGMENT_BYTES = 65536
"""Bytes of a segment that are read; the fields that are used stand at its beginning."""

MOST_FIELDS = 26
"""Fields that are separated in a segment: up to OBR-25."""

_OBR, _ZDS, _OBX = b"OBR|", b"ZDS|", b"OBX|"
"""Segments that are used, with the delimiter."""


class ReportReader:
    """Reads a message from its pieces: MSH, the first OBR and ZDS, and the first OBX of each code that is used.

    Attributes
    ----------
    header
        The first line, without byte order mark; empty before it has ended.
    """

    def __init__(self) -> None:
        self.header = b""
        self._line = bytearray()
        self._wanted = {_OBR, _ZDS, _OBX}
        self._order: list[bytes] | None = None
        self._zds: list[bytes] = []
        self._observed: dict[bytes, list[bytes]] = {}

    def feed(self, piece: bytes) -> None:
        """Read the next bytes of the message, which end anywhere."""
        *ended, rest = piece.replace(b"\n", b"\r").split(b"\r")
        for line in ended:
            if self._line or not self.header or line[:4] in self._wanted:
                self._line += line
                self._end_segment()
        self._line += rest[: LONGEST_SEGMENT_BYTES - len(self._line)]

    def report(self) -> RadiologistReport:
        """Return the report; the message has ended.

        Raises
        ------
        Rejected
            With a code of `REFUSALS`, if the message is no readable report.
        """
        self._end_segment()
        header = _header(self.header)
        if not header:
            raise Rejected(
                ReasonCode.HL7_GARBLED, "it does not begin with MSH|^~\\&: it has another encoding or is no HL7 v2"
            )
        _check(header)
        codec = CHARACTER_SETS.get(character_set_key(_field(header, 17)))  # MSH-18
        if codec is None:
            raise Rejected(ReasonCode.HL7_CHARACTER_SET, "MSH-18 names a character set that Osteon does not read")
        if self._order is None:
            raise Rejected(ReasonCode.HL7_GARBLED, "it has no OBR")
        order = _decoded(self._order, codec)
        observed = {code: _first(_decoded(fields, codec), 5) for code, fields in self._observed.items()}
        study = observed.get(STUDY.encode()) or _first(_decoded(self._zds, codec), 1)
        accession = _first(order, 18) or observed.get(ACCESSION_NUMBER.encode()) or _first(order, 3)
        status = _first(order, 25)
        sender = _decoded(self.header.split(b"|", MOST_FIELDS), codec)
        return RadiologistReport(
            sending_application=unescape(_field(sender, 2)),  # MSH-3
            sending_facility=unescape(_field(sender, 3)),
            control_id=_field(header, 9),
            accession_number=accession
            if len(accession) <= LONGEST_ACCESSION_NUMBER and accession.isprintable()
            else "",
            study_instance_uid=study if is_valid_uid(study) else "",
            result_status=status if status in RESULT_STATUSES else "",
        )

    def _end_segment(self) -> None:
        segment = bytes(self._line[:LONGEST_SEGMENT_BYTES])
        self._line.clear()
        if not self.header:
            self.header = segment.strip(BLANK)
            return
        name = segment[:4]
        if name not in self._wanted:
            return
        fields = segment.split(b"|", MOST_FIELDS)
        if name == _OBX:
            code = fields[3].split(b"~", 1)[0].split(b"^", 1)[0].strip() if len(fields) > 3 else b""
            if code in (STUDY.encode(), ACCESSION_NUMBER.encode()):
                self._observed.setdefault(code, fields)
            return
        self._wanted.remove(name)
        if name == _OBR:
            self._order = fields
        else:
            self._zds = fields


def character_set_key(value: str) -> str:
    """Return the first repetition with a value of MSH-18 as a key of `CHARACTER_SETS`.

    ``ISO 8859-1``, ``ISO8859/1`` and ``8859/1`` are one key, as are ``UNICODE UTF-8`` and ``utf8``.
    """
    first = next((one for one in value.split("~") if one.strip()), "")
    letters = re.sub(r"[^A-Z0-9]", "", _YEAR.sub("", first.split("^")[0].strip().upper()))
    return _PREFIX.sub("", letters)


def acknowledgement(header_line: bytes, refusal: OsteonError | None = None) -> bytes:
    """Return the acknowledgement, unframed, of the message with that first line; `refusal` says why it failed."""
    header = _header(header_line)
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


def _header(line: bytes) -> Segment:
    """Return MSH, one character for each byte, so that echoed fields keep their bytes; empty without an MSH."""
    return line.decode("latin-1").split("|", MOST_FIELDS) if line.startswith(BEGINNING) else []


def _decoded(fields: list[bytes], codec: str) -> Segment:
    """Return the fields as text; without a `codec` as UTF-8 if they are that, else as Windows-1252."""
    content = b"|".join(fields)
    if not codec:
        try:
            return content.decode().split("|")
        except UnicodeDecodeError:
            codec = WESTERN
    return content.decode(codec, "replace").split("|")


def _field(segment: Segment, number: int) -> str:
    return segment[number].strip() if number < len(segment) else ""


def _first(segment: Segment, number: int) -> str:
    """Return the first component of the first repetition of a field, unescaped."""
    return unescape(_field(segment, number).split("~")[0].split("^")[0]).strip()


def _echo(header: Segment, number: int, longest: int) -> str:
    """Return a field unchanged if our own message may carry it, else nothing."""
    value = header[number] if number < len(header) else ""
    return value if len(value) <= longest and not any(ord(c) < 0x20 or ord(c) == 0x7F for c in value) else ""
