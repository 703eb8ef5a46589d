"""What a peer's administrator asks about: associations that were rejected, instances that were not for us.

Counted in memory and written together, so that a flood of them costs no commit each; the table never grows beyond
`MOST` rows a subject, so that strangers push nothing out that a listed peer's administrator looks for.
"""

from __future__ import annotations

import threading
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.domain.notice import Notice, Subject

from .tables import notices

MOST = 200
"""Rows of a subject that are kept, and different notices of it that are counted between two writes."""


class Notebook:
    """Notices since they were last written; any thread may `note`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[Notice, tuple[int, datetime]] = {}

    def note(self, notice: Notice) -> None:
        """Count a notice; of more than `MOST` different ones of a subject at a time the rest is dropped."""
        with self._lock:
            times, _ = self._times.get(notice, (0, None))
            if times or sum(n.subject is notice.subject for n in self._times) < MOST:
                self._times[notice] = times + 1, now()

    def write(self, engine: Engine) -> None:
        """Commit what was noted; the same notice again counts up, and the oldest of its subject make room.

        What the database does not take is kept for the next time.
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


def _commit(engine: Engine, noted: dict[Notice, tuple[int, datetime]]) -> None:
    with engine.begin() as c:
        for notice, (times, at) in noted.items():
            row = asdict(notice) | {"times": times, "first_at": at, "last_at": at}
            upsert = (sqlite if engine.dialect.name == "sqlite" else postgresql).insert(notices).values(row)
            key = ("code", "reason", "calling_ae_title", "called_ae_title", "address")
            # a stranger may be listed by now
            again = {"times": notices.c.times + times, "last_at": at, "subject": notice.subject}
            c.execute(upsert.on_conflict_do_update(index_elements=list(key), set_=again))
        for subject in Subject:
            of_it = notices.c.subject == subject
            newest = select(notices.c.id).where(of_it).order_by(notices.c.last_at.desc(), notices.c.id.desc())
            c.execute(delete(notices).where(of_it, notices.c.id.not_in(newest.limit(MOST))))
