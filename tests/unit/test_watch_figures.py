"""Trends of the rollout page: a week without radiographs has no bar, and a drift keeps its windows before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.rollout.drift import Comparison
from appliance.status.watch_figures import WEEKS, drift_trends, trends
from appliance.storage.drift import DriftWindow
from appliance.storage.monitoring import Week

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def window(number: int, psi: float, figure: str = "grey_mean", *, is_drift: bool = False) -> DriftWindow:
    at = MONDAY + timedelta(days=number)
    found = Comparison(figure=figure, psi=psi, p_value=0.5, is_drift=is_drift)
    return DriftWindow(
        site=Site.WRIST,
        size=100,
        reference_size=150,
        last_result_id=number,
        started_at=at,
        ended_at=at,
        comparisons=(found,),
    )


def test_trends_show_counts_and_shares_of_each_week() -> None:
    before = Week(begin=MONDAY - timedelta(weeks=2), answers={Answer.NEGATIVE: 30, Answer.INCOMPLETE: 10})
    newest = Week(
        begin=MONDAY, answers={Answer.POSITIVE: 1, Answer.DOUBT: 1, Answer.NOT_ANALYSED: 2, Answer.NEGATIVE: 4}
    )
    made = {one.name: one for one in trends([before, newest], MONDAY + timedelta(days=6, hours=23))}
    assert {name: one.newest for name, one in made.items()} == {
        "Radiographs": "8",
        "Fracture suspected or possible": "25.0%",
        "Incomplete": "0.0%",
        "Not analysed": "25.0%",
    }
    assert [bar.value for bar in made["Radiographs"].chart.bars][-4:] == [None, 40, None, 8]
    assert len(made["Radiographs"].chart.bars) == WEEKS
    assert made["Incomplete"].chart.sentence.endswith("-, 25.0%, -, 0.0%")


def test_trend_of_the_next_week_begins_with_monday() -> None:
    (radiographs, *_) = trends([Week(begin=MONDAY, answers={Answer.NEGATIVE: 3})], MONDAY + timedelta(days=7))
    assert radiographs.newest == "-"
    assert [bar.value for bar in radiographs.chart.bars][-2:] == [3, None]


def test_drift_shows_the_newest_window_and_the_index_of_those_before() -> None:
    windows = [window(3, 0.4, is_drift=True), window(2, 0.1), window(1, 0.2, figure="detail")]
    (made,) = drift_trends({Site.WRIST: windows, Site.ANKLE: []})
    assert (made.site, made.figure, made.psi, made.is_drift) == (Site.WRIST, "grey mean", 0.4, True)
    assert [bar.value for bar in made.chart.bars] == [None] * (WEEKS - 2) + [0.1, 0.4]
