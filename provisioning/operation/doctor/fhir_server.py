"""Checks of a FHIR server: connection, TLS, token, CapabilityStatement, and its clock."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from appliance.clock import now
from appliance.config import FhirDestination
from appliance.errors import OsteonError
from appliance.reporting.fhir.destination import Capabilities
from appliance.service.roles.deliver import fhir_server_of
from appliance.status.health import duration

from .finding import Finding
from .pacs import AFTER, LOOK_S

CLOCKS_DIFFER_S = 60.0
"""Difference of two clocks that people notice in reports; the header Date has whole seconds."""


def check_fhir_server(config: FhirDestination) -> Iterator[Finding]:
    """Yield the findings about a FHIR server; nothing is written there."""
    name = f"destination.{config.name}"
    server = fhir_server_of(config.model_copy(update={"timeout_s": min(config.timeout_s, LOOK_S)}))
    try:
        found = server.capabilities()
    except OsteonError as error:
        effect = f"nothing is accepted by {config.name}; it waits or is parked"
        yield Finding.error(f"{name}.metadata", error.reason, effect, AFTER)
        return
    yield _version(config, found)
    if found.services and "transaction" not in found.services:
        effect = "our Bundles are transactions: it refuses them, and they are parked"
        remedy = "switch transactions on there, or correct base_url"
        yield Finding.error(f"{name}.transaction", f"{config.name} names no transactions in /metadata", effect, remedy)
    if found.at is not None:
        yield clock_finding(config.name, found.at)


def _version(config: FhirDestination, found: Capabilities) -> Finding:
    check = f"destination.{config.name}.metadata"
    if found.fhir_version and not found.fhir_version.startswith("4."):
        return Finding.error(
            check,
            f"{config.name} speaks FHIR {found.fhir_version}",
            "our Bundles are of R4 (4.0.1): it may refuse or misread them",
            "set base_url to its R4 endpoint",
        )
    return Finding.good(
        check, f"{config.name} at {config.base_url} answers /metadata, FHIR {found.fhir_version or '?'}"
    )


def clock_finding(name: str, at: datetime) -> Finding:
    """Return the finding about our clock, from the time in a response that has just come from `name`."""
    check = f"clock.{name}"
    ahead_s = (now() - at).total_seconds()
    if abs(ahead_s) < CLOCKS_DIFFER_S:
        return Finding.good(check, f"the clocks of this box and of {name} agree")
    way = "ahead of" if ahead_s > 0 else "behind"
    return Finding.warning(
        check,
        f"the clock of this box is {duration(abs(ahead_s))} {way} that of {name}",
        "one of them is wrong: times in answers, certificates and retention follow ours",
        "run `timedatectl` here; switch the time service on with `timedatectl set-ntp true`",
    )
