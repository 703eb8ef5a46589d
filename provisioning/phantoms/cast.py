"""A plaster cast: a shell around the limb, wound in turns, in every view.

A cast is drawn independently of the fracture, so that it is no sign of one.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from .anatomy import Tissue
from .attenuation import Field, chord, enlarge, grid_shape, signed_depth
from .pose import Pose

PREVALENCE = 0.2
"""Share of limbs in a cast; far above a hospital's, as for metal."""

THICKNESS_MM = (4.0, 7.5)
"""Least and largest thickness of the plaster."""

PADDING_MM = 3.0
"""Thickness of the wool between skin and plaster."""

PLASTER_PER_MM = 0.02
"""Attenuation of plaster, more than twice that of soft tissue: gypsum contains calcium."""

TURN_MM = 9.0
"""Distance from one turn of the bandage to the next."""

COARSE = 3
"""Grid pixels per pixel of this shell, as for soft tissue."""


def render_cast(limb: Tissue, pose: Pose, rng: np.random.Generator) -> Field:
    """Return the attenuation of a cast around a limb, (h, w) float32 on the grid."""
    depth = signed_depth(limb.outline, pose, COARSE)
    inner, outer = depth + PADDING_MM, depth + PADDING_MM + rng.uniform(*THICKNESS_MM)
    radius = limb.radius_mm + PADDING_MM
    path = chord(np.maximum(outer, 0), radius + (outer - inner).mean()) - chord(np.maximum(inner, 0), radius)
    noise = ndimage.gaussian_filter(rng.standard_normal(path.shape, np.float32), 3)
    y = np.arange(path.shape[0], dtype=np.float32)[:, None] + 2.5 * noise / noise.std()
    period = TURN_MM * pose.px_per_mm / (2 * COARSE)
    turns = 1 + 0.08 * np.sin(2 * np.pi * y / period) + 0.05 * noise / noise.std()
    height, width = grid_shape(pose)
    return np.asarray(enlarge(np.asarray(path * turns * PLASTER_PER_MM, np.float32), COARSE)[:height, :width])
