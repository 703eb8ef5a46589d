"""Traits of a radiograph, by which its answers are compared with those of others: none identifies a patient."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from .identifiers import Site
from .phase import Phase


class AgeBand(StrEnum):
    """A band of ages in years at the examination; growth plates may be open in the first."""

    CHILD = "0-17"
    YOUNG = "18-39"
    MIDDLE = "40-64"
    OLD = "65-79"
    OLDEST = "80+"
    UNKNOWN = ""

    @classmethod
    def of(cls, years: float | None) -> AgeBand:
        """Return the band of an age."""
        if years is None:
            return cls.UNKNOWN
        upper = {18.0: cls.CHILD, 40.0: cls.YOUNG, 65.0: cls.MIDDLE, 80.0: cls.OLD}
        return next((band for limit, band in upper.items() if years < limit), cls.OLDEST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """Traits of a radiograph before any network has seen it.

    Attributes
    ----------
    header_site
        The one site that the header names; None if it names none or several.
    view
        View Position, if it is a known term; empty if there is none, ``OTHER`` for any other.
    device
        Manufacturer and model, printable, at most 64 characters.
    grey_mean, grey_spread
        Mean and standard deviation of the displayed radiograph, 0 to 1; None without pixels.
    detail
        Mean difference between neighbours of the displayed radiograph, at `analysis.traits.SIDE_PX`, 0 to 1.
    has_burned_in_text
        Whether the header says that text which identifies the patient is in the pixels.
    """

    header_site: Site | None = None
    age_band: AgeBand = AgeBand.UNKNOWN
    view: str = ""
    device: str = ""
    grey_mean: float | None = None
    grey_spread: float | None = None
    detail: float | None = None
    has_burned_in_text: bool = False


NO_TRAITS = Traits()
"""Traits of a radiograph of which nothing is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedTraits:
    """Traits with those of the result.

    Attributes
    ----------
    found_site
        Site of the gravest finding; None without one.
    phase
        Phase by which the radiograph was told: the least advanced of its findings that were.
    probability
        The highest of the findings; None without one.
    """

    result_id: int
    traits: Traits
    found_site: Site | None
    phase: Phase
    probability: float | None
    created_at: datetime
