"""pynetdicom's upper layer, made to hold against hostile peers and to copy nothing twice.

What the library (3.0.4) lets through is put right around it, here and in `listener`, and nowhere else:

- A PDU has a time and a size; a message is not read before the last one is answered, so that nothing piles up.
- Fragments of a data set go to an `Arrival` as they come, by one reused buffer, and never into memory as a whole.
- However an association ends, by whatever exception, its socket, threads, file and place are given back.
"""

from __future__ import annotations

import contextlib
import io
import logging
import select
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Protocol

from pynetdicom import _config
from pynetdicom._globals import MODE_ACCEPTOR
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_ECHO_RQ, C_STORE_RQ, N_EVENT_REPORT_RQ, DIMSEMessage
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, P_DATA
from pynetdicom.presentation import build_context
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import StorageCommitmentPushModel
from pynetdicom.transport import AddressInformation, AssociationSocket

from appliance.domain.reason import ReasonCode
from appliance.network import plain_address

from .admission import Refusal

if TYPE_CHECKING:
    from .listener import Listener

PDU_BYTES = 131072
"""What we take at most in one P-DATA-TF PDU, as we tell every peer (DICOM PS3.8 D.1)."""

COMMAND_BYTES = 16384
"""A command set is some hundred bytes (DICOM PS3.7 annex E)."""

PDU_S = 30.0
"""From the first byte of a PDU to its last, as for a peer behind a line of 4 KiB/s."""

SLOW_S, LEAST_BYTES_S = 60.0, 4096
"""After so long a message must have come at this rate, as in `PDU_S`: a byte now and then would hold it for days."""

EVENT_BYTES = 1 << 20
"""Event Information names some thousand objects at most, in 150 bytes each (DICOM PS3.4 table J.3-2)."""

P_DATA_TF = 0x04
"""DICOM PS3.8 section 9.3.5."""

_config.LOG_HANDLER_LEVEL = "none"  # its own handlers write every PDU in words, for a log that we do not keep

log = logging.getLogger(__name__)


class Violation(Exception):
    """What a peer did against the standard, or beyond a limit, in words."""

    def __init__(self, code: ReasonCode, reason: str) -> None:
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


class EventInformation:
    """The `Arrival` of an N-EVENT-REPORT, which fits into memory."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, fragment: memoryview) -> None:
        """Take a fragment."""
        self.content += fragment
        if len(self.content) > EVENT_BYTES:
            raise Violation(ReasonCode.MALFORMED_MESSAGE, "its event information is longer than any can be")

    def discard(self) -> None:
        """Nothing is left behind."""


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
        for context in self.acceptor.supported_contexts:
            if context.abstract_syntax == StorageCommitmentPushModel:
                context.scu_role = context.scp_role = True  # who reports proposes to be its SCP (DICOM PS3.4 J.3.3)
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

    def _abort_blocking(self, block: bool = True) -> None:
        """As the library does, which so ends what is silent."""
        if self.dul.idle_timer_expired() and not self._sent_abort:
            reason = "it was let in and then silent for longer than receive.idle_s"
            self.turned(Violation(ReasonCode.ASSOCIATION_SILENT, reason))
        super()._abort_blocking(block)

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
        arrival, self.arrival = self.arrival, None
        try:
            if arrival:
                arrival.discard()
        except OSError as error:  # the next sweep of the spool takes it
            log.error("half an instance cannot be removed: %s", error.strerror)


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
        self._began_at: float | None = None
        self._came_bytes = 0
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
                raise Violation(
                    ReasonCode.PDU_TOO_LONG, f"it sent a PDU of {length} bytes, more than the {PDU_BYTES} we take"
                )
            body = self._buffer[:length]
            self.socket.read_into(body, deadline)
            if head[0] == P_DATA_TF and self.state_machine.current_state == "Sta6":
                self._take(body)
                return
            pdu, event = self._decode_pdu(head + body)
        except OSError as error:
            self._note_end(error)
            self.event_queue.put("Evt17")  # transport connection closed, PS3.8 table 9-6
        except Violation as problem:
            self.assoc.turned(problem)
            self.event_queue.put("Evt19")  # unrecognised or invalid PDU
        except Exception as error:  # noqa: BLE001  what the library makes of hostile bytes
            self.assoc.turned(Violation(ReasonCode.MALFORMED_PDU, f"it sent a malformed PDU ({type(error).__name__})"))
            self.event_queue.put("Evt19")
        else:
            self._note_end(None)  # an abort or a release, since this is no P-DATA
            self._recv_pdu.put(pdu)
            self.event_queue.put(event)

    def _note_end(self, error: OSError | None) -> None:
        """Record what is no end in order, unless we made it."""
        if self.assoc._sent_abort or self.state_machine.current_state != "Sta6":
            return
        if isinstance(error, TimeoutError):
            self.assoc.turned(Violation(ReasonCode.TOO_SLOW, f"it took longer than {PDU_S:.0f} s for one PDU"))
        elif self._began_at is not None:
            how = "the connection ended" if error else "it ended the association"
            self.assoc.turned(Violation(ReasonCode.INSTANCE_CUT, f"{how} within an instance, of which nothing is kept"))

    def _take(self, body: memoryview) -> None:
        """The presentation data values of one PDU (DICOM PS3.8 9.3.5.1 and annex E)."""
        offset = 0
        while offset < len(body) or not len(body):
            length = int.from_bytes(body[offset : offset + 4])
            end = offset + 4 + length
            if length < 2 or end > len(body):
                raise Violation(ReasonCode.MALFORMED_PDU, "it sent a presentation data value that does not fit its PDU")
            context_id, control = body[offset + 4], body[offset + 5]
            self._take_fragment(context_id, control, body[offset + 6 : end])
            offset = end

    def _take_fragment(self, context_id: int, control: int, fragment: memoryview) -> None:
        is_command, is_last = control & 1, control & 2
        if not self._free.is_set() or bool(is_command) is (self._message is not None):
            raise Violation(ReasonCode.MALFORMED_MESSAGE, "it sent fragments of messages out of their order")
        self._keep_pace(len(fragment))
        if is_command:
            self._command += fragment
            if len(self._command) > COMMAND_BYTES:
                raise Violation(ReasonCode.MALFORMED_MESSAGE, "its command set is longer than any can be")
            if is_last:
                self._begin(context_id, bytes(self._command))
                self._command.clear()
            return
        assert self._message is not None
        if context_id != self._message.context_id:
            raise Violation(ReasonCode.MALFORMED_MESSAGE, "its data set came under another presentation context")
        self.assoc.arrival.write(fragment)
        if is_last:
            self._complete(self._message)

    def _keep_pace(self, count: int) -> None:
        moment = time.monotonic()
        if self._began_at is None:
            self._began_at, self._came_bytes = moment, 0
        self._came_bytes += count
        took_s = moment - self._began_at
        if took_s > SLOW_S and self._came_bytes < LEAST_BYTES_S * took_s:
            reason = f"an instance came at less than {LEAST_BYTES_S} bytes a second: look at the line"
            raise Violation(ReasonCode.TOO_SLOW, reason)

    def _begin(self, context_id: int, command: bytes) -> None:
        context = self.assoc._accepted_cx.get(context_id)
        if context is None:
            raise Violation(ReasonCode.MALFORMED_MESSAGE, "it used a presentation context that was not accepted")
        message = DIMSEMessage()
        primitive = P_DATA()
        primitive.presentation_data_value_list = [[context_id, b"\x03" + command]]
        is_complete = message.decode_msg(primitive, self.assoc)
        if is_complete and isinstance(message, C_ECHO_RQ):
            self._complete(message)
        elif not is_complete and isinstance(message, C_STORE_RQ):
            self.assoc.arrival = self.assoc.listener.begin(self.assoc, context, message.command_set)
            self._message = message
        elif not is_complete and isinstance(message, N_EVENT_REPORT_RQ):
            self.assoc.arrival, self._message = EventInformation(), message
        else:
            reason = "it sent a message that is neither a C-STORE nor a C-ECHO request, nor an event report"
            raise Violation(ReasonCode.MALFORMED_MESSAGE, reason)

    def _complete(self, message: DIMSEMessage) -> None:
        if isinstance(self.assoc.arrival, EventInformation):
            message.data_set = io.BytesIO(self.assoc.arrival.content)
        primitive = message.message_to_primitive()
        if not primitive.is_valid_request:
            raise Violation(ReasonCode.MALFORMED_MESSAGE, "its command set is incomplete")
        self._message = self._began_at = None
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
