"""Steps that compare what the card computes with the CPU: stage 1, networks, answers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset
from appliance.domain.radiograph import Radiograph
from appliance.errors import Fault
from appliance.ports import Analysis, Preprocessor
from appliance.preprocessing.recipe import Cut
from appliance.service.pipeline_assembly import GREY_LEVELS, check_preprocessor, packs_of
from engines.goldens import check_goldens
from engines.plan import load_tensorrt
from kernels.device import Gpu
from provisioning.phantoms import instance_from_phantom, phantom

from .pipelines import SITES, Precision, both_pipelines, configuration, hardware
from .step import Figures, Place, StepFailed

FAR_SHARE = 0.01
"""Largest share of stage 1's pixels beyond `GREY_LEVELS`. No card has been measured yet: see the distribution first."""

PROBABILITY = 2e-3
"""Largest difference of a probability between the card and the CPU."""

PACKS = ("phantom", "fracatlas")
"""Packs that ship with Osteon."""


def drawn(site: str, seed: int, fractured: bool) -> Radiograph:
    """Return a drawn radiograph."""
    ds = instance_from_phantom(phantom(site, seed, fractured))
    return radiograph_from_dataset(ds, header_from_dataset(ds, ""))


def compare_dali(_: Place) -> Figures:
    """Compare stage 1 on the card with stage 1 on the CPU."""
    from appliance.preprocessing.dali import DaliPreprocessor

    with Gpu() as gpu:
        return compare_stage_one(DaliPreprocessor("cpu", 4), DaliPreprocessor("gpu", 4, gpu))


def compare_stage_one(expected: Preprocessor, actual: Preprocessor, sites: Sequence[str] = SITES) -> Figures:
    """Return the shares of pixels by their difference in grey levels of 255, on drawn radiographs.

    Raises
    ------
    StepFailed
        If `actual` fails the appliance's own check, or too many pixels are far off.
    """
    count = np.zeros(256, np.int64)
    for seed, site in enumerate(sites):
        stored = drawn(site, seed, True).stored
        height, width = stored.pixels.shape
        boxes = ((0, 0, width, height), (10.5, 20.25, 0.6 * width, 0.7 * height), (0.5 * width, 1, width, 0.5 * height))
        made = []
        for preprocessor in (expected, actual):
            (prepared,) = preprocessor.prepare([stored])
            cuts = [Cut(stored=stored, table=prepared.table, box=np.array(box, np.float32)) for box in boxes]
            made.append([prepared.image, *preprocessor.regions(cuts)])
        for e, a in zip(*made, strict=True):
            difference = np.abs(np.asarray(a).astype(int) - np.asarray(e).astype(int))
            count += np.bincount(difference.ravel(), minlength=256)
    found = distribution(count)
    try:
        check_preprocessor(actual)
    except Fault as error:
        raise StepFailed(f"{error}: {found}") from error
    if count[GREY_LEVELS + 1 :].sum() > FAR_SHARE * count.sum():
        raise StepFailed(f"too many pixels differ by more than {GREY_LEVELS}: {found}")
    return found


def distribution(count: NDArray[np.int64]) -> Figures:
    """Return the shares of pixels by difference, from the number of pixels of each."""
    shares, edges = count / count.sum(), (0, 1, 2, 3, 4, 5, 7, 9, 17, 256)
    found: Figures = {}
    for first, after in pairwise(edges):
        name = f"{first}" if after == first + 1 else f"{first} to {after - 1}"
        found[f"share that differs by {name}"] = round(float(shares[first:after].sum()), 7)
    found["largest difference"] = int(np.flatnonzero(count).max())
    return found


def build_plans(place: Place) -> Figures:
    """Build and load the vendor's plan of each network; report seconds for each, compilation for this card included."""
    trt = load_tensorrt()
    found: Figures = {"TensorRT": f"{trt.__name__} {trt.__version__}"}
    for pack in PACKS:
        config = configuration(place, pack)
        start = perf_counter()
        taken = hardware(place, config)
        found[f"{pack}, all plans built, s"] = round(perf_counter() - start, 2)
        for each in packs_of(config):
            for file in {each.localiser.file, *(spec.file for spec in each.classifiers.values())}:
                start = perf_counter()
                taken.runner_of(file)
                found[f"{pack}/{file.stem}, loaded, s"] = round(perf_counter() - start, 2)
    return found


def check_float32_goldens(place: Place) -> Figures:
    """Compare each network with its goldens."""
    return _goldens(place, "float32")


def check_float16_goldens(place: Place) -> Figures:
    """Compare each network in float16 with its goldens."""
    return _goldens(place, "float16")


def _goldens(place: Place, precision: Precision) -> Figures:
    found: Figures = {}
    for name in PACKS:
        config = configuration(place, name, precision)
        taken = hardware(place, config)
        for pack in packs_of(config):
            worst = check_goldens(pack, taken.runner_of, half=taken.half)
            found |= {f"{name}/{network}": float(f"{off:.3g}") for network, off in worst.items()}
    return found


def compare_answers(place: Place) -> Figures:
    """Compare the answers of the whole pipeline, from decoded pixels to findings, with the CPU's."""
    on_cpu, on_card = both_pipelines(place, "phantom")
    worst: dict[str, float] = {}
    for site in SITES:
        for fractured in (True, False):
            radiograph = drawn(site, 3, fractured)
            expected, actual = on_cpu.analyse(radiograph), on_card.analyse(radiograph)
            for name, difference in differences(expected, actual).items():
                worst[name] = max(worst.get(name, 0.0), difference)
    found: Figures = {f"largest difference of {name}": float(f"{value:.3g}") for name, value in worst.items()}
    if not worst["probability"] <= PROBABILITY:
        raise StepFailed(f"a probability differs by {worst['probability']:.2g} from the CPU's: {found}")
    return {"radiographs": 2 * len(SITES)} | found


def differences(expected: Analysis, actual: Analysis) -> dict[str, float]:
    """Return the largest difference of probabilities, boxes in px and heats.

    Raises
    ------
    StepFailed
        If the regions differ, or a verdict does although its probability is far from the limits.
    """
    pairs = list(zip(expected.result.findings, actual.result.findings, strict=False))
    sites = [[finding.site for finding in analysis.result.findings] for analysis in (expected, actual)]
    if sites[0] != sites[1] or not pairs:
        raise StepFailed(f"the CPU finds the regions {sites[0]}, the card {sites[1]}")
    for e, a in pairs:
        if e.verdict != a.verdict and min(abs(e.probability - t) for t in (e.doubt, e.positive)) > PROBABILITY:
            raise StepFailed(f"{e.site}: {e.verdict} on the CPU ({e.probability:.4f}), {a.verdict} on the card")
    heats = zip(expected.heats, actual.heats, strict=True)
    return {
        "probability": max(abs(e.probability - a.probability) for e, a in pairs),
        "a box, px": max(float(np.abs(np.subtract(e.box.as_tuple(), a.box.as_tuple())).max()) for e, a in pairs),
        "a heat": max((float(np.abs(e.cells - a.cells).max()) for e, a in heats), default=0.0),
    }
