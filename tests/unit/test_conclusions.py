"""The conclusion of a report: sentences of five languages, and those that have to be left to a person."""

from __future__ import annotations

import time

import pytest

from appliance.domain.validation import Conclusion
from appliance.rollout.conclusion_words import LANGUAGES
from appliance.rollout.conclusions import LONGEST_TEXT, conclusion_of
from appliance.words.language import LANGUAGES as LANGUAGES_OF_OUTPUTS

FRACTURE = (
    "Transverse fracture of the distal radius.",
    "Undisplaced fracture of the lateral malleolus.",
    "Fracture of the distal radius without displacement.",
    "No displacement of the fracture.",
    "Fracture of the ulnar styloid. No other fracture.",
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
    "This is not a fracture.",
    "No fracture or other bony injury.",
    "No fx.",
    "Impression:\n1. No acute fracture.\n2. Soft tissue swelling.",
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
    "Nicht dislozierte Fraktur des Radius.",
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
)


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


def test_hostile_text_is_read_in_a_moment() -> None:
    begin = time.process_time()
    for piece in ("no ", "no evidence of ", "fracture ", "no , or ", "a" * 50, "- ", "fract", "no signs of the "):
        assert conclusion_of(piece * (LONGEST_TEXT // len(piece))) in Conclusion
    assert time.process_time() - begin < 20
    assert conclusion_of("No fracture." + " " * LONGEST_TEXT) is Conclusion.UNSURE
