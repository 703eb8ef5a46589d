"""Scores of fracture networks on regions that they have not seen, and their calibration.

The predictions of a fold use the calibration and operating points that are fitted on the other folds.
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
"""Regions in one inference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Scores of regions.

    Attributes
    ----------
    regions
        (R,) indices into the dataset.
    logits
        (R,) float64.
    cams
        (R,16,16) float32, Grad-CAM maps, not normalised.
    """

    regions: NDArray[np.int64]
    logits: NDArray[np.float64]
    cams: NDArray[np.float32] = field(repr=False)

    def select(self, chosen: NDArray[np.bool_]) -> Evidence:
        """Return the chosen regions' part."""
        return Evidence(regions=self.regions[chosen], logits=self.logits[chosen], cams=self.cams[chosen])

    def save(self, path: Path) -> None:
        """Write the arrays to an .npz."""
        np.savez(path, regions=self.regions, logits=self.logits, cams=self.cams)

    @classmethod
    def load(cls, path: Path) -> Evidence:
        """Read a file that `save` wrote."""
        with np.load(path) as stored:
            return cls(**{name: stored[name] for name in ("regions", "logits", "cams")})


def join_evidence(parts: list[Evidence]) -> Evidence:
    """Return several as one, in their order."""
    return Evidence(
        regions=np.concatenate([p.regions for p in parts]),
        logits=np.concatenate([p.logits for p in parts]),
        cams=np.concatenate([p.cams for p in parts]),
    )


def examine(network: FractureNetwork, dataset: Dataset, regions: NDArray[np.int64]) -> Evidence:
    """Score each of `regions` with its site's score map; `network` is already folded and rounded, as for export."""
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
class SiteCalibration:
    """Calibration and operating points of one site."""

    calibration: Calibration
    doubt: float
    positive: float


def calibrate_sites(dataset: Dataset, evidence: Evidence) -> list[SiteCalibration]:
    """Fit calibration and operating points of every site to the clear regions of `evidence`."""
    e = evidence.select(dataset.clear[evidence.regions])
    label, site = dataset.labels[e.regions], dataset.site[e.regions]
    calibrations = calibrate(e.logits, label, site, len(dataset.sites))
    probability = np.zeros(len(label))
    for index, calibration in enumerate(calibrations):
        probability[site == index] = calibration.probability(e.logits[site == index])
    found = []
    for index, calibration in enumerate(calibrations):
        unbroken = probability[(site == index) & ~label]
        doubt, positive = operating_points(probability[label], unbroken) if len(unbroken) else (1.0, 1.0)
        found.append(SiteCalibration(calibration=calibration, doubt=doubt, positive=positive))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Calibrated probabilities (R,), and whether they reach the two operating points, (R,) bool."""

    probability: NDArray[np.float64]
    doubt: NDArray[np.bool_]
    positive: NDArray[np.bool_]

    def select(self, chosen: NDArray[np.bool_]) -> Predictions:
        """Return the chosen regions' part."""
        return Predictions(
            probability=self.probability[chosen], doubt=self.doubt[chosen], positive=self.positive[chosen]
        )


def cross_fit(dataset: Dataset, evidence: Evidence) -> Predictions:
    """Predict all of `evidence`, each fold with the calibration and operating points of the others."""
    fold = dataset.fold[dataset.radiograph[evidence.regions]]
    site = dataset.site[evidence.regions]
    probability = np.zeros(len(fold))
    doubt, positive = np.zeros(len(fold), np.bool_), np.zeros(len(fold), np.bool_)
    for k in dataset.folds:
        for index, fitted in enumerate(calibrate_sites(dataset, evidence.select(fold != k))):
            chosen = (fold == k) & (site == index)
            p = fitted.calibration.probability(evidence.logits[chosen])
            probability[chosen] = p
            doubt[chosen] = p >= fitted.doubt
            positive[chosen] = p >= fitted.positive
    return Predictions(probability=probability, doubt=doubt, positive=positive)
