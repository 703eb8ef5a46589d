"""What the exported graphs answer, measured with ONNX Runtime: the networks that ship, not those that were trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engines.training.calibration import Calibration
from engines.training.dataset import Dataset
from engines.training.networks import IMAGE_PX, TAP_CELLS
from engines.training.performance import Estimate, auroc, share

BATCH = 16
FOUND = 0.5  # IoU from which a region counts as found (the usual threshold of PASCAL VOC 2010)
SAME_PLACE = 0.3  # IoU from which two boxes speak of one place, whatever they call it
DUPLICATE = 0.5  # IoU above which the weaker of two answers for one site is dropped, as the appliance does


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One film's regions: boxes (D,4) float32 in pixels of the 512 image, sites and scores (D,), best first."""

    boxes: NDArray[np.float32]
    sites: NDArray[np.int64]
    scores: NDArray[np.float32]

    def above(self, threshold: float) -> Found:
        """The regions with at least this score."""
        keep = self.scores >= threshold
        return Found(boxes=self.boxes[keep], sites=self.sites[keep], scores=self.scores[keep])


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """A classifier's answers: logits (R,) and Grad-CAM maps (R,16,16), not normalised."""

    logits: NDArray[np.float64]
    cams: NDArray[np.float32] = field(repr=False)


def session(path: Path) -> onnxruntime.InferenceSession:
    """The definition of what a network computes: ONNX Runtime on the CPU."""
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def locate(path: Path, films: NDArray[np.uint8], lowest: float) -> list[Found]:
    """Run an exported localiser over (F,512,512) films; regions with a score of at least `lowest`."""
    network = session(path)
    found = []
    for start in range(0, len(films), BATCH):
        images = films[start : start + BATCH, None].astype(np.float32)
        for heat, box in zip(*network.run(["heat", "box"], {"image": images}), strict=True):
            found.append(_decoded(heat, box, lowest))
    return found


def _decoded(heat: NDArray[np.float32], box: NDArray[np.float32], lowest: float) -> Found:
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
    return Found(boxes=boxes[keep], sites=site[keep], scores=heat[site[keep], row[keep], column[keep]])


def classify(path: Path, regions: NDArray[np.uint8]) -> Evidence:
    """Run an exported classifier over (R,256,256) regions."""
    network = session(path)
    logits, cams = [np.zeros(0)], [np.zeros((0, TAP_CELLS, TAP_CELLS), np.float32)]
    for start in range(0, len(regions), BATCH):
        feed = {"region": regions[start : start + BATCH, None].astype(np.float32)}
        logit, activations, gradients = network.run(["logit", "activations", "gradients"], feed)
        logits.append(logit.astype(np.float64))
        weights = gradients.mean((2, 3), keepdims=True)  # Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2)
        cams.append(np.maximum((weights * activations).sum(1), 0))
    return Evidence(logits=np.concatenate(logits), cams=np.concatenate(cams))


def iou(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of (A,4) and (B,4) boxes: (A,B)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clip(0).prod(2)
    areas = (a[:, 2:] - a[:, :2]).prod(1)[:, None] + (b[:, 2:] - b[:, :2]).prod(1)[None]
    return np.asarray(common / np.maximum(areas - common, 1e-6), np.float32)


def best_threshold(dataset: Dataset, found: Sequence[Found], films: NDArray[np.int64]) -> float:
    """The score with the highest F1 over all sites, on the given films; the middle one of several."""
    scores = np.arange(0.1, 0.61, 0.025)
    f1 = []
    for threshold in scores:
        hits, wanted, given = 0, 0, 0
        for film, answer in zip(films, found, strict=True):
            kept, mine = answer.above(threshold), np.flatnonzero(dataset.film == film)
            wanted, given = wanted + len(mine), given + len(kept.sites)
            if len(mine) and len(kept.sites):
                overlap = iou(dataset.boxes[mine], kept.boxes) * (dataset.site[mine][:, None] == kept.sites[None])
                hits += int((overlap.max(1) >= FOUND).sum())
        f1.append(2 * hits / max(wanted + given, 1))
    return round(float(np.median(scores[np.array(f1) == max(f1)])), 3)


def localiser_performance(dataset: Dataset, found: Sequence[Found], films: NDArray[np.int64]) -> dict[str, Any]:
    """Per labelled region: is something found there, is it called right, how well does its box fit."""
    named = located = wanted = surplus = 0
    fits: list[float] = []
    per_site: dict[str, list[int]] = {str(s): [0, 0] for s in dataset.sites}
    for film, answer in zip(films, found, strict=True):
        mine = np.flatnonzero(dataset.film == film)
        overlap = iou(dataset.boxes[mine], answer.boxes)
        same = dataset.site[mine][:, None] == answer.sites[None]
        if len(answer.sites):
            surplus += int(((overlap * same).max(0, initial=0) < SAME_PLACE).sum())
        for row, site in enumerate(dataset.site[mine]):
            wanted += 1
            count = per_site[str(dataset.sites[site])]
            count[1] += 1
            fit = float((overlap[row] * same[row]).max(initial=0))
            if fit >= FOUND:
                count[0] += 1
            if overlap[row].max(initial=0) >= SAME_PLACE:
                located += 1
                # wrist and hand overlap: the site is right if one of its own answers fits nearly as well as the best
                named += int(fit >= 0.8 * overlap[row].max())
            if fit >= SAME_PLACE:
                fits.append(fit)
    return {
        "films": len(films),
        "regions": wanted,
        "site_accuracy": list(share(named, located)),
        "site_accuracy_n": located,
        "found": list(share(sum(c[0] for c in per_site.values()), wanted)),
        "median_iou": float(np.median(fits)) if fits else 0.0,
        "surplus_per_film": surplus / max(len(films), 1),
        "found_per_site": {s: list(share(*c)) for s, c in per_site.items() if c[1]},
        "misses_per_site": {s: c[1] - c[0] for s, c in per_site.items() if c[1]},
        "regions_per_site": {s: c[1] for s, c in per_site.items() if c[1]},
    }


def classifier_performance(
    dataset: Dataset,
    regions: NDArray[np.int64],
    evidence: Evidence,
    calibration: Calibration,
    points: tuple[float, float],
) -> dict[str, Any]:
    """One site's answers on `regions`."""
    label = dataset.labels[regions]
    probability = calibration.probability(evidence.logits)
    bare = ~dataset.hardware[dataset.film[regions]]
    result: dict[str, Any] = {
        "n": len(regions),
        "positives": int(label.sum()),
        "auroc": list(auroc(probability, label)),
        "auroc_without_hardware": list(auroc(probability[bare], label[bare])),
        "n_without_hardware": int(bare.sum()),
        "positives_without_hardware": int(label[bare].sum()),
    }
    for name, point in zip(("doubt", "positive"), points, strict=True):
        called = probability >= point
        result[f"sensitivity_{name}"] = list(share(int((called & label).sum()), int(label.sum())))
        result[f"specificity_{name}"] = list(share(int((~called & ~label).sum()), int((~label).sum())))
    pointing = pointing_game(evidence.cams[label], dataset.masks[regions][label])
    result["pointing"] = list(pointing)
    result["brier"] = float(((probability - label) ** 2).mean()) if len(label) else float("nan")
    return result


def pointing_game(cams: NDArray[np.float32], masks: NDArray[np.uint8]) -> Estimate:
    """How often the strongest place of the map lies on the fracture (Zhang et al., ECCV 2016), within one cell.

    One cell of the 16x16 map is 16 px of the region: the map cannot say it more finely.
    """
    hits = 0
    per_cell = masks.shape[-1] // TAP_CELLS if len(masks) else 1
    for cam, mask in zip(cams, masks, strict=True):
        row, column = divmod(int(cam.argmax()), TAP_CELLS)
        y0, x0 = max(row - 1, 0) * per_cell, max(column - 1, 0) * per_cell
        hits += bool((mask[y0 : (row + 2) * per_cell, x0 : (column + 2) * per_cell] == 1).any() and cam.max() > 0)
    return share(hits, len(masks))
