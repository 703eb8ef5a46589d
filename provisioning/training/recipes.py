"""Train the packs that come with the appliance: `fracatlas` on radiographs, `phantom` on drawn ones.

Each step leaves its result in the cache (prepared arrays, then each network's weights, then what was said of unseen
regions) and is skipped where the result is there: a training that was interrupted goes on. Empty the folder to begin
anew.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from rich.console import Console
from torch import nn

from appliance.preprocessing.dali import DaliPreprocessor
from engines.training import classifier, localiser
from engines.training.augment import Augmentation
from engines.training.backbone import fix
from engines.training.classifier import train_classifiers
from engines.training.dataset import LEARN_ONLY, Dataset
from engines.training.evidence import Evidence, examined, joined
from engines.training.export import export_localiser, ready
from engines.training.localiser import train_localiser
from engines.training.loop import Schedule
from engines.training.networks import (
    FractureNetwork,
    LocaliserNetwork,
    lite_fractures,
    lite_localiser,
    plain_fractures,
    plain_localiser,
)
from engines.training.pack_writer import PackSpec, write_pack
from engines.training.performance import written
from provisioning.training.manifest import NAME, Row, from_fracatlas, from_grazpedwri, read_manifest
from provisioning.training.material import FLAGS, PHANTOM_SITES, SITES, TEST, THRESHOLD, material, phantoms, unread
from provisioning.training.notes import FRACATLAS_FACTS, FRACATLAS_NOTES, PHANTOM_NOTES

CACHE = Path("~/.cache/osteon/training")
VERSION = "0.3.0"  # of the packs: weights of another are never taken from the cache for it
N = TypeVar("N", bound=nn.Module)

CLASSIFIED = ("ankle", "wrist", "knee", "pelvis")
"""Sites with an engine: no film shows a fractured spine, and 14 fractures of shoulders taught nothing."""

FRACTURE_STEPS = 1500
LOCALISER_STEPS = (500, 300, 300)  # batches of each cycle of the learning rate
PHANTOM_LOCALISER = (12, 24, 32, 48, 48)
PHANTOM_LOCALISER_STEPS = 2500
PHANTOM_FLAGS = ("cast",)  # metal is asked for, too, but was not learned: an AUROC of 0.58
PHANTOM_CLASSIFIER = (8, 16, 24, 32)  # 0.06 million weights
PHANTOM_STEPS = 3000
FILM_CHANGES = Augmentation(
    quarter_turns=True, rotation_deg=15, scale=0.35, shift=0.1, gamma=0.5, contrast=0.3, noise=6
)
REGION_CHANGES = Augmentation(rotation_deg=20, shift=0.06, noise=4)
# a phantom's line is one grey level deep where it is thinnest: more noise would take it away
PHANTOM_CHANGES = Augmentation(rotation_deg=6, scale=0.1, shift=0.05, gamma=0.2, noise=1.5)


def train_fracatlas(data: Path, out: Path, cache: Path = CACHE, *, threads: int = 2) -> None:
    """Train on radiographs and write the pack.

    Parameters
    ----------
    data
        A manifest, or a folder that holds one, FracAtlas (``radiographs.csv``) or GRAZPEDWRI-DX (``metadata.csv``).
    out
        The pack's folder; replaced.
    """
    torch.set_num_threads(threads)
    cache = cache.expanduser()
    source = _source(data, out.name)
    dataset = material(source.rows, source.folder, cache / f"{source.key}-folds.npz")
    kept_in = _folder(cache, source.key)
    learned = np.flatnonzero((dataset.fold != TEST) & (dataset.fold != THRESHOLD))

    def locating(cycle: int) -> LocaliserNetwork:
        def begun(blank: LocaliserNetwork) -> LocaliserNetwork:
            return locating(cycle - 1) if cycle else localiser.begin_from_lite(blank, dataset, learned)

        return _trained(
            kept_in / f"localiser-{cycle}.pt",
            lambda: lite_localiser(len(SITES), len(FLAGS)),
            lambda n: fix(n.fine),
            lambda n, kept: train_localiser(
                begun(n),
                dataset,
                learned,
                Schedule(steps=LOCALISER_STEPS[cycle], batch=16),
                FILM_CHANGES,
                kept,
                seed=cycle,
            ),
        )

    locator = locating(len(LOCALISER_STEPS) - 1)
    exported = kept_in / "localiser.onnx"
    export_localiser(copy.deepcopy(locator), exported)
    whole = unread(source.rows, source.folder, exported, kept_in / "unread.npz")
    known = dataset.joined(whole) if whole else dataset

    def fractures(fold: int) -> FractureNetwork:
        def learning(blank: FractureNetwork, kept: Path) -> FractureNetwork:
            regions = known.regions_of(known.fold != fold)
            begun = classifier.begin_from_lite(blank, known, regions)
            return train_classifiers(begun, known, regions, Schedule(steps=FRACTURE_STEPS), REGION_CHANGES, kept)

        stored = kept_in / f"fractures-{fold}.pt"
        return _trained(stored, lambda: lite_fractures(len(SITES)), lambda n: fix(n.trunk[0]), learning)

    evidence = _evidence(kept_in / "evidence.npz", dataset, fractures)
    folds = ", ".join(str(int((dataset.fold == k).sum())) for k in dataset.folds)
    spec = PackSpec(
        name=source.name,
        version=VERSION,
        kind="radiographs",
        description=f"Localiser of {len(SITES)} sites, fracture classifiers for {len(CLASSIFIED)}; research only.",
        preprocessing=DaliPreprocessor.digest,
        data={
            **source.facts,
            "first_weights": "EfficientNet-Lite0 of ImageNet, Apache-2.0",
            "films": len(dataset.films),
            "unread_films": len(whole.films) if whole else 0,
            "fractured_films": len(np.unique(dataset.film[dataset.labels])),
            "split": f"{len(dataset.folds)} folds of whole groups: {folds} films",
        },
        notes=source.notes,
        classified=[site for site in CLASSIFIED if _both_kinds(dataset, site)],
        test_fold=TEST,
        threshold_fold=THRESHOLD,
    )
    # neither network that ships has seen the fold TEST: the two can be tested together
    _report(write_pack(spec, dataset, locator, fractures(TEST), evidence, out))


def train_phantom(out: Path, cache: Path = CACHE, *, threads: int = 2) -> None:
    """Train on fresh phantoms and write the pack to `out`."""
    torch.set_num_threads(threads)
    cache = cache.expanduser()
    dataset = phantoms(cache)
    kept_in = _folder(cache, "phantom")
    learned = dataset.fold == LEARN_ONLY
    locating = _trained(
        kept_in / "localiser.pt",
        lambda: plain_localiser(len(PHANTOM_SITES), PHANTOM_LOCALISER, len(FLAGS)),
        lambda _: None,
        lambda n, kept: train_localiser(
            n,
            dataset,
            np.flatnonzero(learned),
            Schedule(steps=PHANTOM_LOCALISER_STEPS, batch=16),
            Augmentation(scale=0.15),
            kept,
        ),
    )
    told = np.flatnonzero(np.isin(dataset.flags, PHANTOM_FLAGS))
    locating.tell(told.tolist())
    dataset = replace(dataset, flags=dataset.flags[told], flagged=dataset.flagged[:, told])
    fractures = _trained(
        kept_in / "fractures.pt",
        lambda: plain_fractures(len(PHANTOM_SITES), PHANTOM_CLASSIFIER),
        lambda _: None,
        lambda n, kept: train_classifiers(
            n,
            dataset,
            dataset.regions_of(learned),
            Schedule(steps=PHANTOM_STEPS, learning_rate=3e-3),
            PHANTOM_CHANGES,
            kept,
        ),
    )
    spec = PackSpec(
        name="phantom",
        version=VERSION,
        kind="synthetic",
        description="SYNTHETIC: localiser and classifiers for six sites of phantoms, for tests and demonstrations.",
        preprocessing=DaliPreprocessor.digest,
        data={
            "name": "phantom radiographs drawn by provisioning.phantoms (SYNTHETIC)",
            "licence": "as this project",
            "citation": "none: generated",
            "films": len(dataset.films),
            "fractured_films": int(dataset.labels.sum()),
            "split": f"by seed: {int(learned.sum())} to learn from, {int((~learned).sum())} for thresholds and test",
        },
        notes=PHANTOM_NOTES,
        classified=PHANTOM_SITES,
        test_fold=TEST,
        threshold_fold=THRESHOLD,
    )
    evidence = _evidence(kept_in / "evidence.npz", dataset, lambda _: fractures)
    _report(write_pack(spec, dataset, locating, fractures, evidence, out))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Radiographs to train on; what was made of them is kept under `key`."""

    rows: Sequence[Row]
    folder: Path
    key: str
    name: str
    facts: Mapping[str, str]
    notes: str


def _source(data: Path, name: str) -> Source:
    """A manifest, or a folder that holds one or is in a layout that can be imported."""
    if (data / "radiographs.csv").exists():
        return Source(
            rows=from_fracatlas(data),
            folder=data,
            key="fracatlas",
            name="fracatlas",
            facts=FRACATLAS_FACTS,
            notes=FRACATLAS_NOTES,
        )
    path = data if data.is_file() else data / NAME
    rows = read_manifest(path) if path.exists() else from_grazpedwri(data)
    key = f"manifest-{hashlib.sha256(repr(rows).encode()).hexdigest()[:12]}"
    facts = {"name": "films of a manifest", "licence": "not stated", "citation": "none"}
    return Source(rows=rows, folder=path.parent, key=key, name=name, facts=facts, notes="")


def _folder(cache: Path, key: str) -> Path:
    folder = cache / f"{key}-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _both_kinds(dataset: Dataset, site: str) -> bool:
    labels = dataset.labels[dataset.regions_of(dataset.fold != LEARN_ONLY, site)]
    return bool(labels.any() and not labels.all())


def _trained(stored: Path, blank: Callable[[], N], settled: Callable[[N], None], train: Callable[[N, Path], N]) -> N:
    """The network whose weights are in the cache, or a newly trained one, whose weights then are.

    Parameters
    ----------
    settled
        Gives a blank network the form that it has after its training has begun.
    """
    torch.manual_seed(0)
    network = blank()
    if stored.exists():
        settled(network)
        network.load_state_dict(torch.load(stored, weights_only=True))
        return network.eval()
    network = train(network, stored.with_suffix(".state"))
    torch.save(network.state_dict(), stored)
    return network


def _evidence(stored: Path, dataset: Dataset, fractures: Callable[[int], FractureNetwork]) -> Evidence:
    """What is said of every fold's regions by a network that has not seen them."""
    if not stored.exists():
        parts = []
        for fold in dataset.folds:
            network = ready(fractures(fold))
            parts.append(examined(network, dataset, dataset.regions_of(dataset.fold == fold)))
        joined(parts).save(stored)
    return Evidence.load(stored)


def _report(manifest: dict[str, Any]) -> None:
    console = Console()
    p = manifest["localiser"]["performance"]
    console.print(
        f"pack {manifest['name']}: site {written(tuple(p['site_accuracy']), percent=True)}, "
        f"found {written(tuple(p['found']), percent=True)}, median IoU {p['median_iou']:.2f}"
    )
    rows = {site: c["performance"] for site, c in manifest["classifiers"].items()}
    for site, q in {**rows, **manifest["together"]}.items():
        console.print(
            f"  {site}: AUROC {written(tuple(q['auroc']))}, {q['positives']} of {q['n']} fractured, "
            f"heat {written(tuple(q['heat']))} against {written(tuple(q['heat_centre']))}"
        )
