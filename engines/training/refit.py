"""Fit the last weights of one engine to a site's own radiographs; trunk, localiser and other engines stay as they are.

The weights are the most likely ones under a normal prior about those of the pack (MAP estimate): with few radiographs
they hardly move, with many they follow the data. Figures, calibration and operating points come from weights that were
fitted without the region's own fold.
"""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.optimize import minimize
from scipy.special import expit, logsumexp

from engines.network_file import read_network
from engines.pack import MANIFEST
from engines.training.calibration import Calibration
from engines.training.dataset import Dataset
from engines.training.evaluate import classifier_performance, explanation
from engines.training.evidence import Evidence, calibrate_sites, cross_fit
from engines.training.extension import examine_exported, last_weights
from engines.training.pack_writer import finish_pack
from engines.training.session import session_of

BATCH = 16

SPREAD = 0.3
"""Prior standard deviation of a weight about the pack's, in shares of the weights' root mean square; set beforehand."""

BASE_CARD = "base.md"
"""File with the card of the pack that the new one comes from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreWeights:
    """The last weights of an engine: (K,) and a bias."""

    weights: NDArray[np.float64]
    bias: float

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the logit (R,) of regions with features (R,P,K): the log-sum-exp of the scores of P places."""
        return np.asarray(logsumexp(features @ self.weights.astype(np.float32) + self.bias, axis=1), np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refit:
    """A new engine for one site of a pack.

    Attributes
    ----------
    pack
        Folder of the pack that the new one comes from.
    name
        Of the new pack.
    source
        The radiographs in words, for the manifest.
    has_boxes
        Whether the masks of the dataset show fractures; else nothing is said about the place of the heat.
    notes
        For the card.
    """

    pack: Path
    name: str
    site: str
    source: str
    has_boxes: bool
    notes: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Performance on the site's radiographs: of the pack's own engine as it is, and of the new one, cross-fitted."""

    before: dict[str, Any]
    after: dict[str, Any]


def refit_pack(refit: Refit, dataset: Dataset, folder: Path) -> Comparison:
    """Write the pack with the new engine to `folder`, replacing it; `dataset` has regions of `Refit.site` alone."""
    manifest = tomllib.loads((refit.pack / MANIFEST).read_text())
    engine = manifest["classifiers"][refit.site]
    model = onnx.load_model_from_string(read_network(refit.pack / engine["file"]))
    features, start = features_of(model, dataset.regions), _score_weights(model)
    calibration = Calibration(scale=engine["scale"], offset=engine["offset"])
    regions, fold = np.arange(len(dataset.regions)), dataset.fold[dataset.radiograph]
    logits = np.zeros(len(regions))
    for k in dataset.folds:
        own = fold == k
        logits[own] = fit(features[~own], dataset.labels[~own], start, calibration).logits(features[own])
    fitted = fit(features, dataset.labels, start, calibration)

    work = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    others = {site: each for site, each in manifest["classifiers"].items() if site != refit.site}
    kept = {manifest["localiser"]["file"], *(each["file"] for each in others.values())}
    if manifest["familiarity"]["is_measured"]:
        kept.add(manifest["familiarity"]["file"])
    for name in kept:
        shutil.copy(refit.pack / name, work / name)
    shutil.copy(refit.pack / "README.md", work / BASE_CARD)
    own_file = work / f"{refit.site}.onnx"
    _write_engine(model, fitted, own_file)

    evidence = Evidence(regions=regions, logits=logits, cams=examine_exported(own_file, dataset, regions).cams)
    (found,) = calibrate_sites(dataset, evidence)
    after = classifier_performance(dataset, evidence, cross_fit(dataset, evidence))
    unchanged = replace(evidence, logits=start.logits(features))
    before = classifier_performance(dataset, unchanged, cross_fit(dataset, unchanged))
    if not refit.has_boxes:
        after |= explanation(evidence.cams[:0], dataset.masks[:0], dataset.radiograph[:0])
    manifest["classifiers"][refit.site] = {
        "file": own_file.name,
        "scale": found.calibration.scale,
        "offset": found.calibration.offset,
        "doubt": found.doubt,
        "positive": found.positive,
        "performance": after,
    }
    manifest["name"] = refit.name
    manifest["data"][f"{refit.site}_refitted"] = refit.source
    finish_pack(work, folder, manifest, refit.notes)
    return Comparison(before=before, after=after)


def fit(
    features: NDArray[np.float32], labels: NDArray[np.bool_], start: ScoreWeights, calibration: Calibration
) -> ScoreWeights:
    """Return the most likely weights for regions with features (R,P,K) and labels (R,), under a prior about `start`.

    The likelihood is that of the calibrated probability, sigmoid(scale * logit + offset).
    """
    found = minimize(
        cost, np.append(start.weights, start.bias), (features, labels, start, calibration), jac=True, method="L-BFGS-B"
    )
    return ScoreWeights(weights=found.x[:-1], bias=float(found.x[-1]))


def cost(
    p: NDArray[np.float64],
    features: NDArray[np.float32],
    labels: NDArray[np.bool_],
    start: ScoreWeights,
    calibration: Calibration,
) -> tuple[float, NDArray[np.float64]]:
    """Return the negative log of the posterior of `fit` at weights and bias `p` (K+1,), and its gradient."""
    spread = SPREAD * float(np.sqrt((start.weights**2).mean()))
    scores = features @ p[:-1].astype(np.float32) + p[-1]
    logit = logsumexp(scores, axis=1)
    z = calibration.scale * logit + calibration.offset
    apart = p[:-1] - start.weights
    value = np.logaddexp(0, z).sum() - z[labels].sum() + (apart**2).sum() / spread**2 / 2
    slope = calibration.scale * (expit(z) - labels)[:, None] * np.exp(scores - logit[:, None])
    gradient = np.tensordot(slope.astype(np.float32), features, axes=2) + apart / spread**2
    return float(value), np.append(gradient, slope.sum())


def features_of(model: onnx.ModelProto, regions: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return (R,P,K), what the last weights of an engine see of each of P places of (R,256,256) regions."""
    weights, _ = last_weights(model)
    name = next(node.input[0] for node in model.graph.node if node.op_type == "Conv" and node.input[1] == weights)
    seen = onnx.ModelProto()
    seen.CopyFrom(model)
    seen.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = session_of(seen.SerializeToString())
    parts = []
    for begin in range(0, len(regions), BATCH):
        (maps,) = session.run([name], {"region": regions[begin : begin + BATCH, None].astype(np.float32)})
        parts.append(np.asarray(maps, np.float32).reshape(*maps.shape[:2], -1).transpose(0, 2, 1))
    return np.concatenate(parts)


def _score_weights(model: onnx.ModelProto) -> ScoreWeights:
    weights, bias = (numpy_helper.to_array(tensor) for tensor in _last_tensors(model))
    return ScoreWeights(weights=weights.reshape(-1).astype(np.float64), bias=float(bias[0]))


def _write_engine(model: onnx.ModelProto, fitted: ScoreWeights, out: Path) -> None:
    """Write a copy of an engine with other last weights, rounded as its own are."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor, values in zip(_last_tensors(changed), (fitted.weights, [fitted.bias]), strict=True):
        old = numpy_helper.to_array(tensor)
        new = np.asarray(values).reshape(old.shape).astype(np.float16).astype(old.dtype)
        tensor.CopyFrom(numpy_helper.from_array(new, tensor.name))
    onnx.checker.check_model(changed, full_check=True)
    out.write_bytes(changed.SerializeToString(deterministic=True))


def _last_tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    by_name = {tensor.name.removesuffix("_half"): tensor for tensor in model.graph.initializer}
    return [by_name[name] for name in last_weights(model)]
