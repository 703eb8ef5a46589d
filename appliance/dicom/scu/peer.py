"""Associations that we open: the peer, the longest PDU, and the reason why an association failed.

References
----------
DICOM PS3.8 section 9.3.4 (A-ASSOCIATE-RJ) and annex D.1 (maximum length), PS3.15 B.12 (TLS).
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.events import Event
from pynetdicom.pdu import A_ASSOCIATE_RJ
from pynetdicom.pdu_primitives import MaximumLengthNotification, SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext

from appliance.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from appliance.domain.reason import ReasonCode
from appliance.errors import Away

LONGEST_PDU = 128 * 1024
"""Eight times pynetdicom's default; longer PDUs were not faster in our measurements."""


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
    rejections: list[A_ASSOCIATE_RJ] = []
    association = ae.associate(
        peer.host,
        peer.port,
        contexts=list(contexts),
        ae_title=peer.called_ae_title,
        max_pdu=peer.max_pdu_bytes,
        ext_neg=list(roles),
        tls_args=(peer.tls, peer.server_name or peer.host) if peer.tls else None,
        evt_handlers=[
            (evt.EVT_CONN_OPEN, _set_tcp_nodelay),
            (evt.EVT_PDU_RECV, _note_rejection, [rejections]),
            *handlers,
        ],
    )
    if rejections:  # not `is_rejected`: if the peer closes at once, pynetdicom may take its rejection for an abort
        raise Away(
            ReasonCode.ASSOCIATION_REJECTED,
            f"{peer} rejects the association: {rejections[0].reason_str}; check the AE titles on both sides",
        )
    if not association.is_established and not association.rejected_contexts:
        check = "check its certificate and ours, that it" if peer.tls else "check that it"
        raise Away(
            ReasonCode.UNREACHABLE, f"no association with {peer}; {check} runs and that the network lets us through"
        )
    if association.is_established:
        _limit_pdus(association, peer.max_pdu_bytes)
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _note_rejection(event: Event, rejections: list[A_ASSOCIATE_RJ]) -> None:
    if isinstance(event.pdu, A_ASSOCIATE_RJ):
        rejections.append(event.pdu)


def _set_tcp_nodelay(event: Event) -> None:
    """Set TCP_NODELAY: Nagle's algorithm with delayed ACK costs 40 ms per message."""
    transport = event.assoc.dul.socket
    if transport is not None and transport.socket is not None:
        transport.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _limit_pdus(association: Association, most_bytes: int) -> None:
    """Limit the PDUs that we send, even if the peer takes longer ones; 0 means no limit: one PDU for a whole object."""
    for item in association.acceptor.user_information:
        if isinstance(item, MaximumLengthNotification):
            limit_of_peer = item.maximum_length_received or most_bytes
            item.maximum_length_received = min(limit_of_peer, most_bytes)
