"""Who lies there: age, build and proportions, the same in every view of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from .anatomy import Anatomy, Bone, Points, Tissue

AGE_YEARS = (8, 92)
GROWN_YEARS = 18
CHILD_SIZE = 0.76
"""Length of an eight-year-old's limb relative to an adult's."""
CHILD_MINERAL = 0.85
LOSS_FROM_YEARS, LOSS_PER_YEAR = 45, 0.0065
"""Mineral and cortex are lost at about 0.5 to 1 % a year (Riggs et al., J Bone Miner Res 2008, women and men)."""
FURTHER = 3.0
"""How many times longer than it is drawn everything beyond the film is."""
ACROSS, ALONG = 0.06, 0.02
"""How much a bone of one patient may differ from another's across and along the film; joints gape beyond that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """One skeleton and what is around it.

    Attributes
    ----------
    size
        Of everything, relative to the drawn adult.
    mineral, cortex
        Density of bone and thickness of its cortex, relative to the drawn adult's.
    girth
        Thickness of the soft tissue, likewise.
    proportions
        (2,) share across and along the film, by bone.
    """

    left: bool
    age_years: int
    size: float
    mineral: float
    cortex: float
    girth: float
    proportions: Mapping[str, Points]

    def on(self, anatomy: Anatomy) -> Anatomy:
        """The anatomy with this patient's bones and build, in the drawn adult's size."""
        middle = float(np.mean([bone.outline[:, 0].mean() for bone in anatomy.bones]))
        return replace(
            anatomy,
            bones=tuple(self._bone(bone, anatomy.film_mm) for bone in anatomy.bones),
            tissues=tuple(self._tissue(tissue, middle, anatomy.film_mm) for tissue in anatomy.tissues),
        )

    def _bone(self, bone: Bone, film_mm: tuple[float, float]) -> Bone:
        middle, factor = bone.outline.mean(0), self.proportions[bone.name]
        (x0, y0), (x1, y1) = ((np.asarray(bone.shaft, np.float32) - middle) * factor + middle).tolist()
        return replace(
            bone,
            outline=np.asarray((_drawn_out(bone.outline, film_mm) - middle) * factor + middle, np.float32),
            holes=tuple(np.asarray((hole - middle) * factor + middle, np.float32) for hole in bone.holes),
            shaft=((x0, y0), (x1, y1)),
            cortex_mm=(bone.cortex_mm[0] * self.cortex, bone.cortex_mm[1] * self.cortex),
            density=bone.density * self.mineral,
        )

    def _tissue(self, tissue: Tissue, middle: float, film_mm: tuple[float, float]) -> Tissue:
        outline = _drawn_out(tissue.outline, film_mm)
        if tissue.density < 0:  # air
            return replace(tissue, outline=outline)
        about = np.array([middle, 0], np.float32)
        wider = np.array([self.girth**0.5, 1], np.float32)
        outline = np.asarray((outline - about) * wider + about, np.float32)
        return replace(tissue, outline=outline, radius_mm=tissue.radius_mm * self.girth)


def _drawn_out(outline: Points, film_mm: tuple[float, float]) -> Points:
    """What leaves an adult's film goes on further: a child's film shows more of it than is drawn."""
    half, far = np.asarray(film_mm, np.float32) / 2, np.abs(outline)
    return np.asarray(np.sign(outline) * (np.minimum(far, half) + FURTHER * np.maximum(far - half, 0)), np.float32)


def patient(anatomy: Anatomy, rng: np.random.Generator) -> Patient:
    """Somebody with the bones of that anatomy."""
    age = int(rng.integers(AGE_YEARS[0], AGE_YEARS[1] + 1))
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
