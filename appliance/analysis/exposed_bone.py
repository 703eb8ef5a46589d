"""Find exposed bone without any network, to notice bone that lies in no region that was recognised.

Bone is brighter than the soft tissue beside it: the mask is a white top-hat (Soille, Morphological Image Analysis,
2003, chapter 4) above Otsu's threshold (IEEE Trans SMC 9(1), 1979), without strips along the border: table edges and
unexposed detector. It is a safety net and no segmentation: on 400 labelled radiographs a median of 92 % of it lies in
labelled regions (10th percentile 68 %).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from appliance.domain.finding import Box

SIDE_PX = 256
"""Longer side of the grey picture that mask and polarity are made from."""

SMOOTHING_PX = 1.5
TOP_HAT_PX = 31
"""Side of the square that the top-hat opens with: more than the width of a forearm's bones on `SIDE_PX`."""

CONTRAST = 12
"""Grey levels of 255 by which bone stands out from its surroundings."""

SMALLEST_SHARE = 0.002
"""Share of the picture below which a patch of the mask is noise, a marker or a screw beside the patient."""

STRIP_FILL = 0.75
"""Share of its rectangle that a patch at the border fills if it is a strip: bones taper and bend."""

STRIP_WIDTH = 0.1
"""Share of the picture's side below which a patch that touches two borders is a strip."""


def bone_mask(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return the mask of exposed bone in a windowed picture that is not equalised.

    Parameters
    ----------
    grey
        (h, w) uint8, bone bright, longer side `SIDE_PX`.

    Returns
    -------
    (h, w) bool; empty where nothing stands out.
    """
    smooth = ndimage.gaussian_filter(grey, SMOOTHING_PX)
    stands_out = ndimage.white_tophat(smooth, size=TOP_HAT_PX) > CONTRAST
    mask = _without_edges(np.asarray((smooth > _otsu(smooth)) & stands_out, bool))
    mask = ndimage.binary_opening(mask)
    patches, _ = ndimage.label(mask)
    for number, place in enumerate(ndimage.find_objects(patches), start=1):
        patch = patches[place] == number
        if patch.sum() < SMALLEST_SHARE * grey.size or _is_strip(patch, place, grey.shape):
            mask[place][patch] = False
    return np.asarray(mask, bool)


def share_outside(mask: NDArray[np.bool_], boxes: Iterable[Box], scale: float) -> float:
    """Return the share of `mask` that lies in none of `boxes`, 0 to 1; 0 of an empty mask.

    Parameters
    ----------
    boxes
        In px of the received image.
    scale
        Px of the mask for one px of the received image.
    """
    bone = int(mask.sum())
    if not bone:
        return 0.0
    outside = mask.copy()
    for box in boxes:
        x0, y0 = (max(0, int(edge * scale)) for edge in (box.x0, box.y0))
        x1, y1 = (int(np.ceil(edge * scale)) for edge in (box.x1, box.y1))
        outside[y0:y1, x0:x1] = False
    return float(outside.sum()) / bone


def _without_edges(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Clear full rows and columns of `mask` from each border inwards: table edges that bones may touch."""
    for side in (mask, mask[::-1], mask.T, mask.T[::-1]):
        for line in side[: len(side) // 4]:
            if line.mean() < STRIP_FILL:
                break
            line[:] = False
    return mask


def _is_strip(patch: NDArray[np.bool_], place: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    """Whether a patch is a strip along the border: it fills its rectangle, or is narrow between two borders."""
    rows, columns = place
    borders = (rows.start == 0) + (columns.start == 0) + (rows.stop == shape[0]) + (columns.stop == shape[1])
    is_narrow = min(patch.shape) < STRIP_WIDTH * min(shape)
    return bool((borders >= 1 and patch.mean() > STRIP_FILL) or (borders >= 2 and is_narrow))


def _otsu(grey: NDArray[np.uint8]) -> int:
    """Return the level that parts a grey picture into two classes with the largest variance between them."""
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    below, mean = np.cumsum(share), np.cumsum(share * np.arange(256))
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean[-1] * below - mean) ** 2 / (below * (1 - below))
    return int(np.nanargmax(np.where(np.isfinite(between), between, -1.0)))
