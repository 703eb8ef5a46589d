"""Three classes decide what happens after a failure; everything else is a bug.

A message says what happened and what to do next. It is shown on the status page and written to the log,
so it never carries a patient's data.
"""

from __future__ import annotations

from appliance.domain.reason import ReasonCode


class OsteonError(Exception):
    """Base of the errors that the worker loop decides on.

    Parameters
    ----------
    code
        Stable snake_case name, used in metrics and filters.
    reason
        One sentence for a person, without any patient's data.
    """

    def __init__(self, code: ReasonCode, reason: str) -> None:
        super().__init__(f"{reason} [{code}]")
        self.code = code
        self.reason = reason

    def __reduce__(self) -> tuple[type[OsteonError], tuple[ReasonCode, str]]:
        return type(self), (self.code, self.reason)  # an error may come from another process


class Rejected(OsteonError):
    """Never retry: the input is not for us, or the peer refused the object for good."""


class Transient(OsteonError):
    """Back off and retry: a peer is away, a disk is full, a lock is held."""


class Away(Transient):
    """The peer itself is not there: whatever else is for it need not be tried before it is."""


class Fault(OsteonError):
    """Stop the role: systemd restarts it and the lease gives the job back."""
