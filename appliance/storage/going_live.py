"""A change of phases by a person: a site goes live by the gate of its validation alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from sqlalchemy import Connection, Engine

from appliance.domain.audit import Intervention
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected

from .database import readers
from .phases import set_phase, site_phases
from .scored import gate_of_site


def change_phase(
    engine: Engine, sites: Collection[Site], phase: Phase, by: Intervention, clears: Mapping[Site, bool]
) -> int:
    """Set the phase of sites; return the number of deliveries that were dropped.

    Parameters
    ----------
    clears
        Whether the engine of each site claims that it may say "no fracture found".

    Raises
    ------
    Rejected
        ``not_validated`` if a site is to go live whose gate is not passed, with the criteria that it does not meet;
        ``no_such_site``; ``engine_changed`` if another engine serves a site since its gate was looked at.
    """
    if phase is not Phase.LIVE:
        return set_phase(engine, sites, phase, by)
    with readers(engine).connect() as c:
        engines = {each.site: each.fingerprint for each in site_phases(c) if each.site in sites}
        passed = "; ".join(_passed(c, site, clears) for site in sorted(sites))
    return set_phase(engine, sites, phase, by, passed=passed, fingerprints=engines)


def _passed(c: Connection, site: Site, clears: Mapping[Site, bool]) -> str:
    """Return the proof of a site in words."""
    found = gate_of_site(c, site, clears.get(site, False))
    if found is None:
        reason = f"{site.label}: there was no validation; see osteon validate start"
        raise Rejected(ReasonCode.NOT_VALIDATED, reason)
    if not found.passes(site):
        missed = (criterion.sentence for criterion in found.criteria(site) if not criterion.passed)
        raise Rejected(ReasonCode.NOT_VALIDATED, "\n- ".join((f"{site.label}:", *missed)))
    return f"{site.label}: " + "; ".join(criterion.sentence for criterion in found.criteria(site))
