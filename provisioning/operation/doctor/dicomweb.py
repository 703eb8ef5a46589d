"""Checks of an archive by DICOMweb: connection, TLS, credentials, STOW-RS, QIDO-RS where needed, and its clock."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.config import DicomWebDestination
from appliance.dicom.web.qido import search
from appliance.dicom.web.server import DicomWebServer
from appliance.dicom.web.stow import JSON, multipart
from appliance.domain.identifiers import derived_uid
from appliance.errors import OsteonError
from appliance.http_client import Response

from .fhir_server import clock_finding
from .finding import Finding
from .pacs import AFTER, LOOK_S

NO_SERVICE = {
    401: "it does not accept our token or password; renew the file that the configuration names",
    403: "we are not allowed to store; grant it there",
    404: "there is no such place; correct base_url",
    405: "it takes no objects there; correct base_url",
    415: "it takes no multipart/related of application/dicom; correct base_url",
    501: "it offers no STOW-RS; switch it on there",
}
"""Statuses of a server that would take no object either, in words with the next step."""


def check_dicomweb(config: DicomWebDestination) -> Iterator[Finding]:
    """Yield the findings about an archive; the request to store holds no object, so nothing is stored there."""
    name = f"destination.{config.name}"
    server = DicomWebServer(config.model_copy(update={"timeout_s": min(config.timeout_s, LOOK_S)}))
    body, content_type = multipart([])
    try:
        response = server.exchange("POST", "/studies", {"Accept": JSON, "Content-Type": content_type}, body)
    except OsteonError as error:
        effect = f"nothing reaches {config.name}; it waits, and leaves later"
        yield Finding.error(f"{name}.connection", error.reason, effect, AFTER)
        return
    yield _store(config, response)
    if config.proof == "find" or config.existing == "verify" or config.recheck_identity:
        yield _find(config, server)
    if response.at is not None:
        yield clock_finding(config.name, response.at)


def _store(config: DicomWebDestination, response: Response) -> Finding:
    check, status = f"destination.{config.name}.store", response.status
    if status in NO_SERVICE or 300 <= status < 400:
        why = NO_SERVICE.get(status, "it refers to another place; correct base_url")
        seen = f"{config.name} at {config.base_url} answers {status} to STOW-RS: {why}"
        return Finding.error(check, seen, f"nothing is accepted by {config.name}; it waits or is parked", AFTER)
    if status >= 500:
        seen = f"{config.name} at {config.base_url} answers {status} to a request without objects"
        effect = "a few servers do so although they work; others are out of service"
        return Finding.warning(check, seen, effect, f"see its log; {AFTER}")
    return Finding.good(check, f"{config.name} at {config.base_url} answers STOW-RS")


def _find(config: DicomWebDestination, server: DicomWebServer) -> Finding:
    check = f"destination.{config.name}.find"
    try:
        search(server, "/studies", StudyInstanceUID=derived_uid("doctor", config.name), limit="1")
    except OsteonError as error:
        effect = "nothing can be proven or rechecked by queries, and deliveries wait"
        off = 'set proof = "none", existing = "accept" and recheck_identity = false'
        remedy = f"mend that, or, where it offers no queries, {off}"
        return Finding.error(check, error.reason, effect, remedy)
    return Finding.good(check, f"{config.name} answers QIDO-RS")
