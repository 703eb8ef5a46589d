"""The status role: serves the page, sends alarms, and writes sign-ins and the actions of operators."""

from __future__ import annotations

import logging
import math
import time
from functools import partial
from importlib.metadata import version

from sqlalchemy import Engine

from appliance.config import Configuration
from appliance.domain.audit import Intervention
from appliance.domain.codes import Concept
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault
from appliance.service.pipeline_assembly import pack_of
from appliance.service.reading_room import ReadingRoom
from appliance.status.alarms.channels import channels_of
from appliance.status.alarms.watch import AlarmWatch
from appliance.status.app import create_app
from appliance.status.facts import KEEP_SITES_S
from appliance.status.server import PageServer
from appliance.storage.database import readers
from appliance.storage.drift import advance_drift
from appliance.storage.wakeups import Bell
from engines.pack import Pack

DRIFT_EVERY_S = 60.0
"""Interval at which live sites are looked at for full windows."""

KEEP_S = 1.0
"""Time for which readiness and metrics are kept."""


log = logging.getLogger(__name__)


class StatusRole:
    """Runs the Flask application under waitress."""

    name = "status"
    rest_s = math.inf

    def __init__(self, config: Configuration, engine: Engine) -> None:
        self.bell = Bell()
        self._engine = engine
        self._compared_at = -DRIFT_EVERY_S
        pack: Pack | str
        try:
            pack = pack_of(config)
        except Fault as fault:  # people look for the reason on the page
            pack = fault.reason
        self._reading_room = ReadingRoom(config.spool_dir, config.analyse.windows)
        app = create_app(
            readers(engine),
            config,
            pack,
            version("osteon"),
            writer=engine,
            withdraw=partial(_withdraw, config, engine),
            look=self._reading_room.look,
            keep_s=KEEP_S,
            keep_sites_s=KEEP_SITES_S,
        )
        try:
            self._server = PageServer(app, config.status.host, config.status.port)
        except (OSError, ValueError) as error:  # waitress raises ValueError for a host that cannot be resolved
            why = error.strerror if isinstance(error, OSError) else "the host is not known"
            reason = f"cannot listen on {config.status.host}:{config.status.port}: {why}; see status.host, status.port"
            raise Fault(ReasonCode.CANNOT_LISTEN, reason) from error
        self._alarms = AlarmWatch(engine, config, channels_of(config.alarms))
        self._alarms.start()
        self._address = f"http://{config.status.host}:{self._server.port}"

    def step(self) -> bool:
        """Compare full windows of live sites now and then; waitress serves on its own threads."""
        if time.monotonic() - self._compared_at >= DRIFT_EVERY_S:
            self._compared_at = time.monotonic()
            for window in advance_drift(self._engine):
                log.info("%s: %d radiographs compared, drift: %s", window.site, window.size, window.drifting or "none")
        return False

    def detail(self) -> str:
        """Return the address of the page."""
        return f"page at {self._address}"

    def close(self) -> None:
        """Stop serving and sending."""
        self._alarms.close()
        self._server.close()
        self._reading_room.close()


def _withdraw(config: Configuration, engine: Engine, uid: str, by: Intervention, title: Concept) -> None:
    """Withdraw the answers of a study; the modules that make revocations are loaded at the first withdrawal."""
    from appliance.service.withdrawal import withdraw

    withdraw(config, engine, uid, by, title)
