"""The rollout page over a real database: phases, gate criterion by criterion, and the report from the page."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.audit import AuditAction, Door
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.validation import Conclusion
from appliance.status.app import create_app
from appliance.storage.audit import all_entries
from appliance.storage.database import open_database, readers, unopened_database
from appliance.storage.drift import advance_drift
from appliance.storage.spool import FileSpool
from provisioning.operation.reports import verify_report
from tests.integration.test_site_figures import report
from tests.integration.test_status import PACK
from tests.support.forms import csrf_of
from tests.support.streams import record_sample, record_stream, set_phase
from tests.support.validated import PATIENT, fill_validation, sample

OPERATOR = {"X-Remote-User": "olga"}
VIEWER = {"X-Remote-User": "vera"}


@pytest.fixture
def config(tmp_path: Path) -> Configuration:
    """A page behind a proxy that names people."""
    proxy = {"addresses": ["127.0.0.1"], "header": "X-Remote-User", "operators": ["olga"]}
    return Configuration.model_validate({"state_dir": tmp_path, "status": {"proxy": proxy}})


@pytest.fixture
def client(engine: Engine, config: Configuration) -> FlaskClient:
    return pages_of(engine, config)


@pytest.fixture
def validated(validated_box: Path, tmp_path: Path, config: Configuration) -> Iterator[FlaskClient]:
    """The pages of a box whose validation has ended."""
    shutil.copytree(validated_box, tmp_path, dirs_exist_ok=True)
    engine = open_database(config.database)
    yield pages_of(engine, config)
    engine.dispose()


def pages_of(engine: Engine, config: Configuration) -> FlaskClient:
    app = create_app(readers(engine), config, PACK, "1.2.3", writer=engine, withdraw=lambda *_: None)
    return app.test_client()


def test_page_before_the_first_start_says_what_comes(client: FlaskClient) -> None:
    page = client.get("/rollout", headers=VIEWER)
    assert page.status_code == 200 and "No site has a phase yet" in page.text
    assert "osteon validate start" in page.text and "No radiograph was answered" in page.text


def test_page_shows_each_criterion_with_its_reason(validated: FlaskClient) -> None:
    page = validated.get("/rollout", headers=VIEWER).text
    for expected in (
        "253 of 253 drawn",
        "The lower bound has to lie above 95%",
        "190 of 200 right",
        "the pack does not let the engine of the site say",
        "ROC curve; area",
        "The largest difference of accuracy",
    ):
        assert expected in page, expected
    passed, failed = page.count(">passes</span>"), page.count(">fails</span>")
    assert (passed, failed) == (26, 1), "the pack has no engine for ankles"
    assert "may not go live" in page
    for secret in (PATIENT, "1.2.826.0.1", "data:image"):
        assert secret not in page


def test_page_says_why_a_sample_fails_the_gate(engine: Engine, client: FlaskClient, spool: FileSpool) -> None:
    fill_validation(engine, spool, sample(240, errors=14), is_ended=False)
    page = client.get("/rollout", headers=VIEWER).text
    assert "Open" in page and ", as it stands now" in page
    failing = re.findall(r">fails</span> <strong>(.*?)</strong>: (.*?)</li>", page)
    (accuracy,) = [sentence for need, sentence in failing if need == "accuracy"]
    assert "radiographs are answered right" in accuracy and "it takes" in accuracy
    assert 'class="measured short"' in page


def test_report_from_the_page_is_the_one_that_verify_knows(
    validated: FlaskClient, config: Configuration, tmp_path: Path
) -> None:
    form = validated.get("/rollout", headers=OPERATOR).text
    done = validated.post("/rollout/report", headers=OPERATOR, data={"csrf": csrf_of(form), "validation": "1"})
    assert done.status_code == 200
    assert done.headers["Content-Disposition"] == 'attachment; filename="validation-1.html"'
    (tmp_path / "report.html").write_bytes(done.data)
    entry = verify_report(config, tmp_path / "report.html")
    assert (entry.person, entry.door, entry.subject) == ("olga", Door.PROXY, "validation:1")


def test_report_is_for_operators(validated: FlaskClient, config: Configuration) -> None:
    form = validated.get("/rollout", headers=OPERATOR).text
    assert "Write the report" not in validated.get("/rollout", headers=VIEWER).text
    for headers, token in ((VIEWER, csrf_of(form)), (OPERATOR, "")):
        assert validated.post("/rollout/report", headers=headers, data={"csrf": token}).status_code == 403
    engine = open_database(config.database)
    with engine.connect() as c:
        assert AuditAction.WRITE_REPORT not in [entry.action for entry in all_entries(c)]
    engine.dispose()


@pytest.mark.parametrize(("number", "status"), [("7", 409), ("9" * 30, 200), ("", 200)])
def test_report_of_an_unknown_validation_says_so(validated: FlaskClient, number: str, status: int) -> None:
    form = validated.get("/rollout", headers=OPERATOR).text
    done = validated.post("/rollout/report", headers=OPERATOR, data={"csrf": csrf_of(form), "validation": number})
    assert done.status_code == status
    assert ("there is no validation 7" in done.text) is (status == 409), "without a number it is the newest"


def test_page_shows_the_newest_validation_of_each_site(engine: Engine, client: FlaskClient) -> None:
    record_sample(engine, record_stream(engine, 3, now(), site=Site.HAND), Site.HAND)
    for seed in (2, 3):
        record_sample(engine, record_stream(engine, 3, now(), seed=seed, site=Site.FOOT), Site.FOOT)
    page = client.get("/rollout", headers=VIEWER).text
    assert re.findall(r"Validation (\d): random sample of (\w+)", page) == [("3", "foot"), ("1", "hand")]
    assert "Sites of validation" not in page, "nothing was read yet"


def test_page_is_for_persons_where_all_others_are_open(validated_box: Path, tmp_path: Path) -> None:
    shutil.copytree(validated_box, tmp_path, dirs_exist_ok=True)
    config = Configuration.model_validate({"state_dir": tmp_path, "status": {"open": True, "accounts": True}})
    engine = open_database(config.database)
    client = pages_of(engine, config)
    assert client.get("/pack").status_code == 200
    refused = client.get("/rollout")
    assert refused.status_code == 403 and "after a sign-in" in refused.text
    engine.dispose()


def test_page_shows_phases_which_operators_set(validated: FlaskClient) -> None:
    shown = validated.get("/rollout", headers=VIEWER).text
    assert shown.count('<span class="phase validate">validate</span>') == 2
    assert "Set the phase" not in shown
    form = {"csrf": csrf_of(validated.get("/rollout", headers=OPERATOR).text), "reason": "the PACS moves"}
    done = validated.post("/actions/phase", headers=OPERATOR, data=form | {"site": "wrist", "phase": "shadow"})
    assert done.status_code == 303
    assert '<span class="phase shadow">shadow</span>' in validated.get("/rollout", headers=VIEWER).text


def test_page_shows_the_watch_of_live_sites(engine: Engine, client: FlaskClient) -> None:
    at = now()
    set_phase(engine, Site.WRIST, Phase.LIVE, at - timedelta(days=3))
    record_sample(engine, record_stream(engine, 150, at - timedelta(days=20)))
    numbers = record_stream(engine, 100, at - timedelta(hours=30), seed=4, shift=1.5)
    report(engine, numbers[0], Conclusion.NONE, at - timedelta(hours=1))
    report(engine, numbers[1], Conclusion.FRACTURE, at - timedelta(hours=1))
    assert advance_drift(engine)
    page = client.get("/rollout", headers=VIEWER).text
    for expected in ("1 of 2, 50.0%", '<span class="mark poor">drifts</span>', "Stability index of grey mean, wrist"):
        assert expected in page, expected
    assert "Radiographs by week, 12 weeks" in page
    assert "Nothing was delivered." in page


def test_page_stays_while_the_database_cannot_be_read(config: Configuration, tmp_path: Path) -> None:
    (tmp_path / "osteon.db").write_bytes(b"no database" * 100)
    engine = unopened_database(config.database)
    page = pages_of(engine, config).get("/rollout", headers=VIEWER)
    assert page.status_code == 200 and "Osteon is not working." in page.text
    engine.dispose()
