"""Notices for the administrator of a peer, counted in memory and written together: a flood costs no commit each.

The table keeps at most `MOST` rows of a subject, so that strangers displace no notice about a listed peer.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, delete, func, select
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.domain.notice import Notice, Subject

from .database import upsert
from .tables import notices

MOST = 200
"""Rows of one subject that are kept; also its different notices that are counted between two writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedNotice:
    """A notice, how often it came, and when it came first and last."""

    notice_id: int
    notice: Notice
    times: int
    first_at: datetime
    last_at: datetime


class Notebook:
    """Counts notices until they are written; any thread may `note`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[Notice, tuple[int, datetime]] = {}

    def note(self, notice: Notice) -> None:
        """Count a notice; drop it if `MOST` other notices of its subject wait to be written."""
        with self._lock:
            times, _ = self._times.get(notice, (0, None))
            if times or sum(n.subject is notice.subject for n in self._times) < MOST:
                self._times[notice] = times + 1, now()

    def write(self, engine: Engine) -> None:
        """Commit the notices counted since the last write: repeats count up, and the oldest of a subject make room.

        Notices that the database does not take are kept for the next write.
        """
        with self._lock:
            noted, self._times = self._times, {}
        if not noted:
            return
        try:
            _commit(engine, noted)
        except SQLAlchemyError:
            with self._lock:
                for notice, (times, at) in noted.items():
                    more, later = self._times.get(notice, (0, at))
                    self._times[notice] = times + more, later
            raise


def all_notices(c: Connection) -> list[CountedNotice]:
    """Return every notice in the table."""
    return _counted(c, select(notices))


def newest_notices(c: Connection, subject: Subject, most: int) -> list[CountedNotice]:
    """Return up to `most` notices of one subject, newest first."""
    query = select(notices).where(notices.c.subject == subject)
    return _counted(c, query.order_by(notices.c.turn.desc()).limit(most))


def _counted(c: Connection, query: Select[Any]) -> list[CountedNotice]:
    return [_counted_notice(row) for row in c.execute(query)]


def _counted_notice(row: Row[Any]) -> CountedNotice:
    notice = Notice(
        subject=row.subject,
        code=row.code,
        reason=row.reason,
        calling_ae_title=row.calling_ae_title,
        called_ae_title=row.called_ae_title,
        address=row.address,
    )
    return CountedNotice(notice_id=row.id, notice=notice, times=row.times, first_at=row.first_at, last_at=row.last_at)


def _commit(engine: Engine, noted: dict[Notice, tuple[int, datetime]]) -> None:
    with engine.begin() as c:
        newest_turn = c.execute(select(func.max(notices.c.turn))).scalar() or 0
        for turn, (notice, (times, at)) in enumerate(noted.items(), newest_turn + 1):
            row = asdict(notice) | {"times": times, "turn": turn, "first_at": at, "last_at": at}
            key = ("code", "reason", "calling_ae_title", "called_ae_title", "address")
            # the subject too: a stranger may be listed by now
            repeated = {"times": notices.c.times + times, "turn": turn, "last_at": at, "subject": notice.subject}
            upsert(c, notices, row, key=key, on_conflict=repeated)
        for subject in Subject:
            of_it = notices.c.subject == subject
            newest = select(notices.c.id).where(of_it).order_by(notices.c.turn.desc())
            c.execute(delete(notices).where(of_it, notices.c.id.not_in(newest.limit(MOST))))
