"""The prepared material of one training: arrays only, whatever they were made from."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LEARN_ONLY = -1  # fold of films that are never predicted


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Films and their regions, as the appliance's preprocessing gives them.

    Attributes
    ----------
    sites : (S,) str
        Names of the sites; `site` indexes into it.
    films : (F,512,512) uint8
    fold : (F,) int8
        What is told of a film is told by a network that has not seen the films of its fold; `LEARN_ONLY` or 0, 1, ...
    flags : (K,) str
        What is known of whole films, such as "hardware"; `flagged` has a column for each.
    flagged : (F,K) bool
    boxes : (R,4) float32
        Region boxes in pixels of the 512 image.
    regions : (R,256,256) uint8
    masks : (R,64,64) uint8
        1 inside a fracture box, 2 where a neighbouring region's fracture shows, else 0.
    labels : (R,) bool
        A fracture's centre lies in the region.
    clear : (R,) bool
        False where a fracture shows that does not belong to the region: not trained on, but tested on.
    site, film : (R,) int64
    """

    sites: NDArray[np.str_]
    films: NDArray[np.uint8]
    fold: NDArray[np.int8]
    flags: NDArray[np.str_]
    flagged: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    regions: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    labels: NDArray[np.bool_]
    clear: NDArray[np.bool_]
    site: NDArray[np.int64]
    film: NDArray[np.int64]

    def __post_init__(self) -> None:
        n, r = len(self.films), len(self.regions)
        if any(len(a) != n for a in (self.fold, self.flagged)):
            raise ValueError("films, fold and flagged differ in length")
        if any(len(a) != r for a in (self.boxes, self.masks, self.labels, self.clear, self.site, self.film)):
            raise ValueError("the arrays of the regions differ in length")

    @property
    def folds(self) -> list[int]:
        """The folds that are predicted."""
        return sorted({int(f) for f in self.fold} - {LEARN_ONLY})

    def regions_of(self, films: NDArray[np.bool_], site: str | None = None) -> NDArray[np.int64]:
        """Indices of the regions on the chosen films, of one site or of all."""
        chosen = films[self.film]
        if site is not None:
            chosen &= self.sites[self.site] == site
        return np.flatnonzero(chosen)

    def flag(self, name: str) -> NDArray[np.bool_]:
        """(F,) bool: which films carry a flag; none do of a flag that nobody looked for."""
        return np.asarray(self.flagged[:, self.flags == name].any(1), np.bool_)

    def joined(self, other: Dataset) -> Dataset:
        """Both, this one first; they know the same sites and flags."""
        both: dict[str, Any] = {
            f.name: np.concatenate([getattr(d, f.name) for d in (self, other)]) for f in fields(self)
        }
        both |= {"sites": self.sites, "flags": self.flags}
        both["film"] = np.concatenate([self.film, other.film + len(self.films)])
        return Dataset(**both)

    def save(self, path: Path) -> None:
        """Write one uncompressed .npz; it is read back many times."""
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".part.npz")
        arrays: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        np.savez(unfinished, **arrays)
        unfinished.replace(path)

    @classmethod
    def load(cls, path: Path) -> Dataset:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(**{f.name: stored[f.name] for f in fields(cls)})
