"""The devices on which live sites were validated, from the samples of their validations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from sqlalchemy import Connection, select

from appliance.domain.identifiers import Site
from appliance.domain.phase import SitePhase
from appliance.domain.validation import ReadAnswer, SampleKind
from appliance.rollout.device_range import DeviceRanges

from .tables import draws, reads, traits
from .validations import validations_of_kind


def device_ranges(c: Connection, live: Collection[SitePhase]) -> DeviceRanges:
    """Return the devices of the blinded reads of fracture or none, by which each of the `live` sites went live.

    A site without a random validation of its engine, from before it went live, has no range.
    """
    by_validation: dict[int, list[Site]] = defaultdict(list)
    found = validations_of_kind(c, SampleKind.RANDOM) if live else []
    for each in live:
        of_site = (v for v in found if v.fingerprints.get(each.site) == each.fingerprint and v.started_at <= each.since)
        if newest := next(of_site, None):
            by_validation[newest.validation_id].append(each.site)
    ranges: dict[Site, set[str]] = {site: set() for sites in by_validation.values() for site in sites}
    query = (
        select(draws.c.validation_id, draws.c.site, traits.c.device)
        .join(traits, traits.c.result_id == draws.c.result_id)
        .join(reads, reads.c.draw_id == draws.c.id)
        .where(draws.c.validation_id.in_(by_validation), reads.c.is_blinded)
        .where(reads.c.answer.in_([ReadAnswer.FRACTURE, ReadAnswer.NONE]))
        .distinct()
    )
    for row in c.execute(query) if ranges else ():
        if row.site in by_validation[row.validation_id]:
            ranges[row.site].add(row.device)
    return {site: frozenset(devices) for site, devices in ranges.items()}
