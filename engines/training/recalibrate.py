"""Fit calibration and operating points of engines to a site's own radiographs; the networks stay as they are.

Figures come from calibration and operating points that were fitted to other radiographs than those they are measured
on. It needs no PyTorch: an appliance can do it.
"""

from __future__ import annotations

import hashlib
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.pack import MANIFEST
from engines.signature import SIGNATURE
from engines.training.calibration import Calibration, calibrate, operating_points
from engines.training.card import model_card
from engines.training.claims import claims_of
from engines.training.performance import measure
from engines.training.toml_writer import toml

FOLDS = 5

BASE_CARD = "base.md"
"""File with the card of the pack that the new one comes from."""

UNMEASURED = ("heat", "heat_centre", "heat_even", "pointing", "pointing_centre")
"""Figures of the place of the heat, for which reads have no boxes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalReads:
    """Radiographs of one site, each of another patient.

    Attributes
    ----------
    probability
        (N,) float64, the highest calibrated probability that the pack gave to a region of the site.
    fractured, hardware
        (N,) bool, by the radiologist.
    """

    probability: NDArray[np.float64]
    fractured: NDArray[np.bool_]
    hardware: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibrated:
    """A calibration on top of the pack's own, and its operating points.

    Attributes
    ----------
    calibration
        New probability = sigmoid(scale * logit of the pack's probability + offset).
    before, after
        Performance on the same radiographs: of the pack as it is, and of the new values, cross-fitted.
    """

    calibration: Calibration
    doubt: float
    positive: float
    before: dict[str, Any]
    after: dict[str, Any]


def recalibrate(reads: LocalReads, doubt: float, positive: float) -> Recalibrated:
    """Fit to all reads, and measure on each fold what was fitted to the others; `doubt`, `positive` are the pack's."""
    logit = _logit(reads.probability)
    fitted = _fit(logit, reads.fractured)
    fold = _folds(reads.fractured)
    probability = np.zeros(len(logit))
    above = {"doubt": np.zeros(len(logit), np.bool_), "positive": np.zeros(len(logit), np.bool_)}
    for k in range(FOLDS):
        own = fold == k
        calibration, *points = _fit(logit[~own], reads.fractured[~own])
        probability[own] = calibration.probability(logit[own])
        for name, point in zip(above, points, strict=True):
            above[name][own] = probability[own] >= point
    bare = ~reads.hardware
    before = {"doubt": reads.probability >= doubt, "positive": reads.probability >= positive}
    return Recalibrated(
        calibration=fitted[0],
        doubt=fitted[1],
        positive=fitted[2],
        before=measure(reads.probability, before, reads.fractured, bare),
        after=measure(probability, above, reads.fractured, bare),
    )


def write_recalibrated(
    pack: Path, folder: Path, version: str, engines: Mapping[str, Recalibrated], source: str, mix: Mapping[str, Any]
) -> None:
    """Write a copy of a pack with other calibrations to `folder`, which must not exist; it has no signature.

    Parameters
    ----------
    engines
        By site.
    source
        The radiographs in words.
    mix
        By site, tables of the shares of ages and devices.
    """
    manifest = tomllib.loads((pack / MANIFEST).read_text(encoding="utf-8"))
    manifest["version"] = version
    for site, found in engines.items():
        classifier = manifest["classifiers"][site]
        classifier["offset"] = found.calibration.scale * classifier["offset"] + found.calibration.offset
        classifier["scale"] *= found.calibration.scale
        classifier |= {"doubt": found.doubt, "positive": found.positive}
        nothing = dict.fromkeys(UNMEASURED, [float("nan")] * 3)
        classifier["performance"] = found.after | nothing | mix.get(site, {})
        classifier["claims"] = dict(claims_of(classifier["performance"]))
        manifest["data"][f"{site}_recalibrated"] = source
    work = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name in manifest["digests"]:
        shutil.copyfile(pack / name, work / name)
    shutil.copyfile(pack / "README.md", work / BASE_CARD)
    notes = (
        f"Calibration and operating points of {', '.join(engines)} come from {source}: see {BASE_CARD} for the rest."
    )
    (work / "README.md").write_text(model_card(manifest, notes), encoding="utf-8")
    files = sorted(f for f in work.iterdir() if f.name not in (MANIFEST, SIGNATURE))
    manifest["digests"] = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    (work / MANIFEST).write_text(toml(manifest), encoding="utf-8")
    work.rename(folder)


def _fit(logit: NDArray[np.float64], fractured: NDArray[np.bool_]) -> tuple[Calibration, float, float]:
    """Return calibration, doubt and positive by the rules of a training."""
    (calibration,) = calibrate(logit, fractured, np.zeros(len(logit), np.int64), 1)
    probability = calibration.probability(logit)
    return calibration, *operating_points(probability[fractured], probability[~fractured])


def _folds(fractured: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Deal fractures and others out to the folds, each class evenly."""
    fold = np.zeros(len(fractured), np.int64)
    for each in (fractured, ~fractured):
        fold[each] = np.random.default_rng(0).permutation(int(each.sum())) % FOLDS
    return fold


def _logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    bounded = np.clip(probability, 1e-12, 1 - 1e-12)
    return np.asarray(np.log(bounded / (1 - bounded)))
