"""A trial through the real roles: after every radiograph, answered, and never beyond this box."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest
from click.testing import CliRunner
from sqlalchemy import select

from appliance.dicom.part10 import part10_bytes
from appliance.domain.trial import new_trial_uid
from appliance.storage.database import readers
from appliance.storage.tables import trials
from appliance.storage.trials import TrialStore
from provisioning.cli.main import main
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.pacs import kept, storescp
from tests.support.peers import Peer
from tests.support.ports import free_ports
from tests.support.send import storescu
from tests.support.site import Site
from tests.support.waiting import wait_until


@pytest.mark.proves("SAF-21")
def test_trials_have_no_precedence_and_no_consequences(tmp_path: Path, peer: Peer) -> None:
    port, pacs = free_ports(1)[0], tmp_path / "pacs"
    pacs.mkdir()
    destination = {"kind": "dicom", "name": "pacs", "host": "127.0.0.1", "port": port, "called_ae_title": "PACS"}
    radiograph, trial = (instance_from_phantom(phantom("wrist", 0, fracture=True)) for _ in range(2))
    uid = new_trial_uid()
    trial.SOPInstanceUID = trial.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.UID(uid)
    files = {"trial": trial, "radiograph": radiograph}
    for name, ds in files.items():
        (tmp_path / f"{name}.dcm").write_bytes(part10_bytes(ds))
    with storescp(peer("storescp"), port, pacs), Site(tmp_path, [destination]) as site:
        site.start("receive")
        for name in files:  # the trial comes first
            storescu(peer, site.port, tmp_path / f"{name}.dcm")
        site.start("analyse", "deliver")
        store = TrialStore(site.engine, tmp_path / "state" / "trials")
        wait_until(lambda: (found := store.find(uid)) is not None and found.is_over, "the answer of the trial")
        with readers(site.engine).connect() as c:
            tried_at = c.execute(select(trials.c.finished_at)).scalar_one()
        (analysis,) = site.rows("analyses")
        assert analysis.finished_at < tried_at
        site.wait_for("deliveries", done=3)

        done = CliRunner().invoke(main, ["doctor", "--json", "--radiograph", "--config", str(site.config)])
        findings = {one["check"]: one for one in map(json.loads, done.output.splitlines())}
        assert findings["radiograph.received"]["level"] == "good", done.output
        assert findings["radiograph.answered"]["level"] == "good", done.output
        assert "fracture suspected" in findings["radiograph.answered"]["seen"]

        assert site.counts("analyses") == {"done": 1}
        assert site.counts("studies") == {"done": 1}
        assert site.counts("deliveries") == {"done": 3}
        assert len(kept(pacs)) == 3
        assert {pydicom.dcmread(p).StudyInstanceUID for p in pacs.iterdir()} == {radiograph.StudyInstanceUID}
        store.remove(uid)
        assert [p for p in (tmp_path / "state" / "trials").rglob("*") if p.is_file()] == []
        logs = "".join(site.log(role) for role in ("receive", "analyse", "deliver"))
        assert uid not in logs
