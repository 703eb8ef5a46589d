"""The answer as HL7 v2 ORU^R01 for the RIS: preliminary, with our own filler number and service code.

One order for the study, the same for every revision. Its observations are grouped by OBX-4: ``0`` for the study,
``2`` for its second radiograph, ``2.1`` for that radiograph's first region.

References
----------
HL7 v2.5.1 ch. 4.5.1 (ORC), 7.3.1 and 7.4 (ORU^R01, OBR, OBX); tables 0078, 0085, 0123.
IHE Radiology TF-2, transaction RAD-28, for the study's UID in an OBX.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import wrap

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from appliance.config import Hl7Destination
from appliance.dicom.objects.codes import PRESENCES, SIDES, SITES
from appliance.dicom.objects.patient_study import text
from appliance.dicom.objects.series import examined_at, local_time
from appliance.domain.finding import Answer, Finding
from appliance.domain.identifiers import Laterality
from appliance.domain.result import SECOND_READER, Result
from appliance.domain.study import StudyResult
from appliance.field_map import fill_template

from .message import LONGEST_ESCAPE, LONGEST_TEXT, TIMESTAMP, Segment, escape, identifier, message_of
from .requests import PLACER, requested
from .segments import control_id as control_id
from .segments import fill, header, patient
from .values import filler_number

NO_UNIT = "1^no units^UCUM"
WRONG = "W"  # OBX-11, table 0085: post original as wrong
STUDY = "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One OBX: `name` is a field of `appliance.config.Observations`, `value` is escaped."""

    name: str
    group: str
    kind: str
    value: str
    units: str = ""
    flag: str = ""


def oru_r01(study: StudyResult, source: Dataset, profile: Hl7Destination) -> bytes:
    """The message in the profile's character set, each segment ended by CR, without MLLP framing.

    Raises
    ------
    Rejected
        ``oru_invalid``: hl7apy finds that the message breaks the standard. ``oru_characters``: the profile's
        character set cannot carry one of the source's numbers.
    """
    status = profile.revised_status if study.revision > 1 else "P"
    return _oru(study, source, profile, "oru", status, status, list(_observations(study, source, profile)))


def oru_withdrawal(study: StudyResult, source: Dataset, profile: Hl7Destination, reason: str = "") -> bytes:
    """The message that takes `oru_r01` of the same study back: every observation again, as wrong.

    Raises
    ------
    Rejected
        As `oru_r01`.
    """
    said = f"WITHDRAWN: {reason}" if reason else "WITHDRAWN"
    withdrawn = [_text("impression", "0.0", said, "TX")]
    withdrawn += [
        Observation(name=o.name, group=o.group, kind=o.kind, value=o.value, units=o.units)
        for o in _observations(study, source, profile)
    ]
    # OBR-25 stays preliminary: a corrected or cancelled order would say something of the examination
    return _oru(study, source, profile, "oru withdrawal", "P", WRONG, withdrawn)


def _oru(
    study: StudyResult,
    source: Dataset,
    profile: Hl7Destination,
    kind: str,
    order_status: str,
    status: str,
    observations: list[Observation],
) -> bytes:
    at = local_time(source, study).strftime(TIMESTAMP)
    placer = identifier(requested(source, PLACER), profile.character_set)
    filler = f"{filler_number(study.study_instance_uid)}^OSTEON"
    observed = examined_at(source, study)
    obr = ["OBR", "1", placer, filler, profile.service, "", "", observed.strftime(TIMESTAMP) if observed else at]
    obr += [""] * 10 + [identifier(text(source, "AccessionNumber"), profile.character_set)]  # OBR-18
    obr += ["", "", "", at, "", "RAD", order_status]  # OBR-22, OBR-24, OBR-25
    segments: list[Segment] = [
        header(study, source, profile, "ORU^R01^ORU_R01", kind),
        patient(source, profile),
        ["ORC", "RE", placer, filler],
        obr,
    ]
    names = profile.observations.model_dump()
    for o in observations:
        if names[o.name]:
            number = str(len(segments) - 3)
            segments.append(
                [
                    "OBX",
                    number,
                    o.kind,
                    names[o.name],
                    o.group,
                    o.value,
                    o.units,
                    "",
                    o.flag,
                    "",
                    "",
                    status,
                    "",
                    "",
                    at,
                ]
            )
    return message_of(fill(segments, study, source, profile), profile.character_set)


def _observations(study: StudyResult, source: Dataset, profile: Hl7Destination) -> Iterator[Observation]:
    for number, result in enumerate(study.results, 1):
        yield from _radiograph(str(number), result, profile)
    for number, sentence in enumerate(_sentences(study), 1):
        yield _text("impression", f"{STUDY}.{number}", sentence, "TX")
    yield _text("model", STUDY, study.provenance.model)
    yield Observation(name="revision", group=STUDY, kind="NM", value=str(study.revision))
    if profile.link:
        uid = study.study_instance_uid
        yield _text(
            "link", STUDY, fill_template(profile.link, {"study_instance_uid": uid, "revision": str(study.revision)})
        )
    accession = text(source, "AccessionNumber").strip()
    if accession:
        yield _text("accession_number", STUDY, accession)
    yield _text("study_instance_uid", STUDY, study.study_instance_uid)


def _radiograph(group: str, result: Result, profile: Hl7Destination) -> Iterator[Observation]:
    yield _text("radiograph", group, result.sop_instance_uid)
    if result.not_analysed is not None:
        reason = f"{result.not_analysed.reason} [{result.not_analysed.code}]"
        yield _text("not_analysed", group, reason, "TX")
    for number, finding in enumerate(result.findings, 1):
        yield from _finding(f"{group}.{number}", finding, profile)
    for number, region in enumerate(result.unread_regions, len(result.findings) + 1):
        reason = f"region located but not analysed: {region.site.label}"
        yield _text("not_analysed", f"{group}.{number}", reason, "TX")


def _finding(group: str, finding: Finding, profile: Hl7Destination) -> Iterator[Observation]:
    coded = "CWE" if profile.version >= "2.5" else "CE"
    answer, site, side = finding.answer, finding.site, finding.laterality
    yield Observation(
        name="answer",
        group=group,
        kind=coded,
        value=_code(profile, answer.value, PRESENCES[answer]),
        flag=_abnormal(answer, profile),
    )
    yield Observation(name="probability", group=group, kind="NM", value=f"{finding.probability:.3f}", units=NO_UNIT)
    yield Observation(name="site", group=group, kind=coded, value=_code(profile, site.value, SITES[site]))
    if side in SIDES:
        name = "left" if side is Laterality.LEFT else "right"
        yield Observation(name="side", group=group, kind=coded, value=_code(profile, name, SIDES[side]))
    yield Observation(name="focus", group=group, kind="NM", value=f"{finding.focus:.3f}", units=NO_UNIT)


def _abnormal(answer: Answer, profile: Hl7Destination) -> str:
    """OBX-8, table 0078, where that is how the site's worklist is flagged."""
    if profile.flag != "oru":
        return ""
    return "A" if answer in profile.flagged else "N" if answer is Answer.NEGATIVE else ""


def _code(profile: Hl7Destination, name: str, code: Code) -> str:
    """The site's own code, else ours."""
    own: str | None = getattr(profile.codes, name)
    return own or f"{code.value}^{escape(code.meaning)}^{code.scheme_designator}"


def _text(name: str, group: str, value: str, kind: str = "ST") -> Observation:
    """Text for a table (ST) or for a person (TX); long text is TX in lines, as repetitions of OBX-5."""
    escaped = escape(value)
    if len(escaped) > LONGEST_TEXT:
        kind, escaped = "TX", "~".join(map(escape, wrap(value, LONGEST_TEXT // LONGEST_ESCAPE)))
    return Observation(name=name, group=group, kind=kind, value=escaped)


def _sentences(study: StudyResult) -> list[str]:
    """What a person reads: whose word it is, every answer, and every caveat."""
    said = [f"{SECOND_READER}; {study.answer.label}"]
    several = len(study.results) > 1
    if several:
        said[0] += "; radiographs are numbered in order of analysis"
    for number, result in enumerate(study.results, 1):
        view = f"radiograph {number}: " if several else ""
        said += [f"{view}{f.place}: {f.answer.label}, probability {f.percent}" for f in result.findings]
        if result.not_analysed is not None:
            said.append(f"{view}not analysed: {result.not_analysed.reason}")
        said += [f"{view}region located but not analysed: {r.site.label}" for r in result.unread_regions]
    return said + list(study.caveats)
