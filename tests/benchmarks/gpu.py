"""Speed on a GPU: ``python -m tests.benchmarks.gpu``, on a machine that has one.

Milliseconds per stage for one radiograph of 10 megapixels beside the CPU's, radiographs a second together and one at a
time, inference by batch, each kernel's bandwidth against a copy on the device, and the same networks in PyTorch with
pytorch-grad-cam, if both are installed (``pip install torch grad-cam``) and PyTorch sees the GPU.
"""

from __future__ import annotations

import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Literal

import click
import numpy as np

from appliance.analysis.pipeline import Pipeline
from appliance.compute import Compute
from appliance.config import Analyse, Configuration
from appliance.domain.radiograph import Radiograph
from appliance.gpu import card
from appliance.preprocessing.reference import displayed
from appliance.service.pipeline_assembly import Hardware, on_gpu, packs_of, pipeline_of, pipeline_on
from engines.plan import LARGEST_BATCH, load_tensorrt
from engines.runner import Runner
from kernels.cuda import CudaKernels
from kernels.device import Gpu
from provisioning.gpu_selfcheck.speed import bus_figures, kernel_figures
from provisioning.gpu_selfcheck.step import is_stand_in
from provisioning.gpu_selfcheck.timing import RING_BYTES, Rings
from provisioning.phantoms.large import copy_of, large_radiograph
from tests.benchmarks.batches import print_batches
from tests.support.kernel_cases import fatbin_of_today, heats


@click.command()
@click.option("--pack", default="fracatlas", show_default=True)
@click.option(
    "--rounds", default=50, show_default=True, help="Of each measurement; as many again go before, uncounted."
)
@click.option("--precision", type=click.Choice(["float32", "float16"]), default="float32", show_default=True)
def main(pack: str, rounds: int, precision: Literal["float32", "float16"]) -> None:
    """Print every table."""
    config = Configuration(analyse=Analyse(pack=pack, compute="cpu", precision=precision))
    with tempfile.TemporaryDirectory() as folder:
        config = config.model_copy(update={"state_dir": Path(folder)})
        fatbin = fatbin_of_today(Path(folder))
        hardware, compute = _gpu(config, fatbin)
        packs = packs_of(config)
        start = perf_counter()
        on_the_gpu = pipeline_on(hardware, config, packs, compute)
        print(f"{compute.name}: ready after {perf_counter() - start:.1f} s, its plans compiled for the first time")
        radiograph = large_radiograph("wrist", 3)
        _stages({"GPU": on_the_gpu, "CPU": pipeline_of(config)}, radiograph, rounds)
        print_batches("GPU", on_the_gpu, max(rounds // 10, 1))
        kernels = hardware.kernels
        assert isinstance(kernels, CudaKernels)
        _overlay(kernels, radiograph, rounds)
        _batches(hardware.runner_of(next(iter(packs[0].classifiers.values())).file), kernels, rounds)
        _device(kernels._gpu, fatbin, rounds)
        _pytorch(rounds)


def _gpu(config: Configuration, fatbin: Path) -> tuple[Hardware, Compute]:
    seen, trt = card(), load_tensorrt()
    name = f"{seen.name}, driver {seen.driver}, {trt.__name__} {trt.__version__}, {config.analyse.precision}"
    if is_stand_in():
        name = "NO GPU: tests.support.driver stands in, and every figure is meaningless"
    hardware = on_gpu(config, packs_of(config), "cpu" if is_stand_in() else "gpu", fatbin)
    return hardware, Compute(device="gpu", name=name, reason="it is measured")


def _stages(pipelines: dict[str, Pipeline], radiograph: Radiograph, rounds: int) -> None:
    """Print times from decoded pixels in host memory to probabilities and maps in host memory."""
    print(f"\n{radiograph.shape[0]} x {radiograph.shape[1]} px, one at a time: median (worst) ms, n = {rounds}")
    for name, pipeline in pipelines.items():
        spent: dict[str, list[float]] = defaultdict(list)
        count = 0
        for number in range(2 * rounds):
            # a new array each time, as for a new radiograph; the same array would stay on the GPU
            stored = copy_of(radiograph)
            start = perf_counter()
            result = pipeline.analyse(stored).result
            total = (perf_counter() - start) * 1e3
            count = len(result.findings) + len(result.not_read)
            if number >= rounds:
                for stage, ms in (*result.timings_ms, ("all", total)):
                    spent[stage].append(ms)
        stages = "   ".join(f"{s} {statistics.median(ms):.1f} ({max(ms):.1f})" for s, ms in spent.items())
        print(f"{name}, {count} regions: {stages}   {1e3 / statistics.fmean(spent['all']):.0f} radiographs/s")


def _overlay(kernels: CudaKernels, radiograph: Radiograph, rounds: int) -> None:
    """Print the time from the displayed radiograph in host memory to the coloured one there."""
    grey = displayed(radiograph.stored)
    ms = _median_ms(lambda: kernels.overlay(grey, heats("whole", *grey.shape)), rounds)
    print(f"overlay, up and down again: {ms:.1f} ms")


def _batches(runner: Runner, kernels: CudaKernels, rounds: int) -> None:
    print("\none site's engine with its gradient, and Grad-CAM: ms per batch of regions, per region")
    batch = 1
    while batch <= LARGEST_BATCH:
        regions = np.random.default_rng(batch).uniform(0, 255, (batch, 1, 256, 256)).astype(np.float32)

        def once(regions: np.ndarray = regions) -> None:
            for part in runner.infer({"region": regions}):
                kernels.evidence(part["activations"], part["gradients"])  # type: ignore[arg-type]
                np.asarray(part["logit"])

        ms = _median_ms(once, rounds)
        print(f"{batch:4}  {ms:7.2f}  {ms / batch:7.2f}")
        batch *= 2


def _median_ms(work: Callable[[], object], rounds: int) -> float:
    spent = []
    for number in range(2 * rounds):
        start = perf_counter()
        work()
        if number >= rounds:
            spent.append((perf_counter() - start) * 1e3)
    return statistics.median(spent)


def _device(gpu: Gpu, fatbin: Path, rounds: int) -> None:
    """Print times on the GPU's own clock: kernels beside a copy on the card, and copies over the bus."""
    with Rings(gpu, 64 << 20 if is_stand_in() else RING_BYTES) as rings:
        figures = kernel_figures(gpu, rings, fatbin, launches=rounds) | bus_figures(gpu, rings, rounds)
        print(f"\non the GPU's own clock, {rounds} launches behind a busy stream over {rings.size_bytes >> 20} MB")
    for name, figure in figures.items():
        print(f"{name:<26} {figure}")


def _pytorch(rounds: int) -> None:
    """Print times of the fracture network of the pack fracatlas with random weights, which do not change the time."""
    try:
        torch, cams = import_module("torch"), import_module("pytorch_grad_cam")
    except ImportError as error:
        print(f"\nPyTorch with pytorch-grad-cam: not run ({error})")
        return
    if not torch.cuda.is_available():
        print("\nPyTorch with pytorch-grad-cam: not run (PyTorch sees no GPU)")
        return
    from engines.training.networks import SiteHead, lite_fractures

    network = lite_fractures(1).eval().cuda()

    class Whole(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network, self.head = network, SiteHead(network, 0)

        def forward(self, region: object) -> object:
            return self.head(network.activations(region)).reshape(-1, 1)

    print("\nPyTorch with pytorch-grad-cam: ms per batch of regions, per region")
    with cams.GradCAM(model=Whole().eval().cuda(), target_layers=[network.trunk]) as cam:
        batch = 1
        while batch <= LARGEST_BATCH:
            regions = torch.rand(batch, 1, 256, 256) * 255

            def once(regions: object = regions) -> None:
                cam(input_tensor=regions)
                torch.cuda.synchronize()

            ms = _median_ms(once, rounds)
            print(f"{batch:4}  {ms:7.2f}  {ms / batch:7.2f}")
            batch *= 2


if __name__ == "__main__":
    main()
