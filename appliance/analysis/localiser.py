"""Stage 2: one network locates regions on the 512 image.

The network has no anchors. Its outputs are a score for each site and cell, in which neighbours are already suppressed,
and the distances from the centre of each cell to the four sides of the box.

References
----------
Tian et al., FCOS, ICCV 2019; Zhou et al., Objects as Points, 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.domain.finding import Box
from appliance.domain.identifiers import Site
from appliance.preprocessing.recipe import IMAGE_PX, Prepared
from engines.pack import LocaliserSpec
from engines.runner import Runner

from .geometry import clipped_box, iou

OVERLAP = 0.5
"""Intersection over union above which two regions of one site are the same; the higher score is kept."""

WEAK = 0.5
"""Share of the score threshold from which a region is kept as a weak one, which the header may confirm."""

FLAGGED = 0.5
"""Least probability of a flag that counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedRegion:
    """A located region in px of the received image."""

    site: Site
    box: Box
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Localisation:
    """The regions of one radiograph, highest score first, and its flags, such as ``cast``."""

    regions: tuple[LocatedRegion, ...]
    flags: tuple[str, ...] = ()


class Localiser:
    """Runs the localiser of a pack and decodes its outputs.

    Attributes
    ----------
    spec
        Its description in the pack.
    threshold
        Score from which a region is recognised without the help of a header.
    """

    def __init__(self, runner: Runner, spec: LocaliserSpec) -> None:
        self._runner = runner
        self.spec = spec
        self.threshold = spec.score_threshold
        self._lowest = WEAK * spec.score_threshold
        self._sites = tuple(Site(s) for s in spec.sites)
        self._flags = spec.flags

    def locate(self, prepared: Sequence[Prepared], shapes: Sequence[tuple[int, int]]) -> list[Localisation]:
        """Locate the regions of each radiograph; `shapes` are their received (H, W)."""
        out = self._runner.run({"image": np.stack([one.image for one in prepared])[:, None].astype(np.float32)})
        flags = out["flags"] if self._flags else [()] * len(prepared)
        return [
            Localisation(
                regions=tuple(self._regions(scores, sides, one.scale, *shape)),
                flags=tuple(name for name, p in zip(self._flags, probabilities, strict=True) if p >= FLAGGED),
            )
            for scores, sides, one, shape, probabilities in zip(
                out["heat"], out["box"], prepared, shapes, flags, strict=True
            )
        ]

    def _regions(
        self, scores: NDArray[np.float32], sides: NDArray[np.float32], scale: float, height: int, width: int
    ) -> list[LocatedRegion]:
        """Decode (K, h, w) scores and (4, h, w) distances in px of the 512 image to regions of the received image."""
        cell_px = IMAGE_PX / scores.shape[1]
        found: list[LocatedRegion] = []
        channels, rows, columns = np.nonzero(scores >= self._lowest)
        for k in np.argsort(-scores[channels, rows, columns]):
            c, j, i = int(channels[k]), int(rows[k]), int(columns[k])
            x, y = (i + 0.5) * cell_px, (j + 0.5) * cell_px
            left, top, right, bottom = sides[:, j, i]
            x0, y0, x1, y1 = (float(v / scale) for v in (x - left, y - top, x + right, y + bottom))
            box = clipped_box(x0, y0, x1, y1, height, width)
            if all(r.site != self._sites[c] or iou(r.box, box) <= OVERLAP for r in found):
                found.append(LocatedRegion(site=self._sites[c], box=box, score=float(scores[c, j, i])))
        return found
