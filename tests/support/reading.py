"""The page of readers of a box, over real HTTP, with accounts of every role."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
from sqlalchemy import Engine

from appliance.config import Configuration
from appliance.domain.account import AccountRole
from appliance.domain.validation import DrawnPicture
from appliance.service.drawn_picture import picture_of
from appliance.status.app import create_app
from appliance.status.reading import Look
from appliance.status.server import PageServer
from appliance.storage.accounts import add_account
from appliance.storage.database import readers
from appliance.storage.passwords import hash_password
from appliance.storage.reads import Drawn
from appliance.storage.spool import FileSpool
from tests.support.people import anna

PASSWORD = "three words and more"

PEOPLE = {
    "olga": AccountRole.OPERATOR,
    "victor": AccountRole.VIEWER,
    "rita": AccountRole.READER,
    "raul": AccountRole.READER,
}


def look_here(spool: FileSpool) -> Look:
    """Return the look at a radiograph that decodes it in this process."""

    def look(drawn: Drawn) -> DrawnPicture:
        return picture_of(partial(spool.get, drawn.digest), ())

    return look


class ReadingPage:
    """The page, and browsers of its visitors."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.browsers: list[httpx.Client] = []

    def browser(self, name: str = "") -> httpx.Client:
        """Return a browser, in which that account has signed in."""
        made = httpx.Client(base_url=self.url, trust_env=False, timeout=60)
        self.browsers.append(made)
        if name:
            fields = {"csrf": field(made, "csrf", "/sign-in"), "name": name, "password": PASSWORD}
            assert made.post("/sign-in", data=fields).headers["location"] == "/"
        return made

    def answer(self, browser: httpx.Client, answer: str, **more: str | list[str]) -> httpx.Response:
        """Answer about the radiograph that the browser is offered."""
        page = browser.get("/read").text
        names = ("csrf", "draw", "result")
        return browser.post("/read", data={n: found(page, n) for n in names} | {"answer": answer} | more)


def field(browser: httpx.Client, name: str, path: str = "/read") -> str:
    """Return the value of a hidden field of a page."""
    return found(browser.get(path).text, name)


def found(page: str, name: str) -> str:
    """Return the value of a hidden field."""
    value = re.search(rf'name="{name}" value="(\w+)"', page)
    assert value, page
    return value[1]


@contextmanager
def reading_page(folder: Path, engine: Engine, look: Look) -> Iterator[ReadingPage]:
    """Serve the page with an account for each of `PEOPLE`."""
    config = Configuration.model_validate({"state_dir": folder, "status": {"port": 0, "accounts": True}})
    for name, role in PEOPLE.items():
        add_account(engine, name, role, hash_password(PASSWORD, name), anna())
    app = create_app(readers(engine), config, "no pack", "1.2.3", writer=engine, withdraw=lambda *_: None, look=look)
    server = PageServer(app, "127.0.0.1", 0)
    page = ReadingPage(f"http://127.0.0.1:{server.port}")
    try:
        yield page
    finally:
        for browser in page.browsers:
            browser.close()
        server.close()
