"""One association as its acceptor: from the accepted request to release or abort, in the thread of its connection.

The states are those of DICOM PS3.8 table 9-10. `listener` leads a connection through Sta2 and Sta3; here follow:

| state | event | action | next state |
|---|---|---|---|
| Sta3, request is admitted | | send A-ASSOCIATE-AC | Sta6 |
| Sta6, established | P-DATA-TF | hand to the message; respond when it is complete | Sta6 |
| | A-RELEASE-RQ | send A-RELEASE-RP | Sta13 |
| | A-ABORT, or the connection ends | | Sta1 |
| | any other PDU, a violation, silence, or the place is needed | send A-ABORT | Sta13 |
| | the receiver stops | send A-ABORT | Sta13 |
| Sta13, waits for the peer to close | anything | ignore it | Sta13 |
| | the connection ends, or `CLOSING_S` passes | close | Sta1 |

- A PDU has a limit of time and of size. A message is read after the response to the last one, so nothing piles up.
- Fragments of a data set go to their `IncomingDataSet` as they arrive, by one reused buffer, never into memory as a
  whole.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum

from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_RELEASE_RP
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    ImplementationClassUIDNotification,
    ImplementationVersionNameNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
)
from pynetdicom.presentation import PresentationContext, build_context, negotiate_as_acceptor
from pynetdicom.sop_class import StorageCommitmentPushModel

from appliance.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from appliance.domain.reason import ReasonCode

from .admission import APPLICATION_CONTEXT, Admission, Place, Refusal, proposed_contexts
from .dimse import IncomingMessage
from .service import Requestor, Service
from .violation import Violation

PDU_BYTES = 131072
"""The longest P-DATA-TF PDU that is accepted, announced to every peer (DICOM PS3.8 D.1)."""

PDU_S = 30.0
"""Time from the first byte of a PDU to its last: enough for a peer behind a line of 4 KiB/s."""

CLOSING_S = 2.0
"""ARTIM timer (DICOM PS3.8 9.1.5): time for a peer to read the last PDU and to close."""

BY_SERVICE_USER = (0, 0)
BY_SERVICE_PROVIDER = (2, 0)
INVALID_PARAMETER_VALUE = (2, 6)
"""Source and reason of an A-ABORT, DICOM PS3.8 table 9-26."""

log = logging.getLogger(__name__)


class PduType(IntEnum):
    """PDU types that a requestor sends, DICOM PS3.8 section 9.3.1."""

    A_ASSOCIATE_RQ = 0x01
    P_DATA_TF = 0x04
    A_RELEASE_RQ = 0x05
    A_ABORT = 0x07


class Association:
    """An association whose request was admitted.

    Parameters
    ----------
    connection
        After the TLS handshake, if there is one; its owner closes it.
    idle_s
        An association that is silent for longer is aborted.
    stopping
        Set when the receiver stops.
    """

    def __init__(
        self,
        connection: socket.socket,
        requestor: Requestor,
        request: A_ASSOCIATE,
        admission: Admission,
        service: Service,
        place: Place,
        *,
        idle_s: float,
        stopping: threading.Event,
    ) -> None:
        self._connection = connection
        self._requestor = requestor
        self._request = request
        self._admission = admission
        self._service = service
        self._place = place
        self._idle_s = idle_s
        self._stopping = stopping
        self._contexts: dict[int, PresentationContext] = {}
        self._buffer = memoryview(bytearray(PDU_BYTES))
        self._message: IncomingMessage | None = None

    def run(self) -> None:
        """Accept the association and serve its requests; return when it has ended, for any reason."""
        try:
            self._accept()
            is_open = True
            while is_open:
                if self._stopping.is_set():
                    raise ConnectionAbortedError("the receiver stops")
                is_open = self._handle_pdu()
        except Violation as violation:
            self._refuse(violation.code, violation.reason)
            send_last(self._connection, abort_pdu(*BY_SERVICE_PROVIDER))
        except OSError:
            if self._stopping.is_set():
                send_last(self._connection, abort_pdu(*BY_SERVICE_USER))
            else:
                self._note_if_cut("the connection ended")
        except Exception as error:  # noqa: BLE001  a bug must cost this association only
            log.error("an association with %s ended by %s", self._requestor.calling_ae_title, type(error).__name__)
            send_last(self._connection, abort_pdu(*BY_SERVICE_PROVIDER))
        finally:
            self._discard_message()

    def _accept(self) -> None:
        """Negotiate the presentation contexts, and send A-ASSOCIATE-AC."""
        contexts, acceptance = negotiate(self._request, self._admission.supported_contexts(self._request))
        self._contexts = {context.context_id: context for context in contexts if context.result == 0}
        self._send(acceptance)
        accepted = {context.abstract_syntax for context in self._contexts.values()}
        self._service.note_accepted(self._requestor, proposed_contexts(self._request), accepted)

    def _handle_pdu(self) -> bool:
        """Read and handle one PDU; return False if it ended the association."""
        kind, body = self._read_pdu()
        match kind:
            case PduType.P_DATA_TF:
                self._take_p_data(body)
                return True
            case PduType.A_RELEASE_RQ:
                self._note_if_cut("it released the association")
                send_last(self._connection, A_RELEASE_RP().encode())
                return False
            case PduType.A_ABORT:
                self._note_if_cut("it aborted the association")
                return False
            case _:
                reason = f"it sent a PDU of type {kind:02X}H, which does not belong into an established association"
                raise Violation(ReasonCode.MALFORMED_PDU, reason)

    def _read_pdu(self) -> tuple[int, memoryview]:
        """Return type and variable field of the next PDU; the field is valid until the next call."""
        head = memoryview(bytearray(6))
        self._connection.settimeout(self._idle_s)
        if self._message is None:
            self._place.begin_silence()
        try:
            count = self._connection.recv_into(head)
        except TimeoutError as error:
            reason = "it was silent on its association for longer than receive.idle_s"
            raise Violation(ReasonCode.ASSOCIATION_SILENT, reason) from error
        except OSError:  # within TLS, the end of the connection may be one
            if not self._place.has_given_way:
                raise
            count = 0
        if not self._place.end_silence():
            reason = "it was silent on its association, and another one needed the place"
            raise Violation(ReasonCode.ASSOCIATION_GAVE_WAY, reason)
        if not count:
            raise ConnectionError("the peer hung up")
        deadline = time.monotonic() + PDU_S
        try:
            read_into(self._connection, head[count:], deadline)
            length = int.from_bytes(head[2:])
            if length > PDU_BYTES:
                reason = f"it sent a PDU of {length} bytes, and at most {PDU_BYTES} are accepted"
                raise Violation(ReasonCode.PDU_TOO_LONG, reason)
            body = self._buffer[:length]
            read_into(self._connection, body, deadline)
        except TimeoutError as error:
            raise Violation(ReasonCode.TOO_SLOW, f"it took longer than {PDU_S:.0f} s for one PDU") from error
        return head[0], body

    def _take_p_data(self, body: memoryview) -> None:
        """Hand the fragments of a PDU to their message, and respond to it when it is complete."""
        for context_id, control, fragment in _presentation_data_values(body):
            if self._message is None:
                self._message = IncomingMessage(self._contexts, self._service, self._requestor)
            self._message.take(context_id, control, fragment)
        if self._message and self._message.is_complete:
            for pdu in self._message.respond(self._request.maximum_length_received):
                self._send(pdu)
            self._discard_message()

    def _send(self, pdu: bytes) -> None:
        self._connection.settimeout(PDU_S)  # a peer that does not read cannot hold this thread
        self._connection.sendall(pdu)

    def _note_if_cut(self, how: str) -> None:
        """Record an association that ended within a message."""
        if self._message and not self._message.is_complete:
            self._refuse(ReasonCode.INSTANCE_CUT, f"{how} within an instance, and nothing of it is kept")

    def _refuse(self, code: ReasonCode, reason: str) -> None:
        self._service.note_refused(self._requestor, Refusal(code=code, reason=reason))

    def _discard_message(self) -> None:
        message, self._message = self._message, None
        try:
            if message:
                message.discard()
        except OSError as error:  # the next sweep of the spool removes it
            log.error("cannot remove an incomplete instance: %s", error.strerror)


def negotiate(request: A_ASSOCIATE, supported: Mapping[str, Sequence[str]]) -> tuple[list[PresentationContext], bytes]:
    """Return every proposed presentation context with its result, and the A-ASSOCIATE-AC PDU that says so."""
    own = [build_context(abstract, list(syntaxes)) for abstract, syntaxes in supported.items()]
    for context in own:
        if context.abstract_syntax == StorageCommitmentPushModel:
            # a PACS that opens the association for its result proposes to be the SCP (DICOM PS3.4 J.3.3)
            context.scu_role = True
            context.scp_role = True
    roles = {
        item.sop_class_uid: (item.scu_role, item.scp_role)
        for item in request.user_information
        if isinstance(item, SCP_SCU_RoleSelectionNegotiation)
    }
    contexts, accepted_roles = negotiate_as_acceptor(request.presentation_context_definition_list, own, roles)
    maximum_length = MaximumLengthNotification()
    maximum_length.maximum_length_received = PDU_BYTES
    class_uid = ImplementationClassUIDNotification()
    class_uid.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    version_name = ImplementationVersionNameNotification()
    version_name.implementation_version_name = IMPLEMENTATION_VERSION_NAME
    response = A_ASSOCIATE()
    response.application_context_name = APPLICATION_CONTEXT
    response.calling_ae_title = request.calling_ae_title
    response.called_ae_title = request.called_ae_title
    response.result = 0
    response.result_source = 1
    response.presentation_context_definition_results_list = contexts
    response.user_information = [maximum_length, class_uid, version_name, *accepted_roles]
    pdu = A_ASSOCIATE_AC()
    pdu.from_primitive(response)
    return contexts, pdu.encode()


def abort_pdu(source: int, reason: int) -> bytes:
    """Return an A-ABORT PDU."""
    pdu = A_ABORT_RQ()
    pdu.source = source
    pdu.reason_diagnostic = reason
    return bytes(pdu.encode())


def send_last(connection: socket.socket, content: bytes) -> None:
    """Send the last PDU, and wait until the peer hangs up: a reset would take the PDU away from it."""
    deadline = time.monotonic() + CLOSING_S
    with contextlib.suppress(OSError):
        connection.settimeout(CLOSING_S)
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        ignored = memoryview(bytearray(4096))
        while True:
            read_into(connection, ignored, deadline)


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


def _presentation_data_values(body: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield context id, message control header and fragment of each value in a P-DATA-TF PDU (DICOM PS3.8 9.3.5.1)."""
    offset = 0
    while offset < len(body) or not len(body):
        length = int.from_bytes(body[offset : offset + 4])
        end = offset + 4 + length
        if length < 2 or end > len(body):
            raise Violation(ReasonCode.MALFORMED_PDU, "it sent a presentation data value that does not fit its PDU")
        yield body[offset + 4], body[offset + 5], body[offset + 6 : end]
        offset = end
