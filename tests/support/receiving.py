"""Our Storage SCP in this process, on a real spool and a real database, with what it leaves behind."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select

from appliance.config import Receive
from appliance.dicom.scp.receiver import Receiver
from appliance.dicom.scu.commitment import CommitmentResult
from appliance.domain.notice import Notice
from appliance.storage.database import open_database
from appliance.storage.deliveries import is_own_artefact
from appliance.storage.instances import keep_instance
from appliance.storage.spool import FileSpool
from appliance.storage.tables import instances


class Receiving:
    """One receiver in `folder`; `config` are keys of ``[receive]``."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.engine = open_database(f"sqlite:///{folder / 'osteon.db'}")
        self.spool = FileSpool(folder / "spool")
        self.notices: list[Notice] = []
        self.answers: set[str] = set()
        self.reports: list[CommitmentResult] = []
        before = set(threading.enumerate())
        self.keep: Callable[..., bool] = partial(keep_instance, self.engine)
        self.receiver = Receiver(
            Receive(**{"port": 0, "reserve_mb": 0} | config),
            self.spool,
            lambda received: self.keep(received),
            lambda uid: uid in self.answers or is_own_artefact(self.engine, uid),
            self.notices.append,
            self._reported,
        )
        self._own = {*before, *(t for t in threading.enumerate() if t.name == "listener")}
        self.port = getattr(self.receiver, "port", 0)

    def _reported(self, report: CommitmentResult) -> int:
        self.reports.append(report)
        return len(report.committed)

    def close(self) -> None:
        """Stop, and let go of everything."""
        self.receiver.close()
        self.engine.dispose()

    @property
    def kept(self) -> list[str]:
        """SOP Instance UIDs in the database."""
        with self.engine.connect() as c:
            return list(c.execute(select(instances.c.sop_instance_uid).order_by(instances.c.id)).scalars())

    @property
    def files(self) -> list[Path]:
        """Every file in the spool."""
        return [p for p in (self.folder / "spool").rglob("*") if p.is_file()]

    @property
    def is_quiet(self) -> bool:
        """Whether no connection has a thread, a place or a half written file any more."""
        slots = self.receiver.slots
        nobody = not slots.associations and not slots.connections
        threads = set(threading.enumerate()) - self._own
        return nobody and not threads and not list((self.folder / "spool/incoming").iterdir())


def descriptors() -> int:
    """Open files and sockets of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))
