"""Grad-CAM's definition against textbook loops, on shapes chosen to hurt."""

import numpy as np
import pytest

from kernels import reference as kernels

SHAPES = [(1, 1, 1, 1), (2, 3, 5, 7), (1, 64, 16, 16), (3, 17, 13, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_gradcam_is_the_relu_of_the_weighted_sum(shape: tuple[int, int, int, int]) -> None:
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


def test_negative_evidence_alone_makes_no_heat() -> None:
    heat = kernels.gradcam(np.ones((1, 2, 3, 3), np.float32), -np.ones((1, 2, 3, 3), np.float32))
    assert heat.shape == (1, 3, 3)
    assert not heat.any()


def test_sampling_matches_bilinear_by_hand_and_is_zero_outside() -> None:
    heat = np.array([[0.0, 1.0], [0.5, 0.25]], np.float32)
    made = kernels.sample(heat, 6, 8, (2.0, 1.0, 6.0, 5.0))
    expected = np.zeros((6, 8))
    for y in range(1, 5):
        for x in range(2, 6):
            v, u = np.clip((y - 1 + 0.5) / 2 - 0.5, 0, 1), np.clip((x - 2 + 0.5) / 2 - 0.5, 0, 1)
            top, bottom = heat[0, 0] * (1 - u) + heat[0, 1] * u, heat[1, 0] * (1 - u) + heat[1, 1] * u
            expected[y, x] = top * (1 - v) + bottom * v
    np.testing.assert_allclose(made, expected, atol=1e-6)


def test_cold_areas_keep_the_radiograph_and_hot_ones_are_red() -> None:
    grey = np.full((2, 2), 90, np.uint8)
    rgb = kernels.blend(grey, np.array([[0, 1], [0, 1]], np.float32))
    assert (rgb[:, 0] == 90).all()
    assert (rgb[:, 1, 0] > rgb[:, 1, 1] + 80).all()


def test_the_colour_map_runs_from_blue_to_red() -> None:
    colours = kernels.colour_map().astype(int)
    assert colours.shape == (256, 3)
    assert colours[0].argmax() == 2
    assert tuple(colours[255]) == (255, 0, 0)


def test_focus_tells_one_cell_from_all_cells() -> None:
    one, all_alike, none = np.zeros((4, 4), np.float32), np.ones((4, 4), np.float32), np.zeros((4, 4), np.float32)
    one[1, 2] = 0.3
    assert kernels.focus(one) == pytest.approx(1 - 1 / 16)
    assert kernels.focus(all_alike) == pytest.approx(0)
    assert kernels.focus(none) == 0
