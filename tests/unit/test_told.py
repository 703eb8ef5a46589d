"""The told record: what the phases of its sites let out of the box."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.dicom.objects.report_sentences import radiograph_sentences
from appliance.domain.finding import DIFFUSE, IN_CAVEATS, Answer, Finding, Withheld
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence
from appliance.rollout.told import least_of, not_in_use, phase_told, phases_from_json, phases_to_json, told
from tests.support.results import finding, result, study, unanalysed
from tests.support.sources import source

SHADOW, FAMILIARISE, VALIDATE, LIVE = Phase
WRIST, ELBOW = Site.WRIST, Site.ELBOW
UNDER_EVALUATION = "under evaluation at this hospital: {}"


def elbow(probability: float = 0.9, **changes: object) -> Finding:
    return finding(probability, site=ELBOW, **changes)


def test_live_record_is_told_as_it_is() -> None:
    full = result(source(), finding(), elbow())
    assert told(full, {WRIST: LIVE, ELBOW: LIVE}) == full


@pytest.mark.parametrize("phases", [{}, {WRIST: SHADOW}, {ELBOW: LIVE}])
@pytest.mark.proves("SAF-24")
def test_record_of_a_site_in_shadow_is_not_told(phases: dict[Site, Phase]) -> None:
    assert told(result(source(), finding(0.1)), phases) is None
    assert phase_told(result(source(), finding(0.1)), phases) is SHADOW


@pytest.mark.proves("SAF-24")
def test_region_in_shadow_becomes_an_unread_subject_and_no_negative() -> None:
    full = replace(result(source(), finding(0.1), elbow(0.1)), not_read=())
    assert full.answer is Answer.NEGATIVE
    part = told(full, {WRIST: LIVE, ELBOW: SHADOW})
    assert part is not None and part.findings == (finding(0.1),)
    assert part.unread_subjects == (ELBOW,)
    assert part.answer is Answer.INCOMPLETE
    assert not part.is_evaluation and part.caveats == full.caveats


@pytest.mark.proves("SAF-24")
def test_suspicion_in_shadow_leaves_no_trace_beside_a_negative() -> None:
    hot = elbow(0.93, focus=0.1)
    full = result(source(), finding(0.1), hot, caveats=(Sentence.of("cast"), DIFFUSE))
    part = told(full, {WRIST: LIVE, ELBOW: SHADOW})
    assert part is not None and part.caveats == (Sentence.of("cast"),)
    assert "0.93" not in part.to_json() and part.answer is Answer.INCOMPLETE
    own = told(replace(full, findings=(finding(0.9, focus=0.1), hot)), {WRIST: LIVE, ELBOW: SHADOW})
    assert own is not None and DIFFUSE in own.caveats


@pytest.mark.parametrize("reason", sorted(IN_CAVEATS))
def test_caveat_that_only_a_region_in_shadow_has_is_not_told(reason: Withheld) -> None:
    full = result(source(), finding(0.1), elbow(withheld=(reason,)), caveats=(reason.sentence,))
    part = told(full, {WRIST: LIVE, ELBOW: SHADOW})
    assert part is not None and part.caveats == ()
    both = told(replace(full, findings=(finding(0.1, withheld=(reason,)), *full.findings[1:])), {WRIST: LIVE})
    assert both is not None and both.caveats == (reason.sentence,)


def test_region_in_shadow_is_not_read_since_it_is_not_in_use() -> None:
    part = told(replace(result(source(), finding(0.1), elbow(0.1)), not_read=()), {WRIST: LIVE})
    assert part is not None and Result.from_json(part.to_json()) == part
    said = [str(sentence) for sentence in radiograph_sentences(part)]
    assert "Not read: elbow (not in use at this hospital)" in said
    assert not any("no engine" in sentence for sentence in said)


def test_uncertain_region_in_shadow_is_not_named() -> None:
    uncertain = elbow(0.9, site_is_certain=False, laterality=Laterality.UNKNOWN)
    part = told(replace(result(source(), finding(0.1), uncertain), not_read=()), {WRIST: LIVE, ELBOW: SHADOW})
    assert part is not None and part.answer is Answer.INCOMPLETE
    assert "elbow" not in part.to_json()


@pytest.mark.parametrize("phase", [FAMILIARISE, VALIDATE])
@pytest.mark.proves("SAF-28")
def test_record_in_evaluation_says_so_and_flags_nothing(phase: Phase) -> None:
    part = told(result(source(), finding(), elbow()), {WRIST: LIVE, ELBOW: phase})
    assert part is not None and part.is_evaluation
    assert str(part.caveats[0]) == UNDER_EVALUATION.format("elbow")
    assert part.answer is Answer.POSITIVE
    assert not study(part).is_flagged([Answer.POSITIVE])
    live = told(result(source(), finding()), {WRIST: LIVE})
    assert live is not None and study(live).is_flagged([Answer.POSITIVE])


def test_evaluation_of_an_uncertain_site_does_not_name_it() -> None:
    uncertain = finding(0.9, site_is_certain=False, laterality=Laterality.UNKNOWN)
    part = told(result(source(), uncertain), {WRIST: FAMILIARISE})
    assert part is not None and str(part.caveats[0]) == UNDER_EVALUATION.format("site uncertain")


def test_radiograph_not_analysed_follows_the_most_advanced_site() -> None:
    full = unanalysed(source())
    assert told(full, {}) is told(full, {WRIST: SHADOW}) is None
    assert told(full, {WRIST: SHADOW, ELBOW: LIVE}) == full
    part = told(full, {WRIST: SHADOW, ELBOW: FAMILIARISE})
    assert part is not None and part.is_evaluation
    assert [str(caveat) for caveat in part.caveats] == ["under evaluation at this hospital"]


def test_record_not_in_use_claims_nothing() -> None:
    taken = not_in_use(result(source(), finding(), elbow(), caveats=(DIFFUSE,)))
    assert taken.answer is Answer.NOT_ANALYSED
    assert taken.not_analysed is not None and taken.not_analysed.code is ReasonCode.NOT_IN_USE
    assert (taken.not_read, taken.incomplete, taken.caveats, taken.statements) == ((), (), (), 1)


def test_phases_survive_the_database_and_only_go_back() -> None:
    phases = {WRIST: LIVE, ELBOW: VALIDATE}
    assert phases_from_json(phases_to_json(phases)) == phases
    assert least_of(phases, {WRIST: FAMILIARISE, ELBOW: LIVE}) == {WRIST: FAMILIARISE, ELBOW: VALIDATE}
    assert least_of(phases, {WRIST: LIVE}) == {WRIST: LIVE}
