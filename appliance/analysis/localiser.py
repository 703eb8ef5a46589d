"""Stage 2: the regions that one network finds on the 512 image.

The network is free of anchors (Tian et al., FCOS, ICCV 2019; Zhou et al., Objects as Points, 2019): a score per site
and cell whose neighbours are already suppressed, and the distances from the cell's centre to the box's four sides.
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
"""Two regions of one site that share more than this are one region; the higher score stays."""

MOST = 12
"""Regions kept per film: both hands on one film with every neighbour make ten."""


FLAGGED = 0.5
"""Probability from which a flag of the whole film counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedRegion:
    """A located region in px of the received image."""

    site: Site
    box: Box
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Localisation:
    """What one film shows: its regions, highest score first, and what is true of the whole of it."""

    regions: tuple[LocatedRegion, ...]
    flags: tuple[str, ...] = ()


class Localiser:
    """Runs the pack's localiser and decodes what it says."""

    def __init__(self, runner: Runner, spec: LocaliserSpec) -> None:
        self._runner = runner
        self._threshold = spec.score_threshold
        self._sites = tuple(Site(s) for s in spec.sites)
        self._flags = spec.flags

    def locate(self, films: Sequence[Prepared], shapes: Sequence[tuple[int, int]]) -> list[Localisation]:
        """What each of the images shows that were received as (H, W) of `shapes`."""
        out = self._runner.run({"image": np.stack([film.image for film in films])[:, None].astype(np.float32)})
        flags = out["flags"] if self._flags else [()] * len(films)
        return [
            Localisation(
                regions=tuple(self._regions(heat, sides, film.scale, *shape)),
                flags=tuple(name for name, p in zip(self._flags, seen, strict=True) if p >= FLAGGED),
            )
            for heat, sides, film, shape, seen in zip(out["heat"], out["box"], films, shapes, flags, strict=True)
        ]

    def _regions(
        self, heat: NDArray[np.float32], sides: NDArray[np.float32], scale: float, height: int, width: int
    ) -> list[LocatedRegion]:
        cell_px = IMAGE_PX / heat.shape[1]
        found: list[LocatedRegion] = []
        channels, rows, columns = np.nonzero(heat >= self._threshold)
        for k in np.argsort(-heat[channels, rows, columns]):
            c, j, i = int(channels[k]), int(rows[k]), int(columns[k])
            x, y = (i + 0.5) * cell_px, (j + 0.5) * cell_px
            left, top, right, bottom = sides[:, j, i]
            x0, y0, x1, y1 = (float(v / scale) for v in (x - left, y - top, x + right, y + bottom))
            box = clipped_box(x0, y0, x1, y1, height, width)
            if all(r.site != self._sites[c] or iou(r.box, box) <= OVERLAP for r in found):
                found.append(LocatedRegion(site=self._sites[c], box=box, score=float(heat[c, j, i])))
        return found[:MOST]
