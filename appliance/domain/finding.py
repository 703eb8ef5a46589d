"""The finding in one anatomical region, and the four answers.

A failure is never an empty list: a radiograph that could not be read has `NotAnalysed` with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .identifiers import Laterality, Site
from .reason import ReasonCode


class Answer(StrEnum):
    """The answer of a region, a radiograph or a study; two operating points make the first three."""

    POSITIVE = "positive"
    DOUBT = "doubt"
    NEGATIVE = "negative"
    NOT_ANALYSED = "not_analysed"

    @property
    def label(self) -> str:
        """The words of the answer on every output."""
        return {
            "positive": "fracture suspected",
            "doubt": "fracture in doubt",
            "negative": "no fracture found",
            "not_analysed": "not analysed",
        }[self.value]

    @property
    def severity(self) -> int:
        """Rank of gravity: a radiograph has the gravest answer of its findings."""
        return ("not_analysed", "negative", "doubt", "positive").index(self.value)


def percent(probability: float) -> str:
    """Format a probability in whole per cent, never as 0 % or 100 %: no calibrated probability is certain."""
    if probability < 0.01:
        return "<1%"
    return ">99%" if probability > 0.99 else f"{probability:.0%}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Rectangle in px of the received image; x to the right, y down, edges at pixel borders, x0 < x1, y0 < y1."""

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (0 <= self.x0 < self.x1 and 0 <= self.y0 < self.y1):
            raise ValueError(f"not a box: {self.x0, self.y0, self.x1, self.y1}")

    def as_tuple(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1)."""
        return self.x0, self.y0, self.x1, self.y1


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAnalysed:
    """The reason why a radiograph was not analysed: a stable code, and a sentence for the person who acts on it."""

    code: ReasonCode
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one classified region.

    Attributes
    ----------
    box
        The region, px of the received image.
    region_score
        The localiser's score for the region, 0 to 1, not calibrated.
    peak
        (x, y) of the hottest point of the heat map, px of the received image.
    probability
        Calibrated probability of a fracture, 0 to 1.
    doubt, positive
        The two operating points: a probability of at least `positive` is positive, of at least `doubt` is doubt.
    focus
        0 (heat everywhere, or in places far apart) to 1 (heat in one place): see `kernels.reference.focus`.
    """

    site: Site
    laterality: Laterality
    box: Box
    region_score: float
    peak: tuple[float, float]
    probability: float
    doubt: float
    positive: float
    focus: float

    def __post_init__(self) -> None:
        if not (0 <= self.probability <= 1 and 0 <= self.focus <= 1 and 0 <= self.doubt <= self.positive <= 1):
            raise ValueError(
                f"out of range: probability {self.probability}, focus {self.focus}, "
                f"operating points {self.doubt}, {self.positive}"
            )

    @property
    def answer(self) -> Answer:
        """The answer that the two operating points give to the probability."""
        if self.probability >= self.positive:
            return Answer.POSITIVE
        return Answer.DOUBT if self.probability >= self.doubt else Answer.NEGATIVE

    @property
    def place(self) -> str:
        """Side and site as people read them, for example ``left wrist``; the site alone where no side is known."""
        return f"{self.laterality.label} {self.site.label}".strip()

    @property
    def percent(self) -> str:
        """The probability in per cent, for people."""
        return percent(self.probability)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadRegion:
    """A located region of a site for which the pack has no engine."""

    site: Site
    box: Box
    region_score: float
