"""Stored values of drawn limbs, for networks with fixed outputs: a picture that is neither blank nor inverted."""

from __future__ import annotations

import numpy as np

from appliance.domain.radiograph import StoredValues, Window


def limbs(side: int = 512, across: tuple[int, ...] = (72, 200, 328, 456)) -> StoredValues:
    """Draw upright limbs with one bone each on a square picture of `side` px.

    Parameters
    ----------
    across
        Centres of the limbs, in px of a picture of 512 px.
    """
    x = np.arange(side) * 512 / side
    row = np.full(side, 200.0)
    for centre in across:
        row += 900.0 * (abs(x - centre) < 40) + 1800.0 * (abs(x - centre) < 10)
    noise = np.random.default_rng(7).normal(0, 20, (side, side))
    pixels = np.clip(row[None] + noise, 0, 4095).astype(np.uint16)
    return StoredValues(pixels=pixels, window=Window(center=2048, width=4096))
