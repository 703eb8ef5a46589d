"""The Storage SCP: keep first, think later.

A C-STORE is answered with Success only when the bytes lie in the spool and the row is committed, both synced. Pixels
are never decoded here, and the data set is kept exactly as it came.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import Verification
from pynetdicom.transport import ThreadedAssociationServer

from appliance.config import Receive
from appliance.domain.identifiers import is_valid_uid
from appliance.errors import Fault, Transient
from appliance.storage.ledger import Received

from .transfer_syntaxes import ACCEPTED, COMPANIONS, RADIOGRAPHS, UNCOMPRESSED

SUCCESS = 0x0000
OUT_OF_RESOURCES = 0xA700
CANNOT_UNDERSTAND = 0xC000
"""Status codes of the Storage service, DICOM PS3.4 table B.2-1."""

PDU_BYTES = 131072
TIMEOUT_S = 30

log = logging.getLogger(__name__)


class Receiver:
    """Listens, keeps and answers.

    Parameters
    ----------
    put
        Keeps bytes durably and gives their digest; raises `Transient`.
    keep
        Commits the instance and its job; False if the same bytes were here before.
    spool_dir
        On the disk whose free space decides whether we accept.

    Raises
    ------
    Fault
        ``port_in_use`` if it cannot listen.
    """

    def __init__(
        self, config: Receive, put: Callable[[bytes], str], keep: Callable[[Received], bool], spool_dir: Path
    ) -> None:
        self._put, self._keep, self._spool_dir = put, keep, spool_dir
        self._reserve_bytes = config.reserve_mb * 1_000_000
        self.received = 0
        ae = AE(ae_title=config.ae_title)
        ae.require_called_aet = True
        ae.maximum_pdu_size = PDU_BYTES
        ae.maximum_associations = config.associations
        ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = TIMEOUT_S
        ae.add_supported_context(Verification)
        for storage_class in RADIOGRAPHS:
            ae.add_supported_context(storage_class, list(ACCEPTED))
        for storage_class in COMPANIONS:
            ae.add_supported_context(storage_class, list(UNCOMPRESSED))
        handlers = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_ACCEPTED, self._accepted),
            (evt.EVT_REJECTED, self._rejected),
        ]
        try:
            server = ae.start_server((config.host, config.port), block=False, evt_handlers=handlers)
        except OSError as error:
            raise Fault(
                "port_in_use", f"cannot listen on {config.host}:{config.port}: {error.strerror}; see receive.port"
            ) from error
        assert isinstance(server, ThreadedAssociationServer)
        self._server = server
        self.port = int(server.server_address[1])

    def close(self) -> None:
        """Stop listening; associations under way are aborted, and their senders repeat what was not answered."""
        self._server.shutdown()

    def _store(self, event: evt.Event) -> Dataset:
        try:
            return self._kept(event)
        except Exception as error:  # noqa: BLE001  the one broad handler of this role: the sender keeps it and comes again
            problem = error.code if isinstance(error, Transient) else type(error).__name__
            log.error("an instance cannot be kept (%s): its sender is told to come again", problem)
            return _status(OUT_OF_RESOURCES, "cannot store now")

    def _kept(self, event: evt.Event) -> Dataset:
        request = event.request
        uid = str(request.AffectedSOPInstanceUID or "")
        if not is_valid_uid(uid):
            return _status(CANNOT_UNDERSTAND, "Affected SOP Instance UID is not a UID")
        if shutil.disk_usage(self._spool_dir).free < self._reserve_bytes:
            raise Transient("disk_low", "less than the reserve is free on the spool's disk")
        content = event.encoded_dataset()
        received = Received(
            sop_instance_uid=uid,
            sop_class_uid=str(request.AffectedSOPClassUID),
            transfer_syntax_uid=str(event.context.transfer_syntax),
            digest=self._put(content),
            size_bytes=len(content),
            calling_ae_title=str(event.assoc.requestor.ae_title).strip(),
        )
        self.received += self._keep(received)
        return _status(SUCCESS)

    def _accepted(self, event: evt.Event) -> None:
        peer = event.assoc.requestor
        refused = sorted({str(c.abstract_syntax) for c in event.assoc.rejected_contexts})
        log.info(
            "association with %s at %s%s",
            str(peer.ae_title).strip(),
            peer.address,
            f", storage classes not taken: {', '.join(refused)}" if refused else "",
        )

    def _rejected(self, event: evt.Event) -> None:
        peer = event.assoc.requestor
        log.warning(
            "association rejected: %s at %s called %r",
            str(peer.ae_title).strip(),
            peer.address,
            str(peer.primitive.called_ae_title).strip(),
        )


def _status(code: int, comment: str = "") -> Dataset:
    status = Dataset()
    status.Status = code
    if comment:
        status.ErrorComment = comment
    return status
