"""The Storage SCP: keep first, think later.

A C-STORE is answered with Success only when the bytes lie in the spool and the row is committed, both synced. Pixels
are never decoded here, and the data set is kept exactly as it came. What is not for us is accepted and not kept.
"""

from __future__ import annotations

import errno
import io
import logging
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian
from pynetdicom import AE, evt
from pynetdicom.dsutils import create_file_meta, encode_file_meta
from pynetdicom.presentation import PresentationContext

from appliance.config import MEGABYTE, Receive
from appliance.dicom.objects.series import MANUFACTURER
from appliance.dicom.part10 import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from appliance.dicom.scu.commitment import CommitmentResult
from appliance.dicom.transfer_syntaxes import KEPT, RADIOGRAPHS
from appliance.domain.identifiers import is_valid_uid
from appliance.domain.notice import Notice, Subject
from appliance.domain.reason import ReasonCode
from appliance.domain.received import Received
from appliance.errors import Fault, Transient
from appliance.network import plain_address, server_context
from appliance.storage.spool import FileSpool, Incoming

from .admission import Admission, Places, Refusal, proposals
from .listener import Listener
from .upper_layer import PDU_BYTES, IncomingAssociation, Violation

SUCCESS = 0x0000
SOP_CLASS_NOT_SUPPORTED = 0x0122
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
PROCESSING_FAILURE, INVALID_ARGUMENT = 0x0110, 0x0115
"""Status codes of the Storage service, DICOM PS3.4 table B.2-1 and PS3.7 annex C."""

CLOSING_S = 5.0
"""ARTIM, DICOM PS3.8 section 9.1.5: how long a peer has to hang up after an abort."""

HEAD_BYTES = 4096
"""Manufacturer (0008,0070) stands within, in what we make."""

LOOK_BYTES = 1 << 22
"""After so much of an instance the disk is looked at again: twenty senders at a time overrun a reserve by 80 MB."""

DRAINED = 2
"""An instance that is so many times too large is not even read to its end."""

NAMED = 3
"""Classes that a log line or a notice names; a PACS may propose 128."""

OURS_ROOT = "2.25."
"""Under which `appliance.domain.identifiers.derived_uid` makes UIDs."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A status with a comment for the sender's log."""

    status: int
    comment: str = ""

    def to_dataset(self) -> Dataset:
        """As the library sends it."""
        ds = Dataset()
        ds.Status = self.status
        if self.comment:
            ds.ErrorComment = self.comment
        return ds


TOO_LARGE = Answer(status=CANNOT_UNDERSTAND, comment="larger than receive.instance_mb")


class _Arrival:
    """One instance on its way in; what becomes of it is known from its command set, but for what comes between.

    Parameters
    ----------
    answer
        What it is answered if it is not to be kept.
    into
        Where it is kept; None if it is not.
    most_bytes
        More of it is not kept.
    look
        Raises `Transient` when the disk has no room.
    """

    def __init__(
        self, answer: Answer, into: Incoming | None, most_bytes: int, look: Callable[[], None] = lambda: None
    ) -> None:
        self.answer, self.into, self._most_bytes, self._look = answer, into, most_bytes, look
        self._look_at_bytes = LOOK_BYTES
        self.size_bytes = 0
        self.head = bytearray()
        self.problem: Exception | None = None

    def write(self, fragment: memoryview) -> None:
        """Take a fragment of the data set; what is not kept is read to its end all the same, to be answered."""
        self.size_bytes += len(fragment)
        if self.size_bytes > DRAINED * self._most_bytes:
            raise Violation(ReasonCode.INSTANCE_TOO_LARGE, "it sent far more for an instance than receive.instance_mb")
        if self.into is None:
            self.head += fragment[: HEAD_BYTES - len(self.head)]
            return
        if self.size_bytes > self._most_bytes:
            self.answer = TOO_LARGE
            self.discard()
            return
        try:
            if self.size_bytes >= self._look_at_bytes:
                self._look_at_bytes = self.size_bytes + LOOK_BYTES
                self._look()
            self.into.write(fragment)
        except (Transient, OSError) as error:
            self.problem = error
            self.discard()

    def discard(self) -> None:
        """Leave nothing in the spool, unless it was kept."""
        if self.into:
            self.into.discard()
            self.into = None


class Receiver:
    """Listens, keeps and answers.

    Parameters
    ----------
    keep
        Commits the instance and its job; False if the same bytes were here before.
    is_answer
        Whether a SOP Instance UID is that of an answer of ours.
    note
        Takes down what was turned away.
    reported
        Takes down what a PACS vouches for; of how many of our answers.

    Raises
    ------
    Fault
        ``cannot_listen``, or ``tls`` if the certificates cannot be used.
    """

    def __init__(
        self,
        config: Receive,
        spool: FileSpool,
        keep: Callable[[Received], bool],
        is_answer: Callable[[str], bool],
        note: Callable[[Notice], None],
        reported: Callable[[CommitmentResult], int],
    ) -> None:
        self._config, self._spool = config, spool
        self._keep, self._is_answer, self._note, self._reported = keep, is_answer, note, reported
        self._listeners: list[Listener] = []
        self._admission = Admission(config)
        self.received = 0
        self.places = Places(config.associations, config.associations_per_peer)
        ae = AE(ae_title=config.ae_title)
        ae.maximum_pdu_size = PDU_BYTES
        ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
        ae.implementation_version_name = IMPLEMENTATION_VERSION_NAME
        ae.maximum_associations = 10 * config.associations  # `Places` counts; the library also those that have ended
        ae.acse_timeout, ae.dimse_timeout, ae.network_timeout = CLOSING_S, config.idle_s, config.idle_s
        try:
            if config.plain:
                self.port = self._listen(ae, config.port, "receive.port")
            if config.tls:
                self.tls_port = self._listen(ae, config.tls.port, "receive.tls.port")
        except Fault:
            self.close()
            raise

    def _listen(self, ae: AE, port: int, key: str) -> int:
        config = self._config
        tls = server_context(config.tls) if config.tls and key == "receive.tls.port" else None
        handlers: list[evt.EventHandlerType] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_EVENT_REPORT, self._report),
            (evt.EVT_ACCEPTED, self._accepted),
        ]
        try:
            listener = Listener(
                ae,
                (config.host, port),
                self._admission,
                self.places,
                self._begin,
                self._turned,
                request_s=config.request_s,
                tls=tls,
                handlers=handlers,
            )
        except OSError as error:
            is_host = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
            see = "receive.host" if is_host else f"{key}; ports below 1024: docs/installing.md" if port < 1024 else key
            reason = f"cannot listen on {config.host}:{port}: {error.strerror}; see {see}"
            raise Fault(ReasonCode.CANNOT_LISTEN, reason) from error
        self._listeners.append(listener)
        return int(listener.server_address[1])

    def close(self) -> None:
        """Stop listening; associations under way are aborted, and their senders repeat what was not answered."""
        for listener in self._listeners:
            listener.shutdown()
            for association in listener.active_associations:
                association.abort()

    def _begin(self, association: IncomingAssociation, context: PresentationContext, command: Dataset) -> _Arrival:
        """Decide about an instance by its command set, before the first byte of its data set is read."""
        uid, storage_class = str(command.AffectedSOPInstanceUID), str(command.AffectedSOPClassUID)
        most_bytes = self._config.instance_mb * MEGABYTE
        try:
            return self._begun(uid, storage_class, context, most_bytes)
        except Exception as error:  # noqa: BLE001  ours, not the peer's: whatever it is, the sender comes again
            refused = _Arrival(Answer(status=OUT_OF_RESOURCES), None, most_bytes)
            refused.problem = error
            return refused

    def _begun(self, uid: str, storage_class: str, context: PresentationContext, most_bytes: int) -> _Arrival:
        if not is_valid_uid(uid):
            return _Arrival(Answer(status=CANNOT_UNDERSTAND, comment="SOP Instance UID is not a UID"), None, most_bytes)
        if storage_class != context.abstract_syntax:
            comment = "SOP Class is not that of its context"
            return _Arrival(Answer(status=SOP_CLASS_NOT_SUPPORTED, comment=comment), None, most_bytes)
        if storage_class not in KEPT or self._is_ours(uid):
            return _Arrival(Answer(status=SUCCESS), None, most_bytes)
        self._look()
        meta = create_file_meta(
            sop_class_uid=UID(storage_class), sop_instance_uid=UID(uid), transfer_syntax=context.transfer_syntax[0]
        )
        into = self._spool.incoming()
        try:
            into.write(b"\x00" * 128 + b"DICM" + encode_file_meta(meta))
        except Exception:
            into.discard()
            raise
        return _Arrival(Answer(status=OUT_OF_RESOURCES), into, most_bytes, self._look)

    def _look(self) -> None:
        if self._spool.free_bytes() < self._config.reserve_mb * MEGABYTE:
            raise Transient(ReasonCode.DISK_LOW, "less than the reserve is free on the spool's disk")

    def _store(self, event: evt.Event) -> Dataset:
        try:
            return self._kept(event).to_dataset()
        except Exception as error:  # noqa: BLE001  the one broad handler of this role: the sender keeps it and comes again
            problem = error.code if isinstance(error, Transient) else type(error).__name__
            log.error("an instance cannot be kept (%s): its sender is told to come again", problem)
            return Answer(status=OUT_OF_RESOURCES, comment="cannot store now").to_dataset()

    def _kept(self, event: evt.Event) -> Answer:
        arrival, request, peer = event.assoc.arrival, event.request, event.assoc.requestor
        if arrival.problem:
            raise arrival.problem
        if arrival.into is None:
            if arrival.answer.status == SUCCESS:
                self._note_not_for_us(event, arrival)
            elif arrival.answer is TOO_LARGE:
                self._note_instance(
                    event, ReasonCode.INSTANCE_TOO_LARGE, "larger than receive.instance_mb: refused (C000)"
                )
            return arrival.answer
        received = Received(
            sop_instance_uid=str(request.AffectedSOPInstanceUID),
            sop_class_uid=str(request.AffectedSOPClassUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            digest=arrival.into.keep(),
            size_bytes=arrival.size_bytes,
            calling_ae_title=str(peer.ae_title).strip(),
        )
        is_new = self._keep(received)
        if not self._spool.has(received.digest):  # retention removed the same bytes in between: let them come again
            raise Transient(ReasonCode.SPOOL_FAILED, "what was kept is not in the spool any more")
        self.received += is_new
        return Answer(status=SUCCESS)

    def _report(self, event: evt.Event) -> tuple[int, None]:
        calling = str(event.assoc.requestor.ae_title).strip()
        try:
            report = CommitmentResult.from_dataset(event.event_information)
        except Exception as error:  # noqa: BLE001  whatever the library makes of hostile bytes
            log.warning("%s sent an event report that cannot be read (%s)", calling, type(error).__name__)
            return INVALID_ARGUMENT, None
        try:
            count = self._reported(report)
        except Exception as error:  # noqa: BLE001  ours, not the peer's: it reports again, or is asked again
            log.error("a report of storage commitment cannot be written down: %s", type(error).__name__)
            return PROCESSING_FAILURE, None
        log.info("%s reports on storage commitment: %d of our answers", calling, count)
        return SUCCESS, None

    def _is_ours(self, uid: str) -> bool:
        return uid.startswith(OURS_ROOT) and self._is_answer(uid)

    def _note_not_for_us(self, event: evt.Event, arrival: _Arrival) -> None:
        uid, storage_class = str(event.request.AffectedSOPInstanceUID), UID(str(event.request.AffectedSOPClassUID))
        made_here = uid.startswith(OURS_ROOT) and _is_made_by_osteon(bytes(arrival.head), event.context.transfer_syntax)
        if made_here or self._is_ours(uid):
            code, reason = ReasonCode.OWN_ANSWER, "an answer of Osteon came back: not kept, and no harm"
        else:
            code, reason = (
                ReasonCode.NOT_A_RADIOGRAPH,
                f"{storage_class.name}: accepted and not kept, since it is no CR or DX",
            )
        self._note_instance(event, code, reason)

    def _note_instance(self, event: evt.Event, code: ReasonCode, reason: str) -> None:
        association = event.assoc
        notice = Notice(
            subject=Subject.INSTANCE,
            code=code,
            reason=reason,
            calling_ae_title=str(association.requestor.ae_title).strip(),
            called_ae_title=str(association.acceptor.ae_title).strip(),
            address=str(plain_address(association.address)),
        )
        log.info("not kept, from %s: %s", notice.calling_ae_title, reason)
        self._note(notice)

    def _accepted(self, event: evt.Event) -> None:
        association = event.assoc
        calling, address = str(association.requestor.ae_title).strip(), str(plain_address(association.address))
        called = str(association.acceptor.ae_title).strip()
        taken = {context.abstract_syntax for context in association.accepted_contexts}
        proposed = proposals(association.requestor.primitive)
        refused = {abstract: syntaxes for abstract, syntaxes in proposed.items() if abstract not in taken}
        names = _names(refused)
        log.info("association with %s at %s%s", calling, address, f", not taken: {names}" if refused else "")
        turned: list[tuple[ReasonCode, str]] = []
        for abstract in [abstract for abstract in refused if abstract in RADIOGRAPHS]:
            reason = f"{UID(abstract).name} is not taken as it was proposed: {_names(refused.pop(abstract))}"
            turned.append((ReasonCode.TRANSFER_SYNTAXES, reason))
        if refused and taken:
            turned.append((ReasonCode.PARTLY_TAKEN, f"not taken of what it proposed: {_names(refused)}"))
        elif refused:
            turned.append((ReasonCode.NOTHING_TAKEN, f"nothing that it proposed is taken: {names}"))
        for code, reason in turned:
            self._turned(Refusal(code=code, reason=reason[:256]), address, calling, called)

    def _turned(self, refusal: Refusal, address: str, calling: str, called: str) -> None:
        log.warning("%s at %s: %s (%s)", calling or "somebody", address, refusal.reason, refusal.code)
        known = self._admission.is_known(address)
        self._note(
            Notice(
                subject=Subject.ASSOCIATION if known else Subject.STRANGER,
                code=refusal.code,
                reason=refusal.reason,
                calling_ae_title=calling[:16] if known else "",  # escaped, they may be longer
                called_ae_title=called[:16] if known else "",
                address=address,
            )
        )


def _names(uids: Collection[str]) -> str:
    """The first few of them in words."""
    named = [UID(uid).name.encode("unicode_escape").decode() for uid in list(uids)[:NAMED]]
    more = len(uids) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _is_made_by_osteon(head: bytes, transfer_syntax: UID) -> bool:
    """Whether the beginning of a data set names us as the equipment's manufacturer."""
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        return False
    try:
        ds = read_dataset(
            io.BytesIO(head),
            UID(transfer_syntax).is_implicit_VR,
            UID(transfer_syntax).is_little_endian,
            stop_when=lambda tag, *_: tag > 0x00080070,
        )
        return bool(ds.get("Manufacturer") == MANUFACTURER)
    except Exception:  # noqa: BLE001  hostile bytes are not ours
        return False
