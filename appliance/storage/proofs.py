"""Proof that a PACS has an artefact: how its outcome is written to a delivery."""

from __future__ import annotations

from typing import Any, Final

from appliance.clock import now
from appliance.domain.job import Backoff
from appliance.domain.reason import ReasonCode

from .deliveries import Delivery

UNSENT: Final[dict[str, Any]] = {"stored_at": None, "unanswered_at": None, "proven_at": None, "transaction_uid": ""}
"""Columns of a delivery that is to be sent, again or for the first time."""

UNREFUSED: Final[dict[str, Any]] = {"refusals": 0, "refused_since": None, "refused_in": None}
"""Columns of a delivery that the peer has not refused, or may refuse afresh."""

MOST_REFUTED: Final = 5
"""A PACS may lack an artefact so often although it stored it; then the delivery is parked for a person."""


def proven_outcome(delivery: Delivery, how: str) -> tuple[ReasonCode, str]:
    """Return code and reason of a delivery that the PACS vouches for; a form other than the best stays on record."""
    if delivery.code is ReasonCode.DELIVERED_OTHERWISE:
        return ReasonCode.DELIVERED_OTHERWISE, f"{delivery.reason}; {how}"
    return ReasonCode.IN_PACS, how


def refuted_columns(delivery: Delivery) -> dict[str, Any]:
    """Return the columns of an artefact that the PACS lacks once more; each wait is four times as long as the last."""
    refuted = delivery.refuted + 1
    return UNSENT | {"refuted": refuted, "not_before": Backoff().after(2 * refuted, now())}
