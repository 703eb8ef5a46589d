"""In the phase shadow everything is computed and kept, and nothing leaves the box."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import func, select

from appliance.domain.finding import Answer
from appliance.domain.phase import Phase
from appliance.storage.database import readers
from appliance.storage.phases import set_phase, site_phases
from appliance.storage.spool import FileSpool
from appliance.storage.tables import deliveries, results, roles, studies
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.kept import keep
from tests.support.peers import Peer, running
from tests.support.people import anna
from tests.support.site import Site
from tests.support.waiting import wait_until

DESTINATIONS = [
    {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": 9, "called_ae_title": "PACS", "timeout_s": 1},
    {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": 9, "timeout_s": 1},
    {"kind": "fhir", "name": "fhir", "base_url": "http://127.0.0.1:9/", "timeout_s": 1},
]


@pytest.mark.proves("SAF-24")
def test_shadow_lets_no_packet_out_until_a_person_sets_another_phase(tmp_path: Path, peer: Peer) -> None:
    """All roles run in a network namespace of their own, whose one interface counts packets."""
    with ExitStack() as stack:
        site = stack.enter_context(Site(tmp_path, DESTINATIONS, phase=None))
        site.config.write_text('rollout.first_phase = "shadow"\n' + site.config.read_text())
        spool = FileSpool(tmp_path / "state" / "spool")
        roles_of_the_box = [sys.executable, "-m", "appliance.service", "all", "--config", str(site.config)]
        inside = f"{peer('ip')} link set lo up && exec {shlex.join(roles_of_the_box)}"
        process = stack.enter_context(running(peer("unshare"), "--net", "sh", "-c", inside))

        def packets() -> int:
            table = Path(f"/proc/{process.pid}/net/dev").read_text().splitlines()[2:]
            assert [line.split(":")[0].strip() for line in table] == ["lo"], "there must be no other interface"
            return int(table[0].split(":")[1].split()[1])

        def scalar(query: object) -> object:
            with readers(site.engine).connect() as c:
                return c.execute(query).scalar()  # type: ignore[call-overload]  # any query

        def analysed(number: int) -> None:
            keep(site.engine, spool, instance_from_phantom(phantom("wrist", number, fracture=True)))
            reported = select(func.count()).where(studies.c.state == "done")
            wait_until(lambda: scalar(reported) == number, f"the report of study {number}")

        analysed(1)
        assert scalar(select(results.c.answer)) == Answer.POSITIVE, "it is computed and kept"
        beat = select(roles.c.beat_at).where(roles.c.role == "deliver")
        wait_until(lambda: scalar(beat), "the first heartbeat of deliver")
        first = scalar(beat)
        wait_until(lambda: scalar(beat) != first, "another heartbeat of deliver, after 3 s")
        assert scalar(select(func.count()).select_from(deliveries)) == 0
        assert packets() == 0
        with site.engine.connect() as c:
            sites = [each.site for each in site_phases(c)]
        set_phase(site.engine, sites, Phase.FAMILIARISE, anna("the readers are told"))
        analysed(2)
        tried = select(func.count()).where(deliveries.c.attempts > 0)
        wait_until(lambda: scalar(tried), "an attempt of a courier")
        assert packets() > 0
        kinds = select(deliveries.c.kind).distinct().order_by(deliveries.c.kind)
        with readers(site.engine).connect() as c:
            assert set(c.execute(kinds).scalars()) == {"sc", "summary", "sr", "oru", "fhir"}
