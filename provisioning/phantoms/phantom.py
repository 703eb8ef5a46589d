"""A phantom radiograph: one site, one patient, one exposure, fractured or whole, with its labels.

Random numbers come in separate streams. The patient, the metal or cast and the place of a fracture are drawn from the
site and the seed; the exposure from the view as well. So the fractured and the whole phantom of one seed differ in
nothing but the fracture, and the views of one seed are one study: one skeleton broken at one place.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from appliance.domain.radiograph import Window

from .anatomy import ANATOMIES, Anatomy, Bone
from .attenuation import STEP_PX, Field, Layer, bone_layer, enlarge, paste, tissue_field
from .cast import PREVALENCE as CAST_PREVALENCE
from .cast import render_cast
from .exposure import stored_values
from .fracture import break_bone, choose_place, plan_fracture
from .hardware import choose_hardware, render_hardware
from .patient import AGE_YEARS, GROWN_YEARS, Patient, draw_patient
from .pose import Pose, draw_pose
from .texture import bowel_gas, carve_nutrient_canal, mottle, trabeculae, vessels

PixelBox = tuple[int, int, int, int]
"""x0, y0, x1, y1, px."""

LEFT_VIEWS = {"RL": "LL"}
"""View Position of the right side -> that of the left (DICOM PS3.3 C.8.11.5.1.1); frontal views keep theirs."""

VIEWS = {site: len(views) for site, views in ANATOMIES.items()}
"""Number of views of each site."""

TRIES = 20
"""Attempts to plan a line; one that is too short to be seen is planned again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phantom:
    """A drawn radiograph and its labels.

    Attributes
    ----------
    pixels
        (H, W) uint16, read-only; inverted where `invert` is set.
    window
        Window that suits the pixels.
    invert
        Whether the smallest value is white (MONOCHROME1).
    region
        Box of the site.
    fracture
        Tight box of the fracture's line; None for a whole bone.
    hardware, cast
        Whether the patient carries metal, or a cast.
    laterality
        ``"L"``, ``"R"``, or empty for an unpaired site.
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


def phantom(site: str, seed: int, fracture: bool, view: int = 0, *, plain: bool = False) -> Phantom:
    """Draw the phantom of a site and seed; the same arguments give the same pixels.

    Parameters
    ----------
    plain
        Draw a case that no reader should miss: an adult without metal or cast, and a fracture through a wide bone with
        a step and a wide gap.

    Raises
    ------
    ValueError
        If the site is not one of the six, the seed is negative, or the site has no such view.
    """
    if site not in ANATOMIES:
        raise ValueError(f"no phantom of {site!r}: the sites are {', '.join(ANATOMIES)}")
    if seed < 0:
        raise ValueError(f"a phantom's seed is 0 or more, not {seed}")
    views = ANATOMIES[site]
    if not 0 <= view < len(views):
        raise ValueError(f"the {site} has {len(views)} views: there is no view {view}")
    patient_rng, place_rng, rng, line_rng = (
        np.random.default_rng((zlib.crc32(site.encode()), seed, *stream)) for stream in _streams(view)
    )
    patient = draw_patient(views[0], patient_rng, youngest=GROWN_YEARS if plain else AGE_YEARS[0])
    place = choose_place(views, place_rng, plain=plain)
    metal = None if plain else choose_hardware(views, place, patient_rng)
    cast = not plain and views[0].limb and bool(patient_rng.random() < CAST_PREVALENCE)

    anatomy = patient.shape(views[view])
    pose = draw_pose(anatomy, rng, left=patient.left, size=patient.size)
    region = pose.box_from_mm(anatomy.region_mm)
    texture = trabeculae(pose, rng)
    layers = {}
    for bone in anatomy.bones:
        layer = bone_layer(bone, pose, texture)
        if layer is not None:
            layers[bone.name] = carve_nutrient_canal(layer, bone, pose, rng) if bone.breaks else layer
    gas = bowel_gas(anatomy.bowel_mm, rng) if anatomy.bowel_mm else ()
    grid = tissue_field(anatomy.tissues + gas, pose) * mottle(pose, rng) + vessels(pose, rng)
    if cast:
        grid += render_cast(anatomy.tissues[0], pose, rng)
    for layer in layers.values():
        paste(grid, layer.x0 // STEP_PX, layer.y0 // STEP_PX, layer.attenuation)
    whole = enlarge(grid)[: pose.height_px, : pose.width_px]

    added, break_box = None, None
    if fracture:
        alone = _bone_alone(layers[place.bone], pose.height_px, pose.width_px)
        bone = anatomy.bone(place.bone)
        added, break_box = _render_fracture(bone, place.share, alone, pose, region, line_rng, plain=plain)
    if metal is not None:
        steel = render_hardware(metal, anatomy.bone(metal.bone), view, pose)
        added = steel if added is None else added + steel

    laterality = _laterality(anatomy, patient)
    bits = 14 if rng.random() < 0.5 else 12
    pixels, center, width = stored_values(whole, added, laterality or "R", not laterality, region, bits, rng)
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
        hardware=metal is not None,
        cast=cast,
        age_years=patient.age_years,
        laterality=laterality,
        view_position=LEFT_VIEWS.get(position, position) if patient.left else position,
        spacing_mm=pose.spacing_mm,
    )


def _streams(view: int) -> tuple[tuple[int, ...], ...]:
    """Return the keys of the random streams: patient, place of the fracture, exposure, line of the fracture.

    The first two are the same for all views.
    """
    return (0,), (1,), (2, view), (3, view)


def _laterality(anatomy: Anatomy, patient: Patient) -> str:
    if not anatomy.paired:
        return ""
    return "L" if patient.left else "R"


def _render_fracture(
    bone: Bone, share: float, alone: Field, pose: Pose, region: PixelBox, rng: np.random.Generator, *, plain: bool
) -> tuple[Field, PixelBox]:
    """Return the attenuation that a fracture adds, (H, W) float32, 0 far from the line; and the line's box."""
    for _ in range(TRIES):
        after, box = break_bone(alone, plan_fracture(bone, share, pose, region, rng, plain=plain))
        if box is not None and _within(box, region):
            return after - alone, box
    raise AssertionError(f"no line through the {bone.name} was found in {TRIES} attempts")


def _within(box: PixelBox, region: PixelBox) -> bool:
    return region[0] <= box[0] and region[1] <= box[1] and box[2] <= region[2] and box[3] <= region[3]


def _bone_alone(layer: Layer, height: int, width: int) -> Field:
    """Return one bone alone at the image's resolution, (H, W) float32."""
    grid = np.zeros((-(-height // STEP_PX), -(-width // STEP_PX)), np.float32)
    paste(grid, layer.x0 // STEP_PX, layer.y0 // STEP_PX, layer.attenuation)
    return np.asarray(enlarge(grid)[:height, :width], np.float32)
