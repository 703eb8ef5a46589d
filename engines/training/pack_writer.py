"""From two trained networks to a finished pack: export, calibrate, measure, describe, sign.

The pack is put together beside its place and moved there whole, so that nobody reads half a pack.
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
from engines.training.calibration import calibrate, operating_points
from engines.training.card import model_card
from engines.training.dataset import Dataset, Part
from engines.training.evaluate import (
    best_threshold,
    classifier_performance,
    classify,
    localiser_performance,
    locate,
    session,
)
from engines.training.export import export_classifier, export_localiser, pattern, ready
from engines.training.manifest import toml
from engines.training.networks import IMAGE_PX, REGION_PX, FractureNetwork, LocaliserNetwork

LOWEST_SCORE = 0.05  # below every threshold that is tried
GOLDEN_STEP = 2.0**-12  # of the largest value: goldens are rounded to it to stay small, off by 1.2e-4 at most


@dataclass(frozen=True, slots=True, kw_only=True)
class PackSpec:
    """What a pack says of itself."""

    name: str
    version: str
    kind: Literal["synthetic", "radiographs"]
    description: str
    preprocessing: str
    data: Mapping[str, Any]
    notes: str
    classified: Sequence[str]


def write_pack(
    spec: PackSpec, dataset: Dataset, localiser: LocaliserNetwork, fractures: FractureNetwork, folder: Path
) -> dict[str, Any]:
    """Write the pack to `folder`, replacing what was there, and return its manifest."""
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
        "localiser": _localiser(dataset, localiser, work),
        "classifiers": _classifiers(spec, dataset, fractures, work),
    }
    (work / "README.md").write_text(model_card(manifest, spec.notes), encoding="utf-8")
    goldens: dict[str, Any] = {**_goldens(work)}
    np.savez_compressed(work / "goldens.npz", **goldens)
    files = sorted(f for f in work.iterdir() if f.is_file())
    manifest["digests"] = {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}
    (work / MANIFEST).write_text(toml(manifest), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    work.replace(folder)
    return manifest


def _localiser(dataset: Dataset, network: LocaliserNetwork, folder: Path) -> dict[str, Any]:
    path = folder / "localiser.onnx"
    export_localiser(network, path)
    validation, test = dataset.films_of(Part.VALIDATION), dataset.films_of(Part.TEST)
    threshold = best_threshold(dataset, locate(path, dataset.films[validation], LOWEST_SCORE), validation)
    found = locate(path, dataset.films[test], threshold)
    return {
        "file": path.name,
        "sites": [str(s) for s in dataset.sites],
        "score_threshold": threshold,
        "performance": localiser_performance(dataset, found, test),
    }


def _classifiers(spec: PackSpec, dataset: Dataset, network: FractureNetwork, folder: Path) -> dict[str, Any]:
    ready(network)
    sites = [str(s) for s in dataset.sites]
    validation = dataset.regions_of(Part.VALIDATION)
    validation = validation[dataset.clear[validation]]
    logits = np.zeros(len(validation))
    for index, site in enumerate(sites):
        path = folder / f"{site}.onnx"
        export_classifier(network, index, path)
        mine = dataset.site[validation] == index
        logits[mine] = classify(path, dataset.regions[validation[mine]]).logits
        if site not in spec.classified:
            path.unlink()  # exported only because its regions help to calibrate the others
    label, site_of = dataset.labels[validation], dataset.site[validation]
    calibrations = calibrate(logits, label, site_of, len(sites))
    probability = np.zeros(len(validation))
    for index, calibration in enumerate(calibrations):
        probability[site_of == index] = calibration.probability(logits[site_of == index])
    classified = {}
    for site in spec.classified:
        index = sites.index(site)
        points = operating_points(probability[label], probability[(site_of == index) & ~label])
        test = dataset.regions_of(Part.TEST, site)
        evidence = classify(folder / f"{site}.onnx", dataset.regions[test])
        classified[site] = {
            "file": f"{site}.onnx",
            "scale": calibrations[index].scale,
            "offset": calibrations[index].offset,
            "doubt": points[0],
            "positive": points[1],
            "performance": classifier_performance(dataset, test, evidence, calibrations[index], points),
        }
    return classified


def _goldens(folder: Path) -> dict[str, NDArray[np.float32]]:
    """Inputs drawn from formulae (no one's radiograph) and what each network answers: ``network/tensor``, float32."""
    goldens: dict[str, NDArray[np.float32]] = {}
    for path in sorted(folder.glob("*.onnx")):
        network = session(path)
        source = network.get_inputs()[0].name
        side = IMAGE_PX if path.stem == "localiser" else REGION_PX
        image = pattern(side, seed=1)[None, None]
        image[..., side // 2 :] = 0  # padded as a narrow region is; what is constant there keeps the file small
        goldens[f"{path.stem}/{source}"] = image
        names = [o.name for o in network.get_outputs()]
        for name, value in zip(names, network.run(names, {source: image}), strict=True):
            goldens[f"{path.stem}/{name}"] = _rounded(np.asarray(value, np.float32))
    return goldens


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """`values` on a grid fine enough to compare with and coarse enough to compress."""
    step = float(np.abs(values).max()) * GOLDEN_STEP
    if values.size < 2 or step == 0:
        return values
    # a power of two as step leaves the low bits of every float zero, which is what compresses
    step = 2.0 ** np.floor(np.log2(step))
    return np.asarray(np.rint(values / step) * step, np.float32)
