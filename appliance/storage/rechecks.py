"""Rechecks: the software and hardware that a pack has computed with here, and how its answers compared.

A recheck leaves a row when it begins, without an outcome, so that one that ends the role is not repeated without end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice

from sqlalchemy import Connection, Engine, Select, delete, func, insert, select

from appliance.clock import now
from appliance.domain.finding import Answer
from appliance.domain.identifiers import Site
from appliance.domain.result import Result
from appliance.rollout.recheck import Comparison, Surroundings

from .tables import analyses, instances, phases, rechecks, results


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptRadiograph:
    """A radiograph whose file is in the spool, with its recorded result."""

    recorded: Result
    digest: str
    calling_ae_title: str


def is_checked(c: Connection, surroundings: Surroundings) -> bool:
    """Return whether answers of these surroundings were the same within the tolerance."""
    return c.execute(_rows_of(surroundings).where(rechecks.c.is_within.is_(True)).limit(1)).first() is not None


def have_others_computed(c: Connection, surroundings: Surroundings) -> bool:
    """Return whether other surroundings have computed here before."""
    own = _rows_of(surroundings).scalar_subquery()
    query = select(rechecks.c.id).where(rechecks.c.is_within.is_not(None), rechecks.c.id.not_in(own))
    return c.execute(query.limit(1)).first() is not None


def kept_radiographs(c: Connection, fingerprints: Mapping[Site, str], most: int) -> list[KeptRadiograph]:
    """Return up to `most` analysed radiographs that are kept and the present engines answered, newest first.

    Parameters
    ----------
    fingerprints
        Of the present engines. A radiograph of a site whose engine is another one since is not compared.
    """
    return list(islice(_kept_radiographs(c, fingerprints), most))


def begin_recheck(engine: Engine, surroundings: Surroundings) -> int:
    """Record durably that a recheck begins; return how many began in these surroundings without an outcome."""
    with engine.begin() as c:
        row = {"compared": 0, "unreadable": 0, "differing": 0, "largest_difference": 0.0, "checked_at": now()}
        c.execute(insert(rechecks).values(**asdict(surroundings), **row))
        query = select(func.count()).select_from(
            _rows_of(surroundings).where(rechecks.c.is_within.is_(None)).subquery()
        )
        return c.execute(query).scalar_one()


def record_recheck(c: Connection, surroundings: Surroundings, found: Comparison) -> None:
    """Record the outcome of a recheck, in place of the rows that it began with."""
    abandoned = [row.id for row in c.execute(_rows_of(surroundings).where(rechecks.c.is_within.is_(None)))]
    c.execute(delete(rechecks).where(rechecks.c.id.in_(abandoned)))
    c.execute(
        insert(rechecks).values(
            **asdict(surroundings),
            compared=found.compared,
            unreadable=found.unreadable,
            differing=found.differing,
            largest_difference=found.largest_difference,
            is_within=found.is_within,
            checked_at=now(),
        )
    )


def _rows_of(surroundings: Surroundings) -> Select[tuple[int]]:
    return select(rechecks.c.id).where(*(rechecks.c[name] == value for name, value in asdict(surroundings).items()))


def _kept_radiographs(c: Connection, fingerprints: Mapping[Site, str]) -> Iterator[KeptRadiograph]:
    """Yield the newest result of each kept radiograph, if the present engines made it."""
    engines = {
        row.site: row.engine_after for row in c.execute(select(phases)) if fingerprints.get(row.site) == row.fingerprint
    }
    newest = select(func.max(results.c.id)).group_by(results.c.sop_instance_uid)
    query = (
        select(results.c.id, results.c.record, instances.c.digest, instances.c.calling_ae_title)
        .join(analyses, results.c.analysis_id == analyses.c.id)
        .join(instances, analyses.c.instance_id == instances.c.id)
        .where(results.c.id.in_(newest), results.c.answer != Answer.NOT_ANALYSED, instances.c.pruned_at.is_(None))
        .order_by(results.c.id.desc())
    )
    for row in c.execution_options(yield_per=100).execute(query):
        recorded = Result.from_json(row.record)
        read = {finding.site for finding in recorded.findings}
        seen = read.union(region.site for region in (*recorded.not_read, *recorded.not_assessed))
        if read <= engines.keys() and all(engines[site] < row.id for site in seen & engines.keys()):
            yield KeptRadiograph(recorded=recorded, digest=row.digest, calling_ae_title=row.calling_ae_title)
