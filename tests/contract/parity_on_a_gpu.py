"""The same radiographs through the pipeline on a GPU and on the CPU: the same answers.

Run by ``make test-gpu``, and by test_kernels_cuda.py on a driver that stands in.
"""

from __future__ import annotations

import numpy as np
import pytest

from appliance.analysis.pipeline import Analysis, Pipeline
from appliance.compute import Compute
from appliance.config import Analyse, Configuration
from appliance.dicom.reader import header_from_dataset, radiograph_from_dataset
from appliance.service.engines import on_gpu, packs_of, pipeline_of, pipeline_on
from engines.plan import tensorrt
from provisioning.demonstration import SITES
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.kernel_cases import fatbin_of_today

PROBABILITY = 2e-3
"""How far the same region's probabilities may lie apart."""

GPU = Compute(device="gpu", name="gpu (under test)", reason="it is tested")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pipeline, Pipeline]:
    """The pipelines on the CPU and on the GPU."""
    analyse = Analyse(pack="phantom", compute="cpu")
    config = Configuration(state_dir=tmp_path_factory.mktemp("state"), analyse=analyse)
    packs = packs_of(config)
    # where tests.support.driver stands in for a GPU, there is none for DALI
    device = "cpu" if tensorrt().__version__ == "0" else "gpu"
    hardware = on_gpu(config, packs, device, fatbin_of_today(tmp_path_factory.mktemp("fatbin")))
    return pipeline_of(config), pipeline_on(hardware, config, packs, GPU)


@pytest.mark.parametrize("fractured", [True, False])
@pytest.mark.parametrize("site", [s.value for s in SITES])
def test_the_same_radiograph_gets_the_same_answer(both: tuple[Pipeline, Pipeline], site: str, fractured: bool) -> None:
    ds = instance_from_phantom(phantom(site, 3, fractured))
    radiograph = radiograph_from_dataset(ds, header_from_dataset(ds, ""))
    same(*(pipeline.analyse(radiograph) for pipeline in both))


def test_together_they_get_the_same_answers(both: tuple[Pipeline, Pipeline]) -> None:
    instances = [instance_from_phantom(phantom(s.value, 4, number == 0)) for number in (0, 1, 2) for s in SITES]
    radiographs = [radiograph_from_dataset(ds, header_from_dataset(ds, "")) for ds in instances]
    assert len(radiographs) > 16
    on_cpu, on_the_gpu = both
    for film, together in zip(radiographs, on_the_gpu.analyse_all(radiographs), strict=True):
        same(on_cpu.analyse(film), together)


def same(on_cpu: Analysis, on_the_gpu: Analysis) -> None:
    expected, actual = on_cpu.result, on_the_gpu.result
    assert actual.provenance.compute == GPU.name
    assert expected.findings
    assert [f.site for f in actual.findings] == [f.site for f in expected.findings]
    for e, a in zip(expected.findings, actual.findings, strict=True):
        assert np.abs(np.subtract(a.box.as_tuple(), e.box.as_tuple())).max() <= 2
        assert abs(a.probability - e.probability) <= PROBABILITY
        if min(abs(e.probability - t) for t in (e.doubt, e.positive)) > PROBABILITY:
            assert a.answer == e.answer
    for heat_e, heat_a in zip(on_cpu.heats, on_the_gpu.heats, strict=True):
        np.testing.assert_allclose(heat_a.cells, heat_e.cells, atol=0.02)
    assert actual.caveats == expected.caveats
