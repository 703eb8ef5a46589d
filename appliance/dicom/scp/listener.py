"""A TCP port that decides about each association before any service sees it.

Every connection has one thread. It performs the TLS handshake and reads the A-ASSOCIATE-RQ within one time limit, and
then rejects, aborts, or runs the association (`upper_layer.Association`).
"""

from __future__ import annotations

import contextlib
import logging
import socket
import socketserver
import ssl
import threading
import time
from typing import Any, cast

from pynetdicom.pdu import A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE

from appliance.domain.reason import ReasonCode
from appliance.network import plain_address, tls_reason

from .admission import Admission, Place, Refusal, Slots, check_application_context, decode_ae_title, find_defect
from .request_items import used_items
from .service import Requestor, Service
from .upper_layer import INVALID_PARAMETER_VALUE, Association, PduType, abort_pdu, read_into, send_last
from .violation import Violation, hostile_bytes

REQUEST_BYTES = 524288
"""An A-ASSOCIATE-RQ with all 128 presentation contexts, each with every transfer syntax there is, is shorter."""

HEAD_BYTES = 74
"""The fixed part of an A-ASSOCIATE-RQ, up to its first item (DICOM PS3.8 table 9-11)."""

CALLED_AT, CALLING_AT, TITLE_BYTES = 10, 26, 16
"""Both AE titles in that part."""

POLL_S = 60.0
"""Interval at which a listener checks whether to stop; `Listener.close` does not wait for it."""

STOP_S = 2.0
"""Time for the associations to send their A-ABORT when the receiver stops."""

TLS_HANDSHAKE = 0x16
"""First byte of a TLS connection, RFC 8446 section 5.1."""

log = logging.getLogger(__name__)


class Listener(socketserver.ThreadingTCPServer):
    """A TCP port, with or without TLS, that is served from its construction until `close`.

    Parameters
    ----------
    request_s
        Time from the connection to the end of its A-ASSOCIATE-RQ.
    idle_s
        Silence after which an association is aborted.
    tls
        Makes this a port for TLS.

    Raises
    ------
    OSError
        `socket.gaierror` if the host has no address.
    """

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(
        self,
        host: str,
        port: int,
        admission: Admission,
        slots: Slots,
        service: Service,
        *,
        request_s: float,
        idle_s: float,
        tls: ssl.SSLContext | None,
    ) -> None:
        self.admission = admission
        self.slots = slots
        self.service = service
        self.request_s = request_s
        self.idle_s = idle_s
        self.tls = tls
        self.stopping = threading.Event()
        self._changed = threading.Condition()
        self._connections: set[_IncomingConnection] = set()
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        self.address_family = family
        super().__init__(cast(tuple[str, int], address), socketserver.BaseRequestHandler)
        self.port = int(self.server_address[1])
        threading.Thread(target=self.serve_forever, args=(POLL_S,), name="listener", daemon=True).start()

    def close(self) -> None:
        """Stop listening, and abort the associations; their senders repeat every instance without a response."""
        self.socket.shutdown(socket.SHUT_RDWR)  # ends the wait for a connection
        self.shutdown()
        self.server_close()
        self.stopping.set()
        with self._changed:
            for connection in self._connections:
                connection.interrupt()
            self._changed.wait_for(lambda: not self._connections, STOP_S)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Take a slot, or close the connection at once: under an attack, threads are scarce."""
        address = client_address[0]
        if self.slots.take_connection(address, listed=self.admission.is_listed(address)):
            return True
        reason = "too many simultaneous connections without an association: is it a scanner?"
        refusal = Refusal(code=ReasonCode.TOO_MANY_CONNECTIONS, reason=reason)
        self.service.note_refused(Requestor(address=str(plain_address(address))), refusal)
        return False

    def process_request(self, request: Any, client_address: Any) -> None:
        """Start the thread of a connection; return the slot if no thread can be started."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            log.error("cannot start a thread for a connection: raise TasksMax of the unit")
            self.shutdown_request(request)
            address = client_address[0]
            self.slots.release_connection(address, listed=self.admission.is_listed(address))

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection from its handshake to its end."""
        connection = _IncomingConnection(self, request, client_address[0])
        with self._changed:
            self._connections.add(connection)
        try:
            connection.run()
        finally:
            connection.close()
            with self._changed:
                self._connections.remove(connection)
                self._changed.notify_all()


class _IncomingConnection:
    """One TCP connection of a requestor."""

    def __init__(self, listener: Listener, connection: socket.socket, address: str) -> None:
        self._listener = listener
        self._socket = connection
        self._address = address
        self._is_listed = listener.admission.is_listed(address)
        self._requestor = Requestor(address=str(plain_address(address)))
        self._sent_something = False

    def run(self) -> None:
        """Read the request of an association, decide about it, and run it if it is admitted."""
        deadline = time.monotonic() + self._listener.request_s
        try:
            self._handshake(deadline)
            admitted = self._admitted_request(deadline)
        except Violation as violation:
            self._refuse(Refusal(code=violation.code, reason=violation.reason))
            send_last(self._socket, abort_pdu(*INVALID_PARAMETER_VALUE))
        except OSError as error:
            if not self._listener.stopping.is_set():
                self._note_failure(error)
        else:
            if admitted:
                self._run_association(*admitted)

    def interrupt(self) -> None:
        """Wake the thread of this connection, from another thread, as if the peer had closed its side."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RD)  # SSLSocket.shutdown would end TLS in mid-record

    def close(self) -> None:
        """Close the connection, and return its slot."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._listener.slots.release_connection(self._address, listed=self._is_listed)

    def _handshake(self, deadline: float) -> None:
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls := self._listener.tls:
            self._socket = tls.wrap_socket(self._socket, server_side=True, do_handshake_on_connect=False)
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            self._socket.do_handshake()

    def _admitted_request(self, deadline: float) -> tuple[A_ASSOCIATE, Place] | None:
        """Read the request and take a place for its association; send A-ASSOCIATE-RJ and return None if it is refused.

        Raises
        ------
        Violation
        OSError
        """
        listener = self._listener
        head = self._read_head(deadline)
        called = decode_ae_title(bytes(head[CALLED_AT : CALLED_AT + TITLE_BYTES]))
        calling = decode_ae_title(bytes(head[CALLING_AT : CALLING_AT + TITLE_BYTES]))
        self._requestor = Requestor(address=self._requestor.address, calling_ae_title=calling, called_ae_title=called)
        if refusal := listener.admission.check_titles(self._address, called=called, calling=calling):
            self._reject(refusal)  # the rest, which takes long to decode, is not even read
            return None
        request = self._read_request(head, deadline)
        with hostile_bytes(ReasonCode.MALFORMED_REQUEST, "its association request"):
            refusal = check_application_context(request)
            defect = find_defect(request)
        if refusal is None and defect:
            raise Violation(ReasonCode.MALFORMED_REQUEST, f"its association request is malformed: {defect}")
        place = refusal or listener.slots.take_association(self._address, self.interrupt)
        if isinstance(place, Refusal):
            self._reject(place)
            return None
        return request, place

    def _read_head(self, deadline: float) -> bytearray:
        """Read the fixed part of the request."""
        head = bytearray(HEAD_BYTES)
        read_into(self._socket, memoryview(head)[:1], deadline)
        self._sent_something = True
        if head[0] == TLS_HANDSHAKE:
            reason = "it speaks TLS to the port without TLS: use receive.tls.port"
            raise Violation(ReasonCode.TLS_ON_PLAIN_PORT, reason)
        if head[0] != PduType.A_ASSOCIATE_RQ:
            reason = "it does not begin with an association request: is it a DICOM system?"
            raise Violation(ReasonCode.NO_ASSOCIATION_REQUEST, reason)
        read_into(self._socket, memoryview(head)[1:6], deadline)
        if not HEAD_BYTES <= 6 + int.from_bytes(head[2:6]) <= 6 + REQUEST_BYTES:
            reason = f"its association request is shorter than {HEAD_BYTES} or longer than {REQUEST_BYTES} bytes"
            raise Violation(ReasonCode.MALFORMED_REQUEST, reason)
        read_into(self._socket, memoryview(head)[6:], deadline)
        return head

    def _read_request(self, head: bytearray, deadline: float) -> A_ASSOCIATE:
        """Read the items that follow `head`, and decode the request."""
        body = bytearray(6 + int.from_bytes(head[2:6]) - HEAD_BYTES)
        read_into(self._socket, memoryview(body), deadline)
        padded = bytearray(head)
        titles = {CALLED_AT: self._requestor.called_ae_title, CALLING_AT: self._requestor.calling_ae_title}
        for offset, title in titles.items():  # the library accepts no padding but spaces
            padded[offset : offset + TITLE_BYTES] = title.ljust(TITLE_BYTES).encode()
        with hostile_bytes(ReasonCode.MALFORMED_REQUEST, "its association request"):
            pdu = A_ASSOCIATE_RQ()
            pdu.decode(bytes(padded) + used_items(bytes(body)))
            if not pdu.protocol_version & 1:  # PS3.8 table 9-11: only that bit is tested
                reason = "its association request names another version of the upper layer protocol"
                raise Violation(ReasonCode.MALFORMED_REQUEST, reason)
            pdu.protocol_version = 1
            return pdu.to_primitive()

    def _run_association(self, request: A_ASSOCIATE, place: Place) -> None:
        listener = self._listener
        try:
            Association(
                self._socket,
                self._requestor,
                request,
                listener.admission,
                listener.service,
                place,
                idle_s=listener.idle_s,
                stopping=listener.stopping,
            ).run()
        finally:
            listener.slots.release_association(place)

    def _note_failure(self, error: OSError) -> None:
        """Record a connection that failed before its request was complete."""
        if isinstance(error, ssl.SSLError):
            self._refuse(Refusal(code=ReasonCode.TLS_FAILED, reason=f"no TLS connection: {tls_reason(error)}"))
        elif isinstance(error, TimeoutError):
            reason = "it connected and sent no complete association request in time (receive.request_s)"
            self._refuse(Refusal(code=ReasonCode.SILENT, reason=reason))
        elif self._sent_something:
            self._refuse(Refusal(code=ReasonCode.CUT, reason="the connection ended within the association request"))

    def _reject(self, refusal: Refusal) -> None:
        """Send A-ASSOCIATE-RJ."""
        self._refuse(refusal)
        pdu = A_ASSOCIATE_RJ()
        pdu.result = refusal.result
        pdu.source = refusal.source
        pdu.reason_diagnostic = refusal.diagnostic
        send_last(self._socket, pdu.encode())

    def _refuse(self, refusal: Refusal) -> None:
        self._listener.service.note_refused(self._requestor, refusal)
