"""The phases of a rollout, which decide what leaves the box about a site of anatomy.

Each site has its own phase. A region follows the phase of its site, a radiograph or study the least advanced phase of
the regions that it tells of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from .identifiers import Site


class Phase(StrEnum):
    """The phase of one site, in the order of the rollout."""

    SHADOW = "shadow"
    """Results are computed and kept, and nothing leaves the box."""
    FAMILIARISE = "familiarise"
    """Results leave, marked "under evaluation" and without a flag on the worklist."""
    VALIDATE = "validate"
    """Results leave as in `FAMILIARISE`; radiologists read a sample, the answers about which stay in the box."""
    LIVE = "live"

    @property
    def rank(self) -> int:
        """Rank of progress, from 0."""
        return tuple(Phase).index(self)

    @property
    def leaves(self) -> bool:
        """Whether results of the site leave the box."""
        return self is not Phase.SHADOW

    @property
    def is_evaluation(self) -> bool:
        """Whether results leave, but are marked "under evaluation" and flag nothing."""
        return self in (Phase.FAMILIARISE, Phase.VALIDATE)


def least_advanced(phases: Iterable[Phase]) -> Phase | None:
    """Return the least advanced of `phases`; None of none."""
    return min(phases, key=lambda phase: phase.rank, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePhase:
    """The phase of a site, since when, and by whom.

    Attributes
    ----------
    fingerprint
        Digest of what an answer about the site depends on: its networks, thresholds, calibration and preprocessing.
    is_revoked
        Whether the appliance itself set the site back, so that a person has to look.
    validate_after
        Time of the last step back: by the appliance, or from live by a person. A validation that started before it
        does not make the site live. None without one.
    engine_after
        Id of the newest result that an earlier engine of the site may have made.
    """

    site: Site
    phase: Phase
    fingerprint: str
    since: datetime
    person: str
    reason: str
    is_revoked: bool = False
    validate_after: datetime | None = None
    engine_after: int = 0
