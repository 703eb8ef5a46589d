"""The pose of a patient on the detector: from millimetres of the anatomy to pixels of one image.

The map is a similarity, plus a slow bend of the plane that makes every skeleton a little different.
"""

from dataclasses import dataclass

import numpy as np

from .anatomy import Anatomy, Points

SCALE = (0.98, 1.04)
"""Least and largest enlargement, by the distance from the detector."""

TURN_DEG = 8.0
"""Largest rotation."""

SHIFT = 0.035
"""Largest shift, as a share of the image's side."""

ASPECT = 0.04
"""Largest difference between the scales across and along."""

BEND = 0.011
"""Largest amplitude of the bend, as a share of the image's longer side."""

SIDE_PX = (900, 1400)
"""Least and largest side of the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """One patient's pose on one image.

    Attributes
    ----------
    height_px, width_px
        Size of the image.
    spacing_mm
        Side of a pixel on the detector.
    matrix
        (2, 2) float32, pixels per mm; mirrors left sides.
    centre_px
        (2,) float32: pixel of the anatomy's origin.
    bend_mm, bend_phase, bend_per_mm
        (2,) float32 amplitude, (2, 2) phase and (2, 2) wave numbers of the bend.
    """

    height_px: int
    width_px: int
    spacing_mm: float
    matrix: Points
    centre_px: Points
    bend_mm: Points
    bend_phase: Points
    bend_per_mm: Points

    @property
    def px_per_mm(self) -> float:
        """Pixels per millimetre of anatomy, the enlargement included."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    def pixels_from_mm(self, points: Points) -> Points:
        """Return the pixels (n, 2) of points (n, 2) in mm; a pixel i covers [i, i + 1)."""
        x, y = points[:, 0], points[:, 1]
        waves = (
            np.sin(self.bend_per_mm[:, :1] * x[None] + self.bend_per_mm[:, 1:] * y[None] + self.bend_phase[:, :1])
            * self.bend_mm[:, None]
        )
        return np.asarray((points + waves.T) @ self.matrix.T + self.centre_px, np.float32)

    def box_from_mm(self, box: tuple[float, float, float, float]) -> tuple[int, int, int, int]:
        """Return the upright pixel box, clipped to the image, with the proportions of an upright box in mm."""
        x0, y0, x1, y1 = box
        middle = np.array([(x0 + x1) / 2, (y0 + y1) / 2], np.float32) @ self.matrix.T + self.centre_px
        half = np.array([x1 - x0, y1 - y0], np.float32) * self.px_per_mm / 2
        low = np.clip(np.floor(middle - half), 0, None)
        high = np.minimum(np.ceil(middle + half), [self.width_px, self.height_px])
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def draw_pose(anatomy: Anatomy, rng: np.random.Generator, *, left: bool, size: float) -> Pose:
    """Draw a random pose of a patient of that size; `left` mirrors the anatomy."""
    spacing_mm = round(anatomy.spacing_mm * float(rng.uniform(0.95, 1.05)), 3)
    image_px = np.asarray(anatomy.image_mm) / spacing_mm * rng.uniform(0.98, 1.02, 2)
    width_px, height_px = (int(np.clip(side, *SIDE_PX)) for side in image_px)
    turn = np.deg2rad(rng.uniform(-TURN_DEG, TURN_DEG))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    stretch = 1 + rng.uniform(-ASPECT, ASPECT) / 2
    scale = size * rng.uniform(*SCALE) / spacing_mm
    mirror = -1.0 if left else 1.0
    matrix = rotation @ np.diag([scale * stretch * mirror, scale / stretch])
    side_mm = max(anatomy.image_mm)
    size_px = np.array([width_px, height_px], np.float32)
    return Pose(
        height_px=height_px,
        width_px=width_px,
        spacing_mm=spacing_mm,
        matrix=np.asarray(matrix, np.float32),
        centre_px=size_px * (0.5 + rng.uniform(-SHIFT, SHIFT, 2).astype(np.float32)),
        bend_mm=(rng.uniform(0.3, 1.0, 2) * BEND * side_mm).astype(np.float32),
        bend_phase=rng.uniform(0, 2 * np.pi, (2, 1)).astype(np.float32),
        bend_per_mm=(rng.uniform(-1, 1, (2, 2)) * 2 * np.pi / side_mm).astype(np.float32),
    )
