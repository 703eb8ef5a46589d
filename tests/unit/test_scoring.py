"""The score of a sample: calls against reads, coverage, sites and subgroups."""

from __future__ import annotations

import dataclasses
import json
from itertools import count

from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.domain.validation import ReadAnswer, ReadMark
from appliance.rollout.scoring import Case, Measures, Subgroup, SubgroupKind, score
from appliance.rollout.statistics import difference, rate

NUMBER = count(1)

FRACTURE, NONE, UNSURE, UNUSABLE = ReadAnswer.FRACTURE, ReadAnswer.NONE, ReadAnswer.UNSURE, ReadAnswer.UNUSABLE


def case(answer: Answer, read: ReadAnswer | None, site: Site = Site.WRIST, **more: object) -> Case:
    made = Case(result_id=next(NUMBER), site=site, answer=answer, read=read)
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def counts(measures: Measures) -> tuple[int, int, int, int]:
    return (
        measures.true_positives,
        measures.false_positives,
        measures.false_negatives,
        measures.true_negatives,
    )


def subgroups(cases: list[Case], kind: SubgroupKind) -> dict[str, Subgroup]:
    return {each.name: each for each in score(cases).subgroups if each.kind is kind}


SAMPLE = [
    *[case(Answer.POSITIVE, FRACTURE) for _ in range(5)],
    *[case(Answer.DOUBT, FRACTURE) for _ in range(3)],
    *[case(Answer.NEGATIVE, FRACTURE) for _ in range(2)],
    *[case(Answer.POSITIVE, NONE) for _ in range(1)],
    *[case(Answer.DOUBT, NONE) for _ in range(4)],
    *[case(Answer.NEGATIVE, NONE) for _ in range(35)],
]


def test_possible_fracture_counts_as_positive_and_in_a_second_table_as_negative() -> None:
    found = score(SAMPLE).overall
    assert counts(found.measures) == (8, 5, 2, 35)
    assert counts(found.doubt_as_negative) == (5, 1, 5, 39)


def test_rates_follow_from_the_counts() -> None:
    found = score(SAMPLE).overall.measures
    assert found.accuracy == rate(43, 50)
    assert found.sensitivity == rate(8, 10)
    assert found.specificity == rate(35, 40)
    assert found.ppv == rate(8, 13)
    assert found.npv == rate(35, 37)
    assert found.prevalence == rate(10, 50)


def test_radiographs_without_answer_or_truth_count_in_coverage_alone() -> None:
    left_out = [
        case(Answer.INCOMPLETE, FRACTURE),
        case(Answer.INCOMPLETE, UNSURE),
        case(Answer.NOT_ANALYSED, NONE),
        case(Answer.NOT_ANALYSED, None),
        case(Answer.NEGATIVE, UNSURE),
        case(Answer.POSITIVE, UNUSABLE),
        case(Answer.NEGATIVE, None),
    ]
    found = score([*SAMPLE, *left_out]).overall
    assert found.measures == score(SAMPLE).overall.measures
    coverage = found.coverage
    assert coverage.sampled == 57
    assert coverage.answered == rate(53, 57)
    assert coverage.read == rate(55, 57)
    assert (coverage.incomplete, coverage.not_analysed, coverage.unsure, coverage.unusable) == (2, 2, 2, 1)
    assert coverage.scored == 50


def test_fractures_that_are_not_answered_count_as_not_found_of_all() -> None:
    answers = [Answer.POSITIVE, Answer.DOUBT, Answer.NEGATIVE, Answer.INCOMPLETE, Answer.NOT_ANALYSED]
    cases = [case(answer, ReadAnswer.FRACTURE) for answer in answers]
    found = score([*cases, case(Answer.POSITIVE, ReadAnswer.NONE), case(Answer.POSITIVE, ReadAnswer.UNSURE)]).overall
    assert (found.measures.sensitivity.k, found.measures.sensitivity.n) == (2, 3)
    assert (found.coverage.fractures_found.k, found.coverage.fractures_found.n) == (2, 5)


def test_unblinded_reads_are_scored_apart() -> None:
    unblinded = [case(Answer.POSITIVE, FRACTURE, is_blinded=False), case(Answer.NEGATIVE, UNSURE, is_blinded=False)]
    found = score([*SAMPLE, *unblinded])
    assert found.overall == score(SAMPLE).overall
    assert found.unblinded
    assert counts(found.unblinded.measures) == (1, 0, 0, 0)
    assert (found.unblinded.coverage.unsure, found.unblinded.coverage.sampled) == (1, 2)
    assert score(SAMPLE).unblinded is None


def test_each_site_has_its_own_score() -> None:
    ankles = [case(Answer.NEGATIVE, FRACTURE, Site.ANKLE), case(Answer.NEGATIVE, NONE, Site.ANKLE)]
    found = score([*SAMPLE, *ankles])
    assert list(found.sites) == [Site.ANKLE, Site.WRIST]
    assert counts(found.sites[Site.ANKLE].measures) == (0, 0, 1, 1)
    assert found.sites[Site.WRIST] == score(SAMPLE).overall
    assert found.consistency
    assert (found.consistency.lowest, found.consistency.highest) == ("ankle", "wrist")
    assert found.consistency.difference == difference(rate(43, 50), rate(1, 2))


def test_subgroups_follow_marks_age_view_and_device() -> None:
    cases = [
        case(Answer.POSITIVE, FRACTURE, marks=frozenset({ReadMark.HARDWARE, ReadMark.MOBILE}), age_band="child"),
        case(Answer.NEGATIVE, FRACTURE, marks=frozenset({ReadMark.HARDWARE}), view="AP", device="A B"),
        case(Answer.NEGATIVE, NONE, view="AP"),
        case(Answer.NEGATIVE, None, view="AP"),
    ]
    marks = subgroups(cases, SubgroupKind.MARK)
    assert {name: each.score.coverage.sampled for name, each in marks.items()} == {
        "hardware": 2,
        "mobile": 1,
        "none": 1,
    }
    assert counts(marks["hardware"].score.measures) == (1, 0, 1, 0)
    views = subgroups(cases, SubgroupKind.VIEW)
    assert {name: each.score.coverage.sampled for name, each in views.items()} == {"": 1, "AP": 3}
    assert set(subgroups(cases, SubgroupKind.AGE)) == {"", "child"}
    assert set(subgroups(cases, SubgroupKind.DEVICE)) == {"", "A B"}


def test_probabilities_of_scored_radiographs_alone_give_area_and_calibration() -> None:
    cases = [
        case(Answer.POSITIVE, FRACTURE, probability=0.9),
        case(Answer.NEGATIVE, NONE, probability=0.2),
        case(Answer.DOUBT, NONE, probability=0.6),
        case(Answer.NEGATIVE, FRACTURE, probability=0.3),
        case(Answer.INCOMPLETE, FRACTURE, probability=0.0),
        case(Answer.POSITIVE, NONE, probability=1.0, is_blinded=False),
    ]
    found = score(cases)
    assert found.overall.auroc
    assert found.overall.auroc.value == 3 / 4
    assert found.calibration
    assert sum(each.observed.n for each in found.calibration.bins) == 4


def test_disagreements_are_scored_cases_whose_call_differs_from_the_truth() -> None:
    assert case(Answer.DOUBT, NONE).is_disagreement
    assert case(Answer.NEGATIVE, FRACTURE).is_disagreement
    assert not case(Answer.POSITIVE, FRACTURE).is_disagreement
    assert not case(Answer.INCOMPLETE, FRACTURE).is_disagreement
    assert not case(Answer.POSITIVE, UNSURE).is_disagreement


def test_score_of_nothing_knows_nothing() -> None:
    found = score([])
    assert found.overall.measures.accuracy.point is None
    assert (found.sites, found.subgroups, found.calibration, found.consistency) == ({}, (), None, None)


def test_score_becomes_json() -> None:
    record = json.loads(json.dumps(dataclasses.asdict(score(SAMPLE)), allow_nan=False))
    assert record["overall"]["measures"]["sensitivity"]["k"] == 8
    assert record["sites"]["wrist"]["coverage"]["scored"] == 50
