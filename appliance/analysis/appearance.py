"""The picture as a whole, looked at without any network: exposed bone, polarity and flat places."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from appliance.domain.finding import Box
from appliance.domain.radiograph import StoredValues
from appliance.preprocessing.reference import displayed

from .exposed_bone import SIDE_PX, bone_mask, share_outside
from .polarity import is_doubtful

FLAT = 8.0 / 255
"""Standard deviation of a box, as a share of the range of the whole picture, below which it shows empty background: of
870 labelled regions on pictures that use all of 255 grey levels none was below 9."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """A small grey picture of a radiograph, not equalised, and what it tells.

    Attributes
    ----------
    grey : (h, w) uint8
        As a viewer shows it, longer side `SIDE_PX`.
    scale
        Px of `grey` for one px of the received image.
    """

    grey: NDArray[np.uint8] = field(repr=False)
    scale: float

    @property
    def polarity_is_doubtful(self) -> bool:
        """Whether black and white may be exchanged."""
        return is_doubtful(self.grey)

    def is_flat(self, box: Box) -> bool:
        """Whether a box, px of the received image, shows empty background, or nothing at all."""
        x0, y0 = int(box.x0 * self.scale), int(box.y0 * self.scale)
        x1, y1 = int(np.ceil(box.x1 * self.scale)), int(np.ceil(box.y1 * self.scale))
        shown = self.grey[y0:y1, x0:x1]
        dark, bright = np.percentile(self.grey, (0.5, 99.5))
        return not shown.size or float(shown.std()) < FLAT * (bright - dark)

    def bone_outside(self, boxes: Iterable[Box]) -> float:
        """Return the share of exposed bone that lies in none of `boxes`, 0 to 1."""
        return share_outside(bone_mask(self.grey), boxes, self.scale)


def look(stored: StoredValues) -> Appearance:
    """Make the small grey picture of a radiograph."""
    height, width = stored.pixels.shape
    step = max(1, max(height, width) // (2 * SIDE_PX))  # thinned first: only structures of several px matter here
    shown = Image.fromarray(displayed(stored, stored.pixels[::step, ::step].astype(np.float32)))
    scale = SIDE_PX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Appearance(grey=np.asarray(shown.resize(size, Image.Resampling.BOX)), scale=scale)
