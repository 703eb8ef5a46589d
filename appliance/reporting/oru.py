"""The answer as HL7 v2 ORU^R01 for the RIS: preliminary, with our own filler number and service code.

The segments are written here, then read and validated by hl7apy: the text is under our control to the byte,
and a second party has checked it.

References
----------
HL7 v2.5.1 ch. 2 (delimiters, escapes, MSH), ch. 3 (PID), ch. 4 (ORC), ch. 7 (OBR, OBX, ORU^R01);
tables 0085, 0123, 0211, 0301. IHE Radiology TF-2, transaction RAD-28, for the study's UID in an OBX.
"""

from __future__ import annotations

from collections.abc import Iterator

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.valuerep import PersonName

from appliance.dicom.codes import PRESENCES, SIDES, SITES
from appliance.dicom.patient_study import copied, text
from appliance.dicom.series import examined_at, local_time
from appliance.domain.finding import Answer, Finding
from appliance.domain.identifiers import derived_uuid
from appliance.domain.result import SECOND_READER
from appliance.domain.study import StudyResult
from appliance.errors import Rejected

ESCAPES = {"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"}  # 2.7.1

LONGEST_NAME_COMPONENT = 64
"""A valid DICOM name has no longer one (PS3.5 section 6.2, PN); what is longer is cut, never the message."""

SERVICE = "OSTEON-FX^Fracture second reading by AI^99OSTEON"
SYSTEMS = {"SCT": "SCT", "DCM": "DCM"}
ABNORMAL = {Answer.POSITIVE: "A", Answer.DOUBT: "", Answer.NEGATIVE: "N"}  # table 0078


TIMESTAMP = "%Y%m%d%H%M%S%z"


def control_id(study: StudyResult) -> str:
    """MSH-10: at most 20 characters, and the same for the same result."""
    return derived_uuid(study.uid("oru")).replace("-", "")[:20]


def oru_r01(
    study: StudyResult,
    source: Dataset,
    *,
    sending_application: str,
    sending_facility: str,
    receiving_application: str,
    receiving_facility: str,
    version: str = "2.5.1",
) -> bytes:
    """The message in UTF-8, each segment ended by CR, without MLLP framing; `source` is the newest radiograph's.

    Raises
    ------
    Rejected
        ``oru_invalid``: hl7apy finds that the message breaks the standard.
    """
    # MSH-7's offset is that of every time in the message which states none (HL7 v2.5.1 section 2.14.9.7)
    at = local_time(source, study).strftime(TIMESTAMP)
    mode = "T" if study.provenance.pack_is_synthetic else "P"  # MSH-11, table 0103: training, production
    names = (sending_application, sending_facility, receiving_application, receiving_facility)
    parties = [escape(name) for name in names]
    segments = [
        ["MSH", "^~\\&", *parties, at, "", "ORU^R01^ORU_R01", control_id(study), mode, version]
        + [""] * 5
        + ["UNICODE UTF-8"],
        _pid(source),
        *_order(source, study, at),
        *_observations(source, study, at, "CWE" if version >= "2.5" else "CE"),
    ]
    message = "".join("|".join(fields).rstrip("|") + "\r" for fields in segments)
    try:
        parse_message(message.rstrip("\r"), validation_level=VALIDATION_LEVEL.STRICT).validate()
    except HL7apyException as error:
        raise Rejected(
            "oru_invalid",
            f"the HL7 message would break the standard ({type(error).__name__}): "
            "look for an over-long identifier in the radiograph's header",
        ) from None
    return message.encode()


def escape(value: str) -> str:
    """`value` as text of one component: delimiters escaped, line ends and control characters to spaces."""
    printable = "".join(c if c.isprintable() else " " for c in value)
    return "".join(ESCAPES.get(c, c) for c in printable).strip()


def _pid(source: Dataset) -> list[str]:
    sex = text(source, "PatientSex")
    birth = text(source, "PatientBirthDate")
    return [
        "PID", "1", "", _patient_id(source), "", _names(source) or "^^^^^^U", "",
        birth if len(birth) == 8 and birth.isdecimal() else "",
        sex if sex in ("M", "F", "O") else "U",
    ]  # fmt: skip


def _patient_id(source: Dataset) -> str:
    """PID-3, CX: identifier, assigning authority, identifier type.

    It is required. Without one in the source stands the study's UID, which is no other patient's number.
    """
    if not text(source, "PatientID"):
        return f"{text(source, 'StudyInstanceUID')}^^^OSTEON^U"
    universal, kind = "", ""
    for item in copied(source, ("IssuerOfPatientIDQualifiersSequence",)).get("IssuerOfPatientIDQualifiersSequence", []):
        universal, kind = text(item, "UniversalEntityID"), text(item, "UniversalEntityIDType")
    authority = "&".join(map(escape, (text(source, "IssuerOfPatientID"), universal, kind))).rstrip("&")
    return f"{escape(text(source, 'PatientID'))}^^^{authority}^MR"


def _names(source: Dataset) -> str:
    """PID-5, XPN: one repetition per group of the DICOM name, with its representation (table 4000)."""
    name = PersonName(text(source, "PatientName"))
    groups = zip(str(name).split("=")[:3], "AIP", strict=False)
    return "~".join(_xpn(group, code) for group, code in groups if group.strip("^ "))


def _xpn(group: str, representation: str) -> str:
    parts = [escape(part[:LONGEST_NAME_COMPONENT]) for part in group.split("^")[:5]]
    family, given, middle, prefix, suffix = parts + [""] * (5 - len(parts))
    return f"{family}^{given}^{middle}^{suffix}^{prefix}^^L^{representation}"


def _order(source: Dataset, study: StudyResult, at: str) -> tuple[list[str], list[str]]:
    placer = escape(_placer(source))
    filler = f"{derived_uuid(study.study_instance_uid, 'order').replace('-', '')[:20]}^OSTEON"
    observed = examined_at(source, study)
    obr = ["OBR", "1", placer, filler, SERVICE, "", "", observed.strftime(TIMESTAMP) if observed else at]
    obr += [""] * 10 + [escape(text(source, "AccessionNumber"))]  # OBR-18
    obr += ["", "", "", at, "", "RAD", "P"]  # OBR-22, OBR-24, OBR-25
    return ["ORC", "RE", placer, filler], obr


def _placer(source: Dataset) -> str:
    keyword = "PlacerOrderNumberImagingServiceRequest"
    items = copied(source, ("RequestAttributesSequence",)).get("RequestAttributesSequence", [])
    return next((text(item, keyword) for item in items if text(item, keyword)), text(source, keyword))


def _observations(source: Dataset, study: StudyResult, at: str, coded: str) -> Iterator[list[str]]:
    findings = [f for r in study.results for f in r.findings]
    rows = [row for n, f in enumerate(findings, 1) for row in _finding(n, f, coded)]
    rows += [("TX", "IMPRESSION^Impression^99OSTEON", *_whole(line)) for line in _sentences(study)]
    for reason in dict.fromkeys(r.not_analysed for r in study.results if r.not_analysed):
        words = f"{reason.reason} [{reason.code}]"
        rows.append(("TX", "NOT-ANALYSED^Reason for no answer^99OSTEON", *_whole(words)))
    rows.append(("ST", "MODEL^Model^99OSTEON", *_whole(study.provenance.model)))
    accession = text(source, "AccessionNumber")
    if accession:
        rows.append(("ST", "121022^Accession Number^DCM", *_whole(accession)))
    rows.append(("ST", "113014^DICOM Study^DCM", *_whole(study.study_instance_uid)))
    for number, (kind, name, sub_id, value, units, flag) in enumerate(rows, 1):
        row = ["OBX", str(number), kind, name, sub_id, value, units, "", flag, "", "", "P", "", "", at]
        yield row  # OBX-11 P: preliminary, table 0085


def _finding(number: int, finding: Finding, coded: str) -> Iterator[tuple[str, str, str, str, str, str]]:
    n, unit = str(number), "1^no units^UCUM"
    flag = ABNORMAL[finding.answer]
    yield coded, "ANSWER^Fracture^99OSTEON", n, _coded(PRESENCES[finding.answer]), "", flag
    yield "NM", "PROBABILITY^Probability of a fracture^99OSTEON", n, f"{finding.probability:.3f}", unit, ""
    yield coded, "SITE^Site^99OSTEON", n, _coded(SITES[finding.site]), "", ""
    if finding.laterality in SIDES:
        yield coded, "SIDE^Laterality^99OSTEON", n, _coded(SIDES[finding.laterality]), "", ""
    yield "NM", "FOCUS^Focus of the heat map^99OSTEON", n, f"{finding.focus:.3f}", unit, ""


def _whole(value: str) -> tuple[str, str, str, str]:
    """Sub-id, value, units and flag of what is about the whole radiograph."""
    return "0", escape(value), "", ""


def _coded(code: Code) -> str:
    return f"{code.value}^{escape(code.meaning)}^{SYSTEMS[code.scheme_designator]}"


def _sentences(study: StudyResult) -> list[str]:
    said = [SECOND_READER]
    for result in study.results:
        for f in result.findings:
            where = f"{f.laterality.label} {f.site.label}".strip()
            said.append(f"{where}: {f.answer.label}, probability {f.probability:.0%}")
        said += [f"region located but not analysed: {r.site.label}" for r in result.unread_regions]
    return said + list(study.caveats)
