"""From two trained networks to a finished pack: export, calibrate, measure, describe.

The pack is assembled beside its final folder and moved there whole, so that no reader meets half a pack.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engines.pack import FORMAT, MANIFEST
from engines.training.card import model_card
from engines.training.claims import claims_of
from engines.training.dataset import Dataset
from engines.training.evaluate import (
    best_threshold,
    classifier_performance,
    flag_performance,
    localiser_performance,
    locate,
)
from engines.training.evidence import Evidence, calibrate_sites, cross_fit
from engines.training.export import draw_pattern, export_classifier, export_localiser, fold_and_round
from engines.training.familiarity import write_familiarity
from engines.training.networks import IMAGE_PX, REGION_PX, FractureNetwork, LocaliserNetwork
from engines.training.session import open_session
from engines.training.toml_writer import toml

LOWEST_SCORE = 0.05
"""Score from which regions are located while the threshold is chosen; below every threshold that is tried."""

GOLDEN_STEP = 2.0**-12
"""Step, relative to the largest value, to which goldens are rounded to stay small: an error of at most 1.2e-4."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackSpec:
    """Description of a pack to write.

    Attributes
    ----------
    preprocessing
        Digest of the preprocessing that prepared the dataset.
    data, notes
        Facts of the data for the manifest, and notes on them for the card.
    classified
        Sites that get a classifier.
    bone_outside, polarity_is_measured
        As in `engines.pack.LocaliserSpec`.
    test_fold, threshold_fold
        Folds on which the localiser is tested, and its threshold chosen.
    """

    name: str
    version: str
    kind: Literal["synthetic", "radiographs"]
    description: str
    preprocessing: str
    data: Mapping[str, Any]
    notes: str
    classified: Sequence[str]
    bone_outside: float = 1.0
    polarity_is_measured: bool = False
    test_fold: int = 0
    threshold_fold: int = 1


def write_pack(
    spec: PackSpec,
    dataset: Dataset,
    localiser: LocaliserNetwork,
    fractures: FractureNetwork,
    evidence: Evidence,
    folder: Path,
) -> dict[str, Any]:
    """Write the pack to `folder`, replacing what was there, and return its manifest.

    Parameters
    ----------
    evidence
        Scores of networks, trained by the same recipe, on regions that they have not seen.
    """
    work = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "name": spec.name,
        "version": spec.version,
        "kind": spec.kind,
        "description": spec.description,
        "preprocessing": spec.preprocessing,
        "data": dict(spec.data),
        "localiser": _localiser(dataset, localiser, spec, work),
        "classifiers": _classifiers(spec, dataset, fractures, evidence, work),
        "together": {
            "classified": _together(dataset, evidence, spec.classified),
            "all": _together(dataset, evidence, [str(s) for s in dataset.sites]),
        },
    }
    manifest["familiarity"] = write_familiarity(work, manifest["classifiers"], dataset, spec.test_fold)
    finish_pack(work, folder, manifest, spec.notes)
    return manifest


def finish_pack(work: Path, folder: Path, manifest: dict[str, Any], notes: str) -> None:
    """Write claims, card, goldens and manifest to `work`, which holds the networks, and move it to `folder`.

    `manifest` gets the claims and the digests.
    """
    for classifier in manifest["classifiers"].values():
        classifier["claims"] = dict(claims_of(classifier["performance"]))
    (work / "README.md").write_text(model_card(manifest, notes), encoding="utf-8")
    goldens: dict[str, Any] = {**golden_outputs(work)}
    np.savez_compressed(work / "goldens.npz", **goldens)
    files = sorted(f for f in work.iterdir() if f.is_file())
    manifest["digests"] = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    (work / MANIFEST).write_text(toml(manifest), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    work.replace(folder)


def _localiser(dataset: Dataset, network: LocaliserNetwork, spec: PackSpec, folder: Path) -> dict[str, Any]:
    path = folder / "localiser.onnx"
    export_localiser(network, path)
    for_threshold, test = (np.flatnonzero(dataset.fold == k) for k in (spec.threshold_fold, spec.test_fold))
    exported = open_session(path)
    threshold = best_threshold(
        dataset, locate(exported, dataset.radiographs[for_threshold], LOWEST_SCORE), for_threshold
    )
    found = locate(exported, dataset.radiographs[test], threshold)
    return {
        "file": path.name,
        "sites": [str(s) for s in dataset.sites],
        "score_threshold": threshold,
        "bone_outside": spec.bone_outside,
        "polarity_is_measured": spec.polarity_is_measured,
        "flags": [] if network.flag is None else [str(f) for f in dataset.flags],
        "performance": localiser_performance(dataset, found, test),
        "flag_performance": flag_performance(dataset, path, test),
    }


def _classifiers(
    spec: PackSpec, dataset: Dataset, network: FractureNetwork, evidence: Evidence, folder: Path
) -> dict[str, Any]:
    fold_and_round(network)
    calibrations = calibrate_sites(dataset, evidence)
    predictions = cross_fit(dataset, evidence)
    site_of = dataset.site[evidence.regions]
    classified = {}
    for site in spec.classified:
        index = [str(s) for s in dataset.sites].index(site)
        path = folder / f"{site}.onnx"
        export_classifier(network, index, path)
        chosen = site_of == index
        fitted = calibrations[index]
        classified[site] = {
            "file": path.name,
            "scale": fitted.calibration.scale,
            "offset": fitted.calibration.offset,
            "doubt": fitted.doubt,
            "positive": fitted.positive,
            "performance": classifier_performance(dataset, evidence.select(chosen), predictions.select(chosen)),
        }
    return classified


def _together(dataset: Dataset, evidence: Evidence, sites: Sequence[str]) -> dict[str, Any]:
    """Measure several sites together."""
    chosen = np.isin(dataset.sites[dataset.site[evidence.regions]], sites)
    return classifier_performance(dataset, evidence.select(chosen), cross_fit(dataset, evidence).select(chosen))


def golden_outputs(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Return golden inputs, drawn from formulae, and each network's outputs: ``network/tensor`` -> float32."""
    goldens: dict[str, NDArray[np.float32]] = {}
    for path in sorted(folder.glob("*.onnx")):
        network = open_session(path)
        source = network.get_inputs()[0].name
        side = IMAGE_PX if path.stem == "localiser" else REGION_PX
        image = draw_pattern(side, seed=1)[None, None]
        image[..., side // 2 :] = 0  # padded as a narrow region is; constant parts keep the file small
        goldens[f"{path.stem}/{source}"] = image
        names = [o.name for o in network.get_outputs()]
        for name, value in zip(names, network.run(names, {source: image}), strict=True):
            goldens[f"{path.stem}/{name}"] = _round_golden(np.asarray(value, np.float32))
    return goldens


def _round_golden(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to a grid that is fine enough to compare with and coarse enough to compress."""
    step = float(np.abs(values).max()) * GOLDEN_STEP
    if values.size < 2 or step == 0:
        return values
    # with a power of two as step the low bits of every float are zero, and zeros compress well
    step = 2.0 ** np.floor(np.log2(step))
    return np.asarray(np.rint(values / step) * step, np.float32)
