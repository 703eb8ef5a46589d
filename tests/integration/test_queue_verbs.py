"""What a person can do about deliveries: take them elsewhere, hold them, let them go."""

from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage

from appliance.config import Configuration
from appliance.dicom.part10 import dataset_from_bytes
from appliance.domain.artefact_kind import ArtefactKind
from appliance.domain.codes import REJECTED_FOR_QUALITY
from appliance.domain.job import State
from appliance.errors import Rejected
from appliance.service.withdrawal import withdraw
from appliance.status.records import newest_radiographs
from appliance.storage.database import readers
from provisioning.operation.queues import hold, release, reroute, retry
from tests.support.outbox import Outbox, film, message, picture
from tests.support.pacs import profile, scripted_scp
from tests.support.ports import free_ports


@pytest.fixture
def config(tmp_path: Path, free_port: int) -> Configuration:
    hl7 = {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": 1}
    fhir = {"kind": "fhir", "name": "fhir", "base_url": "http://127.0.0.1:1/"}
    archives = [profile(1).model_dump(), profile(free_port, name="other").model_dump()]
    return Configuration.model_validate({"state_dir": tmp_path, "destinations": [*archives, hl7, fhir]})


def test_a_delivery_goes_to_another_destination_of_its_kind(config: Configuration, free_port: int) -> None:
    with Outbox(config.state_dir, *config.destinations) as outbox:
        outbox.answer(film(1), ("pacs", picture(film(1))), ("ris", message(film(1))))
        assert not outbox.carry("pacs")
        for name, to, code in [
            ("delivery:1", "ris", "other_kind"),
            ("delivery:1", "fhir", "other_kind"),
            ("delivery:2", "other", "other_kind"),
            ("delivery:2", "fhir", "other_kind"),
            ("delivery:1", "nowhere", "no_such_destination"),
            ("analysis:1", "other", "no_such_destination"),
            ("delivery:9", "other", "no_such_job"),
        ]:
            with pytest.raises(Rejected) as caught:
                reroute(config, name, to)
            assert caught.value.code == code
        assert reroute(config, "delivery:1", "other") is State.QUEUED
        with scripted_scp(free_port, [0], [SecondaryCaptureImageStorage]) as calls:
            outbox.carry_until("other", done=1, queued=1)
        assert calls == [picture(film(1)).identifier]
        with pytest.raises(Rejected, match="only a delivery that waits"):
            reroute(config, "delivery:1", "pacs")


def archives(folder: Path, *ports: int) -> Configuration:
    named = [profile(port, name=name).model_dump() for name, port in zip(("former", "other"), ports, strict=True)]
    return Configuration.model_validate({"state_dir": folder, "destinations": named})


def told(config: Configuration, outbox: Outbox, ds: Dataset) -> dict[str, set[str]]:
    """What each archive is told to reject, once the study of `ds` is taken back."""
    withdraw(config, outbox.engine, str(ds.StudyInstanceUID), "a cast", REJECTED_FOR_QUALITY)
    found = {}
    for row in outbox.rows:
        if row.kind == "rejection":
            note = dataset_from_bytes(outbox.spool.get(row.digest))
            evidence = note.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence
            found[row.destination] = {i.ReferencedSOPInstanceUID for s in evidence for i in s.ReferencedSOPSequence}
    return found


def test_both_are_told_that_have_or_may_have_what_was_rerouted(tmp_path: Path) -> None:
    """The former archive broke off after the object was sent, and the study goes to the other one."""
    former, other = free_ports(2)
    config, ds = archives(tmp_path, former, other), film(1)
    with Outbox(tmp_path, *config.destinations) as outbox:
        outbox.answer(ds, ("former", picture(ds)))
        with scripted_scp(former, [0x0110], [SecondaryCaptureImageStorage]) as calls:
            assert outbox.carry("former") and calls == [picture(ds).identifier]
        assert reroute(config, "delivery:1", "other") is State.QUEUED
        with scripted_scp(other, [0], [SecondaryCaptureImageStorage]):
            outbox.carry_until("former", "other", done=1, dropped=1)
        assert [(r.destination, r.state, r.code) for r in outbox.rows] == [
            ("other", "done", "delivered"),
            ("former", "dropped", "rerouted"),
        ]
        with readers(outbox.engine).connect() as c:
            (listed,) = newest_radiographs(c)
        assert [(s.destination, s.done, s.total) for s in listed.sent] == [("other", 1, 1)]
        uid = picture(ds).identifier
        assert told(config, outbox, ds) == {"former": {uid}, "other": {uid}}
        assert {r.code for r in outbox.rows if r.kind == "sc"} == {"withdrawn"}


def test_who_never_had_what_was_rerouted_is_told_nothing(tmp_path: Path) -> None:
    former, other = free_ports(2)
    config, ds = archives(tmp_path, former, other), film(1)
    with Outbox(tmp_path, *config.destinations) as outbox:
        outbox.answer(ds, ("former", picture(ds)))
        outbox.carry("former")
        assert reroute(config, "delivery:1", "other") is State.QUEUED
        with scripted_scp(other, [0], [SecondaryCaptureImageStorage]):
            outbox.carry_until("other", done=1)
        assert told(config, outbox, ds) == {"other": {picture(ds).identifier}}


def test_what_comes_back_to_where_it_was_tried_is_not_forgotten_there(tmp_path: Path) -> None:
    former, other = free_ports(2)
    config, ds = archives(tmp_path, former, other), film(1)
    with Outbox(tmp_path, *config.destinations) as outbox:
        outbox.answer(ds, ("former", picture(ds)))
        with scripted_scp(former, [0x0110], [SecondaryCaptureImageStorage]):
            assert outbox.carry("former")
        reroute(config, "delivery:1", "other")
        assert reroute(config, "delivery:1", "former") is State.QUEUED
        assert [(r.id, r.destination, r.state, r.attempts) for r in outbox.rows] == [(1, "former", "queued", 1)]
        assert told(config, outbox, ds) == {"former": {picture(ds).identifier}}


def test_what_a_destination_would_get_no_correction_of_does_not_go_there(tmp_path: Path) -> None:
    pacs, bare = profile(1).model_dump(), profile(1, name="bare", objects=["sr"]).model_dump()
    ris = {"kind": "hl7", "name": "ris", "host": "127.0.0.1", "port": 1, "flag": "orm"}
    config = Configuration.model_validate(
        {"state_dir": tmp_path, "destinations": [pacs, bare, ris, ris | {"name": "ris2", "flag": "oru"}]}
    )
    with Outbox(tmp_path, *config.destinations) as outbox:
        order = replace(message(film(1)), kind=ArtefactKind.ORDER)
        outbox.answer(film(1), ("pacs", picture(film(1))), ("ris", order), ("ris", message(film(1))))
        for name, to in (("delivery:1", "bare"), ("delivery:2", "ris2")):
            with pytest.raises(Rejected, match="not_configured"):
                reroute(config, name, to)
        assert reroute(config, "delivery:3", "ris2") is State.QUEUED
        assert [r.destination for r in outbox.rows] == ["pacs", "ris", "ris2"]


def test_an_answer_does_not_go_to_one_destination_twice(config: Configuration) -> None:
    with Outbox(config.state_dir, *config.destinations) as outbox:
        outbox.answer(film(1), ("pacs", picture(film(1))), ("other", picture(film(1))))
        with pytest.raises(Rejected, match="already"):
            reroute(config, "delivery:1", "other")
        assert [row.destination for row in outbox.rows] == ["pacs", "other"]


def test_what_is_tried_again_is_sent_again(config: Configuration, free_port: int) -> None:
    with Outbox(config.state_dir, *config.destinations) as outbox:
        outbox.answer(film(1), ("other", picture(film(1))))
        with scripted_scp(free_port, [0, 0x0111], [SecondaryCaptureImageStorage]) as calls:
            outbox.carry_until("other", done=1)
            assert retry(config, "delivery:1") is State.QUEUED
            assert outbox.rows[0].stored_at is None and outbox.rows[0].attempts == 1, "it was tried"
            outbox.carry_until("other", done=1)
        assert len(calls) == 2 and len(set(calls)) == 1


def test_what_was_taken_back_or_outdated_is_not_sent_again(config: Configuration) -> None:
    with Outbox(config.state_dir, *config.destinations) as outbox:
        first, again = film(1), film(1)
        again.PatientID = "CORRECTED"
        outbox.answer(first, ("pacs", picture(first)), ("other", picture(first)))
        outbox.answer(again, ("pacs", picture(again)))
        outbox.answer(film(2), ("pacs", picture(film(2))))
        with outbox.engine.begin() as c:
            c.exec_driver_sql("UPDATE deliveries SET state = 'done', code = 'delivered'")
            c.exec_driver_sql("UPDATE deliveries SET code = 'withdrawn' WHERE id = 4")
        assert "a newer artefact for the same, delivery:3" in _refusal(config, "delivery:1")
        assert "was withdrawn" in _refusal(config, "delivery:4")
        assert outbox.states == {"done": 4}
        for name in ("delivery:2", "delivery:3"):  # the only one for its destination; the latest
            assert retry(config, name) is State.QUEUED


def _refusal(config: Configuration, name: str) -> str:
    with pytest.raises(Rejected) as caught:
        retry(config, name)
    return caught.value.reason


def test_hold_and_release(config: Configuration, free_port: int) -> None:
    with Outbox(config.state_dir, *config.destinations) as outbox:
        outbox.answer(film(1), ("other", picture(film(1))))
        with scripted_scp(free_port, [0], [SecondaryCaptureImageStorage]) as calls:
            hold(config, "other", "the archive moves")
            assert not outbox.carry("other") and calls == []
            with pytest.raises(Rejected, match="not_held"):
                release(config, "*")
            release(config, "other")
            outbox.carry_until("other", done=1)
    with pytest.raises(Rejected, match="no_such_destination"):
        hold(config, "nowhere", "?")
