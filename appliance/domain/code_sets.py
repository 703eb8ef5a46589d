"""Sets of reason codes that steer deliveries and analyses."""

from __future__ import annotations

from typing import Final

from .reason import ReasonCode

SPOOL_LOST: Final = frozenset(
    {
        ReasonCode.SPOOL_DAMAGED,
        ReasonCode.SPOOL_FAILED,
        ReasonCode.SPOOL_MISSING,
        ReasonCode.SPOOL_UNREADABLE,
    }
)
"""Codes of an analysis that lacks its bytes; the same bytes, received again, queue it again."""

STORED: Final = frozenset({ReasonCode.DELIVERED, ReasonCode.DELIVERED_OTHERWISE, ReasonCode.ALREADY_THERE})
"""Codes of a delivery that the peer has stored. While the delivery waits for its proof they are no errors."""

NEVER_SENT: Final = frozenset(
    {
        ReasonCode.UNREACHABLE,
        ReasonCode.ASSOCIATION_REJECTED,
        ReasonCode.NO_FIND,
        ReasonCode.DICOMWEB_CREDENTIALS,
        ReasonCode.STUDY_NOT_THERE,
        ReasonCode.IDENTITY_CHANGED,
        ReasonCode.NEVER_MADE,
    }
)
"""Codes of an attempt that ended before anything was sent."""

OWN_FAILURES: Final = frozenset(
    {
        ReasonCode.STUDY_NOT_THERE,
        ReasonCode.NOT_FOUND,
        ReasonCode.NOT_COMMITTED,
        ReasonCode.SPOOL_FAILED,
        ReasonCode.SPOOL_UNREADABLE,
    }
)
"""Codes of an attempt that failed although the peer works: other deliveries to it may well succeed."""

ASKED_TO_WAIT: Final = frozenset({ReasonCode.DICOMWEB_ASKED_TO_WAIT, ReasonCode.FHIR_ASKED_TO_WAIT})
"""Codes of a peer that answers, and takes nothing for a while: perhaps because of the one artefact that it got."""

REFUSED: Final = frozenset({ReasonCode.STORE_REJECTED, ReasonCode.MLLP_REFUSED, ReasonCode.NOT_DICOM})
"""Codes of an attempt that ended with a refusal: by the peer, or by us before sending."""

TAKEN_BACK: Final = frozenset({ReasonCode.WITHDRAWN, ReasonCode.REJECTED_AS_OLD})
"""Codes of a delivery that a later artefact revokes at its peer."""

REPLACED: Final = frozenset({ReasonCode.NOT_TAKEN, ReasonCode.REROUTED})
"""Codes of a dropped delivery with a substitute: another artefact, or another destination."""

SUBSTITUTED: Final = frozenset({ReasonCode.DELIVERED_OTHERWISE, ReasonCode.NOT_TAKEN})
"""Codes of a delivery that the peer did not take in its best form."""
