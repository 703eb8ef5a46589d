"""Who may come in: addresses and AE titles that the site has listed, and never more at a time than there is room for.

Pure decisions and a count; what they cost a peer is always its own connection.
"""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import dataclass
from typing import Final

from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from appliance.config import Receive
from appliance.dicom.transfer_syntaxes import taken
from appliance.domain.reason import ReasonCode
from appliance.network import plain_address

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
"""DICOM PS3.7 A.2.1, the only one there is."""

SPARE = 8
"""Connections beyond the associations that may wait for their verdict: from one address, or from all strangers."""

SPARE_ALL = 32
"""Likewise, from everybody together."""

SERVICES: Final = (Verification, StorageCommitmentPushModel)
"""What is taken beside storage: C-ECHO, and a PACS's reports on what it has of ours (DICOM PS3.4 annex J)."""

BUSY: Final = {"result": 2, "source": 3, "diagnostic": 2}
"""Rejected for now, by presentation, local limit exceeded: DICOM PS3.8 table 9-21."""

LEAST_PDU_BYTES = 128
"""A peer that takes less could not be answered in a sensible number of PDUs; real ones take 4 KiB and more."""


_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]+")
"""DICOM PS3.5 table 6.2-1, AE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why somebody is turned away.

    Attributes
    ----------
    result, source, diagnostic
        The fields of A-ASSOCIATE-RJ, DICOM PS3.8 table 9-21.
    """

    code: ReasonCode
    reason: str
    result: int = 1
    source: int = 1
    diagnostic: int = 1


class Admission:
    """The site's lists."""

    def __init__(self, config: Receive) -> None:
        self._config = config
        self._titles = {config.ae_title.strip(), *(title.strip() for title in config.also_called)}

    def is_known(self, address: str) -> bool:
        """Whether the address stands on the list."""
        at = plain_address(address)
        return any(at in peer.address for peer in self._config.peers)

    def refusal(self, address: str, *, called: str, calling: str) -> Refusal | None:
        """Why the association is rejected, by the fixed head of its request; None if it is not."""
        at = plain_address(address)
        titles = [p.ae_title and p.ae_title.strip() for p in self._config.peers if at in p.address]
        if not titles:
            reason = f"the address {at} is not listed: add it to receive.peers"
            return Refusal(code=ReasonCode.ADDRESS_NOT_LISTED, reason=reason)
        if called not in self._titles:
            reason = f"it called '{called}' and we are '{self._config.ae_title}': correct it there, or add it to "
            return Refusal(code=ReasonCode.CALLED_AE_TITLE, reason=reason + "receive.also_called", diagnostic=7)
        if not _AE_TITLE.fullmatch(calling):
            reason = f"the calling AE title '{calling}' is none: give it one of printable ASCII characters"
            return Refusal(code=ReasonCode.CALLING_AE_TITLE, reason=reason, diagnostic=3)
        if None not in titles and calling not in titles:
            reason = f"the calling AE title '{calling}' is not listed for {at}: add it to receive.peers"
            return Refusal(code=ReasonCode.CALLING_AE_TITLE, reason=reason, diagnostic=3)
        return None

    def contexts(self, request: A_ASSOCIATE) -> dict[str, list[str]]:
        """What is offered: of the proposed abstract syntaxes those that we take, each with its transfer syntaxes."""
        offered = {
            abstract: syntaxes
            if abstract in SERVICES
            else taken(abstract, syntaxes, companions=self._config.companions)
            for abstract, syntaxes in proposals(request).items()
        }
        return {abstract: syntaxes for abstract, syntaxes in offered.items() if syntaxes}


def proposals(request: A_ASSOCIATE) -> dict[str, list[str]]:
    """Abstract syntaxes, each with its transfer syntaxes from all contexts that propose it."""
    proposed: dict[str, dict[str, None]] = {}
    for context in request.presentation_context_definition_list:
        proposed.setdefault(context.abstract_syntax, {}).update(dict.fromkeys(context.transfer_syntax))
    return {abstract: list(syntaxes) for abstract, syntaxes in proposed.items()}


def title_of(field: bytes) -> str:
    """The AE title in 16 bytes without its padding: spaces, or NULs as some write. What may not be there is escaped."""
    return field.strip(b" \0").decode("latin-1").encode("unicode_escape").decode()


def unknown_application(request: A_ASSOCIATE) -> Refusal | None:
    """Rejects what is not for DICOM."""
    if request.application_context_name == APPLICATION_CONTEXT:
        return None
    reason = "its application context is not DICOM's: the peer is broken or no DICOM system"
    return Refusal(code=ReasonCode.APPLICATION_CONTEXT, reason=reason, diagnostic=2)


def violation(request: A_ASSOCIATE) -> str:
    """What is wrong with a request that can be decoded; empty if nothing is (DICOM PS3.8 9.3.2, annex D.1)."""
    contexts = request.presentation_context_definition_list
    numbers = [context.context_id for context in contexts]
    if not numbers:
        return "it proposes no presentation context"
    if len(set(numbers)) < len(numbers) or any(number is None or number % 2 == 0 for number in numbers):
        return "its presentation context ids are not odd and different"
    if not all(context.abstract_syntax and context.transfer_syntax for context in contexts):
        return "a presentation context has no abstract or no transfer syntax"
    length = request.maximum_length_received
    if length is None or 0 < length < LEAST_PDU_BYTES:
        return "its maximum length is absent or too short to be answered"
    return ""


class Places:
    """Connections and associations at a time, altogether and by address."""

    def __init__(self, most: int, most_per_peer: int) -> None:
        self._most, self._most_per_peer = most, most_per_peer
        self._lock = threading.Lock()
        self._connections: Counter[str] = Counter()
        self._associations: Counter[str] = Counter()
        self._strangers: Counter[str] = Counter()

    def arrive(self, address: str, *, known: bool) -> bool:
        """Take a place for a connection that has not been heard yet; False if there is none."""
        with self._lock:
            full = (
                self._connections[address] >= self._most_per_peer + SPARE
                or self._connections.total() >= self._most + SPARE_ALL
                or (not known and self._strangers.total() >= SPARE)
            )
            if full:
                return False
            self._connections[address] += 1
            if not known:
                self._strangers[address] += 1
            return True

    def admit(self, address: str) -> Refusal | None:
        """Take a place for an association; why there is none, for now."""
        with self._lock:
            if self._associations.total() >= self._most:
                reason = f"{self._most} associations at a time: see receive.associations"
                return Refusal(code=ReasonCode.TOO_MANY_ASSOCIATIONS, reason=reason, **BUSY)
            if self._associations[address] >= self._most_per_peer:
                reason = f"{self._most_per_peer} associations from it at a time: see receive.associations_per_peer"
                return Refusal(code=ReasonCode.TOO_MANY_ASSOCIATIONS, reason=reason, **BUSY)
            self._associations[address] += 1
            return None

    def release(self, address: str) -> None:
        """Give the place of an association back."""
        with self._lock:
            self._associations -= Counter({address: 1})

    def leave(self, address: str, *, known: bool) -> None:
        """Give the place of a connection back."""
        with self._lock:
            self._connections -= Counter({address: 1})
            if not known:
                self._strangers -= Counter({address: 1})

    @property
    def associations(self) -> int:
        """How many there are."""
        return self._associations.total()

    @property
    def connections(self) -> int:
        """How many there are, those with an association included."""
        return self._connections.total()
