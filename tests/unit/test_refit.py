"""The last weights of an engine follow a site's data as far as there are data, and stay near the pack's otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch")  # of the extra train

from engines.training.calibration import Calibration
from engines.training.performance import auroc
from engines.training.refit import ScoreWeights, cost, fit

PLAIN = Calibration(scale=1.0, offset=0.0)
START = ScoreWeights(weights=np.array([1.0, 0.0, 0.5, 0.0]), bias=-3.0)


def drawn(n: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Regions of nine places; a fracture is a place where the second feature, which `START` ignores, is large."""
    rng = np.random.default_rng(seed)
    features, labels = np.abs(rng.normal(size=(n, 9, 4))) / 2, rng.random(n) < 0.4
    features[labels, rng.integers(0, 9, labels.sum()), 1] += 2
    return features.astype(np.float32), labels


def test_weights_learn_what_the_pack_did_not_know() -> None:
    features, labels = drawn(600, 1)
    unseen, truth = drawn(400, 2)
    fitted = fit(features, labels, START, PLAIN)
    before, after = (auroc(w.logits(unseen), truth)[0] for w in (START, fitted))
    assert before < 0.6 and after > before + 0.2
    assert fitted.weights[1] > 0.3


def test_few_radiographs_hardly_move_the_weights() -> None:
    few, many = (fit(*drawn(n, 3), START, PLAIN) for n in (4, 600))
    moved = [float(np.abs(w.weights - START.weights).max()) for w in (few, many)]
    assert moved[0] < 0.1 < moved[1] / 3


def test_gradient_is_that_of_the_cost() -> None:
    features, labels = drawn(50, 4)
    at, step = np.array([0.8, 0.3, 0.1, -0.2, -2.0]), 1e-2
    rest = (features, labels, START, Calibration(scale=0.7, offset=-0.2))
    apart = np.eye(5) * step
    differences = [(cost(at + d, *rest)[0] - cost(at - d, *rest)[0]) / (2 * step) for d in apart]
    np.testing.assert_allclose(cost(at, *rest)[1], differences, rtol=1e-2)
