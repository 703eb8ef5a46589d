"""Error policy of the roles that lease jobs: the kind of an exception decides the next step of the job.

| exception | the job | the role |
|---|---|---|
| `SpoolDamaged` | is parked for a person: its bytes are lost | goes on |
| `Rejected` | is declined or parked, as the role asks | goes on |
| `Transient` | backs off and is tried again, without limit; the attempt does not count | goes on |
| `Killed` | the same, but after `MOST_DELAYS` of them the attempt counts: it may be to blame | goes on |
| `RunnerError`, `KernelError` | stays leased; the lease gives it back | stops with a `Fault` |
| `IntegrityError`, `DataError` | backs off and is tried again; is parked after its last attempt | goes on |
| `Fault`, other `SQLAlchemyError` | stays leased; the queue takes it back | stops or pauses: `worker` decides |
| any other | backs off and is tried again; is parked after its last attempt | goes on |
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from appliance.domain.job import Event, Lease
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault, Killed, OsteonError, Rejected, Transient
from appliance.storage.queue import Queue
from appliance.storage.spool import SpoolDamaged
from engines.runner import RunnerError
from kernels.operations import KernelError

from .unexpected_error import log_unexpected

log = logging.getLogger(__name__)


class Action(StrEnum):
    """Next step of a job that failed.

    `DECLINE` ends it without an answer: the input is not for us. `PARK` keeps it for a person. `BACK_OFF` tries it
    again later. `RETRY` does so as well, until its attempts are spent; then it is parked.
    """

    DECLINE = "decline"
    PARK = "park"
    BACK_OFF = "back_off"
    RETRY = "retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Next step of a job that failed, with the error that is recorded for it."""

    action: Action
    error: OsteonError


def decide(error: Exception, work: str, *, rejected: Action = Action.PARK) -> Decision:
    """Decide the next step of a job after `error`.

    Parameters
    ----------
    work
        Name of the job in the log, for example ``analysis 17``.
    rejected
        Action for a `Rejected` input.

    Raises
    ------
    Fault, SQLAlchemyError
        If the role cannot go on: of the database's errors those that do not concern the job.
    """
    match error:
        case SpoolDamaged():
            return Decision(action=Action.PARK, error=error)
        case Rejected():
            return Decision(action=rejected, error=error)
        case Transient():
            return Decision(action=Action.BACK_OFF, error=error)
        case RunnerError() | KernelError():
            raise Fault(ReasonCode.ENGINE_FAILED, str(error)) from error
        case IntegrityError() | DataError():  # the outcome of this job cannot be written, however often it is tried
            return Decision(action=Action.RETRY, error=log_unexpected(error, work))
        case Fault() | SQLAlchemyError():
            raise error
        case OsteonError():  # an unexpected error in a child process, which has logged it, or its end
            return Decision(action=Action.RETRY, error=error)
        case _:
            return Decision(action=Action.RETRY, error=log_unexpected(error, work))


@contextmanager
def settling_failures(queue: Queue, lease: Lease, work: str, *, rejected: Action) -> Iterator[None]:
    """Run a block for the job of `lease`; if the block raises, settle the job as `decide` says."""
    try:
        yield
        return
    except Exception as error:  # noqa: BLE001  `decide` raises those at which the role has to stop
        decision = decide(error, work, rejected=rejected)
    _settle(queue, lease, work, decision)


def _settle(queue: Queue, lease: Lease, work: str, decision: Decision) -> None:
    error = decision.error
    match decision.action:
        case Action.DECLINE:
            _decline(queue, lease, work, error)
        case Action.PARK:
            log.error("%s is parked: %s", work, error)
            queue.failed(lease, error, for_good=True)
        case Action.BACK_OFF:
            log.warning("%s waits: %s", work, error)
            queue.put_off(lease, error, blames_it_at_last=isinstance(error, Killed))
        case Action.RETRY:
            queue.failed(lease, error, for_good=queue.is_last(lease))


def _decline(queue: Queue, lease: Lease, work: str, error: OsteonError) -> None:
    log.info("%s ends without an answer: %s", work, error)
    try:
        with queue.ending(lease, Event.DECLINE, error.code, error.reason):
            pass
    except Transient as lost:  # another process has the job by now
        log.warning("%s is not declined: %s", work, lost)
