"""Decoding of the next radiographs while the analyse role works on the current ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from sqlalchemy import select

from appliance.dicom.part10 import part10_bytes
from appliance.domain.job import Settling, State
from appliance.domain.received import Received
from appliance.service.analyser import Analyser
from appliance.service.instance_reader import HeaderReader
from appliance.service.isolated_pool import IsolatedPool
from appliance.service.pipeline_assembly import pipeline_of
from appliance.service.rejection_notes import RejectionNotes
from appliance.service.render_pool import RendersHere
from appliance.service.spool_reader import SpooledInstance, SpoolReader
from appliance.storage.database import open_database
from appliance.storage.instances import AnalysisQueue, keep_instance
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses
from provisioning.phantoms import instance_from_phantom, phantom
from tests.integration.test_batches import CONFIG
from tests.support.examining import MARK, examine_or_die, never
from tests.support.profiles import renderer


class CountingSpool(FileSpool):
    """A spool that writes down each read of an instance, also in the child process."""

    def get(self, digest: str) -> bytes:
        with (self._root / f"{digest}.reads").open("a") as reads:
            reads.write("x")
        return super().get(digest)

    def reads(self, digest: str) -> int:
        return len((self._root / f"{digest}.reads").read_text())


def wrist(number: int) -> Dataset:
    return instance_from_phantom(phantom("wrist", number, True))


@pytest.fixture
def spool(tmp_path: Path) -> CountingSpool:
    return CountingSpool(tmp_path / "spool")


@pytest.fixture
def reader(spool: CountingSpool) -> Iterator[SpoolReader]:
    made = SpoolReader(pipeline_of(CONFIG), spool)
    yield made
    made.close()


@pytest.fixture
def instances(spool: CountingSpool) -> list[SpooledInstance]:
    return [SpooledInstance(spool.put(part10_bytes(wrist(number))), "ROOM1") for number in range(5)]


def test_instance_decoded_ahead_is_read_once_in_any_order(
    reader: SpoolReader, spool: CountingSpool, instances: list[SpooledInstance]
) -> None:
    first, second, third, fourth, fifth = instances
    reader.decode_ahead([first, second])
    wait(reader._begun.values())
    assert [reader.decoded(i) is not None for i in (first, second, third)] == [True, True, False]
    uids = [reader.examine_spooled(i).header.sop_instance_uid for i in (first, second)]
    assert len(set(uids)) == 2
    reader.decode_ahead([third, fourth])
    assert reader.examine_spooled(fifth).radiograph  # one that was not expected comes first
    assert reader.examine_spooled(third).radiograph
    assert reader.examine_spooled(fourth).radiograph
    assert [spool.reads(i.digest) for i in instances] == [1] * 5
    assert not reader._begun


def test_instance_that_does_not_come_next_any_more_is_forgotten(
    reader: SpoolReader, instances: list[SpooledInstance]
) -> None:
    first, second = instances[:2]
    reader.decode_ahead([first])
    wait(reader._begun.values())
    reader.decode_ahead([second])
    assert reader.decoded(first) is None
    assert list(reader._begun) == [second]


def test_instance_that_ended_the_decoder_ahead_gets_its_reason_in_its_turn(
    reader: SpoolReader, spool: CountingSpool, instances: list[SpooledInstance]
) -> None:
    reader._examine.close()
    reader._examine = IsolatedPool(examine_or_die, 1)
    ds = wrist(9)
    ds.ImageComments = MARK.decode()
    deadly = SpooledInstance(spool.put(part10_bytes(ds)), "ROOM1")
    reader.decode_ahead([deadly, instances[1]])
    assert reader.examine_spooled(instances[2]).radiograph
    reason = reader.examine_spooled(deadly).reason
    assert reason
    assert reason.code == "decoder_died"
    assert reader.examine_spooled(instances[1]).radiograph


def test_close_does_not_wait_for_instances_that_were_begun(
    spool: CountingSpool, instances: list[SpooledInstance]
) -> None:
    reader = SpoolReader(pipeline_of(CONFIG), spool)
    reader._examine.close()
    reader._examine = IsolatedPool(never, 1)
    reader.decode_ahead(instances)
    began = time.monotonic()
    reader.close()
    assert time.monotonic() - began < 60  # a hang detector: the calls would never end


def test_analyser_decodes_the_next_instance_ahead_and_then_analyses_it(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"state_dir": tmp_path})
    engine, spool = open_database(config.database), FileSpool(config.spool_dir)
    digests = []
    for number, site in enumerate(("wrist", "ankle", "knee")):
        ds = instance_from_phantom(phantom(site, number, True))
        digests.append(spool.put(part10_bytes(ds)))
        keep_instance(
            engine,
            Received(
                sop_instance_uid=ds.SOPInstanceUID,
                sop_class_uid=ds.SOPClassUID,
                transfer_syntax_uid="1.2.840.10008.1.2.1",
                digest=digests[-1],
                size_bytes=1,
                calling_ae_title="ROOM1",
            ),
        )
    queue = AnalysisQueue(engine, "me")
    reader, headers = SpoolReader(pipeline_of(config), spool), HeaderReader(config.analyse)
    notes = RejectionNotes(queue, spool, headers, Settling())
    analyser = Analyser(engine, queue, reader, RendersHere(renderer((), spool.put)), notes, settling=Settling())
    begun: list[SpooledInstance] = []
    try:
        while analyser.step():
            begun += reader._begun
    finally:
        reader.close()
        headers.close()
    assert begun == [SpooledInstance(digest, "ROOM1") for digest in digests[1:]]
    with engine.connect() as c:
        assert c.execute(select(analyses.c.state)).scalars().all() == [State.DONE] * 3
    engine.dispose()
