"""The appliance's own pipelines on the card and on the CPU, on drawn radiographs."""

from __future__ import annotations

from typing import Literal

from appliance.analysis.pipeline import Pipeline
from appliance.compute import Compute
from appliance.config import Analyse, Configuration
from appliance.service.pipeline_assembly import Hardware, assemble_workbench, on_gpu, packs_of, pipeline_on

from .step import Place

SITES = ("ankle", "wrist", "knee", "shoulder", "pelvis", "spine")
"""Sites that phantoms are drawn of."""

Precision = Literal["float32", "float16"]


def configuration(place: Place, pack: str, precision: Precision = "float32") -> Configuration:
    """Return a configuration with its state below the report's folder."""
    analyse = Analyse(pack=pack, compute="cpu", precision=precision)
    return Configuration(state_dir=(place.folder / "state").absolute(), analyse=analyse)


def hardware(place: Place, config: Configuration) -> Hardware:
    """Take the GPU for this process; where a stand-in is the driver, DALI stays on the CPU, for want of a GPU."""
    return on_gpu(config, packs_of(config), "cpu" if place.stand_in else "gpu", place.fatbin)


def both_pipelines(place: Place, pack: str) -> tuple[Pipeline, Pipeline]:
    """Return the pipelines on the CPU and on the card; the latter's goldens are checked first."""
    config = configuration(place, pack)
    compute = Compute(device="gpu", name="gpu", reason="it is checked")
    return assemble_workbench(config).pipeline, pipeline_on(hardware(place, config), config, packs_of(config), compute)
