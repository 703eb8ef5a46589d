"""Answers about whole radiographs, measured against one label each: fractured or not.

A radiologist gets one answer for a radiograph, whatever region it is about. So a fracture counts as found only if the
radiograph is positive or possible; one that was answered incomplete or not analysed counts as not found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from appliance.domain.finding import Answer, Box
from appliance.domain.result import Result
from engines.training.performance import Estimate, auroc, format_estimate, share

from .manifest import Corners, ManifestRow

SPECIFICITY = 0.86
"""Specificity at which sensitivities of packs are compared, whatever their operating points are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeRadiograph:
    """A labelled radiograph and its answer.

    Attributes
    ----------
    part
        Part of the body, as in the manifest; empty if it names none.
    flags
        As in the manifest.
    probability
        Largest of the regions that were read; 0 without any.
    has_boxes
        Whether the manifest says where its fractures are.
    is_inside
        Whether the centre of a fracture lies in a region that was read.
    is_marked
        Whether a mark touches a fracture.
    """

    part: str
    flags: str
    is_fractured: bool
    answer: Answer
    probability: float
    has_boxes: bool
    is_inside: bool
    is_marked: bool


def whole_radiograph(row: ManifestRow, result: Result | None) -> WholeRadiograph:
    """Return what the result says about the radiograph; None is a file that could not be read."""
    findings = result.findings if result else ()
    fractures = row.fracture_boxes()
    marks = [finding.mark for finding in findings if finding.verdict.is_suspicious and finding.mark]
    return WholeRadiograph(
        part=row.part,
        flags=row.flags,
        is_fractured=row.fractured == "1",
        answer=result.answer if result else Answer.NOT_ANALYSED,
        probability=max((finding.probability for finding in findings), default=0.0),
        has_boxes=bool(fractures),
        is_inside=any(holds_centre(finding.box, each) for finding in findings for each in fractures),
        is_marked=any(touches(mark, each) for mark in marks for each in fractures),
    )


def holds_centre(region: Box, fracture: Corners) -> bool:
    """Return whether the centre of a fracture's box lies in a region."""
    x0, y0, x1, y1 = fracture
    return region.x0 <= (x0 + x1) / 2 <= region.x1 and region.y0 <= (y0 + y1) / 2 <= region.y1


def touches(mark: Sequence[tuple[float, float]], fracture: Corners) -> bool:
    """Return whether the area inside an outline and a fracture's box have a pixel in common."""
    xs, ys = zip(*mark, strict=True)
    size = int(max(fracture[2], *xs)) + 2, int(max(fracture[3], *ys)) + 2
    area, boxed = Image.new("1", size), Image.new("1", size)
    ImageDraw.Draw(area).polygon(list(mark), fill=1)
    ImageDraw.Draw(boxed).rectangle(fracture, fill=1)
    return bool((np.asarray(area) & np.asarray(boxed)).any())


def groups_of(radiographs: Sequence[WholeRadiograph]) -> dict[str, list[WholeRadiograph]]:
    """Return all radiographs, those without hardware or cast, and those of each flag and each part of the body."""
    made = {"all": list(radiographs), "no hardware or cast": [r for r in radiographs if not r.flags]}
    for flag in sorted({word for r in radiographs for word in r.flags.split()}):
        made[flag] = [r for r in radiographs if flag in r.flags.split()]
    for part in sorted({r.part for r in radiographs if r.part}):
        made[part] = [r for r in radiographs if r.part == part]
    return {name: group for name, group in made.items() if group}


def figures_of(name: str, radiographs: Sequence[WholeRadiograph]) -> dict[str, Any]:
    """Return one row of the table: counts and estimates with their intervals, as text."""
    fractured = [r for r in radiographs if r.is_fractured]
    free = [r for r in radiographs if not r.is_fractured]
    boxed = [r for r in fractured if r.has_boxes]
    label = np.array([r.is_fractured for r in radiographs], np.bool_)
    estimates = {
        "sensitivity, possible": _share(r.answer.is_suspicious for r in fractured),
        "specificity, possible": _share(not r.answer.is_suspicious for r in free),
        "sensitivity, suspected": _share(r.answer is Answer.POSITIVE for r in fractured),
        "specificity, suspected": _share(r.answer is not Answer.POSITIVE for r in free),
        f"sensitivity at a specificity of {SPECIFICITY:.0%}": _sensitivity_at(fractured, free),
        "fracture in a region that was read": _share(r.is_inside for r in boxed),
        "mark on the fracture, of those found": _share(r.is_marked for r in boxed if r.answer.is_suspicious),
    }
    return {
        "name": name,
        "n": len(radiographs),
        "fractured": len(fractured),
        "auroc": format_estimate(auroc(np.array([r.probability for r in radiographs]), label)),
        "estimates": {title: format_estimate(estimate, percent=True) for title, estimate in estimates.items()},
    }


def answers_of(radiographs: Sequence[WholeRadiograph]) -> list[dict[str, Any]]:
    """Return how often each answer was given to fractured and to fracture-free radiographs, with its share."""
    rows = []
    for title, is_fractured in (("fractured", True), ("no fracture", False)):
        group = [r for r in radiographs if r.is_fractured is is_fractured]
        given = {
            str(answer.label): (
                sum(r.answer is answer for r in group),
                format_estimate(_share(r.answer is answer for r in group), percent=True),
            )
            for answer in Answer
        }
        rows.append({"name": title, "n": len(group), "answers": given})
    return rows


def _share(outcomes: Iterable[bool]) -> Estimate:
    known = list(outcomes)
    return share(sum(known), len(known))


def _sensitivity_at(fractured: Sequence[WholeRadiograph], free: Sequence[WholeRadiograph]) -> Estimate:
    """Return the share of fractured radiographs above the least threshold that reaches `SPECIFICITY`."""
    if not free:
        return share(0, 0)
    ranked = sorted(r.probability for r in free)
    threshold = ranked[max(int(np.ceil(SPECIFICITY * len(ranked))) - 1, 0)]
    return _share(r.probability > threshold for r in fractured)
