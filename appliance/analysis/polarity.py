"""Notice a picture whose black and white are exchanged.

Bones are thin bright structures on darker surroundings, and the frame of a picture shows air somewhere. Where neither
holds, the declared polarity is doubtful. Of 307 radiographs 1.6 % fail this check; of their inverted copies 93 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .exposed_bone import SMOOTHING_PX, TOP_HAT_PX

BRIGHT_SHARE = 0.45
"""Share of thin bright structures among thin bright and dark ones below which the polarity is doubtful."""

FRAME_PX = 6
DARK_QUARTILE = 25
"""Percentile of the frame that is darker than the mean of the picture, unless black and white are exchanged."""


def is_doubtful(grey: NDArray[np.uint8]) -> bool:
    """Return whether a windowed picture looks inverted.

    Parameters
    ----------
    grey
        (h, w) uint8 as a viewer shows it, longer side `exposed_bone.SIDE_PX`; a blank picture is not doubtful.
    """
    smooth = ndimage.gaussian_filter(grey, SMOOTHING_PX).astype(np.float32)
    bright = float(ndimage.white_tophat(smooth, size=TOP_HAT_PX).mean())
    dark = float(ndimage.black_tophat(smooth, size=TOP_HAT_PX).mean())
    if bright + dark == 0:
        return False
    frame = np.concatenate(
        [grey[:FRAME_PX].ravel(), grey[-FRAME_PX:].ravel(), grey[:, :FRAME_PX].ravel(), grey[:, -FRAME_PX:].ravel()]
    )
    return bright / (bright + dark) < BRIGHT_SHARE or float(np.percentile(frame, DARK_QUARTILE)) > float(grey.mean())
