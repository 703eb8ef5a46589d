"""Training material: radiographs of a manifest and phantoms as arrays.

They are read and prepared by the appliance's own code, and kept in the cache.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from appliance.analysis.geometry import crop_box
from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset, read_dataset
from appliance.domain.finding import Box
from appliance.domain.radiograph import StoredValues
from appliance.preprocessing.dali import DaliPreprocessor
from appliance.preprocessing.recipe import Cut
from engines.training.dataset import LEARN_ONLY, Dataset
from engines.training.evaluate import locate
from engines.training.session import open_session
from engines.training.split import assign_folds
from provisioning.radiograph_files import read_instance

from .manifest import Corners, ManifestRow

SITES = (
    "ankle", "wrist", "knee", "shoulder", "pelvis", "spine",
    "elbow", "forearm", "lower_leg", "femur", "humerus", "hand", "foot",
)  # fmt: skip
"""Sites that the localiser finds and the fracture network has a score map for; their order is that of the channels."""

PHANTOM_SITES = ("ankle", "wrist", "knee", "shoulder", "pelvis", "spine")
"""Sites of the phantom pack, in the order of its channels."""

FLAGS = ("hardware", "cast")
"""Flags of a whole radiograph, in the order of the localiser's output."""

MASK_PX = 64
"""Side of a region's fracture mask: four pixels per cell of the 16x16 map."""

FOREIGN = 0.25
"""Share of a neighbour's fracture box inside the crop from which the region is not clearly unbroken."""

FOLDS = 5
"""Number of folds where the manifest names none."""

SURE = 0.35
"""Localiser score from which a region of an unlabelled radiograph is learned from."""

FOLD_SEED = 20
"""Seed of the folds; fixed once, no other was tried."""

TEST = 0
"""Fold on which the localiser is tested."""

THRESHOLD = 1
"""Fold on which the localiser's threshold is chosen."""

DEMONSTRATION_SEEDS = 100
"""Number of seeds, from 0, that the demonstration may draw; they are never trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledRadiograph:
    """One radiograph with its labels.

    Attributes
    ----------
    boxes, fractures
        (n,4) float32 in the radiograph's own pixels.
    sites
        Index into the sites, one for each of `boxes`.
    fold
        Number of its fold, or `LEARN_ONLY`.
    flags
        One for each of `FLAGS`.
    """

    stored: StoredValues = field(repr=False)
    boxes: NDArray[np.float32]
    sites: Sequence[int]
    fractures: NDArray[np.float32]
    fold: int
    flags: tuple[bool, ...] = (False,) * len(FLAGS)


def prepare_labelled(rows: Sequence[ManifestRow], folder: Path, stored: Path) -> Dataset:
    """Prepare the labelled radiographs of a manifest; regions of other sites than `SITES` are left out.

    Parameters
    ----------
    folder
        Folder to which relative file names are relative.
    stored
        File of the prepared arrays; read if it exists, else written.
    """
    if stored.exists():
        return Dataset.load(stored)
    labelled = [(row, k) for row, k in zip(rows, fold_numbers(rows), strict=True) if not row.is_unlabelled]

    def radiographs() -> Iterator[LabelledRadiograph]:
        for row, k in labelled:
            pixels = read_pixels(folder / row.file)
            height, width = pixels.pixels.shape
            regions = [(SITES.index(s), b or (0, 0, width, height)) for s, b in row.region_boxes() if s in SITES]
            yield LabelledRadiograph(
                stored=pixels,
                boxes=_box_array(b for _, b in regions),
                sites=[s for s, _ in regions],
                fractures=_box_array(row.fracture_boxes()),
                fold=int(k),
                flags=tuple(flag in row.flags.split() for flag in FLAGS),
            )

    dataset = prepare(radiographs(), len(labelled), SITES, stored.stem)
    dataset.save(stored)
    return dataset


def prepare_unlabelled(rows: Sequence[ManifestRow], folder: Path, localiser: Path, stored: Path) -> Dataset | None:
    """Prepare the unlabelled radiographs of a manifest with the regions that an exported `localiser` finds, unbroken.

    Each has the fold of its group, so that no network learns from it and is then tested on its group. None if the
    manifest has no unlabelled radiographs.
    """
    if stored.exists():
        return Dataset.load(stored)
    unlabelled = [(row, k) for row, k in zip(rows, fold_numbers(rows), strict=True) if row.is_unlabelled]
    if not unlabelled:
        return None
    network = open_session(localiser)
    preprocessor = DaliPreprocessor("cpu", threads=2)

    def radiographs() -> Iterator[LabelledRadiograph]:
        for row, k in unlabelled:
            pixels = read_pixels(folder / row.file)
            (image,) = preprocessor.prepare([pixels])
            (found,) = locate(network, image.image[None], SURE)
            yield LabelledRadiograph(
                stored=pixels,
                boxes=found.boxes / np.float32(image.scale),
                sites=found.sites.tolist(),
                fractures=_box_array([]),
                fold=int(k),
            )

    dataset = prepare(radiographs(), len(unlabelled), SITES, stored.stem)
    dataset.save(stored)
    return dataset


def read_pixels(file: Path) -> StoredValues:
    """Return the stored values of a picture or DICOM file, with what displays them."""
    ds = read_dataset(read_instance(file))
    return radiograph_from_dataset(ds, header_from_dataset(ds)).stored


def fold_numbers(rows: Sequence[ManifestRow]) -> NDArray[np.int8]:
    """Return each row's fold: the manifest's, else one of `FOLDS` of whole groups with even shares of fractures.

    Unlabelled radiographs have the fold of their group; a group without labelled ones is only learned from.
    """
    labelled = [row for row in rows if not row.is_unlabelled]
    if any(row.split for row in rows):
        known = [LEARN_ONLY if row.split in ("train", "") else int(row.split) for row in labelled]
    else:
        known = [int(fold) for fold in _balanced_folds(labelled)]
    fold_of_group = dict(zip((row.group for row in labelled), known, strict=True))
    labelled_folds = iter(known)
    return np.array(
        [fold_of_group.get(row.group, LEARN_ONLY) if row.is_unlabelled else next(labelled_folds) for row in rows],
        np.int8,
    )


def _balanced_folds(rows: Sequence[ManifestRow]) -> NDArray[np.int8]:
    traits = np.zeros((len(rows), 2 + len(SITES)))
    for i, row in enumerate(rows):
        traits[i, 0] = 1
        traits[i, 1] = row.fractured == "1"
        fractures = _box_array(row.fracture_boxes())
        for site, box in row.region_boxes():
            if site in SITES:
                is_fractured = bool(len(fractures)) if box is None else _inside(fractures, box).any()
                traits[i, 2 + SITES.index(site)] += is_fractured
    _, groups = np.unique([row.group for row in rows], return_inverse=True)
    return assign_folds(groups, traits, FOLDS, FOLD_SEED)


def prepare_phantoms(cache: Path, *, train: int = 240, held_out: int = 40) -> Dataset:
    """Draw and prepare phantoms: per site `train` to learn from, `held_out` for thresholds and `held_out` to test on.

    Every patient gives one radiograph. Where a site has two views, half of the fractured and half of the whole ones
    show each.
    """
    from provisioning.phantoms import VIEWS, phantom  # training on radiographs draws none

    stored = cache / f"phantoms-{train}-{held_out}-radiographs.npz"
    if stored.exists():
        return Dataset.load(stored)
    wanted = [LEARN_ONLY] * train + [THRESHOLD] * held_out + [TEST] * held_out

    def radiographs() -> Iterator[LabelledRadiograph]:
        for number, fold in enumerate(wanted):
            for index, site in enumerate(PHANTOM_SITES):
                seed = DEMONSTRATION_SEEDS * 10 + number
                view = number // 2 % VIEWS[site]
                drawn = phantom(site, seed, fracture=number % 2 == 0, view=view)
                yield LabelledRadiograph(
                    stored=StoredValues(pixels=drawn.pixels, window=drawn.window, invert=drawn.invert),
                    boxes=_box_array([drawn.region]),
                    sites=[index],
                    fractures=_box_array([] if drawn.fracture is None else [drawn.fracture]),
                    fold=fold,
                    flags=tuple(bool(getattr(drawn, flag)) for flag in FLAGS),
                )

    dataset = prepare(radiographs(), len(wanted) * len(PHANTOM_SITES), PHANTOM_SITES, "phantoms")
    dataset.save(stored)
    return dataset


def prepare(radiographs: Iterable[LabelledRadiograph], total: int, sites: Sequence[str], name: str) -> Dataset:
    """Run the appliance's preprocessing over radiographs and cut their regions as the appliance does.

    Parameters
    ----------
    total
        Number of radiographs, for the progress bar.
    name
        For the progress bar.
    """
    preprocessor = DaliPreprocessor("cpu", threads=2)
    images, fold, flagged = [], [], []
    boxes, regions, masks, labels, clear = [], [], [], [], []
    site: list[int] = []
    owner: list[int] = []
    for index, r in enumerate(track(radiographs, f"preparing {name}", total=total)):
        height, width = r.stored.pixels.shape
        (image,) = preprocessor.prepare([r.stored])
        images.append(image.image)
        fold.append(r.fold)
        flagged.append(r.flags)
        if not len(r.boxes):
            continue
        crops = np.array([_corners(crop_box(_box(b), height, width)) for b in r.boxes], np.float32)
        regions.append(preprocessor.regions([Cut(stored=r.stored, table=image.table, box=crop) for crop in crops]))
        boxes.append(r.boxes * np.float32(image.scale))
        site.extend(r.sites)
        owner.extend([index] * len(crops))
        for box, crop in zip(r.boxes, crops, strict=True):
            mask, own, foreign = _fracture_mask(box, crop, r.fractures)
            masks.append(mask)
            labels.append(own)
            clear.append(own or not foreign)
    return Dataset(
        sites=np.array(sites),
        radiographs=np.stack(images),
        fold=np.array(fold, np.int8),
        flags=np.array(FLAGS),
        flagged=np.array(flagged, np.bool_),
        boxes=np.concatenate(boxes).astype(np.float32),
        regions=np.concatenate(regions),
        masks=np.stack(masks),
        labels=np.array(labels, np.bool_),
        clear=np.array(clear, np.bool_),
        site=np.array(site, np.int64),
        radiograph=np.array(owner, np.int64),
    )


def _fracture_mask(
    box: NDArray[np.float32], crop: NDArray[np.float32], fractures: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], bool, bool]:
    """Return a region's (64,64) mask, whether it is fractured, and whether a neighbour's fracture shows in it.

    The mask is 1 inside the region's own fracture boxes, 2 inside those of neighbours, else 0.
    """
    mask = np.zeros((MASK_PX, MASK_PX), np.uint8)
    scale = MASK_PX / float(max(crop[2] - crop[0], crop[3] - crop[1]))
    inside = _inside(fractures, box)
    foreign = False
    for own, fracture in sorted(zip(inside.tolist(), fractures, strict=True), key=lambda pair: bool(pair[0])):
        low = np.maximum(fracture[:2], crop[:2])
        high = np.minimum(fracture[2:], crop[2:])
        if not (high > low).all():
            continue
        share = float((high - low).prod() / max(float((fracture[2:] - fracture[:2]).prod()), 1e-6))
        foreign |= not own and share >= FOREIGN
        x0, y0 = np.floor((low - crop[:2]) * scale).astype(int)
        x1, y1 = np.ceil((high - crop[:2]) * scale).astype(int)
        mask[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)] = 1 if own else 2
    return mask, bool(inside.any()), foreign


def _inside(fractures: NDArray[np.float32], box: NDArray[np.float32] | Corners) -> NDArray[np.bool_]:
    """Return, for each fracture, whether its centre lies in the box; a fracture belongs to every such region."""
    centres = (fractures[:, :2] + fractures[:, 2:]) / 2
    return np.asarray(((centres >= box[:2]) & (centres <= box[2:])).all(1), np.bool_)


def _box_array(corners: Iterable[Iterable[str | float]]) -> NDArray[np.float32]:
    return np.array([[float(c) for c in four] for four in corners], np.float32).reshape(-1, 4)


def _box(corners: NDArray[np.float32]) -> Box:
    x0, y0, x1, y1 = (float(c) for c in corners)
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.x0, box.y0, box.x1, box.y1
