"""The whole file as one record."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, field_validator, model_validator

from .alarms import Alarms
from .analyse import Analyse, Study
from .destinations import DestinationConfig
from .receive import Receive
from .rollout import Rollout
from .section import AbsolutePath, Section
from .status import Retention, Status

DATABASES = "postgresql://USER@HOST/DATABASE, or sqlite:////FOLDER/FILE"
"""The forms of ``database_url``."""

DRIVERS = ("postgresql", "postgresql+pg8000", "sqlite", "sqlite+pysqlite")
"""Databases and drivers for which the schema is made."""


class Configuration(Section):
    """All settings, with the folders that follow from them."""

    state_dir: AbsolutePath = Field(Path("/var/lib/osteon"), description="Database and spool")
    database_url: str | None = Field(None, repr=False, description="SQLAlchemy URL; default: SQLite in state_dir")
    receive: Receive = Receive()
    analyse: Analyse = Analyse()
    study: Study = Study()
    rollout: Rollout = Rollout()
    destinations: tuple[DestinationConfig, ...] = ()
    status: Status = Status()
    retention: Retention = Retention()
    alarms: Alarms = Alarms()

    @field_validator("database_url")
    @classmethod
    def _check_database_url(cls, given: str | None) -> str | None:
        if given is None:
            return None
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            url = make_url(given)
            port = url.port or 0
        except (ArgumentError, ValueError):  # neither shows the text: it may hold a password
            raise ValueError(f"is no database: write {DATABASES}") from None
        if url.drivername not in DRIVERS or not url.database or not 0 <= port <= 65535:
            raise ValueError(f"{url.drivername!r} with this host and name is no database for Osteon: write {DATABASES}")
        if url.get_backend_name() == "sqlite" and not url.database.startswith("/"):
            raise ValueError("an SQLite file needs its whole path, after four slashes: every role opens the same file")
        if url.drivername == "postgresql":  # SQLAlchemy would take psycopg2
            return given.replace(url.drivername, "postgresql+pg8000", 1)
        return given

    @model_validator(mode="after")
    def _require_unique_names(self) -> Configuration:
        names = [d.name for d in self.destinations]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"destinations have the same name: {', '.join(twice)}: give each its own")
        return self

    @model_validator(mode="after")
    def _require_different_ports(self) -> Configuration:
        receive = self.receive
        ports = {"status.port": self.status.port}
        if receive.plain:
            ports["receive.port"] = receive.port
        if receive.tls:
            ports["receive.tls.port"] = receive.tls.port
        if receive.hl7:
            ports["receive.hl7.port"] = receive.hl7.port
        for port in {p for p in ports.values() if p}:
            if len(same := sorted(key for key, value in ports.items() if value == port)) > 1:
                raise ValueError(f"{' and '.join(same)} are both {port}: give each listener its own port")
        return self

    @property
    def database(self) -> str:
        """SQLAlchemy URL of the database."""
        return self.database_url or f"sqlite:///{self.state_dir / 'osteon.db'}"

    @property
    def packs_dir(self) -> Path:
        """Folder of the installed packs."""
        return self.state_dir / "packs"

    @property
    def plans_dir(self) -> Path:
        """Folder of TensorRT's plans: it may be deleted, the plans are built again."""
        return self.state_dir / "plans"

    @property
    def spool_dir(self) -> Path:
        """Folder of the spool."""
        return self.state_dir / "spool"

    @property
    def trials_dir(self) -> Path:
        """Folder of trials, which live for minutes; see `appliance.storage.trials`."""
        return self.state_dir / "trials"
