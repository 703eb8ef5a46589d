"""Checks of the ports that the roles listen on, and of the roles themselves."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from appliance.config import Configuration
from appliance.domain.roles import ROLES
from appliance.errors import Fault
from appliance.service.role_lock import FOLDER, holder_of
from appliance.storage.database import check_schema, existing_database, readers
from appliance.storage.heartbeats import heartbeats

from .finding import Finding

CONNECT_S = 5.0
"""Longest wait for a connection to this box itself."""


EFFECTS = {
    "receive": "no radiograph is received",
    "analyse": "radiographs wait",
    "deliver": "answers wait",
    "status": "the page is not served",
}
"""The consequence of a role that does not run."""


def ports_of(config: Configuration) -> dict[str, tuple[str, int, str]]:
    """Return host, port and role of each listener by the key of its port."""
    receive = config.receive
    found = {"status.port": (config.status.host, config.status.port, "status")}
    if receive.plain:
        found["receive.port"] = (receive.host, receive.port, "receive")
    if receive.tls:
        found["receive.tls.port"] = (receive.host, receive.tls.port, "receive")
    if receive.hl7:
        found["receive.hl7.port"] = (receive.hl7.host, receive.hl7.port, "receive")
    return found


def check_ports(config: Configuration) -> Iterator[Finding]:
    """Yield a finding for each listener: its port is free, or its role holds it."""
    for key, (host, port, role) in ports_of(config).items():
        yield _port(config, key, host, port, role)


def _port(config: Configuration, key: str, host: str, port: int, role: str) -> Finding:
    check = f"port.{key}"
    if port == 0:
        return Finding.good(check, f"{key} is 0: the system chooses a port at the start")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
    except OSError as error:
        runs = holder_of(config, role) is not None
        # the user osteon may not open a port below 1024, and systemd lets the role do so
        if runs and (error.errno == errno.EADDRINUSE or (error.errno == errno.EACCES and _listens(host, port))):
            return Finding.good(check, f"{key} {port} is held by our role {role}")
        if not runs or error.errno != errno.EACCES:
            seen, remedy = _reason(key, host, port, error)
            return Finding.error(check, seen, f"the role {role} cannot start", remedy)
    if holder_of(config, role):
        effect = "peers reach nothing there: the role listens elsewhere, or has just been started"
        remedy = f"`systemctl restart osteon-{role}`, which reads the configuration again"
        return Finding.warning(check, f"the role {role} runs, but not on {key} {port}", effect, remedy)
    return Finding.good(check, f"{key} {port} is free")


def _listens(host: str, port: int) -> bool:
    """Return whether a program of this box accepts connections to the port."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_S):
            return True
    except OSError:
        return False


def _reason(key: str, host: str, port: int, error: OSError) -> tuple[str, str]:
    """Return the words for a port that cannot be opened, and the remedy."""
    if error.errno == errno.EADDRINUSE:
        remedy = f"find it with `ss -ltnp 'sport = :{port}'` as root and stop it, or set another {key}"
        return f"{key} {port} on {host} is in use by another program", remedy
    if error.errno == errno.EACCES:
        remedy = "see docs/install.md, Ports below 1024, which a check by hand does not have; or set a higher port"
        return f"{key} {port} may not be opened without privileges", remedy
    why = error.strerror or type(error).__name__
    return f"{key}: cannot listen on {host}:{port}: {why}", f"correct {key.rpartition('.')[0]}.host"


def check_roles(config: Configuration, file: Path | None) -> Iterator[Finding]:
    """Yield a finding for each role: it runs once, with the configuration of now; one if no role has ever run."""
    if not _has_run(config):
        effect, remedy = "no radiograph is received, analysed or answered", "`systemctl enable --now osteon.target`"
        yield Finding.warning("role", f"no role has run on {config.state_dir} yet", effect, remedy)
        return
    changed_at = datetime.fromtimestamp(file.stat().st_mtime, UTC) if file else None
    started = _start_times(config)
    for role in ROLES:
        check = f"role.{role}"
        pid = holder_of(config, role)
        if pid is None:
            remedy = f"`systemctl start osteon-{role}`; if it ends again: `journalctl -u osteon-{role} -n 30`"
            yield Finding.warning(check, f"the role {role} does not run", EFFECTS[role], remedy)
        elif changed_at and role in started and changed_at > started[role]:
            effect = f"it works with the configuration of {started[role]:%Y-%m-%d %H:%M} UTC"
            remedy = f"`systemctl restart osteon-{role}`"
            yield Finding.warning(check, f"{file} was changed after the role {role} was started", effect, remedy)
        else:
            yield Finding.good(check, f"the role {role} runs (process {pid})")


def _has_run(config: Configuration) -> bool:
    """Return whether a role has left its lock file; True if the folder cannot be read."""
    try:
        return any((config.state_dir / FOLDER).iterdir())
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _start_times(config: Configuration) -> dict[str, datetime]:
    """Return the starts of the roles by their heartbeats; empty if the database cannot be read."""
    try:
        engine = existing_database(config.database)
        if engine is None:
            return {}
        with readers(engine).connect() as c:
            check_schema(c)
            return {role: beat.started_at for role, beat in heartbeats(c).items()}
    except (Fault, SQLAlchemyError):  # check_database names it
        return {}
