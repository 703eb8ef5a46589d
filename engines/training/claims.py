"""Decide what an engine may say by what it was measured to do.

An engine *finds* where the lower bound of its AUROC lies above one half, with and without radiographs that show
hardware; only then may it suspect a fracture. It *clears* where its sensitivity at the operating point for a possible
fracture is at least 80 % with a lower bound of at least 65 %; only then may it say "no fracture found".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

CHANCE = 0.5
LEAST_SENSITIVITY = 0.80
LEAST_LOWER_BOUND = 0.65


class Claims(TypedDict):
    """The claims of one engine, as the pack's manifest holds them."""

    finds: bool
    clears: bool


def claims_of(performance: Mapping[str, Any]) -> Claims:
    """Derive the claims from the measured performance of one engine (point, lower and upper bound of each figure)."""
    areas = (performance["auroc"], performance["auroc_without_hardware"])
    finds = all(area[1] > CHANCE for area in areas)
    point, low, _ = performance["sensitivity_doubt"]
    return Claims(finds=finds, clears=finds and point >= LEAST_SENSITIVITY and low >= LEAST_LOWER_BOUND)
