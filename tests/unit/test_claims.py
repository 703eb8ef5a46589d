"""The claims of an engine follow from its measured performance alone."""

from __future__ import annotations

from typing import Any

import pytest

from engines.training.claims import claims_of

GOOD = (0.9, 0.85, 0.95)


def measured(
    auroc: tuple[float, float, float] = GOOD,
    without_hardware: tuple[float, float, float] = GOOD,
    sensitivity: tuple[float, float, float] = GOOD,
) -> dict[str, Any]:
    """Return the performance of an engine: point, lower and upper bound of each figure."""
    return {"auroc": auroc, "auroc_without_hardware": without_hardware, "sensitivity_doubt": sensitivity}


@pytest.mark.parametrize(
    ("performance", "finds", "clears"),
    [
        (measured(), True, True),
        (measured(sensitivity=(0.8, 0.65, 0.9)), True, True),
        (measured(sensitivity=(0.79, 0.7, 0.9)), True, False),
        (measured(sensitivity=(0.95, 0.64, 1.0)), True, False),
        (measured(auroc=(0.7, 0.5, 0.9)), False, False),
        (measured(auroc=(0.7, 0.51, 0.9)), True, True),
        (measured(without_hardware=(0.6, 0.45, 0.8)), False, False),
    ],
)
@pytest.mark.proves("SAF-3")
def test_claims_follow_from_the_lower_bounds(performance: dict[str, Any], finds: bool, clears: bool) -> None:
    assert claims_of(performance) == {"finds": finds, "clears": clears}
