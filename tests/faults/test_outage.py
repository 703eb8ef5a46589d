"""A weekend without PACS and RIS: afterwards each artefact is there once, in order; the archive did not wait."""

from collections.abc import Callable
from pathlib import Path

import pydicom
import pytest
from sqlalchemy import func, select, update

from appliance.clock import now
from appliance.storage import tables
from appliance.storage.database import readers
from appliance.storage.tables import deliveries
from tests.support.outbox import Outbox, message, picture, radiograph
from tests.support.peers import NodePeer, Peer, running, wait_for_port
from tests.support.ports import free_ports
from tests.support.site import Site
from tests.support.waiting import PATIENCE_S, wait_until


@pytest.mark.proves("SAF-16")
def test_outage_of_pacs_and_ris_delays_only_them_and_keeps_the_order(
    tmp_path: Path, peer: Peer, node_peer: Callable[..., NodePeer], campaign: bool
) -> None:
    count = 2000 if campaign else 60
    radiographs = [radiograph(n, study_number=n // 2) for n in range(count)]
    pacs, archive = tmp_path / "pacs", tmp_path / "archive"
    pacs.mkdir()
    archive.mkdir()
    pacs_port, archive_port, ris_port = free_ports(3)
    destinations = [
        {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": pacs_port, "called_ae_title": "PACS"},
        {"kind": "dicom", "name": "archive", "host": "127.0.0.1", "port": archive_port, "called_ae_title": "PACS"},
        {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": ris_port, "timeout_s": 60},
    ]
    log = tmp_path / "order.txt"
    to_log = ("--exec-on-reception", f"echo #f >> {log}", "--exec-sync")
    with Site(tmp_path, destinations) as site, Outbox(tmp_path / "state") as outbox:
        for number, ds in enumerate(radiographs):
            artefacts = [("pacs", picture(ds)), ("archive", picture(ds))]
            outbox.answer(ds, *artefacts, *([("ris", message(ds))] if number % 2 else []))

        def states(destination: str) -> dict[str, int]:
            query = select(deliveries.c.state, func.count()).where(deliveries.c.destination == destination)
            with readers(site.engine).connect() as c:
                return dict(c.execute(query.group_by(deliveries.c.state)).tuples().all())

        with running(peer("storescp"), "-aet", "PACS", "-od", str(archive), "+B", str(archive_port)) as process:
            wait_for_port(archive_port, process)
            site.start("deliver")
            wait_until(
                lambda: states("archive") == {"done": count},
                "every picture in the archive",
                PATIENCE_S + count,
            )
        assert states("pacs") == {"queued": count} and states("ris") == {"queued": count // 2}
        with readers(site.engine).connect() as c:
            tried = c.execute(
                select(func.max(deliveries.c.attempts)).where(deliveries.c.destination == "pacs")
            ).scalar()
            waiting = select(func.count()).where(deliveries.c.destination == "pacs", deliveries.c.attempts > 0)
            assert tried and c.execute(waiting).scalar() == 1, "one delivery probes the PACS for all others"

        ris = node_peer("mllp_receiver.js", "", "--port", str(ris_port))
        command = (peer("storescp"), "-aet", "PACS", "-od", str(pacs), "+B", *to_log, str(pacs_port))
        with running(*command) as process:
            wait_for_port(pacs_port, process)
            with site.engine.begin() as c:  # Monday: the longest back-off is ten minutes
                c.execute(update(tables.destinations).values(paused_until=now()))
            wait_until(lambda: states("pacs") == {"done": count}, "every picture in the PACS", PATIENCE_S + count)
            wait_until(lambda: states("ris") == {"done": count // 2}, "every message in the RIS", PATIENCE_S + count)

        received = [pydicom.dcmread(pacs / name, stop_before_pixels=True) for name in log.read_text().split()]
        assert [ds.SOPInstanceUID for ds in received] == [picture(ds).identifier for ds in radiographs]
        assert len(list(archive.iterdir())) == count
        rows = outbox.rows
        sent = [ris.received()["id"] for _ in range(count // 2)]
        assert sent == [row.identifier for row in rows if row.destination == "ris"]
        assert site.stop("deliver") == 0
