"""The picture that a radiologist sees: heat and region over the radiograph, and above it what they mean.

The band is added rows, so nothing covers anatomy. A radiograph is made smaller before anything is drawn on it, so
that lines and words keep their size. There is no patient's data in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from appliance.config import Colours, Picture
from appliance.domain.finding import Answer, Box
from appliance.domain.result import Result
from appliance.ports import Heat
from appliance.preprocessing.recipe import fitted_size

from .band import band, card, text_px, width_for_text, without_colour
from .heat import Draw, colours_of, draw_heats
from .regions import draw_regions

AS_RECEIVED = Picture()


def overlay(
    grey: NDArray[np.uint8] | None,
    result: Result,
    heats: Sequence[Heat] = (),
    look: Picture = AS_RECEIVED,
    draw: Draw = draw_heats,
) -> NDArray[np.uint8]:
    """(band + h, w, 3) uint8 from the radiograph `grey` (H, W) uint8 as displayed; (band + h, w) if `look` is grey.

    Parameters
    ----------
    grey
        None where there are no usable pixels: the picture is a card with the reason.
    heats
        None, or one per finding in the order of `result.findings`. The map of a negative finding is not
        drawn: each is scaled to its own maximum, so it would show red where nothing was found.
    draw
        What blends them over the radiograph.

    Raises
    ------
    ValueError
        If `heats` are of another number than the findings.
    """
    in_colour = look.layout != "grey"
    if grey is None:
        picture = card(result)
        return picture if in_colour else without_colour(picture)
    film = _film(grey, result, heats, look.longest_px)
    height, width = film.grey.shape
    left = width + max(4, width // 100) if look.layout == "beside" else 0
    size = text_px(height, left + width)
    legend = colours_of(look.colours) if film.heats and in_colour else None
    above = band(result, width_for_text(left + width, size), size, legend)
    rows = above.shape[0]
    picture = np.zeros((rows + height, *above.shape[1 : 3 if in_colour else 2]), np.uint8)
    picture[:rows] = above if in_colour else without_colour(above)
    if left:
        draw_heats(picture[rows:, :width], film.grey, (), look.colours)
    _draw(picture[rows:, left : left + width], film, size, look.colours, draw)
    return picture


def thumbnail(
    grey: NDArray[np.uint8], result: Result, heats: Sequence[Heat], longest_px: int, draw: Draw = draw_heats
) -> NDArray[np.uint8]:
    """(h, w, 3) uint8: the radiograph with heat and regions, without words, at most `longest_px` long."""
    film = _film(grey, result, heats, longest_px)
    picture = np.zeros((*film.grey.shape, 3), np.uint8)
    _draw(picture, film, text_px(*film.grey.shape), "standard", draw)
    return picture


def shown_shape(height: int, width: int, longest_px: int | None) -> tuple[int, int]:
    """(h, w) of a radiograph in its picture."""
    if longest_px is None or max(height, width) <= longest_px:
        return height, width
    return fitted_size(height, width, longest_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Film:
    """A radiograph at the size of its picture; boxes and the heats that are shown in px of that."""

    grey: NDArray[np.uint8]
    regions: tuple[tuple[Answer, Box], ...]
    heats: tuple[Heat, ...]


def _film(grey: NDArray[np.uint8], result: Result, heats: Sequence[Heat], longest_px: int | None) -> _Film:
    if heats and len(heats) != len(result.findings):
        raise ValueError(f"{len(heats)} heat maps for {len(result.findings)} findings")
    height, width = grey.shape
    h, w = shown_shape(height, width, longest_px)

    def scaled(at: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
        x0, y0, x1, y1 = at
        return x0 * w / width, y0 * h / height, x1 * w / width, y1 * h / height

    if (h, w) != (height, width):
        grey = np.asarray(Image.fromarray(grey).resize((w, h), Image.Resampling.HAMMING, reducing_gap=3.0))
    corners = ((f.answer, scaled(f.box.as_tuple())) for f in result.findings)
    pairs = zip(result.findings, heats, strict=False)
    return _Film(
        grey=grey,
        regions=tuple((answer, Box(x0=x0, y0=y0, x1=x1, y1=y1)) for answer, (x0, y0, x1, y1) in corners),
        heats=tuple(
            replace(heat, extent=scaled(heat.extent), within=scaled(heat.within))
            for finding, heat in pairs
            if finding.answer is not Answer.NEGATIVE
        ),
    )


def _draw(panel: NDArray[np.uint8], film: _Film, size_px: int, colours: Colours, draw: Draw) -> None:
    if panel.ndim == 3:
        draw(panel, film.grey, film.heats, colours)
    else:
        panel[:] = film.grey
    draw_regions(panel, film.regions, size_px)
