"""The plan of a sample: the figures that the documents state, and a simulation."""

from __future__ import annotations

import numpy as np
import pytest

from appliance.rollout.gate import LEAST_RADIOGRAPHS, least_right
from appliance.rollout.planning import chance_of_accuracy, chance_of_fractures, radiographs_needed


@pytest.mark.parametrize(("n", "chance"), [(200, 0.32), (300, 0.61), (500, 0.88)])
def test_chance_of_a_system_of_the_reference_accuracy(n: int, chance: float) -> None:
    assert chance_of_accuracy(n, 0.977) == pytest.approx(chance, abs=0.005)


def test_chance_agrees_with_drawn_samples() -> None:
    right = np.random.default_rng(11).binomial(300, 0.977, 20_000)
    needed = least_right(300)
    assert needed
    assert chance_of_accuracy(300, 0.977) == pytest.approx((right >= needed).mean(), abs=0.015)


def test_system_at_the_limit_passes_in_one_of_forty_samples_at_most() -> None:
    assert all(chance_of_accuracy(n, 0.95) <= 0.025 for n in range(200, 500))


def test_sample_that_is_too_small_never_passes() -> None:
    assert chance_of_accuracy(71, 1.0) == 0.0
    assert chance_of_fractures(29, 0.9) == 0.0


def test_chance_of_fractures_follows_from_their_share() -> None:
    assert chance_of_fractures(200, 0.5) > 0.999
    assert chance_of_fractures(200, 0.15) == pytest.approx(0.54, abs=0.01)
    assert chance_of_fractures(200, 0.03) < 1e-9


def test_number_needed_and_every_larger_one_reach_the_chance() -> None:
    needed = radiographs_needed(0.977, 0.8)
    assert needed == 440
    assert chance_of_accuracy(needed - 1, 0.977) < 0.8
    assert all(chance_of_accuracy(n, 0.977) >= 0.8 for n in range(needed, needed + 200))


def test_number_needed_is_never_below_the_gate() -> None:
    assert radiographs_needed(1.0, 0.9) == LEAST_RADIOGRAPHS


@pytest.mark.parametrize("accuracy", [0.9, 0.95, 0.951])
def test_no_sample_suffices_at_or_below_the_limit(accuracy: float) -> None:
    assert radiographs_needed(accuracy, 0.8) is None
