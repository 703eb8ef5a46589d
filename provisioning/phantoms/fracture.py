"""Fracture of one bone: a thin, dark, jagged line across the cortex, sometimes with a step.

The line is known before it is drawn, so the label is exact: its box encloses the pixels that the line darkens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from .anatomy import Anatomy, Bone, Points
from .attenuation import Field
from .pose import Pose

Line = NDArray[np.float64]

OBLIQUITY_DEG = 38.0
"""Largest angle between the line and the normal of the shaft."""

COMPLETE = 0.7
"""Share of fractures that go through both cortices."""

LENGTH = (0.10, 0.42)
"""Shortest and longest line, in shorter sides of the region."""

STEP_OFF = 0.55
"""Share of complete fractures with a step."""

STEP_REACH = 0.045
"""Distance, as a share of the region's shorter side, over which a step fades; it is gone at three times as much."""

CROP_PX = 256
"""Side of the region as the classifier sees it; the line is made wide enough to survive the resampling."""

WIDTH_PX = (1.2, 2.2)
"""Least and largest width of the line in that crop."""

DARKNESS = (0.6, 0.9)
"""Least and largest share of the bone's attenuation that the gap takes away."""

PLAIN_BONES = ("radius", "femur", "tibia", "humerus")
"""Bones of a plain fracture: wide ones, so that the line is long."""

PLAIN_WIDTH_PX = (1.8, 2.2)
"""Least and largest width of the line of a plain fracture, in that crop."""

PLAIN_DARKNESS = (0.8, 0.9)
"""Least and largest share of the bone's attenuation that the gap of a plain fracture takes away."""

INSET = 0.1
"""Least distance of a place from the region's edge, as a share of its shorter side, for every pose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Place where a skeleton breaks, in every view: a bone's name and a share of its shaft's length."""

    bone: str
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fracture:
    """Line of a fracture in one view, chosen before the bone is rendered.

    Attributes
    ----------
    bone
        Bone that breaks.
    centre_px
        (2,) float64, px of the image.
    direction
        (2,) unit vector of the line.
    jags
        (33,) float64, distances from a straight line in widths of the line; 0 at both ends.
    region
        x0, y0, x1, y1 of the site, px of the image; the line ends at its border.
    """

    bone: Bone
    centre_px: Line
    direction: Line
    jags: Line
    width_px: float
    darkness: float
    complete: bool
    share: float
    step_px: float
    longest_px: float
    reach_px: float
    region: tuple[int, int, int, int]


def choose_place(views: Sequence[Anatomy], rng: np.random.Generator, *, plain: bool = False) -> Place:
    """Choose a place that lies on bone and well within the region in every view.

    Parameters
    ----------
    plain
        Whether the bone is one of `PLAIN_BONES`, if the site has any.
    """
    candidates = [bone for bone in views[0].bones if bone.breaks is not None]
    if plain:
        candidates = [bone for bone in candidates if bone.name in PLAIN_BONES] or candidates
    weights = np.sqrt([np.ptp(bone.outline[:, 0]) * np.ptp(bone.outline[:, 1]) for bone in candidates])
    while True:
        bone = candidates[int(rng.choice(len(candidates), p=weights / weights.sum()))]
        assert bone.breaks is not None
        chosen = Place(bone=bone.name, share=float(rng.uniform(*bone.breaks)))
        if all(is_visible(chosen, view) for view in views):
            return chosen


def is_visible(chosen: Place, view: Anatomy) -> bool:
    """Return whether the place lies on bone and well within the region in that view."""
    bone = view.bone(chosen.bone)
    x0, y0, x1, y1 = view.region_mm
    x, y = bone.at(chosen.share)
    inset = INSET * min(x1 - x0, y1 - y0)
    within = x0 + inset < x < x1 - inset and y0 + inset < y < y1 - inset
    return bool(within and _inside(bone.outline, x, y) and not any(_inside(hole, x, y) for hole in bone.holes))


def _inside(outline: Points, x: float, y: float) -> bool:
    """Return whether the point lies inside: whether a ray to the right crosses the outline an odd number of times."""
    (ax, ay), (bx, by) = outline.T, np.roll(outline, -1, 0).T
    rows = np.flatnonzero((ay > y) != (by > y))
    return bool((ax[rows] + (y - ay[rows]) * (bx - ax)[rows] / (by - ay)[rows] > x).sum() % 2)


def plan_fracture(
    bone: Bone,
    share: float,
    pose: Pose,
    region: tuple[int, int, int, int],
    rng: np.random.Generator,
    *,
    plain: bool = False,
) -> Fracture:
    """Choose a line through the place at that share of a bone's shaft, for one view.

    Parameters
    ----------
    plain
        Whether the line is wide and dark, goes through both cortices and has a step.
    """
    sides_px = (region[2] - region[0], region[3] - region[1])
    region_px, crop_px = min(sides_px), max(sides_px)  # the crop that the classifier sees fits the longer side
    ends = pose.pixels_from_mm(np.asarray([bone.at(share), *bone.shaft], np.float32)).astype(np.float64)
    centre = ends[0]
    along = ends[2] - ends[1]
    across = np.arctan2(along[0], -along[1]) + np.deg2rad(rng.uniform(-OBLIQUITY_DEG, OBLIQUITY_DEG))
    if rng.random() < 0.5:
        across += np.pi
    complete = bool(rng.random() < COMPLETE) or plain
    width_px = float(rng.uniform(*(PLAIN_WIDTH_PX if plain else WIDTH_PX))) * crop_px / CROP_PX
    stepped = (complete and bool(rng.random() < STEP_OFF)) or plain
    return Fracture(
        bone=bone,
        centre_px=centre,
        direction=np.array([np.cos(across), np.sin(across)]),
        jags=_jagged(rng),
        width_px=width_px,
        darkness=float(rng.uniform(*(PLAIN_DARKNESS if plain else DARKNESS))),
        complete=complete,
        share=float(rng.uniform(0.6, 0.9)),
        step_px=float(rng.uniform(0.8, 1.8)) * width_px * (1 if rng.random() < 0.5 else -1) if stepped else 0.0,
        longest_px=LENGTH[1] * region_px,
        region=region,
        reach_px=STEP_REACH * region_px,
    )


def break_bone(bone: Field, fracture: Fracture) -> tuple[Field, tuple[int, int, int, int] | None]:
    """Draw a fracture into a bone's attenuation.

    Parameters
    ----------
    bone
        (H, W) float32: this bone alone, on the whole image; not written to.

    Returns
    -------
    The fractured bone and the tight box of the line; the box is None if the line misses the bone.
    """
    line = _line(bone, fracture)
    if line is None:
        return bone, None
    height, width = bone.shape
    pad = int(3 * fracture.reach_px) + 4
    low = np.maximum(np.floor(line.min(0)).astype(int) - pad, 0)
    high = np.minimum(np.ceil(line.max(0)).astype(int) + pad, [width, height])
    (x0, y0), (x1, y1) = low, high
    patch = bone[y0:y1, x0:x1]
    gap = _gap(line - low, fracture.width_px, patch.shape)
    truth = (gap > 0.3) & (patch > 0.1 * patch.max())
    if truth.sum() < 12:
        return bone, None
    rows, columns = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    box = (int(x0 + columns[0]), int(y0 + rows[0]), int(x0 + columns[-1] + 1), int(y0 + rows[-1] + 1))
    if fracture.step_px:
        patch = _stepped(patch, line - low, fracture)
    out = bone.copy()
    out[y0:y1, x0:x1] = patch * (1 - np.float32(fracture.darkness) * gap)
    return out, box


def _jagged(rng: np.random.Generator) -> Line:
    """Return 33 offsets in widths of the line, 0 at both ends, by midpoint displacement."""
    offsets = np.zeros(33)
    gap, size = 32, 2.2
    while gap > 1:
        middles = np.arange(gap // 2, 32, gap)
        between = (offsets[middles - gap // 2] + offsets[middles + gap // 2]) / 2
        offsets[middles] = between + rng.normal(0, size, middles.size)
        gap, size = gap // 2, size * 0.58
    return offsets


def _line(bone: Field, fracture: Fracture) -> Line | None:
    """Return (33, 2) points of the line, from cortex to cortex, or from one cortex into the bone."""
    back, ahead = (_distance_to_edge(bone, fracture, sign) for sign in (-1, 1))
    if back is None or ahead is None:
        return None
    start, stop = -back, ahead
    if not fracture.complete:
        stop = start + fracture.share * (stop - start)
    excess = (stop - start) - fracture.longest_px
    if excess > 0:
        stop -= excess
    t = np.linspace(start, stop, 33)[:, None]
    normal = np.array([-fracture.direction[1], fracture.direction[0]])
    taper = np.minimum(1.0, (stop - start) / (14 * fracture.width_px))
    stray = fracture.jags[:, None] * fracture.width_px * taper
    return np.asarray(fracture.centre_px + t * fracture.direction + stray * normal)


def _distance_to_edge(bone: Field, fracture: Fracture, sign: int) -> float | None:
    """Return the distance along the line from its centre to the edge of the bone or region; None if not in bone."""
    distances = np.arange(0, fracture.longest_px * 1.6, 1.0)
    at = fracture.centre_px + distances[:, None] * fracture.direction * sign
    height, width = bone.shape
    stray = 3 * fracture.width_px
    low, high = np.array(fracture.region[:2]) + stray, np.array(fracture.region[2:]) - stray
    on_image = ((at >= low) & (at < high)).all(1)
    x = np.clip(at[:, 0], 0, width - 1).astype(int)
    y = np.clip(at[:, 1], 0, height - 1).astype(int)
    inside = on_image & (bone[y, x] > 1e-3)
    if not inside[0]:
        return None
    outside = np.flatnonzero(~inside)
    return float(distances[outside[0]] if outside.size else distances[-1])


def _gap(line: Line, width_px: float, shape: tuple[int, ...]) -> Field:
    """Return (h, w) float32 in 0..1: the line, which is wider where it enters the bone."""
    fine = 2
    canvas = Image.new("L", (shape[1] * fine, shape[0] * fine))
    draw = ImageDraw.Draw(canvas)
    points = [(float(x) * fine, float(y) * fine) for x, y in line]
    widths = np.interp(np.arange(32), [0, 8, 31], [1.25, 1.0, 0.8]) * width_px * fine
    for start, stop, width in zip(points, points[1:], widths, strict=False):
        draw.line([start, stop], fill=255, width=max(2, round(width)))
        r = width / 2 - 0.5
        draw.ellipse([stop[0] - r, stop[1] - r, stop[0] + r, stop[1] + r], fill=255)
    soft = canvas.filter(ImageFilter.GaussianBlur(0.25 * width_px * fine)).reduce(fine)
    return np.asarray(np.asarray(soft, np.float32) / 255, np.float32)


def _stepped(patch: Field, line: Line, fracture: Fracture) -> Field:
    """Return `patch` with the bone beyond the line slid along it; the slide fades with the distance from the line."""
    h, w = patch.shape
    normal = np.array([-fracture.direction[1], fracture.direction[0]])
    x, y = np.meshgrid(np.arange(w, dtype=np.float32) + 0.5, np.arange(h, dtype=np.float32) + 0.5)
    beyond = (x - line[0, 0]) * normal[0] + (y - line[0, 1]) * normal[1]
    slide = np.where(beyond > 0, fracture.step_px * np.exp(-((beyond / fracture.reach_px) ** 2)), 0.0)
    at = (y - 0.5 - slide * fracture.direction[1], x - 0.5 - slide * fracture.direction[0])
    return np.asarray(ndimage.map_coordinates(patch, at, order=1, mode="nearest"), np.float32)
