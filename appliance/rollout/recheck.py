"""Comparison of recorded answers with those that changed software or hardware gives to the same radiographs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from appliance.domain.finding import Finding
from appliance.domain.result import Provenance, Result

TOLERANCE: Final = 0.01
"""Largest difference of a probability. Classifiers in float16 differ from float32 by 0.0022 at worst on 1,084 regions
(docs/models.md, In float16)."""

KEPT: Final = 50
"""Number of kept radiographs that are compared, the newest ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Software and hardware that a pack computes with: device, driver, runtime and precision are in `compute`."""

    software_version: str
    compute: str
    pack_digest: str

    @classmethod
    def of(cls, provenance: Provenance) -> Surroundings:
        """Return the surroundings that `provenance` names."""
        return cls(
            software_version=provenance.software_version,
            compute=provenance.compute,
            pack_digest=provenance.pack_digest,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Outcome of a comparison.

    Attributes
    ----------
    compared
        Number of radiographs that were analysed again.
    unreadable
        Number of kept radiographs that could not be read, and are not compared.
    differing
        Number of the compared radiographs whose answer or verdicts are others, or that cannot be analysed any more.
    largest_difference
        Largest difference of a probability of those with the same verdicts.
    was_completed
        Whether the comparison came to its end.
    has_predecessor
        Whether other software or hardware has computed here before.
    """

    compared: int = 0
    unreadable: int = 0
    differing: int = 0
    largest_difference: float = 0.0
    was_completed: bool = True
    has_predecessor: bool = False

    @property
    def is_within(self) -> bool:
        """Whether the answers are the same within the tolerance; at a first start none need be kept."""
        shows_nothing = self.compared == 0 and (self.unreadable > 0 or self.has_predecessor)
        is_same = self.differing == 0 and self.largest_difference <= TOLERANCE
        return is_same and self.was_completed and not shows_nothing

    @property
    def sentence(self) -> str:
        """The outcome in words."""
        if not self.was_completed:
            return "the role ended each time that kept radiographs were analysed again"
        if not self.compared and not self.unreadable:
            return "no radiograph was kept to compare; the networks reproduce their golden outputs"
        words = f"{self.compared} kept radiographs analysed again: {self.differing} with other verdicts, probabilities"
        words += f" of the others off by at most {self.largest_difference:.4f} (tolerance {TOLERANCE})"
        return f"{words}; {self.unreadable} could not be read" if self.unreadable else words


def compare(pairs: Iterable[tuple[Result, Result | None]], *, unreadable: int = 0) -> Comparison:
    """Compare recorded results with those of the same radiographs now.

    Parameters
    ----------
    pairs
        Recorded and new result; None where the radiograph cannot be analysed any more.
    """
    differences = [None if again is None else _difference(recorded, again) for recorded, again in pairs]
    return Comparison(
        compared=len(differences),
        unreadable=unreadable,
        differing=differences.count(None),
        largest_difference=max((d for d in differences if d is not None), default=0.0),
    )


def _difference(recorded: Result, again: Result) -> float | None:
    """Return the largest difference of a probability; None if answer, reasons or verdicts differ."""
    before, after = (sorted(result.findings, key=_place) for result in (recorded, again))
    if recorded.answer != again.answer or [_verdict(f) for f in before] != [_verdict(f) for f in after]:
        return None
    return max((abs(b.probability - a.probability) for b, a in zip(before, after, strict=True)), default=0.0)


def _place(finding: Finding) -> tuple[str, str, float, float]:
    return finding.site, finding.laterality, finding.box.x0, finding.box.y0


def _verdict(finding: Finding) -> tuple[str, str, str]:
    return finding.site, finding.laterality, finding.verdict
