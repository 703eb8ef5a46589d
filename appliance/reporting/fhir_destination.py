"""A FHIR server that takes our transactions; the status of the answer and of each of its entries is read.

References
----------
HL7 FHIR R4 http.html#transaction-response; RFC 9110 section 15; RFC 6585 (429).
"""

from __future__ import annotations

import json

import httpx

from appliance.errors import Rejected, Transient
from appliance.ports import Artefact

PASSING = frozenset({401, 408, 409, 425, 429})
"""Client errors that pass: a token about to be renewed, a timeout, a clash, too early, too many."""

CONTENT_TYPE = "application/fhir+json; charset=utf-8"
ACCEPT = "application/fhir+json"


class FhirDestination:
    """`base_url` is the server's base, for example ``https://fhir.hospital.example/R4``."""

    def __init__(self, name: str, base_url: str, bearer: str | None = None, timeout_s: float = 30.0) -> None:
        self.name = name
        self._base_url, self._bearer, self._timeout_s = base_url.rstrip("/"), bearer, timeout_s

    def send(self, artefacts: list[Artefact]) -> list[str]:
        """Post each Bundle; a note for each, in words.

        Raises
        ------
        Transient
            The server is away, answers 5xx or one of `PASSING`, or its answer is no transaction-response.
        Rejected
            Any other status that is no success, of the whole or of an entry.
        """
        headers = {"Content-Type": CONTENT_TYPE, "Accept": ACCEPT, "Prefer": "return=minimal"}
        if self._bearer:
            headers["Authorization"] = f"Bearer {self._bearer}"
        with httpx.Client(headers=headers, timeout=self._timeout_s, trust_env=False) as client:
            return [self._post(client, artefact) for artefact in artefacts]

    def _post(self, client: httpx.Client, artefact: Artefact) -> str:
        try:
            response = client.post(self._base_url, content=artefact.content)
        except httpx.HTTPError as error:
            raise Transient(
                "fhir_unreachable",
                f"{self.name} at {self._base_url}: {type(error).__name__}; check the server",
            ) from None
        self._judge(response.status_code, "the transaction")
        statuses = self._entry_statuses(response, expected=len(json.loads(artefact.content)["entry"]))
        for number, status in enumerate(statuses, 1):
            self._judge(status, f"entry {number}")
        created = statuses.count(201)
        return f"accepted: {created} created, {len(statuses) - created} already there"

    def _entry_statuses(self, response: httpx.Response, expected: int) -> list[int]:
        """Status of every entry; a server may answer 200 with a failed entry inside."""
        try:
            bundle = response.json()
            if bundle["type"] != "transaction-response" or len(bundle["entry"]) != expected:
                raise ValueError
            return [int(str(entry["response"]["status"])[:3]) for entry in bundle["entry"]]
        except (KeyError, TypeError, ValueError):
            raise Transient(
                "fhir_answer", f"{self.name} answers success, but with no transaction-response; check its URL"
            ) from None

    def _judge(self, status: int, what: str) -> None:
        if 200 <= status < 300:
            return
        reason = f"{self.name} answers {status} to {what}"
        if status >= 500 or status in PASSING:
            raise Transient(f"fhir_{status}", f"{reason}; it is tried again")
        raise Rejected(f"fhir_{status}", f"{reason}; see the server's log")
