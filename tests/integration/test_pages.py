"""The pages over a real database: figures, a destination, and the look-up of a radiograph without identity in URLs."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, select, update

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.finding import Answer
from appliance.domain.job import Event
from appliance.domain.radiologist_report import RadiologistReport
from appliance.domain.reason import ReasonCode
from appliance.status import figures as figures_of
from appliance.status.app import create_app
from appliance.storage.database import readers, unopened_database
from appliance.storage.figures import passages
from appliance.storage.instances import keep_instance
from appliance.storage.queue import Queue
from appliance.storage.radiologist_reports import keep_report
from appliance.storage.tables import analyses, deliveries, instances, studies
from tests.integration.test_status import PACK, PATIENT, received, record_refused_artefact
from tests.support.forms import look_up

RADIOGRAPH, ARTEFACT, ACCESSION = "1.2.826.0.1.99", "1.2.826.0.1.100", "ACC-77"


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    pacs = {"kind": "dicom", "name": "pacs", "host": "192.0.2.1", "port": 104, "called_ae_title": "PACS"}
    fhir = {"kind": "fhir", "name": "a fhir+1", "base_url": "https://h.example/r4", "bearer": "s3cret"}
    return Configuration.model_validate({"state_dir": tmp_path, "destinations": [pacs, fhir]})


@pytest.fixture
def client(engine: Engine, config: Configuration) -> FlaskClient:
    return create_app(readers(engine), config, PACK, "1.2.3").test_client()


def study_uid(engine: Engine) -> str:
    with engine.connect() as c:
        return str(c.execute(select(studies.c.study_instance_uid)).scalar_one())


def report(engine: Engine) -> RadiologistReport:
    return RadiologistReport(
        sending_application="RIS",
        sending_facility="",
        control_id="1",
        accession_number=ACCESSION,
        study_instance_uid=study_uid(engine),
        result_status="F",
    )


@pytest.mark.parametrize("number", [ARTEFACT, ACCESSION, "study:1", "delivery:1", "THE STUDY", f" {ARTEFACT} "])
def test_look_up_by_each_number_leads_to_the_study(client: FlaskClient, engine: Engine, number: str) -> None:
    record_refused_artefact(engine)
    keep_report(engine, report(engine), "d" * 64)
    found = look_up(client, study_uid(engine) if number == "THE STUDY" else number)
    assert (found.status_code, found.location) == (303, "/studies/1"), "no number of the form enters an address"
    page = client.get(found.location).text
    steps = [
        "Radiograph received from ROOM1",
        "Answered: fracture suspected; left wrist 87%",
        "Report of a radiologist received",
        "Study settles",
        "sc waits for pacs",
    ]
    at = [page.index(step) for step in steps]
    assert at == sorted(at)
    for secret in (*PATIENT.split("^"), RADIOGRAPH, ARTEFACT, ACCESSION, study_uid(engine)):
        assert secret not in page


def test_look_up_by_the_uid_of_a_radiograph_shows_its_steps(client: FlaskClient, engine: Engine) -> None:
    keep_instance(engine, received(RADIOGRAPH))
    queue = Queue(engine, analyses, "me")
    with queue.ending(queue.lease()[0], Event.DECLINE, ReasonCode.OUT_OF_SCOPE, "a chest"):
        pass
    found = look_up(client, RADIOGRAPH)
    assert (found.status_code, found.location) == (303, "/radiographs/1")
    page = client.get(found.location).text
    assert "Not analysed" in page and "a chest" in page and "out_of_scope" in page


def test_steps_tell_when_a_peer_stored_and_confirmed(client: FlaskClient, engine: Engine) -> None:
    record_refused_artefact(engine)
    with engine.begin() as c:
        at = c.execute(select(instances.c.received_at)).scalar_one()
        times = {"stored_at": at + timedelta(seconds=8), "proven_at": at + timedelta(minutes=5)}
        c.execute(update(deliveries).values(state="done", code="delivered", finished_at=times["proven_at"], **times))
    page = client.get("/studies/1").text
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    (stored,) = [row for row in rows if "sc stored by pacs" in row]
    (confirmed,) = [row for row in rows if "sc confirmed by pacs" in row]
    assert "8 s" in stored and "5 min" in confirmed and "done" in confirmed


def test_look_up_of_an_unknown_number_says_where_to_look(client: FlaskClient) -> None:
    for number in ("1.2.3", "", "delivery:5", "analysis:99999999999999999"):
        found = look_up(client, number)
        assert found.status_code == 404
        assert "The radiograph has not arrived" in found.text


def test_pages_of_unknown_rows_are_not_found(client: FlaskClient) -> None:
    for address in ("/radiographs/7", "/studies/7", "/destinations/nowhere", f"/studies/{10**30}"):
        assert client.get(address).status_code == 404, address


def test_page_of_a_destination_shows_reasons_and_settings_without_secrets(client: FlaskClient, engine: Engine) -> None:
    record_refused_artefact(engine)
    page = client.get("/destinations/pacs").text
    for expected in ("192.0.2.1", "called_ae_title", "store_transient", "delivery:1", "[name]"):
        assert expected in page, expected
    assert "Doe" not in page
    overview = client.get("/").text
    (address,) = re.findall(r'href="(/destinations/a[^"]*)"', overview)
    fhir = client.get(address)
    assert fhir.status_code == 200 and "https://h.example/r4" in fhir.text and "s3cret" not in fhir.text


def test_every_page_stays_while_the_database_cannot_be_read(config: Configuration, tmp_path: Path) -> None:
    (tmp_path / "osteon.db").write_bytes(b"no database" * 100)
    engine = readers(unopened_database(config.database))
    client = create_app(engine, config, PACK, "1").test_client()
    for path in ("/", "/radiographs", "/conditions", "/turned-away", "/pack", "/destinations/pacs"):
        page = client.get(path)
        assert page.status_code == 200 and "Osteon is not working." in page.text, path
    for path in ("/radiographs/1", "/studies/1"):
        assert client.get(path).status_code == 503
    assert look_up(client, "1.2.3").status_code == 503
    engine.dispose()


def test_passages_of_a_span_have_answer_and_time_of_delivery(engine: Engine) -> None:
    record_refused_artefact(engine)
    at = now()
    later = at + timedelta(seconds=1)
    with engine.connect() as c:
        (waits,) = passages(c, at - timedelta(hours=1), later)
        assert (waits.answer, waits.delivered_at) == (Answer.POSITIVE, {})
        assert passages(c, at - timedelta(hours=1), at - timedelta(minutes=59)) == []
    with engine.begin() as c:
        c.execute(update(deliveries).values(state="done", finished_at=at, stored_at=at - timedelta(seconds=1)))
    with engine.connect() as c:
        (there,) = passages(c, at - timedelta(hours=1), later)
    assert abs(there.delivered_at["pacs"] - (at - timedelta(seconds=1))) < timedelta(milliseconds=1)
    with engine.begin() as c:
        c.execute(update(analyses).values(state="not_analysed", code="unchanged"))
    with engine.connect() as c:
        assert passages(c, at - timedelta(hours=1), later) == [], "it came before, and is counted there"


def test_figures_are_read_again_after_a_moment(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = figures_of.FigureReader(engine, "pacs")
    assert reader.read(now()).lines[0].today == "0"
    record_refused_artefact(engine)
    assert reader.read(now()).lines[0].today == "0"
    monkeypatch.setattr(reader._figures, "_kept_s", 0.0)
    assert reader.read(now()).lines[0].today == "1"
    assert reader.read(now()).lines[0].week == "1", "counted once, although two spans meet"


def test_figures_lose_nothing_when_an_hour_ends_and_count_nothing_of_the_future(engine: Engine) -> None:
    hour = now().replace(minute=0, second=0, microsecond=0)
    record_refused_artefact(engine)
    reader = figures_of.FigureReader(engine, "pacs")
    for received_at, week in ((hour - timedelta(hours=23, minutes=30), "1"), (hour + timedelta(days=400), "0")):
        with engine.begin() as c:
            c.execute(update(instances).values(received_at=received_at))
        reader = figures_of.FigureReader(engine, "pacs")
        reader._figures._kept_s = 0.0
        for at in (hour - timedelta(seconds=1), hour + timedelta(seconds=1)):
            assert reader.read(at).lines[0].week == week, at
