"""Estimate how a limb lies in the picture from the order of its regions.

The engines learned from radiographs whose limbs point down: pelvis above foot, shoulder above hand. The localiser knows
its regions at every quarter turn, so that two neighbours of one limb tell the direction. Of 181 radiographs 99 % had
such neighbours, and 92 % pointed down within 60 degrees; of their copies turned by 90, 180 and 270 degrees, 4 to 11 %.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Final

from appliance.domain.identifiers import Site

from .localiser import LocatedRegion

LIMBS: Final = (
    (Site.SHOULDER, Site.HUMERUS, Site.ELBOW, Site.FOREARM, Site.WRIST, Site.HAND),
    (Site.PELVIS, Site.FEMUR, Site.KNEE, Site.LOWER_LEG, Site.ANKLE, Site.FOOT),
)
"""Sites from the trunk outwards."""

SMALLEST_SCORE = 0.2
"""Score from which a region helps to estimate the direction."""

LEAST_AGREEMENT = 0.1
"""Length of the sum of directions, each weighted by its score, below which they contradict each other."""

UPRIGHT_DEG = 60.0
"""Angle from straight down up to which a limb counts as upright: beyond it a quarter turn brings it nearer."""


def limb_direction_deg(regions: Iterable[LocatedRegion]) -> float | None:
    """Return the angle of the limb's outward direction from straight down, -180 to 180, counter-clockwise positive.

    None where no two neighbours of one limb are located, or where their directions cancel out.
    """
    best: dict[Site, LocatedRegion] = {}
    for region in regions:
        if region.score >= SMALLEST_SCORE and region.score > (best[region.site].score if region.site in best else 0.0):
            best[region.site] = region
    across = down = 0.0
    for limb in LIMBS:
        for near, far in itertools.pairwise(limb):
            if near in best and far in best:
                dx, dy = (b - a for a, b in zip(_centre(best[near]), _centre(best[far]), strict=True))
                length = math.hypot(dx, dy)
                weight = min(best[near].score, best[far].score) / length if length else 0.0
                across, down = across + weight * dx, down + weight * dy
    if math.hypot(across, down) < LEAST_AGREEMENT:
        return None
    return math.degrees(math.atan2(across, down))


def quarter_turns(direction_deg: float | None) -> int:
    """Return the quarter turns, counter-clockwise as `numpy.rot90` makes them, that bring a limb upright; 0 if it is.

    A limb of unknown direction is left as it is.
    """
    if direction_deg is None or abs(direction_deg) <= UPRIGHT_DEG:
        return 0
    return -round(direction_deg / 90) % 4


def _centre(region: LocatedRegion) -> tuple[float, float]:
    return (region.box.x0 + region.box.x1) / 2, (region.box.y0 + region.box.y1) / 2
