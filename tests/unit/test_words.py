"""The catalogues of translations: whole, consistent, and short enough for the attributes that hold them."""

from __future__ import annotations

import gettext
import io
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.resources import files
from typing import get_args

import pytest

from appliance.config import DicomDestination, FhirDestination, Hl7Destination
from appliance.dicom.objects.presentation_state import LAYERS
from appliance.dicom.objects.series import TITLES, series_description
from appliance.domain.result import SECOND_READER
from appliance.domain.sentence import Sentence, joined
from appliance.picture.text import font
from appliance.words import ENGLISH, LANGUAGES, Language, LanguageCode, language, read_catalogue
from tests.support.results import result, revised, study
from tests.support.sentences import placeholders, templates
from tests.support.sources import variants

TRANSLATED: list[LanguageCode] = ["de", "fr", "es", "ms"]
LONGEST_LO = 64


@pytest.fixture(params=TRANSLATED)
def spoken(request: pytest.FixtureRequest) -> Language:
    return language(request.param)


def catalogue_text(code: str) -> str:
    return (files("appliance.words") / f"{code}.po").read_text("utf-8")


def test_every_language_of_the_configuration_has_a_code_and_a_catalogue() -> None:
    assert set(get_args(LanguageCode)) == set(LANGUAGES) == {"en", *TRANSLATED}
    for profile in (DicomDestination, Hl7Destination, FhirDestination):
        assert profile.model_fields["language"].default == "en"


def test_catalogue_has_each_sentence_of_the_product_and_no_other(spoken: Language) -> None:
    assert spoken.catalogue is not None
    assert set(spoken.catalogue.texts) == templates()


def test_translation_has_the_placeholders_of_its_sentence(spoken: Language) -> None:
    assert spoken.catalogue is not None
    for template, text in spoken.catalogue.texts.items():
        assert text.strip() and placeholders(text) == placeholders(template), template


def test_sentence_of_several_words_is_translated(spoken: Language) -> None:
    assert spoken.catalogue is not None
    same = {each for each, text in spoken.catalogue.texts.items() if each == text and "{" not in each}
    assert not {each for each in same if " " in each} - {"VOI LUT"}


@pytest.mark.parametrize("code", TRANSLATED)
@pytest.mark.skipif(not shutil.which("msgfmt"), reason="GNU gettext is not installed")
def test_gettext_reads_the_same_catalogue(code: str) -> None:
    command = ["msgfmt", "--check-format", "--output-file=-", "-"]
    compiled = subprocess.run(command, input=catalogue_text(code).encode(), capture_output=True, check=True).stdout
    theirs = gettext.GNUTranslations(io.BytesIO(compiled))
    ours = read_catalogue(catalogue_text(code))
    assert {template: theirs.gettext(template) for template in ours.texts} == ours.texts
    assert theirs.info()["language"] == code
    assert theirs.info().get("x-clinician", "") == ours.reviewer


def test_catalogue_that_no_clinician_reviewed_says_so_in_the_notice(spoken: Language) -> None:
    assert spoken.catalogue is not None
    warning = spoken.catalogue.texts["This translation was not reviewed by a clinician"]
    assert spoken.notice == f"{spoken.say(SECOND_READER)}. {warning}"
    reviewed = replace(spoken, catalogue=replace(spoken.catalogue, reviewer="Dr. Mustermann"))
    assert reviewed.notice == spoken.say(SECOND_READER)
    assert ENGLISH.notice == str(SECOND_READER)


def test_header_names_the_clinician_who_reviewed_a_catalogue() -> None:
    text = catalogue_text("de").replace('"X-Clinician: \\n"', '"X-Clinician: Dr. A. Mustermann\\n"')
    assert read_catalogue(text).reviewer == "Dr. A. Mustermann"


def short_texts(spoken: Language) -> Iterator[str]:
    """Yield the texts that stand in attributes of VR LO."""
    yield spoken.say(SECOND_READER)
    yield from map(spoken.say, LAYERS.values())
    source = variants()["dx"]
    synthetic = study(result(source))
    real = study(replace(result(source), provenance=replace(result(source).provenance, pack_is_synthetic=False)))
    for title in TITLES:
        for each in (synthetic, revised(synthetic), real, replace(revised(real), revision=99)):
            yield series_description(each, title, spoken)


@pytest.mark.parametrize("code", ["en", *TRANSLATED])
def test_short_texts_fit_into_their_attributes(code: LanguageCode) -> None:
    assert {text for text in short_texts(language(code)) if len(text) > LONGEST_LO} == set()


def test_catalogues_keep_to_the_letters_of_iso_8859_1(spoken: Language) -> None:
    assert spoken.catalogue is not None
    " ".join(spoken.catalogue.texts.values()).encode("iso8859-1")


def test_font_of_the_pictures_has_every_letter(spoken: Language) -> None:
    assert spoken.catalogue is not None
    letters = {c for text in spoken.catalogue.texts.values() for c in (*text, *text.upper())} - {" "}
    missing = bytes(font(20).getmask("\uffff"))
    assert {c for c in letters if bytes(font(20).getmask(c)) == missing} == set()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('msgid "a"\nmsgstr "b"\nmsgid "a"\nmsgstr "c"\n', "twice"),
        ('msgid "a"\nmsgstr "b"\nmsgctxt "c"\n', "line 3"),
        ('msgstr "a"\nmsgid "b"\n', "without its"),
        ('msgid "a"\nmsgid "b"\n', "without its"),
        ('msgid "a"\nmsgstr "b" c\n', "line 2"),
    ],
)
def test_broken_catalogue_is_refused(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_catalogue(text)


def test_strings_of_several_lines_are_one() -> None:
    text = '# a comment\nmsgid "a "\n"\\"b\\""\nmsgstr ""\n"c\\n"\n"ü"\n'
    assert read_catalogue(text).texts == {'a "b"': "c\nü"}


SAID = Sentence.of(
    "the header says {in_header}, the image looks like {in_image}: site uncertain",
    in_header=(Sentence.of("wrist"), Sentence.of("hand")),
    in_image=Sentence.of("left knee"),
)


def test_values_that_are_words_are_translated_and_codes_are_not() -> None:
    assert language("de").say(SAID).startswith("laut Header Handgelenk, Hand, das Bild sieht nach Knie links aus")
    assert language("fr").say(Sentence.of("body part {part} is not one that the appliance reads", part="CHEST")) == (
        "la partie du corps CHEST n'est pas lue par l'appareil"
    )
    assert language("de").say(Sentence(template="words of {nobody}")) == "words of {nobody}"


def test_sentence_survives_json() -> None:
    record = json.loads(json.dumps(asdict(SAID)))
    assert Sentence.from_record(record) == Sentence.from_record(asdict(SAID)) == SAID


def test_joined_sentences_stand_once_each() -> None:
    wrist, hand = Sentence.of("wrist"), Sentence.of("hand")
    assert str(joined([wrist, hand, wrist])) == "wrist; hand"
    assert joined([wrist]) is wrist
