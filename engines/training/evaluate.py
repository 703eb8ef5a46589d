"""Performance of the networks: localisation, classification, and the place of the heat.

Keys of the results say "film" for a radiograph, as pack format 1 does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.training.dataset import Dataset
from engines.training.evidence import Evidence, Predictions
from engines.training.networks import IMAGE_PX, TAP_CELLS
from engines.training.performance import Estimate, auroc, mean_over_radiographs, measure, share
from engines.training.session import InferenceSession, open_session

BATCH = 16
"""Radiographs in one inference."""

FOUND = 0.5
"""IoU from which a region counts as found (the usual threshold of PASCAL VOC 2010)."""

SAME_PLACE = 0.3
"""IoU from which two boxes of any sites lie at one place."""

FLAGGED = 0.5
"""Probability from which a flag counts as seen."""

PRIOR_SPREAD = 0.25
"""Standard deviation of `centre_prior`, in sides of the region: about the spread of the fractures themselves."""

DUPLICATE = 0.5
"""IoU above which the weaker of two regions of one site is dropped, as the appliance does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedRegions:
    """Regions located on one radiograph, best first.

    Attributes
    ----------
    boxes
        (D,4) float32 in pixels of the 512 image.
    sites, scores
        (D,).
    """

    boxes: NDArray[np.float32]
    sites: NDArray[np.int64]
    scores: NDArray[np.float32]

    def above(self, threshold: float) -> LocatedRegions:
        """Return the regions with at least this score."""
        keep = self.scores >= threshold
        return LocatedRegions(boxes=self.boxes[keep], sites=self.sites[keep], scores=self.scores[keep])


def locate(network: InferenceSession, radiographs: NDArray[np.uint8], lowest: float) -> list[LocatedRegions]:
    """Run an exported localiser over (M,512,512) radiographs; return the regions with a score of at least `lowest`."""
    found = []
    for start in range(0, len(radiographs), BATCH):
        images = radiographs[start : start + BATCH, None].astype(np.float32)
        for heat, box in zip(*network.run(["heat", "box"], {"image": images}), strict=True):
            found.append(_decode(heat, box, lowest))
    return found


def _decode(heat: NDArray[np.float32], box: NDArray[np.float32], lowest: float) -> LocatedRegions:
    """Return the regions of one radiograph's heat (S,g,g) and box (4,g,g), without duplicates."""
    site, row, column = np.nonzero(heat >= lowest)
    order = np.argsort(-heat[site, row, column])
    site, row, column = site[order], row[order], column[order]
    stride = IMAGE_PX / heat.shape[1]
    x, y = (column + 0.5) * stride, (row + 0.5) * stride
    left, top, right, bottom = box[:, row, column]
    boxes = np.stack([x - left, y - top, x + right, y + bottom], 1).clip(0, IMAGE_PX).astype(np.float32)
    keep: list[int] = []
    for i in range(len(site)):
        same = [j for j in keep if site[j] == site[i]]
        if not same or iou(boxes[i : i + 1], boxes[same]).max() <= DUPLICATE:
            keep.append(i)
    return LocatedRegions(boxes=boxes[keep], sites=site[keep], scores=heat[site[keep], row[keep], column[keep]])


def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the intersection over union (A,B) of boxes (A,4) and (B,4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clip(0).prod(2)
    areas = (a[:, 2:] - a[:, :2]).prod(1)[:, None] + (b[:, 2:] - b[:, :2]).prod(1)[None]
    return np.asarray(common / np.maximum(areas - common, 1e-6), np.float32)


def best_threshold(dataset: Dataset, found: Sequence[LocatedRegions], radiographs: NDArray[np.int64]) -> float:
    """Return the score with the highest F1 over all sites on the given radiographs; the middle one of several."""
    scores = np.arange(0.1, 0.61, 0.025)
    f1 = []
    for threshold in scores:
        hits = labelled = located = 0
        for radiograph, regions in zip(radiographs, found, strict=True):
            kept = regions.above(threshold)
            own = np.flatnonzero(dataset.radiograph == radiograph)
            labelled += len(own)
            located += len(kept.sites)
            if len(own) and len(kept.sites):
                overlap = iou(dataset.boxes[own], kept.boxes) * (dataset.site[own][:, None] == kept.sites[None])
                hits += int((overlap.max(1) >= FOUND).sum())
        f1.append(2 * hits / max(labelled + located, 1))
    return round(float(np.median(scores[np.array(f1) == max(f1)])), 3)


def localiser_performance(
    dataset: Dataset, found: Sequence[LocatedRegions], radiographs: NDArray[np.int64]
) -> dict[str, Any]:
    """Measure how many labelled regions are found, how many have the right site, and how well their boxes fit."""
    named = located = labelled = surplus = 0
    fits: list[float] = []
    per_site: dict[str, list[int]] = {str(s): [0, 0] for s in dataset.sites}
    for radiograph, regions in zip(radiographs, found, strict=True):
        own = np.flatnonzero(dataset.radiograph == radiograph)
        overlap = iou(dataset.boxes[own], regions.boxes)
        same = dataset.site[own][:, None] == regions.sites[None]
        if len(regions.sites):
            surplus += int(((overlap * same).max(0, initial=0) < SAME_PLACE).sum())
        for row, site in enumerate(dataset.site[own]):
            labelled += 1
            count = per_site[str(dataset.sites[site])]
            count[1] += 1
            fit = float((overlap[row] * same[row]).max(initial=0))
            if fit >= FOUND:
                count[0] += 1
            if overlap[row].max(initial=0) >= SAME_PLACE:
                located += 1
                # wrist and hand overlap: the site is right if one of its own regions fits nearly as well as the best
                named += int(fit >= 0.8 * overlap[row].max())
            if fit >= SAME_PLACE:
                fits.append(fit)
    return {
        "films": len(radiographs),
        "regions": labelled,
        "site_accuracy": list(share(named, located)),
        "site_accuracy_n": located,
        "found": list(share(sum(c[0] for c in per_site.values()), labelled)),
        "median_iou": float(np.median(fits)) if fits else 0.0,
        "surplus_per_film": surplus / max(len(radiographs), 1),
        "found_per_site": {s: list(share(*c)) for s, c in per_site.items() if c[1]},
        "misses_per_site": {s: c[1] - c[0] for s, c in per_site.items() if c[1]},
        "regions_per_site": {s: c[1] for s, c in per_site.items() if c[1]},
    }


def flag_performance(dataset: Dataset, path: Path, radiographs: NDArray[np.int64]) -> dict[str, dict[str, Any]]:
    """Measure the localiser's flags of whole radiographs; empty if it has none."""
    network = open_session(path)
    if "flags" not in [o.name for o in network.get_outputs()]:
        return {}
    images = (dataset.radiographs[i : i + 1, None].astype(np.float32) for i in radiographs)
    score = np.concatenate([network.run(["flags"], {"image": image})[0] for image in images]).astype(np.float64)
    result = {}
    for column, name in enumerate(dataset.flags):
        flagged = dataset.flag(str(name))[radiographs]
        called = score[:, column] >= FLAGGED
        result[str(name)] = {
            "n": len(radiographs),
            "positives": int(flagged.sum()),
            "auroc": list(auroc(score[:, column], flagged)),
            "sensitivity": list(share(int((called & flagged).sum()), int(flagged.sum()))),
            "specificity": list(share(int((~called & ~flagged).sum()), int((~flagged).sum()))),
        }
    return result


def classifier_performance(dataset: Dataset, evidence: Evidence, predictions: Predictions) -> dict[str, Any]:
    """Measure the predictions of regions of one site, or of several."""
    regions = evidence.regions
    label = dataset.labels[regions]
    bare = ~dataset.flag("hardware")[dataset.radiograph[regions]]
    above = {"doubt": predictions.doubt, "positive": predictions.positive}
    result = measure(predictions.probability, above, label, bare)
    return result | explanation(evidence.cams[label], dataset.masks[regions][label], dataset.radiograph[regions][label])


def explanation(cams: NDArray[np.float32], masks: NDArray[np.uint8], radiographs: NDArray[np.int64]) -> dict[str, Any]:
    """Measure the place of the heat of fractured regions, beside a map that points to the middle, and an even one.

    `heat` is the mean share of a map that lies inside the fracture boxes.
    """
    prior = np.broadcast_to(centre_prior(), cams.shape)
    maps = {"heat": cams, "heat_centre": prior, "heat_even": np.ones_like(cams)}
    result: dict[str, Any] = {
        name: list(mean_over_radiographs(heat_inside(heat, masks), radiographs)) for name, heat in maps.items()
    }
    result["pointing"] = list(pointing_game(cams, masks))
    result["pointing_centre"] = list(pointing_game(prior, masks))
    return result


def centre_prior() -> NDArray[np.float32]:
    """Return a (16,16) Gaussian around the middle: the place of a fracture as known without the image."""
    along = (np.arange(TAP_CELLS) + 0.5) / TAP_CELLS - 0.5
    return np.exp(-(along[:, None] ** 2 + along**2) / (2 * PRIOR_SPREAD**2)).astype(np.float32)


def heat_inside(cams: NDArray[np.float32], masks: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return (R,) the share of each map's sum inside its region's fracture boxes."""
    if not len(cams):
        return np.zeros(0)
    per_cell = masks.shape[-1] // TAP_CELLS
    inside = (masks == 1).reshape(-1, TAP_CELLS, per_cell, TAP_CELLS, per_cell).mean((2, 4))
    total = cams.sum((1, 2), dtype=np.float64)
    return np.asarray((cams * inside).sum((1, 2)) / np.where(total > 0, total, 1))


def pointing_game(cams: NDArray[np.float32], masks: NDArray[np.uint8]) -> Estimate:
    """Return the share of maps with the strongest place on the fracture, within one cell (Zhang et al., ECCV 2016).

    One cell of the 16x16 map is 16 px of the region: the map is no finer.
    """
    hits = 0
    per_cell = masks.shape[-1] // TAP_CELLS if len(masks) else 1
    for cam, mask in zip(cams, masks, strict=True):
        row, column = divmod(int(cam.argmax()), TAP_CELLS)
        y0, x0 = max(row - 1, 0) * per_cell, max(column - 1, 0) * per_cell
        hits += bool((mask[y0 : (row + 2) * per_cell, x0 : (column + 2) * per_cell] == 1).any() and cam.max() > 0)
    return share(hits, len(masks))
