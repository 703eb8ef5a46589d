"""`osteon backup` and `osteon restore`: database, configuration and installed packs in one file, the spool by choice.

The file is a tar archive. Its last member, ``backup.json``, has the versions and the SHA-256 of every other one, so
that a file that was cut or altered is refused before anything is replaced.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from appliance.clock import now
from appliance.config import Configuration
from appliance.domain.audit import FIRST, AuditAction, Intervention
from appliance.domain.identifiers import Site
from appliance.domain.phase import SitePhase
from appliance.domain.reason import ReasonCode
from appliance.domain.roles import ROLES
from appliance.errors import Fault
from appliance.service.role_lock import holder_of
from appliance.storage.accounts import account_rows, replace_accounts
from appliance.storage.audit import all_entries, head, record
from appliance.storage.database import REVISION, existing_database, open_database, readers
from appliance.storage.gate import EVERY, shut
from appliance.storage.phases import keep_stepped_back, site_phases
from provisioning.archive import extract_files, is_plain_file

MANIFEST = "backup.json"
"""Last member of the archive."""

FORMAT = 1

PIECE_BYTES = 1 << 20
"""Bytes of a member that are read at a time."""

FILE_MODE, UMASK = 0o640, 0o027
"""Mode of every file of a backup, and the umask that gives it: the files hold patients' data and secrets."""

DATABASE, SETTINGS, PACKS, SPOOL = "osteon.db", "osteon.toml", "packs", "spool"
"""Names of the members, the latter two folders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Versions and contents of a backup; `digests` has the SHA-256 of each member."""

    format: int
    made_at: str
    version: str
    revision: str
    digests: dict[str, str]

    @property
    def parts(self) -> list[str]:
        """Contents by their first folder: ``osteon.db``, ``osteon.toml``, ``packs``, ``spool``."""
        return sorted({name.partition("/")[0] for name in self.digests})


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A restored backup, and what differs from the database that it replaced.

    Attributes
    ----------
    accounts_left
        Names of accounts in the backup that did not come back, or not as they were.
    withdrawn_since
        Studies that were withdrawn after the backup, such as ``study:4``: the restored database does not know it.
    set_back
        Sites that were further in the backup than in the present database.
    """

    manifest: Manifest
    accounts_left: tuple[str, ...] = ()
    withdrawn_since: tuple[str, ...] = ()
    set_back: tuple[str, ...] = ()


def back_up(config: Configuration, settings: Path | None, target: Path, *, with_spool: bool = False) -> Manifest:
    """Write a backup into the new file `target`, readable by its owner alone; the roles may run.

    Raises
    ------
    Fault
        ``backup`` if it cannot be written, or there is no database; nothing is left then.
    """
    if target.exists():
        raise Fault(ReasonCode.BACKUP, f"{target} exists: name a new file")
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            manifest = _write(config, settings, file, target.parent, with_spool=with_spool)
            file.flush()
            os.fsync(file.fileno())
        unfinished.rename(target)
    except OSError as error:
        raise Fault(ReasonCode.BACKUP, f"{target} cannot be written: {error.strerror}") from error
    except sqlite3.Error as error:
        raise Fault(ReasonCode.BACKUP, f"the database cannot be copied: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    return manifest


def _write(
    config: Configuration, settings: Path | None, file: IO[bytes], beside: Path, *, with_spool: bool
) -> Manifest:
    digests: dict[str, str] = {}
    with tarfile.open(fileobj=file, mode="w") as archive:
        database = _database_file(config)
        if database:
            if not database.exists():
                raise Fault(ReasonCode.BACKUP, f"there is no database at {database}: check state_dir")
            with tempfile.TemporaryDirectory(dir=beside, prefix=".osteon-backup-") as folder:
                copy = Path(folder) / DATABASE
                with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(copy)) as target:
                    source.backup(target)
                _add(archive, digests, DATABASE, copy)
        if settings:
            _add(archive, digests, SETTINGS, settings)
        folders = {PACKS: config.packs_dir} | ({SPOOL: config.spool_dir} if with_spool else {})
        for name, folder_path in folders.items():  # the spool after the database: no row lacks its file
            for path in sorted(folder_path.rglob("*")):
                if path.is_file():
                    with suppress(FileNotFoundError):  # pruned meanwhile
                        _add(archive, digests, f"{name}/{path.relative_to(folder_path)}", path)
        made_at = now()
        manifest = Manifest(
            format=FORMAT,
            made_at=made_at.isoformat(timespec="seconds"),
            version=version("osteon"),
            revision=REVISION,
            digests=digests,
        )
        content = json.dumps(asdict(manifest)).encode()
        member = tarfile.TarInfo(MANIFEST)
        member.size, member.mtime, member.mode = len(content), int(made_at.timestamp()), FILE_MODE
        archive.addfile(member, io.BytesIO(content))
    return manifest


def _add(archive: tarfile.TarFile, digests: dict[str, str], name: str, path: Path) -> None:
    with path.open("rb") as source:
        digests[name] = hashlib.file_digest(source, "sha256").hexdigest()
        source.seek(0)
        member = tarfile.TarInfo(name)
        found = os.fstat(source.fileno())
        member.size, member.mtime, member.mode = found.st_size, int(found.st_mtime), FILE_MODE
        archive.addfile(member, source)


def _database_file(config: Configuration) -> Path | None:
    """Return the file of the database; None for PostgreSQL, which has tools of its own."""
    url = make_url(config.database)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def restore(config: Configuration, source: Path, by: Intervention) -> Restored:
    """Put the contents of a backup in their places, and hold all deliveries until a person has looked.

    The database comes last and with the hold in it, so that a restore that fails leaves the present one. That one
    moves into the folder ``before-restore`` with the time beside it; packs and files of the spool that are there stay.
    The configuration is put into `state_dir` as ``restored-osteon.toml``. Accounts of the page are those of the
    present database, and no sign-in goes on: a backup brings back nobody who was dismissed since, and no old password.

    Raises
    ------
    Fault
        ``role_runs_already`` if a role runs; ``backup`` if the backup is damaged, of a newer version, or cannot be put
        in place.
    """
    if running := [role for role in ROLES if holder_of(config, role)]:
        reason = f"{', '.join(running)} still runs: systemctl stop osteon.target, then restore"
        raise Fault(ReasonCode.ROLE_RUNS_ALREADY, reason)
    former_umask = os.umask(UMASK)
    try:
        manifest = read_backup(source)
        database = _database_file(config)
        if DATABASE in manifest.digests and not database:
            reason = f"{source} has an SQLite database, and database_url names PostgreSQL: restore it without that"
            raise Fault(ReasonCode.BACKUP, reason)
        config.state_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=config.state_dir, prefix=".restoring-") as name:
            folder = Path(name)
            with tarfile.open(source) as archive:
                extract_files(archive, folder)
            restored = folder / DATABASE if DATABASE in manifest.digests else None
            left, withdrawn, set_back = _hold(config, restored, manifest, by)
            _place_files(config, folder)
            if restored and database:
                _replace_database(database, restored)
    except (OSError, tarfile.TarError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise Fault(ReasonCode.BACKUP, f"{source} cannot be restored: {why}") from error
    finally:
        os.umask(former_umask)
    return Restored(manifest=manifest, accounts_left=left, withdrawn_since=withdrawn, set_back=set_back)


def _hold(
    config: Configuration, restored: Path | None, manifest: Manifest, by: Intervention
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Bring the restored database, or else the present one, up to date, and hold all deliveries in it.

    Its audit log goes on with an entry that names the head of the log which it replaces. Return the names of the
    accounts in the backup that are not, or not as they were, in the present database, whose accounts are kept; the
    studies that only the present database knows as withdrawn; and the sites that it lets go no further.
    """
    left: list[str] = []
    withdrawn: dict[int, str] = {}
    set_back: list[Site] = []
    detail = f"backup of {manifest.made_at}: {', '.join(manifest.parts)}"
    if restored:
        before, kept, withdrawn, present = _present_state(config)
        detail += f"; head of the audit log before: {before}"
    engine = open_database(f"sqlite:///{restored}" if restored else config.database)
    with engine.begin() as c:
        known = newest.number if (newest := head(c)) else 0
        since = tuple(study for number, study in withdrawn.items() if number > known)
        shut(c, EVERY, f"restored from the backup of {manifest.made_at}: look at osteon queue list first")
        if restored and (set_back := keep_stepped_back(c, present)):
            detail += f"; sites set back: {', '.join(set_back)}"
        if restored and (left := replace_accounts(c, kept)):
            detail += f"; accounts that did not come back: {', '.join(left)}"
        if since:
            detail += f"; withdrawn since the backup: {', '.join(since)}"
        record(c, by, AuditAction.RESTORE, "database" if restored else "files", detail)
    engine.dispose()  # the last connection writes the WAL into the file
    return tuple(left), since, tuple(set_back)


def _present_state(config: Configuration) -> tuple[str, list[dict[str, Any]], dict[int, str], list[SitePhase]]:
    """Return what the present database has: digest of its newest audit entry, accounts, withdrawals, phases.

    The withdrawals are studies by the number of their audit entry. Words stand for a digest that cannot be read.
    """
    found: list[dict[str, Any]] = []
    withdrawn: dict[int, str] = {}
    phases: list[SitePhase] = []
    try:
        engine = existing_database(config.database)
        if engine is None:
            return FIRST, found, withdrawn, phases
        with readers(engine).connect() as c:
            found = account_rows(c)
            withdrawn = {e.number: e.subject for e in all_entries(c) if e.action is AuditAction.WITHDRAW}
            phases = site_phases(c)
            newest = head(c)
        engine.dispose()
    except (Fault, SQLAlchemyError, ValueError):
        return "unreadable", found, withdrawn, phases
    return newest.digest if newest else FIRST, found, withdrawn, phases


def _place_files(config: Configuration, folder: Path) -> None:
    """Move the configuration, and the packs and files of the spool that are not there, out of `folder`."""
    if (folder / SETTINGS).exists():
        _move(folder / SETTINGS, config.state_dir / "restored-osteon.toml")
    for name, target in ((PACKS, config.packs_dir), (SPOOL, config.spool_dir)):
        for file in sorted(path for path in (folder / name).rglob("*") if path.is_file()):
            place = target / file.relative_to(folder / name)
            if not place.exists():
                _move(file, place)


def _replace_database(database: Path, restored: Path) -> None:
    """Put `restored` in the place of `database`, whose files move into a folder beside it."""
    unfinished = database.with_name(f"{database.name}.restoring")
    shutil.move(restored, unfinished)
    os.sync()  # a power cut after this leaves no row without its file
    former = database.parent / f"before-restore-{now():%Y%m%dT%H%M%S}"
    for suffix in ("", "-wal", "-shm"):  # a WAL without its database is lost
        file = database.with_name(database.name + suffix)
        if file.exists():
            former.mkdir(exist_ok=True)
            file.rename(former / file.name)
    unfinished.rename(database)


def _move(file: Path, place: Path) -> None:
    """Move a file, to another disk too; a move that was cut leaves nothing under the name `place`."""
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_name(f".{place.name}.restoring")
    shutil.move(file, unfinished)
    unfinished.rename(place)


def read_backup(source: Path) -> Manifest:
    """Read the manifest of a backup and compare every member with it.

    Raises
    ------
    Fault
        ``backup`` with the reason.
    """
    try:
        with tarfile.open(source) as archive:
            found = dict(_digests(archive))
            member = archive.extractfile(MANIFEST)
            manifest = Manifest(**json.loads(member.read() if member else b""))
    except OSError as error:
        raise Fault(ReasonCode.BACKUP, f"{source} cannot be read: {error.strerror}") from error
    except (tarfile.TarError, KeyError, TypeError, ValueError, EOFError) as error:
        raise Fault(ReasonCode.BACKUP, f"{source} is no whole backup: take another one") from error
    if manifest.format != FORMAT or manifest.revision > REVISION:
        reason = f"{source} was made by Osteon {manifest.version}, which is newer: install that version first"
        raise Fault(ReasonCode.BACKUP, reason)
    if manifest.digests != found:
        raise Fault(ReasonCode.BACKUP, f"{source} was altered: its files are not those of its list; take another one")
    return manifest


def _digests(archive: tarfile.TarFile) -> Iterator[tuple[str, str]]:
    """Yield name and SHA-256 of each member but the manifest; ValueError for one that is no file of a backup."""
    for member in archive:
        if not is_plain_file(member):
            raise ValueError(member.name)
        if member.name != MANIFEST and (content := archive.extractfile(member)):
            digest = hashlib.sha256()
            while piece := content.read(PIECE_BYTES):
                digest.update(piece)
            yield member.name, digest.hexdigest()
