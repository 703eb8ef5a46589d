"""The receive role: owns every listener; its connections have threads of their own."""

from __future__ import annotations

from functools import partial

from sqlalchemy import Engine

from appliance.config import Configuration
from appliance.dicom.receiver import Receiver
from appliance.storage.ledger import keep_instance
from appliance.storage.spool import FileSpool


class ReceiveRole:
    """The Storage SCP under the worker loop."""

    name = "receive"
    idle_s = 1.0

    def __init__(self, config: Configuration, engine: Engine) -> None:
        self._config = config.receive
        spool = FileSpool(config.spool_dir)
        spool.sweep()
        self._receiver = Receiver(config.receive, spool.put, partial(keep_instance, engine), config.spool_dir)

    def step(self) -> bool:
        return False

    def detail(self) -> str:
        return (
            f"{self._config.ae_title} listens on {self._config.host}:{self._receiver.port}, "
            f"{self._receiver.received} received since start"
        )

    def close(self) -> None:
        self._receiver.close()
