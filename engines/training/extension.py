"""Add engines for further sites to a pack whose engines share one trunk and differ in their last weights alone.

A fracture network learns one trunk from the regions of all sites, and for each site a small deviation of its last
weights (`engines.training.networks.FractureNetwork`). The mean of the engines' last weights is the score that they
share, and reads sites that have too few fractures for a deviation of their own. All such sites name one file.

The trunk has seen the labelled radiographs of every fold but one. Calibration, operating points and measured
performance of the new engines come from that fold alone, cross-fitted over parts of it that share no group of
radiographs.
"""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper

from engines.network_file import read_network
from engines.pack import MANIFEST
from engines.training.dataset import LEARN_ONLY, Dataset
from engines.training.evaluate import classifier_performance
from engines.training.evidence import Evidence, Predictions, SiteCalibration, calibrate_sites, cross_fit
from engines.training.familiarity import write_familiarity
from engines.training.networks import grad_cam
from engines.training.pack_writer import finish_pack
from engines.training.session import open_session

SHARED = "limb.onnx"
"""File of the engine that several sites share."""

BATCH = 16
MOST_DOUBT, MOST_POSITIVE = 0.25, 0.10
"""Shares of fracture-free radiographs that may reach the two operating points, all regions together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """The pack that is extended, and how.

    Attributes
    ----------
    sites
        Sites that are to get the shared engine.
    blind_fold
        The fold that trunk and localiser have not seen.
    parts : (F,) int8
        Part of the blind fold that each radiograph belongs to, for cross-fitting; `LEARN_ONLY` outside of it.
    bone_outside
        As in `engines.pack.LocaliserSpec`; the check for exchanged black and white counts as measured.
    notes
        What only the maker of the pack can say of its data, for the card.
    """

    pack: Path
    version: str
    sites: Sequence[str]
    blind_fold: int
    parts: NDArray[np.int8]
    bone_outside: float
    notes: str


def extend_pack(extension: Extension, dataset: Dataset, folder: Path) -> dict[str, Any]:
    """Write the extended pack to `folder`, replacing it, and return its manifest."""
    manifest = tomllib.loads((extension.pack / MANIFEST).read_text())
    work = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name in {manifest["localiser"]["file"], *(c["file"] for c in manifest["classifiers"].values())}:
        shutil.copy(extension.pack / name, work / name)
    write_shared_engine([work / c["file"] for c in manifest["classifiers"].values()], work / SHARED)
    manifest |= {"version": extension.version, "description": _description(manifest, extension.sites)}
    manifest["localiser"] |= {"bone_outside": extension.bone_outside, "polarity_is_measured": True}
    manifest["classifiers"] |= _new_engines(extension, dataset, manifest, work)
    manifest["familiarity"] = write_familiarity(work, manifest["classifiers"], dataset, extension.blind_fold)
    finish_pack(work, folder, manifest, extension.notes)
    return manifest


def write_shared_engine(engines: Sequence[Path], out: Path) -> None:
    """Write an engine whose last weights are the mean of those of `engines`, which are equal in all others.

    Raises
    ------
    ValueError
        If the engines differ in more than their last weights, or have weights outside their files.
    """
    models = [onnx.load_model_from_string(read_network(path)) for path in engines]
    weights, bias = last_weights(models[0])
    for tensors in zip(*(model.graph.initializer for model in models), strict=True):
        arrays = [numpy_helper.to_array(tensor) for tensor in tensors]
        if tensors[0].name.removesuffix("_half") in (weights, bias):
            mean = np.mean([a.astype(np.float32) for a in arrays], axis=0).astype(arrays[0].dtype)
            tensors[0].CopyFrom(numpy_helper.from_array(mean, tensors[0].name))
        elif any(not np.array_equal(arrays[0], a) for a in arrays[1:]):
            raise ValueError(f"the engines differ in {tensors[0].name}, which is not among their last weights")
    onnx.checker.check_model(models[0], full_check=True)
    out.write_bytes(models[0].SerializeToString(deterministic=True))


def last_weights(model: onnx.ModelProto) -> tuple[str, str]:
    """Return the names of weights and bias of the last convolution before the logit: the one with a single output."""
    shapes = {t.name.removesuffix("_half"): tuple(t.dims) for t in model.graph.initializer}
    last = [
        node.input[1:3]
        for node in model.graph.node
        if node.op_type == "Conv" and shapes.get(node.input[1], (0,))[0] == 1
    ]
    if len(last) != 1:
        raise ValueError(f"{len(last)} convolutions have a single output, where one was expected")
    return last[0][0], last[0][1]


def examine_exported(engine: Path, dataset: Dataset, regions: NDArray[np.int64]) -> Evidence:
    """Return the logits and Grad-CAM maps of an exported engine for `regions`."""
    session = open_session(engine)
    logits, cams = [], []
    for start in range(0, len(regions), BATCH):
        images = dataset.regions[regions[start : start + BATCH], None].astype(np.float32)
        logit, activations, gradients = session.run(["logit", "activations", "gradients"], {"region": images})
        logits.append(np.asarray(logit, np.float64))
        cams.append(grad_cam(torch.from_numpy(activations), torch.from_numpy(gradients)).numpy())
    return Evidence(regions=regions, logits=np.concatenate(logits), cams=np.concatenate(cams))


def _new_engines(extension: Extension, dataset: Dataset, manifest: dict[str, Any], work: Path) -> dict[str, Any]:
    limbs = [str(s) for s in dataset.sites if str(s) in {*extension.sites, *manifest["classifiers"]}]
    regions = dataset.regions_of(dataset.fold == extension.blind_fold)
    regions = regions[np.isin(dataset.sites[dataset.site[regions]], limbs)]
    evidence = examine_exported(work / SHARED, dataset, regions)
    parted = replace(dataset, fold=extension.parts)
    found = _at_operating_points(parted, evidence, calibrate_sites(parted, evidence))
    answers = _cross_fitted(parted, evidence)
    engines = {}
    for site in extension.sites:
        index = [str(s) for s in dataset.sites].index(site)
        mine, reading = dataset.site[regions] == index, found[index]
        engines[site] = {
            "file": SHARED,
            "scale": reading.calibration.scale,
            "offset": reading.calibration.offset,
            "doubt": reading.doubt,
            "positive": reading.positive,
            "performance": classifier_performance(dataset, evidence.select(mine), answers.select(mine)),
        }
    return engines


def _at_operating_points(
    dataset: Dataset, evidence: Evidence, found: Sequence[SiteCalibration]
) -> list[SiteCalibration]:
    """Move every site's operating points to where few fracture-free radiographs reach them, all regions together."""
    doubt, positive = _radiograph_thresholds(dataset, evidence)
    return [
        SiteCalibration(calibration=r.calibration, doubt=float(points[0]), positive=float(points[1]))
        for r in found
        for points in [r.calibration.probability(np.array([doubt, positive]))]
    ]


def _radiograph_thresholds(dataset: Dataset, evidence: Evidence) -> tuple[float, float]:
    """Return the logits that a quarter and a tenth of the fracture-free radiographs reach with their gravest region."""
    film = dataset.radiograph[evidence.regions]
    radiographs, member = np.unique(film, return_inverse=True)
    gravest = np.full(len(radiographs), -np.inf)
    np.maximum.at(gravest, member, evidence.logits)
    fractured = np.zeros(len(radiographs), bool)
    np.logical_or.at(fractured, member, dataset.labels[evidence.regions])
    doubt, positive = np.quantile(gravest[~fractured], (1 - MOST_DOUBT, 1 - MOST_POSITIVE), method="higher")
    return float(np.nextafter(doubt, np.inf)), float(np.nextafter(positive, np.inf))


def _cross_fitted(dataset: Dataset, evidence: Evidence) -> Predictions:
    """Return the answers to all of `evidence`, each at calibration and operating points of the other parts."""
    answers = cross_fit(dataset, evidence)
    part, site = dataset.fold[dataset.radiograph[evidence.regions]], dataset.site[evidence.regions]
    doubt, positive = np.zeros(len(part), np.bool_), np.zeros(len(part), np.bool_)
    for k in dataset.folds:
        others = evidence.select(part != k)
        for index, reading in enumerate(_at_operating_points(dataset, others, calibrate_sites(dataset, others))):
            mine = (part == k) & (site == index)
            p = reading.calibration.probability(evidence.logits[mine])
            doubt[mine], positive[mine] = p >= reading.doubt, p >= reading.positive
    return replace(answers, doubt=doubt, positive=positive)


def _description(manifest: dict[str, Any], sites: Sequence[str]) -> str:
    count = len(manifest["classifiers"]) + len(sites)
    return f"Localiser of {len(manifest['localiser']['sites'])} sites, fracture engines for {count}; research only."


def parts_of_fold(dataset: Dataset, groups: NDArray[np.int64], fold: int, count: int) -> NDArray[np.int8]:
    """Deal the groups of one fold to `count` parts in turn, largest first; `LEARN_ONLY` outside of the fold.

    Parameters
    ----------
    groups : (F,) int64
        The same value for radiographs of one group.
    """
    parts = np.full(len(dataset.radiographs), LEARN_ONLY, np.int8)
    inside = np.flatnonzero(dataset.fold == fold)
    names, member, sizes = np.unique(groups[inside], return_inverse=True, return_counts=True)
    fractured = np.zeros(len(names), bool)
    np.logical_or.at(fractured, member, np.isin(inside, dataset.radiograph[dataset.labels]))
    order = np.lexsort((-sizes, ~fractured))
    dealt = np.zeros(len(names), np.int8)
    dealt[order] = np.arange(len(names)) % count
    parts[inside] = dealt[member]
    return parts
