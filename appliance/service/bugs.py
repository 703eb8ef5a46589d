"""An unforeseen exception as a value: its text may hold patients' data, so only its type and place are kept."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

from appliance.domain.reason import ReasonCode
from appliance.errors import OsteonError

log = logging.getLogger(__name__)


def bug(error: Exception, what: str) -> OsteonError:
    """Log the places that `error` came through, and make it an error of the house."""
    places = [f"{Path(f.filename).name}:{f.lineno}" for f in reversed(traceback.extract_tb(error.__traceback__))]
    log.error("%s failed: %s at %s", what, type(error).__name__, " < ".join(places))
    return OsteonError(ReasonCode.BUG, f"{type(error).__name__} at {places[0]}: report it, with the software version")
