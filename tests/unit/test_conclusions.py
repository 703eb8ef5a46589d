"""The conclusion of a report: sentences of five languages, and those that have to be left to a person."""

from __future__ import annotations

import time

import pytest

from appliance.domain.validation import Conclusion
from appliance.rollout.conclusion_words import LANGUAGES
from appliance.rollout.conclusions import LONGEST_SECTION, LONGEST_SENTENCE, LONGEST_TEXT, conclusion_of
from appliance.words.language import LANGUAGES as LANGUAGES_OF_OUTPUTS

FRACTURE = (
    "Transverse fracture of the distal radius.",
    "Undisplaced fracture of the lateral malleolus.",
    "Fracture of the distal radius without displacement.",
    "Indication: rule out fracture.\nFindings: Fracture of the radial head.\nConclusion:\nRadial head fracture.",
    "Comminuted fracture of the\ndistal radius.",
    "Pathological fracture of the femur.",
    "Distale Radiusfraktur.",
    "Fraktur des Innenknöchels ohne Dislokation.",
    "Beurteilung: Mehrfragmentfraktur des Tibiakopfes.",
    "Fissur im Radiusköpfchen.",
    "Fracture du radius distal.",
    "Fracture déplacée du col fémoral.",
    "Fractura de radio distal.",
    "Fractura sin desplazamiento del maléolo.",
    "Fraktur radius distal.",
    "Patah tulang pada radius.",
    "Non-displaced fracture of the radius.",
    "Radius-Fraktur links.",
    "Compression fracture of L1.",
    "Nicht dislozierte Fraktur des Radius.",
    "Right wrist: fracture of the radius and ulna.",
    "There is an undisplaced fracture of the 5th metacarpal. Mild soft tissue swelling.",
    "Fractura no desplazada de peroné.",
    "Fracture non déplacée du radius.",
    "Effusion: none\nFracture of the tibia.",
)

NONE = (
    "No evidence of fracture.",
    "No acute fracture or dislocation.",
    "No dislocation or fracture.",
    "Fracture: none.",
    "Fracture is not seen.",
    "No effusion, dislocation or fracture.",
    "No effusion, fracture or dislocation.",
    "No bony injury.",
    "Normal study.",
    "Clinical history: fall, fracture?\nImpression: No fracture.",
    "No evidence of\nfracture.",
    "Keine Fraktur.",
    "Kein Nachweis einer Fraktur.",
    "Kein Hinweis auf eine frische knöcherne Verletzung.",
    "Ohne Frakturnachweis.",
    "Fraktur ausgeschlossen.",
    "Keine Luxation oder Fraktur.",
    "Weder Fraktur noch Luxation.",
    "Normalbefund.",
    "Pas de fracture.",
    "Absence de lésion osseuse traumatique.",
    "Sans trait de fracture visible.",
    "Aucune fracture décelable.",
    "Pas d’argument pour une fracture récente.",
    "Examen normal.",
    "Pas de luxation ni de fracture.",
    "Sin evidencia de fractura.",
    "No se observan fracturas.",
    "No se observan líneas de fractura agudas.",
    "Se descarta fractura.",
    "Sin luxación ni fractura.",
    "Estudio normal.",
    "Tiada fraktur.",
    "Tidak kelihatan keretakan tulang.",
    "Tiada bukti fraktur atau dislokasi.",
    "Fraktur tidak kelihatan.",
    "No fx.",
    "Impression:\n1. No acute fracture.\n2. Soft tissue swelling.",
    "Fracture none. Dislocation none.",
    "Fracture - absent.",
    "No fracture, no dislocation.",
    "Left wrist: no fracture on these two views. Normal alignment.",
    "Es zeigt sich keine frische Fraktur.",
    "Fracture non visible.",
    "No fractura ni luxación.",
    "Tak nampak fraktur.",
)

UNSURE = (
    "Old healed fracture.",
    "Fracture cannot be excluded.",
    "A fracture can not be ruled out.",
    "Status after fracture of the radius.",
    "Known fracture unchanged.",
    "No displaced fracture.",
    "No new fracture.",
    "No effusion, fracture of the distal radius.",
    "Fracture of the radius. No fracture of the ulna.",
    "Fracture?",
    "Possible scaphoid fracture.",
    "# distal radius",
    "Bony injury of the ankle.",
    "Soft tissue swelling.",
    "",
    "Findings: Fracture of the radius.\nImpression: As above.",
    "Healing fracture with callus.",
    "There is no doubt that this is a fracture.",
    "No fracture but cortical irregularity.",
    "Fraktur nicht auszuschließen.",
    "Z.n. Radiusfraktur.",
    "V.a. Skaphoidfraktur.",
    "Alte, konsolidierte Fraktur.",
    "Bekannte Fraktur, unverändert.",
    "Fraktur nicht sicher ausgeschlossen.",
    "Keine dislozierte Fraktur.",
    "Keine sichere Fraktur.",
    "Keine neue Fraktur.",
    "Frakturausschluss.",
    "Fracture ancienne consolidée.",
    "Une fracture ne peut être exclue.",
    "Suspicion de fracture du scaphoïde.",
    "Fractura antigua consolidada.",
    "No se puede descartar fractura.",
    "Posible fractura de escafoides.",
    "Fraktur lama yang telah sembuh.",
    "Fraktur tidak dapat disingkirkan.",
    "Kemungkinan fraktur skafoid.",
    "Status selepas fraktur.",
    "Fracture-dislocation of the ankle. No bony injury elsewhere.",
    "Impression: No fracture.\nAddendum: Subtle fracture of the scaphoid.",
    "Impression: no fracture.\nFindings: x\nImpression: fracture of the tibia.",
    "Fracture appears in good position.",
    "Leistenbruch.",
    "Torus injury. No fracture of the ulna.",
    "I do not see a fracture.",
    "No further fracture.",
    "No displacement of the fracture.",
    "Fracture of the ulnar styloid. No other fracture.",
    "This is not a fracture.",
    "No fracture or other bony injury.",
)

EXCEPTIONS = (
    "No fracture except the styloid.",
    "No fracture aside from the triquetrum.",
    "No fracture besides the ulna.",
    "No fracture apart from the fifth metacarpal fracture.",
    "No fracture of the carpal bones, only of the radius.",
    "No fracture but the styloid.",
    "No second fracture of the radius.",
    "Keine Fraktur außer am Radius.",
    "Keine Fraktur, jedoch Fragment am Malleolus.",
    "Keine Fraktur bis auf die Ulna.",
    "Pas de fracture sauf P1.",
    "Pas de fracture en dehors du radius.",
    "Pas de fracture autre que celle du radius.",
    "Pas de fracture à part la styloïde.",
    "Sin fracturas salvo en la ulna.",
    "Sin fracturas excepto la del radio.",
    "Tiada fraktur selain radius.",
    "Tiada patah tulang kecuali ulna.",
    "Fracture not visible on the lateral, but seen on the AP view.",
    "Fracture non visible de face mais visible de profil.",
    "The fracture is not visible.",
)
"""Denials that leave a fracture standing."""

MODIFIERS = (
    *(f"No fracture {noun}." for noun in ("displacement", "extension", "angulation", "healing", "union", "reduction")),
    *(f"No {noun} or fracture {noun}." for noun in ("dislocation", "effusion")),
    "No evidence of fracture extension into the joint.",
    "Absence of fracture healing.",
    "Keine Frakturdislokation.",
    "Pas de déplacement de la fracture.",
    "Tiada anjakan fraktur.",
    "Fractura, no se observa desplazamiento.",
    "No effusion, fracture of radius or ulna.",
    "Referral to the fracture liaison service.",
    "Fracture clinic.",
    "Low fracture risk of the hip.",
    "No doubt: fracture.",
    "Ohne Zweifel Fraktur.",
    "Pas seulement une fracture.",
    "No hay duda de fractura.",
    "Not only fracture but dislocation.",
)
"""Sentences whose negation denies something about a fracture, and nouns with a fracture in their name."""

REQUESTS = (
    "Ausschluss einer Fraktur.",
    "Bitte um Ausschluss Fraktur.",
    "Zum Ausschluss Fraktur.",
    "Para descartar fractura.",
    "No se descarta fractura.",
    "No se descarta una fractura de escafoides.",
    "No se descartan fracturas costales.",
    "No se excluye fractura.",
    "Tidak menolak fraktur.",
    "Fracture du scaphoïde non exclue.",
    "Fall on the hand, ?fracture of the radius",
    "Is there a fracture of the scaphoid",
    "Patient fell, fracture.",
    "Fracture.",
    "Allergies: no\nRadius fracture with angulation.",
    "Contrast: no\nFracture of the distal radius.",
    "No injury.",
)
"""Questions, and words before the findings."""

OTHERS = (
    "Fissure cutanée.",
    "Vollständig durchgebaute Radiusfraktur.",
    "Radiusfraktur in Gips.",
    "No fracture. Fragment at the tip of the fibula.",
    "No fracture. Lucent line through the scaphoid.",
    "No fracture. Normal alignment. Ulna broken.",
    "No fracture. No normal alignment.",
    "No fracture. Displaced radius.",
    "No fracture (see below).",
    "No fracture found.\nThe ulna is broken.",
    "No fracture\nDistal radius fracture",
    "Right: no fracture. Left: fracture.",
)
"""Words that no list has: old fractures, wounds, other names of a fracture."""


@pytest.mark.parametrize("sentence", FRACTURE)
def test_named_fracture_is_a_fracture(sentence: str) -> None:
    assert conclusion_of(sentence) is Conclusion.FRACTURE


@pytest.mark.parametrize("sentence", NONE)
def test_plainly_denied_fracture_is_none(sentence: str) -> None:
    assert conclusion_of(sentence) is Conclusion.NONE


@pytest.mark.parametrize("sentence", UNSURE)
def test_doubt_old_fracture_or_contradiction_is_left_to_a_person(sentence: str) -> None:
    assert conclusion_of(sentence) is Conclusion.UNSURE


@pytest.mark.parametrize("denied", [s for s in NONE if "\n" not in s])
def test_denial_beside_a_named_fracture_is_left_to_a_person(denied: str) -> None:
    assert conclusion_of(f"{denied} Fracture of the distal radius.") is not Conclusion.NONE


def test_impression_of_the_message_counts_before_the_text() -> None:
    assert conclusion_of("Fracture?", "No fracture.") is Conclusion.NONE
    assert conclusion_of("No fracture.", "Fracture of the radius.") is Conclusion.FRACTURE


def test_every_language_of_the_outputs_has_its_words() -> None:
    assert set(LANGUAGES) == set(LANGUAGES_OF_OUTPUTS)


@pytest.mark.parametrize("sentence", [*EXCEPTIONS, *MODIFIERS, *REQUESTS, *OTHERS])
def test_sentence_with_a_word_of_no_list_is_left_to_a_person(sentence: str) -> None:
    assert conclusion_of(sentence) is Conclusion.UNSURE


@pytest.mark.parametrize("word", ["except", "healing", "x", "(", "0", "Ω"])
def test_unknown_word_anywhere_leaves_the_report_to_a_person(word: str) -> None:
    for plain in (s for s in (*NONE, *FRACTURE) if "\n" not in s):
        words = plain.rstrip(".").split()
        for place in range(len(words) + 1):
            told = " ".join([*words[:place], word, *words[place:]])
            assert conclusion_of(told) is Conclusion.UNSURE, told


HOSTILE = (
    *("no ", "no evidence of ", "fracture ", "no , or ", "a", "-", "- ", " ", "(", "[({", "fract", "no signs of the "),
    *(
        "no x fracture ",
        "no fracture ",
        "\u0301\u0323",
        "é",
        "\ufdfa",
        "fraktur",
        "bruch",
        "no\n",
        "no effusion, ",
        "*_=",
    ),
    *("fracture of the radius and ", "fracture without ", "radius: ", "no. ", "1.", "?", "impression:\n", "no normal "),
)


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_is_read_in_a_moment(piece: str) -> None:
    """Measure the time of the processor: that of the clock would depend on other work on the machine."""
    for length in (LONGEST_SENTENCE, LONGEST_SECTION, LONGEST_TEXT - 100):
        for begin, end in (("", ""), ("No ", " x fracture."), ("Impression: ", "")):
            text = begin + (piece * (length // len(piece)))[: length - 40] + end
            started = time.process_time()
            said = conclusion_of(text)
            assert time.process_time() - started < 0.2
            assert said is not Conclusion.NONE or len(set(piece)) > 3, text[:40]


def test_text_without_a_concluding_section_is_judged_only_if_it_is_short() -> None:
    swelling = "Mild soft tissue swelling.\n" * 200
    assert len(swelling) > LONGEST_SECTION
    assert conclusion_of(f"{swelling}Impression: No fracture.") is Conclusion.NONE
    assert conclusion_of(f"No fracture.\n{swelling}") is Conclusion.UNSURE
    assert conclusion_of(swelling * 4, "No fracture.") is Conclusion.UNSURE


def test_long_sentence_is_left_to_a_person() -> None:
    assert conclusion_of("No " + "acute " * 90 + "fracture.") is Conclusion.NONE
    assert conclusion_of("No " + "acute " * 110 + "fracture.") is Conclusion.UNSURE
