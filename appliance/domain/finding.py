"""The finding in one anatomical region, and the four answers.

A failure is never an empty list: a radiograph that could not be read has `NotAnalysed` with a reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .identifiers import Laterality, Site, place
from .reason import ReasonCode
from .sentence import Sentence


class Verdict(StrEnum):
    """The verdict about one region that an engine has read."""

    POSITIVE = "positive"
    DOUBT = "doubt"
    NOT_CLEARED = "not_cleared"
    NEGATIVE = "negative"

    @property
    def label(self) -> Sentence:
        """The words of the verdict on every output."""
        return {
            "positive": Sentence.of("fracture suspected"),
            "doubt": Sentence.of("possible fracture"),
            "not_cleared": Sentence.of("not cleared"),
            "negative": Sentence.of("no fracture found"),
        }[self.value]

    @property
    def is_suspicious(self) -> bool:
        """Whether the verdict speaks of a fracture that may be there."""
        return self in (Verdict.POSITIVE, Verdict.DOUBT)

    @property
    def severity(self) -> int:
        """Rank of gravity, 3 for positive."""
        return ("negative", "not_cleared", "doubt", "positive").index(self.value)


class Answer(StrEnum):
    """The answer about a radiograph or a study."""

    POSITIVE = "positive"
    DOUBT = "doubt"
    INCOMPLETE = "incomplete"
    NEGATIVE = "negative"
    NOT_ANALYSED = "not_analysed"

    @property
    def label(self) -> Sentence:
        """The words of the answer on every output."""
        return {
            "positive": Sentence.of("fracture suspected"),
            "doubt": Sentence.of("possible fracture"),
            "incomplete": Sentence.of("incomplete"),
            "negative": Sentence.of("no fracture found"),
            "not_analysed": Sentence.of("not analysed"),
        }[self.value]

    @property
    def is_suspicious(self) -> bool:
        """Whether the answer speaks of a fracture that may be there."""
        return self in (Answer.POSITIVE, Answer.DOUBT)


class Withheld(StrEnum):
    """A reason why a region may not be called negative, however low its probability."""

    NOT_MEASURED = "not_measured"
    WEAK = "weak"
    CONTRADICTION = "contradiction"
    NAMED_SITE_UNREAD = "named_site_unread"
    OTHER_LIMB = "other_limb"
    AMBIGUOUS = "ambiguous"
    CUT = "cut"
    POLARITY = "polarity"
    WINDOW = "window"
    UNFAMILIAR = "unfamiliar"

    @property
    def sentence(self) -> Sentence:
        """The reason as a sentence for people."""
        return {
            "not_measured": Sentence.of(
                "the engine of this site may not clear a region: too few fractures were measured"
            ),
            "weak": Sentence.of("the region is recognised only with the help of the header"),
            "contradiction": Sentence.of("the header names another part of the body than the image shows"),
            "named_site_unread": Sentence.of("the header names a part of the body that no engine reads"),
            "other_limb": Sentence.of("an arm and a leg are recognised on one radiograph"),
            "ambiguous": Sentence.of("the region looks like more than one part of the body"),
            "cut": Sentence.of("the border of the picture cuts the joint"),
            "polarity": Sentence.of("black and white may be exchanged"),
            "window": Sentence.of("the header does not say how to display the picture, or says it wrongly"),
            "unfamiliar": Sentence.of("the picture is unlike those that the engines were measured on"),
        }[self.value]


IN_CAVEATS = frozenset({Withheld.CUT, Withheld.POLARITY, Withheld.OTHER_LIMB, Withheld.AMBIGUOUS, Withheld.UNFAMILIAR})
"""Reasons for a withheld negative that are about the picture: a caveat, since they concern a suspicion too."""

NON_SPECIFIC_FOCUS = 0.4
"""Focus of a heat map below which a suspicious answer was right in 32 of 100 cases; above, in 51 (docs/models.md)."""

DIFFUSE = Sentence.of("non-specific attention: the heat map is diffuse")
"""The caveat of a suspicion without a place."""


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
    reason: Sentence


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
    mark
        Closed outline of the heat at half of its own maximum, (x, y) in px of the received image: the location of the
        suspicion, which lies inside the region. Empty where the heat is empty.
    withheld
        Reasons why a negative is withheld; a region with one of them is not cleared at best.
    site_is_certain
        False where image and header contradict each other: outputs then name neither site nor side.
    fracture_share
        Share of radiographs with a fracture in the data on which the probability was calibrated; None if unknown.
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
    mark: tuple[tuple[float, float], ...] = ()
    withheld: tuple[Withheld, ...] = ()
    site_is_certain: bool = True
    fracture_share: float | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.probability <= 1 and 0 <= self.focus <= 1 and 0 <= self.doubt <= self.positive <= 1):
            raise ValueError(
                f"out of range: probability {self.probability}, focus {self.focus}, "
                f"operating points {self.doubt}, {self.positive}"
            )

    @property
    def verdict(self) -> Verdict:
        """The verdict that the two operating points give to the probability; a negative may be withheld."""
        if self.probability >= self.positive:
            return Verdict.POSITIVE
        if self.probability >= self.doubt:
            return Verdict.DOUBT
        return Verdict.NOT_CLEARED if self.withheld else Verdict.NEGATIVE

    @property
    def place(self) -> Sentence:
        """Side and site as people read them; neither where the site is uncertain."""
        return place(self.site, self.laterality) if self.site_is_certain else Sentence.of("site uncertain")

    @property
    def percent(self) -> str:
        """The probability in per cent, for people."""
        return percent(self.probability)

    @property
    def is_diffuse(self) -> bool:
        """Whether the finding is a suspicion without a place, which has the caveat `DIFFUSE`."""
        return self.verdict.is_suspicious and self.focus < NON_SPECIFIC_FOCUS

    @property
    def stated_probability(self) -> float:
        """The probability as outputs state it, 0.001 to 0.999: no calibrated probability is certain."""
        return min(max(round(self.probability, 3), 0.001), 0.999)

    @property
    def calibration(self) -> Sentence:
        """The population on which the probability was calibrated, for people."""
        if self.fracture_share is None:
            return Sentence.of(
                "calibrated on the training data of the model, of unknown share of fractures; "
                "the share among your patients differs"
            )
        return Sentence.of(
            "calibrated on the training data of the model, of which {share} show a fracture; "
            "the share among your patients differs",
            share=f"{self.fracture_share:.0%}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadRegion:
    """A region that no engine read.

    Attributes
    ----------
    box
        The region, px of the received image; None where the header names the site and the image does not show it.
    region_score
        The localiser's score for the region; 0 without a box.
    is_in_use
        False for a region that an engine read whose site is in shadow: nothing of that may be told.
    """

    site: Site
    box: Box | None = None
    region_score: float = 0.0
    is_in_use: bool = True
