"""docs/quiz-1.png to quiz-6.png, the radiographs of the quiz in docs/radiologist.md.

``python -m provisioning.documents.quiz`` draws them. The radiographs are phantoms, and the answers are made up: each
picture asks for one rule of reading them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from PIL import Image

from appliance.config import Picture
from appliance.domain.finding import NotAnalysed
from appliance.domain.identifiers import Laterality, Site
from appliance.domain.reason import ReasonCode
from appliance.domain.sentence import Sentence
from appliance.picture.overlay import overlay

from .answers_sheet import DOCS, Drawn, case

LOOK = Picture(longest_px=640)


def questions() -> Iterator[Drawn]:
    """Yield the six radiographs with their made-up results, in the order of the quiz."""
    yield case("wrist", 13, 0.93)
    yield case("ankle", 17, 0.45, fracture=False, spread=3.0)
    yield case("knee", 12, 0.04, fracture=True)
    grey, result, heats = case("wrist", 11, 0.05, not_read=(Site.FOREARM, Site.ELBOW))
    caveats = (
        Sentence.of("{flag} seen: the engines learned from few such radiographs", flag=Sentence.of("hardware")),
        Sentence.of("child of {years} years: growth plates may be open, the engines were not measured by age", years=9),
    )
    yield grey, replace(result, caveats=caveats), heats
    grey, result, heats = case("shoulder", 18, 0.88)
    uncertain = replace(result.findings[0], site_is_certain=False, laterality=Laterality.UNKNOWN)
    caveat = Sentence.of(
        "the header says {in_header}, the image looks like {in_image}: site uncertain",
        in_header=(Site.WRIST.label,),
        in_image=(Site.SHOULDER.label,),
    )
    yield grey, replace(result, findings=(uncertain,), caveats=(caveat,)), heats
    grey, result, _ = case("pelvis", 14, 0.1, fracture=True)
    reason = Sentence.of("the image shows {sites}, for which this pack has no engine", sites=(Site.PELVIS.label,))
    yield grey, replace(result, findings=(), not_analysed=NotAnalysed(code=ReasonCode.NO_ENGINE, reason=reason)), ()


def main() -> None:
    """Write the pictures."""
    for number, question in enumerate(questions(), 1):
        Image.fromarray(overlay(*question, LOOK)).save(DOCS / f"quiz-{number}.png", optimize=True)


if __name__ == "__main__":
    main()
