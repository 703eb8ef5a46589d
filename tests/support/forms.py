"""Forms of the page, filled in as a browser does."""

from __future__ import annotations

import re

from flask.testing import FlaskClient
from werkzeug.test import TestResponse


def csrf_of(page: str) -> str:
    """Return the token in the forms of a page."""
    found = re.search(r'name="csrf" value="(\w+)"', page)
    assert found, "the page has no form"
    return found[1]


def look_up(client: FlaskClient, number: str) -> TestResponse:
    """Look up a radiograph by the form of the overview."""
    return client.post("/radiographs", data={"csrf": csrf_of(client.get("/").text), "number": number})
