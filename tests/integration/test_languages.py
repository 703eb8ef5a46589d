"""Each output in each language: the same answer, the notice, the code of the language, and no English beside codes.

A made-up language, which writes every literal word of a template in Cyrillic letters, shows text that no catalogue can
reach: nothing else than values and codes may stay in Latin letters.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hl7apy.parser import parse_message
from pydicom.dataset import Dataset
from pydicom.uid import UID

from appliance.config import DestinationConfig, DicomDestination, Picture
from appliance.dicom.objects.document import reference
from appliance.dicom.objects.key_objects import key_objects, rejection_note
from appliance.dicom.objects.presentation_state import presentation_state
from appliance.dicom.objects.secondary_capture import secondary_capture
from appliance.dicom.objects.structured_report import structured_report
from appliance.dicom.objects.study_summary import study_summary
from appliance.dicom.part10 import dataset_from_bytes, part10_bytes
from appliance.dicom.reading.order import read_examination
from appliance.domain.codes import REJECTED_FOR_QUALITY
from appliance.domain.finding import Answer, Box, NotAnalysed, UnreadRegion, Withheld
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.radiograph import Window
from appliance.domain.reason import ReasonCode
from appliance.domain.sentence import Sentence
from appliance.domain.study import StudyResult
from appliance.picture.overlay import overlay
from appliance.ports import Heat
from appliance.reporting.fhir.bundle import transaction, withdrawal
from appliance.reporting.hl7.oru import oru_r01, oru_withdrawal
from appliance.service.superseding import WORDS
from appliance.words import Catalogue, Language, LanguageCode, language
from tests.support import profiles
from tests.support.results import PROVENANCE, finding, result, revised, study, unanalysed
from tests.support.sentences import templates
from tests.support.sources import variants

TRANSLATED: list[LanguageCode] = ["de", "fr", "es", "ms"]
SOURCE = variants()["dx"]
MARK = ((18.0, 26.0), (27.0, 26.0), (27.0, 36.0), (18.0, 36.0))
WINDOW = Window(center=2048, width=4096)
WITHDRAWAL_REASON = "???"

NO_WORDS = (
    PROVENANCE.pack_name, "SYNTHETIC", "sha256", "Osteon", PROVENANCE.compute, "UTC", "no_region", "AP", "LL", "ACC-77",
    "div", "http://www.w3.org/1999/xhtml", "xmlns", "xml:lang", "lang", '"de"',
)  # fmt: skip
"""Values, codes and marks that stay as they are in every language."""

CHILD = Sentence.of("child of {years} years: growth plates may be open, the engines were not measured by age", years=6)
BONE = Sentence.of("bone is visible outside the regions that were recognised")
NO_REGION = NotAnalysed(
    code=ReasonCode.NO_REGION, reason=Sentence.of("no anatomical region was recognised in the image")
)


def example() -> tuple[StudyResult, dict[str, Dataset]]:
    """Return the second revision of a study with every verdict, and its data sets."""
    sources = {}
    for number in range(1, 5):
        source = copy.deepcopy(SOURCE)
        source.SOPInstanceUID = source.file_meta.MediaStorageSOPInstanceUID = UID(f"{SOURCE.SOPInstanceUID}.{number}")
        source.InstanceNumber = number
        sources[str(source.SOPInstanceUID)] = source
    first, second, third, fourth = sources.values()
    positive = result(
        first, finding(0.87, mark=MARK), finding(0.1, site=Site.KNEE, laterality=Laterality.RIGHT), caveats=(CHILD,)
    )
    doubt = replace(result(second, finding(0.4, mark=MARK, site_is_certain=False)), incomplete=(BONE,))
    withheld = (Withheld.NOT_MEASURED, Withheld.CUT)
    not_cleared = replace(
        result(third, finding(0.1, withheld=withheld, fracture_share=0.3), finding(0.05, site=Site.HAND)),
        not_read=(UnreadRegion(site=Site.ELBOW), UnreadRegion(site=Site.FOREARM, box=Box(x0=1, y0=1, x1=9, y1=40))),
        not_assessed=(UnreadRegion(site=Site.HUMERUS),),
    )
    declined = replace(unanalysed(fourth), not_analysed=NO_REGION)
    return revised(study(positive, doubt, not_cleared, declined)), sources


STUDY, SOURCES = example()


def heats(count: int) -> tuple[Heat, ...]:
    cells = np.full((8, 8), 0.5, np.float32)
    return (Heat(cells=cells, extent=(10.0, 10.0, 60.0, 60.0), within=(10.0, 10.0, 60.0, 60.0)),) * count


def pictures(spoken: Language, drawn: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Yield the text of each picture."""
    for given in STUDY.results:
        drawn.clear()
        grey = None if given.not_analysed else np.full((500, 400), 90, np.uint8)
        overlay(grey, given, heats(len(given.findings)), Picture(probability=True), language=spoken)
        yield f"picture of {given.answer}", list(drawn)
    drawn.clear()
    study_summary(STUDY, SOURCES, {}, language=spoken)
    yield "picture of the summary", list(drawn)


def objects(spoken: Language) -> dict[str, Dataset]:
    """Return each DICOM object as an archive reads it."""
    first, *_, last = STUDY.results
    grey = Picture(layout="grey", compression="jpeg", longest_px=300)
    pixels = np.zeros((60, 60, 3), np.uint8)
    made = {
        "sc": secondary_capture(SOURCES[first.sop_instance_uid], first, pixels, language=spoken),
        "sc grey": secondary_capture(SOURCES[first.sop_instance_uid], first, pixels[..., 0], grey, spoken),
        "sc not analysed": secondary_capture(SOURCES[last.sop_instance_uid], last, pixels, language=spoken),
        "sr": structured_report(STUDY, SOURCES, language=spoken),
        "ko": key_objects(STUDY, SOURCES, language=spoken),
    }
    made |= {f"summary {n}": page for n, page in enumerate(study_summary(STUDY, SOURCES, {}, language=spoken))}
    old = [reference(made["sc"])]
    said = spoken.say(WORDS)
    made["rejection"] = rejection_note(
        STUDY, SOURCES, old, REJECTED_FOR_QUALITY, at=STUDY.created_at, words=said, language=spoken
    )
    for number, given in enumerate(STUDY.results[:3]):
        made[f"pr {number}"] = presentation_state(SOURCES[given.sop_instance_uid], given, WINDOW, spoken)
    return {name: dataset_from_bytes(part10_bytes(each)) for name, each in made.items()}


TEXTS = (
    "ImageComments", "DerivationDescription", "SeriesDescription", "UnformattedTextValue", "GraphicLayerDescription",
    "ContentDescription", "TrackingID", "TextValue",
)  # fmt: skip
"""Attributes for people."""


def texts_of(ds: Dataset) -> list[str]:
    """Return the attributes for people of an object that we made, without those of the radiograph."""
    return [str(e.value) for e in ds.iterall() if e.keyword in TEXTS]


def texts_of_message(content: bytes) -> list[str]:
    """Return OBX-5 of each observation that is text."""
    rows = [s for s in parse_message(content.decode(), find_groups=False).children if s.name == "OBX"]
    return [s.obx_5.to_er7() for s in rows if s.obx_2.to_er7() in ("TX", "ST")]


def texts_of_bundle(value: Any, key: str = "") -> list[str]:
    """Return the strings for people of a bundle; a coding has the words of its code system."""
    if isinstance(value, dict):
        inner = {k: v for k, v in value.items() if not ("system" in value and k == "display")}
        if value.get("resourceType") == "Device":
            inner.pop("deviceName"), inner.pop("manufacturer"), inner.pop("version")
        return [text for k, v in inner.items() for text in texts_of_bundle(v, k)]
    if isinstance(value, list):
        return [text for each in value for text in texts_of_bundle(each, key)]
    return [value] if key in ("text", "display", "description", "conclusion", "div", "valueString") else []


def reports(code: LanguageCode) -> dict[str, list[str]]:
    """Return the texts of each message."""
    examination = read_examination(SOURCES[STUDY.results[-1].sop_instance_uid], SOURCES.values())
    ris, server = profiles.hl7(language=code), profiles.fhir(language=code, flag="task")
    return {
        "oru": texts_of_message(oru_r01(STUDY, examination, ris)),
        "oru withdrawal": texts_of_message(oru_withdrawal(STUDY, examination, ris, WITHDRAWAL_REASON)),
        "fhir": texts_of_bundle(json.loads(transaction(STUDY, examination, server))),
        "fhir withdrawal": texts_of_bundle(json.loads(withdrawal(STUDY, examination, server, WITHDRAWAL_REASON))),
    }


def foreign(template: str) -> str:
    """Write the words of a template in Cyrillic letters, and keep its placeholders."""
    parts = re.split(r"(\{\w+\})", template)
    return "".join(part if part.startswith("{") else re.sub(r"[A-Za-z]", "ж", part) for part in parts)


def english_left(texts: list[str]) -> set[str]:
    """Return the words of `texts` in Latin letters that are neither values nor codes."""
    text = " ".join(texts)
    for value in sorted(NO_WORDS, key=len, reverse=True):
        text = text.replace(value, " ")
    without_numbers = re.sub(r"\b[\w.]*\d[\w.]*\b", " ", text)
    return {word for word in re.findall(r"[A-Za-z]{2,}", without_numbers) if word != "px"}


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Language:
    """A language in which no literal word of a template keeps its letters."""
    spoken = Language(code="de", catalogue=Catalogue(texts={each: foreign(each) for each in templates()}))
    for module in ("hl7.oru", "hl7.values", "fhir.bundle"):
        monkeypatch.setattr(f"appliance.reporting.{module}.language", lambda _: spoken)
    return spoken


def test_no_output_has_words_that_a_catalogue_cannot_reach(made_up: Language, drawn: list[str]) -> None:
    found = dict(pictures(made_up, drawn)) | reports("de")
    found |= {name: texts_of(made) for name, made in objects(made_up).items()}
    assert {name: words for name, texts in found.items() if (words := english_left(texts))} == {}


@pytest.mark.parametrize("code", TRANSLATED)
def test_outputs_say_answer_and_notice_in_the_language_of_the_site(code: LanguageCode, drawn: list[str]) -> None:
    spoken = language(code)
    found = {name: " ".join(texts) for name, texts in pictures(spoken, drawn)}
    found |= {name: " ".join(texts_of(made)) for name, made in objects(spoken).items()}
    found |= {name: " ".join(texts) for name, texts in reports(code).items()}
    withdrawn = spoken.say(Sentence.of("WITHDRAWN"))
    assert spoken.say(WORDS) in found.pop("rejection")
    for name, text in found.items():
        assert spoken.notice in text, name
        labels = {spoken.say(answer.label).lower() for answer in Answer}
        assert any(label in text.lower() for label in labels), name
        assert (withdrawn in text) == ("withdrawal" in name), name
    for name in ("oru", "fhir", "sr", "picture of the summary"):
        for unread in (Site.ELBOW, Site.FOREARM):
            assert spoken.say(unread.label) in found[name], name
    of_study = spoken.say(Answer.POSITIVE.label).upper()
    assert all(of_study in found[name] for name in ("oru", "fhir", "picture of the summary", "picture of positive"))


@pytest.mark.parametrize("code", ["en", *TRANSLATED])
def test_documents_messages_and_resources_name_their_language(code: LanguageCode) -> None:
    made = objects(language(code))
    for document in (made["sr"], made["ko"]):
        spoken, *_ = document.ContentSequence
        (concept,) = spoken.ConceptCodeSequence
        assert spoken.ConceptNameCodeSequence[0].CodeValue == "121049"
        assert (concept.CodeValue, concept.CodingSchemeDesignator) == (code, "RFC5646")
    examination = read_examination(SOURCES[STUDY.results[-1].sop_instance_uid], SOURCES.values())
    message = oru_r01(STUDY, examination, profiles.hl7(language=code)).decode()
    assert [*message.split("\r")[0].split("|"), ""][18] == ("" if code == "en" else code)
    entries = json.loads(transaction(STUDY, examination, profiles.fhir(language=code, flag="task")))["entry"]
    spoken_of = {e["resource"]["resourceType"]: e["resource"].get("language") for e in entries}
    assert {spoken_of[kind] for kind in ("DiagnosticReport", "Observation", "Task")} == {code}
    texts = [e["resource"]["text"]["div"] for e in entries if "text" in e["resource"]]
    assert texts and all(f'lang="{code}" xml:lang="{code}"' in text for text in texts)


def test_codes_keep_their_english_meanings() -> None:
    def meanings(ds: Dataset) -> list[str]:
        found = [str(e.value) for e in ds.iterall() if e.keyword == "CodeMeaning"]
        return [meaning for meaning in found if meaning not in ("English", "German")]

    english, german = objects(language("en")), objects(language("de"))
    assert all(meanings(english[name]) == meanings(german[name]) for name in english)


def test_archives_of_two_languages_get_objects_of_their_own() -> None:
    def objects_for(*destinations: DestinationConfig) -> list[str]:
        kept: dict[str, bytes] = {}

        def put(content: bytes) -> str:
            kept[name := str(len(kept))] = content
            return name

        outgoing = profiles.renderer(destinations, put).render_study(STUDY, SOURCES, {})
        for each in outgoing:
            made = dataset_from_bytes(kept[each.digest])
            assert made.SOPInstanceUID == each.identifier
        return [each.identifier for each in outgoing]

    def archive(code: LanguageCode) -> DicomDestination:
        return DicomDestination.model_validate(
            {"kind": "dicom", "name": code, "host": "127.0.0.1", "port": 104, "called_ae_title": "PACS"}
            | {"language": code, "objects": ["summary", "sr", "ko"]}
        )

    uids = objects_for(archive("en"), archive("de"), archive("fr"))
    assert len(set(uids)) == len(uids) == 9
    assert objects_for(archive("de")) == uids[3:6]
