"""Radiographs through stages 1 to 3 together and one at a time, on the CPU: ``python -m tests.benchmarks.batches``.

From decoded pixels in host memory to probabilities and maps in host memory; `tests.benchmarks.gpu` prints the same of
a GPU.
"""

from __future__ import annotations

import statistics
from time import perf_counter

import click

from appliance.analysis.pipeline import Pipeline
from appliance.config import Analyse, Configuration
from appliance.service.pipeline_assembly import pipeline_of
from provisioning.demonstration.run import SITES
from provisioning.phantoms.large import copy_of, large_radiograph

MOST = 16
"""Largest batch that `analyse.batch` allows."""


@click.command()
@click.option("--pack", default="fracatlas", show_default=True)
@click.option("--rounds", default=5, show_default=True, help="Rounds of each batch; one more goes before, uncounted.")
def main(pack: str, rounds: int) -> None:
    """Print the table for the CPU."""
    pipeline = pipeline_of(Configuration(analyse=Analyse(pack=pack, compute="cpu")))
    print(pipeline.provenance.compute)
    print_batches("CPU", pipeline, rounds)


def print_batches(name: str, pipeline: Pipeline, rounds: int) -> None:
    """Print times of the same radiographs in batches of each size; the sizes take turns under the same load."""
    radiographs = [large_radiograph(SITES[k % len(SITES)].value, k) for k in range(MOST)]
    sizes = [1 << k for k in range(MOST.bit_length())]
    results = [pipeline.analyse(radiograph).result for radiograph in radiographs]
    regions = sum(len(r.findings) + len(r.not_read) for r in results)
    what = f"{MOST} radiographs of 10 megapixels with {regions} regions, stages 1 to 3"
    print(f"\n{what}: median ms (radiographs/s) by batch, n = {rounds}")
    spent: dict[int, list[float]] = {size: [] for size in sizes}
    for number in range(rounds + 1):
        for size, times in spent.items():
            # new arrays each time, as for new radiographs; the same arrays would stay on the GPU
            fresh = [copy_of(radiograph) for radiograph in radiographs]
            start = perf_counter()
            for first in range(0, MOST, size):
                pipeline.analyse_all(fresh[first : first + size])
            if number:
                times.append(perf_counter() - start)
    medians = {size: statistics.median(times) for size, times in spent.items()}
    print(f"{name}: " + "   ".join(f"{n}: {s * 1e3:.0f} ({MOST / s:.0f})" for n, s in medians.items()))


if __name__ == "__main__":
    main()
