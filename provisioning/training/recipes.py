"""Training recipes of the packs that ship: `fracatlas` on radiographs, `phantom` on drawn ones.

Each step leaves its result in the cache: prepared arrays, each network's weights, then the scores of unseen regions. A
step whose result is in the cache is skipped, so that an interrupted training goes on. Empty the folder to begin anew.
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
from engines.training.backbone import freeze
from engines.training.classifier import train_classifiers
from engines.training.dataset import LEARN_ONLY, Dataset
from engines.training.evidence import Evidence, examine, join_evidence
from engines.training.export import export_localiser, fold_and_round
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
from engines.training.performance import format_estimate
from provisioning.training.manifest import (
    NAME,
    ManifestRow,
    check_teaches,
    from_fracatlas,
    from_grazpedwri,
    read_manifest,
)
from provisioning.training.material import (
    FLAGS,
    PHANTOM_SITES,
    SITES,
    TEST,
    THRESHOLD,
    prepare_labelled,
    prepare_phantoms,
    prepare_unlabelled,
)
from provisioning.training.notes import FRACATLAS_FACTS, FRACATLAS_NOTES, PHANTOM_NOTES

N = TypeVar("N", bound=nn.Module)

CACHE = Path("~/.cache/osteon/training")
"""Default folder of the results of finished steps."""

VERSION = "0.3.0"
"""Version of the packs; weights of another version are never taken from the cache."""

BONE_OUTSIDE = 0.32
"""Share of exposed bone outside the labelled regions that one labelled radiograph of ten exceeds (400 of the
development set, drawn at random)."""

PHANTOM_BONE_OUTSIDE = 0.6
"""The same of phantoms, none of which exceeds it (72 of six sites); of a long bone they show more than its joint."""

CLASSIFIED = ("ankle", "wrist", "knee", "pelvis")
"""Sites with a classifier: no radiograph shows a fractured spine, and 14 fractured shoulders taught nothing."""

FRACTURE_STEPS = 1500
"""Batches of the training of a fracture network."""

LOCALISER_STEPS = (500, 300, 300)
"""Batches of each cycle of the localiser's learning rate."""

PHANTOM_LOCALISER = (12, 24, 32, 48, 48)
"""Channels of the phantom localiser's stages."""

PHANTOM_LOCALISER_STEPS = 2500
"""Batches of the training of the phantom localiser."""

PHANTOM_FLAGS = ("cast",)
"""Flags that the phantom localiser keeps; hardware was trained too, but not learned (AUROC 0.58)."""

PHANTOM_CLASSIFIER = (8, 16, 24, 32)
"""Channels of the phantom fracture network's stages: 0.06 million weights."""

PHANTOM_STEPS = 3000
"""Batches of the training of the phantom fracture network."""

RADIOGRAPH_CHANGES = Augmentation(
    quarter_turns=True, rotation_deg=15, scale=0.35, shift=0.1, gamma=0.5, contrast=0.3, noise=6
)
"""Augmentation of whole radiographs for the localiser."""

REGION_CHANGES = Augmentation(rotation_deg=20, shift=0.06, noise=4)
"""Augmentation of regions for the fracture network."""

PHANTOM_CHANGES = Augmentation(rotation_deg=6, scale=0.1, shift=0.05, gamma=0.2, noise=1.5)
"""Augmentation of phantoms' regions: a line is one grey level deep where it is thinnest; more noise would hide it."""


def train_fracatlas(data: Path, out: Path, cache: Path = CACHE, *, threads: int = 2) -> None:
    """Train a pack on radiographs and write it.

    Parameters
    ----------
    data
        A manifest, or a folder that holds one, FracAtlas (``radiographs.csv``) or GRAZPEDWRI-DX (``metadata.csv``).
    out
        Folder of the pack; replaced. Its name is the pack's, unless `data` is FracAtlas.
    cache
        Folder of the results of finished steps.
    threads
        Number of PyTorch's threads.
    """
    torch.set_num_threads(threads)
    cache = cache.expanduser()
    source = _source(data, out.name)
    dataset = prepare_labelled(source.rows, source.folder, cache / f"{source.key}-radiographs.npz")
    steps_folder = _steps_folder(cache, source.key)
    learned = np.flatnonzero((dataset.fold != TEST) & (dataset.fold != THRESHOLD))

    def localiser_after(cycle: int) -> LocaliserNetwork:
        """Return the localiser after that cycle of the learning rate; each cycle begins with the last one's weights."""

        def first_weights(blank: LocaliserNetwork) -> LocaliserNetwork:
            return localiser_after(cycle - 1) if cycle else localiser.begin_from_lite(blank, dataset, learned)

        return _load_or_train(
            steps_folder / f"localiser-{cycle}.pt",
            lambda: lite_localiser(len(SITES), len(FLAGS)),
            lambda n: freeze(n.fine),
            lambda n, state_file: train_localiser(
                first_weights(n),
                dataset,
                learned,
                Schedule(steps=LOCALISER_STEPS[cycle], batch=16),
                RADIOGRAPH_CHANGES,
                state_file,
                seed=cycle,
            ),
        )

    locator = localiser_after(len(LOCALISER_STEPS) - 1)
    exported = steps_folder / "localiser.onnx"
    export_localiser(copy.deepcopy(locator), exported)
    unlabelled = prepare_unlabelled(source.rows, source.folder, exported, steps_folder / "unlabelled.npz")
    known = dataset.join(unlabelled) if unlabelled else dataset

    def fractures_without(fold: int) -> FractureNetwork:
        """Return the fracture network that has not seen that fold."""

        def train_blank(blank: FractureNetwork, state_file: Path) -> FractureNetwork:
            regions = known.regions_of(known.fold != fold)
            begun = classifier.begin_from_lite(blank, known, regions)
            return train_classifiers(begun, known, regions, Schedule(steps=FRACTURE_STEPS), REGION_CHANGES, state_file)

        stored = steps_folder / f"fractures-{fold}.pt"
        return _load_or_train(stored, lambda: lite_fractures(len(SITES)), lambda n: freeze(n.trunk[0]), train_blank)

    evidence = _load_or_collect_evidence(steps_folder / "evidence.npz", dataset, fractures_without)
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
            "films": len(dataset.radiographs),
            "unread_films": len(unlabelled.radiographs) if unlabelled else 0,
            "fractured_films": len(np.unique(dataset.radiograph[dataset.labels])),
            "split": f"{len(dataset.folds)} folds of whole groups: {folds} radiographs",
        },
        notes=source.notes,
        classified=[site for site in CLASSIFIED if _has_both_labels(dataset, site)],
        bone_outside=BONE_OUTSIDE,
        polarity_is_measured=True,
        test_fold=TEST,
        threshold_fold=THRESHOLD,
    )
    # neither network that ships has seen the fold TEST: the two can be tested together
    _print_performance(write_pack(spec, dataset, locator, fractures_without(TEST), evidence, out))


def train_phantom(out: Path, cache: Path = CACHE, *, threads: int = 2) -> None:
    """Train the pack `phantom` on freshly drawn phantoms and write it to `out`."""
    torch.set_num_threads(threads)
    cache = cache.expanduser()
    dataset = prepare_phantoms(cache)
    steps_folder = _steps_folder(cache, "phantom")
    learned = dataset.fold == LEARN_ONLY
    locator = _load_or_train(
        steps_folder / "localiser.pt",
        lambda: plain_localiser(len(PHANTOM_SITES), PHANTOM_LOCALISER, len(FLAGS)),
        lambda _: None,
        lambda n, state_file: train_localiser(
            n,
            dataset,
            np.flatnonzero(learned),
            Schedule(steps=PHANTOM_LOCALISER_STEPS, batch=16),
            Augmentation(scale=0.15),
            state_file,
        ),
    )
    kept_flags = np.flatnonzero(np.isin(dataset.flags, PHANTOM_FLAGS))
    locator.keep_flags(kept_flags.tolist())
    dataset = replace(dataset, flags=dataset.flags[kept_flags], flagged=dataset.flagged[:, kept_flags])
    fractures = _load_or_train(
        steps_folder / "fractures.pt",
        lambda: plain_fractures(len(PHANTOM_SITES), PHANTOM_CLASSIFIER),
        lambda _: None,
        lambda n, state_file: train_classifiers(
            n,
            dataset,
            dataset.regions_of(learned),
            Schedule(steps=PHANTOM_STEPS, learning_rate=3e-3),
            PHANTOM_CHANGES,
            state_file,
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
            "films": len(dataset.radiographs),
            "fractured_films": int(dataset.labels.sum()),
            "split": f"by seed: {int(learned.sum())} to learn from, {int((~learned).sum())} for thresholds and test",
        },
        notes=PHANTOM_NOTES,
        classified=PHANTOM_SITES,
        bone_outside=PHANTOM_BONE_OUTSIDE,
        test_fold=TEST,
        threshold_fold=THRESHOLD,
    )
    evidence = _load_or_collect_evidence(steps_folder / "evidence.npz", dataset, lambda _: fractures)
    _print_performance(write_pack(spec, dataset, locator, fractures, evidence, out))


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Radiographs to train on.

    Attributes
    ----------
    folder
        Folder to which the file names of `rows` are relative.
    key
        Prefix of their results in the cache.
    name
        Name of the pack.
    facts, notes
        For the manifest and the card of the pack.
    """

    rows: Sequence[ManifestRow]
    folder: Path
    key: str
    name: str
    facts: Mapping[str, str]
    notes: str


def _source(data: Path, name: str) -> Source:
    """Return the radiographs of a manifest, or of a folder that holds one or has a known layout."""
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
    check_teaches(rows)
    key = f"manifest-{hashlib.sha256(repr(rows).encode()).hexdigest()[:12]}"
    facts = {"name": "radiographs of a manifest", "licence": "not stated", "citation": "none"}
    return Source(rows=rows, folder=path.parent, key=key, name=name, facts=facts, notes="")


def _steps_folder(cache: Path, key: str) -> Path:
    """Make and return the folder of the trained networks of this version."""
    folder = cache / f"{key}-{VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _has_both_labels(dataset: Dataset, site: str) -> bool:
    """Return whether the folds hold fractured and unbroken regions of the site."""
    labels = dataset.labels[dataset.regions_of(dataset.fold != LEARN_ONLY, site)]
    return bool(labels.any() and not labels.all())


def _load_or_train(
    stored: Path, make: Callable[[], N], reshape: Callable[[N], None], train: Callable[[N, Path], N]
) -> N:
    """Return the network whose weights are in the cache; if there are none, train it and store its weights.

    Parameters
    ----------
    make
        Returns the network with random weights.
    reshape
        Gives that network the layers of a trained one, so that stored weights fit.
    train
        Trains the network; its second argument is a file for the state of an interrupted training.
    """
    torch.manual_seed(0)
    network = make()
    if stored.exists():
        reshape(network)
        network.load_state_dict(torch.load(stored, weights_only=True))
        return network.eval()
    network = train(network, stored.with_suffix(".state"))
    torch.save(network.state_dict(), stored)
    return network


def _load_or_collect_evidence(
    stored: Path, dataset: Dataset, fractures_without: Callable[[int], FractureNetwork]
) -> Evidence:
    """Return the scores of every fold's regions, each by a network that has not seen the fold; kept in `stored`."""
    if not stored.exists():
        parts = []
        for fold in dataset.folds:
            network = fold_and_round(fractures_without(fold))
            parts.append(examine(network, dataset, dataset.regions_of(dataset.fold == fold)))
        join_evidence(parts).save(stored)
    return Evidence.load(stored)


def _print_performance(manifest: dict[str, Any]) -> None:
    console = Console()
    p = manifest["localiser"]["performance"]
    console.print(
        f"pack {manifest['name']}: site {format_estimate(tuple(p['site_accuracy']), percent=True)}, "
        f"found {format_estimate(tuple(p['found']), percent=True)}, median IoU {p['median_iou']:.2f}"
    )
    rows = {site: c["performance"] for site, c in manifest["classifiers"].items()}
    for site, q in {**rows, **manifest["together"]}.items():
        console.print(
            f"  {site}: AUROC {format_estimate(tuple(q['auroc']))}, {q['positives']} of {q['n']} fractured, "
            f"heat {format_estimate(tuple(q['heat']))} against {format_estimate(tuple(q['heat_centre']))}"
        )
