"""The page, /health and /metrics over a real database: they show every problem and no identity."""

import contextlib
import socket
import sys
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, delete, update

from appliance.clock import local_minute, now, read_clocks
from appliance.config import Configuration, DicomDestination
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.finding import Finding
from appliance.domain.job import Event
from appliance.domain.notice import Notice, Subject
from appliance.domain.reason import ReasonCode
from appliance.domain.received import Received
from appliance.domain.result import Result
from appliance.domain.roles import ROLES
from appliance.errors import Fault, Transient
from appliance.gpu import GpuFigures, write_figures
from appliance.service.roles.start import start_role
from appliance.status.app import create_app
from appliance.storage.database import open_database, readers, unopened_database
from appliance.storage.destinations import DestinationState, record_failure
from appliance.storage.gate import Gate
from appliance.storage.heartbeats import STEADY, heartbeats, record_heartbeat, record_start, record_stop
from appliance.storage.instances import keep_instance
from appliance.storage.notices import Notebook
from appliance.storage.outgoing import Outgoing
from appliance.storage.queue import Queue
from appliance.storage.results import record_result
from appliance.storage.tables import analyses, deliveries, notices, roles
from engines.pack import ClassifierSpec, LocaliserSpec, Pack
from tests.support.people import anna
from tests.support.results import finding, result
from tests.support.sources import source

PACK = Pack(
    folder=Path(),
    name="phantom",
    version="1",
    kind="synthetic",
    description="drawn",
    preprocessing="x",
    digest="ab" * 32,
    localiser=LocaliserSpec(file=Path("l"), sites=("wrist",), score_threshold=0.5),
    classifiers={
        "wrist": ClassifierSpec(
            site="wrist",
            file=Path("w"),
            scale=1,
            offset=0,
            doubt=0.2,
            positive=0.6,
            finds=True,
            clears=True,
            performance={},
        )
    },
    data={},
)
PATIENT = "Doe^Jane"


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    pacs = DicomDestination(kind="dicom", name="pacs", host="127.0.0.1", port=1, called_ae_title="PACS")
    return Configuration(state_dir=tmp_path, destinations=(pacs,))


@pytest.fixture
def client(engine: Engine, config: Configuration) -> FlaskClient:
    return create_app(readers(engine), config, PACK, "1.2.3").test_client()


def all_roles_beat(engine: Engine) -> None:
    for role in ROLES:
        record_heartbeat(engine, role, now(), f"{role} works")


def received(sop_instance_uid: str) -> Received:
    return Received(
        sop_instance_uid=sop_instance_uid,
        sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        digest="d" * 64,
        size_bytes=1,
        calling_ae_title="ROOM1",
    )


def record_refused_artefact(engine: Engine, *findings: Finding, sop_instance_uid: str = "1.2.826.0.1.99") -> None:
    """Record an analysed radiograph with an artefact that the PACS refuses, quoting the patient's name."""
    keep_instance(engine, received(sop_instance_uid))
    queue = Queue(engine, analyses, "me")
    (lease,) = queue.lease()
    sc = Outgoing(
        destination="pacs", kind=ArtefactKind.SECONDARY_CAPTURE, identifier="1.2.826.0.1.100", digest="e" * 64
    )
    with queue.ending(lease, Event.FINISH) as c:
        answer = result(source(), *findings)
        record_result(c, lease.job_id, answer, [sc])
    sending = Queue(engine, deliveries, "me")
    error = Transient(
        ReasonCode.STORE_TRANSIENT, f"the peer says: {PATIENT} 1.2.826.0.1.100.7.8 is unknown <script>alert(1)</script>"
    )
    sending.failed(sending.lease()[0], error)


def test_live_endpoint_answers_while_the_page_is_served(client: FlaskClient) -> None:
    assert client.get("/health/live").status_code == 200


def test_ready_endpoint_needs_the_heartbeat_of_every_role(client: FlaskClient, engine: Engine) -> None:
    assert client.get("/health/ready").status_code == 503
    all_roles_beat(engine)
    answer = client.get("/health/ready")
    assert answer.status_code == 200, answer.json
    with engine.begin() as c:
        c.execute(update(roles).where(roles.c.role == "analyse").values(uptime_s=roles.c.uptime_s - 60))
    answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json is not None
    (wrong,) = [c for c in answer.json["conditions"] if not c["ok"]]
    assert wrong["name"] == "role.analyse"
    assert "systemctl status osteon-analyse" in wrong["sentence"]


def test_role_that_fails_at_its_start_is_shown_with_reason_and_count(
    client: FlaskClient, engine: Engine, config: Configuration
) -> None:
    all_roles_beat(engine)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        receive = config.receive.model_copy(update={"port": taken.getsockname()[1]})
        for _ in range(2):
            with pytest.raises(Fault):
                start_role("receive", config.model_copy(update={"receive": receive}))
    answer = client.get("/health/ready").text
    assert (
        "Role receive fails and starts again, 3 times so far (`journalctl -u osteon-receive`): cannot listen on"
        in answer
    )
    record_heartbeat(engine, "receive", now(), "works")
    assert "running again, after 3 starts in a row: cannot listen on" in client.get("/health/ready").text
    record_heartbeat(engine, "receive", now() - STEADY, "works")
    assert "Role receive is running" in client.get("/health/ready").text, "it has worked for long"
    record_start(engine, "receive")
    with engine.connect() as c:
        assert heartbeats(c)["receive"].starts == 1


def test_error_of_any_kind_at_the_start_is_shown_without_its_words(
    client: FlaskClient, engine: Engine, config: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "appliance.service.roles.receive", None)
    with pytest.raises(ImportError):
        start_role("receive", config)
    assert (
        "so far (`journalctl -u osteon-receive`): ModuleNotFoundError: see its log" in client.get("/health/ready").text
    )
    with engine.begin() as c:
        c.execute(update(roles).values(uptime_s=roles.c.uptime_s - 61))
    assert "did not start again: `systemctl start osteon-receive`" in client.get("/health/ready").text


def test_strict_readiness_needs_every_condition(client: FlaskClient, engine: Engine) -> None:
    all_roles_beat(engine)
    record_refused_artefact(engine)
    with engine.begin() as c:
        record_failure(c, DestinationState(destination="pacs"), Transient(ReasonCode.STORE_TRANSIENT, "refused"), now())
    assert client.get("/health/ready").status_code == 200
    assert client.get("/health/ready?strict").status_code == 503


def test_box_that_shares_the_database_sees_its_own_roles(
    client: FlaskClient, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    for box in ("box1", "box2"):
        monkeypatch.setattr("socket.gethostname", lambda box=box: box)
        all_roles_beat(engine)
        with engine.begin() as c:
            c.execute(update(roles).where(roles.c.host == "box1").values(boot_id="the boot of box1"))
    assert client.get("/health/ready").status_code == 200, "box2, although box1 has another boot"
    record_stop(engine, "deliver")
    assert "Role deliver is stopped" in client.get("/health/ready").text
    monkeypatch.setattr("socket.gethostname", lambda: "box1")
    with engine.begin() as c:
        c.execute(update(roles).where(roles.c.host == "box1").values(boot_id=read_clocks().boot_id))
        c.execute(update(roles).where(roles.c.host == "box2").values(boot_id="the boot of box2"))
    assert client.get("/health/ready").status_code == 200, "a role of box2 was stopped"
    monkeypatch.setattr("socket.gethostname", lambda: "box3")
    assert client.get("/health/ready").status_code == 503


def test_low_disk_is_not_ready(engine: Engine, config: Configuration) -> None:
    all_roles_beat(engine)
    reserve = config.receive.model_copy(update={"reserve_mb": 10**9})
    low = config.model_copy(update={"receive": reserve})
    answer = create_app(readers(engine), low, PACK, "1").test_client().get("/health/ready")
    assert answer.status_code == 503
    assert b"radiographs are refused until there is room" in answer.data


@pytest.mark.proves("SEC-5")
def test_page_metrics_and_health_show_no_identity(client: FlaskClient, engine: Engine) -> None:
    all_roles_beat(engine)
    record_refused_artefact(engine)
    page = client.get("/")
    text = page.data.decode()
    for expected in (
        "ROOM1",
        "fracture suspected",
        "wrist",
        "pacs 0/1",
        "store_transient",
        "SYNTHETIC",
        "not for diagnosis",
    ):
        assert expected in text, expected
    metrics = client.get("/metrics").data.decode()
    for told in (text, metrics, client.get("/health/ready").data.decode()):
        for secret in ("Doe", "Jane", "1.2.826.0.1.9", "1.2.826.0.1.1", "<script>"):
            assert secret not in told
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert 'osteon_radiographs{state="done"} 1.0' in metrics
    assert 'osteon_deliveries{destination="pacs",state="queued"} 1.0' in metrics
    assert 'osteon_answers_total{answer="positive",site="wrist"} 1.0' in metrics
    assert 'osteon_role_up{role="analyse"} 1.0' in metrics


def test_probability_on_the_page_is_written_as_on_the_pictures(client: FlaskClient, engine: Engine) -> None:
    record_refused_artefact(engine, finding(0.999), finding(0.444), finding(0.001))
    page = client.get("/").text
    for said in ("&gt;99%", "44%", "&lt;1%"):
        assert f"left wrist <b>{said}</b>" in page
    assert "20% / 60%" in client.get("/pack").text, "the operating points, to be compared with them"


def test_deliveries_to_a_renamed_destination_are_reported(engine: Engine, config: Configuration) -> None:
    record_refused_artefact(engine)
    renamed = config.model_copy(update={"destinations": ()})
    text = create_app(readers(engine), renamed, PACK, "1").test_client().get("/conditions").text
    assert "pacs: 1 artefact waiting for a destination that is no longer configured" in text
    assert "Next: <code>osteon queue reroute --from pacs --to OTHER, or osteon queue drop --to pacs" in text


def test_metrics_count_each_result_once(client: FlaskClient, engine: Engine) -> None:
    record_refused_artefact(engine)
    client.get("/metrics")
    assert "osteon_answers_total" in client.get("/metrics").data.decode()
    assert 'osteon_answers_total{answer="positive",site="wrist"} 1.0' in client.get("/metrics").data.decode()


def test_metrics_count_the_answers_since_the_role_began(
    client: FlaskClient, engine: Engine, config: Configuration
) -> None:
    record_refused_artefact(engine)
    later = create_app(readers(engine), config, PACK, "1").test_client()
    assert "osteon_answers_total{" in client.get("/metrics").text
    assert "osteon_answers_total{" not in later.get("/metrics").text


def test_metrics_of_a_role_that_began_without_its_database_read_no_old_result(config: Configuration) -> None:
    unread = unopened_database(config.database)
    client = create_app(readers(unread), config, PACK, "1").test_client()
    assert "osteon_answers" not in client.get("/metrics").text
    engine = open_database(config.database)
    try:
        record_refused_artefact(engine)
        assert "osteon_answers_total{" not in client.get("/metrics").text, "it came before the first scrape"
        record_refused_artefact(engine, sop_instance_uid="1.2.826.0.1.98")
        assert 'osteon_answers_total{answer="positive",site="wrist"} 1.0' in client.get("/metrics").text
    finally:
        engine.dispose()
        unread.dispose()


def test_jobs_that_ended_are_counted_for_a_day(client: FlaskClient, engine: Engine) -> None:
    record_refused_artefact(engine)
    assert 'osteon_radiographs{state="done"} 1.0' in client.get("/metrics").text
    with engine.begin() as c:
        c.execute(update(analyses).values(finished_at=now() - timedelta(days=1, seconds=1)))
    metrics = client.get("/metrics").text
    assert "osteon_radiographs{" not in metrics
    assert 'osteon_deliveries{destination="pacs",state="queued"} 1.0' in metrics


def test_scrapes_at_the_same_time_count_each_result_once(
    engine: Engine, config: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = create_app(readers(engine), config, PACK, "1")
    record_refused_artefact(engine)
    slow = Result.from_json
    inside = threading.Barrier(2)

    def from_json(text: str) -> Result:
        with contextlib.suppress(threading.BrokenBarrierError):
            inside.wait(1)  # only if both are here at once
        return slow(text)

    monkeypatch.setattr(Result, "from_json", from_json)
    scrapes = [threading.Thread(target=client.test_client().get, args=["/metrics"]) for _ in range(2)]
    for scrape in scrapes:
        scrape.start()
    for scrape in scrapes:
        scrape.join()
    assert 'osteon_answers_total{answer="positive",site="wrist"} 1.0' in client.test_client().get("/metrics").text


def test_metrics_count_intake_by_reason_and_never_go_down(client: FlaskClient, engine: Engine) -> None:
    for number, code in enumerate((ReasonCode.UNCHANGED, ReasonCode.OUT_OF_SCOPE, ReasonCode.OUT_OF_SCOPE)):
        keep_instance(engine, received(f"1.2.{number}"))
        queue = Queue(engine, analyses, "me")
        with queue.ending(queue.lease()[0], Event.DECLINE, code, "said so"):
            pass
    notebook = Notebook()
    away = Notice(
        subject=Subject.ASSOCIATION,
        code=ReasonCode.CALLED_AE_TITLE,
        reason="it called 'X'",
        calling_ae_title="ROOM1",
        called_ae_title="X",
        address="192.0.2.7",
    )
    for notice in (away, away, replace(away, calling_ae_title="ROOM2")):
        notebook.note(notice)
    notebook.note(replace(away, subject=Subject.STRANGER, code=ReasonCode.ADDRESS_NOT_LISTED, calling_ae_title=""))
    notebook.note(replace(away, subject=Subject.INSTANCE, code=ReasonCode.NOT_A_RADIOGRAPH))
    notebook.write(engine)
    client.get("/metrics")
    metrics = client.get("/metrics").text
    for line in (
        "osteon_unchanged 1.0",
        'osteon_not_analysed{code="out_of_scope"} 2.0',
        'osteon_turned_away_total{code="called_ae_title",who="association"} 3.0',
        'osteon_turned_away_total{code="address_not_listed",who="stranger"} 1.0',
        'osteon_not_kept_total{code="not_a_radiograph"} 1.0',
    ):
        assert f"\n{line}\n" in metrics, line
    assert 'osteon_not_analysed{code="unchanged"}' not in metrics
    with engine.begin() as c:
        c.execute(delete(notices))  # as the oldest make room
    assert 'osteon_turned_away_total{code="called_ae_title",who="association"} 3.0' in client.get("/metrics").text


def test_page_of_an_empty_appliance_says_the_next_step(client: FlaskClient) -> None:
    text = client.get("/").data.decode()
    assert "Osteon is not working." in text
    assert "Send CR and DX images to this appliance." in text


def test_page_without_a_usable_pack_says_the_reason(engine: Engine, config: Configuration) -> None:
    text = create_app(readers(engine), config, "localiser.onnx was altered", "1").test_client().get("/").data.decode()
    assert "The pack cannot be used: localiser.onnx was altered" in text


def test_page_shows_proof_missing_commitment_result_and_other_form(client: FlaskClient, engine: Engine) -> None:
    record_refused_artefact(engine)
    peer_has = {"state": "done", "finished_at": now(), "stored_at": now()}
    for code, words in (("already_there", "1/1, probably"), ("delivered", "1/1")):
        with engine.begin() as c:
            c.execute(update(deliveries).values(code=code, reason="", **peer_has))
        assert words in client.get("/").text
    with engine.begin() as c:
        c.execute(
            update(deliveries).values(state="queued", code="delivered", reason="stored (0x0000)", stored_at=now())
        )
    assert "stored (0x0000)" not in client.get("/").text, "what waits for its proof is no error"
    for age, is_said in ((1, False), (11, True)):
        with engine.begin() as c:
            stored_at = now() - timedelta(minutes=age)
            c.execute(update(deliveries).values(stored_at=stored_at, unanswered_at=now()))
        words = f"stored (0x0000); no commitment result since {local_minute(stored_at)}"
        page = client.get("/").text
        assert (words in page, "no_commitment_result" in page) == (is_said, is_said)
    at = now()
    with engine.begin() as c:
        c.execute(update(deliveries).values(state="done"))
        reason = "stored (0x0000); as Comprehensive SR Storage, since it takes no Comprehensive 3D SR Storage"
        c.execute(update(deliveries).values(code="delivered_otherwise", reason=reason, proven_at=at))
    assert f"1/1, confirmed at {at.astimezone():%H:%M}" in client.get("/").text
    assert reason in client.get("/destinations/pacs").text


def test_artefact_replaced_by_another_is_not_shown_as_missing(client: FlaskClient, engine: Engine) -> None:
    record_refused_artefact(engine)
    with engine.begin() as c:
        ended = {"state": "dropped", "code": "not_taken", "finished_at": now()}
        c.execute(update(deliveries).values(**ended, reason="pacs takes no SR: the pictures"))
    assert "pacs takes no SR" in client.get("/destinations/pacs").text
    assert "0/1" not in client.get("/").text


def test_page_shows_a_hold(client: FlaskClient, engine: Engine) -> None:
    all_roles_beat(engine)
    Gate(engine).shut("*", anna("phase shadow"))
    assert "Nothing leaves for any destination" in client.get("/").text
    for page in ("/", "/conditions"):
        assert "phase shadow" in client.get(page).text
    for probe in ("/health/ready", "/metrics"):
        assert "phase shadow" not in client.get(probe).text, "it needs no sign-in"
    Gate(engine).open("*", anna())
    assert "Nothing leaves" not in client.get("/").text


def test_gpu_figures_are_shown_while_they_are_fresh(client: FlaskClient, config: Configuration) -> None:
    clocks = read_clocks()
    assert "osteon_gpu" not in client.get("/metrics").text
    write_figures(config.state_dir, GpuFigures(temperature_c=92, utilisation=0.12, throttled="heat"), read_clocks())
    metrics = client.get("/metrics").text
    assert "osteon_gpu_temperature_celsius 92.0" in metrics
    assert "osteon_gpu_utilisation_ratio 0.12" in metrics
    assert "osteon_gpu_throttled 1.0" in metrics
    assert "osteon_gpu_ecc_errors" not in metrics  # a figure that the card does not report is not shown as zero
    assert "The GPU is slowed down by heat (92 °C)" in client.get("/conditions").text
    write_figures(config.state_dir, GpuFigures(temperature_c=92), replace(clocks, uptime_s=clocks.uptime_s - 60))
    assert "osteon_gpu" not in client.get("/metrics").text
