"""Decisions about connections and associations: listed addresses and AE titles, supported contexts, free slots.

Nothing here reads from or writes to a connection.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from appliance.config import Receive
from appliance.dicom.transfer_syntaxes import accepted_syntaxes
from appliance.domain.reason import ReasonCode
from appliance.network import plain_address

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
"""The application context of DICOM, PS3.7 A.2.1."""

SPARE = 8
"""Connections beyond the associations that may wait for their decision: of one address, or of all strangers."""

SPARE_ALL = 32
"""Connections beyond the associations that may wait for their decision: of all addresses together."""

GIVES_WAY_S = 10.0
"""Silence between two messages after which an association makes room for another, where all places are taken."""

SERVICES: Final = (Verification, StorageCommitmentPushModel)
"""The services beside storage: C-ECHO, and commitment results of a PACS (DICOM PS3.4 annexes A and J)."""

LOCAL_LIMIT_EXCEEDED: Final = {"result": 2, "source": 3, "diagnostic": 2}
"""Rejected-transient by the service provider (presentation), DICOM PS3.8 table 9-21."""

LEAST_PDU_BYTES = 128
"""The shortest PDU length of a peer that can be answered in a sensible number of PDUs; real peers accept 4 KiB."""

_AE_TITLE = re.compile(r"[\x20-\x5b\x5d-\x7e]+")
"""Characters of an AE title, DICOM PS3.5 table 6.2-1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """The reason why a connection is closed, or an association rejected or aborted.

    Attributes
    ----------
    reason
        One sentence for the peer's administrator.
    result, source, diagnostic
        The fields of A-ASSOCIATE-RJ, DICOM PS3.8 table 9-21.
    """

    code: ReasonCode
    reason: str
    result: int = 1
    source: int = 1
    diagnostic: int = 1


class Admission:
    """The site's lists of peers and of its own AE titles."""

    def __init__(self, config: Receive) -> None:
        self._config = config
        self._own_titles = {config.ae_title.strip(), *(title.strip() for title in config.also_called)}

    def is_listed(self, address: str) -> bool:
        """Return whether the address is one of `receive.peers`."""
        at = plain_address(address)
        return any(at in peer.address for peer in self._config.peers)

    def check_titles(self, address: str, *, called: str, calling: str) -> Refusal | None:
        """Check address and AE titles, which are the fixed head of an A-ASSOCIATE-RQ; return None if they are fine."""
        at = plain_address(address)
        titles = [p.ae_title and p.ae_title.strip() for p in self._config.peers if at in p.address]
        if not titles:
            reason = f"the address {at} is not listed: add it to receive.peers"
            return Refusal(code=ReasonCode.ADDRESS_NOT_LISTED, reason=reason)
        if called not in self._own_titles:
            reason = (
                f"it called the AE title '{called}', and Osteon has '{self._config.ae_title}': "
                "correct it at the peer, or add it to receive.also_called"
            )
            return Refusal(code=ReasonCode.CALLED_AE_TITLE, reason=reason, diagnostic=7)
        if not _AE_TITLE.fullmatch(calling):
            reason = f"the calling AE title '{calling}' is not valid: use printable ASCII characters"
            return Refusal(code=ReasonCode.CALLING_AE_TITLE, reason=reason, diagnostic=3)
        if None not in titles and calling not in titles:
            reason = f"the calling AE title '{calling}' is not listed for {at}: add it to receive.peers"
            return Refusal(code=ReasonCode.CALLING_AE_TITLE, reason=reason, diagnostic=3)
        return None

    def supported_contexts(self, request: A_ASSOCIATE) -> dict[str, list[str]]:
        """Return the supported ones of the proposed abstract syntaxes, with their supported transfer syntaxes."""
        supported = {
            abstract: syntaxes
            if abstract in SERVICES
            else accepted_syntaxes(abstract, syntaxes, companions=self._config.companions)
            for abstract, syntaxes in proposed_contexts(request).items()
        }
        return {abstract: syntaxes for abstract, syntaxes in supported.items() if syntaxes}


def proposed_contexts(request: A_ASSOCIATE) -> dict[str, list[str]]:
    """Return the transfer syntaxes of each abstract syntax, from all contexts that propose it."""
    proposed: dict[str, dict[str, None]] = {}
    for context in request.presentation_context_definition_list:
        proposed.setdefault(context.abstract_syntax, {}).update(dict.fromkeys(context.transfer_syntax))
    return {abstract: list(syntaxes) for abstract, syntaxes in proposed.items()}


def decode_ae_title(field: bytes) -> str:
    """Return the AE title of a 16 byte field without its padding of spaces or NULs; invalid characters are escaped."""
    return field.strip(b" \0").decode("latin-1").encode("unicode_escape").decode()


def check_application_context(request: A_ASSOCIATE) -> Refusal | None:
    """Return the refusal of a request that names another application context than DICOM's."""
    if request.application_context_name == APPLICATION_CONTEXT:
        return None
    reason = "its application context is not DICOM's: the peer is faulty, or no DICOM system"
    return Refusal(code=ReasonCode.APPLICATION_CONTEXT, reason=reason, diagnostic=2)


def find_defect(request: A_ASSOCIATE) -> str:
    """Return the defect of a decoded request, or an empty string (DICOM PS3.8 9.3.2, annex D.1)."""
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
        return "its maximum length is absent or too short"
    return ""


class Place:
    """The place of one association among the simultaneous ones.

    Attributes
    ----------
    has_given_way
        Whether another association has the place by now: this one has to end.
    """

    def __init__(self, address: str, wake: Callable[[], None], lock: threading.Lock) -> None:
        self.address = address
        self.wake = wake
        self.has_given_way = False
        self.silent_since: float | None = None
        self._lock = lock

    def begin_silence(self) -> None:
        """Wait for a message: from now on the association may have to give way."""
        self.silent_since = time.monotonic()

    def end_silence(self) -> bool:
        """Return whether a message may begin: the association still has its place, and keeps it during the message."""
        with self._lock:
            self.silent_since = None
            return not self.has_given_way


class Slots:
    """Limits on simultaneous connections and associations, in total and by address; safe for threads."""

    def __init__(self, most: int, most_per_peer: int) -> None:
        self._most = most
        self._most_per_peer = most_per_peer
        self._lock = threading.Lock()
        self._connections: Counter[str] = Counter()
        self._places: set[Place] = set()
        self._strangers: Counter[str] = Counter()

    def take_connection(self, address: str, *, listed: bool) -> bool:
        """Take a slot for a new connection; return False if there is none."""
        with self._lock:
            full = (
                self._connections[address] >= self._most_per_peer + SPARE
                or self._connections.total() >= self._most + SPARE_ALL
                or (not listed and self._strangers.total() >= SPARE)
            )
            if full:
                return False
            self._connections[address] += 1
            if not listed:
                self._strangers[address] += 1
            return True

    def take_association(self, address: str, wake: Callable[[], None]) -> Place | Refusal:
        """Take a place for an association; return the refusal if there is none.

        If all are taken, the association that has been silent for longest, of the address with the most, gives way.

        Parameters
        ----------
        wake
            Wakes the thread of the association when it has to give way.
        """
        with self._lock:
            of_it = sum(place.address == address for place in self._places)
            silent: Place | None = None
            if of_it >= self._most_per_peer or len(self._places) >= self._most:
                silent = self._silent_longest(address if of_it >= self._most_per_peer else None)
                if silent is None:
                    return self._refusal(is_full=len(self._places) >= self._most)
                silent.has_given_way = True
                self._places.remove(silent)
            place = Place(address, wake, self._lock)
            self._places.add(place)
        if silent:
            silent.wake()
        return place

    def _silent_longest(self, address: str | None) -> Place | None:
        """Return the place, of that address or of any, that has to give way; None if no association is silent."""
        before = time.monotonic() - GIVES_WAY_S
        number = Counter(place.address for place in self._places)
        silent = {
            place: place.silent_since
            for place in self._places
            if place.silent_since is not None and place.silent_since < before and address in (None, place.address)
        }
        return max(silent, key=lambda place: (number[place.address], -silent[place]), default=None)

    def _refusal(self, *, is_full: bool) -> Refusal:
        reason = (
            f"more than {self._most} simultaneous associations: see receive.associations"
            if is_full
            else f"more than {self._most_per_peer} simultaneous associations from it: see receive.associations_per_peer"
        )
        return Refusal(code=ReasonCode.TOO_MANY_ASSOCIATIONS, reason=reason, **LOCAL_LIMIT_EXCEEDED)

    def release_association(self, place: Place) -> None:
        """Return the place of an association, unless it has given way."""
        with self._lock:
            self._places.discard(place)

    def release_connection(self, address: str, *, listed: bool) -> None:
        """Return the slot of a connection."""
        with self._lock:
            self._connections -= Counter({address: 1})
            if not listed:
                self._strangers -= Counter({address: 1})

    @property
    def associations(self) -> int:
        """Number of associations."""
        return len(self._places)

    @property
    def connections(self) -> int:
        """Number of connections, those with an association included."""
        return self._connections.total()
