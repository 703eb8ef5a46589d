"""Assembly of the analysis pipeline: the configured packs, the hardware that computes, and the checks before use."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import engines.packs
from appliance.analysis.classifier import Classifier, EvidenceKernel
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
from engines.build import build_plans, networks, remove_plan
from engines.fingerprint import fingerprints
from engines.goldens import check_goldens
from engines.pack import MANIFEST, Pack, PackError, join_packs, read_pack
from engines.plan import PlanError, target_of
from engines.runner import Runner, RunnerError
from engines.signature import check_signature
from kernels import reference
from kernels.build import FATBIN
from kernels.cuda import CudaKernels
from kernels.device import Gpu
from kernels.operations import KernelError

from .systemd_notify import Notify, silent

log = logging.getLogger(__name__)

GREY_LEVELS = 6
"""Tolerance of the check of stage 1, of 255: one level before equalisation is a few after it in a steep histogram."""

MEASURED_WITH = ("windows", "for_processing", "modalities", "ages")
"""Options of ``[analyse]`` with which a local validation was measured: other ones put every site back to shadow."""

SHIPPED = Path(engines.packs.__file__).parent
"""Folder of the packs that ship with Osteon."""


def pack_of(config: Configuration) -> Pack:
    """Return the configured packs joined into one; raises as `packs_of`."""
    return join_packs(packs_of(config))


def fingerprints_of(config: Configuration) -> dict[Site, str]:
    """Return the fingerprint of each site that the configured packs serve; raises as `packs_of`.

    It depends on the engine, and on the options that change the pixels or the radiographs that are analysed.
    """
    options = config.analyse.model_dump(mode="json", include=set(MEASURED_WITH))
    options["modalities"] = sorted(options["modalities"])
    measured = json.dumps(options, sort_keys=True)
    return {
        Site(site): hashlib.sha256(f"{digest} {measured}".encode()).hexdigest()
        for site, digest in fingerprints(pack_of(config)).items()
    }


def packs_of(config: Configuration) -> list[Pack]:
    """Return the configured packs: shipped with Osteon, installed, or read from a folder.

    Raises
    ------
    Fault
        ``pack``, with the remedy.
    """
    try:
        return [_pack(name, config) for name in (config.analyse.pack, *config.analyse.more_packs)]
    except PackError as error:
        raise Fault(ReasonCode.PACK, str(error)) from error


def pack_folder(name: str, config: Configuration) -> Path:
    """Return the folder of the pack `name`: shipped with Osteon, installed, or itself a path."""
    places = (SHIPPED / name, config.packs_dir / name)
    return next((place for place in places if (place / MANIFEST).exists()), Path(name))


def _pack(name: str, config: Configuration) -> Pack:
    folder = pack_folder(name, config)
    if config.analyse.trusted_keys:
        check_signature(folder, config.analyse.trusted_keys)
    return known_sites(read_pack(folder, DIGEST))


def known_sites(pack: Pack) -> Pack:
    """Return `pack` unchanged if this version of Osteon knows all its sites.

    Raises
    ------
    PackError
        If it does not.
    """
    if strange := {*pack.localiser.sites, *pack.classifiers} - {site.value for site in Site}:
        raise PackError(f"pack {pack.name} has unknown sites ({', '.join(sorted(strange))}): upgrade Osteon")
    return pack


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Implementations of stages 1 to 3 on one device.

    Attributes
    ----------
    runner_of
        Returns the engine of an ONNX file, always the same one.
    draw
        Draws heat maps over a radiograph.
    half
        Whether the classifiers compute in float16.
    close
        Frees the memory of a GPU and its context.
    """

    preprocessor: Preprocessor
    runner_of: Callable[[Path], Runner]
    kernels: EvidenceKernel
    draw: Draw
    half: bool = False
    close: Callable[[], object] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """Everything that the analyse role computes with: the pipeline, the hardware it was assembled on, and drawing."""

    pipeline: Pipeline
    compute: Compute
    draw: Draw


def pipeline_of(config: Configuration) -> Pipeline:
    """Assemble the pipeline alone; raises as `assemble_workbench`."""
    return assemble_workbench(config).pipeline


def assemble_workbench(config: Configuration, notify: Notify = silent) -> Workbench:
    """Load the configured packs on the configured hardware, and check them against their goldens.

    Parameters
    ----------
    notify
        Is called with each step that may take long.

    Raises
    ------
    Fault
        ``pack`` if a pack is refused, or its networks do not reproduce their goldens on this machine; ``no_gpu`` or
        ``gpu_failed`` if the configuration insists on a GPU that cannot be used.
    """
    packs, half = packs_of(config), config.analyse.half
    compute = choose_compute(config.analyse.compute, half=half)
    if compute.device == "gpu":
        try:
            return _workbench_on_gpu(config, packs, compute, notify)
        except (Fault, KernelError, PackError, PlanError, RunnerError) as error:
            if config.analyse.compute == "gpu":
                raise Fault(ReasonCode.GPU_FAILED, f"{compute.name}: {error}") from error
            compute = on_cpu(f"{compute.name} was tried at start: {error}", half=half, has_unused_gpu=True)
    try:
        return _workbench(_on_cpu(config), config, packs, compute)
    except PackError as error:
        raise Fault(ReasonCode.PACK, str(error)) from error


def _workbench_on_gpu(config: Configuration, packs: Sequence[Pack], compute: Compute, notify: Notify) -> Workbench:
    """Return the workbench on the GPU, or free the GPU where an engine does not compute as it should."""
    hardware = on_gpu(config, packs, notify=notify)
    try:
        return _workbench(hardware, config, packs, compute)
    except BaseException:
        hardware.close()
        raise


def _workbench(hardware: Hardware, config: Configuration, packs: Sequence[Pack], compute: Compute) -> Workbench:
    return Workbench(
        pipeline=pipeline_on(hardware, config, packs, compute),
        compute=compute,
        draw=hardware.draw,
    )


def pipeline_on(hardware: Hardware, config: Configuration, packs: Sequence[Pack], compute: Compute) -> Pipeline:
    """Assemble the pipeline on `hardware`; `compute` is its description in the provenance of results.

    Raises
    ------
    PackError
        If a network does not reproduce its golden outputs on `hardware`.
    """
    for each in packs:
        check_goldens(each, hardware.runner_of, half=hardware.half)
    log.info("%s: %s", compute.name, compute.reason)
    pack, runner_of = join_packs(packs), hardware.runner_of
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
    )


def _on_cpu(config: Configuration) -> Hardware:
    # these take seconds to import, and the status role, which only describes packs, needs neither
    from appliance.preprocessing.dali import DaliPreprocessor
    from engines.onnxruntime_runner import OnnxRuntimeRunner

    threads = config.analyse.threads
    return Hardware(
        preprocessor=DaliPreprocessor("cpu", threads),
        runner_of=cache(lambda file: OnnxRuntimeRunner(file, threads)),
        kernels=reference,
        draw=draw_heats,
    )


def on_gpu(
    config: Configuration,
    packs: Sequence[Pack],
    device: Literal["cpu", "gpu"] = "gpu",
    fatbin: Path = FATBIN,
    notify: Notify = silent,
) -> Hardware:
    """Take the GPU for the calling thread until it is closed, and build the TensorRT plans that are missing.

    Parameters
    ----------
    device
        Device of DALI.
    notify
        Is called with each step that may take long.

    Raises
    ------
    Fault, KernelError, PlanError, RunnerError
        If DALI, the kernels or TensorRT cannot use it.
    """
    from appliance.preprocessing.dali import DaliPreprocessor
    from engines.tensorrt_runner import PlanRefused, TensorRtRunner

    plans = _plans(config, packs, notify)
    gpu = Gpu()
    close = partial(_close, gpu)
    try:
        preprocessor = DaliPreprocessor(device, config.analyse.threads, gpu if device == "gpu" else None)
        check_preprocessor(preprocessor)
        kernels = CudaKernels(gpu, fatbin=fatbin)
    except BaseException:
        close()
        raise

    @cache
    def runner_of(file: Path) -> Runner:
        notify(f"loading the {file.stem} network; TensorRT compiles it on its first use with this GPU")
        try:
            return TensorRtRunner(plans[file], gpu)
        except PlanRefused as error:
            log.warning("%s: it is built again, once", error)
            remove_plan(plans[file])
            plans.update(_plans(config, packs, notify))
            return TensorRtRunner(plans[file], gpu)

    return Hardware(
        preprocessor=preprocessor,
        runner_of=runner_of,
        kernels=kernels,
        draw=drawn_by(kernels),
        half=config.analyse.half,
        close=close,
    )


def _close(gpu: Gpu) -> None:
    """Free the memory of the GPU; one that failed may fail at this too, and the first error is the reason."""
    with suppress(KernelError):
        gpu.close()


def _plans(config: Configuration, packs: Sequence[Pack], notify: Notify) -> dict[Path, Path]:
    """Return the plan of each ONNX file of `packs` for this GPU; build those that are missing."""
    seen, plans = card(), {}
    target = target_of(seen.compute_capability)
    count = sum(len(networks(pack)) for pack in packs)
    notify(f"looking for {count} plans, building those that are missing")
    for pack in packs:
        for built in build_plans(pack, target, config.plans_dir, half=config.analyse.half, machine=str(seen)):
            plans[built.onnx] = built.file
            notify(f"{len(plans)} of {count} plans are ready")
    return plans


def check_preprocessor(preprocessor: Preprocessor) -> None:
    """Compare stage 1 of a ramp with the reference, except its outermost pixels; goldens cover the networks only.

    Raises
    ------
    Fault
        ``preprocessing_differs`` if a pixel is off by more than `GREY_LEVELS`.
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
                ReasonCode.PREPROCESSING_DIFFERS,
                f"stage 1 differs from its definition by {worst} grey levels of 255 on this machine",
            )


def _stage_one(preprocessor: Preprocessor, stored: StoredValues, boxes: NDArray[np.float32]) -> list[NDArray[np.uint8]]:
    """Return the networks' inputs for the whole image and for each of `boxes`, without their padding."""
    (prepared,) = preprocessor.prepare([stored])
    height, width = stored.pixels.shape
    sizes = [fitted_size(height, width, IMAGE_PX)]
    sizes += [fitted_size(y1 - y0, x1 - x0, REGION_PX) for x0, y0, x1, y1 in boxes.astype(float)]
    cuts = [Cut(stored=stored, table=prepared.table, box=box) for box in boxes]
    images = [prepared.image, *preprocessor.regions(cuts)]
    return [image[:h, :w] for image, (h, w) in zip(images, sizes, strict=True)]
