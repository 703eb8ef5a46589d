"""Shapes of the phantoms: bones, soft tissue and whole anatomies as outlines in millimetres.

The frame has its origin at the centre of the image, x to the viewer's right, y downwards. The patient's right side is
drawn; the left is its mirror image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float32]
"""(n, 2) or (2,): x and y."""

Xy = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bone:
    """One bone.

    Attributes
    ----------
    outline
        (n, 2) float32, mm: a closed curve, the last point joins the first.
    radius_mm
        Half of its extent along the beam. The bone is as round as a tube of this radius at its edges, flat beyond.
    shaft
        Two points: from the spongy end to the hard end. The cortex thickens from one to the other.
    cortex_mm
        Thickness of the cortex at the two ends of `shaft`.
    breaks
        Least and largest share of `shaft` at which a fracture may have its centre; None: this bone never breaks.
    density
        Mineral content relative to an ordinary bone.
    holes
        Outlines of the openings within the bone (foramina).
    """

    name: str
    outline: Points
    radius_mm: float
    shaft: tuple[Xy, Xy]
    cortex_mm: tuple[float, float]
    breaks: tuple[float, float] | None = None
    density: float = 1.0
    holes: tuple[Points, ...] = ()

    def at(self, share: float) -> Points:
        """Return the (2,) float64 point at that share of the shaft's length, mm."""
        start, stop = np.asarray(self.shaft, np.float64)
        return np.asarray(start + (stop - start) * share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tissue:
    """A body of soft tissue, or of air if its `density` is negative."""

    outline: Points
    radius_mm: float
    density: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """Everything on one image.

    Attributes
    ----------
    image_mm
        Width and height of the image.
    spacing_mm
        Nominal side of a pixel.
    region_mm
        x0, y0, x1, y1 of the box that a localiser should find.
    paired
        Whether the site has a left and a right, and so a laterality.
    view_position
        View Position of the right side (DICOM PS3.3 C.8.11.5.1.1).
    bowel_mm
        x0, y0, x1, y1 of the box that holds gas, different in every patient; None: no bowel.
    limb
        Whether a cast goes around the site.
    """

    image_mm: tuple[float, float]
    spacing_mm: float
    region_mm: tuple[float, float, float, float]
    bones: tuple[Bone, ...]
    tissues: tuple[Tissue, ...]
    view_position: str
    paired: bool = True
    bowel_mm: tuple[float, float, float, float] | None = None
    limb: bool = False

    def bone(self, name: str) -> Bone:
        """Return the bone of that name."""
        return next(bone for bone in self.bones if bone.name == name)


def curve(points: Sequence[Xy], steps: int = 6) -> Points:
    """Return a closed uniform Catmull-Rom curve through `points`, (steps * n, 2) float32."""
    p1 = np.asarray(points, np.float32)
    p0, p2, p3 = np.roll(p1, 1, 0), np.roll(p1, -1, 0), np.roll(p1, -2, 0)
    t = (np.arange(steps, dtype=np.float32) / steps)[None, :, None]
    a, b, c, d = (p[:, None, :] for p in (p0, p1, p2, p3))
    xy = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.asarray(xy.reshape(-1, 2), np.float32)


def ellipse(x: float, y: float, rx: float, ry: float, tilt_deg: float = 0.0) -> Points:
    """Return an ellipse about (x, y); `tilt_deg` turns it clockwise on the screen."""
    a = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    tilt = np.deg2rad(tilt_deg)
    u, v = rx * np.cos(a), ry * np.sin(a)
    xy = np.stack([x + u * np.cos(tilt) - v * np.sin(tilt), y + u * np.sin(tilt) + v * np.cos(tilt)], 1)
    return np.asarray(xy, np.float32)


def tube(stations: Sequence[tuple[float, float, float]]) -> Points:
    """Return the outline of a tapered tube along `stations` of (x, y, half width), with round ends."""
    s = np.asarray(stations, np.float32)
    along = np.gradient(s[:, :2], axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    across = np.stack([-along[:, 1], along[:, 0]], 1) * s[:, 2:]
    cap_start = s[:1, :2] - along[:1] * s[:1, 2:] * 0.45
    cap_end = s[-1:, :2] + along[-1:] * s[-1:, 2:] * 0.45
    ring = np.concatenate([cap_start, s[:, :2] + across, cap_end, (s[:, :2] - across)[::-1]])
    return curve([(float(x), float(y)) for x, y in ring])


def mirror(outline: Points) -> Points:
    """Return the outline mirrored at the midline x = 0."""
    return np.asarray(outline * np.array([-1, 1], np.float32), np.float32)


def mirror_bone(bone: Bone) -> Bone:
    """Return the left bone of a pair on the same image, given the right one."""
    (x0, y0), (x1, y1) = bone.shaft
    return Bone(
        name=f"left {bone.name}",
        outline=mirror(bone.outline),
        radius_mm=bone.radius_mm,
        shaft=((-x0, y0), (-x1, y1)),
        cortex_mm=bone.cortex_mm,
        breaks=bone.breaks,
        density=bone.density,
        holes=tuple(mirror(h) for h in bone.holes),
    )
