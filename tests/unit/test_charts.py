"""Charts as SVG: geometry that follows from the numbers, words for people who do not see it, and nothing unescaped."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest
from markupsafe import Markup

from appliance.rollout.calibration import Bin
from appliance.rollout.statistics import Rate, rate
from appliance.status.charts.calibration import calibration
from appliance.status.charts.confusion import confusion
from appliance.status.charts.forest import forest
from appliance.status.charts.plane import at
from appliance.status.charts.roc import OperatingPoint, roc, roc_points

SENTENCE = "A <chart> & its words"


def parsed(svg: Markup) -> ET.Element:
    """Return the root of a drawing; the words that it has for people who do not see it are those of the test."""
    root = ET.fromstring(svg)  # noqa: S314  our own text
    assert root.get("role") == "img"
    assert root.get("aria-label") == root.findtext("title")
    return root


def of_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [one for one in root.iter() if name in one.get("class", "").split()]


def numbers(one: ET.Element, *names: str) -> list[float]:
    return [float(one.get(name, "nan")) for name in names]


def test_forest_draws_interval_point_and_bound_on_one_scale() -> None:
    rates = [rate(197, 200), rate(190, 200), rate(50, 100), rate(0, 0)]
    made = forest(rates, [0.95, 0.95, None, 0.95], [SENTENCE] * 4)
    passing, short, plain, empty = map(parsed, made.strips)
    assert not of_class(passing, "short") and len(of_class(short, "short")) == 4
    (needed,), (other,) = of_class(passing, "needed"), of_class(short, "needed")
    assert numbers(needed, "x1") == numbers(other, "x1"), "one scale for all strips"
    interval, _, _, point = of_class(passing, "measured")
    low, high = numbers(interval, "x1", "x2")
    assert numbers(needed, "x1")[0] < low < float(point.get("x", "nan")) + 3.5 < high
    assert of_class(plain, "needed") == []
    assert numbers(of_class(plain, "measured")[0], "x1")[0] == pytest.approx(18 + 184 * (0.3983 - 0.2) / 0.8, abs=0.1)
    assert [child.tag for child in empty] == ["title"], "nothing is known, and nothing is drawn"
    labels = [one.text for one in of_class(parsed(made.scale), "label")]
    assert labels == ["20%", "40%", "60%", "80%", "100%"]


@pytest.mark.parametrize(
    ("low", "labels"),
    [
        (0.0, ["0%", "20%", "40%", "60%", "80%", "100%"]),
        (0.9, ["90%", "100%"]),
        (0.899, ["80%", "90%", "100%"]),
        (1.0, ["100%"]),
    ],
)
def test_forest_scale_begins_at_or_below_its_values(low: float, labels: list[str]) -> None:
    made = forest([Rate(k=9, n=9, point=1.0, low=low, high=1.0)], [None], [""])
    assert [one.text for one in of_class(parsed(made.scale), "label")] == labels
    assert numbers(of_class(parsed(made.strips[0]), "measured")[0], "x1")[0] >= 18


@pytest.mark.parametrize("ties", [False, True])
def test_roc_points_enclose_the_area_that_mann_and_whitney_count(ties: bool) -> None:
    chance = np.random.default_rng(5)
    fracture = chance.random(300) < 0.3
    probability = 1 / (1 + np.exp(-(fracture * 1.5 + chance.normal(size=300))))
    if ties:
        probability = probability.round(1)
    points = roc_points(probability.tolist(), fracture.tolist())
    higher = probability[fracture][:, None] - probability[~fracture]
    expected = np.mean((higher > 0) + (higher == 0) / 2)
    across, up = zip(*points, strict=True)
    assert points[0] == (0, 0) and points[-1] == (1, 1)
    assert np.trapezoid(up, across) == pytest.approx(expected, abs=1e-12)
    assert list(across) == sorted(across) and list(up) == sorted(up)


@pytest.mark.parametrize("truth", [[True, True], [False, False], []])
def test_roc_points_of_one_class_are_refused(truth: list[bool]) -> None:
    with pytest.raises(ValueError, match="with and without"):
        roc_points([0.5] * len(truth), truth)


def test_roc_shows_the_operating_points_where_their_rates_are() -> None:
    points = roc_points([0.9, 0.1], [True, False])
    root = parsed(roc(points, [OperatingPoint(name="<at>", sensitivity=0.8, specificity=0.9)], SENTENCE))
    (mark,) = of_class(root, "point")
    assert numbers(mark, "cx", "cy") == pytest.approx(at(0.1, 0.8), abs=0.05)
    assert "<at>" in [one.text for one in of_class(root, "strong")]
    (curve,) = of_class(root, "curve")
    (x0, y0), *_, (x1, y1) = (map(float, point.split(",")) for point in curve.get("points", "").split())
    assert ((x0, y0), (x1, y1)) == (at(0, 0), at(1, 1))


def test_calibration_draws_each_bin_with_its_interval() -> None:
    bins = [Bin(predicted=0.1, observed=rate(6, 30)), Bin(predicted=1, observed=rate(9, 9))]
    root = parsed(calibration(bins, SENTENCE))
    marks, intervals = of_class(root, "point"), of_class(root, "measured")
    assert numbers(marks[0], "cx", "cy") == pytest.approx(at(0.1, 0.2), abs=0.05)
    assert numbers(intervals[0], "y1", "y2") == pytest.approx(
        [at(0, bins[0].observed.low)[1], at(0, bins[0].observed.high)[1]], abs=0.05
    )


def test_confusion_bars_have_the_length_of_their_counts() -> None:
    rows = {"fracture": {"positive": 30, "negative": 10}, "none": {"positive": 1, "negative": 159}, "empty": {}}
    root = parsed(confusion(rows, ("positive", "doubt", "negative"), SENTENCE))
    widths = [numbers(one, "width")[0] for one in of_class(root, "part")]
    assert widths == pytest.approx([262.5, 87.5, 2.2, 347.8], abs=0.1)
    assert [one.text for one in of_class(root, "number-in")] == ["30", "10", "159"], "no number where there is no room"
