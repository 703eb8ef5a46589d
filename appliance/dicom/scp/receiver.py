"""The Storage SCP of Osteon: stores an instance first, and leaves everything else to later roles.

A C-STORE request is answered with Success only after its bytes lie in the spool and its row is committed, both synced
to disk. Pixels are never decoded here, and the data set is stored exactly as received. An instance that is no
radiograph is accepted and not stored. A trial, which its UID names, is kept apart: it never becomes a radiograph.
"""

from __future__ import annotations

import errno
import io
import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from pynetdicom.presentation import PresentationContext

from appliance.config import MEGABYTE, Receive
from appliance.dicom.objects.series import MANUFACTURER
from appliance.dicom.scu.commitment import CommitmentResult
from appliance.dicom.transfer_syntaxes import KEPT
from appliance.domain.identifiers import is_valid_uid
from appliance.domain.notice import Notice
from appliance.domain.reason import ReasonCode
from appliance.domain.received import Received
from appliance.domain.trial import is_trial_uid
from appliance.errors import Fault, Transient
from appliance.network import server_context
from appliance.ports import Spool, SpoolFile, TrialFiles

from .admission import Admission, Refusal, Slots
from .incoming_commitment import IncomingCommitmentResult
from .incoming_instance import TOO_LARGE, IncomingInstance
from .intake_notices import IntakeNotices
from .listener import Listener
from .service import (
    CANNOT_UNDERSTAND,
    OUT_OF_RESOURCES,
    SOP_CLASS_NOT_SUPPORTED,
    SUCCESS,
    Requestor,
    ResponseStatus,
)
from .violation import Violation, hostile_bytes

DERIVED_UID_ROOT = "2.25."
"""The root under which `appliance.domain.identifiers.derived_uid` makes the UIDs of our own objects."""

NOT_A_UID: Final = ResponseStatus(code=CANNOT_UNDERSTAND, comment="SOP Instance UID is not a UID")
ANOTHER_CLASS: Final = ResponseStatus(code=SOP_CLASS_NOT_SUPPORTED, comment="SOP Class is not that of its context")

REFUSALS: Final = {
    NOT_A_UID: Refusal(
        code=ReasonCode.INSTANCE_REFUSED,
        reason="the SOP Instance UID of an instance is not of digits and dots, at most 64: refused (C000)",
    ),
    ANOTHER_CLASS: Refusal(
        code=ReasonCode.INSTANCE_REFUSED,
        reason="the SOP class of an instance is not that of its presentation context: refused (0122)",
    ),
    TOO_LARGE: Refusal(
        code=ReasonCode.INSTANCE_TOO_LARGE, reason="an instance is larger than receive.instance_mb: refused (C000)"
    ),
}
"""The refusal that is noted for each status by which an instance is refused for good."""

_MANUFACTURER_TAG = 0x00080070

log = logging.getLogger(__name__)


class Receiver:
    """The listening ports, and the `Service` behind their associations.

    Parameters
    ----------
    record_instance
        Commits an instance with its analysis job; returns False if the same bytes were recorded before.
    is_own_object
        Returns whether a SOP Instance UID is that of an object that Osteon made.
    note
        Records a notice.
    record_commitment
        Records a commitment result; returns the number of our deliveries that it concerns.
    trials
        Keeps the instances that `is_trial_uid` recognises.

    Attributes
    ----------
    received
        Number of new instances since the start.

    Raises
    ------
    Fault
        ``cannot_listen``, or ``tls`` if the certificates cannot be used.
    """

    def __init__(
        self,
        config: Receive,
        spool: Spool,
        record_instance: Callable[[Received], bool],
        is_own_object: Callable[[str], bool],
        note: Callable[[Notice], None],
        record_commitment: Callable[[CommitmentResult], int],
        trials: TrialFiles,
    ) -> None:
        self.received = 0
        self.slots = Slots(config.associations, config.associations_per_peer)
        self._config = config
        self._spool = spool
        self._record_instance = record_instance
        self._is_own_object = is_own_object
        self._record_commitment = record_commitment
        self._trials = trials
        self._admission = Admission(config)
        self._notices = IntakeNotices(self._admission.is_listed, note)
        self._listeners: list[Listener] = []
        try:
            if config.plain:
                self.port = self._listen("receive.port", config.port)
            if config.tls:
                self.tls_port = self._listen("receive.tls.port", config.tls.port)
        except Fault:
            self.close()
            raise

    def close(self) -> None:
        """Stop listening and abort the associations; their senders repeat every instance without a response."""
        for listener in self._listeners:
            listener.close()

    def begin_store(self, requestor: Requestor, context: PresentationContext, request: C_STORE) -> IncomingInstance:
        """Decide by the command set whether the instance is stored, and open its spool file."""
        instance = IncomingInstance(
            requestor=requestor,
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            sop_class_uid=str(request.AffectedSOPClassUID),
            transfer_syntax_uid=str(context.transfer_syntax[0]),
            most_bytes=self._config.instance_mb * MEGABYTE,
            check_disk=self._check_reserve,
            store=self._store,
        )
        try:
            instance.status = self._status_without_storing(instance, context)
            if instance.status is None:
                self._check_reserve()
                instance.file = self._open_spool_file(instance)
        except Exception as error:  # noqa: BLE001  an internal failure must not end the association: `_store` reports it
            instance.problem = error
        return instance

    def begin_event_report(self, requestor: Requestor, context: PresentationContext) -> IncomingCommitmentResult:
        """Open the Event Information of a commitment result."""
        return IncomingCommitmentResult(
            requestor, UID(context.transfer_syntax[0]), self._record_commitment, self.note_refused
        )

    def note_accepted(
        self, requestor: Requestor, proposed: Mapping[str, Sequence[str]], accepted: AbstractSet[str]
    ) -> None:
        """Log an accepted association, and record its rejected presentation contexts."""
        self._notices.note_accepted(requestor, proposed, accepted)

    def note_refused(self, requestor: Requestor, refusal: Refusal) -> None:
        """Record a connection or message that was refused."""
        self._notices.note_refused(requestor, refusal)

    def _listen(self, key: str, port: int) -> int:
        """Open the port that the configuration names by `key`, and return its number."""
        config = self._config
        tls = server_context(config.tls) if config.tls and key == "receive.tls.port" else None
        try:
            listener = Listener(
                config.host,
                port,
                self._admission,
                self.slots,
                self,
                request_s=config.request_s,
                idle_s=config.idle_s,
                tls=tls,
            )
        except OSError as error:
            remedy = _remedy(error, key, port)
            reason = f"cannot listen on {config.host}:{port}: {error.strerror}; see {remedy}"
            raise Fault(ReasonCode.CANNOT_LISTEN, reason) from error
        self._listeners.append(listener)
        return listener.port

    def _status_without_storing(
        self, instance: IncomingInstance, context: PresentationContext
    ) -> ResponseStatus | None:
        """Return the status of an instance that is not stored; None if it is."""
        if not is_valid_uid(instance.sop_instance_uid):
            return NOT_A_UID
        if instance.sop_class_uid != context.abstract_syntax:
            return ANOTHER_CLASS
        if instance.sop_class_uid not in KEPT or self._is_known_own_object(instance):
            return ResponseStatus(code=SUCCESS)
        return None

    def _check_reserve(self) -> None:
        if self._spool.free_bytes() < self._config.reserve_mb * MEGABYTE:
            reason = "less than receive.reserve_mb is free on the spool's disk"
            raise Transient(ReasonCode.DISK_LOW, reason)

    def _open_spool_file(self, instance: IncomingInstance) -> SpoolFile:
        """Open a spool file, and write preamble and file meta information (DICOM PS3.10 7.1)."""
        meta = create_file_meta(
            sop_class_uid=UID(instance.sop_class_uid),
            sop_instance_uid=UID(instance.sop_instance_uid),
            transfer_syntax=UID(instance.transfer_syntax_uid),
        )
        file = (self._trials if is_trial_uid(instance.sop_instance_uid) else self._spool).incoming()
        try:
            file.write(b"\x00" * 128 + b"DICM" + encode_file_meta(meta))
        except BaseException:
            file.discard()
            raise
        return file

    def _store(self, instance: IncomingInstance) -> ResponseStatus:
        """Store a complete instance durably; return the status of the response."""
        try:
            if instance.problem:
                raise instance.problem
            if instance.status:
                self._note_not_stored(instance, instance.status)
                return instance.status
            self._keep(instance)
        except Exception as error:  # noqa: BLE001  an internal failure: the sender keeps the instance and repeats it
            code = error.code if isinstance(error, Transient) else ReasonCode.NOT_KEPT
            problem = code if isinstance(error, Transient) else type(error).__name__
            reason = f"an instance cannot be kept ({problem}): its sender is asked to repeat it (A700)"
            self.note_refused(instance.requestor, Refusal(code=code, reason=reason))
            return ResponseStatus(code=OUT_OF_RESOURCES, comment="cannot store now")
        return ResponseStatus(code=SUCCESS)

    def _keep(self, instance: IncomingInstance) -> None:
        """Sync the spool file, then commit the row, of a radiograph or of a trial."""
        assert instance.file is not None
        if is_trial_uid(instance.sop_instance_uid):
            self._trials.add(instance.sop_instance_uid, instance.file.keep())
            return
        received = Received(
            sop_instance_uid=instance.sop_instance_uid,
            sop_class_uid=instance.sop_class_uid,
            transfer_syntax_uid=instance.transfer_syntax_uid,
            digest=instance.file.keep(),
            size_bytes=instance.size_bytes,
            calling_ae_title=instance.requestor.calling_ae_title,
        )
        is_new = self._record_instance(received)
        if not self._spool.has(received.digest):  # retention removed a file of the same bytes in between
            raise Transient(ReasonCode.SPOOL_FAILED, "the stored instance is not in the spool any more")
        self.received += is_new

    def _note_not_stored(self, instance: IncomingInstance, status: ResponseStatus) -> None:
        if refusal := REFUSALS.get(status):
            self.note_refused(instance.requestor, refusal)
        elif _is_own_object_of_another_box(instance) or self._is_known_own_object(instance):
            reason = "an object made by Osteon came back: accepted and not stored, no action is needed"
            self._notices.note_not_stored(instance.requestor, ReasonCode.OWN_ANSWER, reason)
        else:
            name = UID(instance.sop_class_uid).name
            reason = f"{name}: accepted and not stored, because it is no CR or DX"
            self._notices.note_not_stored(instance.requestor, ReasonCode.NOT_A_RADIOGRAPH, reason)

    def _is_known_own_object(self, instance: IncomingInstance) -> bool:
        """Return whether our database lists the instance as an object that we sent."""
        uid = instance.sop_instance_uid
        return uid.startswith(DERIVED_UID_ROOT) and self._is_own_object(uid)


def _remedy(error: OSError, key: str, port: int) -> str:
    """Return the configuration key, or the document, that helps against a port that cannot be opened."""
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return "receive.host"
    if port < 1024:
        return f"{key}; ports below 1024: docs/install.md"
    return key


def _is_own_object_of_another_box(instance: IncomingInstance) -> bool:
    """Return whether the beginning of the data set names Osteon as manufacturer of an object with a derived UID."""
    syntax = UID(instance.transfer_syntax_uid)
    if not instance.sop_instance_uid.startswith(DERIVED_UID_ROOT) or syntax == DeflatedExplicitVRLittleEndian:
        return False
    try:
        with hostile_bytes(ReasonCode.MALFORMED_MESSAGE, "the head of its data set"):
            ds = read_dataset(
                io.BytesIO(instance.head),
                syntax.is_implicit_VR,
                syntax.is_little_endian,
                stop_when=lambda tag, *_: tag > _MANUFACTURER_TAG,
            )
            return bool(ds.get("Manufacturer") == MANUFACTURER)
    except Violation:
        return False
