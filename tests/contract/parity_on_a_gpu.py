"""The pipeline on a GPU gives the answers of the CPU.

Run by ``make test-gpu``, and by test_kernels_cuda.py on a stand-in driver.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select

from appliance.compute import Compute
from appliance.config import Analyse, Configuration, DicomDestination
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.dicom.reading.reader import header_from_dataset, radiograph_from_dataset
from appliance.domain.job import Settling
from appliance.domain.received import Received
from appliance.ports import Analysis
from appliance.preprocessing.reference import displayed
from appliance.service.analyser import Analyser
from appliance.service.artefacts import Renderer
from appliance.service.instance_reader import HeaderReader
from appliance.service.pipeline_assembly import Workbench, assemble_workbench, on_gpu, packs_of, pipeline_on
from appliance.service.reading import Reading
from appliance.service.rejection_notes import RejectionNotes
from appliance.service.render_pool import RendersHere
from appliance.service.spool_reader import SpoolReader
from appliance.storage.database import open_database
from appliance.storage.instances import AnalysisQueue, keep_instance
from appliance.storage.spool import FileSpool
from appliance.storage.tables import deliveries
from engines.plan import load_tensorrt
from provisioning.demonstration.run import SITES
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.kernel_cases import check_picture, fatbin_of_today
from tests.support.phases import set_phases

PROBABILITY = 2e-3
"""Largest difference of a region's probability between GPU and CPU."""

GPU = Compute(device="gpu", name="gpu (under test)", reason="it is tested")


@pytest.fixture(scope="module", params=["float32", "float16"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workbench, Workbench]:
    """The pipelines on the CPU, always in float32, and on the GPU."""
    analyse = Analyse(pack="phantom", compute="cpu", precision=request.param)
    config = Configuration(state_dir=tmp_path_factory.mktemp("state"), analyse=analyse)
    packs = packs_of(config)
    # where tests.support.driver stands in for a GPU, there is none for DALI
    device: Literal["cpu", "gpu"] = "cpu" if load_tensorrt().__version__ == "0" else "gpu"
    hardware = on_gpu(config, packs, device, fatbin_of_today(tmp_path_factory.mktemp("fatbin")))
    on_the_gpu = Workbench(pipeline=pipeline_on(hardware, config, packs, GPU), compute=GPU, draw=hardware.draw)
    return assemble_workbench(config), on_the_gpu


@pytest.mark.parametrize("fractured", [True, False])
@pytest.mark.parametrize("site", [s.value for s in SITES])
def test_radiograph_on_the_gpu_gets_the_answer_of_the_cpu(
    both: tuple[Workbench, Workbench], site: str, fractured: bool
) -> None:
    ds = instance_from_phantom(phantom(site, 3, fractured))
    radiograph = radiograph_from_dataset(ds, header_from_dataset(ds, ""))
    same(*(workbench.pipeline.analyse(radiograph) for workbench in both))


def test_batch_on_the_gpu_gets_the_answers_of_the_cpu(both: tuple[Workbench, Workbench]) -> None:
    instances = [instance_from_phantom(phantom(s.value, 4, number == 0)) for number in (0, 1, 2) for s in SITES]
    radiographs = [radiograph_from_dataset(ds, header_from_dataset(ds, "")) for ds in instances]
    assert len(radiographs) > 16
    on_cpu, on_the_gpu = (workbench.pipeline for workbench in both)
    for radiograph, together in zip(radiographs, on_the_gpu.analyse_all(radiographs), strict=True):
        same(on_cpu.analyse(radiograph), together)


def same(on_cpu: Analysis, on_the_gpu: Analysis) -> None:
    """Print how far the two are apart, then check it: a failure shows whether the tolerance or the result is wrong."""
    expected, actual = on_cpu.result, on_the_gpu.result
    for e, a in zip(expected.findings, actual.findings, strict=False):
        box = np.abs(np.subtract(a.box.as_tuple(), e.box.as_tuple())).max()
        print(f"{e.site}, {a.site}: probability {a.probability - e.probability:+.1e}, box {box:.2f} px")
    for heat_e, heat_a in zip(on_cpu.heats, on_the_gpu.heats, strict=False):
        if heat_e.cells.shape == heat_a.cells.shape:
            median, high, largest = np.quantile(np.abs(heat_a.cells - heat_e.cells), (0.5, 0.99, 1))
            print(f"heat: median {median:.1e}, 99 % {high:.1e}, largest {largest:.1e}")
    assert actual.provenance.compute == GPU.name
    assert expected.findings
    assert [f.site for f in actual.findings] == [f.site for f in expected.findings]
    for e, a in zip(expected.findings, actual.findings, strict=True):
        assert np.abs(np.subtract(a.box.as_tuple(), e.box.as_tuple())).max() <= 2
        assert abs(a.probability - e.probability) <= PROBABILITY
        if min(abs(e.probability - t) for t in (e.doubt, e.positive)) > PROBABILITY:
            assert a.verdict == e.verdict
    for heat_e, heat_a in zip(on_cpu.heats, on_the_gpu.heats, strict=True):
        np.testing.assert_allclose(heat_a.cells, heat_e.cells, atol=0.02)
    assert actual.caveats == expected.caveats


@pytest.mark.parametrize("site", [s.value for s in SITES])
def test_analysis_is_drawn_alike_on_gpu_and_cpu(both: tuple[Workbench, Workbench], site: str, tmp_path: Path) -> None:
    """The Secondary Capture and the picture in the summary agree, and the heat is coloured."""
    ds = instance_from_phantom(phantom(site, 3, True))
    radiograph = radiograph_from_dataset(ds, header_from_dataset(ds, ""))
    analysis, grey = both[0].pipeline.analyse(radiograph), displayed(radiograph.stored)
    values = {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": 1, "called_ae_title": "PACS"}
    archive = DicomDestination.model_validate(values | {"objects": ("sc",)})
    spool, captures, pictures = FileSpool(tmp_path), [], []
    reading = Reading(source=ds, analysis=analysis, grey=grey, window=radiograph.stored.window)
    for workbench in both:
        renderer = Renderer(destinations=[archive], put=spool.put, draw=workbench.draw)
        (made,) = renderer.render_radiograph(reading)
        captures.append(dataset_from_bytes(spool.get(made.digest)).pixel_array)
        png = renderer.render_thumbnail(reading)
        assert png
        pictures.append(np.asarray(Image.open(io.BytesIO(png))))
    assert both[0].draw is not both[1].draw
    assert analysis.heats
    for expected, actual in (captures, pictures):
        check_picture(actual, expected)
        assert np.ptp(actual.astype(int), axis=2).max() > 50


def test_role_analyse_delivers_alike_on_gpu_and_cpu(both: tuple[Workbench, Workbench], tmp_path: Path) -> None:
    """From the spool to the delivery: the same radiograph, analysed, drawn and kept by each."""
    ds = instance_from_phantom(phantom("wrist", 3, True))
    values = {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": 1, "called_ae_title": "PACS"}
    archive = DicomDestination.model_validate(values | {"objects": ("sc",)})
    captures = []
    for number, workbench in enumerate(both):
        pipeline = workbench.pipeline
        config = Configuration(state_dir=tmp_path / str(number))
        engine, spool = open_database(config.database), FileSpool(config.spool_dir)
        set_phases(engine)
        received = Received(
            sop_instance_uid=ds.SOPInstanceUID,
            sop_class_uid=ds.SOPClassUID,
            transfer_syntax_uid=ds.file_meta.TransferSyntaxUID,
            digest=spool.put(part10_bytes(ds)),
            size_bytes=1,
            calling_ae_title="ROOM1",
        )
        keep_instance(engine, received)
        reader, headers = SpoolReader(pipeline, spool), HeaderReader(pipeline.rules)
        queue = AnalysisQueue(engine, "me")
        renderer = Renderer(destinations=[archive], put=spool.put, draw=workbench.draw)
        notes = RejectionNotes(queue, spool, headers, Settling())
        analyser = Analyser(engine, queue, reader, RendersHere(renderer), notes, settling=Settling())
        assert analyser.step()
        reader.close()
        headers.close()
        with engine.connect() as c:
            digest = c.execute(select(deliveries.c.digest).where(deliveries.c.kind == "sc")).scalar_one()
        engine.dispose()
        captures.append(dataset_from_bytes(spool.get(digest)))
    assert captures[0].SOPInstanceUID == captures[1].SOPInstanceUID
    expected, actual = (capture.pixel_array for capture in captures)
    band = len(actual) - ds.Rows
    close = np.abs(actual[band:].astype(int) - expected[band:]).max(axis=2) <= 8
    assert close.mean() > 0.99, "but for the frame, whose place is the localiser's"
