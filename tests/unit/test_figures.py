"""The figures of the overview: hours, days and times from the ways of radiographs."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from appliance.domain.finding import Answer
from appliance.domain.reason import ReasonCode
from appliance.status.figures import Figures, Line, figures, percentile_95
from appliance.status.sparkline import HEIGHT, LEAST, sparkline
from appliance.storage.figures import Passage

AT = datetime(2026, 3, 29, 12, 30, tzinfo=UTC)
"""Half past two in Berlin, on the day that has 23 hours there."""


@pytest.fixture(autouse=True)
def berlin(zone_of_machine: str) -> str:
    return zone_of_machine


def passage(hours_ago: float, answer: Answer | None = Answer.NEGATIVE, seconds: float | None = None) -> Passage:
    received_at = AT - timedelta(hours=hours_ago)
    delivered = {} if seconds is None else {"pacs": received_at + timedelta(seconds=seconds)}
    code = ReasonCode.OUT_OF_SCOPE if answer is Answer.NOT_ANALYSED else ReasonCode.NONE
    return Passage(received_at=received_at, answer=answer, code=code, delivered_at=delivered)


def line(found: Figures, name: str) -> Line:
    (one,) = [each for each in found.lines if each.name == name]
    return one


def test_day_begins_at_local_midnight() -> None:
    # local midnight was 13.5 hours ago, since the clocks went on by an hour
    found = figures([passage(13.6), passage(13.4), passage(0), passage(24 * 8)], AT, "")
    received = line(found, "Received")
    assert (received.today, received.week) == ("2", "3")
    assert [bar.value for bar in received.days.bars] == [0, 0, 0, 0, 0, 1, 2]
    assert [bar.value for bar in received.hours.bars][-15:] == [1, 1, *[0] * 12, 1]


def test_answers_are_counted_by_kind() -> None:
    answers = [Answer.POSITIVE, Answer.DOUBT, Answer.INCOMPLETE, Answer.NEGATIVE, Answer.NOT_ANALYSED, None]
    found = figures([passage(1, answer) for answer in answers], AT, "")
    today = {one.name: one.today for one in found.lines}
    assert today == {
        "Received": "6",
        "Answered": "4",
        "Fracture suspected": "1",
        "Possible fracture": "1",
        "Incomplete": "1",
        "Not analysed": "1",
    }
    assert found.declined == ((ReasonCode.OUT_OF_SCOPE, 1),)


def test_times_are_those_to_the_first_pacs() -> None:
    found = figures([passage(1, seconds=s) for s in (4, 8, 100)] + [passage(1), passage(1, seconds=-5)], AT, "pacs")
    assert line(found, "Median seconds to pacs").today == "8"
    assert line(found, "p95 seconds to pacs").today == "100"
    assert found.median_s == {"pacs": 8}
    assert line(figures([passage(1)], AT, "pacs"), "Median seconds to pacs").today == "-"


def test_percentile_is_the_nearest_rank() -> None:
    assert percentile_95(range(1, 101)) == 95
    assert percentile_95([7]) == 7


def test_highest_bar_fills_the_chart_and_a_small_one_is_seen() -> None:
    bars = sparkline([0, 1, 1000, None], "").bars
    assert [bar.height for bar in bars] == [0, LEAST, HEIGHT, 0]
    assert [bar.y + bar.height for bar in bars] == [HEIGHT] * 4
    assert all(left.x + left.width < right.x for left, right in pairwise(bars))
