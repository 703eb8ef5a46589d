"""Find the side of a suspicion on a radiograph of the whole pelvis, from Patient Orientation and the place of its mark.

A wrong side is as bad as a wrong answer: the side is unknown wherever a condition is not met. On 68 labelled
radiographs that meet the conditions, the middle of the located pelvis lay at most 5 % of its width from the labelled
middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from appliance.domain.finding import Box
from appliance.domain.identifiers import Laterality
from appliance.domain.radiograph import Header

FRONTAL_VIEWS: Final = frozenset({"AP", "PA"})
"""Values of View Position of a radiograph that shows both hips beside each other."""

TOWARDS: Final = {"L": (Laterality.RIGHT, Laterality.LEFT), "R": (Laterality.LEFT, Laterality.RIGHT)}
"""Sides of the patient at the left and right of the picture, by the direction of its rows (DICOM PS3.3 C.7.6.1.1.1)."""

DOWN: Final = "F"
"""Direction of the columns of an upright picture: towards the feet."""

BORDER: Final = 0.02
"""Share of the picture's width within which the region may be cut at its left or right: its middle is then unknown."""

WIDEST_PART: Final = 0.5
"""Share of the picture's width that a whole pelvis at least takes."""

ASPECT: Final = (1.15, 1.7)
"""Width of a whole pelvis over its height; the region of one hip is narrower, or touches the border."""

MIDDLE: Final = 0.1
"""Share of the region's width on both sides of its middle that tells no side: twice the largest error of the middle."""


def side_of_mark(
    mark: Sequence[tuple[float, float]], region: Box, header: Header, shape: tuple[int, int]
) -> Laterality:
    """Return the side of the patient on which the whole mark lies; unknown unless picture and header are plain.

    Parameters
    ----------
    mark, region
        In px of the received image, upright as the header describes it.
    shape
        (H, W) of the received image in px.
    """
    rows, columns = header.patient_orientation or ("", "")
    is_frontal = header.view_position in FRONTAL_VIEWS and rows in TOWARDS and columns == DOWN
    if not (mark and is_frontal and _is_whole(region, shape[1])):
        return Laterality.UNKNOWN
    at_the_left, at_the_right = TOWARDS[rows]
    middle, margin = (region.x0 + region.x1) / 2, MIDDLE * (region.x1 - region.x0)
    if max(x for x, _ in mark) < middle - margin:
        side = at_the_left
    elif min(x for x, _ in mark) > middle + margin:
        side = at_the_right
    else:
        return Laterality.UNKNOWN
    return side if header.laterality in (side, Laterality.UNKNOWN) else Laterality.UNKNOWN


def _is_whole(region: Box, width: int) -> bool:
    """Whether a region shows both halves of a pelvis."""
    wide, tall = region.x1 - region.x0, region.y1 - region.y0
    is_cut = region.x0 < BORDER * width or region.x1 > (1 - BORDER) * width
    return not is_cut and wide >= WIDEST_PART * width and ASPECT[0] <= wide / tall <= ASPECT[1]
