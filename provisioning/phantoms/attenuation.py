"""From outlines to attenuation along the beam.

A bone is a tube seen from the side: at depth d behind its outline the beam crosses 2 sqrt(r^2 - (r - d)^2) of it. So
the cortex, the outer tube without the inner one, is brightest just inside the outline. Everything is computed on a grid
of half the resolution and enlarged once; the depth is exact to a fraction of a pixel because it starts from the covered
share of each border pixel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from .anatomy import Bone, Points, Tissue
from .pose import Pose

Field = NDArray[np.float32]

STEP_PX = 2
"""Image pixels per grid pixel."""

OVERSAMPLING = 4
"""Canvas pixels per grid pixel where the coverage by an outline is drawn."""

MARGIN_PX = 24
"""Grid pixels beyond the image, so that its edge is no edge of a bone."""

CORTEX_PER_MM = 0.034
"""Attenuation of cortical bone beyond that of soft tissue."""

SPONGIOSA_PER_MM = 0.0075
"""Attenuation of spongy bone beyond that of soft tissue."""

TISSUE_PER_MM = 0.0085
"""Attenuation of muscle."""

FAT_MM = 4.5
"""Thickness of the fat under the skin."""

FAT_LESS = 0.16
"""Share by which fat attenuates less than muscle."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Attenuation of one body on its own window of the image.

    Attributes
    ----------
    x0, y0
        Image pixel of the window's corner, a multiple of `STEP_PX`; may be negative.
    attenuation
        (h, w) float32 on the grid.
    """

    x0: int
    y0: int
    attenuation: Field


def grid_shape(pose: Pose) -> tuple[int, int]:
    """Return height and width of the grid that covers the image."""
    return -(-pose.height_px // STEP_PX), -(-pose.width_px // STEP_PX)


def enlarge(field: Field, step: int = STEP_PX) -> Field:
    """Return the field with `step` times the resolution, by default that of the image."""
    h, w = field.shape
    return np.asarray(Image.fromarray(field).resize((w * step, h * step), Image.Resampling.BILINEAR), np.float32)


def bone_layer(bone: Bone, pose: Pose, trabeculae: Field) -> Layer | None:
    """Return the attenuation of one bone; None if it lies off the image.

    `trabeculae` is a relative texture, (h, w) float32 about 0, over the grid with its margin.
    """
    found = _depth(bone.outline, bone.holes, pose, STEP_PX)
    if found is None:
        return None
    gx, gy, depth = found
    h, w = depth.shape
    per_mm = pose.px_per_mm / STEP_PX
    depth = np.asarray(np.maximum(depth, 0) / np.float32(per_mm), np.float32)

    ends = pose.pixels_from_mm(np.asarray(bone.shaft, np.float32)).astype(np.float64) / STEP_PX - (gx, gy)
    along = ends[1] - ends[0]
    along /= float(along @ along)
    share = (np.arange(w, dtype=np.float32) * along[0])[None] + (np.arange(h, dtype=np.float32) * along[1])[:, None]
    hard = np.clip(share - np.float32(ends[0] @ along), 0, 1)
    cortex = bone.cortex_mm[0] + hard * np.float32(bone.cortex_mm[1] - bone.cortex_mm[0])

    outer = chord(depth, bone.radius_mm)
    inner = chord(np.maximum(depth - cortex, 0), np.maximum(bone.radius_mm - cortex, 0.3))
    inner = np.minimum(inner, outer)
    texture = trabeculae[gy + MARGIN_PX : gy + MARGIN_PX + h, gx + MARGIN_PX : gx + MARGIN_PX + w]
    shell = (outer - inner) * CORTEX_PER_MM
    core = inner * SPONGIOSA_PER_MM * (1 + texture * (1.1 - 0.8 * hard))
    attenuation = np.asarray((shell + core) * bone.density, np.float32)
    return Layer(gx * STEP_PX, gy * STEP_PX, attenuation)


def tissue_field(tissues: tuple[Tissue, ...], pose: Pose) -> Field:
    """Return the attenuation of all soft tissue and gas, (h, w) float32 on the grid."""
    step = STEP_PX * 3
    shape = (-(-pose.height_px // step), -(-pose.width_px // step))
    total = np.zeros(shape, np.float32)
    for tissue in tissues:
        found = _depth(tissue.outline, (), pose, step)
        if found is not None:
            gx, gy, depth = found
            depth = np.maximum(depth, 0) * np.float32(step / pose.px_per_mm)
            path = chord(depth, tissue.radius_mm)
            if tissue.density > 0:
                muscle = chord(np.maximum(depth - FAT_MM, 0), tissue.radius_mm)
                path = path * (1 - FAT_LESS) + muscle * FAT_LESS
            paste(total, gx, gy, np.asarray(path * (TISSUE_PER_MM * tissue.density), np.float32))
    height, width = grid_shape(pose)
    return enlarge(np.maximum(total, 0), 3)[:height, :width]


def paste(total: Field, x0: int, y0: int, part: Field) -> None:
    """Add `part` onto `total` with its corner at (x0, y0), in place, clipped."""
    h, w = part.shape
    top, left = max(y0, 0), max(x0, 0)
    bottom, right = min(y0 + h, total.shape[0]), min(x0 + w, total.shape[1])
    if top < bottom and left < right:
        total[top:bottom, left:right] += part[top - y0 : bottom - y0, left - x0 : right - x0]


def chord(depth: Field, radius: Field | float) -> Field:
    """Return the length of a beam inside a tube of that radius, at that depth behind its edge."""
    short = np.minimum(depth, radius)
    return np.asarray(2 * np.sqrt(short * (2 * radius - short)), np.float32)


def signed_depth(outline: Points, pose: Pose, step: int) -> Field:
    """Return (h, w) float32: mm behind the outline, negative outside it; a pixel is `step` grid pixels wide."""
    height, width = (-(-side // step) for side in grid_shape(pose))
    side_px = step * STEP_PX
    canvas = Image.new("L", (width, height))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in pose.pixels_from_mm(outline) / side_px], fill=1)
    inside = np.asarray(canvas, bool)
    edges = ndimage.distance_transform_edt(np.pad(inside, 1, "edge"))[1:-1, 1:-1] if inside.any() else 0 * inside
    return np.asarray((edges - ndimage.distance_transform_edt(~inside)) * (side_px / pose.px_per_mm), np.float32)


def _depth(outline: Points, holes: tuple[Points, ...], pose: Pose, step: int) -> tuple[int, int, Field] | None:
    """Return the corner of the outline's window on the grid, and the distance behind the outline in grid pixels.

    None if the outline lies off the image.
    """
    on_grid = np.asarray(pose.pixels_from_mm(outline) / step, np.float32)
    limit_x, limit_y = -(-pose.width_px // step) + MARGIN_PX, -(-pose.height_px // step) + MARGIN_PX
    x0, y0 = np.maximum(np.floor(on_grid.min(0)).astype(int) - 2, -MARGIN_PX)
    x1, y1 = np.minimum(np.ceil(on_grid.max(0)).astype(int) + 2, [limit_x, limit_y])
    if x1 <= x0 + 3 or y1 <= y0 + 3:
        return None
    canvas = Image.new("L", (int(x1 - x0) * OVERSAMPLING, int(y1 - y0) * OVERSAMPLING))
    draw = ImageDraw.Draw(canvas)
    draw.polygon(_corners(on_grid, x0, y0), fill=255)
    for hole in holes:
        draw.polygon(_corners(np.asarray(pose.pixels_from_mm(hole) / step, np.float32), x0, y0), fill=0)
    cover = np.asarray(canvas.reduce(OVERSAMPLING), np.float32) / 255
    if not cover.any():
        return None
    whole = cover >= 1
    if whole.all():
        return int(x0), int(y0), np.full(cover.shape, 1e3, np.float32)
    distance, nearest = ndimage.distance_transform_edt(whole, return_indices=True)
    return int(x0), int(y0), np.asarray(distance + cover[nearest[0], nearest[1]] - 0.5, np.float32)


def _corners(points: Points, x0: int, y0: int) -> list[tuple[float, float]]:
    at = (points - (x0, y0)) * OVERSAMPLING - 0.5
    return [(float(x), float(y)) for x, y in at]
