"""Receives radiologist reports: a message is acknowledged once it is in the spool and its row is committed."""

from __future__ import annotations

import logging
import socket

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.config import MEGABYTE, Receive
from appliance.domain.notice import Notice, Subject
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault, OsteonError, Transient
from appliance.network import server_context
from appliance.reporting.hl7.mllp_listener import MllpListener
from appliance.reporting.hl7.radiologist_report import acknowledgement, report_of
from appliance.storage.notices import Notebook
from appliance.storage.radiologist_reports import keep_report
from appliance.storage.spool import FileSpool

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
            self._listener = MllpListener(config.hl7, self._receive, self._note_refusal, tls)
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

    def _receive(self, message: bytes, address: str) -> bytes:
        try:
            self._keep(message)
        except OsteonError as refusal:
            log.warning("HL7 from %s: message refused: %s (%s)", address, refusal.reason, refusal.code)
            self._note_refusal(refusal.code, refusal.reason, address, True)
            return acknowledgement(message, refusal)
        return acknowledgement(message)

    def _keep(self, message: bytes) -> None:
        report = report_of(message)
        try:
            if self._spool.free_bytes() < self._reserve_bytes:
                raise Transient(ReasonCode.DISK_LOW, "less than the reserve is free on the spool's disk")
            keep_report(self._engine, report, self._spool.put(message))
        except (OSError, SQLAlchemyError) as error:  # their texts may quote the message
            raise Transient(ReasonCode.NOT_KEPT, f"disk or database failed ({type(error).__name__})") from None

    def _note_refusal(self, code: ReasonCode, reason: str, address: str, known: bool) -> None:
        subject = Subject.HL7 if known else Subject.STRANGER
        notice = Notice(
            subject=subject, code=code, reason=reason, calling_ae_title="", called_ae_title="", address=address
        )
        self._notebook.note(notice)
