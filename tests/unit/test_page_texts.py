"""The texts of the pages: times of the machine's zone, commands, settings without secrets, remedies."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from appliance.config import Configuration
from appliance.domain.job import State
from appliance.gpu import GpuFigures
from appliance.status.facts import Backlog, Certificate, Facts, RoleState, RoleStatus
from appliance.status.health import conditions
from appliance.status.remedies import remedy_of
from appliance.status.settings import settings_of
from appliance.status.situation import Situation, situation
from appliance.status.texts import local_time, short_time, with_commands
from appliance.storage.gate import Hold

AT = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)


@pytest.mark.usefixtures("zone_of_machine")
def test_time_is_local_with_date_and_zone() -> None:
    assert local_time(AT) == "2026-12-01 00:30:00 CET"
    assert short_time(AT) == "12-01 00:30:00"


def test_command_in_a_sentence_is_marked_and_the_rest_escaped() -> None:
    assert with_commands("see `a <b>` & <c>") == "see <code>a &lt;b&gt;</code> &amp; &lt;c&gt;"


def test_settings_of_a_destination_show_what_was_given_without_secrets() -> None:
    fhir = {"kind": "fhir", "name": "fhir", "base_url": "https://h/r4", "bearer": "s3cret", "tls": {"server_name": "h"}}
    config = Configuration.model_validate({"destinations": [fhir]})
    found = dict(settings_of(config.destinations[0]))
    assert found == {"kind": "fhir", "name": "fhir", "base_url": "https://h/r4", "tls.server_name": "h"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Situation.UNUSED),
        ({"counts": {State.DONE: 1}}, Situation.WORKS),
        ({"counts": {State.QUEUED: 1}, "oldest": AT - timedelta(minutes=6)}, Situation.LATE),
        ({"counts": {State.QUEUED: 1, State.PARKED: 1}}, Situation.PARKED),
        ({"counts": {State.QUEUED: 1, State.PARKED: 1}, "failures": 1}, Situation.FAILS),
        ({"is_known": False, "failures": 1}, Situation.REMOVED),
    ],
)
def test_situation_is_the_gravest(changes: dict[str, object], expected: Situation) -> None:
    backlog = replace(Backlog(name="pacs", counts={}), **changes)  # type: ignore[arg-type]
    assert situation(backlog, Facts(at=AT)) is expected
    held = Facts(at=AT, holds=(Hold(destination="*", reason="x", since=AT),))
    assert situation(backlog, held) is (expected if expected is Situation.REMOVED else Situation.HELD)


def test_every_condition_has_a_remedy() -> None:
    roles = [RoleStatus(role=r, state=RoleState.ALIVE, since=AT, detail="") for r in ("receive", "analyse", "deliver")]
    facts = Facts(
        at=AT,
        roles=(*roles, RoleStatus(role="status", state=RoleState.ALIVE, since=AT, detail="")),
        destinations=(Backlog(name="pacs", counts={}),),
        holds=(Hold(destination="pacs", reason="x", since=AT),),
        certificates=(Certificate(key="receive.tls.certificate", not_after=AT),),
        gpu=GpuFigures(temperature_c=50),
    )
    for condition in conditions(facts):
        remedy = remedy_of(condition.name)
        assert remedy and remedy.effect and remedy.steps, condition.name
    assert remedy_of("something.else") is None


def test_remedy_of_a_destination_has_its_name_in_the_commands() -> None:
    remedy = remedy_of("destination.trauma centre")
    assert remedy and any("osteon queue retry --to 'trauma centre'`" in step for step in remedy.steps)
