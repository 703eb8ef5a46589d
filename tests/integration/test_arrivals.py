"""Arrivals read from the database, and the conditions that follow from them."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, update

from appliance.clock import now
from appliance.config import Configuration, read_configuration
from appliance.domain.roles import ROLES, ConfigurationState
from appliance.service.configuration_watch import ConfigurationWatch
from appliance.status.facts import observe
from appliance.status.health import conditions, problems
from appliance.storage.arrivals import STEP_S, read_arrivals
from appliance.storage.heartbeats import record_heartbeat
from appliance.storage.tables import instances


def record_instances(engine: Engine, *times: datetime) -> None:
    """Record an instance of a megabyte for each time."""
    row = {
        "sop_class_uid": "1.2",
        "transfer_syntax_uid": "1.2",
        "size_bytes": 1_000_000,
        "calling_ae_title": "ROOM1",
        "receipt": 1,
    }
    rows = [
        row | {"sop_instance_uid": f"1.2.{n}", "digest": f"{n:064d}", "received_at": at} for n, at in enumerate(times)
    ]
    with engine.begin() as c:
        c.execute(insert(instances), rows)


def test_arrivals_are_the_steps_with_radiographs_and_the_bytes_of_a_day(engine: Engine) -> None:
    at = now()
    with engine.connect() as c:
        assert read_arrivals(c, at, timedelta(days=9)).first_at is None
    times = [at - timedelta(days=days) for days in (20, 6, 6, 2, 1)]
    record_instances(engine, *times, at - timedelta(days=6, seconds=-1))
    with engine.connect() as c:
        found = read_arrivals(c, at, timedelta(days=9))
        assert read_arrivals(c, at, timedelta(days=9), timedelta(days=2)).steps == frozenset(), "it is not silent"
    assert (found.first_at, found.last_at) == (times[0], times[-1])
    assert found.steps >= {int(at.timestamp() // STEP_S) for at in times[1:]} and len(found.steps) <= 4
    assert abs(found.daily_bytes - 5e6 / 7) < 1


@pytest.mark.proves("SAF-20")
def test_site_that_falls_silent_is_seen_in_its_database(engine: Engine, tmp_path: Path) -> None:
    for role in ROLES:
        record_heartbeat(engine, role, now() - timedelta(days=30), "works")
    end = now() - timedelta(hours=3)
    record_instances(engine, *(end - timedelta(minutes=5 * n) for n in range(12 * 24 * 22)))
    found = conditions(observe(engine, Configuration(state_dir=tmp_path), now()))
    (silence,) = [c for c in problems(found) if c.name == "silence"]
    assert "No radiograph has come for 3 h" in silence.sentence
    with engine.begin() as c:  # as a clock that was ahead for a moment dated it
        c.execute(update(instances).where(instances.c.id == 1).values(received_at=now() + timedelta(days=900)))
    found = conditions(observe(engine, Configuration(state_dir=tmp_path), now()))
    assert [c.name for c in problems(found) if c.name == "silence"] == ["silence"]
    record_heartbeat(engine, "receive", now() - timedelta(minutes=30), "works")
    found = conditions(observe(engine, Configuration(state_dir=tmp_path), now()))
    assert [c.name for c in problems(found) if c.name == "silence"] == [], "the role listens for half an hour only"


def test_watch_tells_a_change_of_values_from_a_change_of_comments(tmp_path: Path) -> None:
    path = tmp_path / "osteon.toml"
    path.write_text("receive.port = 11113\n")
    watch = ConfigurationWatch(path, read_configuration(path))
    seen = [watch.state()]
    for text in ("# port\nreceive.port = 11113\n", "receive.port = 11114\n", "receive.port = 'x'\n", "", "oh"):
        path.write_text(text)
        seen.append(watch.state())
    path.write_text("receive.port = 11113")
    path.unlink()
    seen.append(watch.state())
    current, changed, unusable = ConfigurationState
    assert seen == [current, current, changed, unusable, changed, unusable, unusable]


def test_change_between_the_reading_of_a_role_and_its_start_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "osteon.toml"
    path.write_text("receive.port = 11113")
    config = read_configuration(path)
    path.write_text("receive.port = 11114")
    assert ConfigurationWatch(path, config).state() is ConfigurationState.CHANGED
