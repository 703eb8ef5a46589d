"""DIMSE requests of a peer, assembled from their fragments, and the responses to them.

References
----------
DICOM PS3.7 section 6.3 and annex E (command sets), 9.3.1 (C-STORE), 9.3.5 (C-ECHO), 10.3.1 (N-EVENT-REPORT);
PS3.8 annex E (fragments).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pynetdicom import _config
from pynetdicom.dimse_messages import C_ECHO_RSP, C_STORE_RSP, N_EVENT_REPORT_RSP, DIMSEMessage
from pynetdicom.dimse_primitives import C_ECHO, C_STORE, N_EVENT_REPORT
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import StorageCommitmentPushModel, Verification

from appliance.domain.reason import ReasonCode

from .service import SUCCESS, IncomingDataSet, Requestor, ResponseStatus, Service
from .violation import Violation, hostile_bytes

COMMAND_BYTES = 16384
"""The longest command set that is accepted. Real ones have some hundred bytes (DICOM PS3.7 annex E)."""

SLOW_S = 60.0
LEAST_BYTES_S = 4096
"""A message that takes longer than `SLOW_S` must arrive at this rate, or a byte now and then would hold it for days.

The rate is that of one PDU of `upper_layer.PDU_BYTES` in `upper_layer.PDU_S`.
"""

_config.VALIDATORS["UI"] = lambda _: (True, "")
"""A UID that is too long is refused with its instance, by `receiver`, and not with the whole association."""

COMMAND, LAST = 1, 2
"""Bits of a message control header, DICOM PS3.8 annex E.2."""

_RESPONSES: Final = {C_ECHO: C_ECHO_RSP, C_STORE: C_STORE_RSP, N_EVENT_REPORT: N_EVENT_REPORT_RSP}
"""The message that answers each accepted request."""

_COPIED: Final = ("AffectedSOPClassUID", "AffectedSOPInstanceUID", "EventTypeID")
"""Parameters that a response repeats from its request, where the request has them."""


class IncomingMessage:
    """One request, from its first fragment to its response.

    Parameters
    ----------
    contexts
        Accepted presentation contexts by id.
    """

    def __init__(self, contexts: Mapping[int, PresentationContext], service: Service, requestor: Requestor) -> None:
        self.is_complete = False
        self._contexts = contexts
        self._service = service
        self._requestor = requestor
        self._began_at = time.monotonic()
        self._received_bytes = 0
        self._command = bytearray()
        self._context_id = 0
        self._request: Any = None
        self._data_set: IncomingDataSet | None = None

    def take(self, context_id: int, control: int, fragment: memoryview) -> None:
        """Take one presentation data value.

        Raises
        ------
        Violation
        """
        is_command = bool(control & COMMAND)
        if self.is_complete or is_command is (self._request is not None):
            raise Violation(ReasonCode.MALFORMED_MESSAGE, "it sent fragments of messages out of their order")
        self._check_pace(len(fragment))
        if is_command:
            self._command += fragment
            if len(self._command) > COMMAND_BYTES:
                reason = f"its command set is longer than {COMMAND_BYTES} bytes"
                raise Violation(ReasonCode.MALFORMED_MESSAGE, reason)
            if control & LAST:
                self._begin(context_id)
            return
        if context_id != self._context_id:
            raise Violation(ReasonCode.MALFORMED_MESSAGE, "its data set came under another presentation context")
        assert self._data_set is not None
        self._data_set.write(fragment)
        self.is_complete = bool(control & LAST)

    def respond(self, maximum_length_bytes: int) -> Iterator[bytes]:
        """Process the complete request, and yield the P-DATA-TF PDUs of its response.

        Parameters
        ----------
        maximum_length_bytes
            The longest PDU that the peer accepts; 0 for any.
        """
        status = self._data_set.finish() if self._data_set else ResponseStatus(code=SUCCESS)
        response = type(self._request)()
        response.MessageIDBeingRespondedTo = self._request.MessageID
        for keyword in _COPIED:
            if hasattr(self._request, keyword):
                setattr(response, keyword, getattr(self._request, keyword))
        response.Status = status.code
        if status.comment:
            response.ErrorComment = status.comment
        message = _RESPONSES[type(self._request)]()
        message.primitive_to_message(response)
        for p_data in message.encode_msg(self._context_id, maximum_length_bytes):
            pdu = P_DATA_TF()
            pdu.from_primitive(p_data)
            yield pdu.encode()

    def discard(self) -> None:
        """Remove everything of the data set that was not kept."""
        if self._data_set:
            self._data_set.discard()

    def _check_pace(self, count: int) -> None:
        self._received_bytes += count
        elapsed_s = time.monotonic() - self._began_at
        if elapsed_s > SLOW_S and self._received_bytes < LEAST_BYTES_S * elapsed_s:
            reason = f"an instance arrived at less than {LEAST_BYTES_S} bytes a second: check the network to the sender"
            raise Violation(ReasonCode.TOO_SLOW, reason)

    def _begin(self, context_id: int) -> None:
        """Decode the command set, and open the data set that it announces."""
        context = self._contexts.get(context_id)
        if context is None:
            raise Violation(ReasonCode.MALFORMED_MESSAGE, "it used a presentation context that was not accepted")
        self._context_id = context_id
        request, has_data_set = _decode_request(context_id, bytes(self._command))
        match request:
            case C_ECHO(AffectedSOPClassUID=sop_class) if sop_class == Verification and not has_data_set:
                self.is_complete = True
            case C_STORE() if has_data_set:
                self._data_set = self._service.begin_store(self._requestor, context, request)
            case N_EVENT_REPORT(AffectedSOPClassUID=sop_class) if (
                sop_class == StorageCommitmentPushModel and has_data_set
            ):
                self._data_set = self._service.begin_event_report(self._requestor, context)
            case _:
                reason = "it sent a message that is neither a C-STORE nor a C-ECHO request, nor a commitment result"
                raise Violation(ReasonCode.MALFORMED_MESSAGE, reason)
        self._request = request


def _decode_request(context_id: int, command: bytes) -> tuple[Any, bool]:
    """Return the request of a command set, and whether a data set follows it."""
    message, p_data = DIMSEMessage(), P_DATA()
    p_data.presentation_data_value_list = [[context_id, bytes([COMMAND | LAST]) + command]]
    with hostile_bytes(ReasonCode.MALFORMED_MESSAGE, "its command set"):
        has_data_set = not message.decode_msg(p_data)
        request = message.message_to_primitive()
        is_valid = request.is_valid_request
    if not is_valid:
        reason = "its command set is no complete request"
        raise Violation(ReasonCode.MALFORMED_MESSAGE, reason)
    return request, has_data_set
