"""Sites in a phase, without the way that leads there."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Engine, delete, insert

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.service.pipeline_assembly import fingerprints_of
from appliance.storage.tables import phases

LIVE = dict.fromkeys(Site, Phase.LIVE)


def set_phases(
    engine: Engine,
    phase: Phase = Phase.LIVE,
    sites: Collection[Site] = tuple(Site),
    fingerprints: Mapping[Site, str] | None = None,
) -> None:
    """Set the phase of sites, which a test then takes for granted; the audit log does not know."""
    reason = "this test is not about the rollout"
    with engine.begin() as c:
        c.execute(delete(phases).where(phases.c.site.in_(sites)))
        for site in sites:
            row = {"site": site, "phase": phase, "since": now(), "person": "test", "reason": reason}
            c.execute(insert(phases).values(**row, fingerprint=(fingerprints or {}).get(site, "")))


def set_phases_of(config: Configuration, engine: Engine, phase: Phase = Phase.LIVE) -> None:
    """Set the phase of the sites that the roles of `config` will serve."""
    found = fingerprints_of(config)
    set_phases(engine, phase, list(found), found)
