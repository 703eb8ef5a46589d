"""A patient: age, build and proportions, the same in every view of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .anatomy import Anatomy, Bone, Points, Tissue

AGE_YEARS = (8, 92)
"""Youngest and oldest patient."""

GROWN_YEARS = 18
"""Age from which a patient has an adult's size."""

CHILD_SIZE = 0.76
"""Length of an eight-year-old's limb relative to an adult's."""

CHILD_MINERAL = 0.85
"""Density of an eight-year-old's bone relative to an adult's."""

LOSS_FROM_YEARS = 45
"""Age from which mineral and cortex are lost."""

LOSS_PER_YEAR = 0.0065
"""Share of mineral and cortex lost a year, about 0.5 to 1 % (Riggs et al., J Bone Miner Res 2008, women and men)."""

FURTHER = 3.0
"""Factor by which bones and tissue beyond the image are longer than they are drawn."""

ACROSS = 0.06
"""Largest difference, as a logarithm, of a patient's bone from the drawn one across the image; joints gape beyond."""

ALONG = 0.02
"""Largest such difference along the image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """One patient: a skeleton and the soft tissue around it.

    Attributes
    ----------
    left
        Whether the left side is shown.
    size
        Size of everything, relative to the drawn adult.
    mineral, cortex
        Density of bone and thickness of its cortex, relative to the drawn adult's.
    girth
        Thickness of the soft tissue, relative to the drawn adult's.
    proportions
        Bone's name -> (2,) factors across and along the image.
    """

    left: bool
    age_years: int
    size: float
    mineral: float
    cortex: float
    girth: float
    proportions: Mapping[str, Points]

    def shape(self, anatomy: Anatomy) -> Anatomy:
        """Return the anatomy with this patient's bones and build, in the drawn adult's size."""
        middle = float(np.mean([bone.outline[:, 0].mean() for bone in anatomy.bones]))
        return replace(
            anatomy,
            bones=tuple(self._bone(bone, anatomy.image_mm) for bone in anatomy.bones),
            tissues=tuple(self._tissue(tissue, middle, anatomy.image_mm) for tissue in anatomy.tissues),
        )

    def _bone(self, bone: Bone, image_mm: tuple[float, float]) -> Bone:
        middle = bone.outline.mean(0)
        factor = self.proportions[bone.name]
        (x0, y0), (x1, y1) = ((np.asarray(bone.shaft, np.float32) - middle) * factor + middle).tolist()
        return replace(
            bone,
            outline=np.asarray((_extend_beyond_image(bone.outline, image_mm) - middle) * factor + middle, np.float32),
            holes=tuple(np.asarray((hole - middle) * factor + middle, np.float32) for hole in bone.holes),
            shaft=((x0, y0), (x1, y1)),
            cortex_mm=(bone.cortex_mm[0] * self.cortex, bone.cortex_mm[1] * self.cortex),
            density=bone.density * self.mineral,
        )

    def _tissue(self, tissue: Tissue, middle: float, image_mm: tuple[float, float]) -> Tissue:
        outline = _extend_beyond_image(tissue.outline, image_mm)
        if tissue.density < 0:  # air
            return replace(tissue, outline=outline)
        about = np.array([middle, 0], np.float32)
        wider = np.array([self.girth**0.5, 1], np.float32)
        outline = np.asarray((outline - about) * wider + about, np.float32)
        return replace(tissue, outline=outline, radius_mm=tissue.radius_mm * self.girth)


def _extend_beyond_image(outline: Points, image_mm: tuple[float, float]) -> Points:
    """Lengthen the part of an outline beyond the image: a child's image shows more of the limb than is drawn."""
    half = np.asarray(image_mm, np.float32) / 2
    far = np.abs(outline)
    return np.asarray(np.sign(outline) * (np.minimum(far, half) + FURTHER * np.maximum(far - half, 0)), np.float32)


def draw_patient(anatomy: Anatomy, rng: np.random.Generator, *, youngest: int = AGE_YEARS[0]) -> Patient:
    """Draw a random patient with the bones of that anatomy."""
    age = int(rng.integers(youngest, AGE_YEARS[1] + 1))
    grown = min(1.0, (age - AGE_YEARS[0]) / (GROWN_YEARS - AGE_YEARS[0]))
    kept = 1 - LOSS_PER_YEAR * max(0, age - LOSS_FROM_YEARS)
    return Patient(
        left=anatomy.paired and bool(rng.random() < 0.5),
        age_years=age,
        size=(CHILD_SIZE + (1 - CHILD_SIZE) * grown) * float(rng.uniform(0.94, 1.06)),
        mineral=(CHILD_MINERAL + (1 - CHILD_MINERAL) * grown) * kept * float(rng.uniform(0.94, 1.08)),
        cortex=kept * float(rng.uniform(0.9, 1.1)),
        girth=float(np.clip(np.exp(rng.normal(0, 0.16)), 0.75, 1.5)),
        proportions={
            bone.name: np.exp(rng.uniform(-1, 1, 2) * (ACROSS, ALONG)).astype(np.float32) for bone in anatomy.bones
        },
    )
