"""Tell regions that are unlike those that an engine was measured on, by the mean of their activations.

The measure is Mahalanobis's distance. Each site has a centre, and all sites of a pack share one covariance.

References
----------
Lee et al., A Simple Unified Framework for Detecting Out-of-Distribution Samples and Adversarial Attacks, NeurIPS 2018.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Familiarity:
    """The distance of a site's regions from their centre, and its limit.

    Attributes
    ----------
    centre
        (K,): mean over the regions that the engine learned from.
    whitening
        (K, K): turns differences from the centre into values without covariance, each of variance one.
    limit
        Largest distance of a familiar region.
    """

    centre: NDArray[np.float32] = field(repr=False)
    whitening: NDArray[np.float32] = field(repr=False)
    limit: float

    def __post_init__(self) -> None:
        channels = self.centre.shape
        arrays = (self.centre, self.whitening)
        if len(channels) != 1 or self.whitening.shape != channels * 2 or not all(np.isfinite(a).all() for a in arrays):
            raise ValueError(f"not a centre and its whitening: {channels}, {self.whitening.shape}")
        if not 0 < self.limit < np.inf:
            raise ValueError(f"not a limit of a distance: {self.limit}")

    def are_familiar(self, means: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return (N,) bool for the mean activations (N, K) of regions."""
        return distances(means, self.centre, self.whitening) <= self.limit


def distances(
    means: NDArray[np.float64], centres: NDArray[np.floating], whitening: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return the distances (N,) of mean activations (N, K) from one centre (K,), or each from its own (N, K)."""
    return np.asarray(np.linalg.norm((means - centres) @ whitening.astype(np.float64).T, axis=1), np.float64)


def mean_activations(activations: NDArray[np.float32], regions: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return (N, K), the mean of (N, K, h, w) over the cells of the picture in each of `regions` (N, H, W).

    Black rows and columns at the lower and right edge are padding. A cell across the edge counts by its share.
    """
    cells = activations.shape[2:]
    weights = np.stack([_shares(region, cells) for region in regions])
    return np.asarray(np.einsum("nkhw,nhw->nk", activations.astype(np.float64), weights))


def _shares(region: NDArray[np.uint8], cells: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the weight of each cell (h, w), with sum one, by its share of the picture."""
    along = []
    for axis, count in enumerate(cells):
        shown = np.flatnonzero(region.any(axis=1 - axis))
        end = int(shown[-1]) + 1 if len(shown) else region.shape[axis]
        along.append(np.clip(end * count / region.shape[axis] - np.arange(count), 0, 1))
    shares = np.outer(*along)
    return np.asarray(shares / shares.sum())
