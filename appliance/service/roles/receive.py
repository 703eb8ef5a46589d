"""The receive role: the DICOM and HL7 listeners, with a thread for each connection, and the pruning of the spool."""

from __future__ import annotations

import logging
import time
from functools import partial

from sqlalchemy import Engine

from appliance.config import MEGABYTE, Configuration
from appliance.dicom.scp.receiver import Receiver
from appliance.dicom.scu.commitment import CommitmentResult
from appliance.dicom.scu.outcomes import not_committed
from appliance.domain.audit import FIRST
from appliance.errors import Fault, Transient
from appliance.ports import Fate
from appliance.service.recovery import Recovery
from appliance.service.report_inbox import ReportInbox
from appliance.service.report_reading import ReportReading, decision_code
from appliance.storage.audit import head
from appliance.storage.commitments import CommitmentFailure, record_commitment
from appliance.storage.database import readers
from appliance.storage.deliveries import is_own_artefact
from appliance.storage.instances import keep_instance
from appliance.storage.notices import Notebook
from appliance.storage.retention import prune_instances, prune_radiologist_reports, prune_unclaimed
from appliance.storage.spool import FOLDERS, FileSpool
from appliance.storage.trials import TrialStore
from appliance.storage.wakeups import Bell

PRUNE_EVERY_S = 60.0
"""Interval at which the spool is pruned."""

HEAD_EVERY_S = 86_400.0
"""Interval at which the head of the audit log is put into the journal, which a cut of the log does not reach."""

log = logging.getLogger(__name__)


class ReceiveRole:
    """Receives radiographs, commitment results and, if the site sends them, radiologist reports."""

    name = "receive"
    rest_s = 1.0

    def __init__(self, config: Configuration, engine: Engine) -> None:
        self.bell = Bell()
        self._config = config
        self._engine = engine
        self._spool = FileSpool(config.spool_dir)
        self._trials = TrialStore(engine, config.trials_dir)
        self._recovery = Recovery(engine, self._spool)
        self._notebook = Notebook()
        self._pruned_at = -PRUNE_EVERY_S
        self._head_logged_at = -HEAD_EVERY_S
        self._folder = 0
        self._receiver = Receiver(
            config.receive,
            self._spool,
            partial(keep_instance, engine),
            partial(is_own_artefact, engine),
            self._notebook.note,
            self._record_commitment,
            self._trials,
        )
        self._report_reading = ReportReading(engine, self._spool, decision_code(config.receive.hl7))
        self._inbox: ReportInbox | None = None
        if config.receive.hl7:
            try:
                self._inbox = ReportInbox(config.receive, engine, self._spool, self._notebook)
            except Fault:
                self._receiver.close()
                raise

    def _record_commitment(self, result: CommitmentResult) -> int:
        """Record a commitment result that a PACS sent on its own association; return the number of deliveries."""
        failed = {}
        for uid, reason in result.failed.items():
            outcome = not_committed(reason)
            is_for_good = outcome.fate is Fate.UNFIT
            failed[uid] = CommitmentFailure(code=outcome.code, reason=outcome.reason, is_for_good=is_for_good)
        return record_commitment(self._engine, result.transaction_uid, result.committed, failed)

    def step(self) -> bool:
        """Write notices, take in files without a row, read reports, prune the spool; return True if there is more."""
        self._notebook.write(self._engine)
        is_recovering = self._recovery.step()
        if time.monotonic() - self._pruned_at < PRUNE_EVERY_S:
            return is_recovering
        self._log_audit_head()
        self._prune_trials()
        self._spool.sweep()
        days, prune_below_bytes = self._config.retention.days, self._config.retention.prune_below_mb * MEGABYTE
        if prune_instances(self._engine, self._spool, days=days, prune_below_bytes=prune_below_bytes):
            return True
        if self._report_reading.step():
            return True
        if prune_radiologist_reports(self._engine, self._spool, days=days):
            return True
        if is_recovering:  # what it finds must not be removed before it is taken in
            return True
        prune_unclaimed(self._engine, self._spool, self._folder, days=days)
        self._folder = (self._folder + 1) % FOLDERS  # one folder a minute: all 256 in four hours
        self._pruned_at = time.monotonic()
        return False

    def _log_audit_head(self) -> None:
        if time.monotonic() - self._head_logged_at < HEAD_EVERY_S:
            return
        with readers(self._engine).connect() as c:
            newest = head(c)
        number, digest = (newest.number, newest.digest) if newest else (0, FIRST)
        log.info("audit log: %d entries, head %s", number, digest)
        self._head_logged_at = time.monotonic()

    def _prune_trials(self) -> None:
        """Remove trials whose time is over; a fault of their folder keeps no radiograph waiting."""
        try:
            self._trials.prune()
        except (OSError, Transient) as error:
            log.warning("trials cannot be removed now: %s", type(error).__name__)

    def detail(self) -> str:
        """Return AE title, ports, and the count of received instances."""
        receive = self._config.receive
        ports = []
        if receive.plain:
            ports.append(str(self._receiver.port))
        if receive.tls:
            ports.append(f"{self._receiver.tls_port} (TLS)")
        sentence = (
            f"{receive.ae_title} listens on {receive.host}:{' and '.join(ports)}, "
            f"{self._receiver.received} received since start"
        )
        if receive.hl7 and self._inbox:
            return f"{sentence}; radiologist reports by HL7 on {receive.hl7.host}:{self._inbox.port}"
        return sentence

    def close(self) -> None:
        """Close the listeners."""
        if self._inbox:
            self._inbox.close()
        self._receiver.close()
