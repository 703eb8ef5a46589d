"""pynetdicom's upper layer, made to hold against hostile peers and to copy nothing twice.

What the library (3.0.4) lets through is put right around it, in this file only:

- A connection is heard in a thread of its own: TLS handshake, A-ASSOCIATE-RQ and verdict, within one time limit. The
  library's two threads per association start only for a peer that was let in, whose request is sound.
- A PDU has a time and a size; a message is not read before the last one is answered, so that nothing piles up.
- Fragments of a data set go to an `Arrival` as they come, by one reused buffer, and never into memory as a whole.
- However an association ends, by whatever exception, its socket, threads, file and place are given back.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Protocol

from pydicom.dataset import Dataset
from pynetdicom import AE, _config, evt
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ASSOCIATE_RJ, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.transport import AddressInformation, AssociationSocket, ThreadedAssociationServer

from .admission import Admission, Places, Refusal, plain_address, violation

PDU_BYTES = 131072
"""What we take at most in one P-DATA-TF PDU, as we tell every peer (DICOM PS3.8 D.1)."""

REQUEST_BYTES = 524288
"""An A-ASSOCIATE-RQ with all 128 presentation contexts, each with every transfer syntax there is, is shorter."""

COMMAND_BYTES = 16384
"""A command set is some hundred bytes (DICOM PS3.7 annex E)."""

PDU_S = 30.0
"""From the first byte of a PDU to its last, as for a peer behind a line of 4 KiB/s."""

CLOSING_S = 2.0
"""How long a peer has to read why it was turned away."""

POLL_S = 0.05
"""How soon a listener sees that it is to stop."""

COLLECT_S = 30.0
"""How often the library collects what its associations, circles of objects, left behind."""

ASSOCIATE_RQ, P_DATA_TF, TLS_HANDSHAKE = 0x01, 0x04, 0x16
"""First bytes: DICOM PS3.8 section 9.3.1, RFC 8446 section 5.1."""

_config.LOG_HANDLER_LEVEL = "none"  # its own handlers write every PDU in words, for a log that we do not keep

log = logging.getLogger(__name__)


class Violation(Exception):
    """What a peer did against the standard, or beyond a limit, in words."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Arrival(Protocol):
    """Where the data set of one C-STORE goes."""

    def write(self, fragment: memoryview) -> None:
        """Take a fragment, which is only lent; raises `Violation` if there is too much of it."""
        ...

    def discard(self) -> None:
        """Leave nothing behind, unless it was kept."""
        ...


Begin = Callable[["IncomingAssociation", PresentationContext, Dataset], Arrival]
"""Makes the `Arrival` of a C-STORE from its association, its presentation context and its command set."""

Turned = Callable[[Refusal, str, str, str], None]
"""Is told of a refusal: which, address, calling and called AE title (empty where they are not known)."""


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
        self.turned(Refusal(code="too_many_connections", reason=reason), str(plain_address(address)), "", "")
        return False

    def process_request_thread(self, request: socket.socket, client_address: tuple[str, int]) -> None:
        """Hear one connection; this thread ends with the verdict."""
        visit = _Visit(self, request, client_address)
        try:
            visit.hear(time.monotonic() + self._request_s, self._tls)
        except (OSError, Violation) as error:
            visit.turn_away(error)
        except Exception as error:  # noqa: BLE001  what the library makes of hostile bytes
            visit.turn_away(
                Violation("malformed_request", f"its association request is malformed ({type(error).__name__})")
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
        pdu, request = self._request(deadline)
        self._calling, self._called = request.calling_ae_title, request.called_ae_title
        listener = self._listener
        refusal = listener.admission.refusal(self._address, request)
        if refusal is None and (wrong := violation(request)):
            raise Violation("malformed_request", f"its association request is malformed: {wrong}")
        if refusal := refusal or listener.places.admit(self._address):
            self._tell(refusal)
            return
        try:
            association = IncomingAssociation(listener, self._connection, self._peer, pdu, request, self._known)
            association.start()
        except Exception:
            listener.places.release(self._address)
            raise
        self._is_handed_over = True

    def _request(self, deadline: float) -> tuple[A_ASSOCIATE_RQ, A_ASSOCIATE]:
        head = bytearray(6)
        read_into(self._connection, memoryview(head)[:1], deadline)
        self._said_something = True
        if head[0] == TLS_HANDSHAKE:
            raise Violation("tls_on_plain_port", "it speaks TLS to the port without: use receive.tls.port")
        if head[0] != ASSOCIATE_RQ:
            raise Violation("not_dicom", "it does not begin with an association request: is it a DICOM system?")
        read_into(self._connection, memoryview(head)[1:], deadline)
        length = int.from_bytes(head[2:])
        if length > REQUEST_BYTES:
            raise Violation("malformed_request", "its association request is longer than any can be")
        body = bytearray(length)
        read_into(self._connection, memoryview(body), deadline)
        pdu = A_ASSOCIATE_RQ()
        pdu.decode(bytes(head + body))
        self._calling, self._called = pdu.calling_ae_title, pdu.called_ae_title
        if not pdu.protocol_version & 1:  # PS3.8 table 9-11: only that bit is tested
            raise Violation("malformed_request", "it speaks another version of the upper layer protocol")
        pdu.protocol_version = 1
        return pdu, pdu.to_primitive()

    def turn_away(self, error: OSError | Violation) -> None:
        """Record what went wrong, and abort."""
        if isinstance(error, Violation):
            self._note(Refusal(code=error.code, reason=error.reason))
            # PS3.8 table 9-26: service provider, invalid PDU parameter value
            self._send(b"\x07\x00\x00\x00\x00\x04\x00\x00\x02\x06")
        elif isinstance(error, ssl.SSLError):
            self._note(Refusal(code="tls_failed", reason=f"no TLS connection: {_words(error)}"))
        elif isinstance(error, TimeoutError):
            reason = "it connected and sent no whole association request in time (receive.request_s)"
            self._note(Refusal(code="silent", reason=reason))
        elif self._said_something:
            self._note(Refusal(code="cut", reason="the connection ended within the association request"))

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


class IncomingAssociation(Association):
    """An association of a peer that was let in, whose request is already read."""

    def __init__(
        self,
        listener: Listener,
        connection: socket.socket,
        peer: tuple[str, int],
        pdu: A_ASSOCIATE_RQ,
        request: A_ASSOCIATE,
        known: bool,
    ) -> None:
        super().__init__(listener.ae, MODE_ACCEPTOR)
        self.listener, self.address = listener, peer[0]
        self.arrival: Arrival | None = None
        self._known = known
        self._server = listener
        self.name = "AcceptorThread"  # by which the library finds it when it shuts down
        self.dul = _Provider(self)
        self.acse_timeout, self.network_timeout = self.ae.acse_timeout, self.ae.network_timeout  # set the timers
        self.set_socket(_Socket(self, client_socket=connection))
        self.acceptor.maximum_length = PDU_BYTES
        self.acceptor.ae_title = request.called_ae_title
        self.acceptor.address_info = AddressInformation.from_tuple(listener.server_address)
        self.acceptor.implementation_class_uid = self.ae.implementation_class_uid
        self.acceptor.implementation_version_name = self.ae.implementation_version_name
        self.acceptor.supported_contexts = [
            build_context(abstract, syntaxes) for abstract, syntaxes in listener.admission.contexts(request).items()
        ]
        self.requestor.address_info = AddressInformation.from_tuple(peer)
        for event, bound in listener._handlers.items():
            if event.is_intervention:
                self.bind(event, *bound)
            else:
                for handler, arguments in bound:
                    self.bind(event, handler, arguments)
        self.dul._recv_pdu.put(pdu)
        self.dul.event_queue.put("Evt6")  # A-ASSOCIATE-RQ received, PS3.8 table 9-6

    def turned(self, problem: Violation) -> None:
        """Record why it is aborted."""
        peer = self.requestor
        refusal = Refusal(code=problem.code, reason=problem.reason)
        called = peer.primitive.called_ae_title if peer.primitive else ""
        self.listener.turned(refusal, str(plain_address(self.address)), peer.ae_title.strip(), called)

    def run_reactor(self) -> None:
        """As the library does, and give everything back however it ends."""
        try:
            super().run_reactor()
        except Exception as error:  # noqa: BLE001  a bug of the library costs this association only
            log.error("an association with %s ended by %s", self.requestor.ae_title.strip(), type(error).__name__)
        finally:
            self.dul.kill_dul()
            self.dul.socket._shutdown_socket()
            with contextlib.suppress(RuntimeError):  # it may not even have started
                self.dul.join()
            self._forget_arrival()
            self.listener.places.release(self.address)
            self.listener.places.leave(self.address, known=self._known)

    def _serve_request(self, message: object, context_id: int) -> None:
        try:
            if isinstance(message, C_STORE):
                # also of classes that the library does not know
                self.dimse.cancel_req = {}
                StorageServiceClass(self).SCP(message, self._accepted_cx[context_id])
            else:
                super()._serve_request(message, context_id)
        finally:
            self._forget_arrival()
            self.dul.served()

    def _forget_arrival(self) -> None:
        if self.arrival:
            self.arrival.discard()
            self.arrival = None


class _Socket(AssociationSocket):
    """Reads whole pieces into what it is given, within a time."""

    poll_ms = 1
    """How long a look at the connection may take; the provider raises it where nothing else is to be done."""

    def __init__(self, assoc: Association, client_socket: socket.socket) -> None:
        super().__init__(assoc, client_socket=client_socket)
        self._poll = select.poll()  # unlike select() it has no largest file descriptor
        self._poll.register(client_socket, select.POLLIN)

    @property
    def ready(self) -> bool:
        """Whether there is something to read, or an end to be noticed."""
        if self.socket is None or not self._is_connected:
            return False
        if isinstance(self.socket, ssl.SSLSocket) and self.socket.pending():
            return True
        return bool(self._poll.poll(self.poll_ms))

    def read_into(self, view: memoryview, deadline: float) -> None:
        """Fill `view`; `OSError` if the peer hangs up or takes longer."""
        if self.socket is None:
            raise ConnectionError("closed")
        read_into(self.socket, view, deadline)

    def discard(self, view: memoryview) -> None:
        """Take what there is, up to the length of `view`; `OSError` if the peer hung up."""
        if self.socket is None or not self.socket.recv_into(view):
            raise ConnectionError("closed")

    def send(self, bytestream: bytes) -> None:
        """As the library does, but a peer that does not read cannot hold us."""
        if self.socket is not None:
            self.socket.settimeout(PDU_S)
            super().send(bytestream)

    def _shutdown_socket(self) -> None:
        with contextlib.suppress(OSError):
            if self.socket is not None:
                self.socket.shutdown(socket.SHUT_RDWR)
        with contextlib.suppress(OSError):
            if self.socket is not None:
                self.socket.close()


class _Provider(DULServiceProvider):
    """The library's upper layer state machine, with its own way of reading P-DATA."""

    def __init__(self, assoc: IncomingAssociation) -> None:
        super().__init__(assoc)
        self.daemon = True
        self._run_loop_delay = 0.0  # the socket's poll waits instead, and wakes when something comes
        self._buffer = memoryview(bytearray(PDU_BYTES))
        self._command = bytearray()
        self._message: DIMSEMessage | None = None
        self._free = threading.Event()
        self._free.set()

    def run_reactor(self) -> None:
        """As the library does; a peer that confuses it loses its connection."""
        try:
            super().run_reactor()
        except Exception as error:  # noqa: BLE001  the library's state machine raises on what a peer should not do
            log.warning("the upper layer gave up on a peer: %s", type(error).__name__)
        finally:
            self.assoc._dul_ready.set()
            self.assoc._reactor_checkpoint.set()
            self.socket._shutdown_socket()

    def served(self) -> None:
        """The last message is answered: the next one may be read, and silence counts from now."""
        self._idle_timer.restart()
        self._free.set()

    def _is_transport_event(self) -> bool:
        if self.state_machine.current_state == "Sta6":
            if not self._free.is_set():
                self._free.wait(0.02)
                return False  # the answer goes out first
            # only an abort of ours could be waiting, and that is in no hurry
            self.socket.poll_ms = 20
            # without this the association's own thread would look a thousand times a second
            self.assoc._reactor_checkpoint.clear()
        else:
            self.socket.poll_ms = 1
        something = super()._is_transport_event()
        if something or self.idle_timer_expired() or self.state_machine.current_state != "Sta6":
            self.assoc._reactor_checkpoint.set()
        return something

    def _read_pdu_data(self) -> None:
        """Read one PDU, and give P-DATA on without the detour through the library's objects."""
        deadline = time.monotonic() + PDU_S
        head = bytearray(6)
        try:
            if self.state_machine.current_state == "Sta13":  # it is over, and only waits for the peer to hang up
                self.socket.discard(self._buffer)
                return
            self.socket.read_into(memoryview(head), deadline)
            length = int.from_bytes(head[2:])
            if length > PDU_BYTES:
                raise Violation("pdu_too_long", f"it sent a PDU of {length} bytes, more than the {PDU_BYTES} we take")
            body = self._buffer[:length]
            self.socket.read_into(body, deadline)
            if head[0] == P_DATA_TF and self.state_machine.current_state == "Sta6":
                self._take(body)
                return
            pdu, event = self._decode_pdu(head + body)
        except OSError:
            self.event_queue.put("Evt17")  # transport connection closed, PS3.8 table 9-6
        except Violation as problem:
            self.assoc.turned(problem)
            self.event_queue.put("Evt19")  # unrecognised or invalid PDU
        except Exception as error:  # noqa: BLE001  what the library makes of hostile bytes
            self.assoc.turned(Violation("malformed_pdu", f"it sent a malformed PDU ({type(error).__name__})"))
            self.event_queue.put("Evt19")
        else:
            self._recv_pdu.put(pdu)
            self.event_queue.put(event)

    def _take(self, body: memoryview) -> None:
        """The presentation data values of one PDU (DICOM PS3.8 9.3.5.1 and annex E)."""
        offset = 0
        while offset < len(body) or not len(body):
            length = int.from_bytes(body[offset : offset + 4])
            end = offset + 4 + length
            if length < 2 or end > len(body):
                raise Violation("malformed_pdu", "it sent a presentation data value that does not fit its PDU")
            context_id, control = body[offset + 4], body[offset + 5]
            self._take_fragment(context_id, control, body[offset + 6 : end])
            offset = end

    def _take_fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        is_command, is_last = control & 1, control & 2
        if not self._free.is_set() or bool(is_command) is (self._message is not None):
            raise Violation("malformed_message", "it sent fragments of messages out of their order")
        if is_command:
            self._command += fragment
            if len(self._command) > COMMAND_BYTES:
                raise Violation("malformed_message", "its command set is longer than any can be")
            if is_last:
                self._begin(context_id, bytes(self._command))
                self._command.clear()
            return
        assert self._message is not None
        if context_id != self._message.context_id:
            raise Violation("malformed_message", "its data set came under another presentation context")
        self.assoc.arrival.write(fragment)
        if is_last:
            self._complete(self._message)

    def _begin(self, context_id: int, command: bytes) -> None:
        context = self.assoc._accepted_cx.get(context_id)
        if context is None:
            raise Violation("malformed_message", "it used a presentation context that was not accepted")
        message = DIMSEMessage()
        primitive = P_DATA()
        primitive.presentation_data_value_list = [[context_id, b"\x03" + command]]
        is_complete = message.decode_msg(primitive, self.assoc)
        if is_complete and isinstance(message, C_ECHO_RQ):
            self._complete(message)
        elif not is_complete and isinstance(message, C_STORE_RQ):
            self.assoc.arrival = self.assoc.listener.begin(self.assoc, context, message.command_set)
            self._message = message
        else:
            raise Violation("malformed_message", "it sent a message that is neither a C-STORE nor a C-ECHO request")

    def _complete(self, message: DIMSEMessage) -> None:
        primitive = message.message_to_primitive()
        if not primitive.is_valid_request:
            raise Violation("malformed_message", "its command set is incomplete")
        self._message = None
        self._free.clear()
        self.assoc.dimse.msg_queue.put((message.context_id, primitive))


def read_into(connection: socket.socket, view: memoryview, deadline: float) -> None:
    """Fill `view` from `connection` by `deadline` (monotonic).

    Raises
    ------
    OSError
        `TimeoutError`, or `ConnectionError` if the peer hung up.
    """
    while view:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        connection.settimeout(left_s)
        count = connection.recv_into(view)
        if not count:
            raise ConnectionError("the peer hung up")
        view = view[count:]


def _words(error: ssl.SSLError) -> str:
    """OpenSSL's reason as a person reads it."""
    return (error.reason or type(error).__name__).replace("_", " ").lower()
