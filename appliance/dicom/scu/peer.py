"""Associations that we open: the peer, the longest PDU, and the reason why an association failed.

Each exchange has a deadline as a whole, and a limit on the bytes that the peer may send in it: negotiation, a request
with all its responses, and the release.

References
----------
DICOM PS3.8 section 9.3.4 (A-ASSOCIATE-RJ) and annex D.1 (maximum length), PS3.15 B.12 (TLS).
"""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import MaximumLengthNotification, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from appliance.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from appliance.domain.reason import ReasonCode
from appliance.errors import Away
from appliance.network import Deadline, connection_failure, probe

LONGEST_PDU = 128 * 1024
"""Eight times pynetdicom's default; longer PDUs were not faster in our measurements."""

GRACE_S = 2.0
"""Time beyond `DicomPeer.timeout_s` after which a connection is cut: pynetdicom's own time-out, which aborts in good
order, comes first unless it waits for the connection."""

LONGEST_NEGOTIATION_BYTES = 131072
"""Bytes that a peer may send before the association is established; an A-ASSOCIATE-AC with every item is shorter."""

LONGEST_EXCHANGE_BYTES = 1_000_000
"""Bytes that a peer may send in one exchange: a thousand matches of a query, where we need one."""

PENDING = frozenset({0xFF00, 0xFF01})
"""Statuses of a response that another one follows: of C-FIND, those with a match (DICOM PS3.4 table C.4-1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DicomPeer:
    """A remote application entity: its address, AE titles, time limit and TLS.

    Attributes
    ----------
    tls
        None for a connection without TLS.
    server_name
        The name in its certificate; empty if that is `host`.
    """

    host: str
    port: int
    called_ae_title: str
    calling_ae_title: str
    timeout_s: float
    max_pdu_bytes: int = LONGEST_PDU
    tls: ssl.SSLContext | None = None
    server_name: str = ""

    def __str__(self) -> str:
        return f"{self.called_ae_title} at {self.host}:{self.port}"


@contextlib.contextmanager
def associated(
    peer: DicomPeer,
    contexts: Sequence[PresentationContext],
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    handlers: Sequence[evt.EventHandlerType] = (),
) -> Iterator[Association]:
    """Open an association for `contexts`, and release it at the end; it is not established if none was accepted.

    Raises
    ------
    Away
        ``unreachable`` if there is no connection, ``association_rejected`` if the peer rejects it.
    """
    ae = AE(ae_title=peer.calling_ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = ae.connection_timeout = peer.timeout_s
    with contextlib.closing(_Guard(peer.timeout_s + GRACE_S)) as guard:
        rejections: list[A_ASSOCIATE_RJ] = []
        try:
            association = ae.associate(
                peer.host,
                peer.port,
                contexts=list(contexts),
                ae_title=peer.called_ae_title,
                max_pdu=peer.max_pdu_bytes,
                ext_neg=list(roles),
                tls_args=(peer.tls, peer.server_name or peer.host) if peer.tls else None,
                evt_handlers=[
                    (evt.EVT_CONN_OPEN, guard.watch),
                    (evt.EVT_PDU_RECV, _note_rejection, [rejections]),
                    (evt.EVT_DIMSE_SENT, guard.begin_exchange),
                    (evt.EVT_DIMSE_RECV, guard.end_exchange),
                    *handlers,
                ],
            )
        except OSError as error:  # of the look-up of the name: pynetdicom keeps every other one
            raise Away(ReasonCode.UNREACHABLE, f"{peer}: {connection_failure(error, peer.host)}") from None
        guard.lift()
        if rejections:  # not `is_rejected`: if the peer closes at once, pynetdicom may take its rejection for an abort
            raise Away(
                ReasonCode.ASSOCIATION_REJECTED,
                f"{peer} rejects the association: {rejections[0].reason_str}; check the AE titles on both sides, "
                "or whether our address is listed there",
            )
        if not association.is_established and not association.rejected_contexts:
            raise Away(ReasonCode.UNREACHABLE, f"no association with {peer}: {_failure(peer, guard.has_passed)}")
        if association.is_established:
            _limit_pdus(association, peer.max_pdu_bytes)
        try:
            yield association
        finally:
            if association.is_established:
                guard.begin_exchange()
                association.release()


PROBE_S = 5.0
"""Time limit of the second connection that finds out why the first one failed."""


def _failure(peer: DicomPeer, is_late: bool) -> str:
    """Return the reason why there is no association, in words: pynetdicom keeps the system's error to itself."""
    if is_late:
        return f"it takes the connection, but no answer came within {peer.timeout_s:g} s; see its log"
    found = probe(peer.host, peer.port, min(peer.timeout_s, PROBE_S), peer.tls, peer.server_name)
    if found.failure:
        return found.failure
    other = "whether it expects a connection without TLS" if peer.tls else "whether it expects TLS"
    return f"it takes the connection, but does not answer as DICOM does; check the port, and {other}"


def _note_rejection(event: Event, rejections: list[A_ASSOCIATE_RJ]) -> None:
    if isinstance(event.pdu, A_ASSOCIATE_RJ):
        rejections.append(event.pdu)


class _Guard:
    """Limits of time and bytes for each exchange of one association; pynetdicom has none for half a PDU."""

    def __init__(self, exchange_s: float) -> None:
        self._exchange_s = exchange_s
        self._deadline = Deadline()
        self._left_bytes = LONGEST_NEGOTIATION_BYTES
        self.lift, self.close = self._deadline.lift, self._deadline.close

    @property
    def has_passed(self) -> bool:
        """Whether the connection was cut."""
        return self._deadline.has_passed

    def watch(self, event: Event) -> None:
        """Watch the new connection, and set TCP_NODELAY: Nagle's algorithm with delayed ACK costs 40 ms a message."""
        transport = event.assoc.dul.socket
        if transport is not None and transport.socket is not None:
            transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            transport.recv = partial(self._receive, transport.recv)
            self._deadline.watch(transport.socket, self._exchange_s)

    def begin_exchange(self, _: Event | None = None) -> None:
        """Begin the limits anew: we send a request."""
        self._left_bytes = LONGEST_EXCHANGE_BYTES
        self._deadline.allow(self._exchange_s)

    def end_exchange(self, event: Event) -> None:
        """Lift the deadline at the last response to a request."""
        if event.message.command_set.get("Status") not in (None, *PENDING):
            self._deadline.lift()

    def _receive(self, receive: Callable[[int], bytearray], number: int) -> bytearray:
        """Receive so many bytes, as `AssociationSocket.recv`, which keeps them all.

        Raises
        ------
        OSError
            The peer sends more than an exchange needs, or claims to: pynetdicom ends the association.
        """
        self._left_bytes -= number
        if self._left_bytes < 0:
            raise OSError(errno.EMSGSIZE, "the peer sends too many bytes")
        return receive(number)


def _limit_pdus(association: Association, most_bytes: int) -> None:
    """Limit the PDUs that we send, even if the peer takes longer ones; 0 means no limit: one PDU for a whole object."""
    for item in association.acceptor.user_information:
        if isinstance(item, MaximumLengthNotification):
            limit_of_peer = item.maximum_length_received or most_bytes
            item.maximum_length_received = min(limit_of_peer, most_bytes)
