"""Storage commitment, push model: the PACS confirms the objects that it keeps, at once or on a later association.

References
----------
DICOM PS3.4 annex J; PS3.3 C.14.1.1 for the failure reasons.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import UID
from pynetdicom import build_context, evt
from pynetdicom.dimse_messages import N_EVENT_REPORT_RQ, N_EVENT_REPORT_RSP
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from appliance.domain.reason import ReasonCode
from appliance.errors import Transient

from .peer import DicomPeer, associated

REQUEST_COMMITMENT = 1
"""Action Type ID, DICOM PS3.4 J.3.2."""

RESULT_WAIT_S = 2.0
"""Wait for the commitment result on the association of the request; most archives open one of their own later."""


@dataclass(frozen=True, slots=True)
class SopReference:
    """An object, by SOP class and SOP instance."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentResult:
    """The commitment result of a PACS: committed SOP Instance UIDs, and failed ones with their Failure Reason."""

    transaction_uid: str
    committed: frozenset[str]
    failed: dict[str, int]

    @classmethod
    def from_dataset(cls, ds: Dataset) -> CommitmentResult:
        """Read the Event Information of an N-EVENT-REPORT (DICOM PS3.4 J.3.3).

        Raises
        ------
        ValueError
            If it has no Transaction UID.
        """
        if not ds.get("TransactionUID"):
            raise ValueError("a commitment result without a Transaction UID")
        return cls(
            transaction_uid=str(ds.TransactionUID),
            committed=frozenset(str(i.ReferencedSOPInstanceUID) for i in ds.get("ReferencedSOPSequence", [])),
            failed={
                str(i.ReferencedSOPInstanceUID): int(i.get("FailureReason", 0)) for i in ds.get("FailedSOPSequence", [])
            },
        )


def request_commitment(
    peer: DicomPeer, transaction_uid: str, references: Sequence[SopReference], wait_s: float = RESULT_WAIT_S
) -> CommitmentResult | None:
    """Request storage commitment; return the result if it comes on this association, else None.

    Raises
    ------
    Transient
        ``no_commitment`` if the peer does not offer the service, ``commitment_failed`` if it refuses this request.
    Away
        If there is no association.
    """
    results: list[CommitmentResult] = []
    result_received = threading.Event()
    result_acknowledged = threading.Event()

    def receive_result(event: evt.Event) -> tuple[int, None]:
        try:
            results.append(CommitmentResult.from_dataset(event.event_information))
        except ValueError:
            return 0x0115, None  # invalid argument value, DICOM PS3.7 C.5.3
        return 0x0000, None

    def note_receipt(event: evt.Event) -> None:
        if isinstance(event.message, N_EVENT_REPORT_RQ):
            result_received.set()

    def note_acknowledgement(event: evt.Event) -> None:
        if isinstance(event.message, N_EVENT_REPORT_RSP):
            result_acknowledged.set()

    contexts = [build_context(StorageCommitmentPushModel)]
    handlers = [
        (evt.EVT_DIMSE_RECV, note_receipt),
        (evt.EVT_N_EVENT_REPORT, receive_result),
        (evt.EVT_DIMSE_SENT, note_acknowledgement),
    ]
    with associated(peer, contexts, handlers=handlers) as association:
        if not association.is_established:
            raise Transient(
                ReasonCode.NO_COMMITMENT,
                f"{peer} accepts no storage commitment from us: allow it there, or choose another `proof`",
            )
        request = Dataset()
        request.TransactionUID = UID(transaction_uid)
        request.ReferencedSOPSequence = []
        for reference in references:
            item = Dataset()
            item.ReferencedSOPClassUID = UID(reference.sop_class_uid)
            item.ReferencedSOPInstanceUID = UID(reference.sop_instance_uid)
            request.ReferencedSOPSequence.append(item)
        status, _ = association.send_n_action(
            request, REQUEST_COMMITMENT, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        if status.get("Status") != 0x0000:
            response = f"status 0x{status.Status:04X}" if "Status" in status else "no response"
            raise Transient(
                ReasonCode.COMMITMENT_FAILED, f"{peer} refuses the request for storage commitment: {response}"
            )
        # pynetdicom cannot acknowledge a result while it releases: its thread ends, and the release takes its timeout
        if not result_acknowledged.wait(wait_s) and result_received.is_set():
            result_acknowledged.wait(peer.timeout_s)
    return next((r for r in results if r.transaction_uid == transaction_uid), None)
