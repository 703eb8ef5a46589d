"""From the evidence about a radiograph to its findings, and to the limits of its answer.

Pure functions. The rules are those of *Safe answers*: any doubt withholds a negative, a suspicion is always told, and
unread subjects are named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from appliance.domain.finding import Box, Finding, NotAnalysed, UnreadRegion, Withheld
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.radiograph import Header, Radiograph
from appliance.domain.reason import ReasonCode
from appliance.domain.sentence import Sentence
from appliance.ports import Heat
from engines.pack import ClassifierSpec
from kernels.reference import focus

from .caveats import site_names
from .classifier import RegionEvidence
from .header_sites import NamedParts
from .hip_side import side_of_mark
from .mark import outline
from .reading_plan import PlannedRegion, ReadingPlan, Standing

A_TRUNK = NotAnalysed(
    code=ReasonCode.OUT_OF_SCOPE,
    reason=Sentence.of("the image shows both shoulders and the spine, as a chest does: body part not read"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The knowledge about a radiograph before its regions are classified.

    Attributes
    ----------
    named
        The parts of the body that the header names.
    flags
        Flags of the localiser, such as ``cast``.
    turns
        Quarter turns, counter-clockwise, that bring the limb upright.
    shows_bone_outside
        Whether more bone than the pack allows is visible outside the regions that were recognised.
    """

    plan: ReadingPlan
    named: NamedParts
    flags: tuple[str, ...]
    turns: int
    is_of_a_trunk: bool
    looks_inverted: bool
    shows_bone_outside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifiedRegion:
    """A located region with its engine, the evidence of that engine, and the heat map on the received image."""

    region: PlannedRegion
    spec: ClassifierSpec
    evidence: RegionEvidence
    heat: Heat


def findings_with_heat(
    radiograph: Radiograph, survey: Survey, classified: Sequence[ClassifiedRegion]
) -> list[tuple[Finding, Heat]]:
    """Return the finding of each region with its heat map, gravest first."""
    sides = _sides(radiograph.header, survey.plan, classified)
    replaced = bool(radiograph.stored.caveats)
    pairs = [(_finding(survey, c, side, replaced), c.heat) for c, side in zip(classified, sides, strict=True)]
    if sum(finding.site is Site.PELVIS for finding, _ in pairs) == 1 and not survey.turns:
        pairs = [(_on_its_side_of_the_pelvis(finding, radiograph), heat) for finding, heat in pairs]
    return sorted(pairs, key=lambda pair: (-pair[0].verdict.severity, -pair[0].probability))


def reasons_for_incompleteness(survey: Survey) -> Iterator[Sentence]:
    """Yield the reasons beside unread subjects why the radiograph is incomplete."""
    if survey.shows_bone_outside:
        yield Sentence.of("bone is visible outside the regions that were recognised")
    if part := survey.named.elsewhere:
        yield Sentence.of("the header also names {part}, which no engine reads", part=part)


def why_not_analysed(survey: Survey, findings: Sequence[Finding], engines: Collection[Site]) -> NotAnalysed | None:
    """Return the reason why nothing is said of the radiograph, if there is one; a suspicion is always told.

    Parameters
    ----------
    engines
        Sites whose engine may find a fracture.
    """
    if survey.is_of_a_trunk:
        return A_TRUNK
    if any(finding.verdict.is_suspicious for finding in findings):
        return None
    named, recognised = survey.named.sites, survey.plan.recognised
    if survey.plan.contradicts:
        reason = Sentence.of(
            "the header says {in_header}, the image looks like {in_image}: correct the header, or read it yourself",
            in_header=site_names(named),
            in_image=site_names(recognised),
        )
        return NotAnalysed(code=ReasonCode.SITE_UNCERTAIN, reason=reason)
    if named and named.isdisjoint(engines):
        reason = Sentence.of("the header says {sites}, for which this pack has no engine", sites=site_names(named))
        return NotAnalysed(code=ReasonCode.NO_ENGINE, reason=reason)
    return None if findings else _nothing_to_read(recognised.difference(engines))


def not_read(plan: ReadingPlan) -> Iterator[UnreadRegion]:
    """Yield the subjects that no engine read: located ones, then those that only the header names."""
    located = [r for r in plan.regions if r.standing is Standing.NOT_READ]
    yield from (_unread(r) for r in located)
    shown = {r.region.site for r in located}
    yield from (UnreadRegion(site=site) for site in sorted(plan.missing - shown))


def not_assessed(plan: ReadingPlan) -> Iterator[UnreadRegion]:
    """Yield the neighbours at the margin of the picture."""
    yield from (_unread(r) for r in plan.regions if r.standing is Standing.MARGIN)


def _finding(survey: Survey, classified: ClassifiedRegion, side: Laterality, window_is_replaced: bool) -> Finding:
    region, spec, evidence = classified.region.region, classified.spec, classified.evidence
    is_certain = classified.region.site_is_certain and not survey.plan.contradicts
    withheld = {
        Withheld.NOT_MEASURED: not spec.clears,
        Withheld.POLARITY: survey.looks_inverted,
        Withheld.WINDOW: window_is_replaced,
        Withheld.UNFAMILIAR: not evidence.is_familiar,
    }
    return Finding(
        site=region.site,
        laterality=side if is_certain else Laterality.UNKNOWN,
        box=region.box,
        region_score=region.score,
        peak=_peak(classified.heat, region.box),
        mark=outline(classified.heat, region.box),
        probability=evidence.probability,
        doubt=spec.doubt,
        positive=spec.positive,
        focus=focus(evidence.heat),
        withheld=(*classified.region.withheld, *(reason for reason, holds in withheld.items() if holds)),
        site_is_certain=is_certain,
        fracture_share=spec.fracture_share,
    )


def _sides(header: Header, plan: ReadingPlan, classified: Sequence[ClassifiedRegion]) -> list[Laterality]:
    """Return the side of each region: the header's, unless two regions of one paired site are on the radiograph.

    A pelvis has no side: it shows both hips, whatever side the header names.
    """
    sites = [c.region.region.site for c in classified]
    return [Laterality.UNKNOWN if plan.shown[s] > 1 or s is Site.PELVIS else header.laterality for s in sites]


def _on_its_side_of_the_pelvis(finding: Finding, radiograph: Radiograph) -> Finding:
    """Return a suspicion about a pelvis with the side of its mark, where picture and header tell it."""
    if finding.site is not Site.PELVIS or not (finding.site_is_certain and finding.verdict.is_suspicious):
        return finding
    side = side_of_mark(finding.mark, finding.box, radiograph.header, radiograph.shape)
    return replace(finding, laterality=side)


def _unread(planned: PlannedRegion) -> UnreadRegion:
    region = planned.region
    return UnreadRegion(site=region.site, box=region.box, region_score=region.score)


def _peak(heat: Heat, box: Box) -> tuple[float, float]:
    """Return the centre of the hottest cell in px received, clipped to the region."""
    j, i = np.unravel_index(int(heat.cells.argmax()), heat.cells.shape)
    x0, y0, x1, y1 = heat.extent
    x = x0 + (i + 0.5) / heat.cells.shape[1] * (x1 - x0)
    y = y0 + (j + 0.5) / heat.cells.shape[0] * (y1 - y0)
    return float(np.clip(x, box.x0, box.x1)), float(np.clip(y, box.y0, box.y1))


def _nothing_to_read(recognised: Collection[Site]) -> NotAnalysed:
    """Return the reason for a radiograph on which these sites are recognised, and none can be read."""
    if not recognised:
        reason = Sentence.of("no anatomical region was recognised in the image")
        return NotAnalysed(code=ReasonCode.NO_REGION, reason=reason)
    sites = site_names(recognised)
    reason = Sentence.of("the image shows {sites}, for which this pack has no engine", sites=sites)
    return NotAnalysed(code=ReasonCode.NO_ENGINE, reason=reason)
