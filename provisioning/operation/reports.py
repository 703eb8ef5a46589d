"""`osteon validate report` and `verify`: write the report of a validation, and check one with the audit log."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from appliance.config import Configuration
from appliance.domain.audit import AuditAction, AuditEntry, Intervention
from appliance.domain.identifiers import Site
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import SampleKind
from appliance.errors import Fault, Rejected
from appliance.service.pipeline_assembly import pack_of
from appliance.status.report import collect_report, write_report
from appliance.status.seal import check_seal, detail_of, shown_head
from appliance.storage.audit import check_log, find_entry
from appliance.storage.database import open_database, readers
from appliance.storage.scored import ScoredSample, find_validation, require_shown, scored_sample
from appliance.storage.spool import FileSpool

from .queues import reading

MODE = 0o600
"""Mode of a report: it shows radiographs of patients, and whoever wrote it decides about others."""


def write_report_file(
    config: Configuration, file: Path, kind: SampleKind, number: int | None, by: Intervention
) -> ScoredSample:
    """Write the report of validation `number`, else of the newest of a kind; return what it is about.

    Raises
    ------
    Rejected
        ``no_validation``; ``validation_open`` before the sample is full and read; ``file_not_written``: then the audit
        log has no entry of it.
    Fault
        ``pack`` if the pack cannot be used, by whose claims the gate decides.
    """
    engine = open_database(config.database)
    clears = {Site(site): spec.clears for site, spec in pack_of(config).classifiers.items()}
    with readers(engine).connect() as c:
        sample = scored_sample(c, find_validation(c, kind, number), clears)
        require_shown(sample)
        content = collect_report(c, FileSpool(config.spool_dir), config, sample)
    unfinished = file.with_name(f"{file.name}.part")
    try:
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, MODE), "wb") as written:
            written.write(write_report(engine, content, by))
        unfinished.replace(file)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink()
        raise Rejected(ReasonCode.FILE_NOT_WRITTEN, f"{file}: {error.strerror}") from error
    return sample


def verify_report(config: Configuration, file: Path) -> AuditEntry:
    """Return the entry of the audit log that records the report in `file`.

    The report also shows the head of the audit log at its time, which the log has to contain: so a log that was written
    anew as a whole is found, too.

    Raises
    ------
    Rejected
        ``report_altered``, ``report_unknown`` or ``audit_broken``.
    Fault
        ``database_unusable`` without a database.
    """
    content = file.read_bytes()
    digest = check_seal(content)
    with reading(config) as c:
        if c is None:
            raise Fault(ReasonCode.DATABASE_UNUSABLE, "there is no database, and so no audit log: check state_dir")
        log = check_log(c)
        entry = find_entry(c, AuditAction.WRITE_REPORT, detail_of(digest))
        if not log.defect and entry:
            log = check_log(c, shown_head(content))
    if log.defect:
        raise Rejected(ReasonCode.AUDIT_BROKEN, f"{log.defect}; {log.entries} entries are whole")
    if entry is None:
        raise Rejected(ReasonCode.REPORT_UNKNOWN, f"the content is whole, but no entry names SHA-256 {digest}")
    return entry
