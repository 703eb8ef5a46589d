"""Batches of radiographs when the GPU's memory is short; tests.support.driver stands in for all but DALI's part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.contract.test_kernels_cuda import python
from tests.support.kernel_cases import fatbin_of_today

RUN = """
import json, os, pathlib, sys
from dataclasses import replace
import numpy as np
from appliance.compute import Compute
from appliance.config import Analyse, Configuration
from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset
from appliance.preprocessing.dali import _OnGpu
from appliance.preprocessing.reference import ReferencePreprocessor
from appliance.service.pipeline_assembly import on_gpu, packs_of, pipeline_on
from kernels.device import OutOfMemory
from provisioning.phantoms import instance_from_phantom, phantom

class Through:
    "Stage 1 of arrays on the GPU, computed by the reference; notes the sizes of the batches that were copied."

    def __init__(self, gpu):
        self._gpu, self._on_gpu, self._reference, self.went_up = gpu, _OnGpu(gpu), ReferencePreprocessor(), []

    def prepare(self, radiographs):
        return self._reference.prepare(self._there(radiographs))

    def regions(self, cuts):
        there = self._there([cut.stored for cut in cuts])
        return self._reference.regions([replace(c, stored=s) for c, s in zip(cuts, there)])

    def _there(self, radiographs):
        before, waits = self._on_gpu._held, self._gpu.waits
        arrays = self._on_gpu([s.pixels for s in radiographs])
        if self._on_gpu._held is not before:
            self.went_up.append(len(self._on_gpu._held))
        return [replace(s, pixels=np.asarray(a)[..., 0]) for s, a in zip(radiographs, arrays)]

def radiograph(number):
    ds = instance_from_phantom(phantom(("wrist", "knee", "ankle")[number % 3], number, True))
    return radiograph_from_dataset(ds, header_from_dataset(ds, ""))

state, fatbin, most, room = sys.argv[1:]
config = Configuration(state_dir=pathlib.Path(state), analyse=Analyse(pack="phantom", compute="cpu"))
hardware = on_gpu(config, packs_of(config), "cpu", pathlib.Path(fatbin))
through = Through(hardware.kernels._gpu)
compute = Compute(device="gpu", name="gpu (under test)", reason="it is tested")
pipeline = pipeline_on(replace(hardware, preprocessor=through), config, packs_of(config), compute)
radiographs = [radiograph(number) for number in range(int(most))]
alone = [pipeline.analyse(f).result for f in radiographs]
through._on_gpu._buffer.free()
through.went_up.clear()
largest = max(f.stored.pixels.nbytes for f in radiographs)
os.environ["CUDA_ROOM"] = str(int(float(room) * (largest + 256)))
try:
    together = [a.result for a in pipeline.analyse_all(radiographs)]
except OutOfMemory as error:
    print(json.dumps(str(error)))
else:
    said = [[(f.site, f.box.as_tuple(), f.probability) for f in r.findings] for r in (*alone, *together)]
    count = len(radiographs)
    print(json.dumps({"went_up": through.went_up, "alone": said[:count], "together": said[count:]}))
"""


@pytest.fixture
def ran(environment: dict[str, str], tmp_path: Path) -> Any:
    def run(most: int, room: float) -> Any:
        """`most` radiographs where there is room for so many of the largest of them."""
        arguments = (tmp_path, fatbin_of_today(tmp_path), most, room)
        done = python(environment, "-c", RUN, *map(str, arguments))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize(("room", "went_up"), [(6, [6]), (3, [3, 3]), (1, [1, 1, 1, 1, 1, 1])])
def test_batch_is_copied_at_once_or_in_halves_if_memory_is_short(ran: Any, room: int, went_up: list[int]) -> None:
    made = ran(6, room)
    assert made["went_up"] == went_up
    assert all(made["alone"])
    for together, alone in zip(made["together"], made["alone"], strict=True):
        for (site, box, probability), expected in zip(together, alone, strict=True):
            assert (site, box) == tuple(expected[:2])
            assert probability == pytest.approx(expected[2], abs=1e-6)


def test_no_memory_for_one_radiograph_is_reported(ran: Any) -> None:
    assert ran(2, 0.5).startswith("pixels finds no room on the GPU")
