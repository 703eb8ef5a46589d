"""Check of a RIS: a connection, with TLS where the site has it; no message is sent."""

from __future__ import annotations

from collections.abc import Iterator

from appliance.config import Hl7Destination
from appliance.service.roles.deliver import ris_of

from .finding import Finding
from .pacs import AFTER, LOOK_S


def check_ris(config: Hl7Destination) -> Iterator[Finding]:
    """Yield the finding about a RIS."""
    check = f"destination.{config.name}.connection"
    where = f"{config.name} at {config.host}:{config.port}"
    found = ris_of(config.model_copy(update={"timeout_s": min(config.timeout_s, LOOK_S)})).probe()
    if found.failure:
        effect = f"nothing reaches {config.name}; it waits, and leaves later"
        yield Finding.error(check, f"{where}: {found.failure}", effect, AFTER)
    else:
        yield Finding.good(check, f"{where} takes connections{' with TLS' if config.tls else ''}")
