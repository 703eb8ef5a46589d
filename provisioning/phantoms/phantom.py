"""A phantom radiograph: one site, one patient, one exposure, broken or whole, and the truth about it.

The patient, the exposure and the noise are drawn from the site and the seed alone, and the fracture has a stream of
random numbers of its own. So the broken and the whole phantom of one seed are a pair: one film, but for the fracture.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from appliance.domain.radiograph import Window

from .anatomy import ANATOMIES, Anatomy
from .exposure import stored_values
from .fracture import broken, plan
from .pose import Pose, pose
from .rendering import STEP_PX, Field, Layer, bone_layer, enlarged, paste, tissue_field
from .texture import carve_nutrient_canal, trabeculae, vessels

PixelBox = tuple[int, int, int, int]

LEFT_VIEWS = {"RL": "LL"}
"""View Position of the mirror image (DICOM PS3.3 C.8.11.5.1.1); frontal views keep theirs."""

TRIES = 20
"""A planned line that misses its bone, or leaves the region, is planned again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """A radiograph of nobody.

    Attributes
    ----------
    pixels
        (H, W) uint16, read-only; inverted where `invert` is set.
    window
        Over the pixels.
    invert
        The smallest value is white (MONOCHROME1).
    region
        x0, y0, x1, y1 of the site, px.
    fracture
        The same of the fracture's line, tight; None for a whole bone.
    spacing_mm
        Side of a detector pixel.
    """

    site: str
    seed: int
    pixels: NDArray[np.uint16] = field(repr=False)
    bits_stored: int
    window: Window
    invert: bool
    region: PixelBox
    fracture: PixelBox | None
    laterality: str
    view_position: str
    spacing_mm: float


def phantom(site: str, seed: int, fracture: bool) -> Phantom:
    """The phantom of that site and seed: the same arguments, the same pixels.

    Raises
    ------
    ValueError
        For a site that is not one of the six, or a negative seed.
    """
    if site not in ANATOMIES:
        raise ValueError(f"no phantom of {site!r}: the sites are {', '.join(ANATOMIES)}")
    if seed < 0:
        raise ValueError(f"a phantom's seed is 0 or more, not {seed}")
    anatomy = ANATOMIES[site]
    rng, breaking = (np.random.default_rng((zlib.crc32(site.encode()), seed, stream)) for stream in range(2))
    left = anatomy.paired and bool(rng.random() < 0.5)
    laid = pose(anatomy, rng, left=left)
    region = laid.box_from_mm(anatomy.region_mm)
    texture = trabeculae(laid, rng)
    layers = {}
    for bone in anatomy.bones:
        layer = bone_layer(bone, laid, texture)
        if layer is not None:
            layers[bone.name] = carve_nutrient_canal(layer, bone, laid, rng) if bone.breaks else layer

    grid = tissue_field(anatomy.tissues, laid) + vessels(laid, rng)
    for layer in layers.values():
        paste(grid, layer.x0 // STEP_PX, layer.y0 // STEP_PX, layer.attenuation)
    whole = enlarged(grid)[: laid.height_px, : laid.width_px]
    change, break_box = _break(anatomy, laid, region, layers, breaking) if fracture else (None, None)

    letter = ("L" if left else "R") if anatomy.paired else ""
    bits = 14 if rng.random() < 0.5 else 12
    pixels, center, width = stored_values(whole, change, letter, bits, rng)
    invert = bool(rng.random() < 1 / 3)
    if invert:
        top = 2**bits - 1
        pixels, center = (top - pixels).astype(np.uint16), top - center
    pixels.setflags(write=False)
    return Phantom(
        site=site,
        seed=seed,
        pixels=pixels,
        bits_stored=bits,
        window=Window(center=center, width=width),
        invert=invert,
        region=region,
        fracture=break_box,
        laterality=letter,
        view_position=LEFT_VIEWS.get(anatomy.view_position, anatomy.view_position) if left else anatomy.view_position,
        spacing_mm=laid.spacing_mm,
    )


def _break(
    anatomy: Anatomy, laid: Pose, region: PixelBox, layers: dict[str, Layer], rng: np.random.Generator
) -> tuple[Field, PixelBox]:
    """What a fracture adds to the attenuation, (H, W) float32, 0 far from the line; and the line's box."""
    for _ in range(TRIES):
        planned = plan(anatomy, laid, region, rng)
        if planned.bone.name in layers:
            alone = _on_film(layers[planned.bone.name], laid.height_px, laid.width_px)
            after, box = broken(alone, planned)
            if box is not None and _within(box, region):
                return after - alone, box
    raise AssertionError(f"no place to break was found in {TRIES} tries")


def _within(box: PixelBox, region: PixelBox) -> bool:
    return region[0] <= box[0] and region[1] <= box[1] and box[2] <= region[2] and box[3] <= region[3]


def _on_film(layer: Layer, height: int, width: int) -> Field:
    """One bone alone at the received resolution, (H, W) float32."""
    grid = np.zeros((-(-height // STEP_PX), -(-width // STEP_PX)), np.float32)
    paste(grid, layer.x0 // STEP_PX, layer.y0 // STEP_PX, layer.attenuation)
    return np.asarray(enlarged(grid)[:height, :width], np.float32)
