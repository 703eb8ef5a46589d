"""What a peer's administrator asks about: associations that were rejected, instances that were not for us.

Counted in memory and written together, so that a flood of them costs no commit each; the table never grows beyond
`MOST` rows.
"""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Engine, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from .database import now
from .tables import notices

MOST = 200
"""Rows that are kept, and different notices that are counted between two writes."""


class Subject(StrEnum):
    """What was turned away."""

    ASSOCIATION = "association"
    INSTANCE = "instance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that was turned away, and why.

    Attributes
    ----------
    code
        Stable snake_case name.
    reason
        One sentence for a person, without any patient's data.
    """

    subject: Subject
    code: str
    reason: str
    calling_ae_title: str
    called_ae_title: str
    address: str


class Notebook:
    """Notices since they were last written; any thread may `note`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[Notice, tuple[int, datetime]] = {}

    def note(self, notice: Notice) -> None:
        """Count a notice; of more than `MOST` different ones at a time the rest is dropped."""
        with self._lock:
            times, _ = self._times.get(notice, (0, None))
            if times or len(self._times) < MOST:
                self._times[notice] = times + 1, now()

    def write(self, engine: Engine) -> None:
        """Commit what was noted; the same notice again counts up, and the oldest make room."""
        with self._lock:
            noted, self._times = self._times, {}
        if not noted:
            return
        with engine.begin() as c:
            for notice, (times, at) in noted.items():
                row = asdict(notice) | {"times": times, "first_at": at, "last_at": at}
                upsert = (sqlite if engine.dialect.name == "sqlite" else postgresql).insert(notices).values(row)
                key = ("code", "reason", "calling_ae_title", "called_ae_title", "address")
                again = {"times": notices.c.times + times, "last_at": at}
                c.execute(upsert.on_conflict_do_update(index_elements=list(key), set_=again))
            newest = select(notices.c.id).order_by(notices.c.last_at.desc(), notices.c.id.desc()).limit(MOST)
            c.execute(delete(notices).where(notices.c.id.not_in(newest)))
