"""The composition root: a role by its name, started on its database.

Each role's module knows the concrete classes that it needs, and is imported by the process that runs it alone.
"""

from __future__ import annotations

from importlib import import_module

from sqlalchemy import Engine

from appliance.config import Configuration
from appliance.storage.database import open_database

from .worker import Role

ROLES = {"receive": "ReceiveRole", "analyse": "AnalyseRole", "deliver": "DeliverRole", "status": "StatusRole"}


def role_of(name: str, config: Configuration) -> tuple[Role, Engine]:
    """The role of that name, ready to run, and the database that it works on.

    Raises
    ------
    Fault
        If it cannot start: a port in use, a pack that cannot be trusted, a database that cannot be opened.
    """
    engine = open_database(config.database)
    role: Role = getattr(import_module(f".{name}", __package__), ROLES[name])(config, engine)
    return role, engine
