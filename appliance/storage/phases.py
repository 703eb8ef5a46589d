"""The phases of sites: who may set them, when the appliance sets them back, and what a change drops.

A rendering reads the phases first, and the transaction that records it checks that they still hold: nothing leaves
that was rendered by phases that have changed since.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, Row, func, insert, select, update

from appliance.clock import now
from appliance.domain.audit import AuditAction, Door, Intervention
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase, SitePhase
from appliance.domain.reason import ReasonCode
from appliance.errors import Rejected, Transient
from appliance.rollout.device_range import phases_on_device
from appliance.rollout.told import Phases

from .audit import record
from .database import readers
from .device_ranges import device_ranges
from .shadow import drop_outdated
from .tables import phases, results

APPLIANCE: Final = "osteon"
"""The person of the phases that the appliance itself sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseBook:
    """The phases as a process may use them that computes with engines of these `fingerprints`.

    Attributes
    ----------
    fingerprints
        By site; a site of another fingerprint, or of none, is in shadow for the process. None: a process that computes
        nothing.
    """

    engine: Engine
    fingerprints: Mapping[Site, str] | None = None

    def now(self, device: str | None = None) -> dict[Site, Phase]:
        """Return the phase of each site, for a radiograph of `device` if one is given."""
        with readers(self.engine).connect() as c:
            return self._usable(c, site_phases(c), device)

    def require(self, c: Connection, used: Phases, device: str | None = None) -> None:
        """Check within the transaction of `c` that the phases are those that a rendering has used.

        They cannot change before the transaction ends.

        Raises
        ------
        Transient
            ``phase_changed``.
        """
        if self._usable(c, site_phases(c, hold=True), device) != dict(used):
            reason = "the phase of a site has changed since the answer was rendered: it is rendered again"
            raise Transient(ReasonCode.PHASE_CHANGED, reason)

    def _usable(self, c: Connection, found: Collection[SitePhase], device: str | None) -> dict[Site, Phase]:
        known = self.fingerprints
        usable = {
            each.site: each.phase if known is None or known[each.site] == each.fingerprint else Phase.SHADOW
            for each in found
            if known is None or each.site in known
        }
        if device is None:
            return usable
        live = [each for each in found if each.phase is Phase.LIVE]
        return phases_on_device(usable, device_ranges(c, live), device)


def site_phases(c: Connection, *, hold: bool = False) -> list[SitePhase]:
    """Return the phase of every site that an engine has served, in the order of `Site`.

    Parameters
    ----------
    hold
        Let nobody change a phase before the transaction ends.
    """
    query = select(phases).with_for_update(read=True) if hold else select(phases)  # SQLite has one writer anyway
    order = list(Site)
    return sorted(map(_site_phase, c.execute(query)), key=lambda each: order.index(each.site))


def enter_sites(engine: Engine, fingerprints: Mapping[Site, str], first_phase: Phase) -> list[Site]:
    """Make the phase of each new site; set a site of another fingerprint back to shadow. Return the sites set back.

    Parameters
    ----------
    fingerprints
        Of the engines of the process that starts now.
    first_phase
        Phase of a site that had none.
    """
    with engine.begin() as c:
        known = {each.site: each for each in _locked(c)}
        changed = [site for site, found in fingerprints.items() if site in known and known[site].fingerprint != found]
        newest = c.execute(select(func.max(results.c.id))).scalar() or 0
        by = Intervention(person=APPLIANCE, door=Door.APPLIANCE, reason="first phase")
        for site in sorted(fingerprints.keys() - known.keys()):
            row = {"site": site, "phase": first_phase, "fingerprint": fingerprints[site], "since": now()}
            why = {"person": by.person, "reason": by.reason, "is_revoked": False, "engine_after": newest}
            c.execute(insert(phases).values(**row, **why))
            record(c, by, AuditAction.SET_PHASE, f"site {site}", f"to {first_phase}")
        for site in changed:
            engine_now = {"fingerprint": fingerprints[site], "engine_after": newest}
            c.execute(update(phases).where(phases.c.site == site).values(engine_now))
        _set_back(
            c, [known[site] for site in changed], Phase.SHADOW, "network, threshold or preprocessing have changed"
        )
    return changed


def set_back(engine: Engine, sites: Collection[Site], phase: Phase, reason: str) -> list[Site]:
    """Set those of `sites` back to `phase` that are further, by a rule of the appliance; return these sites.

    A health condition stays until a person sets the phase. Each of `sites` needs another validation from now on.
    """
    with engine.begin() as c:
        further = [each for each in _locked(c) if each.site in sites and each.phase.rank > phase.rank]
        _require_another_validation(c, sites)
        _set_back(c, further, phase, reason)
    return [each.site for each in further]


def keep_stepped_back(c: Connection, present: Collection[SitePhase]) -> list[Site]:
    """Let no site of a restored database be further than it was in the `present` one; return the sites set back.

    A site that the present database does not know, or that cannot be read there, is in `Phase.FAMILIARISE` at best.
    """
    before = {each.site: each for each in present}
    restored = {each.site: each for each in _locked(c)}
    back = []
    for site, each in restored.items():
        known = before.get(site)
        most = known.phase if known else Phase.FAMILIARISE
        if each.phase.rank > most.rank:
            _set_back(c, [each], most, "it was further in the backup than in the database that this replaces")
            back.append(site)
        elif known and known.validate_after:
            kept = {"validate_after": known.validate_after, "is_revoked": known.is_revoked}
            c.execute(update(phases).where(phases.c.site == site).values(kept))
    for site in before.keys() - restored.keys():
        if not before[site].phase.leaves:
            c.execute(insert(phases).values(asdict(before[site])))
    return back


def set_phase(
    engine: Engine,
    sites: Collection[Site],
    phase: Phase,
    by: Intervention,
    *,
    passed: str = "",
    fingerprints: Mapping[Site, str] | None = None,
) -> int:
    """Set the phase of sites, for a person; return the number of deliveries that were dropped.

    A step back drops every unsent delivery that tells more of the sites than they may now, except those that take an
    answer back; radiographs and studies are answered again by the new phase.

    Parameters
    ----------
    passed
        The proof for `Phase.LIVE` in words, for the audit log: the validation whose gate the sites have passed.
    fingerprints
        The engines that the person has looked at; None: whichever serve the sites.

    Raises
    ------
    Rejected
        ``no_such_site``; ``engine_changed``; ``not_validated`` for `Phase.LIVE` without a proof.
    """
    if phase is Phase.LIVE and not passed:
        raise Rejected(ReasonCode.NOT_VALIDATED, "no validation of its present engine has passed the gate")
    with engine.begin() as c:
        found = [each for each in _locked(c) if each.site in sites]
        if missing := set(sites) - {each.site for each in found}:
            names = ", ".join(sorted(missing))
            raise Rejected(ReasonCode.NO_SUCH_SITE, f"no engine has served {names}: see osteon phase list")
        if fingerprints is not None and {each.site: each.fingerprint for each in found} != dict(fingerprints):
            raise Rejected(ReasonCode.ENGINE_CHANGED, "another engine serves the site since it was looked at")
        return _set(c, found, phase, by, is_revoked=False, proof=passed)


def _set_back(c: Connection, found: Collection[SitePhase], phase: Phase, reason: str) -> None:
    by = Intervention(person=APPLIANCE, door=Door.APPLIANCE, reason=reason)
    _set(c, found, phase, by, is_revoked=True)


def _set(
    c: Connection, found: Collection[SitePhase], phase: Phase, by: Intervention, *, is_revoked: bool, proof: str = ""
) -> int:
    sites = [each.site for each in found]
    values = {"phase": phase, "since": now(), "person": by.person, "reason": by.reason, "is_revoked": is_revoked}
    c.execute(update(phases).where(phases.c.site.in_(sites)).values(**values))
    _require_another_validation(
        c, [each.site for each in found if is_revoked or (each.phase is Phase.LIVE and phase is not Phase.LIVE)]
    )
    dropped = drop_outdated(c) if any(each.phase.rank > phase.rank for each in found) else 0
    for each in found:
        detail = f"from {each.phase} to {phase}"
        if proof:
            detail += f"; {proof}"
        if dropped or not phase.leaves:
            detail += f"; deliveries dropped: {dropped}"
        record(c, by, AuditAction.SET_PHASE, f"site {each.site}", detail)
    return dropped


def _require_another_validation(c: Connection, sites: Collection[Site]) -> None:
    c.execute(update(phases).where(phases.c.site.in_(sites)).values(validate_after=now()))


def _locked(c: Connection) -> list[SitePhase]:
    """Return the phases, which only this transaction may change until it ends."""
    return [_site_phase(row) for row in c.execute(select(phases).with_for_update())]


def _site_phase(row: Row[Any]) -> SitePhase:
    return SitePhase(**row._mapping)
