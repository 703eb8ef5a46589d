"""Signing in to the page over HTTP, with accounts and by a reverse proxy, and the actions of operators."""

from __future__ import annotations

import hmac
import json
import logging
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner, Result
from pydantic import ValidationError
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.account import AccountRole
from appliance.domain.audit import Door
from appliance.domain.job import State
from appliance.service.roles.status import StatusRole
from appliance.status import actions
from appliance.status import sign_in as sign_in_page
from appliance.storage import passwords
from appliance.storage.accounts import add_account, change_password, remove_account
from appliance.storage.audit import newest_entries
from appliance.storage.database import readers
from appliance.storage.passwords import decoy, hash_password
from appliance.storage.tables import deliveries, holds, sign_ins
from provisioning.cli.main import main
from provisioning.operation.check import find_doubts
from tests.support.forms import csrf_of
from tests.support.outbox import Outbox, message, radiograph
from tests.support.people import anna

PASSWORD = "three words and more"
FREE = ("/health/live", "/health/ready", "/metrics", "/static/page.css", "/static/forms.css", "/sign-in")
CHANGES: dict[str, dict[str, str]] = {
    "retry": {"jobs": "delivery:1"},
    "drop": {"jobs": "delivery:1"},
    "hold": {"destination": "ris"},
    "release": {"destination": "ris"},
    "phase": {"site": "wrist", "phase": "familiarise"},
    "withdraw": {"uid": str(radiograph(1).StudyInstanceUID)},
}


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
    decoy.cache_clear()


class Page:
    """The page of one box over real HTTP, and its database with two messages that wait for the RIS."""

    def __init__(self, folder: Path, status: dict[str, Any]) -> None:
        ris = {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": 1}
        values = {
            "state_dir": folder,
            "status": {"port": 0} | status,
            "destinations": [ris],
            "analyse": {"pack": "phantom"},
        }
        self.config = Configuration.model_validate(values)
        self.outbox = Outbox(folder, *self.config.destinations)
        for number in (1, 2):
            self.outbox.answer(radiograph(number), ("ris", message(radiograph(number))))
        self.engine = self.outbox.engine
        for name, role in (("olga", AccountRole.OPERATOR), ("victor", AccountRole.VIEWER)):
            add_account(self.engine, name, role, hash_password(PASSWORD, name), anna())
        self.role = StatusRole(self.config, self.engine)
        self.url = self.role.detail().partition(" at ")[2]

    def close(self) -> None:
        self.role.close()
        self.engine.dispose()

    def browser(self, address: str = "127.0.0.1", **headers: str) -> httpx.Client:
        """Return a browser at that address of this machine."""
        return httpx.Client(
            base_url=self.url,
            headers=headers,
            transport=httpx.HTTPTransport(local_address=address),
            trust_env=False,
            timeout=60,
        )

    @contextmanager
    def signed_in(self, name: str) -> Iterator[httpx.Client]:
        """Yield a browser in which that account has signed in."""
        with self.browser() as browser:
            assert sign_in(browser, name).headers["location"] == "/"
            yield browser

    def audited(self) -> list[tuple[str, str, str]]:
        """Return action, subject and person of what came over the page, oldest first."""
        with readers(self.engine).connect() as c:
            found = newest_entries(c, 100)[::-1]
        return [(e.action.value, e.subject, e.person) for e in found if e.door is not Door.COMMAND_LINE]

    def states(self) -> list[str]:
        with readers(self.engine).connect() as c:
            return [state.value for state in c.execute(select(deliveries.c.state).order_by(deliveries.c.id)).scalars()]


@pytest.fixture
def open_page(tmp_path: Path) -> Iterator[Callable[..., Page]]:
    pages: list[Page] = []

    def make(**status: Any) -> Page:
        pages.append(Page(tmp_path / str(len(pages)), status))
        return pages[-1]

    yield make
    for page in pages:
        page.close()


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    return open_page(accounts=True)


def token(browser: httpx.Client, path: str = "/sign-in") -> str:
    return csrf_of(browser.get(path).text)


def sign_in(browser: httpx.Client, name: str, password: str = PASSWORD) -> httpx.Response:
    return browser.post("/sign-in", data={"csrf": token(browser), "name": name, "password": password})


def act(browser: httpx.Client, action: str, **fields: str) -> httpx.Response:
    csrf = token(browser, "/actions" if browser.get("/actions").status_code == 200 else "/sign-in")
    return browser.post(f"/actions/{action}", data={"csrf": csrf, "reason": "a test"} | fields)


@pytest.mark.proves("SEC-6")
def test_page_needs_a_sign_in_and_probes_need_none(page: Page) -> None:
    with page.browser() as browser:
        for path in ("/", "/actions", "/audit", "/no-such-page"):
            answer = browser.get(path)
            assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in"), path
        for path in FREE:
            assert browser.get(path).status_code in (200, 503), path
    with page.signed_in("victor") as browser:
        answer = browser.get("/")
        assert answer.status_code == 200
        assert "victor, viewer" in answer.text


def test_sign_in_sets_a_cookie_that_only_this_site_gets(page: Page) -> None:
    with page.browser() as browser:
        answer = sign_in(browser, "olga")
        assert answer.status_code == 303
        (cookie,) = [c for c in answer.headers.get_list("set-cookie") if c.startswith("osteon_sign_in=")]
        assert "HttpOnly" in cookie and "SameSite=Strict" in cookie
        assert "Secure" not in cookie and "Max-Age" not in cookie and "Expires" not in cookie
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "form-action 'self'" in policy and "frame-ancestors 'none'" in policy
        opened = browser.cookies["osteon_sign_in"]
    files = b"".join(file.read_bytes() for file in page.config.state_dir.glob("osteon.db*"))
    assert b"olga" in files
    assert opened.encode() not in files and PASSWORD.encode() not in files


@pytest.mark.proves("SEC-7")
def test_wrong_name_and_wrong_password_get_the_same_answer(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with page.browser() as browser:
        for name, password in (("olga", "a wrong password"), ("nobody", PASSWORD), ("o\0", PASSWORD)):
            answer = sign_in(browser, name, password)
            assert answer.status_code == 403
            assert sign_in_page.WRONG in answer.text
            assert "osteon_sign_in" not in browser.cookies
            assert browser.get("/").status_code == 303
            assert name not in caplog.text and password not in caplog.text
    assert caplog.text.count("a wrong name or password from 127.0.0.1") == 3


def test_sign_out_ends_the_token(page: Page) -> None:
    with page.signed_in("victor") as browser, page.browser() as thief:
        stolen = browser.cookies["osteon_sign_in"]
        thief.cookies.set("osteon_sign_in", stolen)
        assert thief.get("/").status_code == 200
        assert browser.post("/sign-out", data={"csrf": token(browser, "/")}).status_code == 303
        assert thief.get("/").status_code == 303


@pytest.mark.proves("SEC-6")
def test_form_without_the_token_of_its_own_browser_changes_nothing(page: Page) -> None:
    before = page.states()
    with page.signed_in("olga") as browser, page.signed_in("olga") as other:
        tokens: list[dict[str, str]] = [{}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": token(other, "/actions")}]
        for csrf in tokens:
            for action, fields in CHANGES.items():
                answer = browser.post(f"/actions/{action}", data=fields | {"reason": "a test"} | csrf)
                assert answer.status_code == 403
                assert "comes from another site" in answer.text
    assert (page.states(), page.audited()) == (before, [])


def test_sign_in_form_of_another_browser_is_refused(page: Page) -> None:
    with page.browser() as browser, page.browser() as other:
        data = {"csrf": token(other), "name": "olga", "password": PASSWORD}
        assert browser.post("/sign-in", data=data).status_code == 403
        assert browser.get("/").status_code == 303


TIMES = [
    (timedelta(hours=11), timedelta(minutes=29), True),
    (timedelta(hours=1), timedelta(minutes=31), False),
    (timedelta(hours=13), timedelta(0), False),
    (-timedelta(hours=1), -timedelta(hours=1), False),  # the clock was set back
]


def test_sign_in_ends_after_a_pause_and_after_a_shift(page: Page) -> None:
    with page.signed_in("victor") as browser:
        for begun, seen, is_open in TIMES:
            with page.engine.begin() as c:
                c.execute(update(sign_ins).values(created_at=now() - begun, seen_at=now() - seen))
            assert (browser.get("/").status_code == 200) is is_open


def test_page_that_reads_itself_again_keeps_no_sign_in_alive(page: Page) -> None:
    def seen_s() -> float:
        with readers(page.engine).connect() as c:
            seen_at = c.execute(select(sign_ins.c.seen_at)).scalar_one()
        return (now() - seen_at).total_seconds()

    with page.signed_in("olga") as browser:
        with page.engine.begin() as c:
            c.execute(update(sign_ins).values(seen_at=now() - timedelta(minutes=20)))
        assert 'content="10; url=?again=1"' in browser.get("/?again=1").text
        for path in FREE:
            browser.get(path)
        assert seen_s() > 1100
        assert browser.get("/audit").status_code == 200
        assert seen_s() < 1100


@pytest.mark.parametrize(
    "end",
    [
        lambda engine: remove_account(engine, "olga", anna()),
        lambda engine: change_password(engine, "olga", hash_password("another three words", "olga"), anna()),
    ],
)
def test_removed_account_and_changed_password_end_the_sign_in(page: Page, end: Callable[..., None]) -> None:
    with page.signed_in("olga") as browser:
        end(page.engine)
        assert browser.get("/").status_code == 303
        assert act(browser, "drop", jobs="delivery:1").status_code == 303
    assert page.audited() == []


def test_attempts_of_one_address_are_limited(page: Page) -> None:
    with page.browser() as browser, page.browser("127.0.0.2") as other:
        for number in range(sign_in_page.MOST_PER_ADDRESS):
            assert sign_in(browser, f"name{number}").status_code == 403
        answer = sign_in(browser, "olga")
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= sign_in_page.WITHIN_S
        assert sign_in(other, "olga").status_code == 303


def test_right_passwords_of_an_address_are_no_attempts(page: Page) -> None:
    for _ in range(sign_in_page.MOST_PER_ADDRESS + 1):
        with page.signed_in("victor"):
            pass


@pytest.mark.proves("SEC-7")
def test_attempts_on_one_account_are_limited_from_everywhere(page: Page) -> None:
    for number in range(sign_in_page.MOST_PER_ACCOUNT):
        with page.browser(f"127.0.1.{number + 1}") as browser:
            assert sign_in(browser, "olga", "a wrong password").status_code == 403
    with page.browser("127.0.2.1") as browser:
        assert sign_in(browser, "olga").status_code == 429
        assert sign_in(browser, "victor").status_code == 303


@pytest.mark.proves("SEC-6")
def test_viewer_changes_nothing(page: Page) -> None:
    before = page.states()
    with page.signed_in("victor") as browser:
        csrf = token(browser, "/")
        for action, fields in CHANGES.items():
            answer = browser.post(f"/actions/{action}", data=fields | {"csrf": csrf, "reason": "a test"})
            assert (answer.status_code, "the role operator" in answer.text) == (403, True)
        assert browser.get("/actions").status_code == browser.get("/audit").status_code == 403
        assert "/actions" not in browser.get("/").text
    assert (page.states(), page.audited()) == (before, [])


def test_operator_sets_the_phase_of_a_site(page: Page) -> None:
    with page.signed_in("olga") as browser:
        fields = {"csrf": token(browser, "/actions"), "reason": "not now", "site": "wrist"}
        done = browser.post("/actions/phase", data=fields | {"phase": "shadow"}, follow_redirects=True)
        assert done.status_code == 200 and "from live to shadow; deliveries dropped: 2" in done.text
        refused = browser.post("/actions/phase", data=fields | {"phase": "live"})
        assert (refused.status_code, "there was no validation" in refused.text) == (409, True)
        assert browser.post("/actions/phase", data=fields | {"phase": "loud"}).status_code == 409
        assert "Set the phase of the wrist" in browser.get("/pack").text
    assert page.states() == ["dropped", "dropped"]
    assert page.audited() == [("set phase", "site wrist", "olga")]


def test_operator_repairs_in_bulk_and_by_name(page: Page) -> None:
    park = update(deliveries).values(state=State.PARKED, code="mllp_refused")
    with page.engine.begin() as c:
        c.execute(park)
    with page.signed_in("olga") as browser:
        done = act(browser, "retry", destination="ris", code="mllp_refused", state="parked")
        assert (done.status_code, done.headers["location"]) == (303, "/audit?changed=2")
        assert page.states() == ["queued", "queued"]
        act(browser, "hold", destination="ris")
        with readers(page.engine).connect() as c:
            assert c.execute(select(holds.c.destination, holds.c.reason)).all() == [("ris", "a test")]
        assert "held: a test" in browser.get("/actions").text
        assert act(browser, "hold", destination="ris", reason="another").status_code == 409
        assert act(browser, "release", destination="ris").status_code == 409, "without the beginning of the hold"
        since = re.search(r'name="since" value="([^"]+)"', browser.get("/actions").text)
        assert since
        act(browser, "release", destination="ris", since=since[1].replace("&#43;", "+"))
        act(browser, "drop", jobs="delivery:2, delivery:99")
        assert page.states() == ["queued", "dropped"]
        shown = browser.get("/audit?changed=1&refused=1&code=no_such_job&left=3").text
        assert "Not changed: 1. There is no job of that name" in shown and "3 more fit" in shown
    assert page.audited() == [
        ("retry", "delivery:1", "olga"),
        ("retry", "delivery:2", "olga"),
        ("hold", "destination ris", "olga"),
        ("release", "destination ris", "olga"),
        ("drop", "delivery:2", "olga"),
    ]


def test_operator_withdraws_a_study_and_no_uid_enters_an_address(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    uid = str(radiograph(1).StudyInstanceUID)
    with page.signed_in("olga") as browser:
        done = act(browser, "withdraw", uid=uid, because="worklist")
        assert (done.status_code, done.headers["location"]) == (303, "/audit?withdrawn=1")
        assert "study:1" in (shown := browser.get("/audit?withdrawn=1").text)
        assert "deliveries dropped: 1; withdrawals to send: none." in shown
        unknown = act(browser, "withdraw", uid="1.2.3")
        assert (unknown.status_code, "nothing was answered under that UID" in unknown.text) == (409, True)
    assert page.states() == ["dropped", "queued"]
    assert page.audited() == [("withdraw", "study:1", "olga")]
    assert uid not in caplog.text


REFUSED: list[tuple[str, dict[str, str], str]] = [
    ("drop", {"jobs": "delivery:1", "reason": "  "}, "say why"),
    ("drop", {}, "name jobs such as delivery:40, or a destination"),
    ("drop", {"state": "done"}, "no job that waits or is parked fits"),
    ("drop", {"destination": "nowhere"}, "no destination &#39;nowhere&#39;"),
    ("drop", {"code": "<b>"}, "there is no code &#39;&lt;b&gt;&#39;"),
    ("hold", {"destination": "nowhere"}, "no destination &#39;nowhere&#39;"),
    ("release", {"destination": "ris"}, "there is no hold of ris"),
]


def test_action_that_means_nothing_is_refused_in_words(page: Page) -> None:
    with page.signed_in("olga") as browser:
        for action, fields, says in REFUSED:
            answer = act(browser, action, **fields)
            assert answer.status_code == 409
            assert says in answer.text
    assert page.audited() == []


def test_bulk_that_fails_midway_says_what_it_changed(page: Page) -> None:
    with page.engine.begin() as c:
        c.exec_driver_sql(
            "CREATE TRIGGER full BEFORE UPDATE ON deliveries WHEN NEW.id = 2 AND NEW.state = 'dropped' "
            "BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
    with page.signed_in("olga") as browser:
        done = act(browser, "drop", destination="ris")
        assert done.headers["location"] == "/audit?changed=1&left=1&failure=database_unusable"
        shown = browser.get(done.headers["location"]).text
        assert "Changed: 1." in shown and "stopped before its end" in shown
    assert page.states() == ["dropped", "queued"]


def test_bulk_leaves_what_takes_an_answer_back(page: Page) -> None:
    with page.engine.begin() as c:
        c.execute(update(deliveries).where(deliveries.c.id == 2).values(state=State.DONE, code="delivered", attempts=1))
    with page.signed_in("olga") as browser:
        act(browser, "withdraw", uid=str(radiograph(2).StudyInstanceUID), because="safety")
        done = act(browser, "drop", destination="ris", state="queued", withdrawals="1")
        assert done.headers["location"] == "/audit?changed=1&refused=1&code=takes_back"
        assert "takes an answer back" in browser.get(done.headers["location"]).text
        assert page.states() == ["dropped", "done", "queued"]
        assert act(browser, "drop", jobs="delivery:3").headers["location"].endswith("code=takes_back")
        assert act(browser, "drop", jobs="delivery:3", withdrawals="1").headers["location"] == "/audit?changed=1"
        assert page.states() == ["dropped", "done", "dropped"]
        act(browser, "retry", jobs="delivery:3 delivery:1")
        assert page.states() == ["dropped", "done", "queued"], "of dropped ones only a withdrawal is sent after all"


def test_one_request_changes_a_bounded_number_of_jobs(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actions, "MOST_AT_ONCE", 1)
    with page.signed_in("olga") as browser:
        assert act(browser, "drop", destination="ris").headers["location"] == "/audit?changed=1&left=1"
    assert page.states() == ["dropped", "queued"]


def test_page_without_accounts_is_read_by_this_machine_and_changes_nothing(open_page: Callable[..., Page]) -> None:
    page = open_page()
    with page.browser() as browser:
        shown = browser.get("/")
        assert shown.status_code == 200
        assert "Sign in" not in shown.text and "/actions" not in shown.text
        csrf = token(browser, "/")
        for action, fields in CHANGES.items():
            answer = browser.post(f"/actions/{action}", data=fields | {"csrf": csrf, "reason": "a test"})
            assert answer.status_code == 403
        assert "This page has no accounts" in browser.get("/sign-in").text
        for cookie in ("osteon_sign_in", "X-Remote-User"):
            browser.cookies.set(cookie, "olga")
        assert browser.get("/actions", headers={"X-Remote-User": "olga"}).status_code == 403
    assert page.audited() == []


PROXY = {"addresses": ["127.0.0.3"], "header": "X-Remote-User", "operators": ["olga", "HOSPITAL\\olga"]}


def test_proxy_names_the_person(open_page: Callable[..., Page]) -> None:
    page = open_page(proxy=PROXY)
    for name, role in (("olga", "operator"), ("HOSPITAL\\olga", "operator"), ("paul@hospital.example", "viewer")):
        with page.browser("127.0.0.3", **{"X-Remote-User": name}) as browser:
            assert f"{name}, {role}" in browser.get("/").text
            assert (browser.get("/actions").status_code == 200) is (role == "operator")
    with page.browser("127.0.0.3", **{"X-Remote-User": "olga"}) as browser:
        assert act(browser, "drop", jobs="delivery:1").status_code == 303
    assert page.audited() == [("drop", "delivery:1", "olga")]
    with readers(page.engine).connect() as c:
        assert newest_entries(c, 1)[0].door is Door.PROXY


FOREIGN: list[dict[str, str]] = [
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Origin": "null"},
    {"Origin": "https://evil.hospital.example"},
    {"Origin": "https://evil.hospital.example", "Sec-Fetch-Site": "same-site"},
]


def test_sibling_site_that_sets_our_cookie_acts_for_nobody(open_page: Callable[..., Page]) -> None:
    page = open_page(proxy=PROXY)
    planted = {"Cookie": "osteon_form=chosen"}
    drop = {"jobs": "delivery:1", "reason": "forged"}
    tokens = [hmac.new(b"chosen", b"form", "sha256").hexdigest()]
    with page.browser("127.0.0.3", **{"X-Remote-User": "mallory"}) as browser:
        tokens.append(csrf_of(browser.get("/", headers=planted).text))
    with page.browser("127.0.0.3", **{"X-Remote-User": "olga"}) as browser:
        for csrf in tokens:
            assert browser.post("/actions/drop", data=drop | {"csrf": csrf}, headers=planted).status_code == 403
        own = drop | {"csrf": csrf_of(browser.get("/actions", headers=planted).text)}
        for headers in FOREIGN:
            assert browser.post("/actions/drop", data=own, headers=planted | headers).status_code == 403, headers
        assert page.audited() == []
        same = {"Origin": "https://page.example", "X-Forwarded-Host": "page.example"}
        assert browser.post("/actions/drop", data=own, headers=planted | same).status_code == 303


def test_sign_in_and_upload_are_refused_to_other_sites(page: Page) -> None:
    with page.browser() as browser:
        data = {"csrf": token(browser), "name": "olga", "password": PASSWORD}
        for headers in FOREIGN:
            assert browser.post("/sign-in", data=data, headers=headers).status_code == 403, headers
        ours = {"Origin": page.url, "Sec-Fetch-Site": "same-origin"}
        assert browser.post("/sign-in", data=data, headers={"Origin": page.url}).status_code == 303
        csrf = {"csrf": token(browser, "/trials")}
        for headers in FOREIGN:
            sent = browser.post("/trials", data=csrf, files={"file": b"x"}, headers=headers)
            assert sent.status_code == 403, headers
        assert browser.post("/trials", data=csrf, files={"file": b"x"}, headers=ours).status_code != 403


def test_browsers_of_one_person_behind_a_proxy_have_trials_of_their_own(open_page: Callable[..., Page]) -> None:
    page = open_page(proxy=PROXY)
    named = {"X-Remote-User": "olga"}
    with page.browser("127.0.0.3", **named) as one, page.browser("127.0.0.3", **named) as other:
        data = {"csrf": token(one, "/trials")}
        address = one.post("/trials", data=data, files={"file": b"x"}).headers["location"]
        other.get("/trials")
        assert one.get(address).status_code == 200
        assert other.get(address).status_code == 404


@contextmanager
def locked(page: Page) -> Iterator[None]:
    """Hold the write lock of the database, as a role that works or a backup does."""
    with closing(sqlite3.connect(page.config.state_dir / "osteon.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield
        holder.execute("ROLLBACK")


def test_readers_stay_signed_in_while_the_database_is_locked(page: Page) -> None:
    with page.signed_in("victor") as browser:
        with page.engine.begin() as c:
            c.execute(update(sign_ins).values(seen_at=now() - timedelta(minutes=20)))
        with locked(page):
            began = time.monotonic()
            assert browser.get("/conditions").status_code == 200
            assert browser.get("/health/live").status_code == 200
            assert time.monotonic() - began < 5


NOT_BELIEVED: list[tuple[str, dict[str, str]]] = [
    ("127.0.0.1", {"X-Remote-User": "olga"}),
    ("127.0.0.1", {"X-Remote-User": "olga", "X-Forwarded-For": "127.0.0.3"}),
    ("127.0.0.3", {}),
    ("127.0.0.3", {"X-Remote-User": ""}),
    ("127.0.0.3", {"X_Remote_User": "olga"}),
    ("127.0.0.3", {"X-Remote-User": "olga,paul"}),
    ("127.0.0.3", {"X-Remote-User": "<script>"}),
]


def test_header_is_believed_of_a_listed_proxy_alone(open_page: Callable[..., Page]) -> None:
    page = open_page(proxy=PROXY)
    for address, headers in NOT_BELIEVED:
        with page.browser(address, **headers) as browser:
            assert browser.get("/").status_code == 403, headers
            assert browser.get("/actions").status_code == 403
            assert browser.get("/health/live").status_code == 200


@pytest.mark.parametrize(("address", "is_secure"), [("127.0.0.3", True), ("127.0.0.1", False)])
def test_cookies_are_secure_behind_a_listed_proxy_with_tls(
    open_page: Callable[..., Page], address: str, is_secure: bool
) -> None:
    page = open_page(accounts=True, proxy={"addresses": ["127.0.0.3"]})
    with page.browser(address, **{"X-Forwarded-Proto": "https", "X-Forwarded-For": "1.2.3.4, 192.0.2.7"}) as browser:
        form = browser.get("/sign-in")
        cookie = form.headers["set-cookie"]
        data = {"csrf": csrf_of(form.text), "name": "olga", "password": PASSWORD}
        answer = browser.post("/sign-in", data=data, headers={"Cookie": cookie.partition(";")[0]})
        assert answer.status_code == 303
        for one in (cookie, *answer.headers.get_list("set-cookie")):
            assert ("Secure" in one) is is_secure, one


def test_proxy_names_the_address_of_the_browser(open_page: Callable[..., Page]) -> None:
    page = open_page(accounts=True, proxy={"addresses": ["127.0.0.3"]})
    forwarded = partial(page.browser, "127.0.0.3")
    with (
        forwarded(**{"X-Forwarded-For": "9.9.9.9, 192.0.2.7"}) as one,
        forwarded(**{"X-Forwarded-For": "192.0.2.8"}) as two,
    ):
        for number in range(sign_in_page.MOST_PER_ADDRESS):
            sign_in(one, f"name{number}")
        one.headers["X-Forwarded-For"] = "8.8.8.8, 192.0.2.7"
        assert sign_in(one, "olga").status_code == 429
        assert sign_in(two, "olga").status_code == 303


def test_address_is_looked_for_past_listed_proxies(open_page: Callable[..., Page]) -> None:
    page = open_page(accounts=True, proxy={"addresses": ["127.0.0.3", "10.0.0.0/8"]})
    chain = "9.9.9.9, {}, 10.0.0.7, 10.0.0.8"
    with page.browser("127.0.0.3", **{"X-Forwarded-For": chain.format("192.0.2.7")}) as browser:
        for number in range(sign_in_page.MOST_PER_ADDRESS):
            assert sign_in(browser, f"name{number}").status_code == 403
        assert sign_in(browser, "olga").status_code == 429
        browser.headers["X-Forwarded-For"] = chain.format("192.0.2.8")
        assert sign_in(browser, "olga").status_code == 303


def test_proxy_without_addresses_of_browsers_locks_nobody_out(
    open_page: Callable[..., Page], caplog: pytest.LogCaptureFixture
) -> None:
    page = open_page(accounts=True, proxy={"addresses": ["127.0.0.3"]})
    with page.browser("127.0.0.3") as browser:
        for number in range(sign_in_page.MOST_PER_ADDRESS):
            assert sign_in(browser, f"name{number}").status_code == 403
        assert sign_in(browser, "olga").status_code == 303
    assert "the proxy names no address in X-Forwarded-For" in caplog.text


def test_open_page_is_read_by_everybody_and_changed_by_operators(open_page: Callable[..., Page]) -> None:
    page = open_page(open=True, accounts=True)
    with page.browser() as browser:
        assert "Sign in" in browser.get("/").text
        assert browser.get("/actions").status_code == 403
    with page.signed_in("olga") as browser:
        assert act(browser, "drop", jobs="delivery:1").status_code == 303


def test_number_leads_to_an_answer_after_a_sign_in_alone(open_page: Callable[..., Page]) -> None:
    page = open_page(open=True, accounts=True)
    number = {"number": "analysis:1"}
    with page.browser() as browser:
        assert "/radiographs/" not in browser.get("/").text + browser.get("/radiographs").text
        assert {browser.get(path).status_code for path in ("/radiographs/1", "/studies/1")} == {403}
        assert browser.post("/radiographs", data=number | {"csrf": token(browser)}).status_code == 403
    with page.signed_in("victor") as browser:
        assert browser.post("/radiographs", data=number | {"csrf": token(browser, "/")}).status_code == 303
        assert "/radiographs/1" in browser.get("/").text


def test_page_of_this_machine_has_the_names_of_this_machine(open_page: Callable[..., Page]) -> None:
    with open_page().browser() as browser:
        for host in ("localhost:8080", "127.0.0.1", "[::1]:8080"):
            assert browser.get("/", headers={"Host": host}).status_code == 200, host
        for host in ("evil.example", "evil.example:8080", "127.0.0.1.evil.example", "192.0.2.1", "["):
            assert browser.get("/radiographs/1", headers={"Host": host}).status_code == 403, host
    with open_page(accounts=True).browser() as browser:
        assert browser.get("/sign-in", headers={"Host": "osteon.hospital.example"}).status_code == 200


def test_sign_in_page_says_that_the_database_is_gone(page: Page) -> None:
    with page.signed_in("olga") as browser:
        with page.engine.begin() as c:
            c.exec_driver_sql("DROP TABLE sign_ins")
        assert browser.get("/").status_code == 303
        assert "The database cannot be read: its tables are missing" in browser.get("/sign-in").text


def test_readers_of_the_database_cannot_write(page: Page) -> None:
    with pytest.raises(OperationalError, match="readonly"), readers(page.engine).begin() as c:
        c.execute(update(deliveries).values(state=State.DROPPED))
    with page.engine.begin() as c:  # the same connection of the pool
        c.execute(update(deliveries).values(state=State.DROPPED))
    assert page.states() == ["dropped", "dropped"]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ({"host": "0.0.0.0"}, "say who may read the page"),
        ({"host": "192.0.2.1"}, "say who may read the page"),
        ({"host": "::"}, "say who may read the page"),
        ({"host": "osteon.example"}, "say who may read the page"),
        ({"host": "0.0.0.0", "proxy": {"addresses": ["192.0.2.1"]}}, "say who may read the page"),
        ({"proxy": {"addresses": []}}, "addresses"),
        ({"proxy": {"addresses": ["192.0.2.1"], "operators": ["olga"]}}, "operators and readers are named by a header"),
        ({"proxy": {"addresses": ["192.0.2.1"], "header": "X_Remote_User"}}, "header"),
        ({"proxy": {"addresses": ["192.0.2.1"], "header": "X-User", "operators": ["olga, paul"]}}, "operators"),
    ],
)
def test_page_for_other_machines_needs_rules(status: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Configuration.model_validate({"status": status})


@pytest.mark.parametrize(
    "status",
    [
        {"host": "localhost"},
        {"host": "::1"},
        {"host": "127.0.0.9"},
        {"host": "0.0.0.0", "open": True},
        {"host": "0.0.0.0", "accounts": True},
        {"host": "0.0.0.0", "proxy": {"addresses": ["192.0.2.1"], "header": "X-Remote-User"}},
    ],
)
def test_page_with_rules_is_configured(status: dict[str, Any]) -> None:
    assert Configuration.model_validate({"status": status}).status.host == status["host"]


def osteon(folder: Path, *arguments: str, given: str = "") -> Result:
    file = folder / "osteon.toml"
    file.write_text(f'state_dir = "{folder}"\nstatus.accounts = true\n')
    return CliRunner().invoke(main, [*arguments, "--config", str(file)], input=given)


def test_accounts_are_managed_at_the_command_line(tmp_path: Path) -> None:
    assert "there is no account" in osteon(tmp_path, "account", "list").output
    assert not (tmp_path / "osteon.db").exists()
    made = osteon(tmp_path, "account", "add", "olga", "--role", "operator", given=f"{PASSWORD}\n")
    assert (made.exit_code, made.output) == (0, "account olga is made: operator\n")
    for command, given, says in (
        (("add", "olga", "--role", "viewer"), PASSWORD, "account_exists"),
        (("add", "o l", "--role", "viewer"), PASSWORD, "no name of an account"),
        (("add", "paul", "--role", "viewer"), "short", "weak_password"),
        (("password", "paul"), PASSWORD, "no_such_account"),
        (("remove", "paul"), "", "no_such_account"),
    ):
        done = osteon(tmp_path, "account", *command, given=given)
        assert done.exit_code == 1
        assert says in done.output, done.output
    assert osteon(tmp_path, "account", "password", "olga", given="another three words\n").exit_code == 0
    listed = json.loads(osteon(tmp_path, "account", "list", "--json").output)
    assert (listed["name"], listed["role"]) == ("olga", "operator")
    assert "hash" not in str(listed)
    assert osteon(tmp_path, "account", "remove", "olga", "--reason", "she has left").exit_code == 0
    entries = [json.loads(line) for line in osteon(tmp_path, "audit", "list", "--json").output.splitlines()]
    assert [(one["action"], one["subject"], one["reason"]) for one in entries] == [
        ("add account", "account olga", ""),
        ("change password", "account olga", ""),
        ("remove account", "account olga", "she has left"),
    ]
    assert PASSWORD not in str(entries)


def test_passwords_that_cross_the_network_readable_are_a_doubt() -> None:
    status: dict[str, Any] = {"host": "0.0.0.0", "accounts": True}
    readable = Configuration.model_validate({"status": status})
    assert any("passwords cross the network" in doubt for doubt in find_doubts(readable))
    for better in ({"host": "127.0.0.1"}, {"proxy": {"addresses": ["192.0.2.1"]}}):
        config = Configuration.model_validate({"status": status | better})
        assert not any("passwords" in doubt for doubt in find_doubts(config))
