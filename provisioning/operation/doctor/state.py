"""Checks of the state folder: writing, owners, room on the disk, the database and its audit log."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.config import MEGABYTE, Configuration
from appliance.domain.reason import ReasonCode
from appliance.errors import Fault
from appliance.status.machine import FEW_DAYS
from appliance.storage.arrivals import daily_bytes
from appliance.storage.audit import check_log
from appliance.storage.database import check_schema, defect, existing_database, readers

from .finding import Finding

SLOW_FSYNC_S = 0.5
"""Seconds of one fsync at which the receiver becomes slow: each radiograph takes several."""


def check_state_dir(config: Configuration) -> Iterator[Finding]:
    """Yield the findings about the folder: it can be written, and its files belong to its owner."""
    folder = config.state_dir
    if not folder.exists():
        yield _missing(folder)
        return
    began = time.monotonic()
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".doctor-") as file:
            file.write(b"doctor")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        yield Finding.error(
            "state_dir.write",
            f"{folder} cannot be written: {error.strerror}",
            "no radiograph is received, analysed or delivered",
            _owner_remedy(folder),
        )
        return
    took_s = time.monotonic() - began
    if took_s > SLOW_FSYNC_S:
        effect = "the receiver answers slowly: it acknowledges what is on the disk"
        remedy = "look for a failing or overloaded disk: `journalctl -k`, `iostat -x 5`"
        yield Finding.warning("state_dir.write", f"one fsync in {folder} took {took_s:.1f} s", effect, remedy)
    else:
        yield Finding.good("state_dir.write", f"{folder} can be written, fsync took {took_s * 1000:.0f} ms")
    yield from _owners(folder)


def _missing(folder: Path) -> Finding:
    place = next(place for place in folder.parents if place.exists())
    if place.is_dir() and os.access(place, os.W_OK):
        return Finding.good("state_dir.write", f"{folder} is made at the first start")
    return Finding.error(
        "state_dir.write",
        f"{folder} does not exist, and {place} may not be written",
        "no role can start",
        f"make it: `install -d -o osteon -g osteon -m 0750 {folder}`, or correct state_dir",
    )


def _owner_remedy(folder: Path) -> str:
    return f"`chown -R osteon:osteon {folder}` as root, or run this as its owner: `runuser -u osteon -- osteon doctor`"


def _owners(folder: Path) -> Iterator[Finding]:
    """Yield a finding if files beside the spool belong to another user than the folder: a verb ran as root."""
    owner = folder.stat().st_uid
    strange = [path for path in (*folder.iterdir(), *folder.glob("*/*")) if path.lstat().st_uid != owner]
    if not strange:
        yield Finding.good("state_dir.owner", f"all files in {folder} belong to {_user(owner)}")
        return
    names = ", ".join(sorted(str(path.relative_to(folder)) for path in strange)[:5])
    yield Finding.error(
        "state_dir.owner",
        f"files in {folder} belong to another user than {_user(owner)}: {names}",
        "the roles cannot write them, and stop working",
        f"`chown -R {_user(owner)}: {folder}` as root; run commands by `runuser -u {_user(owner)} -- osteon ...`",
    )


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def check_disk(config: Configuration) -> Iterator[Finding]:
    """Yield the finding about the room on the disk, with the days until it is used up."""
    place = next(place for place in (config.state_dir, *config.state_dir.parents) if place.exists())
    free, reserve = shutil.disk_usage(place).free, config.receive.reserve_mb * MEGABYTE
    seen = f"{place} has {free // MEGABYTE} MB free; {config.receive.reserve_mb} MB stay in reserve"
    remedy = "give it a larger disk, or shorten retention.days: delivered radiographs go earlier"
    if free < reserve:
        yield Finding.error("disk", seen, "radiographs are refused (0xA700) until there is room", remedy)
        return
    daily = _daily_bytes(config)
    days = (free - reserve) / daily if daily else None
    if days is not None and days < FEW_DAYS and days < config.retention.days:
        seen += f": enough for {days:.0f} days at {daily // MEGABYTE:.0f} MB a day"
        yield Finding.warning("disk", seen, "then radiographs are refused, unless delivered ones make room", remedy)
    else:
        yield Finding.good("disk", seen + (f", {daily // MEGABYTE:.0f} MB a day come in" if daily else ""))


def _daily_bytes(config: Configuration) -> float:
    """Return the bytes of radiographs received in a day, on average; 0 if that is not known."""
    try:
        engine = existing_database(config.database)
        if engine is None:
            return 0.0
        with readers(engine).connect() as c:
            check_schema(c)
            return daily_bytes(c, now())
    except (Fault, SQLAlchemyError):  # check_database names it
        return 0.0


def check_database(config: Configuration) -> Iterator[Finding]:
    """Yield the finding about the database: it opens, and its schema is that of this version."""
    effect = "no role can work; the page shows this sentence too"
    try:
        engine = existing_database(config.database)
        if engine is None:
            yield Finding.good("database", "the database is made at the first start")
            return
        with readers(engine).connect() as c:
            check_schema(c)
    except Fault as fault:
        yield Finding.error("database", fault.reason, effect, fault.code.remedy)
    except SQLAlchemyError as error:
        remedy = _owner_remedy(config.state_dir) if engine_is_file(config) else "start it, or correct database_url"
        yield Finding.error("database", f"the database cannot be opened: {defect(error)}", effect, remedy)
    else:
        yield Finding.good("database", "the database opens, and its schema is that of this version")


def check_audit(config: Configuration) -> Iterator[Finding]:
    """Yield the finding about the audit log: no entry was altered or removed."""
    try:
        engine = existing_database(config.database)
        if engine is None:
            return
        with readers(engine).connect() as c:
            found = check_log(c)
    except (Fault, SQLAlchemyError):  # check_database names it
        return
    if found.defect:
        effect = "the log does not show any more who changed what"
        yield Finding.warning("audit", f"the audit log: {found.defect}", effect, ReasonCode.AUDIT_BROKEN.remedy)
    else:
        yield Finding.good("audit", f"the {found.entries} entries of the audit log are whole; head: {found.head}")


def engine_is_file(config: Configuration) -> bool:
    """Return whether the database is an SQLite file."""
    return config.database.startswith("sqlite")
