"""The rules of alarms: quiet time, repeats, recoveries and flapping, as a function of states and time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from appliance.config import Alarms
from appliance.domain.alarm import AlarmEvent, AlarmState, EventKind, NumberedEvent, Severity
from appliance.status.alarms.message import message_of
from appliance.status.alarms.rules import advance
from appliance.status.attention import Attention
from appliance.status.condition import Condition

AT = datetime(2026, 1, 5, 8, tzinfo=UTC)
SETTINGS = Alarms(quiet_s=120, repeat_h=24)
PACS = "destination.pacs"


def condition(name: str = PACS, ok: bool = False, severity: Severity = Severity.WARNING, **more: object) -> Condition:
    return Condition(name=name, ok=ok, severity=severity, sentence=f"{name} in words", **more)  # type: ignore[arg-type]


FINE = condition("database", ok=True, severity=Severity.ERROR)


@dataclass
class Site:
    """Conditions over time."""

    settings: Alarms = SETTINGS
    states: dict[str, AlarmState] = field(default_factory=dict)

    def look(self, seconds: float, *conditions: Condition, follows: tuple[str, ...] = ()) -> list[AlarmEvent]:
        """Look at the conditions so many seconds after `AT`; return the events."""
        points = [
            Attention(name=c.name, severity=c.severity, sentence=c.sentence)
            for c in conditions
            if not c.ok and c.name not in follows
        ]
        found = conditions if any(c.name == "database" for c in conditions) else (FINE, *conditions)
        at = AT + timedelta(seconds=seconds)
        self.states, events = advance(self.states, found, points, at, self.settings)
        return events

    def kinds(self, seconds: float, *conditions: Condition, follows: tuple[str, ...] = ()) -> list[str]:
        return [event.kind.value for event in self.look(seconds, *conditions, follows=follows)]


def test_condition_is_told_once_after_the_quiet_time_and_its_recovery_too() -> None:
    site = Site()
    seen = [site.kinds(s, condition()) for s in (0, 60, 119, 120, 130, 3600)]
    assert seen == [[], [], [], ["broken"], [], []]
    seen = [site.kinds(s, condition(ok=True)) for s in (3610, 3720, 3730, 3800)]
    assert seen == [[], [], ["recovered"], []]
    assert site.states == {}


def test_short_disturbance_is_not_told() -> None:
    site = Site()
    assert [site.kinds(s, condition(ok=s >= 60)) for s in range(0, 400, 10)] == [[]] * 40
    assert site.states == {}


def test_flapping_condition_is_told_once_until_it_rests() -> None:
    site = Site()
    seen = [kind for s in range(0, 7200, 10) for kind in site.kinds(s, condition(ok=s // 60 % 2 == 1))]
    assert seen == ["broken"]
    seen = [kind for s in range(7200, 7600, 10) for kind in site.kinds(s, condition(ok=True))]
    assert seen == ["recovered"]


def test_lasting_condition_is_repeated_by_the_interval() -> None:
    site = Site()
    seen = [(s, kind) for s in range(0, 3 * 86400, 600) for kind in site.kinds(s, condition())]
    assert seen == [(600, "broken"), (600 + 86400, "lasting"), (600 + 2 * 86400, "lasting")]
    never = Site(settings=Alarms(repeat_h=0))
    assert sum(len(never.look(s, condition())) for s in range(0, 30 * 86400, 3600)) == 1


def test_graver_condition_is_told_at_once_and_a_milder_one_is_not() -> None:
    site = Site()
    site.look(0, condition())
    assert site.kinds(200, condition()) == ["broken"]
    (event,) = site.look(210, condition(severity=Severity.ERROR))
    assert (event.kind, event.severity) == (EventKind.BROKEN, Severity.ERROR)
    assert site.kinds(220, condition()) == [] == site.kinds(230, condition(severity=Severity.ERROR))
    site.look(240, condition(ok=True))
    (recovery,) = site.look(400, condition(ok=True))
    assert recovery.severity is Severity.ERROR, "a channel for errors tells that it is over"


def test_recovery_is_as_grave_as_the_gravest_message_though_a_milder_one_came_later() -> None:
    site = Site(settings=Alarms(quiet_s=0, repeat_h=1))
    assert [e.severity for e in site.look(0, condition(severity=Severity.ERROR))] == [Severity.ERROR]
    assert [e.severity for e in site.look(7200, condition())] == [Severity.WARNING]
    (recovery,) = site.look(7300, condition(ok=True))
    assert (recovery.kind, recovery.severity) == (EventKind.RECOVERED, Severity.ERROR)
    site.look(8000, condition(severity=Severity.ERROR))
    site.look(16000, condition())
    assert site.kinds(16010, condition(severity=Severity.ERROR)) == ["broken"], "it was told as a warning since"


def test_condition_that_follows_from_another_is_neither_broken_nor_met() -> None:
    site = Site()
    site.look(0, condition())
    assert site.kinds(130, condition()) == ["broken"]
    database = condition("database", severity=Severity.ERROR)
    assert site.kinds(1000, database, condition(), follows=(PACS,)) == []
    assert site.kinds(1200, database) == ["broken"], "the database alone; the destination cannot be seen"
    assert set(site.states) == {"database", PACS}
    assert [kind for s in (1300, 1500) for kind in site.kinds(s, condition())] == ["recovered"], "the database"


def test_condition_that_is_gone_has_recovered() -> None:
    site = Site()
    site.look(0, condition("gate.pacs"))
    site.look(130, condition("gate.pacs"))
    assert [kind for s in (200, 400) for kind in site.kinds(s)] == ["recovered"]


def test_start_of_a_role_is_waited_for() -> None:
    site = Site()
    assert [site.kinds(s, condition("role.analyse", is_starting=True)) for s in (0, 300, 600)] == [[], [], []]


@pytest.mark.parametrize("step_s", [-7200, 7200])
def test_clock_that_is_set_holds_up_no_message(step_s: float) -> None:
    site = Site()
    site.look(0, condition())
    assert site.kinds(step_s + 10, condition()) == ["broken"]


def test_message_names_the_gravest_event_first() -> None:
    site = Site(settings=Alarms(quiet_s=0))
    events = site.look(0, condition(), condition("disk", severity=Severity.ERROR))
    numbered = [NumberedEvent(number=n, event=event) for n, event in enumerate(events, 7)]
    message = message_of(numbered, "box1", AT)
    assert message.subject == "Osteon on box1: error: disk, and 1 more"
    assert message.text.index("disk in words") < message.text.index("destination.pacs in words")
    assert message.identifier == message_of(numbered, "box1", AT + timedelta(hours=1)).identifier
    assert [event["severity"] for event in message.as_json()["events"]] == ["warning", "error"]
