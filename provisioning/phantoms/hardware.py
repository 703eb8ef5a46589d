"""Metal from an earlier operation: a plate with screws, a nail, wires or two screws, in both views of the same bone.

It is chosen independently of the fracture, so that it is no sign of one, and keeps away from the place where this
patient's bone would break, so that it never hides one.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .anatomy import Anatomy, Bone, Points
from .attenuation import Field
from .fracture import Place, is_visible
from .pose import Pose

PREVALENCE = 0.25
"""Share of patients with metal; far above a hospital's, so that a thousand phantoms hold some of it at every site."""

METAL = 2.6
"""Attenuation of steel, beyond that of any bone; most of it lies above the window."""

CLEAR_MM = 13.0
"""Least distance between the place of a fracture and the edge of the bone beside any metal."""

LONG_MM = 45.0
"""Least length of shafts that take plates and nails; shorter bones take screws and wires."""

TRIES = 24
"""Attempts to find metal that keeps clear of the place of a fracture."""


class Kind(Enum):
    """Kind of metal."""

    PLATE = auto()
    NAIL = auto()
    WIRES = auto()
    SCREWS = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Metal that one patient carries.

    Attributes
    ----------
    bone
        Name of the bone.
    span
        Beginning and end along the bone's shaft, as shares of its length.
    side
        1 or -1: cortex on which a plate lies.
    face_on
        For each view: True if a plate is seen from above, as a bar with holes; False if from its edge, with its screws.
    tilt
        Angle of wires or screws to the shaft's normal, radians.
    """

    kind: Kind
    bone: str
    span: tuple[float, float]
    side: int
    face_on: tuple[bool, ...]
    tilt: float


def choose_hardware(views: Sequence[Anatomy], away_from: Place, rng: np.random.Generator) -> Hardware | None:
    """Choose the metal of a patient, clear of the place `away_from`; None for most patients."""
    if rng.random() >= PREVALENCE:
        return None
    bones = [bone for bone in views[0].bones if bone.breaks is not None]
    for _ in range(TRIES):
        bone = bones[int(rng.integers(len(bones)))]
        length = float(np.linalg.norm(bone.at(1) - bone.at(0)))
        kind = Kind(int(rng.integers(1, 5))) if length >= LONG_MM else Kind(int(rng.integers(3, 5)))
        share = float(rng.uniform(0.35, 0.8)) if kind in (Kind.PLATE, Kind.NAIL) else float(rng.uniform(0.12, 0.3))
        start = float(rng.uniform(0.02, 0.98 - share))
        edge_first = bool(rng.random() < 0.7)
        found = Hardware(
            kind=kind,
            bone=bone.name,
            span=(start, start + share),
            side=1 if rng.random() < 0.5 else -1,
            face_on=tuple(edge_first == bool(k) for k in range(len(views))),
            tilt=float(rng.uniform(0.3, 0.8)),
        )
        if all(_is_clear(found, view, away_from) for view in views):
            return found
    return None


def render_hardware(found: Hardware, bone: Bone, view: int, pose: Pose) -> Field:
    """Return the attenuation, (H, W) float32, that metal adds to one view."""
    canvas = Image.new("L", (pose.width_px, pose.height_px))
    pen = _Pen(ImageDraw.Draw(canvas), pose)
    start, stop = found.span
    if found.kind is Kind.PLATE:
        _draw_plate(pen, found, bone, view)
    elif found.kind is Kind.NAIL:
        pen.line(bone.at(start), bone.at(stop), min(9.0, _half_width(bone, (start + stop) / 2, found.side) * 0.9), 210)
        for share in (start + 0.06, stop - 0.06):
            pen.line(*_ends_across(bone, share, 2, 0.1), 3.5, 255)
    elif found.kind is Kind.WIRES:  # crossed
        for tilt in (found.tilt, -found.tilt):
            pen.line(*_ends_across(bone, (start + stop) / 2, 6, tilt), 1.8, 205)
    else:
        for share in found.span:
            first, last = _ends_across(bone, share, 1, found.tilt / 2)
            pen.line(first, last, 3.6, 200)
            pen.line(first, first + (last - first) * 0.08, 6.5, 255)
    soft = canvas.filter(ImageFilter.GaussianBlur(0.8))
    return np.asarray(np.asarray(soft, np.float32) * np.float32(METAL / 255))


def _draw_plate(pen: _Pen, found: Hardware, bone: Bone, view: int) -> None:
    start, stop = found.span
    shares = np.linspace(start, stop, max(3, round(float(np.linalg.norm(bone.at(stop) - bone.at(start))) / 11)))
    normal = _normal(bone) * found.side
    if found.face_on[view]:
        for a, b in itertools.pairwise(shares):
            pen.line(bone.at(a), bone.at(b), 9.5, 190)
        for share in shares[1:-1]:  # holes
            pen.line(bone.at(share), bone.at(share), 5.0, 30)
        return
    halves = [_half_width(bone, float(share), found.side) for share in shares]
    beside = [bone.at(share) + normal * (half + 1.2) for share, half in zip(shares, halves, strict=True)]
    for a, b in itertools.pairwise(beside):
        pen.line(a, b, 3.2, 235)
    for foot, share, half in zip(beside, shares, halves, strict=True):
        pen.line(
            foot + normal * 2, foot - normal * (half + _half_width(bone, float(share), -found.side) + 2.5), 3.0, 215
        )
        pen.line(foot + normal * 2, foot - normal, 5.5, 255)


@dataclass(frozen=True, slots=True)
class _Pen:
    """A pen that draws on the image in millimetres of the anatomy."""

    on: ImageDraw.ImageDraw
    pose: Pose

    def line(self, start: Points, stop: Points, thick_mm: float, level: int) -> None:
        """Draw a rod with round ends; a disc if both ends are one point."""
        ends = self.pose.pixels_from_mm(np.asarray([start, stop], np.float32))
        half = max(1.0, thick_mm * self.pose.px_per_mm / 2)
        (x0, y0), (x1, y1) = ((float(x), float(y)) for x, y in ends)
        self.on.line([x0, y0, x1, y1], fill=level, width=round(2 * half))
        for x, y in ((x0, y0), (x1, y1)):
            self.on.ellipse([x - half, y - half, x + half, y + half], fill=level)


def _normal(bone: Bone) -> Points:
    along = bone.at(1) - bone.at(0)
    return np.asarray(np.array([-along[1], along[0]]) / np.linalg.norm(along))


def _ends_across(bone: Bone, share: float, beyond_mm: float, tilt: float) -> tuple[Points, Points]:
    """Return the ends of a rod across the bone that reaches `beyond_mm` past either cortex.

    `tilt` is the rod's angle to the shaft's normal, radians.
    """
    along, normal = bone.at(1) - bone.at(0), _normal(bone)
    way = normal * np.cos(tilt) + along / np.linalg.norm(along) * np.sin(tilt)
    first, last = (bone.at(share) + side * way * (_half_width(bone, share, side) + beyond_mm) for side in (-1, 1))
    return np.asarray(first), np.asarray(last)


def _half_width(bone: Bone, share: float, side: int) -> float:
    """Return the distance from the shaft's line to the bone's edge on that side, mm."""
    along, from_start = bone.at(1) - bone.at(0), bone.outline - bone.at(0)
    at, out = from_start @ along / float(along @ along), side * (from_start @ _normal(bone))
    next_at, next_out = np.roll(at, -1), np.roll(out, -1)
    rows = np.flatnonzero((at > share) != (next_at > share))
    crossed = out[rows] + (share - at[rows]) / (next_at - at)[rows] * (next_out - out)[rows]
    return float(np.clip(crossed[crossed > 0].min(initial=45.0), 2.0, 45.0))


def _is_clear(found: Hardware, view: Anatomy, away_from: Place) -> bool:
    """Return whether the metal lies in the region and keeps `CLEAR_MM` from the place in this view."""
    if not is_visible(Place(bone=found.bone, share=sum(found.span) / 2), view):
        return False
    bone, place = view.bone(found.bone), view.bone(away_from.bone).at(away_from.share)
    start, stop = bone.at(found.span[0]), bone.at(found.span[1])
    along = stop - start
    nearest = start + along * np.clip((place - start) @ along / float(along @ along), 0, 1)
    return bool(np.linalg.norm(place - nearest) >= CLEAR_MM + _half_width(bone, sum(found.span) / 2, found.side))
