"""The server of an archive, and the meaning of its status codes.

References
----------
DICOM PS3.18 sections 8.5 and 10.5.3.1 (status codes).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from appliance.config import DicomWebDestination
from appliance.domain.reason import ReasonCode
from appliance.errors import Refused, Transient
from appliance.http_client import USUAL, FailureCodes, HttpServer, Response, Statuses
from appliance.network import client_context

from .credentials import credentials

FAILURES = FailureCodes(
    unreachable=ReasonCode.DICOMWEB_UNREACHABLE,
    too_slow=ReasonCode.DICOMWEB_TOO_SLOW,
    answer=ReasonCode.DICOMWEB_ANSWER,
    asked_to_wait=ReasonCode.DICOMWEB_ASKED_TO_WAIT,
    failed=ReasonCode.DICOMWEB_FAILED,
    refused=ReasonCode.DICOMWEB_REFUSED,
)

STATUSES: Statuses = {
    **USUAL,
    400: (Refused, "it cannot make sense of the request; see its log"),
    401: (Transient, "it does not accept our token or password; renew it, it is tried again"),
    403: (Refused, "we are not allowed to store; grant it and retry"),
    404: (Refused, "there is no such place; check base_url"),
    405: (Refused, "it takes no objects there; check base_url"),
    406: (Refused, "it answers in no JSON; switch application/dicom+json on there"),
    409: (Refused, "it stored nothing; see its log"),
    415: (Refused, "it takes no DICOM file in this encoding; see its conformance statement"),
    424: (Transient, "a part of it is out of service; it is tried again"),
    507: (Transient, "its disk is full; make room there, it is tried again"),
}
"""Error and remedy of each status; of all others, 5xx are temporary and the rest is a refusal."""


class DicomWebServer:
    """The server of a configured archive; its token or password is read for each request, so that it may change.

    Raises
    ------
    Fault
        As `client_context`.
    """

    def __init__(self, config: DicomWebDestination) -> None:
        self._config = config
        tls = client_context(config.tls, config.name) if config.tls else None
        name = config.tls.server_name if config.tls else None
        self._server = HttpServer(config.name, config.base_url, FAILURES, STATUSES, config.timeout_s, tls, name)
        self.probe = self._server.probe
        self.check_status = self._server.check_status

    def __str__(self) -> str:
        return str(self._server)

    def exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        content: bytes = b"",
        read_too: Collection[int] = (),
    ) -> Response:
        """Send a request with our credentials.

        Raises
        ------
        Away
            ``dicomweb_credentials`` if their file cannot be used; else as `HttpServer.exchange`.
        Transient
            As `HttpServer.exchange`.
        """
        return self._server.exchange(method, path, {**headers, **credentials(self._config)}, content, read_too)
