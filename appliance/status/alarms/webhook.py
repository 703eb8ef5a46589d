"""JSON by POST, for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import httpx

from appliance.config import ClientTls, WebhookAlarm
from appliance.domain.alarm import Channel, Severity
from appliance.http_client import context_of, streamed, system_error
from appliance.network import Deadline, client_context, connection_failure

from .message import Message, not_sent, not_taken

OF_CONTENT = frozenset({400, 413, 422, 500})
"""Statuses that may depend on the content of a message (RFC 9110 section 15)."""


class Webhook:
    """A web server that accepts alarms as JSON."""

    channel = Channel.WEBHOOK

    def __init__(self, config: WebhookAlarm) -> None:
        self.least = Severity(config.severity)
        self._config = config
        self._host = urlsplit(config.url).hostname or ""
        own = client_context(ClientTls(ca=config.ca), "alarms.webhook") if config.ca else None
        self._tls = context_of(config.url, own)

    def send(self, message: Message) -> str:
        """Post a message; each status but 2xx is a failure, a redirect included."""
        content = json.dumps(message.as_json()).encode()
        status = self._status("POST", content=content, headers={"Content-Type": "application/json"})
        if status in OF_CONTENT:
            raise not_taken(f"{self._host} answers {status} to this message; see its log")
        if not 200 <= status < 300:
            raise not_sent(f"{self._host} answers {status}; check alarms.webhook.url and bearer")
        return ""

    def look(self) -> str:
        """Connect and send OPTIONS, which changes nothing on the server."""
        status = self._status("OPTIONS")
        if status in {401, 403}:
            raise not_sent(f"{self._host} answers {status}; check alarms.webhook.bearer")
        return f"{self._host} can be reached; `osteon alarm test` sends a message"

    def _status(self, method: str, content: bytes = b"", headers: Mapping[str, str] = MappingProxyType({})) -> int:
        """Return the status of the response; the content is not read."""
        config, deadline = self._config, Deadline()
        try:
            token = {"Authorization": f"Bearer {_token(config.bearer)}"} if config.bearer else {}
            sent = {**headers, **token}
            with streamed(method, config.url, sent, content, deadline, config.timeout_s, self._tls) as response:
                return response.status_code
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise not_sent(self._failure(error, deadline)) from None
        finally:
            deadline.lift()

    def _failure(self, error: Exception, deadline: Deadline) -> str:
        """Return the reason without the URL, since the URL may contain a secret."""
        if deadline.has_passed or isinstance(error, httpx.TimeoutException):
            return f"{self._host} gave no answer within {self._config.timeout_s:g} s; see its log"
        cause = system_error(error)
        if cause is None:
            return f"{self._host}: {type(error).__name__}"
        if cause.filename:
            return f"{cause.filename} cannot be read: {cause.strerror}"
        return f"{self._host}: {connection_failure(cause, self._host)}"


def _token(path: Path) -> str:
    token = path.read_text(encoding="utf-8").strip()
    if not token or not token.isascii() or any(sign.isspace() for sign in token):
        raise not_sent(f"{path} needs the token alone, without spaces")
    return token
