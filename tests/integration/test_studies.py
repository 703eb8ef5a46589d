"""Reports of studies: when they are due, their radiographs, and their revisions."""

import hashlib
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import UID
from sqlalchemy import Engine, select, update

from appliance.clock import now
from appliance.config import Analyse, Configuration, DicomDestination, Hl7Destination
from appliance.dicom.objects.patient_study import patient_digest
from appliance.dicom.part10 import part10_bytes
from appliance.domain.codes import INCORRECT_WORKLIST_ENTRY
from appliance.domain.finding import Answer
from appliance.domain.job import Event, Settling
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.domain.study import StudyResult
from appliance.errors import Killed
from appliance.service.examined_instance import examine
from appliance.service.reporter import Reporter
from appliance.service.withdrawal import withdraw
from appliance.storage.queue import Queue
from appliance.storage.results import record_result
from appliance.storage.spool import FileSpool
from appliance.storage.studies import StudyQueue, latest_study_result
from appliance.storage.tables import analyses, deliveries, instances, studies
from provisioning.phantoms import instance_from_phantom, phantom
from tests.support.kept import keep
from tests.support.people import anna
from tests.support.phases import set_phases
from tests.support.profiles import renderer
from tests.support.results import finding, result

DESTINATIONS = (
    DicomDestination(kind="dicom", name="pacs", host="127.0.0.1", port=1, called_ae_title="PACS"),
    Hl7Destination(kind="hl7", name="ris", host="127.0.0.1", port=1),
)


@pytest.fixture(autouse=True)
def _live(engine: Engine) -> None:
    set_phases(engine)


class HeaderReader:
    """Reads headers in this process instead of a child."""

    def source(self, load: Callable[[], bytes], calling_ae_title: str = "") -> Dataset:
        return examine(load, calling_ae_title, Analyse()).source


@pytest.fixture
def reporter(engine: Engine, spool: FileSpool) -> Reporter:
    queue = StudyQueue(engine, "me", most_attempts=3)
    return Reporter(engine, queue, spool, HeaderReader(), renderer(DESTINATIONS, spool.put))  # type: ignore[arg-type]


def view(number: int, patient: str = "P-1", study: str = "1.2.3.9") -> Dataset:
    """A small radiograph of one study."""
    ds = instance_from_phantom(phantom("wrist", 4, True))
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = UID(f"1.2.3.9.{number}")
    ds.StudyInstanceUID, ds.PatientID = study, patient
    pixels = ds.pixel_array[:32, :32]
    ds.Rows, ds.Columns, ds.PixelData = *pixels.shape, pixels.tobytes()
    return ds


def answered(engine: Engine, made: Result, settling: Settling | None = None, patient: str = "P-1") -> None:
    queue = Queue(engine, analyses, "me")
    (lease,) = queue.lease()
    named = Dataset()
    named.PatientID = patient
    with queue.ending(lease, Event.FINISH) as c:
        record_result(c, lease.job_id, made, [], settling=settling, patient_digest=patient_digest(named))


def report(engine: Engine, study: str = "1.2.3.9") -> StudyResult | None:
    with engine.connect() as c:
        found = latest_study_result(c, study)
    return found[1] if found else None


def sent(engine: Engine) -> list[tuple[str, str, str]]:
    with engine.connect() as c:
        rows = c.execute(select(deliveries).order_by(deliveries.c.id)).all()
    return [(row.kind, row.state, row.code) for row in rows]


def test_late_radiograph_makes_a_revision_of_the_report(engine: Engine, spool: FileSpool, reporter: Reporter) -> None:
    views = [view(1), view(2), view(3)]
    for ds in views[:2]:
        keep(engine, spool, ds)
        answered(engine, result(ds))
    assert reporter.step()
    first = report(engine)
    assert first and [r.sop_instance_uid for r in first.results] == ["1.2.3.9.1", "1.2.3.9.2"]
    assert (first.revision, first.predecessor) == (1, None)
    assert sent(engine) == [("summary", "queued", ""), ("sr", "queued", ""), ("oru", "queued", "")]
    assert not reporter.step()

    keep(engine, spool, views[2])
    answered(engine, result(views[2], finding(0.1)))
    assert reporter.step()
    second = report(engine)
    assert second and [r.sop_instance_uid for r in second.results] == ["1.2.3.9.1", "1.2.3.9.2", "1.2.3.9.3"]
    assert second.revision == 2 and second.predecessor_uid("sr") == first.uid("sr") != second.uid("sr")
    assert sent(engine) == [
        ("summary", "dropped", "superseded"),
        ("sr", "dropped", "superseded"),
        ("oru", "dropped", "superseded"),
        ("summary", "queued", ""),
        ("sr", "queued", ""),
        ("oru", "queued", ""),
    ]


def test_answer_of_a_study_is_one_line_of_the_log_without_identity(
    engine: Engine, spool: FileSpool, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for ds in (view(1), view(2)):
        keep(engine, spool, ds)
        answered(engine, result(ds))
    with engine.begin() as c:
        c.execute(update(instances).where(instances.c.id == 1).values(received_at=now() - timedelta(seconds=500)))
        c.execute(update(instances).where(instances.c.id == 2).values(received_at=now() - timedelta(seconds=90)))
    assert reporter.step()
    (line,) = [r.getMessage() for r in caplog.records if r.name == "appliance.service.reporter"]
    found = re.fullmatch(r"study:1: 2 radiographs of ROOM1 answered in (\d+) s", line)
    assert found and 90 <= int(found[1]) < 500
    keep(engine, spool, view(3))
    answered(engine, result(view(3)))
    assert reporter.step()
    assert re.search(r"study:1: 3 radiographs of ROOM1 answered in \d+ s, revision 2", caplog.text)
    assert "P-1" not in caplog.text and "1.2.3.9" not in caplog.text


def test_radiograph_analysed_twice_is_reported_with_its_newest_result(
    engine: Engine, spool: FileSpool, reporter: Reporter
) -> None:
    keep(engine, spool, view(1))
    answered(engine, result(view(1)))
    with engine.begin() as c:
        c.execute(update(analyses).values(state="queued"))
    answered(engine, result(view(1), finding(0.1)))
    assert reporter.step()
    made = report(engine)
    assert made and [r.findings[0].probability for r in made.results] == [0.1]


def test_study_is_due_after_settling_or_after_the_longest_wait(
    engine: Engine, spool: FileSpool, reporter: Reporter
) -> None:
    calm = Settling(settle_s=60, longest_s=100)
    keep(engine, spool, view(1))
    answered(engine, result(view(1)), calm)
    assert not reporter.step()

    def due_in() -> float:
        with engine.connect() as c:
            return (c.execute(select(studies.c.not_before)).scalar_one() - now()).total_seconds()

    assert 55 < due_in() <= 60
    with engine.begin() as c:
        c.execute(update(studies).values(created_at=now() - timedelta(seconds=70)))
    keep(engine, spool, view(2))
    answered(engine, result(view(2)), calm)
    assert 25 < due_in() <= 30


def test_study_waits_for_a_radiograph_received_before_it_was_due(
    engine: Engine, spool: FileSpool, reporter: Reporter
) -> None:
    keep(engine, spool, view(1))
    keep(engine, spool, view(2))
    answered(engine, result(view(1)), Settling(settle_s=0.05))
    queue = Queue(engine, analyses, "me")
    (lease,) = queue.lease()
    assert not reporter.step(), "the second view is in hand"
    with queue.ending(lease, Event.FINISH) as c:
        record_result(c, lease.job_id, result(view(2)), [])
    assert reporter.step()
    made = report(engine)
    assert made and len(made.results) == 2


def test_study_waits_for_no_radiograph_that_was_put_off(engine: Engine, spool: FileSpool, reporter: Reporter) -> None:
    keep(engine, spool, view(1))
    keep(engine, spool, view(2))
    answered(engine, result(view(1)))
    queue = Queue(engine, analyses, "me", most_attempts=3)
    (lease,) = queue.lease()
    assert not reporter.step(), "the second view is in hand"
    queue.put_off(lease, Killed(ReasonCode.DECODER_KILLED, "ended from outside"))
    assert reporter.step()


def test_new_result_ends_the_lease_of_its_study(engine: Engine, spool: FileSpool) -> None:
    keep(engine, spool, view(1))
    answered(engine, result(view(1)))
    queue = StudyQueue(engine, "me")
    (lease,) = queue.lease()
    keep(engine, spool, view(2))
    answered(engine, result(view(2)))
    with pytest.raises(Exception, match="lease_lost"), queue.ending(lease, Event.FINISH):
        pass


@pytest.mark.proves("SAF-9")
def test_report_of_a_study_with_two_patients_covers_the_newest_patient(
    engine: Engine, spool: FileSpool, reporter: Reporter
) -> None:
    for number, patient in enumerate(("P-1", "", "P-2"), 1):
        ds = view(number, patient)
        keep(engine, spool, ds)
        answered(engine, replace(result(ds, finding(0.1)), not_read=()), patient=patient)
    assert reporter.step()
    made = report(engine)
    assert made and made.answer is Answer.INCOMPLETE, "every radiograph of it is negative, and one was left out"
    assert [r.sop_instance_uid for r in made.results] == ["1.2.3.9.2", "1.2.3.9.3"], (
        "a radiograph without a patient is kept"
    )
    (note,) = queued_messages(engine, spool)
    assert "1 of 3 radiographs name another patient" in note


def queued_messages(engine: Engine, spool: FileSpool) -> list[str]:
    """Return the queued ORU messages."""
    with engine.connect() as c:
        due = (deliveries.c.kind == "oru") & (deliveries.c.state == "queued")
        return [spool.get(row.digest).decode() for row in c.execute(select(deliveries).where(due))]


def test_revision_keeps_a_radiograph_removed_by_retention(engine: Engine, spool: FileSpool, reporter: Reporter) -> None:
    keep(engine, spool, view(1))
    answered(engine, result(view(1), finding(0.9)))
    assert reporter.step()
    for path in spool._root.rglob("*"):
        if path.is_file():
            path.unlink()
    keep(engine, spool, view(2))
    answered(engine, result(view(2), finding(0.1)))
    assert reporter.step()
    made = report(engine)
    assert made and len(made.results) == 2 and made.answer is Answer.POSITIVE
    assert [(kind, state) for kind, state, _ in sent(engine)][3:] == [
        ("summary", "queued"),
        ("sr", "queued"),
        ("oru", "queued"),
    ]


@pytest.mark.proves("SAF-10")
def test_correction_stops_the_report_of_the_corrected_radiograph(
    engine: Engine, spool: FileSpool, reporter: Reporter
) -> None:
    keep(engine, spool, view(1))
    answered(engine, result(view(1)))
    assert reporter.step()
    with engine.begin() as c:
        c.execute(update(analyses).values(state="queued"))
    answered(engine, result(view(1)), Settling(settle_s=600), patient="P-9")
    assert {(state, code) for _, state, code in sent(engine)} == {("dropped", "superseded")}


def test_radiograph_moved_to_another_study_leaves_the_first_one(
    engine: Engine, spool: FileSpool, reporter: Reporter
) -> None:
    for number in (1, 2):
        keep(engine, spool, view(number))
        answered(engine, result(view(number)))
    assert reporter.step()
    moved = view(1, study="1.2.3.10")
    keep(engine, spool, moved)
    answered(engine, result(moved))
    assert reporter.step() and reporter.step()
    former, present = report(engine), report(engine, "1.2.3.10")
    assert former and [r.sop_instance_uid for r in former.results] == ["1.2.3.9.2"] and former.revision == 2
    assert present and [r.sop_instance_uid for r in present.results] == ["1.2.3.9.1"]


def test_radiograph_removed_by_retention_is_reported(engine: Engine, spool: FileSpool, reporter: Reporter) -> None:
    keep(engine, spool, view(1))
    answered(engine, result(view(1)))
    for path in spool._root.rglob("*"):
        if path.is_file():
            path.unlink()
    assert reporter.step()
    assert sent(engine) == [("summary", "queued", ""), ("sr", "queued", ""), ("oru", "queued", "")]


@pytest.mark.proves("MIS-7")
def test_positive_study_raises_the_priority_of_its_order(engine: Engine, spool: FileSpool) -> None:
    ris = Hl7Destination(kind="hl7", name="ris", host="127.0.0.1", port=1, flag="omi", character_set="8859/1")
    queue = StudyQueue(engine, "me", most_attempts=3)
    reporter = Reporter(engine, queue, spool, HeaderReader(), renderer((ris,), spool.put))  # type: ignore[arg-type]
    for number, probability in ((1, 0.1), (2, 0.87)):
        ds = view(number, study=f"1.2.3.{number}")
        keep(engine, spool, ds)
        answered(engine, result(ds, finding(probability)))
        assert reporter.step()
    assert [kind for kind, _, _ in sent(engine)] == ["oru", "oru", "order"]
    with engine.connect() as c:
        row = c.execute(select(deliveries).where(deliveries.c.kind == "order")).one()
    text = spool.get(row.digest).decode()
    assert text.split("|")[9] == row.identifier and "\rORC|XO||" in text and "\rTQ1|1||||||||S\r" in text


RIS = Hl7Destination(kind="hl7", name="ris", host="127.0.0.1", port=1, flag="orm", usual_priority="R")


def flagging(engine: Engine, spool: FileSpool, ris: Hl7Destination = RIS) -> Reporter:
    return Reporter(engine, StudyQueue(engine, "me"), spool, HeaderReader(), renderer((ris,), spool.put))  # type: ignore[arg-type]


def reported(engine: Engine, spool: FileSpool, reporter: Reporter, *said: tuple[float, str]) -> None:
    """Receive, analyse and report on a radiograph for each pair of probability and accession number."""
    for probability, accession_number in said:
        ds = view(1, f"P-{accession_number}")
        ds.AccessionNumber = accession_number
        with engine.begin() as c:
            c.execute(update(analyses).values(state="done"))
        content = part10_bytes(ds)
        if not spool.has(hashlib.sha256(content).hexdigest()):
            keep(engine, spool, ds)
        else:
            with engine.begin() as c:
                c.execute(update(analyses).values(state="queued"))
        answered(engine, result(ds, finding(probability)), patient=f"P-{accession_number}")
        assert reporter.step()


def orders_sent(engine: Engine, spool: FileSpool) -> list[tuple[str, str]]:
    """Return filler number and priority of each queued order update, and mark them delivered."""
    with engine.begin() as c:
        which = deliveries.c.kind.in_(["order", "order_withdrawal"]) & (deliveries.c.state == "queued")
        rows = c.execute(select(deliveries).where(which).order_by(deliveries.c.id)).all()
        c.execute(update(deliveries).where(deliveries.c.state == "queued").values(state="done", code="delivered"))
    messages = [spool.get(row.digest).decode().split("\rORC|XO|")[1].split("\r")[0].split("|") for row in rows]
    return [(fields[1], fields[5].strip("^")) for fields in messages]


def test_order_no_longer_flagged_gets_its_usual_priority_once(engine: Engine, spool: FileSpool) -> None:
    reporter = flagging(engine, spool)
    for probability, orders in (
        (0.1, []),
        (0.87, [("A1", "S")]),
        (0.1, [("A1", "R")]),
        (0.1, []),
        (0.9, [("A1", "S")]),
    ):
        reported(engine, spool, reporter, (probability, "A1"))
        assert orders_sent(engine, spool) == orders


def test_priority_update_that_never_left_is_not_taken_back(engine: Engine, spool: FileSpool) -> None:
    reporter = flagging(engine, spool)
    reported(engine, spool, reporter, (0.87, "A1"), (0.1, "A1"))
    assert orders_sent(engine, spool) == [], "the first update was dropped before it left"
    reported(engine, spool, reporter, (0.87, "A1"))
    assert orders_sent(engine, spool) == [("A1", "S")]
    reported(engine, spool, reporter, (0.1, "A1"), (0.2, "A1"))
    assert orders_sent(engine, spool) == [("A1", "R")], "the first of the two was dropped before it left"


def test_usual_priority_goes_to_the_order_that_was_raised(engine: Engine, spool: FileSpool) -> None:
    reporter = flagging(engine, spool)
    reported(engine, spool, reporter, (0.87, "A1"))
    assert orders_sent(engine, spool) == [("A1", "S")]
    reported(engine, spool, reporter, (0.9, "A2"))
    assert orders_sent(engine, spool) == [("A1", "R"), ("A2", "S")], "the correction is flagged, too"
    reported(engine, spool, reporter, (0.1, "A3"))
    assert orders_sent(engine, spool) == [("A2", "R")]


def test_site_without_a_usual_priority_gets_no_update_back(engine: Engine, spool: FileSpool) -> None:
    reporter = flagging(engine, spool, RIS.model_copy(update={"usual_priority": None}))
    for probability, orders in ((0.87, [("A1", "S")]), (0.1, [])):
        reported(engine, spool, reporter, (probability, "A1"))
        assert orders_sent(engine, spool) == orders


@pytest.mark.parametrize("revised", [False, True])
def test_withdrawal_takes_the_priority_back_once(
    revised: bool, engine: Engine, spool: FileSpool, tmp_path: Path
) -> None:
    reporter = flagging(engine, spool)
    reported(engine, spool, reporter, (0.87, "A1"))
    assert orders_sent(engine, spool) == [("A1", "S")]
    if revised:
        reported(engine, spool, reporter, (0.1, "A1"))
    config = Configuration(state_dir=tmp_path, destinations=(RIS,))
    assert withdraw(config, engine, "1.2.3.9", anna("a cast"), INCORRECT_WORKLIST_ENTRY).revoked_at == ("ris",)
    assert orders_sent(engine, spool) == [("A1", "R")]
    reported(engine, spool, reporter, (0.1, "A1"))
    assert orders_sent(engine, spool) == []


def test_withdrawal_goes_out_without_the_priority_of_an_unnamed_order(
    engine: Engine, spool: FileSpool, tmp_path: Path
) -> None:
    """The newest radiograph of the last report names no order."""
    reporter = flagging(engine, spool)
    reported(engine, spool, reporter, (0.87, "A1"))
    late = view(2, "P-A1")
    late.AccessionNumber = ""
    keep(engine, spool, late)
    answered(engine, result(late), patient="P-A1")
    orders_sent(engine, spool)
    assert reporter.step()
    orders_sent(engine, spool)
    config = Configuration(state_dir=tmp_path, destinations=(RIS,))
    assert withdraw(config, engine, "1.2.3.9", anna("a cast"), INCORRECT_WORKLIST_ENTRY).revoked_at == ("ris",)
    assert sent(engine)[-2:] == [("oru_withdrawal", "queued", ""), ("order_withdrawal", "parked", "no_order")]


def test_withdrawal_goes_out_for_each_reported_patient(
    engine: Engine, spool: FileSpool, reporter: Reporter, tmp_path: Path
) -> None:
    """A radiograph is reported for a wrong patient, then for the right one; then the study is withdrawn."""
    for patient in ("WRONG", "RIGHT"):
        keep(engine, spool, view(1, patient))
        answered(engine, result(view(1, patient)), patient=patient)
        assert reporter.step()
        with engine.begin() as c:
            c.execute(update(deliveries).values(state="done", code="delivered"))
    config = Configuration(state_dir=tmp_path, destinations=(DESTINATIONS[1],))
    done = withdraw(config, engine, "1.2.3.9", anna("somebody else's radiograph"), INCORRECT_WORKLIST_ENTRY)
    assert done.revoked_at == ("ris", "ris")
    with engine.connect() as c:
        rows = c.execute(select(deliveries.c.digest).where(deliveries.c.kind == "oru_withdrawal")).all()
    messages = [spool.get(row.digest).decode() for row in rows]
    assert [m.split("\rPID|")[1].split("|")[2].split("^")[0] for m in messages] == ["WRONG", "RIGHT"]
    assert len({m.split("|")[9] for m in messages}) == 2, "each has a control id of its own"

    keep(engine, spool, view(2, "RIGHT"))
    answered(engine, result(view(2, "RIGHT")), patient="RIGHT")
    assert reporter.step()
    made = report(engine)
    assert made and [r.sop_instance_uid for r in made.results] == ["1.2.3.9.2"], (
        "a withdrawn result is not reported again"
    )
