"""Radiographs of a manifest and phantoms as arrays: read as the appliance reads, prepared as it prepares, and kept."""

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
from engines.training.split import folds
from provisioning.radiograph_files import read_instance

from .manifest import Corners, Row

SITES = (
    "ankle", "wrist", "knee", "shoulder", "pelvis", "spine",
    "elbow", "forearm", "lower_leg", "femur", "humerus", "hand", "foot",
)  # fmt: skip
PHANTOM_SITES = ("ankle", "wrist", "knee", "shoulder", "pelvis", "spine")
FLAGS = ("hardware", "cast")
MASK_PX = 64  # side of a region's fracture mask: four places per cell of the 16x16 map
FOREIGN = 0.25  # share of a neighbour's fracture box inside the crop from which the region is not clearly unbroken
FOLDS = 5
SURE = 0.35  # score from which a region that nobody has looked at is learned from
FOLD_SEED = 20  # fixed once; no other was tried
TEST, THRESHOLD = 0, 1  # folds of which the localiser is tested and its threshold chosen
DEMONSTRATION_SEEDS = 100  # phantoms 0..99 are the demonstration's, never trained on


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One radiograph with everything that is known of it; boxes (n,4) float32 in its own pixels."""

    stored: StoredValues = field(repr=False)
    boxes: NDArray[np.float32]
    sites: Sequence[int]
    fractures: NDArray[np.float32]
    fold: int
    flags: tuple[bool, ...] = (False,) * len(FLAGS)


def material(rows: Sequence[Row], folder: Path, stored: Path) -> Dataset:
    """All radiographs of a manifest; the sites are `SITES`, others are passed over.

    Parameters
    ----------
    folder
        What relative file names are relative to.
    stored
        File for the prepared arrays; read, if it is there.
    """
    if stored.exists():
        return Dataset.load(stored)
    labelled = [(row, k) for row, k in zip(rows, _folds(rows), strict=True) if not row.is_unread]

    def films() -> Iterator[Film]:
        for row, k in labelled:
            pixels = _pixels(folder / row.file)
            height, width = pixels.pixels.shape
            here = [(SITES.index(s), b or (0, 0, width, height)) for s, b in row.located() if s in SITES]
            yield Film(
                stored=pixels,
                boxes=_boxes(b for _, b in here),
                sites=[s for s, _ in here],
                fractures=_boxes(row.broken()),
                fold=int(k),
                flags=tuple(flag in row.flags.split() for flag in FLAGS),
            )

    dataset = prepared(films(), len(labelled), SITES, stored.stem)
    dataset.save(stored)
    return dataset


def unread(rows: Sequence[Row], folder: Path, localiser: Path, stored: Path) -> Dataset | None:
    """The films that nobody has looked at, with the regions that an exported `localiser` finds: all of them unbroken.

    Their `fold` is that of the group they belong to: not to be learned from by what is asked about that fold.
    """
    if stored.exists():
        return Dataset.load(stored)
    unlabelled = [(row, k) for row, k in zip(rows, _folds(rows), strict=True) if row.is_unread]
    if not unlabelled:
        return None
    network, preprocessor = open_session(localiser), DaliPreprocessor("cpu", threads=2)

    def films() -> Iterator[Film]:
        for row, k in unlabelled:
            pixels = _pixels(folder / row.file)
            (image,) = preprocessor.prepare([pixels])
            (found,) = locate(network, image.image[None], SURE)
            yield Film(
                stored=pixels,
                boxes=found.boxes / np.float32(image.scale),
                sites=found.sites.tolist(),
                fractures=_boxes([]),
                fold=int(k),
            )

    dataset = prepared(films(), len(unlabelled), SITES, stored.stem)
    dataset.save(stored)
    return dataset


def _pixels(file: Path) -> StoredValues:
    ds = read_dataset(read_instance(file))
    return radiograph_from_dataset(ds, header_from_dataset(ds)).stored


def _folds(rows: Sequence[Row]) -> NDArray[np.int8]:
    """What the manifest says, else `FOLDS` folds of whole groups with an even share of each site's fractures.

    Films that nobody has looked at go with their group, and make none of their own.
    """
    labelled = [row for row in rows if not row.is_unread]
    if any(row.split for row in rows):
        known = [LEARN_ONLY if row.split in ("train", "") else int(row.split) for row in labelled]
    else:
        known = [int(fold) for fold in _shared_out(labelled)]
    of_group = dict(zip((row.group for row in labelled), known, strict=True))
    given = iter(known)
    return np.array([of_group.get(row.group, LEARN_ONLY) if row.is_unread else next(given) for row in rows], np.int8)


def _shared_out(rows: Sequence[Row]) -> NDArray[np.int8]:
    traits = np.zeros((len(rows), 2 + len(SITES)))
    for i, row in enumerate(rows):
        traits[i, 0], traits[i, 1] = 1, row.fractured == "1"
        broken = _boxes(row.broken())
        for site, box in row.located():
            if site in SITES:
                traits[i, 2 + SITES.index(site)] += bool(len(broken)) if box is None else _inside(broken, box).any()
    _, groups = np.unique([row.group for row in rows], return_inverse=True)
    return folds(groups, traits, FOLDS, FOLD_SEED)


def phantoms(cache: Path, *, train: int = 240, held_out: int = 40) -> Dataset:
    """Fresh phantoms: `train` per site to learn from, `held_out` each to calibrate on and to test on.

    Every patient gives one film; where a site has two views, half of the broken and half of the whole ones show each.
    """
    from provisioning.phantoms import (
        VIEWS,  # drawing phantoms is not needed to train on films
        phantom,  # drawing phantoms is not needed to train on films
    )

    stored = cache / f"phantoms-{train}-{held_out}-folds.npz"
    if stored.exists():
        return Dataset.load(stored)
    wanted = [LEARN_ONLY] * train + [THRESHOLD] * held_out + [TEST] * held_out

    def films() -> Iterator[Film]:
        for number, fold in enumerate(wanted):
            for index, site in enumerate(PHANTOM_SITES):
                seed, view = DEMONSTRATION_SEEDS * 10 + number, number // 2 % VIEWS[site]
                drawn = phantom(site, seed, fracture=number % 2 == 0, view=view)
                yield Film(
                    stored=StoredValues(pixels=drawn.pixels, window=drawn.window, invert=drawn.invert),
                    boxes=_boxes([drawn.region]),
                    sites=[index],
                    fractures=_boxes([] if drawn.fracture is None else [drawn.fracture]),
                    fold=fold,
                    flags=tuple(bool(getattr(drawn, flag)) for flag in FLAGS),
                )

    dataset = prepared(films(), len(wanted) * len(PHANTOM_SITES), PHANTOM_SITES, "phantoms")
    dataset.save(stored)
    return dataset


def prepared(films: Iterable[Film], total: int, sites: Sequence[str], what: str) -> Dataset:
    """Run the appliance's preprocessing over films and cut their regions as the appliance does."""
    preprocessor = DaliPreprocessor("cpu", threads=2)
    images, fold, flagged = [], [], []
    boxes, regions, masks, labels, clear = [], [], [], [], []
    site: list[int] = []
    film: list[int] = []
    for index, f in enumerate(track(films, f"preparing {what}", total=total)):
        height, width = f.stored.pixels.shape
        (image,) = preprocessor.prepare([f.stored])
        images.append(image.image)
        fold.append(f.fold)
        flagged.append(f.flags)
        if not len(f.boxes):
            continue
        crops = np.array([_corners(crop_box(_box(b), height, width)) for b in f.boxes], np.float32)
        regions.append(preprocessor.regions([Cut(stored=f.stored, table=image.table, box=crop) for crop in crops]))
        boxes.append(f.boxes * np.float32(image.scale))
        site.extend(f.sites)
        film.extend([index] * len(crops))
        for box, crop in zip(f.boxes, crops, strict=True):
            mask, own, foreign = _mask(box, crop, f.fractures)
            masks.append(mask)
            labels.append(own)
            clear.append(own or not foreign)
    return Dataset(
        sites=np.array(sites),
        films=np.stack(images),
        fold=np.array(fold, np.int8),
        flags=np.array(FLAGS),
        flagged=np.array(flagged, np.bool_),
        boxes=np.concatenate(boxes).astype(np.float32),
        regions=np.concatenate(regions),
        masks=np.stack(masks),
        labels=np.array(labels, np.bool_),
        clear=np.array(clear, np.bool_),
        site=np.array(site, np.int64),
        film=np.array(film, np.int64),
    )


def _mask(
    box: NDArray[np.float32], crop: NDArray[np.float32], fractures: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], bool, bool]:
    """A region's (64,64) mask, whether it is fractured, and whether a neighbour's fracture shows in it."""
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
    """Which fractures' centres lie in the box: a fracture belongs to every region that holds its centre."""
    centres = (fractures[:, :2] + fractures[:, 2:]) / 2
    return np.asarray(((centres >= box[:2]) & (centres <= box[2:])).all(1), np.bool_)


def _boxes(corners: Iterable[Iterable[str | float]]) -> NDArray[np.float32]:
    return np.array([[float(c) for c in four] for four in corners], np.float32).reshape(-1, 4)


def _box(corners: NDArray[np.float32]) -> Box:
    x0, y0, x1, y1 = (float(c) for c in corners)
    return Box(x0=x0, y0=y0, x1=x1, y1=y1)


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.x0, box.y0, box.x1, box.y1
