"""The page under silent, dripping and slow connections, and its cost with a hundred thousand radiographs."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import (
    ColumnElement,
    Engine,
    Float,
    String,
    Table,
    case,
    cast,
    insert,
    literal,
    select,
    type_coerce,
    update,
)

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.service.roles.status import StatusRole
from appliance.status import server
from appliance.status.app import create_app
from appliance.status.server import MOST_OF_ADDRESS, MOST_PER_ADDRESS, REQUEST_S
from appliance.storage.database import open_database, readers
from appliance.storage.drift import advance_drift
from appliance.storage.heartbeats import record_heartbeat
from appliance.storage.tables import analyses, deliveries, instances, phases, results, studies
from tests.support.forms import csrf_of
from tests.support.results import finding, result
from tests.support.sources import source
from tests.support.streams import record_sample, record_stream, set_phase
from tests.support.waiting import PATIENCE_S, wait_until

PATHS = ("/", "/health/live", "/health/ready", "/metrics")

PAGES = (
    "/radiographs",
    "/radiographs/99999",
    "/studies/77",
    "/destinations/pacs",
    "/conditions",
    "/turned-away",
    "/pack",
)

MOST_S = 10.0
"""Limit of each response: without limits it took two minutes."""

RADIOGRAPHS = 100_000
INTERVAL_S = 300.0
WAITING = 2000
MOST_PROCESSOR_S = 0.3
"""Processor time of a page, of readiness and of a scrape: a third of the time that counting every row took."""


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    destinations = [
        {"kind": "fhir", "name": name, "base_url": "http://127.0.0.1:1"} for name in ("pacs", "ris", "fhir")
    ]
    return Configuration.model_validate({"state_dir": tmp_path, "status": {"port": 0}, "destinations": destinations})


@pytest.fixture
def engine(config: Configuration) -> Iterator[Engine]:
    engine = open_database(config.database)
    yield engine
    engine.dispose()


@pytest.fixture
def port(config: Configuration, engine: Engine) -> Iterator[int]:
    role = StatusRole(config, engine)
    yield int(role.detail().rpartition(":")[2])
    role.close()


def connect(port: int, address: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 60, source_address=(address, 0))
    connection.settimeout(60)
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Return whether the server has closed the connection."""
    connection.settimeout(0.001)
    try:
        return connection.recv(65536) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def check_that_all_are_served(port: int, address: str) -> None:
    transport = httpx.HTTPTransport(local_address=address)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, trust_env=False, timeout=60) as client:
        for path in PATHS:
            began = time.monotonic()
            assert client.get(path).status_code in (200, 503)
            assert time.monotonic() - began < MOST_S, path


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nX: "])
def test_silent_connections_keep_the_page_from_no_other(
    port: int, sent: bytes, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_S", PATIENCE_S)  # the limit alone ends them
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(port, "127.0.0.2")) for _ in range(100)]
        for connection in connections:
            with contextlib.suppress(ConnectionError):
                connection.sendall(sent)
        check_that_all_are_served(port, address)
        wait_until(
            lambda: sum(map(is_closed, connections[:-MOST_PER_ADDRESS])) == 100 - MOST_PER_ADDRESS,
            "the connections beyond the limit to be closed",
            60,
        )


def test_connections_of_many_addresses_keep_the_page_from_no_other(port: int) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(400):
            stack.enter_context(connect(port, f"127.0.1.{number % 100 + 1}"))
        check_that_all_are_served(port, "127.0.0.3")


def test_request_that_drips_is_given_up(port: int) -> None:
    with connect(port, "127.0.0.2") as connection:
        began = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")

        def drips_in_vain() -> bool:
            with contextlib.suppress(ConnectionError):
                connection.sendall(b"x")
            return is_closed(connection)

        wait_until(drips_in_vain, "the end of the connection", 60)
    assert time.monotonic() - began >= REQUEST_S - 1


def test_connection_serves_several_requests(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
        for _ in range(3):
            assert client.get("/health/live").status_code == 200


def test_many_readers_behind_one_address_keep_their_connections(port: int) -> None:
    """A proxy, or the address of a whole ward, keeps more connections open than a silent peer may."""
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=60)))
            for _ in range(3 * MOST_PER_ADDRESS)
        ]
        for _ in range(3):
            for connection in connections:
                connection.request("GET", "/health/live")
                response = connection.getresponse()
                assert response.status == 200 and response.read()


def test_one_address_keeps_no_more_connections_than_its_share(port: int) -> None:
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(connect(port, "127.0.0.2")) for _ in range(MOST_PER_ADDRESS)]
        for _ in range(MOST_OF_ADDRESS - MOST_PER_ADDRESS + 10):
            connections.append(stack.enter_context(connect(port, "127.0.0.2")))
            connections[-1].sendall(b"GET /health/live HTTP/1.1\r\n\r\n")
            assert connections[-1].recv(15) == b"HTTP/1.1 200 OK"
        wait_until(lambda: sum(map(is_closed, connections)) == 10, "the connections beyond the limit to be closed")


def test_one_request_of_a_buffer_is_answered(port: int) -> None:
    with connect(port, "127.0.0.2") as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\n\r\n" * 100)
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(65536):
                received += piece
    assert received.count(b"HTTP/1.1 200 OK") == 1
    assert b"Connection: close" in received


def test_readiness_and_metrics_are_made_once_in_their_time(engine: Engine, config: Configuration) -> None:
    client = create_app(readers(engine), config, "no pack", "1", keep_s=60).test_client()
    before = [client.get(path).data for path in ("/metrics", "/health/ready")]
    record_heartbeat(engine, "analyse", now(), "works")
    assert [client.get(path).data for path in ("/metrics", "/health/ready")] == before
    later = create_app(readers(engine), config, "no pack", "1").test_client()
    assert 'osteon_role_up{role="analyse"} 1.0' in later.get("/metrics").text


def test_figures_about_sites_are_read_once_in_their_time(engine: Engine, config: Configuration) -> None:
    at = now()
    set_phase(engine, Site.WRIST, Phase.LIVE, at - timedelta(days=3))
    record_sample(engine, record_stream(engine, 150, at - timedelta(days=20)))
    record_stream(engine, 100, at - timedelta(days=1), seed=4, shift=1.5)
    shown = {"/metrics": "osteon_drift_psi{", "/rollout": "drifts</span>", "/conditions": "grey mean"}
    kept, fresh = (
        create_app(readers(engine), config, "no pack", "1", keep_sites_s=keep_s).test_client() for keep_s in (60, 0)
    )
    assert [path for path, words in shown.items() if words in kept.get(path).text] == []
    assert advance_drift(engine)
    assert [path for path, words in shown.items() if words in kept.get(path).text] == []
    assert [path for path, words in shown.items() if words in fresh.get(path).text] == list(shown)
    with engine.begin() as c:
        c.execute(update(phases).values(phase=Phase.SHADOW))
    assert "drift.wrist" not in kept.get("/conditions").text, "phases are of now"


def test_large_requests_are_refused(port: int) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
        assert client.post("/", content=b"x" * 1_000_000).status_code == 413
    with connect(port, "127.0.0.1") as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n")
        assert b" 431 " in connection.recv(4096).split(b"\r\n")[0]


def fill(engine: Engine) -> None:
    """Write a year's work: of each artefact the last 2000 wait, and a tenth of the radiographs was declined."""
    first = select(literal(1).label("n")).cte("numbers", recursive=True)
    numbers = first.union_all(select(first.c.n + 1).where(first.c.n < RADIOGRAPHS))
    n, text = numbers.c.n, cast(numbers.c.n, String)
    at = now().timestamp()
    ended_at = type_coerce(at - (RADIOGRAPHS - n) * INTERVAL_S, Float)

    def tenth(then: str, otherwise: str) -> ColumnElement[str]:
        return case((n % 10 == 0, then), else_=otherwise)

    job = {"attempts": 1, "not_before": at, "reason": "reason", "created_at": ended_at, "finished_at": ended_at}
    analysed = job | {"state": tenth("not_analysed", "done"), "code": tenth("out_of_scope", "")}
    study = literal("1.3.") + text
    sent = job | {"state": tenth("dropped", "done"), "code": tenth("superseded", "delivered_otherwise")}
    result_of = {"result_id": n, "study_instance_uid": study, "kind": "sc", "digest": text, "identifier": text}
    record = result(source(), finding(), finding(0.1)).to_json()
    tables: list[tuple[Table, dict[str, Any]]] = [
        (
            instances,
            {
                "id": n,
                "sop_instance_uid": literal("1.2.") + text,
                "sop_class_uid": "1",
                "transfer_syntax_uid": "1",
                "digest": text,
                "size_bytes": 1,
                "calling_ae_title": "ROOM1",
                "receipt": n,
                "received_at": ended_at,
            },
        ),
        (analyses, {"id": n, "instance_id": n} | analysed),
        (studies, {"id": n, "study_instance_uid": study} | analysed),
        (
            results,
            {"id": n, "analysis_id": n, "sop_instance_uid": text, "study_instance_uid": study, "record": record}
            | {"created_at": ended_at, "answer": tenth("not_analysed", "negative")},
        ),
        *((deliveries, result_of | sent | {"destination": name}) for name in ("pacs", "ris", "fhir")),
    ]
    with engine.begin() as c:
        for table, columns in tables:
            values = [v if isinstance(v, ColumnElement) else literal(v) for v in columns.values()]
            c.execute(insert(table).from_select(list(columns), select(*values)))
        newest = update(deliveries).where(deliveries.c.result_id > RADIOGRAPHS - WAITING)
        c.execute(newest.values(state="queued", code="", finished_at=None))


def test_page_of_a_hundred_thousand_radiographs_is_cheap(config: Configuration, engine: Engine) -> None:
    fill(engine)
    client = create_app(readers(engine), config, "no pack", "1").test_client()
    for path in PATHS + PAGES:
        client.get(path)  # templates are compiled once
        began = time.process_time()
        answer = client.get(path)
        assert time.process_time() - began < MOST_PROCESSOR_S, path
        assert answer.status_code in (200, 503)
    csrf = csrf_of(client.get("/").text)
    for number in ("1.2.77", "1.3.77", "99000", "an accession number"):
        began = time.process_time()
        answer = client.post("/radiographs", data={"number": number, "csrf": csrf})
        assert time.process_time() - began < MOST_PROCESSOR_S, number
        assert answer.status_code == (404 if " " in number else 303), number
    metrics = client.get("/metrics").text
    assert f'osteon_deliveries{{destination="ris",state="queued"}} {WAITING}.0' in metrics
    counted = re.search(r'osteon_radiographs\{state="done"\} (\d+)', metrics)
    assert counted and abs(int(counted[1]) - 0.9 * 86400 / INTERVAL_S) < 3
