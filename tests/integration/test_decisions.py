"""The link of a report: a signed-in person accepts or rejects the answer, and nothing is overwritten."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert, select, update

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.account import AccountRole
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.validation import Decision
from appliance.status.app import create_app
from appliance.storage import passwords
from appliance.storage.accounts import add_account
from appliance.storage.database import readers
from appliance.storage.decisions import MOST_BY_LINK, count_decisions
from appliance.storage.passwords import decoy, hash_password
from appliance.storage.spool import FileSpool
from appliance.storage.tables import decisions, deliveries, study_results
from tests.integration.test_status import PACK
from tests.support.forms import csrf_of
from tests.support.outbox import radiograph
from tests.support.people import anna
from tests.support.results import finding, result
from tests.support.validations import Hospital, set_phases

PASSWORD = "three words and more"
NUMBER = "0123456789abcdef0123"
LINK = f"/decide/{NUMBER}"


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    decoy.cache_clear()


@pytest.fixture
def client(tmp_path: Path, engine: Engine, spool: FileSpool) -> FlaskClient:
    """The page of a box with one report; its message has the number of the link."""
    set_phases(engine, Phase.LIVE, Site.WRIST)
    add_account(engine, "victor", AccountRole.VIEWER, hash_password(PASSWORD, "victor"), anna())
    hospital = Hospital(engine, spool)
    made = replace(result(radiograph(1), finding(0.1)), not_read=())
    hospital.analyse(1, made=made)
    hospital.report()
    with engine.begin() as c:
        c.execute(update(deliveries).where(deliveries.c.kind == ArtefactKind.ORU).values(identifier=NUMBER))
    config = Configuration.model_validate({"state_dir": tmp_path, "status": {"accounts": True}})
    app = create_app(readers(engine), config, PACK, "1", writer=engine, withdraw=print)
    return app.test_client()


def sign_in(client: FlaskClient, path: str) -> str:
    """Sign in at the page that `path` leads to; return the address that follows."""
    form = client.get(path, follow_redirects=True)
    data = {"name": "victor", "password": PASSWORD, "csrf": csrf_of(form.text)}
    if 'name="to"' in form.text:
        data["to"] = form.text.partition('name="to" value="')[2].partition('"')[0]
    return client.post("/sign-in", data=data).headers["location"]


def decide(client: FlaskClient, decision: str) -> int:
    data = {"csrf": csrf_of(client.get(LINK).text), "decision": decision}
    assert client.post(LINK, data=data).status_code == client.post(LINK, data=data | {"once": "2"}).status_code
    return client.post(LINK, data=data).status_code


def test_link_leads_over_the_sign_in_to_a_decision_that_is_recorded_once(client: FlaskClient, engine: Engine) -> None:
    assert client.get(LINK).headers["location"].startswith("/sign-in")
    assert sign_in(client, LINK) == LINK
    page = client.get(LINK).text
    assert "no fracture found" in page and str(radiograph(1).StudyInstanceUID) not in page
    assert (decide(client, "accept"), decide(client, "reject"), decide(client, "perhaps")) == (303, 303, 400)
    page = client.get(LINK).text
    assert page.index("Accepted on") < page.index("Rejected on")
    with engine.connect() as c:
        rows = c.execute(select(decisions.c.decision, decisions.c.person, decisions.c.source)).all()
        assert count_decisions(c) == {Decision.REJECT: 1}
    assert 'osteon_decisions{decision="reject"} 1.0' in client.get("/metrics").text
    assert [tuple(row) for row in rows] == [("accept", "victor", "link"), ("reject", "victor", "link")]


def test_decisions_of_a_person_about_a_report_have_a_limit(client: FlaskClient, engine: Engine) -> None:
    sign_in(client, LINK)
    changes = ["accept", "reject"] * (MOST_BY_LINK // 2)
    assert [decide(client, one) for one in changes] == [303] * MOST_BY_LINK
    assert (decide(client, "accept"), decide(client, "reject")) == (409, 303), "the last one stands"
    with engine.connect() as c:
        assert c.execute(select(decisions.c.decision)).scalars().all() == changes


def test_link_names_the_answer_as_it_was_told(client: FlaskClient, engine: Engine) -> None:
    sign_in(client, LINK)
    with engine.begin() as c:
        c.execute(update(study_results).values(phases=json.dumps([{Site.WRIST: Phase.SHADOW}])))
    assert "no fracture found" not in client.get(LINK).text


def test_newer_report_is_named(client: FlaskClient, engine: Engine) -> None:
    sign_in(client, LINK)
    assert "A newer report" not in client.get(LINK).text
    with engine.begin() as c:
        row = {"study_id": 1, "revision": 2, "result_ids": "[1]", "left_out": 0, "created_at": now()}
        c.execute(insert(study_results).values(**row))
    assert "A newer report followed, revision 2" in client.get(LINK).text


def test_unknown_number_and_other_message_are_refused(client: FlaskClient, engine: Engine) -> None:
    sign_in(client, LINK)
    assert client.get(f"/decide/{NUMBER[::-1]}").status_code == 404
    with engine.begin() as c:
        c.execute(update(deliveries).values(kind=ArtefactKind.SUMMARY))
    assert client.get(LINK).status_code == 404


@pytest.mark.parametrize("to", ["//evil.example/", "https://evil.example/decide/" + NUMBER, "/decide/../audit"])
def test_sign_in_leads_to_no_other_address(client: FlaskClient, to: str) -> None:
    form = client.get("/sign-in", query_string={"to": to})
    assert 'name="to"' not in form.text
    data = {"name": "victor", "password": PASSWORD, "csrf": csrf_of(form.text), "to": to}
    assert client.post("/sign-in", data=data).headers["location"] == "/"


def test_page_without_accounts_takes_no_decision(engine: Engine, tmp_path: Path) -> None:
    app = create_app(readers(engine), Configuration(state_dir=tmp_path), PACK, "1", writer=engine, withdraw=print)
    page = app.test_client().get(LINK, follow_redirects=True)
    assert page.request.path == "/sign-in" and "This page has no accounts" in page.text
