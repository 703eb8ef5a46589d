"""Drift of live sites: windows are compared once with the sample of the validation, and a drift becomes a condition."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update

from appliance.config import Configuration
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.rollout.drift import Comparison, compare
from appliance.service.roles.status import StatusRole
from appliance.status.facts import Facts, observe
from appliance.status.health import conditions, problems
from appliance.storage import drift
from appliance.storage.database import hasty
from appliance.storage.drift import FIRST, MOST_WINDOWS, DriftWindow, advance_drift, drift_of_sites
from appliance.storage.tables import drift_windows, results
from tests.support.streams import record_sample, record_stream, set_phase

LIVE_SINCE = datetime(2026, 3, 2, 8, tzinfo=UTC)
BEFORE = LIVE_SINCE - timedelta(days=30)


def drift_condition(engine: Engine, folder: Path) -> tuple[bool, str]:
    """Return whether the condition of the wrist is met, and its sentence."""
    facts = observe(engine, Configuration(state_dir=folder), LIVE_SINCE)
    (found,) = (one for one in conditions(facts) if one.name == "drift.wrist")
    return found.ok, found.sentence


@pytest.mark.proves("SAF-29")
def test_shift_after_the_validation_is_caught_and_its_end_is_seen(engine: Engine, tmp_path: Path) -> None:
    set_phase(engine, Site.WRIST, Phase.LIVE, LIVE_SINCE)
    record_sample(engine, record_stream(engine, 150, BEFORE))
    record_stream(engine, 99, LIVE_SINCE, seed=2)
    assert advance_drift(engine) == [], "no window is full"
    record_stream(engine, 1, LIVE_SINCE + timedelta(hours=2), seed=3)
    (window,) = advance_drift(engine)
    assert (window.size, window.reference_size, window.drifting) == (100, 150, ())
    assert drift_condition(engine, tmp_path)[0]
    record_stream(engine, 100, LIVE_SINCE + timedelta(days=1), seed=4, shift=1.5)
    (window,) = advance_drift(engine)
    assert window.drifting == ("grey_mean",)
    ok, sentence = drift_condition(engine, tmp_path)
    assert not ok and "(grey mean)" in sentence and "wrist" in sentence
    record_stream(engine, 100, LIVE_SINCE + timedelta(days=2), seed=5)
    assert [window.drifting for window in advance_drift(engine)] == [()]
    assert drift_condition(engine, tmp_path)[0]
    with engine.connect() as c:
        assert [window.drifting for window in drift_of_sites(c, windows=9)[Site.WRIST]] == [(), ("grey_mean",), ()]
    assert advance_drift(engine) == [], "each window is compared once"


def test_site_without_a_sample_is_compared_with_its_first_radiographs(engine: Engine) -> None:
    set_phase(engine, Site.WRIST, Phase.LIVE, LIVE_SINCE)
    record_stream(engine, FIRST + 99, LIVE_SINCE)
    assert advance_drift(engine) == []
    record_stream(engine, 101, LIVE_SINCE + timedelta(days=7), seed=2, shift=-1.5)
    windows = advance_drift(engine)
    assert [(window.reference_size, window.size) for window in windows] == [(FIRST, 100), (FIRST, 100)]
    assert windows[1].drifting == ("grey_mean",)


def test_site_that_is_not_live_and_radiographs_of_before_are_not_compared(engine: Engine) -> None:
    set_phase(engine, Site.WRIST, Phase.VALIDATE, LIVE_SINCE)
    set_phase(engine, Site.ANKLE, Phase.LIVE, LIVE_SINCE)
    record_stream(engine, 700, BEFORE)
    record_stream(engine, 700, LIVE_SINCE)
    record_stream(engine, 700, BEFORE, site=Site.ANKLE)
    assert advance_drift(engine) == []


def test_window_is_read_without_the_write_lock_and_written_once(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_phase(engine, Site.WRIST, Phase.LIVE, LIVE_SINCE)
    record_sample(engine, record_stream(engine, 150, BEFORE))
    record_stream(engine, 100, LIVE_SINCE, seed=2)
    made: list[list[DriftWindow]] = []

    def compare_meanwhile(*arguments: Any) -> list[Comparison]:
        monkeypatch.setattr(drift, "compare", compare)
        made.append(advance_drift(hasty(engine, 0)))
        return compare(*arguments)

    monkeypatch.setattr(drift, "compare", compare_meanwhile)
    assert advance_drift(engine) == [], "another process has written the window meanwhile"
    assert [len(windows) for windows in made] == [1]


def test_windows_are_compared_in_steps(engine: Engine) -> None:
    set_phase(engine, Site.WRIST, Phase.LIVE, LIVE_SINCE)
    record_sample(engine, record_stream(engine, 150, BEFORE))
    record_stream(engine, 100 * (MOST_WINDOWS + 1), LIVE_SINCE, seed=2)
    assert [len(advance_drift(engine)) for _ in range(3)] == [MOST_WINDOWS, 1, 0]


def test_radiographs_of_one_study_count_once(engine: Engine) -> None:
    set_phase(engine, Site.WRIST, Phase.LIVE, LIVE_SINCE)
    record_sample(engine, record_stream(engine, 150, BEFORE))
    ids = record_stream(engine, 150, LIVE_SINCE, seed=2)
    with engine.begin() as c:  # two radiographs a study: 75 studies
        for first, second in zip(ids[::2], ids[1::2], strict=True):
            c.execute(update(results).where(results.c.id == second).values(study_instance_uid=f"1.3.{first}"))
    assert advance_drift(engine) == []


def test_status_role_compares_what_is_full(engine: Engine, tmp_path: Path) -> None:
    set_phase(engine, Site.WRIST, Phase.LIVE, LIVE_SINCE)
    record_sample(engine, record_stream(engine, 150, BEFORE))
    record_stream(engine, 100, LIVE_SINCE, seed=2)
    config = Configuration.model_validate({"state_dir": tmp_path, "status": {"port": 0}})
    role = StatusRole(config, engine)
    try:
        assert not role.step()
    finally:
        role.close()
    with engine.connect() as c:
        assert c.execute(select(func.count()).select_from(drift_windows)).scalar_one() == 8
        facts = Facts(at=LIVE_SINCE, drift=tuple(drift_of_sites(c)[Site.WRIST]))
    (window,) = facts.drift
    drifted = replace(window.comparisons[0], is_drift=True)
    broken = replace(facts, drift=(replace(window, comparisons=(drifted,)),))
    assert "drift.wrist" in {one.name for one in problems(conditions(broken))}
