"""Requests to web servers: each has a deadline as a whole, and a limit on the bytes of its response.

References
----------
RFC 9110 sections 10.2.3 (Retry-After) and 15 (status codes).
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import httpx

from appliance.domain.reason import ReasonCode
from appliance.errors import Away, OsteonError, Refused, Transient
from appliance.network import Deadline, Probe, connection_failure, probe

LONGEST_RESPONSE_BYTES = 4_000_000
"""Bytes of a response that are read, after decompression: a thousand entries with an outcome of 4 kB each."""

GZIP_OR_ZLIB = 47
"""Window bits by which zlib reads both formats: 15, and 32 for either header (zlib manual, inflateInit2)."""

CONNECTED = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})
"""Trace events of httpcore with a new stream (HTTPX, Request extensions, trace)."""

Statuses = Mapping[int, tuple[type[OsteonError], str]]
"""Error and remedy of each status code; of all others, 5xx are temporary and the rest is a refusal."""

USUAL: Statuses = {
    408: (Transient, "it timed out; it is tried again"),
    413: (Refused, "it is too large for it; raise its limit"),
    425: (Transient, "too early; it is tried again"),
    429: (Away, "too many requests; it is tried again"),
    503: (Transient, "it is out of service; it is tried again"),
}
"""Statuses that mean the same at every server."""

LONGEST_PAUSE_S = 300.0
"""Longest pause that a server may ask for (Retry-After): it may be repaired much earlier than it thought."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureCodes:
    """Reason codes of an exchange that failed, for one kind of destination.

    Attributes
    ----------
    unreachable
        There is no connection, or it ended within the exchange.
    too_slow
        No whole response came in time.
    answer
        The response is longer than `LONGEST_RESPONSE_BYTES`.
    asked_to_wait, failed, refused
        The status is temporary, with Retry-After or without it; or a refusal.
    """

    unreachable: ReasonCode
    too_slow: ReasonCode
    answer: ReasonCode
    asked_to_wait: ReasonCode
    failed: ReasonCode
    refused: ReasonCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """The response to a request.

    Attributes
    ----------
    content
        Empty unless the status is a success, or one whose content was asked for.
    wait_s
        Seconds that the server asks to wait (Retry-After): 0 if it does not, at most `LONGEST_PAUSE_S`.
    at
        Time of the server by its header Date; None without one.
    """

    status: int
    content: bytes = field(repr=False)
    wait_s: float
    at: datetime | None


class HttpServer:
    """A web server; `base_url` is, for example, ``https://fhir.hospital.example/R4``."""

    def __init__(
        self,
        name: str,
        base_url: str,
        codes: FailureCodes,
        statuses: Statuses,
        timeout_s: float,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        self.name = name
        self.base_url = base_url.rstrip("/")
        self._codes = codes
        self._statuses = statuses
        self._timeout_s = timeout_s
        self._tls = context_of(base_url, tls)
        self._extensions = {"sni_hostname": server_name} if server_name else {}

    def __str__(self) -> str:
        return f"{self.name} at {self.base_url}"

    def probe(self) -> Probe:
        """Connect, with TLS for https, and close: no request is sent."""
        parts = urlsplit(self.base_url)
        port = parts.port or (443 if self._tls else 80)
        return probe(parts.hostname or "", port, self._timeout_s, self._tls, self._extensions.get("sni_hostname", ""))

    def exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        content: bytes = b"",
        read_too: Collection[int] = (),
    ) -> Response:
        """Send a request on a connection of its own; read the content of a success, and of the statuses `read_too`.

        Raises
        ------
        Away
            There is no connection.
        Transient
            The exchange failed after that.
        """
        deadline = Deadline()
        encoded = {**headers, "Accept-Encoding": "gzip"}
        url, extensions = f"{self.base_url}{path}", self._extensions
        try:
            with streamed(method, url, encoded, content, deadline, self._timeout_s, self._tls, extensions) as response:
                is_read = response.is_success or response.status_code in read_too
                received = self._read(response) if is_read else b""
        except (httpx.HTTPError, httpx.InvalidURL) as error:  # the latter: an absurd Location
            if deadline.has_passed or isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
                raise self._too_slow() from None
            # once there is a connection, the message itself may be what ends it
            cause = system_error(error)
            is_unconnected = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
            is_away = is_unconnected or isinstance(cause, ssl.SSLError)
            why = f"{type(error).__name__}; check the server"
            if is_away and cause:
                why = connection_failure(cause, urlsplit(self.base_url).hostname or "")
            reason = f"{self}: {why}"
            if is_away:
                raise Away(self._codes.unreachable, reason, was_sent=not is_unconnected) from None
            raise Transient(self._codes.unreachable, reason) from None
        finally:
            deadline.lift()
        if deadline.has_passed and is_read:  # a content without a length ends with its connection
            raise self._too_slow()
        return Response(
            status=response.status_code,
            content=received,
            wait_s=pause_s(response.headers.get("Retry-After", "")),
            at=_read_date(response.headers.get("Date", "")),
        )

    def check_status(self, status: int, subject: str, wait_s: float = 0.0) -> None:
        """Raise the error that the status of `subject` stands for; return if it is a success."""
        if judged := verdict(status, self._statuses):
            error, remedy = judged
            reason = f"{self.name} answers {status} to {subject}: {remedy}"
            if not issubclass(error, Refused) and wait_s:
                reason += f"; it asked us to wait {wait_s:.0f} s (Retry-After)"
                error = Away
            if error is Away:
                raise Away(self._codes.asked_to_wait, reason, wait_s, was_sent=True)
            raise error(self._codes.refused if error is Refused else self._codes.failed, reason)

    def _read(self, response: httpx.Response) -> bytes:
        """Read and decompress the content, up to `LONGEST_RESPONSE_BYTES`."""
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        inflate = None if encoding == "identity" else zlib.decompressobj(GZIP_OR_ZLIB)
        content = bytearray()
        try:
            for piece in response.iter_raw():
                left = LONGEST_RESPONSE_BYTES + 1 - len(content)
                content += inflate.decompress(piece, left) if inflate else piece
                if len(content) > LONGEST_RESPONSE_BYTES:
                    raise Transient(
                        self._codes.answer,
                        f"{self.name} answers {response.status_code} with more than {LONGEST_RESPONSE_BYTES} bytes; "
                        "check its URL",
                    )
        except zlib.error:
            return b""
        return bytes(content)

    def _too_slow(self) -> Transient:
        reason = f"{self}: no whole response within {self._timeout_s:g} s; see its log"
        return Transient(self._codes.too_slow, reason)


def verdict(status: int, statuses: Statuses) -> tuple[type[OsteonError], str] | None:
    """Return the error and the remedy for a status, or None for success."""
    if 200 <= status < 300:
        return None
    default = (Refused, "see its log") if status < 500 else (Transient, "it is tried again")
    return statuses.get(status, default)


@contextmanager
def streamed(
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: bytes,
    deadline: Deadline,
    timeout_s: float,
    tls: ssl.SSLContext | None,
    extensions: Mapping[str, Any] = MappingProxyType({}),
) -> Iterator[httpx.Response]:
    """Send a request on a connection of its own and yield its response, the content of which is not read yet.

    No redirect is followed, and no proxy of the environment is used. After `timeout_s` `deadline` ends the connection.
    Raises as httpx does.
    """

    def watch(event: str, values: dict[str, Any]) -> None:
        if event in CONNECTED:
            deadline.watch(values["return_value"].get_extra_info("socket"), timeout_s)

    traced = {**extensions, "trace": watch}
    verify = tls or False  # no connection without TLS is verified
    with (
        httpx.Client(headers=headers, timeout=timeout_s, trust_env=False, verify=verify) as client,
        client.stream(method, url, content=content, extensions=traced) as response,
    ):
        yield response


def context_of(url: str, tls: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """Return the context for an address: `tls`, else one with the certificates of this machine; None without https."""
    return (tls or ssl.create_default_context()) if urlsplit(url).scheme == "https" else None


def system_error(error: BaseException) -> OSError | None:
    """Return the error of file, socket or TLS that `error` comes from; None if there is none.

    With TLS 1.3 a client learns only after the handshake that its certificate is refused.
    """
    if isinstance(error, OSError):
        return error
    cause = error.__cause__ or error.__context__
    return system_error(cause) if cause else None


def _read_date(given: str) -> datetime | None:
    try:
        at = parsedate_to_datetime(given)
    except (ValueError, OverflowError):
        return None
    return at.replace(tzinfo=at.tzinfo or UTC)


def pause_s(retry_after: str) -> float:
    """Return the seconds that a Retry-After asks for, a number or a date: 0 without one, at most `LONGEST_PAUSE_S`."""
    if retry_after.strip().isdecimal():
        return min(float(retry_after), LONGEST_PAUSE_S)
    at = _read_date(retry_after)
    wait_s = (at - datetime.now(UTC)).total_seconds() if at else 0.0
    return min(max(wait_s, 0.0), LONGEST_PAUSE_S)
