"""Comparison of recorded results with those of changed software or hardware."""

from __future__ import annotations

from dataclasses import replace

import pytest

from appliance.domain.identifiers import Laterality, Site
from appliance.domain.result import Result
from appliance.rollout.recheck import TOLERANCE, Comparison, compare
from tests.support.results import finding, result, unanalysed
from tests.support.sources import source

RECORDED = result(source(), finding(0.87), finding(0.1, site=Site.KNEE))


def moved(recorded: Result, by: float) -> Result:
    """Return `recorded` with every probability moved."""
    return replace(recorded, findings=tuple(replace(f, probability=f.probability + by) for f in recorded.findings))


def test_same_results_are_within_the_tolerance_in_any_order_of_findings() -> None:
    found = compare([(RECORDED, replace(RECORDED, findings=RECORDED.findings[::-1]))])
    assert found == Comparison(compared=1)
    assert found.is_within


@pytest.mark.parametrize(("by", "is_within"), [(TOLERANCE * 0.9, True), (TOLERANCE * 1.1, False)])
def test_probabilities_may_move_within_the_tolerance(by: float, is_within: bool) -> None:
    found = compare([(RECORDED, RECORDED), (RECORDED, moved(RECORDED, by))])
    assert found.largest_difference == pytest.approx(by)
    assert found.differing == 0
    assert found.is_within is is_within


@pytest.mark.parametrize(
    "again",
    [
        None,
        unanalysed(source()),
        replace(RECORDED, findings=RECORDED.findings[:1]),
        replace(RECORDED, findings=(finding(0.87, laterality=Laterality.RIGHT), RECORDED.findings[1])),
        replace(RECORDED, findings=(finding(0.87, positive=0.9), RECORDED.findings[1])),
    ],
    ids=["failed", "not analysed", "a finding less", "another side", "another verdict"],
)
def test_another_answer_or_verdict_is_never_within_the_tolerance(again: Result | None) -> None:
    found = compare([(RECORDED, RECORDED), (RECORDED, again)])
    assert (found.compared, found.differing) == (2, 1)
    assert not found.is_within
    assert "1 with other verdicts" in found.sentence


def test_radiograph_with_the_same_verdicts_but_incomplete_now_differs() -> None:
    cleared = replace(RECORDED, findings=(finding(0.1),), not_read=())
    assert compare([(cleared, cleared)]).is_within
    assert not compare([(cleared, replace(cleared, not_read=RECORDED.not_read))]).is_within


def test_unreadable_radiographs_alone_prove_nothing() -> None:
    assert not compare([], unreadable=3).is_within
    assert compare([(RECORDED, RECORDED)], unreadable=3).is_within
    assert compare([]).is_within  # nothing is kept: the goldens alone tell


def test_comparison_that_was_not_completed_is_not_within_the_tolerance() -> None:
    assert not Comparison(was_completed=False).is_within
