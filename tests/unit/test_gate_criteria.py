"""The gate: each criterion fails on its own, and the limits are those that the documents state."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.domain.validation import Progress, ReadAnswer, SampleKind, Validation
from appliance.rollout.gate import Criterion, Gate, Need, explanations, gate, least_right
from appliance.rollout.scoring import Case, score

CLEARS = {Site.WRIST: True, Site.ANKLE: True}


def cases(site: Site, *, found: int = 30, missed: int = 0, alarms: int = 0, cleared: int = 70) -> list[Case]:
    drawn = (
        [(Answer.POSITIVE, ReadAnswer.FRACTURE)] * found
        + [(Answer.NEGATIVE, ReadAnswer.FRACTURE)] * missed
        + [(Answer.DOUBT, ReadAnswer.NONE)] * alarms
        + [(Answer.NEGATIVE, ReadAnswer.NONE)] * cleared
    )
    return [Case(result_id=i, site=site, answer=answer, read=read) for i, (answer, read) in enumerate(drawn)]


GOOD = [*cases(Site.WRIST), *cases(Site.ANKLE)]


def gate_of(  # noqa: PLR0913  the fields of a validation and its progress
    sample: list[Case],
    *,
    size: int = 200,
    drawn: int = 200,
    kind: SampleKind = SampleKind.RANDOM,
    changed: tuple[Site, ...] = (),
    clears: Mapping[Site, bool] = CLEARS,
    ended_at: datetime | None = None,
    blinded: int | None = None,
    unblinded: int = 0,
    tries: int = 1,
) -> Gate:
    validation = Validation(
        validation_id=1,
        kind=kind,
        sites=tuple(CLEARS),
        size=size,
        share=1.0,
        secret="",
        fingerprints=dict.fromkeys(CLEARS, "f"),
        person="A. Tester",
        reason="test",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        ended_at=ended_at,
    )
    progress = Progress(
        drawn=drawn,
        read=drawn,
        blinded=drawn if blinded is None else blinded,
        unblinded=unblinded,
        changed_sites=changed,
        tries=tries,
    )
    return gate(score(sample), validation, progress, clears)


def failed(criteria: tuple[Criterion, ...]) -> set[Need]:
    return {each.need for each in criteria if not each.passed}


def sentence(of: Gate, need: Need) -> str:
    (found,) = [each.sentence for each in of.overall if each.need is need]
    return found


def test_good_sample_passes_for_both_sites() -> None:
    found = gate_of(GOOD)
    assert failed(found.criteria(Site.WRIST)) == failed(found.criteria(Site.ANKLE)) == set()
    assert found.passes(Site.WRIST) and found.passes(Site.ANKLE)


def test_site_outside_the_sample_does_not_pass() -> None:
    assert not gate_of(GOOD).passes(Site.KNEE)


@pytest.mark.parametrize(("right", "passes"), [(190, False), (196, False), (197, True)])
def test_accuracy_takes_197_of_200(right: int, passes: bool) -> None:
    wrong = 200 - right
    sample = [*cases(Site.WRIST, cleared=70 - wrong, alarms=wrong), *cases(Site.ANKLE)]
    found = gate_of(sample)
    assert failed(found.overall) == (set() if passes else {Need.ACCURACY})
    assert f"{right} of 200" in sentence(found, Need.ACCURACY)
    assert "of 200 it takes 197" in sentence(found, Need.ACCURACY)


def test_least_right_is_the_first_count_that_passes() -> None:
    assert (least_right(200), least_right(300), least_right(500)) == (197, 293, 485)
    assert 0.025 ** (1 / 71) < 0.95 < 0.025 ** (1 / 72)  # lower bounds of all of 71 and all of 72
    assert (least_right(72), least_right(71), least_right(0)) == (72, None, None)


def test_always_negative_is_accurate_enough_and_fails_by_sensitivity() -> None:
    sample = cases(Site.WRIST, found=0, missed=30, cleared=2970)
    found = gate_of(sample)
    assert {Need.SENSITIVITY} == failed(found.overall)


def test_few_radiographs_fail() -> None:
    assert failed(gate_of([*cases(Site.WRIST, cleared=69), *cases(Site.ANKLE)]).overall) == {Need.RADIOGRAPHS}


def test_few_fractures_fail() -> None:
    sample = [*cases(Site.WRIST, found=14, cleared=90), *cases(Site.ANKLE, found=15, cleared=90)]
    assert failed(gate_of(sample).overall) == {Need.FRACTURES}


def test_low_specificity_fails_although_accuracy_suffices() -> None:
    sample = cases(Site.WRIST, found=3000, alarms=10, cleared=40)
    assert failed(gate_of(sample).overall) == {Need.SPECIFICITY}


def test_low_coverage_fails() -> None:
    unanswered = [replace(each, answer=Answer.INCOMPLETE) for each in cases(Site.WRIST, found=43, cleared=43)]
    assert failed(gate_of([*GOOD, *unanswered]).overall) == {Need.COVERAGE}
    assert failed(gate_of([*GOOD, *unanswered[:-1]]).overall) == set()


def test_sample_that_is_not_full_fails_and_an_ended_one_says_that_it_stays_so() -> None:
    found = gate_of(GOOD, drawn=299, size=300)
    assert failed(found.overall) == {Need.SIZE, Need.READ}
    ended = gate_of(GOOD, drawn=299, size=300, ended_at=datetime(2026, 2, 1, tzinfo=UTC))
    assert failed(ended.overall) == {Need.SIZE}
    assert "start another one" in sentence(ended, Need.SIZE)
    assert "start another one" not in sentence(found, Need.SIZE)
    assert failed(gate_of(GOOD, drawn=300, size=300).overall) == set()


def test_open_sample_shows_its_progress_alone() -> None:
    for progress in ({"drawn": 200, "blinded": 199}, {"drawn": 199, "size": 200}):
        found = gate_of(GOOD, **progress)  # type: ignore[arg-type]
        assert [each.need for each in found.overall] == [Need.RANDOM, Need.SIZE, Need.READ]
        assert {each.need for each in found.sites[Site.WRIST]} == {Need.ENGINE, Need.NOT_SET_BACK, Need.CLEARS}
        assert not found.passes(Site.WRIST)
    ended = gate_of(GOOD, blinded=199, ended_at=datetime(2026, 2, 1, tzinfo=UTC))
    assert ended.passes(Site.WRIST)


def test_unsure_reads_above_a_tenth_fail_also_of_one_site() -> None:
    hidden = [replace(each, read=ReadAnswer.UNSURE) for each in cases(Site.WRIST, found=23, cleared=0)]
    found = gate_of([*GOOD, *hidden])
    assert failed(found.overall) == failed(found.sites[Site.WRIST]) == {Need.DECIDED}
    assert failed(gate_of([*GOOD, *hidden[:22]]).overall) == set()
    of_site = gate_of([*GOOD, *hidden[:12]])
    assert (failed(of_site.overall), failed(of_site.sites[Site.WRIST])) == (set(), {Need.DECIDED})
    assert of_site.passes(Site.ANKLE)
    unanswered = [replace(each, answer=Answer.INCOMPLETE) for each in hidden]
    assert failed(gate_of([*GOOD, *unanswered]).overall) == set(), "coverage counts those"


def test_draws_whose_answers_left_above_a_twentieth_fail() -> None:
    assert failed(gate_of(GOOD, unblinded=10).overall) == set()
    assert failed(gate_of(GOOD, unblinded=11).overall) == {Need.LEFT}


def test_repeated_sample_needs_wider_intervals_and_says_so() -> None:
    sample = [*cases(Site.WRIST, cleared=67, alarms=3), *cases(Site.ANKLE)]
    assert failed(gate_of(sample).overall) == set()
    again = gate_of(sample, tries=3)
    assert failed(again.overall) == {Need.ACCURACY}
    assert "sample 3 of this engine, so that the interval is one of 98.3%" in sentence(again, Need.ACCURACY)


def test_site_with_another_engine_than_the_sample_fails() -> None:
    found = gate_of(GOOD, changed=(Site.ANKLE,))
    assert failed(found.sites[Site.ANKLE]) == {Need.ENGINE}
    assert found.passes(Site.WRIST)


def test_sample_with_skipped_reads_fails() -> None:
    unread = [replace(each, read=None) for each in GOOD[:11]]
    assert failed(gate_of([*GOOD, *unread]).overall) == {Need.READ}
    assert failed(gate_of([*GOOD, *unread[:10]]).overall) == set()


def test_enriched_sample_fails() -> None:
    assert failed(gate_of(GOOD, kind=SampleKind.ENRICHED).overall) == {Need.RANDOM}


def test_unblinded_reads_do_not_count() -> None:
    sample = [replace(each, is_blinded=False) for each in GOOD]
    assert {Need.RADIOGRAPHS, Need.FRACTURES, Need.ACCURACY} <= failed(gate_of(sample).overall)


@pytest.mark.parametrize(
    ("ankles", "needs"),
    [
        (cases(Site.ANKLE, found=9), {Need.FRACTURES}),
        (cases(Site.ANKLE, cleared=29), {Need.OTHERS}),
        (cases(Site.ANKLE, found=6, missed=4), {Need.SENSITIVITY}),
        (cases(Site.ANKLE, alarms=8, cleared=30), {Need.SPECIFICITY}),
        ([], {Need.FRACTURES, Need.OTHERS, Need.SENSITIVITY, Need.SPECIFICITY}),
    ],
)
def test_site_that_fails_does_not_ride_on_another(ankles: list[Case], needs: set[Need]) -> None:
    found = gate_of([*cases(Site.WRIST, found=300, cleared=700), *ankles])
    assert failed(found.overall) == set()
    assert failed(found.sites[Site.ANKLE]) == needs
    assert not found.passes(Site.ANKLE)
    assert found.passes(Site.WRIST)


def test_site_whose_engine_may_not_clear_does_not_pass() -> None:
    found = gate_of(GOOD, clears={Site.ANKLE: True})
    assert failed(found.sites[Site.WRIST]) == {Need.CLEARS}
    assert found.passes(Site.ANKLE)


def test_explanations_state_the_figures_of_the_gate() -> None:
    why_not_190, why_not_accuracy_alone = explanations()
    assert "190 of 200" in why_not_190 and "91.0%" in why_not_190 and "197 of 200" in why_not_190
    assert "194 of 200: 97% accurate" in why_not_accuracy_alone
