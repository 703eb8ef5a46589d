"""The prepared arrays of one training."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEARN_ONLY = -1
"""Fold of radiographs that are learned from and never predicted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """M radiographs and their R regions, prepared by the appliance's preprocessing.

    Attributes
    ----------
    sites : (S,) str
        Names of the sites; `site` indexes into it.
    radiographs : (M,512,512) uint8
    fold : (M,) int8
        0, 1, ... or `LEARN_ONLY`. A radiograph is predicted by a network that has not seen its fold.
    flags : (K,) str
        Names of the flags of whole radiographs, such as "hardware"; `flagged` has a column for each.
    flagged : (M,K) bool
    boxes : (R,4) float32
        Region boxes in pixels of the 512 image.
    regions : (R,256,256) uint8
    masks : (R,64,64) uint8
        1 inside a fracture box, 2 inside that of a neighbouring region, else 0.
    labels : (R,) bool
        True if a fracture's centre lies in the region.
    clear : (R,) bool
        False if only a neighbouring region's fracture shows: the region is tested on, but not trained on.
    site, radiograph : (R,) int64
        Indices into `sites` and `radiographs`.
    """

    sites: NDArray[np.str_]
    radiographs: NDArray[np.uint8]
    fold: NDArray[np.int8]
    flags: NDArray[np.str_]
    flagged: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    regions: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    labels: NDArray[np.bool_]
    clear: NDArray[np.bool_]
    site: NDArray[np.int64]
    radiograph: NDArray[np.int64]

    def __post_init__(self) -> None:
        n, r = len(self.radiographs), len(self.regions)
        if any(len(a) != n for a in (self.fold, self.flagged)):
            raise ValueError("radiographs, fold and flagged differ in length")
        if any(len(a) != r for a in (self.boxes, self.masks, self.labels, self.clear, self.site, self.radiograph)):
            raise ValueError("the arrays of the regions differ in length")

    @property
    def folds(self) -> list[int]:
        """Folds that are predicted, in ascending order."""
        return sorted({int(f) for f in self.fold} - {LEARN_ONLY})

    def regions_of(self, radiographs: NDArray[np.bool_], site: str | None = None) -> NDArray[np.int64]:
        """Return the indices of the regions on the chosen radiographs (M,), of one site or of all."""
        chosen = radiographs[self.radiograph]
        if site is not None:
            chosen &= self.sites[self.site] == site
        return np.flatnonzero(chosen)

    def flag(self, name: str) -> NDArray[np.bool_]:
        """Return (M,) bool: the radiographs with a flag; none if the flag is not among `flags`."""
        return np.asarray(self.flagged[:, self.flags == name].any(1), np.bool_)

    def join(self, other: Dataset) -> Dataset:
        """Return both as one, this one first; they must have the same sites and flags."""
        both: dict[str, Any] = {
            f.name: np.concatenate([getattr(d, f.name) for d in (self, other)]) for f in fields(self)
        }
        both |= {"sites": self.sites, "flags": self.flags}
        both["radiograph"] = np.concatenate([self.radiograph, other.radiograph + len(self.radiographs)])
        return Dataset(**both)

    def save(self, path: Path) -> None:
        """Write the arrays to one .npz, uncompressed, since it is read many times."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.npz")
        arrays: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        np.savez(unfinished, **arrays)
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> Dataset:
        """Read a file that `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{f.name: stored[f.name] for f in fields(cls)})
