"""Errors of Osteon: three classes decide what happens after a failure; any other exception is a bug.

A message names the failure and the remedy. It is shown on the status page and written to the log, so it never
holds a patient's data.
"""

from __future__ import annotations

from pathlib import Path

from appliance.domain.reason import ReasonCode
from appliance.domain.sentence import Sentence


class OsteonError(Exception):
    """Base class of the errors that `service.error_policy` decides on.

    Parameters
    ----------
    code
        Stable code, used in metrics and filters.
    reason
        One sentence for a person, without patients' data; a `Sentence` where it may reach an output.

    Attributes
    ----------
    sentence
        The reason as a sentence.
    """

    def __init__(self, code: ReasonCode, reason: str | Sentence) -> None:
        super().__init__(f"{reason} [{code}]")
        self.code = code
        self.sentence = Sentence(template=reason) if isinstance(reason, str) else reason
        self.reason = str(reason)

    def __reduce__(self) -> tuple[type[OsteonError], tuple[ReasonCode, Sentence]]:
        return type(self), (self.code, self.sentence)  # errors are pickled on their way from a child process


class Rejected(OsteonError):
    """Never retry: the input is not for us, or the peer refused the object for good."""


class Refused(Rejected):
    """The peer refuses an artefact, which is at fault if the peer takes others meanwhile; else the peer may be."""


class Transient(OsteonError):
    """Back off and retry: a peer is away, a disk is full, a lock is held."""


class Killed(Transient):
    """Back off and retry: a child process of ours was ended from outside, or had no processor in time.

    The work is not to blame, unless it happens again and again.
    """


class Away(Transient):
    """The peer itself is not reachable: other deliveries to it wait until it is.

    Parameters
    ----------
    wait_s
        Seconds that the peer asked us to wait; 0 if it did not.
    was_sent
        Whether the request may have reached the peer, so that it may have acted on it.
    """

    def __init__(
        self, code: ReasonCode, reason: str | Sentence, wait_s: float = 0.0, *, was_sent: bool = False
    ) -> None:
        super().__init__(code, reason)
        self.wait_s = wait_s
        self.was_sent = was_sent


class Fault(OsteonError):
    """Stop the role: systemd restarts it and the lease gives the job back."""


class ConfigurationError(Fault):
    """All problems of the file, one line each."""

    def __init__(self, path: Path | None, problems: list[str]) -> None:
        self.problems = problems
        where = f"{path}: " if path else ""
        super().__init__(ReasonCode.CONFIGURATION, where + "; ".join(problems))
