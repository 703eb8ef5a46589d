"""Observations of earlier reports on a FHIR server after a later report or a withdrawal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import Engine, select, update

from appliance.config import Configuration
from appliance.domain.codes import REJECTED_FOR_QUALITY
from appliance.domain.finding import Finding
from appliance.domain.job import Event, Settling
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.ports import Artefact
from appliance.reporting.fhir.destination import FhirServer
from appliance.service.reporter import Reporter
from appliance.service.withdrawal import withdraw
from appliance.storage.outbox import DeliveryQueue
from appliance.storage.spool import FileSpool
from appliance.storage.studies import StudyQueue, reject_radiographs
from appliance.storage.tables import analyses, deliveries
from tests.integration.test_fhir_server import held
from tests.integration.test_studies import HeaderReader, answered, view
from tests.support.kept import keep
from tests.support.peers import NodePeer
from tests.support.people import anna
from tests.support.phases import set_phases
from tests.support.profiles import fhir as profile
from tests.support.profiles import renderer
from tests.support.results import finding, unanalysed
from tests.support.results import result as result_with_unread

START = Callable[..., NodePeer]
FHIR = profile()


@pytest.fixture(autouse=True)
def _live(engine: Engine) -> None:
    set_phases(engine)


@pytest.fixture
def reporter(engine: Engine, spool: FileSpool) -> Reporter:
    return Reporter(engine, StudyQueue(engine, "me"), spool, HeaderReader(), renderer((FHIR,), spool.put))  # type: ignore[arg-type]


def delivered(engine: Engine, spool: FileSpool, port: int) -> None:
    """Deliver everything that is due to the server, in order."""
    server = FhirServer("FHIR", f"http://127.0.0.1:{port}/R4", None, 20)
    queue = DeliveryQueue(engine, "me")
    while leases := queue.lease():
        for lease in leases:
            with engine.connect() as c:
                row = c.execute(select(deliveries).where(deliveries.c.id == lease.job_id)).one()
            server.send([Artefact(kind=row.kind, identifier=row.identifier, content=spool.get(row.digest))])
            with queue.ending(lease, Event.FINISH, ReasonCode.DELIVERED):
                pass


def withdrawn(engine: Engine, state_dir: Path) -> None:
    config = Configuration(state_dir=state_dir, destinations=(FHIR,))
    assert withdraw(config, engine, "1.2.3.9", anna("a cast"), REJECTED_FOR_QUALITY).revoked_at == ("FHIR",)


def result(source: Dataset, *findings: Finding) -> Result:
    """Return a result of a radiograph on which everything was read."""
    return replace(result_with_unread(source, *findings), not_read=())


def told(port: int) -> dict[str, int]:
    """Count the server's observations by status; one in error holds no statement."""
    found: dict[str, int] = {}
    for observation in held(port, "Observation"):
        found[observation["status"]] = found.get(observation["status"], 0) + 1
        is_said = bool({"valueCodeableConcept", "interpretation", "component"} & observation.keys())
        assert is_said == (observation["status"] != "entered-in-error")
    return found


def analysed_anew(engine: Engine) -> None:
    with engine.begin() as c:
        c.execute(update(analyses).where(analyses.c.id == 1).values(state="queued"))


def test_finding_missing_in_a_revision_is_entered_in_error(
    engine: Engine, spool: FileSpool, reporter: Reporter, node_peer: START
) -> None:
    server = node_peer("fhir_server.js")
    for number, found in ((1, (finding(), finding(0.4), finding(0.1))), (2, (finding(),))):
        keep(engine, spool, view(number))
        answered(engine, result(view(number), *found))
    assert reporter.step()
    delivered(engine, spool, server.port)
    assert told(server.port) == {"preliminary": 4}

    analysed_anew(engine)
    answered(engine, result(view(1), finding()))
    assert reporter.step(), "a revision that is never sent"
    with engine.begin() as c:
        reject_radiographs(c, ["1.2.3.9.2"], "ROOM1 rejects it", Settling())
    assert reporter.step()
    delivered(engine, spool, server.port)
    assert told(server.port) == {"preliminary": 1, "entered-in-error": 3}
    (report,) = held(server.port, "DiagnosticReport")
    assert report["status"] == "preliminary" and len(report["result"]) == 1
    assert server.received()["defects"] == []

    analysed_anew(engine)
    answered(engine, result(view(1), finding(), finding()))
    assert reporter.step()
    delivered(engine, spool, server.port)
    assert told(server.port) == {"preliminary": 2, "entered-in-error": 2}, "the second region is found again"


def test_radiograph_no_longer_analysed_replaces_its_findings(
    engine: Engine, spool: FileSpool, reporter: Reporter, node_peer: START
) -> None:
    server = node_peer("fhir_server.js")
    keep(engine, spool, view(1))
    answered(engine, result(view(1), finding(), finding(0.4)))
    assert reporter.step()
    delivered(engine, spool, server.port)
    analysed_anew(engine)
    answered(engine, unanalysed(view(1)))
    assert reporter.step()
    delivered(engine, spool, server.port)
    statuses = {o["dataAbsentReason"]["coding"][0]["code"]: o["status"] for o in held(server.port, "Observation")}
    assert statuses == {"not-performed": "preliminary", "error": "entered-in-error"}


def test_unread_region_that_a_later_revision_reads_is_entered_in_error(
    engine: Engine, spool: FileSpool, reporter: Reporter, node_peer: START
) -> None:
    server = node_peer("fhir_server.js")
    keep(engine, spool, view(1))
    answered(engine, result_with_unread(view(1), finding(0.1)))
    assert reporter.step()
    delivered(engine, spool, server.port)
    (unread,) = (o for o in held(server.port, "Observation") if "dataAbsentReason" in o)
    assert (unread["status"], unread["dataAbsentReason"]["coding"][0]["code"]) == ("preliminary", "not-performed")
    analysed_anew(engine)
    answered(engine, result(view(1), finding(0.1)))
    assert reporter.step()
    delivered(engine, spool, server.port)
    assert {o["id"]: o["status"] for o in held(server.port, "Observation")}[unread["id"]] == "entered-in-error"


def test_radiograph_moved_to_another_study_is_reported_there(
    engine: Engine, spool: FileSpool, reporter: Reporter, node_peer: START
) -> None:
    server = node_peer("fhir_server.js")
    for number in (1, 2):
        keep(engine, spool, view(number))
        answered(engine, result(view(number), finding(), finding(0.4)))
    assert reporter.step()
    delivered(engine, spool, server.port)
    moved = view(1, study="1.2.3.10")
    keep(engine, spool, moved)
    answered(engine, result(moved, finding()))
    assert reporter.step() and reporter.step()
    delivered(engine, spool, server.port)
    assert told(server.port) == {"preliminary": 3, "entered-in-error": 1}


def test_withdrawal_covers_findings_that_an_undelivered_revision_drops(
    engine: Engine, spool: FileSpool, reporter: Reporter, node_peer: START, tmp_path: Path
) -> None:
    """The second revision has an unknown outcome; in fact it did not arrive."""
    server = node_peer("fhir_server.js")
    keep(engine, spool, view(1))
    answered(engine, result(view(1), finding(), finding(0.4)))
    assert reporter.step()
    delivered(engine, spool, server.port)
    analysed_anew(engine)
    answered(engine, result(view(1), finding()))
    assert reporter.step()
    with engine.begin() as c:
        lost: dict[str, Any] = {"attempts": 1, "code": "fhir_unreachable"}
        c.execute(update(deliveries).where(deliveries.c.state == "queued").values(**lost))
    withdrawn(engine, tmp_path)
    delivered(engine, spool, server.port)
    assert told(server.port) == {"entered-in-error": 2}


def test_withdrawal_after_two_reports_enters_each_observation_in_error_once(
    engine: Engine, spool: FileSpool, reporter: Reporter, node_peer: START, tmp_path: Path
) -> None:
    """After the archive has rejected the radiographs, no statement of the last report stands either."""
    server = node_peer("fhir_server.js")
    keep(engine, spool, view(1))
    answered(engine, result(view(1), finding(), finding(0.4)))
    assert reporter.step()
    delivered(engine, spool, server.port)
    analysed_anew(engine)
    answered(engine, result(view(1), finding()))
    keep(engine, spool, view(2))
    answered(engine, result(view(2), finding()))
    assert reporter.step()
    delivered(engine, spool, server.port)
    assert told(server.port) == {"preliminary": 2, "entered-in-error": 1}
    with engine.begin() as c:
        reject_radiographs(c, ["1.2.3.9.1", "1.2.3.9.2"], "ROOM1 rejects them", Settling())
    withdrawn(engine, tmp_path)
    delivered(engine, spool, server.port)
    assert told(server.port) == {"entered-in-error": 3}
