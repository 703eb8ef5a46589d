"""`osteon train engine`: fit one engine of a pack to a site's own radiographs and reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from appliance.domain.reason import ReasonCode
from appliance.errors import Fault, Rejected
from appliance.preprocessing.dali import DaliPreprocessor
from engines.pack import Pack, PackError, read_pack
from engines.training.evaluate import locate
from engines.training.performance import format_estimate
from engines.training.refit import Comparison, Refit, refit_pack
from engines.training.session import open_session
from engines.training.split import assign_folds

from .manifest import Corners, ManifestRow, read_manifest
from .material import FLAGS, FOLD_SEED, FOLDS, LabelledRadiograph, prepare, read_pixels

LEAST = 10
"""Least number of fractured and of fracture-free regions: with fewer, no figure would say anything."""

NOTES = """## Refitted engine

The last weights of the engine of {site} were fitted to {source}. Its figures are cross-fitted: each region was read by
weights that were fitted without the patients of its fold. Everything else is of the pack {base}: its card is
`base.md`, and the figures of several sites together below are still of that pack."""


def train_engine(site: str, folder: Path, manifest: Path, out: Path, console: Console) -> None:
    """Write the pack in `folder` to `out`, with its engine of `site` fitted to the radiographs of a manifest.

    Raises
    ------
    Fault
        ``pack`` if the pack cannot be used, or has no engine for the site.
    Rejected
        ``manifest`` if the manifest cannot be used, or has too few radiographs of the site.
    """
    try:
        pack = read_pack(folder, DaliPreprocessor.digest)
    except PackError as error:
        raise Fault(ReasonCode.PACK, str(error)) from error
    if site not in pack.classifiers:
        raise Fault(ReasonCode.PACK, f"pack {pack.name} has no engine for {site}: it has {', '.join(pack.classifiers)}")
    try:
        rows = [row for row in read_manifest(manifest) if row.fractured]
    except (OSError, ValueError) as error:
        raise Rejected(ReasonCode.MANIFEST, f"{manifest} cannot be used as a manifest: {error}") from error
    radiographs, left_out = _radiographs_of(rows, manifest.parent, site, pack)
    for why, count in left_out.items():
        console.print(f"left out: {count}, {why}")
    if len(radiographs) < 2 * LEAST:
        raise _too_few(manifest, site, f"{len(radiographs)} radiographs")
    dataset = prepare(radiographs, len(radiographs), (site,), site)
    fractured = int(dataset.labels.sum())
    if min(fractured, len(radiographs) - fractured) < LEAST:
        raise _too_few(
            manifest, site, f"{fractured} fractured and {len(radiographs) - fractured} fracture-free regions"
        )
    source = f"{len(radiographs)} radiographs of {manifest.name}, {fractured} fractured, {FOLDS} folds"
    refit = Refit(
        pack=folder,
        name=out.name,
        site=site,
        source=source,
        has_boxes=all(row.fracture_boxes() for row in rows if row.fractured == "1"),
        notes=NOTES.format(site=site, source=source, base=f"{pack.name} {pack.version} ({pack.digest[:12]})"),
    )
    _print(refit_pack(refit, dataset, out), console)
    console.print(f"{out}: check it with osteon pack verify, and measure it with osteon pack evaluate")


def _too_few(manifest: Path, site: str, found: str) -> Rejected:
    reason = f"{manifest} has {found} of {site}: at least {LEAST} fractured and {LEAST} fracture-free ones are needed"
    return Rejected(ReasonCode.MANIFEST, reason)


def _radiographs_of(
    rows: Sequence[ManifestRow], folder: Path, site: str, pack: Pack
) -> tuple[list[LabelledRadiograph], Counter[str]]:
    """Return the radiographs that show one region of the site, and how many others are left out, by reason."""
    localiser = open_session(pack.localiser.file)
    preprocessor = DaliPreprocessor("cpu", threads=2)
    index = pack.localiser.sites.index(site)
    made: list[LabelledRadiograph] = []
    used: list[ManifestRow] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        try:
            stored = read_pixels(folder / row.file)
        except (Rejected, OSError) as error:
            left_out[f"not readable: {error.code if isinstance(error, Rejected) else type(error).__name__}"] += 1
            continue
        height, width = stored.pixels.shape
        if row.is_unlabelled:
            (image,) = preprocessor.prepare([stored])
            (found,) = locate(localiser, image.image[None], pack.localiser.score_threshold)
            boxes = found.boxes[found.sites == index] / np.float32(image.scale)
        else:
            own: list[Corners] = [box or (0, 0, width, height) for name, box in row.region_boxes() if name == site]
            boxes = np.array(own, np.float32).reshape(-1, 4)
        if len(boxes) != 1:
            left_out[f"{site} is not seen" if not len(boxes) else f"{site} is seen more than once"] += 1
            continue
        fractures = np.array(row.fracture_boxes(), np.float32).reshape(-1, 4)
        if row.fractured == "1" and not len(fractures):
            fractures = boxes  # the read is about the one region
        flags = tuple(flag in row.flags.split() for flag in FLAGS)
        made.append(LabelledRadiograph(stored=stored, boxes=boxes, sites=[0], fractures=fractures, fold=0, flags=flags))
        used.append(row)
    return _in_folds(made, used), left_out


def _in_folds(radiographs: Sequence[LabelledRadiograph], rows: Sequence[ManifestRow]) -> list[LabelledRadiograph]:
    """Return the radiographs with folds of whole groups and even shares of fractures."""
    if not rows:
        return []
    traits: NDArray[np.float64] = np.array([[1, row.fractured == "1"] for row in rows], np.float64)
    _, groups = np.unique([row.group for row in rows], return_inverse=True)
    folds = assign_folds(groups.astype(np.int64), traits, FOLDS, FOLD_SEED)
    return [replace(each, fold=int(fold)) for each, fold in zip(radiographs, folds, strict=True)]


def _print(comparison: Comparison, console: Console) -> None:
    """Show what the new engine gains on the same radiographs, and what it may say."""
    table = Table(
        "figure", "engine of the pack, calibrated here", "refitted engine", title="cross-fitted, 95 % intervals"
    )
    for title, key, percent in (
        ("AUROC", "auroc", False),
        ("sensitivity, possible", "sensitivity_doubt", True),
        ("specificity, possible", "specificity_doubt", True),
        ("sensitivity, suspected", "sensitivity_positive", True),
        ("specificity, suspected", "specificity_positive", True),
    ):
        shown = [format_estimate(tuple(each[key]), percent=percent) for each in (comparison.before, comparison.after)]
        table.add_row(title, *shown)
    console.print(table)
    if comparison.after["auroc"][0] <= comparison.before["auroc"][0]:
        console.print("The refitted engine is not better than that of the pack on these radiographs: do not use it.")
