"""The data set of one C-STORE request, on its way into a file of the spool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from appliance.domain.reason import ReasonCode
from appliance.errors import Transient
from appliance.ports import SpoolFile

from .service import CANNOT_UNDERSTAND, Requestor, ResponseStatus
from .violation import Violation

HEAD_BYTES = 4096
"""Length of the kept head of an instance that is not stored: enough to hold Manufacturer (0008,0070) of our objects."""

CHECK_DISK_BYTES = 1 << 22
"""After so many bytes of an instance the disk is checked again: twenty senders exceed a reserve by 80 MB at most."""

DRAINED = 2
"""An instance that exceeds the limit is read to its end and refused, up to this multiple of the limit."""

TOO_LARGE: Final = ResponseStatus(code=CANNOT_UNDERSTAND, comment="larger than receive.instance_mb")


class IncomingInstance:
    """The `IncomingDataSet` of an instance.

    Parameters
    ----------
    most_bytes
        An instance that is larger is refused.
    check_disk
        Raises `Transient` when the disk has no room.
    store
        Stores the complete instance, and returns the status of the response.

    Attributes
    ----------
    file
        The spool file; None if the instance is not stored.
    status
        The status of the response if the instance is not stored; None if it is.
    problem
        An internal failure before the end of the instance; `store` raises it.
    head
        The beginning of an instance that is not stored.
    """

    def __init__(
        self,
        *,
        requestor: Requestor,
        sop_instance_uid: str,
        sop_class_uid: str,
        transfer_syntax_uid: str,
        most_bytes: int,
        check_disk: Callable[[], None],
        store: Callable[[IncomingInstance], ResponseStatus],
    ) -> None:
        self.requestor = requestor
        self.sop_instance_uid = sop_instance_uid
        self.sop_class_uid = sop_class_uid
        self.transfer_syntax_uid = transfer_syntax_uid
        self.file: SpoolFile | None = None
        self.status: ResponseStatus | None = None
        self.problem: Exception | None = None
        self.head = bytearray()
        self.size_bytes = 0
        self._most_bytes = most_bytes
        self._check_disk = check_disk
        self._check_disk_at_bytes = CHECK_DISK_BYTES
        self._store = store

    def write(self, fragment: memoryview) -> None:
        """Write a fragment to the spool file; count and ignore it if the instance is not stored."""
        self.size_bytes += len(fragment)
        if self.size_bytes > DRAINED * self._most_bytes:
            reason = f"it sent more than {DRAINED} times receive.instance_mb for one instance"
            raise Violation(ReasonCode.INSTANCE_TOO_LARGE, reason)
        if self.file is None:
            self.head += fragment[: HEAD_BYTES - len(self.head)]
            return
        if self.size_bytes > self._most_bytes:
            self.status = TOO_LARGE
            self.discard()
            return
        try:
            if self.size_bytes >= self._check_disk_at_bytes:
                self._check_disk_at_bytes = self.size_bytes + CHECK_DISK_BYTES
                self._check_disk()
            self.file.write(fragment)
        except (Transient, OSError) as error:
            self.problem = error
            self.discard()

    def finish(self) -> ResponseStatus:
        """Store the complete instance, and return the status of the response."""
        return self._store(self)

    def discard(self) -> None:
        """Remove the spool file, unless it was kept."""
        if self.file:
            self.file.discard()
            self.file = None
