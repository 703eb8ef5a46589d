"""Trials: jobs with a lease as all others, in a table and a folder of their own, that end with everything they hold.

No other table refers to a trial, and no query of studies, deliveries, figures or recovery reads this one. A trial has
no identity: its name is opaque, and result and picture are files that go with it.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, or_, select, update

from appliance.clock import now
from appliance.domain.job import ENDED, Lease, State
from appliance.domain.reason import ReasonCode
from appliance.domain.trial import MOST_TRIALS, TRIAL_S
from appliance.errors import OsteonError, Transient

from .database import readers
from .queue import Queue
from .spool import FOLDERS, FileSpool, Incoming
from .tables import analyses, trials
from .transitions import add_job

STEPPED_S = 60.0
"""A trial that seems to come from the future by more was made before the clock was set back, and is removed."""

ANSWERED = (*ENDED, State.PARKED)
"""States in which the file of a trial is not needed any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial.

    Attributes
    ----------
    result_digest, picture_digest
        Files with the result as JSON and its picture as PNG; empty before there is an answer.
    """

    trial_id: int
    state: State
    code: ReasonCode
    reason: str
    created_at: datetime
    finished_at: datetime | None
    result_digest: str
    picture_digest: str

    @property
    def is_over(self) -> bool:
        """Whether its job ended, with or without a result."""
        return self.state in ANSWERED


class TrialStore:
    """The trials of a database, with their files in `folder`."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder

    @cached_property
    def files(self) -> FileSpool:
        """The files; their folder is made at the first use."""
        return FileSpool(self._folder)

    def incoming(self) -> Incoming:
        """Open the file of a new trial."""
        return self.files.incoming()

    def add(self, name: str, digest: str, owner: str = "") -> None:
        """Queue a trial of a file that was kept; the same name again changes nothing.

        Parameters
        ----------
        owner
            The sign-in that may look at it.

        Raises
        ------
        Transient
            ``too_many_trials``, or ``spool_failed`` if the file was removed with another trial of the same bytes.
        """
        with self._engine.begin() as c:
            if c.execute(select(trials.c.id).where(trials.c.name == name)).first():
                return
            if (c.execute(select(func.count()).select_from(trials)).scalar() or 0) >= MOST_TRIALS:
                reason = f"{MOST_TRIALS} trials are kept already: each is removed after {TRIAL_S // 60} minutes"
                raise Transient(ReasonCode.TOO_MANY_TRIALS, reason)
            if not self.files.has(digest):
                raise Transient(ReasonCode.SPOOL_FAILED, "the file of the trial is not there any more: try it again")
            add_job(c, trials, name=name, owner=owner, digest=digest)

    def find(self, name: str, owner: str = "") -> Trial | None:
        """Return a trial of that owner; None if there is none, or its time is over."""
        t = trials.c
        with readers(self._engine).connect() as c:
            row = c.execute(select(trials).where(t.name == name, t.owner == owner, ~_is_old())).first()
        if row is None:
            return None
        return Trial(
            trial_id=row.id,
            state=row.state,
            code=row.code,
            reason=row.reason,
            created_at=row.created_at,
            finished_at=row.finished_at,
            result_digest=row.result_digest,
            picture_digest=row.picture_digest,
        )

    def radiographs_before(self) -> int:
        """Return the number of radiographs that wait, each of which is analysed before any trial."""
        waits = analyses.c.state.in_([State.QUEUED, State.LEASED])
        with readers(self._engine).connect() as c:
            return c.execute(select(func.count()).select_from(analyses).where(waits)).scalar() or 0

    def remove(self, name: str, owner: str = "") -> None:
        """Remove a trial with its files, whatever its state."""
        self._remove((trials.c.name == name) & (trials.c.owner == owner))

    def remove_of(self, owner: str) -> None:
        """Remove every trial of a sign-in."""
        self._remove(trials.c.owner == owner)

    def prune(self) -> None:
        """Remove trials whose time is over, and files that writers left behind, also those that died."""
        self._remove(_is_old())
        self.remove_uploads()
        self.files.sweep(TRIAL_S)
        for folder in range(FOLDERS):
            if found := self.files.written(folder, TRIAL_S, float("inf")):
                with self._engine.begin() as c:
                    self._remove_files(c, found)

    def remove_uploads(self) -> None:
        """Remove the files of trials that have an answer, or will get none."""
        t = trials.c
        done = select(t.id, t.digest).where(t.digest != "", t.state.in_(ANSWERED))
        with readers(self._engine).connect() as c:
            if c.execute(done.limit(1)).first() is None:
                return
        with self._engine.begin() as c:
            rows = c.execute(done).all()
            c.execute(update(trials).where(t.id.in_([row.id for row in rows])).values(digest=""))
            self._remove_files(c, {row.digest for row in rows})

    def _remove(self, where: ColumnElement[bool]) -> None:
        t = trials.c
        of_them = select(t.id, t.digest, t.result_digest, t.picture_digest).where(where)
        with readers(self._engine).connect() as c:
            if c.execute(of_them.limit(1)).first() is None:
                return
        with self._engine.begin() as c:
            rows = c.execute(of_them).all()
            c.execute(delete(trials).where(t.id.in_([row.id for row in rows])))
            self._remove_files(c, {digest for row in rows for digest in row[1:]})

    def _remove_files(self, c: Connection, digests: Collection[str]) -> None:
        """Remove those of the files that no trial refers to, within a transaction that holds the write lock."""
        t = trials.c
        for digest in set(digests) - {""}:
            claimed = or_(t.digest == digest, t.result_digest == digest, t.picture_digest == digest)
            if c.execute(select(t.id).where(claimed).limit(1)).first() is None:
                self.files.remove(digest)


class TrialQueue(Queue):
    """The trials to analyse; one that ended the role is not tried again, and one that was removed is given up."""

    def __init__(self, engine: Engine, owner: str) -> None:
        super().__init__(engine, trials, owner, most_attempts=1)
        self._counted_as = ""  # no figure counts a trial

    def digest(self, lease: Lease) -> str:
        """Return the digest of the file of a leased trial; raises as `ending`."""
        with readers(self._engine).connect() as c:
            self._require_held(c, lease)
            return str(c.execute(select(trials.c.digest).where(trials.c.id == lease.job_id)).scalar_one())

    def put_off(self, lease: Lease, error: OsteonError, *, blames_it_at_last: bool = False) -> None:
        """Give a trial back to its back-off, unless it was removed; see `Queue.put_off`."""
        with suppress(KeyError):
            super().put_off(lease, error, blames_it_at_last=blames_it_at_last)

    def _is_held(self, c: Connection, lease: Lease) -> bool:
        try:
            return super()._is_held(c, lease)
        except KeyError:  # it was removed
            return False


def record_answer(c: Connection, trial_id: int, *, result_digest: str, picture_digest: str) -> None:
    """Write the digests of result and picture within the transaction that ends a trial."""
    row = update(trials).where(trials.c.id == trial_id)
    c.execute(row.values(result_digest=result_digest, picture_digest=picture_digest))


def _is_old() -> ColumnElement[bool]:
    moment, made = now(), trials.c.created_at
    return or_(made < moment - timedelta(seconds=TRIAL_S), made > moment + timedelta(seconds=STEPPED_S))
