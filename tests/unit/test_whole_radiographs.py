"""Figures of whole radiographs, against counts made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("torch")  # of the extra train

from appliance.domain.finding import Answer, Box
from provisioning.training.manifest import ManifestRow
from provisioning.training.whole_radiographs import (
    WholeRadiograph,
    answers_of,
    figures_of,
    groups_of,
    holds_centre,
    touches,
    whole_radiograph,
)
from tests.support.results import finding, result, unanalysed
from tests.support.sources import source

SOUND = WholeRadiograph(
    part="hand", flags="", is_fractured=False, answer=Answer.NEGATIVE, probability=0.1, has_boxes=False,
    is_inside=False, is_marked=False,
)  # fmt: skip
BROKEN = replace(
    SOUND, is_fractured=True, answer=Answer.POSITIVE, probability=0.9, has_boxes=True, is_inside=True, is_marked=True
)
SEVEN = [
    BROKEN,
    replace(BROKEN, answer=Answer.DOUBT, probability=0.5, flags="cast", is_marked=False),
    replace(BROKEN, answer=Answer.INCOMPLETE, probability=0.2, is_inside=False, is_marked=False),
    replace(BROKEN, answer=Answer.NOT_ANALYSED, probability=0.0, has_boxes=False, is_inside=False, is_marked=False),
    SOUND,
    replace(SOUND, answer=Answer.DOUBT, probability=0.6, part="leg"),
    replace(SOUND, answer=Answer.INCOMPLETE, probability=0.3),
]


def test_incomplete_and_not_analysed_count_as_not_found() -> None:
    figures = figures_of("all", SEVEN)
    assert (figures["n"], figures["fractured"]) == (7, 4)
    estimates = {title: text.partition(" [")[0] for title, text in figures["estimates"].items()}
    assert estimates == {
        "sensitivity, possible": "50 %",  # 2 of 4
        "specificity, possible": "67 %",  # 2 of 3
        "sensitivity, suspected": "25 %",
        "specificity, suspected": "100 %",
        "sensitivity at a specificity of 86%": "25 %",  # above 0.6, the largest of three
        "fracture in a region that was read": "67 %",  # 2 of the 3 with a box
        "mark on the fracture, of those found": "50 %",
    }
    assert figures["auroc"].startswith("0.50")  # of 12 pairs, 0.9 wins 3, 0.5 wins 2, 0.2 wins 1


def test_each_answer_is_counted_for_each_label() -> None:
    fractured, free = answers_of(SEVEN)
    assert {answer: count for answer, (count, _) in fractured["answers"].items() if count} == {
        "fracture suspected": 1, "possible fracture": 1, "incomplete": 1, "not analysed": 1,
    }  # fmt: skip
    assert free["n"] == 3 and free["answers"]["no fracture found"][0] == 1


def test_groups_are_flags_and_parts() -> None:
    sizes = {name: len(group) for name, group in groups_of(SEVEN).items()}
    assert sizes == {"all": 7, "no hardware or cast": 6, "cast": 1, "hand": 6, "leg": 1}


def test_fracture_is_inside_and_marked_by_its_box() -> None:
    region = Box(x0=0, y0=0, x1=10, y1=10)
    assert holds_centre(region, (8, 8, 12, 12)) and not holds_centre(region, (8, 8, 13, 12))
    outline = ((0.0, 0.0), (10.0, 0.0), (0.0, 10.0))
    assert touches(outline, (1, 1, 3, 3)) and not touches(outline, (8, 8, 12, 12))


def test_radiograph_takes_the_largest_probability_and_its_answer() -> None:
    box = finding().box
    row = ManifestRow(file="a", group="1", regions="?", fractured="1", fractures=f"{box.x0} {box.y0} {box.x1} {box.y1}")
    made = whole_radiograph(row, result(source(), finding(0.3), finding(0.9)))
    assert (made.probability, made.answer, made.is_inside) == (0.9, Answer.POSITIVE, True)
    for failed in (whole_radiograph(row, unanalysed(source())), whole_radiograph(row, None)):
        assert (failed.probability, failed.answer, failed.is_inside) == (0.0, Answer.NOT_ANALYSED, False)
