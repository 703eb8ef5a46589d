"""The receive role: owns every listener and the spool; its connections have threads of their own."""

from __future__ import annotations

import time
from functools import partial

from sqlalchemy import Engine

from appliance.config import Configuration
from appliance.dicom.scp.receiver import Receiver
from appliance.dicom.scu.commitment import CommitmentResult
from appliance.dicom.scu.pacs import not_committed
from appliance.errors import Fault
from appliance.ports import Fate
from appliance.service.report_inbox import ReportInbox
from appliance.storage.ledger import is_answer, keep_instance
from appliance.storage.notices import Notebook
from appliance.storage.outbox import record_commitment
from appliance.storage.retention import prune, prune_reports, prune_unclaimed
from appliance.storage.spool import FOLDERS, FileSpool

PRUNE_EVERY_S = 60.0
"""How often the spool is looked at."""


class ReceiveRole:
    """The Storage SCP, and the port for reports where there is one, under the worker loop."""

    name = "receive"
    idle_s = 1.0

    def __init__(self, config: Configuration, engine: Engine) -> None:
        self._config, self._engine = config, engine
        self._spool = FileSpool(config.spool_dir)
        self._notebook = Notebook()
        self._pruned_at = -PRUNE_EVERY_S
        self._folder = 0
        keep, ours = partial(keep_instance, engine), partial(is_answer, engine)
        self._receiver = Receiver(config.receive, self._spool, keep, ours, self._notebook.note, self._reported)
        self._inbox: ReportInbox | None = None
        if config.receive.hl7:
            try:
                self._inbox = ReportInbox(config.receive, engine, self._spool, self._notebook)
            except Fault:
                self._receiver.close()
                raise

    def _reported(self, report: CommitmentResult) -> int:
        """A PACS reports on its own association what it has of ours."""
        failed = {}
        for uid, reason in report.failed.items():
            outcome = not_committed(reason)
            failed[uid] = (outcome.code, outcome.reason, outcome.fate is Fate.REFUSED)
        return record_commitment(self._engine, report.transaction_uid, report.committed, failed)

    def step(self) -> bool:
        """Write down what was turned away, and make room and order; True while there is more to remove."""
        self._notebook.write(self._engine)
        if time.monotonic() - self._pruned_at < PRUNE_EVERY_S:
            return False
        self._spool.sweep()
        if prune(self._engine, self._spool, self._config.retention):
            return True
        if prune_reports(self._engine, self._spool, self._config.retention):
            return True
        prune_unclaimed(self._engine, self._spool, self._config.retention, self._folder)
        self._folder = (self._folder + 1) % FOLDERS  # one at a time: all of them in four hours
        self._pruned_at = time.monotonic()
        return False

    def detail(self) -> str:
        receive = self._config.receive
        ports = [str(self._receiver.port)] if receive.plain else []
        ports += [f"{self._receiver.tls_port} (TLS)"] if receive.tls else []
        return (
            f"{receive.ae_title} listens on {receive.host}:{' and '.join(ports)}, "
            f"{self._receiver.received} received since start"
            + (f"; reports by HL7 on {receive.hl7.host}:{self._inbox.port}" if receive.hl7 and self._inbox else "")
        )

    def close(self) -> None:
        if self._inbox:
            self._inbox.close()
        self._receiver.close()
