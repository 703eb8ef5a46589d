"""Radiographs in the spool that the database has no row of are taken in again: a lost database loses no radiograph.

Files without a row stay behind when the database was damaged and begun anew, restored from a backup, or removed under
a running role. The name of the sender is lost: the AE title is empty.

A file has no receipt, only a time of the wall clock. Under a SOP Instance UID that has a row already it counts as a
correction only if it is later than every row, and no step back of the clock since then is recorded: if there was none,
the order of the times is that of the receipts. Any other file stays in the spool, and a warning tells how many: bytes
from before a correction would undo it, and a sender can send them again.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime

from pydicom.filereader import read_file_meta_info
from sqlalchemy import Engine

from appliance.dicom.part10 import IMPLEMENTATION_CLASS_UID
from appliance.dicom.scp.violation import Violation, hostile_bytes
from appliance.dicom.transfer_syntaxes import KEPT
from appliance.domain.reason import ReasonCode
from appliance.domain.received import Received
from appliance.storage.clock_steps import was_set_back_since
from appliance.storage.database import readers
from appliance.storage.instances import keep_instance, last_received_at
from appliance.storage.retention import AT_A_TIME, digests_without_row
from appliance.storage.spool import FOLDERS, FileSpool

WRITTEN_S = 120.0
"""A younger file may have a writer that is about to write its row, and waits for the database."""

AGAIN_S = 180.0
"""Pause after the first search: files that were too young for it are old enough for the next."""

EVERY_S = 3600.0
"""Pause after any other search."""

PREAMBLE_BYTES = 132
"""Preamble and prefix (DICOM PS3.10 section 7.1)."""

GROUP_LENGTH_BYTES = 12
"""The element File Meta Information Group Length itself (DICOM PS3.10 section 7.1)."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A file without a row, and the time at which it was kept."""

    received: Received
    kept_at: datetime


class Recovery:
    """Searches the spool folder by folder, and takes in what it found, oldest first, some files a step."""

    def __init__(self, engine: Engine, spool: FileSpool) -> None:
        self._engine = engine
        self._spool = spool
        self._due_at = -math.inf
        self._pause_s = AGAIN_S
        self._folder = 0
        self._newest: dict[str, _Found] = {}
        self._waiting: deque[_Found] = deque()

    def step(self) -> bool:
        """Search one folder, or take in some files; return False if nothing is due."""
        if self._waiting:
            self._take_in()
        elif time.monotonic() >= self._due_at:
            self._search()
        else:
            return False
        return True

    def _search(self) -> None:
        """Search the next folder; after the last one, put the newest file of each instance on the list."""
        digests = list(self._spool.written(self._folder, WRITTEN_S, math.inf))
        with readers(self._engine).connect() as c:
            for start in range(0, len(digests), AT_A_TIME):
                for digest in digests_without_row(c, digests[start : start + AT_A_TIME]):
                    if found := self._read(digest):
                        uid = found.received.sop_instance_uid
                        self._newest[uid] = max(self._newest.get(uid, found), found, key=lambda f: f.kept_at)
        self._folder += 1
        if self._folder < FOLDERS:
            return
        self._folder = 0
        self._waiting.extend(sorted(self._newest.values(), key=lambda f: f.kept_at))
        self._newest.clear()
        self._due_at, self._pause_s = time.monotonic() + self._pause_s, EVERY_S

    def _take_in(self) -> None:
        """Record some of the instances; bytes that may have come before those of a row stay out."""
        taken, doubtful = 0, 0
        while self._waiting and taken < AT_A_TIME:
            found = self._waiting[0]
            with readers(self._engine).connect() as c:
                known_at = last_received_at(c, found.received.sop_instance_uid)
                is_doubtful = known_at is not None and was_set_back_since(c, found.kept_at)
            if is_doubtful:
                doubtful += 1
            elif known_at is None or known_at <= found.kept_at:
                taken += keep_instance(self._engine, found.received)
            self._waiting.popleft()  # only now: the database may fail
        if taken:
            log.warning("%d instances of the spool without a row in the database were taken in again", taken)
        if doubtful:
            log.warning(
                "%d instances of the spool without a row in the database stay there: the clock was set back, so that "
                "they may be older than the versions that were analysed; send them again if they are corrections",
                doubtful,
            )

    def _read(self, digest: str) -> _Found | None:
        """Return what the File Meta Information says of a file that the receiver wrote; None for any other file."""
        try:
            path, size_bytes, kept_at = self._spool.file(digest)
            with hostile_bytes(ReasonCode.UNREADABLE, "a file of the spool"):
                meta = read_file_meta_info(path)
                data_set_at = PREAMBLE_BYTES + GROUP_LENGTH_BYTES + meta.FileMetaInformationGroupLength
                received = Received(
                    sop_instance_uid=str(meta.MediaStorageSOPInstanceUID),
                    sop_class_uid=str(meta.MediaStorageSOPClassUID),
                    transfer_syntax_uid=str(meta.TransferSyntaxUID),
                    digest=digest,
                    size_bytes=size_bytes - data_set_at,
                    calling_ae_title="",
                )
                is_ours = meta.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
        except (OSError, Violation):
            return None
        if is_ours or received.sop_class_uid not in KEPT:
            return None
        return _Found(received=received, kept_at=kept_at)
