"""Makes room in the spool: files of ended work go after some days, or earlier when the disk runs low.

Files of radiographs that are not analysed, not delivered or parked are never removed, however low the disk is: then
radiographs are refused (`receive.reserve_mb`), and their senders keep them. Files without a row, left by a writer that
died before it wrote the row, go after the same days.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

from sqlalchemy import CompoundSelect, Connection, Engine, func, or_, select, union, update

from appliance.clock import now, read_clocks
from appliance.domain.job import ENDED

from .clock_steps import recent_step
from .database import readers
from .spool import FileSpool
from .tables import analyses, deliveries, draws, instances, radiologist_reports, results, studies, validations

AT_A_TIME = 100
"""Instances removed in one transaction, which other writers wait for; digests in one query."""

UNCLAIMED = timedelta(days=1)
"""A writer refers to its file within its lease (`queue.LEASE_S`), or has lost the lease: a day is well beyond."""

log = logging.getLogger(__name__)


def prune_instances(engine: Engine, spool: FileSpool, *, days: float, prune_below_bytes: int) -> int:
    """Remove the files of instances with all work ended `days` ago, oldest first, in portions; return their number.

    When less than `prune_below_bytes` is free, files go however young they are, except those of the studies that an
    open validation has drawn. The rows stay, so that the same bytes sent again are known. For a day after the clock was
    set on, no file goes because of its age.
    """
    limit = _age_limit(engine, days)
    if spool.free_bytes() < prune_below_bytes:
        limit = now()
    needed = (
        select(deliveries.c.id)
        .join(results, deliveries.c.study_instance_uid == results.c.study_instance_uid)
        .where(results.c.analysis_id == analyses.c.id)
        .where(or_(deliveries.c.state.not_in(ENDED), deliveries.c.finished_at >= limit))
    )
    unreported = (
        select(studies.c.id)
        .join(results, studies.c.study_instance_uid == results.c.study_instance_uid)
        .where(results.c.analysis_id == analyses.c.id, studies.c.state.not_in(ENDED))
    )
    to_be_read = (
        select(draws.c.id)
        .join(results, draws.c.study_instance_uid == results.c.study_instance_uid)
        .join(validations, draws.c.validation_id == validations.c.id)
        .where(results.c.analysis_id == analyses.c.id, validations.c.ended_at.is_(None))
    )
    ended = (
        select(instances.c.id, instances.c.digest, analyses.c.id.label("analysis_id"))
        .join(analyses, analyses.c.instance_id == instances.c.id)
        .where(instances.c.pruned_at.is_(None), analyses.c.state.in_(ENDED), analyses.c.finished_at < limit)
        .where(~needed.exists(), ~unreported.exists(), ~to_be_read.exists())
        .order_by(analyses.c.finished_at)
        .limit(AT_A_TIME)
    )
    with readers(engine).connect() as c:
        if c.execute(ended.limit(1)).first() is None:
            return 0
    with engine.begin() as c:  # the write lock: no job can be retried meanwhile
        rows = c.execute(ended).all()
        same_study = deliveries.c.study_instance_uid == results.c.study_instance_uid
        artefacts = select(deliveries.c.digest).join(results, same_study).where(deliveries.c.digest != "").distinct()
        pictures = select(results.c.picture_digest).where(results.c.picture_digest != "")
        for row in rows:
            of_analysis = results.c.analysis_id == row.analysis_id
            rendered = [
                *c.execute(artefacts.where(of_analysis)).scalars(),
                *c.execute(pictures.where(of_analysis)).scalars(),
            ]
            for digest in (row.digest, *rendered):
                spool.remove(digest)
        c.execute(update(instances).where(instances.c.id.in_([r.id for r in rows])).values(pruned_at=now()))
    log.info("removed %d analysed and delivered radiographs from the spool", len(rows))
    return len(rows)


def prune_radiologist_reports(engine: Engine, spool: FileSpool, *, days: float) -> int:
    """Remove the messages of radiologist reports received `days` ago, some at a time; return their number.

    The rows stay.
    """
    old = (
        select(radiologist_reports.c.id, radiologist_reports.c.digest)
        .where(radiologist_reports.c.pruned_at.is_(None))
        .where(radiologist_reports.c.received_at < _age_limit(engine, days))
        .limit(AT_A_TIME)
    )
    with readers(engine).connect() as c:
        if c.execute(old.limit(1)).first() is None:
            return 0
    with engine.begin() as c:
        rows = c.execute(old).all()
        for row in rows:
            spool.remove(row.digest)
        gone = radiologist_reports.c.id.in_([row.id for row in rows])
        c.execute(update(radiologist_reports).where(gone).values(pruned_at=now()))
    return len(rows)


def prune_unclaimed(engine: Engine, spool: FileSpool, folder: int, *, days: float) -> int:
    """Remove files of `days` and more that no row refers to from one folder of the spool; return their number.

    A writer that died or lost its lease between the file and the row leaves such a file. Files older than the first
    radiograph in this database stay: they may belong to another database, if the spool was configured by mistake.
    """
    least_s = max(timedelta(days=days), UNCLAIMED).total_seconds()
    with readers(engine).connect() as c:
        first = c.execute(select(func.min(instances.c.received_at))).scalar()
        if first is None or _may_be_ahead(c):
            return 0
        old = list(spool.written(folder, least_s, (now() - first).total_seconds()))
        unclaimed = set(old)
        for start in range(0, len(old), AT_A_TIME):
            unclaimed.difference_update(c.execute(_claimed(old[start : start + AT_A_TIME])).scalars())
    for digest in unclaimed:
        spool.remove_old(digest, least_s)
    if unclaimed:
        log.info("removed %d files without a row from the spool", len(unclaimed))
    return len(unclaimed)


def _age_limit(engine: Engine, days: float) -> datetime:
    """Return the time before which ended work may go; for a day after the clock was set on, no work is that old."""
    with readers(engine).connect() as c:
        return datetime.min.replace(tzinfo=UTC) if _may_be_ahead(c) else now() - timedelta(days=days)


def _may_be_ahead(c: Connection) -> bool:
    """Return whether the clock was set on lately: if that was a mistake, every age is too high."""
    step = recent_step(c, read_clocks())
    return step is not None and step.step_s > 0


def digests_without_row(c: Connection, digests: Collection[str]) -> set[str]:
    """Return those digests that no row refers to, and that no row of a removed instance ever referred to."""
    pruned = select(instances.c.digest).where(instances.c.digest.in_(digests))
    return set(digests) - set(c.execute(_claimed(digests)).scalars()) - set(c.execute(pruned).scalars())


def _claimed(digests: Collection[str]) -> CompoundSelect[tuple[str]]:
    """Return the query for those digests that a row refers to; it uses indexes, since rows are never removed."""
    return union(
        select(instances.c.digest).where(instances.c.digest.in_(digests), instances.c.pruned_at.is_(None)),
        select(deliveries.c.digest).where(deliveries.c.digest.in_(digests)),
        select(results.c.picture_digest).where(results.c.picture_digest.in_(digests)),
        select(radiologist_reports.c.digest).where(
            radiologist_reports.c.digest.in_(digests), radiologist_reports.c.pruned_at.is_(None)
        ),
    )
