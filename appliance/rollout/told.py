"""The told record of a radiograph: the part of its result that the phases of its sites let out of the box.

Everything that leaves is rendered from told records, and nothing from a full one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace

from appliance.domain.finding import DIFFUSE, IN_CAVEATS, Finding, NotAnalysed, UnreadRegion
from appliance.domain.identifiers import Site
from appliance.domain.phase import Phase, least_advanced
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence

Phases = Mapping[Site, Phase]
"""The phase of each site; one without is in shadow."""

UNCERTAIN = Sentence.of("a region of uncertain site is not in use at this hospital")
"""The reason why a radiograph is incomplete whose region of uncertain site is in shadow: no output names the site."""


def told(result: Result, phases: Phases) -> Result | None:
    """Return the part of `result` that may leave the box; None if that is nothing.

    A region of a site in shadow becomes an unread subject, so that the radiograph is incomplete at best. A radiograph
    that was not analysed claims nothing about a site, and follows the most advanced phase of all sites.
    """
    phase = phase_told(result, phases)
    if not phase.leaves:
        return None
    kept = tuple(result.findings[i] for i in kept_findings(result, phases))
    taken = [finding for finding in result.findings if finding not in kept]
    unread = (_unread(finding) for finding in taken if finding.site_is_certain)
    uncertain = () if all(f.site_is_certain for f in taken) else (UNCERTAIN,)
    return replace(
        result,
        findings=kept,
        not_read=(*result.not_read, *unread),
        incomplete=(*result.incomplete, *uncertain),
        caveats=(*_evaluation_caveat(kept, phases, phase), *_caveats(result, kept)),
        is_evaluation=phase.is_evaluation,
    )


def phase_told(result: Result, phases: Phases) -> Phase:
    """Return the phase by which a radiograph is told: the least advanced of the regions of which anything leaves.

    A radiograph of which nothing leaves is in shadow.
    """
    if result.not_analysed is not None:
        return max(phases.values(), key=lambda phase: phase.rank, default=Phase.SHADOW)
    kept = (phase_of(result.findings[i].site, phases) for i in kept_findings(result, phases))
    return least_advanced(kept) or Phase.SHADOW


def phase_of(site: Site, phases: Phases) -> Phase:
    """Return the phase of a site."""
    return phases.get(site, Phase.SHADOW)


def kept_findings(result: Result, phases: Phases) -> list[int]:
    """Return the positions of the findings that may leave, in the full record."""
    return [i for i, finding in enumerate(result.findings) if phase_of(finding.site, phases).leaves]


def least_of(some: Phases, others: Phases) -> dict[Site, Phase]:
    """Return the less advanced phase of each site."""
    return {site: min(some[site], others[site], key=lambda phase: phase.rank) for site in some if site in others}


def no_further(used: Phases, present: Phases) -> dict[Site, Phase]:
    """Return the phases `used`, each no further than the present one."""
    return {site: min(phase, present.get(site, phase), key=lambda each: each.rank) for site, phase in used.items()}


def not_in_use(result: Result) -> Result:
    """Return the record that takes an answer back of which nothing may be told any more."""
    reason = NotAnalysed(code=ReasonCode.NOT_IN_USE, reason=Sentence.of("not in use at this hospital"))
    nothing = replace(result, findings=(), not_read=(), not_assessed=(), incomplete=(), caveats=(), not_analysed=reason)
    return replace(nothing, is_evaluation=False)


def phases_to_json(phases: Phases) -> str:
    """Encode phases for the database."""
    return json.dumps(dict(sorted(phases.items())), separators=(",", ":"))


def phases_from_json(text: str) -> dict[Site, Phase]:
    """Decode the output of `phases_to_json`."""
    return {Site(site): Phase(phase) for site, phase in json.loads(text).items()}


def _evaluation_caveat(kept: tuple[Finding, ...], phases: Phases, phase: Phase) -> Iterator[Sentence]:
    """Yield the caveat that names the sites in evaluation; it names no site that is uncertain."""
    if not phase.is_evaluation:
        return
    names = (f.site.label if f.site_is_certain else f.place for f in kept if phase_of(f.site, phases).is_evaluation)
    if sites := tuple(dict.fromkeys(names)):
        yield Sentence.of("under evaluation at this hospital: {sites}", sites=sites)
    else:
        yield Sentence.of("under evaluation at this hospital")


def _caveats(result: Result, kept: tuple[Finding, ...]) -> Iterator[Sentence]:
    """Yield the caveats of the full record, without those that only a region has that is not told."""
    of_regions = {DIFFUSE, *(reason.sentence for reason in IN_CAVEATS)}
    own = {reason.sentence for finding in kept for reason in finding.withheld}
    if any(finding.is_diffuse for finding in kept):
        own.add(DIFFUSE)
    yield from (caveat for caveat in result.caveats if caveat in own or caveat not in of_regions)


def _unread(finding: Finding) -> UnreadRegion:
    return UnreadRegion(site=finding.site, box=finding.box, region_score=finding.region_score, is_in_use=False)
