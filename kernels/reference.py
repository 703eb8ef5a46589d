"""Grad-CAM and its overlay in NumPy, the definition that every faster implementation is tested against.

References
----------
Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

FLAT = 1e-12
"""Largest maximum of a map without evidence, which stays all zero."""

OPACITY = 0.55
"""Share of the colour where a map is hottest: the trabeculae beneath stay readable."""


class PlacedHeat(Protocol):
    """A map and its place on a radiograph.

    Attributes
    ----------
    cells
        (h, w) float32 in [0, 1].
    extent
        x0, y0, x1, y1 of the cells' outer borders, px of the radiograph.
    within
        x0, y0, x1, y1 of the window in which it is drawn; its borders are rounded to whole pixels.
    """

    @property
    def cells(self) -> NDArray[np.float32]: ...
    @property
    def extent(self) -> tuple[float, float, float, float]: ...
    @property
    def within(self) -> tuple[float, float, float, float]: ...


def channel_weights(gradients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N, K) float32: the mean over h, w of `gradients` (N, K, h, w) float32 (Grad-CAM, equation 1)."""
    return gradients.mean(axis=(2, 3), dtype=np.float32)


def combine(activations: NDArray[np.float32], weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (N, h, w) float32: ReLU of the weighted sum of `activations` (N, K, h, w) (Grad-CAM, equation 2)."""
    return np.maximum(np.einsum("nk,nkhw->nhw", weights, activations, dtype=np.float32), 0.0)


def normalise(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide `maps` (N, h, w) >= 0 by their own maxima, to [0, 1]; a flat map becomes all zero."""
    peaks = maps.max(axis=(1, 2), keepdims=True)
    return np.divide(maps, peaks, out=np.zeros_like(maps), where=peaks > FLAT)


def evidence(activations: NDArray[np.float32], gradients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return Grad-CAM (N, h, w) float32 >= 0, not normalised, from activations and gradients (N, K, h, w)."""
    return combine(activations, channel_weights(gradients))


def gradcam(activations: NDArray[np.float32], gradients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return Grad-CAM (N, h, w) float32 in [0, 1] from activations and gradients (N, K, h, w)."""
    return normalise(evidence(activations, gradients))


def sample(
    heat: NDArray[np.float32], height: int, width: int, extent: tuple[float, float, float, float]
) -> NDArray[np.float32]:
    """Sample `heat` (h, w) bilinearly to (height, width) float32; its borders lie at `extent`, outside is 0.

    Parameters
    ----------
    extent
        (x0, y0, x1, y1) in px of the output; pixel centres are at half integers, samples clamp at the map's edge.
    """
    x0, y0, x1, y1 = extent
    rows, inside_y = _axis(height, y0, y1, heat.shape[0])
    columns, inside_x = _axis(width, x0, x1, heat.shape[1])
    out = np.zeros((height, width), np.float32)
    out[np.ix_(inside_y, inside_x)] = rows[inside_y] @ heat @ columns[inside_x].T
    return out


def _axis(length: int, start: float, stop: float, cells: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return interpolation weights (length, cells) along one axis, and a mask of the output pixels on the map."""
    centre = np.arange(length) + 0.5
    position = np.clip((centre - start) / (stop - start) * cells - 0.5, 0, cells - 1)
    below = np.minimum(position.astype(int), max(cells - 2, 0))
    weights = np.zeros((length, cells), np.float32)
    fraction = (position - below).astype(np.float32)
    weights[np.arange(length), below] = 1 - fraction
    weights[np.arange(length), np.minimum(below + 1, cells - 1)] += fraction
    return weights, (centre > start) & (centre < stop)


def colour_map(kind: Literal["heat", "sunset"] = "heat") -> NDArray[np.uint8]:
    """Return (256, 3) uint8: blue (little) over yellow and orange (moderate) to red (strong).

    Parameters
    ----------
    kind
        ``"sunset"`` keeps that order and can be read without red or green cones.

    References
    ----------
    "sunset": Tol, "Colour Schemes", SRON/EPS/TN/09-002, issue 3.2, 2021, diverging schemes.
    """
    if kind == "heat":
        levels = np.array([0.0, 0.35, 0.6, 0.8, 1.0])
        colours = np.array([[0, 40, 255], [0, 190, 255], [255, 225, 0], [255, 130, 0], [255, 0, 0]], float)
    else:
        # fmt: off
        stops = [0x364B9A, 0x4A7BB7, 0x6EA6CD, 0x98CAE1, 0xC2E4EF, 0xEAECCC,
                 0xFEDA8B, 0xFDB366, 0xF67E4B, 0xDD3D2D, 0xA50026]
        # fmt: on
        levels = np.linspace(0, 1, len(stops))
        colours = np.array([list(stop.to_bytes(3)) for stop in stops], float)
    at = np.linspace(0, 1, 256)
    return np.stack([np.interp(at, levels, colours[:, c]) for c in range(3)], axis=1).round().astype(np.uint8)


def blend(
    grey: NDArray[np.uint8],
    heat: NDArray[np.float32],
    opacity: float = OPACITY,
    colours: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8: `heat` (H, W) in [0, 1], coloured, over `grey` (H, W) uint8.

    The weight of the colour grows with the heat, so that cold areas keep the radiograph unchanged.

    Parameters
    ----------
    colours
        (256, 3) uint8, by default `colour_map`'s.
    """
    table = colour_map() if colours is None else colours
    alpha = (np.float32(opacity) * np.sqrt(heat))[..., None]
    coloured = table[np.rint(heat * 255).astype(np.uint8)]
    return np.floor(grey[..., None] * (1 - alpha) + coloured * alpha + np.float32(0.5)).astype(np.uint8)


def overlay(
    grey: NDArray[np.uint8],
    heats: Sequence[PlacedHeat],
    colours: NDArray[np.uint8] | None = None,
    opacity: float = OPACITY,
) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8: `heats` over the radiograph `grey` (H, W) uint8; where they meet, the hottest shows."""
    height, width = grey.shape
    field = np.zeros(grey.shape, np.float32)
    for heat in heats:
        left, top, right, bottom = (max(round(border), 0) for border in heat.within)
        window = (slice(top, max(bottom, top)), slice(left, max(right, left)))
        field[window] = np.maximum(field, sample(heat.cells, height, width, heat.extent))[window]
    return blend(grey, field, opacity, colours)


def focus(heat: NDArray[np.float32]) -> float:
    """Return the concentration of the heat of a map (h, w) >= 0: 1 in one cell, 0 if spread as an even map or further.

    It is one minus the root mean square distance of the heat from its centre, relative to that of an even map; 0 for a
    flat map. docs/models.md shows how it relates to the answer, and compares other measures.
    """
    total = float(heat.sum(dtype=np.float64))
    if total <= FLAT:
        return 0.0
    share = heat / total
    rows, columns = (np.arange(n, dtype=np.float64) for n in heat.shape)
    square = 0.0
    for along, at in ((share.sum(axis=1), rows), (share.sum(axis=0), columns)):
        square += float(along @ at**2 - (along @ at) ** 2)
    even = sum((n * n - 1) / 12 for n in heat.shape)
    return max(0.0, 1.0 - (max(square, 0.0) / even) ** 0.5) if even else 1.0
