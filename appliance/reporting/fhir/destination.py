"""Delivery to a FHIR server: the HTTP status of the response and the status of each of its entries count.

References
----------
HL7 FHIR R4 http.html#transaction-response, http.html#ccreate, http.html#cond-update (412: several match);
RFC 9110 sections 10.2.3 (Retry-After) and 15; RFC 6585 (429).
"""

from __future__ import annotations

import json
import ssl
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx

from appliance.domain.reason import ReasonCode
from appliance.errors import Away, OsteonError, Refused, Transient
from appliance.network import Deadline, Probe, connection_failure, probe
from appliance.ports import Artefact

CONTENT_TYPE = "application/fhir+json; charset=utf-8"
ACCEPT = "application/fhir+json"

LONGEST_RESPONSE_BYTES = 4_000_000
"""Bytes of a response that are read, after decompression: a thousand entries with an outcome of 4 kB each."""

GZIP_OR_ZLIB = 47
"""Window bits by which zlib reads both formats: 15, and 32 for either header (zlib manual, inflateInit2)."""

CONNECTED = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})
"""Trace events of httpcore with a new stream (HTTPX, Request extensions, trace)."""

LONGEST_PAUSE_S = 300.0
"""Longest pause that a server may ask for (Retry-After): it may be repaired much earlier than it thought."""

STATUSES: dict[int, tuple[type[OsteonError], str]] = {
    400: (Refused, "it cannot make sense of it; see its log"),
    401: (Transient, "it does not accept our token or certificate; renew it, it is tried again"),
    403: (Refused, "we are not allowed to write; grant it and retry"),
    404: (Refused, "there is no such place, or a patient or study that we refer to; check base_url"),
    405: (Refused, "it takes no transactions there; check base_url"),
    408: (Transient, "it timed out; it is tried again"),
    409: (Transient, "another client wrote at the same time; it is tried again"),
    410: (Refused, "a resource that it refers to was deleted"),
    412: (Refused, "several resources have the same identifier, or one that is referred to is missing; see its log"),
    413: (Refused, "it is too large for it; raise its limit"),
    415: (Refused, "it does not read JSON"),
    422: (Refused, "it breaks a rule of the server; see its log"),
    425: (Transient, "too early; it is tried again"),
    429: (Away, "too many requests; it is tried again"),
    503: (Transient, "it is out of service; it is tried again"),
}
"""Error and remedy of each status; of all others, 5xx are temporary and the rest is a refusal."""


def verdict(status: int) -> tuple[type[OsteonError], str] | None:
    """Return the error and the remedy for a status, or None for success."""
    if 200 <= status < 300:
        return None
    default = (Refused, "see its log") if status < 500 else (Transient, "it is tried again")
    return STATUSES.get(status, default)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The CapabilityStatement of a server.

    Attributes
    ----------
    services
        Interactions with the whole system that it names, such as ``transaction``; empty if it names none.
    at
        Time of the server by its header Date; None without one.
    """

    fhir_version: str
    services: frozenset[str]
    at: datetime | None


def _date_of(response: httpx.Response) -> datetime | None:
    try:
        at = parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return None
    return at.replace(tzinfo=at.tzinfo or UTC)


class FhirServer:
    """A FHIR server; `base_url` is, for example, ``https://fhir.hospital.example/R4``."""

    def __init__(
        self,
        name: str,
        base_url: str,
        bearer: str | None = None,
        timeout_s: float = 30.0,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
    ) -> None:
        self.name = name
        self._base_url = base_url.rstrip("/")
        self._bearer = bearer
        self._timeout_s = timeout_s
        self._tls = tls
        self._extensions = {"sni_hostname": server_name} if server_name else {}

    def capabilities(self) -> Capabilities:
        """Ask for the CapabilityStatement, which every FHIR server has (FHIR R4 http.html#capabilities).

        Raises
        ------
        Transient, Refused
            As `send`; ``fhir_answer`` if the response is no CapabilityStatement.
        """
        response, content = self._exchange("GET", f"{self._base_url}/metadata", self._headers(), b"")
        self._check_status(response.status_code, "/metadata", response.headers.get("Retry-After", ""))
        try:
            found = json.loads(content)
            if found["resourceType"] != "CapabilityStatement":
                raise ValueError
            services = [i["code"] for rest in found.get("rest", []) for i in rest.get("interaction", [])]
            version = str(found.get("fhirVersion", ""))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise Transient(
                ReasonCode.FHIR_ANSWER,
                f"{self.name} answers success to /metadata, but with no CapabilityStatement; check base_url",
            ) from None
        return Capabilities(fhir_version=version, services=frozenset(services), at=_date_of(response))

    def probe(self) -> Probe:
        """Connect, with TLS for https, and close: no request is sent."""
        parts = urlsplit(self._base_url)
        is_secure = parts.scheme == "https"
        tls = (self._tls or ssl.create_default_context()) if is_secure else None
        port = parts.port or (443 if is_secure else 80)
        return probe(parts.hostname or "", port, self._timeout_s, tls, self._extensions.get("sni_hostname", ""))

    def send(self, artefacts: list[Artefact]) -> list[str]:
        """Post each Bundle; return a note on each, for people.

        Raises
        ------
        Transient
            The server is away, its status is temporary by `STATUSES`, or its response is no transaction-response.
        Refused
            The transaction or an entry has any other status but success.
        """
        headers = {**self._headers(), "Content-Type": CONTENT_TYPE, "Prefer": "return=minimal"}
        return [self._post(headers, artefact) for artefact in artefacts]

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
        if self._bearer:
            headers["Authorization"] = f"Bearer {self._bearer}"
        return headers

    def _post(self, headers: dict[str, str], artefact: Artefact) -> str:
        response, content = self._exchange("POST", self._base_url, headers, artefact.content)
        self._check_status(response.status_code, "the transaction", response.headers.get("Retry-After", ""))
        sent = json.loads(artefact.content)["entry"]
        statuses = self._entry_statuses(content, expected=len(sent))
        for number, (status, entry) in enumerate(zip(statuses, sent, strict=True), 1):
            self._check_status(status, f"entry {number}, {entry['resource']['resourceType']}")
        created = statuses.count(201)
        return f"accepted: {created} created, {len(statuses) - created} already there or updated"

    def _exchange(self, method: str, url: str, headers: dict[str, str], content: bytes) -> tuple[httpx.Response, bytes]:
        """Send a request on a connection of its own; return the response, and its content if it is a success."""
        deadline = Deadline()

        def watch(event: str, values: dict[str, Any]) -> None:
            if event in CONNECTED:
                deadline.watch(values["return_value"].get_extra_info("socket"), self._timeout_s)

        verify = self._tls if self._tls is not None else True
        extensions = {**self._extensions, "trace": watch}
        try:
            with (
                httpx.Client(headers=headers, timeout=self._timeout_s, trust_env=False, verify=verify) as client,
                client.stream(method, url, content=content, extensions=extensions) as response,
            ):
                received = self._content(response) if response.is_success else b""
        except httpx.HTTPError as error:
            if deadline.has_passed or isinstance(error, httpx.ReadTimeout | httpx.WriteTimeout):
                raise self._too_slow() from None
            # once there is a connection, the message itself may be what ends it
            cause = _system_error(error)
            is_unconnected = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
            is_away = is_unconnected or isinstance(cause, ssl.SSLError)
            why = f"{type(error).__name__}; check the server"
            if is_away and cause:
                why = connection_failure(cause, urlsplit(self._base_url).hostname or "")
            raise (Away if is_away else Transient)(
                ReasonCode.FHIR_UNREACHABLE, f"{self.name} at {self._base_url}: {why}"
            ) from None
        finally:
            deadline.lift()
        if deadline.has_passed and response.is_success:  # a content without a length ends with its connection
            raise self._too_slow()
        return response, received

    def _content(self, response: httpx.Response) -> bytes:
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
                        ReasonCode.FHIR_ANSWER,
                        f"{self.name} answers success with more than {LONGEST_RESPONSE_BYTES} bytes; check its URL",
                    )
        except zlib.error:
            return b""
        return bytes(content)

    def _too_slow(self) -> Transient:
        reason = f"{self.name} at {self._base_url}: no whole response within {self._timeout_s:g} s; see its log"
        return Transient(ReasonCode.FHIR_TOO_SLOW, reason)

    def _entry_statuses(self, content: bytes, expected: int) -> list[int]:
        """Return the status of every entry; a server may answer 200 with a failed entry inside."""
        try:
            bundle = json.loads(content)
            if bundle["type"] != "transaction-response" or len(bundle["entry"]) != expected:
                raise ValueError
            return [int(str(entry["response"]["status"])[:3]) for entry in bundle["entry"]]
        except (KeyError, TypeError, ValueError, RecursionError):
            raise Transient(
                ReasonCode.FHIR_ANSWER, f"{self.name} answers success, but with no transaction-response; check its URL"
            ) from None

    def _check_status(self, status: int, subject: str, retry_after: str = "") -> None:
        """Raise the error that the status stands for."""
        if judged := verdict(status):
            error, remedy = judged
            reason = f"{self.name} answers {status} to {subject}: {remedy}"
            if not issubclass(error, Refused) and (wait_s := pause_s(retry_after)):
                reason += f"; it asked us to wait {wait_s:.0f} s (Retry-After)"
                raise Away(ReasonCode.FHIR_ASKED_TO_WAIT, reason, wait_s)
            raise error(ReasonCode.FHIR_REFUSED if error is Refused else ReasonCode.FHIR_FAILED, reason)


def _system_error(error: BaseException) -> OSError | None:
    """Return the error of socket or TLS that `error` comes from.

    With TLS 1.3 a client learns only after the handshake that its certificate is refused.
    """
    if isinstance(error, OSError):
        return error
    cause = error.__cause__ or error.__context__
    return _system_error(cause) if cause else None


def pause_s(retry_after: str) -> float:
    """Return the seconds that a Retry-After asks for, a number or a date: 0 without one, at most `LONGEST_PAUSE_S`."""
    if retry_after.strip().isdecimal():
        return min(float(retry_after), LONGEST_PAUSE_S)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    wait_s = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(wait_s, 0.0), LONGEST_PAUSE_S)
