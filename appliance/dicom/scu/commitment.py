"""Storage commitment, push model: the PACS vouches for what it has, at once or on an association of its own later.

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
from pynetdicom.dimse_messages import N_EVENT_REPORT_RSP
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from appliance.domain.reason import ReasonCode
from appliance.errors import Transient

from .peer import DicomPeer, associated

REQUEST_COMMITMENT = 1
"""Action Type ID, DICOM PS3.4 J.3.2."""

REPORT_WAIT_S = 2.0
"""How long a report is waited for on the association of the request; most archives open one of their own."""


@dataclass(frozen=True, slots=True)
class SopReference:
    """An object by class and instance."""

    sop_class_uid: str
    sop_instance_uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentResult:
    """What the PACS says: SOP Instance UIDs that it vouches for, and those that it does not with the reason."""

    transaction_uid: str
    committed: frozenset[str]
    failed: dict[str, int]

    @classmethod
    def from_dataset(cls, ds: Dataset) -> CommitmentResult:
        """From the Event Information of an N-EVENT-REPORT (DICOM PS3.4 J.3.3).

        Raises
        ------
        ValueError
            If it has no Transaction UID.
        """
        if not ds.get("TransactionUID"):
            raise ValueError("a commitment report without a Transaction UID")
        return cls(
            transaction_uid=str(ds.TransactionUID),
            committed=frozenset(str(i.ReferencedSOPInstanceUID) for i in ds.get("ReferencedSOPSequence", [])),
            failed={
                str(i.ReferencedSOPInstanceUID): int(i.get("FailureReason", 0)) for i in ds.get("FailedSOPSequence", [])
            },
        )


def request_commitment(
    peer: DicomPeer, transaction_uid: str, references: Sequence[SopReference], wait_s: float = REPORT_WAIT_S
) -> CommitmentResult | None:
    """Ask the PACS to vouch for objects; its report, if it comes on this association.

    Raises
    ------
    Transient
        ``no_commitment`` if the peer takes no such request, ``commitment_failed`` if it refuses this one; `Away`.
    """
    reports: list[CommitmentResult] = []
    came = threading.Event()

    def take(event: evt.Event) -> tuple[int, None]:
        try:
            reports.append(CommitmentResult.from_dataset(event.event_information))
        except ValueError:
            return 0x0115, None  # invalid argument value, DICOM PS3.7 C.5.3
        return 0x0000, None

    def answered(event: evt.Event) -> None:
        if reports and isinstance(event.message, N_EVENT_REPORT_RSP):  # to release sooner would cut it off
            came.set()

    contexts = [build_context(StorageCommitmentPushModel)]
    handlers = [(evt.EVT_N_EVENT_REPORT, take), (evt.EVT_DIMSE_SENT, answered)]
    with associated(peer, contexts, handlers=handlers) as association:
        if not association.is_established:
            raise Transient(
                ReasonCode.NO_COMMITMENT, f"{peer} takes no storage commitment from us: allow it, or use another proof"
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
            what = f"status 0x{status.Status:04X}" if "Status" in status else "no answer"
            raise Transient(
                ReasonCode.COMMITMENT_FAILED, f"{peer} does not take a request for storage commitment: {what}"
            )
        came.wait(wait_s)
    return next((r for r in reports if r.transaction_uid == transaction_uid), None)
