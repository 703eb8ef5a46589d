"""The reading room: pictures of drawn radiographs for the page of readers, decoded in a process that may die."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from appliance.config import PresetWindow
from appliance.domain.reason import ReasonCode
from appliance.domain.validation import DrawnPicture
from appliance.errors import Rejected
from appliance.storage.reads import Drawn
from appliance.storage.spool import FileSpool

from .drawn_picture import picture_of
from .isolation import Isolated

LIMIT_S: Final = 20
"""Most processor time for a picture; a person waits for it."""

LONGEST_S: Final = 50
"""Longest decoding by the clock: less than the web server's time for a response."""

LIMIT_BYTES: Final = 3 * 2**29
"""Most memory of a decoding: the role may take 2 GiB in all (`osteon-status.service`)."""

MOST_KEPT: Final = 4
"""Pictures that are kept in memory: the page asks twice for each, and several readers at a time."""


class ReadingRoom:
    """Makes pictures, one at a time; its process is started for the first one.

    Parameters
    ----------
    presets
        Windows for radiographs that have none.
    """

    def __init__(self, spool_dir: Path, presets: Sequence[PresetWindow]) -> None:
        self._spool_dir = spool_dir
        self._presets = presets
        self._lock = threading.Lock()
        self._process: Isolated[DrawnPicture] | None = None
        self._kept: OrderedDict[str, DrawnPicture] = OrderedDict()

    def look(self, drawn: Drawn) -> DrawnPicture:
        """Return the picture of a drawn radiograph, or the reason why it cannot be displayed.

        Raises
        ------
        Transient
            ``decoder_killed`` if the machine is too busy or short of memory, ``spool_unreadable``.
        """
        with self._lock:
            if drawn.digest not in self._kept:
                self._kept[drawn.digest] = self._picture(drawn.digest)
            self._kept.move_to_end(drawn.digest)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
            return self._kept[drawn.digest]

    def close(self) -> None:
        """End the process, also in the middle of a picture."""
        if self._process:
            self._process.interrupt()
        with self._lock:
            if self._process:
                self._process.close()

    def _picture(self, digest: str) -> DrawnPicture:
        if self._process is None:
            self._process = Isolated(picture_of, limit_s=LIMIT_S, longest_s=LONGEST_S, limit_bytes=LIMIT_BYTES)
        load = partial(FileSpool(self._spool_dir).get, digest)
        try:
            return self._process(load, self._presets)
        except Rejected as error:
            if error.code is ReasonCode.DECODER_DIED:  # the header alone does not end it
                with suppress(Rejected):
                    return self._process(load, self._presets, error.reason)
            return DrawnPicture(reason=error.reason)
