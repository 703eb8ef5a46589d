"""The parts of the body that headers name, in eight languages, coded and in free text."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from pydicom.sr._concepts_dict import concepts

from appliance.analysis.header_sites import named_parts, normalised
from appliance.analysis.site_words import CODES, ELSEWHERE, WORDS
from appliance.domain.identifiers import Site


def _sites(text: str) -> set[Site]:
    return set(named_parts("", (), (), (text,)).sites)


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("Handgelenk rechts in 2 Ebenen", Site.WRIST),
        ("HANDGELENKSAUFNAHME", Site.WRIST),
        ("OSG li. a.p.", Site.ANKLE),
        ("Hüfte axial", Site.PELVIS),
        ("Knöchel", Site.ANKLE),
        ("Fuß d.p.", Site.FOOT),
        ("Poignet gauche face", Site.WRIST),
        ("Épaule droite", Site.SHOULDER),
        ("avant-bras", Site.FOREARM),
        ("Muñeca izquierda AP", Site.WRIST),
        ("Radiografía de tobillo", Site.ANKLE),
        ("Polso sinistro", Site.WRIST),
        ("Mão direita", Site.HAND),
        ("Elleboog links", Site.ELBOW),
        ("X-ray pergelangan tangan kiri", Site.WRIST),
        ("pergelangan kaki", Site.ANKLE),
        ("lengan bawah kanan", Site.FOREARM),
        ("RADIAL HEAD VIEW", Site.ELBOW),
        ("FEMORAL NECK", Site.PELVIS),
        ("XR Femur, neck of femur", Site.FEMUR),
        ("TIB/FIB AP", Site.LOWER_LEG),
        ("BOTH ANKLES", Site.ANKLE),
        ("Femurs", Site.FEMUR),
        ("C SPINE LATERAL", Site.SPINE),
    ],
)
def test_a_description_in_a_known_language_names_its_site(text: str, site: Site) -> None:
    assert site in _sites(text)


@pytest.mark.parametrize(
    "text",
    ["RADIAL HEAD", "FEMORAL NECK", "neck of femur", "Cuello del fémur", "Col du fémur", "Humeral head", "talar neck"],
)
def test_a_phrase_that_holds_head_or_neck_is_not_out_of_scope(text: str) -> None:
    assert not named_parts(text, (), (), ()).is_out_of_scope


@pytest.mark.parametrize("text", ["CHEST", "Thorax a.p.", "Schädel", "Crâne face", "Tórax PA", "dada", "RIBS", "Skull"])
def test_a_part_that_no_engine_reads_is_out_of_scope(text: str) -> None:
    parts = named_parts(text, (), (), ())
    assert parts.is_out_of_scope and parts.elsewhere and not parts.sites


def test_a_coded_value_outweighs_free_text() -> None:
    assert named_parts("WRIST", (), (), ("CHEST PA",)).sites == {Site.WRIST}
    assert named_parts("", (), ("72696002",), ("WRIST",)).sites == {Site.KNEE}


def test_an_unknown_body_part_leaves_the_decision_to_the_description() -> None:
    assert named_parts("EXTREMITY", ("Extremity",), (), ("Ankle AP",)).sites == {Site.ANKLE}


def test_a_header_that_names_two_sites_has_both() -> None:
    assert _sites("Knee and ankle AP") == {Site.KNEE, Site.ANKLE}


@pytest.mark.parametrize(
    "text", ["", "AP", "left", "TRAUMA SERIES", "DR 1/2", "OBERFLÄCHE", "HANDLE", "Face et profil", "côté gauche"]
)
def test_text_without_a_body_part_names_nothing(text: str) -> None:
    parts = named_parts("", (), (), (text,))
    assert not parts.sites and not parts.elsewhere


def test_accents_and_signs_are_left_out_of_words() -> None:
    assert normalised("Épaule/Fuß-2 (Hüfte)") == ("EPAULE", "FUSS", "HUFTE")


def test_every_site_has_words_in_eight_languages() -> None:
    languages = {"en", "de", "fr", "es", "it", "pt", "nl", "ms"}
    assert set(WORDS) == {*Site, ELSEWHERE}
    assert all(set(words) == languages for words in WORDS.values())


def test_no_word_names_two_parts() -> None:
    terms = {
        part: {term.strip() for words in languages.values() for term in words.split(",")}
        for part, languages in WORDS.items()
    }
    assert all(not terms[a] & terms[b] for a, b in combinations(terms, 2))


def test_words_of_the_table_are_normalised() -> None:
    for languages in WORDS.values():
        for term in (t.strip() for words in languages.values() for t in words.split(",")):
            assert " ".join(normalised(term)) == term


def test_codes_that_dicom_lists_mean_what_the_table_says() -> None:
    """Each code of the table that pydicom's copy of PS3.16 holds has a meaning that names the same part."""
    entries: Any = concepts["SCT"]
    meanings = {code: meaning for named in entries.values() for code, (meaning, _) in named.items()}
    known = CODES.keys() & meanings.keys()
    assert len(known) > 35
    for code in known:
        parts = named_parts(meanings[code], (), (), ())
        named = {*parts.sites, *([ELSEWHERE] if parts.elsewhere else [])}
        assert CODES[code] in named, (code, meanings[code], named)
