"""Metrics over a real database, and the alert rules and the dashboard that name them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, func, select, update

from appliance.clock import now, read_clocks
from appliance.config import Configuration, DicomDestination
from appliance.config.receive import Tls
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.job import Event, Lease
from appliance.domain.reason import ReasonCode
from appliance.domain.received import Received
from appliance.domain.roles import ROLES
from appliance.errors import Transient
from appliance.gpu import GpuFigures, write_figures
from appliance.service.pipeline_assembly import pack_of
from appliance.status.app import create_app
from appliance.storage.database import readers
from appliance.storage.gate import Gate
from appliance.storage.heartbeats import record_heartbeat
from appliance.storage.instances import AnalysisQueue, keep_instance
from appliance.storage.outbox import Outbox
from appliance.storage.outgoing import Outgoing
from appliance.storage.results import record_result
from appliance.storage.tables import analyses, deliveries, failed_attempts, instances, roles
from appliance.storage.trials import TrialQueue, TrialStore
from tests.support.certificates import Authority
from tests.support.people import anna
from tests.support.results import finding, result
from tests.support.sources import source

PACKAGING = Path(__file__).parents[2] / "packaging"


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    pair = Authority(tmp_path).issue("osteon")
    return Configuration.model_validate(
        {
            "state_dir": tmp_path,
            "analyse": {"pack": "phantom"},
            "receive": {"tls": Tls(certificate=pair.certificate, key=pair.key)},
            "destinations": (
                DicomDestination(kind="dicom", name="pacs", host="127.0.0.1", port=1, called_ae_title="PACS"),
            ),
        }
    )


@pytest.fixture
def client(engine: Engine, config: Configuration) -> FlaskClient:
    """The application after a radiograph was answered and its artefact was refused once, then taken."""
    for role in ROLES:
        record_heartbeat(engine, role, now(), "works")
    client = create_app(readers(engine), config, pack_of(config), "1.2.3").test_client()
    keep_instance(
        engine,
        Received(
            sop_instance_uid="1.2.3",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.1",
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            digest="d" * 64,
            size_bytes=1,
            calling_ae_title="ROOM1",
        ),
    )
    queue = AnalysisQueue(engine, "me", most_attempts=3)
    queue.failed(queue.lease()[0], Transient(ReasonCode.STORE_TRANSIENT, "tried again"))
    (lease,) = _due_again(engine, queue)
    sent = Outgoing(destination="pacs", kind=ArtefactKind.SECONDARY_CAPTURE, identifier="1.2.4", digest="e" * 64)
    timed = replace(result(source(), finding(0.9)), timings_ms=(("classify", 40.0), ("localise", 2000.0)))
    with queue.ending(lease, Event.FINISH) as c:
        record_result(c, lease.job_id, timed, [sent])
    outbox = Outbox(engine, "pacs", "me")
    for _ in range(2):
        (leased,) = outbox.lease_due(1).values()
        outbox.back_off(leased, Transient(ReasonCode.STORE_TRANSIENT, "busy"))
        with engine.begin() as c:
            c.execute(update(deliveries).values(not_before=now()))
    write_figures(config.state_dir, GpuFigures(temperature_c=60, utilisation=0.5, ecc_errors=0), read_clocks())
    return client


def _due_again(engine: Engine, queue: AnalysisQueue) -> list[Lease]:
    with engine.begin() as c:
        c.execute(update(analyses).values(not_before=now()))
    return queue.lease()


def value(metrics: str, series: str) -> float:
    """Return the value of a series; fail if the page has none."""
    (found,) = re.findall(rf"^{re.escape(series)} (\S+)$", metrics, re.MULTILINE)
    return float(found)


def test_metrics_tell_build_times_failures_and_stages(
    client: FlaskClient, engine: Engine, config: Configuration
) -> None:
    metrics = client.get("/metrics").text
    pack = pack_of(config)
    build = f'osteon_build_info{{digest="{pack.digest}",pack="phantom",pack_version="{pack.version}",version="1.2.3"}}'
    assert value(metrics, build) == 1
    with engine.connect() as c:
        received_at = c.execute(select(func.max(instances.c.received_at))).scalar_one()
    assert value(metrics, "osteon_last_received_timestamp_seconds") == received_at.timestamp()
    assert "osteon_last_success_timestamp_seconds{" not in metrics
    ended = now() - timedelta(days=40)
    with engine.begin() as c:
        c.execute(update(deliveries).values(state="done", finished_at=ended))
    taken = value(client.get("/metrics").text, 'osteon_last_success_timestamp_seconds{destination="pacs"}')
    assert taken == ended.timestamp(), "however long ago"
    assert value(metrics, 'osteon_failed_attempts_total{code="store_transient",queue="pacs"}') == 2
    assert value(metrics, 'osteon_failed_attempts_total{code="store_transient",queue="analyses"}') == 1
    days = (value(metrics, 'osteon_certificate_not_after_timestamp_seconds{key="receive.tls.certificate"}') / 86400) - (
        now().timestamp() / 86400
    )
    assert 89 < days < 90
    for bound, number in (("0.025", 0), ("0.05", 1), ("+Inf", 1)):
        assert value(metrics, f'osteon_stage_seconds_bucket{{le="{bound}",stage="classify"}}') == number
    assert value(metrics, 'osteon_stage_seconds_sum{stage="localise"}') == 2
    assert value(metrics, "process_resident_memory_bytes") > 1e6
    assert "python_info{" in metrics


def test_condition_that_is_not_met_is_one_and_those_that_follow_from_it_are_not(
    client: FlaskClient, engine: Engine
) -> None:
    Gate(engine).shut("*", anna("moved"))
    with engine.begin() as c:
        c.execute(update(roles).where(roles.c.role == "deliver").values(uptime_s=roles.c.uptime_s - 60))
        c.execute(update(deliveries).values(created_at=now() - timedelta(hours=3)))
    metrics = client.get("/metrics").text
    assert value(metrics, 'osteon_condition{name="gate.*",severity="warning"}') == 1
    assert value(metrics, 'osteon_condition{name="role.deliver",severity="error"}') == 1
    assert value(metrics, 'osteon_condition{name="role.receive",severity="error"}') == 0
    assert value(metrics, 'osteon_condition{name="destination.pacs",severity="warning"}') == 0, "it is held"


def test_trial_that_fails_is_no_failed_attempt(engine: Engine, tmp_path: Path) -> None:
    store = TrialStore(engine, tmp_path / "trials")
    store.add("one", store.files.put(b"a radiograph"))
    queue = TrialQueue(engine, "me")
    (lease,) = queue.lease()
    queue.failed(lease, Transient(ReasonCode.STORE_TRANSIENT, "busy"), for_good=True)
    with engine.connect() as c:
        assert c.execute(select(failed_attempts)).all() == []


def named_metrics(text: str) -> set[str]:
    """Return the metrics that expressions name."""
    return set(re.findall(r"\b((?:osteon|process)_[a-z_]+)\b", text))


def expressions(dashboard: object) -> Iterator[str]:
    """Yield the expressions of a dashboard, wherever they stand."""
    if isinstance(dashboard, dict):
        for key, inner in dashboard.items():
            if key in {"expr", "definition"}:
                yield inner
            yield from expressions(inner)
    elif isinstance(dashboard, list):
        for inner in dashboard:
            yield from expressions(inner)


def test_rules_and_dashboard_name_metrics_and_labels_that_exist(client: FlaskClient, engine: Engine) -> None:
    with engine.begin() as c:
        c.execute(update(deliveries).values(state="done", finished_at=now()))
    metrics = client.get("/metrics").text
    known = set(re.findall(r"^([a-z_]+)[{ ]", metrics, re.MULTILINE)) | set(
        re.findall(r"^# TYPE (\S+) ", metrics, re.MULTILINE)
    )
    rules = re.findall(r"^ +expr: (.*)$", (PACKAGING / "prometheus" / "osteon.rules.yml").read_text(), re.MULTILINE)
    panels = list(expressions(json.loads((PACKAGING / "grafana" / "osteon.json").read_text())))
    assert len(rules) == 7 and len(panels) > 15
    for expression in (*rules, *panels):
        missing = named_metrics(expression) - known
        assert not missing, f"{expression}: {missing}"
    labels = set(re.findall(r'[{,]([a-z_]+)="', metrics)) | {"instance", "job"}
    used = set(re.findall(r"[{,] ?([a-z_]+)=~?\"", " ".join((*rules, *panels))))
    assert used <= labels, used - labels
