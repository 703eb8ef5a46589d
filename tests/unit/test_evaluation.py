"""Outputs in an evaluation: each says so, names no region in shadow, and flags nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset

from appliance.config import DicomDestination
from appliance.dicom.objects.key_objects import KEY_ANSWERS, key_objects_uid
from appliance.dicom.objects.presentation_state import presentation_state
from appliance.dicom.objects.series import TITLES, evaluation_warning, series_description
from appliance.dicom.part10 import dataset_from_bytes
from appliance.domain.codes import COMMENT
from appliance.domain.finding import Answer
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.phase import Phase
from appliance.domain.radiograph import Window
from appliance.domain.result import UNDER_EVALUATION
from appliance.domain.study import StudyResult
from appliance.ports import Analysis, Heat
from appliance.reporting.hl7.order_update import is_flagged
from appliance.service.reading import Reading
from appliance.service.telling import tell_reading
from appliance.words import LANGUAGES, LanguageCode, language
from tests.support import profiles
from tests.support.objects import dciodvfy
from tests.support.peers import Peer
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


def rendered(
    phases: dict[Site, Phase], settings: tuple[Any, ...] = SETTINGS
) -> tuple[dict[tuple[str, str], bytes], StudyResult]:
    """Return every artefact by destination and kind, and the study that they tell of."""
    kept: dict[str, bytes] = {}

    def put(content: bytes) -> str:
        kept[name := str(len(kept))] = content
        return name

    renders = profiles.renderer(settings, put)
    given = reading_of(phases)
    told = study(given.analysis.result)
    made = [*renders.render_radiograph(given), *renders.render_study(told, {FULL.sop_instance_uid: SOURCE}, {})]
    assert [one.refused for one in made] == [None] * len(made)
    return {(one.destination, one.kind.value): kept[one.digest] for one in made}, told


def text_of(ds: Dataset) -> str:
    """Return every text of an object."""
    return " ".join(str(e.value) for e in ds.iterall() if e.VR in ("LT", "LO", "ST", "UT", "UC", "SH"))


def comments_of(item: Dataset) -> list[str]:
    """Return the comments of a structured report in their order."""
    children = item.get("ContentSequence", ())
    own = [str(item.TextValue)] if "TextValue" in item and codes_of(item) == {COMMENT.code} else []
    return own + [text for child in children for text in comments_of(child)]


def codes_of(item: Dataset) -> set[str]:
    """Return the code of a content item's name."""
    return {str(code.CodeValue) for code in item.ConceptNameCodeSequence}


def resources_of(content: bytes, kind: str) -> list[dict[str, Any]]:
    """Return the resources of a kind in a bundle."""
    resources = (entry["resource"] for entry in json.loads(content)["entry"])
    return [each for each in resources if each["resourceType"] == kind]


def test_outputs_in_an_evaluation_say_so(drawn: list[str]) -> None:
    made, told = rendered(PHASES)
    assert told.answer is Answer.POSITIVE
    assert "".join(drawn).replace(" ", "").count(WORDS.replace(" ", "")) >= 2, "capture and summary"
    for kind in ("sc", "pr", "summary", "sr"):
        assert WORDS in text_of(dataset_from_bytes(made["pacs", kind])), kind
    for destination, kind in (("oru", "oru"), ("orm", "oru"), ("FHIR", "fhir")):
        assert WORDS in made[destination, kind].decode(), destination


@pytest.mark.parametrize("code", LANGUAGES)
def test_outputs_in_an_evaluation_begin_with_it(code: LanguageCode, drawn: list[str]) -> None:
    spoken = language(code)
    title = spoken.say(UNDER_EVALUATION)
    made, _ = rendered(PHASES, tuple(one.model_copy(update={"language": code}) for one in SETTINGS))
    ours = {kind: dataset_from_bytes(made["pacs", kind]) for kind in ("sc", "pr", "summary", "sr")}
    text, *words = (
        "".join(each).replace(" ", "") for each in (drawn, title, spoken.say(Answer.POSITIVE.label).upper())
    )
    assert text.count(words[0]) == 3, "overlay, head of the summary, its radiograph"
    assert text.index(words[0]) < text.index(words[1])
    for kind in ("sc", "summary"):
        assert ours[kind].ImageComments.startswith(title), kind
    assert all(title in ds.SeriesDescription and len(ds.SeriesDescription) <= 64 for ds in ours.values())
    assert ours["pr"].ContentLabel == "OSTEON EVAL" and ours["pr"].ContentDescription.startswith(title)
    (words,) = (
        item.TextObjectSequence for item in ours["pr"].GraphicAnnotationSequence if "TextObjectSequence" in item
    )
    assert title in [text.UnformattedTextValue for text in words][:2]
    assert comments_of(ours["sr"])[0] == title
    suspicion = f"{title} - {spoken.say(Answer.POSITIVE.label).upper()} - "
    (first,) = (line for line in made["oru", "oru"].decode().split("\r") if line.startswith("OBX|1|"))
    assert suspicion in first
    (report,) = resources_of(made["FHIR", "fhir"], "DiagnosticReport")
    assert report["conclusion"].startswith(suspicion) and report["code"]["text"].startswith(title)


@pytest.mark.parametrize("code", LANGUAGES)
def test_observation_in_an_evaluation_says_so_by_itself_and_interprets_nothing(code: LanguageCode) -> None:
    spoken = language(code)
    title = spoken.say(UNDER_EVALUATION)
    made, told = rendered(PHASES, (profiles.fhir(language=code),))
    observations = resources_of(made["FHIR", "fhir"], "Observation")
    assert len(observations) == 2, "the wrist, and the elbow as unread"
    for each in observations:
        assert each["note"][0]["text"] == spoken.say(told.evaluation[0])
        assert each["code"]["text"].startswith(title) and escape(title) in each["text"]["div"]
        assert "interpretation" not in each
    (value,) = (each["valueCodeableConcept"] for each in observations if "valueCodeableConcept" in each)
    assert value["text"] == f"{title} - {spoken.say(Answer.POSITIVE.label)}"
    (live, *_) = resources_of(rendered(LIVE)[0]["FHIR", "fhir"], "Observation")
    assert live["interpretation"] and "text" not in live["code"] and len(live["note"]) == 1


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("is_synthetic", [True, False])
@pytest.mark.parametrize("revision", [1, 99])
def test_short_texts_of_an_evaluation_fit_their_attributes(
    code: LanguageCode, is_synthetic: bool, revision: int
) -> None:
    spoken = language(code)
    made_by = replace(FULL.provenance, pack_is_synthetic=is_synthetic)
    given = replace(FULL, is_evaluation=True, revision=revision, provenance=made_by)
    said = [evaluation_warning(spoken), *(series_description(given, title, spoken) for title in TITLES)]
    assert all(len(text) <= 64 and spoken.say(UNDER_EVALUATION) in text for text in said), said
    label = presentation_state(SOURCE, given, Window(center=2048, width=4096), spoken).ContentLabel
    assert len(label) <= 16 and ("R99" in label) == (revision == 99)


@pytest.mark.parametrize("kind", ["sc", "pr", "summary", "sr"])
def test_objects_of_an_evaluation_pass_dciodvfy(kind: str, peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "evaluation").write_bytes(rendered(PHASES)[0]["pacs", kind])
    (tmp_path / "live").write_bytes(rendered(LIVE)[0]["pacs", kind])
    assert dciodvfy(peer, tmp_path / "evaluation") <= dciodvfy(peer, tmp_path / "live")


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
