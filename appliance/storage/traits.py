"""The traits of results, written in the transaction that records them; subgroups and drift read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Engine, Row, insert, select

from appliance.domain.identifiers import Site
from appliance.domain.result import Result
from appliance.domain.traits import AgeBand, RecordedTraits, Traits
from appliance.rollout.told import Phases, phase_told

from .tables import traits


def record_traits(c: Connection, result_id: int, given: Traits, result: Result, used: Phases) -> RecordedTraits:
    """Write the traits of a result, told by the phases `used`, within the transaction that records it."""
    found_site = result.findings[0].site if result.findings else None
    recorded = RecordedTraits(
        result_id=result_id,
        traits=given,
        found_site=found_site,
        phase=phase_told(result, used),
        probability=max((finding.probability for finding in result.findings), default=None),
        created_at=result.created_at,
    )
    c.execute(
        insert(traits).values(
            result_id=result_id,
            header_site=given.header_site or "",
            found_site=found_site or "",
            phase=recorded.phase,
            probability=recorded.probability,
            age_band=given.age_band,
            view=given.view,
            device=given.device,
            grey_mean=given.grey_mean,
            grey_spread=given.grey_spread,
            detail=given.detail,
            has_burned_in_text=given.has_burned_in_text,
            created_at=result.created_at,
        )
    )
    return recorded


def traits_of_results(engine: Engine, result_ids: Sequence[int]) -> dict[int, RecordedTraits]:
    """Return the traits of these results, by result."""
    with engine.connect() as c:
        rows = c.execute(select(traits).where(traits.c.result_id.in_(result_ids))).all()
    return {row.result_id: _recorded(row) for row in rows}


def traits_between(
    engine: Engine, since: datetime, until: datetime | None = None, site: Site | None = None, most: int | None = None
) -> list[RecordedTraits]:
    """Return the traits of the results from `since` on and before `until`, in their order.

    Parameters
    ----------
    site
        Only those on which it was found, or whose header names it where nothing was found.
    most
        At most so many, the first ones.
    """
    query = select(traits).where(traits.c.created_at >= since).order_by(traits.c.created_at, traits.c.result_id)
    if until:
        query = query.where(traits.c.created_at < until)
    if site:
        is_named = (traits.c.found_site == "") & (traits.c.header_site == site)
        query = query.where((traits.c.found_site == site) | is_named)
    with engine.connect() as c:
        return [_recorded(row) for row in c.execute(query.limit(most)).all()]


def _recorded(row: Row[tuple[object, ...]]) -> RecordedTraits:
    return RecordedTraits(
        result_id=row.result_id,
        traits=Traits(
            header_site=Site(row.header_site) if row.header_site else None,
            age_band=AgeBand(row.age_band),
            view=row.view,
            device=row.device,
            grey_mean=row.grey_mean,
            grey_spread=row.grey_spread,
            detail=row.detail,
            has_burned_in_text=row.has_burned_in_text,
        ),
        found_site=Site(row.found_site) if row.found_site else None,
        phase=row.phase,
        probability=row.probability,
        created_at=row.created_at,
    )
