"""FracAtlas films and phantoms as arrays: read, prepared by the appliance's own preprocessing, and kept in a cache."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from appliance.analysis.geometry import crop_box
from appliance.domain.finding import Box
from appliance.domain.radiograph import StoredValues, Window
from appliance.preprocessing.dali import DaliPreprocessor
from engines.training.dataset import Dataset, Part
from engines.training.split import groups_of, split

LABELS = Path(__file__).parent.parent / "engines" / "training" / "labels"
FRACATLAS_SITES = (
    "ankle", "wrist", "knee", "shoulder", "pelvis", "spine",
    "elbow", "forearm", "lower_leg", "femur", "humerus", "hand", "foot",
)  # fmt: skip
PHANTOM_SITES = ("ankle", "wrist", "knee", "shoulder", "pelvis", "spine")
MASK_PX = 64  # side of a region's fracture mask: four places per cell of the 16x16 map
EIGHT_BIT = Window(center=128, width=256)  # LINEAR: grey levels 0..255 as they are (DICOM PS3.3 C.11.2.1.2.1)
FOREIGN = 0.25  # share of a neighbour's fracture box inside the crop from which the region is not clearly unbroken
SPLIT_SEED = 20  # fixed once; no other was tried
DEMONSTRATION_SEEDS = 100  # phantoms 0..99 are the demonstration's, never trained on


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """One radiograph with everything that is known of it; boxes (n,4) float32 in its own pixels."""

    stored: StoredValues = field(repr=False)
    boxes: NDArray[np.float32]
    sites: Sequence[int]
    fractures: NDArray[np.float32]
    part: Part
    hardware: bool = False


def fracatlas(data: Path, cache: Path) -> Dataset:
    """All labelled, whole films of FracAtlas.

    Parameters
    ----------
    data
        Folder with ``radiographs.csv`` (fracture boxes, look-alike groups) and ``images/``.
    cache
        Folder for the prepared arrays.
    """
    stored = cache / "fracatlas.npz"
    if stored.exists():
        return Dataset.load(stored)
    with (data / "radiographs.csv").open(newline="") as rows:
        facts = {r["file"]: r for r in csv.DictReader(rows) if r["truncated_jpeg"] == "0"}
    with (LABELS / "films.csv").open(newline="") as rows:
        seen = {r["file"]: r for r in csv.DictReader(rows) if r["file"] in facts}
    regions: dict[str, list[tuple[int, list[float]]]] = {f: [] for f in seen}
    with (LABELS / "regions.csv").open(newline="") as rows:
        for r in csv.DictReader(rows):
            if r["file"] in seen and r["region"] in FRACATLAS_SITES:
                corners = [float(r[k]) for k in ("x0", "y0", "x1", "y1")]
                regions[r["file"]].append((FRACATLAS_SITES.index(r["region"]), corners))
    files = list(seen)
    fractures = {f: _boxes(b.split() for b in facts[f]["boxes_xyxy"].split(";") if b.strip()) for f in files}
    groups = groups_of([int(re.findall(r"\d+", f)[-1]) for f in files], [facts[f]["phash_group"] for f in files])
    traits = np.zeros((len(files), 2 + len(FRACATLAS_SITES)))
    for i, f in enumerate(files):
        traits[i, 0], traits[i, 1] = 1, facts[f]["fractured"] == "1"
        for site, corners in regions[f]:
            traits[i, 2 + site] += bool(_inside(fractures[f], np.array(corners, np.float32)).any())
    parts = split(groups, traits, SPLIT_SEED)

    def films() -> Iterator[Film]:
        for i, f in enumerate(files):
            with Image.open(data / f) as picture:
                pixels = np.asarray(picture.convert("L"))
            yield Film(
                stored=StoredValues(pixels=np.ascontiguousarray(pixels, np.uint16), window=EIGHT_BIT),
                boxes=_boxes(b for _, b in regions[f]),
                sites=[s for s, _ in regions[f]],
                fractures=fractures[f],
                part=Part(parts[i]),
                hardware="1" in (facts[f]["hardware"], seen[f]["hardware"]),
            )

    dataset = prepared(films(), len(files), FRACATLAS_SITES, "FracAtlas")
    dataset.save(stored)
    return dataset


def phantoms(cache: Path, *, train: int = 200, held_out: int = 40) -> Dataset:
    """Fresh phantoms: `train` per site to learn from, `held_out` each to calibrate on and to test on."""
    from provisioning.phantoms import phantom  # drawing phantoms is not needed to train on films

    stored = cache / f"phantoms-{train}-{held_out}.npz"
    if stored.exists():
        return Dataset.load(stored)
    wanted = [Part.TRAIN] * train + [Part.VALIDATION] * held_out + [Part.TEST] * held_out

    def films() -> Iterator[Film]:
        for number, part in enumerate(wanted):
            for index, site in enumerate(PHANTOM_SITES):
                drawn = phantom(site, seed=DEMONSTRATION_SEEDS * 10 + number, fracture=number % 2 == 0)
                yield Film(
                    stored=StoredValues(pixels=drawn.pixels, window=drawn.window, invert=drawn.invert),
                    boxes=_boxes([drawn.region]),
                    sites=[index],
                    fractures=_boxes([] if drawn.fracture is None else [drawn.fracture]),
                    part=part,
                )

    dataset = prepared(films(), len(wanted) * len(PHANTOM_SITES), PHANTOM_SITES, "phantoms")
    dataset.save(stored)
    return dataset


def prepared(films: Iterable[Film], total: int, sites: Sequence[str], what: str) -> Dataset:
    """Run the appliance's preprocessing over films and cut their regions as the appliance does."""
    preprocessor = DaliPreprocessor("cpu", threads=2)
    images, parts, hardware = [], [], []
    boxes, regions, masks, labels, clear = [], [], [], [], []
    site: list[int] = []
    film: list[int] = []
    for index, f in enumerate(track(films, f"preparing {what}", total=total)):
        height, width = f.stored.pixels.shape
        image = preprocessor.prepare(f.stored)
        images.append(image.image)
        parts.append(f.part)
        hardware.append(f.hardware)
        if not len(f.boxes):
            continue
        crops = np.array([_corners(crop_box(_box(b), height, width)) for b in f.boxes], np.float32)
        regions.append(preprocessor.regions(f.stored, image.table, crops))
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
        part=np.array(parts, np.int8),
        hardware=np.array(hardware, np.bool_),
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


def _inside(fractures: NDArray[np.float32], box: NDArray[np.float32]) -> NDArray[np.bool_]:
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
