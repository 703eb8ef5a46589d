"""The configured pack, and the pipeline that its engines make."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import engines.packs
from appliance.analysis.classifier import Classifier, Kernels
from appliance.analysis.localiser import Localiser
from appliance.analysis.pipeline import Pipeline
from appliance.clock import now
from appliance.compute import Compute, choose_compute, on_cpu
from appliance.config import Configuration
from appliance.domain.identifiers import Site
from appliance.domain.radiograph import StoredValues, Window
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Provenance
from appliance.errors import Fault
from appliance.gpu import card
from appliance.picture.heat import Draw, draw_heats, drawn_by
from appliance.ports import Preprocessor
from appliance.preprocessing.recipe import DIGEST, IMAGE_PX, REGION_PX, Cut, fitted_size
from appliance.preprocessing.reference import ReferencePreprocessor
from engines.build import build_plans, networks
from engines.goldens import check_goldens
from engines.pack import MANIFEST, Pack, PackError, joined, read_pack
from engines.plan import PlanError, target_of
from engines.runner import Runner, RunnerError
from engines.signature import check_signature
from kernels import reference
from kernels.build import FATBIN
from kernels.cuda import CudaKernels
from kernels.device import Gpu
from kernels.operations import KernelError

from .notify import Notify, silent

log = logging.getLogger(__name__)

GREY_LEVELS = 6
"""Of 255, how far stage 1 may be off: one before equalisation can be a few after it, where the histogram is steep."""

SHIPPED = Path(engines.packs.__file__).parent
"""Folder of the packs that ship with Osteon."""


def pack_of(config: Configuration) -> Pack:
    """What the configuration names, as one pack; `Fault` as `packs_of`."""
    return joined(packs_of(config))


def packs_of(config: Configuration) -> list[Pack]:
    """The packs that the configuration names: those that ship with Osteon, that were installed, or folders.

    Raises
    ------
    Fault
        ``pack`` with what to do about it.
    """
    try:
        return [_pack(name, config) for name in (config.analyse.pack, *config.analyse.more_packs)]
    except PackError as error:
        raise Fault(ReasonCode.PACK, str(error)) from error


def pack_folder(name: str, config: Configuration) -> Path:
    """Where the pack of that name lies: among those that ship, those that were installed, or at that path."""
    places = (SHIPPED / name, config.packs_dir / name)
    return next((place for place in places if (place / MANIFEST).exists()), Path(name))


def _pack(name: str, config: Configuration) -> Pack:
    folder = pack_folder(name, config)
    if config.analyse.trusted_keys:
        check_signature(folder, config.analyse.trusted_keys)
    return known_sites(read_pack(folder, DIGEST))


def known_sites(pack: Pack) -> Pack:
    """`pack`, if this version of Osteon knows the sites that it speaks of.

    Raises
    ------
    PackError
        If it does not.
    """
    if strange := {*pack.localiser.sites, *pack.classifiers} - {site.value for site in Site}:
        raise PackError(f"pack {pack.name} speaks of {', '.join(sorted(strange))}: upgrade Osteon")
    return pack


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What computes stages 1 to 3.

    Attributes
    ----------
    runner_of
        The engine of an ONNX file, the same one each time.
    half
        Its classifiers compute in float16.
    """

    preprocessor: Preprocessor
    runner_of: Callable[[Path], Runner]
    kernels: Kernels
    draw: Draw = draw_heats
    half: bool = False


def pipeline_of(config: Configuration, tell: Notify = silent) -> Pipeline:
    """Preprocessing and the engines of the configured packs, loaded, checked against its goldens and ready.

    Parameters
    ----------
    tell
        Is told each step that may take long.

    Raises
    ------
    Fault
        ``pack`` if the pack is refused, or its networks do not compute on this machine what was measured; ``no_gpu`` or
        ``gpu_failed`` if the configuration insists on a GPU that cannot be used.
    """
    packs, half = packs_of(config), config.analyse.half
    compute = choose_compute(config.analyse.compute, half=half)
    if compute.device == "gpu":
        try:
            return pipeline_on(on_gpu(config, packs, tell=tell), config, packs, compute)
        except (Fault, KernelError, PackError, PlanError, RunnerError) as error:
            if config.analyse.compute == "gpu":
                raise Fault(ReasonCode.GPU_FAILED, f"{compute.name}: {error}") from error
            compute = on_cpu(f"{compute.name} was tried at start: {error}", half=half)
    try:
        return pipeline_on(_on_cpu(config), config, packs, compute)
    except PackError as error:
        raise Fault(ReasonCode.PACK, str(error)) from error


def pipeline_on(hardware: Hardware, config: Configuration, packs: Sequence[Pack], compute: Compute) -> Pipeline:
    """The pipeline on `hardware`, which `compute` tells of.

    Raises
    ------
    PackError
        If a network does not reproduce its golden outputs there.
    """
    for each in packs:
        check_goldens(each, hardware.runner_of, half=hardware.half)
    log.info("%s: %s", compute.name, compute.reason)
    pack, runner_of = joined(packs), hardware.runner_of
    return Pipeline(
        preprocessor=hardware.preprocessor,
        localiser=Localiser(runner_of(pack.localiser.file), pack.localiser),
        classifiers={
            Site(site): Classifier(runner_of(spec.file), spec, hardware.kernels)
            for site, spec in pack.classifiers.items()
        },
        provenance=Provenance(
            software_version=version("osteon"),
            pack_name=pack.name,
            pack_version=pack.version,
            pack_digest=pack.digest,
            pack_is_synthetic=pack.is_synthetic,
            compute=compute.name,
        ),
        rules=config.analyse,
        now=now,
        compute=compute,
        draw=hardware.draw,
    )


def _on_cpu(config: Configuration) -> Hardware:
    # seconds to import, and the page needs neither to describe a pack
    from appliance.preprocessing.dali import DaliPreprocessor
    from engines.onnxruntime_runner import OnnxRuntimeRunner

    threads = config.analyse.threads
    return Hardware(
        preprocessor=DaliPreprocessor("cpu", threads),
        runner_of=cache(lambda file: OnnxRuntimeRunner(file, threads)),
        kernels=reference,
    )


def on_gpu(
    config: Configuration,
    packs: Sequence[Pack],
    device: Literal["cpu", "gpu"] = "gpu",
    fatbin: Path = FATBIN,
    tell: Notify = silent,
) -> Hardware:
    """The GPU, in the thread that calls, until the process ends; plans that are not there are built.

    Parameters
    ----------
    device
        On which DALI computes.
    tell
        As for `pipeline_of`.

    Raises
    ------
    Fault, KernelError, PlanError, RunnerError
        If DALI, the kernels or TensorRT cannot use it.
    """
    from appliance.preprocessing.dali import DaliPreprocessor
    from engines.tensorrt_runner import TensorRtRunner

    plans = _plans(config, packs, tell)
    gpu = Gpu()
    preprocessor = DaliPreprocessor(device, config.analyse.threads, gpu if device == "gpu" else None)
    check_preprocessor(preprocessor)
    kernels = CudaKernels(gpu, fatbin=fatbin)

    @cache
    def runner_of(file: Path) -> Runner:
        tell(f"the {file.stem} network is loaded, and compiled if this GPU meets it for the first time")
        return TensorRtRunner(plans[file], gpu)

    return Hardware(
        preprocessor=preprocessor,
        runner_of=runner_of,
        kernels=kernels,
        draw=drawn_by(kernels),
        half=config.analyse.half,
    )


def _plans(config: Configuration, packs: Sequence[Pack], tell: Notify) -> dict[Path, Path]:
    """The plan of each ONNX file of `packs` for this GPU."""
    target, plans = target_of(card().compute_capability), {}
    count = sum(len(networks(pack)) for pack in packs)
    tell(f"{count} plans are looked for, and built if they are not there")
    for pack in packs:
        for built in build_plans(pack, target, config.plans_dir, half=config.analyse.half):
            plans[built.onnx] = built.file
            tell(f"{len(plans)} of {count} plans are there")
    return plans


def check_preprocessor(preprocessor: Preprocessor) -> None:
    """Stage 1 of a ramp, as the reference makes it but for the outermost pixels; goldens only speak of networks.

    Raises
    ------
    Fault
        ``preprocessing_differs``.
    """
    rows, columns = 700, 600
    pixels = np.add.outer(np.arange(rows), np.arange(columns)).astype(np.uint16)
    stored = StoredValues(pixels=pixels, window=Window(center=rows, width=2 * rows), invert=True)
    boxes = np.array([[0, 0, columns, rows], [90.5, 300, 250, 421.25]], np.float32)
    made, expected = (_stage_one(p, stored, boxes) for p in (preprocessor, ReferencePreprocessor()))
    for m, e in zip(made, expected, strict=True):
        worst = int(np.abs(m.astype(int) - e)[2:-2, 2:-2].max())
        if worst > GREY_LEVELS:
            raise Fault(
                ReasonCode.PREPROCESSING_DIFFERS, f"stage 1 is off its definition by {worst} grey levels of 255 here"
            )


def _stage_one(preprocessor: Preprocessor, stored: StoredValues, boxes: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """What the networks see of each of `boxes`, and of the whole; without the padding."""
    (prepared,) = preprocessor.prepare([stored])
    height, width = stored.pixels.shape
    sizes = [fitted_size(height, width, IMAGE_PX)]
    sizes += [fitted_size(y1 - y0, x1 - x0, REGION_PX) for x0, y0, x1, y1 in boxes.astype(float)]
    cuts = [Cut(stored=stored, table=prepared.table, box=box) for box in boxes]
    images = [prepared.image, *preprocessor.regions(cuts)]
    return [image[:h, :w] for image, (h, w) in zip(images, sizes, strict=True)]
