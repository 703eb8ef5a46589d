"""Uploads of radiographs to the page: only operators send large bodies, one upload an operator, two at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from waitress.parser import HTTPRequestParser
from waitress.utilities import Error

from appliance.domain.trial import TRIAL_BYTES

UPLOAD_PATH: Final = "/trials"
"""Path of the upload."""

UPLOAD_BYTES: Final = TRIAL_BYTES + 16384
"""Longest body of an upload: the file of a trial, and the other fields of the form."""

UPLOAD_S: Final = 60.0
"""Time for a request with a file: a radiograph of 30 MB at 4 Mbit/s."""

MOST_UPLOADS: Final = 2
"""Uploads at a time: a body lies on disk until it is complete."""

Admit = Callable[[dict[str, str]], str | Error]
"""Returns the name of the operator who sends a request with the headers (as waitress parses them), or the refusal."""


class NotAnOperator(Error):  # type: ignore[misc]  # waitress has no types
    """Response to an upload by a person who is not an operator; the body is not read."""

    code = 403
    reason = "Forbidden"


class TooManyUploads(Error):  # type: ignore[misc]
    """Response to an upload beyond `MOST_UPLOADS`, or to a second upload of an operator."""

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
    """Parser of a request; the header shows whether the request is an upload.

    Attributes
    ----------
    uploader
        Name of the operator who uploads; empty for other requests.
    """

    def __init__(self, settings: Any, admit: Admit) -> None:
        super().__init__(settings)
        self.adj: Any = settings
        self._admit = admit
        self.uploader = ""

    def received(self, data: bytes) -> int:
        """Parse bytes; drop pipelined bytes after the end of a request, and close the connection after the response."""
        taken: int = super().received(data)
        if not self.completed or self.empty or taken >= len(data):
            return taken
        self.headers["CONNECTION"] = "close"
        return len(data)

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the header, and give an upload its limit."""
        super().parse_header(header_plus)
        if self.command != "POST" or self.path != UPLOAD_PATH:
            return
        self.adj = _Adjustments(self.adj)
        admitted = self._admit(self.headers)
        if isinstance(admitted, Error):
            self.error, self.completed = admitted, True
        else:
            self.uploader = admitted
