"""Every output of a study states the same: answer, sites, sides, and what was not read.

Each study is rendered by the renderers of the product and read back by the libraries that a receiver would use. The
text of a picture is what Pillow is asked to draw.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from fhir.resources.R4B.bundle import Bundle
from hl7apy.parser import parse_message
from pydicom.dataset import Dataset
from pydicom.uid import UID

from appliance.dicom.objects.presentation_state import presentation_state
from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.objects.structured_report import structured_report
from appliance.dicom.objects.study_summary import study_summary
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.dicom.reading.order import read_examination
from appliance.domain.codes import FRACTURE, PRESENCES, SIDES, SITES
from appliance.domain.finding import Answer, Box, Finding, UnreadRegion, Verdict, Withheld
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.radiograph import Window
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult
from appliance.picture.overlay import overlay
from appliance.reporting.fhir.bundle import transaction, withdrawal
from appliance.reporting.hl7.oru import oru_r01, oru_withdrawal
from tests.support import profiles
from tests.support.results import finding, result, study, unanalysed
from tests.support.sources import variants

SOURCE = variants()["dx"]
ABSENT = PRESENCES[Verdict.NEGATIVE].code
FINDING_SITE, LATERALITY, PRESENCE = "363698007", "272741003", "121052"
EVERY_SITE = {concept.code for concept in SITES.values()}
UNCERTAIN = "site uncertain"

VERDICTS = {str(v.label) for v in Verdict if v is not Verdict.NOT_CLEARED}
"""Words that no output may use of a study without such a verdict; "not cleared" also stands in headings."""

LEFT, RIGHT, NO_SIDE = Laterality.LEFT, Laterality.RIGHT, Laterality.UNKNOWN
MARK = ((18.0, 26.0), (27.0, 26.0), (27.0, 36.0), (18.0, 36.0))
ELBOW_BY_HEADER = UnreadRegion(site=Site.ELBOW)
FOREARM_IN_IMAGE = UnreadRegion(site=Site.FOREARM, box=Box(x0=1, y0=1, x1=9, y1=40), region_score=0.8)


def radiograph(*findings: Finding, **changes: Any) -> Callable[[Dataset], Result]:
    """Return a function that makes the result of a source, with everything read unless `changes` say otherwise."""
    return lambda source: replace(result(source, *findings), **({"not_read": ()} | changes))


RADIOGRAPHS: dict[str, Callable[[Dataset], Result]] = {
    "positive": radiograph(finding(0.87, site=Site.WRIST, laterality=LEFT, mark=MARK)),
    "positive beside unread": radiograph(
        finding(0.87, site=Site.WRIST, laterality=LEFT, mark=MARK), not_read=(FOREARM_IN_IMAGE,)
    ),
    "positive beside negative": radiograph(
        finding(0.87, site=Site.KNEE, laterality=RIGHT, mark=MARK),
        finding(0.1, site=Site.LOWER_LEG, laterality=RIGHT, box=Box(x0=5, y0=5, x1=20, y1=50)),
    ),
    "hip": radiograph(finding(0.87, site=Site.PELVIS, laterality=RIGHT, mark=MARK)),
    "doubt": radiograph(finding(0.4, site=Site.ANKLE, laterality=RIGHT, mark=MARK)),
    "unread by header": radiograph(finding(0.1, site=Site.WRIST, laterality=RIGHT), not_read=(ELBOW_BY_HEADER,)),
    "unread in image": radiograph(
        finding(0.1, site=Site.WRIST, laterality=NO_SIDE), not_read=(ELBOW_BY_HEADER, FOREARM_IN_IMAGE)
    ),
    "not cleared": radiograph(
        finding(0.1, site=Site.FEMUR, laterality=LEFT, withheld=(Withheld.NOT_MEASURED, Withheld.CUT))
    ),
    "bone outside": radiograph(
        finding(0.1, site=Site.FOOT, laterality=LEFT), incomplete=(Sentence.of("bone is visible outside the regions"),)
    ),
    "negative": radiograph(finding(0.1, site=Site.HAND, laterality=LEFT)),
    "negative beside margin": radiograph(
        finding(0.1, site=Site.WRIST, laterality=RIGHT), not_assessed=(UnreadRegion(site=Site.HUMERUS),)
    ),
    "negative view": radiograph(finding(0.1, site=Site.WRIST, laterality=LEFT)),
    "other side": radiograph(finding(0.1, site=Site.WRIST, laterality=RIGHT)),
    "not analysed": unanalysed,
    "uncertain": radiograph(
        finding(
            0.87,
            site=Site.SHOULDER,
            laterality=NO_SIDE,
            mark=MARK,
            withheld=(Withheld.CONTRADICTION,),
            site_is_certain=False,
        )
    ),
}
"""One radiograph of every answer, and of every reason for it."""

SEEN_IN_SOME_VIEWS = {
    ("positive", "negative view"): "left wrist: seen in 1 of 2 views",
    ("positive", "negative view", "positive beside unread", "other side"): "left wrist: seen in 2 of 3 views",
}
"""Studies of which some views show a suspicion and others do not, with the sentence that every output states."""

MIXED = (
    *SEEN_IN_SOME_VIEWS,
    ("positive", "other side"),
    ("negative", "negative beside margin"),
    ("negative", "not analysed"),
    ("negative", "unread by header"),
    ("negative", "not cleared"),
    ("negative", "uncertain"),
    ("doubt", "unread in image", "negative"),
    ("positive", "doubt", "not cleared", "not analysed"),
    ("not analysed", "not analysed"),
    ("positive beside negative", "bone outside", "negative", "uncertain"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A study with the data sets of its radiographs, by SOP Instance UID."""

    names: tuple[str, ...]
    study: StudyResult
    sources: dict[str, Dataset]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings of the study."""
        return tuple(f for r in self.study.results for f in r.findings)

    @property
    def examination(self) -> Any:
        """The examination that the reports describe."""
        return read_examination(self.sources[self.study.results[-1].sop_instance_uid])


def case_of(names: Sequence[str]) -> Case:
    results, sources = [], {}
    for number, name in enumerate(names, 1):
        source = copy.deepcopy(SOURCE)
        source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = UID(f"{SOURCE.SOPInstanceUID}.{number}")
        source.InstanceNumber = number
        results.append(RADIOGRAPHS[name](source))
        sources[str(source.SOPInstanceUID)] = source
    return Case(names=tuple(names), study=study(*results), sources=sources)


@pytest.fixture(params=[*((name,) for name in RADIOGRAPHS), *MIXED], ids=" + ".join, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return case_of(request.param)


def words(texts: Sequence[str]) -> str:
    """Join texts into one in small letters, with single spaces."""
    return " ".join(" ".join(texts).lower().split())


def assert_same_words(text: str, answer: Answer, results: Sequence[Result]) -> None:
    """Assert that a text states the answer, each place with its verdict, and what was not read, and no more."""
    findings = [f for r in results for f in r.findings]
    assert str(answer.label) in text
    for place, verdict in {(str(f.place), f.verdict) for f in findings}:
        assert place in text and str(verdict.label) in text, (place, verdict)
    for unread in {str(region.site.label) for r in results for region in r.not_read}:
        assert "not read" in text and unread in text, unread
    for reason in {str(reason) for r in results for reason in r.incomplete}:
        assert reason in text
    for reason in {str(r.not_analysed.reason) for r in results if r.not_analysed}:
        assert str(Answer.NOT_ANALYSED.label) in text and reason in text
    stated = {f.verdict.label for f in findings} | {answer.label} | {r.answer.label for r in results}
    assert {label for label in VERDICTS - set(map(str, stated)) if label in text} == set()
    named = {f.site for f in findings if f.site_is_certain}
    named |= {region.site for r in results for region in (*r.not_read, *r.not_assessed)}
    hidden = {f.site for f in findings if not f.site_is_certain} - named
    assert {site for site in hidden if str(site.label) in text} == set()
    assert (UNCERTAIN in text) == any(not f.site_is_certain for f in findings)


def assert_same_views(text: str, case: Case) -> None:
    """Assert that a text names the suspicion that some views show and others do not, and no other."""
    sentence = SEEN_IN_SOME_VIEWS.get(case.names, "")
    assert sentence in text and text.count("seen in") == bool(sentence)


def assert_no_anatomy(ds: Dataset) -> None:
    assert not ds.get("BodyPartExamined") and not ds.get("AnatomicRegionSequence")
    assert not ds.get("Laterality") and not ds.get("ImageLaterality")


def read_back(ds: Dataset) -> Dataset:
    return dataset_from_bytes(part10_bytes(ds))


def test_capture_and_its_picture_state_the_result(case: Case, drawn: list[str]) -> None:
    for given in case.study.results:
        source = case.sources[given.sop_instance_uid]
        drawn.clear()
        grey = None if given.not_analysed else np.full((source.Rows, source.Columns), 90, np.uint8)
        picture = overlay(grey, given)
        assert_same_words(words(drawn), given.answer, [given])
        made = read_back(secondary_capture(source, given, picture))
        assert_same_words(words([made.ImageComments]), given.answer, [replace(given, incomplete=())])
        certain = [f for f in given.findings if f.site_is_certain]
        if given.findings and not certain:
            assert_no_anatomy(made)
        for f in certain:
            assert made.get("Laterality", "") == ("" if f.site is Site.PELVIS else f.laterality.value)
            codes = {item.CodeValue for item in made.get("AnatomicRegionSequence", ())}
            assert codes == {SITES[f.site].code} or len({each.site for each in certain}) > 1


def test_summary_states_the_study(case: Case, drawn: list[str]) -> None:
    pages = [read_back(page) for page in study_summary(case.study, case.sources, {})]
    assert_same_words(words(drawn), case.study.answer, case.study.results)
    assert f"study: {case.study.answer.label}" in words(drawn)
    assert_same_views(words(drawn), case)
    for page in pages:
        assert str(case.study.answer.label) in page.ImageComments
        assert_same_views(page.ImageComments, case)
    if case.findings and not any(f.site_is_certain for f in case.findings):
        for page in pages:
            assert_no_anatomy(page)


def test_presentation_state_states_the_result(case: Case) -> None:
    for given in case.study.results:
        if given.not_analysed is None:
            source = case.sources[given.sop_instance_uid]
            made = read_back(presentation_state(source, given, Window(center=2048, width=4096)))
            texts = [
                item.UnformattedTextValue
                for layer in made.GraphicAnnotationSequence
                for item in layer.get("TextObjectSequence", ())
            ]
            assert_same_words(words(texts), given.answer, [given])
            if not any(f.site_is_certain for f in given.findings):
                assert_no_anatomy(made)


def items(item: Dataset) -> Iterator[Dataset]:
    """Yield every content item below `item`."""
    for child in item.get("ContentSequence", ()):
        yield child
        yield from items(child)


def name_of(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue)


def value_of(item: Dataset) -> str:
    return str(item.ConceptCodeSequence[0].CodeValue) if "ConceptCodeSequence" in item else ""


def sides_by_site(item: Dataset) -> dict[str, str]:
    """Return the codes of the finding sites directly below `item`, each with the code of its side."""
    children = [child for child in item.get("ContentSequence", ()) if name_of(child) == FINDING_SITE]
    return {
        value_of(site): next((value_of(c) for c in site.get("ContentSequence", ()) if name_of(c) == LATERALITY), "")
        for site in children
    }


def expected_side(given: Finding) -> str:
    return SIDES[given.laterality].code if given.laterality in SIDES else ""


@pytest.mark.proves("SAF-12")
def test_structured_report_states_the_study(case: Case) -> None:
    made = read_back(structured_report(case.study, case.sources))
    everything = list(items(made))
    text = words([str(i.TextValue) for i in everything if "TextValue" in i])
    assert_same_words(text, case.study.answer, case.study.results)
    assert_same_views(text, case)
    answers = {r.sop_instance_uid: r.answer for r in case.study.results}
    absent = [i for i in everything if value_of(i) == ABSENT]
    for item in absent:
        images = [
            c.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for c in items(item) if "ReferencedSOPSequence" in c
        ]
        assert name_of(item) == FRACTURE.code and sides_by_site(item)
        assert {answers[uid] for uid in images} if images else {case.study.answer} == {Answer.NEGATIVE}
    assert bool(absent) == (Answer.NEGATIVE in answers.values())
    coded = {(site, side) for i in everything for site, side in sides_by_site(i).items() if site in EVERY_SITE}
    certain = [f for f in case.findings if f.site_is_certain]
    assert coded == {(SITES[f.site].code, expected_side(f)) for f in certain}
    presences = {value_of(i) for i in everything if name_of(i) == PRESENCE}
    assert presences == {PRESENCES[f.verdict].code for f in case.findings if f.verdict.is_suspicious}


def observations(content: bytes) -> list[tuple[str, str, str, str, str]]:
    """Return OBX-3.1, OBX-4, OBX-5, OBX-8 and OBX-11 of each observation, as hl7apy reads them."""
    message = parse_message(content.decode(), find_groups=False)
    rows = [s for s in message.children if s.name == "OBX"]
    return [(s.obx_3.to_er7().split("^")[0], *(getattr(s, f"obx_{n}").to_er7() for n in (4, 5, 8, 11))) for s in rows]


@pytest.mark.proves("SAF-12")
def test_oru_states_the_study(case: Case) -> None:
    rows = observations(oru_r01(case.study, case.examination, profiles.hl7()))
    impression = [text for name, _, text, *_ in rows if name == "IMPRESSION"]
    assert_same_words(words(impression), case.study.answer, case.study.results)
    assert str(case.study.answer.label) in impression[0].lower()
    assert_same_views(words(impression), case)
    values = {(name, group): text.split("^")[0] for name, group, text, *_ in rows}
    for number, given in enumerate(case.study.results, 1):
        for place, each in enumerate(given.findings, 1):
            group = f"{number}.{place}"
            site, side = values.get(("SITE", group), ""), values.get(("SIDE", group), "")
            assert (site, side) == ((SITES[each.site].code, expected_side(each)) if each.site_is_certain else ("", ""))
            presence = values.get(("ANSWER", group), "")
            if each.verdict is Verdict.NOT_CLEARED:
                assert presence in ("", PRESENCES[Verdict.DOUBT].code)
            else:
                assert presence == PRESENCES[each.verdict].code
            assert presence != ABSENT or (each.verdict is Verdict.NEGATIVE and site)
        reasons = words([t for name, g, t, *_ in rows if name == "NOT-ANALYSED" and g.split(".")[0] == str(number)])
        assert all(str(region.site.label) in reasons for region in given.not_read)
    if case.study.answer is not Answer.NEGATIVE:
        assert "N" not in {flag for *_, flag, _ in rows}


def test_withdrawn_oru_marks_every_observation_as_wrong(case: Case) -> None:
    rows = observations(oru_withdrawal(case.study, case.examination, profiles.hl7(), "wrong patient"))
    assert rows[0][0] == "IMPRESSION" and rows[0][2].startswith("WITHDRAWN")
    assert {status for *_, status in rows} == {"W"} and {flag for *_, flag, _ in rows} == {""}


def resources(content: bytes, kind: str) -> list[Any]:
    """Return the resources of a kind, as fhir.resources reads them."""
    found = (entry.resource for entry in Bundle.model_validate_json(content).entry)
    return [each for each in found if each.get_resource_type() == kind]


def code_of(concept: Any) -> str:
    return str(concept.coding[0].code) if concept else ""


def component_of(observation: Any, name: str) -> Any:
    return next((c for c in observation.component or () if code_of(c.code) == name), None)


@pytest.mark.proves("SAF-12")
def test_fhir_states_the_study(case: Case) -> None:
    content = transaction(case.study, case.examination, profiles.fhir())
    (report,) = resources(content, "DiagnosticReport")
    assert_same_words(words([report.conclusion]), case.study.answer, case.study.results)
    assert_same_views(words([report.conclusion]), case)
    remaining = resources(content, "Observation")
    for given in case.study.results:
        mine = [o for o in remaining if component_of(o, "RADIOGRAPH").valueString == given.sop_instance_uid]
        for each, observation in zip(given.findings, mine, strict=False):
            presence = code_of(observation.valueCodeableConcept)
            if each.verdict is Verdict.NOT_CLEARED:
                assert presence in ("", PRESENCES[Verdict.DOUBT].code) and observation.interpretation is None
            else:
                assert presence == PRESENCES[each.verdict].code
            side = component_of(observation, "SIDE")
            site = code_of(observation.bodySite), code_of(side.valueCodeableConcept) if side else ""
            assert site == ((SITES[each.site].code, expected_side(each)) if each.site_is_certain else ("", ""))
        others = mine[len(given.findings) :]
        assert all(o.dataAbsentReason and not o.valueCodeableConcept and not o.interpretation for o in others)
        unread = {code_of(o.bodySite) for o in others if o.bodySite}
        assert unread == {SITES[region.site].code for region in given.not_read}


def test_withdrawn_fhir_states_nothing(case: Case) -> None:
    content = withdrawal(case.study, case.examination, profiles.fhir(), "wrong patient")
    (report,) = resources(content, "DiagnosticReport")
    assert report.status == "entered-in-error" and report.conclusion.startswith("WITHDRAWN")
    for observation in resources(content, "Observation"):
        assert observation.status == "entered-in-error"
        assert not observation.valueCodeableConcept and not observation.interpretation


@pytest.mark.proves("SAF-12")
def test_cases_cover_every_answer_and_verdict() -> None:
    cases = [case_of(names) for names in [*((name,) for name in RADIOGRAPHS), *MIXED]]
    assert {c.study.answer for c in cases} == set(Answer)
    assert {f.verdict for c in cases for f in c.findings} == set(Verdict)
    assert {len(c.study.results) for c in cases} == {1, 2, 3, 4}
