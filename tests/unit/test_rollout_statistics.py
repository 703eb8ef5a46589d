"""Statistics of the rollout against published tables, SciPy, statsmodels, and exact enumeration."""

from __future__ import annotations

from itertools import product
from math import comb, prod

import numpy as np
import pytest
from scipy.stats import binomtest, fisher_exact, mannwhitneyu

from appliance.rollout import statistics
from appliance.rollout.calibration import BINS, calibration
from appliance.rollout.statistics import Rate, auroc, difference, groups_apart, homogeneity, rate

SINGLE = [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0.0, 0.1684), (1, 29, 0.0009, 0.1776)]
"""Newcombe, Stat Med 1998;17:857-872, table I, method 5 (Clopper-Pearson)."""

PAIRS = [
    ((56, 70), (48, 80), 0.0524, 0.3339),
    ((9, 10), (3, 10), 0.1705, 0.8090),
    ((6, 7), (2, 7), 0.0582, 0.8062),
    ((5, 56), (0, 29), -0.0381, 0.1926),
    ((0, 10), (0, 20), -0.1611, 0.2775),
    ((0, 10), (0, 10), -0.2775, 0.2775),
    ((10, 10), (0, 20), 0.6791, 1.0),
    ((10, 10), (0, 10), 0.6075, 1.0),
]
"""Newcombe, Stat Med 1998;17:873-890, table II, method 10."""


@pytest.mark.parametrize(("k", "n", "low", "high"), SINGLE)
def test_rate_has_the_published_interval(k: int, n: int, low: float, high: float) -> None:
    found = rate(k, n)
    assert (found.k, found.n, found.point) == (k, n, k / n)
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


def test_rate_agrees_with_scipy_for_every_count() -> None:
    for n in (1, 7, 30):
        for k in range(n + 1):
            exact = binomtest(k, n).proportion_ci(method="exact")
            assert (rate(k, n).low, rate(k, n).high) == pytest.approx((exact.low, exact.high), abs=1e-9)


def test_rate_of_nothing_knows_nothing() -> None:
    assert rate(0, 0) == Rate(k=0, n=0, point=None, low=0.0, high=1.0)


def test_interval_of_a_rate_holds_the_truth_at_least_as_often_as_it_says() -> None:
    """Sum the binomial probabilities of the counts with an interval that holds the truth: no simulation is needed."""
    for n, truth in product((30, 200), (0.03, 0.5, 0.95, 0.977)):
        held = [k for k in range(n + 1) if rate(k, n).low <= truth <= rate(k, n).high]
        assert sum(comb(n, k) * truth**k * (1 - truth) ** (n - k) for k in held) >= 0.95


@pytest.mark.parametrize(("first", "second", "low", "high"), PAIRS)
def test_difference_has_the_published_interval(
    first: tuple[int, int], second: tuple[int, int], low: float, high: float
) -> None:
    found = difference(rate(*first), rate(*second))
    assert found.value == pytest.approx(first[0] / first[1] - second[0] / second[1])
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-5)


def test_difference_at_another_confidence_agrees_with_statsmodels() -> None:
    """Compare with statsmodels 0.15, confint_proportions_2indep(56, 70, 48, 80, method="newcomb", alpha=0.01)."""
    found = difference(rate(56, 70), rate(48, 80), 0.99)
    assert (found.low, found.high) == pytest.approx((0.005370869250078403, 0.3718084317757736), abs=1e-12)


def test_auroc_is_the_statistic_of_mann_and_whitney() -> None:
    rng = np.random.default_rng(3)
    probability = np.round(rng.random(200), 2)  # with ties
    truth = rng.random(200) < probability
    u = mannwhitneyu(probability[truth], probability[~truth]).statistic
    found = auroc(list(probability), list(truth))
    assert found
    assert found.value == pytest.approx(u / truth.sum() / (~truth).sum())
    assert 0 < found.low < found.value < found.high < 1


def test_auroc_of_one_class_is_unknown() -> None:
    assert auroc([0.1, 0.2], [True, True]) is None
    assert auroc([], []) is None


def test_p_value_of_homogeneity_agrees_with_the_enumeration_of_all_tables() -> None:
    groups = {"ankle": (1, 8), "knee": (6, 9), "wrist": (7, 7), "hand": (3, 6)}
    right, sizes = [k for k, _ in groups.values()], [n for _, n in groups.values()]
    tables = [t for t in product(*(range(n + 1) for n in sizes)) if sum(t) == sum(right)]
    weight = [prod(comb(n, k) for k, n in zip(t, sizes, strict=True)) for t in tables]
    observed = weight[tables.index(tuple(right))]
    exact = sum(w for w in weight if w <= observed) / sum(weight)
    found = homogeneity({name: rate(*each) for name, each in groups.items()})
    assert found
    assert found.p_value == pytest.approx(exact, abs=3 * (exact * (1 - exact) / 20_000) ** 0.5)
    assert (found.lowest, found.highest) == ("ankle", "wrist")
    assert found.difference == difference(rate(7, 7), rate(1, 8), 1 - 0.05 / 6)


def test_p_value_of_two_groups_agrees_with_the_exact_test_of_fisher() -> None:
    found = homogeneity({"ankle": rate(3, 4), "knee": rate(1, 4)})
    assert found
    exact = fisher_exact([[3, 1], [1, 3]]).pvalue
    assert exact == pytest.approx(0.4857, abs=1e-4)  # Fisher's tea tasting, The Design of Experiments, 1935, ch. 2
    assert found.p_value == pytest.approx(exact, abs=0.012)


def test_homogeneity_names_the_group_that_is_worse_and_no_better_one() -> None:
    found = homogeneity({"ankle": rate(80, 100), "knee": rate(98, 100), "wrist": rate(99, 100), "hand": rate(0, 0)})
    assert found
    assert found.p_value < 0.001
    assert found.apart == ("ankle",)


def test_homogeneity_of_one_group_is_unknown() -> None:
    assert homogeneity({"ankle": rate(3, 4), "knee": rate(0, 0)}) is None


def test_homogeneity_of_equal_groups_finds_none_apart_more_often_than_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Draw 400 samples of four sites with one true rate: at most 5 % may seem to differ."""
    monkeypatch.setattr(statistics, "TABLES", 500)
    rng = np.random.default_rng(5)
    alarms = low_p = 0
    for _ in range(400):
        found = homogeneity({str(i): rate(int(rng.binomial(80, 0.9)), 80) for i in range(4)})
        assert found
        alarms += bool(found.apart)
        low_p += found.p_value < 0.05
    standard_error = (400 * 0.05 * 0.95) ** 0.5
    assert alarms <= 20 + 2 * standard_error
    assert 0 < low_p <= 20 + 2 * standard_error


def probabilities() -> tuple[list[float], list[bool]]:
    logit = np.linspace(-4, 4, 81)
    truth = [bool((i * 37) % 81 / 81 < 1 / (1 + np.exp(-0.6 * z - 0.4))) for i, z in enumerate(logit)]
    return list(np.round(1 / (1 + np.exp(-logit)), 3)), truth


def test_calibration_agrees_with_statsmodels() -> None:
    """Compare with statsmodels 0.15: Logit with the logit as covariate, and GLM with it as offset."""
    found = calibration(*probabilities())
    assert found and found.slope
    slope = (found.slope.value, found.slope.low, found.slope.high)
    assert slope == pytest.approx((0.61376297, 0.34086693, 0.886659), abs=1e-6)
    intercept = (found.intercept.value, found.intercept.low, found.intercept.high)
    assert intercept == pytest.approx((0.57073423, -0.06182302, 1.20329148), abs=1e-6)


def test_bins_of_calibration_hold_every_radiograph_once() -> None:
    p, truth = probabilities()
    found = calibration(p, truth)
    assert found
    assert len(found.bins) == BINS
    assert sum(each.observed.n for each in found.bins) == len(p)
    assert sum(each.observed.k for each in found.bins) == sum(truth)
    assert [each.predicted for each in found.bins] == sorted(each.predicted for each in found.bins)


def test_expected_error_of_calibration_is_the_mean_distance_of_the_bins() -> None:
    found = calibration([0.2] * 10 + [0.8] * 10, [False] * 9 + [True] + [True] * 6 + [False] * 4)
    assert found
    bins = [(each.predicted, each.observed.k, each.observed.n) for each in found.bins]
    expected = sum(abs(p * n - k) for p, k, n in bins) / 20
    assert found.expected_error == pytest.approx(expected)
    assert expected > 0.1


def test_calibration_of_separated_classes_has_no_slope() -> None:
    found = calibration([0.1, 0.2, 0.7, 0.9], [False, False, True, True])
    assert found
    assert found.slope is None
    assert found.intercept.low < 0 < found.intercept.high


def test_calibration_of_certain_probabilities_is_finite() -> None:
    found = calibration([0.0, 1.0, 0.0, 1.0], [False, True, True, True])
    assert found
    assert np.isfinite([found.intercept.low, found.intercept.high, found.expected_error]).all()


def test_calibration_of_one_class_is_unknown() -> None:
    assert calibration([0.1, 0.9], [False, False]) is None


def test_groups_apart_of_one_group_or_none_are_none() -> None:
    assert groups_apart({"ankle": rate(1, 100), "knee": rate(0, 0)}) == ()
    assert groups_apart({}) == ()
