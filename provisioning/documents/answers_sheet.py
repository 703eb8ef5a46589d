"""docs/answers.png and docs/summary.png, each answer in pictures: ``python -m provisioning.documents.answers_sheet``.

The radiographs are phantoms, and the answers are made up: the sheet shows how each is drawn, and measures nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from appliance.analysis.mark import outline
from appliance.config import Picture
from appliance.domain.finding import Box, Finding, NotAnalysed, UnreadRegion, Withheld
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.radiograph import StoredValues
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Provenance, Result
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult
from appliance.picture.overlay import overlay, thumbnail
from appliance.picture.summary import summary_pages
from appliance.ports import Heat
from appliance.preprocessing.reference import displayed
from provisioning.contact_sheet import write_contact_sheet
from provisioning.phantoms import phantom

DOCS = Path(__file__).parents[2] / "docs"
SUMMARY = "study of eight radiographs"

CELLS = 16
"""Cells of a heat map along each axis: a region of 256 px at a stride of 16."""

DOUBT, POSITIVE = 0.3, 0.7
"""Made-up operating points."""

LOOK = Picture(longest_px=900)
THUMBNAIL_PX = 512

Drawn = tuple[NDArray[np.uint8], Result, tuple[Heat, ...]]
"""A radiograph, its result and its heat maps."""


def answer_pictures() -> dict[str, NDArray[np.uint8]]:
    """Draw a picture of each answer, and the summary of a study of them, by name."""
    cases = dict(_cases())
    pictures = {name: overlay(*drawn, LOOK) for name, drawn in cases.items()}
    pictures["possible fracture, with probability"] = overlay(
        *cases["possible fracture"], LOOK.model_copy(update={"probability": True})
    )
    pictures["possible fracture, grey"] = overlay(
        *cases["possible fracture"], LOOK.model_copy(update={"layout": "grey"})
    )
    pictures[SUMMARY] = _summary(cases)
    return pictures


def main() -> None:
    """Write the sheet and the summary."""
    pictures = answer_pictures()
    Image.fromarray(pictures[SUMMARY]).save(DOCS / "summary.png", optimize=True)
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for number, (name, picture) in enumerate(pictures.items()):
            file = Path(folder) / f"{number}.png"
            Image.fromarray(picture).save(file)
            files.append((name, file))
        write_contact_sheet(files, DOCS / "answers.png")


def _cases() -> Iterator[tuple[str, Drawn]]:
    """Yield a radiograph with each answer, by name."""
    yield "fracture suspected", case("wrist", 3, 0.93)
    yield "possible fracture", case("ankle", 4, 0.45, spread=3.0)
    yield "incomplete: regions not read", case("wrist", 5, 0.05, not_read=(Site.FOREARM, Site.ELBOW))
    yield "incomplete: region not cleared", case("knee", 6, 0.12, withheld=(Withheld.CUT,))
    yield "no fracture found", case("knee", 7, 0.04)
    yield "several regions", _several()
    grey, result, _ = case("pelvis", 8, 0.1)
    reason = NotAnalysed(code=ReasonCode.NO_ENGINE, reason=Sentence.of("this pack has no engine for the pelvis"))
    yield "not analysed", (grey, replace(result, findings=(), not_analysed=reason), ())
    grey, result, heats = case("shoulder", 9, 0.88)
    caveat = Sentence.of("the header says wrist, the image looks like shoulder: site uncertain")
    uncertain = replace(result.findings[0], site_is_certain=False, laterality=Laterality.UNKNOWN)
    yield "site uncertain", (grey, replace(result, findings=(uncertain,), caveats=(caveat,)), heats)


def case(
    site: str,
    seed: int,
    probability: float,
    *,
    fracture: bool | None = None,
    spread: float = 1.8,
    withheld: tuple[Withheld, ...] = (),
    not_read: tuple[Site, ...] = (),
) -> Drawn:
    """Draw the phantom of a site and a result with one finding.

    Parameters
    ----------
    fracture
        Whether the bone is broken; None: as the answer says.
    spread
        Width of the heat in cells.
    """
    drawn = phantom(site, seed, fracture=probability >= DOUBT if fracture is None else fracture)
    grey = displayed(StoredValues(pixels=drawn.pixels, window=drawn.window, invert=drawn.invert))
    box = Box(**dict(zip(("x0", "y0", "x1", "y1"), map(float, drawn.region), strict=True)))
    place = drawn.fracture or drawn.region
    peak = ((place[0] + place[2]) / 2, (place[1] + place[3]) / 2)
    finding, heat = _finding(Site(site), box, peak, probability, spread)
    finding = replace(finding, withheld=withheld, laterality=Laterality(drawn.laterality))
    height, width = grey.shape
    below = Box(x0=0.15 * width, y0=min(box.y1, 0.8 * height), x1=0.85 * width, y1=height)
    unread = tuple(UnreadRegion(site=s, box=None if k else below) for k, s in enumerate(not_read))
    return grey, _result(f"{site}.{seed}", finding, not_read=unread), (heat,)


def _several() -> Drawn:
    """Draw a wrist with a suspected and a possible fracture whose regions overlap, and one without."""
    grey, result, (heat,) = case("wrist", 10, 0.93)
    first = result.findings[0]
    x0, y0, x1, y1 = first.box.as_tuple()
    width, height = x1 - x0, y1 - y0
    boxes = (
        Box(x0=max(x0 - 0.1 * width, 0), y0=max(y0 - 0.5 * height, 0), x1=x1, y1=y0 + 0.35 * height),
        Box(x0=x0 + 0.1 * width, y0=y0 + 0.7 * height, x1=x1 - 0.1 * width, y1=float(grey.shape[0])),
    )
    sites, probabilities = (Site.HAND, Site.FOREARM), (0.4, 0.05)
    others = [
        _finding(site, box, ((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2), probability, 2.5)
        for site, box, probability in zip(sites, boxes, probabilities, strict=True)
    ]
    findings = (first, *(replace(finding, laterality=first.laterality) for finding, _ in others))
    elbow = UnreadRegion(site=Site.ELBOW)
    return grey, replace(result, findings=findings, not_read=(elbow,)), (heat, *(other for _, other in others))


def _finding(
    site: Site, box: Box, peak: tuple[float, float], probability: float, spread: float
) -> tuple[Finding, Heat]:
    """Return a finding and its heat map, a Gaussian around `peak` on the square crop around the region."""
    side = 1.2 * max(box.x1 - box.x0, box.y1 - box.y0)
    left, top = (box.x0 + box.x1 - side) / 2, (box.y0 + box.y1 - side) / 2
    at = (np.arange(CELLS) + 0.5) / CELLS * side
    distance = np.add.outer((at + top - peak[1]) ** 2, (at + left - peak[0]) ** 2)
    cells = np.exp(-distance / (2 * (spread * side / CELLS) ** 2))
    cells *= 1 + 0.3 * np.random.default_rng(int(side)).standard_normal(cells.shape).clip(-1, 1)
    cells = (cells / cells.max()).clip(0).astype(np.float32)
    extent = (left, top, left + side, top + side)
    heat = Heat(cells=cells, extent=extent, within=extent)
    finding = Finding(
        site=site,
        laterality=Laterality.UNKNOWN,
        box=box,
        region_score=0.97,
        peak=peak,
        probability=probability,
        doubt=DOUBT,
        positive=POSITIVE,
        focus=0.9,
        mark=outline(heat, box),
    )
    return finding, heat


def _result(uid: str, finding: Finding, not_read: tuple[UnreadRegion, ...]) -> Result:
    made_by = Provenance(
        software_version="0.1.0",
        pack_name="example",
        pack_version="1.0.0",
        pack_digest="0" * 64,
        pack_is_synthetic=True,
        compute="none",
    )
    return Result(
        sop_instance_uid=uid,
        study_instance_uid="1.2.3",
        created_at=datetime(2026, 1, 2, 10, 15, tzinfo=UTC),
        provenance=made_by,
        findings=(finding,),
        not_read=not_read,
    )


def _summary(cases: Mapping[str, Drawn]) -> NDArray[np.uint8]:
    results = tuple(result for _, result, _ in cases.values())
    pictures = {
        result.sop_instance_uid: thumbnail(grey, result, heats, THUMBNAIL_PX) for grey, result, heats in cases.values()
    }
    study = StudyResult(study_instance_uid="1.2.3", created_at=results[-1].created_at, results=results)
    views = {result.sop_instance_uid: f"series 1, image {number}" for number, result in enumerate(results, 1)}
    (page,) = summary_pages(study, views, pictures)
    return page


if __name__ == "__main__":
    main()
