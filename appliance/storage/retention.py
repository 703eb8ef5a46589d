"""Makes room in the spool: what is analysed and delivered goes after some days, or earlier when the disk runs low.

What is not analysed, not delivered or waits for a person is never touched, however low the disk is: then radiographs
are refused (`receive.reserve_mb`), and their senders keep them. What a writer left that died before its row was
written goes after the same days.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import timedelta

from sqlalchemy import CompoundSelect, Engine, func, or_, select, union, update

from appliance.clock import now
from appliance.config import MEGABYTE, Retention
from appliance.domain.job import State

from .database import readers
from .spool import FileSpool
from .tables import analyses, deliveries, instances, reports_received, results, studies

ENDED = (State.DONE, State.NOT_ANALYSED, State.DROPPED)
"""States in which nobody needs the bytes any more, unless a person asks to try again."""

AT_A_TIME = 100
"""Instances that are removed in one transaction, which others wait for; digests that one query asks for."""

UNCLAIMED = timedelta(days=1)
"""Whoever keeps a file refers to it within its lease (`queue.LEASE_S`), or has lost it: a day is well beyond."""

log = logging.getLogger(__name__)


def prune(engine: Engine, spool: FileSpool, config: Retention) -> int:
    """Remove what may go, oldest first and some at a time; of how many instances.

    Their rows stay, so that the same bytes sent again are still known.
    """
    limit = now() - timedelta(days=config.days)
    if spool.free_bytes() < config.prune_below_mb * MEGABYTE:
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
    ended = (
        select(instances.c.id, instances.c.digest, analyses.c.id.label("analysis_id"))
        .join(analyses, analyses.c.instance_id == instances.c.id)
        .where(instances.c.pruned_at.is_(None), analyses.c.state.in_(ENDED), analyses.c.finished_at < limit)
        .where(~needed.exists(), ~unreported.exists())
        .order_by(analyses.c.finished_at)
        .limit(AT_A_TIME)
    )
    with readers(engine).connect() as c:
        if c.execute(ended.limit(1)).first() is None:
            return 0
    with engine.begin() as c:  # nobody can take a job up again meanwhile
        rows = c.execute(ended).all()
        same_study = deliveries.c.study_instance_uid == results.c.study_instance_uid
        answers = select(deliveries.c.digest).join(results, same_study).where(deliveries.c.digest != "").distinct()
        pictures = select(results.c.picture_digest).where(results.c.picture_digest != "")
        for row in rows:
            mine = results.c.analysis_id == row.analysis_id
            made = [*c.execute(answers.where(mine)).scalars(), *c.execute(pictures.where(mine)).scalars()]
            for digest in (row.digest, *made):
                spool.remove(digest)
        c.execute(update(instances).where(instances.c.id.in_([r.id for r in rows])).values(pruned_at=now()))
    log.info("%d radiographs that were analysed and delivered are removed from the spool", len(rows))
    return len(rows)


def prune_reports(engine: Engine, spool: FileSpool, config: Retention) -> int:
    """Remove radiologists' reports that came `config.days` ago, some at a time; how many. Their rows stay."""
    old = (
        select(reports_received.c.id, reports_received.c.digest)
        .where(reports_received.c.pruned_at.is_(None))
        .where(reports_received.c.received_at < now() - timedelta(days=config.days))
        .limit(AT_A_TIME)
    )
    with readers(engine).connect() as c:
        if c.execute(old.limit(1)).first() is None:
            return 0
    with engine.begin() as c:
        rows = c.execute(old).all()
        for row in rows:
            spool.remove(row.digest)
        gone = reports_received.c.id.in_([row.id for row in rows])
        c.execute(update(reports_received).where(gone).values(pruned_at=now()))
    return len(rows)


def prune_unclaimed(engine: Engine, spool: FileSpool, config: Retention, folder: int) -> int:
    """Remove from one folder of the spool what no row refers to after `config.days`; how many files.

    A writer leaves them who died, or lost his lease, between the file and its row. Files from before the first
    radiograph that this database knows are another's, which may have been taken for this one by mistake: they stay.
    """
    least_s = max(timedelta(days=config.days), UNCLAIMED).total_seconds()
    with readers(engine).connect() as c:
        first = c.execute(select(func.min(instances.c.received_at))).scalar()
        if first is None:
            return 0
        old = list(spool.written(folder, least_s, (now() - first).total_seconds()))
        unclaimed = set(old)
        for start in range(0, len(old), AT_A_TIME):
            unclaimed.difference_update(c.execute(_claimed(old[start : start + AT_A_TIME])).scalars())
    for digest in unclaimed:
        spool.remove_old(digest, least_s)
    if unclaimed:
        log.info("%d files that nothing refers to are removed from the spool", len(unclaimed))
    return len(unclaimed)


def _claimed(digests: Collection[str]) -> CompoundSelect[tuple[str]]:
    """Those of the digests that a row refers to, each looked up by an index: the tables keep every row for good."""
    return union(
        select(instances.c.digest).where(instances.c.digest.in_(digests), instances.c.pruned_at.is_(None)),
        select(deliveries.c.digest).where(deliveries.c.digest.in_(digests)),
        select(results.c.picture_digest).where(results.c.picture_digest.in_(digests)),
        select(reports_received.c.digest).where(
            reports_received.c.digest.in_(digests), reports_received.c.pruned_at.is_(None)
        ),
    )
