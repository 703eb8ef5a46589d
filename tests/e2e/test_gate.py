"""While the gate is shut the deliver role sends nothing."""

import shlex
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import select

from appliance.storage.database import readers
from appliance.storage.tables import roles
from tests.support.outbox import Outbox, message, picture, radiograph
from tests.support.peers import Peer, running
from tests.support.people import anna
from tests.support.site import Site
from tests.support.waiting import wait_until


def test_shut_gate_lets_no_connection_out_until_it_opens(tmp_path: Path) -> None:
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        for server in servers:
            server.setblocking(False)
        pacs, ris, fhir = (server.getsockname()[1] for server in servers)
        destinations = [
            {
                "kind": "dicom",
                "name": "pacs",
                "host": "127.0.0.1",
                "port": pacs,
                "called_ae_title": "PACS",
                "timeout_s": 1,
            },
            {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": ris, "timeout_s": 1},
            {"kind": "fhir", "name": "fhir", "base_url": f"http://127.0.0.1:{fhir}/", "timeout_s": 1},
        ]
        site, outbox = (
            stack.enter_context(Site(tmp_path, destinations)),
            stack.enter_context(Outbox(tmp_path / "state")),
        )
        ds = radiograph(1)
        outbox.answer(ds, ("pacs", picture(ds)), ("ris", message(ds)), ("fhir", message(ds)))
        outbox.gate.shut("*", anna("phase shadow"))
        site.start("deliver")

        def beat() -> object:
            with readers(site.engine).connect() as c:
                return c.execute(select(roles.c.beat_at).where(roles.c.role == "deliver")).scalar_one()

        first = beat()
        wait_until(lambda: beat() != first, "another heartbeat of the role, after 3 s")
        for server in servers:
            with pytest.raises(BlockingIOError):
                server.accept()
        assert [(row.state, row.attempts) for row in outbox.rows] == [("queued", 0)] * 3
        outbox.gate.open("*", anna())
        wait_until(lambda: all(row.code for row in outbox.rows), "one attempt of every courier")
        for server in servers:
            server.accept()[0].close()


@pytest.mark.proves("SEC-13")
def test_shut_gate_lets_no_packet_out_until_it_opens(tmp_path: Path, peer: Peer) -> None:
    """The deliver role runs in a network namespace of its own, whose one interface counts packets."""
    destinations = [
        {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": 9, "called_ae_title": "PACS", "timeout_s": 1},
        {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": 9, "timeout_s": 1},
        {"kind": "fhir", "name": "fhir", "base_url": "http://127.0.0.1:9/", "timeout_s": 1},
    ]
    with Site(tmp_path, destinations) as site, Outbox(tmp_path / "state") as outbox:
        ds = radiograph(1)
        outbox.answer(ds, ("pacs", picture(ds)), ("ris", message(ds)), ("fhir", message(ds)))
        outbox.gate.shut("*", anna("phase shadow"))
        deliver = [sys.executable, "-m", "appliance.service", "deliver", "--config", str(site.config)]
        inside = f"{peer('ip')} link set lo up && exec {shlex.join(deliver)}"

        def beat() -> object:
            with readers(site.engine).connect() as c:
                return c.execute(select(roles.c.beat_at).where(roles.c.role == "deliver")).scalar()

        with running(peer("unshare"), "--net", "sh", "-c", inside) as process:

            def packets() -> int:
                table = Path(f"/proc/{process.pid}/net/dev").read_text().splitlines()[2:]
                assert [line.split(":")[0].strip() for line in table] == ["lo"], "there must be no other interface"
                return int(table[0].split(":")[1].split()[1])

            wait_until(beat, "the first heartbeat of the role")
            first = beat()
            wait_until(lambda: beat() != first, "another heartbeat of the role, after 3 s")
            assert packets() == 0
            outbox.gate.open("*", anna())
            wait_until(lambda: all(row.code for row in outbox.rows), "one attempt of every courier")
            assert packets() > 0
