"""From the outputs of networks to the answer: each doubt about the picture or the header withholds a negative."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from appliance.domain.finding import Answer, Verdict, Withheld
from appliance.domain.identifiers import Laterality
from appliance.domain.result import Result
from appliance.domain.sentence import Sentence
from tests.support.fixed_networks import analysed
from tests.support.pictures import limbs

CLEAR, SUSPICIOUS = -9, 3
"""Logits of a region far below and far above both operating points."""


def withheld(result: Result) -> set[Withheld]:
    return {reason for finding in result.findings for reason in finding.withheld}


def test_radiograph_without_any_doubt_is_negative() -> None:
    made = analysed(logit=CLEAR, body_part_examined="WRIST", laterality=Laterality.LEFT)
    assert made.answer is Answer.NEGATIVE and not withheld(made)
    assert made.findings[0].laterality is Laterality.LEFT


@pytest.mark.proves("SAF-5")
def test_window_that_was_replaced_withholds_the_negative() -> None:
    stored = replace(limbs(), caveats=(Sentence.of("window replaced"),))
    made = analysed(logit=CLEAR, stored=stored)
    assert (made.answer, withheld(made)) == (Answer.INCOMPLETE, {Withheld.WINDOW})
    assert analysed(logit=SUSPICIOUS, stored=stored).answer is Answer.POSITIVE


@pytest.mark.proves("SAF-5")
def test_exchanged_black_and_white_withhold_the_negative() -> None:
    made = analysed(logit=CLEAR, stored=replace(limbs(across=(72,)), invert=True))
    assert (made.answer, withheld(made)) == (Answer.INCOMPLETE, {Withheld.POLARITY})


@pytest.mark.proves("SAF-1")
def test_bone_outside_the_regions_makes_the_radiograph_incomplete() -> None:
    pixels = limbs().pixels.copy()
    pixels[:60] = pixels[-60:] = 1100  # a bone from border to border would pass for the edge of a table
    stored = replace(limbs(), pixels=pixels)
    made = analysed(logit=CLEAR, stored=stored, bone_outside=0.3)
    assert made.answer is Answer.INCOMPLETE
    assert [str(reason) for reason in made.incomplete] == ["bone is visible outside the regions that were recognised"]
    assert analysed(logit=CLEAR, stored=stored, bone_outside=1.0).answer is Answer.NEGATIVE


def test_part_beside_our_sites_in_the_header_makes_the_radiograph_incomplete() -> None:
    made = analysed(logit=CLEAR, body_part_examined="WRIST AND RIBS")
    assert made.answer is Answer.INCOMPLETE
    assert [str(reason) for reason in made.incomplete] == ["the header also names RIBS, which no engine reads"]


def test_region_on_empty_background_is_dropped() -> None:
    pixels = np.random.default_rng(1).normal(200, 5, (512, 512)).clip(0, 4095).astype(np.uint16)
    pixels[:, 300:380] += 2500
    made = analysed(logit=SUSPICIOUS, stored=replace(limbs(), pixels=pixels))
    assert made.not_analysed is not None and made.not_analysed.code == "no_region"


@pytest.mark.proves("SAF-8")
def test_suspicion_at_an_uncertain_site_has_no_side() -> None:
    made = analysed(logit=SUSPICIOUS, body_part_examined="KNEE", laterality=Laterality.LEFT)
    (finding,) = made.findings
    assert finding.verdict is Verdict.POSITIVE
    assert (finding.site_is_certain, finding.laterality) == (False, Laterality.UNKNOWN)
    assert "site uncertain" in str(finding.place)


@pytest.mark.parametrize("sides", [Laterality.LEFT, Laterality.RIGHT])
@pytest.mark.proves("SAF-8")
def test_two_wrists_under_one_side_have_none(sides: Laterality) -> None:
    made = analysed("wrist", "wrist", logit=SUSPICIOUS, laterality=sides)
    assert {finding.laterality for finding in made.findings} == {Laterality.UNKNOWN}
