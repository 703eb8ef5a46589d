"""Try it on the page, over real HTTP: who may, what is shown, what is refused, and that nothing stays."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from argon2 import PasswordHasher
from PIL import Image
from sqlalchemy import update

from appliance.analysis.pipeline import Pipeline
from appliance.clock import now
from appliance.config import Configuration
from appliance.dicom.part10 import part10_bytes
from appliance.domain.account import AccountRole
from appliance.domain.trial import MOST_TRIALS, TRIAL_S
from appliance.service import trials as trial_service
from appliance.service.pipeline_assembly import pipeline_of
from appliance.service.roles.status import StatusRole
from appliance.storage import passwords
from appliance.storage.accounts import add_account
from appliance.storage.instances import keep_instance
from appliance.storage.passwords import decoy, hash_password
from appliance.storage.tables import trials
from provisioning.phantoms import instance_from_phantom, phantom
from tests.integration.test_queue import received
from tests.integration.test_trials import Here
from tests.support.people import anna
from tests.support.trials import RULES, Bench

PASSWORD = "three words and more"


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return pipeline_of(Configuration(analyse=RULES))


@pytest.fixture(scope="module")
def wrist() -> bytes:
    ds = instance_from_phantom(phantom("wrist", 0, fracture=True))
    ds.PatientName, ds.PatientID = "LEAKYNAME^ERIKA", "LEAKYNUMBER"
    return part10_bytes(ds)


class Box:
    """A page with accounts, and the trials that the role analyse would read."""

    def __init__(self, folder: Path, pipeline: Pipeline) -> None:
        self.bench = Bench(folder, pipeline)
        status = {"port": 0, "accounts": True}
        config = Configuration.model_validate(
            {"state_dir": folder, "status": status, "analyse": {"pack": "phantom"}, "receive": {"reserve_mb": 0}}
        )
        for name, role in (("olga", AccountRole.OPERATOR), ("victor", AccountRole.VIEWER)):
            add_account(self.bench.engine, name, role, hash_password(PASSWORD, name), anna())
        self.role = StatusRole(config, self.bench.engine)
        self.url = self.role.detail().partition(" at ")[2]
        self._browsers: list[httpx.Client] = []

    def close(self) -> None:
        for browser in self._browsers:
            browser.close()
        self.role.close()
        self.bench.trials.close()
        self.bench.engine.dispose()

    def browser(self, name: str = "") -> httpx.Client:
        """Return a browser, in which that account has signed in."""
        made = httpx.Client(base_url=self.url, trust_env=False, timeout=60)
        self._browsers.append(made)
        if name:
            fields = {"csrf": csrf(made, "/sign-in"), "name": name, "password": PASSWORD}
            assert made.post("/sign-in", data=fields).headers["location"] == "/"
        return made


@pytest.fixture
def box(tmp_path: Path, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> Iterator[Box]:
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    monkeypatch.setattr(trial_service, "Isolated", Here)
    decoy.cache_clear()
    made = Box(tmp_path, pipeline)
    yield made
    made.close()


def csrf(browser: httpx.Client, path: str = "/trials") -> str:
    found = re.search(r'name="csrf" value="(\w+)"', browser.get(path).text)
    assert found
    return found[1]


def send(browser: httpx.Client, content: bytes, name: str = "wrist.dcm") -> httpx.Response:
    return browser.post("/trials", data={"csrf": csrf(browser)}, files={"file": (name, content)})


def test_file_that_an_operator_sends_is_shown_with_picture_and_report(
    box: Box, wrist: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    browser = box.browser("olga")
    assert "Try it</a>" in browser.get("/").text
    sent = send(browser, wrist)
    assert sent.status_code == 303
    address = sent.headers["location"]
    waiting = browser.get(address)
    assert "It is being read" in waiting.text
    assert 'http-equiv="refresh" content="1; url=?again=1"' in waiting.text
    box.bench.run()
    answer = browser.get(address)
    assert "FRACTURE SUSPECTED" in answer.text
    assert "http-equiv" not in answer.text
    assert "second reader" in answer.text
    picture = browser.get(f"{address}/picture")
    assert picture.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(picture.content)) as image:
        assert image.format == "PNG"
    for response in (waiting, answer, picture):
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "LEAKY" not in answer.text + address + caplog.text
    box.bench.assert_no_trace()
    removed = browser.post(f"{address}/remove", data={"csrf": csrf(browser)})
    assert removed.headers["location"] == "/trials"
    assert browser.get(address).status_code == 404
    assert browser.get(f"{address}/picture").status_code == 404
    assert box.bench.files == set()


def test_address_of_a_trial_ends_with_the_sign_in(box: Box, wrist: bytes) -> None:
    browser, other = box.browser("olga"), box.browser("olga")
    address = send(browser, wrist).headers["location"]
    box.bench.run()
    assert browser.get(address).status_code == 200
    assert other.get(address).status_code == 404
    assert other.get(f"{address}/picture").status_code == 404
    other.post(f"{address}/remove", data={"csrf": csrf(other)})
    assert browser.get(address).status_code == 200
    browser.post("/sign-out", data={"csrf": csrf(browser)})
    assert box.bench.files == set()
    assert browser.get(address).headers["location"] == "/sign-in"


def test_address_of_a_trial_ends_with_its_time(box: Box, wrist: bytes) -> None:
    browser = box.browser("olga")
    address = send(browser, wrist).headers["location"]
    box.bench.run()
    with box.bench.engine.begin() as c:
        c.execute(update(trials).values(created_at=now() - timedelta(seconds=TRIAL_S + 1)))
    assert browser.get(address).status_code == 404
    assert browser.get(f"{address}/picture").status_code == 404


@pytest.mark.parametrize("name", ["victor", ""])
def test_others_than_operators_try_and_see_nothing(box: Box, wrist: bytes, name: str) -> None:
    address = send(box.browser("olga"), wrist).headers["location"]
    box.bench.run()
    kept = box.bench.files
    browser = box.browser(name)
    token = csrf(browser, "/radiographs" if name else "/sign-in")
    answers = [browser.get(path) for path in ("/trials", address, f"{address}/picture")]
    answers.append(browser.post("/trials", data={"csrf": token}, files={"file": wrist}))
    answers.append(browser.post(f"{address}/remove", data={"csrf": token}))
    assert answers.pop(3).status_code == 403, "its body is not even taken"
    assert {answer.status_code for answer in answers} == {403 if name else 303}
    assert "Try it</a>" not in browser.get("/").text
    assert box.bench.files == kept


def test_file_without_the_token_of_a_form_is_refused(box: Box, wrist: bytes) -> None:
    browser = box.browser("olga")
    assert browser.post("/trials", files={"file": wrist}).status_code == 403
    assert browser.post("/trials", data={"csrf": "x"}, files={"file": wrist}).status_code == 403
    assert box.bench.files == set()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<script>alert(1)</script>" * 20, "not_dicom"),
        (b"\xff\xd8\xff\xe0<script>" + bytes(500), "not_a_picture"),
        (b"PK\x03\x04" + bytes(500), "not_dicom"),
    ],
)
def test_hostile_file_is_answered_with_its_reason_alone(box: Box, content: bytes, reason: str) -> None:
    browser = box.browser("olga")
    address = send(browser, content, name="<b>LEAKYNAME</b>.png").headers["location"]
    box.bench.run()
    answer = browser.get(address)
    assert answer.status_code == 200
    assert f"<code>{reason}</code>" in answer.text
    assert "<script" not in answer.text
    assert "LEAKY" not in answer.text
    assert browser.get(f"{address}/picture").status_code == 404
    assert box.bench.files == set()
    box.bench.assert_no_trace()


def test_form_without_a_file_is_refused(box: Box) -> None:
    browser = box.browser("olga")
    answer = send(browser, b"")
    assert (answer.status_code, "choose a file" in answer.text) == (409, True)
    assert browser.post("/trials", data={"csrf": csrf(browser)}).status_code == 409
    assert box.bench.files == set()


def test_trial_beyond_the_most_is_refused_in_words(box: Box) -> None:
    browser = box.browser("olga")
    for number in range(MOST_TRIALS):
        box.bench.add(b"%d" % number, f"{number}")
    before = box.bench.files
    answer = send(browser, b"one more")
    assert (answer.status_code, f"{MOST_TRIALS} trials" in answer.text) == (409, True)
    assert len(box.bench.files - before) <= 1  # it goes with the next look for files without a row


def test_full_disk_takes_radiographs_and_no_trial(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("appliance.storage.spool.FileSpool.free_bytes", lambda _: -1)
    answer = send(box.browser("olga"), b"1")
    assert (answer.status_code, "reserve_mb" in answer.text) == (409, True)
    assert box.bench.files == set()


def test_trial_that_waits_names_the_radiographs_before_it(box: Box, wrist: bytes) -> None:
    browser = box.browser("olga")
    keep_instance(box.bench.engine, received(1))
    address = send(browser, wrist).headers["location"]
    assert "1 radiograph has precedence" in browser.get(address).text
