"""Checks of certificates: ours on both sides, their authorities, and those that peers present."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from appliance.clock import now
from appliance.config import Configuration, DestinationConfig, DicomDestination, DicomWebDestination, Hl7Destination
from appliance.dicom.scu.pacs import peer_of
from appliance.dicom.web.server import DicomWebServer
from appliance.network import probe
from appliance.service.roles.deliver import fhir_server_of, ris_of
from appliance.status.facts import certificates
from appliance.status.machine import RENEW_DAYS

from .finding import Finding
from .pacs import LOOK_S


def check_certificates(config: Configuration) -> Iterator[Finding]:
    """Yield a finding for each certificate file that the configuration names."""
    for certificate in certificates(config):
        check = f"certificate.{certificate.key}"
        if certificate.not_after is None:
            effect = "no connection with it can be made"
            yield Finding.error(check, f"{certificate.key} cannot be read", effect, "correct the path, or its owner")
        else:
            yield _end(
                check,
                certificate.key,
                certificate.not_after,
                "its renewal takes a restart: `systemctl restart 'osteon-*.service'`",
            )


def check_presented(config: DestinationConfig) -> Iterator[Finding]:
    """Yield a finding about the certificate that a peer presents; none if it cannot be reached, or has none."""
    asked = config.model_copy(update={"timeout_s": min(config.timeout_s, LOOK_S)})
    if isinstance(asked, DicomDestination):
        peer = peer_of(asked)
        found = probe(peer.host, peer.port, peer.timeout_s, peer.tls, peer.server_name)
    elif isinstance(asked, DicomWebDestination):
        found = DicomWebServer(asked).probe()
    else:
        found = (ris_of(asked) if isinstance(asked, Hl7Destination) else fhir_server_of(asked)).probe()
    if found.certificate_ends:
        check = f"destination.{config.name}.certificate"
        words = f"the certificate that {config.name} presents"
        yield _end(check, words, found.certificate_ends, f"tell the administrator of {config.name}")


def _end(check: str, words: str, ends: datetime, remedy: str) -> Finding:
    days = (ends - now()).days
    date = f"{ends:%Y-%m-%d}"
    if days < 0:
        return Finding.error(
            check, f"{words} ran out on {date}", "connections with it are refused", f"renew it; {remedy}"
        )
    if days < RENEW_DAYS:
        effect = f"connections with it are refused in {days} days"
        return Finding.warning(check, f"{words} runs out on {date}", effect, f"renew it; {remedy}")
    return Finding.good(check, f"{words} is valid until {date}")
