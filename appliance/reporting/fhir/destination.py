"""A FHIR server that takes our transactions; the status of the answer and of each of its entries is read.

References
----------
HL7 FHIR R4 http.html#transaction-response, http.html#ccreate, http.html#cond-update (412: several match);
RFC 9110 sections 10.2.3 (Retry-After) and 15; RFC 6585 (429).
"""

from __future__ import annotations

import json
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from appliance.domain.reason import ReasonCode
from appliance.errors import Away, OsteonError, Rejected, Transient
from appliance.ports import Artefact

CONTENT_TYPE = "application/fhir+json; charset=utf-8"
ACCEPT = "application/fhir+json"

LONGEST_PAUSE_S = 3600.0
"""A server that asks for a longer one is asked again all the same: a site may have mended it."""

STATUSES: dict[int, tuple[type[OsteonError], str]] = {
    400: (Rejected, "it cannot make sense of it; see its log"),
    401: (Transient, "it does not accept our token or certificate; renew it, it is tried again"),
    403: (Rejected, "we are not allowed to write; grant it and retry"),
    404: (Rejected, "there is no such place, or a patient or study that we refer to; check base_url"),
    405: (Rejected, "it takes no transactions there; check base_url"),
    408: (Transient, "it timed out; it is tried again"),
    409: (Transient, "somebody wrote at the same time; it is tried again"),
    410: (Rejected, "what it refers to was deleted"),
    412: (Rejected, "several resources have the same identifier, or one that is referred to is missing; see its log"),
    413: (Rejected, "it is too large for it; raise its limit"),
    415: (Rejected, "it does not read JSON"),
    422: (Rejected, "it breaks a rule of the server; see its log"),
    425: (Transient, "too early; it is tried again"),
    429: (Away, "too many requests; it is tried again"),
    503: (Away, "it is out of service; it is tried again"),
}
"""What each status means for us; of the others, 5xx pass and the rest is refused."""


def verdict(status: int) -> tuple[type[OsteonError], str] | None:
    """The error that a status is, with what to do about it; None if it is success."""
    if 200 <= status < 300:
        return None
    passing = (Transient, "it is tried again"), (Rejected, "see its log")
    return STATUSES.get(status, passing[status < 500])


class FhirDestination:
    """`base_url` is the server's base, for example ``https://fhir.hospital.example/R4``."""

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
        self._base_url, self._bearer, self._timeout_s, self._tls = base_url.rstrip("/"), bearer, timeout_s, tls
        self._extensions = {"sni_hostname": server_name} if server_name else {}
        self._not_before = 0.0

    def send(self, artefacts: list[Artefact]) -> list[str]:
        """Post each Bundle; a note for each, in words.

        Raises
        ------
        Transient
            The server is away, answers what passes by `STATUSES`, or its answer is no transaction-response.
        Rejected
            Any other status that is no success, of the whole or of an entry.
        """
        if (wait_s := self._not_before - time.monotonic()) > 0:
            raise Away(
                ReasonCode.FHIR_ASKED_TO_WAIT, f"{self.name} asked us to come again in {wait_s:.0f} s (Retry-After)"
            )
        headers = {"Content-Type": CONTENT_TYPE, "Accept": ACCEPT, "Prefer": "return=minimal"}
        if self._bearer:
            headers["Authorization"] = f"Bearer {self._bearer}"
        verify = self._tls if self._tls is not None else True
        with httpx.Client(headers=headers, timeout=self._timeout_s, trust_env=False, verify=verify) as client:
            return [self._post(client, artefact) for artefact in artefacts]

    def _post(self, client: httpx.Client, artefact: Artefact) -> str:
        try:
            response = client.post(self._base_url, content=artefact.content, extensions=self._extensions)
        except httpx.HTTPError as error:
            raise Away(
                ReasonCode.FHIR_UNREACHABLE,
                f"{self.name} at {self._base_url}: {type(error).__name__}; check the server",
            ) from None
        self._not_before = time.monotonic() + pause_s(response.headers.get("Retry-After", ""))
        self._judge(response.status_code, "the transaction")
        sent = json.loads(artefact.content)["entry"]
        statuses = self._entry_statuses(response, expected=len(sent))
        for number, (status, entry) in enumerate(zip(statuses, sent, strict=True), 1):
            self._judge(status, f"entry {number}, {entry['resource']['resourceType']}")
        created = statuses.count(201)
        return f"accepted: {created} created, {len(statuses) - created} already there or updated"

    def _entry_statuses(self, response: httpx.Response, expected: int) -> list[int]:
        """Status of every entry; a server may answer 200 with a failed entry inside."""
        try:
            bundle = response.json()
            if bundle["type"] != "transaction-response" or len(bundle["entry"]) != expected:
                raise ValueError
            return [int(str(entry["response"]["status"])[:3]) for entry in bundle["entry"]]
        except (KeyError, TypeError, ValueError):
            raise Transient(
                ReasonCode.FHIR_ANSWER, f"{self.name} answers success, but with no transaction-response; check its URL"
            ) from None

    def _judge(self, status: int, what: str) -> None:
        if judged := verdict(status):
            error, remedy = judged
            code = ReasonCode.FHIR_REFUSED if error is Rejected else ReasonCode.FHIR_FAILED
            raise error(code, f"{self.name} answers {status} to {what}: {remedy}")


def pause_s(retry_after: str) -> float:
    """Seconds that a Retry-After asks for, as a number or a date; 0 without one, at most `LONGEST_PAUSE_S`."""
    if retry_after.strip().isdecimal():
        return min(float(retry_after), LONGEST_PAUSE_S)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    wait_s = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(wait_s, 0.0), LONGEST_PAUSE_S)
