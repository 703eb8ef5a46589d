"""Extend the pack `fracatlas` by engines for the limb sites that it lacks, without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console

from engines.training.extension import Extension, extend_pack, parts_of_fold
from engines.training.performance import format_estimate

from .manifest import from_fracatlas
from .material import TEST, prepare_labelled
from .notes import FRACATLAS_NOTES
from .recipes import BONE_OUTSIDE

VERSION = "0.4.1"
PARTS = 5
"""Parts of the blind fold for cross-fitting."""

SITES: Sequence[str] = ("elbow", "forearm", "lower_leg", "femur", "humerus", "shoulder", "hand", "foot")
"""Limb sites that pack 0.3.0 has no engine for."""

NOTES = """

**Engines that share one score.** Elbow, forearm, lower leg, femur, humerus, shoulder, hand and foot have too few
fractures for last weights of their own. They share one network: the trunk of all sites, which learned from their
regions too, with the mean of the last weights of ankle, wrist, knee and pelvis. Calibration, operating points and
figures of these eight come from fold 0 alone, which trunk and localiser have not seen, cross-fitted over five parts of
it. Fold 0 is not blind: the recipe of the trunk was chosen on it and on fold 4. Their operating points are where at
most a quarter (possible) and a tenth (suspected) of the fracture-free radiographs of the fold end with all regions
together.

**Claims.** An engine may suspect a fracture only where `finds` is true, and may say "no fracture found" only where
`clears` is true; `engines/training/claims.py` has the rule. A region whose engine may do neither is not read."""


def extend_fracatlas(pack: Path, data: Path, out: Path, cache: Path) -> None:
    """Extend `pack` and write the result to `out`.

    Parameters
    ----------
    data
        The folder of FracAtlas.
    cache
        Folder of prepared arrays, as `osteon train fracatlas` keeps them.
    """
    rows = from_fracatlas(data)
    dataset = prepare_labelled(rows, data, cache.expanduser() / "fracatlas-radiographs.npz")
    _, groups = np.unique([row.group for row in rows if not row.is_unlabelled], return_inverse=True)
    extension = Extension(
        pack=pack,
        version=VERSION,
        sites=SITES,
        blind_fold=TEST,
        parts=parts_of_fold(dataset, groups.astype(np.int64), TEST, PARTS),
        bone_outside=BONE_OUTSIDE,
        notes=FRACATLAS_NOTES + NOTES,
    )
    manifest = extend_pack(extension, dataset, out)
    console = Console()
    for site, engine in manifest["classifiers"].items():
        p, claims = engine["performance"], engine["claims"]
        console.print(
            f"{site:<10} AUROC {format_estimate(tuple(p['auroc']))}, {p['positives']} of {p['n']} fractured, "
            f"sensitivity {format_estimate(tuple(p['sensitivity_doubt']), percent=True)}, specificity "
            f"{format_estimate(tuple(p['specificity_doubt']), percent=True)}, "
            f"{'finds' if claims['finds'] else '-'} {'clears' if claims['clears'] else '-'}"
        )
