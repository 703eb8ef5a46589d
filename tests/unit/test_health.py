"""What is concluded from the facts, and that one cause is one problem."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from appliance.domain.job import State
from appliance.domain.roles import ROLES
from appliance.gpu import GpuFigures
from appliance.status.facts import Backlog, Certificate, Facts, RoleState, RoleStatus
from appliance.status.health import (
    DEEP,
    LATE_S,
    Condition,
    Severity,
    conditions,
    duration,
    headline,
    is_ready,
    problems,
    without_identity,
)
from appliance.storage.gate import Hold

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


def test_all_is_well() -> None:
    found = conditions(FINE)
    assert problems(found) == ()
    assert is_ready(found)
    assert headline(found) == "Osteon works: radiographs are received, read and answered."


@pytest.mark.parametrize("state", [RoleState.MISSING, RoleState.STOPPED])
@pytest.mark.parametrize("role", ["receive", "analyse", "deliver"])
def test_a_role_that_does_not_run_is_an_error_that_names_its_unit(role: str, state: RoleState) -> None:
    found = conditions(with_role(FINE, role, state))
    (problem,) = problems(found)
    assert (problem.name, problem.severity) == (f"role.{role}", Severity.ERROR)
    assert f"osteon-{role}" in problem.sentence
    assert not is_ready(found)
    assert headline(found) == "Osteon is not working."


def test_the_page_that_is_served_makes_nothing_unready() -> None:
    found = conditions(with_role(FINE, "status", RoleState.MISSING))
    assert names(problems(found)) == ["role.status"]
    assert is_ready(found)


def test_a_database_that_cannot_be_read_is_one_problem() -> None:
    found = conditions(replace(with_role(FINE, "receive", RoleState.MISSING), database_error="OperationalError"))
    assert names(problems(found)) == ["database"]
    assert not any(c.ok for c in found if "database" in c.depends_on)
    assert not is_ready(found)


@pytest.mark.parametrize(("free", "ok"), [(499_999_999, False), (500_000_000, True), (None, False), (0, False)])
def test_the_disk_has_to_hold_the_reserve(free: int | None, ok: bool) -> None:
    found = conditions(replace(FINE, disk_free_bytes=free))
    assert is_ready(found) is ok
    assert names(problems(found)) == ([] if ok else ["disk"])


@pytest.mark.parametrize(
    ("left", "ok", "ready"),
    [(timedelta(days=30), True, True), (timedelta(days=29), False, True), (timedelta(seconds=-1), False, False)],
)
def test_a_certificate_is_renewed_in_time(left: timedelta, ok: bool, ready: bool) -> None:
    certificate = Certificate(key="receive.tls.certificate", not_after=AT + left)
    found = conditions(replace(FINE, certificates=(certificate,)))
    assert names(problems(found)) == ([] if ok else ["certificate.receive.tls.certificate"])
    assert is_ready(found) is ready


def test_a_certificate_that_cannot_be_read_is_said_so() -> None:
    found = conditions(replace(FINE, certificates=(Certificate(key="receive.tls.client_ca", not_after=None),)))
    assert "cannot be read" in problems(found)[0].sentence
    assert is_ready(found)


@pytest.mark.parametrize(("seconds", "late"), [(LATE_S, False), (LATE_S + 1, True)])
def test_what_waits_too_long_is_said_but_does_not_make_it_unready(seconds: float, late: bool) -> None:
    found = conditions(replace(FINE, analyses=waiting("analyses", seconds)))
    assert names(problems(found)) == (["queue.analyses"] if late else [])
    assert is_ready(found)


def test_what_is_late_because_its_role_is_away_is_not_said_twice() -> None:
    facts = replace(FINE, destinations=(waiting("ris", LATE_S * 2),))
    assert names(problems(conditions(with_role(facts, "deliver", RoleState.MISSING)))) == ["role.deliver"]


@pytest.mark.parametrize("name", ["*", "pacs"])
def test_a_gate_that_is_shut_is_said_and_what_waits_behind_it_is_not(name: str) -> None:
    hold = Hold(destination=name, reason="phase shadow", since=AT)
    found = conditions(replace(FINE, destinations=(waiting("pacs", LATE_S + 60),), holds=(hold,)))
    (problem,) = problems(found)
    assert problem.name == f"gate.{name}" and "phase shadow" in problem.sentence
    assert is_ready(found)
    late = conditions(
        replace(FINE, destinations=(waiting("ris", LATE_S + 60),), holds=(replace(hold, destination="pacs"),))
    )
    assert names(problems(late)) == ["gate.pacs", "destination.ris"]


def test_a_queue_that_grows_is_said_before_it_is_late() -> None:
    deep = waiting("pacs", LATE_S - 1, queued=DEEP + 1)
    (problem,) = problems(conditions(replace(FINE, destinations=(deep,))))
    assert problem.name == "destination.pacs" and f"{DEEP + 1} answers waiting" in problem.sentence


def test_a_report_that_could_not_be_made_is_said() -> None:
    facts = replace(FINE, studies=Backlog(name="studies", counts={State.PARKED: 1}))
    (found,) = problems(conditions(facts))
    assert "1 report parked: `osteon queue show study:ID`" in found.sentence


def test_what_is_parked_is_said_even_while_its_role_is_away() -> None:
    facts = replace(FINE, destinations=(Backlog(name="ris", counts={State.PARKED: 2}),))
    found = problems(conditions(with_role(facts, "deliver", RoleState.MISSING)))
    assert names(found) == ["role.deliver", "destination.ris"]
    assert "2 answers parked: `osteon queue show delivery:ID`" in found[1].sentence


def test_what_a_condition_depends_on_exists() -> None:
    found = conditions(FINE)
    assert len(set(names(found))) == len(found)
    assert {d for c in found for d in c.depends_on} <= set(names(found))


def test_parked_and_done_jobs_do_not_wait() -> None:
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
def test_durations_as_people_say_them(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    "text",
    [
        "MSA-3 says: DOE^JANE is unknown",
        "unknown patient 'Doe^Jane^^Dr'",
        "instance 1.2.826.0.1.3680043.8.498.1 not stored",
    ],
)
def test_identity_is_cut_out_of_a_peers_words(text: str) -> None:
    told = without_identity(text)
    for secret in ("Doe", "DOE", "Jane", "JANE", "1.2.826", "498"):
        assert secret not in told


def test_an_address_is_no_identity() -> None:
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
        (GpuFigures(ecc_errors=2), ["gpu.memory"], "had 2 errors"),
    ],
)
def test_a_gpu_that_suffers_is_a_warning(seen: GpuFigures | None, broken: list[str], said: str) -> None:
    found = conditions(replace(FINE, gpu=seen))
    assert names(problems(found)) == broken
    assert is_ready(found)
    assert said in " ".join(c.sentence for c in problems(found))
    assert any(c.name.startswith("gpu.") for c in found) == (seen is not None)
