"""The Storage SCP in the test's process, on a real spool and a real database."""

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
from appliance.storage.trials import TrialStore


class Receiving:
    """One receiver in `folder`; `config` are keys of ``[receive]``.

    Attributes
    ----------
    record_instance
        Commits an instance; a test may replace it.
    own_objects
        SOP Instance UIDs that count as made by Osteon, beside those of the database.
    notices, commitment_results
        Everything that the receiver recorded.
    """

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder = folder
        self.engine = open_database(f"sqlite:///{folder / 'osteon.db'}")
        self.spool = FileSpool(folder / "spool")
        self.notices: list[Notice] = []
        self.own_objects: set[str] = set()
        self.commitment_results: list[CommitmentResult] = []
        threads_before = set(threading.enumerate())
        self.record_instance: Callable[..., bool] = partial(keep_instance, self.engine)
        self.receiver = Receiver(
            Receive(**{"port": 0, "reserve_mb": 0} | config),
            self.spool,
            record_instance=lambda received: self.record_instance(received),  # noqa: PLW0108  a test may replace `keep`
            is_own_object=lambda uid: uid in self.own_objects or is_own_artefact(self.engine, uid),
            note=self.notices.append,
            record_commitment=self._record_commitment,
            trials=TrialStore(self.engine, folder / "trials"),
        )
        self._permanent_threads = {*threads_before, *(t for t in threading.enumerate() if t.name == "listener")}
        self.port = getattr(self.receiver, "port", 0)

    def _record_commitment(self, result: CommitmentResult) -> int:
        self.commitment_results.append(result)
        return len(result.committed)

    def close(self) -> None:
        """Stop the receiver, and close the database."""
        self.receiver.close()
        self.engine.dispose()

    @property
    def recorded(self) -> list[str]:
        """SOP Instance UIDs in the database."""
        with self.engine.connect() as c:
            return list(c.execute(select(instances.c.sop_instance_uid).order_by(instances.c.id)).scalars())

    @property
    def files(self) -> list[Path]:
        """Every file in the spool."""
        return [p for p in (self.folder / "spool").rglob("*") if p.is_file()]

    @property
    def is_quiet(self) -> bool:
        """Whether every connection has released its thread, its slot and its incomplete file."""
        slots = self.receiver.slots
        threads = set(threading.enumerate()) - self._permanent_threads
        incomplete = list((self.folder / "spool/incoming").iterdir())
        return not (slots.associations or slots.connections or threads or incomplete)


def descriptors() -> int:
    """Return the number of open files and sockets of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))
