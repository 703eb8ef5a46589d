"""The picture that a radiologist sees: heat maps and regions over the radiograph, and above it a band with the answers.

The band is made of added rows, so that it covers no anatomy. The radiograph is reduced before anything is drawn on it,
so that lines and text keep their size. The picture adds no patient data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from appliance.config import Colours, Picture
from appliance.domain.finding import Box
from appliance.domain.result import Result
from appliance.ports import Heat
from appliance.preprocessing.recipe import fitted_size
from appliance.words import ENGLISH, Language

from .band import band, card, text_px, width_for_text, without_colour
from .heat import Draw, colours_up_to, draw_heats, shown_heat
from .regions import Region, dim_unread, draw_regions

AS_RECEIVED = Picture()
"""The default look: heat over the radiograph, at its received size."""


THUMBNAIL_COLOURS: Colours = "standard"


def overlay(
    grey: NDArray[np.uint8] | None,
    result: Result,
    heats: Sequence[Heat] = (),
    look: Picture = AS_RECEIVED,
    draw: Draw = draw_heats,
    language: Language = ENGLISH,
) -> NDArray[np.uint8]:
    """Draw (band + h, w, 3) uint8 from the radiograph `grey` (H, W) uint8; (band + h, w) if `look` is grey.

    Parameters
    ----------
    grey
        The radiograph as displayed; None if it has no usable pixels: the picture is then the band alone.
    heats
        None, or one per finding in the order of `result.findings`. The map of a negative finding is not
        drawn: each is relative to its own maximum, so it would be hot although nothing was found.
    draw
        Draws the heat maps over the radiograph.

    Raises
    ------
    ValueError
        If the number of `heats` is not that of the findings.
    """
    in_colour = look.layout != "grey"
    if grey is None:
        picture = card(result, language)
        return picture if in_colour else without_colour(picture)
    drawing = _fit(grey, result, heats, look.longest_px)
    height, width = drawing.grey.shape
    left = width + max(4, width // 100) if look.layout == "beside" else 0
    size = text_px(height, left + width)
    legend = colours_up_to(look.colours, result.answer) if drawing.heats and in_colour else None
    text_width = width_for_text(left + width, size)
    above = band(result, text_width, size, legend, with_probability=look.probability, language=language)
    rows = above.shape[0]
    picture = np.zeros((rows + height, *above.shape[1 : 3 if in_colour else 2]), np.uint8)
    picture[:rows] = above if in_colour else without_colour(above)
    if left:
        draw_heats(picture[rows:, :width], drawing.grey, (), look.colours)
    _draw(picture[rows:, left : left + width], drawing, size, look.colours, draw)
    return picture


def thumbnail(
    grey: NDArray[np.uint8], result: Result, heats: Sequence[Heat], longest_px: int, draw: Draw = draw_heats
) -> NDArray[np.uint8]:
    """Draw (h, w, 3) uint8: the radiograph with heat maps and regions, without text, at most `longest_px` long."""
    drawing = _fit(grey, result, heats, longest_px)
    picture = np.zeros((*drawing.grey.shape, 3), np.uint8)
    _draw(picture, drawing, text_px(*drawing.grey.shape), THUMBNAIL_COLOURS, draw)
    return picture


def heat_panel(
    grey: NDArray[np.uint8],
    result: Result,
    heats: Sequence[Heat],
    longest_px: int | None,
    colours: Colours,
    draw: Draw = draw_heats,
) -> NDArray[np.uint8]:
    """Draw (h, w, 3) uint8: the radiograph with its heat maps alone, as `overlay` and `thumbnail` begin."""
    drawing = _fit(grey, result, heats, longest_px)
    panel = np.empty((*drawing.grey.shape, 3), np.uint8)
    draw(panel, drawing.grey, drawing.heats, colours)
    return panel


def shown_shape(height: int, width: int, longest_px: int | None) -> tuple[int, int]:
    """Return (h, w) of a radiograph in its picture."""
    if longest_px is None or max(height, width) <= longest_px:
        return height, width
    return fitted_size(height, width, longest_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawing:
    """A radiograph at the size of its picture, with its regions and shown heat maps in px of that picture."""

    grey: NDArray[np.uint8]
    regions: tuple[Region, ...]
    unread: tuple[Box, ...]
    heats: tuple[Heat, ...]


def _fit(grey: NDArray[np.uint8], result: Result, heats: Sequence[Heat], longest_px: int | None) -> _Drawing:
    """Reduce a radiograph to its size in the picture, and scale its regions and heat maps with it."""
    if heats and len(heats) != len(result.findings):
        raise ValueError(f"{len(heats)} heat maps for {len(result.findings)} findings")
    height, width = grey.shape
    h, w = shown_shape(height, width, longest_px)
    across, down = w / width, h / height

    def scaled(at: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        x0, y0, x1, y1 = at
        return x0 * across, y0 * down, x1 * across, y1 * down

    def scaled_box(box: Box) -> Box:
        return Box(**dict(zip(("x0", "y0", "x1", "y1"), scaled(box.as_tuple()), strict=True)))

    if (h, w) != (height, width):
        grey = np.asarray(Image.fromarray(grey).resize((w, h), Image.Resampling.HAMMING, reducing_gap=3.0))
    pairs = zip(result.findings, heats, strict=False)
    return _Drawing(
        grey=grey,
        regions=tuple(
            Region(verdict=f.verdict, box=scaled_box(f.box), mark=tuple((x * across, y * down) for x, y in f.mark))
            for f in result.findings
        ),
        unread=tuple(scaled_box(region.box) for region in result.not_read if region.box is not None),
        heats=tuple(
            replace(shown_heat(heat, f.verdict), extent=scaled(heat.extent), within=scaled(heat.within))
            for f, heat in pairs
            if f.verdict.is_suspicious
        ),
    )


def _draw(panel: NDArray[np.uint8], drawing: _Drawing, size_px: int, colours: Colours, draw: Draw) -> None:
    if panel.ndim == 3:
        draw(panel, drawing.grey, drawing.heats, colours)
    else:
        panel[:] = drawing.grey
    dim_unread(panel, drawing.unread, [region.box for region in drawing.regions])
    draw_regions(panel, drawing.regions, size_px)
