"""Which objects a destination gets by its profile, and under which identifier."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage

from appliance.config import DicomDestination
from appliance.dicom.part10 import dataset_from_bytes
from appliance.domain.codes import KEY_IMAGES
from appliance.domain.job import State
from appliance.domain.radiograph import Window
from appliance.domain.reason import ReasonCode
from appliance.domain.result import Result
from appliance.picture.overlay import overlay
from appliance.ports import Analysis
from appliance.service.reading import Reading
from appliance.storage.deliveries import Delivery
from appliance.storage.outgoing import Outgoing
from tests.support.profiles import renderer
from tests.support.results import finding, result, revised, study, unanalysed
from tests.support.sources import variants

SOURCE = variants()["dx"]


class Spool:
    """Keeps bytes in memory."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def put(self, content: bytes) -> str:
        if content not in self.kept:
            self.kept.append(content)
        return str(self.kept.index(content))

    def object(self, outgoing: Outgoing | Delivery) -> Dataset:
        assert outgoing.digest
        return dataset_from_bytes(self.kept[int(outgoing.digest)])


@pytest.fixture
def spool() -> Spool:
    return Spool()


def archive(name: str = "pacs", **others: object) -> DicomDestination:
    values = {"kind": "dicom", "name": name, "host": "127.0.0.1", "port": 1, "called_ae_title": "PACS"}
    return DicomDestination.model_validate(values | {"objects": ("sc", "pr", "sr", "ko")} | others)


def radiograph(
    spool: Spool, given: Result, *destinations: DicomDestination, source: Dataset = SOURCE
) -> list[Outgoing]:
    grey = np.zeros((60, 50), np.uint8)
    window = Window(center=2048, width=4096)
    reading = Reading(source=source, analysis=Analysis(result=given), grey=grey, window=window)
    return renderer(destinations or [archive()], spool.put).render_radiograph(reading)


def report(spool: Spool, given: Result, *destinations: DicomDestination) -> list[Outgoing]:
    sources = {given.sop_instance_uid: SOURCE}
    return renderer(destinations or [archive()], spool.put).render_study(study(given), sources, {})


def test_each_object_is_known_by_the_uid_that_it_has(spool: Spool) -> None:
    made = radiograph(spool, result(SOURCE)) + report(spool, result(SOURCE))
    assert [(o.kind, spool.object(o).Modality) for o in made] == [
        ("sc", "OT"),
        ("pr", "PR"),
        ("sr", "SR"),
        ("ko", "KO"),
    ]
    assert all(spool.object(o).SOPInstanceUID == o.identifier for o in made)


@pytest.mark.parametrize("given", [result(SOURCE, finding(0.4)), result(SOURCE, finding(0.1)), unanalysed(SOURCE)])
def test_only_positive_radiographs_are_key_objects(spool: Spool, given: Result) -> None:
    assert [o.kind for o in report(spool, given)] == ["sr"]


def test_possible_fractures_are_key_objects_where_the_profile_says_so(spool: Spool) -> None:
    given = result(SOURCE, finding(0.4))
    made = report(spool, given, archive("strict"), archive("wide", key_objects_of="suspicious"))
    assert [(o.destination, o.kind) for o in made] == [("strict", "sr"), ("wide", "sr"), ("wide", "ko")]
    assert spool.object(made[2]).SOPInstanceUID == made[2].identifier


def test_report_refers_to_the_illustrations_of_its_own_destination(spool: Spool) -> None:
    places = [
        archive("both"),
        archive("alike"),
        archive("picture", objects=["sc", "sr"]),
        archive("bare", objects=["sr"]),
    ]
    given = result(SOURCE)
    sent = [delivered(o, number) for number, o in enumerate(radiograph(spool, given, *places))]
    sources = {given.sop_instance_uid: SOURCE}
    renders = renderer(places, spool.put)
    made = renders.render_study(study(given), sources, {}, earlier=sent)
    reports = {o.destination: o for o in made if o.kind == "sr"}
    assert len({o.identifier for o in reports.values()}) == 3 and reports["both"].digest == reports["alike"].digest
    assert reports["bare"].identifier == study(given).uid("sr")
    for name, outgoing in reports.items():
        ds = spool.object(outgoing)
        expected = {d.identifier for d in sent if d.destination == name}
        assert illustrated(ds) == expected and ds.SOPInstanceUID == outgoing.identifier
        assert evidence(ds) == expected | {given.sop_instance_uid}
        own_series = {spool.object(o).SeriesInstanceUID for o in sent if o.destination == name}
        (named,) = ds.CurrentRequestedProcedureEvidenceSequence
        assert own_series <= {series.SeriesInstanceUID for series in named.ReferencedSeriesSequence}


def test_revision_names_the_report_that_its_own_destination_has(spool: Spool) -> None:
    places = [archive("illustrated"), archive("bare", objects=["sr"]), archive("fallback", objects=["sr"])]
    given = result(SOURCE)
    sources = {given.sop_instance_uid: SOURCE}
    pictures = [delivered(o, number) for number, o in enumerate(radiograph(spool, given, *places))]
    renders = renderer(places, spool.put)
    first = [o for o in renders.render_study(study(given), sources, {}, earlier=pictures) if o.kind == "sr"]
    before = [delivered(o, 100 + number) for number, o in enumerate(first)]
    before[2] = replace(before[2], sent_uid="1.2.3", sent_class_uid=ComprehensiveSRStorage)
    made = renders.render_study(revised(study(given)), sources, {}, earlier=[*pictures, *before])
    reports = {o.destination: spool.object(o) for o in made if o.kind == "sr"}
    assert len({ds.SOPInstanceUID for ds in reports.values()}) == 3
    for name, (sop_class_uid, uid) in {
        "illustrated": (Comprehensive3DSRStorage, first[0].identifier),
        "bare": (Comprehensive3DSRStorage, first[1].identifier),
        "fallback": (ComprehensiveSRStorage, "1.2.3"),
    }.items():
        (of_study,) = reports[name].PredecessorDocumentsSequence
        (series,) = of_study.ReferencedSeriesSequence
        (item,) = series.ReferencedSOPSequence
        assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (sop_class_uid, uid)
        assert series.SeriesInstanceUID == spool.object(first[0]).SeriesInstanceUID
    assert reports["bare"].SOPInstanceUID == revised(study(given)).uid("sr")


def delivered(outgoing: Outgoing, number: int) -> Delivery:
    """Return the delivery of an artefact of one radiograph or study, as the database has it."""
    moment = datetime(2026, 1, 2, tzinfo=UTC)
    return Delivery(
        delivery_id=number,
        result_id=1,
        study_result_id=None,
        study_instance_uid=str(SOURCE.StudyInstanceUID),
        destination=outgoing.destination,
        kind=outgoing.kind,
        page=outgoing.page,
        identifier=outgoing.identifier,
        digest=outgoing.digest,
        state=State.DONE,
        attempts=1,
        code=ReasonCode.DELIVERED,
        reason="",
        created_at=moment,
        finished_at=moment,
        sent_class_uid="",
        sent_uid="",
        stored_at=None,
        unanswered_at=None,
        proven_at=None,
        refuted=0,
        refusals=0,
        refused_since=None,
        refused_in=None,
    )


def illustrated(ds: Dataset) -> set[str]:
    """Return the pictures and presentation states that a report refers to among its key images."""
    containers = [i for i in ds.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == KEY_IMAGES.code]
    images = [image.ReferencedSOPSequence[0] for each in containers for image in each.ContentSequence]
    states = [i.ReferencedSOPSequence[0] for i in images if "ReferencedSOPSequence" in i]
    pictures = [i for i in images if "ReferencedSOPSequence" not in i]
    return {str(i.ReferencedSOPInstanceUID) for i in (*states, *pictures)}


def evidence(ds: Dataset) -> set[str]:
    (named,) = ds.CurrentRequestedProcedureEvidenceSequence
    return {
        str(i.ReferencedSOPInstanceUID)
        for series in named.ReferencedSeriesSequence
        for i in series.ReferencedSOPSequence
    }


def test_a_radiograph_sent_as_rgb_gets_no_presentation_state(spool: Spool) -> None:
    source = copy.deepcopy(SOURCE)
    source.PhotometricInterpretation = "RGB"
    assert [o.kind for o in radiograph(spool, result(source), source=source)] == ["sc"]


def test_the_time_in_a_picture_is_in_the_zone_of_its_header(spool: Spool) -> None:
    source, given = copy.deepcopy(SOURCE), result(SOURCE)
    source.TimezoneOffsetFromUTC = "+0530"
    plain = archive(objects=["sc"], picture={"compression": "none"})
    made = spool.object(radiograph(spool, given, plain, source=source)[0])
    local = replace(given, created_at=given.created_at.astimezone(timezone(timedelta(hours=5, minutes=30))))
    there, here = (overlay(np.zeros((60, 50), np.uint8), dated) for dated in (local, given))
    assert made.ContentTime == "154530" and np.array_equal(made.pixel_array, there)
    assert not np.array_equal(there, here)


def test_archive_that_takes_no_compressed_pixels_gets_every_pixel_as_drawn(spool: Spool) -> None:
    plain = archive("plain", objects=["sc", "summary"], transfer_syntaxes=["implicit", "explicit"])
    asked = archive("asked", objects=["sc", "summary"], picture={"compression": "none"})
    answer = result(SOURCE)
    for made in (radiograph(spool, answer, plain, asked), report(spool, answer, plain, asked)):
        left, right = made
        assert left.digest == right.digest
        assert "LossyImageCompression" not in spool.object(left)


def test_two_archives_get_the_report_in_the_class_that_each_takes(spool: Spool) -> None:
    destinations = archive("new", objects=["sr"]), archive("old", objects=["sr"], sr="comprehensive")
    new, old = report(spool, result(SOURCE), *destinations)
    assert spool.object(new).SOPClassUID == Comprehensive3DSRStorage
    assert spool.object(old).SOPClassUID == ComprehensiveSRStorage
    assert new.identifier != old.identifier == spool.object(old).SOPInstanceUID


def test_two_archives_alike_get_the_same_bytes(spool: Spool) -> None:
    made = report(spool, result(SOURCE), archive("one"), archive("two"))
    assert len({o.digest for o in made}) == len(spool.kept) == 2
    again = report(spool, replace(result(SOURCE)), archive("one"))
    assert {o.digest for o in again} == {o.digest for o in made}
