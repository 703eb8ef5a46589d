"""Outputs in an evaluation: each says so, names no region in shadow, and flags nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from appliance.config import DicomDestination
from appliance.dicom.objects.key_objects import KEY_ANSWERS, key_objects_uid
from appliance.dicom.part10 import dataset_from_bytes
from appliance.domain.finding import Answer
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.phase import Phase
from appliance.domain.radiograph import Window
from appliance.domain.study import StudyResult
from appliance.ports import Analysis, Heat
from appliance.reporting.hl7.order_update import is_flagged
from appliance.service.reading import Reading
from appliance.service.telling import tell_reading
from tests.support import profiles
from tests.support.results import finding, result, study
from tests.support.sources import variants

SOURCE = variants()["dx"]
WORDS = "under evaluation at this hospital: wrist"
ELBOW = finding(0.9321, site=Site.ELBOW, laterality=Laterality.RIGHT, peak=(7.0, 7.0))
FULL = replace(result(SOURCE, ELBOW, finding()), not_read=())
PHASES = {Site.WRIST: Phase.FAMILIARISE, Site.ELBOW: Phase.SHADOW}
LIVE = dict.fromkeys(PHASES, Phase.LIVE)
PACS = DicomDestination.model_validate(
    {
        "kind": "dicom",
        "name": "pacs",
        "host": "127.0.0.1",
        "port": 1,
        "called_ae_title": "PACS",
        "objects": ["sc", "pr", "summary", "sr", "ko"],
    }
)
SETTINGS: tuple[Any, ...] = (
    PACS,
    profiles.hl7(name="oru", flag="oru"),
    profiles.hl7(name="orm", flag="orm"),
    profiles.fhir(flag="task"),
)


def reading_of(phases: dict[Site, Phase]) -> Reading:
    """Return the reading as it is rendered: the heat of the elbow covers the left, that of the wrist the right."""
    rows, columns = int(SOURCE.Rows), int(SOURCE.Columns)
    cells = np.ones((2, 2), np.float32)
    heats = tuple(
        Heat(cells=cells, extent=extent, within=extent)
        for extent in ((0.0, 0.0, columns / 2, float(rows)), (columns / 2, 0.0, float(columns), float(rows)))
    )
    grey = np.full((rows, columns), 90, np.uint8)
    analysis = Analysis(result=FULL, heats=heats)
    given = Reading(source=SOURCE, analysis=analysis, grey=grey, window=Window(center=2048, width=4096))
    return tell_reading(given, phases, takes_back=False)


def rendered(phases: dict[Site, Phase]) -> tuple[dict[tuple[str, str], bytes], StudyResult]:
    """Return every artefact by destination and kind, and the study that they tell of."""
    kept: dict[str, bytes] = {}

    def put(content: bytes) -> str:
        kept[name := str(len(kept))] = content
        return name

    renders = profiles.renderer(SETTINGS, put)
    given = reading_of(phases)
    told = study(given.analysis.result)
    made = [*renders.render_radiograph(given), *renders.render_study(told, {FULL.sop_instance_uid: SOURCE}, {})]
    assert [one.refused for one in made] == [None] * len(made)
    return {(one.destination, one.kind.value): kept[one.digest] for one in made}, told


def text_of(ds: Dataset) -> str:
    """Return every text of an object."""
    return " ".join(str(e.value) for e in ds.iterall() if e.VR in ("LT", "LO", "ST", "UT", "UC", "SH"))


def test_outputs_in_an_evaluation_say_so(drawn: list[str]) -> None:
    made, told = rendered(PHASES)
    assert told.answer is Answer.POSITIVE
    assert "".join(drawn).replace(" ", "").count(WORDS.replace(" ", "")) >= 2, "capture and summary"
    for kind in ("sc", "pr", "summary", "sr"):
        assert WORDS in text_of(dataset_from_bytes(made["pacs", kind])), kind
    for destination, kind in (("oru", "oru"), ("orm", "oru"), ("FHIR", "fhir")):
        assert WORDS in made[destination, kind].decode(), destination


def test_outputs_in_an_evaluation_flag_nothing() -> None:
    made, told = rendered(PHASES)
    assert {kind for _, kind in made} == {"sc", "pr", "summary", "sr", "oru", "fhir"}
    flags = {line.split("|")[8] for line in made["oru", "oru"].decode().split("\r") if line.startswith("OBX")}
    assert flags == {""}
    kinds = {entry["resource"]["resourceType"] for entry in json.loads(made["FHIR", "fhir"])["entry"]}
    assert "Task" not in kinds and "DiagnosticReport" in kinds
    assert not any(is_flagged(told, ris) for ris in SETTINGS[1:3])
    assert key_objects_uid(told, KEY_ANSWERS["suspicious"]) == ""


def test_outputs_that_are_live_flag() -> None:
    made, told = rendered(LIVE)
    assert {kind for _, kind in made} == {"sc", "pr", "summary", "sr", "ko", "oru", "order", "fhir"}
    assert "A" in {line.split("|")[8] for line in made["oru", "oru"].decode().split("\r") if line.startswith("OBX")}
    assert b'"Task"' in made["FHIR", "fhir"]
    assert not told.evaluation and all(b"under evaluation" not in content for content in made.values())


def test_region_in_shadow_is_named_as_unread_and_nothing_more_is_told_of_it() -> None:
    made, told = rendered(PHASES)
    assert told.unread_sites == (Site.ELBOW.label,)
    for (_, kind), content in made.items():
        for secret in (b"0.932", b"93 %", b"93%", b"93.2"):
            assert secret not in content, (kind, secret)
    for ris in ("oru", "orm"):
        assert "NOT READ: elbow" in made[ris, "oru"].decode()


def test_heat_of_a_region_in_shadow_is_not_drawn() -> None:
    given = reading_of(PHASES)
    assert [heat.extent[0] for heat in given.analysis.heats] == [int(SOURCE.Columns) / 2]
    assert [f.site for f in given.analysis.result.findings] == [Site.WRIST]


@pytest.mark.parametrize("phases", [{}, dict.fromkeys(PHASES, Phase.SHADOW)])
def test_nothing_is_rendered_in_shadow(phases: dict[Site, Phase]) -> None:
    given = reading_of(phases)
    assert not given.is_told
    assert profiles.renderer(SETTINGS, lambda _: pytest.fail("kept")).render_radiograph(given) == []


def test_answer_that_left_is_taken_back_without_a_claim() -> None:
    given = tell_reading(replace(reading_of(LIVE)), {}, takes_back=True)
    assert given.is_told and given.analysis.heats == ()
    assert given.analysis.result.answer is Answer.NOT_ANALYSED
