"""The direction of limbs from their regions, and pictures whose black and white are exchanged."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from appliance.analysis import polarity
from appliance.analysis.localiser import LocatedRegion
from appliance.analysis.orientation import limb_direction_deg, quarter_turns
from appliance.domain.finding import Box
from appliance.domain.identifiers import Site


def at(site: Site, x: float, y: float, score: float = 0.6) -> LocatedRegion:
    return LocatedRegion(site=site, box=Box(x0=x - 40, y0=y - 40, x1=x + 40, y1=y + 40), score=score)


FOREARM, HAND_BELOW = at(Site.FOREARM, 200, 100), at(Site.WRIST, 200, 300)


@pytest.mark.parametrize(
    ("wrist_at", "direction"), [((200, 300), 0), ((400, 100), 90), ((200, 40), 180), ((40, 100), -90)]
)
def test_the_direction_is_that_from_the_forearm_to_the_wrist(wrist_at: tuple[float, float], direction: float) -> None:
    found = limb_direction_deg([FOREARM, at(Site.WRIST, *wrist_at)])
    assert found is not None and abs(found) == pytest.approx(abs(direction))


def test_regions_that_are_no_neighbours_tell_no_direction() -> None:
    assert limb_direction_deg([at(Site.WRIST, 200, 300)]) is None
    assert limb_direction_deg([at(Site.WRIST, 200, 300), at(Site.KNEE, 200, 100)]) is None


def test_a_weak_region_tells_no_direction() -> None:
    assert limb_direction_deg([FOREARM, at(Site.WRIST, 200, 300, score=0.1)]) is None


def test_directions_that_cancel_out_tell_nothing() -> None:
    regions = [
        at(Site.FOREARM, 200, 100),
        at(Site.WRIST, 200, 300),
        at(Site.KNEE, 500, 300),
        at(Site.LOWER_LEG, 500, 100),
    ]
    assert limb_direction_deg(regions) is None


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_turned_picture_is_turned_back(turns: int) -> None:
    """A picture with marks of two regions is turned; the estimate turns it back to where it was."""
    upright = np.zeros((400, 400), np.uint8)
    upright[100, 200], upright[300, 200] = 1, 2
    turned = np.rot90(upright, turns)
    forearm, wrist = (np.argwhere(turned == mark)[0] for mark in (1, 2))
    regions = [at(Site.FOREARM, forearm[1], forearm[0]), at(Site.WRIST, wrist[1], wrist[0])]
    assert (np.rot90(turned, quarter_turns(limb_direction_deg(regions))) == upright).all()


@pytest.mark.parametrize("direction", [None, 0.0, 45.0, -59.0])
def test_an_upright_or_unknown_limb_is_not_turned(direction: float | None) -> None:
    assert quarter_turns(direction) == 0


def limb() -> NDArray[np.uint8]:
    rng = np.random.default_rng(4)
    picture = rng.normal(10, 3, (256, 200))
    picture[:, 60:140] = rng.normal(90, 4, (256, 80))
    picture[:, 90:110] = rng.normal(180, 6, (256, 20))
    return np.clip(picture, 0, 255).astype(np.uint8)


def test_a_limb_on_air_has_the_right_polarity() -> None:
    assert not polarity.is_doubtful(limb())


def test_an_inverted_limb_has_a_doubtful_polarity() -> None:
    assert polarity.is_doubtful(255 - limb())


def test_a_blank_picture_has_no_doubtful_polarity() -> None:
    assert not polarity.is_doubtful(np.full((256, 200), 255, np.uint8))
