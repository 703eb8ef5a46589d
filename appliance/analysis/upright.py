"""Regions of a limb that does not point down are read twice: as they are, and upright."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from appliance.preprocessing.recipe import REGION_PX

from .classifier import Classifier, RegionEvidence


def read_upright(
    classifier: Classifier, images: NDArray[np.uint8], fitted: Sequence[tuple[int, int]], turns: Sequence[int]
) -> list[RegionEvidence]:
    """Classify regions as they are and, where `turns` is not 0, upright too; return the more suspicious evidence.

    A region that is familiar in one of the two positions is familiar.

    Parameters
    ----------
    images : (R, 256, 256) uint8
        Regions, fitted to the upper left corner.
    fitted
        (h, w) of each region in px of its image; the rest is padding.
    turns
        Quarter turns, counter-clockwise, that bring each region upright.
    """
    as_is = classifier.evidence(images, fitted)
    tilted = [m for m, turn in enumerate(turns) if turn]
    if not tilted:
        return as_is
    upright = np.zeros((len(tilted), REGION_PX, REGION_PX), np.uint8)
    sizes = []
    for place, m in enumerate(tilted):
        height, width = fitted[m]
        region = np.rot90(images[m][:height, :width], turns[m])
        upright[place, : region.shape[0], : region.shape[1]] = region
        sizes.append((region.shape[0], region.shape[1]))
    for m, turned in zip(tilted, classifier.evidence(upright, sizes), strict=True):
        is_familiar = turned.is_familiar or as_is[m].is_familiar
        if turned.probability > as_is[m].probability:
            as_is[m] = replace(turned, heat=np.ascontiguousarray(np.rot90(turned.heat, -turns[m])))
        as_is[m] = replace(as_is[m], is_familiar=is_familiar)
    return as_is
