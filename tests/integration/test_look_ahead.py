"""The analyse role has the next radiographs decoded while it works on these."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from appliance.dicom.part10 import part10_bytes
from appliance.domain.job import Settling, State
from appliance.domain.received import Received
from appliance.service.analyser import Analyser, Kept
from appliance.service.instance_reader import Examined, Headers, Reader
from appliance.service.isolation import Isolated
from appliance.service.pipeline_assembly import pipeline_of
from appliance.storage.database import open_database
from appliance.storage.instances import AnalysisQueue, keep_instance
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses
from provisioning.phantoms import instance_from_phantom, phantom
from tests.integration.test_batches import CONFIG, DEADLY, examine_or_die
from tests.support.profiles import renderer


@dataclass(frozen=True)
class Counted:
    """Loads a file, and leaves beside it how often."""

    file: Path

    def __call__(self) -> bytes:
        with self.file.with_suffix(".times").open("a") as times:
            times.write("x")
        return self.file.read_bytes()

    @property
    def times(self) -> int:
        return len(self.file.with_suffix(".times").read_text())


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader(pipeline_of(CONFIG))
    yield made
    made.close()


@pytest.fixture
def loads(tmp_path: Path) -> list[Counted]:
    made = [Counted(tmp_path / f"{number}.dcm") for number in range(5)]
    for number, load in enumerate(made):
        load.file.write_bytes(part10_bytes(instance_from_phantom(phantom("wrist", number, True))))
    return made


def test_what_is_expected_is_read_once_whenever_it_is_asked_for(reader: Reader, loads: list[Counted]) -> None:
    first, second, third, fourth, fifth = ((load, "ROOM1") for load in loads)
    reader.look_ahead([first, second])
    wait(reader._ahead.values())
    assert [reader.read_ahead(*i) is not None for i in (first, second, third)] == [True, True, False]
    uids = [reader.examine(*i).header.sop_instance_uid for i in (first, second)]
    assert len(set(uids)) == 2
    reader.look_ahead([third, fourth])
    assert reader.examine(*fifth).radiograph  # another came first
    assert reader.examine(*third).radiograph
    assert reader.examine(*fourth).radiograph
    assert [load.times for load in loads] == [1] * 5
    assert not reader._ahead
    assert os.fstat(reader._examine._memory).st_size == 0


def test_what_is_expected_no_longer_is_forgotten(reader: Reader, loads: list[Counted]) -> None:
    first, second = ((load, "ROOM1") for load in loads[:2])
    reader.look_ahead([first])
    wait(reader._ahead.values())
    reader.look_ahead([second])
    assert reader.read_ahead(*first) is None
    assert list(reader._ahead) == [second]


def test_what_ends_the_process_before_its_turn_is_told_in_its_turn(reader: Reader, loads: list[Counted]) -> None:
    reader._examine.close()
    reader._examine = Isolated(examine_or_die)
    ds = instance_from_phantom(phantom("wrist", 9, True))
    ds.ImageComments = DEADLY.decode()
    loads[0].file.write_bytes(part10_bytes(ds))
    deadly, good, better = ((load, "ROOM1") for load in loads[:3])
    reader.look_ahead([deadly, good])
    assert reader.examine(*better).radiograph
    said = reader.examine(*deadly).reason
    assert said
    assert said.code == "decoder_died"
    assert reader.examine(*good).radiograph


def test_nobody_waits_at_the_end_for_what_was_expected(loads: list[Counted]) -> None:
    made = Reader(pipeline_of(CONFIG))
    made._examine.close()
    made._examine = Isolated(never)
    made.look_ahead([(load, "") for load in loads])
    began = time.monotonic()
    made.close()
    assert time.monotonic() - began < 10


def never(*_: object) -> Examined:
    while True:
        pass


def test_the_next_one_is_begun_and_then_taken(tmp_path: Path) -> None:
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
    reader, headers = Reader(pipeline_of(config)), Headers(config.analyse)
    analyser = Analyser(
        engine, AnalysisQueue(engine, "me"), spool, reader, headers, renderer((), spool.put), Settling()
    )
    begun = []
    try:
        while analyser.step():
            begun += reader._ahead
    finally:
        reader.close()
        headers.close()
    assert begun == [(Kept(spool, digest), "ROOM1") for digest in digests[1:]]
    with engine.connect() as c:
        assert c.execute(select(analyses.c.state)).scalars().all() == [State.DONE] * 3
    engine.dispose()
