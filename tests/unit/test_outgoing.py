"""Which objects a destination gets by its profile, and under which identifier."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import timedelta, timezone

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import Comprehensive3DSRStorage, ComprehensiveSRStorage

from appliance.analysis.pipeline import Analysis
from appliance.config import DicomDestination
from appliance.dicom.part10 import dataset_from_bytes
from appliance.domain.radiograph import Window
from appliance.domain.result import Result
from appliance.picture.overlay import overlay
from appliance.service.instance_reader import Reading
from appliance.storage.deliveries import Outgoing
from tests.support.profiles import renderer
from tests.support.results import finding, result, study, unanalysed
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

    def object(self, outgoing: Outgoing) -> Dataset:
        assert outgoing.refused is None
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


def test_a_radiograph_sent_as_rgb_gets_no_presentation_state(spool: Spool) -> None:
    source = copy.deepcopy(SOURCE)
    source.PhotometricInterpretation = "RGB"
    assert [o.kind for o in radiograph(spool, result(source), source=source)] == ["sc"]


def test_the_time_in_a_picture_is_in_the_zone_of_its_header(spool: Spool) -> None:
    source, given = copy.deepcopy(SOURCE), result(SOURCE)
    source.TimezoneOffsetFromUTC = "+0530"
    made = spool.object(radiograph(spool, given, archive(objects=["sc"]), source=source)[0])
    local = replace(given, created_at=given.created_at.astimezone(timezone(timedelta(hours=5, minutes=30))))
    there, here = (overlay(np.zeros((60, 50), np.uint8), dated) for dated in (local, given))
    assert made.ContentTime == "154530" and np.array_equal(made.pixel_array, there)
    assert not np.array_equal(there, here)


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
