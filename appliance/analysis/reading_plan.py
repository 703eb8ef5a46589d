"""Decide, before anything is classified, which regions are read and what a negative may rest on.

Pure functions of the located regions, the header's sites and the pack's engines. The rules are those of *Safe answers*:
one region has one name; an arm and a leg on one radiograph need a reason; a subject that no engine reads makes the
radiograph incomplete; a header that contradicts the image withholds every negative.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from appliance.domain.finding import Box, Withheld
from appliance.domain.identifiers import Site

from .geometry import iou
from .localiser import LocatedRegion

SAME_PLACE = 0.5
"""Intersection over union from which two regions are one, whatever their names."""

TIE = 0.1
"""Difference of two scores below which either name may be right."""

SHAFT_ASPECT = 1.5
"""Long side of a shaft's box over its short side from which at least half of the shaft shows: a whole shaft's is about
3 (upper quartiles of 2,115 labelled boxes: humerus 2.9, femur 3.1, lower leg 3.3, forearm 3.6)."""

SHAFT_LENGTH = 0.5
"""Long side of a shaft's box, as a share of the picture's, from which half of it shows in any direction: the box of an
oblique shaft is nearly a square."""

SPINE_SHARE = 0.21
"""Share of the picture that the spine's box covers from which the spine is a subject: 99 of 100 spines beside a limb,
a pelvis or a shoulder cover less (226 labelled boxes)."""

BORDER = 0.01
"""Share of the longer side within which a box touches the border of the picture."""

COVERED = 0.5
"""Share of a region's box that lies in read boxes from which the region counts as read with them."""

MOST_READ = 12
"""Regions that are read on one radiograph: both hands with every neighbour make ten. The others are not read."""

CUT_JOINTS: Final = frozenset({Site.ANKLE, Site.WRIST, Site.KNEE, Site.SHOULDER, Site.ELBOW})
"""Joints that lie whole on an ordinary radiograph: at most one of nine touches the border (328 to 715 regions each). A
third of all pelves and half of all shafts do."""

SHAFTS: Final = frozenset({Site.FOREARM, Site.LOWER_LEG, Site.FEMUR, Site.HUMERUS})
ARM: Final = frozenset({Site.SHOULDER, Site.HUMERUS, Site.ELBOW, Site.FOREARM, Site.WRIST, Site.HAND})
LEG: Final = frozenset({Site.PELVIS, Site.FEMUR, Site.KNEE, Site.LOWER_LEG, Site.ANKLE, Site.FOOT})

_ALONG: Final = (
    (Site.SPINE, Site.SHOULDER, Site.HUMERUS, Site.ELBOW, Site.FOREARM, Site.WRIST, Site.HAND),
    (Site.SPINE, Site.PELVIS, Site.FEMUR, Site.KNEE, Site.LOWER_LEG, Site.ANKLE, Site.FOOT),
)


class Standing(StrEnum):
    """The part that a region plays on its radiograph."""

    READ = "read"
    """An engine reads it."""

    NOT_READ = "not_read"
    """A subject of the radiograph that no engine reads: the answer is incomplete at best."""

    MARGIN = "margin"
    """A neighbour at the margin of the picture, or one that lies mostly in regions that are read: listed alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRegion:
    """A region with its standing, and the reasons why it may not be called negative.

    Attributes
    ----------
    site_is_certain
        False where a site of the other limb is recognised in the same place about as well.
    """

    region: LocatedRegion
    standing: Standing
    withheld: tuple[Withheld, ...] = ()
    site_is_certain: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingPlan:
    """The regions of one radiograph, and what the header adds to them.

    Attributes
    ----------
    missing
        Sites that the header names and that are not located, or have no engine.
    recognised
        Sites that are recognised without the help of the header.
    contradicts
        Whether sites are recognised, and none of them is one that the header names, nor a neighbour of one. The spine
        alone counts for neither arm nor leg.
    """

    regions: tuple[PlannedRegion, ...] = ()
    missing: frozenset[Site] = frozenset()
    recognised: frozenset[Site] = frozenset()
    contradicts: bool = False

    @property
    def shown(self) -> Counter[Site]:
        """The number of regions of each site, without those that only may be there."""
        return Counter(r.region.site for r in self.regions if r.region.site in self.recognised or r in self.read)

    @property
    def read(self) -> tuple[PlannedRegion, ...]:
        """The regions that engines read, highest score first."""
        return tuple(r for r in self.regions if r.standing is Standing.READ)


def plan_reading(
    located: Sequence[LocatedRegion],
    shape: tuple[int, int],
    named: Collection[Site],
    engines: Collection[Site],
    threshold: float,
) -> ReadingPlan:
    """Plan the reading of one radiograph.

    Parameters
    ----------
    located
        Regions in px of the received image, weak ones included.
    shape
        (H, W) of the received image in px.
    named
        Sites that the header names.
    engines
        Sites that the pack has an engine for.
    threshold
        Score from which a region is recognised without the header. A weaker region is read only if the header names
        its site, and counts otherwise as a region that may be there: a subject that is not read.
    """
    regions = one_name_each(located, named)
    strong = [r for r in regions if r.score >= threshold]
    recognised = frozenset(r.site for r in strong)
    evidence = recognised - {Site.SPINE} or recognised
    contradicts = bool(named and evidence) and not any(_near(site, named) for site in evidence)
    dominant, both = _limbs(strong, named)
    readable = [
        r
        for r in regions
        if r.site in engines and (r.score >= threshold or r.site in named) and r.site not in _other(dominant)
    ][:MOST_READ]
    boxes = [r.box for r in readable]
    missing = frozenset(site for site in named if site not in {r.site for r in readable})
    conditions = {
        Withheld.CONTRADICTION: contradicts,
        Withheld.OTHER_LIMB: both,
        Withheld.NAMED_SITE_UNREAD: any(site not in engines for site in named),
    }
    holding = [condition for condition, holds in conditions.items() if holds]
    planned = []
    for region in regions:
        if region in readable:
            rivals = _rivals(region, located, threshold)
            conditions_here = [*holding, *([Withheld.AMBIGUOUS] if rivals else [])]
            planned.append(
                PlannedRegion(
                    region=region,
                    standing=Standing.READ,
                    withheld=_withheld(region, shape, named, threshold, conditions_here),
                    site_is_certain=not any(_is_of_the_other_limb(site, region.site) for site in rivals),
                )
            )
        else:
            subject = region.site in named or (is_subject(region, shape) and covered_share(region.box, boxes) < COVERED)
            planned.append(PlannedRegion(region=region, standing=Standing.NOT_READ if subject else Standing.MARGIN))
    return ReadingPlan(regions=tuple(planned), missing=missing, recognised=recognised, contradicts=contradicts)


def one_name_each(regions: Iterable[LocatedRegion], named: Collection[Site]) -> list[LocatedRegion]:
    """Keep one region of those that lie in the same place: the best score; a site that the header names wins ties.

    Scores count as tied when they differ by less than `TIE`.
    """
    kept: list[LocatedRegion] = []
    for region in sorted(regions, key=lambda r: -(r.score + TIE * (r.site in named))):
        if all(iou(region.box, other.box) <= SAME_PLACE for other in kept):
            kept.append(region)
    return sorted(kept, key=lambda r: -r.score)


def is_subject(region: LocatedRegion, shape: tuple[int, int]) -> bool:
    """Whether a region is a subject by the picture alone: a whole joint, half of a shaft, or a large spine.

    A smaller spine lies at the margin of a radiograph of the pelvis or of a shoulder.
    """
    if region.site is Site.SPINE:
        area = (region.box.x1 - region.box.x0) * (region.box.y1 - region.box.y0)
        return area >= SPINE_SHARE * shape[0] * shape[1]
    if region.site in SHAFTS:
        sides = region.box.x1 - region.box.x0, region.box.y1 - region.box.y0
        return max(sides) / min(sides) >= SHAFT_ASPECT or max(sides) >= SHAFT_LENGTH * max(shape)
    return not touches_border(region.box, shape)


def touches_border(box: Box, shape: tuple[int, int]) -> bool:
    """Whether a box (px) ends at a border of the (H, W) picture."""
    height, width = shape
    near = BORDER * max(shape)
    return box.x0 <= near or box.y0 <= near or box.x1 >= width - near or box.y1 >= height - near


def covered_share(box: Box, others: Iterable[Box]) -> float:
    """Return the share of `box` that lies in the union of `others`, 0 to 1, on a grid of 64 x 64 places."""
    places = (np.arange(64) + 0.5) / 64
    xs, ys = box.x0 + places * (box.x1 - box.x0), box.y0 + places * (box.y1 - box.y0)
    covered = np.zeros((64, 64), bool)
    for other in others:
        covered |= np.outer((other.y0 <= ys) & (ys < other.y1), (other.x0 <= xs) & (xs < other.x1))
    return float(covered.mean())


def _near(site: Site, named: Collection[Site]) -> bool:
    """Whether `site` is one of `named` or lies next to one on the same limb."""
    return site in named or any(
        abs(limb.index(site) - limb.index(other)) == 1
        for limb in _ALONG
        for other in named
        if site in limb and other in limb
    )


def _limbs(regions: Iterable[LocatedRegion], named: Collection[Site]) -> tuple[frozenset[Site], bool]:
    """The limb that the radiograph shows, empty if it shows none or the header names both; and whether it shows two.

    The header decides, then the highest score.
    """
    some = list(regions)
    arm, leg = (max((r.score for r in some if r.site in limb), default=0.0) for limb in (ARM, LEG))
    if not (arm and leg):
        return frozenset(), False
    by_header = [limb for limb in (ARM, LEG) if limb & set(named)]
    if len(by_header) == 2:
        return frozenset(), False
    if by_header:
        return by_header[0], True
    return (ARM if arm >= leg else LEG), True


def _rivals(region: LocatedRegion, located: Iterable[LocatedRegion], threshold: float) -> list[Site]:
    """Return the other sites that are recognised in the place of `region` about as well, or better."""
    return [
        other.site
        for other in located
        if other.site is not region.site
        and other.score >= max(threshold, region.score - TIE)
        and iou(other.box, region.box) > SAME_PLACE
    ]


def _is_of_the_other_limb(site: Site, other: Site) -> bool:
    return any(site in a and other in b for a, b in ((ARM, LEG), (LEG, ARM)))


def _other(limb: frozenset[Site]) -> frozenset[Site]:
    """The sites of the other limb; none if no limb was decided on."""
    return frozenset() if not limb else LEG if limb is ARM else ARM


def _withheld(
    region: LocatedRegion,
    shape: tuple[int, int],
    named: Collection[Site],
    threshold: float,
    conditions: Collection[Withheld],
) -> tuple[Withheld, ...]:
    """Return the reasons that hold for one region: `conditions` of the whole radiograph, and its own."""
    reasons = {
        Withheld.CONTRADICTION: Withheld.CONTRADICTION in conditions,
        Withheld.OTHER_LIMB: Withheld.OTHER_LIMB in conditions,
        Withheld.AMBIGUOUS: Withheld.AMBIGUOUS in conditions,
        Withheld.NAMED_SITE_UNREAD: Withheld.NAMED_SITE_UNREAD in conditions and region.site not in named,
        Withheld.WEAK: region.score < threshold,
        Withheld.CUT: region.site in CUT_JOINTS and touches_border(region.box, shape),
    }
    return tuple(reason for reason, holds in reasons.items() if holds)
