"""The analyse role has the next radiograph decoded while it works on this one."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from appliance.config import Analyse, Configuration
from appliance.dicom.part10 import part10_bytes
from appliance.domain.job import State
from appliance.service.engines import pipeline_of
from appliance.service.handlers import Analyser, Kept
from appliance.service.reading import Headers, Reader
from appliance.storage.database import open_database
from appliance.storage.ledger import Received, keep_instance
from appliance.storage.queue import Queue
from appliance.storage.spool import FileSpool
from appliance.storage.tables import analyses
from provisioning.phantoms import instance_from_phantom, phantom


def test_the_next_one_is_begun_and_then_taken(tmp_path: Path) -> None:
    config = Configuration(state_dir=tmp_path, analyse=Analyse(pack="phantom", compute="cpu"))
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
    analyser = Analyser(engine, Queue(engine, analyses, "me"), spool, reader, headers, (), config.study)
    begun = []
    try:
        while analyser.step():
            begun += [*reader._ahead, *([reader._examine.expected[:2]] if reader._examine.expected else [])]
    finally:
        reader.close()
        headers.close()
    assert begun == [(Kept(spool, digest), "ROOM1") for digest in digests[1:]]
    with engine.connect() as c:
        assert c.execute(select(analyses.c.state)).scalars().all() == [State.DONE] * 3
    engine.dispose()
