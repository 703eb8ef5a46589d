"""What fracture networks say of regions that they have not seen, and what of it is to be believed.

Calibration and operating points that a fold is judged by are fitted on the other folds' answers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engines.training.calibration import Calibration, calibrate, operating_points
from engines.training.dataset import Dataset
from engines.training.networks import TAP_CELLS, FractureNetwork, grad_cam, soft_maximum

BATCH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Regions (R,) with their logits (R,) float64 and Grad-CAM maps (R,16,16) float32, not normalised."""

    regions: NDArray[np.int64]
    logits: NDArray[np.float64]
    cams: NDArray[np.float32] = field(repr=False)

    def of(self, chosen: NDArray[np.bool_]) -> Evidence:
        """A part of it."""
        return Evidence(regions=self.regions[chosen], logits=self.logits[chosen], cams=self.cams[chosen])

    def save(self, path: Path) -> None:
        """Write an .npz."""
        np.savez(path, regions=self.regions, logits=self.logits, cams=self.cams)

    @classmethod
    def load(cls, path: Path) -> Evidence:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            return cls(**{name: stored[name] for name in ("regions", "logits", "cams")})


def joined(parts: list[Evidence]) -> Evidence:
    """Several, one after the other."""
    return Evidence(
        regions=np.concatenate([p.regions for p in parts]),
        logits=np.concatenate([p.logits for p in parts]),
        cams=np.concatenate([p.cams for p in parts]),
    )


def examined(network: FractureNetwork, dataset: Dataset, regions: NDArray[np.int64]) -> Evidence:
    """Each of `regions` as its site's classifier sees it; `network` is folded and rounded as it would be exported."""
    logits, cams = [np.zeros(0)], [np.zeros((0, TAP_CELLS, TAP_CELLS), np.float32)]
    for start in range(0, len(regions), BATCH):
        some = regions[start : start + BATCH]
        with torch.no_grad():
            activations = network.activations(torch.from_numpy(dataset.regions[some])[:, None].float())
        activations.requires_grad_(True)
        site = torch.from_numpy(dataset.site[some])
        logit = soft_maximum(network.scores(activations)[torch.arange(len(some)), site])
        (gradients,) = torch.autograd.grad(logit.sum(), activations)
        logits.append(logit.detach().double().numpy())
        cams.append(grad_cam(activations, gradients).detach().numpy())
    return Evidence(regions=regions, logits=np.concatenate(logits), cams=np.concatenate(cams))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One site's calibration and its two operating points."""

    calibration: Calibration
    doubt: float
    positive: float


def readings(dataset: Dataset, evidence: Evidence) -> list[Reading]:
    """Every site's, from clear regions whose truth is known."""
    e = evidence.of(dataset.clear[evidence.regions])
    label, site = dataset.labels[e.regions], dataset.site[e.regions]
    calibrations = calibrate(e.logits, label, site, len(dataset.sites))
    probability = np.zeros(len(label))
    for index, calibration in enumerate(calibrations):
        probability[site == index] = calibration.probability(e.logits[site == index])
    found = []
    for index, calibration in enumerate(calibrations):
        unbroken = probability[(site == index) & ~label]
        doubt, positive = operating_points(probability[label], unbroken) if len(unbroken) else (1.0, 1.0)
        found.append(Reading(calibration=calibration, doubt=doubt, positive=positive))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Calibrated probabilities (R,), and whether they reach the two points, (R,) bool."""

    probability: NDArray[np.float64]
    doubt: NDArray[np.bool_]
    positive: NDArray[np.bool_]

    def of(self, chosen: NDArray[np.bool_]) -> Answers:
        """A part of them."""
        return Answers(probability=self.probability[chosen], doubt=self.doubt[chosen], positive=self.positive[chosen])


def cross_fitted(dataset: Dataset, evidence: Evidence) -> Answers:
    """The answers to all of `evidence`, each read with what the other folds taught."""
    fold, site = dataset.fold[dataset.film[evidence.regions]], dataset.site[evidence.regions]
    probability = np.zeros(len(fold))
    doubt, positive = np.zeros(len(fold), np.bool_), np.zeros(len(fold), np.bool_)
    for k in dataset.folds:
        for index, reading in enumerate(readings(dataset, evidence.of(fold != k))):
            mine = (fold == k) & (site == index)
            p = reading.calibration.probability(evidence.logits[mine])
            probability[mine], doubt[mine], positive[mine] = p, p >= reading.doubt, p >= reading.positive
    return Answers(probability=probability, doubt=doubt, positive=positive)
