"""Measure the activations of a pack's engines, so that the appliance can tell regions unlike those of the training."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.familiarity import distances, mean_activations
from engines.training.dataset import Dataset
from engines.training.session import open_session

FILE = "familiarity.npz"
"""File of a pack with the centre of each site and the whitening that all share."""

BATCH = 16

SHRINKAGE = 0.1
"""Weight of an even variance in the covariance: small directions, of which a training tells little, count less."""

BEYOND = 0.01
"""Share of regions of the fold that the networks have not seen which may lie beyond the limit."""


def write_familiarity(
    folder: Path, classifiers: Mapping[str, Mapping[str, Any]], dataset: Dataset, held_out: int
) -> dict[str, Any]:
    """Write the statistics to `folder`, which holds the networks, and return their table for the manifest.

    Parameters
    ----------
    classifiers
        The manifest's, by site: the engines share the trunk that makes the activations.
    held_out
        The fold that the networks have not seen; its regions give the limit, all others centres and covariance.
    """
    names = [str(site) for site in dataset.sites]
    regions = np.flatnonzero(np.isin(dataset.sites[dataset.site], sorted(classifiers)))
    site = dataset.site[regions]
    files = np.array([classifiers[name]["file"] if name in classifiers else "" for name in names])[site]
    parts = {file: _means(folder / file, dataset.regions[regions[files == file]]) for file in np.unique(files)}
    means = np.empty((len(regions), next(iter(parts.values())).shape[1]))
    for file, part in parts.items():
        means[files == file] = part
    learned = dataset.fold[dataset.radiograph[regions]] != held_out
    centres = np.zeros((len(names), means.shape[1]), np.float32)
    for index in np.unique(site):
        centres[index] = means[learned & (site == index)].mean(0)
    whitening = _whitening(means[learned] - centres[site[learned]])
    apart = distances(means[~learned], centres[site[~learned]], whitening)
    arrays: dict[str, Any] = {names[index]: centres[index] for index in np.unique(site)}
    np.savez_compressed(folder / FILE, whitening=whitening, **arrays)
    return {
        "is_measured": True,
        "file": FILE,
        "limit": float(np.quantile(apart, 1 - BEYOND, method="higher")),
        "regions": int(learned.sum()),
        "held_out_regions": len(apart),
        "held_out_beyond": float(BEYOND),
    }


def _means(engine: Path, regions: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean activations (N, K) of an exported engine over each of `regions`."""
    session = open_session(engine)
    parts = []
    for start in range(0, len(regions), BATCH):
        some = regions[start : start + BATCH]
        (activations,) = session.run(["activations"], {"region": some[:, None].astype(np.float32)})
        parts.append(mean_activations(np.asarray(activations), some))
    return np.concatenate(parts)


def _whitening(differences: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the symmetric inverse root (K, K) of the shrunk covariance of differences (N, K) from their centres."""
    covariance = differences.T @ differences / len(differences)
    even = np.trace(covariance) / len(covariance)
    values, vectors = np.linalg.eigh((1 - SHRINKAGE) * covariance + SHRINKAGE * even * np.eye(len(covariance)))
    return np.asarray(vectors @ np.diag(values**-0.5) @ vectors.T, np.float32)
