"""A phantom radiograph: one site, one patient, one exposure, broken or whole, and the truth about it.

Random numbers come in streams of their own. The patient, what the patient carries and the place of a fracture are
drawn from the site and the seed, the exposure from the view as well. So the broken and the whole phantom of one seed
are a pair, one film but for the fracture; and the views of one seed are one study, one skeleton broken at one place.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from appliance.domain.radiograph import Window

from .anatomy import ANATOMIES, Bone
from .attenuation import STEP_PX, Field, Layer, bone_layer, enlarged, paste, tissue_field
from .cast import PREVALENCE as CAST_PREVALENCE
from .cast import shell
from .exposure import stored_values
from .fracture import broken, place, plan
from .hardware import hardware, metal
from .patient import patient
from .pose import Pose, pose
from .texture import bowel_gas, carve_nutrient_canal, mottle, trabeculae, vessels

PixelBox = tuple[int, int, int, int]

LEFT_VIEWS = {"RL": "LL"}
"""View Position of the mirror image (DICOM PS3.3 C.8.11.5.1.1); frontal views keep theirs."""

VIEWS = {site: len(views) for site, views in ANATOMIES.items()}
"""How many views there are of each site."""

TRIES = 20
"""A planned line that is too short to be seen is planned again."""


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
    hardware, cast
        Whether the patient carries metal, or plaster.
    spacing_mm
        Side of a detector pixel.
    """

    site: str
    seed: int
    view: int
    pixels: NDArray[np.uint16] = field(repr=False)
    bits_stored: int
    window: Window
    invert: bool
    region: PixelBox
    fracture: PixelBox | None
    hardware: bool
    cast: bool
    age_years: int
    laterality: str
    view_position: str
    spacing_mm: float


def phantom(site: str, seed: int, fracture: bool, view: int = 0) -> Phantom:
    """The phantom of that site and seed: the same arguments, the same pixels.

    Raises
    ------
    ValueError
        For a site that is not one of the six, a negative seed, or a view that the site has not.
    """
    if site not in ANATOMIES:
        raise ValueError(f"no phantom of {site!r}: the sites are {', '.join(ANATOMIES)}")
    if seed < 0:
        raise ValueError(f"a phantom's seed is 0 or more, not {seed}")
    views = ANATOMIES[site]
    if not 0 <= view < len(views):
        raise ValueError(f"the {site} has {len(views)} views: there is no view {view}")
    who, breaking, rng, line = (np.random.default_rng((zlib.crc32(site.encode()), seed, *s)) for s in _streams(view))
    person = patient(views[0], who)
    where = place(views, breaking)
    carried = hardware(views, where, who)
    cast = views[0].limb and bool(who.random() < CAST_PREVALENCE)

    anatomy = person.on(views[view])
    laid = pose(anatomy, rng, left=person.left, size=person.size)
    region = laid.box_from_mm(anatomy.region_mm)
    texture = trabeculae(laid, rng)
    layers = {}
    for bone in anatomy.bones:
        layer = bone_layer(bone, laid, texture)
        if layer is not None:
            layers[bone.name] = carve_nutrient_canal(layer, bone, laid, rng) if bone.breaks else layer
    gas = bowel_gas(anatomy.bowel_mm, rng) if anatomy.bowel_mm else ()
    grid = tissue_field(anatomy.tissues + gas, laid) * mottle(laid, rng) + vessels(laid, rng)
    if cast:
        grid += shell(anatomy.tissues[0], laid, rng)
    for layer in layers.values():
        paste(grid, layer.x0 // STEP_PX, layer.y0 // STEP_PX, layer.attenuation)
    whole = enlarged(grid)[: laid.height_px, : laid.width_px]

    added, break_box = None, None
    if fracture:
        alone = _on_film(layers[where.bone], laid.height_px, laid.width_px)
        added, break_box = _break(anatomy.bone(where.bone), where.share, alone, laid, region, line)
    if carried is not None:
        steel = metal(carried, anatomy.bone(carried.bone), view, laid)
        added = steel if added is None else added + steel

    side = ("L" if person.left else "R") if anatomy.paired else ""
    bits = 14 if rng.random() < 0.5 else 12
    pixels, center, width = stored_values(whole, added, side or "R", not side, region, bits, rng)
    invert = bool(rng.random() < 1 / 3)
    if invert:
        top = 2**bits - 1
        pixels, center = (top - pixels).astype(np.uint16), top - center
    pixels.setflags(write=False)
    position = anatomy.view_position
    return Phantom(
        site=site,
        seed=seed,
        view=view,
        pixels=pixels,
        bits_stored=bits,
        window=Window(center=center, width=width),
        invert=invert,
        region=region,
        fracture=break_box,
        hardware=carried is not None,
        cast=cast,
        age_years=person.age_years,
        laterality=side,
        view_position=LEFT_VIEWS.get(position, position) if person.left else position,
        spacing_mm=laid.spacing_mm,
    )


def _streams(view: int) -> tuple[tuple[int, ...], ...]:
    """Of the patient, of a fracture's place, of the exposure, of a fracture's line; the first two for all views."""
    return (0,), (1,), (2, view), (3, view)


def _break(
    bone: Bone, share: float, alone: Field, laid: Pose, region: PixelBox, rng: np.random.Generator
) -> tuple[Field, PixelBox]:
    """What a fracture adds to the attenuation, (H, W) float32, 0 far from the line; and the line's box."""
    for _ in range(TRIES):
        after, box = broken(alone, plan(bone, share, laid, region, rng))
        if box is not None and _within(box, region):
            return after - alone, box
    raise AssertionError(f"no line through the {bone.name} was found in {TRIES} tries")


def _within(box: PixelBox, region: PixelBox) -> bool:
    return region[0] <= box[0] and region[1] <= box[1] and box[2] <= region[2] and box[3] <= region[3]


def _on_film(layer: Layer, height: int, width: int) -> Field:
    """One bone alone at the received resolution, (H, W) float32."""
    grid = np.zeros((-(-height // STEP_PX), -(-width // STEP_PX)), np.float32)
    paste(grid, layer.x0 // STEP_PX, layer.y0 // STEP_PX, layer.attenuation)
    return np.asarray(enlarged(grid)[:height, :width], np.float32)
