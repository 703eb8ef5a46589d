"""The report of a study as HL7 v2 ORU^R01 for the RIS: preliminary, with our own service code.

One order for the study, the same for every revision: our own, or by profile the imaging order. Its observations are
grouped by OBX-4: ``0`` for the study, ``2`` for its second radiograph, ``2.1`` for that radiograph's first region.

References
----------
HL7 v2.5.1 ch. 2.A.29 (EIP), 4.5.1 (ORC), 7.3.1 and 7.4 (ORU^R01, OBR, OBX); tables 0078, 0085, 0123.
IHE Radiology TF-2, transaction RAD-28, for the study's UID in an OBX.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from textwrap import wrap

from appliance.config import Hl7Destination
from appliance.domain.codes import PRESENCES, SIDES, SITES, Concept
from appliance.domain.finding import Answer, Finding, Verdict
from appliance.domain.identifiers import Laterality
from appliance.domain.order import Examination, Order
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult
from appliance.field_map import fill_template
from appliance.reporting.wording import (
    headline,
    is_numbered,
    limits,
    mark_place,
    not_cleared,
    not_read,
    of_radiograph,
    radiograph_names,
    radiograph_sentences,
    reported_probability,
    withdrawal_notice,
)
from appliance.words import Language, language

from .message import LONGEST_ESCAPE, LONGEST_TEXT, TIMESTAMP, Segment, escape, identifier, message_of, timestamp
from .segments import control_id, fill_mapped_fields, header, patient_segment
from .values import filler_number

NO_UNIT = "1^no units^UCUM"
"""OBX-6 of a number between 0 and 1 (UCUM section 4.5, the unity)."""

WRONG = "W"
"""OBX-11, table 0085: post original as wrong."""

STUDY = "0"
"""OBX-4 of the observations on the study as a whole."""

EQUIPMENT_SINCE = "2.4"
"""First version with OBX-18 and OBX-19."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One OBX.

    Attributes
    ----------
    name
        Field of `appliance.config.Observations`, which gives OBX-3.
    group
        OBX-4.
    kind
        OBX-2, the data type of `value`.
    value
        OBX-5, escaped.
    units, flag
        OBX-6 and OBX-8.
    result
        The radiograph's result, which gives OBX-18 and OBX-19; None for the study, and so for its newest result.
    """

    name: str
    group: str
    kind: str
    value: str
    units: str = ""
    flag: str = ""
    result: Result | None = None


def oru_r01(study: StudyResult, examination: Examination, profile: Hl7Destination) -> bytes:
    """Return the message in the profile's character set, each segment ended by CR, without MLLP framing.

    Raises
    ------
    Rejected
        ``oru_invalid``: hl7apy finds that the message breaks the standard. ``oru_characters``: the profile's
        character set cannot carry one of the examination's numbers.
    """
    status = profile.revised_status if study.revision > 1 else "P"
    observations = list(_observations(study, examination, profile))
    return _message(study, examination, profile, "oru", status, status, observations)


def oru_withdrawal(study: StudyResult, examination: Examination, profile: Hl7Destination, reason: str = "") -> bytes:
    """Return the message that withdraws `oru_r01` of the same study: every observation again, marked as wrong.

    Raises
    ------
    Rejected
        As `oru_r01`.
    """
    withdrawn = [_text("impression", "0.0", withdrawal_notice(reason, language(profile.language)), "TX")]
    withdrawn += [replace(each, flag="") for each in _observations(study, examination, profile)]
    # OBR-25 stays preliminary: a corrected or cancelled order would be a statement about the examination
    return _message(study, examination, profile, "oru withdrawal", "P", WRONG, withdrawn)


def _message(
    study: StudyResult,
    examination: Examination,
    profile: Hl7Destination,
    kind: str,
    order_status: str,
    observation_status: str,
    observations: list[Observation],
) -> bytes:
    order, times = examination.order, examination.times
    reported = times.localise(study.created_at).strftime(TIMESTAMP)
    examined = timestamp(times.examined_at(study.created_at))
    placer, filler, parent = _order_numbers(study, order, profile)
    obr = ["OBR", "1", placer, filler, profile.service, "", "", examined]
    obr += [""] * 10 + [identifier(order.accession_number, profile.character_set)]  # OBR-18
    obr += ["", "", "", reported, "", "RAD", order_status, "", "", "", parent]  # OBR-22, OBR-24, OBR-25, OBR-29
    segments: list[Segment] = [
        header(study, examination, profile, "ORU^R01^ORU_R01", kind),
        patient_segment(study, examination.patient, profile),
        ["ORC", "RE", placer, filler, "", "", "", "", parent],
        obr,
    ]
    codes = profile.observations.model_dump()
    wanted = [each for each in observations if codes[each.name]]
    for number, each in enumerate(wanted, 1):
        obx = _obx(number, codes[each.name], each, observation_status, reported)
        if profile.version >= EQUIPMENT_SINCE:
            obx += ["", "", "", *_equipment(each.result or study.results[-1], examination)]
        segments.append(obx)
    return message_of(fill_mapped_fields(segments, study, examination, profile), profile.character_set)


def _order_numbers(study: StudyResult, order: Order, profile: Hl7Destination) -> tuple[str, str, str]:
    """Return OBR-2, OBR-3 and OBR-29 of the order that the report belongs to by `Hl7Destination.order`.

    OBR-3 is ours where the study names no imaging order.
    """
    placer, filler, accession = (
        identifier(number, profile.character_set)
        for number in (order.placer_order_number, order.filler_order_number, order.accession_number)
    )
    ours = f"{filler_number(study.study_instance_uid)}^OSTEON"
    if profile.order == "own":
        return "", ours, f"{placer}^{filler or accession}".rstrip("^")
    return placer, (filler or accession or ours) if profile.order == "accession" else ours, ""


def _obx(number: int, code: str, observation: Observation, status: str, reported: str) -> Segment:
    """Return the OBX with the set id `number`; OBX-3 is `code`, OBX-14 the time of the report."""
    o = observation
    return [
        "OBX", str(number), o.kind, code, o.group, o.value, o.units, "", o.flag, "", "", status, "", "", reported,
    ]  # fmt: skip


def _equipment(result: Result, examination: Examination) -> tuple[str, str]:
    """Return OBX-18, software and model each as an EI, and OBX-19, the time of the analysis."""
    p = result.provenance
    equipment = "~".join(f"{escape(each)}^OSTEON" for each in (f"Osteon {p.software_version}", p.model))
    return equipment, examination.times.localise(result.created_at).strftime(TIMESTAMP)


def _observations(study: StudyResult, examination: Examination, profile: Hl7Destination) -> Iterator[Observation]:
    """Yield the observations on the study, its impression first, then on each radiograph."""
    words = language(profile.language)
    for number, sentence in enumerate(_sentences(study, examination, words), 1):
        yield _text("impression", f"{STUDY}.{number}", sentence, "TX")
    yield _text("model", STUDY, study.provenance.model)
    yield Observation(name="revision", group=STUDY, kind="NM", value=str(study.revision))
    if profile.link:
        uid = study.study_instance_uid
        yield _text(
            "link", STUDY, fill_template(profile.link, {"study_instance_uid": uid, "revision": str(study.revision)})
        )
    if profile.decision_link:
        yield _text("decision", STUDY, f"{profile.decision_link.rstrip('/')}/decide/{control_id(study)}")
    if accession := examination.order.accession_number:
        yield _text("accession_number", STUDY, accession)
    yield _text("study_instance_uid", STUDY, study.study_instance_uid)
    for number, result in enumerate(study.results, 1):
        for each in _radiograph(str(number), study.answer, result, profile, words):
            yield replace(each, result=result, flag="" if study.is_evaluation else each.flag)


def _radiograph(
    group: str, answer: Answer, result: Result, profile: Hl7Destination, words: Language
) -> Iterator[Observation]:
    """Yield the observations on a radiograph of a study with `answer`: regions, then the reasons for no answer."""
    is_flagged = profile.flag == "oru" and answer in profile.flagged and answer is Answer.INCOMPLETE
    flag = "A" if is_flagged else ""

    def unanswered(subgroup: str, reason: Sentence) -> Observation:
        return replace(_text("not_analysed", subgroup, words.say(reason), "TX"), flag=flag)

    yield _text("radiograph", group, result.sop_instance_uid)
    if result.not_analysed is not None:
        reason, code = result.not_analysed.reason, result.not_analysed.code.value
        yield unanswered(group, Sentence.of("{reason} [{code}]", reason=reason, code=code))
    for number, finding in enumerate(result.findings, 1):
        if finding.verdict is Verdict.NOT_CLEARED:  # no code of a presence: a region without an answer
            yield unanswered(f"{group}.{number}", not_cleared(finding))
        else:
            yield _answer(f"{group}.{number}", answer, finding, profile)
        yield from _measurements(f"{group}.{number}", finding, profile, words)
    unread = [not_read((site,)) for site in result.unread_subjects]
    for number, reason in enumerate([*unread, *result.incomplete], len(result.findings) + 1):
        yield unanswered(f"{group}.{number}", reason)


def _answer(group: str, answer: Answer, finding: Finding, profile: Hl7Destination) -> Observation:
    """Return the coded verdict of a region, with OBX-8 of table 0078.

    A flagged verdict is abnormal. Normal is told on the site's request alone, and only if all of the study is negative.
    """
    verdict, flag = finding.verdict, ""
    if profile.flag == "oru" and verdict in profile.flagged:
        flag = "A"
    elif profile.flag == "oru" and profile.normal_flag and answer is Answer.NEGATIVE:
        flag = "N"
    code = _code(profile, verdict.value, PRESENCES[verdict])
    return Observation(name="answer", group=group, kind=_coded(profile), value=code, flag=flag)


def _measurements(group: str, finding: Finding, profile: Hl7Destination, words: Language) -> Iterator[Observation]:
    """Yield probability, site, side, place of the mark and focus; an uncertain site has neither site nor side."""
    site, side = finding.site, finding.laterality
    coded = _coded(profile)
    probability = f"{reported_probability(finding):.3f}"
    yield Observation(name="probability", group=group, kind="NM", value=probability, units=NO_UNIT)
    if finding.site_is_certain:
        yield Observation(name="site", group=group, kind=coded, value=_code(profile, site.value, SITES[site]))
    if finding.site_is_certain and side in SIDES:
        name = "left" if side is Laterality.LEFT else "right"
        yield Observation(name="side", group=group, kind=coded, value=_code(profile, name, SIDES[side]))
    if place := mark_place(finding):
        yield _text("mark", group, words.say(place))
    yield Observation(name="focus", group=group, kind="NM", value=f"{finding.focus:.3f}", units=NO_UNIT)


def _coded(profile: Hl7Destination) -> str:
    """Return OBX-2 of a coded value."""
    return "CWE" if profile.version >= "2.5" else "CE"


def _code(profile: Hl7Destination, name: str, concept: Concept) -> str:
    """Return the site's own code for `name`, else Osteon's."""
    site_code: str | None = getattr(profile.codes, name)
    return site_code or f"{concept.code}^{escape(concept.meaning)}^{concept.scheme}"


def _text(name: str, group: str, value: str, kind: str = "ST") -> Observation:
    """Return text as ST, for tables, or TX, for people; long text becomes TX in lines, repetitions of OBX-5."""
    escaped = escape(value)
    if len(escaped) > LONGEST_TEXT:
        kind, escaped = "TX", "~".join(map(escape, wrap(value, LONGEST_TEXT // LONGEST_ESCAPE)))
    return Observation(name=name, group=group, kind=kind, value=escaped)


def _sentences(study: StudyResult, examination: Examination, words: Language) -> list[str]:
    """Return the text for people: the answer, the second reader's notice, every region, and every limit."""
    names = radiograph_names(study, examination)
    sentences: list[Sentence] = []
    if any(name is not None and is_numbered(name) for name in names):
        sentences.append(Sentence.of("radiographs are numbered in order of analysis"))
    for name, result in zip(names, study.results, strict=True):
        sentences += [of_radiograph(name, each) for each in radiograph_sentences(result, alone=name is None)]
    spoken = map(words.say, (*sentences, *limits(study)))
    return list(dict.fromkeys((headline(study, words), words.notice, *spoken)))
