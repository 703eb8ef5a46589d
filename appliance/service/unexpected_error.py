"""Unexpected exceptions: their texts may hold patients' data, so only type and place are logged and recorded."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

from appliance.domain.reason import ReasonCode
from appliance.errors import OsteonError
from engines.runner import RunnerError
from kernels.operations import KernelError

log = logging.getLogger(__name__)


def log_unexpected(error: Exception, work: str) -> OsteonError:
    """Log type and place of an exception during `work`, and return it as an error with the code ``bug``."""
    log.error("%s failed: %s", work, " < ".join(_described(error)))
    return OsteonError(ReasonCode.BUG, f"{_described(error)[0]}: report it, with the software version")


def without_patients_data(error: Exception) -> str:
    """Return the message of an error of Osteon itself; of any other exception the type and the place."""
    if isinstance(error, (OsteonError, RunnerError, KernelError)):
        return str(error)
    return _described(error)[0]


def _described(error: Exception) -> list[str]:
    """Return type and place of `error`, then the places that it came through, innermost first."""
    frames = reversed(traceback.extract_tb(error.__traceback__))
    innermost, *outer = [f"{Path(f.filename).name}:{f.lineno}" for f in frames]
    return [f"{type(error).__name__} at {innermost}", *outer]
