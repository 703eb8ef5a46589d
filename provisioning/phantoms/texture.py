"""Texture of healthy radiographs that a reader must not take for a fracture.

Trabeculae, vessels, nutrient canals, gas in the bowel.
"""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage

from .anatomy import Bone, Tissue
from .anatomy.shapes import ellipse
from .attenuation import MARGIN_PX, STEP_PX, Field, Layer, enlarge, grid_shape
from .pose import Pose

TRABECULAR_PX = (0.8, 3.2)
"""Grid pixels across and along the fibres, which follow the long axis of the image."""

MOTTLE = 0.018
"""Relative standard deviation of soft tissue's attenuation, for each of two grains."""


def trabeculae(pose: Pose, rng: np.random.Generator) -> Field:
    """Draw the relative texture of spongy bone over the grid and its margin: float32, mean 0, deviation 0.16."""
    h, w = (side + 2 * MARGIN_PX + 2 for side in grid_shape(pose))
    tile = rng.standard_normal((256, 256), np.float32)
    across, along = TRABECULAR_PX
    fibres = ndimage.gaussian_filter(tile, (along, across), mode="wrap")
    struts = ndimage.gaussian_filter(tile[::-1, ::-1], (across, along), mode="wrap")
    clouds = ndimage.gaussian_filter(tile, 9, mode="wrap")
    field = fibres / fibres.std() + 0.6 * struts / struts.std() + 0.7 * clouds / clouds.std()
    field *= np.float32(0.16) / field.std()
    return np.asarray(np.tile(field, (-(-h // 256), -(-w // 256)))[:h, :w], np.float32)


def mottle(pose: Pose, rng: np.random.Generator) -> Field:
    """Draw muscle bellies and the fat between them: a factor of soft tissue, (h, w) float32 about 1."""
    h, w = (-(-side // 8) for side in grid_shape(pose))
    fine, coarse = (
        ndimage.gaussian_filter(rng.standard_normal((h, w), np.float32), spread) for spread in ((3, 1.2), (12, 6))
    )
    factor = 1 + np.float32(MOTTLE) * (fine / fine.std() + coarse / coarse.std())
    return enlarge(np.asarray(factor, np.float32), 8)[: grid_shape(pose)[0], : grid_shape(pose)[1]]


def vessels(pose: Pose, rng: np.random.Generator) -> Field:
    """Draw faint smooth lines across soft tissue and bone: (h, w) float32 attenuation on the grid."""
    h, w = grid_shape(pose)
    canvas = Image.new("L", (w, h))
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(4, 9))):
        at = rng.uniform((0, 0), (w, h))
        heading = rng.uniform(0, 2 * np.pi)
        points = [(float(at[0]), float(at[1]))]
        for turn in np.cumsum(rng.normal(0, 0.09, 40)):
            at = at + np.array([np.cos(heading + turn), np.sin(heading + turn)]) * w / 45
            points.append((float(at[0]), float(at[1])))
        draw.line(points, fill=int(rng.integers(90, 256)), width=int(rng.integers(1, 4)))
    return np.asarray(canvas.filter(ImageFilter.GaussianBlur(1.2)), np.float32) * np.float32(0.032 / 255)


def carve_nutrient_canal(layer: Layer, bone: Bone, pose: Pose, rng: np.random.Generator) -> Layer:
    """Return the layer with one short, smooth, slightly dark canal along the shaft; a fracture runs across it."""
    ends = pose.pixels_from_mm(np.asarray(bone.shaft, np.float32)) / STEP_PX
    along = ends[1] - ends[0]
    offset = np.array([-along[1], along[0]]) * rng.uniform(-0.06, 0.06)
    start = ends[0] + along * rng.uniform(0.35, 0.7) + offset - (layer.x0 / STEP_PX, layer.y0 / STEP_PX)
    stop = start + along * rng.uniform(0.12, 0.25) + offset * rng.uniform(-1, 1)
    h, w = layer.attenuation.shape
    canvas = Image.new("L", (w, h))
    ImageDraw.Draw(canvas).line([*map(float, start), *map(float, stop)], fill=255, width=2)
    canal = np.asarray(canvas.filter(ImageFilter.GaussianBlur(1.0)), np.float32) / 255
    left = 1 - np.float32(rng.uniform(0.15, 0.3)) * canal
    return Layer(layer.x0, layer.y0, np.asarray(layer.attenuation * left, np.float32))


def bowel_gas(box_mm: tuple[float, float, float, float], rng: np.random.Generator) -> tuple[Tissue, ...]:
    """Draw bubbles of gas in a box."""
    x0, y0, x1, y1 = box_mm
    bubbles = []
    for _ in range(int(rng.integers(3, 14))):
        across, along = rng.uniform(4, 17, 2)
        outline = ellipse(rng.uniform(x0, x1), rng.uniform(y0, y1), across, along, rng.uniform(0, 90))
        bubbles.append(Tissue(outline=outline, radius_mm=float(across), density=-float(rng.uniform(0.25, 0.6))))
    return tuple(bubbles)
