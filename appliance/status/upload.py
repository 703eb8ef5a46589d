"""Uploads: one address takes a large body, of operators, one each and a few at a time; other requests stay small."""

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
"""Uploads at a time: a body lies on disk until it is complete."""

Admit = Callable[[dict[str, str]], str | Error]
"""Returns the name of the operator who sends a header as waitress has it, or the refusal."""


class NotAnOperator(Error):  # type: ignore[misc]  # waitress has no types
    """Response to an upload of anybody else: its body is not taken."""

    code = 403
    reason = "Forbidden"


class TooManyUploads(Error):  # type: ignore[misc]
    """Response to an upload beyond `MOST_UPLOADS`, or to the second one of an operator."""

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

    Attributes
    ----------
    uploader
        Name of the operator whose file it takes; empty for every other request.
    """

    def __init__(self, settings: Any, admit: Admit) -> None:
        super().__init__(settings)
        self.adj: Any = settings
        self._admit = admit
        self.uploader = ""

    def received(self, data: bytes) -> int:
        """Take bytes; those after the end of a request are dropped, and its response ends the connection."""
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
