"""Real servers that take alarms: mail by SMTP, and JSON by HTTP."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from tests.support.certificates import Pair
from tests.support.ports import free_ports


@dataclass
class MailServer:
    """A mail server on loopback.

    Attributes
    ----------
    mails
        The mails that it took.
    refusal
        Reply to every mail, such as ``451 busy``; empty to take it.
    refused_word
        A mail with this word in its text is refused for good.
    refused_recipients
        Addresses that the server does not know.
    """

    port: int
    mails: list[EmailMessage] = field(default_factory=list)
    refusal: str = ""
    refused_word: str = ""
    refused_recipients: frozenset[str] = frozenset()

    async def handle_RCPT(self, server: Any, session: Session, envelope: Envelope, address: str, _: list[str]) -> str:
        if address in self.refused_recipients:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 known"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        if self.refusal:
            return self.refusal
        mail = message_from_bytes(envelope.content or b"", policy=policy.default)  # type: ignore[arg-type]
        if self.refused_word and self.refused_word in mail.get_content():
            return "554 refused by the filter of content"
        self.mails.append(mail)
        return "250 taken"


USER, PASSWORD = "osteon", "correct horse"


def _authenticate(_server: Any, _session: Any, _envelope: Any, _mechanism: str, given: Any) -> AuthResult:
    right = isinstance(given, LoginPassword) and (given.login, given.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


@contextmanager
def mail_server(pair: Pair | None = None) -> Iterator[MailServer]:
    """Run a mail server; with a certificate it demands STARTTLS and a sign-in."""
    server = MailServer(port=free_ports(1)[0])
    options: dict[str, Any] = {}
    if pair:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        options = {
            "tls_context": context,
            "require_starttls": True,
            "auth_required": True,
            "authenticator": _authenticate,
        }
    controller = Controller(server, hostname="127.0.0.1", port=server.port, **options)
    controller.start()
    try:
        yield server
    finally:
        controller.stop()


@dataclass
class HookServer:
    """A server of webhooks on loopback.

    Attributes
    ----------
    posts
        The header Authorization and the content of each request that it took.
    status
        Status of every response.
    """

    port: int = 0
    posts: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    status: int = 204


@contextmanager
def hook_server() -> Iterator[HookServer]:
    """Run a server of webhooks."""
    seen = HookServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if 200 <= seen.status < 300:
                seen.posts.append((self.headers.get("Authorization", ""), content))
            self.send_response(seen.status)
            self.send_header("Location", f"http://127.0.0.1:{seen.port}/elsewhere")
            self.end_headers()

        def do_OPTIONS(self) -> None:
            self.send_response(seen.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    seen.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
