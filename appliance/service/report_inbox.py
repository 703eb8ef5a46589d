"""Receives radiologist reports: a message is acknowledged once it is in the spool and its row is committed.

A message goes into the spool as it arrives, and of its segments only those that are used stay in memory: the DICOM
listener shares the process, and no message can take its memory away.
"""

from __future__ import annotations

import logging
import socket

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.config import MEGABYTE, Receive
from appliance.domain.notice import Notice, Subject
from appliance.domain.radiologist_report import RadiologistReport
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault, OsteonError, Rejected, Transient
from appliance.network import server_context
from appliance.reporting.hl7.mllp_listener import MllpListener
from appliance.reporting.hl7.radiologist_report import ReportReader, acknowledgement
from appliance.storage.notices import Notebook
from appliance.storage.radiologist_reports import keep_report
from appliance.storage.spool import FileSpool, Incoming

log = logging.getLogger(__name__)


class ReportInbox:
    """The listener of ``[receive.hl7]``, with spool and database.

    Raises
    ------
    Fault
        ``cannot_listen``, or ``tls`` for a certificate that cannot be used.
    """

    def __init__(self, config: Receive, engine: Engine, spool: FileSpool, notebook: Notebook) -> None:
        assert config.hl7 is not None
        self._engine, self._spool, self._notebook = engine, spool, notebook
        self._reserve_bytes = config.reserve_mb * MEGABYTE
        tls = server_context(config.tls) if config.hl7.tls and config.tls else None
        try:
            self._listener = MllpListener(config.hl7, self._begin, self._note_refusal, tls)
        except OSError as error:
            key = "receive.hl7.host" if isinstance(error, socket.gaierror) else "receive.hl7"
            where = f"{config.hl7.host}:{config.hl7.port}"
            raise Fault(ReasonCode.CANNOT_LISTEN, f"cannot listen on {where}: {error.strerror}; see {key}") from error

    @property
    def port(self) -> int:
        """Port of the listener."""
        return self._listener.port

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def _begin(self, address: str) -> _IncomingReport:
        return _IncomingReport(self, address)

    def open_file(self) -> Incoming:
        """Open a file of the spool for a message.

        Raises
        ------
        Transient
            The disk is low or fails.
        """
        try:
            if self._spool.free_bytes() < self._reserve_bytes:
                raise Transient(ReasonCode.DISK_LOW, "less than the reserve is free on the spool's disk")
            return self._spool.incoming()
        except OSError as error:
            raise _not_kept(error) from None

    def keep(self, report: RadiologistReport, file: Incoming) -> None:
        """Keep a message and its row durably.

        Raises
        ------
        Transient
            Disk or database cannot keep it now.
        """
        try:
            keep_report(self._engine, report, file.keep())
        except (OSError, SQLAlchemyError) as error:
            raise _not_kept(error) from None

    def note_message_refused(self, refusal: OsteonError, address: str) -> None:
        """Record a refused message, which its sender may send again."""
        log.warning("HL7 from %s: message refused: %s (%s)", address, refusal.reason, refusal.code)
        self._note_refusal(refusal.code, refusal.reason, address, True)

    def _note_refusal(self, code: ReasonCode, reason: str, address: str, known: bool) -> None:
        subject = Subject.HL7 if known else Subject.STRANGER
        notice = Notice(
            subject=subject, code=code, reason=reason, calling_ae_title="", called_ae_title="", address=address
        )
        self._notebook.note(notice)


class _IncomingReport:
    """A message that arrives: written to the spool and read on the way."""

    def __init__(self, inbox: ReportInbox, address: str) -> None:
        self._inbox, self._address = inbox, address
        self._reader = ReportReader()
        self._file: Incoming | None = None
        self._failure: Transient | None = None

    def write(self, content: bytes) -> None:
        """Take the next bytes; a failure of the disk is answered at the end."""
        self._reader.feed(content)
        if self._failure:
            return
        try:
            if self._file is None:
                self._file = self._inbox.open_file()
            self._file.write(content)
        except Transient as failure:
            self._failure = failure
            self.discard()

    def finish(self, refusal: Rejected | None = None) -> bytes:
        """Keep the message, unless there is a `refusal`; return its acknowledgement."""
        try:
            if refusal:  # the listener records it
                return acknowledgement(self._reader.header, refusal)
            try:
                report = self._reader.report()
                if self._failure or self._file is None:
                    raise self._failure or Rejected(ReasonCode.HL7_GARBLED, "it is empty")
                self._inbox.keep(report, self._file)
            except OsteonError as error:
                self._inbox.note_message_refused(error, self._address)
                return acknowledgement(self._reader.header, error)
            return acknowledgement(self._reader.header)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the file, unless it was kept."""
        file, self._file = self._file, None
        if file:
            file.discard()


def _not_kept(error: Exception) -> Transient:
    """Return the error of a failed disk or database; their texts may quote the message."""
    return Transient(ReasonCode.NOT_KEPT, f"disk or database failed ({type(error).__name__})")
