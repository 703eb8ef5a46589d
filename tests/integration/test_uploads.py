"""Bodies of requests: long ones at one address, a few at a time, and within a time of their own."""

from __future__ import annotations

import contextlib
import hashlib
import socket
from collections.abc import Iterator

import pytest
from flask import Flask, request

from appliance.config import Status
from appliance.status import server, upload
from appliance.status.guard import Guard
from appliance.status.server import PageChannel, PageServer
from appliance.status.upload import MOST_UPLOADS, UPLOAD_BYTES
from tests.integration.test_page_server import is_closed
from tests.support.waiting import PATIENCE_S, wait_until

OPERATORS = ("olga", "paul", "rosa")


@pytest.fixture
def page() -> Iterator[PageServer]:
    """A server with an application that answers with the digest of the body."""
    app = Flask(__name__)
    app.add_url_rule("/<path:_>", view_func=lambda _: hashlib.sha256(request.get_data()).hexdigest(), methods=["POST"])
    proxy = {"addresses": ["127.0.0.1"], "header": "X-Remote-User", "operators": OPERATORS}
    app.extensions["guard"] = Guard(Status.model_validate({"proxy": proxy}), None)
    page = PageServer(app, "127.0.0.1", 0)
    yield page
    page.close()


@pytest.fixture
def port(page: PageServer) -> int:
    return page.port


def begin(port: int, path: str, length_bytes: int, body: bytes = b"", name: str = "olga") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Remote-User: {name}\r\nContent-Length: {length_bytes}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


def answer(connection: socket.socket) -> tuple[str, str]:
    """Return the status line and the body."""
    received = b""
    with contextlib.closing(connection):
        while b"\r\n\r\n" not in received or not received.partition(b"\r\n\r\n")[2]:
            if not (piece := connection.recv(65536)):
                break
            received += piece
    head, _, body = received.decode().partition("\r\n\r\n")
    return head.partition("\r\n")[0], body


def test_long_body_is_taken_at_its_address_alone(port: int) -> None:
    body = bytes(range(256)) * 4096 * 2
    status, text = answer(begin(port, "/trials", len(body), body))
    assert (status, text) == ("HTTP/1.1 200 OK", hashlib.sha256(body).hexdigest())
    for path in ("/sign-in", "/trials/", "/trials/x", "/Trials"):
        assert "413" in answer(begin(port, path, len(body)))[0], path


def test_body_that_is_too_long_is_refused_by_its_header(port: int) -> None:
    assert "413" in answer(begin(port, "/trials", UPLOAD_BYTES))[0]


def test_body_in_chunks_is_cut_at_the_limit(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload._Adjustments, "max_request_body_size", 100_000)
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
    connection.sendall(b"POST /trials HTTP/1.1\r\nX-Remote-User: olga\r\nTransfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        connection.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n10000\r\n" + bytes(0x10000) + b"\r\n")
    assert "413" in answer(connection)[0]


def test_upload_beyond_the_most_is_refused_until_one_ends(port: int) -> None:
    uploads = [begin(port, "/trials", 1000, b"x", name) for name in OPERATORS[:MOST_UPLOADS]]
    wait_until(lambda: "503" in answer(begin(port, "/trials", 1000, name="rosa"))[0], "the uploads to begin")
    assert "200" in answer(begin(port, "/other", 1, b"x"))[0]
    uploads[0].sendall(bytes(999))
    assert "200" in answer(uploads[0])[0]
    assert "503" in answer(begin(port, "/trials", 1, b"x", OPERATORS[1]))[0], "one slot for an operator"
    assert "200" in answer(begin(port, "/trials", 1, b"x"))[0]
    uploads[1].close()


@pytest.mark.parametrize("name", ["victor", "", "olga,paul"])
def test_file_of_others_than_operators_is_refused_by_its_header(port: int, name: str) -> None:
    assert "403" in answer(begin(port, "/trials", UPLOAD_BYTES - 1, name=name))[0]


def test_upload_has_more_time_than_other_requests_and_not_for_ever(
    page: PageServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def are_begun() -> bool:
        channels = [c for c in page._channels.values() if isinstance(c, PageChannel)]
        return [c.request is not None and c.is_uploading() for c in channels] == [True, False]

    one = begin(page.port, "/trials", 1000, b"x")
    other = begin(page.port, "/other", 1000, b"x")
    wait_until(are_begun, "both requests to begin")
    monkeypatch.setattr(server, "REQUEST_S", 0.0)
    wait_until(lambda: is_closed(other), "the end of the other request")
    assert not is_closed(one)
    monkeypatch.setattr(server, "UPLOAD_S", 0.0)
    wait_until(lambda: is_closed(one), "the end of the upload")
