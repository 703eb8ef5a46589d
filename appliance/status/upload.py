"""Uploads: one address of the page takes a large body, a few at a time; every other request stays small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from waitress.parser import HTTPRequestParser
from waitress.utilities import Error

from appliance.domain.trial import TRIAL_BYTES

UPLOAD_PATH: Final = "/trials"
"""Address that a file is sent to."""

UPLOAD_BYTES: Final = TRIAL_BYTES + 16384
"""Longest body there: the file of a trial, and the other fields of its form."""

UPLOAD_S: Final = 60.0
"""Time for a request with a file: a radiograph of 30 MB at 4 Mbit/s."""

MOST_UPLOADS: Final = 2
"""Uploads at a time: a body lies on disk until it is complete, whoever sends it."""


class TooManyUploads(Error):  # type: ignore[misc]  # waitress has no types
    """Response to an upload beyond `MOST_UPLOADS`."""

    code = 503
    reason = "Service Unavailable"


class _Adjustments:
    """Settings of the server, with another limit on the body."""

    max_request_body_size = UPLOAD_BYTES

    def __init__(self, settings: Any) -> None:
        self._settings = settings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._settings, name)


class PageParser(HTTPRequestParser):  # type: ignore[misc]
    """Parser of one request, which knows by its header whether it is an upload.

    Parameters
    ----------
    has_room
        Returns whether another upload may begin.
    """

    def __init__(self, settings: Any, has_room: Callable[[], bool]) -> None:
        super().__init__(settings)
        self.adj: Any = settings
        self._has_room = has_room
        self.is_upload = False

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the header, and give an upload its limit."""
        super().parse_header(header_plus)
        if self.command != "POST" or self.path != UPLOAD_PATH:
            return
        self.adj = _Adjustments(self.adj)
        self.is_upload = self._has_room()
        if not self.is_upload:
            self.error, self.completed = TooManyUploads("other files are being sent: try again in a minute"), True
