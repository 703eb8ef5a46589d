"""Start of a role by its name, with its database: the composition root of the product."""

from __future__ import annotations

import contextlib
import logging

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from appliance.config import Configuration
from appliance.errors import Fault
from appliance.service.worker import Role, failure_recorded
from appliance.storage.database import open_database, unopened_database
from appliance.storage.heartbeats import record_start

log = logging.getLogger(__name__)


def start_role(name: str, config: Configuration) -> tuple[Role, Engine]:
    """Start the role `name`; return it with its database.

    The module of a role is imported only here, in its own process: each loads libraries that the others do not need.

    Raises
    ------
    Fault
        If the role cannot start: a port in use, a pack that cannot be trusted, a database that cannot be opened.
    ValueError
        If there is no such role.
    """
    try:
        engine = open_database(config.database)
    except Fault as fault:
        if name != "status":
            raise
        log.error("%s", fault)
        engine = unopened_database(config.database)  # the page tells the reason, and recovers with the database
        return _role(name, config, engine), engine
    with failure_recorded(engine, name):
        with contextlib.suppress(SQLAlchemyError):
            record_start(engine, name)
        return _role(name, config, engine), engine


def _role(name: str, config: Configuration, engine: Engine) -> Role:
    match name:
        case "receive":
            from .receive import ReceiveRole

            return ReceiveRole(config, engine)
        case "analyse":
            from .analyse import AnalyseRole

            return AnalyseRole(config, engine)
        case "deliver":
            from .deliver import DeliverRole

            return DeliverRole(config, engine)
        case "status":
            from .status import StatusRole

            return StatusRole(config, engine)
        case _:
            raise ValueError(name)
