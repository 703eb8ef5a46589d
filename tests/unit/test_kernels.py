"""The definition of Grad-CAM against textbook loops, on awkward shapes."""

import cv2
import numpy as np
import pytest

from appliance.picture.heat import draw_heats
from appliance.ports import Heat
from kernels import reference as kernels
from tests.support.kernel_cases import LAYOUTS, heats

SHAPES = [(1, 1, 1, 1), (2, 3, 5, 7), (1, 64, 16, 16), (3, 17, 13, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_gradcam_equals_the_relu_of_the_weighted_sum(shape: tuple[int, int, int, int]) -> None:
    rng = np.random.default_rng(0)
    activations, gradients = rng.normal(size=(2, *shape)).astype(np.float32)
    expected = np.zeros((shape[0], *shape[2:]))
    for n in range(shape[0]):
        for k in range(shape[1]):
            expected[n] += gradients[n, k].mean() * activations[n, k]
        expected[n] = np.maximum(expected[n], 0)
        if expected[n].max() > 0:
            expected[n] /= expected[n].max()
    np.testing.assert_allclose(kernels.gradcam(activations, gradients), expected, atol=1e-5)


def test_gradcam_of_negative_evidence_is_zero() -> None:
    heat = kernels.gradcam(np.ones((1, 2, 3, 3), np.float32), -np.ones((1, 2, 3, 3), np.float32))
    assert heat.shape == (1, 3, 3)
    assert not heat.any()


def test_sample_is_bilinear_inside_and_zero_outside() -> None:
    heat = np.array([[0.0, 1.0], [0.5, 0.25]], np.float32)
    made = kernels.sample(heat, 6, 8, (2.0, 1.0, 6.0, 5.0))
    expected = np.zeros((6, 8))
    for y in range(1, 5):
        for x in range(2, 6):
            v, u = np.clip((y - 1 + 0.5) / 2 - 0.5, 0, 1), np.clip((x - 2 + 0.5) / 2 - 0.5, 0, 1)
            top, bottom = heat[0, 0] * (1 - u) + heat[0, 1] * u, heat[1, 0] * (1 - u) + heat[1, 1] * u
            expected[y, x] = top * (1 - v) + bottom * v
    np.testing.assert_allclose(made, expected, atol=1e-6)


def test_blend_keeps_cold_areas_and_colours_hot_ones_red() -> None:
    grey = np.full((2, 2), 90, np.uint8)
    rgb = kernels.blend(grey, np.array([[0, 1], [0, 1]], np.float32))
    assert (rgb[:, 0] == 90).all()
    assert (rgb[:, 1, 0] > rgb[:, 1, 1] + 80).all()


def test_colour_map_runs_from_blue_to_red() -> None:
    colours = kernels.colour_map().astype(int)
    assert colours.shape == (256, 3)
    assert colours[0].argmax() == 2
    assert tuple(colours[255]) == (255, 0, 0)


def test_focus_is_one_for_one_cell_and_zero_for_an_even_map() -> None:
    one, all_alike, none = np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32), np.zeros((4, 4), np.float32)
    one[1, 2] = 0.3
    assert kernels.focus(one) == 1
    assert kernels.focus(all_alike) == pytest.approx(0)
    assert kernels.focus(none) == 0
    assert kernels.focus(np.ones((1, 1), np.float32)) == 1


def test_focus_follows_the_spread_of_the_heat() -> None:
    """Two cells that are two apart in a row of four lie 1 from their middle; an even map lies sqrt(15 / 12)."""
    apart = np.array([[1, 0, 1, 0]], np.float32)
    assert kernels.focus(apart) == pytest.approx(1 - (1 / (15 / 12)) ** 0.5)
    corners = np.zeros((4, 4), np.float32)
    corners[[0, 0, -1, -1], [0, -1, 0, -1]] = 1
    assert kernels.focus(corners) == 0  # further apart than evenly


def test_overlay_equals_the_picture_of_the_appliance() -> None:
    """The definition makes the same picture without the appliance's windows and strips."""
    grey = np.random.default_rng(3).integers(0, 256, (203, 311), np.uint8)
    for layout in LAYOUTS:
        shown = [Heat(cells=h.cells, extent=h.extent, within=h.within) for h in heats(layout, *grey.shape)]
        drawn = np.repeat(grey[..., None], 3, axis=2)
        draw_heats(drawn, grey, shown, "standard")
        made = kernels.overlay(grey, shown)
        assert made.shape == drawn.shape and made.dtype == drawn.dtype
        # the same positions from other origins: a heat between two colours may take the other
        assert (made != drawn).any(axis=2).mean() < 1e-4
        assert np.abs(made.astype(int) - drawn).max() <= 2


LMS_FROM_RGB = np.array(
    [[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]], float
)
"""Linear RGB to cone responses; like the two below from Viénot et al., Color Research and Application 1999."""

WITHOUT = {
    "red": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]], float),
    "green": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]], float),
}


@pytest.mark.parametrize("cones", WITHOUT)
def test_sunset_colours_are_distinct_without_red_or_green_cones(cones: str) -> None:
    """Levels a quarter of the scale apart differ by ten just noticeable differences (2.3 in CIE Lab)."""
    sunset, heat = (
        _smallest_distance(_colours_seen(kernels.colour_map(kind), WITHOUT[cones]), 64) for kind in ("sunset", "heat")
    )
    assert sunset > 23 > heat


def _colours_seen(table: np.ndarray, cones: np.ndarray) -> np.ndarray:
    linear = (table / 255) ** 2.2
    return np.clip(linear @ (np.linalg.inv(LMS_FROM_RGB) @ cones @ LMS_FROM_RGB).T, 0, 1)


def _smallest_distance(linear: np.ndarray, apart: int) -> float:
    """Return the smallest CIE 1976 distance of two colours that are at least `apart` levels apart."""
    lab = cv2.cvtColor((linear ** (1 / 2.2))[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0]
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    return float(distance[np.abs(np.subtract.outer(range(256), range(256))) >= apart].min())
