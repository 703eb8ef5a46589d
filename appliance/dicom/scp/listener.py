"""A TCP port where every connection is heard before it is let in.

TLS handshake, A-ASSOCIATE-RQ and verdict happen in one short-lived thread for each connection, within one time limit.
An association, with the two threads that the library gives it, begins only for a peer that was let in, whose request
is sound.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.pdu import A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import ThreadedAssociationServer

from appliance.domain.reason import ReasonCode
from appliance.network import plain_address, tls_reason

from .admission import BUSY, Admission, Places, Refusal, title_of, unknown_application, violation
from .upper_layer import Arrival, IncomingAssociation, Violation, read_into

REQUEST_BYTES = 524288
"""An A-ASSOCIATE-RQ with all 128 presentation contexts, each with every transfer syntax there is, is shorter."""

HEAD_BYTES = 74
"""Of an A-ASSOCIATE-RQ, up to its first item: with both AE titles (DICOM PS3.8 table 9-11)."""

CLOSING_S = 2.0
"""How long a peer has to read why it was turned away."""

POLL_S = 0.05
"""How soon a listener sees that it is to stop."""

COLLECT_S = 30.0
"""How often the library collects what its associations, circles of objects, left behind."""

ASSOCIATE_RQ, TLS_HANDSHAKE = 0x01, 0x16
"""First bytes: DICOM PS3.8 section 9.3.1, RFC 8446 section 5.1."""

Begin = Callable[["IncomingAssociation", PresentationContext, Dataset], Arrival]
"""Makes the `Arrival` of a C-STORE from its association, its presentation context and its command set."""

Turned = Callable[[Refusal, str, str, str], None]
"""Is told of a refusal: which, address, calling and called AE title (empty where they are not known)."""

log = logging.getLogger(__name__)


class Listener(ThreadedAssociationServer):
    """A TCP port, with or without TLS.

    Parameters
    ----------
    tls
        Makes this a port for TLS.
    begin
        Makes an `Arrival` for each C-STORE.
    turned
        Is told of everybody who is turned away.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(
        self,
        ae: AE,
        address: tuple[str, int],
        admission: Admission,
        places: Places,
        begin: Begin,
        turned: Turned,
        *,
        request_s: float,
        tls: ssl.SSLContext | None,
        handlers: list[evt.EventHandlerType],
    ) -> None:
        self.admission, self.places, self.begin, self.turned = admission, places, begin, turned
        self._request_s, self._tls = request_s, tls
        super().__init__(ae, address, ae.ae_title, [], evt_handlers=handlers)
        ae._servers.append(self)
        self._gc[1] = int(COLLECT_S / POLL_S)
        threading.Thread(target=self.serve_forever, args=(POLL_S,), name="listener", daemon=True).start()

    def verify_request(self, request: socket.socket, client_address: tuple[str, int]) -> bool:
        """Close at once what is beyond the number of connections; a thread for each would be the attack."""
        address = client_address[0]
        if self.places.arrive(address, known=self.admission.is_known(address)):
            return True
        reason = "more connections at a time than are heard: is it a scanner?"
        self.turned(Refusal(code=ReasonCode.TOO_MANY_CONNECTIONS, reason=reason), str(plain_address(address)), "", "")
        return False

    def process_request(self, request: socket.socket, client_address: tuple[str, int]) -> None:
        """Begin a thread; where there can be none, the place is given back."""
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            log.error("no thread can be started for a connection: see TasksMax of the unit")
            self.shutdown_request(request)
            self.places.leave(client_address[0], known=self.admission.is_known(client_address[0]))

    def process_request_thread(self, request: socket.socket, client_address: tuple[str, int]) -> None:
        """Hear one connection; this thread ends with the verdict."""
        visit = _Visit(self, request, client_address)
        try:
            visit.hear(time.monotonic() + self._request_s, self._tls)
        except (OSError, Violation) as error:
            visit.turn_away(error)
        except Exception as error:  # noqa: BLE001  what the library makes of hostile bytes
            visit.turn_away(
                Violation(
                    ReasonCode.MALFORMED_REQUEST, f"its association request is malformed ({type(error).__name__})"
                )
            )
        finally:
            visit.end()


class _Visit:
    """A connection until its verdict."""

    def __init__(self, listener: Listener, connection: socket.socket, peer: tuple[str, int]) -> None:
        self._listener, self._connection, self._peer = listener, connection, peer
        self._address = peer[0]
        self._known = listener.admission.is_known(self._address)
        self._calling = self._called = ""
        self._said_something = False
        self._is_handed_over = False

    def hear(self, deadline: float, tls: ssl.SSLContext | None) -> None:
        """Handshake, request, verdict; hands over to an association if that is it."""
        self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self._connection = tls.wrap_socket(self._connection, server_side=True, do_handshake_on_connect=False)
            self._connection.settimeout(max(deadline - time.monotonic(), 0.001))
            self._connection.do_handshake()
        listener, head = self._listener, self._head(deadline)
        self._called, self._calling = title_of(bytes(head[10:26])), title_of(bytes(head[26:42]))
        if refusal := listener.admission.refusal(self._address, called=self._called, calling=self._calling):
            self._tell(refusal)  # the rest, which takes the library long, is not even read
            return
        pdu, request = self._request(head, deadline)
        refusal = unknown_application(request)
        if refusal is None and (wrong := violation(request)):
            raise Violation(ReasonCode.MALFORMED_REQUEST, f"its association request is malformed: {wrong}")
        if refusal := refusal or listener.places.admit(self._address):
            self._tell(refusal)
            return
        try:
            association = IncomingAssociation(listener, self._connection, self._peer, pdu, request, self._known)
            association.start()
        except RuntimeError:
            listener.places.release(self._address)
            self._tell(Refusal(code=ReasonCode.TOO_MANY_ASSOCIATIONS, reason="no thread can be started for it", **BUSY))
            return
        except Exception:
            listener.places.release(self._address)
            raise
        self._is_handed_over = True

    def _head(self, deadline: float) -> bytearray:
        """The fixed part of the request."""
        head = bytearray(HEAD_BYTES)
        read_into(self._connection, memoryview(head)[:1], deadline)
        self._said_something = True
        if head[0] == TLS_HANDSHAKE:
            raise Violation(ReasonCode.TLS_ON_PLAIN_PORT, "it speaks TLS to the port without: use receive.tls.port")
        if head[0] != ASSOCIATE_RQ:
            raise Violation(
                ReasonCode.NO_ASSOCIATION_REQUEST,
                "it does not begin with an association request: is it a DICOM system?",
            )
        read_into(self._connection, memoryview(head)[1:6], deadline)
        if not HEAD_BYTES <= 6 + int.from_bytes(head[2:6]) <= 6 + REQUEST_BYTES:
            raise Violation(
                ReasonCode.MALFORMED_REQUEST, "its association request is shorter or longer than any can be"
            )
        read_into(self._connection, memoryview(head)[6:], deadline)
        return head

    def _request(self, head: bytearray, deadline: float) -> tuple[A_ASSOCIATE_RQ, A_ASSOCIATE]:
        body = bytearray(6 + int.from_bytes(head[2:6]) - HEAD_BYTES)
        read_into(self._connection, memoryview(body), deadline)
        for place, title in ((10, self._called), (26, self._calling)):
            head[place : place + 16] = title.ljust(16).encode()  # the library knows no padding but spaces
        pdu = A_ASSOCIATE_RQ()
        pdu.decode(bytes(head + body))
        if not pdu.protocol_version & 1:  # PS3.8 table 9-11: only that bit is tested
            raise Violation(ReasonCode.MALFORMED_REQUEST, "it speaks another version of the upper layer protocol")
        pdu.protocol_version = 1
        return pdu, pdu.to_primitive()

    def turn_away(self, error: OSError | Violation) -> None:
        """Record what went wrong, and abort."""
        if isinstance(error, Violation):
            self._note(Refusal(code=error.code, reason=error.reason))
            # PS3.8 table 9-26: service provider, invalid PDU parameter value
            self._send(b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x06")
        elif isinstance(error, ssl.SSLError):
            self._note(Refusal(code=ReasonCode.TLS_FAILED, reason=f"no TLS connection: {tls_reason(error)}"))
        elif isinstance(error, TimeoutError):
            reason = "it connected and sent no whole association request in time (receive.request_s)"
            self._note(Refusal(code=ReasonCode.SILENT, reason=reason))
        elif self._said_something:
            self._note(Refusal(code=ReasonCode.CUT, reason="the connection ended within the association request"))

    def end(self) -> None:
        """Close the connection, if nobody has it."""
        if not self._is_handed_over:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._listener.places.leave(self._address, known=self._known)

    def _tell(self, refusal: Refusal) -> None:
        self._note(refusal)
        pdu = A_ASSOCIATE_RJ()
        pdu.result, pdu.source, pdu.reason_diagnostic = refusal.result, refusal.source, refusal.diagnostic
        self._send(pdu.encode())

    def _send(self, content: bytes) -> None:
        """Say it, and wait until the peer has hung up: a reset would take the words away from it."""
        deadline = time.monotonic() + CLOSING_S
        with contextlib.suppress(OSError):
            self._connection.settimeout(CLOSING_S)
            self._connection.sendall(content)
            self._connection.shutdown(socket.SHUT_WR)
            rest = memoryview(bytearray(4096))
            while True:
                read_into(self._connection, rest, deadline)

    def _note(self, refusal: Refusal) -> None:
        self._listener.turned(refusal, str(plain_address(self._address)), self._calling, self._called)
