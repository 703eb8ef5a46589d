"""Conditions concluded from facts: one cause is one problem."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from appliance.config import Alarms
from appliance.domain.alarm import NumberedEvent
from appliance.domain.identifiers import Site
from appliance.domain.job import State
from appliance.domain.reason import ReasonCode
from appliance.domain.roles import ROLES, ConfigurationState
from appliance.gpu import GpuFigures
from appliance.status.alarms.message import message_of
from appliance.status.alarms.rules import advance
from appliance.status.attention import attention
from appliance.status.facts import Backlog, Certificate, Facts, RoleState, RoleStatus
from appliance.status.health import (
    DEEP,
    LATE_S,
    LOST_S,
    Condition,
    Severity,
    conditions,
    duration,
    headline,
    is_ready,
    problems,
    without_identity,
)
from appliance.status.records import DestinationError
from appliance.storage.arrivals import Arrivals
from appliance.storage.clock_steps import ClockStep
from appliance.storage.gate import Hold
from appliance.storage.monitoring import Agreement

AT = datetime(2026, 1, 2, 10, 15, tzinfo=UTC)
FINE = Facts(
    at=AT,
    roles=tuple(RoleStatus(role=r, state=RoleState.ALIVE, since=AT - timedelta(hours=1), detail="") for r in ROLES),
    destinations=(Backlog(name="pacs", counts={State.DONE: 3}),),
    disk_free_bytes=2_000_000_000,
    disk_reserve_bytes=500_000_000,
)


def with_role(facts: Facts, role: str, state: RoleState) -> Facts:
    return replace(facts, roles=tuple(replace(r, state=state) if r.role == role else r for r in facts.roles))


def names(found: tuple[Condition, ...]) -> list[str]:
    return [c.name for c in found]


def waiting(name: str, seconds: float, **counts: int) -> Backlog:
    return Backlog(
        name=name,
        counts={State(k): n for k, n in counts.items()} or {State.QUEUED: 1},
        oldest=AT - timedelta(seconds=seconds),
    )


def test_healthy_appliance_has_no_problems() -> None:
    found = conditions(FINE)
    assert problems(found) == ()
    assert is_ready(found)
    assert headline(found) == "Osteon works: radiographs are received, analysed and answered."


@pytest.mark.parametrize("state", [RoleState.MISSING, RoleState.STOPPED])
@pytest.mark.parametrize("role", ["receive", "analyse", "deliver"])
@pytest.mark.proves("SAF-20")
def test_role_that_does_not_run_is_an_error_that_names_its_unit(role: str, state: RoleState) -> None:
    found = conditions(with_role(FINE, role, state))
    (problem,) = problems(found)
    assert (problem.name, problem.severity) == (f"role.{role}", Severity.ERROR)
    assert f"osteon-{role}" in problem.sentence
    assert not is_ready(found)
    assert headline(found) == "Osteon is not working."


def test_missing_status_role_leaves_the_appliance_ready() -> None:
    found = conditions(with_role(FINE, "status", RoleState.MISSING))
    assert names(problems(found)) == ["role.status"]
    assert is_ready(found)


@pytest.mark.usefixtures("zone_of_machine")
@pytest.mark.parametrize(("step_s", "words"), [(3600, "set on by 60 min"), (-90, "set back by 2 min")])
def test_step_of_the_clock_is_a_warning(step_s: float, words: str) -> None:
    found = conditions(replace(FINE, clock_step=ClockStep(step_s=step_s, at=AT)))
    (problem,) = problems(found)
    assert (problem.name, problem.severity) == ("clock", Severity.WARNING)
    assert words in problem.sentence and "2026-01-02 11:15 CET" in problem.sentence
    assert is_ready(found)


def test_clock_without_a_time_service_is_a_warning() -> None:
    for is_kept, broken in ((True, []), (None, []), (False, ["clock.kept"])):
        found = conditions(replace(FINE, clock_is_kept=is_kept))
        assert names(problems(found)) == broken
        assert is_ready(found)


@pytest.mark.parametrize(
    ("free_mb", "daily_mb", "retention_days", "ok"),
    [
        (14_500, 1000, 30, True),  # two weeks
        (14_499, 1000, 30, False),
        (5_500, 1000, 5, True),  # retention removes what came five days ago
        (5_499, 1000, 5, False),
        (600, 0, 30, True),  # nothing came, or not for a day
    ],
)
def test_disk_that_fills_before_retention_makes_room_is_a_warning(
    free_mb: int, daily_mb: int, retention_days: float, ok: bool
) -> None:
    facts = replace(
        FINE,
        disk_free_bytes=free_mb * 1_000_000,
        arrivals=Arrivals(daily_bytes=daily_mb * 1e6),
        retention_days=retention_days,
        prune_below_bytes=5_000_000_000,
    )
    found = conditions(facts)
    assert names(problems(found)) == ([] if ok else ["disk.days"])
    assert is_ready(found)
    if not ok:
        days = 13 if retention_days == 30 else 4
        assert f"room for {days} days at 1000 MB" in problems(found)[0].sentence
        assert "below 5000 MB they are removed earlier" in problems(found)[0].sentence


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (ConfigurationState.CURRENT, ""),
        (ConfigurationState.CHANGED, "`systemctl restart osteon-analyse`"),
        (ConfigurationState.UNUSABLE, "`osteon check`"),
    ],
)
def test_configuration_that_changed_since_a_role_started_is_a_warning(state: ConfigurationState, words: str) -> None:
    roles = tuple(replace(r, configuration=state) if r.role == "analyse" else r for r in FINE.roles)
    found = conditions(replace(FINE, roles=roles))
    assert [words in p.sentence for p in problems(found) if p.name == "configuration"] == ([True] if words else [])
    assert is_ready(found)


def test_unreadable_database_is_one_problem() -> None:
    found = conditions(replace(with_role(FINE, "receive", RoleState.MISSING), database_error="OperationalError"))
    assert names(problems(found)) == ["database"]
    assert not any(c.ok for c in found if "database" in c.depends_on)
    assert not is_ready(found)


@pytest.mark.parametrize(("free", "ok"), [(499_999_999, False), (500_000_000, True), (None, False), (0, False)])
def test_disk_below_its_reserve_is_not_ready(free: int | None, ok: bool) -> None:
    found = conditions(replace(FINE, disk_free_bytes=free))
    assert is_ready(found) is ok
    assert names(problems(found)) == ([] if ok else ["disk"])


@pytest.mark.parametrize(
    ("left", "ok", "ready"),
    [(timedelta(days=30), True, True), (timedelta(days=29), False, True), (timedelta(seconds=-1), False, False)],
)
def test_certificate_that_runs_out_soon_is_a_problem(left: timedelta, ok: bool, ready: bool) -> None:
    certificate = Certificate(key="receive.tls.certificate", not_after=AT + left, is_only_way=True)
    found = conditions(replace(FINE, certificates=(certificate,)))
    assert names(problems(found)) == ([] if ok else ["certificate.receive.tls.certificate"])
    assert is_ready(found) is ready


def test_expired_certificate_beside_a_port_without_tls_is_a_warning() -> None:
    for role in ("receive", "deliver"):
        old = Certificate(key="tls.certificate of ris", not_after=AT - timedelta(days=2), role=role)
        found = conditions(replace(FINE, certificates=(old,)))
        assert f"renew it and restart osteon-{role}" in problems(found)[0].sentence
        assert is_ready(found)


def test_unreadable_certificate_is_a_warning() -> None:
    found = conditions(replace(FINE, certificates=(Certificate(key="receive.tls.client_ca", not_after=None),)))
    assert "cannot be read" in problems(found)[0].sentence
    assert is_ready(found)


@pytest.mark.parametrize(("seconds", "late"), [(LATE_S, False), (LATE_S + 1, True)])
@pytest.mark.proves("SAF-20")
def test_late_radiograph_is_a_warning(seconds: float, late: bool) -> None:
    found = conditions(replace(FINE, analyses=waiting("analyses", seconds)))
    assert names(problems(found)) == (["queue.analyses"] if late else [])
    assert is_ready(found)


def test_late_delivery_is_no_problem_of_its_own_while_its_role_is_missing() -> None:
    facts = replace(FINE, destinations=(waiting("ris", LATE_S * 2),))
    assert names(problems(conditions(with_role(facts, "deliver", RoleState.MISSING)))) == ["role.deliver"]


@pytest.mark.parametrize("name", ["*", "pacs"])
def test_hold_is_a_problem_and_its_late_deliveries_are_not(name: str) -> None:
    hold = Hold(destination=name, reason="phase shadow", since=AT)
    found = conditions(replace(FINE, destinations=(waiting("pacs", LATE_S + 60),), holds=(hold,)))
    (problem,) = problems(found)
    assert problem.name == f"gate.{name}" and "phase shadow" not in problem.sentence, "a person typed it"
    command = "osteon queue release" if name == "*" else "osteon queue release --to pacs"
    assert problem.sentence.endswith(f"`{command}`")
    assert is_ready(found)
    late = conditions(
        replace(FINE, destinations=(waiting("ris", LATE_S + 60),), holds=(replace(hold, destination="pacs"),))
    )
    assert names(problems(late)) == ["gate.pacs", "destination.ris"]


def test_headline_says_where_answers_wait_if_no_destination_takes_any_and_they_come_before_the_clock() -> None:
    failing = tuple(replace(waiting(name, 60), failures=2) for name in ("pacs", "ris"))
    facts = replace(FINE, destinations=failing, clock_is_kept=False)
    found = conditions(facts)
    assert headline(found) == "Osteon receives and analyses radiographs, but answers wait for pacs, ris."
    assert [one.name for one in attention(facts, found, {})] == ["destination.pacs", "destination.ris", "clock.kept"]
    works = replace(FINE, destinations=(failing[0], waiting("ris", 0, done=1)))
    assert headline(conditions(works)) == "Osteon works. The points below need attention."


def test_failing_destination_is_reported_at_once_and_is_an_error_after_an_hour() -> None:
    works = waiting("ris", 0, done=1)

    def found_after(seconds: float) -> tuple[Condition, ...]:
        return conditions(replace(FINE, destinations=(replace(waiting("pacs", seconds), failures=2), works)))

    (problem,) = problems(found_after(5))
    assert "the last 2 attempts failed, 1 artefact waiting" in problem.sentence
    assert is_ready(found_after(LOST_S)) and not is_ready(found_after(LOST_S), strict=True)
    assert not is_ready(found_after(LOST_S + 1))
    assert headline(found_after(LOST_S + 1)).endswith("answers do not arrive at pacs.")
    lost = replace(waiting("pacs", LOST_S + 1), failures=2)
    hold = Hold(destination="pacs", reason="phase shadow", since=AT)
    assert is_ready(conditions(replace(FINE, destinations=(lost, works), holds=(hold,)))), "held on purpose"
    assert is_ready(conditions(replace(FINE, destinations=(replace(lost, is_known=False),)))), "no longer configured"


@pytest.mark.proves("SAF-20")
def test_no_destination_that_takes_anything_is_an_error_once_answers_are_late() -> None:
    failing = tuple(replace(waiting(name, LATE_S + 1), failures=3) for name in ("pacs", "ris"))
    assert not is_ready(conditions(replace(FINE, destinations=failing)))
    assert is_ready(conditions(replace(FINE, destinations=(failing[0], waiting("ris", 0, done=1)))))


def test_start_failure_and_restart_of_a_role_are_told_apart() -> None:
    starting = with_role(FINE, "analyse", RoleState.STARTING)
    assert headline(conditions(starting)) == "Osteon is starting."
    assert not is_ready(conditions(starting))

    def found(state: RoleState) -> Condition:
        roles = (*FINE.roles[:1], replace(FINE.roles[1], state=state, starts=4, failure="pack is altered"))
        (problem,) = problems(conditions(replace(FINE, roles=(*roles, *FINE.roles[2:]))))
        return problem

    for state in (RoleState.STARTING, RoleState.FAILED):
        assert "fails and starts again, 4 times so far" in found(state).sentence
        assert found(state).sentence.endswith("(`journalctl -u osteon-analyse`): pack is altered")
        assert found(state).severity is Severity.ERROR
    assert "did not start again: `systemctl start osteon-analyse`: pack is altered" in found(RoleState.MISSING).sentence
    assert found(RoleState.ALIVE).severity is Severity.WARNING
    assert found(RoleState.ALIVE).sentence.endswith("running again, after 4 starts in a row: pack is altered")


def test_deep_queue_is_a_problem_before_it_is_late() -> None:
    deep = waiting("pacs", LATE_S - 1, queued=DEEP + 1)
    (problem,) = problems(conditions(replace(FINE, destinations=(deep,))))
    assert problem.name == "destination.pacs" and f"{DEEP + 1} artefacts waiting" in problem.sentence


def test_parked_report_is_a_problem() -> None:
    facts = replace(FINE, studies=Backlog(name="studies", counts={State.PARKED: 1}))
    (found,) = problems(conditions(facts))
    assert "1 report parked: see the reason with `osteon queue show study:ID`" in found.sentence


def test_parked_delivery_is_a_problem_even_while_its_role_is_missing() -> None:
    facts = replace(FINE, destinations=(Backlog(name="ris", counts={State.PARKED: 2}),))
    found = problems(conditions(with_role(facts, "deliver", RoleState.MISSING)))
    assert names(found) == ["role.deliver", "destination.ris"]
    assert "2 artefacts parked: see the reason with `osteon queue show delivery:ID`" in found[1].sentence


def test_condition_depends_on_existing_conditions() -> None:
    found = conditions(FINE)
    assert len(set(names(found))) == len(found)
    assert {d for c in found for d in c.depends_on} <= set(names(found))


def test_backlog_counts_queued_and_leased_jobs_as_waiting() -> None:
    backlog = Backlog(name="x", counts={State.QUEUED: 2, State.LEASED: 1, State.PARKED: 4, State.DONE: 8})
    assert (backlog.waiting, backlog.parked, backlog.age_s(AT)) == (3, 4, 0.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3, "0 s"),
        (0.4, "0 s"),
        (89, "89 s"),
        (90, "2 min"),
        (5340, "89 min"),
        (5399, "1 h 29 min"),
        (5400, "1 h 30 min"),
        (172_799, "47 h 59 min"),
        (273_600, "3 d 4 h"),
    ],
)
def test_duration_is_written_for_people(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    "text",
    [
        "MSA-3 says: DOE^JANE is unknown",
        "unknown patient 'Doe^Jane^^Dr'",
        "instance 1.2.826.0.1.3680043.8.498.1 not stored",
    ],
)
def test_identity_is_removed_from_the_words_of_a_peer(text: str) -> None:
    told = without_identity(text)
    for secret in ("Doe", "DOE", "Jane", "JANE", "1.2.826", "498"):
        assert secret not in told


def test_address_is_no_identity() -> None:
    text = "RIS at 192.0.2.11:2575: the connection failed (Connection refused)"
    assert without_identity(text) == text


@pytest.mark.parametrize(
    ("seen", "broken", "said"),
    [
        (None, [], ""),
        (GpuFigures(), [], ""),
        (GpuFigures(temperature_c=83, ecc_errors=0), [], ""),
        (GpuFigures(temperature_c=92, throttled="heat"), ["gpu.clocks"], "slowed down by heat (92 °C)"),
        (GpuFigures(throttled="power"), ["gpu.clocks"], "slowed down by power"),
        (GpuFigures(ecc_errors=2), ["gpu.memory"], "had 2 uncorrectable errors"),
        (
            GpuFigures(unused="no memory"),
            ["gpu.used"],
            "A GPU is there, and the CPU computes: no memory. The role tries",
        ),
    ],
)
def test_gpu_that_is_slowed_down_or_faulty_is_a_warning(seen: GpuFigures | None, broken: list[str], said: str) -> None:
    found = conditions(replace(FINE, gpu=seen))
    assert names(problems(found)) == broken
    assert is_ready(found)
    assert said in " ".join(c.sentence for c in problems(found))
    assert any(c.name.startswith("gpu.") for c in found) == (seen is not None)


def test_alarm_tells_the_code_and_its_remedy_and_quotes_no_peer() -> None:
    code = ReasonCode.FHIR_REFUSED
    error = DestinationError(code=code, reason="pacs answers: Jane Doe, born 1970, is unknown")
    facts = replace(FINE, destinations=(Backlog(name="pacs", counts={State.PARKED: 1}),))
    found = conditions(facts)
    (point,) = points = attention(facts, found, {"pacs": error})
    assert "Jane Doe" in point.reason, "the page may quote it"
    _, (event,) = advance({}, found, points, AT, Alarms(quiet_s=0))
    text = message_of([NumberedEvent(number=1, event=event)], "box1", AT).text
    assert "Jane" not in text and "1970" not in text
    assert f"({code})" in text and code.remedy in text


@pytest.mark.parametrize(("wrong", "of", "met"), [(2, 100, True), (10, 100, True), (11, 100, False), (29, 29, None)])
def test_agreement_that_is_certainly_too_low_is_a_warning(wrong: int, of: int, met: bool | None) -> None:
    agreed = Agreement(site=Site.WRIST, neither=of - wrong, only_radiologist=wrong)
    found = [one for one in conditions(replace(FINE, agreement=(agreed,))) if one.name == "agreement.wrist"]
    assert [one.ok for one in found] == ([] if met is None else [met])
    assert all(f"{wrong} fractures missed" in one.sentence for one in found if not one.ok)


def test_live_site_that_agrees_less_often_than_the_others_is_told() -> None:
    sites = {Site.WRIST: 10, Site.KNEE: 0, Site.ANKLE: 1}
    agreed = tuple(Agreement(site=site, neither=100 - n, only_radiologist=n) for site, n in sites.items())
    found = {one.name: one for one in conditions(replace(FINE, agreement=agreed))}
    assert [found[f"agreement.{site}"].ok for site in sites] == [False, True, True]
    assert "90 of 100 final reports, fewer than those about the other sites" in found["agreement.wrist"].sentence
    alone = conditions(replace(FINE, agreement=agreed[:1]))
    assert all(one.ok for one in alone if one.name == "agreement.wrist"), "10 of 100 alone are not certainly too many"
