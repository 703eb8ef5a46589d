"""The choice of a display: the first VOI LUT or window in which the picture uses its range of grey levels.

A window that is far off makes a picture nearly black, white or blank, in which the networks see nothing. A person at a
viewer would change the window; here the next takes its place, and a caveat says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from appliance.config import PresetWindow
from appliance.domain.radiograph import StoredValues, Window
from appliance.domain.sentence import Sentence
from appliance.preprocessing.reference import displayed

from .lookup_table import LookupTable, whole_table
from .modality import Modality
from .stored_bits import above_bits_stored, bits_stored, exceeds_bits_stored, holds, masked, may_overshoot
from .windows import EXPOSED_PERCENTILES, percentile_window, thinned, voi_lut_of, windows_of

NEARLY_BLACK, NEARLY_WHITE = 64, 192
"""Grey levels, of 255, above which the brightest and below which the darkest exposed pixels have to lie."""

SMALLEST_RANGE = 32
"""Grey levels between the darkest and the brightest exposed pixels below which the picture is blank."""

LEAST_GREY = 0.15
"""Share of exposed pixels between black and white below which the picture is black and white alone: of 534 radiographs
none has less than 0.29."""

NEAR_THE_END = 5
"""Grey levels from black and from white within which a pixel counts as black or white."""

MOST_ABOVE = 0.05
"""Share of exposed pixels with values above Bits Stored from which it is doubtful that Bits Stored is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """One possibility to display a radiograph.

    Attributes
    ----------
    name
        Its name in a caveat.
    values : (H, W)
        Signed or unsigned numbers, to which slope, intercept and window apply in this order.
    """

    name: Sentence
    values: NDArray[Any] = field(repr=False)
    slope: float
    intercept: float
    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Possibilities:
    """The displays of one data set.

    Attributes
    ----------
    stored : (H, W)
        Stored values with their sign.
    exposed : (h, w)
        Thinned mask of the pixels that are not padding; at least one is exposed.
    """

    ds: Dataset = field(repr=False)
    stored: NDArray[Any] = field(repr=False)
    exposed: NDArray[np.bool_] = field(repr=False)
    modality: Modality
    presets: Sequence[PresetWindow]
    little_endian: bool
    invert: bool

    def choose(self) -> tuple[Display, tuple[Sentence, ...]]:
        """Return the first display in which the picture uses its range, and caveats about those before it."""
        voi, windows = self._voi_lut(), tuple(windows_of(self.ds, self.presets))
        stored, caveats = self._without_high_bits(self._reach(voi, windows))
        values = self.modality.applied(stored)
        unused: list[Sentence] = []
        first: Display | None = None
        for display in self._displays(values, voi, windows):
            first = first or display
            if (fault := self._fault(display)) is None:
                if not unused:
                    return display, caveats
                replaced = Sentence.of(
                    "window replaced by the {display}: {because}", display=display.name, because=tuple(unused)
                )
                return display, (*caveats, replaced)
            unused.append(Sentence.of("the {display} leaves the picture {fault}", display=display.name, fault=fault))
        assert first is not None, "the percentiles always make a display"
        return first, (*caveats, Sentence.of("the picture is nearly blank in every window"))

    def _voi_lut(self) -> LookupTable | None:
        item = voi_lut_of(self.ds)
        return None if item is None else whole_table(item, self.little_endian)

    def _reach(self, voi: LookupTable | None, windows: Sequence[tuple[Sentence, Window]]) -> tuple[float, float] | None:
        """Return the smallest and largest stored value that the first LUT or window tells apart; None without them."""
        is_signed = self.stored.dtype.kind == "i"
        if self.modality.table:
            return self.modality.table.reach(signed=is_signed)
        slope, intercept = self.modality.slope, self.modality.intercept
        ends: tuple[float, float]
        if voi:
            ends = voi.reach(signed=is_signed or intercept < 0)
        elif windows:
            _, window = windows[0]
            ends = window.center - window.width / 2, window.center + window.width / 2
        else:
            return None
        low, high = sorted((end - intercept) / slope for end in ends)
        return low, high

    def _without_high_bits(self, reach: tuple[float, float] | None) -> tuple[NDArray[Any], tuple[Sentence, ...]]:
        """Return the stored values, without bits above Bits Stored if the window lies within Bits Stored."""
        bits = bits_stored(self.ds)
        if (
            reach is None
            or may_overshoot(self.ds)
            or not holds(self.stored, bits, *reach)
            or not exceeds_bits_stored(self.stored, bits)
        ):
            return self.stored, ()
        share = float(above_bits_stored(thinned(self.stored)[self.exposed], bits).mean())
        caveat = Sentence.of(
            "{share} of the values are above Bits Stored: shown without their upper bits", share=f"{share:.0%}"
        )
        return masked(self.stored, bits), (caveat,) if share > MOST_ABOVE else ()

    def _displays(
        self, values: NDArray[Any], voi: LookupTable | None, windows: Sequence[tuple[Sentence, Window]]
    ) -> Iterator[Display]:
        """Yield the VOI LUT, the windows and the percentiles; `values` is the output of the Modality LUT's table."""
        slope, intercept = self.modality.slope, self.modality.intercept
        if voi:
            looked_up = voi.applied(values * slope + intercept if slope != 1 or intercept else values)
            window = Window(center=voi.depth / 2, width=voi.depth, over_voi_lut=True)
            yield Display(name=Sentence.of("VOI LUT"), values=looked_up, slope=1.0, intercept=0.0, window=window)
        for name, window in windows:
            yield Display(name=name, values=values, slope=slope, intercept=intercept, window=window)
        window = percentile_window(thinned(values)[self.exposed], slope, intercept)
        name = Sentence.of("percentiles of the image")
        yield Display(name=name, values=values, slope=slope, intercept=intercept, window=window)

    def _fault(self, display: Display) -> Sentence | None:
        """Return how a display fails to use its range of grey levels; None if it uses it."""
        stored = StoredValues(
            pixels=np.zeros((1, 1), np.uint16),
            slope=display.slope,
            intercept=display.intercept,
            window=display.window,
            invert=self.invert,
        )
        levels = displayed(stored, thinned(display.values)[self.exposed][None].astype(np.float32))
        dark, bright = (int(level) for level in np.percentile(levels, EXPOSED_PERCENTILES, method="nearest"))
        if bright < NEARLY_BLACK:
            return Sentence.of("nearly black")
        if dark > NEARLY_WHITE:
            return Sentence.of("nearly white")
        if bright - dark < SMALLEST_RANGE:
            return Sentence.of("blank")
        is_grey = (levels > NEAR_THE_END) & (levels < 255 - NEAR_THE_END)
        return Sentence.of("without grey levels") if is_grey.mean() < LEAST_GREY else None
