"""Delivery to a FHIR server: the HTTP status of the response and the status of each of its entries count.

References
----------
HL7 FHIR R4 http.html#transaction-response, http.html#ccreate, http.html#cond-update (412: several match);
RFC 9110 section 15; RFC 6585 (429).
"""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from datetime import datetime

from appliance.domain.reason import ReasonCode
from appliance.errors import Refused, Transient
from appliance.http_client import USUAL, FailureCodes, HttpServer, Statuses
from appliance.network import Probe
from appliance.ports import Artefact

CONTENT_TYPE = "application/fhir+json; charset=utf-8"
ACCEPT = "application/fhir+json"

FAILURES = FailureCodes(
    unreachable=ReasonCode.FHIR_UNREACHABLE,
    too_slow=ReasonCode.FHIR_TOO_SLOW,
    answer=ReasonCode.FHIR_ANSWER,
    asked_to_wait=ReasonCode.FHIR_ASKED_TO_WAIT,
    failed=ReasonCode.FHIR_FAILED,
    refused=ReasonCode.FHIR_REFUSED,
)

STATUSES: Statuses = {
    **USUAL,
    400: (Refused, "it cannot make sense of it; see its log"),
    401: (Transient, "it does not accept our token or certificate; renew it, it is tried again"),
    403: (Refused, "we are not allowed to write; grant it and retry"),
    404: (Refused, "there is no such place, or a patient or study that we refer to; check base_url"),
    405: (Refused, "it takes no transactions there; check base_url"),
    409: (Transient, "another client wrote at the same time; it is tried again"),
    410: (Refused, "a resource that it refers to was deleted"),
    412: (Refused, "several resources have the same identifier, or one that is referred to is missing; see its log"),
    415: (Refused, "it does not read JSON"),
    422: (Refused, "it breaks a rule of the server; see its log"),
}
"""Error and remedy of each status; of all others, 5xx are temporary and the rest is a refusal."""


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
        self._bearer = bearer
        self._server = HttpServer(name, base_url, FAILURES, STATUSES, timeout_s, tls, server_name)

    def capabilities(self) -> Capabilities:
        """Ask for the CapabilityStatement, which every FHIR server has (FHIR R4 http.html#capabilities).

        Raises
        ------
        Transient, Refused
            As `send`; ``fhir_answer`` if the response is no CapabilityStatement.
        """
        response = self._server.exchange("GET", "/metadata", self._headers())
        self._server.check_status(response.status, "/metadata", response.wait_s)
        try:
            found = json.loads(response.content)
            if found["resourceType"] != "CapabilityStatement":
                raise ValueError
            services = [i["code"] for rest in found.get("rest", []) for i in rest.get("interaction", [])]
            version = str(found.get("fhirVersion", ""))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
            raise Transient(
                ReasonCode.FHIR_ANSWER,
                f"{self.name} answers success to /metadata, but with no CapabilityStatement; check base_url",
            ) from None
        return Capabilities(fhir_version=version, services=frozenset(services), at=response.at)

    def probe(self) -> Probe:
        """Connect, with TLS for https, and close: no request is sent."""
        return self._server.probe()

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
        headers = {"Accept": ACCEPT}
        if self._bearer:
            headers["Authorization"] = f"Bearer {self._bearer}"
        return headers

    def _post(self, headers: dict[str, str], artefact: Artefact) -> str:
        response = self._server.exchange("POST", "", headers, artefact.content)
        self._server.check_status(response.status, "the transaction", response.wait_s)
        sent = json.loads(artefact.content)["entry"]
        statuses = self._entry_statuses(response.content, expected=len(sent))
        for number, (status, entry) in enumerate(zip(statuses, sent, strict=True), 1):
            self._server.check_status(status, f"entry {number}, {entry['resource']['resourceType']}")
        created = statuses.count(201)
        return f"accepted: {created} created, {len(statuses) - created} already there or updated"

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
