"""The Event Information of one N-EVENT-REPORT request: the commitment result of a PACS (DICOM PS3.4 J.3.3)."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable

from pydicom.uid import UID
from pynetdicom.dsutils import decode

from appliance.dicom.scu.commitment import CommitmentResult
from appliance.domain.reason import ReasonCode

from .admission import Refusal
from .service import INVALID_ARGUMENT, PROCESSING_FAILURE, SUCCESS, Requestor, ResponseStatus
from .violation import Violation, hostile_bytes

EVENT_INFORMATION_BYTES = 1 << 20
"""The longest Event Information that is accepted: some thousand objects of 150 bytes (DICOM PS3.4 table J.3-2)."""

log = logging.getLogger(__name__)


class IncomingCommitmentResult:
    """The `IncomingDataSet` of a commitment result, which fits into memory.

    Parameters
    ----------
    record
        Records the result; returns the number of our deliveries that it concerns.
    note_refused
        Records a result that was refused.
    """

    def __init__(
        self,
        requestor: Requestor,
        transfer_syntax: UID,
        record: Callable[[CommitmentResult], int],
        note_refused: Callable[[Requestor, Refusal], None],
    ) -> None:
        self._requestor = requestor
        self._note_refused = note_refused
        self._transfer_syntax = transfer_syntax
        self._record = record
        self._content = bytearray()

    def write(self, fragment: memoryview) -> None:
        """Append a fragment."""
        self._content += fragment
        if len(self._content) > EVENT_INFORMATION_BYTES:
            reason = f"its event information is longer than {EVENT_INFORMATION_BYTES} bytes"
            raise Violation(ReasonCode.MALFORMED_MESSAGE, reason)

    def finish(self) -> ResponseStatus:
        """Decode and record the result; return the status of the response."""
        try:
            result = self._decode()
        except Violation as violation:
            reason = f"a commitment result cannot be read: {violation.reason}: refused (0115)"
            self._note_refused(self._requestor, Refusal(code=violation.code, reason=reason))
            return ResponseStatus(code=INVALID_ARGUMENT)
        try:
            count = self._record(result)
        except Exception as error:  # noqa: BLE001  an internal failure: the PACS repeats its result, or is asked again
            reason = f"a commitment result cannot be recorded ({type(error).__name__}): refused (0110)"
            self._note_refused(self._requestor, Refusal(code=ReasonCode.NOT_KEPT, reason=reason))
            return ResponseStatus(code=PROCESSING_FAILURE)
        log.info("commitment result of %s: it concerns %d of our deliveries", self._requestor.calling_ae_title, count)
        return ResponseStatus(code=SUCCESS)

    def discard(self) -> None:
        """Do nothing: the memory is released with this object."""

    def _decode(self) -> CommitmentResult:
        syntax = self._transfer_syntax
        with hostile_bytes(ReasonCode.MALFORMED_MESSAGE, "its event information"):
            content = io.BytesIO(self._content)
            ds = decode(content, syntax.is_implicit_VR, syntax.is_little_endian, syntax.is_deflated)
            return CommitmentResult.from_dataset(ds)
