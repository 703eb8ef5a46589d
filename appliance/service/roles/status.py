"""The status role: serves the page, reads, and never holds a write lock."""

from __future__ import annotations

import threading
from importlib.metadata import version

from sqlalchemy import Engine
from waitress.server import create_server

from appliance.config import Configuration
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault
from appliance.service.pipeline_assembly import pack_of
from appliance.status.app import create_app
from appliance.storage.database import readers
from engines.pack import Pack


class StatusRole:
    """Flask under waitress."""

    name = "status"
    idle_s = 1.0

    def __init__(self, config: Configuration, engine: Engine) -> None:
        pack: Pack | str
        try:
            pack = pack_of(config)
        except Fault as fault:  # the page is where one looks for the reason
            pack = fault.reason
        app = create_app(readers(engine), config, pack, version("osteon"))
        try:
            self._server = create_server(app, host=config.status.host, port=config.status.port, threads=4, ident=None)
        except (OSError, ValueError) as error:  # the latter of a host that cannot be resolved
            why = error.strerror if isinstance(error, OSError) else "the host is not known"
            where = f"{config.status.host}:{config.status.port}"
            raise Fault(
                ReasonCode.CANNOT_LISTEN, f"cannot listen on {where}: {why}; see status.host, status.port"
            ) from error
        self._address = f"http://{config.status.host}:{self._server.effective_port}"
        threading.Thread(target=self._server.run, name="waitress", daemon=True).start()

    def step(self) -> bool:
        return False

    def detail(self) -> str:
        return f"page at {self._address}"

    def close(self) -> None:
        self._server.close()
